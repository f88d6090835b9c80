//! Loads and stores of the interpreter, and the bookkeeping that finds blocks in each other's way.

use super::Precision;
use super::array::{Array, Data, Scalar};
use super::scalar::{constant, round_float, wrap};
use super::tile::{Tile, count, positions};
use crate::dtype::DType;
use crate::entity::{Arena, Entity as _};
use crate::tile::{Access, AxisId, Kernel, MemId, Pad, Subscript, Type};

/// Who touched an element in this launch: 0 nobody, else a block's number, or several.
const SEVERAL: u32 = u32::MAX;

/// Who touched what in one launch.
pub(super) struct Tracks {
    /// The number of the running block, from 1.
    pub(super) block: u32,
    writers: Vec<Vec<u32>>,
    readers: Vec<Vec<u32>>,
}

impl Tracks {
    /// Nobody has touched anything.
    pub(super) fn new(kernel: &Kernel, memory: &Arena<MemId, Array>) -> Self {
        let count = |id: MemId, tracked: bool| vec![0; if tracked { memory[id].data.len() } else { 0 }];
        let of = |tracked: fn(Access) -> bool| -> Vec<Vec<u32>> {
            kernel.memory.iter().map(|(id, m)| count(id, tracked(m.access))).collect()
        };
        Self { block: 0, writers: of(|a| a != Access::In), readers: of(|a| a == Access::InOut) }
    }
    fn read(&mut self, mem: MemId, at: usize) -> Result<(), String> {
        let Some(reader) = self.readers[mem.index()].get_mut(at) else { return Ok(()) };
        let writer = self.writers[mem.index()][at];
        if writer != 0 && writer != self.block {
            return Err(format!("reads element {at} of {mem}, which another block writes"));
        }
        *reader = if *reader == 0 || *reader == self.block { self.block } else { SEVERAL };
        Ok(())
    }
    fn write(&mut self, mem: MemId, at: usize) -> Result<(), String> {
        let out = self.readers[mem.index()].is_empty();
        let reader = self.readers[mem.index()].get(at).copied().unwrap_or(0);
        if reader != 0 && reader != self.block {
            return Err(format!("stores to element {at} of {mem}, which another block reads"));
        }
        let writer = &mut self.writers[mem.index()][at];
        if *writer != 0 && *writer != self.block {
            return Err(format!("stores to element {at} of {mem}, to which another block stores"));
        }
        if out && *writer == self.block {
            return Err(format!("stores twice to element {at} of {mem}, which is `out`"));
        }
        *writer = self.block;
        Ok(())
    }
    /// `out` memory is written in full.
    pub(super) fn finish(&self, kernel: &Kernel, memory: &Arena<MemId, Array>) -> Result<(), String> {
        for (id, param) in kernel.memory.iter() {
            let missed = self.writers[id.index()].iter().position(|w| *w == 0);
            if let (Access::Out, Some(at)) = (param.access, missed) {
                let (name, shape) = (&param.name, &memory[id].shape);
                return Err(format!("element {at} of `{name}` {shape:?} is `out` and was not written"));
            }
        }
        Ok(())
    }
}

/// Elements an access touches: over `axes`, the place in memory of each, `None` outside.
struct Touched {
    axes: Vec<AxisId>,
    places: Vec<Option<usize>>,
    /// Which have an undefined coordinate.
    unknown: Vec<bool>,
}

impl Touched {
    /// The place of element `at`, unless it is outside or not wanted. An undefined coordinate must not be wanted.
    fn place(&self, at: usize, wanted: bool) -> Result<Option<usize>, String> {
        if wanted && self.unknown[at] {
            return Err("an undefined value is a coordinate".to_owned());
        }
        Ok(self.places[at].filter(|_| wanted))
    }
}

fn touched(
    kernel: &Kernel,
    shape: &[usize],
    subs: &[Subscript],
    args: &[&Tile],
    axes: &[AxisId],
) -> Result<Touched, String> {
    let mut places = vec![Some(0_usize); count(axes, kernel)];
    let mut unknown = vec![false; places.len()];
    for ((sub, arg), size) in subs.iter().zip(args).zip(shape) {
        let coordinates = coordinates(kernel, sub, arg, axes)?;
        for (at, coordinate) in coordinates.into_iter().enumerate() {
            unknown[at] |= coordinate.is_none();
            let inside = coordinate.and_then(|c| usize::try_from(c).ok()).filter(|c| c < size);
            places[at] = places[at].and_then(|p| inside.map(|c| p * size + c));
        }
    }
    Ok(Touched { axes: axes.to_vec(), places, unknown })
}

