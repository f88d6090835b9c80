//! The steps of a plan as code.
//!
//! In: steps, the places of buffers. Out: loops, branches, launches. A launch fills the argument words of its kernel
//! (`sawmill_simd::abi`), counts the blocks and has them run.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, StackSlot, StackSlotData, StackSlotKind, types};
use sawmill_ir::backend::CompileError;
use sawmill_ir::entity::Entity;
use sawmill_ir::index::{Atom, Index};
use sawmill_ir::tile::{BufferId, Kernel, Launch, Step};
use sawmill_launch::interface::Status;
use sawmill_simd::abi::ArgWords;

use super::Functions;
use super::frame::Frame;

/// Bytes of an argument word.
const WORD: u32 = 8;

/// Writes the steps.
pub(super) fn steps(frame: &mut Frame<'_, '_, '_>, functions: &Functions, plan: &[Step]) -> Result<(), CompileError> {
    plan.iter().try_for_each(|step| one(frame, functions, step))
}

fn one(frame: &mut Frame<'_, '_, '_>, functions: &Functions, step: &Step) -> Result<(), CompileError> {
    match step {
        Step::Launch(launch) => launched(frame, functions, launch),
        Step::Loop { var, count, body } => {
            let count = frame.size(count)?;
            frame.fail_on_overflow(Status::TooLarge);
            let held = frame.variable(types::I64);
            frame.dims[var.index()] = Some(held);
            let mut outcome = Ok(());
            frame.repeat(count, |frame, at| {
                frame.body.b.def_var(held, at);
                outcome = steps(frame, functions, body);
            });
            outcome
        }
        Step::If { nonnegative, then, otherwise } => {
            let size = frame.size(nonnegative)?;
            frame.fail_on_overflow(Status::TooLarge);
            let holds = frame.body.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, size, 0);
            let mut outcomes = [Ok(()), Ok(())];
            let [first, second] = &mut outcomes;
            frame.choose(
                holds,
                |frame| *first = steps(frame, functions, then),
                |frame| *second = steps(frame, functions, otherwise),
            );
            outcomes.into_iter().collect()
        }
        Step::Swap(a, b) => exchange(frame, *a, *b),
        Step::Scalar { dim, buffer } => {
            let dtype = frame.library.module.buffers[*buffer].dtype;
            let place = frame.place(*buffer)?;
            let address = frame.get(place.address);
            let value = frame.integer(address, dtype);
            frame.dims[dim.index()] = Some(frame.holding(value));
            Ok(())
        }
    }
}

fn exchange(frame: &mut Frame<'_, '_, '_>, a: BufferId, b: BufferId) -> Result<(), CompileError> {
    let (a, b) = (frame.place(a)?, frame.place(b)?);
    for (a, b) in [(a.address, b.address)].into_iter().chain(a.strides.into_iter().zip(b.strides)) {
        let (first, second) = (frame.get(a), frame.get(b));
        frame.body.b.def_var(a, second);
        frame.body.b.def_var(b, first);
    }
    Ok(())
}

impl Frame<'_, '_, '_> {
    fn place(&self, buffer: BufferId) -> Result<super::frame::Place, CompileError> {
        let name = &self.library.module.buffers[buffer].name;
        self.buffers[buffer.index()].clone().ok_or_else(|| super::bug(format!("`{name}` is nowhere")))
    }

    /// Room for the argument words of a launch; one launch ends before the next begins.
    fn words(&mut self) -> StackSlot {
        let most = self.library.module.kernels.iter().map(|kernel| ArgWords::of(kernel).count()).max().unwrap_or(0);
        let b = &mut self.body.b;
        let make = || b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, most.max(1) * WORD, 3));
        *self.words.get_or_insert_with(make)
    }
}

fn launched(frame: &mut Frame<'_, '_, '_>, functions: &Functions, launch: &Launch) -> Result<(), CompileError> {
    let module = frame.library.module;
    let kernel = &module.kernels[launch.kernel];
    let places = ArgWords::of(kernel);
    let slot = frame.words();
    let put = |frame: &mut Frame<'_, '_, '_>, word: u32, value: ir::Value| {
        let at = i32::try_from(word * WORD).unwrap_or(i32::MAX);
        frame.body.b.ins().stack_store(types::I64, value, slot, at);
    };
    let mut dims = Vec::with_capacity(launch.dims.len());
    for (dim, size) in kernel.dims.keys().zip(&launch.dims) {
        let value = frame.size(size)?;
        put(frame, places.dim(dim), value);
        dims.push(size.clone());
    }
    for ((mem, memory), (buffer, element)) in kernel.memory.iter().zip(&launch.args) {
        let place = frame.place(*buffer)?;
        let mut address = frame.get(place.address);
        if let Some((offset, count)) = place.list {
            let at = frame.size(element.as_ref().unwrap_or(&Index::int(0)))?;
            let outside = frame.body.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, at, count);
            frame.fail_if(outside, Status::Defect);
            let first = frame.element(address, at);
            address = frame.body.b.ins().iadd_imm_s(first, i64::from(offset));
        }
        put(frame, places.pointer(mem), address);
        for ((d, size), stride) in (0..).zip(&memory.shape).zip(&place.strides) {
            let extent = frame.size(&over(size, &dims))?;
            put(frame, places.extent(mem, d), extent);
            let stride = frame.get(*stride);
            put(frame, places.stride(mem, d), stride);
        }
    }
    let blocks = block_count(frame, kernel, &dims)?;
    frame.fail_on_overflow(Status::TooLarge);
    let words = frame.body.b.ins().stack_addr(types::I64, slot, 0);
    let code = frame.body.reach(functions.kernels[launch.kernel]);
    let code = frame.body.b.ins().func_addr(types::I64, code);
    let workers = frame.given(frame.library.interface.tail.workers);
    let scratch = frame.scratch.map(|scratch| frame.get(scratch));
    let scratch = scratch.ok_or_else(|| super::bug("a launch without scratch".to_owned()))?;
    let run = frame.body.reach(functions.launch);
    let call = frame.body.b.ins().call(run, &[workers, code, words, blocks, scratch]);
    let status = frame.body.b.inst_results(call)[0];
    frame.fail_with(status);
    Ok(())
}

/// A size over the kernel's dims as one over the module's.
fn over(size: &Index, dims: &[Index]) -> Index {
    size.substitute(&mut |atom| match atom {
        Atom::Dim(dim) => dims.get(dim.index()).cloned(),
        _ => None,
    })
}

fn block_count(frame: &mut Frame<'_, '_, '_>, kernel: &Kernel, dims: &[Index]) -> Result<ir::Value, CompileError> {
    let mut product = frame.word(1);
    for (_, blocks) in &kernel.grid {
        let zero = frame.word(0);
        let blocks = frame.size(&over(blocks, dims))?;
        let blocks = frame.body.b.ins().smax(blocks, zero);
        product = frame.times(product, blocks);
    }
    Ok(product)
}
