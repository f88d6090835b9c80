//! The order in which functions are checked: callees first, and no recursion.

use super::infer::for_each_part;
use crate::ast::{Argument, Expr, ExprKind, Function, Stmt};
use crate::errors::{Diagnostics, Problem};
use std::collections::{BTreeMap, BTreeSet};

/// Sorts functions so that a function follows what it calls. Cycles are reported; the second of a pair says that the
/// function is on one.
pub(crate) fn callees_first<'f>(functions: &[&'f Function], errors: &mut Diagnostics) -> Vec<(&'f Function, bool)> {
    let by_name: BTreeMap<&str, &Function> = functions.iter().map(|f| (f.signature.name.text.as_str(), *f)).collect();
    let mut walk =
        Walk { by_name, done: BTreeSet::new(), cyclic: BTreeSet::new(), path: Vec::new(), order: Vec::new(), errors };
    for function in functions {
        walk.visit(function);
    }
    let Walk { order, cyclic, .. } = walk;
    order.into_iter().map(|f| (f, cyclic.contains(&f.signature.name.text))).collect()
}

struct Walk<'f, 'e> {
    by_name: BTreeMap<&'f str, &'f Function>,
    done: BTreeSet<String>,
    cyclic: BTreeSet<String>,
    path: Vec<String>,
    order: Vec<&'f Function>,
    errors: &'e mut Diagnostics,
}

impl<'f> Walk<'f, '_> {
    fn visit(&mut self, function: &'f Function) {
        let name = &function.signature.name;
        if let Some(at) = self.path.iter().position(|n| *n == name.text) {
            self.cyclic.extend(self.path[at..].iter().cloned());
            let mut cycle: Vec<String> = self.path[at..].iter().map(|n| format!("`{n}`")).collect();
            cycle.push(format!("`{}`", name.text));
            self.errors.report(name.loc(), Problem::Recursive { cycle: cycle.join(" calls ") });
            return;
        }
        if self.done.contains(&name.text) {
            return;
        }
        self.path.push(name.text.clone());
        let mut called = BTreeSet::new();
        calls_in_body(&function.body, &mut called);
        for callee in called {
            if let Some(callee) = self.by_name.get(callee.as_str()).copied() {
                self.visit(callee);
            }
        }
        self.path.pop();
        self.done.insert(name.text.clone());
        self.order.push(function);
    }
}

fn calls_in_body(body: &[Stmt], called: &mut BTreeSet<String>) {
    for stmt in body {
        match stmt {
            Stmt::Let { value, .. } | Stmt::Assign { value, .. } => calls_in(value, called),
            Stmt::Loop(inner) => {
                inner.carries.iter().for_each(|carry| calls_in(&carry.init, called));
                calls_in_body(&inner.body, called);
            }
            Stmt::Push(push) => push.fields.iter().for_each(|(_, value)| calls_in(value, called)),
        }
    }
}

fn calls_in(expr: &Expr, called: &mut BTreeSet<String>) {
    if let ExprKind::Call(name, args) = &expr.kind {
        called.insert(name.text.clone());
        for arg in args {
            if let Argument::Closure(closure) = &arg.value {
                calls_in(&closure.body, called);
            }
        }
    }
    for_each_part(expr, &mut |part| calls_in(part, called), "");
}
