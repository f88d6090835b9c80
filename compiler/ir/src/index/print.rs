//! Text of integer expressions.
//!
//! In: an expression and a naming of dims, axes, parameters and tensors. Out: text in which sums and products are ordered by
//! what is printed, not by ids, so that it does not change when ids are renumbered.

use super::{Atom, Index};

/// Names what an atom refers to: a dim, an axis, a parameter, or (for a read) its tensor.
pub type Naming<'a> = dyn Fn(&Atom) -> String + 'a;

impl Index {
    /// The expression as text.
    pub fn print(&self, naming: &Naming<'_>) -> String {
        let mut parts: Vec<(bool, bool, String)> = self
            .terms()
            .map(|(atoms, coefficient)| (coefficient < 0, atoms.is_empty(), monomial(atoms, coefficient, naming)))
            .collect();
        parts.sort();
        let mut text = String::new();
        for (at, (negative, _, part)) in parts.iter().enumerate() {
            text.push_str(match (at, negative) {
                (0, true) => "-",
                (0, false) => "",
                (_, true) => " - ",
                (_, false) => " + ",
            });
            text.push_str(part);
        }
        if text.is_empty() { "0".to_owned() } else { text }
    }
    /// The expression as text, in parentheses unless it is one name, number, call or read.
    pub fn print_tight(&self, naming: &Naming<'_>) -> String {
        let text = self.print(naming);
        let lone = match (self.as_int(), self.as_atom()) {
            (Some(value), _) => value >= 0,
            (_, Some(atom)) => !matches!(atom, Atom::Div(..) | Atom::Rem(..)),
            _ => false,
        };
        if lone { text } else { format!("({text})") }
    }
}

/// A product without its sign.
fn monomial(atoms: &[Atom], coefficient: i64, naming: &Naming<'_>) -> String {
    let size = coefficient.unsigned_abs();
    if atoms.is_empty() {
        return size.to_string();
    }
    let lone = atoms.len() == 1 && size == 1;
    let mut factors: Vec<String> = atoms.iter().map(|a| factor(a, lone, naming)).collect();
    factors.sort();
    if size != 1 {
        factors.insert(0, size.to_string());
    }
    factors.join(" * ")
}

fn factor(atom: &Atom, lone: bool, naming: &Naming<'_>) -> String {
    let both = |a: &Index, b: &Index| {
        let mut sides = [a.print(naming), b.print(naming)];
        sides.sort();
        sides.join(", ")
    };
    let quotient = |a: &Index, op: &str, b: &Index| {
        let text = format!("{} {op} {}", a.print_tight(naming), b.print_tight(naming));
        if lone { text } else { format!("({text})") }
    };
    match atom {
        Atom::Dim(_) | Atom::Axis(_) | Atom::Param(_) => naming(atom),
        Atom::Div(a, b) => quotient(a, "/", b),
        Atom::Rem(a, b) => quotient(a, "%", b),
        Atom::Min(a, b) => format!("min({})", both(a, b)),
        Atom::Max(a, b) => format!("max({})", both(a, b)),
        Atom::BitLength(a) => format!("bit_length({})", a.print(naming)),
        Atom::Read(_, subs) => {
            let subs: Vec<String> = subs.iter().map(|s| s.print(naming)).collect();
            format!("{}[{}]", naming(atom), subs.join(", "))
        }
    }
}
