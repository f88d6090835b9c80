//! The two functions that C calls, step by step.
//!
//! In: the struct of arguments. Out: a status. [`Frame`] is what both have in common while they are written: the values of
//! dims, where each buffer is, and one way out.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, MemFlagsData, types};
use cranelift_frontend::Variable;
use sawmill_ir::backend::CompileError;
use sawmill_launch::interface::Status;

use super::{Body, Functions, Library, nest, plan, workspace};

/// A buffer of the plan: where it is at the moment, and its strides in bytes. A list is where the addresses of its elements are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) address: Variable,
    pub(super) strides: Vec<Variable>,
    /// How far into each element of a list the buffer begins, and how many elements there are.
    pub(super) list: Option<(u32, ir::Value)>,
}

/// An entry that is being written.
pub(super) struct Frame<'f, 'a, 'b> {
    pub(super) body: &'f mut Body<'a, 'b>,
    pub(super) library: &'f Library<'f>,
    /// The address of the struct.
    pub(super) args: ir::Value,
    /// Values of the module's dims, by their number, once they are known.
    pub(super) dims: Vec<Option<Variable>>,
    /// Where the module's buffers are, by their number.
    pub(super) buffers: Vec<Option<Place>>,
    /// Room for the argument words of a launch.
    pub(super) words: Option<ir::StackSlot>,
    /// Where the scratch of the first worker is.
    pub(super) scratch: Option<Variable>,
    /// Returns the status that it is given.
    pub(super) exit: ir::Block,
    /// What has gone wrong in sizes since the last test.
    pub(super) overflow: Option<ir::Value>,
}

/// Memory of the caller and of this function.
pub(super) fn plain() -> MemFlagsData {
    MemFlagsData::new()
}

/// Writes the entry: binds, checks, places temporaries, runs the plan.
pub(super) fn entry(body: &mut Body<'_, '_>, library: &Library<'_>, functions: &Functions) -> Result<(), CompileError> {
    let mut frame = Frame::new(body, library);
    let owned = frame.variable(types::I64);
    frame.set(owned, 0);
    frame.bind()?;
    workspace::take(&mut frame, functions, owned)?;
    let given = frame.outputs();
    plan::steps(&mut frame, functions, &library.module.plan)?;
    nest::settle(&mut frame, &given)?;
    frame.end(|frame, status| {
        let block = frame.body.b.use_var(owned);
        let release = frame.body.reach(functions.release);
        frame.body.b.ins().call(release, &[block]);
        frame.body.b.ins().return_(&[status]);
    });
    Ok(())
}

/// Writes the function that stores the bytes of a workspace to its second argument.
pub(super) fn workspace(body: &mut Body<'_, '_>, library: &Library<'_>) -> Result<(), CompileError> {
    let into = body.params[1];
    let mut frame = Frame::new(body, library);
    frame.fail_if_null(into);
    frame.bind_sizes()?;
    let bytes = workspace::bytes(&mut frame)?;
    frame.body.b.ins().store(plain(), bytes, into, 0);
    frame.end(|frame, status| {
        frame.body.b.ins().return_(&[status]);
    });
    Ok(())
}

impl<'f, 'a, 'b> Frame<'f, 'a, 'b> {
    fn new(body: &'f mut Body<'a, 'b>, library: &'f Library<'f>) -> Self {
        let exit = body.b.create_block();
        body.b.append_block_param(exit, types::I32);
        let args = body.params[0];
        let (dims, buffers) = (library.module.dims.len(), library.module.buffers.len());
        let mut frame = Frame {
            body,
            library,
            args,
            dims: vec![None; dims],
            buffers: vec![None; buffers],
            words: None,
            scratch: None,
            exit,
            overflow: None,
        };
        frame.fail_if_null(args);
        frame
    }

