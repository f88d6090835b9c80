//! Runs the body of a function: definitions, appends, loops.
//!
//! In: values of dims and arguments. Out: tensors. A definition is evaluated once over its whole range when its statement is
//! reached. Outputs, carries, appended values and typed definitions are rounded to what they are stored as; all else stays in
//! f64. Outputs, carries and appended values must be present.

use super::compile::{Program, compile};
use super::machine::{Lane, Machine, Tensors, advance};
use super::number::{saturate_int, wrap_int};
use super::order::{choose, free_axes};
use super::read::strides;
use super::value::{BROKEN, Data, PRESENT, Value};
use super::write::Writer;
use super::{Appended, InterpError, Options};
use crate::dtype::DType;
use crate::entity::Entity;
use crate::graph::{Elem, Function, Loop, Stmt, TensorKind, TermId};
use crate::index::{Atom, AxisId, Index, TensorId};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) struct Run<'a> {
    pub(super) function: &'a Function,
    pub(super) dims: Vec<i64>,
    pub(super) tensors: Tensors,
    pub(super) options: Options,
    /// Outputs before they are rounded, if asked for.
    pub(super) exact: FxHashMap<TensorId, Arc<Value>>,
    pub(super) appended: Vec<Appended>,
    programs: FxHashMap<(TermId, Vec<AxisId>), Program>,
    free: Vec<BTreeSet<AxisId>>,
    /// Positions of the loops around, by axis.
    position: Vec<i64>,
    loops: Vec<AxisId>,
}

type Done<T> = Result<T, InterpError>;

/// Elements over some axes.
struct Filled {
    lane: Lane,
    state: Option<Vec<u8>>,
    shape: Vec<usize>,
    broken: Option<String>,
}

impl<'a> Run<'a> {
    pub(super) fn new(function: &'a Function, dims: Vec<i64>, options: Options) -> Self {
        Self {
            function,
            dims,
            tensors: vec![None; function.tensors.len()],
            options,
            exact: FxHashMap::default(),
            appended: Vec::new(),
            programs: FxHashMap::default(),
            free: free_axes(function),
            position: vec![0; function.axes.len()],
            loops: Vec::new(),
        }
    }
    fn fault(&self, id: TensorId, message: impl Into<String>) -> InterpError {
        InterpError::new(&self.function.tensors[id].name, message)
    }
    pub(super) fn body(&mut self, stmts: &[Stmt]) -> Done<()> {
        stmts.iter().try_for_each(|stmt| match stmt {
            Stmt::Define(id) => self.define(*id),
            Stmt::Loop(steps) => self.steps(steps),
        })
    }
    /// An integer expression at the current positions.
    fn eval(&self, index: &Index) -> Option<i64> {
        index.eval(&mut |atom, subs| match atom {
            Atom::Dim(dim) => self.dims.get(dim.index()).copied(),
            Atom::Axis(axis) if self.loops.contains(axis) => self.position.get(axis.index()).copied(),
            Atom::Read(tensor, _) => {
                let value = self.tensors.get(tensor.index())?.as_ref()?;
                let mut at = 0;
                for (sub, size) in subs.iter().zip(&value.shape) {
                    at = at * size + usize::try_from(*sub).ok()?.min(size.checked_sub(1)?);
                }
                Some(value.data.int(at))
            }
            _ => None,
        })
    }
    /// The same, needed by tensor `id`.
    fn index(&self, id: TensorId, index: &Index) -> Done<i64> {
        self.eval(index).ok_or_else(|| self.fault(id, "an integer expression has no value here"))
    }
    /// How many elements a tensor of this shape has, if memory could hold them.
    pub(super) fn count(&self, id: TensorId, shape: &[usize]) -> Done<usize> {
        if shape.contains(&0) {
            return Ok(0);
        }
        let count = shape.iter().fold(1_u128, |count, size| count.saturating_mul(*size as u128));
        usize::try_from(count)
            .ok()
            .filter(|count| isize::try_from(*count).is_ok_and(|count| count <= isize::MAX / 8))
            .ok_or_else(|| self.too_large(id, count))
    }
    fn too_large(&self, id: TensorId, elements: u128) -> InterpError {
        InterpError::memory(&self.function.tensors[id].name, elements.saturating_mul(8))
    }
    pub(super) fn size(&self, id: TensorId, index: &Index) -> Done<usize> {
        let value = self.index(id, index)?;
        usize::try_from(value).map_err(|_| self.fault(id, format!("a size is {value}")))
    }

