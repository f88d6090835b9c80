//! Prints modules and kernels. Input: any module. Output: its text; of a verified module it parses back to an equal one.

use super::parse::quote;
use super::size::print_size;
use crate::dtype::DType;
use crate::entity::Entity as _;
use crate::graph::Const;
use crate::index::Index;
use crate::tile::{
    Access, AxisId, Buffer, BufferId, BufferKind, Inst, Kernel, Launch, MemId, Module, Op, Pad, Phase, Region, Step,
    Subscript, Value,
};
use std::fmt::Write as _;

/// The text of a module.
pub fn print(module: &Module) -> String {
    let mut out = Out::default();
    out.line(format!("tile {} {{", quote(&module.name)));
    out.indent += 1;
    out.names("dims", module.dims.values());
    for buffer in module.buffers.values() {
        out.line(buffer_line(module, buffer));
    }
    for kernel in &module.kernels {
        out.kernel(kernel);
    }
    out.line("plan {".to_owned());
    out.steps(module, &module.plan);
    out.line("}".to_owned());
    out.indent -= 1;
    out.line("}".to_owned());
    out.text
}

/// The text of one kernel, as it stands in a module.
pub fn print_kernel(kernel: &Kernel) -> String {
    let mut out = Out::default();
    out.kernel(kernel);
    out.text
}

/// A constant: floats have a point, an exponent or a name, so that they are told from integers.
pub(super) fn print_const(value: Const) -> String {
    match value {
        Const::Int(value) => value.to_string(),
        Const::Bool(value) => value.to_string(),
        Const::Float(bits) => {
            let value = f64::from_bits(bits);
            if value.is_nan() { format!("nan({bits})") } else { format!("{value:?}") }
        }
    }
}

fn buffer_line(module: &Module, buffer: &Buffer) -> String {
    let (kind, list) = match buffer.kind {
        BufferKind::Input { list } => ("input", list),
        BufferKind::InOut { list } => ("inout", list),
        BufferKind::Output => ("output", false),
        BufferKind::Temp => ("temp", false),
    };
    let shape: Vec<String> = buffer.shape.iter().map(|s| print_size(s, &module.dims)).collect();
    let list = if list { " list" } else { "" };
    format!("buffer {}: {}[{}] {kind}{list}", quote(&buffer.name), buffer.dtype, shape.join(", "))
}

