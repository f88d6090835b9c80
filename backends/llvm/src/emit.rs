//! Emission of VIR as LLVM IR, in its textual form.
//!
//! In: a verified function and the level of processor it is for. Out: the text of a module with one function of the same ABI.
//! A VIR value is one LLVM value of the same element and number of lanes, whatever the registers hold: LLVM splits wide
//! vectors itself. A truth value is an `i1`, in memory a byte. Text has one form for scalars and vectors, and an error in it is
//! found by LLVM's own parser and verifier.
//!
//! Nothing is faster than written unless it gives the same bits: no fast-math flag is set anywhere, so a product and a sum are
//! contracted only where VIR says `fma`. What VIR defines and LLVM leaves open is written out: extremes with NaN, division by
//! 0, counts of shifts, the NaN of a half.

mod convert;
mod integer;
mod lanes;
mod memory;
mod types;

use std::collections::BTreeMap;
use std::fmt::Write;

use sawmill_simd::vir::{BlockId, Elem, Function, Group, Inst, Op, Type, Val};

use crate::level::Level;
use types::{literal, spelled, suffix};

/// Name of the function in a module.
pub(crate) const ENTRY: &str = "kernel";

/// The processor that code is emitted for.
#[derive(Clone, Debug)]
pub(crate) struct Processor {
    pub(crate) level: Level,
    /// Whether it has, beyond its level, instructions that sum products of bf16 numbers.
    pub(crate) bf16_dots: bool,
    /// The name of the processor by whose timings instructions are chosen.
    pub(crate) tuning: String,
}

/// The text of a module that holds `func`.
pub(crate) fn emit(func: &Function, processor: &Processor) -> String {
    let Processor { level, bf16_dots, tuning } = processor;
    let level = *level;
    let mut emitter = Emitter {
        level,
        bf16_dots: *bf16_dots,
        uses_bf16_dots: false,
        func,
        out: String::new(),
        temporaries: 0,
        block: "entry".to_owned(),
        values: vec![String::new(); func.value_count()],
        constants: vec![None; func.value_count()],
        pointers: BTreeMap::new(),
    };
    let params = &func.block(Function::ENTRY).params;
    // Where an address is wanted the two pointers are used as such, so that LLVM knows what they cannot overlap.
    for (param, name) in params.iter().zip(["%args", "%first", "%end", "%scratch"]) {
        let is_pointer = matches!(name, "%args" | "%scratch");
        let value = if is_pointer { emitter.line(&format!("ptrtoint ptr {name} to i64")) } else { name.to_owned() };
        emitter.values[param.index()] = value;
        if is_pointer {
            emitter.pointers.insert(*param, name.to_owned());
        }
    }
    emitter.insts(Function::ENTRY);
    let note = if emitter.uses_bf16_dots {
        "; products of bf16 numbers are summed by AVX512-BF16, which takes subnormal numbers for zero\n"
    } else {
        ""
    };
    let body = emitter.out;
    let (cpu, width) = (level.cpu(), level.vector_bits());
    let features = if *bf16_dots { " \"target-features\"=\"+avx512bf16\"" } else { "" };
    format!(
        "; {}\n{note}define void @{ENTRY}(ptr noalias readonly %args, i64 %first, i64 %end, ptr noalias align 64 %scratch) #0 {{\n\
         entry:\n{body}  ret void\n}}\n\n\
         attributes #0 = {{ nounwind \"no-builtins\" \"target-cpu\"=\"{cpu}\" \"tune-cpu\"=\"{tuning}\" \
         \"prefer-vector-width\"=\"{width}\"{features} }}\n\n!0 = !{{}}\n",
        func.name
    )
}

struct Emitter<'a> {
    level: Level,
    bf16_dots: bool,
    /// Whether such an instruction was emitted.
    uses_bf16_dots: bool,
    func: &'a Function,
    out: String,
    temporaries: u32,
    /// Label of the block that is being written.
    block: String,
    /// How each value is written as an operand.
    values: Vec<String>,
    /// The bits of a lane of what is the same constant in every lane.
    constants: Vec<Option<i64>>,
    /// Integers that are also known as pointers.
    pointers: BTreeMap<Val, String>,
}

