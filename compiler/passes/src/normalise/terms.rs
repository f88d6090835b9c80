//! Interned terms: building a term that is already there gives the same name, and small identities are applied on the way.
//!
//! In: operations on terms of this arena. Out: their names. Invariant: operands come before users, equal terms have equal
//! names. What is simplified is exact: constants are folded, integer arithmetic on positions moves into index expressions,
//! conjunctions are flattened, a choice on a constant is made.

use rustc_hash::FxHashMap;
use sawmill_ir::dtype::DType;
use sawmill_ir::elem::ElemOp;
use sawmill_ir::entity::Arena;
use sawmill_ir::graph::{Const, Op, Term, TermId};
use sawmill_ir::index::Index;

type Key = (Op, Vec<TermId>, DType);

/// An arena of terms without duplicates.
#[derive(Default)]
pub(crate) struct Terms {
    arena: Arena<TermId, Term>,
    memo: FxHashMap<Key, TermId>,
}

impl Terms {
    /// The term.
    pub(crate) fn get(&self, id: TermId) -> &Term {
        &self.arena[id]
    }
    /// The arena, when all is built.
    pub(crate) fn finish(self) -> Arena<TermId, Term> {
        self.arena
    }
    /// Any operation, as it is.
    pub(crate) fn add(&mut self, op: Op, args: Vec<TermId>, dtype: DType) -> TermId {
        let key = (op, args, dtype);
        if let Some(id) = self.memo.get(&key) {
            return *id;
        }
        let (op, args, dtype) = key.clone();
        let id = self.arena.push(Term { op, args, dtype });
        self.memo.insert(key, id);
        id
    }
    /// A number of type `dtype`.
    pub(crate) fn number(&mut self, value: f64, dtype: DType) -> TermId {
        let constant = if dtype.is_float() { Const::float(value) } else { Const::Int(integer(value, dtype)) };
        self.add(Op::Const(constant), Vec::new(), dtype)
    }
    /// A truth value.
    pub(crate) fn truth(&mut self, value: bool) -> TermId {
        self.add(Op::Const(Const::Bool(value)), Vec::new(), DType::Bool)
    }
    /// An integer expression as a value.
    pub(crate) fn index(&mut self, index: Index) -> TermId {
        self.add(Op::Index(index), Vec::new(), DType::I64)
    }
    /// `x` in another computing type.
    pub(crate) fn cast(&mut self, x: TermId, to: DType) -> TermId {
        let from = self.get(x).dtype;
        if from == to {
            return x;
        }
        let constant = match &self.get(x).op {
            Op::Const(Const::Int(value)) => Some(*value as f64),
            Op::Index(index) => index.as_int().map(|value| value as f64),
            _ => None,
        };
        match constant {
            Some(value) if to.is_float() => self.number(value, to),
            _ => self.add(Op::Cast(to), vec![x], to),
        }
    }
    /// An elementwise operation; its operands have fitting types.
    pub(crate) fn elem(&mut self, op: ElemOp, args: Vec<TermId>) -> TermId {
        let (op, args) = self.turned(op, args);
        if let Some(folded) = self.fold(op, &args) {
            return folded;
        }
        let types: Vec<DType> = args.iter().map(|a| self.get(*a).dtype).collect();
        let dtype = op.result(&types).expect("operands of a verified or generated operation fit it");
        self.add(Op::Elem(op), args, dtype)
    }
    /// Comparisons are spelled by `<`, `<=`, `==` and `!=` alone: larger ones are turned around, negated ones of integers and of
    /// equality are turned over (of other floats they are not, since neither side holds for NaN).
    fn turned(&self, op: ElemOp, args: Vec<TermId>) -> (ElemOp, Vec<TermId>) {
        match (op, args.as_slice()) {
            (ElemOp::Gt, [a, b]) => (ElemOp::Lt, vec![*b, *a]),
            (ElemOp::Ge, [a, b]) => (ElemOp::Le, vec![*b, *a]),
            (ElemOp::Not, [x]) => {
                let term = self.get(*x);
                let Op::Elem(inner) = term.op else { return (op, args) };
                let int = term.args.iter().all(|arg| self.get(*arg).dtype.is_int());
                match (inner, term.args.as_slice()) {
                    (ElemOp::Lt, [a, b]) if int => (ElemOp::Le, vec![*b, *a]),
                    (ElemOp::Le, [a, b]) if int => (ElemOp::Lt, vec![*b, *a]),
                    (ElemOp::Eq, [a, b]) => (ElemOp::Ne, vec![*a, *b]),
                    (ElemOp::Ne, [a, b]) => (ElemOp::Eq, vec![*a, *b]),
                    _ => (op, args),
                }
            }
            _ => (op, args),
        }
    }
    /// Both hold; `None` is always true. `b` may be evaluated where `a` fails.
    pub(crate) fn both(&mut self, a: Option<TermId>, b: Option<TermId>) -> Option<TermId> {
        match (a, b) {
            (None, other) | (other, None) => other,
            (Some(a), Some(b)) if a == b => Some(a),
            (Some(a), Some(b)) => {
                let conjunction = self.elem(ElemOp::And, vec![a, b]);
                (self.get(conjunction).op != Op::Const(Const::Bool(true))).then_some(conjunction)
            }
        }
    }
    /// `b` where `a` holds, else false; `b` is evaluated only there.
    pub(crate) fn guarded(&mut self, a: Option<TermId>, b: TermId) -> TermId {
        match a {
            None => b,
            Some(a) => {
                let no = self.truth(false);
                self.elem(ElemOp::Select, vec![a, b, no])
            }
        }
    }

