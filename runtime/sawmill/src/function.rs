//! Functions: from a call to its outputs.
//!
//! [`run`] reads aloud: parse (once per function), bind, choose the device, find or compile, run.

use crate::bind::{self, Bound};
use crate::call::Call;
use crate::closure::Capture;
use crate::compiled::{Compiled, Request};
use crate::pool::panic_message;
use crate::storage::Storage;
use crate::tensor::Tensor;
use crate::{Device, Error, disk};
use rustc_hash::FxHashMap;
use sawmill_ir::graph;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A function of an `arch!` block.
#[derive(Debug)]
pub struct Function {
    /// Its name in its program.
    pub name: &'static str,
    /// The Rust module it was written in, and its name: unique.
    pub path: &'static str,
    /// Its documentation.
    pub docs: &'static str,
    /// Its signature in the language.
    pub signature: &'static str,
    /// Names of its dims, in order.
    pub dims: &'static [&'static str],
    /// A graph-IR module: the function, and what it reaches in its own block.
    pub program: &'static str,
    /// Callees of other blocks, by the name the program calls them.
    pub uses: &'static [(&'static str, &'static Function)],
}

/// A packed format of an `arch!` block.
#[derive(Debug)]
pub struct Format {
    /// Its name.
    pub name: &'static str,
    /// A graph-IR module that holds it.
    pub program: &'static str,
}

/// How a function is compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Compile anew even if a compiled form is kept, and keep nothing.
    pub no_cache: bool,
}

/// A function's program with everything it calls.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) module: graph::Module,
    /// Of its text.
    pub(crate) digest: String,
}

impl Function {
    /// The function as lowered from the language.
    pub fn graph(&'static self) -> Result<&'static graph::Function, Error> {
        let missing = || Error::bug(self.name, "the program does not hold the function", self.program);
        self.joined()?.module.function(self.name).ok_or_else(missing)
    }
    /// The program with everything it calls.
    pub fn module(&'static self) -> Result<&'static graph::Module, Error> {
        Ok(&self.joined()?.module)
    }
    /// The joined program, made once for the life of the process.
    pub(crate) fn joined(&'static self) -> Result<&'static Joined, Error> {
        static JOINED: OnceLock<Mutex<FxHashMap<usize, &'static Joined>>> = OnceLock::new();
        let known = JOINED.get_or_init(Mutex::default);
        let key = std::ptr::from_ref(self).addr();
        if let Some(joined) = known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(joined);
        }
        let module = join(self)?;
        let digest = disk::digest(graph::text::print(&module).as_bytes());
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.entry(key).or_insert_with(|| Box::leak(Box::new(Joined { module, digest }))))
    }
}

/// Puts imported callees into the module of `function`: each under the name the program calls it, the others of its module
/// under that name, `::` and their own, so that names of different blocks never meet. Formats keep their names.
fn join(function: &'static Function) -> Result<graph::Module, Error> {
    let bug = |e: sawmill_ir::error::TextError| Error::bug(function.name, e.to_string(), function.program);
    let mut module = graph::text::parse(function.program).map_err(bug)?;
    for (alias, callee) in function.uses {
        let imported = join(callee)?;
        let rename = |name: &str| {
            if name == callee.name { (*alias).to_owned() } else { format!("{alias}::{name}") }
        };
        for mut function in imported.functions {
            function.name = rename(&function.name);
            rename_calls(&mut function, &rename);
            module.functions.push(function);
        }
        for format in imported.formats {
            if module.format(&format.name).is_none() {
                module.formats.push(format);
            }
        }
    }
    Ok(module)
}

fn rename_calls(function: &mut graph::Function, rename: &dyn Fn(&str) -> String) {
    let terms: Vec<graph::TermId> = function.terms.keys().collect();
    for term in terms {
        if let graph::Op::Call { function: callee, .. } = &mut function.terms[term].op {
            *callee = rename(callee);
        }
    }
}

/// A call that is checked and compiled.
pub(crate) struct Prepared {
    pub(crate) signature: &'static graph::Function,
    pub(crate) bound: Bound,
    pub(crate) device: Device,
    pub(crate) compiled: Arc<Compiled>,
}

/// Checks and compiles if needed.
pub(crate) fn prepare(call: &Call<'_>) -> Result<Prepared, Error> {
    guarded(call.function, || check_and_compile(call))
}

fn check_and_compile(call: &Call<'_>) -> Result<Prepared, Error> {
    let signature = call.function.graph()?;
    let bound = bind::bind(signature, &call.values, &call.dims)?;
    let device = choose_device(call, &bound)?;
    check_captures(call, &device)?;
    let request = Request::new(call.function, signature, &call.closures, &bound)?;
    let compiled = find_or_compile(&device, &request, call.options)?;
    Ok(Prepared { signature, bound, device, compiled })
}

/// Checks, compiles if needed, runs.
pub(crate) fn run(mut call: Call<'_>) -> Result<Vec<(String, Tensor)>, Error> {
    let prepared = prepare(&call)?;
    guarded(call.function, || prepared.compiled.run(&prepared, &mut call.values, &call.closures))
}

/// A panic of the compiler or of an engine is a compiler bug like any other: it does not cross the API.
fn guarded<T>(function: &'static Function, step: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // What a panic can leave half done are outputs, which are dropped, and appended positions that no cache counts yet.
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|panic| {
        Err(Error::bug(function.name, format!("a panic: {}", panic_message(&*panic)), function.program))
    })
}

