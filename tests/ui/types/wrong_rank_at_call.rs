//! The rank and the dtype of an argument are part of its Rust type.

use sawmill::prelude::*;

arch! {
    pub fn scale<N>(x: f32[N]) -> y: f32[N] {
        y[i] = x[i] * 2.0;
    }
}

fn main() -> Result<(), Error> {
    let square = Typed::<f32, 2>::from_slice(&[1.0; 4], [2, 2])?;
    scale(&square)?;
    let halves = Typed::<f16, 1>::from_slice(&[f16::from_f32(1.0); 4], [4])?;
    scale(&halves)?;
    Ok(())
}
