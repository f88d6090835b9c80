//! Blocks on the caller's workers.
//!
//! In: a kernel, its argument words, a number of blocks. Out: all of them run. `launch` runs them here if the caller brought no
//! workers, else hands runs of neighbouring blocks to the caller's function, which calls `work` for each. A task is five words on the
//! stack of `launch`, which outlives it because the caller's function waits.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, StackSlotData, StackSlotKind, types};
use cranelift_module::FuncId;
use sawmill_ir::backend::CompileError;
use sawmill_launch::interface::Status;

use super::frame::plain;
use super::{Body, signature};

/// Where the members of the caller's struct of workers stand.
pub(super) const COUNT: i32 = 0;
const CONTEXT: i32 = 8;
pub(super) const RUN: i32 = 16;

/// Runs of blocks for each worker: enough that they end together, few enough that starting one costs nothing.
const RUNS: i64 = 4;

/// Where the words of a task stand.
const KERNEL: i32 = 0;
const WORDS: i32 = 8;
const BLOCKS: i32 = 16;
const ITEMS: i32 = 24;
const SCRATCH: i32 = 32;
const TASK_BYTES: u32 = 40;

/// `launch(workers, kernel, words, blocks, scratch) -> status`.
pub(super) fn launch(body: &mut Body<'_, '_>, work: FuncId) -> Result<(), CompileError> {
    let [workers, kernel, words, blocks, scratch] = body.params[..] else {
        return Err(super::bug("`launch` takes five words".to_owned()));
    };
    let work = body.reach(work);
    let b = &mut body.b;
    let [alone, together, some, done] = [0; 4].map(|_| b.create_block());
    let ok = b.ins().iconst(types::I32, i64::from(Status::Ok.code()));
    let failed = b.ins().iconst(types::I32, i64::from(Status::Workers.code()));
    b.append_block_param(done, types::I32);
    let any = b.ins().icmp_imm_s(IntCC::SignedGreaterThan, blocks, 0);
    b.ins().brif(any, some, &[], done, &[ok.into()]);

    b.switch_to_block(some);
    let one = b.ins().icmp_imm_s(IntCC::Equal, blocks, 1);
    let none = b.ins().icmp_imm_s(IntCC::Equal, workers, 0);
    let here = b.ins().bor(one, none);
    b.ins().brif(here, alone, &[], together, &[]);

    b.switch_to_block(alone);
    let first = b.ins().iconst(types::I64, 0);
    let kernels = b.import_signature(signature(4, &[]));
    b.ins().call_indirect(kernels, kernel, &[words, first, blocks, scratch]);
    b.ins().jump(done, &[ok.into()]);

    b.switch_to_block(together);
    let count = b.ins().load(types::I64, plain(), workers, COUNT);
    let runs = b.ins().imul_imm_s(count, RUNS);
    let items = b.ins().smin(runs, blocks);
    let task = b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, TASK_BYTES, 3));
    for (value, at) in [(kernel, KERNEL), (words, WORDS), (blocks, BLOCKS), (items, ITEMS), (scratch, SCRATCH)] {
        b.ins().stack_store(types::I64, value, task, at);
    }
    let task = b.ins().stack_addr(types::I64, task, 0);
    let work = b.ins().func_addr(types::I64, work);
    let context = b.ins().load(types::I64, plain(), workers, CONTEXT);
    let run = b.ins().load(types::I64, plain(), workers, RUN);
    let runners = b.import_signature(signature(4, &[types::I32]));
    let call = b.ins().call_indirect(runners, run, &[context, items, work, task]);
    let outcome = b.inst_results(call)[0];
    let status = b.ins().select(outcome, failed, ok);
    b.ins().jump(done, &[status.into()]);

    b.switch_to_block(done);
    let status = b.block_params(done)[0];
    b.ins().return_(&[status]);
    Ok(())
}

/// `work(task, worker, item)`: one run of blocks, the first of which are longer by one where they do not divide.
pub(super) fn work(body: &mut Body<'_, '_>, scratch_bytes: i64) -> Result<(), CompileError> {
    let [task, worker, item] = body.params[..] else {
        return Err(super::bug("`work` takes three words".to_owned()));
    };
    let b = &mut body.b;
    let mut word = |at: i32| -> ir::Value { b.ins().load(types::I64, plain(), task, at) };
    let [kernel, words, blocks, items, scratch] = [KERNEL, WORDS, BLOCKS, ITEMS, SCRATCH].map(&mut word);
    let each = b.ins().sdiv(blocks, items);
    let longer = b.ins().srem(blocks, items);
    let before = b.ins().smin(item, longer);
    let whole = b.ins().imul(item, each);
    let first = b.ins().iadd(whole, before);
    let is_longer = b.ins().icmp(IntCC::SignedLessThan, item, longer);
    let extra = b.ins().uextend(types::I64, is_longer);
    let end = b.ins().iadd(first, each);
    let end = b.ins().iadd(end, extra);
    let offset = b.ins().imul_imm_s(worker, scratch_bytes);
    let arena = b.ins().iadd(scratch, offset);
    let kernels = b.import_signature(signature(4, &[]));
    b.ins().call_indirect(kernels, kernel, &[words, first, end, arena]);
    b.ins().return_(&[]);
    Ok(())
}
