//! A function with a dim that no argument determines has no plain call.

use sawmill::prelude::*;

arch! {
    fn spread<N, const K>(x: f32[N]) -> y: f32[N, K] { y[i, k] = x[i] * k; }
    fn split<H, const M, G>(x: f32[H]) -> y: f32[M, G] where H == M * G { y[m, g] = x[m * G + g]; }
}

fn main() -> Result<(), Error> {
    let device = Device::cpu()?;
    let vector = Typed::<f32, 1>::from_slice(&[1.0; 6], [6])?;
    let _: Typed<f32, 2> = spread::with(&device).K(2).call(&vector)?;
    spread(&vector)?;
    split(&vector)?;
    spread::with(&device).k(2).call(&vector)?;
    Ok(())
}
