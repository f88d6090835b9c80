//! How types, intrinsics' suffixes and constants are spelled.

use sawmill_simd::vir::{Elem, Type};

fn element(elem: Elem) -> &'static str {
    match elem {
        Elem::Bool => "i1",
        Elem::I8 => "i8",
        Elem::I16 => "i16",
        Elem::I32 => "i32",
        Elem::I64 => "i64",
        Elem::F32 => "float",
        Elem::F64 => "double",
    }
}

/// A type in LLVM's text.
pub(super) fn spelled(ty: Type) -> String {
    spelled_as(element(ty.elem), ty.lanes)
}

/// A scalar or vector of an element that VIR has no name for.
pub(super) fn spelled_as(element: &str, lanes: u8) -> String {
    if lanes == 1 { element.to_owned() } else { format!("<{lanes} x {element}>") }
}

/// A type as the names of intrinsics end.
pub(super) fn suffix(ty: Type) -> String {
    let elem = match ty.elem {
        Elem::F32 => "f32",
        Elem::F64 => "f64",
        elem => element(elem),
    };
    if ty.is_scalar() { elem.to_owned() } else { format!("v{}{elem}", ty.lanes) }
}

/// The type whose lanes are the bits of `ty`'s; an integer stays.
pub(super) fn bits_of(ty: Type) -> Type {
    match ty.elem {
        Elem::F32 => ty.with_elem(Elem::I32),
        Elem::F64 => ty.with_elem(Elem::I64),
        _ => ty,
    }
}

/// The element type in memory: truth values are bytes.
pub(super) fn stored(ty: Type) -> Type {
    if ty.elem == Elem::Bool { ty.with_elem(Elem::I8) } else { ty }
}

/// The low bits of a constant as a signed number, which is how VIR and LLVM write an integer.
pub(super) fn signed(elem: Elem, bits: i64) -> i64 {
    let unused = 64 - elem.bits();
    bits << unused >> unused
}

/// A constant with these bits in every lane.
pub(super) fn literal(ty: Type, bits: i64) -> String {
    if ty.elem.is_float() {
        let ints = bits_of(ty);
        return format!("bitcast ({} {} to {})", spelled(ints), literal(ints, bits), spelled(ty));
    }
    let lane = match ty.elem {
        Elem::Bool => if bits & 1 != 0 { "true" } else { "false" }.to_owned(),
        elem => signed(elem, bits).to_string(),
    };
    if ty.is_scalar() { lane } else { format!("splat ({} {lane})", element(ty.elem)) }
}

/// A constant vector.
pub(super) fn vector(elem: Elem, lanes: impl Iterator<Item = i64>) -> String {
    let lanes: Vec<String> = lanes.map(|lane| format!("{} {lane}", element(elem))).collect();
    format!("<{}>", lanes.join(", "))
}

/// 0, 1, 2, .. along the lanes.
pub(super) fn iota(ty: Type) -> String {
    vector(ty.elem, 0..i64::from(ty.lanes))
}
