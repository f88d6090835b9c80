//! PTX, interpreted: the engine of a machine without a GPU.
//!
//! In: tiles, sizes, arguments. Out: outputs. Kernels are lowered for sm_80 and run by the interpreter of PTX programs, which stops
//! at races, accesses out of bounds and values that nothing wrote. Read-only arguments are memory that kernels may not write.

use super::bytes::unwritten;
use super::{Dense, Dims, Tensors, failed, given_back, module_dims, shape_of};
use sawmill_ir::tile::{BufferKind, Module, text};
use sawmill_ptx::backend::Ptx;
use sawmill_ptx::inst::Sm;
use sawmill_ptx::launch::{self, Interpreted, View};

/// The target of the engine.
pub(crate) fn backend() -> Ptx {
    Ptx::new(Sm::Sm80)
}

pub(super) fn run(module: &Module, dims: &Dims, inputs: &Tensors) -> Result<Tensors, String> {
    let kernels = backend().kernels(module).map_err(|error| failed("PTX", error))?;
    let mut device = Interpreted::new(kernels);
    let values = module_dims(module, dims, inputs);
    let mut views = Vec::new();
    for buffer in module.buffers.values() {
        if buffer.kind == BufferKind::Temp {
            views.push(Vec::new());
            continue;
        }
        let shape = shape_of(&buffer.shape, &values)?;
        let sizes: Vec<i64> = shape.iter().map(|size| *size as i64).collect();
        let strides = launch::dense(buffer.dtype, &sizes);
        let bytes: Vec<Vec<u8>> = match inputs.get(&buffer.name) {
            Some(tensor) => {
                tensor.for_buffer(&buffer.kind, &shape).iter().map(Dense::bytes).collect::<Result<_, _>>()?
            }
            None => vec![unwritten(buffer.dtype, &shape)],
        };
        let mut place = |bytes: Vec<u8>| {
            let read_only = matches!(buffer.kind, BufferKind::Input { .. });
            let address = if read_only { device.memory.alloc_read_only(bytes) } else { device.memory.alloc(bytes) };
            View { address, shape: sizes.clone(), strides: strides.clone() }
        };
        views.push(bytes.into_iter().map(&mut place).collect());
    }
    launch::run(module, &values, &mut views, &mut device)
        .map_err(|error| format!("the run failed: {error}\n{}", text::print(module)))?;
    let mut outputs = Tensors::new();
    for (buffer, views) in module.buffers.values().zip(views) {
        let shape = shape_of(&buffer.shape, &values)?;
        let size = unwritten(buffer.dtype, &shape).len();
        let entry = |view: &View| {
            let bytes = device.memory.bytes(view.address).unwrap_or_default();
            Dense::of_bytes(buffer.dtype, shape.clone(), &bytes[..size.min(bytes.len())])
        };
        outputs.extend(given_back(buffer, views.iter().map(entry).collect::<Result<_, _>>()?)?);
    }
    Ok(outputs)
}
