//! Arguments of a wrong element type or rank are type errors of Rust.

use sawmill::prelude::*;

arch! {
    fn scaled<N, M>(x: f32[N, M], s: f32, at: i32[N]) -> y: f32[N, M] { y[i, j] = x[i, j] * s; }
    fn any_float<N, type E: float>(x: E[N]) -> y: f32 { y = sum[i](x[i]); }
}

fn main() -> Result<(), Error> {
    let matrix = Typed::<f32, 2>::from_slice(&[1.0; 6], [2, 3])?;
    let vector = Typed::<f32, 1>::from_slice(&[1.0; 6], [6])?;
    let halves = Typed::<f16, 2>::from_slice(&[f16::ONE; 6], [2, 3])?;
    let positions = Typed::<i32, 1>::from_slice(&[0, 1], [2])?;
    scaled(&halves, 2.0, &positions)?;
    scaled(&vector, 2.0, &positions)?;
    scaled(&matrix, 2, &positions)?;
    scaled(&matrix, 2.0, &vector)?;
    scaled(&matrix, &matrix, &positions)?;
    scaled(&matrix, 2.0)?;
    any_float(&positions)?;
    let _: Typed<f32, 1> = scaled(&matrix, 2.0, &positions)?;
    Ok(())
}
