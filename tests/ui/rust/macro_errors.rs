//! All mistakes of a block at once, each at its token; functions whose signature is right keep their wrappers.

use sawmill::prelude::*;

arch! {
    fn first<N, M>(x: f32[N, M]) -> y: f32[N] { y[i] = sum[j](x[i, j] * scale); }
    fn second<N>(x: f32[N]) -> y: f32[N] where N >= 1 {
        let shifted[i] = x[i - 1];
        y[i] = shifted[i] < x[0] < 1.0;
    }
    fn third<N>(x: f32[N]) -> y: f32[N] { let z[i] = x[i] y[i] = z[i]; }
    fn fourth<N>(x: f32[N]) -> y: f32[K] { y[i] = x[i]; }
}

fn main() -> Result<(), Error> {
    let vector = Typed::<f32, 1>::from_slice(&[1.0; 6], [6])?;
    let _: Typed<f32, 1> = first(&vector)?;
    let _: Typed<f32, 1> = third(&vector)?;
    Ok(())
}
