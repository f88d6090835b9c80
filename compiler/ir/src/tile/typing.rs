//! The typing rules of tile IR, one per operation: operand types in, result types out.
//!
//! The builder infers with them, the parser and the verifier check with them. Operands broadcast over axes by name, so the
//! axes of an elementwise result are the union of its operands' axes. Constants, loops and branches are typed by what their
//! text declares: [`result_types`] compares instead of inferring there.

use super::{Access, AxisId, Kernel, Memory, Op, Region, Subscript, Type, Value};
use crate::dtype::DType;
use crate::elem::ReduceOp;
use crate::entity::Arena;
use crate::graph::Const;

impl Type {
    /// A scalar.
    pub fn scalar(dtype: DType) -> Self {
        Self { dtype, axes: Vec::new() }
    }
    /// A tile over `axes`, in any order.
    pub fn tile(dtype: DType, axes: impl IntoIterator<Item = AxisId>) -> Self {
        let mut axes: Vec<AxisId> = axes.into_iter().collect();
        axes.sort_unstable();
        axes.dedup();
        Self { dtype, axes }
    }
}

/// The types an operation's results have, or the rule that its operands break. `declared` holds the types that the text or
/// the caller gives to the results; only constants, loops and branches need it.
pub(super) fn result_types(kernel: &Kernel, op: &Op, args: &[Value], declared: &[Type]) -> Result<Vec<Type>, String> {
    let types: Vec<&Type> = args.iter().map(|v| type_of(&kernel.values, *v)).collect::<Result<_, _>>()?;
    let types = types.as_slice();
    match op {
        Op::Const(value) => count(types, 0).and_then(|()| constant(*value, declared)),
        Op::Size(_) => count(types, 0).map(|()| vec![Type::scalar(DType::I64)]),
        Op::Grid(axis) => grid(kernel, *axis, types),
        Op::Coord(axis) => {
            count(types, 1)?;
            position(types[0])?;
            extent(kernel, *axis)?;
            Ok(vec![Type::tile(DType::I64, [*axis])])
        }
        Op::Elem(elem) => {
            let dtypes: Vec<DType> = types.iter().map(|t| t.dtype).collect();
            Ok(vec![Type::tile(elem.result(&dtypes)?, union(types))])
        }
        Op::Fma => fma(types),
        Op::Cast(to) => cast(*to, types),
        Op::Round(to) => round(*to, types),
        Op::Rename(pairs) => rename(kernel, pairs, types),
        Op::Slice(axis) => slice(*axis, types),
        Op::Mma { over } => mma(over, types),
        Op::Reduce { op, over } => reduce(*op, over, types),
        Op::Load { mem, subs, masked, .. } => load(kernel, *mem, subs, *masked, types),
        Op::Store { mem, subs, masked } => store(kernel, *mem, subs, *masked, types),
        Op::For { step, phases, params, body } => {
            if *step < 1 {
                return Err(format!("the step of a loop is at least 1, not {step}"));
            }
            for bound in phases.iter().flat_map(|p| [p.lo, p.hi]) {
                position(type_of(&kernel.values, bound)?)?;
            }
            loop_types(kernel, params, body, types)
        }
        Op::If { then, otherwise } => branch_types(kernel, then, otherwise, types, declared),
    }
}

/// The extent of an axis.
pub(super) fn extent(kernel: &Kernel, axis: AxisId) -> Result<u32, String> {
    kernel.axes.get(axis).map(|a| a.extent).ok_or_else(|| format!("the kernel has no axis {axis}"))
}

fn type_of(values: &Arena<Value, Type>, value: Value) -> Result<&Type, String> {
    values.get(value).ok_or_else(|| format!("the kernel has no value {value}"))
}

fn count(types: &[&Type], wanted: usize) -> Result<(), String> {
    if types.len() == wanted { Ok(()) } else { Err(format!("takes {wanted} operands, not {}", types.len())) }
}

fn position(ty: &Type) -> Result<(), String> {
    if *ty == Type::scalar(DType::I64) {
        Ok(())
    } else {
        Err(format!("a position is a scalar i64, not {} over {} axes", ty.dtype, ty.axes.len()))
    }
}

fn union(types: &[&Type]) -> Vec<AxisId> {
    types.iter().flat_map(|t| t.axes.iter().copied()).collect()
}

fn constant(value: Const, declared: &[Type]) -> Result<Vec<Type>, String> {
    let [ty] = declared else { return Err("a constant has one result".to_owned()) };
    let fits = match value {
        Const::Float(_) => ty.dtype.is_float(),
        Const::Int(_) => ty.dtype.is_int(),
        Const::Bool(_) => ty.dtype == DType::Bool,
    };
    if fits && ty.axes.is_empty() && ty.dtype.is_compute() {
        Ok(vec![ty.clone()])
    } else {
        Err(format!("a constant is a scalar of its own kind and of a computing type, not {}", ty.dtype))
    }
}

fn grid(kernel: &Kernel, axis: u32, types: &[&Type]) -> Result<Vec<Type>, String> {
    count(types, 0)?;
    if (axis as usize) < kernel.grid.len() {
        Ok(vec![Type::scalar(DType::I64)])
    } else {
        Err(format!("the grid has {} axes, there is no axis {axis}", kernel.grid.len()))
    }
}

