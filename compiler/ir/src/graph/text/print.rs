//! Prints graph IR.
//!
//! In: a module, well formed or not. Out: its text. A term used more than once is written at its first use as `%1 = ..` and
//! then named. A type is written where it is not what the tables give. What is malformed (an axis out of scope, an unknown
//! id) prints as its id, which does not parse.

use super::MAX_DEPTH;
use super::lex::spell;
use super::names::Names;
use crate::dtype::DType;
use crate::entity::Entity;
use crate::graph::typing::{Scope, infer, reduce_dtype};
use crate::graph::{
    Arg, CallResult, Closure, Component, Const, Dim, DimKind, Elem, Format, Function, Input, Loop, Module, Op, Param,
    Repair, Require, Stmt, TensorKind, Term, TermId,
};
use crate::index::{Atom, AxisId, Index, TensorId};
use rustc_hash::FxHashMap;
use std::fmt;

/// The text of a module.
pub fn print(module: &Module) -> String {
    let formats = module.formats.iter().map(print_format);
    let functions = module.functions.iter().map(print_function);
    formats.chain(functions).collect::<Vec<_>>().join("\n")
}

/// The text of one function.
pub fn print_function(function: &Function) -> String {
    Printer::new(function).function()
}

/// The text of an integer expression over a function's dims and arguments.
pub fn print_index(function: &Function, index: &Index) -> String {
    Printer::new(function).index(index)
}

fn print_format(format: &Format) -> String {
    let name = spell(&format.name, false);
    format!("format {name} of {} = {}", format.record_values, print_function(&format.value))
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self))
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print_function(self))
    }
}

struct Printer<'a> {
    function: &'a Function,
    dims: Vec<String>,
    types: Vec<String>,
    tensors: Vec<String>,
    closures: Vec<String>,
    /// Spellings of dims, axes in scope and parameters in scope: they meet in integer expressions.
    positions: Names,
    axes: FxHashMap<AxisId, String>,
    /// Parameters of the closures around, outermost first, with their types.
    params: Vec<Vec<String>>,
    scopes: Vec<Scope>,
    uses: Vec<u32>,
    labels: FxHashMap<TermId, usize>,
    depth: u32,
}

impl<'a> Printer<'a> {
    fn new(function: &'a Function) -> Self {
        let mut positions = Names::default();
        let dims = function.dims.values().map(|d| positions.take(&d.name)).collect();
        let mut types = Names::default();
        let mut closures = Names::default();
        Self {
            function,
            dims,
            types: function.type_params.iter().map(|t| types.take(&t.name)).collect(),
            tensors: tensor_names(function),
            closures: function.closures.values().map(|c| closures.take(&c.name)).collect(),
            positions,
            axes: FxHashMap::default(),
            params: Vec::new(),
            scopes: vec![Scope::default()],
            uses: count_uses(function),
            labels: FxHashMap::default(),
            depth: 0,
        }
    }