    fn define(&mut self, id: TensorId) -> Done<()> {
        match &self.function.tensors[id].kind {
            TensorKind::Def { axes, value, rounded } => self.definition(id, axes, *value, *rounded),
            TensorKind::Append { base, at, dim, axes, value } => {
                self.append(id, (*base, at), *dim as usize, axes, *value)
            }
            _ => Err(self.fault(id, "only definitions and appends stand in a body")),
        }
    }
    fn definition(&mut self, id: TensorId, axes: &[AxisId], value: TermId, rounded: bool) -> Done<()> {
        let over: Vec<AxisId> = axes.iter().filter(|a| !self.loops.contains(a)).copied().collect();
        let filled = self.fill(id, &over, value)?;
        let output = self.function.outputs.contains(&id);
        if output {
            self.present(id, &filled)?;
        }
        let exact = self.value_of(id, filled)?;
        let elem = self.stored(id)?;
        let stored = if rounded || output { self.store(&exact, elem) } else { exact.clone() };
        if output && self.options.exact_outputs {
            self.collect(id, axes, exact, true)?;
        }
        self.collect(id, axes, stored, false)
    }
    /// What a tensor is stored as.
    pub(super) fn stored(&self, id: TensorId) -> Done<DType> {
        match &self.function.tensors[id].elem {
            Elem::Type(dtype) => Ok(*dtype),
            other => Err(self.fault(id, format!("{other:?} in a linked function"))),
        }
    }
    fn present(&self, id: TensorId, filled: &Filled) -> Done<()> {
        let Some(at) = filled.state.as_ref().and_then(|s| s.iter().position(|s| *s != PRESENT)) else {
            return Ok(());
        };
        let mut place = Vec::new();
        let mut rest = at;
        for size in filled.shape.iter().rev() {
            place.insert(0, rest % size);
            rest /= size;
        }
        let broken = filled.state.as_ref().is_some_and(|s| s[at] == BROKEN);
        Err(match (broken, &filled.broken) {
            (true, Some(read)) => self.fault(id, format!("element {place:?} needs a read out of range: {read}")),
            (true, None) => self.fault(id, format!("element {place:?} needs a read out of range")),
            (false, _) => self.fault(id, format!("element {place:?} is absent")),
        })
    }
    fn value_of(&self, id: TensorId, filled: Filled) -> Done<Value> {
        let data = match filled.lane {
            Lane::F(v) => Data::F64(v),
            Lane::I(v) => Data::I64(v),
            Lane::B(v) => Data::Bool(v),
        };
        let dtype = self.stored(id)?;
        let value = Value::new(dtype, filled.shape, data).map_err(|message| self.fault(id, message))?;
        Ok(Value { state: filled.state, ..value })
    }
    /// Rounded to a storage type.
    pub(super) fn store(&self, value: &Value, dtype: DType) -> Value {
        match &value.data {
            Data::F64(_) => value.rounded(dtype),
            Data::I64(v) => {
                let data = Data::I64(v.iter().map(|x| wrap_int(dtype, saturate_int(dtype, *x))).collect());
                Value { dtype, data, ..value.clone() }
            }
            _ => Value { dtype, ..value.clone() },
        }
    }
    /// Puts a value in its place: the whole tensor, or the slice at the current step of the loops that collect it.
    fn collect(&mut self, id: TensorId, axes: &[AxisId], value: Value, exact: bool) -> Done<()> {
        let place: Vec<Option<usize>> = axes
            .iter()
            .map(|a| self.loops.contains(a).then(|| usize::try_from(self.position[a.index()]).unwrap_or(0)))
            .collect();
        let value = if place.iter().all(Option::is_none) {
            Arc::new(value)
        } else {
            let shape = self.function.tensors[id].shape.iter().map(|s| self.size(id, s)).collect::<Done<Vec<_>>>()?;
            let old = if exact { self.exact.remove(&id) } else { self.tensors[id.index()].take() };
            let mut whole = match old {
                Some(old) if old.shape == shape => Arc::unwrap_or_clone(old),
                _ => zeros_like(&value, shape),
            };
            insert(&mut whole, &place, &value);
            Arc::new(whole)
        };
        if exact {
            self.exact.insert(id, value);
        } else {
            self.tensors[id.index()] = Some(value);
        }
        Ok(())
    }

