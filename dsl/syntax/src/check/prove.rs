//! Proofs that a value is not negative, from facts about sizes and positions.
//!
//! In: a goal `p >= 0` and a conjunction of facts. Out: proved or not; "not proved" never means "assumed". Method: monomials
//! are the variables of a linear system. Facts about quotients, remainders, minima and reads of promised tensors are
//! added; facts are multiplied by dims that occur beside their atoms; then the negated goal is refuted by Fourier-Motzkin
//! elimination with integer tightening. Everything is bounded: facts, cases of disjunctions, rows.

use super::formula::Formula;
use sawmill_ir::index::{Atom, Index};
use std::collections::{BTreeMap, BTreeSet};

/// Facts of one proof.
const FACTS: usize = 96;
/// Cases into which disjunctions are split; disjunctions beyond are dropped.
const CASES: usize = 8;
/// Rows of an elimination.
const ROWS: usize = 600;

/// What the prover must know of atoms.
pub(crate) trait Known {
    /// Whether a dim is at least 1 (else at least 0).
    fn positive(&self, atom: &Atom) -> bool;
    /// The half-open range of an integer read.
    fn bounds(&self, atom: &Atom) -> Option<(Index, Index)>;
}

/// Whether `facts` imply `goal`.
pub(crate) fn proves(known: &dyn Known, facts: &[Formula], goal: &Formula) -> bool {
    match goal {
        Formula::True => true,
        Formula::False => refutes(known, facts, &[]),
        Formula::NonNegative(p) => {
            let negated = p.scale(-1).sub(&Index::int(1));
            facts.contains(goal) || refutes(known, facts, &[negated])
        }
        Formula::Opaque { .. } => holds(facts, goal) || refutes(known, facts, &[]),
        Formula::And(parts) => parts.iter().all(|part| proves(known, facts, part)),
        Formula::Or(parts) => parts.iter().enumerate().any(|(at, part)| {
            let mut extended = facts.to_vec();
            extended.extend(parts.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, p)| p.negated()));
            proves(known, &extended, part)
        }),
    }
}

/// The condition stands among the facts, or in every part of one that is a disjunction.
fn holds(facts: &[Formula], goal: &Formula) -> bool {
    facts.iter().any(|fact| match fact {
        Formula::And(parts) => holds(parts, goal),
        Formula::Or(parts) => parts.iter().all(|part| holds(std::slice::from_ref(part), goal)),
        other => other == goal,
    })
}

/// Whether the facts and the linear `extra >= 0` cannot hold together.
fn refutes(known: &dyn Known, facts: &[Formula], extra: &[Index]) -> bool {
    let mut linear = extra.to_vec();
    let mut choices: Vec<Vec<Formula>> = Vec::new();
    facts.iter().for_each(|fact| spread(fact, &mut linear, &mut choices));
    cases(known, &linear, &choices, CASES)
}

fn spread(fact: &Formula, linear: &mut Vec<Index>, choices: &mut Vec<Vec<Formula>>) {
    match fact {
        Formula::True | Formula::Opaque { .. } => {}
        Formula::False => linear.push(Index::int(-1)),
        Formula::NonNegative(p) => linear.push(p.clone()),
        Formula::And(parts) => parts.iter().for_each(|part| spread(part, linear, choices)),
        Formula::Or(parts) => choices.push(parts.clone()),
    }
}

/// Refutes every combination of the choices.
fn cases(known: &dyn Known, linear: &[Index], choices: &[Vec<Formula>], budget: usize) -> bool {
    let mut facts = linear.to_vec();
    let mut splits = choices.to_vec();
    complete(known, &mut facts, &mut splits);
    if contradictory(&facts) {
        return true;
    }
    let affordable = splits.iter().position(|parts| parts.len() <= budget && parts.len() > 1);
    let Some(at) = affordable else { return false };
    let parts = splits.remove(at);
    parts.iter().all(|part| {
        let mut case = facts.clone();
        let mut rest = splits.clone();
        spread(part, &mut case, &mut rest);
        cases(known, &case, &rest, budget / parts.len())
    })
}