    fn function(&mut self) -> String {
        let function = self.function;
        let mut text = format!("fn {}{}(", spell(&function.name, false), self.generics());
        for param in &function.params {
            let param = match param {
                Param::Tensor(tensor) => self.input(*tensor),
                Param::Closure(closure) => self.closure_param(closure.index()),
            };
            text += &format!("\n    {param},");
        }
        let outputs: Vec<String> = function.outputs.iter().map(|o| self.tensor(*o)).collect();
        let newline = if function.params.is_empty() { "" } else { "\n" };
        text += &format!("{newline}) -> ({})", outputs.join(", "));
        let requires: Vec<String> = function.requires.iter().map(|r| self.require(r)).collect();
        if !requires.is_empty() {
            text += &format!("\nwhere {}", requires.join(", "));
        }
        text += "\n{\n";
        for stmt in &function.body {
            self.stmt(stmt, 1, &mut text);
        }
        text + "}\n"
    }
    fn generics(&self) -> String {
        let dim = |(dim, name): (&Dim, &String)| match dim.kind {
            DimKind::Run => name.clone(),
            DimKind::Const(None) => format!("const {name}"),
            DimKind::Const(Some(value)) => format!("const {name} = {value}"),
        };
        let dims = self.function.dims.values().zip(&self.dims).map(dim);
        let types = self.function.type_params.iter().zip(&self.types);
        let types = types.map(|(t, name)| format!("type {name}: {}", if t.int { "int" } else { "float" }));
        let all: Vec<String> = dims.chain(types).collect();
        if all.is_empty() { String::new() } else { format!("<{}>", all.join(", ")) }
    }
    fn require(&self, require: &Require) -> String {
        match require {
            Require::Equal(a, b) => format!("{} == {}", self.index(a), self.index(b)),
            Require::NonNegative(a) => format!("{} >= 0", self.index(a)),
        }
    }
    fn input(&mut self, id: TensorId) -> String {
        let Some(tensor) = self.function.tensors.get(id) else { return id.to_string() };
        let mut text = format!("{}: {}{}", self.tensor(id), self.elem(&tensor.elem), self.shape(&tensor.shape));
        if let TensorKind::Input(input) = &tensor.kind {
            text += &self.attributes(input);
        }
        text
    }
    fn attributes(&mut self, input: &Input) -> String {
        let mut text = String::new();
        if let Some((low, high)) = &input.promise {
            text += &format!(" in {}..{}", self.index(low), self.index(high));
        }
        match input.lists {
            0 => {}
            1 => text += " list",
            levels => text += &format!(" list {levels}"),
        }
        if let Some(dim) = input.grows {
            text += &format!(" grows {dim}");
        }
        if let Some(field) = &input.field {
            let (of, format) = (spell(&field.of, false), spell(&field.format, false));
            text += &format!(" field {of} {format}({}, {}, {})", field.offset, field.record, field.record_dim);
        }
        if let Some(default) = input.default {
            text += &format!(" = {}", self.term(default));
        }
        text
    }
    fn closure_param(&mut self, at: usize) -> String {
        let function = self.function;
        let Some(closure) = function.closures.values().nth(at) else { return format!("c{at}") };
        let params: Vec<&str> = closure.params.iter().map(|p| p.text()).collect();
        let mut text = format!("{}: fn({}) -> {}", self.closures[at], params.join(", "), closure.result);
        if let Some(default) = &closure.default {
            text += &format!(" = {}", self.closure(default, closure.params.clone()));
        }
        text
    }
    fn closure(&mut self, closure: &Closure, types: Vec<DType>) -> String {
        let params: Vec<String> = closure.params.iter().map(|p| self.positions.take(p)).collect();
        let head = format!("|{}| ", params.join(", "));
        self.params.push(params);
        self.scopes.push(Scope { closure: types, ..Scope::default() });
        let text = head + &self.term(closure.body);
        self.scopes.pop();
        for name in self.params.pop().unwrap_or_default() {
            self.positions.free(&name);
        }
        text
    }

