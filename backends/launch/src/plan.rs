//! A module's plan made ready to be walked: what the module alone decides is checked and worked out once, not at every run.
//!
//! In: a module. Out: [`Step`]s. Of a launch its sizes as sums over dims and where its words come from; with each step the temporaries that
//! die after it. A launch that breaks the module's rules is kept as the error that a run reports if it comes there.

use sawmill_ir::backend::RunError;
use sawmill_ir::entity::Entity;
use sawmill_ir::index::{Atom, DimId, Index};
use sawmill_ir::tile::{self, Access, BufferId, BufferKind, Kernel, Module};
use sawmill_simd::abi::ArgWords;

use crate::lifetimes::{Ends, ends};

/// A step of a plan.
pub(crate) struct Step {
    pub(crate) what: What,
    /// Temporaries that nothing reads afterwards.
    pub(crate) dead: Vec<BufferId>,
}

/// What a step does.
pub(crate) enum What {
    /// Runs every block of a kernel.
    Launch(Result<Launch, RunError>),
    /// Runs steps so often.
    Loop { var: DimId, count: Size, body: Vec<Step> },
    /// Chooses.
    If { nonnegative: Size, then: Vec<Step>, otherwise: Vec<Step> },
    /// Exchanges two buffers.
    Swap(BufferId, BufferId),
    /// Gives a dim the value of a buffer.
    Scalar { dim: DimId, buffer: BufferId },
}

/// A launch. Its words are, for each argument, the address, the sizes and the strides, then its dims: the order of `sawmill_simd::abi`.
pub(crate) struct Launch {
    /// Position of the kernel in the module.
    pub(crate) kernel: usize,
    /// Over the module's dims.
    pub(crate) dims: Vec<Size>,
    pub(crate) arguments: Vec<Argument>,
    /// Over the kernel's dims.
    pub(crate) grid: Vec<Size>,
}

/// A memory parameter of a launch.
pub(crate) struct Argument {
    pub(crate) buffer: BufferId,
    /// Which element of a list, over the module's dims.
    pub(crate) element: Option<Size>,
    /// Its shape over the kernel's dims.
    pub(crate) shape: Vec<Size>,
}

/// A size as it is evaluated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Size {
    Whole(i64),
    Dim(usize),
    /// A sum of products of dims.
    Sum(Vec<(i64, Vec<usize>)>),
    /// Anything else.
    Other(Index),
}

impl Size {
    pub(crate) fn of(index: &Index) -> Size {
        let dim = |atom: &Atom| match atom {
            Atom::Dim(dim) => Some(dim.index()),
            _ => None,
        };
        let term = |(atoms, coefficient): (&[Atom], i64)| {
            Some((coefficient, atoms.iter().map(dim).collect::<Option<Vec<usize>>>()?))
        };
        let Some(terms) = index.terms().map(term).collect::<Option<Vec<_>>>() else {
            return Size::Other(index.clone());
        };
        match terms.as_slice() {
            [] => Size::Whole(0),
            [(value, dims)] if dims.is_empty() => Size::Whole(*value),
            [(1, dims)] if dims.len() == 1 => Size::Dim(dims[0]),
            _ => Size::Sum(terms),
        }
    }
    /// The value; `None` if a dim is unknown or the value overflows.
    pub(crate) fn eval(&self, dims: &[i64]) -> Option<i64> {
        match self {
            Size::Whole(value) => Some(*value),
            Size::Dim(dim) => dims.get(*dim).copied(),
            Size::Sum(terms) => terms.iter().try_fold(0_i64, |sum, (coefficient, factors)| {
                let product =
                    factors.iter().try_fold(*coefficient, |product, dim| product.checked_mul(*dims.get(*dim)?));
                sum.checked_add(product?)
            }),
            Size::Other(index) => index.eval(&mut |atom, _| match atom {
                Atom::Dim(dim) => dims.get(dim.index()).copied(),
                _ => None,
            }),
        }
    }
}

/// The plan of `module`.
pub(crate) fn plan(module: &Module) -> Vec<Step> {
    steps(module, &module.plan, &ends(module))
}

