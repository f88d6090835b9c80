//! Which argument goes to which parameter, and what the callee's dims are. Reports nothing by itself, so that the search
//! of ranges can ask the same questions.

use super::call::{at_dims, dotted};
use super::elab::Elab;
use super::items::{Callable, ParameterKind};
use super::read::Base;
use super::show;
use crate::ast::{Arg, Argument, Expr, ExprKind, Name};
use crate::errors::{Diagnostic, Diagnostics, Loc, Outcome, Problem, fail};
use sawmill_ir::entity::Entity;
use sawmill_ir::graph::{DimKind, Require};
use sawmill_ir::index::{Atom, DimId, Index};
use std::collections::BTreeMap;

/// The arguments of a call by parameter, and the dims given by name.
pub(crate) struct Assigned<'e> {
    /// One entry per parameter.
    pub(crate) params: Vec<Option<&'e Argument>>,
    /// Dims given by name.
    pub(crate) dims: Vec<(DimId, &'e Expr)>,
}

/// A size of a parameter, the size it is given, and where.
struct Pair {
    wanted: Index,
    found: Index,
    param: String,
    loc: Loc,
}

impl Elab<'_> {
    /// Sorts the arguments of a call.
    pub(crate) fn assigned<'e>(&self, callee: &Callable, name: &Name, args: &'e [Arg]) -> Outcome<Assigned<'e>> {
        let mut assigned = Assigned { params: vec![None; callee.params.len()], dims: Vec::new() };
        let mut named = false;
        for (position, arg) in args.iter().enumerate() {
            let Some(label) = &arg.name else {
                if named {
                    return fail(arg.value.loc(), Problem::PositionalLate);
                }
                if position >= callee.params.len() {
                    let wanted = format!("{} arguments", callee.params.len());
                    let found = args.iter().filter(|arg| arg.name.is_none()).count();
                    return fail(name.loc(), Problem::Arguments { name: name.text.clone(), wanted, found });
                }
                assigned.params[position] = Some(&arg.value);
                continue;
            };
            named = true;
            self.assign_named(callee, name, label, &arg.value, &mut assigned)?;
        }
        for (param, arg) in callee.params.iter().zip(&assigned.params) {
            if arg.is_none() && !param.optional {
                let problem = Problem::MissingArgument { function: name.text.clone(), name: param.name.clone() };
                return fail(name.loc(), problem);
            }
        }
        Ok(assigned)
    }

    fn assign_named<'e>(
        &self,
        callee: &Callable,
        name: &Name,
        label: &Name,
        value: &'e Argument,
        assigned: &mut Assigned<'e>,
    ) -> Outcome<()> {
        if let Some(at) = callee.params.iter().position(|param| param.name == label.text) {
            if assigned.params[at].is_some() {
                return fail(label.loc(), Problem::GivenTwice { name: label.text.clone() });
            }
            assigned.params[at] = Some(value);
            return Ok(());
        }
        let dim = callee.heading.dims.iter().find(|(_, dim)| dim.name == label.text);
        match (dim, value) {
            (Some((dim, _)), Argument::Expr(expr)) => {
                assigned.dims.push((dim, expr));
                Ok(())
            }
            _ => {
                let known = callee.params.iter().map(|param| param.name.as_str());
                let help = super::scope::similar(&label.text, known);
                let what = format!("parameter of `{}`", name.text);
                fail(label.loc(), Problem::Unknown { what, name: label.text.clone(), help })
            }
        }
    }

    /// The callee's dims, with everything that disagrees reported.
    pub(crate) fn bound_dims(
        &mut self,
        callee: &Callable,
        name: &Name,
        assigned: &Assigned<'_>,
    ) -> Option<BTreeMap<DimId, Index>> {
        let mut errors = Diagnostics::default();
        let dims = self.solved(callee, name, assigned, &mut errors);
        let complete = errors.is_empty();
        self.errors.extend(errors);
        complete.then_some(dims)
    }

    /// The sizes of an output of a call. Reports nothing.
    pub(crate) fn output_shape(&self, call: &Expr, output: Option<&Name>) -> Option<Vec<Index>> {
        let ExprKind::Call(name, args) = &call.kind else { return None };
        let Some(callee) = self.items.functions.get(&name.text) else { return Some(Vec::new()) };
        let found = match output {
            None if callee.outputs.len() == 1 => callee.outputs.first()?,
            None => return None,
            Some(output) => callee.outputs.iter().find(|o| o.name == output.text)?,
        };
        let assigned = self.assigned(callee, name, args).ok()?;
        let mut errors = Diagnostics::default();
        let dims = self.solved(callee, name, &assigned, &mut errors);
        errors.is_empty().then_some(())?;
        Some(found.shape.iter().map(|size| at_dims(size, &dims)).collect())
    }

    fn solved(
        &self,
        callee: &Callable,
        name: &Name,
        assigned: &Assigned<'_>,
        errors: &mut Diagnostics,
    ) -> BTreeMap<DimId, Index> {
        let mut dims = BTreeMap::new();
        for (dim, expr) in &assigned.dims {
            match self.exact_of(expr) {
                Some(size) => {
                    dims.insert(*dim, size);
                }
                None => errors.report(expr.loc, Problem::NotASize),
            }
        }
        let (pairs, complete) = self.pairs(callee, assigned, errors);
        for pair in &pairs {
            if let Some(Atom::Dim(dim)) = pair.wanted.as_atom() {
                dims.entry(*dim).or_insert_with(|| pair.found.clone());
            }
        }
        for (dim, declared) in callee.heading.dims.iter() {
            if let (DimKind::Const(Some(default)), false) = (declared.kind, dims.contains_key(&dim)) {
                dims.insert(dim, Index::int(default));
            }
        }
        self.solve_equations(callee, &mut dims);
        for (dim, declared) in callee.heading.dims.iter() {
            if !dims.contains_key(&dim) && errors.is_empty() && complete {
                let problem = Problem::FreeDim { function: name.text.clone(), dim: declared.name.clone() };
                errors.report(name.loc(), problem);
            }
        }
        for pair in &pairs {
            let wanted = at_dims(&pair.wanted, &dims);
            if errors.is_empty() && complete && !self.same_size(&wanted, &pair.found) {
                let (shown, found) = (self.show(&wanted), self.show(&pair.found));
                let problem = Problem::SizeMismatch { name: pair.param.clone(), wanted: shown, found };
                let declared =
                    format!("`{}` of `{}` is `{}`", pair.param, name.text, show::index(&callee.heading, &pair.wanted));
                errors.push(Diagnostic::new(pair.loc, problem).with_note(name.loc(), declared));
            }
        }
        dims
    }

    /// Sizes of parameters beside sizes of arguments. The second says whether every argument has sizes: what is wrong with one
    /// that has none is found where it is passed.
    fn pairs(&self, callee: &Callable, assigned: &Assigned<'_>, errors: &mut Diagnostics) -> (Vec<Pair>, bool) {
        let mut pairs = Vec::new();
        let mut complete = true;
        for (param, arg) in callee.params.iter().zip(&assigned.params) {
            let Some(Argument::Expr(expr)) = arg else { continue };
            match &param.kind {
                ParameterKind::Tensor(id) => {
                    let wanted = &callee.heading.tensors[*id].shape;
                    if wanted.is_empty() {
                        continue;
                    }
                    let Some(found) = self.open_shape(expr) else {
                        complete = false;
                        continue;
                    };
                    if wanted.len() != found.len() {
                        let problem =
                            Problem::Rank { name: param.name.clone(), wanted: wanted.len(), found: found.len() };
                        errors.report(expr.loc, problem);
                        continue;
                    }
                    let pair = |(wanted, found): (&Index, Index)| Pair {
                        wanted: wanted.clone(),
                        found,
                        param: param.name.clone(),
                        loc: expr.loc,
                    };
                    pairs.extend(wanted.iter().zip(found).map(pair));
                }
                ParameterKind::Record { ty, lists, fields, .. } => {
                    let record = match self.base_of(expr) {
                        Some(Base::Record(record)) if record.ty == *ty && record.lens.len() == *lists => record,
                        _ => {
                            let one = if ty.is_empty() { "_[..]".to_string() } else { format!("{ty}<..>") };
                            let whole = (0..*lists).fold(one, |entry, _| format!("[{entry}; ..]"));
                            let wanted = if *lists > 0 { format!("a list `{whole}`") } else { format!("a `{whole}`") };
                            errors.report(expr.loc, Problem::ArgumentSort { name: param.name.clone(), wanted });
                            continue;
                        }
                    };
                    for (suffix, id) in fields {
                        let Some((given, at)) = self.field_slice(&record, suffix) else { continue };
                        let open = at.iter().zip(&self.function.tensors[given].shape).filter(|(at, _)| at.is_none());
                        for (wanted, (_, found)) in callee.heading.tensors[*id].shape.iter().zip(open) {
                            let param = dotted(&param.name, suffix);
                            pairs.push(Pair { wanted: wanted.clone(), found: found.clone(), param, loc: expr.loc });
                        }
                    }
                }
                ParameterKind::Closure(_) => {}
            }
        }
        (pairs, complete)
    }

    /// An equation with exactly one unbound dim binds it.
    fn solve_equations(&self, callee: &Callable, dims: &mut BTreeMap<DimId, Index>) {
        let mut changed = true;
        while changed {
            changed = false;
            for require in &callee.heading.requires {
                let Require::Equal(a, b) = require else { continue };
                let difference = a.sub(b);
                let Some(open) = lone_open_dim(&difference, dims) else { continue };
                let hole = DimId::new(usize::from(u16::MAX));
                dims.insert(open, Index::dim(hole));
                let solved = self.isolate(&self.canon(&at_dims(&difference, dims)), hole);
                match solved {
                    Some(size) => {
                        dims.insert(open, size);
                        changed = true;
                    }
                    None => {
                        dims.remove(&open);
                    }
                }
            }
        }
    }

    /// The value of `hole` where `value` is 0.
    fn isolate(&self, value: &Index, hole: DimId) -> Option<Index> {
        let atom = Atom::Dim(hole);
        let (mut coefficient, mut rest) = (Index::int(0), Index::int(0));
        for (monomial, factor) in value.terms() {
            let occurs = monomial.iter().filter(|a| **a == atom).count();
            let others = monomial.iter().filter(|a| **a != atom);
            let product = others.fold(Index::int(factor), |p, a| p.mul(&Index::atom(a.clone())));
            match occurs {
                0 => rest = rest.add(&product),
                1 => coefficient = coefficient.add(&product),
                _ => return None,
            }
        }
        let negative = coefficient.terms().all(|(_, c)| c < 0);
        let (coefficient, rest) = if negative { (coefficient.scale(-1), rest) } else { (coefficient, rest.scale(-1)) };
        let mut nested = false;
        rest.for_each_atom(&mut |a| nested |= *a == atom);
        (!nested).then(|| rest.div(&coefficient))
    }
}

fn lone_open_dim(value: &Index, dims: &BTreeMap<DimId, Index>) -> Option<DimId> {
    let mut open = std::collections::BTreeSet::new();
    value.for_each_atom(&mut |atom| {
        if let Atom::Dim(dim) = atom
            && !dims.contains_key(dim)
        {
            open.insert(*dim);
        }
    });
    let mut open = open.into_iter();
    open.next().filter(|_| open.next().is_none())
}
