//! A function compiled for a device.
//!
//! [`Request`] says what is compiled: program, constants, types, closures. [`Compiled`] is the result: a linked function for
//! the interpreter, or a plan with its machine code. Compiled plans are encoded to bytes for the disk cache.

mod arguments;
mod encode;
mod native;
mod reference;

use crate::arg::Value;
use crate::bind::Bound;
use crate::closure::{Capture, Closure};
use crate::element::RuntimeElem;
use crate::function::{Function, Prepared};
use crate::tensor::Tensor;
use crate::{Device, Engine, Error};
use rustc_hash::FxHashMap;
use sawmill_ir::dtype::DType;
use sawmill_ir::entity::Entity;
use sawmill_ir::graph::{self, DimKind, text};
use sawmill_ir::index::Atom;
use sawmill_passes::link;
use sawmill_syntax::host::Resolved;
use std::fmt::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

#[cfg(feature = "ahead")]
pub(crate) use native::packed_fields;

/// What is compiled, apart from the device.
pub(crate) struct Request<'r> {
    function: &'static Function,
    digest: &'static str,
    /// Values of const dims, by name.
    consts: Vec<(String, i64)>,
    /// Element types of type parameters, by name.
    types: Vec<(String, RuntimeElem)>,
    defaulted: &'r [String],
    closures: Vec<GivenClosure<'r>>,
}

/// A closure given by the call: for which parameter, its text, the types and ranks of its captures, its graph form.
struct GivenClosure<'r> {
    name: &'r str,
    text: &'static str,
    captures: Vec<(DType, usize)>,
    graph: Arc<Resolved>,
}

impl<'r> Request<'r> {
    /// The request of a call that is bound.
    pub(crate) fn new(
        function: &'static Function,
        signature: &'static graph::Function,
        closures: &'r [(String, Closure<'_>)],
        bound: &'r Bound,
    ) -> Result<Self, Error> {
        let joined = function.joined()?;
        let mut given = Vec::with_capacity(closures.len());
        for (name, closure) in closures {
            let resolved = given_closure((signature, &joined.module), &joined.digest, name, closure)?;
            check_captures(signature, name, closure, &resolved.graph, &bound.dims)?;
            given.push(resolved);
        }
        let is_const = |dim: &graph::Dim| matches!(dim.kind, DimKind::Const(_));
        let consts = signature.dims.iter().filter(|(_, dim)| is_const(dim));
        let types = signature.type_params.iter().zip(&bound.types);
        Ok(Self {
            function,
            digest: &joined.digest,
            consts: consts.map(|(id, dim)| (dim.name.clone(), bound.dims[id.index()])).collect(),
            types: types.map(|(param, elem)| (param.name.clone(), *elem)).collect(),
            defaulted: &bound.defaulted,
            closures: given,
        })
    }
    /// Everything a compiled form depends on, apart from the device and the compiler.
    pub(crate) fn key(&self) -> String {
        let mut key = format!("program {}\nfunction {}\n", self.digest, self.function.name);
        // Writing to a string does not fail.
        for (name, value) in &self.consts {
            let _ = writeln!(key, "const {name} {value}");
        }
        for (name, elem) in &self.types {
            let _ = match elem {
                RuntimeElem::Type(dtype) => writeln!(key, "type {name} {dtype}"),
                RuntimeElem::Packed(packed) => writeln!(key, "type {name} {}", packed.format().program),
            };
        }
        for name in self.defaulted {
            let _ = writeln!(key, "default {name}");
        }
        for closure in &self.closures {
            let _ = writeln!(key, "closure {} {:?} {:?}", closure.name, closure.text, closure.captures);
        }
        key
    }
    /// The linked function.
    fn link(&self) -> Result<graph::Function, Error> {
        let closures = self.closures.iter().map(|closure| (closure.name.to_owned(), closure.graph.function.clone()));
        let bindings = link::Bindings {
            dims: self.consts.clone(),
            defaults: self.defaulted.to_vec(),
            closures: closures.collect(),
            ..Default::default()
        };
        link_function(self.function, &self.types, bindings)
    }
}

/// `function` linked: its program with the formats of packed `types`, under `bindings`, which name no types yet.
pub(crate) fn link_function(
    function: &'static Function,
    types: &[(String, RuntimeElem)],
    mut bindings: link::Bindings,
) -> Result<graph::Function, Error> {
    let name = function.name;
    let module = function.module()?;
    let mut modules = vec![module.clone()];
    for (param, elem) in types {
        bindings.types.push((param.clone(), graph_elem(*elem)));
        if let RuntimeElem::Packed(packed) = elem {
            let format = text::parse(packed.format().program);
            modules.push(format.map_err(|e| Error::bug(name, e.to_string(), packed.format().program))?);
        }
    }
    let linked = link::link(&modules, name, &bindings);
    linked.map_err(|e| Error::bug(name, e.to_string(), text::print(module)))
}

