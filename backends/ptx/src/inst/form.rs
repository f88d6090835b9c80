//! The shape of a row of the instruction table: which words may follow a mnemonic, and what operands then are.
//!
//! An instruction's words are matched against its row's forms in order; the first form that fits types the operands. The
//! printer, the verifier, the builder and the interpreter ask the form, none of them knows an instruction's operands.

use super::program::{Needs, Sm, Version};
use super::reg::Class;
use super::word::Word;

/// One position of a mnemonic.
#[derive(Clone, Copy, Debug)]
pub enum Piece {
    /// This word.
    Is(Word),
    /// One of these.
    In(&'static [Word]),
    /// One of these, or nothing.
    Opt(&'static [Word]),
}

/// The type of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    /// The first type word.
    T,
    /// The second type word.
    S,
    /// The first type word, the register may be wider.
    LooseT,
    /// The second type word, the register may be wider.
    LooseS,
    /// Twice the width of the first type word.
    Wide,
    /// This type whatever the words are.
    Is(Word),
}

/// How many registers an operand in braces has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// This many.
    Is(u8),
    /// As `v2`, `v4`, `x1`, `x2`, `x4` say; without braces if there is none of them.
    Word,
}

/// A state space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// The arguments of the entry.
    Param,
    /// Memory of the device.
    Global,
    /// Memory of the CTA.
    Shared,
}

/// One operand of a form, in the order of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A register written.
    Def(Ty),
    /// Registers written, in braces.
    Defs(Ty, Count),
    /// A register read.
    Use(Ty),
    /// A register read, or an immediate.
    Value(Ty),
    /// Registers read, in braces.
    Uses(Ty, Count),
    /// A register read or an immediate; may be absent at the end.
    Maybe(Ty),
    /// An immediate between these bounds.
    Const(i64, i64),
    /// An immediate, one of these.
    OneOf(&'static [i64]),
    /// A special register.
    Special(Ty),
    /// The address of a shared variable.
    Symbol,
    /// An address in a space.
    Mem(Space),
    /// An address in the space that a word names.
    MemOfWord,
    /// A block.
    Target,
}

/// Words and operands of one instruction, and what they need.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// The words.
    pub pieces: &'static [Piece],
    /// The operands.
    pub slots: &'static [Slot],
    /// The PTX version and the target that have it, beyond the least we emit.
    pub needs: Needs,
}

impl Form {
    /// A form that every target has, from the least version we write on.
    pub const fn new(pieces: &'static [Piece], slots: &'static [Slot]) -> Self {
        Self { pieces, slots, needs: Needs { version: Version(7, 4), sm: Sm::Sm80 } }
    }
    /// The same from PTX `major.minor` on.
    pub const fn since(mut self, major: u8, minor: u8) -> Self {
        self.needs.version = Version(major, minor);
        self
    }
    /// The same from sm_90 and PTX `major.minor` on.
    pub const fn hopper(mut self, major: u8, minor: u8) -> Self {
        self.needs = Needs { version: Version(major, minor), sm: Sm::Sm90 };
        self
    }

    /// Whether `words` are a mnemonic of this form.
    pub fn fits(&self, words: &[Word]) -> bool {
        let mut rest = words;
        for piece in self.pieces {
            let next = rest.first();
            let taken = match piece {
                Piece::Is(word) => next == Some(word),
                Piece::In(list) | Piece::Opt(list) => next.is_some_and(|word| list.contains(word)),
            };
            match (taken, piece) {
                (true, _) => rest = &rest[1..],
                (false, Piece::Opt(_)) => {}
                (false, _) => return false,
            }
        }
        rest.is_empty()
    }

    /// Every list of words that fits.
    pub fn expansions(&self) -> Vec<Vec<Word>> {
        let mut lists = vec![Vec::new()];
        for piece in self.pieces {
            let choices: Vec<Option<Word>> = match piece {
                Piece::Is(word) => vec![Some(*word)],
                Piece::In(list) => list.iter().copied().map(Some).collect(),
                Piece::Opt(list) => std::iter::once(None).chain(list.iter().copied().map(Some)).collect(),
            };
            lists = lists
                .iter()
                .flat_map(|list| choices.iter().map(|choice| list.iter().copied().chain(*choice).collect()))
                .collect();
        }
        lists
    }
}

impl Ty {
    /// The type under these words.
    ///
    /// # Panics
    /// If the words lack the type, which a form that they fit rules out.
    pub fn word(self, words: &[Word]) -> Word {
        let nth = |n: usize| words.iter().copied().filter(|word| word.is_type()).nth(n).expect("the form has a type");
        match self {
            Self::T | Self::LooseT => nth(0),
            Self::S | Self::LooseS => nth(1),
            Self::Wide => nth(0).widened(),
            Self::Is(word) => word,
        }
    }

    /// The classes of registers that hold it, the usual one first.
    pub fn classes(self, words: &[Word]) -> &'static [Class] {
        self.word(words).classes(matches!(self, Self::LooseT | Self::LooseS))
    }
}

impl Count {
    /// How many registers, or `None` for one without braces.
    pub fn of(self, words: &[Word]) -> Option<usize> {
        match self {
            Self::Is(count) => Some(count.into()),
            Self::Word => words.iter().find_map(|word| match word {
                Word::X1 => Some(1),
                Word::V2 | Word::X2 => Some(2),
                Word::V4 | Word::X4 => Some(4),
                _ => None,
            }),
        }
    }
}

impl Slot {
    /// The space of an address.
    pub fn space(self, words: &[Word]) -> Option<Space> {
        match self {
            Self::Mem(space) => Some(space),
            Self::MemOfWord => words.iter().find_map(|word| match word {
                Word::Param => Some(Space::Param),
                Word::Global => Some(Space::Global),
                Word::Shared => Some(Space::Shared),
                _ => None,
            }),
            _ => None,
        }
    }
    /// Whether the operand is written.
    pub const fn is_def(self) -> bool {
        matches!(self, Self::Def(_) | Self::Defs(..))
    }
}
