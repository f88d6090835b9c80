//! Tile kernels to PTX: the generic path, for every operation of tile IR.
//!
//! In: a verified kernel, the number of threads of a CTA. Out: an entry, or why there is none. One CTA runs one block of the
//! kernel's grid, all threads in one role. A tile lies in registers as [`crate::layout`] says; what threads exchange goes
//! through shared memory with barriers ([`shared`]) or between lanes. Scalars are tiles over no axes: every thread has them, and
//! computes them alike, so branches and bounds are uniform. Parameters stand in the order of [`sawmill_simd::abi`], then the
//! number of the first block, so that a grid larger than a launch may be is launched in parts.

mod approx;
mod code;

mod contract;
mod control;
mod convert;
mod copies;
mod defer;
mod dots;
mod elem;
mod finite;
mod known;
mod late;
mod math;
mod matrix;
mod memory;
mod place;
mod reduce;
mod repeated;
mod ring;
mod scalar;
mod seek;
mod shared;
mod split;
mod threads;
mod vector;
mod walk;

use crate::inst::{Builder, Entry, Reg, SharedId, Special, Word};
use crate::layout::Layout;
use crate::layout::assign::Assigned;
use crate::layout::assign::order::Order;
use crate::layout::matrix::products;
use code::Code;
use math::Expansions;
use rustc_hash::FxHashMap;
use sawmill_ir::dtype::{DType, Kind};
use sawmill_ir::tile::verify::verify_kernel;
use sawmill_ir::tile::{Inst, Kernel, MemId, Op, Region, Value};
use sawmill_simd::abi::ArgWords;
use shared::{Fence, Home, Room};
use std::fmt;
pub use threads::threads;

/// Registers of one tile that a thread may have.
const MOST_REGISTERS: u32 = 128;
/// Registers of one tile from which on it is cut, if it can be.
const LARGE_REGISTERS: u32 = 64;
/// Registers of a tile that a loop may carry to be reduced behind it.
const CARRIED_REGISTERS: u32 = 32;
/// Shared memory that an entry may declare; more is given by the launch.
const STATIC_BYTES: u32 = 48 << 10;

/// Why a kernel has no entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The target or the generic path can't do it.
    Unsupported(String),
    /// A rule of the compiler was broken.
    Bug(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(what) => write!(f, "{what}"),
            Self::Bug(what) => write!(f, "compiler bug: {what}"),
        }
    }
}

/// What an expression that may be shared stands for.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Seen {
    /// The sum of weighted bits of the thread's number.
    Threads(Vec<(u8, u32)>),
    /// A 32-bit number as a 64-bit one.
    Wide(Reg),
    /// Whether this number is below that.
    Below(Reg, u32),
    /// A coordinate times a stride.
    Start(Reg, Reg),
    /// Whether rows of a memory start at multiples of 16 bytes and its elements lie next to each other.
    Rows(MemId),
    /// Whether the thread owns what is repeated over these bits of its number.
    Owner(u32),
}

/// A tile in registers.
type Held = (Layout, Vec<Reg>);

/// A kernel being lowered.
struct Lower<'k> {
    kernel: &'k Kernel,
    assigned: Assigned<'k>,
    limits: Limits,
    words: ArgWords,
    params: Vec<Reg>,
    c: Code,
    expansions: Expansions,
    thread: Reg,
    thread_bits: usize,
    /// The shared variable and its address.
    memory: (SharedId, Reg),
    room: Room,
    fence: Fence,
    grid: Vec<Reg>,
    held: FxHashMap<Value, Vec<Held>>,
    known: FxHashMap<Value, bool>,
    /// Integers that are constants.
    numbers: FxHashMap<Value, i64>,
    homes: FxHashMap<Value, Home>,
    /// Values that got a home in the innermost open region.
    homes_inside: Vec<Value>,
    /// Expressions already computed, by region.
    seen: Vec<FxHashMap<Seen, Reg>>,
    /// Whether copies from outside of loops are under way.
    under_way: bool,
    refusal: Option<Refusal>,
}

/// An entry, and what its launch must give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowered {
    /// The entry. Its parameters are 64-bit words.
    pub entry: Entry,
    /// Bytes of shared memory whose size the launch gives; 0 if the entry has all it needs.
    pub dynamic_bytes: u32,
}

/// What a CTA may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Threads, a power of two of at least a warp.
    pub threads: u32,
    /// Bytes of shared memory.
    pub shared_bytes: u32,
}

