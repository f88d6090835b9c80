//! The C header of a library.
//!
//! In: the interface, the linked function. Out: text for C99 and later and for C++. What all libraries have in common is guarded, so that
//! headers of several can be included together.

use std::fmt::Write as _;

use sawmill_cranelift::interface::{Argument, Form, Interface, Role, Status, Strided};
use sawmill_ir::graph::{self, Require, text::print_index};
use sawmill_ir::index::Index;

use super::library::About;

/// The struct of workers, which all libraries share.
const WORKERS: &str = "\
/* Threads of the caller, on which a call may run its blocks. */
typedef struct sawmill_workers {
    /* How many there are, at least 1. */
    int64_t count;
    /* Passed on to `run`. */
    void *context;
    /* Calls work(task, worker, item) once for each item of 0..items, in any order, on any thread, with `worker` in 0..count and no two
       calls at once with one `worker`; waits for all of them; returns 0, or what makes the call fail. */
    int32_t (*run)(void *context, int64_t items, void (*work)(void *task, int64_t worker, int64_t item), void *task);
} sawmill_workers;
";

/// The text of the header.
pub(super) fn text(about: &About<'_>, linked: &graph::Function, interface: &Interface, name: &str) -> String {
    let guard = format!("SAWMILL_{}_H", name.to_uppercase());
    let symbol = &interface.symbol;
    let statuses = Status::ALL.iter().map(|status| {
        let (name, code, meaning) = (status.symbol(), status.code(), status.meaning());
        format!("    /* {meaning} */\n    {name} = {code},\n")
    });
    format!(
        "{}\n#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n\n#ifdef __cplusplus\nextern \"C\" {{\n#endif\n\n\
         #ifndef SAWMILL_INTERFACE\n#define SAWMILL_INTERFACE 1\n\n\
         /* What a call returns. After anything but SAWMILL_OK the outputs are unspecified. */\n\
         enum sawmill_status {{\n{}}};\n\n{WORKERS}\n#endif\n\n{}\n\
         /* Computes the function; returns a status. It keeps no state: calls may run at the same time on separate outputs. */\n\
         int32_t {symbol}(const {symbol}_args *args);\n\n\
         /* Stores the bytes of workspace that a call with these sizes and workers takes; looks at no tensor. */\n\
         int32_t {symbol}_workspace(const {symbol}_args *args, int64_t *bytes);\n\n\
         #ifdef __cplusplus\n}}\n#endif\n\n#endif\n",
        opening(about),
        statuses.collect::<String>(),
        arguments(linked, interface),
    )
}

/// What the library computes, and for which processors.
fn opening(about: &About<'_>) -> String {
    let dims = about.given.dims.iter().map(|(name, size)| format!("{name} = {size}"));
    let types = about.given.types.iter().map(|(name, elem)| format!("{name} = {elem}"));
    let given: Vec<String> = dims.chain(types).collect();
    let with = if given.is_empty() { String::new() } else { format!("\n   with {}", given.join(", ")) };
    let lines: Vec<&str> = [about.function.docs, about.function.signature]
        .into_iter()
        .flat_map(|text| text.lines())
        .map(str::trim_end)
        .filter(|line| !line.trim().is_empty())
        .collect();
    let text = format!(
        "{}{with}\n   For processors of {}: the caller sees to it that it runs on one.\n   Made by {}.",
        lines.join("\n   "),
        about.target,
        about.made_by()
    );
    format!("/* {} */", text.replace("*/", "* /"))
}

/// The struct of arguments.
fn arguments(linked: &graph::Function, interface: &Interface) -> String {
    let symbol = &interface.symbol;
    let mut text = format!(
        "/* Sizes and arguments of a call. Strides are in bytes, one for each size beside them; without them (null) a tensor has no gaps, the\n   \
         last dimension innermost. Tensors that are written must share no memory with others. Every argument is given: defaults of the\n   \
         language are its compiler's. */\n\
         typedef struct {symbol}_args {{\n"
    );
    for member in &interface.members {
        let note = note(linked, interface, member.offset);
        // Writing to a string does not fail.
        let _ = writeln!(text, "    {}{};{note}", member.declared, member.name);
    }
    let _ = writeln!(text, "}} {symbol}_args;");
    for require in requirements(linked, interface) {
        let _ = writeln!(text, "/* Required: {require} */");
    }
    text
}

/// What must hold of the sizes, in the spelling of graph IR.
pub(super) fn requirements(linked: &graph::Function, interface: &Interface) -> Vec<String> {
    let show = |index: &Index| print_index(linked, index);
    let one = |require: &Require| match require {
        Require::Equal(a, b) => format!("{} == {}", show(a), show(b)),
        Require::NonNegative(a) => format!("{} >= 0", show(a)),
    };
    interface.requires.iter().map(one).collect()
}

/// What a member is, as a comment.
fn note(linked: &graph::Function, interface: &Interface, offset: u32) -> String {
    let tail = interface.tail;
    if let Some(argument) = interface.arguments.iter().find(|argument| argument.offset == offset) {
        return format!(" /* {} */", describe(linked, argument));
    }
    match offset {
        _ if offset == tail.workspace => " /* null: the call allocates what it needs and frees it */".to_owned(),
        _ if offset == tail.workers => " /* null: the call runs on the caller's thread alone */".to_owned(),
        _ => String::new(),
    }
}

fn describe(linked: &graph::Function, argument: &Argument) -> String {
    let shape = |sizes: &[Index]| {
        let sizes: Vec<String> = sizes.iter().map(|size| print_index(linked, size)).collect();
        format!("[{}]", sizes.join(", "))
    };
    let what = match &argument.form {
        Form::Scalar { dtype, .. } => dtype.to_string(),
        Form::Tensor(strided) => {
            let Strided { lists, shape: sizes, dtype, unit, .. } = strided;
            let element = match &argument.format {
                Some(format) => format!("{format}: records of {unit} bytes "),
                None => dtype.to_string(),
            };
            let one = format!("{element}{}", shape(sizes));
            if lists.is_empty() { one } else { format!("the addresses of {} tensors, each {one}", shape(lists)) }
        }
    };
    let role = match argument.role {
        Role::Input => "",
        Role::InPlace => ", the sizes after the call: its end is appended, what is before it is read",
        Role::Output => ", written",
    };
    let promise = argument.promise.as_ref().map_or_else(String::new, |(from, below)| {
        format!(", values from {} below {}", print_index(linked, from), print_index(linked, below))
    });
    format!("{what}{role}{promise}").replace("*/", "* /")
}
