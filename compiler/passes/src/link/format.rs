//! Packed formats: arguments become their fields, reads become the format's equation.

use super::frame::{Bound, Frame};
use super::{LinkError, Linker};
use sawmill_ir::graph::{Field, Format, Function, Input, TensorKind, TermId};
use sawmill_ir::index::{Atom, AxisId, Index, TensorId};

impl<'m> Linker<'m> {
    /// The fields of the packed argument `name` as arguments; the last dimension of `shape` is the packed row.
    pub(super) fn packed_input(
        &mut self,
        name: &str,
        format: &str,
        shape: Vec<Index>,
        input: &Input,
    ) -> Result<Bound<'m>, LinkError> {
        let format = self.format(format)?;
        let Some((row, outer)) = shape.split_last() else {
            return Err(self.error(format!("packed argument `{name}` has no row")));
        };
        let record_dim = u32::try_from(outer.len()).map_err(|_| self.error("a rank past 2^32"))?;
        let sizes = format.field_bytes().map_err(|message| self.error(message))?;
        let record = sizes.iter().map(|(_, bytes)| bytes).sum();
        let (mut fields, mut offset) = (Vec::new(), 0);
        for (id, bytes) in sizes {
            let field = &format.value.tensors[id];
            let own = field.shape.iter().map(|size| at_row(size, row));
            let shape: Vec<Index> = outer.iter().cloned().chain(own).collect();
            let place = Field { of: name.to_owned(), format: format.name.clone(), offset, record, record_dim };
            let input = Input { lists: input.lists, field: Some(place), ..Input::default() };
            match self.input(&format!("{name}.{}", field.name), field.elem.clone(), shape, input) {
                Bound::Tensor { id, .. } => fields.push(id),
                _ => return Err(self.error(format!("field `{name}.{}` is no plain argument", field.name))),
            }
            offset += bytes;
        }
        let subs = vec![None; shape.len()];
        Ok(Bound::Packed { format, fields, shape, subs })
    }
    fn format(&self, name: &str) -> Result<&'m Format, LinkError> {
        let found = self.modules.iter().find_map(|module| module.format(name));
        found.ok_or_else(|| self.error(format!("no module holds the format `{name}`")))
    }
    /// An element of a packed tensor: the format's equation over its fields.
    pub(super) fn unpack(
        &mut self,
        format: &'m Format,
        fields: &[TensorId],
        shape: &[Index],
        subs: &[Index],
    ) -> Result<TermId, LinkError> {
        let function = &format.value;
        let (value, axis) =
            equation(function).ok_or_else(|| self.error(format!("format `{}` is no equation", format.name)))?;
        let (Some((row, _)), Some((at, outer))) = (shape.split_last(), subs.split_last()) else {
            return Err(self.error(format!("format `{}` is read without a row", format.name)));
        };
        let mut frame = Frame::new(function);
        if let Some(dim) = frame.dims.first_mut() {
            *dim = Some(row.clone());
        }
        frame.axes.insert(axis, at.clone());
        for ((id, _), field) in format.fields().zip(fields) {
            let open = function.tensors[id].shape.len();
            let subs = outer.iter().cloned().map(Some).chain(std::iter::repeat_n(None, open)).collect();
            frame.tensors.insert(id, Bound::Tensor { id: *field, subs });
        }
        let frame = self.frames.push(frame);
        self.term(frame, value)
    }
}

/// The value of a format's one output, and its one axis.
fn equation(function: &Function) -> Option<(TermId, AxisId)> {
    match &function.tensors.get(*function.outputs.first()?)?.kind {
        TensorKind::Def { axes, value, .. } => Some((*value, *axes.first()?)),
        _ => None,
    }
}

/// A field's size, over the length of the row.
fn at_row(size: &Index, row: &Index) -> Index {
    size.substitute(&mut |atom| matches!(atom, Atom::Dim(_)).then(|| row.clone()))
}
