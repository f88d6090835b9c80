//! Builds kernels: one method per operation, result types inferred by the rules in `typing`.
//!
//! Instructions go to the innermost open region; [`KernelBuilder::for_loop`] and [`KernelBuilder::branch`] open one for the
//! time of a closure. A broken rule is a [`BuildError`], never a panic; a kernel that was built without one is verified as to
//! its types. Axis, dim and memory names are made unique by a suffix, so that the text form can use them.

use super::typing::result_types;
use super::{Access, AxisId, Inst, Kernel, MemId, Memory, Op, Pad, Phase, Region, Subscript, TileAxis, Type, Value};
use crate::dtype::DType;
use crate::elem::{ElemOp, ReduceOp};
use crate::graph::Const;
use crate::index::{DimId, Index};
use std::fmt;

/// A rule that an instruction under construction breaks: a defect of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    /// The kernel.
    pub kernel: String,
    /// Which operation, which rule.
    pub message: String,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kernel, self.message)
    }
}

impl std::error::Error for BuildError {}

/// A subscript with its operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sub {
    /// Scalar `i64` base plus coefficient times axis position.
    Affine(Value, Vec<(AxisId, i64)>),
    /// A tile of coordinates.
    Gather(Value),
}

/// The values that the body of an open loop sees.
#[derive(Clone, Debug)]
pub struct LoopHead {
    /// The position.
    pub position: Value,
    /// Whether the phase's tiles may be partial.
    pub edge: Value,
    /// The carries, at the start of a step.
    pub carries: Vec<Value>,
}

/// Open regions that were taken away for a while.
#[derive(Debug)]
#[must_use]
pub struct Suspended(Vec<Vec<Inst>>);

/// What a build step gives.
pub type Built<T> = Result<T, BuildError>;

/// A kernel under construction.
#[derive(Clone, Debug)]
pub struct KernelBuilder {
    kernel: Kernel,
    open: Vec<Vec<Inst>>,
}

impl KernelBuilder {
    /// An empty kernel.
    pub fn new(name: impl Into<String>) -> Self {
        Self { kernel: Kernel { name: name.into(), ..Kernel::default() }, open: vec![Vec::new()] }
    }
    /// What was built so far, without the regions still open.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }
    /// The finished kernel.
    pub fn finish(mut self) -> Kernel {
        self.kernel.body = Region { insts: self.open.swap_remove(0), yields: Vec::new() };
        self.kernel
    }
    /// The type of a value.
    pub fn type_of(&self, value: Value) -> &Type {
        &self.kernel.values[value]
    }
    /// The extent of an axis.
    pub fn extent(&self, axis: AxisId) -> u32 {
        self.kernel.axes[axis].extent
    }

    /// A run-time integer.
    pub fn dim(&mut self, name: &str) -> DimId {
        let name = unique(name, |n| self.kernel.dims.values().any(|d| d == n));
        self.kernel.dims.push(name)
    }
    /// A memory parameter of `shape` elements.
    pub fn memory(&mut self, name: &str, dtype: DType, shape: Vec<Index>, access: Access) -> MemId {
        let name = unique(name, |n| self.kernel.memory.values().any(|m| m.name == n));
        self.kernel.memory.push(Memory { name, dtype, shape, access })
    }
    /// A grid axis of `blocks` blocks, inside those before it; gives this block's position along it.
    pub fn grid(&mut self, name: &str, blocks: Index) -> Built<Value> {
        let name = unique(name, |n| self.kernel.grid.iter().any(|g| g.0 == n));
        let axis =
            u32::try_from(self.kernel.grid.len()).map_err(|_| self.error("grid", "has too many axes".to_owned()))?;
        self.kernel.grid.push((name, blocks));
        self.one(Op::Grid(axis), &[])
    }
    /// An axis of tiles.
    pub fn axis(&mut self, name: &str, extent: u32) -> AxisId {
        let name = unique(name, |n| self.kernel.axes.values().any(|a| a.name == n));
        self.kernel.axes.push(TileAxis { name, extent })
    }

