//! From the struct of arguments to dims and buffers, with every check that a call can fail.
//!
//! In: the interface. Out: the dims of the frame and the places of its arguments. Order: sizes, requirements, tensors, promises, so
//! that nothing is read before its sizes are known to be sound.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use sawmill_ir::backend::CompileError;
use sawmill_ir::entity::Entity;
use sawmill_ir::graph::Require;
use sawmill_ir::index::Index;
use sawmill_launch::interface::{Argument, Form, MOST_BYTES, Status, Strided};

use super::frame::{Frame, Place, plain};

impl Frame<'_, '_, '_> {
    /// Binds all arguments.
    pub(super) fn bind(&mut self) -> Result<(), CompileError> {
        self.bind_sizes()?;
        let interface = self.library.interface;
        for argument in &interface.arguments {
            match &argument.form {
                Form::Scalar { buffer, .. } => {
                    let at = self.body.b.ins().iadd_imm_s(self.args, i64::from(argument.offset));
                    let address = self.holding(at);
                    self.buffers[buffer.index()] = Some(Place { address, strides: Vec::new(), list: None });
                }
                Form::Tensor(strided) => self.tensor(argument, strided)?,
            }
        }
        for argument in &interface.arguments {
            if let Some((from, below)) = &argument.promise {
                self.promise(argument, from, below)?;
            }
        }
        Ok(())
    }

    /// Binds the sizes that the caller states and checks what is required of them.
    pub(super) fn bind_sizes(&mut self) -> Result<(), CompileError> {
        let interface = self.library.interface;
        for (dim, offset) in &interface.dims {
            let value = self.given(*offset);
            self.fail_if_negative(value);
            self.dims[dim.index()] = Some(self.holding(value));
        }
        for require in &interface.requires {
            let broken = match require {
                Require::Equal(a, b) => {
                    let (a, b) = (self.size(a)?, self.size(b)?);
                    self.body.b.ins().icmp(IntCC::NotEqual, a, b)
                }
                Require::NonNegative(a) => {
                    let a = self.size(a)?;
                    self.body.b.ins().icmp_imm_s(IntCC::SignedLessThan, a, 0)
                }
            };
            self.fail_on_overflow(Status::Requirement);
            self.fail_if(broken, Status::Requirement);
        }
        Ok(())
    }

    fn fail_if_negative(&mut self, value: ir::Value) {
        let negative = self.body.b.ins().icmp_imm_s(IntCC::SignedLessThan, value, 0);
        self.fail_if(negative, Status::Size);
    }

    /// The sizes of a tensor, none of which is negative.
    pub(super) fn shape(&mut self, sizes: &[Index]) -> Result<Vec<ir::Value>, CompileError> {
        let mut shape = Vec::with_capacity(sizes.len());
        for size in sizes {
            let value = self.size(size)?;
            self.fail_on_overflow(Status::TooLarge);
            self.fail_if_negative(value);
            shape.push(value);
        }
        Ok(shape)
    }

    /// Strides of a tensor without gaps, and its bytes.
    pub(super) fn dense(&mut self, shape: &[ir::Value], unit: u32) -> (Vec<ir::Value>, ir::Value) {
        let mut step = self.word(i64::from(unit));
        let mut strides = Vec::with_capacity(shape.len());
        for size in shape.iter().rev() {
            strides.push(step);
            step = self.times(step, *size);
        }
        strides.reverse();
        (strides, step)
    }

    /// Binds a tensor or a list of tensors.
    fn tensor(&mut self, argument: &Argument, strided: &Strided) -> Result<(), CompileError> {
        let shape = self.shape(&strided.shape)?;
        let strides = self.strides(strided, &shape);
        self.fail_if_too_large(&shape, &strides, strided.unit);
        let address = self.given(argument.offset);
        let has_elements = self.has_elements(&shape);
        let list = if strided.lists.is_empty() {
            self.fail_if_missing(address, has_elements);
            None
        } else {
            let mut count = self.word(1);
            for length in self.shape(&strided.lists)? {
                count = self.times(count, length);
            }
            self.fail_on_overflow(Status::TooLarge);
            let any = self.body.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, count, 0);
            self.fail_if_missing(address, any);
            self.repeat(count, |frame, at| {
                let element = frame.element(address, at);
                frame.fail_if_missing(element, has_elements);
            });
            Some(count)
        };
        for part in &strided.parts {
            let mut at = address;
            if list.is_none() && part.offset != 0 {
                at = self.body.b.ins().iadd_imm_s(at, i64::from(part.offset));
            }
            let address = self.holding(at);
            let mut places: Vec<_> = strides.iter().map(|stride| self.holding(*stride)).collect();
            for stride in &part.inner {
                let stride = self.word(*stride);
                places.push(self.holding(stride));
            }
            let list = list.map(|count| (part.offset, count));
            self.buffers[part.buffer.index()] = Some(Place { address, strides: places, list });
        }
        Ok(())
    }

    /// The address that a list holds at a position.
    pub(super) fn element(&mut self, list: ir::Value, at: ir::Value) -> ir::Value {
        let offset = self.body.b.ins().ishl_imm_s(at, 3);
        let place = self.body.b.ins().iadd(list, offset);
        self.body.b.ins().load(types::I64, plain(), place, 0)
    }

    /// The strides given, or those without gaps where none are.
    fn strides(&mut self, strided: &Strided, shape: &[ir::Value]) -> Vec<ir::Value> {
        let (dense, _) = self.dense(shape, strided.unit);
        self.fail_on_overflow(Status::TooLarge);
        let variables: Vec<_> = dense.iter().map(|stride| self.holding(*stride)).collect();
        let given = self.given(strided.strides);
        let is_given = self.body.b.ins().icmp_imm_s(IntCC::NotEqual, given, 0);
        self.choose(
            is_given,
            |frame| {
                for (offset, variable) in (0..).step_by(8).zip(&variables) {
                    let stride = frame.body.b.ins().load(types::I64, plain(), given, offset);
                    frame.body.b.def_var(*variable, stride);
                }
            },
            |_| {},
        );
        variables.into_iter().map(|variable| self.get(variable)).collect()
    }

    fn has_elements(&mut self, shape: &[ir::Value]) -> ir::Value {
        let one = self.word(1);
        let smallest = shape.iter().fold(one, |least, size| self.body.b.ins().smin(least, *size));
        self.body.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, smallest, 0)
    }

    fn fail_if_missing(&mut self, address: ir::Value, needed: ir::Value) {
        let null = self.body.b.ins().icmp_imm_s(IntCC::Equal, address, 0);
        let missing = self.body.b.ins().band(null, needed);
        self.fail_if(missing, Status::Missing);
    }

    /// No process can address what spans more than [`MOST_BYTES`].
    fn fail_if_too_large(&mut self, shape: &[ir::Value], strides: &[ir::Value], unit: u32) {
        let mut span = self.word(i64::from(unit));
        for (size, stride) in shape.iter().zip(strides) {
            let steps = self.body.b.ins().iadd_imm_s(*size, -1);
            let zero = self.word(0);
            let steps = self.body.b.ins().smax(steps, zero);
            let reach = self.times(steps, *stride);
            let reach = self.body.b.ins().iabs(reach);
            span = self.plus(span, reach);
            // The absolute value of the least number is itself.
            let negative = self.body.b.ins().icmp_imm_s(IntCC::SignedLessThan, reach, 0);
            let large = self.body.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, *size, MOST_BYTES);
            let bad = self.body.b.ins().bor(negative, large);
            self.fail_if(bad, Status::TooLarge);
        }
        self.fail_on_overflow(Status::TooLarge);
        let large = self.body.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, span, MOST_BYTES);
        self.fail_if(large, Status::TooLarge);
    }

    /// Checks a promised range: every integer of the argument lies in it.
    fn promise(&mut self, argument: &Argument, from: &Index, below: &Index) -> Result<(), CompileError> {
        let (from, below) = (self.size(from)?, self.size(below)?);
        self.fail_on_overflow(Status::TooLarge);
        let check = |frame: &mut Self, address: ir::Value, dtype| {
            let value = frame.integer(address, dtype);
            let under = frame.body.b.ins().icmp(IntCC::SignedLessThan, value, from);
            let over = frame.body.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, value, below);
            let outside = frame.body.b.ins().bor(under, over);
            frame.fail_if(outside, Status::Promise);
        };
        match &argument.form {
            Form::Scalar { dtype, .. } => {
                let at = self.body.b.ins().iadd_imm_s(self.args, i64::from(argument.offset));
                check(self, at, *dtype);
            }
            Form::Tensor(strided) => {
                let shape = self.shape(&strided.shape)?;
                let Some(place) = strided.parts.first().and_then(|part| self.buffers[part.buffer.index()].clone())
                else {
                    return Err(super::bug(format!("`{}` is bound to nothing", argument.name)));
                };
                let strides: Vec<_> = place.strides.iter().map(|stride| self.get(*stride)).collect();
                let address = self.get(place.address);
                let one = self.word(1);
                let count = place.list.map_or(one, |(_, count)| count);
                self.repeat(count, |frame, at| {
                    let first = if place.list.is_some() { frame.element(address, at) } else { address };
                    frame.every(&shape, &[strides], &[first], &mut |frame, at| check(frame, at[0], strided.dtype));
                });
            }
        }
        Ok(())
    }
}