/// Adds what follows from the atoms in sight, then products with dims.
fn complete(known: &dyn Known, facts: &mut Vec<Index>, choices: &mut Vec<Vec<Formula>>) {
    let mut seen = BTreeSet::new();
    loop {
        let fresh: Vec<Atom> = atoms(facts).into_iter().filter(|atom| seen.insert(atom.clone())).collect();
        if fresh.is_empty() || facts.len() > FACTS {
            break;
        }
        for atom in fresh {
            about(known, &atom, facts, choices);
        }
    }
    lengths(facts);
    for _ in 0..2 {
        products(facts);
    }
}

/// `bit_length` grows with its operand.
fn lengths(facts: &mut Vec<Index>) {
    let of = |atom: Atom| match atom {
        Atom::BitLength(value) => Some(*value),
        _ => None,
    };
    let operands: Vec<Index> = atoms(facts).into_iter().filter_map(of).collect();
    let mut grown = Vec::new();
    for (at, a) in operands.iter().enumerate() {
        for (_, b) in operands.iter().enumerate().filter(|(other, _)| *other != at) {
            if not_negative(&b.sub(a), facts) && not_negative(a, facts) {
                grown.push(b.bit_length().sub(&a.bit_length()));
            }
        }
    }
    facts.extend(grown);
}

fn atoms(facts: &[Index]) -> BTreeSet<Atom> {
    let mut found = BTreeSet::new();
    for fact in facts {
        for atom in fact.terms().flat_map(|(monomial, _)| monomial) {
            // What a length is of is compared with what others are of.
            if let Atom::BitLength(value) = atom {
                found.extend(atoms(std::slice::from_ref(value)));
            }
            found.insert(atom.clone());
        }
    }
    found
}

/// The facts that an atom carries by its own nature.
fn about(known: &dyn Known, atom: &Atom, facts: &mut Vec<Index>, choices: &mut Vec<Vec<Formula>>) {
    let this = Index::atom(atom.clone());
    let one = Index::int(1);
    match atom {
        Atom::Dim(_) => facts.push(if known.positive(atom) { this.sub(&one) } else { this }),
        Atom::Div(e, m) if at_least_one(known, m, facts) => {
            facts.push(e.sub(&m.mul(&this)));
            facts.push(m.mul(&this).add(m).sub(&one).sub(e));
            let bounds = quotient_bounds(&this, e, m, facts);
            facts.extend(bounds);
            if not_negative(e, facts) {
                facts.push(this);
            }
        }
        Atom::Rem(e, m) if at_least_one(known, m, facts) => {
            let quotient = Index::atom(Atom::Div(e.clone(), m.clone()));
            let value = e.sub(&m.mul(&quotient));
            facts.push(this.clone());
            facts.push(m.sub(&one).sub(&this));
            facts.push(value.sub(&this));
            facts.push(this.sub(&value));
        }
        Atom::Min(a, b) => {
            facts.push(a.sub(&this));
            facts.push(b.sub(&this));
            choices.push(vec![Formula::le(a, &this), Formula::le(b, &this)]);
        }
        Atom::Max(a, b) => {
            facts.push(this.sub(a));
            facts.push(this.sub(b));
            choices.push(vec![Formula::le(&this, a), Formula::le(&this, b)]);
        }
        Atom::BitLength(_) => facts.push(this),
        Atom::Read(..) | Atom::Param(_) => {
            if let Some((lo, hi)) = known.bounds(atom) {
                facts.push(this.sub(&lo));
                facts.push(hi.sub(&one).sub(&this));
            }
        }
        // Without a divisor that is known to be positive, a quotient of what is not negative is not negative: `x / 0` is 0.
        Atom::Div(e, m) if facts.contains(e) && m.terms().all(|(p, c)| c > 0 && p.iter().all(is_dim)) => {
            facts.push(this)
        }
        Atom::Axis(_) | Atom::Div(..) | Atom::Rem(..) => {}
    }
}

