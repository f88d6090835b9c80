//! PTX programs as data.
//!
//! In: a lowering's calls of [`Builder`]. Out: a [`Module`], whose `Display` is the text.
//!
//! Instructions are rows of one table, [`Op`]: the words of their mnemonics, the types of their operands, and the version and
//! target that have them.

mod build;
mod flow;
mod form;
mod print;
mod program;
mod reg;
mod table;
mod verify;
mod word;

#[cfg(test)]
mod tests;

pub use build::{Builder, at, in_shared};
pub use form::{Count, Form, Piece, Slot, Space, Ty};
pub use program::{
    Arg, Base, Block, BlockId, Entry, Guard, Inst, Module, Needs, Param, ParamId, Shared, SharedId, Sm, Version,
};
pub use reg::{Class, Reg, Special};
pub use table::Op;
pub use verify::verify;
pub use word::Word;