fn steps(module: &Module, plan: &[tile::Step], ends: &Ends) -> Vec<Step> {
    let made = plan.iter().zip(&ends.after).zip(&ends.inside).map(|((step, dead), inside)| {
        let body =
            |at: usize, body: &[tile::Step]| inside.get(at).map_or_else(Vec::new, |ends| steps(module, body, ends));
        let what = match step {
            tile::Step::Launch(launch) => What::Launch(ready(module, launch)),
            tile::Step::Loop { var, count, body: steps } => {
                What::Loop { var: *var, count: Size::of(count), body: body(0, steps) }
            }
            tile::Step::If { nonnegative, then, otherwise } => {
                What::If { nonnegative: Size::of(nonnegative), then: body(0, then), otherwise: body(1, otherwise) }
            }
            tile::Step::Swap(a, b) => What::Swap(*a, *b),
            tile::Step::Scalar { dim, buffer } => What::Scalar { dim: *dim, buffer: *buffer },
        };
        Step { what, dead: dead.clone() }
    });
    made.collect()
}

/// What is wrong with a launch, as a run reports it.
pub(crate) fn broken(module: &Module, kernel: usize, what: &str) -> RunError {
    RunError::Bug(format!("launch {kernel} of `{}`: {what}", module.name))
}

fn ready(module: &Module, launch: &tile::Launch) -> Result<Launch, RunError> {
    let wrong = |what: String| broken(module, launch.kernel, &what);
    let kernel: &Kernel =
        module.kernels.get(launch.kernel).ok_or_else(|| wrong("there is no such kernel".to_owned()))?;
    if launch.args.len() != kernel.memory.len() || launch.dims.len() != kernel.dims.len() {
        return Err(wrong("another number of arguments".to_owned()));
    }
    in_order(kernel).ok_or_else(|| wrong("its words are in another order".to_owned()))?;
    let mut arguments = Vec::with_capacity(launch.args.len());
    for (memory, (id, element)) in kernel.memory.values().zip(&launch.args) {
        let buffer = module.buffers.get(*id).ok_or_else(|| RunError::Bug(format!("there is no buffer {id}")))?;
        if memory.access != Access::In && matches!(buffer.kind, BufferKind::Input { .. }) {
            return Err(wrong(format!("writes `{}`, an input", buffer.name)));
        }
        if memory.dtype != buffer.dtype {
            return Err(wrong(format!("`{}` is {}, not {}", memory.name, buffer.dtype, memory.dtype)));
        }
        let shape = memory.shape.iter().map(Size::of).collect();
        arguments.push(Argument { buffer: *id, element: element.as_ref().map(Size::of), shape });
    }
    Ok(Launch {
        kernel: launch.kernel,
        dims: launch.dims.iter().map(Size::of).collect(),
        arguments,
        grid: kernel.grid.iter().map(|(_, blocks)| Size::of(blocks)).collect(),
    })
}

/// Whether the words of a kernel are those that a [`Launch`] gives, one after the other.
fn in_order(kernel: &Kernel) -> Option<()> {
    let words = ArgWords::of(kernel);
    let mut next = 0;
    for (id, memory) in kernel.memory.iter() {
        let rank = u32::try_from(memory.shape.len()).ok()?;
        let axes = (0..rank).all(|d| words.extent(id, d) == next + 1 + d && words.stride(id, d) == next + 1 + rank + d);
        if words.pointer(id) != next || !axes {
            return None;
        }
        next += 1 + 2 * rank;
    }
    for dim in kernel.dims.keys() {
        if words.dim(dim) != next {
            return None;
        }
        next += 1;
    }
    (words.count() == next).then_some(())
}

#[cfg(test)]
mod tests {
    use super::Size;
    use sawmill_ir::entity::Entity;
    use sawmill_ir::index::{DimId, Index};

    #[test]
    fn sizes_keep_their_value_and_overflow_is_seen() {
        let [n, m] = [0, 1].map(|at| Index::dim(DimId::new(at)));
        let cases = [
            (Index::int(0), Some(0)),
            (Index::int(-7), Some(-7)),
            (n.clone(), Some(6)),
            (n.mul(&m).add(&n.scale(3)).sub(&Index::int(1)), Some(6 * 5 + 18 - 1)),
            (n.mul(&n), Some(36)),
            (n.div(&Index::int(4)), Some(1)),
        ];
        for (index, value) in &cases {
            assert_eq!(Size::of(index).eval(&[6, 5]), *value, "{index:?}");
        }
        assert_eq!(Size::of(&m).eval(&[6]), None, "an unknown dim");
        assert_eq!(Size::of(&n.mul(&m)).eval(&[i64::MAX, 2]), None);
        assert_eq!(Size::of(&n), Size::Dim(0));
    }
}
