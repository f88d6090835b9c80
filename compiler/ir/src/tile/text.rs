//! The text form of tile IR: [`print`] and [`parse`] are inverse to each other.
//!
//! One statement a line; whitespace and `// comments` mean nothing. Values keep their numbers (`%7`), everything else goes by
//! name; a name that is not a plain identifier is quoted. Result types are always written. Errors are located; nesting is
//! bounded, so that no input overflows the stack.
//!
//! ```text
//! tile NAME {
//!   dims M, K
//!   buffer a: f32[M, K] input            // input | inout | output | temp, then `list`
//!   kernel rows {
//!     dims M, K
//!     memory a: f32[M, K] in             // in | out | inout
//!     axes m = 64, k = 16
//!     grid mt = div(M + 63, 64)
//!     %0: i64 = grid mt
//!     %1: f32<m,k> = load a[%0 + m, %2 + 2*k] pad 0.0 where %3
//!     %4: f32<m> = for %5 edge %6 step 16 [%7..%8 full, %8..%9 edge] carry (%10: f32<m> = %11) { yield %12 }
//!     store a[%0 + m, gather %13] = %4
//!   }
//!   plan { launch rows(a) dims (M, K) }
//! }
//! ```

mod lex;
mod parse;
mod parse_kernel;
mod print;
mod size;

pub use parse::parse;
pub use print::{print, print_kernel};
pub use size::print_size;

/// How deep regions, plan steps and size expressions may nest in a text.
const MAX_DEPTH: u32 = 64;

/// Functions of size expressions.
const SIZE_FUNCTIONS: [&str; 5] = ["div", "rem", "min", "max", "bit_length"];
