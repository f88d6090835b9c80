//! Parses kernels. The numbers of values are kept; every value must be defined once.

use super::lex::Kind;
use super::parse::Parser;
use crate::dtype::DType;
use crate::elem::{ElemOp, ReduceOp};
use crate::entity::Entity as _;
use crate::error::TextError;
use crate::tile::{
    Access, Attr, AxisId, Inst, Kernel, MemId, Memory, Op, Pad, Phase, Region, Subscript, TileAxis, Type, Value,
};
use std::collections::BTreeMap;

/// A kernel while it is read: its header, and the values defined so far.
struct Draft {
    kernel: Kernel,
    defined: BTreeMap<u32, Type>,
}

impl Parser {
    /// What follows `kernel`.
    pub(super) fn kernel(&mut self) -> Result<Kernel, TextError> {
        let name = self.name("the kernel's name")?;
        self.expect("{")?;
        let mut kernel = Kernel { name, dims: self.dims()?, ..Kernel::default() };
        while self.eat_word("memory") {
            let memory = self.memory(&kernel)?;
            kernel.memory.push(memory);
        }
        if self.eat_word("axes") {
            kernel.axes = self.list(Self::tile_axis)?.into_iter().collect();
        }
        if self.eat_word("grid") {
            kernel.grid = self.list(|p| {
                let name = p.name("the name of a grid axis")?;
                p.expect("=")?;
                Ok((name, p.size(&kernel.dims)?))
            })?;
        }
        let mut draft = Draft { kernel, defined: BTreeMap::new() };
        let mut insts = Vec::new();
        while !self.at("}") {
            insts.push(self.inst(&mut draft)?);
        }
        let contiguous = draft.defined.keys().copied().eq(0..u32::try_from(draft.defined.len()).unwrap_or(u32::MAX));
        if !contiguous {
            let message = format!("the values of `{}` are not numbered from %0 without gaps", draft.kernel.name);
            return Err(self.error(message));
        }
        self.expect("}")?;
        let Draft { mut kernel, defined } = draft;
        kernel.values = defined.into_values().collect();
        kernel.body = Region { insts, yields: Vec::new() };
        Ok(kernel)
    }

    fn memory(&mut self, kernel: &Kernel) -> Result<Memory, TextError> {
        let name = self.name("the memory's name")?;
        self.expect(":")?;
        let dtype = self.dtype()?;
        let shape = self.bracketed("[", "]", |p| p.size(&kernel.dims))?;
        let access = match self.peek() {
            Kind::Name(word) if word == "in" => Access::In,
            Kind::Name(word) if word == "out" => Access::Out,
            Kind::Name(word) if word == "part" => Access::Part,
            Kind::Name(word) if word == "inout" => Access::InOut,
            _ => return Err(self.expected("`in`, `out`, `part` or `inout`")),
        };
        self.advance();
        Ok(Memory { name, dtype, shape, access })
    }

    fn tile_axis(&mut self) -> Result<TileAxis, TextError> {
        let name = self.name("the name of an axis")?;
        self.expect("=")?;
        let extent = u32::try_from(self.int()?).ok().filter(|e| *e > 0);
        let extent = extent.ok_or_else(|| self.error("an axis has an extent of 1 up to 2^32".to_owned()))?;
        Ok(TileAxis { name, extent })
    }

    fn axis(&mut self, draft: &Draft) -> Result<AxisId, TextError> {
        self.named("axis", draft.kernel.axes.values().map(|a| a.name.as_str()))
    }

    fn ty(&mut self, draft: &Draft) -> Result<Type, TextError> {
        let dtype = self.dtype()?;
        if !self.at("<") {
            return Ok(Type::scalar(dtype));
        }
        let axes = self.bracketed("<", ">", |p| p.axis(draft))?;
        Ok(Type::tile(dtype, axes))
    }

    fn value(&mut self) -> Result<Value, TextError> {
        let Kind::Value(number) = *self.peek() else { return Err(self.expected("a value")) };
        self.advance();
        Ok(Value::new(number as usize))
    }