    fn fold(&mut self, op: ElemOp, args: &[TermId]) -> Option<TermId> {
        match op {
            ElemOp::And | ElemOp::Or => Some(self.fold_logic(op, args)),
            ElemOp::Not => self.as_bool(args[0]).map(|b| self.truth(!b)),
            ElemOp::Select => self.fold_select(args),
            ElemOp::Pow if self.as_float(args[1]) == Some(2.0) => Some(self.elem(ElemOp::Mul, vec![args[0], args[0]])),
            _ => self.fold_index(op, args).or_else(|| self.fold_float(op, args)),
        }
    }
    fn fold_select(&mut self, args: &[TermId]) -> Option<TermId> {
        if let Some(chosen) = self.as_bool(args[0]) {
            return Some(if chosen { args[1] } else { args[2] });
        }
        (args[1] == args[2]).then_some(args[1])
    }
    /// Flattens, drops duplicates and constants, keeps the order of first occurrence.
    fn fold_logic(&mut self, op: ElemOp, args: &[TermId]) -> TermId {
        let unit = op == ElemOp::And;
        let mut flat: Vec<TermId> = Vec::new();
        for arg in args {
            let term = self.get(*arg);
            let parts = if term.op == Op::Elem(op) { term.args.clone() } else { vec![*arg] };
            for part in parts {
                match self.as_bool(part) {
                    Some(value) if value == unit => {}
                    Some(_) => return self.truth(!unit),
                    None if flat.contains(&part) => {}
                    None => flat.push(part),
                }
            }
        }
        match flat.len() {
            0 => self.truth(unit),
            1 => flat[0],
            _ => self.add(Op::Elem(op), flat, DType::Bool),
        }
    }
    /// Arithmetic and comparisons on positions.
    fn fold_index(&mut self, op: ElemOp, args: &[TermId]) -> Option<TermId> {
        let parts: Vec<Index> = args.iter().map(|a| self.as_index(*a)).collect::<Option<_>>()?;
        let (first, rest) = parts.split_first()?;
        let value = match (op, rest) {
            (ElemOp::Add, _) => rest.iter().fold(first.clone(), |sum, x| sum.add(x)),
            (ElemOp::Mul, _) => rest.iter().fold(first.clone(), |product, x| product.mul(x)),
            (ElemOp::Neg, _) => first.scale(-1),
            (ElemOp::Sub, [b]) => first.sub(b),
            (ElemOp::Div, [b]) => first.div(b),
            (ElemOp::Rem, [b]) => first.rem(b),
            (ElemOp::Min, [b]) => first.smaller(b),
            (ElemOp::Max, [b]) => first.larger(b),
            (_, [b]) => {
                let difference = first.sub(b).as_int()?;
                return compare(op, difference).map(|holds| self.truth(holds));
            }
            _ => return None,
        };
        Some(self.index(value))
    }
    fn fold_float(&mut self, op: ElemOp, args: &[TermId]) -> Option<TermId> {
        let dtype = self.get(args[0]).dtype;
        let values: Vec<Option<f64>> = args.iter().map(|a| self.as_float(*a)).collect();
        match (op, values.as_slice()) {
            (ElemOp::Mul, _) => self.fold_product(args, &values, dtype),
            (ElemOp::Add, [Some(a), Some(b)]) => Some(self.number(a + b, dtype)),
            (ElemOp::Sub, [Some(a), Some(b)]) => Some(self.number(a - b, dtype)),
            (ElemOp::Div, [Some(a), Some(b)]) => Some(self.number(a / b, dtype)),
            (ElemOp::Div, [None, Some(b)]) if *b == 1.0 => Some(args[0]),
            (ElemOp::Neg, [Some(a)]) => Some(self.number(-a, dtype)),
            (ElemOp::Sqrt, [Some(a)]) => Some(self.number(a.sqrt(), dtype)),
            (ElemOp::Rsqrt, [Some(a)]) => Some(self.number(1.0 / a.sqrt(), dtype)),
            (ElemOp::Recip, [Some(a)]) => Some(self.number(1.0 / a, dtype)),
            _ => None,
        }
    }
    /// Leaves factors 1 out of a product.
    fn fold_product(&mut self, args: &[TermId], values: &[Option<f64>], dtype: DType) -> Option<TermId> {
        if values.iter().all(Option::is_some) {
            return Some(self.number(values.iter().flatten().product(), dtype));
        }
        let kept: Vec<TermId> = args.iter().zip(values).filter(|(_, v)| **v != Some(1.0)).map(|(a, _)| *a).collect();
        match kept.len() {
            n if n == args.len() => None,
            1 => Some(kept[0]),
            _ => Some(self.elem(ElemOp::Mul, kept)),
        }
    }

