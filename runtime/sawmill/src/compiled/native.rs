//! Plans with machine code: compiling, keeping, running them.
//!
//! A run gives the executable one strided view per buffer of the plan: arguments and their packed fields where they lie,
//! caches in place, outputs freshly allocated, in a device's own memory if arguments lie there. Sizes come from the plan's shapes over the call's dims; arithmetic on them is
//! checked.

use super::arguments::Arguments;
use super::encode::{push, take, take_text};
use crate::bind;
use crate::element::RuntimeElem;
use crate::function::Prepared;
use crate::layout::Layout;
use crate::storage::Storage;
use crate::tensor::{Tensor, View};
use crate::{Device, Error};
use sawmill_ir::backend::{Artifact, Call, Executable, Slot};
use sawmill_ir::dtype::DType;
use sawmill_ir::entity::Entity;
pub(super) use sawmill_ir::graph::Field;
use sawmill_ir::graph::{self, TensorKind};
use sawmill_ir::index::{Atom, Index};
use sawmill_ir::tile::{self, Buffer, BufferId, BufferKind};

/// A plan with its machine code.
pub(super) struct Native {
    pub(super) module: tile::Module,
    fields: Vec<(String, Field)>,
    executable: Box<dyn Executable>,
}

impl Native {
    /// Compiles a linked function; also gives the bytes to keep.
    pub(super) fn compile(device: &Device, name: &str, linked: &graph::Function) -> Result<(Self, Vec<u8>), Error> {
        let engine = device.engine().name();
        let backend = device.inner.backend.as_deref();
        let backend = backend.ok_or_else(|| Error::bug(name, "the device has no backend", ""))?;
        let fail = |e| Error::compile(name, engine, e);
        let module =
            sawmill_passes::compile(linked, &sawmill_passes::Options::default(), backend.target()).map_err(fail)?;
        let artifact = backend.compile(&module).map_err(fail)?;
        let executable = backend.load(&module, &artifact).map_err(fail)?;
        warn(name, &*executable);
        let fields = packed_fields(linked);
        let payload = encode(&module, &fields, &artifact);
        Ok((Self { module, fields, executable }, payload))
    }
    /// The plan kept as `payload`, if it can be used.
    pub(super) fn decode(device: &Device, payload: &[u8]) -> Option<Self> {
        let backend = device.inner.backend.as_deref()?;
        let (module, fields, artifact) = decode(payload)?;
        let executable = backend.load(&module, &artifact).ok()?;
        warn(&module.name, &*executable);
        Some(Self { module, fields, executable })
    }
    /// Runs the plan.
    pub(super) fn run(
        &self,
        prepared: &Prepared,
        mut arguments: Arguments<'_, '_>,
    ) -> Result<Vec<(String, Tensor)>, Error> {
        let name = &prepared.signature.name;
        let dims: Vec<i64> = self.module.dims.values().map(|dim| arguments.integer(dim).unwrap_or(0)).collect();
        let mut buffers = Vec::with_capacity(self.module.buffers.len());
        let mut outputs = Vec::new();
        let mut grown = Vec::new();
        for (id, buffer) in self.module.buffers.iter() {
            let shape = shape(name, buffer, &dims)?;
            buffers.push(match buffer.kind {
                BufferKind::Input { .. } => self.input(name, buffer, &shape, &arguments)?,
                BufferKind::InOut { .. } => {
                    let slots = grow(name, buffer, &shape, &mut arguments)?;
                    grown.push((id, shape));
                    slots
                }
                BufferKind::Output => {
                    let (storage, layout) = allocate(buffer, &shape, prepared)?;
                    let slot = storage.slot(&layout);
                    outputs.push((buffer.name.clone(), storage, layout));
                    vec![slot]
                }
                BufferKind::Temp => Vec::new(),
            });
        }
        let mut call = Call { dims: &dims, buffers: &buffers, workers: &prepared.device.inner.pool };
        self.executable.run(&mut call).map_err(|e| Error::run(name, e))?;
        for (id, shape) in grown {
            self.commit(id, &shape, &mut arguments);
        }
        in_signature_order(prepared, outputs)
    }
    /// The views of an input buffer: an argument, or a field of a packed one.
    fn input(
        &self,
        name: &str,
        buffer: &Buffer,
        shape: &[usize],
        arguments: &Arguments<'_, '_>,
    ) -> Result<Vec<Slot>, Error> {
        let missing = || Error::bug(name, format!("buffer {} is bound to nothing", buffer.name), "");
        let Some((_, field)) = self.fields.iter().find(|(field, _)| *field == buffer.name) else {
            return arguments.slots(&buffer.name).ok_or_else(missing);
        };
        let views = arguments.views(&field.of).ok_or_else(missing)?;
        field_slots(name, (&buffer.name, buffer.dtype), shape, field, views)
    }
    /// The caches hold the appended positions from now on.
    fn commit(&self, id: BufferId, shape: &[usize], arguments: &mut Arguments<'_, '_>) {
        for cache in arguments.caches_mut(&self.module.buffers[id].name) {
            let grows = cache.fields.first().map_or(0, |(_, store)| store.grows);
            cache.len = shape.get(grows).copied().unwrap_or(cache.len).max(cache.len);
        }
    }
}