fn fma(types: &[&Type]) -> Result<Vec<Type>, String> {
    count(types, 3)?;
    if types[0].dtype.is_float() && types.iter().all(|t| t.dtype == types[0].dtype) {
        Ok(vec![Type::tile(types[0].dtype, union(types))])
    } else {
        Err("takes three floats of one type".to_owned())
    }
}

fn cast(to: DType, types: &[&Type]) -> Result<Vec<Type>, String> {
    count(types, 1)?;
    if to.is_compute() {
        Ok(vec![Type { dtype: to, axes: types[0].axes.clone() }])
    } else {
        Err(format!("casts to a computing type, not to {to}"))
    }
}

fn round(to: DType, types: &[&Type]) -> Result<Vec<Type>, String> {
    count(types, 1)?;
    let from = types[0].dtype;
    if (from.is_float() && to.is_float()) || (from.is_int() && to.is_int()) {
        Ok(vec![types[0].clone()])
    } else {
        Err(format!("rounds to a type of the same kind, not {from} to {to}"))
    }
}

fn rename(kernel: &Kernel, pairs: &[(AxisId, AxisId)], types: &[&Type]) -> Result<Vec<Type>, String> {
    count(types, 1)?;
    let mut axes = types[0].axes.clone();
    for (from, to) in pairs {
        if extent(kernel, *from)? != extent(kernel, *to)? {
            return Err("renames between axes of one extent".to_owned());
        }
        let at = types[0].axes.iter().position(|a| a == from).ok_or("renames an axis that the operand has")?;
        axes[at] = *to;
    }
    let renamed = Type::tile(types[0].dtype, axes.iter().copied());
    if renamed.axes.len() == axes.len() { Ok(vec![renamed]) } else { Err("renames two axes to one".to_owned()) }
}

fn without(ty: &Type, over: &[AxisId]) -> Result<Vec<AxisId>, String> {
    let mut left = ty.axes.clone();
    for axis in over {
        let at = left.iter().position(|a| a == axis).ok_or_else(|| format!("the operand has no axis {axis}"))?;
        left.remove(at);
    }
    Ok(left)
}

fn slice(axis: AxisId, types: &[&Type]) -> Result<Vec<Type>, String> {
    count(types, 2)?;
    position(types[1])?;
    Ok(vec![Type { dtype: types[0].dtype, axes: without(types[0], &[axis])? }])
}

fn mma(over: &[AxisId], types: &[&Type]) -> Result<Vec<Type>, String> {
    if !(types.len() == 2 || types.len() == 3) {
        return Err(format!("takes 2 or 3 operands, not {}", types.len()));
    }
    let dtype = types[0].dtype;
    if dtype == DType::Bool || types.iter().any(|t| t.dtype != dtype) {
        return Err("takes numbers of one type".to_owned());
    }
    if over.is_empty() {
        return Err("contracts at least one axis".to_owned());
    }
    let axes = [without(types[0], over)?, without(types[1], over)?].concat();
    let out = Type::tile(dtype, axes);
    match types.get(2) {
        Some(acc) if **acc != out => Err("the accumulator has the axes of the result".to_owned()),
        _ => Ok(vec![out]),
    }
}

fn reduce(op: ReduceOp, over: &[AxisId], types: &[&Type]) -> Result<Vec<Type>, String> {
    count(types, 1)?;
    let axes = without(types[0], over)?;
    let logic = matches!(op, ReduceOp::Any | ReduceOp::All);
    if !op.is_primitive() {
        return Err(format!("`{op}` is not a primitive reduction"));
    }
    if over.is_empty() || logic != (types[0].dtype == DType::Bool) {
        return Err(format!("`{op}` does not reduce {} over {} axes", types[0].dtype, over.len()));
    }
    if op.gives_position() && over.len() != 1 {
        return Err(format!("`{op}` reduces over one axis"));
    }
    Ok(vec![Type { dtype: if op.gives_position() { DType::I64 } else { types[0].dtype }, axes }])
}

/// The axes of an access's subscripts, from their operands, and those of the mask that follows if there is one.
fn access_axes(
    kernel: &Kernel,
    rank: usize,
    subs: &[Subscript],
    masked: bool,
    types: &[&Type],
) -> Result<(Vec<AxisId>, Vec<AxisId>), String> {
    if subs.len() != rank || types.len() < rank {
        return Err(format!("the memory has {rank} dimensions, not {}", subs.len()));
    }
    let (places, rest) = types.split_at(rank);
    let mut axes = Vec::new();
    for (sub, ty) in subs.iter().zip(places) {
        match sub {
            Subscript::Affine(terms) => {
                position(ty)?;
                for (axis, _) in terms {
                    extent(kernel, *axis)?;
                    axes.push(*axis);
                }
            }
            Subscript::Gather if ty.dtype.is_int() => axes.extend_from_slice(&ty.axes),
            Subscript::Gather => return Err(format!("a gather takes integer coordinates, not {}", ty.dtype)),
        }
    }
    axes.sort_unstable();
    axes.dedup();
    match (masked, rest) {
        (false, []) => Ok((axes, Vec::new())),
        (true, [mask]) if mask.dtype == DType::Bool => Ok((axes, mask.axes.clone())),
        _ => Err("a masked access takes one bool after the subscripts, others nothing".to_owned()),
    }
}