    fn as_bool(&self, id: TermId) -> Option<bool> {
        match self.get(id).op {
            Op::Const(Const::Bool(value)) => Some(value),
            _ => None,
        }
    }
    fn as_float(&self, id: TermId) -> Option<f64> {
        match self.get(id).op {
            Op::Const(Const::Float(bits)) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }
    fn as_index(&self, id: TermId) -> Option<Index> {
        let term = self.get(id);
        match &term.op {
            Op::Index(index) => Some(index.clone()),
            Op::Const(Const::Int(value)) if term.dtype == DType::I64 => Some(Index::int(*value)),
            _ => None,
        }
    }
}

fn compare(op: ElemOp, difference: i64) -> Option<bool> {
    Some(match op {
        ElemOp::Eq => difference == 0,
        ElemOp::Ne => difference != 0,
        ElemOp::Lt => difference < 0,
        ElemOp::Le => difference <= 0,
        ElemOp::Gt => difference > 0,
        ElemOp::Ge => difference >= 0,
        _ => return None,
    })
}

/// The integer constant nearest to `value`; the infinities are the least and the greatest of the type.
fn integer(value: f64, dtype: DType) -> i64 {
    let (least, greatest) = match dtype {
        DType::I64 => (i64::MIN, i64::MAX),
        DType::U32 => (0, i64::from(u32::MAX)),
        _ => (i64::from(i32::MIN), i64::from(i32::MAX)),
    };
    (value as i64).clamp(least, greatest)
}