/// A closure of a call with its graph form, which is made once for each text and kind of captures.
fn given_closure<'r>(
    (signature, module): (&graph::Function, &graph::Module),
    digest: &str,
    name: &'r str,
    closure: &Closure<'_>,
) -> Result<GivenClosure<'r>, Error> {
    type Known = Mutex<FxHashMap<String, Arc<Resolved>>>;
    static RESOLVED: OnceLock<Known> = OnceLock::new();
    let param = signature.closures.values().find(|param| param.name == name);
    let param = param.ok_or_else(|| Error::argument(&signature.name, name, "is no closure parameter"))?;
    if param.params.len() != closure.params {
        let message = format!("takes a closure of {} parameters, not {}", param.params.len(), closure.params);
        return Err(Error::argument(&signature.name, name, message));
    }
    let captures = capture_kinds(signature, name, closure)?;
    let known = RESOLVED.get_or_init(Known::default);
    let key = format!("{digest} {} {name} {:?} {captures:?}", signature.name, closure.text);
    let found = known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    let graph = match found {
        Some(graph) => graph,
        None => {
            let resolved = sawmill_syntax::host::resolve(closure.text, module, &signature.name, name, &captures);
            let graph = Arc::new(resolved.map_err(|message| Error::argument(&signature.name, name, message))?);
            known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&graph));
            graph
        }
    };
    Ok(GivenClosure { name, text: closure.text, captures, graph })
}

fn capture_kinds(signature: &graph::Function, name: &str, closure: &Closure<'_>) -> Result<Vec<(DType, usize)>, Error> {
    let kind = |capture: &Capture<'_>| match capture {
        Capture::Int(_) => Ok((DType::I64, 0)),
        Capture::Float(_) => Ok((DType::F32, 0)),
        Capture::Bool(_) => Ok((DType::Bool, 0)),
        Capture::Tensor(view) => match view.layout().elem {
            RuntimeElem::Type(dtype) => Ok((dtype, view.layout().shape.len())),
            RuntimeElem::Packed(packed) => {
                let message =
                    format!("captures a tensor of packed {}, which a closure cannot read", packed.format().name);
                Err(Error::argument(&signature.name, name, message))
            }
        },
    };
    closure.captures.iter().map(kind).collect()
}

/// Captured tensors are as large as the closure's reads need.
fn check_captures(
    signature: &graph::Function,
    name: &str,
    closure: &Closure<'_>,
    resolved: &Resolved,
    dims: &[i64],
) -> Result<(), Error> {
    for need in &resolved.sizes {
        let Some(Capture::Tensor(view)) = closure.captures.get(need.capture) else { continue };
        let size = view.layout().shape.get(need.axis).copied().unwrap_or(0);
        let least = need.size.eval(&mut |atom, _| match atom {
            Atom::Dim(dim) => dims.get(dim.index()).copied(),
            _ => None,
        });
        if least.is_none_or(|least| least > 0 && usize::try_from(least).is_ok_and(|least| size < least)) {
            let least = least.map_or("unknown".to_owned(), |least| least.to_string());
            let message = format!(
                "capture {} has size {size} along dimension {}, but is read up to {least}",
                need.capture, need.axis
            );
            return Err(Error::argument(&signature.name, name, message));
        }
    }
    Ok(())
}

/// The element type in graph IR.
fn graph_elem(elem: RuntimeElem) -> graph::Elem {
    match elem {
        RuntimeElem::Type(dtype) => graph::Elem::Type(dtype),
        RuntimeElem::Packed(packed) => graph::Elem::Format(packed.format().name.to_owned()),
    }
}

/// A function compiled for a device.
pub struct Compiled {
    form: Form,
}

enum Form {
    /// For the interpreter.
    Reference(graph::Function),
    /// A plan with its machine code.
    Native(native::Native),
}

impl Compiled {
    /// Compiles; also gives the bytes to keep on disk, if the engine has any.
    pub(crate) fn compile(device: &Device, request: &Request<'_>) -> Result<(Self, Option<Vec<u8>>), Error> {
        let linked = request.link()?;
        match device.engine() {
            Engine::Interpreter => Ok((Self { form: Form::Reference(linked) }, None)),
            Engine::Cranelift | Engine::Llvm | Engine::Cuda => {
                let (native, payload) = native::Native::compile(device, request.function.name, &linked)?;
                Ok((Self { form: Form::Native(native) }, Some(payload)))
            }
        }
    }
    /// The compiled form kept as `payload`, if it can be used.
    pub(crate) fn decode(device: &Device, payload: &[u8]) -> Option<Self> {
        native::Native::decode(device, payload).map(|native| Self { form: Form::Native(native) })
    }
    /// Number of kernels; 0 for the interpreter.
    pub fn kernels(&self) -> usize {
        match &self.form {
            Form::Reference(_) => 0,
            Form::Native(native) => native.module.kernels.len(),
        }
    }
    /// Runs a prepared call.
    pub(crate) fn run<'a>(
        &self,
        prepared: &Prepared,
        values: &mut [(String, Value<'a>)],
        closures: &[(String, Closure<'a>)],
    ) -> Result<Vec<(String, Tensor)>, Error> {
        let arguments = arguments::Arguments::new(prepared, values, closures);
        match &self.form {
            Form::Reference(linked) => reference::run(linked, prepared, arguments),
            Form::Native(native) => native.run(prepared, arguments),
        }
    }
}
