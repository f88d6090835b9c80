//! The memory of temporaries and of workers: one block, laid out at the start of a call.
//!
//! In: the plan, the dims of a call. Out: the bytes of the block, and a place in it for every temporary. The block is the caller's, or one
//! that the entry allocates and releases. Layout: temporaries one after the other, whole lines of a cache each; then the scratch
//! of each worker.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use cranelift_frontend::Variable;
use sawmill_ir::backend::CompileError;
use sawmill_ir::entity::Entity;
use sawmill_ir::tile::{BufferId, BufferKind};
use sawmill_launch::interface::{MOST_BYTES, MOST_WORKERS, Status};

use super::Functions;
use super::frame::{Frame, Place, plain};

/// Bytes of a line of a cache, to which everything is aligned.
const LINE: i64 = 64;

/// Where a temporary lies in the block, and its strides.
struct Room {
    buffer: BufferId,
    offset: ir::Value,
    strides: Vec<ir::Value>,
}

/// Bytes of the block, with what it takes to align it.
pub(super) fn bytes(frame: &mut Frame<'_, '_, '_>) -> Result<ir::Value, CompileError> {
    let (_, temporaries) = rooms(frame)?;
    Ok(whole(frame, temporaries))
}

/// Takes the block and gives every temporary its place. `owned` becomes the address of what is to be released.
pub(super) fn take(frame: &mut Frame<'_, '_, '_>, functions: &Functions, owned: Variable) -> Result<(), CompileError> {
    let (rooms, temporaries) = rooms(frame)?;
    let bytes = whole(frame, temporaries);
    let tail = frame.library.interface.tail;
    let given = frame.given(tail.workspace);
    let is_given = frame.body.b.ins().icmp_imm_s(IntCC::NotEqual, given, 0);
    let block = frame.holding(given);
    frame.choose(
        is_given,
        |frame| {
            let has = frame.given(tail.workspace_bytes);
            let short = frame.body.b.ins().icmp(IntCC::SignedLessThan, has, bytes);
            frame.fail_if(short, Status::Workspace);
        },
        |frame| {
            let allocate = frame.body.reach(functions.allocate);
            let call = frame.body.b.ins().call(allocate, &[bytes]);
            let fresh = frame.body.b.inst_results(call)[0];
            let none = frame.body.b.ins().icmp_imm_s(IntCC::Equal, fresh, 0);
            frame.fail_if(none, Status::Memory);
            frame.body.b.def_var(block, fresh);
            frame.body.b.def_var(owned, fresh);
        },
    );
    let base = frame.get(block);
    let base = aligned(frame, base);
    for Room { buffer, offset, strides } in rooms {
        let at = frame.body.b.ins().iadd(base, offset);
        let address = frame.holding(at);
        let strides = strides.into_iter().map(|stride| frame.holding(stride)).collect();
        frame.buffers[buffer.index()] = Some(Place { address, strides, list: None });
    }
    let scratch = frame.body.b.ins().iadd(base, temporaries);
    frame.scratch = Some(frame.holding(scratch));
    Ok(())
}

/// The places of all temporaries, and the bytes that they take together.
fn rooms(frame: &mut Frame<'_, '_, '_>) -> Result<(Vec<Room>, ir::Value), CompileError> {
    let module = frame.library.module;
    let mut end = frame.word(0);
    let mut rooms = Vec::new();
    for (id, buffer) in module.buffers.iter().filter(|(_, buffer)| buffer.kind == BufferKind::Temp) {
        let unit = buffer.dtype.bytes().ok_or_else(|| super::bug(format!("`{}` has no whole bytes", buffer.name)))?;
        let shape = frame.shape(&buffer.shape)?;
        let (strides, bytes) = frame.dense(&shape, unit);
        rooms.push(Room { buffer: id, offset: end, strides });
        let bytes = aligned(frame, bytes);
        end = frame.plus(end, bytes);
        frame.fail_on_overflow(Status::TooLarge);
        let large = frame.body.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThan, end, MOST_BYTES);
        frame.fail_if(large, Status::TooLarge);
    }
    Ok((rooms, end))
}

/// The next multiple of a line.
fn aligned(frame: &mut Frame<'_, '_, '_>, value: ir::Value) -> ir::Value {
    let raised = frame.body.b.ins().iadd_imm_s(value, LINE - 1);
    frame.body.b.ins().band_imm_s(raised, -LINE)
}

/// Bytes of the whole block: temporaries, scratch for each worker, room to align it.
fn whole(frame: &mut Frame<'_, '_, '_>, temporaries: ir::Value) -> ir::Value {
    let scratch = frame.library.scratch_bytes();
    let workers = worker_count(frame);
    let each = frame.word(scratch);
    let all = frame.times(workers, each);
    let sum = frame.plus(temporaries, all);
    let line = frame.word(LINE);
    let bytes = frame.plus(sum, line);
    frame.fail_on_overflow(Status::TooLarge);
    bytes
}

/// How many workers the caller brings; 1 if none.
fn worker_count(frame: &mut Frame<'_, '_, '_>) -> ir::Value {
    let workers = frame.given(frame.library.interface.tail.workers);
    let one = frame.word(1);
    let count = frame.holding(one);
    let are_given = frame.body.b.ins().icmp_imm_s(IntCC::NotEqual, workers, 0);
    frame.choose(
        are_given,
        |frame| {
            let given = frame.body.b.ins().load(types::I64, plain(), workers, super::workers::COUNT);
            let below = frame.body.b.ins().iadd_imm_s(given, -1);
            let outside = frame.body.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThanOrEqual, below, MOST_WORKERS);
            frame.fail_if(outside, Status::Workers);
            let run = frame.body.b.ins().load(types::I64, plain(), workers, super::workers::RUN);
            frame.fail_if_null(run);
            frame.body.b.def_var(count, given);
        },
        |_| {},
    );
    frame.get(count)
}