    fn stmt(&mut self, stmt: &Stmt, depth: usize, text: &mut String) {
        let indent = "    ".repeat(depth);
        match stmt {
            Stmt::Define(tensor) => *text += &format!("{indent}{}\n", self.define(*tensor)),
            Stmt::Loop(steps) => self.steps(steps, depth, text),
        }
    }
    fn define(&mut self, id: TensorId) -> String {
        let Some(tensor) = self.function.tensors.get(id) else { return format!("let {id};") };
        let name = self.tensor(id);
        match &tensor.kind {
            TensorKind::Def { axes, value, rounded } => {
                let (binders, bound) = self.bind(axes);
                let natural = self.function.terms.get(*value).map(|t| Elem::Type(t.dtype));
                let elem = match natural {
                    Some(natural) if natural == tensor.elem => String::new(),
                    _ => format!(": {}", self.elem(&tensor.elem)),
                };
                let rounded = if *rounded { " rounded" } else { "" };
                let text = format!("let {name}[{binders}]{elem}{rounded} = {};", self.term(*value));
                self.unbind(&bound);
                text
            }
            TensorKind::Append { base, at, dim, axes, value } => {
                let at = if at.is_empty() { String::new() } else { format!("[{}]", self.subs(at)) };
                let base = self.tensor(*base);
                let (binders, bound) = self.bind(axes);
                let text = format!("append {name}[{binders}] to {base}{at} dim {dim} = {};", self.term(*value));
                self.unbind(&bound);
                text
            }
            TensorKind::Input(_) | TensorKind::Carry | TensorKind::Final => format!("let {name};"),
        }
    }
    fn steps(&mut self, steps: &Loop, depth: usize, text: &mut String) {
        let indent = "    ".repeat(depth);
        let (binder, bound) = self.bind(std::slice::from_ref(&steps.index));
        let carry = |c: &crate::graph::Carry| {
            let elem = self.function.tensors.get(c.inside).map(|t| self.elem(&t.elem)).unwrap_or_default();
            format!("{}: {elem} = {}", self.tensor(c.inside), self.tensor(c.init))
        };
        let carries: Vec<String> = steps.carries.iter().map(carry).collect();
        let finals = steps.carries.iter().map(|c| format!("{} = {}", self.tensor(c.result), self.tensor(c.next)));
        let finals: Vec<String> = finals.collect();
        let (head, foot) = if carries.is_empty() {
            (String::new(), String::new())
        } else {
            (format!(" carry {}", carries.join(", ")), format!(" final {};", finals.join(", ")))
        };
        let rev = if steps.rev { " rev" } else { "" };
        *text += &format!("{indent}for {binder}{rev}{head} {{\n");
        for stmt in &steps.body {
            self.stmt(stmt, depth + 1, text);
        }
        *text += &format!("{indent}}}{foot}\n");
        self.unbind(&bound);
    }

    /// Binders for `axes`; those already in scope (collected over a loop's axis) are only named.
    fn bind(&mut self, axes: &[AxisId]) -> (String, Vec<AxisId>) {
        let mut parts = Vec::new();
        let mut bound = Vec::new();
        for axis in axes {
            if let Some(name) = self.axes.get(axis) {
                parts.push(name.clone());
                continue;
            }
            let Some(data) = self.function.axes.get(*axis) else {
                parts.push(axis.to_string());
                continue;
            };
            let extent = self.index(&data.extent);
            let name = self.positions.take(&data.name);
            parts.push(format!("{name} in {extent}"));
            self.axes.insert(*axis, name);
            bound.push(*axis);
        }
        (parts.join(", "), bound)
    }
    fn unbind(&mut self, axes: &[AxisId]) {
        for axis in axes {
            if let Some(name) = self.axes.remove(axis) {
                self.positions.free(&name);
            }
        }
    }