fn list<T>(items: &[T], text: impl FnMut(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[derive(Default)]
struct Out {
    text: String,
    indent: usize,
}

impl Out {
    fn line(&mut self, line: String) {
        writeln!(self.text, "{:1$}{line}", "", self.indent * 2).expect("invariant: a string takes any text");
    }
    fn names<'a>(&mut self, what: &str, names: impl Iterator<Item = &'a String>) {
        let names: Vec<String> = names.map(|n| quote(n)).collect();
        if !names.is_empty() {
            self.line(format!("{what} {}", names.join(", ")));
        }
    }

    fn kernel(&mut self, kernel: &Kernel) {
        self.line(format!("kernel {} {{", quote(&kernel.name)));
        self.indent += 1;
        self.names("dims", kernel.dims.values());
        let size = |s: &Index| print_size(s, &kernel.dims);
        for memory in kernel.memory.values() {
            let access = match memory.access {
                Access::In => "in",
                Access::Out => "out",
                Access::Part => "part",
                Access::InOut => "inout",
            };
            let shape = list(&memory.shape, size);
            self.line(format!("memory {}: {}[{shape}] {access}", quote(&memory.name), memory.dtype));
        }
        let axes: Vec<String> = kernel.axes.values().map(|a| format!("{} = {}", quote(&a.name), a.extent)).collect();
        if !axes.is_empty() {
            self.line(format!("axes {}", axes.join(", ")));
        }
        if !kernel.grid.is_empty() {
            self.line(format!("grid {}", list(&kernel.grid, |(n, s)| format!("{} = {}", quote(n), size(s)))));
        }
        self.insts(kernel, &kernel.body.insts);
        self.indent -= 1;
        self.line("}".to_owned());
    }

    fn insts(&mut self, kernel: &Kernel, insts: &[Inst]) {
        for inst in insts {
            self.inst(kernel, inst);
        }
    }

    fn region(&mut self, kernel: &Kernel, region: &Region) {
        self.indent += 1;
        self.insts(kernel, &region.insts);
        if !region.yields.is_empty() {
            self.line(format!("yield {}", list(&region.yields, ToString::to_string)));
        }
        self.indent -= 1;
    }

    fn inst(&mut self, kernel: &Kernel, inst: &Inst) {
        let names = Names(kernel);
        let mut head = match inst.op {
            Op::Store { .. } => String::new(),
            _ if inst.results.is_empty() => String::new(),
            _ => format!("{} = ", list(&inst.results, |v| names.typed(*v))),
        };
        head.push_str(inst.op.text());
        let tail = attrs(inst);
        match &inst.op {
            Op::For { step, phases, params, body } => {
                self.line(format!("{head} {} {{", names.loop_head(*step, phases, params, &inst.args)));
                self.region(kernel, body);
                self.line(format!("}}{tail}"));
            }
            Op::If { then, otherwise } => {
                self.line(format!("{head} {} {{", list(&inst.args, ToString::to_string)));
                self.region(kernel, then);
                self.line("} else {".to_owned());
                self.region(kernel, otherwise);
                self.line(format!("}}{tail}"));
            }
            op => {
                let operands = names.operands(op, &inst.args);
                self.line(format!("{head} {operands}{tail}"));
            }
        }
    }

    fn steps(&mut self, module: &Module, steps: &[Step]) {
        self.indent += 1;
        for step in steps {
            self.step(module, step);
        }
        self.indent -= 1;
    }

    fn step(&mut self, module: &Module, step: &Step) {
        let size = |s: &Index| print_size(s, &module.dims);
        let buffer = |b: &BufferId| quote(&module.buffers[*b].name);
        match step {
            Step::Launch(launch) => self.line(launch_line(module, launch)),
            Step::Loop { var, count, body } => {
                self.line(format!("loop {} < {} {{", quote(&module.dims[*var]), size(count)));
                self.steps(module, body);
                self.line("}".to_owned());
            }
            Step::If { nonnegative, then, otherwise } => {
                self.line(format!("if {} {{", size(nonnegative)));
                self.steps(module, then);
                self.line("} else {".to_owned());
                self.steps(module, otherwise);
                self.line("}".to_owned());
            }
            Step::Swap(a, b) => self.line(format!("swap {}, {}", buffer(a), buffer(b))),
            Step::Scalar { dim, buffer: of } => {
                self.line(format!("scalar {} = {}", quote(&module.dims[*dim]), buffer(of)));
            }
        }
    }
}

fn launch_line(module: &Module, launch: &Launch) -> String {
    let args = list(&launch.args, |(buffer, at)| {
        let name = quote(&module.buffers[*buffer].name);
        at.as_ref().map_or(name.clone(), |at| format!("{name}[{}]", print_size(at, &module.dims)))
    });
    let dims = list(&launch.dims, |d| print_size(d, &module.dims));
    let kernel = module.kernels.get(launch.kernel).map_or("?", |k| k.name.as_str());
    format!("launch {}({args}) dims ({dims})", quote(kernel))
}

fn attrs(inst: &Inst) -> String {
    inst.attrs.iter().map(|a| format!(" #{}({})", quote(&a.name), quote(&a.value))).collect()
}

/// Prints what a kernel names.
struct Names<'a>(&'a Kernel);