/// `e / m <= x / m - 1` for every fact `e <= x - 1` of which `m` divides the `x`.
fn quotient_bounds(quotient: &Index, e: &Index, m: &Index, facts: &[Index]) -> Vec<Index> {
    let mut bounds = Vec::new();
    for fact in facts {
        let above = fact.add(e).add(&Index::int(1));
        let whole = above.rem(m).as_int() == Some(0);
        if whole && above.terms().count() + e.terms().count() <= fact.terms().count() + 2 {
            bounds.push(above.div(m).sub(&Index::int(1)).sub(quotient));
        }
    }
    bounds
}

/// The facts as they stand show that `e` is 0 or more.
fn not_negative(e: &Index, facts: &[Index]) -> bool {
    let mut rows = facts.to_vec();
    rows.push(e.scale(-1).sub(&Index::int(1)));
    contradictory(&rows)
}

/// A divisor is at least 1: by its kind, or because a product of dims with it is.
fn at_least_one(known: &dyn Known, m: &Index, facts: &[Index]) -> bool {
    if let Some(value) = m.as_int() {
        return value >= 1;
    }
    let mut terms = m.terms();
    if let (Some((monomial, 1)), None) = (terms.next(), terms.next()) {
        let dims = monomial.iter().all(is_dim);
        if dims && monomial.iter().all(|atom| known.positive(atom)) {
            return true;
        }
        if dims && products_of_dims(facts).iter().any(|p| contains(p, monomial) && above(known, p, facts)) {
            return true;
        }
    }
    let mut rows = facts.to_vec();
    rows.push(Index::int(0).sub(m));
    contradictory(&rows)
}

fn is_dim(atom: &Atom) -> bool {
    matches!(atom, Atom::Dim(_))
}

fn products_of_dims(facts: &[Index]) -> BTreeSet<Vec<Atom>> {
    let of_dims = |m: &&[Atom]| !m.is_empty() && m.iter().all(is_dim);
    facts.iter().flat_map(|fact| fact.terms().map(|(m, _)| m).filter(of_dims).map(<[Atom]>::to_vec)).collect()
}

fn contains(product: &[Atom], part: &[Atom]) -> bool {
    let mut left = product.to_vec();
    part.iter().all(|atom| left.iter().position(|a| a == atom).map(|at| left.remove(at)).is_some())
}

fn above(known: &dyn Known, product: &[Atom], facts: &[Index]) -> bool {
    let value = product.iter().fold(Index::int(1), |p, atom| p.mul(&Index::atom(atom.clone())));
    let mut rows = facts.to_vec();
    for atom in product {
        let dim = Index::atom(atom.clone());
        rows.push(if known.positive(atom) { dim.sub(&Index::int(1)) } else { dim });
    }
    rows.push(Index::int(0).sub(&value));
    contradictory(&rows)
}

/// Multiplies each fact by each dim that stands beside one of its atoms in a product.
fn products(facts: &mut Vec<Index>) {
    let mut beside: BTreeSet<(Atom, Atom)> = BTreeSet::new();
    for fact in facts.iter() {
        for (monomial, _) in fact.terms().filter(|(m, _)| m.len() > 1) {
            for (at, dim) in monomial.iter().enumerate().filter(|(_, atom)| matches!(atom, Atom::Dim(_))) {
                let others = monomial.iter().enumerate().filter(|(other, _)| *other != at);
                beside.extend(others.map(|(_, atom)| (dim.clone(), atom.clone())));
            }
        }
    }
    let known: BTreeSet<Index> = facts.iter().cloned().collect();
    let mut made = BTreeSet::new();
    for (dim, atom) in beside {
        for fact in facts.iter() {
            let small = fact.terms().all(|(m, _)| m.len() <= 2);
            let about = fact.terms().any(|(m, _)| m.len() == 1 && m[0] == atom);
            if small && about {
                let product = fact.mul(&Index::atom(dim.clone()));
                if !known.contains(&product) {
                    made.insert(product);
                }
            }
        }
    }
    let room = (2 * FACTS).saturating_sub(facts.len());
    facts.extend(made.into_iter().take(room));
}