    /// A constant of type `dtype`.
    pub fn constant(&mut self, value: Const, dtype: DType) -> Built<Value> {
        let results = self.push(Op::Const(value), &[], &[Type::scalar(dtype)])?;
        Ok(results[0])
    }
    /// An `i64` constant.
    pub fn int(&mut self, value: i64) -> Built<Value> {
        self.constant(Const::Int(value), DType::I64)
    }
    /// A float constant of type `dtype`.
    pub fn float(&mut self, value: f64, dtype: DType) -> Built<Value> {
        self.constant(Const::float(value), dtype)
    }
    /// The value of an expression over the kernel's dims.
    pub fn size(&mut self, size: Index) -> Built<Value> {
        match size.as_int() {
            Some(value) => self.int(value),
            None => self.one(Op::Size(size), &[]),
        }
    }
    /// base, base + 1, .. along `axis`.
    pub fn coord(&mut self, axis: AxisId, base: Value) -> Built<Value> {
        self.one(Op::Coord(axis), &[base])
    }
    /// An elementwise operation.
    pub fn elem(&mut self, op: ElemOp, args: &[Value]) -> Built<Value> {
        self.one(Op::Elem(op), args)
    }
    /// a * b + c.
    pub fn fma(&mut self, a: Value, b: Value, c: Value) -> Built<Value> {
        self.one(Op::Fma, &[a, b, c])
    }
    /// To another computing type; nothing if it already has it.
    pub fn cast(&mut self, x: Value, to: DType) -> Built<Value> {
        if self.type_of(x).dtype == to { Ok(x) } else { self.one(Op::Cast(to), &[x]) }
    }
    /// Rounded to a storage type, then widened.
    pub fn round(&mut self, x: Value, to: DType) -> Built<Value> {
        self.one(Op::Round(to), &[x])
    }
    /// Axes under other names.
    pub fn rename(&mut self, x: Value, pairs: Vec<(AxisId, AxisId)>) -> Built<Value> {
        self.one(Op::Rename(pairs), &[x])
    }
    /// The tile at a scalar position of `axis`.
    pub fn slice(&mut self, x: Value, axis: AxisId, position: Value) -> Built<Value> {
        self.one(Op::Slice(axis), &[x, position])
    }
    /// The sum over `over` of a * b, added to `acc`.
    pub fn mma(&mut self, a: Value, b: Value, acc: Option<Value>, over: Vec<AxisId>) -> Built<Value> {
        let args: Vec<Value> = [a, b].into_iter().chain(acc).collect();
        self.one(Op::Mma { over }, &args)
    }
    /// A primitive reduction.
    pub fn reduce(&mut self, op: ReduceOp, x: Value, over: Vec<AxisId>) -> Built<Value> {
        self.one(Op::Reduce { op, over }, &[x])
    }
    /// A widening load; `mask` false and places outside of the memory give `pad`.
    pub fn load(&mut self, mem: MemId, subs: Vec<Sub>, pad: Pad, mask: Option<Value>) -> Built<Value> {
        let (subs, mut args) = split_subs(subs);
        args.extend(mask);
        self.one(Op::Load { mem, subs, pad, masked: mask.is_some() }, &args)
    }
    /// A rounding store; `mask` false and places outside of the memory are left alone.
    pub fn store(&mut self, mem: MemId, x: Value, subs: Vec<Sub>, mask: Option<Value>) -> Built<()> {
        let (subs, rest) = split_subs(subs);
        let args: Vec<Value> = std::iter::once(x).chain(rest).chain(mask).collect();
        self.push(Op::Store { mem, subs, masked: mask.is_some() }, &args, &[]).map(|_| ())
    }
    /// A loop over `phases`. `body` gets the position, the edge flag and the carries, and gives the next carries.
    pub fn for_loop(
        &mut self,
        step: i64,
        phases: Vec<Phase>,
        inits: &[Value],
        body: impl FnOnce(&mut Self, Value, Value, &[Value]) -> Built<Vec<Value>>,
    ) -> Built<Vec<Value>> {
        let types = inits.iter().map(|v| self.type_of(*v).clone()).collect();
        let head = self.open_loop(types);
        let yields = body(self, head.position, head.edge, &head.carries);
        self.close_loop(head, step, phases, inits, yields)
    }
    /// A choice by a scalar; both closures give the results.
    pub fn branch(
        &mut self,
        condition: Value,
        then: impl FnOnce(&mut Self) -> Built<Vec<Value>>,
        otherwise: impl FnOnce(&mut Self) -> Built<Vec<Value>>,
    ) -> Built<Vec<Value>> {
        self.open_region();
        let yields = then(self);
        let then = self.close_region(yields)?;
        self.open_region();
        let yields = otherwise(self);
        let otherwise = self.close_region(yields)?;
        self.choose(condition, then, otherwise)
    }

