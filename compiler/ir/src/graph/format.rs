//! The record layout of a packed format.
//!
//! In: a [`Format`]. Out: the bytes of its fields and of a record, in the order in which they lie in memory.

use super::{Elem, Format, Input, TensorKind};
use crate::index::{Index, TensorId};

impl Format {
    /// The fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = (TensorId, &Input)> {
        self.value.tensors.iter().filter_map(|(id, tensor)| match &tensor.kind {
            TensorKind::Input(input) => Some((id, input)),
            _ => None,
        })
    }
    /// Bytes that each field takes in a record. A field's first axis counts records; the others lie inside of one.
    ///
    /// # Errors
    /// The field that has no whole number of bytes, known when compiling, or whose first axis counts something else.
    pub fn field_bytes(&self) -> Result<Vec<(TensorId, u32)>, String> {
        let row = self.value.dims.keys().next().map(Index::dim);
        let records = row.map(|row| row.div(&Index::int(i64::from(self.record_values))));
        let mut sizes = Vec::new();
        for (id, _) in self.fields() {
            let field = &self.value.tensors[id];
            if field.shape.first() != records.as_ref() {
                return Err(format!("the first axis of field `{}.{}` does not count records", self.name, field.name));
            }
            let narrow = || format!("field `{}.{}` has no whole bytes", self.name, field.name);
            let Elem::Type(dtype) = field.elem else { return Err(narrow()) };
            let mut bits = dtype.bits();
            for size in field.shape.iter().skip(1) {
                let size = size.as_int().and_then(|size| u32::try_from(size).ok());
                bits = size.and_then(|size| bits.checked_mul(size)).ok_or_else(narrow)?;
            }
            if bits % 8 != 0 {
                return Err(narrow());
            }
            sizes.push((id, bits / 8));
        }
        Ok(sizes)
    }
    /// Bytes of a record.
    ///
    /// # Errors
    /// Those of [`Format::field_bytes`], and a record of 4 GiB or more.
    pub fn record_bytes(&self) -> Result<u32, String> {
        let sizes = self.field_bytes()?;
        let total = sizes.iter().try_fold(0_u32, |total, (_, bytes)| total.checked_add(*bytes));
        total.ok_or_else(|| format!("a record of `{}` is larger than 4 GiB", self.name))
    }
}
