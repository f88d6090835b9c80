//! `sawmill build NAME --target T --out DIR`: a function's code, written ahead of time.
//!
//! In: a function of the zoo, a target. Out: in the folder, for a GPU one file of PTX for each kernel, for a processor a static library
//! and its C header; and `NAME.json`, the manifest: buffers with their layouts, what a launch or a call must give, the plan's
//! steps. Sizes are expressions over the dims of a call, in the spelling of tile IR. Files are written aside and renamed, so that a
//! folder never holds half of one.

mod library;

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use sawmill::{
    Built, BuiltCode, BuiltKernel, Function, Specialisation,
    ir::{
        entity::Arena,
        graph::Field,
        index::{DimId, Index},
        tile::{BufferKind, Kernel, Launch, Module, Step, text::print_size},
    },
};
use serde_json::{Map, Value, json};

use crate::{
    args::BuildArgs, check::adversarial::find, engine::failure, error::Failure, explain::specialisation, terminal::say,
};

/// Version of the manifest's form.
const FORM: u32 = 1;

/// Runs the command and returns its exit code.
///
/// # Errors
/// [`Failure`] of any kind.
pub fn command(args: &BuildArgs) -> Result<u8, Failure> {
    let function = find(&args.name)?;
    let given = specialisation(function, &args.dims, &args.types)?;
    let name = args.call.as_deref().unwrap_or(function.name);
    let target = match args.generator {
        Some(generator) => {
            let target = args.target.made_by(generator.into());
            target.ok_or_else(|| {
                Failure::user(format!("--by names what makes code of a processor, not of {}", args.target))
            })?
        }
        None => args.target,
    };
    let built = function.build(target, &given, name).map_err(failure)?;
    let (what, files) = match &built.code {
        BuiltCode::Ptx(kernels) => {
            let files = kernels.iter().map(|kernel| (file_of(name, kernel), kernel.text.as_bytes()));
            (format!("{} kernels", kernels.len()), files.collect::<Vec<_>>())
        }
        BuiltCode::Library(library) => {
            let archive = (library::archive_of(name), library.archive.as_slice());
            let header = (library::header_of(name), library.header.as_bytes());
            (format!("a library by {}", library.made_by), vec![archive, header])
        }
    };
    let refused = |error: io::Error| {
        let folder = args.out.display();
        Failure::environment(format!("cannot write to {folder}: {error}"))
            .help("name a folder that can be written with --out")
    };
    fs::create_dir_all(&args.out).map_err(refused)?;
    for (file, bytes) in files {
        write(&args.out, &file, bytes).map_err(refused)?;
    }
    let manifest = manifest(function, name, &args.target.to_string(), &given, &built);
    let text = serde_json::to_string_pretty(&manifest).map_err(Failure::defect)? + "\n";
    write(&args.out, &format!("{name}.json"), text.as_bytes()).map_err(refused)?;
    say(format_args!("{name}: {what} for {} in {}", args.target, args.out.display()));
    Ok(0)
}

fn file_of(name: &str, kernel: &BuiltKernel) -> String {
    format!("{name}.{}.ptx", kernel.entry)
}

/// Writes a file aside and gives it its name. Who may read it is left to the process's mask, as of any file.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let readable = fs::Permissions::from_mode(0o666);
    let mut aside = tempfile::Builder::new().permissions(readable).tempfile_in(folder)?;
    aside.write_all(bytes)?;
    aside.persist(folder.join(name)).map(drop).map_err(|error| error.error)
}