    fn term(&mut self, id: TermId) -> String {
        let function = self.function;
        let Some(term) = function.terms.get(id) else { return id.to_string() };
        if let Some(label) = self.labels.get(&id) {
            return format!("%{label}");
        }
        if self.depth == MAX_DEPTH {
            return "too deep".to_owned();
        }
        let mut head = String::new();
        if self.uses[id.index()] > 1 && !term.args.is_empty() {
            let label = self.labels.len() + 1;
            self.labels.insert(id, label);
            head = format!("%{label} = ");
        }
        self.depth += 1;
        let body = self.operation(term);
        self.depth -= 1;
        let scope = self.scopes.last().cloned().unwrap_or_default();
        let tail = match infer(function, &term.op, &term.args, &scope) {
            Ok(dtype) if dtype == term.dtype => String::new(),
            _ => format!(":{}", term.dtype),
        };
        head + &body + &tail
    }
    fn terms(&mut self, ids: &[TermId]) -> String {
        ids.iter().map(|t| self.term(*t)).collect::<Vec<_>>().join(", ")
    }
    fn operation(&mut self, term: &Term) -> String {
        let args = &term.args;
        match &term.op {
            Op::Const(value) => constant(*value),
            Op::Index(index) => format!("#{}", index.print_tight(&|a| self.atom(a))),
            Op::Read { tensor, subs, guarded } => {
                let guard = if *guarded { "?" } else { "" };
                format!("{}{guard}[{}]", self.tensor(*tensor), self.subs(subs))
            }
            Op::Elem(op) => format!("{op}({})", self.terms(args)),
            Op::RoundParam(at) => format!("{}[{}]({})", term.op.text(), self.elem(&Elem::Param(*at)), self.terms(args)),
            Op::Cast(to) | Op::Round(to) => format!("{}[{to}]({})", term.op.text(), self.terms(args)),
            Op::Where | Op::OrElse => format!("{}({})", term.op.text(), self.terms(args)),
            Op::Reduce { op, axes, segment } => {
                let segment = segment.as_ref().map(|(t, at)| format!("; {}[{}]", self.tensor(*t), self.index(at)));
                let (binders, bound) = self.bind(axes);
                let text = format!("{op}[{binders}{}]({})", segment.unwrap_or_default(), self.terms(args));
                self.unbind(&bound);
                text
            }
            Op::Softmax { axes } => {
                let axes: Vec<String> = axes.iter().map(|a| self.axis(*a)).collect();
                format!("softmax[{}]({})", axes.join(", "), self.terms(args))
            }
            Op::Running { op, axis, rev, exclusive } => {
                let rev = if *rev { " rev" } else { "" };
                let exclusive = if *exclusive { " exclusive" } else { "" };
                format!("running[{op} {}{rev}{exclusive}]({})", self.axis(*axis), self.terms(args))
            }
            Op::Call { .. } => self.call(term),
            Op::Apply(closure) => {
                let name = self.closures.get(closure.index()).cloned().unwrap_or_else(|| closure.to_string());
                format!("apply {name}({})", self.terms(args))
            }
            Op::ClosureParam(at) => self.param(*at),
            Op::Bind(_) => self.bound(args),
            Op::Fold { axes, components } => self.fold(axes, components, args),
            Op::Proj(at) => format!("proj[{at}]({})", self.terms(args)),
            Op::New(at) | Op::Old(at) => format!("{}[{at}]", term.op.text()),
        }
    }
    /// A position bound in the body of a closure, numbered after the parameters around.
    fn bound(&mut self, args: &[TermId]) -> String {
        let [value, body] = args else { return format!("bind({})", self.terms(args)) };
        let value = self.term(*value);
        let name = self.positions.take("at");
        self.params.push(vec![name.clone()]);
        let text = format!("bind[{name}]({value}, {})", self.term(*body));
        self.params.pop();
        self.positions.free(&name);
        text
    }
    fn call(&mut self, term: &Term) -> String {
        let Op::Call { function, output, subs, args, dims } = &term.op else { return String::new() };
        let output = match output {
            CallResult::Output(0) => String::new(),
            CallResult::Output(number) => format!("#{number}"),
            CallResult::After(name) => format!("#{}", spell(name, false)),
        };
        let mut given = Vec::new();
        for (name, arg) in args {
            let arg = match arg {
                Arg::Slice(tensor, fixed) => self.slice(*tensor, fixed),
                Arg::Scalar(at) => match term.args.get(*at as usize) {
                    Some(arg) => self.term(*arg),
                    None => format!("?{at}"),
                },
                Arg::Closure(closure) => self.closure(closure, Vec::new()),
            };
            given.push(format!("{} = {arg}", spell(name, false)));
        }
        let dims: Vec<String> =
            dims.iter().map(|(name, d)| format!("{} = {}", spell(name, false), self.index(d))).collect();
        let dims = if dims.is_empty() { String::new() } else { format!("; {}", dims.join(", ")) };
        format!("call {}{output}[{}]({}{dims})", spell(function, false), self.subs(subs), given.join(", "))
    }
    fn slice(&self, tensor: TensorId, fixed: &[Option<Index>]) -> String {
        let part = |sub: &Option<Index>| sub.as_ref().map_or_else(|| "..".to_owned(), |s| self.index(s));
        let parts: Vec<String> = fixed.iter().map(part).collect();
        format!("&{}[{}]", self.tensor(tensor), parts.join(", "))
    }
    fn fold(&mut self, axes: &[AxisId], components: &[Component], args: &[TermId]) -> String {
        let (binders, bound) = self.bind(axes);
        self.scopes.push(Scope::default());
        let mut repairs = args.iter().skip(components.len());
        let mut parts = Vec::new();
        for (component, element) in components.iter().zip(args) {
            let mut part = self.term(*element);
            let word = match component.repair {
                Repair::None => None,
                Repair::Scale => Some("scale"),
                Repair::Shift => Some("shift"),
            };
            if let Some(word) = word {
                let repair = repairs.next().map_or_else(|| "?".to_owned(), |r| self.term(*r));
                part += &format!(", {word}({repair})");
            }
            parts.push(format!("{}({part})", component.op));
            let element = self.function.terms.get(*element).map_or(DType::F32, |t| t.dtype);
            let dtype = reduce_dtype(component.op, element).unwrap_or(element);
            if let Some(scope) = self.scopes.last_mut() {
                scope.fold.push(dtype);
            }
        }
        self.scopes.pop();
        self.unbind(&bound);
        format!("fold[{binders}]({})", parts.join(", "))
    }

