//! Snapshots of what the compiler makes of a function: its plan, its tiles, its code, for a stated target.
//!
//! A kernel is part of a crate's behaviour; these make a change of it show up as a diff. The target is the baseline of the
//! architecture with a stated number of threads, so that a snapshot taken on one machine holds on another. The text is compared by
//! [`insta`](https://docs.rs/insta), which the calling crate brings:
//!
//! ```ignore
//! sawmill::assert_plan!(attend::DEF, { D: 64, V: 64 });
//! ```

mod apart;

pub use apart::Apart;

use crate::{Device, Error, Explanation, Function, RuntimeElem, Specialisation};
use sawmill_ir::dtype::DType;

/// Threads that snapshots are made for.
pub const THREADS: usize = 2;

/// What becomes of `function` for the baseline target and [`THREADS`] threads. `dims` gives const dims; type parameters are
/// `f32`; closures take their defaults, optional arguments are given.
///
/// # Errors
/// What compiling reports.
pub fn explanation(function: &'static Function, dims: &[(&str, i64)]) -> Result<Explanation, Error> {
    let device = Device::cpu_baseline(THREADS)?;
    let types = function.graph()?.type_params.iter();
    let given = Specialisation {
        dims: dims.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        types: types.map(|param| (param.name.clone(), RuntimeElem::Type(DType::F32))).collect(),
    };
    function.explain(&device, &given, false)
}

/// Compares the plan of a function with its snapshot: `assert_plan!(f::DEF, { D: 64 })`.
#[macro_export]
macro_rules! assert_plan {
    ($function:expr, { $($dim:ident: $size:expr),* $(,)? }) => {
        match $crate::testing::explanation($function, &[$((stringify!($dim), $size)),*]) {
            Ok(explanation) => ::insta::assert_snapshot!(explanation.plan),
            Err(error) => panic!("{error}"),
        }
    };
}

/// Compares the tile IR of a function with its snapshot: `assert_tiles!(f::DEF, { D: 64 })`.
#[macro_export]
macro_rules! assert_tiles {
    ($function:expr, { $($dim:ident: $size:expr),* $(,)? }) => {
        match $crate::testing::explanation($function, &[$((stringify!($dim), $size)),*]) {
            Ok(explanation) => ::insta::assert_snapshot!(explanation.tiles),
            Err(error) => panic!("{error}"),
        }
    };
}

/// Compares the generated code of a function with its snapshot: `assert_code!(f::DEF, { D: 64 })`.
#[macro_export]
macro_rules! assert_code {
    ($function:expr, { $($dim:ident: $size:expr),* $(,)? }) => {
        match $crate::testing::explanation($function, &[$((stringify!($dim), $size)),*]) {
            Ok(explanation) => {
                let code = explanation.code.iter().map(|(title, text)| format!("{title}\n{text}"));
                ::insta::assert_snapshot!(code.collect::<Vec<_>>().join("\n"))
            }
            Err(error) => panic!("{error}"),
        }
    };
}
