//! Types of VIR values: a scalar element or a vector of 2 to 64 of them.
//!
//! Invariant: the number of lanes is a power of two and no register width is implied. Integers carry no sign, the
//! operations do. A `bool` takes one byte (0 or 1) in memory and a whole lane in a register.

use std::fmt;

/// The type of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Elem {
    /// A truth value; a vector of them is a mask.
    Bool,
    /// 8 bits.
    I8,
    /// 16 bits; also the bits of an f16 or bf16.
    I16,
    /// 32 bits.
    I32,
    /// 64 bits; also an address.
    I64,
    /// IEEE binary32.
    F32,
    /// IEEE binary64.
    F64,
}

/// A set of element types, as the operations ask for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// f32, f64.
    Float,
    /// i8 to i64.
    Int,
    /// i32, i64.
    WideInt,
    /// Float or Int.
    Number,
    /// Int or Bool.
    Bits,
    /// Every element.
    Any,
}

impl Elem {
    /// All elements, in the order of their width.
    pub const ALL: [Elem; 7] = [Elem::Bool, Elem::I8, Elem::I16, Elem::I32, Elem::I64, Elem::F32, Elem::F64];

    /// Bytes of one element in memory.
    pub fn bytes(self) -> u32 {
        match self {
            Elem::Bool | Elem::I8 => 1,
            Elem::I16 => 2,
            Elem::I32 | Elem::F32 => 4,
            Elem::I64 | Elem::F64 => 8,
        }
    }

    /// Bits of one element in memory.
    pub fn bits(self) -> u32 {
        self.bytes() * 8
    }

    /// The name in text.
    pub fn name(self) -> &'static str {
        match self {
            Elem::Bool => "bool",
            Elem::I8 => "i8",
            Elem::I16 => "i16",
            Elem::I32 => "i32",
            Elem::I64 => "i64",
            Elem::F32 => "f32",
            Elem::F64 => "f64",
        }
    }

    /// Whether this is f32 or f64.
    pub fn is_float(self) -> bool {
        matches!(self, Elem::F32 | Elem::F64)
    }

    /// Whether this is i8, i16, i32 or i64.
    pub fn is_int(self) -> bool {
        matches!(self, Elem::I8 | Elem::I16 | Elem::I32 | Elem::I64)
    }

    /// Whether the element belongs to `class`.
    pub fn is(self, class: Class) -> bool {
        match class {
            Class::Float => self.is_float(),
            Class::Int => self.is_int(),
            Class::WideInt => matches!(self, Elem::I32 | Elem::I64),
            Class::Number => self != Elem::Bool,
            Class::Bits => !self.is_float(),
            Class::Any => true,
        }
    }
}

/// A scalar (`lanes == 1`) or a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Type {
    /// The type of a lane.
    pub elem: Elem,
    /// Number of lanes: 1, 2, 4, .. 64.
    pub lanes: u8,
}

impl Type {
    /// Most lanes a vector may have.
    pub const MAX_LANES: u8 = 64;
    /// A scalar truth value.
    pub const BOOL: Type = Type::scalar(Elem::Bool);
    /// An 8-bit scalar.
    pub const I8: Type = Type::scalar(Elem::I8);
    /// A 16-bit scalar.
    pub const I16: Type = Type::scalar(Elem::I16);
    /// A 32-bit scalar.
    pub const I32: Type = Type::scalar(Elem::I32);
    /// A 64-bit scalar or an address.
    pub const I64: Type = Type::scalar(Elem::I64);
    /// A scalar f32.
    pub const F32: Type = Type::scalar(Elem::F32);
    /// A scalar f64.
    pub const F64: Type = Type::scalar(Elem::F64);

    /// One element.
    pub const fn scalar(elem: Elem) -> Type {
        Type { elem, lanes: 1 }
    }

    /// A vector of `lanes` elements; the verifier refuses a number of lanes that is not a power of two up to 64.
    pub const fn vector(elem: Elem, lanes: u8) -> Type {
        Type { elem, lanes }
    }

    /// The same number of lanes of another element.
    pub const fn with_elem(self, elem: Elem) -> Type {
        Type { elem, lanes: self.lanes }
    }

    /// The same element in another number of lanes.
    pub const fn with_lanes(self, lanes: u8) -> Type {
        Type { elem: self.elem, lanes }
    }

    /// Whether there is one lane only.
    pub fn is_scalar(self) -> bool {
        self.lanes == 1
    }

    /// Bytes in memory.
    pub fn bytes(self) -> u32 {
        self.elem.bytes() * u32::from(self.lanes)
    }

    /// Whether the number of lanes is allowed.
    pub fn is_legal(self) -> bool {
        self.lanes.is_power_of_two() && self.lanes <= Type::MAX_LANES
    }

    /// Reads the form that `Display` prints, e.g. `f32` or `i8x16`.
    pub fn from_text(text: &str) -> Option<Type> {
        let (elem, lanes) = match text.split_once('x') {
            Some((elem, lanes)) => (elem, lanes.parse().ok().filter(|n| *n > 1)?),
            None => (text, 1),
        };
        let elem = Elem::ALL.into_iter().find(|e| e.name() == elem)?;
        Some(Type { elem, lanes }).filter(|ty| ty.is_legal())
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lanes {
            1 => f.write_str(self.elem.name()),
            lanes => write!(f, "{}x{lanes}", self.elem.name()),
        }
    }
}