/// Says what makes loaded code slower than it should be, whether it was just compiled or kept.
fn warn(function: &str, executable: &dyn Executable) {
    executable.warnings().iter().for_each(|warning| tracing::warn!("{function}: {warning}"));
}

/// The fields of packed arguments among the inputs of a linked function, by name. Dimensions count without that of a list,
/// since each element of a list is bound on its own.
pub(crate) fn packed_fields(linked: &graph::Function) -> Vec<(String, Field)> {
    let field = |tensor: &graph::Tensor| {
        let TensorKind::Input(input) = &tensor.kind else { return None };
        let mut field = input.field.clone()?;
        field.record_dim -= input.lists;
        Some((tensor.name.clone(), field))
    };
    linked.tensors.values().filter_map(field).collect()
}

/// The sizes of a buffer.
fn shape(function: &str, buffer: &Buffer, dims: &[i64]) -> Result<Vec<usize>, Error> {
    let size = |index: &Index| {
        let value = index.eval(&mut |atom, _| match atom {
            Atom::Dim(dim) => dims.get(dim.index()).copied(),
            _ => None,
        });
        let too_large = || Error::OutOfMemory { what: buffer.name.clone(), bytes: u128::MAX };
        value.and_then(|v| usize::try_from(v).ok()).ok_or_else(too_large)
    };
    if matches!(buffer.kind, BufferKind::Temp) {
        // Temporaries belong to the executable; their sizes may depend on the variables of plan loops.
        return Ok(Vec::new());
    }
    buffer
        .shape
        .iter()
        .map(size)
        .collect::<Result<_, _>>()
        .map_err(|e| if buffer.shape.is_empty() { Error::bug(function, "a scalar has no size", "") } else { e })
}

