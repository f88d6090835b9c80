//! A Rust closure can only be run, not read: masks are written with `closure!`.

use sawmill::prelude::*;

arch! {
    pub fn kept<N>(x: f32[N], keep: |i| -> bool = |i| i >= 0) -> y: f32[N] {
        y[i] = x[i] where keep(i) else 0.0;
    }
}

fn main() -> Result<(), Error> {
    let device = Device::cpu()?;
    let x = Typed::<f32, 1>::from_slice(&[1.0; 4], [4])?;
    kept::with(&device).keep(|i: i64| i > 1).call(&x)?;
    Ok(())
}