/// The coordinate of each element over `axes` along one dimension; `None` if it is undefined.
fn coordinates(kernel: &Kernel, sub: &Subscript, arg: &Tile, axes: &[AxisId]) -> Result<Vec<Option<i64>>, String> {
    match sub {
        Subscript::Affine(terms) => {
            let mut sum = vec![arg.as_int()?; count(axes, kernel)];
            for (axis, coefficient) in terms {
                for (s, p) in sum.iter_mut().zip(positions(axes, *axis, kernel)) {
                    *s += coefficient * i64::try_from(p).expect("invariant: extents are u32");
                }
            }
            Ok(sum.into_iter().map(Some).collect())
        }
        Subscript::Gather => {
            let tile = arg.over(axes, kernel);
            let Data::Int(values) = &tile.data else { return Err("a gather by what is no integer".to_owned()) };
            Ok(values.iter().enumerate().map(|(i, v)| (!tile.is_undefined(i)).then_some(*v)).collect())
        }
    }
}

/// The mask over `axes`; undefined truth is an error.
fn mask(mask: Option<&Tile>, axes: &[AxisId], kernel: &Kernel) -> Result<Vec<bool>, String> {
    let Some(mask) = mask else { return Ok(vec![true; count(axes, kernel)]) };
    let mask = mask.over(axes, kernel);
    match mask.data {
        Data::Bool(values) if !mask.undefined.contains(&true) => Ok(values),
        Data::Bool(_) => Err("an undefined value decides a mask".to_owned()),
        _ => Err("a mask is a truth value".to_owned()),
    }
}

/// A load; `args` are the subscripts' operands, then the mask if there is one.
pub(super) fn load(
    kernel: &Kernel,
    (mem, memory, tracks): (MemId, &Array, &mut Tracks),
    (subs, pad): (&[Subscript], Pad),
    args: &[&Tile],
    ty: &Type,
) -> Result<Tile, String> {
    let touched = touched(kernel, &memory.shape, subs, args, &ty.axes)?;
    let mask = mask(args.get(subs.len()).copied(), &ty.axes, kernel)?;
    let mut data = Data::zeros(ty.dtype, touched.places.len());
    let mut undefined = vec![false; touched.places.len()];
    for (at, wanted) in mask.into_iter().enumerate() {
        match (touched.place(at, wanted)?, pad) {
            (Some(place), _) => {
                tracks.read(mem, place)?;
                data.set(at, memory.data.get(place));
                undefined[at] = memory.undefined.get(place).copied().unwrap_or(false);
            }
            (None, Pad::Value(value)) => data.set(at, constant(value)),
            (None, Pad::Undef) => undefined[at] = true,
        }
    }
    let undefined = if undefined.contains(&true) { undefined } else { Vec::new() };
    Ok(Tile { axes: touched.axes, data, undefined })
}

/// A store; `args` are the value, the subscripts' operands, then the mask if there is one.
pub(super) fn store(
    kernel: &Kernel,
    (mem, memory, tracks): (MemId, &mut Array, &mut Tracks),
    subs: &[Subscript],
    args: &[&Tile],
    precision: Precision,
) -> Result<(), String> {
    let mut axes: Vec<AxisId> = Vec::new();
    for (sub, arg) in subs.iter().zip(&args[1..]) {
        match sub {
            Subscript::Affine(terms) => axes.extend(terms.iter().map(|t| t.0)),
            Subscript::Gather => axes.extend(&arg.axes),
        }
    }
    axes.sort_unstable();
    axes.dedup();
    let start = args[1..].get(subs.len().wrapping_sub(1)).filter(|_| memory.dtype.bits() < 8);
    if let Some(odd) = start.map(|start| start.as_int()).transpose()?.filter(|start| start % 2 != 0) {
        return Err(format!("a row of pairs starts at the odd position {odd} of {mem}"));
    }
    let touched = touched(kernel, &memory.shape, subs, &args[1..], &axes)?;
    let mask = mask(args.get(1 + subs.len()).copied(), &axes, kernel)?;
    let value = args[0].over(&axes, kernel);
    let mut stored = std::collections::BTreeSet::new();
    for (at, wanted) in mask.into_iter().enumerate() {
        let Some(place) = touched.place(at, wanted)? else { continue };
        if value.is_undefined(at) {
            return Err(format!("an undefined value is stored to element {place} of {mem}"));
        }
        if !stored.insert(place) {
            return Err(format!("one store gives element {place} of {mem} two values"));
        }
        tracks.write(mem, place)?;
        memory.data.set(place, stored_value(value.data.get(at), memory.dtype, precision));
        if let Some(flag) = memory.undefined.get_mut(place) {
            *flag = false;
        }
    }
    Ok(())
}

/// A value rounded to what memory holds; `f32` memory keeps f64 in that precision.
pub(super) fn stored_value(value: Scalar, dtype: DType, precision: Precision) -> Scalar {
    match value {
        Scalar::Float(v) if dtype.bits() < 32 || precision == Precision::F32 => Scalar::Float(round_float(v, dtype)),
        Scalar::Int(v) => Scalar::Int(wrap(v, dtype)),
        other => other,
    }
}
