//! Loops over the elements of strided tensors.
//!
//! In: sizes, strides, addresses. Out: code that visits every element. The last thing that an entry does is one of them: an output
//! that a loop of the plan left in a temporary's memory is copied to where the caller wants it.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use sawmill_ir::backend::CompileError;
use sawmill_ir::entity::Entity;
use sawmill_ir::tile::{BufferId, BufferKind, Step};

use super::frame::{Frame, plain};

/// An output as the caller gave it: its address and strides.
pub(super) type Given = (BufferId, ir::Value, Vec<ir::Value>);

impl Frame<'_, '_, '_> {
    /// Runs `body` with the addresses of each element of tensors of one shape.
    pub(super) fn every(
        &mut self,
        shape: &[ir::Value],
        strides: &[Vec<ir::Value>],
        addresses: &[ir::Value],
        body: &mut dyn FnMut(&mut Self, &[ir::Value]),
    ) {
        let Some((size, inner)) = shape.split_first() else { return body(self, addresses) };
        let steps: Vec<ir::Value> = strides.iter().map(|of| of[0]).collect();
        let rest: Vec<Vec<ir::Value>> = strides.iter().map(|of| of[1..].to_vec()).collect();
        self.repeat(*size, |frame, at| {
            let moved = addresses.iter().zip(&steps).map(|(address, step)| {
                let offset = frame.body.b.ins().imul(at, *step);
                frame.body.b.ins().iadd(*address, offset)
            });
            let moved: Vec<ir::Value> = moved.collect();
            frame.every(inner, &rest, &moved, body);
        });
    }

    /// The outputs that the plan exchanges with other buffers, as the caller gave them.
    pub(super) fn outputs(&mut self) -> Vec<Given> {
        let module = self.library.module;
        let mut given = Vec::new();
        for (id, buffer) in module.buffers.iter() {
            if buffer.kind == BufferKind::Output
                && is_exchanged(&module.plan, id)
                && let Some(place) = self.buffers[id.index()].clone()
            {
                let address = self.get(place.address);
                let strides = place.strides.iter().map(|stride| self.get(*stride)).collect();
                given.push((id, address, strides));
            }
        }
        given
    }
}

/// Copies outputs to where the caller gave them, if they are elsewhere by now.
pub(super) fn settle(frame: &mut Frame<'_, '_, '_>, given: &[Given]) -> Result<(), CompileError> {
    for (id, address, strides) in given {
        let buffer = &frame.library.module.buffers[*id];
        let shape = frame.shape(&buffer.shape)?;
        let Some(place) = frame.buffers[id.index()].clone() else { continue };
        let now = frame.get(place.address);
        let from: Vec<_> = place.strides.iter().map(|stride| frame.get(*stride)).collect();
        let ty = match buffer.dtype.bits() {
            64 => types::I64,
            32 => types::I32,
            16 => types::I16,
            _ => types::I8,
        };
        let elsewhere = frame.body.b.ins().icmp(IntCC::NotEqual, now, *address);
        frame.choose(
            elsewhere,
            |frame| {
                frame.every(&shape, &[from, strides.clone()], &[now, *address], &mut |frame, at| {
                    let value = frame.body.b.ins().load(ty, plain(), at[0], 0);
                    frame.body.b.ins().store(plain(), value, at[1], 0);
                });
            },
            |_| {},
        );
    }
    Ok(())
}

fn is_exchanged(steps: &[Step], id: BufferId) -> bool {
    steps.iter().any(|step| match step {
        Step::Swap(a, b) => *a == id || *b == id,
        Step::Loop { body, .. } => is_exchanged(body, id),
        Step::If { then, otherwise, .. } => is_exchanged(then, id) || is_exchanged(otherwise, id),
        Step::Launch(_) | Step::Scalar { .. } => false,
    })
}
