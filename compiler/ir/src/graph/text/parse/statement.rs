//! Parses statements: definitions, appends, loops.
//!
//! In: tokens inside of a function's or a loop's braces. Out: statements in order; what they define is entered under its
//! name. Axes of a definition are in scope until its end, those of a loop until its brace closes.

use super::{Parser, Result};
use crate::graph::{Carry, Loop, Stmt, Tensor, TensorKind};
use crate::index::TensorId;

impl Parser {
    /// Statements up to `}`, which is taken.
    pub(super) fn block(&mut self) -> Result<Vec<Stmt>> {
        let mut stmts = Vec::new();
        while !self.eat("}") {
            stmts.push(self.stmt()?);
        }
        Ok(stmts)
    }
    fn stmt(&mut self) -> Result<Stmt> {
        if self.eat_word("let") {
            self.define().map(Stmt::Define)
        } else if self.eat_word("append") {
            self.append().map(Stmt::Define)
        } else if self.eat_word("for") {
            self.deeper()?;
            let steps = self.steps();
            self.depth -= 1;
            steps.map(Stmt::Loop)
        } else {
            self.fail("expected `let`, `append`, `for` or `}`")
        }
    }
    fn define(&mut self) -> Result<TensorId> {
        let place = self.at;
        let name = self.name()?;
        self.expect("[")?;
        let scope = self.positions.len();
        let axes = self.list("]", |p| p.binder(true))?;
        let elem = if self.eat(":") { Some(self.elem()?) } else { None };
        let rounded = self.eat_word("rounded");
        self.expect("=")?;
        let at = self.at;
        let value = self.term()?;
        self.positions.truncate(scope);
        let id = self.build.define(&name, elem, axes, value, rounded);
        let id = self.placed(at, id)?;
        self.expect(";")?;
        self.fresh(place, &name, id, |p| &mut p.tensors)?;
        Ok(id)
    }
    fn append(&mut self) -> Result<TensorId> {
        let place = self.at;
        let name = self.name()?;
        self.expect("[")?;
        let scope = self.positions.len();
        let axes = self.list("]", |p| p.binder(true))?;
        self.expect_word("to")?;
        let base = self.tensor()?;
        let at = if self.eat("[") { self.list("]", Self::index)? } else { Vec::new() };
        self.expect_word("dim")?;
        let dim = self.unsigned()?;
        self.expect("=")?;
        let value_at = self.at;
        let value = self.term()?;
        self.positions.truncate(scope);
        let id = self.build.append(&name, (base, at), dim, axes, value);
        let id = self.placed(value_at, id)?;
        self.expect(";")?;
        self.fresh(place, &name, id, |p| &mut p.tensors)?;
        Ok(id)
    }
    fn steps(&mut self) -> Result<Loop> {
        let scope = self.positions.len();
        let index = self.binder(false)?;
        let rev = self.eat_word("rev");
        let mut carries = Vec::new();
        if self.eat_word("carry") {
            carries.push(self.carry()?);
            while self.eat(",") {
                carries.push(self.carry()?);
            }
        }
        self.expect("{")?;
        let body = self.block()?;
        self.positions.truncate(scope);
        if !carries.is_empty() {
            self.expect_word("final")?;
        }
        for (at, carry) in carries.iter_mut().enumerate() {
            if at > 0 {
                self.expect(",")?;
            }
            self.finish_carry(carry)?;
        }
        if !carries.is_empty() {
            self.expect(";")?;
        }
        Ok(Loop { index, rev, carries, body })
    }
    /// `name: elem = init`. Until its end is read, the carry ends as it begins.
    fn carry(&mut self) -> Result<Carry> {
        let place = self.at;
        let name = self.name()?;
        self.expect(":")?;
        let elem = self.elem()?;
        self.expect("=")?;
        let init = self.tensor()?;
        let shape = self.build.function().tensors[init].shape.clone();
        let inside = self.build.tensor(Tensor { name: name.clone(), elem, shape, kind: TensorKind::Carry });
        self.fresh(place, &name, inside, |p| &mut p.tensors)?;
        Ok(Carry { init, inside, next: inside, result: inside })
    }
    fn finish_carry(&mut self, carry: &mut Carry) -> Result<()> {
        let place = self.at;
        let name = self.name()?;
        self.expect("=")?;
        carry.next = self.tensor()?;
        let inside = self.build.function().tensors[carry.inside].clone();
        carry.result = self.build.tensor(Tensor { name: name.clone(), kind: TensorKind::Final, ..inside });
        self.fresh(place, &name, carry.result, |p| &mut p.tensors)
    }
}
