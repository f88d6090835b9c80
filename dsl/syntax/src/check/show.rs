//! Sizes, positions and conditions as the user would write them.

use super::formula::Formula;
use sawmill_ir::graph::Function;
use sawmill_ir::index::{Atom, Index};

/// Names and ranges of the parameters of closures, outermost first.
type Around = [(String, Option<(Index, Index)>)];

/// The text of an integer expression that stands in no closure.
pub(crate) fn index(function: &Function, value: &Index) -> String {
    index_within(function, &[], value)
}

/// The text of an integer expression inside of closures with these parameters.
pub(crate) fn index_within(function: &Function, params: &Around, value: &Index) -> String {
    let mut text = String::new();
    let mut terms: Vec<(&[Atom], i64)> = value.terms().collect();
    terms.sort_by_key(|(monomial, coefficient)| (monomial.is_empty(), *coefficient < 0));
    for (monomial, coefficient) in terms {
        let sign = match (text.is_empty(), coefficient < 0) {
            (true, false) => "",
            (true, true) => "-",
            (false, false) => " + ",
            (false, true) => " - ",
        };
        text.push_str(sign);
        let size = coefficient.unsigned_abs();
        // A quotient is a factor in parentheses: `P * (t / N)` is not `P * t / N`.
        let alone = monomial.len() == 1 && size == 1 && sign != "-";
        let factors: Vec<String> = monomial.iter().map(|a| factor(atom(function, params, a), a, alone)).collect();
        if factors.is_empty() || size != 1 {
            text.push_str(&size.to_string());
            if !factors.is_empty() {
                text.push_str(" * ");
            }
        }
        text.push_str(&factors.join(" * "));
    }
    if text.is_empty() { "0".into() } else { text }
}

fn factor(text: String, value: &Atom, alone: bool) -> String {
    if matches!(value, Atom::Div(..) | Atom::Rem(..)) && !alone { format!("({text})") } else { text }
}

fn grouped(function: &Function, params: &Around, value: &Index) -> String {
    let text = index_within(function, params, value);
    if text.contains(' ') { format!("({text})") } else { text }
}

fn atom(function: &Function, params: &Around, value: &Atom) -> String {
    let pair = |a: &Index, b: &Index| (index_within(function, params, a), index_within(function, params, b));
    match value {
        Atom::Dim(dim) => function.dims.get(*dim).map_or_else(|| dim.to_string(), |d| d.name.clone()),
        Atom::Axis(axis) => function.axes.get(*axis).map_or_else(|| "i".into(), |a| a.name.clone()),
        Atom::Param(number) => {
            params.get(*number as usize).map_or_else(|| format!("argument {number}"), |(name, _)| name.clone())
        }
        Atom::Div(a, b) => format!("{} / {}", grouped(function, params, a), grouped(function, params, b)),
        Atom::Rem(a, b) => format!("{} % {}", grouped(function, params, a), grouped(function, params, b)),
        Atom::Min(a, b) => format!("min({}, {})", pair(a, b).0, pair(a, b).1),
        Atom::Max(a, b) => format!("max({}, {})", pair(a, b).0, pair(a, b).1),
        Atom::BitLength(a) => format!("bit_length({})", index_within(function, params, a)),
        Atom::Read(tensor, subs) => {
            let name = function.tensors.get(*tensor).map_or_else(|| tensor.to_string(), |t| t.name.clone());
            let subs: Vec<String> = subs.iter().map(|s| index_within(function, params, s)).collect();
            if subs.is_empty() { name } else { format!("{name}[{}]", subs.join(", ")) }
        }
    }
}

/// The text of a condition inside of closures with these parameters.
pub(crate) fn formula(function: &Function, params: &Around, value: &Formula) -> String {
    match value {
        Formula::True => "true".into(),
        Formula::False => "false".into(),
        Formula::NonNegative(p) => {
            // Terms go to the side where they are positive.
            let (mut left, mut right) = (Index::int(0), Index::int(0));
            for (monomial, coefficient) in p.terms() {
                let product = monomial.iter().fold(Index::int(1), |f, a| f.mul(&Index::atom(a.clone())));
                if coefficient > 0 {
                    left = left.add(&product.scale(coefficient))
                } else {
                    right = right.add(&product.scale(-coefficient))
                }
            }
            format!("{} >= {}", index_within(function, params, &left), index_within(function, params, &right))
        }
        Formula::Opaque { name, holds, .. } => format!("{}{name}", if *holds { "" } else { "!" }),
        Formula::And(parts) => parts.iter().map(|p| formula(function, params, p)).collect::<Vec<_>>().join(" && "),
        Formula::Or(parts) => parts.iter().map(|p| formula(function, params, p)).collect::<Vec<_>>().join(" || "),
    }
}