/// Lowers `kernel` to an entry called `name`.
pub fn lower(kernel: &Kernel, name: &str, limits: Limits) -> Result<Lowered, Refusal> {
    let threads = limits.threads;
    if !threads.is_power_of_two() || !(32..=1024).contains(&threads) {
        return Err(Refusal::Unsupported(format!("CTAs of {threads} threads")));
    }
    let thread_bits = threads.trailing_zeros() as usize;
    let kernel = late::late(&repeated::repeated(kernel));
    let kernel = dots::dots(&kernel, u64::from(threads * LARGE_REGISTERS));
    let kernel = defer::defer(&kernel, u64::from(threads * CARRIED_REGISTERS));
    // Sums of matrix products may fill all the registers that a tile may have.
    let products = products(&kernel, &Order::of(&kernel), thread_bits);
    let large = if products.of.is_empty() { LARGE_REGISTERS } else { MOST_REGISTERS };
    let kernel = &split::split(&kernel, u64::from(threads * large));
    verify_kernel(kernel).map_err(|error| Refusal::Bug(format!("cutting large tiles: {error}")))?;
    let assigned = Assigned::of(kernel, thread_bits);
    fits(kernel, &assigned)?;
    let words = ArgWords::of(kernel);
    let mut b = Builder::new(name, [threads, 1, 1]);
    let params = (0..=words.count()).map(|word| b.param(format!("p{word}"), Word::U64)).collect::<Vec<_>>();
    let variable = b.shared("tiles", 16, Some(0));
    let params = params.into_iter().map(|param| b.load_param(param)).collect();
    let thread = b.special(Special::TidX);
    let address = b.address(variable);
    let mut lower = Lower {
        kernel,
        assigned,
        limits,
        words,
        params,
        c: Code { b },
        expansions: Expansions::default(),
        thread,
        thread_bits,
        memory: (variable, address),
        room: Room::default(),
        fence: Fence::default(),
        grid: Vec::new(),
        held: FxHashMap::default(),
        known: FxHashMap::default(),
        numbers: FxHashMap::default(),
        homes: FxHashMap::default(),
        homes_inside: Vec::new(),
        seen: vec![FxHashMap::default()],
        under_way: false,
        refusal: None,
    };
    lower.position();
    lower.look_at_rows();
    lower.region(&kernel.body);
    lower.c.b.ret();
    lower.finish(limits)
}

/// Whether every tile leaves registers for the others.
fn fits(kernel: &Kernel, assigned: &Assigned<'_>) -> Result<(), Refusal> {
    for (value, ty) in kernel.values.iter() {
        if ty.dtype.kind() == Kind::Complex {
            return Err(Refusal::Unsupported("complex elements".to_owned()));
        }
        if let Some(large) = assigned.layouts(value).iter().find(|l| l.registers() > MOST_REGISTERS) {
            let (count, name) = (large.registers(), &kernel.name);
            return Err(Refusal::Unsupported(format!("{value} of `{name}` needs {count} registers in every thread")));
        }
    }
    Ok(())
}