    fn tensor(&self, id: TensorId) -> String {
        self.tensors.get(id.index()).cloned().unwrap_or_else(|| id.to_string())
    }
    fn axis(&self, id: AxisId) -> String {
        self.axes.get(&id).cloned().unwrap_or_else(|| format!("?{id}"))
    }
    fn param(&self, at: u32) -> String {
        self.params.iter().flatten().nth(at as usize).cloned().unwrap_or_else(|| format!("?{at}"))
    }
    fn elem(&self, elem: &Elem) -> String {
        match elem {
            Elem::Type(dtype) => dtype.to_string(),
            Elem::Param(at) => self.types.get(*at as usize).cloned().unwrap_or_else(|| format!("?{at}")),
            Elem::Format(name) => spell(name, false),
        }
    }
    fn shape(&self, shape: &[Index]) -> String {
        if shape.is_empty() { String::new() } else { format!("[{}]", self.subs(shape)) }
    }
    fn subs(&self, subs: &[Index]) -> String {
        subs.iter().map(|s| self.index(s)).collect::<Vec<_>>().join(", ")
    }
    fn index(&self, index: &Index) -> String {
        index.print(&|a| self.atom(a))
    }
    fn atom(&self, atom: &Atom) -> String {
        match atom {
            Atom::Dim(dim) => self.dims.get(dim.index()).cloned().unwrap_or_else(|| dim.to_string()),
            Atom::Axis(axis) => self.axis(*axis),
            Atom::Param(at) => self.param(*at),
            Atom::Read(tensor, _) => self.tensor(*tensor),
            _ => String::new(),
        }
    }
}

fn constant(value: Const) -> String {
    match value {
        Const::Bool(value) => value.to_string(),
        Const::Int(value) => value.to_string(),
        Const::Float(bits) => {
            let value = f64::from_bits(bits);
            if value.is_nan() { "nan".to_owned() } else { format!("{value:?}") }
        }
    }
}

/// Arguments and outputs keep their names; the others give way.
fn tensor_names(function: &Function) -> Vec<String> {
    let is_input = |id: &TensorId| matches!(function.tensors[*id].kind, TensorKind::Input(_));
    let known = |id: &TensorId| function.tensors.get(*id).is_some();
    let inputs: Vec<TensorId> = function.tensors.keys().filter(is_input).collect();
    let outputs = function.outputs.iter().copied().filter(known);
    let order = inputs.into_iter().chain(outputs).chain(function.tensors.keys());
    let mut names = Names::default();
    let mut spelled = vec![String::new(); function.tensors.len()];
    for id in order {
        if spelled[id.index()].is_empty() {
            spelled[id.index()] = names.take(&function.tensors[id].name);
        }
    }
    spelled
}

/// How often each term is an operand of a term that is printed, or a root.
fn count_uses(function: &Function) -> Vec<u32> {
    let mut uses = vec![0_u32; function.terms.len()];
    let mut work = function.roots();
    while let Some(id) = work.pop() {
        let Some(count) = uses.get_mut(id.index()) else { continue };
        *count += 1;
        if *count > 1 {
            continue;
        }
        let term = &function.terms[id];
        work.extend(&term.args);
        term.op.for_each_closure(&mut |closure| work.push(closure.body));
    }
    uses
}
