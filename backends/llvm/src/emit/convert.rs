//! Conversions between elements.

use sawmill_simd::vir::{Elem, Inst, Op, Type, Val};

use super::Emitter;
use super::types::{literal, spelled, spelled_as, suffix};

impl Emitter<'_> {
    pub(super) fn convert(&mut self, op: Op, value: Val, to: Type) -> String {
        let from = self.ty(value);
        let value = self.operand(value);
        match op {
            Op::Sext | Op::MaskBits => self.cast("sext", from, &value, to),
            Op::Zext | Op::FromBool => self.cast("zext", from, &value, to),
            Op::Narrow => self.cast("trunc", from, &value, to),
            Op::SintToFloat => self.cast("sitofp", from, &value, to),
            Op::UintToFloat => self.cast("uitofp", from, &value, to),
            Op::FloatToSint => self.saturating("fptosi.sat", from, &value, to),
            Op::FloatToUint => self.saturating("fptoui.sat", from, &value, to),
            Op::FloatCast if to.elem == Elem::F64 => self.cast("fpext", from, &value, to),
            Op::FloatCast => self.cast("fptrunc", from, &value, to),
            Op::FromF16 => {
                let half = spelled_as("half", from.lanes);
                let value = self.line(&format!("bitcast {} {value} to {half}", spelled(from)));
                self.line(&format!("fpext {half} {value} to {}", spelled(to)))
            }
            Op::ToF16 => self.half_of_float(from, &value, to),
            Op::FromBf16 => {
                let ints = to.with_elem(Elem::I32);
                let wide = self.cast("zext", from, &value, ints);
                let moved = self.two("shl", ints, &wide, &literal(ints, 16));
                self.cast("bitcast", ints, &moved, to)
            }
            Op::ToBf16 => self.bf16_of_float(from, &value, to),
            _ => unreachable!("invariant: `{}` is no conversion", op.mnemonic()),
        }
    }

    /// One instruction where the processor has it, which takes subnormal numbers for zero; else two multiply-adds of pairs taken apart:
    /// the upper one of a pair is an f32 with other bits below, the lower one moves up.
    pub(super) fn dot_bf16(&mut self, inst: &Inst, ty: Type) -> String {
        let [a, b, sum] = [0, 1, 2].map(|at| self.operand(inst.args[at]));
        let pairs = self.ty(inst.args[0]);
        let bits = 32 * u32::from(ty.lanes);
        if self.bf16_dots && matches!(bits, 128 | 256 | 512) {
            self.uses_bf16_dots = true;
            let narrow = spelled_as("bfloat", pairs.lanes);
            let [a, b] = [a, b].map(|bits| self.line(&format!("bitcast {} {bits} to {narrow}", spelled(pairs))));
            let ty = spelled(ty);
            return self.line(&format!(
                "call {ty} @llvm.x86.avx512bf16.dpbf16ps.{bits}({ty} {sum}, {narrow} {a}, {narrow} {b})"
            ));
        }
        let ints = ty.with_elem(Elem::I32);
        let words = [a, b].map(|value| self.cast("bitcast", pairs, &value, ints));
        let upper = words.each_ref().map(|word| self.two("and", ints, word, &literal(ints, 0xffff_0000)));
        let lower = words.map(|word| self.two("shl", ints, &word, &literal(ints, 16)));
        [upper, lower].into_iter().fold(sum, |sum, factors| {
            let [a, b] = factors.map(|bits| self.cast("bitcast", ints, &bits, ty));
            self.intrinsic("fma", ty, &[&a, &b, &sum])
        })
    }

    pub(super) fn cast(&mut self, op: &str, from: Type, value: &str, to: Type) -> String {
        self.line(&format!("{op} {} {value} to {}", spelled(from), spelled(to)))
    }

    fn saturating(&mut self, name: &str, from: Type, value: &str, to: Type) -> String {
        let (to, suffixes) = (spelled(to), format!("{}.{}", suffix(to), suffix(from)));
        self.line(&format!("call {to} @llvm.{name}.{suffixes}({} {value})", spelled(from)))
    }

    /// The machine keeps what it can of a NaN; here it becomes the quiet one of its sign.
    fn half_of_float(&mut self, from: Type, value: &str, to: Type) -> String {
        let half = spelled_as("half", from.lanes);
        let rounded = self.line(&format!("fptrunc {} {value} to {half}", spelled(from)));
        let bits = self.line(&format!("bitcast {half} {rounded} to {}", spelled(to)));
        let is_nan = self.two("fcmp uno", from, value, value);
        let sign = self.two("and", to, &bits, &literal(to, 0x8000));
        let nan = self.two("or", to, &sign, &literal(to, 0x7e00));
        self.pick(&is_nan, to, &nan, &bits)
    }

    /// To nearest even in integers: the machine's own instruction takes subnormal numbers for zero.
    fn bf16_of_float(&mut self, from: Type, value: &str, to: Type) -> String {
        let ints = from.with_elem(Elem::I32);
        let bits = self.cast("bitcast", from, value, ints);
        let high = self.two("lshr", ints, &bits, &literal(ints, 16));
        let odd = self.two("and", ints, &high, &literal(ints, 1));
        let raised = self.two("add", ints, &bits, &literal(ints, 0x7fff));
        let raised = self.two("add", ints, &raised, &odd);
        let rounded = self.two("lshr", ints, &raised, &literal(ints, 16));
        let sign = self.two("and", ints, &high, &literal(ints, 0x8000));
        let nan = self.two("or", ints, &sign, &literal(ints, 0x7fc0));
        let is_nan = self.two("fcmp uno", from, value, value);
        let chosen = self.pick(&is_nan, ints, &nan, &rounded);
        self.cast("trunc", ints, &chosen, to)
    }
}