/// `sum of coefficients * variables + constant >= 0`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    coefficients: BTreeMap<usize, i128>,
    constant: i128,
}

impl Row {
    /// Divides by the common factor and rounds the constant down: sound for integers.
    fn tightened(mut self) -> Row {
        let factor = self.coefficients.values().fold(0_i128, |g, c| gcd(g, c.abs()));
        if factor > 1 {
            self.coefficients.values_mut().for_each(|c| *c /= factor);
            self.constant = self.constant.div_euclid(factor);
        }
        self
    }
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Fourier-Motzkin: whether `facts >= 0` have no common solution.
fn contradictory(facts: &[Index]) -> bool {
    let mut variables: BTreeMap<Vec<Atom>, usize> = BTreeMap::new();
    let mut rows: BTreeSet<Row> = BTreeSet::new();
    for fact in facts {
        let mut row = Row { coefficients: BTreeMap::new(), constant: 0 };
        for (monomial, coefficient) in fact.terms() {
            if monomial.is_empty() {
                row.constant = i128::from(coefficient);
            } else {
                let next = variables.len();
                let variable = *variables.entry(monomial.to_vec()).or_insert(next);
                row.coefficients.insert(variable, i128::from(coefficient));
            }
        }
        rows.insert(row.tightened());
    }
    loop {
        if rows.iter().any(|row| row.coefficients.is_empty() && row.constant < 0) {
            return true;
        }
        let Some(variable) = cheapest(&rows) else { return false };
        rows = eliminate(rows, variable);
        if rows.len() > ROWS {
            return false;
        }
    }
}

/// The variable whose elimination loses nothing on integers (all its coefficients are 1 or -1), then the one that adds the
/// fewest rows.
fn cheapest(rows: &BTreeSet<Row>) -> Option<usize> {
    let mut count: BTreeMap<usize, (bool, usize, usize)> = BTreeMap::new();
    for row in rows {
        for (variable, coefficient) in &row.coefficients {
            let entry = count.entry(*variable).or_default();
            entry.0 |= coefficient.abs() != 1;
            if *coefficient > 0 { entry.1 += 1 } else { entry.2 += 1 }
        }
    }
    count.into_iter().min_by_key(|(_, (lossy, lower, upper))| (*lossy, lower * upper)).map(|(variable, _)| variable)
}

fn eliminate(rows: BTreeSet<Row>, variable: usize) -> BTreeSet<Row> {
    let mut kept = BTreeSet::new();
    let (mut lower, mut upper) = (Vec::new(), Vec::new());
    for row in rows {
        match row.coefficients.get(&variable) {
            None => {
                kept.insert(row);
            }
            Some(c) if *c > 0 => lower.push(row),
            Some(_) => upper.push(row),
        }
    }
    for a in &lower {
        for b in &upper {
            if let Some(row) = combine(a, b, variable) {
                kept.insert(row);
            }
        }
    }
    kept
}

/// The sum of two rows in which `variable` cancels; `None` on overflow, which only loses a fact.
fn combine(a: &Row, b: &Row, variable: usize) -> Option<Row> {
    let (up, down) = (a.coefficients[&variable], -b.coefficients[&variable]);
    let mut coefficients = BTreeMap::new();
    for (row, factor) in [(a, down), (b, up)] {
        for (v, c) in &row.coefficients {
            let entry: &mut i128 = coefficients.entry(*v).or_insert(0);
            *entry = entry.checked_add(c.checked_mul(factor)?)?;
        }
    }
    coefficients.retain(|_, c| *c != 0);
    let constant = a.constant.checked_mul(down)?.checked_add(b.constant.checked_mul(up)?)?;
    Some(Row { coefficients, constant }.tightened())
}