impl Names<'_> {
    fn axis(&self, axis: AxisId) -> String {
        self.0.axes.get(axis).map_or_else(|| format!("?{axis}"), |a| quote(&a.name))
    }
    fn axes(&self, axes: &[AxisId]) -> String {
        list(axes, |a| self.axis(*a))
    }
    fn typed(&self, value: Value) -> String {
        let Some(ty) = self.0.values.get(value) else { return format!("{value}: ?") };
        let dtype: DType = ty.dtype;
        if ty.axes.is_empty() {
            format!("{value}: {dtype}")
        } else {
            format!("{value}: {dtype}<{}>", list(&ty.axes, |a| self.axis(*a)))
        }
    }
    fn memory(&self, mem: MemId) -> String {
        self.0.memory.get(mem).map_or_else(|| format!("?{mem}"), |m| quote(&m.name))
    }

    fn loop_head(&self, step: i64, phases: &[Phase], params: &[Value], inits: &[Value]) -> String {
        let phases = list(phases, |p| format!("{}..{} {}", p.lo, p.hi, if p.edge { "edge" } else { "full" }));
        let (position, edge) = (params.first(), params.get(1));
        let param = |v: Option<&Value>| v.map_or("?".to_owned(), ToString::to_string);
        let mut head = format!("{} edge {} step {step} [{phases}]", param(position), param(edge));
        if params.len() > 2 {
            let carries: Vec<String> =
                params[2..].iter().zip(inits).map(|(p, i)| format!("{} = {i}", self.typed(*p))).collect();
            write!(head, " carry ({})", carries.join(", ")).expect("invariant: a string takes any text");
        }
        head
    }

    fn operands(&self, op: &Op, args: &[Value]) -> String {
        let all = list(args, ToString::to_string);
        match op {
            Op::Const(value) => print_const(*value),
            Op::Size(size) => print_size(size, &self.0.dims),
            Op::Grid(axis) => self.0.grid.get(*axis as usize).map_or_else(|| format!("?{axis}"), |g| quote(&g.0)),
            Op::Coord(axis) => format!("{} {all}", self.axis(*axis)),
            Op::Round(to) => format!("{to} {all}"),
            Op::Rename(pairs) => {
                format!("{all} {{{}}}", list(pairs, |(a, b)| format!("{} -> {}", self.axis(*a), self.axis(*b))))
            }
            Op::Slice(axis) => format!("{} {all}", self.axis(*axis)),
            Op::Mma { over } => format!("{all} over {}", self.axes(over)),
            Op::Reduce { op, over } => format!("{op} {all} over {}", self.axes(over)),
            Op::Load { mem, subs, pad, masked } => {
                let pad = match pad {
                    Pad::Undef => "undef".to_owned(),
                    Pad::Value(value) => print_const(*value),
                };
                format!("{} pad {pad}{}", self.access(*mem, subs, args), mask(*masked, args))
            }
            Op::Store { mem, subs, masked } => {
                let value = args.first().map_or("?".to_owned(), ToString::to_string);
                let rest = args.get(1..).unwrap_or_default();
                format!("{} = {value}{}", self.access(*mem, subs, rest), mask(*masked, rest))
            }
            Op::Elem(_) | Op::Fma | Op::Cast(_) | Op::For { .. } | Op::If { .. } => all,
        }
    }

    fn access(&self, mem: MemId, subs: &[Subscript], args: &[Value]) -> String {
        let subs: Vec<String> = subs.iter().zip(args).map(|(s, v)| self.subscript(s, *v)).collect();
        format!("{}[{}]", self.memory(mem), subs.join(", "))
    }
    fn subscript(&self, sub: &Subscript, operand: Value) -> String {
        let Subscript::Affine(terms) = sub else { return format!("gather {operand}") };
        let mut text = operand.to_string();
        for (axis, coefficient) in terms {
            let scale = if *coefficient == 1 { String::new() } else { format!("{coefficient}*") };
            write!(text, " + {scale}{}", self.axis(*axis)).expect("invariant: a string takes any text");
        }
        text
    }
}

fn mask(masked: bool, args: &[Value]) -> String {
    match args.last() {
        Some(mask) if masked => format!(" where {mask}"),
        _ => String::new(),
    }
}

impl Module {
    /// The position of the kernel called `name`.
    pub fn kernel_named(&self, name: &str) -> Option<usize> {
        self.kernels.iter().position(|k| k.name == name)
    }
    /// The buffer called `name`.
    pub fn buffer_named(&self, name: &str) -> Option<BufferId> {
        self.buffers.values().position(|b| b.name == name).map(BufferId::new)
    }
}
