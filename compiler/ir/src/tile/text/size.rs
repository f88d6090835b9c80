//! Size expressions: polynomials over named dims, `div`, `rem`, `min`, `max`, `bit_length`.

use super::lex::Kind;
use super::parse::{Parser, quote};
use super::{MAX_DEPTH, SIZE_FUNCTIONS};
use crate::entity::Arena;
use crate::error::TextError;
use crate::index::{Atom, DimId, Index};
use std::fmt::Write as _;

/// `size` with the names of `dims`; what is no size (an axis, a read) prints as its entity, which does not parse.
pub fn print_size(size: &Index, dims: &Arena<DimId, String>) -> String {
    let mut out = String::new();
    for (monomial, coefficient) in size.terms() {
        let sign = if coefficient < 0 { "-" } else { "+" };
        match (out.is_empty(), coefficient < 0) {
            (true, true) => out.push('-'),
            (true, false) => {}
            (false, _) => write!(out, " {sign} ").expect("invariant: a string takes any text"),
        }
        let factors: Vec<String> = monomial.iter().map(|a| print_atom(a, dims)).collect();
        let magnitude = coefficient.unsigned_abs();
        match (magnitude, factors.is_empty()) {
            (_, true) => write!(out, "{magnitude}"),
            (1, false) => write!(out, "{}", factors.join("*")),
            (_, false) => write!(out, "{magnitude}*{}", factors.join("*")),
        }
        .expect("invariant: a string takes any text");
    }
    if out.is_empty() { "0".to_owned() } else { out }
}

fn print_atom(atom: &Atom, dims: &Arena<DimId, String>) -> String {
    let call = |name: &str, a: &Index, b: &Index| format!("{name}({}, {})", print_size(a, dims), print_size(b, dims));
    match atom {
        Atom::Dim(dim) => dims.get(*dim).map_or_else(|| format!("?{dim}"), |name| quote(name)),
        Atom::Div(a, b) => call("div", a, b),
        Atom::Rem(a, b) => call("rem", a, b),
        Atom::Min(a, b) => call("min", a, b),
        Atom::Max(a, b) => call("max", a, b),
        Atom::BitLength(a) => format!("bit_length({})", print_size(a, dims)),
        Atom::Axis(axis) => format!("?{axis}"),
        Atom::Param(n) => format!("?p{n}"),
        Atom::Read(tensor, _) => format!("?{tensor}"),
    }
}

impl Parser {
    /// A size over `dims`.
    pub(super) fn size(&mut self, dims: &Arena<DimId, String>) -> Result<Index, TextError> {
        self.deeper(|p| p.size_sum(dims))
    }

    fn size_sum(&mut self, dims: &Arena<DimId, String>) -> Result<Index, TextError> {
        let mut sum = if self.eat("-") { self.size_product(dims, true)? } else { self.size_product(dims, false)? };
        loop {
            let negative = self.at("-");
            if !negative && !self.at("+") {
                return Ok(sum);
            }
            self.advance();
            sum = sum.add(&self.size_product(dims, negative)?);
        }
    }

    fn size_product(&mut self, dims: &Arena<DimId, String>, negative: bool) -> Result<Index, TextError> {
        // The sign belongs to the first literal: -2^63 has no positive counterpart.
        let mut product = self.size_factor(dims, negative)?;
        while self.eat("*") {
            product = product.mul(&self.size_factor(dims, false)?);
        }
        Ok(product)
    }

    fn size_factor(&mut self, dims: &Arena<DimId, String>, negative: bool) -> Result<Index, TextError> {
        let signed = |x: Index| if negative { x.scale(-1) } else { x };
        match self.peek().clone() {
            Kind::Int(_) => Ok(Index::int(self.int_after_sign(negative)?)),
            Kind::Name(name) if SIZE_FUNCTIONS.contains(&name.as_str()) && self.next_is("(") => {
                self.advance();
                self.size_function(&name, dims).map(signed)
            }
            Kind::Name(name) => {
                let found = dims.iter().find(|(_, n)| **n == name).map(|(dim, _)| dim);
                let dim = found.ok_or_else(|| self.error(format!("no dim is called `{name}`")))?;
                self.advance();
                Ok(signed(Index::dim(dim)))
            }
            _ => Err(self.expected("a size: an integer, a dim or a function of sizes")),
        }
    }

    fn size_function(&mut self, name: &str, dims: &Arena<DimId, String>) -> Result<Index, TextError> {
        self.expect("(")?;
        let a = self.size(dims)?;
        if name == "bit_length" {
            self.expect(")")?;
            return Ok(a.bit_length());
        }
        self.expect(",")?;
        let b = self.size(dims)?;
        self.expect(")")?;
        Ok(match name {
            "div" => a.div(&b),
            "rem" => a.rem(&b),
            "min" => a.smaller(&b),
            _ => a.larger(&b),
        })
    }

    /// Runs `parse` one level deeper, up to [`MAX_DEPTH`].
    pub(super) fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, TextError>) -> Result<T, TextError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(format!("nested more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }
}
