//! Lowers a tile kernel to one VIR function.
//!
//! In: a verified kernel and the target it is for. Out: a [`Lowered`] function with the argument words of
//! [`crate::abi::ArgWords`], and a [`Remark`] for each fast form that did not apply. Every operation has a slow form that is
//! always right; fast forms are patterns with preconditions.
//!
//! How: `plan` decides which axis runs in lanes and which values are kept in the scratch arena. Then each instruction that is
//! kept becomes a nest of loops (`nest`, `contract`, `memory`) whose innermost body evaluates operands *at a point* (`eval`);
//! what is not kept is computed there. Invariants: a buffer of the arena is written only by the instruction it belongs to or
//! by the end of a loop step; a value that is not kept reads only buffers and memory that are not written in between.

mod affine;
mod contract;
mod control;
mod elem;
mod eval;
mod factor;
mod layout;
mod memory;
mod nest;
mod nibbles;
mod pairs;
mod plan;
mod rank;
mod scalar;
mod store;
mod view;

use crate::abi::ArgWords;
use crate::vir::{self, Builder, Elem, Val};
use layout::{Buffer, Place, Point};
use plan::Plan;
use rustc_hash::FxHashMap;
use sawmill_ir::dtype::DType;
use sawmill_ir::entity::Entity;
use sawmill_ir::target::Target;
use sawmill_ir::tile::{AxisId, Kernel, Value};
use std::fmt;

/// A kernel as vector loops.
#[derive(Clone, Debug, PartialEq)]
pub struct Lowered {
    /// The code.
    pub function: vir::Function,
    /// Fast forms that did not apply.
    pub remarks: Vec<Remark>,
}

/// A fast form that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The kernel.
    pub kernel: String,
    /// The value or memory it is about.
    pub place: String,
    /// Why.
    pub refusal: Refusal,
}

/// Why a fast form was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A load's coordinates are data, so that its elements are addressed one by one.
    Gathered,
    /// Memory does not run along the axis that is in lanes: loads are packed, stores scattered.
    Strided {
        /// The axis in lanes.
        lane: String,
    },
    /// The kernel writes the memory it loads from, so that the tile is copied at the load.
    Written,
    /// A masked load is tested element by element.
    Masked,
    /// The pad is no value of the storage type.
    Pad,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.kernel, self.place)?;
        match &self.refusal {
            Refusal::Gathered => f.write_str("not vectorised: coordinates are data"),
            Refusal::Strided { lane } => write!(f, "not contiguous along `{lane}`, the axis in lanes"),
            Refusal::Written => f.write_str("copied: the kernel also writes this memory"),
            Refusal::Masked => f.write_str("not read in place: masked"),
            Refusal::Pad => f.write_str("not read in place: the pad is no value of the storage type"),
        }
    }
}

/// Why a kernel could not be lowered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LowerError {
    /// The backend lacks something; what.
    Unsupported(String),
    /// A rule of tile IR or of this pass is broken; which.
    Bug(String),
}

impl fmt::Display for LowerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(what) => write!(f, "not supported: {what}"),
            Self::Bug(what) => write!(f, "lowering broke a rule: {what}"),
        }
    }
}

impl std::error::Error for LowerError {}

/// Lowers one kernel.
///
/// # Errors
/// Storage types that the CPU engines do not read yet, and broken rules.
pub fn lower(kernel: &Kernel, target: &Target) -> Result<Lowered, LowerError> {
    for memory in kernel.memory.values() {
        storage(memory.dtype)
            .ok_or_else(|| LowerError::Unsupported(format!("`{}` holds {}", memory.name, memory.dtype)))?;
    }
    for ty in kernel.values.values() {
        computing(ty.dtype).ok_or_else(|| LowerError::Unsupported(format!("computing in {}", ty.dtype)))?;
    }
    let mut lowering = Lower::new(kernel, target);
    lowering.blocks();
    let Lower { b, scratch, remarks, defect, .. } = lowering;
    if let Some(defect) = defect {
        return Err(LowerError::Bug(format!("{}: {defect}", kernel.name)));
    }
    let mut function = b.finish().map_err(|e| LowerError::Bug(e.to_string()))?;
    function.scratch_bytes = scratch;
    Ok(Lowered { function: vir::tidy(&function), remarks })
}

