//! Slices with a range, `q[i, h, N..N + R]`: copied into a tensor of their own before they are passed.

use super::elab::Elab;
use super::infer::mentions;
use super::scope::Binding;
use super::stmt::Target;
use crate::ast::{BinaryOp, Expr, ExprKind, Index as BoundIndex, Name, Range, Subscript};
use crate::errors::{Loc, Problem};
use sawmill_ir::index::{Index, TensorId};

impl Elab<'_> {
    /// The tensor that holds the part, and its positions that the free indices fix.
    pub(crate) fn partial_slice(
        &mut self,
        param: &str,
        base: &Expr,
        subs: &[Subscript],
        sizes: &[Index],
        loc: Loc,
    ) -> Option<(TensorId, Vec<Option<Index>>)> {
        // The copy is made outside of closures around: positions there are taken from its whole axes.
        let in_closure = self.in_closure;
        let mut fixed: Vec<(Name, Index)> = Vec::new();
        let mut open = Vec::new();
        let mut read = Vec::new();
        for (number, (sub, size)) in subs.iter().zip(sizes).enumerate() {
            let name = Name { text: format!("p{number}'"), span: loc.start };
            match sub {
                Subscript::At(e) => {
                    let lone = self.position(e)?;
                    if in_closure {
                        if !self.in_range(&crate::print::expr(base), &lone, size, loc) {
                            return None;
                        }
                        fixed.push((name.clone(), lone));
                        read.push(Subscript::At(here(loc, &name)));
                        open.push((name, None, size.clone()));
                        continue;
                    }
                    let axis = lone.as_axis();
                    let Some(axis) = axis.filter(|axis| !self.loops.contains(axis)) else {
                        read.push(Subscript::At(e.clone()));
                        continue;
                    };
                    let extent = self.function.axes[axis].extent.clone();
                    fixed.push((name.clone(), lone));
                    read.push(Subscript::At(here(loc, &name)));
                    open.push((name, None, extent));
                }
                Subscript::All(_) => {
                    read.push(Subscript::At(here(loc, &name)));
                    open.push((name, None, size.clone()));
                }
                Subscript::Part(lo, hi, _) => {
                    let lo = lo.clone().unwrap_or(Expr { loc, kind: ExprKind::Int(0) });
                    if let Some(given) = self.given_in(&lo).or_else(|| hi.as_ref().and_then(|hi| self.given_in(hi))) {
                        let what = format!("a part whose ends depend on the closure's `{given}`");
                        self.errors.report(loc, Problem::NotBuilt { what });
                        return None;
                    }
                    let (first, last) = (self.size(&lo)?, hi.as_ref().map_or(Some(size.clone()), |hi| self.size(hi))?);
                    let sum = ExprKind::Binary(BinaryOp::Add, loc.start, Box::new(lo), Box::new(here(loc, &name)));
                    read.push(Subscript::At(Expr { loc, kind: sum }));
                    open.push((name, Some(()), last.sub(&first)));
                }
            }
        }
        let mark = self.scope.mark();
        let mut indices = Vec::new();
        for (name, _, extent) in &open {
            let size = Name { text: format!("{}#", name.text), span: name.span };
            self.scope.add(&size, super::scope::Role::Let, Binding::Exact(extent.clone()));
            let range = Range { lo: Expr { loc, kind: ExprKind::Int(0) }, hi: here(loc, &size) };
            indices.push(BoundIndex { name: name.clone(), range: Some(range) });
        }
        let value = Expr { loc, kind: ExprKind::Read(Box::new(base.clone()), read) };
        let around = std::mem::take(&mut self.params_around);
        self.in_closure = false;
        let binding = self.elements(&format!("{param}.part"), &Target::Let(None), &indices, &value, &[]);
        self.in_closure = in_closure;
        self.params_around = around;
        self.scope.leave(mark);
        let Some(Binding::Tensor(id)) = binding else { return None };
        let at =
            open.iter().map(|(name, _, _)| fixed.iter().find(|(n, _)| n.text == name.text).map(|(_, at)| at.clone()));
        Some((id, at.collect()))
    }

    /// The first parameter of a closure around that an expression mentions.
    fn given_in(&self, expr: &Expr) -> Option<String> {
        self.params_around.iter().map(|(name, _)| name).find(|name| mentions(expr, name)).cloned()
    }
}

fn here(loc: Loc, name: &Name) -> Expr {
    Expr { loc, kind: ExprKind::Name(name.clone()) }
}