impl Lower<'_> {
    fn finish(self, limits: Limits) -> Result<Lowered, Refusal> {
        let Self { mut c, memory, room, refusal, kernel, .. } = self;
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let bytes = room.most().max(16);
        if bytes > limits.shared_bytes {
            let (name, most) = (&kernel.name, limits.shared_bytes);
            return Err(Refusal::Unsupported(format!("`{name}` needs {bytes} bytes of shared memory of {most}")));
        }
        let fixed = bytes <= STATIC_BYTES;
        c.b.resize(memory.0, fixed.then_some(bytes));
        Ok(Lowered { entry: c.b.finish(), dynamic_bytes: if fixed { 0 } else { bytes } })
    }

    /// The first refusal counts.
    fn refuse(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
    }
    fn bug(&mut self, message: impl Into<String>) {
        let message = format!("{} (kernel `{}`)", message.into(), self.kernel.name);
        self.refuse(Refusal::Bug(message));
    }

    fn region(&mut self, region: &Region) {
        for inst in &region.insts {
            if self.refusal.is_some() {
                return;
            }
            self.inst(inst);
        }
    }

    fn inst(&mut self, inst: &Inst) {
        match &inst.op {
            Op::Const(value) => self.constant(inst.results[0], *value),
            Op::Size(size) => {
                let reg = self.index(size);
                self.define_scalar(inst.results[0], reg);
            }
            Op::Grid(axis) => {
                let reg = self.grid[*axis as usize];
                self.define_scalar(inst.results[0], reg);
            }
            Op::Coord(axis) => self.coord(inst, *axis),
            Op::Elem(_) | Op::Fma | Op::Cast(_) | Op::Round(_) => self.elementwise(inst),
            Op::Rename(pairs) => self.rename(inst, pairs),
            Op::Slice(axis) => self.slice(inst, *axis),
            Op::Mma { over } => match self.assigned.product(inst.results[0]).cloned() {
                Some(product) => self.matrix_product(inst, over, &product),
                None => self.contract(inst, over),
            },
            Op::Reduce { op, .. } => match self.assigned.finite_at_home(inst) {
                Some(tile) => self.all_finite(inst, tile),
                None => self.reduce(inst, *op),
            },
            Op::Load { .. } => self.load(inst),
            Op::Store { .. } => self.store(inst),
            Op::For { step, phases, params, body } => self.for_loop(inst, *step, phases, params, body),
            Op::If { then, otherwise } => self.choose(inst, then, otherwise),
        }
    }

    fn dtype(&self, value: Value) -> DType {
        self.kernel.values[value].dtype
    }

    /// A value is about to be defined again, by the next turn of a loop.
    fn forget(&mut self, value: Value) {
        self.held.remove(&value);
        if let Some(home) = self.homes.remove(&value).filter(|home| home.moving.is_none()) {
            self.room.free(home.range);
        }
    }
    /// Defines a value: `compute` gives its registers in a layout; conversions and the home follow.
    fn define(&mut self, value: Value, mut compute: impl FnMut(&mut Self, &Layout) -> Vec<Reg>) {
        self.forget(value);
        for layout in self.assigned.computed(value) {
            let regs = compute(self, &layout);
            self.hold(value, layout, regs);
        }
        self.settle(value);
    }
    fn define_scalar(&mut self, value: Value, reg: Reg) {
        self.define(value, |_, _| vec![reg]);
    }
    fn hold(&mut self, value: Value, layout: Layout, regs: Vec<Reg>) {
        if regs.len() != layout.registers() as usize {
            self.bug(format!("{value} in {layout:?} is {} registers", regs.len()));
            return;
        }
        self.held.entry(value).or_default().push((layout, regs));
    }
    /// What else is needed of a value that is held in its anchor: other layouts.
    fn settle(&mut self, value: Value) {
        let Some((from, regs)) = self.held.get(&value).and_then(|held| held.first()).cloned() else { return };
        for layout in self.assigned.layouts(value) {
            if !self.is_held(value, &layout) {
                let converted = self.convert(self.dtype(value), &from, &regs, &layout);
                self.hold(value, layout, converted);
            }
        }
    }
    fn is_held(&self, value: Value, layout: &Layout) -> bool {
        self.held.get(&value).is_some_and(|held| held.iter().any(|(l, _)| l == layout))
    }
    /// A value in the part of `layout` that has its axes.
    fn read(&mut self, value: Value, layout: &Layout) -> Held {
        let wanted = layout.project(&self.kernel.values[value].axes);
        let found = self.held.get(&value).and_then(|held| held.iter().find(|(l, _)| *l == wanted)).cloned();
        match found {
            Some(held) => held,
            None if self.is_staged(value) => {
                let regs = self.home(value).map(|home| self.read_home(&home, &wanted));
                (wanted, regs.unwrap_or_default())
            }
            None => {
                self.bug(format!("{value} is not held in {wanted:?}"));
                let class = code::class(self.dtype(value));
                let reg = self.c.b.reg(class);
                let count = wanted.registers() as usize;
                (wanted, vec![reg; count])
            }
        }
    }
    /// A scalar.
    fn scalar(&mut self, value: Value) -> Reg {
        let layout = self.assigned.scalar();
        self.read(value, &layout).1[0]
    }

    /// An expression that is computed once in a region and those inside.
    fn once(&mut self, what: Seen, make: impl FnOnce(&mut Self) -> Reg) -> Reg {
        if let Some(reg) = self.seen.iter().rev().find_map(|seen| seen.get(&what)) {
            return *reg;
        }
        let reg = make(self);
        if let Some(seen) = self.seen.last_mut() {
            seen.insert(what, reg);
        }
        reg
    }
}
