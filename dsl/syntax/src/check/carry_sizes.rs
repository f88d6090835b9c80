//! The sizes of a carry's axes, from its uses in the loop.
//!
//! A carry is read and assigned through `let`s and other carries of the loop, whose own sizes are not known when the loop opens.
//! In: the loop and one of its carries. Out: reads of tensors of known sizes whose subscript is an index of the carry, found by
//! following the names of the loop from position to position (unification by a worklist).

use super::elab::Elab;
use super::infer::for_each_part;
use crate::ast::{Bind, Carry, Expr, ExprKind, Index as BoundIndex, Loop, Name, Stmt, Subscript};
use std::collections::{BTreeMap, BTreeSet};

/// What the loop defines: left and right sides by name.
type Definitions<'e> = BTreeMap<&'e str, Vec<(&'e [BoundIndex], &'e Expr)>>;

impl Elab<'_> {
    /// Reads that tell the ranges of the indices of `carry`; right sides that are left of an error as they are.
    pub(crate) fn carry_uses(&self, stmt: &Loop, carry: &Carry) -> Vec<Expr> {
        let mut known: Definitions<'_> = BTreeMap::new();
        carries(&stmt.carries, &mut known);
        definitions(&stmt.body, &mut known);
        let own = carry.place.name.text.as_str();
        let mut uses: Vec<Expr> = known
            .get(own)
            .into_iter()
            .flatten()
            .map(|(_, value)| *value)
            .filter(|e| self.mentions_poison(e))
            .cloned()
            .collect();
        for (at, index) in carry.place.indices.iter().flatten().enumerate() {
            let mut open: Vec<(&str, usize)> = vec![(own, at)];
            if let Some(condition) = &stmt.reset {
                self.follow(condition, &index.name.text, &index.name, &known, &mut open, &mut uses);
            }
            let mut seen: BTreeSet<(&str, usize)> = BTreeSet::new();
            while let Some((name, at)) = open.pop() {
                if !seen.insert((name, at)) {
                    continue;
                }
                for (indices, value) in known.get(name).into_iter().flatten() {
                    let Some(inner) = indices.get(at) else { continue };
                    self.follow(value, &inner.name.text, &index.name, &known, &mut open, &mut uses);
                }
            }
        }
        uses
    }

    /// Bare uses of the index `inner` in `expr`: of names of the loop, to be followed; of tensors of known sizes, as reads at `index`.
    fn follow<'e>(
        &self,
        expr: &Expr,
        inner: &str,
        index: &Name,
        known: &Definitions<'e>,
        open: &mut Vec<(&'e str, usize)>,
        uses: &mut Vec<Expr>,
    ) {
        if let ExprKind::Read(base, subs) = &expr.kind {
            for (at, sub) in subs.iter().enumerate().filter(|(_, sub)| is_index(sub, inner)) {
                let here = match &base.kind {
                    ExprKind::Name(name) => known.get_key_value(name.text.as_str()),
                    _ => None,
                };
                if let Some((name, _)) = here {
                    open.push((*name, at));
                } else if self.base_shape(base).is_some() {
                    let Subscript::At(e) = sub else { continue };
                    let index = Expr { loc: e.loc, kind: ExprKind::Name(index.clone()) };
                    uses.push(read_at(expr, base, (subs.len(), at), &index));
                }
            }
        }
        if let ExprKind::Bracketed { indices, .. } = &expr.kind
            && indices.iter().any(|bound| bound.name.text == inner)
        {
            return;
        }
        for_each_part(expr, &mut |part| self.follow(part, inner, index, known, open, uses), inner);
    }
}

fn is_index(sub: &Subscript, index: &str) -> bool {
    matches!(sub, Subscript::At(Expr { kind: ExprKind::Name(name), .. }) if name.text == index)
}

/// The read `expr` of `base`, with `index` as the subscript at one of its positions and 0 at the others.
fn read_at(expr: &Expr, base: &Expr, (rank, position): (usize, usize), index: &Expr) -> Expr {
    let zero = || Expr { loc: expr.loc, kind: ExprKind::Int(0) };
    let sub = |at| Subscript::At(if at == position { index.clone() } else { zero() });
    Expr { loc: expr.loc, kind: ExprKind::Read(Box::new(base.clone()), (0..rank).map(sub).collect()) }
}

fn carries<'e>(list: &'e [Carry], known: &mut Definitions<'e>) {
    for carry in list {
        let indices = carry.place.indices.as_deref().unwrap_or_default();
        known.entry(&carry.place.name.text).or_default().push((indices, &carry.init));
    }
}

fn definitions<'e>(body: &'e [Stmt], known: &mut Definitions<'e>) {
    for stmt in body {
        match stmt {
            Stmt::Let { bind: Bind::Place(place), value, .. } | Stmt::Assign { bind: Bind::Place(place), value } => {
                let indices = place.indices.as_deref().unwrap_or_default();
                known.entry(&place.name.text).or_default().push((indices, value));
            }
            Stmt::Loop(inner) => {
                carries(&inner.carries, known);
                definitions(&inner.body, known);
            }
            Stmt::Let { .. } | Stmt::Assign { .. } | Stmt::Push(_) => {}
        }
    }
}