    /// Ends well, and writes the way out.
    fn end(&mut self, last: impl FnOnce(&mut Self, ir::Value)) {
        let ok = self.status(Status::Ok);
        self.body.b.ins().jump(self.exit, &[BlockArg::Value(ok)]);
        self.body.b.switch_to_block(self.exit);
        let status = self.body.b.block_params(self.exit)[0];
        last(self, status);
    }

    fn status(&mut self, status: Status) -> ir::Value {
        self.body.b.ins().iconst(types::I32, i64::from(status.code()))
    }

    pub(super) fn word(&mut self, value: i64) -> ir::Value {
        self.body.b.ins().iconst(types::I64, value)
    }

    pub(super) fn variable(&mut self, ty: ir::Type) -> Variable {
        self.body.b.declare_var(ty)
    }

    /// A new variable that holds a word.
    pub(super) fn holding(&mut self, value: ir::Value) -> Variable {
        let variable = self.variable(types::I64);
        self.body.b.def_var(variable, value);
        variable
    }

    pub(super) fn set(&mut self, variable: Variable, value: i64) {
        let value = self.word(value);
        self.body.b.def_var(variable, value);
    }

    pub(super) fn get(&mut self, variable: Variable) -> ir::Value {
        self.body.b.use_var(variable)
    }

    /// The word at a place of the struct.
    pub(super) fn given(&mut self, offset: u32) -> ir::Value {
        self.body.b.ins().load(types::I64, plain(), self.args, i32::try_from(offset).unwrap_or(i32::MAX))
    }

    /// Leaves with `status` if `condition` holds.
    pub(super) fn fail_if(&mut self, condition: ir::Value, status: Status) {
        let code = self.status(status);
        let on = self.body.b.create_block();
        self.body.b.ins().brif(condition, self.exit, &[BlockArg::Value(code)], on, &[]);
        self.body.b.switch_to_block(on);
    }

    /// Leaves with a status that was computed, unless it is that of success.
    pub(super) fn fail_with(&mut self, status: ir::Value) {
        let on = self.body.b.create_block();
        self.body.b.ins().brif(status, self.exit, &[BlockArg::Value(status)], on, &[]);
        self.body.b.switch_to_block(on);
    }

    pub(super) fn fail_if_null(&mut self, address: ir::Value) {
        let null = self.body.b.ins().icmp_imm_s(IntCC::Equal, address, 0);
        self.fail_if(null, Status::Missing);
    }

    /// Runs `body` with 0, 1, .. below `count`.
    pub(super) fn repeat(&mut self, count: ir::Value, body: impl FnOnce(&mut Self, ir::Value)) {
        let zero = self.word(0);
        let at = self.holding(zero);
        let [head, turn, done] = [0; 3].map(|_| self.body.b.create_block());
        self.body.b.ins().jump(head, &[]);
        self.body.b.switch_to_block(head);
        let now = self.get(at);
        let more = self.body.b.ins().icmp(IntCC::SignedLessThan, now, count);
        self.body.b.ins().brif(more, turn, &[], done, &[]);
        self.body.b.switch_to_block(turn);
        body(self, now);
        let now = self.get(at);
        let next = self.body.b.ins().iadd_imm_s(now, 1);
        self.body.b.def_var(at, next);
        self.body.b.ins().jump(head, &[]);
        self.body.b.switch_to_block(done);
    }

    /// Runs one of two sides.
    pub(super) fn choose(
        &mut self,
        condition: ir::Value,
        then: impl FnOnce(&mut Self),
        otherwise: impl FnOnce(&mut Self),
    ) {
        let [first, second, done] = [0; 3].map(|_| self.body.b.create_block());
        self.body.b.ins().brif(condition, first, &[], second, &[]);
        self.body.b.switch_to_block(first);
        then(self);
        self.body.b.ins().jump(done, &[]);
        self.body.b.switch_to_block(second);
        otherwise(self);
        self.body.b.ins().jump(done, &[]);
        self.body.b.switch_to_block(done);
    }
}
