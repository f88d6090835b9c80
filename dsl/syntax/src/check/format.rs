//! Packed formats: an equation over stored fields, for one row.

use super::compact::compact;
use super::elab::Elab;
use super::items::Items;
use super::scope::{Binding, Role};
use crate::ast::{DimKind, Format, Type};
use crate::errors::{Diagnostics, Problem};
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::{Format as IrFormat, Input, Op, Require, Stmt, Tensor, TensorKind, TermId};
use sawmill_ir::index::{Atom, DimId, Index, TensorId};

/// Checks a format and lowers its equation.
pub(crate) fn check_format(items: &Items, source: &Format, errors: &mut Diagnostics) -> Option<IrFormat> {
    let known = errors.list().len();
    let mut elab = Elab::new(items, errors);
    elab.function.name = source.name.text.clone();
    elab.dims(&source.dims);
    let row = elab.row_dim(source)?;
    for requirement in &source.requirements {
        elab.requirement(requirement);
    }
    let record_values = elab.record_values(source, row);
    for field in &source.fields {
        elab.format_field(&field.name, &field.ty, row, record_values);
    }
    elab.format_value(source, row);
    let mut function = std::mem::take(&mut elab.function);
    function.body = std::mem::take(&mut elab.body);
    if errors.list().len() > known {
        return None;
    }
    compact(&mut function);
    Some(IrFormat { name: source.name.text.clone(), value: function, record_values: record_values? })
}

impl Elab<'_> {
    /// The one dim of a format.
    fn row_dim(&mut self, source: &Format) -> Option<DimId> {
        match source.dims.as_slice() {
            [dim] if dim.kind == DimKind::Size => self.function.dims.keys().next(),
            _ => {
                let wanted = "one dim, the length of a row".to_string();
                let problem = Problem::Arguments { name: source.name.text.clone(), wanted, found: source.dims.len() };
                self.errors.report(source.name.loc(), problem);
                None
            }
        }
    }

    /// How many values a record holds: the `n` of the requirement `K % n == 0`, or 1.
    fn record_values(&mut self, source: &Format, row: DimId) -> Option<u32> {
        let mut values = 1;
        for require in &self.function.requires {
            let by = match require {
                Require::Equal(a, b) if b.as_int() == Some(0) => divisor(a, row),
                _ => None,
            };
            let Some(by) = by else {
                let help = "a format requires that records divide the row".to_string();
                let problem =
                    Problem::Expected { what: "`K % 32 == 0`".into(), found: "another requirement".into(), help };
                self.errors.report(source.name.loc(), problem);
                return None;
            };
            values = by;
        }
        Some(values)
    }

    fn format_field(&mut self, name: &crate::ast::Name, ty: &Type, row: DimId, record_values: Option<u32>) {
        let binding = self.field_tensor(name, ty, row, record_values).map_or(Binding::Poison, Binding::Tensor);
        self.scope.add(name, Role::Argument, binding);
    }

    fn field_tensor(
        &mut self,
        name: &crate::ast::Name,
        ty: &Type,
        row: DimId,
        record_values: Option<u32>,
    ) -> Option<TensorId> {
        let Type::Tensor { element, axes, .. } = ty else {
            self.errors.report(name.loc(), Problem::NotBuilt { what: "a struct in a format".into() });
            return None;
        };
        let (elem, shape, values) = (self.element(element)?, self.shape(axes)?, record_values?);
        let records = Index::dim(row).div(&Index::int(i64::from(values)));
        if let ([size], Some(each)) = (shape.as_slice(), self.part_of_record(&shape, row, values)) {
            debug_assert!(*size != records, "one element a record is no part");
            let id = self.input(&name.text, elem, vec![records, Index::int(each)], Input::default());
            self.row_fields.insert(id, each);
            return Some(id);
        }
        if shape.first() != Some(&records) {
            let records = self.show(&records);
            self.errors.report(name.loc(), Problem::FormatLayout { field: name.text.clone(), records });
            return None;
        }
        Some(self.input(&name.text, elem, shape, Input::default()))
    }

    /// Of a field over the row, `q: u4[K]` or `s: u8[K / 16]`: how many of its elements belong to a record.
    fn part_of_record(&self, shape: &[Index], row: DimId, values: u32) -> Option<i64> {
        let [size] = shape else { return None };
        let each = match size.as_atom()? {
            Atom::Dim(dim) if *dim == row => 1,
            Atom::Div(of, by) if **of == Index::dim(row) => by.as_int()?,
            _ => return None,
        };
        let values = i64::from(values);
        (each > 0 && values % each == 0 && values > each).then(|| values / each)
    }

    /// The equation: the closure's body with its position as the axis of the output.
    fn format_value(&mut self, source: &Format, row: DimId) {
        let closure = &source.value;
        let [Some(position)] = closure.params.as_slice() else {
            let wanted = "a closure of one parameter, the position in the row".to_string();
            let problem = Problem::Arguments { name: source.name.text.clone(), wanted, found: closure.params.len() };
            self.errors.report(closure.loc, problem);
            return;
        };
        let bound = self.bind_axis(position, Index::int(0), Index::dim(row));
        let value = self.value(&closure.body);
        self.present(&value, "the value of a format");
        let term: TermId = self.written(&value, &sawmill_ir::graph::Elem::Type(DType::F32), &source.name.text);
        let kind = TensorKind::Def { axes: vec![bound.axis], value: term, rounded: false };
        let elem = sawmill_ir::graph::Elem::Type(DType::F32);
        let tensor = Tensor { name: "value".into(), elem, shape: vec![Index::dim(row)], kind };
        let id = self.define(tensor);
        self.function.outputs.push(id);
        let reduces =
            self.function.terms.values().any(|term| matches!(term.op, Op::Reduce { .. } | Op::Softmax { .. }));
        let plain = matches!(self.body.as_slice(), [Stmt::Define(_)]);
        if reduces || !plain {
            self.errors
                .report(closure.loc, Problem::NotBuilt { what: "a format that is no elementwise equation".into() });
        }
    }
}

/// The `n` of `row % n`.
fn divisor(value: &Index, row: DimId) -> Option<u32> {
    match value.as_atom()? {
        Atom::Rem(of, by) if **of == Index::dim(row) => u32::try_from(by.as_int()?).ok().filter(|by| *by > 0),
        _ => None,
    }
}
