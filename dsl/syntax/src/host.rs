//! Closures from Rust: the text that `closure!` leaves, given a meaning when the call is made.
//!
//! In: the text, the function that takes the closure, what was captured. Out: graph IR as linking wants it, and the sizes that
//! captured tensors must have, which the call checks before anything runs.

use crate::check::check_host_closure;
pub use crate::check::{AtLeast, Resolved};
use crate::errors::Diagnostics;
use crate::parse::parse_closure;
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::Module;

/// Gives the closure `text` for the closure parameter `param` of the function `callee` of `module` its meaning. `captures` are
/// the dtype and rank of each captured value, in order; `module` holds what the function calls.
///
/// # Errors
/// Every mistake, one a line: another number of parameters than the callee gives, a result of another type, wrong ranks, reads
/// that can leave their range.
pub fn resolve(
    text: &str,
    module: &Module,
    callee: &str,
    param: &str,
    captures: &[(DType, usize)],
) -> Result<Resolved, String> {
    let tokens = text.parse().map_err(|e| format!("closure `{text}`: {e}"))?;
    let (parsed, errors) = parse_closure(tokens);
    let Some(parsed) = parsed.filter(|_| errors.is_empty()) else {
        return Err(described(text, &errors));
    };
    check_host_closure(&parsed.closure, module, callee, param, captures).map_err(|errors| described(text, &errors))
}

fn described(text: &str, errors: &Diagnostics) -> String {
    let lines = errors.list().iter().map(|d| format!("closure `{text}`: {}", d.text()));
    lines.collect::<Vec<_>>().join("\n")
}