/// Where the field of a packed argument lies, in each tensor of its list.
pub(super) fn field_slots(
    function: &str,
    (name, dtype): (&str, DType),
    shape: &[usize],
    field: &Field,
    views: &[View<'_>],
) -> Result<Vec<Slot>, Error> {
    let mut slots = Vec::with_capacity(views.len());
    // The tensors of a list are mostly laid out alike.
    let mut known: Option<(&[isize], Layout)> = None;
    for view in views {
        let packed = view.layout();
        let layout = match &mut known {
            Some((strides, layout)) if *strides == packed.strides => layout,
            _ => &mut known.insert((&packed.strides, field_layout(function, (name, dtype), shape, field, packed)?)).1,
        };
        layout.offset = packed.offset + field.offset as usize;
        slots.push(view.slot_as(layout)?);
    }
    Ok(slots)
}

fn field_layout(
    function: &str,
    (name, dtype): (&str, DType),
    shape: &[usize],
    field: &Field,
    packed: &Layout,
) -> Result<Layout, Error> {
    let bug = |message: &str| Error::bug(function, format!("field {name}: {message}"), "");
    let (unit, values) = RuntimeElem::Type(dtype).unit().ok_or_else(|| bug("its elements have no bytes"))?;
    let records = field.record_dim as usize;
    if shape.len() <= records || packed.strides.len() != records + 1 {
        return Err(bug("its rank does not fit the packed argument"));
    }
    let mut strides = packed.strides.clone();
    let mut step = unit as isize;
    let mut inner = Vec::new();
    for (at, size) in shape[records + 1..].iter().rev().enumerate() {
        inner.push(step);
        let steps = if at == 0 { size / values } else { *size };
        step = step.saturating_mul(steps as isize);
    }
    strides.extend(inner.into_iter().rev());
    Ok(Layout { elem: RuntimeElem::Type(dtype), shape: shape.to_vec(), strides, offset: packed.offset })
}

/// Memory of an output: the device's own, if arguments lie there.
fn allocate(buffer: &Buffer, shape: &[usize], prepared: &Prepared) -> Result<(Storage, Layout), Error> {
    let layout = Layout::row_major(RuntimeElem::Type(buffer.dtype), shape, 0)?;
    let what = format!("output {}", buffer.name);
    let bytes = layout.bytes()?;
    let bytes = usize::try_from(bytes).map_err(|_| Error::OutOfMemory { what: what.clone(), bytes })?;
    let storage = match &prepared.bound {
        bound if bound.resident => Storage::on(&prepared.device, bytes, &what)?,
        _ => Storage::zeroed(bytes, &what)?,
    };
    Ok((storage, layout))
}

/// The views of a cache as long as it will be after the call; an error if there is no room.
fn grow(
    function: &str,
    buffer: &Buffer,
    shape: &[usize],
    arguments: &mut Arguments<'_, '_>,
) -> Result<Vec<Slot>, Error> {
    let missing = || Error::bug(function, format!("cache {} is bound to nothing", buffer.name), "");
    let caches = arguments.caches(&buffer.name).ok_or_else(missing)?;
    let field = bind::field_of(&buffer.name);
    let mut len = 0;
    for cache in caches {
        let store = cache.fields.iter().find(|(name, _)| *name == field).map(|(_, store)| store).ok_or_else(missing)?;
        len = *shape.get(store.grows).ok_or_else(missing)?;
        if len > cache.capacity {
            let message = format!("would hold {len} positions, but has room for {}", cache.capacity);
            return Err(Error::argument(function, &buffer.name, message));
        }
    }
    arguments.cache_slots(&buffer.name, len).ok_or_else(missing)
}

fn in_signature_order(
    prepared: &Prepared,
    mut outputs: Vec<(String, Storage, Layout)>,
) -> Result<Vec<(String, Tensor)>, Error> {
    let function = prepared.signature;
    let mut ordered = Vec::with_capacity(function.outputs.len());
    for id in &function.outputs {
        let name = &function.tensors[*id].name;
        let at = outputs.iter().position(|(output, ..)| output == name);
        let at = at.ok_or_else(|| Error::bug(&function.name, format!("the plan lost output {name}"), ""))?;
        let (name, storage, layout) = outputs.swap_remove(at);
        ordered.push((name, Tensor::from_parts(storage, layout, prepared.bound.device.clone())));
    }
    Ok(ordered)
}

fn encode(module: &tile::Module, fields: &[(String, Field)], artifact: &Artifact) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes, tile::text::print(module).as_bytes());
    push(&mut bytes, &(fields.len() as u64).to_le_bytes());
    for (name, field) in fields {
        for text in [name, &field.of, &field.format] {
            push(&mut bytes, text.as_bytes());
        }
        for number in [field.offset, field.record, field.record_dim] {
            push(&mut bytes, &number.to_le_bytes());
        }
    }
    artifact.kernels.iter().for_each(|kernel| push(&mut bytes, kernel));
    bytes
}

/// What is kept of a compiled function: its plan, the fields of its packed arguments, its machine code.
type Kept = (tile::Module, Vec<(String, Field)>, Artifact);

fn decode(mut bytes: &[u8]) -> Option<Kept> {
    let module = tile::text::parse(take_text(&mut bytes)?).ok()?;
    let count = u64::from_le_bytes(take(&mut bytes)?.try_into().ok()?);
    let mut fields = Vec::new();
    for _ in 0..count {
        let mut text = || take_text(&mut bytes).map(str::to_owned);
        let (name, of, format) = (text()?, text()?, text()?);
        let mut number = || Some(u32::from_le_bytes(take(&mut bytes)?.try_into().ok()?));
        let (offset, record, record_dim) = (number()?, number()?, number()?);
        fields.push((name, Field { of, format, offset, record, record_dim }));
    }
    let mut artifact = Artifact::default();
    while !bytes.is_empty() {
        artifact.kernels.push(take(&mut bytes)?.to_vec());
    }
    Some((module, fields, artifact))
}
