//! Parses terms.
//!
//! An operation is a word with its attributes in brackets and its operands in parentheses; `: type` after a term states a
//! type that the tables do not give. `%1 = term` names a term for later uses `%1`.

use super::{Parser, Result};
use crate::dtype::DType;
use crate::elem::{ElemOp, ReduceOp};
use crate::graph::text::lex::Tok;
use crate::graph::typing::{Scope, infer, reduce_dtype};
use crate::graph::{Arg, CallResult, Component, Const, Elem, Op, Repair, TermId};
use crate::index::Atom;

impl Parser {
    /// One term.
    pub(super) fn term(&mut self) -> Result<TermId> {
        self.deeper()?;
        let term = if self.eat("%") { self.labelled() } else { self.unlabelled() };
        self.depth -= 1;
        term
    }
    fn labelled(&mut self) -> Result<TermId> {
        let at = self.at;
        let label = u64::from(self.unsigned()?);
        if self.eat("=") {
            let term = self.unlabelled()?;
            if self.labels.insert(label, term).is_some() {
                return self.fail_at(at, format!("%{label} is named twice"));
            }
            return Ok(term);
        }
        match self.labels.get(&label) {
            Some(term) => Ok(*term),
            None => self.fail_at(at, format!("%{label} is not named before")),
        }
    }
    fn unlabelled(&mut self) -> Result<TermId> {
        let at = self.at;
        let (op, args) = self.operation()?;
        let stated = if self.eat(":") { Some(self.dtype()?) } else { None };
        self.finish(at, op, args, stated)
    }
    fn finish(&mut self, at: usize, op: Op, args: Vec<TermId>, stated: Option<DType>) -> Result<TermId> {
        let op = match (op, stated) {
            (Op::Const(Const::Int(value)), Some(dtype)) if dtype.is_float() => Op::Const(Const::float(value as f64)),
            (op, _) => op,
        };
        let dtype = match stated {
            Some(dtype) => dtype,
            None => {
                let scope = self.scopes.last().cloned().unwrap_or_default();
                self.placed(at, infer(self.build.function(), &op, &args, &scope))?
            }
        };
        Ok(self.build.typed(op, args, dtype))
    }

