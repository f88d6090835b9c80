//! Names for the printer: unique where they must be, spelled so that the lexer reads them back.
//!
//! In: wished names, in order of importance. Out: spellings; a later clash gets a number.

use super::lex::spell;
use rustc_hash::FxHashSet;

/// A set of spellings that must differ.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    taken: FxHashSet<String>,
}

impl Names {
    /// A spelling of `name` that is not taken; takes it.
    pub(super) fn take(&mut self, name: &str) -> String {
        let reserved = super::is_reserved(name);
        let first = spell(name, reserved);
        if self.taken.insert(first.clone()) {
            return first;
        }
        let tries = (1_u32..).map(|n| spell(&format!("{name}_{n}"), false));
        let free = tries.into_iter().find(|t| !self.taken.contains(t)).expect("some number is free");
        self.taken.insert(free.clone());
        free
    }
    /// Gives a spelling back at the end of its scope.
    pub(super) fn free(&mut self, spelling: &str) {
        self.taken.remove(spelling);
    }
}
