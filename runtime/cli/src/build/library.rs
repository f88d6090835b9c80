//! What a manifest says of a library for C programs.
//!
//! In: the library and its interface. Out: files, entries, the struct of arguments with the offset of every member, statuses.

use sawmill::{
    BuiltLibrary,
    interface::{Argument, Form, Interface, Role, Status},
    ir::{
        graph::Require,
        index::{Atom, Index},
        tile::{Module, text::print_size},
    },
};
use serde_json::{Value, json};

/// The file of the static library.
pub(super) fn archive_of(name: &str) -> String {
    format!("lib{name}.a")
}

/// The file of the header.
pub(super) fn header_of(name: &str) -> String {
    format!("{name}.h")
}

/// The members of the manifest that other targets lack.
pub(super) fn entries(module: &Module, library: &BuiltLibrary, name: &str) -> Vec<(String, Value)> {
    let interface = &library.interface;
    let symbol = &interface.symbol;
    let arguments = interface.arguments.iter().map(|argument| described(module, interface, argument));
    let members = interface.members.iter().map(|member| json!({ "name": member.name, "offset_bytes": member.offset }));
    let sizes =
        interface.dims.iter().map(|(dim, offset)| (module.dims[*dim].clone(), json!(member(interface, *offset))));
    let statuses = Status::ALL.iter().map(|status| (status.symbol().to_owned(), json!(status.code())));
    let entries = json!([
        { "symbol": symbol, "does": "computes the function", "takes": [format!("const {symbol}_args *")] },
        {
            "symbol": format!("{symbol}_workspace"),
            "does": "stores the bytes of workspace of a call",
            "takes": [format!("const {symbol}_args *"), "int64_t *"],
        },
    ]);
    [
        ("library", json!(archive_of(name))),
        ("header", json!(header_of(name))),
        ("made_by", json!(library.made_by)),
        ("entries", entries),
        ("struct", json!({ "bytes": interface.bytes, "members": members.collect::<Vec<_>>() })),
        ("sizes", sizes.collect()),
        ("requires", interface.requires.iter().map(|require| required(module, interface, require)).collect()),
        ("arguments", arguments.collect()),
        ("statuses", statuses.collect()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn member(interface: &Interface, offset: u32) -> &str {
    interface.member(offset).map_or("", |member| &member.name)
}

fn described(module: &Module, interface: &Interface, argument: &Argument) -> Value {
    let size = |index: &Index| spelled(module, interface, index);
    let role = match argument.role {
        Role::Input => "input",
        Role::InPlace => "in place",
        Role::Output => "output",
    };
    let promise = argument.promise.as_ref().map(|(from, below)| json!({ "from": size(from), "below": size(below) }));
    let mut described = json!({
        "name": argument.name,
        "role": role,
        "member": member(interface, argument.offset),
        "format": argument.format,
        "promise": promise,
    });
    let more = match &argument.form {
        Form::Scalar { dtype, .. } => json!({ "dtype": dtype.to_string() }),
        Form::Tensor(strided) => json!({
            "dtype": strided.dtype.to_string(),
            "lists": strided.lists.iter().map(size).collect::<Vec<_>>(),
            "shape": strided.shape.iter().map(size).collect::<Vec<_>>(),
            "unit_bytes": strided.unit,
            "strides": member(interface, strided.strides),
        }),
    };
    if let (Some(described), Value::Object(more)) = (described.as_object_mut(), more) {
        described.extend(more);
    }
    described
}

fn required(module: &Module, interface: &Interface, require: &Require) -> Value {
    let size = |index: &Index| spelled(module, interface, index);
    match require {
        Require::Equal(a, b) => json!({ "equal": [size(a), size(b)] }),
        Require::NonNegative(a) => json!({ "not negative": size(a) }),
    }
}

/// A size with scalars by their names.
fn spelled(module: &Module, interface: &Interface, size: &Index) -> String {
    let mut dims = module.dims.clone();
    let over_dims = size.substitute(&mut |atom| {
        let Atom::Read(tensor, _) = atom else { return None };
        let scalar = interface.arguments.iter().find(|argument| match argument.form {
            Form::Scalar { tensor: own, .. } => own == *tensor,
            Form::Tensor(_) => false,
        });
        scalar.map(|argument| Index::dim(dims.push(argument.name.clone())))
    });
    print_size(&over_dims, &dims)
}
