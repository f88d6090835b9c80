//! Values of dims at a call.
//!
//! In: the sizes that arguments have, and dims given by name. Out: a value for every dim. A dim is found where it stands
//! alone as a size, by an equation of a size or of the requirements with one unknown dim that occurs linearly, or by its
//! default; then every size and requirement is checked. Integer scalars that sizes read are looked up by the caller's closure.

use super::{DimKind, Function, Require, TensorKind, text};
use crate::entity::Entity;
use crate::index::{Atom, DimId, Index, TensorId};
use std::collections::BTreeMap;
use std::fmt;

/// Why sizes of a call do not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SizeError {
    /// An argument has another rank.
    Rank {
        /// The argument.
        argument: String,
        /// Its rank.
        given: usize,
        /// The rank declared.
        rank: usize,
    },
    /// An argument's size disagrees with the dims.
    Size {
        /// The argument.
        argument: String,
        /// Which of its dimensions.
        dimension: usize,
        /// The size it has.
        actual: i64,
        /// The size that the dims make, if it is a number at all.
        expected: Option<i64>,
    },
    /// Nothing determines a dim.
    Unknown {
        /// The dim.
        dim: String,
    },
    /// A dim is smaller than dims of its kind can be.
    Small {
        /// The dim.
        dim: String,
        /// Its value.
        value: i64,
        /// The least value.
        least: i64,
    },
    /// A requirement does not hold.
    Requirement {
        /// The requirement.
        text: String,
        /// Every dim with its value.
        sizes: String,
    },
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rank { argument, given, rank } => write!(f, "`{argument}` has rank {given}, not {rank}"),
            Self::Size { argument, dimension, actual, expected } => {
                write!(f, "dimension {dimension} of `{argument}` has size {actual}, ")?;
                match expected {
                    Some(expected) => write!(f, "but other sizes make it {expected}"),
                    None => f.write_str("where other sizes make none"),
                }
            }
            Self::Unknown { dim } => write!(f, "the size `{dim}` follows from no argument; give it"),
            Self::Small { dim, value, least } => write!(f, "the size `{dim}` is {value}, less than {least}"),
            Self::Requirement { text, sizes } => write!(f, "`{text}` does not hold for {sizes}"),
        }
    }
}

impl std::error::Error for SizeError {}

/// A size that an argument has.
#[derive(Clone, Copy, Debug)]
pub struct Fact<'f> {
    /// The argument.
    pub argument: &'f str,
    /// Which of its dimensions.
    pub dimension: usize,
    /// The size as declared.
    pub expected: &'f Index,
    /// The size it has.
    pub actual: i64,
}

/// What a call states.
pub struct Call<'a> {
    /// Sizes of the arguments that are given, in order of the signature.
    pub facts: &'a [Fact<'a>],
    /// Dims by name.
    pub dims: &'a BTreeMap<String, i64>,
    /// Values of rank-0 integer arguments.
    pub scalars: &'a dyn Fn(TensorId) -> Option<i64>,
}

/// The sizes of the arguments whose shapes are given by name.
///
/// # Errors
/// [`SizeError::Rank`].
pub fn facts<'f>(function: &'f Function, shapes: &BTreeMap<String, Vec<usize>>) -> Result<Vec<Fact<'f>>, SizeError> {
    let mut facts = Vec::new();
    for tensor in function.tensors.values() {
        let TensorKind::Input(_) = tensor.kind else { continue };
        let Some(shape) = shapes.get(&tensor.name) else { continue };
        let (given, rank) = (shape.len(), tensor.shape.len());
        if given != rank {
            return Err(SizeError::Rank { argument: tensor.name.clone(), given, rank });
        }
        for (dimension, (expected, size)) in tensor.shape.iter().zip(shape).enumerate() {
            // No memory holds 2^63 elements: a size that large disagrees with whatever is computed.
            let actual = i64::try_from(*size).unwrap_or(i64::MAX);
            facts.push(Fact { argument: &tensor.name, dimension, expected, actual });
        }
    }
    Ok(facts)
}

/// The value of every dim of `function`, in order.
///
/// # Errors
/// If a dim is not determined, two sizes disagree, or a requirement does not hold.
pub fn bind(function: &Function, call: &Call<'_>) -> Result<Vec<i64>, SizeError> {
    let mut known: Vec<Option<i64>> = function.dims.values().map(|dim| call.dims.get(&dim.name).copied()).collect();
    for fact in call.facts {
        if let Some(Atom::Dim(dim)) = fact.expected.as_atom() {
            known[dim.index()].get_or_insert(fact.actual);
        }
    }
    solve(function, call, &mut known);
    for (dim, slot) in function.dims.values().zip(&mut known) {
        if let DimKind::Const(default) = dim.kind {
            *slot = slot.or(default);
        }
    }
    solve(function, call, &mut known);
    let value = |(dim, value): (&super::Dim, &Option<i64>)| {
        let value = value.ok_or_else(|| SizeError::Unknown { dim: dim.name.clone() })?;
        let least = i64::from(matches!(dim.kind, DimKind::Const(_)));
        if value < least { Err(SizeError::Small { dim: dim.name.clone(), value, least }) } else { Ok(value) }
    };
    let dims: Vec<i64> = function.dims.values().zip(&known).map(value).collect::<Result<_, _>>()?;
    check(function, call, &dims)?;
    Ok(dims)
}

