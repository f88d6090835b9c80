//! The data of a VIR function: values, instructions and blocks in arenas, addressed by typed indices.
//!
//! Invariants, checked by [`super::verify`]: the entry block has the four parameters of the ABI; a value is defined once,
//! before its uses, in the same block or one around it; each instruction and each block has one owner.

use std::fmt;

use super::ops::Op;
use super::types::Type;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub(super) u32);

        impl $name {
            /// The position in the function's arena.
            pub fn index(self) -> usize {
                self.0 as usize
            }

            pub(super) fn at(position: usize) -> $name {
                $name(u32::try_from(position).expect("invariant: fewer than 2^32 entries in an arena"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, self.0)
            }
        }
    };
}

id!(/** A value in SSA form. */ Val "%");
id!(/** An instruction. */ InstId "inst");
id!(/** A block: the entry, the body of a loop, or a branch. */ BlockId "block");

/// One instruction. Which operands, immediates and blocks it has is stated by the row of its operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Inst {
    /// The operation.
    pub op: Op,
    /// Operands.
    pub args: Vec<Val>,
    /// Immediates: bits of a constant, scale and displacement, lane numbers, a step.
    pub imms: Vec<i64>,
    /// Blocks of `for` and `if`.
    pub blocks: Vec<BlockId>,
    /// Values defined.
    pub results: Vec<Val>,
}

/// A straight line of instructions that ends by yielding values to its owner.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// Values that the owner passes in.
    pub params: Vec<Val>,
    /// Instructions in the order of execution.
    pub insts: Vec<InstId>,
    /// Values passed out; none in the entry block.
    pub yields: Vec<Val>,
}

/// One kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Letters, digits, `_` and `.`; names the kernel in messages and text.
    pub name: String,
    /// Bytes of scratch that a call needs.
    pub scratch_bytes: u64,
    pub(super) values: Vec<Type>,
    pub(super) insts: Vec<Inst>,
    pub(super) blocks: Vec<Block>,
}

impl Function {
    /// The block where execution starts; its parameters are args, first, end and scratch, all i64.
    pub const ENTRY: BlockId = BlockId(0);

    /// The type of a value.
    pub fn ty(&self, value: Val) -> Type {
        self.values[value.index()]
    }

    /// An instruction.
    pub fn inst(&self, id: InstId) -> &Inst {
        &self.insts[id.index()]
    }

    /// A block.
    pub fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id.index()]
    }

    /// How many values the function defines.
    pub fn value_count(&self) -> usize {
        self.values.len()
    }
}