    /// Evaluates a term over `axes`.
    fn fill(&mut self, id: TensorId, axes: &[AxisId], value: TermId) -> Done<Filled> {
        let function = self.function;
        let key = (value, axes.to_vec());
        if !self.programs.contains_key(&key) {
            let (loops, block) = choose(function, &self.dims, &self.free, axes, value);
            let program = compile(function, &self.dims, value, loops, block);
            self.programs.insert(key.clone(), program.map_err(|message| self.fault(id, message))?);
        }
        let sizes =
            |axes: &[AxisId]| axes.iter().map(|a| self.size(id, &function.axes[*a].extent)).collect::<Done<Vec<_>>>();
        let program = &self.programs[&key];
        let (shape, loops, block) = (sizes(axes)?, sizes(&program.loops)?, sizes(&program.block)?);
        let count = self.count(id, &shape)?;
        let strides = strides(&shape);
        let moves = |over: &[AxisId]| -> Vec<usize> {
            over.iter().map(|a| axes.iter().position(|b| a == b).map_or(0, |at| strides[at])).collect()
        };
        let mut writer =
            Writer::new(function.terms[value].dtype, count, moves(&program.loops), moves(&program.block), block)
                .ok_or_else(|| self.too_large(id, count as u128))?;
        let mut machine = Machine::new(function, program, &self.tensors, &self.position);
        if count > 0 {
            writer.fill(&mut machine, &loops).map_err(|message| match machine.lacking {
                Some(elements) => self.too_large(id, elements),
                None => self.fault(id, message),
            })?;
        }
        Ok(Filled { lane: writer.lane, state: writer.state, shape, broken: machine.broken })
    }
    /// A term without free axes: a default.
    pub(super) fn constant(&mut self, id: TensorId, value: TermId) -> Done<Value> {
        let filled = self.fill(id, &[], value)?;
        self.present(id, &filled)?;
        self.value_of(id, filled)
    }

    fn append(
        &mut self,
        id: TensorId,
        (base, at): (TensorId, &[Index]),
        dim: usize,
        axes: &[AxisId],
        value: TermId,
    ) -> Done<()> {
        let filled = self.fill(id, axes, value)?;
        self.present(id, &filled)?;
        let elem = self.stored(id)?;
        let slab = self.store(&self.value_of(id, filled)?, elem);
        let at: Vec<i64> = at.iter().map(|index| self.index(id, index)).collect::<Done<_>>()?;
        let old = self.tensors[base.index()].clone().ok_or_else(|| self.fault(id, "the cache is not defined"))?;
        let old = element(&old, &at).ok_or_else(|| self.fault(id, format!("the list has no element {at:?}")))?;
        let joined = Arc::new(join(&old, &slab, dim));
        self.tensors[id.index()] = Some(joined.clone());
        self.record(base, at, joined);
        Ok(())
    }
    /// Notes the new value of an argument that is a cache.
    fn record(&mut self, base: TensorId, at: Vec<i64>, value: Arc<Value>) {
        match &self.function.tensors[base].kind {
            TensorKind::Append { base: earlier, at: index, .. } if at.is_empty() => {
                let at = index.iter().map(|i| self.index(base, i)).collect::<Done<Vec<_>>>().unwrap_or_default();
                self.record(*earlier, at, value);
            }
            _ => {
                let input = self.function.tensors[base].name.clone();
                match self.appended.iter_mut().find(|a| a.input == input && a.at == at) {
                    Some(entry) => entry.value = value,
                    None => self.appended.push(Appended { input, at, value }),
                }
            }
        }
    }

