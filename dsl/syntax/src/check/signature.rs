//! Signatures: dims, types, requirements, defaults.
//!
//! In: the signature as parsed. Out: the heading of a graph-IR function, the names it puts in scope, the facts its `where`
//! clause gives.

use super::elab::{ClosureUse, Elab, Facts};
use super::formula::Formula;
use super::items::{Output, Parameter, ParameterKind};
use super::scope::{Binding, Record, Role, similar};
use crate::ast::{
    Argument, BinaryOp, Dim, DimKind, Expr, ExprKind, Field, Name, Param, ParamType, Promise, Signature, Type,
    TypeClass,
};
use crate::errors::{Diagnostic, Loc, Problem};
use sawmill_ir::dtype::{DType, Kind};
use sawmill_ir::graph::{
    ClosureParam, Dim as IrDim, DimKind as IrDimKind, Elem, Input, Param as IrParam, Require, Tensor, TensorKind,
    TypeParam,
};
use sawmill_ir::index::{Atom, DimId, Index, TensorId};

impl Elab<'_> {
    /// Checks a signature; names are in scope afterwards.
    pub(crate) fn signature(&mut self, signature: &Signature) -> (Vec<Parameter>, Vec<Output>) {
        self.function.name = signature.name.text.clone();
        self.dims(&signature.dims);
        let params = signature.params.iter().filter_map(|param| self.parameter(param)).collect();
        let outputs = signature.outputs.iter().filter_map(|output| self.output(output)).collect();
        for requirement in &signature.requirements {
            self.requirement(requirement);
        }
        for param in &signature.params {
            self.default(param);
        }
        (params, outputs)
    }

    /// Declares the names of `<..>`.
    pub(crate) fn dims(&mut self, dims: &[Dim]) {
        for dim in dims {
            if !self.is_free(&dim.name) {
                continue;
            }
            let binding = match dim.kind {
                DimKind::Type(class) => {
                    let number =
                        u32::try_from(self.function.type_params.len()).expect("invariant: few type parameters");
                    let int = class == TypeClass::Int;
                    self.function.type_params.push(TypeParam { name: dim.name.text.clone(), int });
                    Binding::TypeParam(number)
                }
                DimKind::Size => Binding::Dim(self.new_dim(&dim.name.text, IrDimKind::Run)),
                DimKind::Const(default) => Binding::Dim(self.new_dim(&dim.name.text, IrDimKind::Const(default))),
            };
            self.scope.add(&dim.name, Role::Dim, binding);
        }
    }

    fn new_dim(&mut self, name: &str, kind: IrDimKind) -> DimId {
        self.function.dims.push(IrDim { name: name.to_string(), kind })
    }

    /// Reports a name of the signature that is there already.
    fn is_free(&mut self, name: &Name) -> bool {
        let Some(entry) = self.scope.get(&name.text) else { return true };
        let (by, first) = (entry.role.text().to_string(), Loc::at(entry.span));
        let problem = Problem::Taken { name: name.text.clone(), by, help: "names of a signature are distinct".into() };
        self.errors.push(Diagnostic::new(name.loc(), problem).with_note(first, "the first one"));
        false
    }

    fn parameter(&mut self, param: &Param) -> Option<Parameter> {
        if !self.is_free(&param.name) {
            return None;
        }
        let name = param.name.text.clone();
        let kind = match &param.ty {
            ParamType::Closure(ty) => {
                let result = self.dtype(&ty.result).unwrap_or(DType::F32).widened();
                let closure = ClosureParam { name: name.clone(), params: Vec::new(), result, default: None };
                let id = self.function.closures.push(closure);
                let params = ty.params.iter().map(|p| p.text.clone()).collect();
                self.closures.push(ClosureUse { params, given: None });
                self.function.params.push(IrParam::Closure(id));
                self.scope.add(&param.name, Role::Argument, Binding::Closure(id));
                ParameterKind::Closure(id)
            }
            ParamType::Value(ty) => {
                let kind = self.value_parameter(&param.name, ty);
                if kind.is_none() {
                    self.scope.add(&param.name, Role::Argument, Binding::Poison);
                }
                kind?
            }
        };
        Some(Parameter { name, optional: param.default.is_some(), kind })
    }

    fn value_parameter(&mut self, name: &Name, ty: &Type) -> Option<ParameterKind> {
        match ty {
            Type::Tensor { element, axes, promise } => {
                let elem = self.element(element)?;
                let shape = self.shape(axes)?;
                let promise = self.promised(promise.as_deref());
                let id = self.input(&name.text, elem, shape, Input { promise, ..Input::default() });
                self.scope.add(name, Role::Argument, Binding::Tensor(id));
                Some(ParameterKind::Tensor(id))
            }
            Type::Record { name: ty, args } => {
                let record =
                    Record { prefix: name.text.clone(), ty: ty.text.clone(), at: Vec::new(), lens: Vec::new() };
                self.record_parameter(name, ty, args, record, Loc::at(name.span))
            }
            Type::List { loc, .. } => {
                let (item, lengths) = ty.innermost();
                let lens: Vec<Index> = lengths.into_iter().map(|len| self.size(len)).collect::<Option<_>>()?;
                let record = |ty: &str| Record { prefix: name.text.clone(), ty: ty.into(), at: Vec::new(), lens };
                match item {
                    Type::Record { name: ty, args } => self.record_parameter(name, ty, args, record(&ty.text), *loc),
                    item => self.tensors_parameter(name, item, record("")),
                }
            }
        }
    }

    /// A list of tensors.
    fn tensors_parameter(&mut self, name: &Name, item: &Type, record: Record) -> Option<ParameterKind> {
        let id = self.listed(&name.text, item, None, &record.lens)?;
        let lists = record.lens.len();
        self.scope.add(name, Role::Argument, Binding::Record(record));
        let fields = vec![(String::new(), id)];
        Some(ParameterKind::Record { ty: String::new(), lists, cache: false, fields })
    }

    /// The range that the values of an argument are promised to lie in.
    fn promised(&mut self, promise: Option<&Promise>) -> Option<(Index, Index)> {
        let promise = promise?;
        if let Some(span) = promise.ascending {
            self.errors.report(Loc::at(span), Problem::NotBuilt { what: "`ascending`".into() });
        }
        Some((self.size(&promise.range.lo)?, self.size(&promise.range.hi)?))
    }

    fn record_parameter(
        &mut self,
        name: &Name,
        ty: &Name,
        args: &[Name],
        record: Record,
        loc: Loc,
    ) -> Option<ParameterKind> {
        let (lists, cache) = (record.lens.len(), self.items.caches.contains_key(&ty.text));
        if cache && lists > 1 {
            self.errors.report(loc, Problem::NotBuilt { what: "a list of lists of caches".into() });
            return None;
        }
        let mut fields = Vec::new();
        self.record(&record.prefix, ty, args, &record.lens, loc, &mut fields)?;
        self.scope.add(name, Role::Argument, Binding::Record(record));
        let skip = name.text.len() + 1;
        let fields =
            fields.into_iter().map(|(dotted, id): (String, TensorId)| (dotted[skip..].to_string(), id)).collect();
        Some(ParameterKind::Record { ty: ty.text.clone(), lists, cache, fields })
    }

    /// Checks a struct or cache by itself.
    pub(crate) fn declared_record(&mut self, name: &Name, dims: &[Dim]) {
        self.dims(dims);
        let args: Vec<Name> = dims.iter().map(|dim| dim.name.clone()).collect();
        let _ = self.record("self", name, &args, &[], name.loc(), &mut Vec::new());
    }

    /// Declares the tensors of a struct or cache.
    fn record(
        &mut self,
        prefix: &str,
        ty: &Name,
        args: &[Name],
        lens: &[Index],
        loc: Loc,
        found: &mut Vec<(String, TensorId)>,
    ) -> Option<()> {
        let items = self.items;
        let (dims, fields, grow) = if let Some(cache) = items.caches.get(&ty.text) {
            (&cache.dims, &cache.fields, Some(&cache.grow))
        } else if let Some(record) = items.structs.get(&ty.text) {
            (&record.dims, &record.fields, None)
        } else {
            let help = similar(&ty.text, items.structs.keys().chain(items.caches.keys()).map(String::as_str));
            self.errors
                .report(ty.loc(), Problem::Unknown { what: "struct or cache".into(), name: ty.text.clone(), help });
            return None;
        };
        if dims.len() != args.len() {
            let wanted = format!("{} names in `<..>`", dims.len());
            self.errors.report(ty.loc(), Problem::Arguments { name: ty.text.clone(), wanted, found: args.len() });
            return None;
        }
        let bindings: Option<Vec<Binding>> = dims
            .iter()
            .zip(args)
            .map(|(dim, arg)| self.record_arg(arg, matches!(dim.kind, DimKind::Type(_))))
            .collect();
        let mark = self.scope.mark();
        for (dim, binding) in dims.iter().zip(bindings?) {
            self.scope.add(&dim.name, Role::Dim, binding);
        }
        if let Some(grow) = grow {
            let length = self.new_dim(&format!("{prefix}.len"), IrDimKind::Run);
            self.lengths.insert(prefix.to_string(), Index::dim(length));
            self.scope.add(grow, Role::Dim, Binding::Dim(length));
        }
        for field in fields {
            self.field(prefix, field, grow, lens, loc, found);
        }
        self.scope.leave(mark);
        Some(())
    }

    /// What a struct's dim or type parameter is given.
    fn record_arg(&mut self, arg: &Name, is_type: bool) -> Option<Binding> {
        match self.scope.get(&arg.text).map(|entry| entry.binding.clone()) {
            Some(binding @ Binding::Dim(_)) if !is_type => return Some(binding),
            Some(binding @ (Binding::TypeParam(_) | Binding::Elem(_))) if is_type => return Some(binding),
            _ => {}
        }
        if is_type {
            return self.element(arg).map(Binding::Elem);
        }
        let help = format!("declare it: `<.., {}>`", arg.text);
        self.errors.report(arg.loc(), Problem::Unknown { what: "dim".into(), name: arg.text.clone(), help });
        None
    }

    fn field(
        &mut self,
        prefix: &str,
        field: &Field,
        grow: Option<&Name>,
        lens: &[Index],
        loc: Loc,
        found: &mut Vec<(String, TensorId)>,
    ) {
        let dotted = format!("{prefix}.{}", field.name.text);
        let (item, lengths) = field.ty.innermost();
        let mut around = lens.to_vec();
        for length in lengths {
            let Some(length) = self.size(length) else { return };
            around.push(length);
        }
        match item {
            Type::Record { name, args } => {
                let loc = if let Type::List { loc, .. } = &field.ty { *loc } else { loc };
                let _ = self.record(&dotted, name, args, &around, loc, found);
            }
            item => found.extend(self.listed(&dotted, item, grow, &around).map(|id| (dotted, id))),
        }
    }

    /// An argument that is a tensor in lists of these lengths.
    fn listed(&mut self, name: &str, ty: &Type, grow: Option<&Name>, lens: &[Index]) -> Option<TensorId> {
        let Type::Tensor { element, axes, promise } = ty else { return None };
        let (elem, shape) = (self.element(element)?, self.shape(axes)?);
        let promise = self.promised(promise.as_deref());
        let is_grow = |axis: &Expr| matches!((&axis.kind, grow), (ExprKind::Name(n), Some(g)) if n.text == g.text);
        let grows = axes.iter().position(is_grow).map(|at| at + lens.len()).and_then(|at| u32::try_from(at).ok());
        let shape = lens.iter().cloned().chain(shape).collect();
        let lists = u32::try_from(lens.len()).ok()?;
        let id = self.input(name, elem, shape, Input { lists, grows, promise, ..Input::default() });
        self.fields.insert(name.to_string(), id);
        Some(id)
    }

    pub(crate) fn input(&mut self, name: &str, elem: Elem, shape: Vec<Index>, input: Input) -> TensorId {
        let bounds = input.promise.clone();
        let tensor = Tensor { name: name.to_string(), elem, shape, kind: TensorKind::Input(input) };
        let id = self.function.tensors.push(tensor);
        self.function.params.push(IrParam::Tensor(id));
        self.tensors.insert(id, Facts { presence: Formula::True, axes: Vec::new(), exact: None, bounds });
        id
    }

    fn output(&mut self, output: &Field) -> Option<Output> {
        if !self.is_free(&output.name) {
            return None;
        }
        let declared = self.declared_output(output);
        let binding = if declared.is_some() { Binding::Open } else { Binding::Poison };
        self.scope.add(&output.name, Role::Output, binding);
        declared
    }

    fn declared_output(&mut self, output: &Field) -> Option<Output> {
        let Type::Tensor { element, axes, promise } = &output.ty else {
            self.errors.report(output.name.loc(), Problem::OutputSort { name: output.name.text.clone() });
            return None;
        };
        let promise = self.promised(promise.as_deref());
        Some(Output { name: output.name.text.clone(), elem: self.element(element)?, shape: self.shape(axes)?, promise })
    }

    /// The element type called `name`: a dtype, a type parameter or a format.
    pub(crate) fn element(&mut self, name: &Name) -> Option<Elem> {
        match self.scope.get(&name.text).map(|entry| &entry.binding) {
            Some(Binding::TypeParam(number)) => return Some(Elem::Param(*number)),
            Some(Binding::Elem(elem)) => return Some(elem.clone()),
            _ => {}
        }
        if self.items.formats.contains_key(&name.text) {
            return Some(Elem::Format(name.text.clone()));
        }
        self.dtype(name).map(Elem::Type)
    }

    /// The dtype called `name`.
    pub(crate) fn dtype(&mut self, name: &Name) -> Option<DType> {
        match DType::from_text(&name.text) {
            Some(dtype) if dtype.kind() == Kind::Complex => {
                self.errors.report(name.loc(), Problem::NotBuilt { what: format!("`{dtype}`") });
                None
            }
            Some(dtype) => Some(dtype),
            None => {
                let help = similar(&name.text, DType::ALL.iter().map(|d| d.text()));
                self.errors
                    .report(name.loc(), Problem::Unknown { what: "dtype".into(), name: name.text.clone(), help });
                None
            }
        }
    }

    pub(crate) fn shape(&mut self, axes: &[Expr]) -> Option<Vec<Index>> {
        let sizes: Vec<Option<Index>> = axes.iter().map(|axis| self.size(axis)).collect();
        sizes.into_iter().collect()
    }

    /// An integer expression over dims and integer scalars.
    pub(crate) fn size(&mut self, expr: &Expr) -> Option<Index> {
        if let Some(name) = self.unknown_name(expr) {
            let help = format!("declare the dim: `<.., {}>`", name.text);
            self.errors.report(name.loc(), Problem::Unknown { what: "dim".into(), name: name.text, help });
            return None;
        }
        let size = self.exact_of(expr);
        if size.is_none() {
            self.errors.report(expr.loc, Problem::NotASize);
        }
        size
    }

    fn unknown_name(&self, expr: &Expr) -> Option<Name> {
        match &expr.kind {
            ExprKind::Name(name) if self.scope.get(&name.text).is_none() => Some(name.clone()),
            ExprKind::Binary(_, _, a, b) => self.unknown_name(a).or_else(|| self.unknown_name(b)),
            ExprKind::Unary(_, a) => self.unknown_name(a),
            _ => None,
        }
    }

    /// Takes a requirement into the function and into the facts.
    pub(crate) fn requirement(&mut self, expr: &Expr) {
        let ExprKind::Binary(op, _, a, b) = &expr.kind else {
            self.errors.report(expr.loc, Problem::NotARequirement);
            return;
        };
        if *op == BinaryOp::And {
            self.requirement(a);
            self.requirement(b);
            return;
        }
        let known = [BinaryOp::Eq, BinaryOp::Lt, BinaryOp::Le, BinaryOp::Gt, BinaryOp::Ge];
        if !known.contains(op) {
            self.errors.report(expr.loc, Problem::NotARequirement);
            return;
        }
        let (Some(a), Some(b)) = (self.size(a), self.size(b)) else { return };
        let one = Index::int(1);
        let require = match op {
            BinaryOp::Eq => {
                self.substitute_dim(&a, &b);
                self.facts.push(Formula::eq(&a, &b));
                self.function.requires.push(Require::Equal(a, b));
                return;
            }
            BinaryOp::Lt => b.sub(&a).sub(&one),
            BinaryOp::Le => b.sub(&a),
            BinaryOp::Gt => a.sub(&b).sub(&one),
            _ => a.sub(&b),
        };
        self.facts.push(Formula::NonNegative(require.clone()));
        self.function.requires.push(Require::NonNegative(require));
    }

    /// A lone dim on the left is replaced by the right side wherever sizes are compared.
    fn substitute_dim(&mut self, a: &Index, b: &Index) {
        let Some(Atom::Dim(dim)) = a.as_atom() else { return };
        let right = self.canon(b);
        let mut cyclic = self.sizes.contains_key(dim);
        right.for_each_atom(&mut |atom| cyclic |= *atom == Atom::Dim(*dim));
        if cyclic {
            return;
        }
        let dim = *dim;
        for value in self.sizes.values_mut() {
            *value = value.substitute(&mut |atom| (*atom == Atom::Dim(dim)).then(|| right.clone()));
        }
        self.sizes.insert(dim, right);
    }

    /// The default of a value parameter; closures follow once it is known what they are applied to.
    fn default(&mut self, param: &Param) {
        let Some(default) = &param.default else { return };
        let Some(Binding::Tensor(id)) = self.scope.get(&param.name.text).map(|entry| entry.binding.clone()) else {
            let is_closure = matches!(param.ty, ParamType::Closure(_));
            if is_closure != matches!(default, Argument::Closure(_)) {
                let wanted = if is_closure { "a closure: `|i, j| ..`" } else { "a value" };
                let problem = Problem::ArgumentSort { name: param.name.text.clone(), wanted: wanted.into() };
                self.errors.report(default.loc(), problem);
            } else if !is_closure && matches!(param.ty, ParamType::Value(Type::Record { .. } | Type::List { .. })) {
                let why = "a struct or cache has no default".to_string();
                self.errors.report(default.loc(), Problem::BadDefault { why });
            }
            return;
        };
        let Argument::Expr(expr) = default else {
            let problem = Problem::ArgumentSort { name: param.name.text.clone(), wanted: "a value".into() };
            self.errors.report(default.loc(), problem);
            return;
        };
        let value = self.value(expr);
        let elem = self.function.tensors[id].elem.clone();
        let term = self.written(&value, &elem, &param.name.text);
        if let TensorKind::Input(input) = &mut self.function.tensors[id].kind {
            input.default = Some(term);
        }
    }
}