impl Emitter<'_> {
    fn ty(&self, value: Val) -> Type {
        self.func.ty(value)
    }

    /// A value as an operand, without its type.
    fn operand(&self, value: Val) -> String {
        self.values[value.index()].clone()
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.temporaries += 1;
        format!("{prefix}{}", self.temporaries)
    }

    /// Writes an instruction with a result and gives the result's name.
    fn line(&mut self, text: &str) -> String {
        let name = self.fresh("%t");
        let _ = writeln!(self.out, "  {name} = {text}");
        name
    }

    /// Writes an instruction without a result.
    fn effect(&mut self, text: &str) {
        let _ = writeln!(self.out, "  {text}");
    }

    /// Starts a block.
    fn label(&mut self, label: &str) {
        let _ = writeln!(self.out, "{label}:");
        label.clone_into(&mut self.block);
    }

    /// An instruction `op ty a, b`.
    fn two(&mut self, op: &str, ty: Type, a: &str, b: &str) -> String {
        self.line(&format!("{op} {} {a}, {b}", spelled(ty)))
    }

    /// A call of an intrinsic whose name ends in the type of its result, which its operands share but for those written with
    /// a type of their own.
    fn intrinsic(&mut self, name: &str, ty: Type, args: &[&str]) -> String {
        let spelled = spelled(ty);
        let typed = |arg: &&str| if arg.starts_with("i1 ") { (*arg).to_owned() } else { format!("{spelled} {arg}") };
        let args: Vec<String> = args.iter().map(typed).collect();
        self.line(&format!("call {spelled} @llvm.{name}.{}({})", suffix(ty), args.join(", ")))
    }

    /// A choice by a truth value or a mask of type `cond`.
    fn choose(&mut self, (cond, cond_ty): (&str, Type), ty: Type, a: &str, b: &str) -> String {
        let (cond_ty, ty) = (spelled(cond_ty), spelled(ty));
        self.line(&format!("select {cond_ty} {cond}, {ty} {a}, {ty} {b}"))
    }

    /// A choice lane by lane between two values of type `ty`.
    fn pick(&mut self, cond: &str, ty: Type, a: &str, b: &str) -> String {
        self.choose((cond, ty.with_elem(Elem::Bool)), ty, a, b)
    }

    fn insts(&mut self, id: BlockId) {
        let func = self.func;
        for inst in &func.block(id).insts {
            let inst = func.inst(*inst);
            match inst.op {
                Op::For => self.for_loop(inst),
                Op::If => self.if_else(inst),
                Op::Store | Op::StorePart | Op::Scatter => self.write(inst),
                _ => {
                    let value = self.value(inst);
                    self.values[inst.results[0].index()] = value;
                }
            }
        }
    }

    /// Tests at the head; LLVM turns it round. The head is written after the body, which it refers to.
    fn for_loop(&mut self, inst: &Inst) {
        let body = self.func.block(inst.blocks[0]);
        let [head, turn, exit] = ["head", "turn", "exit"].map(|name| self.fresh(name));
        let before = self.block.clone();
        let mut starts = vec![self.operand(inst.args[0])];
        starts.extend(inst.args[2..].iter().map(|value| self.operand(*value)));
        let end = self.operand(inst.args[1]);
        for param in &body.params {
            let name = self.fresh("%c");
            self.values[param.index()] = name;
        }
        let outside = std::mem::take(&mut self.out);
        self.label(&turn);
        self.insts(inst.blocks[0]);
        let iv = self.operand(body.params[0]);
        let mut ends = vec![self.two("add", Type::I64, &iv, &inst.imms[0].to_string())];
        ends.extend(body.yields.iter().map(|value| self.operand(*value)));
        self.effect(&format!("br label %{head}"));
        let inside = std::mem::replace(&mut self.out, outside);
        let latch = std::mem::take(&mut self.block);
        self.effect(&format!("br label %{head}"));
        self.label(&head);
        for ((param, start), end) in body.params.iter().zip(starts).zip(ends) {
            let (name, ty) = (self.operand(*param), spelled(self.ty(*param)));
            self.effect(&format!("{name} = phi {ty} [ {start}, %{before} ], [ {end}, %{latch} ]"));
        }
        let runs = self.line(&format!("icmp slt i64 {iv}, {end}"));
        self.effect(&format!("br i1 {runs}, label %{turn}, label %{exit}"));
        self.out.push_str(&inside);
        self.label(&exit);
        for (result, carried) in inst.results.iter().zip(&body.params[1..]) {
            self.values[result.index()] = self.operand(*carried);
        }
    }

    fn if_else(&mut self, inst: &Inst) {
        let cond = self.operand(inst.args[0]);
        let labels = ["then", "else"].map(|name| self.fresh(name));
        let join = self.fresh("join");
        self.effect(&format!("br i1 {cond}, label %{}, label %{}", labels[0], labels[1]));
        let mut sides = Vec::new();
        for (label, block) in labels.iter().zip(&inst.blocks) {
            self.label(label);
            self.insts(*block);
            let yields: Vec<String> = self.func.block(*block).yields.iter().map(|value| self.operand(*value)).collect();
            sides.push((yields, self.block.clone()));
            self.effect(&format!("br label %{join}"));
        }
        self.label(&join);
        for (position, result) in inst.results.iter().enumerate() {
            let side = |at: usize| format!("[ {}, %{} ]", sides[at].0[position], sides[at].1);
            let (ty, then, otherwise) = (spelled(self.ty(*result)), side(0), side(1));
            let joined = self.line(&format!("phi {ty} {then}, {otherwise}"));
            self.values[result.index()] = joined;
        }
    }

    /// An instruction with one result.
    fn value(&mut self, inst: &Inst) -> String {
        let result = inst.results[0];
        let ty = self.ty(result);
        let arg = |at: usize| self.operand(inst.args[at]);
        match (inst.op, inst.op.group()) {
            (Op::Const, _) => {
                self.constants[result.index()] = Some(inst.imms[0]);
                literal(ty, inst.imms[0])
            }
            (Op::Splat, _) => self.splat(inst.args[0], result),
            (Op::Iota, _) => types::iota(ty),
            (Op::Bitcast, _) => {
                let (from, value) = (spelled(self.ty(inst.args[0])), arg(0));
                self.line(&format!("bitcast {from} {value} to {}", spelled(ty)))
            }
            (Op::Load, _) => self.load(inst, ty),
            (Op::LoadPart, _) => self.load_part(inst, ty),
            (Op::Gather, _) => self.gather(inst, ty),
            (Op::Extract, _) => {
                let (from, value) = (spelled(self.ty(inst.args[0])), arg(0));
                self.line(&format!("extractelement {from} {value}, i64 {}", inst.imms[0]))
            }
            (Op::Insert, _) => {
                let (vector, scalar) = (arg(0), arg(1));
                let elem = spelled(ty.with_lanes(1));
                self.line(&format!("insertelement {} {vector}, {elem} {scalar}, i64 {}", spelled(ty), inst.imms[0]))
            }
            (Op::Shuffle, _) => {
                let (from, a, b) = (self.ty(inst.args[0]), arg(0), arg(1));
                self.shuffle(from, &a, &b, &inst.imms)
            }
            (Op::Lookup, _) => self.lookup(inst, ty),
            (Op::Select, _) => {
                let (cond, a, b) = (arg(0), arg(1), arg(2));
                self.choose((&cond, self.ty(inst.args[0])), ty, &a, &b)
            }
            (Op::Fma, _) => {
                let (a, b, c) = (arg(0), arg(1), arg(2));
                self.intrinsic("fma", ty, &[&a, &b, &c])
            }
            (Op::DotBf16, _) => self.dot_bf16(inst, ty),
            (op, Group::Convert) => self.convert(op, inst.args[0], ty),
            (op, Group::Binary) => self.binary(inst, op),
            (op, _) => {
                let (from, value) = (self.ty(inst.args[0]), arg(0));
                match lanes::combiner(op) {
                    Some(step) => self.reduce(step, from, value),
                    None => self.unary(op, ty, &value),
                }
            }
        }
    }

    fn unary(&mut self, op: Op, ty: Type, a: &str) -> String {
        let is_float = ty.elem.is_float();
        match op {
            Op::Neg if is_float => self.line(&format!("fneg {} {a}", spelled(ty))),
            Op::Neg => self.two("sub", ty, &literal(ty, 0), a),
            Op::Abs if is_float => self.intrinsic("fabs", ty, &[a]),
            Op::Abs => self.intrinsic("abs", ty, &[a, "i1 false"]),
            Op::Sqrt => self.intrinsic("sqrt", ty, &[a]),
            Op::Floor => self.intrinsic("floor", ty, &[a]),
            Op::Ceil => self.intrinsic("ceil", ty, &[a]),
            Op::Round => self.intrinsic("roundeven", ty, &[a]),
            Op::Trunc => self.intrinsic("trunc", ty, &[a]),
            Op::Not => self.two("xor", ty, a, &literal(ty, -1)),
            Op::Popcount => self.intrinsic("ctpop", ty, &[a]),
            Op::Clz => self.intrinsic("ctlz", ty, &[a, "i1 false"]),
            _ => unreachable!("invariant: `{}` has its own emission", op.mnemonic()),
        }
    }

    fn binary(&mut self, inst: &Inst, op: Op) -> String {
        let ty = self.ty(inst.args[0]);
        let (a, b) = (self.operand(inst.args[0]), self.operand(inst.args[1]));
        if let Some(pointer) = self.moved_pointer(inst) {
            self.pointers.insert(inst.results[0], pointer);
        }
        match op {
            Op::Div | Op::Rem if ty.elem.is_int() => self.divide(op, inst.args[0], inst.args[1]),
            Op::Shl | Op::Shr | Op::Ushr => self.shift(op, ty, &a, inst.args[1]),
            _ => self.lane_wise(op, ty, &a, &b),
        }
    }

    /// An operation on two operands of one type, lane by lane.
    fn lane_wise(&mut self, op: Op, ty: Type, a: &str, b: &str) -> String {
        let is_float = ty.elem.is_float();
        let plain = |float: &'static str, int: &'static str| if is_float { float } else { int };
        match op {
            Op::Add => self.two(plain("fadd", "add"), ty, a, b),
            Op::Sub => self.two(plain("fsub", "sub"), ty, a, b),
            Op::Mul => self.two(plain("fmul", "mul"), ty, a, b),
            Op::Div => self.two("fdiv", ty, a, b),
            Op::And => self.two("and", ty, a, b),
            Op::Or => self.two("or", ty, a, b),
            Op::Xor => self.two("xor", ty, a, b),
            Op::Min if is_float => self.float_extreme("olt", ty, a, b),
            Op::Max if is_float => self.float_extreme("ogt", ty, a, b),
            Op::Min => self.intrinsic("smin", ty, &[a, b]),
            Op::Max => self.intrinsic("smax", ty, &[a, b]),
            _ => self.two(comparison(op, is_float), ty, a, b),
        }
    }

    /// `a` if it is NaN, else `a` if it compares so, else `b`. The inner choice is one instruction.
    fn float_extreme(&mut self, condition: &str, ty: Type, a: &str, b: &str) -> String {
        let wins = self.two(&format!("fcmp {condition}"), ty, a, b);
        let chosen = self.pick(&wins, ty, a, b);
        let is_nan = self.two("fcmp uno", ty, a, a);
        self.pick(&is_nan, ty, a, &chosen)
    }
}

fn comparison(op: Op, is_float: bool) -> &'static str {
    match (op, is_float) {
        (Op::Eq, true) => "fcmp oeq",
        (Op::Ne, true) => "fcmp une",
        (Op::Lt, true) => "fcmp olt",
        (Op::Le, true) => "fcmp ole",
        (Op::Gt, true) => "fcmp ogt",
        (Op::Ge, true) => "fcmp oge",
        (Op::Eq, false) => "icmp eq",
        (Op::Ne, false) => "icmp ne",
        (Op::Lt, false) => "icmp slt",
        (Op::Le, false) => "icmp sle",
        (Op::Gt, false) => "icmp sgt",
        (Op::Ge, false) => "icmp sge",
        (Op::Ult, _) => "icmp ult",
        (Op::Ule, _) => "icmp ule",
        _ => unreachable!("invariant: the verifier refuses `{}` here", op.mnemonic()),
    }
}