    fn steps(&mut self, steps: &Loop) -> Done<()> {
        for carry in &steps.carries {
            self.hand_on(carry.init, carry.inside)?;
        }
        let axis = steps.index;
        let data = &self.function.axes[axis];
        let count =
            self.eval(&data.extent).ok_or_else(|| InterpError::new(&data.name, "the loop's extent has no value"))?;
        self.loops.push(axis);
        for step in 0..count {
            self.position[axis.index()] = if steps.rev { count - 1 - step } else { step };
            self.body(&steps.body)?;
            let next: Vec<Option<Arc<Value>>> =
                steps.carries.iter().map(|c| self.tensors[c.next.index()].clone()).collect();
            for (carry, next) in steps.carries.iter().zip(next) {
                self.tensors[carry.inside.index()] = next;
                self.hand_on(carry.inside, carry.inside)?;
            }
        }
        self.loops.pop();
        if count <= 0 {
            self.collect_nothing(axis, &steps.body)?;
        }
        for carry in &steps.carries {
            self.tensors[carry.result.index()] = self.tensors[carry.inside.index()].clone();
        }
        Ok(())
    }
    /// What a loop without steps collects is empty.
    fn collect_nothing(&mut self, axis: AxisId, body: &[Stmt]) -> Done<()> {
        for stmt in body {
            let Stmt::Define(id) = stmt else { continue };
            let tensor = &self.function.tensors[*id];
            let TensorKind::Def { axes, value, .. } = &tensor.kind else { continue };
            if axes.contains(&axis) {
                let shape = tensor.shape.iter().map(|s| self.size(*id, s)).collect::<Done<Vec<_>>>()?;
                let lane = Lane::of(self.function.terms[*value].dtype);
                let empty = self.value_of(*id, Filled { lane, state: None, shape, broken: None })?;
                self.tensors[id.index()] = Some(Arc::new(empty));
            }
        }
        Ok(())
    }
    /// Gives `to` the value of `from`, rounded to what `to` is stored as.
    fn hand_on(&mut self, from: TensorId, to: TensorId) -> Done<()> {
        let value = self.tensors[from.index()].clone().ok_or_else(|| self.fault(from, "a carry is not defined"))?;
        if let Some(state) = &value.state
            && let Some(at) = state.iter().position(|s| *s != PRESENT)
        {
            return Err(self.fault(to, format!("element {at} of the carry is not present")));
        }
        let dtype = self.stored(to)?;
        let exact =
            dtype == DType::F64 || matches!(value.data, Data::F64(_)) && value.dtype == dtype && self.is_rounded(from);
        self.tensors[to.index()] = Some(if exact { value } else { Arc::new(self.store(&value, dtype)) });
        Ok(())
    }
    fn is_rounded(&self, id: TensorId) -> bool {
        match &self.function.tensors[id].kind {
            TensorKind::Def { rounded, .. } => *rounded,
            TensorKind::Input(_) => true,
            _ => false,
        }
    }
}

fn zeros_like(value: &Value, shape: Vec<usize>) -> Value {
    let count = shape.iter().product();
    let data = match &value.data {
        Data::I64(_) => Data::I64(vec![0; count]),
        Data::Bool(_) => Data::Bool(vec![false; count]),
        _ => Data::F64(vec![0.0; count]),
    };
    Value { dtype: value.dtype, shape, data, state: None }
}