/// Finds dims from equations with one unknown, until nothing changes.
fn solve(function: &Function, call: &Call<'_>, known: &mut [Option<i64>]) {
    let equal = |require: &Require| match require {
        Require::Equal(a, b) => Some(a.sub(b)),
        Require::NonNegative(_) => None,
    };
    // Most sizes are known by now, and `check` compares them all.
    let open = call.facts.iter().filter(|fact| eval(fact.expected, known, call).is_none());
    let sizes = open.map(|fact| fact.expected.sub(&Index::int(fact.actual)));
    let equations: Vec<Index> = sizes.chain(function.requires.iter().filter_map(equal)).collect();
    let mut progress = true;
    while progress {
        progress = false;
        for equation in &equations {
            if let Some((dim, value)) = root(equation, known, call) {
                known[dim.index()] = Some(value);
                progress = true;
            }
        }
    }
}

/// The one unknown dim of `equation` and the value that makes it 0, if it occurs linearly and the value is whole.
fn root(equation: &Index, known: &[Option<i64>], call: &Call<'_>) -> Option<(DimId, i64)> {
    let (mut open, mut lone) = (None, true);
    equation.for_each_atom(&mut |atom| {
        if let Atom::Dim(dim) = atom
            && known[dim.index()].is_none()
        {
            lone &= open.is_none_or(|before| before == *dim);
            open = Some(*dim);
        }
    });
    let dim = open.filter(|_| lone)?;
    let at = |value: i64| {
        let mut dims = known.to_vec();
        dims[dim.index()] = Some(value);
        eval(equation, &dims, call)
    };
    let (zero, one, two) = (at(0)?, at(1)?, at(2)?);
    let slope = one.checked_sub(zero)?;
    let linear = two.checked_sub(one)? == slope && slope != 0;
    let value = zero.checked_neg()?.checked_div(slope)?;
    (linear && at(value) == Some(0) && value >= 0).then_some((dim, value))
}

fn eval(index: &Index, dims: &[Option<i64>], call: &Call<'_>) -> Option<i64> {
    index.eval(&mut |atom, _| match atom {
        Atom::Dim(dim) => *dims.get(dim.index())?,
        Atom::Read(tensor, subs) if subs.is_empty() => (call.scalars)(*tensor),
        _ => None,
    })
}

fn check(function: &Function, call: &Call<'_>, dims: &[i64]) -> Result<(), SizeError> {
    let known: Vec<Option<i64>> = dims.iter().map(|d| Some(*d)).collect();
    for fact in call.facts {
        let expected = eval(fact.expected, &known, call);
        if expected != Some(fact.actual) {
            let (argument, dimension, actual) = (fact.argument.to_owned(), fact.dimension, fact.actual);
            return Err(SizeError::Size { argument, dimension, actual, expected });
        }
    }
    for require in &function.requires {
        let holds = match require {
            Require::Equal(a, b) => eval(a, &known, call).is_some_and(|a| Some(a) == eval(b, &known, call)),
            Require::NonNegative(a) => eval(a, &known, call).is_some_and(|value| value >= 0),
        };
        if !holds {
            let sizes = function.dims.values().zip(dims).map(|(dim, value)| format!("{} = {value}", dim.name));
            let sizes: Vec<String> = sizes.collect();
            return Err(SizeError::Requirement { text: show(function, require), sizes: sizes.join(", ") });
        }
    }
    Ok(())
}

fn show(function: &Function, require: &Require) -> String {
    let text = |index: &Index| text::print_index(function, index);
    match require {
        Require::Equal(a, b) => format!("{} == {}", text(a), text(b)),
        Require::NonNegative(a) => format!("{} >= 0", text(a)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, bind, facts};
    use crate::graph::text::parse_function;
    use std::collections::BTreeMap;

    fn dims(text: &str, shapes: &[(&str, &[usize])], given: &[(&str, i64)]) -> Result<Vec<i64>, String> {
        let function = parse_function(text).expect("parses");
        let shapes = shapes.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect();
        let given: BTreeMap<String, i64> = given.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let facts = facts(&function, &shapes).map_err(|e| e.to_string())?;
        bind(&function, &Call { facts: &facts, dims: &given, scalars: &|_| None }).map_err(|e| e.to_string())
    }

    #[test]
    fn dims_follow_from_shapes_equations_and_defaults() {
        let text =
            "fn f<H, M, G, const D = 8, N>(q: f32[H, D], k: f32[M], r: f32[2 * N + 1]) -> () where H == M * G {}";
        let shapes: &[(&str, &[usize])] = &[("q", &[6, 8]), ("k", &[2]), ("r", &[7])];
        assert_eq!(dims(text, shapes, &[]), Ok(vec![6, 2, 3, 8, 3]));
        let odd: &[(&str, &[usize])] = &[("q", &[7, 8]), ("k", &[2]), ("r", &[7])];
        assert!(dims(text, odd, &[]).is_err_and(|e| e.contains('G')));
        assert!(dims(text, &[("q", &[6])], &[]).is_err_and(|e| e.contains("rank 1")));
        let given = dims(text, shapes, &[("M", 3)]);
        assert!(given.is_err_and(|e| e == "dimension 0 of `k` has size 2, but other sizes make it 3"));
    }

    #[test]
    fn requirements_are_checked() {
        let text = "fn f<S, T>(x: f32[S], y: f32[T]) -> () where T - S >= 0 {}";
        assert_eq!(dims(text, &[("x", &[2]), ("y", &[3])], &[]), Ok(vec![2, 3]));
        let failed = dims(text, &[("x", &[4]), ("y", &[3])], &[]);
        assert_eq!(failed, Err("`T - S >= 0` does not hold for S = 4, T = 3".to_owned()));
    }
}