/// The element that holds a storage type in memory.
pub(crate) fn storage(dtype: DType) -> Option<Elem> {
    Some(match dtype {
        DType::F64 => Elem::F64,
        DType::F32 => Elem::F32,
        DType::F16 | DType::BF16 | DType::I16 | DType::U16 => Elem::I16,
        DType::I64 => Elem::I64,
        DType::I32 | DType::U32 => Elem::I32,
        DType::I8 | DType::U8 | DType::F8E4M3 | DType::F8E5M2 | DType::F8E8M0 => Elem::I8,
        // In registers and in the arena each has a byte of its own.
        DType::I4 | DType::U4 | DType::F4E2M1 => Elem::I8,
        DType::Bool => Elem::Bool,
        _ => return None,
    })
}

/// The element that a computing type works in.
fn computing(dtype: DType) -> Option<Elem> {
    storage(dtype).filter(|_| dtype.is_compute())
}

/// The smallest multiple of `of` that is not below `value`; both are positive.
fn round_up(value: i64, of: i64) -> i64 {
    (value + of - 1) / of * of
}

/// A distance of at least `stride` bytes between the rows of a tile that puts them into different sets of the first-level
/// cache: a column of a tile, which register blocks go through, otherwise falls into a few sets and is not kept there.
fn spread(stride: i64) -> i64 {
    const LINE: i64 = 64;
    if stride % (2 * LINE) == 0 { stride.saturating_add(LINE) } else { stride }
}

/// Bytes at the start of the arena that guarded scalar accesses may read instead of memory.
const SPARE: u64 = 64;

/// A key of a value that was computed at a point.
type Seen = (Value, Point);

/// The state of lowering one kernel.
struct Lower<'k> {
    kernel: &'k Kernel,
    registers: u32,
    /// f32 lanes of a vector register.
    lanes: u8,
    words: ArgWords,
    plan: Plan<'k>,
    b: Builder,
    places: Vec<Option<Place>>,
    /// Scalars (i64 and bool) whose value is known.
    known: FxHashMap<Value, i64>,
    /// Buffers that values must be written to, instead of new ones.
    targets: FxHashMap<Value, Buffer>,
    /// This block's position along each grid axis.
    grid: Vec<Val>,
    /// Values computed in the open blocks, innermost last.
    scopes: Vec<FxHashMap<Seen, Val>>,
    /// Vectors of one scalar, in the same blocks.
    splats: Vec<FxHashMap<(Val, u8), Val>>,
    /// Buffers by the value they belong to: a body that is emitted for several phases uses them again.
    buffers: FxHashMap<Value, Buffer>,
    scratch: u64,
    /// Whether the value being computed is a factor of a sum of products, whose rounding is free.
    contracting: bool,
    remarks: Vec<Remark>,
    defect: Option<String>,
}

impl<'k> Lower<'k> {
    fn new(kernel: &'k Kernel, target: &Target) -> Self {
        let name: String =
            kernel.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' }).collect();
        Self {
            kernel,
            registers: target.vector_registers,
            lanes: u8::try_from(target.lanes(32)).unwrap_or(4).clamp(4, 16),
            words: ArgWords::of(kernel),
            plan: Plan::of(kernel),
            b: Builder::new(if name.is_empty() { "kernel".to_owned() } else { name }),
            places: vec![None; kernel.values.len()],
            known: FxHashMap::default(),
            targets: FxHashMap::default(),
            grid: Vec::new(),
            scopes: vec![FxHashMap::default()],
            splats: vec![FxHashMap::default()],
            buffers: FxHashMap::default(),
            scratch: SPARE,
            contracting: false,
            remarks: Vec::new(),
            defect: None,
        }
    }