/// The memory of an access that `forbidden` memory does not allow, in the word for what it does.
fn accessed<'k>(
    kernel: &'k Kernel,
    mem: super::MemId,
    forbidden: &[(Access, &str)],
    does: &str,
) -> Result<&'k Memory, String> {
    let memory = kernel.memory.get(mem).ok_or_else(|| format!("the kernel has no memory {mem}"))?;
    match forbidden.iter().find(|(access, _)| memory.access == *access) {
        Some((_, word)) => Err(format!("{does} `{}`, which is `{word}`", memory.name)),
        None => Ok(memory),
    }
}

fn load(
    kernel: &Kernel,
    mem: super::MemId,
    subs: &[Subscript],
    masked: bool,
    types: &[&Type],
) -> Result<Vec<Type>, String> {
    let memory = accessed(kernel, mem, &[(Access::Out, "out"), (Access::Part, "part")], "reads")?;
    let (axes, mask) = access_axes(kernel, memory.shape.len(), subs, masked, types)?;
    Ok(vec![Type::tile(memory.dtype.widened(), axes.into_iter().chain(mask))])
}

fn store(
    kernel: &Kernel,
    mem: super::MemId,
    subs: &[Subscript],
    masked: bool,
    types: &[&Type],
) -> Result<Vec<Type>, String> {
    let memory = accessed(kernel, mem, &[(Access::In, "in")], "stores to")?;
    let Some((value, rest)) = types.split_first() else { return Err("takes the value to store".to_owned()) };
    let (axes, mask) = access_axes(kernel, memory.shape.len(), subs, masked, rest)?;
    if value.axes.iter().chain(&mask).any(|a| !axes.contains(a)) {
        return Err(
            "an axis of the value or the mask is in no subscript: several elements would go to one place".to_owned()
        );
    }
    if value.dtype != memory.dtype.widened() {
        return Err(format!("stores {} to `{}`, which holds {}", value.dtype, memory.name, memory.dtype));
    }
    if memory.dtype.bits() < 8 && !stores_pairs(kernel, subs, &axes, masked) {
        let (name, dtype) = (&memory.name, memory.dtype);
        return Err(format!("stores {dtype} to `{name}` other than in a row of pairs: one axis, of an even extent"));
    }
    Ok(Vec::new())
}

/// Whether elements that share a byte go to it together: one axis, the last dimension's alone, with an even extent. That the row
/// starts at an even position is seen when it runs.
fn stores_pairs(kernel: &Kernel, subs: &[Subscript], axes: &[AxisId], masked: bool) -> bool {
    match (subs.last(), axes) {
        (None, _) => true,
        (Some(Subscript::Affine(terms)), [axis]) => {
            let even = kernel.axes.get(*axis).is_some_and(|a| a.extent.is_multiple_of(2));
            !masked && terms.as_slice() == [(*axis, 1)] && even
        }
        _ => false,
    }
}

fn loop_types(kernel: &Kernel, params: &[Value], body: &Region, inits: &[&Type]) -> Result<Vec<Type>, String> {
    let params: Vec<&Type> = params.iter().map(|v| type_of(&kernel.values, *v)).collect::<Result<_, _>>()?;
    let [pos, edge, carries @ ..] = params.as_slice() else {
        return Err("a loop's parameters are its position, its edge flag and its carries".to_owned());
    };
    position(pos)?;
    if **edge != Type::scalar(DType::Bool) {
        return Err("a loop's edge flag is a scalar bool".to_owned());
    }
    let yields: Vec<&Type> = body.yields.iter().map(|v| type_of(&kernel.values, *v)).collect::<Result<_, _>>()?;
    let starts =
        |init: &Type, carry: &Type| init.dtype == carry.dtype && init.axes.iter().all(|a| carry.axes.contains(a));
    let started = inits.len() == carries.len() && inits.iter().zip(carries).all(|(i, c)| starts(i, c));
    if !started || carries != yields.as_slice() {
        return Err("initial, carried and next values agree in number and type".to_owned());
    }
    Ok(carries.iter().map(|t| (*t).clone()).collect())
}

fn branch_types(
    kernel: &Kernel,
    then: &Region,
    otherwise: &Region,
    types: &[&Type],
    declared: &[Type],
) -> Result<Vec<Type>, String> {
    count(types, 1)?;
    if *types[0] != Type::scalar(DType::Bool) {
        return Err("a condition is a scalar bool".to_owned());
    }
    let of = |region: &Region| -> Result<Vec<Type>, String> {
        region.yields.iter().map(|v| type_of(&kernel.values, *v).cloned()).collect()
    };
    let results = of(then)?;
    if results == of(otherwise)? && (declared.is_empty() || declared == results.as_slice()) {
        Ok(results)
    } else {
        Err("both branches yield values of the results' types".to_owned())
    }
}