    /// Opens the body of a loop whose carries have these types; what follows goes there until [`KernelBuilder::close_loop`].
    pub fn open_loop(&mut self, carries: Vec<Type>) -> LoopHead {
        let position = self.kernel.values.push(Type::scalar(DType::I64));
        let edge = self.kernel.values.push(Type::scalar(DType::Bool));
        let carries = carries.into_iter().map(|t| self.kernel.values.push(t)).collect();
        self.open_region();
        LoopHead { position, edge, carries }
    }
    /// Closes the body of a loop with its next carries, and adds the loop. The region is closed on an error too.
    pub fn close_loop<E: From<BuildError>>(
        &mut self,
        head: LoopHead,
        step: i64,
        phases: Vec<Phase>,
        inits: &[Value],
        yields: Result<Vec<Value>, E>,
    ) -> Result<Vec<Value>, E> {
        let body = self.close_region(yields)?;
        let params = [head.position, head.edge].into_iter().chain(head.carries).collect();
        Ok(self.push(Op::For { step, phases, params, body }, inits, &[])?)
    }
    /// Opens a region; what follows goes there until [`KernelBuilder::close_region`].
    pub fn open_region(&mut self) {
        self.open.push(Vec::new());
    }
    /// Closes the innermost region with its results, on an error too.
    pub fn close_region<E>(&mut self, yields: Result<Vec<Value>, E>) -> Result<Region, E> {
        let insts = if self.open.len() > 1 { self.open.pop() } else { None };
        Ok(Region { insts: insts.unwrap_or_default(), yields: yields? })
    }
    /// Takes away the regions that are open inside of the outermost `keep` ones: what is added until they are given back by
    /// [`KernelBuilder::resume`] comes before the loop or branch that is open there.
    pub fn suspend(&mut self, keep: usize) -> Suspended {
        Suspended(self.open.split_off(self.open.len().min(keep.max(1))))
    }
    /// Gives back what [`KernelBuilder::suspend`] took away.
    pub fn resume(&mut self, regions: Suspended) {
        self.open.extend(regions.0);
    }
    /// A choice by a scalar between two closed regions.
    pub fn choose(&mut self, condition: Value, then: Region, otherwise: Region) -> Built<Vec<Value>> {
        self.push(Op::If { then, otherwise }, &[condition], &[])
    }
    fn one(&mut self, op: Op, args: &[Value]) -> Built<Value> {
        Ok(self.push(op, args, &[])?[0])
    }
    fn push(&mut self, op: Op, args: &[Value], declared: &[Type]) -> Built<Vec<Value>> {
        let types = result_types(&self.kernel, &op, args, declared).map_err(|rule| self.error(op.text(), rule))?;
        let results: Vec<Value> = types.into_iter().map(|t| self.kernel.values.push(t)).collect();
        let inst = Inst { results: results.clone(), op, args: args.to_vec(), attrs: Vec::new() };
        self.open.last_mut().expect("invariant: the kernel's own region is open until finish").push(inst);
        Ok(results)
    }
    fn error(&self, op: &str, rule: String) -> BuildError {
        BuildError { kernel: self.kernel.name.clone(), message: format!("`{op}`: {rule}") }
    }
}

fn split_subs(subs: Vec<Sub>) -> (Vec<Subscript>, Vec<Value>) {
    subs.into_iter()
        .map(|sub| match sub {
            Sub::Affine(base, terms) => (Subscript::Affine(terms), base),
            Sub::Gather(tile) => (Subscript::Gather, tile),
        })
        .unzip()
}

/// `name`, or `name` with the first numeric suffix that is not taken.
fn unique(name: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(name) {
        return name.to_owned();
    }
    (1_u64..).map(|n| format!("{name}_{n}")).find(|n| !taken(n)).expect("invariant: finitely many names are taken")
}