    /// The loop over the grid blocks of a call.
    fn blocks(&mut self) {
        let kernel = self.kernel;
        let extents: Vec<Val> = kernel.grid.iter().map(|(_, blocks)| self.index(blocks)).collect();
        let (first, end) = (self.b.first(), self.b.end());
        let (block, _) = self.b.begin_for(first, end, 1, &[]);
        self.open_scope();
        let mut rest = block;
        let mut grid = Vec::new();
        for (axis, extent) in extents.into_iter().enumerate().rev() {
            if axis == 0 {
                grid.push(rest);
            } else {
                grid.push(self.b.rem(rest, extent));
                rest = self.b.div(rest, extent);
            }
        }
        grid.reverse();
        self.grid = grid;
        self.region(&kernel.body);
        self.close_scope();
        self.b.end_for(&[]);
    }

    /// Records a broken rule; code generation goes on so that the first one is reported whole.
    fn defect(&mut self, what: String) {
        self.defect.get_or_insert(what);
    }
    fn remark(&mut self, place: String, refusal: Refusal) {
        let remark = Remark { kernel: self.kernel.name.clone(), place, refusal };
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }
    fn open_scope(&mut self) {
        self.scopes.push(FxHashMap::default());
        self.splats.push(FxHashMap::default());
    }
    fn close_scope(&mut self) {
        self.scopes.pop();
        self.splats.pop();
    }
    fn axes(&self, value: Value) -> &'k [AxisId] {
        &self.kernel.values[value].axes
    }
    fn extent(&self, axis: AxisId) -> i64 {
        i64::from(self.kernel.axes[axis].extent)
    }
    fn dtype(&self, value: Value) -> DType {
        self.kernel.values[value].dtype
    }
    fn elem(&mut self, dtype: DType) -> Elem {
        computing(dtype).unwrap_or_else(|| {
            self.defect(format!("computes in {dtype}"));
            Elem::F32
        })
    }
    fn place(&self, value: Value) -> Option<&Place> {
        self.places[value.index()].as_ref()
    }
    fn set_place(&mut self, value: Value, place: Place) {
        self.places[value.index()] = Some(place);
    }

    /// Room in the arena for a tile over `axes`, the lane axis innermost and padded to whole vectors.
    fn allocate(&mut self, axes: &[AxisId], elem: Elem) -> Buffer {
        let ordered = self.plan.ordered(axes);
        let innermost = self.plan.lane(self.kernel, axes);
        let ordered = match innermost {
            Some(lane) => ordered.iter().copied().filter(|a| *a != lane).chain([lane]).collect(),
            None => ordered,
        };
        self.allocate_as(&ordered, elem)
    }
    /// The same with a given order of axes, the innermost last.
    fn allocate_as(&mut self, ordered: &[AxisId], elem: Elem) -> Buffer {
        let mut stride = i64::from(elem.bytes());
        let mut strides = Vec::new();
        for (position, axis) in ordered.iter().rev().enumerate() {
            strides.push((*axis, stride));
            let extent = self.extent(*axis);
            let padded = if position == 0 { round_up(extent, self.padding(extent)) } else { extent };
            stride = stride.saturating_mul(padded);
            if position == 0 && ordered.len() > 1 {
                stride = spread(stride);
            }
        }
        strides.reverse();
        let bytes = u64::try_from(stride).unwrap_or(u64::MAX);
        let offset = self.scratch;
        self.scratch = offset.saturating_add(bytes.saturating_add(SPARE)).next_multiple_of(64);
        if i32::try_from(self.scratch).is_err() {
            self.defect("tiles need more than 2 GiB of scratch".to_owned());
        }
        Buffer { offset, elem, strides }
    }
    /// The buffer a value is written to.
    fn buffer_of(&mut self, value: Value) -> Buffer {
        self.buffer_over(value, self.axes(value))
    }
    /// The buffer for a value's elements along some of its axes.
    fn buffer_over(&mut self, value: Value, axes: &[AxisId]) -> Buffer {
        if let Some(target) = self.targets.get(&value) {
            return target.clone();
        }
        if let Some(buffer) = self.buffers.get(&value) {
            return buffer.clone();
        }
        let elem = self.elem(self.dtype(value));
        let buffer = self.allocate(axes, elem);
        self.buffers.insert(value, buffer.clone());
        buffer
    }
}