fn choose_device(call: &Call<'_>, bound: &Bound) -> Result<Device, Error> {
    match (&call.device, &bound.device) {
        (Some(asked), Some(bound)) if asked != bound => {
            let message =
                format!("the call asks for {asked:?}, but arguments live on {bound:?}: move them with `.to(&device)`");
            Err(Error::Requirement { function: call.function.name.to_owned(), message })
        }
        (Some(device), _) | (None, Some(device)) => Ok(device.clone()),
        (None, None) => Device::shared(),
    }
}

/// Tensors that closures captured lie in host memory or on the device of the call.
fn check_captures(call: &Call<'_>, device: &Device) -> Result<(), Error> {
    for (name, closure) in &call.closures {
        for (at, capture) in closure.captures.iter().enumerate() {
            let Capture::Tensor(view) = capture else { continue };
            if let Some(here) = view.remote().and_then(Storage::device).filter(|here| *here != device) {
                let message = format!(
                    "capture {at} lives on another device ({here:?}) than the call ({device:?}): move it with `.to(&device)`"
                );
                return Err(Error::argument(call.function.name, name, message));
            }
        }
    }
    Ok(())
}

/// The compiled form of `request` on `device`: from memory, else from disk, else compiled, once however many threads ask.
fn find_or_compile(device: &Device, request: &Request<'_>, options: Options) -> Result<Arc<Compiled>, Error> {
    if options.no_cache {
        return Compiled::compile(device, request).map(|(compiled, _)| Arc::new(compiled));
    }
    let key = key(device, request);
    let entry = device.entry(&key);
    let made = entry.get_or_init(|| load_or_compile(device, request, &key).map(Arc::new));
    made.clone()
}

fn load_or_compile(device: &Device, request: &Request<'_>, key: &str) -> Result<Compiled, Error> {
    let folder = device.inner.cache_dir.as_deref();
    let kept = folder.and_then(|folder| disk::read(folder, key));
    if let Some(compiled) = kept.and_then(|payload| Compiled::decode(device, &payload)) {
        return Ok(compiled);
    }
    let (compiled, payload) = Compiled::compile(device, request)?;
    if let (Some(folder), Some(payload)) = (folder, payload)
        && let Err(error) = disk::write(folder, key, &payload)
    {
        tracing::warn!("compiled functions are not kept in {}: {error}", folder.display());
    }
    Ok(compiled)
}

/// Everything the compiled form depends on.
fn key(device: &Device, request: &Request<'_>) -> String {
    let mut key = format!("build {}\nengine {}\n", disk::BUILD_DIGEST, device.engine().name());
    if let Some(backend) = &device.inner.backend {
        let _ = writeln!(key, "target {:?}\nlevel {}", backend.target(), backend.level());
    }
    key.push_str(&request.key());
    key
}