    fn define(&mut self, draft: &mut Draft, value: Value, ty: Type) -> Result<(), TextError> {
        let number = u32::try_from(value.index()).expect("invariant: values come from u32 tokens");
        if draft.defined.insert(number, ty).is_some() {
            return Err(self.error(format!("{value} is defined a second time just before")));
        }
        Ok(())
    }

    fn typed(&mut self, draft: &mut Draft) -> Result<(Value, Type), TextError> {
        let value = self.value()?;
        self.expect(":")?;
        let ty = self.ty(draft)?;
        self.define(draft, value, ty.clone())?;
        Ok((value, ty))
    }

    fn region(&mut self, draft: &mut Draft) -> Result<Region, TextError> {
        self.deeper(|p| {
            p.expect("{")?;
            let mut region = Region::default();
            while !p.at("}") && !p.at_word("yield") {
                region.insts.push(p.inst(draft)?);
            }
            if p.eat_word("yield") {
                region.yields = p.list(Self::value)?;
            }
            p.expect("}")?;
            Ok(region)
        })
    }

    fn inst(&mut self, draft: &mut Draft) -> Result<Inst, TextError> {
        let mut outs = Vec::new();
        if matches!(self.peek(), Kind::Value(_)) {
            outs = self.list(|p| p.typed(draft))?;
            self.expect("=")?;
        }
        let first = outs.first().map(|(_, ty)| ty.dtype);
        let (op, args) = self.op(draft, first)?;
        let mut attrs = Vec::new();
        while self.eat("#") {
            attrs.push(self.attr()?);
        }
        Ok(Inst { results: outs.into_iter().map(|(v, _)| v).collect(), op, args, attrs })
    }

    fn attr(&mut self) -> Result<Attr, TextError> {
        let name = self.name("the attribute's name")?;
        self.expect("(")?;
        let value = self.name("the attribute's value, quoted unless it is an identifier")?;
        self.expect(")")?;
        Ok(Attr { name, value })
    }

    fn op(&mut self, draft: &mut Draft, result: Option<DType>) -> Result<(Op, Vec<Value>), TextError> {
        let place = self.expected("an operation");
        let word = self.name("an operation")?;
        if let Some(elem) = ElemOp::from_text(&word) {
            return Ok((Op::Elem(elem), self.list(Self::value)?));
        }
        Ok(match word.as_str() {
            "const" => (Op::Const(self.constant()?), Vec::new()),
            "size" => (Op::Size(self.size(&draft.kernel.dims)?), Vec::new()),
            "grid" => {
                let axis: AxisId = self.named("grid axis", draft.kernel.grid.iter().map(|g| g.0.as_str()))?;
                (Op::Grid(u32::try_from(axis.index()).unwrap_or(u32::MAX)), Vec::new())
            }
            "coord" => (Op::Coord(self.axis(draft)?), vec![self.value()?]),
            "fma" => (Op::Fma, self.list(Self::value)?),
            "cast" => (Op::Cast(result.ok_or(place)?), vec![self.value()?]),
            "round_to" => (Op::Round(self.dtype()?), vec![self.value()?]),
            "rename" => self.rename(draft)?,
            "slice" => (Op::Slice(self.axis(draft)?), self.list(Self::value)?),
            "mma" => {
                let args = self.list(Self::value)?;
                (Op::Mma { over: self.over(draft)? }, args)
            }
            "reduce" => self.reduce(draft)?,
            "load" => self.load(draft)?,
            "store" => self.store(draft)?,
            "for" => self.for_loop(draft)?,
            "if" => {
                let condition = self.value()?;
                let then = self.region(draft)?;
                self.expect_word("else")?;
                (Op::If { then, otherwise: self.region(draft)? }, vec![condition])
            }
            _ => return Err(place),
        })
    }

    fn over(&mut self, draft: &Draft) -> Result<Vec<AxisId>, TextError> {
        self.expect_word("over")?;
        self.list(|p| p.axis(draft))
    }