fn manifest(function: &Function, name: &str, target: &str, given: &Specialisation, built: &Built) -> Value {
    let module = &built.module;
    let buffers = module.buffers.values().map(|buffer| {
        let shape: Vec<String> = buffer.shape.iter().map(|size| print_size(size, &module.dims)).collect();
        let (kind, list) = match buffer.kind {
            BufferKind::Input { list } => ("input", list),
            BufferKind::InOut { list } => ("in place", list),
            BufferKind::Output => ("output", false),
            BufferKind::Temp => ("temporary", false),
        };
        let field = built.fields.iter().find(|(name, _)| *name == buffer.name).map(|(_, field)| packed(field));
        json!({ "name": buffer.name, "kind": kind, "list": list, "dtype": buffer.dtype.to_string(), "shape": shape, "field": field })
    });
    let types = given.types.iter().map(|(name, ty)| (name.clone(), json!(ty.to_string())));
    let mut manifest = Map::new();
    for (key, value) in [
        ("form", json!(FORM)),
        ("function", json!(function.name)),
        ("signature", json!(function.signature)),
        ("target", json!(target)),
        ("const_dims", given.dims.iter().map(|(name, size)| (name.clone(), json!(size))).collect()),
        ("types", types.collect()),
        ("dims", module.dims.values().cloned().collect()),
        ("buffers", buffers.collect()),
    ] {
        manifest.insert(key.to_owned(), value);
    }
    match &built.code {
        BuiltCode::Ptx(kernels) => {
            let kernels = module.kernels.iter().zip(kernels).map(|(kernel, code)| gpu_kernel(name, kernel, code));
            manifest.insert("kernels".to_owned(), kernels.collect());
            manifest.insert("plan".to_owned(), steps(module, &module.plan).into());
        }
        BuiltCode::Library(library) => manifest.extend(library::entries(module, library, name)),
    }
    Value::Object(manifest)
}

fn gpu_kernel(name: &str, kernel: &Kernel, code: &BuiltKernel) -> Value {
    json!({
        "entry": code.entry,
        "file": file_of(name, code),
        "threads": code.threads,
        "dynamic_shared_bytes": code.dynamic_shared_bytes,
        "parameters": parameters(kernel),
        "ctas": kernel.grid.iter().map(|(_, blocks)| print_size(blocks, &kernel.dims)).collect::<Vec<_>>(),
    })
}

/// Where a field of a packed argument lies.
fn packed(field: &Field) -> Value {
    json!({
        "of": field.of,
        "format": field.format,
        "offset_bytes": field.offset,
        "record_bytes": field.record,
        "record_dim": field.record_dim,
    })
}

/// What each 64-bit word of an entry's parameters holds, in order.
fn parameters(kernel: &Kernel) -> Vec<Value> {
    let mut words = Vec::new();
    for memory in kernel.memory.values() {
        words.push(json!({ "address of": memory.name }));
        words.extend((0..memory.shape.len()).map(|dim| json!({ "size of": memory.name, "dimension": dim })));
        words.extend((0..memory.shape.len()).map(|dim| json!({ "stride in bytes of": memory.name, "dimension": dim })));
    }
    words.extend(kernel.dims.values().map(|dim| json!({ "dim": dim })));
    words.push(json!("number of the first block"));
    words
}

fn steps(module: &Module, plan: &[Step]) -> Vec<Value> {
    plan.iter().map(|step| one_step(module, step)).collect()
}

fn one_step(module: &Module, step: &Step) -> Value {
    let size = |index: &Index| print_size(index, &module.dims);
    let buffer = |id| &module.buffers[id].name;
    match step {
        Step::Launch(call) => launch(module, call),
        Step::Loop { var, count, body } => {
            json!({ "for": module.dims[*var], "below": size(count), "steps": steps(module, body) })
        }
        Step::If { nonnegative, then, otherwise } => json!({
            "if not negative": size(nonnegative),
            "then": steps(module, then),
            "else": steps(module, otherwise),
        }),
        Step::Swap(a, b) => json!({ "exchange": [buffer(*a), buffer(*b)] }),
        Step::Scalar { dim, buffer: from } => json!({ "set": module.dims[*dim], "to the integer": buffer(*from) }),
    }
}

fn launch(module: &Module, call: &Launch) -> Value {
    let size = |index: &Index, dims: &Arena<DimId, String>| print_size(index, dims);
    let args = call.args.iter().map(|(id, element)| {
        let name = &module.buffers[*id].name;
        element.as_ref().map_or_else(|| json!(name), |at| json!({ "of": name, "element": size(at, &module.dims) }))
    });
    json!({
        "launch": call.kernel,
        "memory": args.collect::<Vec<_>>(),
        "dims": call.dims.iter().map(|dim| size(dim, &module.dims)).collect::<Vec<_>>(),
    })
}
