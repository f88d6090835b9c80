//! VIR as text, in the form that [`super::parse`] reads.
//!
//! In: a function. Out: one line for each instruction, `%3: f32x8 = add %1, %2`; immediates in brackets after the
//! operands; blocks indented in braces. Constants are printed as numbers, NaNs by their bits (`0x7fc00000`).

use std::fmt::{self, Write};

use super::func::{BlockId, Function, Inst, Val};
use super::ops::Op;
use super::types::Elem;

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kernel {} scratch {} {{", self.name, self.scratch_bytes)?;
        self.write_block(f, Function::ENTRY, 1)?;
        f.write_str("}\n")
    }
}

impl Function {
    fn write_block(&self, f: &mut fmt::Formatter<'_>, id: BlockId, depth: usize) -> fmt::Result {
        let indent = "  ".repeat(depth);
        let block = self.block(id);
        if !block.params.is_empty() {
            writeln!(f, "{indent}params {}", self.typed(&block.params))?;
        }
        for inst in &block.insts {
            let inst = self.inst(*inst);
            write!(f, "{indent}{}", self.head_text(inst))?;
            for (position, inner) in inst.blocks.iter().enumerate() {
                f.write_str(if position == 0 { " {\n" } else { " else {\n" })?;
                self.write_block(f, *inner, depth + 1)?;
                write!(f, "{indent}}}")?;
            }
            f.write_char('\n')?;
        }
        if !block.yields.is_empty() {
            writeln!(f, "{indent}yield {}", join(&block.yields))?;
        }
        Ok(())
    }

    /// An instruction without its blocks.
    pub(super) fn head_text(&self, inst: &Inst) -> String {
        let mut text = String::new();
        if !inst.results.is_empty() {
            text += &format!("{} = ", self.typed(&inst.results));
        }
        text += inst.op.mnemonic();
        if !inst.args.is_empty() {
            text += &format!(" {}", join(&inst.args));
        }
        match (inst.op, inst.results.first(), &inst.imms[..]) {
            (Op::Const, Some(value), [bits]) => text += &format!(" {}", constant_text(self.elem_of(*value), *bits)),
            (_, _, []) => {}
            (_, _, imms) => {
                let imms: Vec<String> = imms.iter().map(i64::to_string).collect();
                text += &format!(" [{}]", imms.join(", "));
            }
        }
        text
    }

    fn elem_of(&self, value: Val) -> Elem {
        self.values.get(value.index()).map_or(Elem::I64, |ty| ty.elem)
    }

    fn typed(&self, values: &[Val]) -> String {
        let one = |value: &Val| match self.values.get(value.index()) {
            Some(ty) => format!("{value}: {ty}"),
            None => format!("{value}: ?"),
        };
        values.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

fn join(values: &[Val]) -> String {
    values.iter().map(Val::to_string).collect::<Vec<_>>().join(", ")
}

/// A constant as text: floats in the shortest form that reads back, NaNs in hexadecimal.
fn constant_text(elem: Elem, bits: i64) -> String {
    match elem {
        Elem::F32 => match f32::from_bits(bits as u32) {
            value if value.is_nan() => format!("{:#x}", bits as u32),
            value => format!("{value:?}"),
        },
        Elem::F64 => match f64::from_bits(bits.cast_unsigned()) {
            value if value.is_nan() => format!("{bits:#x}"),
            value => format!("{value:?}"),
        },
        _ => bits.to_string(),
    }
}
