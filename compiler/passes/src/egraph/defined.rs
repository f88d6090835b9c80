//! Where a term has a value.
//!
//! In: a node and what is known of its operands. Out: the expressions that must be 0 or more, so that every guarded read under
//! the term is in range; those that a condition inside of the term implies are discharged there. A term that needs nothing
//! has a value everywhere and may be moved out of the conditions around it. Sound, not complete: what is not seen to be
//! implied stays needed.

use super::{Head, Node};
use crate::normalise::is_natural;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::graph::Const;
use sawmill_ir::index::Index;

/// What is known of where a term has a value, and of what a condition implies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Defined {
    /// Must be 0 or more, sorted.
    needs: Vec<Index>,
    /// Are 0 or more where the condition holds.
    holds: Vec<Index>,
    /// Are 0 or more where it fails.
    fails: Vec<Index>,
    /// The value, if it is an integer expression.
    index: Option<Index>,
    /// Whether it is `false`.
    never: bool,
}

impl Defined {
    /// What is known of `node`, whose operands are `args`.
    pub(super) fn of(node: &Node, args: &[&Self]) -> Self {
        let mut found = Self::default();
        match &node.head {
            Head::Read(read) => found.needs.clone_from(&read.needs),
            Head::View { needs, .. } => found.needs = needs.to_vec(),
            Head::Index(index) => found.index = Some(index.as_ref().clone()),
            Head::Const(Const::Bool(false), _) => found.never = true,
            Head::Elem(ElemOp::Select) => found.select(args),
            Head::Elem(op) => {
                found.need(args.iter().flat_map(|a| &a.needs).cloned());
                found.condition(*op, args);
            }
            Head::Reduce { masked: true, .. } | Head::Component { masked: true, .. } => {
                found.need(left(&args[0].needs, &args[1].holds));
                found.need(args[1..].iter().flat_map(|a| &a.needs).cloned());
            }
            _ => found.need(args.iter().flat_map(|a| &a.needs).cloned()),
        }
        found
    }
    /// Whether it has a value wherever its axes go.
    pub(crate) fn everywhere(&self) -> bool {
        self.needs.is_empty()
    }
    /// Takes what an equal term knows; whether each of both sides learned something.
    pub(super) fn merge(&mut self, other: Self) -> (bool, bool) {
        let mut learned = (false, false);
        let less = |a: &Vec<Index>, b: &Vec<Index>| (a.len(), a) < (b.len(), b);
        let mut take = |own: &mut Vec<Index>, new: Vec<Index>, better: bool| {
            if better {
                *own = new;
                learned.0 = true;
            } else if *own != new {
                learned.1 = true;
            }
        };
        let better = less(&other.needs, &self.needs);
        take(&mut self.needs, other.needs, better);
        let better = less(&self.holds, &other.holds);
        take(&mut self.holds, other.holds, better);
        let better = less(&self.fails, &other.fails);
        take(&mut self.fails, other.fails, better);
        if self.index.is_none() && other.index.is_some() {
            self.index = other.index;
            learned.0 = true;
        } else {
            learned.1 |= self.index != other.index;
        }
        learned.0 |= other.never && !self.never;
        learned.1 |= self.never && !other.never;
        self.never |= other.never;
        learned
    }

    fn need(&mut self, more: impl IntoIterator<Item = Index>) {
        self.needs.extend(more);
        self.needs.sort_unstable();
        self.needs.dedup();
    }
    fn select(&mut self, args: &[&Self]) {
        let [c, a, b] = args else { return };
        self.need(c.needs.iter().cloned());
        self.need(left(&a.needs, &c.holds));
        self.need(left(&b.needs, &c.fails));
        if b.never {
            self.holds = [c.holds.as_slice(), &a.holds].concat();
        }
    }
    /// What a comparison or connective implies.
    fn condition(&mut self, op: ElemOp, args: &[&Self]) {
        let all = |of: fn(&Self) -> &Vec<Index>| args.iter().flat_map(|a| of(a)).cloned().collect();
        match op {
            ElemOp::And => self.holds = all(|a| &a.holds),
            ElemOp::Or => self.fails = all(|a| &a.fails),
            ElemOp::Not => (self.holds, self.fails) = (args[0].fails.clone(), args[0].holds.clone()),
            ElemOp::Lt | ElemOp::Le => {
                let [Some(a), Some(b)] = [&args[0].index, &args[1].index] else { return };
                let one = Index::int(1);
                let (below, above) = (b.sub(a), a.sub(b));
                (self.holds, self.fails) = if op == ElemOp::Lt {
                    (vec![below.sub(&one)], vec![above])
                } else {
                    (vec![below], vec![above.sub(&one)])
                };
            }
            _ => {}
        }
    }
}

/// Those of `needs` that do not follow from one of `facts`.
fn left(needs: &[Index], facts: &[Index]) -> Vec<Index> {
    let follows = |need: &Index| facts.iter().any(|fact| is_natural(&need.sub(fact)));
    needs.iter().filter(|need| !follows(need)).cloned().collect()
}
