//! A Rust closure cannot stand for one of the language: it can be run, not read.

use sawmill::prelude::*;

arch! {
    fn masked<N>(x: f32[N], mask: |i, j| -> bool = |i, j| j <= i) -> y: f32[N] {
        y[i] = sum[j](x[j] where mask(i, j));
    }
    fn scored<N>(x: f32[N], score: |i| -> f32) -> y: f32 { y = sum[i](x[i] * score(i)); }
}

fn main() -> Result<(), Error> {
    let device = Device::cpu()?;
    let vector = Typed::<f32, 1>::from_slice(&[1.0; 6], [6])?;
    masked::with(&device).mask(|i: i64, j: i64| i - j < 3).call(&vector)?;
    masked::with(&device).mask(|_, _| true).call(&vector)?;
    masked::with(&device).mask(true).call(&vector)?;
    scored(&vector, |i: i64| i as f32)?;
    masked::with(&device).mask(closure!(|i, j| i < {"three"})).call(&vector)?;
    Ok(())
}
