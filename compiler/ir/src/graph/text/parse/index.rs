//! Parses integer expressions.
//!
//! `+ -` bind weaker than `* / %`, which associate to the left. The size of the expanded polynomial and the nesting of its
//! quotients are bounded, since products multiply out.

use super::{MAX_DEPTH, Parser, Result};
use crate::graph::text::lex::Tok;
use crate::index::{Atom, Index};

/// The most atoms in one expanded expression.
const MAX_WEIGHT: usize = 1 << 14;

/// An expression with the nesting of its atoms and how many there are.
struct Measured {
    index: Index,
    height: u32,
    weight: usize,
}

impl Parser {
    /// One integer expression.
    pub(super) fn index(&mut self) -> Result<Index> {
        Ok(self.sum()?.index)
    }
    /// A name, number, read, function or parenthesis.
    pub(super) fn tight_index(&mut self) -> Result<Index> {
        Ok(self.factor()?.index)
    }
    fn sum(&mut self) -> Result<Measured> {
        self.deeper()?;
        let negative = self.eat("-");
        let mut sum = self.product()?;
        if negative {
            sum.index = sum.index.scale(-1);
        }
        loop {
            let sign = if self.eat("+") {
                1
            } else if self.eat("-") {
                -1
            } else {
                break;
            };
            let more = self.product()?;
            let weight = sum.weight + more.weight;
            let index = sum.index.add(&more.index.scale(sign));
            sum = self.measured(index, sum.height.max(more.height), weight)?;
        }
        self.depth -= 1;
        Ok(sum)
    }
    fn product(&mut self) -> Result<Measured> {
        let mut left = self.factor()?;
        loop {
            let op = match self.peek() {
                Tok::Punct(op @ ("*" | "/" | "%")) => *op,
                _ => return Ok(left),
            };
            self.next();
            let right = self.factor()?;
            let height = left.height.max(right.height);
            let (a, b) = (&left, &right);
            left = if op == "*" {
                let weight = a.weight.saturating_mul(b.index.len().max(1));
                let weight = weight.saturating_add(b.weight.saturating_mul(a.index.len().max(1)));
                self.check(height, weight)?;
                self.measured(a.index.mul(&b.index), height, weight)?
            } else {
                let index = if op == "/" { a.index.div(&b.index) } else { a.index.rem(&b.index) };
                self.measured(index, height + 1, a.weight + b.weight + 1)?
            };
        }
    }
    fn measured(&self, index: Index, height: u32, weight: usize) -> Result<Measured> {
        self.check(height, weight)?;
        Ok(Measured { index, height, weight })
    }
    fn check(&self, height: u32, weight: usize) -> Result<()> {
        if height > MAX_DEPTH || weight > MAX_WEIGHT {
            self.fail("the integer expression is too large")
        } else {
            Ok(())
        }
    }
    fn factor(&mut self) -> Result<Measured> {
        if let Tok::Int(_) = self.peek() {
            let value = self.signed()?;
            return self.measured(Index::int(value), 0, 1);
        }
        if self.eat("(") {
            let inner = self.sum()?;
            self.expect(")")?;
            return Ok(inner);
        }
        let at = self.at;
        let quoted = matches!(self.peek(), Tok::Quoted(_));
        let name = self.name()?;
        if self.eat("[") {
            return self.read(at, &name);
        }
        if !quoted && self.eat("(") {
            return self.function_of(at, &name);
        }
        match self.position(&name) {
            Some(atom) => self.measured(Index::atom(atom.clone()), 0, 1),
            None => self.fail_at(at, format!("no dim, axis or parameter `{name}` is in scope")),
        }
    }
    fn read(&mut self, at: usize, name: &str) -> Result<Measured> {
        let tensor = self.tensor_at(at, name)?;
        let subs = self.list("]", Self::sum)?;
        let height = subs.iter().map(|s| s.height).max().unwrap_or(0) + 1;
        let weight = subs.iter().map(|s| s.weight).sum::<usize>() + 1;
        let subs = subs.into_iter().map(|s| s.index).collect();
        self.measured(Index::atom(Atom::Read(tensor, subs)), height, weight)
    }
    fn function_of(&mut self, at: usize, name: &str) -> Result<Measured> {
        let args = self.list(")", Self::sum)?;
        let height = args.iter().map(|s| s.height).max().unwrap_or(0) + 1;
        let weight = args.iter().map(|s| s.weight).sum::<usize>() + 1;
        let index = match (name, args.as_slice()) {
            ("min", [a, b]) => a.index.smaller(&b.index),
            ("max", [a, b]) => a.index.larger(&b.index),
            ("bit_length", [a]) => a.index.bit_length(),
            _ => return self.fail_at(at, format!("`{name}` is no function of {} integers", args.len())),
        };
        self.measured(index, height, weight)
    }
}
