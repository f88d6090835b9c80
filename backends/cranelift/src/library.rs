//! An object file that C programs call: kernels, and the code that runs their plan.
//!
//! In: a plan, the machine code of its kernels (whoever generated it), the C interface. Out: a relocatable object for x86-64 Linux with two
//! visible functions: the entry, and the one that says how large a workspace it takes. What `sawmill_launch::Program` does with a plan at
//! run time is generated code here: sizes and strides are bound and checked, temporaries placed, blocks handed to the
//! caller's workers, loops and choices are branches.
//!
//! Invariants: nothing is reached but `malloc` and `free`; sizes are computed with overflow tests; no state outlives a call, so
//! that calls may run at the same time.

mod bind;
mod frame;
mod nest;
mod plan;
mod sizes;
mod workers;
mod workspace;

use cranelift_codegen::ir::{AbiParam, Function, Signature, UserFuncName, types};
use cranelift_codegen::isa::{self, CallConv, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, ir};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{FuncId, Linkage, Module as _, default_libcall_names};
use cranelift_object::{ObjectBuilder, ObjectModule};
use sawmill_ir::backend::CompileError;
use sawmill_ir::tile::Module;
use sawmill_launch::Code;
use sawmill_launch::interface::Interface;

use crate::code::OBJECT_TRIPLE;

/// Where kernels may be placed: at the start of a line of a cache.
const KERNEL_ALIGNMENT: u64 = 64;

/// What a library is made of.
#[derive(Clone, Copy, Debug)]
pub struct Library<'a> {
    /// The plan.
    pub module: &'a Module,
    /// Code of its kernels, in order.
    pub kernels: &'a [Code],
    /// How C calls it.
    pub interface: &'a Interface,
}

/// The functions of an object.
struct Functions {
    kernels: Vec<FuncId>,
    allocate: FuncId,
    release: FuncId,
    /// Runs the blocks of a kernel on the caller's workers.
    launch: FuncId,
    /// What a worker calls for a run of blocks.
    work: FuncId,
}

impl Library<'_> {
    /// The object file.
    ///
    /// # Errors
    /// A plan whose temporaries have sizes that only the run decides; a build of Cranelift without x86-64.
    pub fn object(&self) -> Result<Vec<u8>, CompileError> {
        let builder = ObjectBuilder::new(instructions()?, self.interface.symbol.as_str(), default_libcall_names());
        let mut object = ObjectModule::new(builder.map_err(broken)?);
        let functions = self.declare(&mut object)?;
        for (id, code) in functions.kernels.iter().zip(self.kernels) {
            object.define_function_bytes(*id, KERNEL_ALIGNMENT, &code.bytes, &[]).map_err(broken)?;
        }
        self.define(&mut object, functions.work, 3, 0, |body| workers::work(body, self.scratch_bytes()))?;
        self.define(&mut object, functions.launch, 5, 1, |body| workers::launch(body, functions.work))?;
        let symbol = &self.interface.symbol;
        let entry = self.visible(&mut object, symbol, 1)?;
        self.define(&mut object, entry, 1, 1, |body| frame::entry(body, self, &functions))?;
        let room = self.visible(&mut object, &format!("{symbol}_workspace"), 2)?;
        self.define(&mut object, room, 2, 1, |body| frame::workspace(body, self))?;
        object.finish().emit().map_err(|error| bug(format!("writing the object: {error}")))
    }

    /// Bytes of scratch that each worker has: what the largest kernel needs, whole lines.
    fn scratch_bytes(&self) -> i64 {
        let most = self.kernels.iter().map(|code| code.scratch_bytes).max().unwrap_or(0);
        i64::try_from(most.next_multiple_of(64)).unwrap_or(i64::MAX)
    }

    fn declare(&self, object: &mut ObjectModule) -> Result<Functions, CompileError> {
        let name = |what: &str| format!("{}.{what}", self.interface.symbol);
        let mut declare = |name: &str, linkage: Linkage, params: usize, results: &[ir::Type]| {
            object.declare_function(name, linkage, &signature(params, results)).map_err(broken)
        };
        let kernels = self.module.kernels.iter().enumerate();
        Ok(Functions {
            kernels: kernels
                .map(|(at, _)| declare(&name(&format!("kernel{at}")), Linkage::Local, 4, &[]))
                .collect::<Result<_, _>>()?,
            allocate: declare("malloc", Linkage::Import, 1, &[types::I64])?,
            release: declare("free", Linkage::Import, 1, &[])?,
            launch: declare(&name("launch"), Linkage::Local, 5, &[types::I32])?,
            work: declare(&name("work"), Linkage::Local, 3, &[])?,
        })
    }

    fn visible(&self, object: &mut ObjectModule, name: &str, params: usize) -> Result<FuncId, CompileError> {
        object.declare_function(name, Linkage::Export, &signature(params, &[types::I32])).map_err(broken)
    }

    /// Compiles a function of `params` words and a status, if it gives one.
    fn define(
        &self,
        object: &mut ObjectModule,
        id: FuncId,
        params: usize,
        results: usize,
        body: impl FnOnce(&mut Body<'_, '_>) -> Result<(), CompileError>,
    ) -> Result<(), CompileError> {
        let results = &[types::I32][..results];
        let mut function =
            Function::with_name_signature(UserFuncName::user(0, id.as_u32()), signature(params, results));
        let mut context = FunctionBuilderContext::new();
        let mut b = FunctionBuilder::new(&mut function, &mut context);
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let params = b.block_params(entry).to_vec();
        let mut made = Body { b, object, params };
        body(&mut made)?;
        let Body { mut b, object, .. } = made;
        b.seal_all_blocks();
        b.finalize(object.isa().frontend_config());
        let mut context = Context::for_function(function);
        let text = context.func.display().to_string();
        let defined = object.define_function(id, &mut context);
        defined.map_err(|error| CompileError::Bug { message: format!("Cranelift: {error:?}"), text })
    }
}

/// A function that is being written.
struct Body<'a, 'b> {
    b: FunctionBuilder<'b>,
    object: &'a mut ObjectModule,
    params: Vec<ir::Value>,
}

impl Body<'_, '_> {
    /// A function of the object, to be called from here.
    fn reach(&mut self, id: FuncId) -> ir::FuncRef {
        self.object.declare_func_in_func(id, self.b.func)
    }
}

/// Words in, at most one result.
fn signature(params: usize, results: &[ir::Type]) -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = vec![AbiParam::new(types::I64); params];
    signature.returns = results.iter().map(|ty| AbiParam::new(*ty)).collect();
    signature
}

fn instructions() -> Result<OwnedTargetIsa, CompileError> {
    let mut flags = settings::builder();
    let chosen =
        [("is_pic", "true"), ("opt_level", "speed"), ("enable_probestack", "false"), ("enable_verifier", "true")];
    for (name, value) in chosen {
        flags.set(name, value).map_err(|why| bug(why.to_string()))?;
    }
    let builder = isa::lookup_by_name(OBJECT_TRIPLE).map_err(|_| {
        CompileError::Unsupported("this build of the compiler has no code generator for x86-64".to_owned())
    })?;
    builder.finish(settings::Flags::new(flags)).map_err(|why| bug(why.to_string()))
}

fn broken(error: impl Into<cranelift_module::ModuleError>) -> CompileError {
    bug(format!("object: {}", error.into()))
}

fn bug(message: String) -> CompileError {
    CompileError::Bug { message, text: String::new() }
}