    fn rename(&mut self, draft: &Draft) -> Result<(Op, Vec<Value>), TextError> {
        let x = self.value()?;
        let pairs = self.bracketed("{", "}", |p| {
            let from = p.axis(draft)?;
            p.expect("->")?;
            Ok((from, p.axis(draft)?))
        })?;
        Ok((Op::Rename(pairs), vec![x]))
    }

    fn reduce(&mut self, draft: &Draft) -> Result<(Op, Vec<Value>), TextError> {
        let place = self.expected("a reduction");
        let op = ReduceOp::from_text(&self.name("a reduction")?).ok_or(place)?;
        let x = self.value()?;
        Ok((Op::Reduce { op, over: self.over(draft)? }, vec![x]))
    }

    fn access(&mut self, draft: &Draft) -> Result<(MemId, Vec<Subscript>, Vec<Value>), TextError> {
        let mem = self.named("memory", draft.kernel.memory.values().map(|m| m.name.as_str()))?;
        let subs = self.bracketed("[", "]", |p| p.subscript(draft))?;
        let (subs, args) = subs.into_iter().unzip();
        Ok((mem, subs, args))
    }

    fn subscript(&mut self, draft: &Draft) -> Result<(Subscript, Value), TextError> {
        if self.eat_word("gather") {
            return Ok((Subscript::Gather, self.value()?));
        }
        let base = self.value()?;
        let mut terms = Vec::new();
        while self.eat("+") {
            let scaled = self.at("-") || matches!(self.peek(), Kind::Int(_));
            let coefficient = if scaled { self.int()? } else { 1 };
            if scaled {
                self.expect("*")?;
            }
            terms.push((self.axis(draft)?, coefficient));
        }
        Ok((Subscript::Affine(terms), base))
    }

    fn mask(&mut self, args: &mut Vec<Value>) -> Result<bool, TextError> {
        let masked = self.eat_word("where");
        if masked {
            args.push(self.value()?);
        }
        Ok(masked)
    }

    fn load(&mut self, draft: &Draft) -> Result<(Op, Vec<Value>), TextError> {
        let (mem, subs, mut args) = self.access(draft)?;
        self.expect_word("pad")?;
        let pad = if self.eat_word("undef") { Pad::Undef } else { Pad::Value(self.constant()?) };
        let masked = self.mask(&mut args)?;
        Ok((Op::Load { mem, subs, pad, masked }, args))
    }

    fn store(&mut self, draft: &Draft) -> Result<(Op, Vec<Value>), TextError> {
        let (mem, subs, rest) = self.access(draft)?;
        self.expect("=")?;
        let mut args = vec![self.value()?];
        args.extend(rest);
        let masked = self.mask(&mut args)?;
        Ok((Op::Store { mem, subs, masked }, args))
    }

    fn for_loop(&mut self, draft: &mut Draft) -> Result<(Op, Vec<Value>), TextError> {
        let position = self.value()?;
        self.define(draft, position, Type::scalar(DType::I64))?;
        self.expect_word("edge")?;
        let edge = self.value()?;
        self.define(draft, edge, Type::scalar(DType::Bool))?;
        self.expect_word("step")?;
        let step = self.int()?;
        let phases = self.bracketed("[", "]", Self::phase)?;
        let (mut params, mut inits) = (vec![position, edge], Vec::new());
        if self.eat_word("carry") {
            let carries = self.bracketed("(", ")", |p| {
                let (param, _) = p.typed(draft)?;
                p.expect("=")?;
                Ok((param, p.value()?))
            })?;
            for (param, init) in carries {
                params.push(param);
                inits.push(init);
            }
        }
        let body = self.region(draft)?;
        Ok((Op::For { step, phases, params, body }, inits))
    }

    fn phase(&mut self) -> Result<Phase, TextError> {
        let lo = self.value()?;
        self.expect("..")?;
        let hi = self.value()?;
        let edge = self.eat_word("edge");
        if !edge {
            self.expect_word("full")?;
        }
        Ok(Phase { lo, hi, edge })
    }
}
