//! Drops terms and axes that nothing uses and renumbers the rest, in order.

use sawmill_ir::entity::{Arena, Entity};
use sawmill_ir::graph::{Arg, Function, Op, TensorKind, Term, TermId};
use std::collections::BTreeMap;

/// Removes the unused terms of a function.
pub(crate) fn compact(function: &mut Function) {
    let mut used = vec![false; function.terms.len()];
    for root in roots(function) {
        used[root.index()] = true;
    }
    for id in function.terms.keys().rev() {
        if used[id.index()] {
            for operand in operands(&function.terms[id]) {
                used[operand.index()] = true;
            }
        }
    }
    let mut renamed: BTreeMap<TermId, TermId> = BTreeMap::new();
    let mut kept = Arena::new();
    for (id, term) in function.terms.iter().filter(|(id, _)| used[id.index()]) {
        let mut term = term.clone();
        rename_operands(&mut term, &renamed);
        renamed.insert(id, kept.push(term));
    }
    function.terms = kept;
    rename_roots(function, &renamed);
}

fn roots(function: &Function) -> Vec<TermId> {
    let mut roots = Vec::new();
    for tensor in function.tensors.values() {
        match &tensor.kind {
            TensorKind::Input(input) => roots.extend(input.default),
            TensorKind::Def { value, .. } | TensorKind::Append { value, .. } => roots.push(*value),
            TensorKind::Carry | TensorKind::Final => {}
        }
    }
    roots.extend(function.closures.values().filter_map(|c| c.default.as_ref()).map(|c| c.body));
    roots
}

fn operands(term: &Term) -> Vec<TermId> {
    let mut operands = term.args.clone();
    if let Op::Call { args, .. } = &term.op {
        operands.extend(args.iter().filter_map(|(_, arg)| match arg {
            Arg::Closure(closure) => Some(closure.body),
            _ => None,
        }));
    }
    operands
}

fn rename_operands(term: &mut Term, renamed: &BTreeMap<TermId, TermId>) {
    term.args.iter_mut().for_each(|arg| *arg = renamed[arg]);
    if let Op::Call { args, .. } = &mut term.op {
        for (_, arg) in args {
            if let Arg::Closure(closure) = arg {
                closure.body = renamed[&closure.body];
            }
        }
    }
}

fn rename_roots(function: &mut Function, renamed: &BTreeMap<TermId, TermId>) {
    for id in function.tensors.keys() {
        match &mut function.tensors[id].kind {
            TensorKind::Input(input) => input.default = input.default.map(|term| renamed[&term]),
            TensorKind::Def { value, .. } | TensorKind::Append { value, .. } => *value = renamed[value],
            TensorKind::Carry | TensorKind::Final => {}
        }
    }
    for id in function.closures.keys() {
        if let Some(closure) = &mut function.closures[id].default {
            closure.body = renamed[&closure.body];
        }
    }
}
