//! Tile IR: three programs (a matrix product, a masked softmax fold, a packed matrix-vector product) built, printed, parsed,
//! verified and run against plain loops; every rule of the verifier and of the interpreter broken once.

mod broken;
mod programs;
mod run;
mod text;