    fn operation(&mut self) -> Result<(Op, Vec<TermId>)> {
        let leaf = |op: Op| Ok((op, Vec::new()));
        let negative = self.eat("-");
        match self.peek().clone() {
            Tok::Int(size) => {
                let value = if negative { 0_i64.checked_sub_unsigned(size) } else { i64::try_from(size).ok() };
                let Some(value) = value else { return self.fail("the number does not fit 64 bits") };
                self.next();
                leaf(Op::Const(Const::Int(value)))
            }
            Tok::Float(size) => {
                self.next();
                leaf(Op::Const(Const::float(if negative { -size } else { size })))
            }
            Tok::Word(word) if word == "inf" => {
                self.next();
                leaf(Op::Const(Const::float(if negative { f64::NEG_INFINITY } else { f64::INFINITY })))
            }
            _ if negative => self.fail("expected a number"),
            Tok::Punct("#") => {
                self.next();
                leaf(Op::Index(self.tight_index()?))
            }
            Tok::Word(word) if super::super::is_reserved(&word) => self.word(&word),
            Tok::Word(name) | Tok::Quoted(name) => self.named(&name),
            _ => self.fail("expected a term"),
        }
    }
    /// A read, or a parameter of the closure around.
    fn named(&mut self, name: &str) -> Result<(Op, Vec<TermId>)> {
        let at = self.at;
        self.next();
        let guarded = self.eat("?");
        if guarded || self.peek() == &Tok::Punct("[") {
            let tensor = self.tensor_at(at, name)?;
            self.expect("[")?;
            let subs = self.list("]", Self::index)?;
            return Ok((Op::Read { tensor, subs, guarded }, Vec::new()));
        }
        match self.position(name) {
            Some(Atom::Param(param)) => Ok((Op::ClosureParam(*param), Vec::new())),
            _ => self.fail_at(at, format!("`{name}` is no parameter of a closure; a read has brackets, `{name}[..]`")),
        }
    }
    /// An operation that opens with a word of the grammar.
    fn word(&mut self, word: &str) -> Result<(Op, Vec<TermId>)> {
        let at = self.at;
        self.next();
        let bracket = self.peek() == &Tok::Punct("[");
        match (word, ReduceOp::from_text(word), ElemOp::from_text(word)) {
            ("true" | "false", _, _) => Ok((Op::Const(Const::Bool(word == "true")), Vec::new())),
            ("nan", _, _) => Ok((Op::Const(Const::float(f64::NAN)), Vec::new())),
            ("cast", _, _) => {
                let to = self.bracketed(Self::dtype)?;
                Ok((Op::Cast(to), self.args()?))
            }
            ("round_to", _, _) => {
                let place = self.at;
                match self.bracketed(Self::elem)? {
                    Elem::Type(to) => Ok((Op::Round(to), self.args()?)),
                    Elem::Param(to) => Ok((Op::RoundParam(to), self.args()?)),
                    Elem::Format(name) => self.fail_at(place, format!("`{name}` is no type to round to")),
                }
            }
            ("where", _, _) => Ok((Op::Where, self.args()?)),
            ("or_else", _, _) => Ok((Op::OrElse, self.args()?)),
            ("softmax", _, _) => {
                self.expect("[")?;
                let axes = self.list("]", |p| p.binder(true))?;
                Ok((Op::Softmax { axes }, self.args()?))
            }
            ("running", _, _) => self.running(),
            ("call", _, _) => self.call(),
            ("apply", _, _) => self.apply(),
            ("bind", _, _) => self.bind(),
            ("fold", _, _) => self.fold(),
            ("proj", _, _) => {
                let component = self.bracketed(Self::unsigned)?;
                Ok((Op::Proj(component), self.args()?))
            }
            ("new", _, _) => Ok((Op::New(self.bracketed(Self::unsigned)?), Vec::new())),
            ("old", _, _) => Ok((Op::Old(self.bracketed(Self::unsigned)?), Vec::new())),
            (_, Some(op), _) if bracket => self.reduce(op),
            (_, _, Some(op)) => Ok((Op::Elem(op), self.args()?)),
            _ => self.fail_at(at, format!("`{word}` needs its axes in brackets")),
        }
    }
    fn bracketed<T>(&mut self, inner: fn(&mut Self) -> Result<T>) -> Result<T> {
        self.expect("[")?;
        let value = inner(self)?;
        self.expect("]")?;
        Ok(value)
    }
    fn args(&mut self) -> Result<Vec<TermId>> {
        self.expect("(")?;
        self.list(")", Self::term)
    }
    fn reduce(&mut self, op: ReduceOp) -> Result<(Op, Vec<TermId>)> {
        self.expect("[")?;
        let scope = self.positions.len();
        let mut axes = vec![self.binder(false)?];
        while self.eat(",") {
            axes.push(self.binder(false)?);
        }
        let segment = if self.eat(";") {
            let tensor = self.tensor()?;
            Some((tensor, self.bracketed(Self::index)?))
        } else {
            None
        };
        self.expect("]")?;
        let args = self.args()?;
        self.positions.truncate(scope);
        Ok((Op::Reduce { op, axes, segment }, args))
    }
    fn reduce_op(&mut self) -> Result<ReduceOp> {
        let op = match self.peek() {
            Tok::Word(word) => ReduceOp::from_text(word),
            _ => None,
        };
        let Some(op) = op else { return self.fail("expected a reduction") };
        self.next();
        Ok(op)
    }
    fn running(&mut self) -> Result<(Op, Vec<TermId>)> {
        self.expect("[")?;
        let op = self.reduce_op()?;
        let axis = self.binder(true)?;
        let rev = self.eat_word("rev");
        let exclusive = self.eat_word("exclusive");
        self.expect("]")?;
        Ok((Op::Running { op, axis, rev, exclusive }, self.args()?))
    }
    fn apply(&mut self) -> Result<(Op, Vec<TermId>)> {
        let at = self.at;
        let name = self.name()?;
        let Some(closure) = self.closures.get(&name).copied() else {
            return self.fail_at(at, format!("no closure `{name}` is a parameter"));
        };
        Ok((Op::Apply(closure), self.args()?))
    }
    fn bind(&mut self) -> Result<(Op, Vec<TermId>)> {
        let name = self.bracketed(Self::name)?;
        self.expect("(")?;
        let value = self.term()?;
        self.expect(",")?;
        let number = self.params_around()?;
        let scope = self.positions.len();
        self.positions.push((name, Atom::Param(number)));
        let body = self.term();
        self.positions.truncate(scope);
        let body = body?;
        self.expect(")")?;
        Ok((Op::Bind(number), vec![value, body]))
    }
    fn call(&mut self) -> Result<(Op, Vec<TermId>)> {
        let function = self.name()?;
        let output = if !self.eat("#") {
            CallResult::Output(0)
        } else if matches!(self.peek(), Tok::Int(_)) {
            CallResult::Output(self.unsigned()?)
        } else {
            CallResult::After(self.name()?)
        };
        self.expect("[")?;
        let subs = self.list("]", Self::index)?;
        self.expect("(")?;
        let (mut args, mut scalars, mut dims) = (Vec::new(), Vec::new(), Vec::new());
        while !self.eat(")") {
            if self.eat(";") {
                dims = self.list(")", |p| {
                    let name = p.name()?;
                    p.expect("=")?;
                    Ok((name, p.index()?))
                })?;
                break;
            }
            let name = self.name()?;
            self.expect("=")?;
            args.push((name, self.arg(&mut scalars)?));
            if !self.eat(",") && !matches!(self.peek(), Tok::Punct(")" | ";")) {
                return self.fail("expected `,`, `;` or `)`");
            }
        }
        Ok((Op::Call { function, output, subs, args, dims }, scalars))
    }
    fn arg(&mut self, scalars: &mut Vec<TermId>) -> Result<Arg> {
        if self.eat("&") {
            let tensor = self.tensor()?;
            self.expect("[")?;
            let subs = self.list("]", |p| if p.eat("..") { Ok(None) } else { p.index().map(Some) })?;
            return Ok(Arg::Slice(tensor, subs));
        }
        if self.peek() == &Tok::Punct("|") {
            return self.closure(Vec::new()).map(Arg::Closure);
        }
        scalars.push(self.term()?);
        Ok(Arg::Scalar(u32::try_from(scalars.len() - 1).unwrap_or(u32::MAX)))
    }
    fn fold(&mut self) -> Result<(Op, Vec<TermId>)> {
        self.expect("[")?;
        let scope = self.positions.len();
        let axes = self.list("]", |p| p.binder(false))?;
        self.expect("(")?;
        self.scopes.push(Scope::default());
        let parts = self.list(")", Self::component);
        self.scopes.pop();
        self.positions.truncate(scope);
        let parts = parts?;
        let components = parts.iter().map(|(component, _, _)| *component).collect();
        let elements = parts.iter().map(|(_, element, _)| *element);
        let repairs = parts.iter().filter_map(|(_, _, repair)| *repair);
        Ok((Op::Fold { axes, components }, elements.chain(repairs).collect()))
    }
    fn component(&mut self) -> Result<(Component, TermId, Option<TermId>)> {
        let at = self.at;
        let op = self.reduce_op()?;
        self.expect("(")?;
        let element = self.term()?;
        let (mut repair, mut operand) = (Repair::None, None);
        if self.eat(",") {
            repair = if self.eat_word("scale") {
                Repair::Scale
            } else {
                self.expect_word("shift")?;
                Repair::Shift
            };
            self.expect("(")?;
            operand = Some(self.term()?);
            self.expect(")")?;
        }
        self.expect(")")?;
        let element_dtype = self.build.function().terms[element].dtype;
        let dtype = self.placed(at, reduce_dtype(op, element_dtype))?;
        if let Some(scope) = self.scopes.last_mut() {
            scope.fold.push(dtype);
        }
        Ok((Component { op, repair }, element, operand))
    }
}