/// Writes `part` into `whole` where `place` fixes some dimensions.
fn insert(whole: &mut Value, place: &[Option<usize>], part: &Value) {
    let strides = strides(&whole.shape);
    let base: usize = place.iter().zip(&strides).map(|(at, stride)| at.unwrap_or(0) * stride).sum();
    let steps: Vec<usize> = place.iter().zip(&strides).filter(|(at, _)| at.is_none()).map(|(_, s)| *s).collect();
    let mut at = vec![0_usize; part.shape.len()];
    for from in 0..part.len() {
        let to = base + at.iter().zip(&steps).map(|(at, step)| at * step).sum::<usize>();
        match (&mut whole.data, &part.data) {
            (Data::F64(w), Data::F64(p)) => w[to] = p[from],
            (Data::I64(w), Data::I64(p)) => w[to] = p[from],
            (Data::Bool(w), Data::Bool(p)) => w[to] = p[from],
            _ => {}
        }
        if !part.is_present(from) || whole.state.is_some() {
            let count = whole.data.len();
            let state = whole.state.get_or_insert_with(|| vec![PRESENT; count]);
            state[to] = part.state.as_ref().map_or(PRESENT, |s| s[from]);
        }
        advance(&mut at, &part.shape);
    }
}

/// An element of a list, or the value itself.
fn element(value: &Value, at: &[i64]) -> Option<Value> {
    let (mut from, mut size, mut shape) = (0, value.len(), value.shape.as_slice());
    for at in at {
        let (length, rest) = shape.split_first()?;
        let at = usize::try_from(*at).ok().filter(|at| at < length)?;
        size /= length;
        from += at * size;
        shape = rest;
    }
    let data = slice(&value.data, from..from + size);
    Some(Value { dtype: value.dtype, shape: shape.to_vec(), data, state: None })
}

fn slice(data: &Data, range: std::ops::Range<usize>) -> Data {
    match data {
        Data::F64(v) => Data::F64(v[range].to_vec()),
        Data::F32(v) => Data::F32(v[range].to_vec()),
        Data::F16(v) => Data::F16(v[range].to_vec()),
        Data::BF16(v) => Data::BF16(v[range].to_vec()),
        Data::I64(v) => Data::I64(v[range].to_vec()),
        Data::I32(v) => Data::I32(v[range].to_vec()),
        Data::I8(v) => Data::I8(v[range].to_vec()),
        Data::U8(v) => Data::U8(v[range].to_vec()),
        Data::Bool(v) => Data::Bool(v[range].to_vec()),
    }
}

/// `a` followed by `b` along dimension `dim`.
fn join(a: &Value, b: &Value, dim: usize) -> Value {
    let mut shape = a.shape.clone();
    shape[dim] += b.shape[dim];
    let inner = |v: &Value| v.shape[dim..].iter().product::<usize>();
    let outer: usize = a.shape[..dim].iter().product();
    let (a_row, b_row) = (inner(a), inner(b));
    fn rows<T>(outer: usize, a: (usize, impl Fn(usize) -> T), b: (usize, impl Fn(usize) -> T)) -> Vec<T> {
        let mut out = Vec::with_capacity(outer * (a.0 + b.0));
        for row in 0..outer {
            out.extend((row * a.0..(row + 1) * a.0).map(&a.1));
            out.extend((row * b.0..(row + 1) * b.0).map(&b.1));
        }
        out
    }
    let data = match &b.data {
        Data::I64(_) => Data::I64(rows(outer, (a_row, |i| a.data.int(i)), (b_row, |i| b.data.int(i)))),
        Data::Bool(_) => Data::Bool(rows(outer, (a_row, |i| a.data.int(i) != 0), (b_row, |i| b.data.int(i) != 0))),
        _ => Data::F64(rows(outer, (a_row, |i| a.data.float(i)), (b_row, |i| b.data.float(i)))),
    };
    Value { dtype: a.dtype, shape, data, state: None }
}
