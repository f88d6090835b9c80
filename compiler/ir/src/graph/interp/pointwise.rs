//! Pointwise nodes: elementwise operations, casts, rounding, masks, choices.
//!
//! In: the elements and states of the operands, one or one for each element of the block. Out: those of the node. A strict
//! operation is absent where an operand is, else broken where one is.

use super::compile::{Kind, NodeId};
use super::machine::{Cell, Lane, Machine, pick};
use super::number::{
    compare, float_binary, float_to_int, float_unary, int_binary, int_unary, round_float, saturate_int, wrap_int,
};
use super::value::{ABSENT, BROKEN, PRESENT};
use crate::dtype::{DType, Kind as TypeKind};
use crate::elem::{ElemOp, Typing};

impl Machine<'_> {
    /// Evaluates an elementwise node, a cast, a rounding, a mask or a choice.
    pub(super) fn pointwise(&mut self, id: NodeId) {
        let node = &self.program.nodes[id];
        let count = self.count(node.context);
        let lane = std::mem::take(&mut self.cells[id].lane);
        let mut state = std::mem::take(&mut self.cells[id].state);
        let (lane, state) = match &node.kind {
            Kind::Where => self.masked(&node.args, count, state),
            Kind::OrElse => self.filled(&node.args, count, state),
            Kind::Elem(ElemOp::Select) => self.selected(&node.args, count, state),
            Kind::Cast(from, to) => (self.cast(node.args[0], *from, *to), self.strict(&node.args, count, state)),
            Kind::Round(to) => (self.round(node.args[0], *to), self.strict(&node.args, count, state)),
            Kind::Elem(op) => {
                state = self.strict(&node.args, count, state);
                (self.elem(*op, &node.args, count, lane), state)
            }
            _ => (lane, state),
        };
        self.cells[id] = Cell { lane, state, ..Cell::default() };
    }
    /// States of a strict operation: absent if an operand is, else broken if one is.
    fn strict(&self, args: &[NodeId], count: usize, mut state: Vec<u8>) -> Vec<u8> {
        state.clear();
        if args.iter().all(|a| self.cells[*a].state.is_empty()) {
            return state;
        }
        state.resize(count, PRESENT);
        for arg in args {
            for (at, out) in state.iter_mut().enumerate() {
                match self.state(*arg, at) {
                    ABSENT => *out = ABSENT,
                    BROKEN if *out == PRESENT => *out = BROKEN,
                    _ => {}
                }
            }
        }
        state
    }
    fn masked(&self, args: &[NodeId], count: usize, mut state: Vec<u8>) -> (Lane, Vec<u8>) {
        let (x, c) = (args[0], args[1]);
        state.clear();
        state.extend((0..count).map(|at| match (self.state(c, at), pick(self.bools(c), at)) {
            (BROKEN, _) => BROKEN,
            (PRESENT, true) => self.state(x, at),
            _ => ABSENT,
        }));
        if state.iter().all(|s| *s == PRESENT) {
            state.clear();
        }
        (self.spread(x, count), state)
    }
    fn filled(&self, args: &[NodeId], count: usize, mut state: Vec<u8>) -> (Lane, Vec<u8>) {
        let (a, b) = (args[0], args[1]);
        if self.cells[a].state.is_empty() {
            return (self.spread(a, count), Vec::new());
        }
        state.clear();
        let (first, second) = (self.lane(a), self.lane(b));
        let mut lane = Lane::of(self.program.nodes[a].dtype);
        for at in 0..count {
            let absent = self.state(a, at) == ABSENT;
            lane.push_from(if absent { &second } else { &first }, at);
            state.push(self.state(if absent { b } else { a }, at));
        }
        (lane, state)
    }
    fn selected(&self, args: &[NodeId], count: usize, mut state: Vec<u8>) -> (Lane, Vec<u8>) {
        let (c, a, b) = (args[0], args[1], args[2]);
        let (first, second) = (self.lane(a), self.lane(b));
        let mut lane = Lane::of(self.program.nodes[a].dtype);
        state.clear();
        for at in 0..count {
            let holds = pick(self.bools(c), at);
            lane.push_from(if holds { &first } else { &second }, at);
            let chosen = self.state(if holds { a } else { b }, at);
            state.push(if self.state(c, at) == PRESENT { chosen } else { self.state(c, at) });
        }
        if state.iter().all(|s| *s == PRESENT) {
            state.clear();
        }
        (lane, state)
    }
    /// The elements of a node, one for each of `count`.
    pub(super) fn spread(&self, id: NodeId, count: usize) -> Lane {
        fn all<T: Copy>(from: &[T], count: usize) -> Vec<T> {
            if from.len() == count { from.to_vec() } else { (0..count).map(|at| pick(from, at)).collect() }
        }
        match Lane::of(self.program.nodes[id].dtype) {
            Lane::F(_) => Lane::F(all(self.floats(id), count)),
            Lane::I(_) => Lane::I(all(self.ints(id), count)),
            Lane::B(_) => Lane::B(all(self.bools(id), count)),
        }
    }
    fn cast(&self, x: NodeId, from: DType, to: DType) -> Lane {
        let float = |v: &[f64]| -> Lane {
            match Lane::of(to) {
                Lane::F(_) => Lane::F(v.to_vec()),
                Lane::I(_) => Lane::I(v.iter().map(|x| float_to_int(to, *x)).collect()),
                Lane::B(_) => Lane::B(v.iter().map(|x| *x != 0.0).collect()),
            }
        };
        match Lane::of(from) {
            Lane::F(_) => float(self.floats(x)),
            Lane::I(_) => match Lane::of(to) {
                Lane::F(_) => Lane::F(self.ints(x).iter().map(|x| *x as f64).collect()),
                Lane::I(_) if holds(to, from) => Lane::I(self.ints(x).to_vec()),
                Lane::I(_) => Lane::I(self.ints(x).iter().map(|x| saturate_int(to, *x)).collect()),
                Lane::B(_) => Lane::B(self.ints(x).iter().map(|x| *x != 0).collect()),
            },
            Lane::B(_) => match Lane::of(to) {
                Lane::F(_) => Lane::F(self.bools(x).iter().map(|b| f64::from(u8::from(*b))).collect()),
                Lane::I(_) => Lane::I(self.bools(x).iter().map(|b| i64::from(*b)).collect()),
                Lane::B(_) => Lane::B(self.bools(x).to_vec()),
            },
        }
    }
    fn round(&self, x: NodeId, to: DType) -> Lane {
        match Lane::of(to) {
            Lane::F(_) => Lane::F(self.floats(x).iter().map(|x| round_float(to, *x)).collect()),
            Lane::I(_) => Lane::I(self.ints(x).iter().map(|x| wrap_int(to, saturate_int(to, *x))).collect()),
            Lane::B(_) => Lane::B(self.bools(x).to_vec()),
        }
    }
    fn elem(&self, op: ElemOp, args: &[NodeId], count: usize, out: Lane) -> Lane {
        let of = self.program.nodes[args[0]].dtype;
        match (Lane::of(of), op.typing()) {
            (_, Typing::Compare) => Lane::B(self.compared(op, args, count)),
            (Lane::F(_), _) => {
                let mut buffer = if let Lane::F(mut v) = out {
                    v.clear();
                    v
                } else {
                    Vec::new()
                };
                self.float_elem(op, args, count, &mut buffer);
                Lane::F(buffer)
            }
            (Lane::I(_), _) => Lane::I(self.int_elem(op, of, args, count)),
            (Lane::B(_), _) => Lane::B(self.bool_elem(op, args, count)),
        }
    }
    fn float_elem(&self, op: ElemOp, args: &[NodeId], count: usize, out: &mut Vec<f64>) {
        let first = self.floats(args[0]);
        if let [_] = args {
            out.extend(first.iter().map(|x| float_unary(op, *x)));
            return;
        }
        if first.len() == count {
            out.extend_from_slice(first);
        } else {
            out.resize(count, first.first().copied().unwrap_or_default());
        }
        for arg in &args[1..] {
            let more = self.floats(*arg);
            match op {
                ElemOp::Add => combine(out, more, |a, b| a + b),
                ElemOp::Mul => combine(out, more, |a, b| a * b),
                ElemOp::Sub => combine(out, more, |a, b| a - b),
                ElemOp::Div => combine(out, more, |a, b| a / b),
                _ => combine(out, more, |a, b| float_binary(op, a, b)),
            }
        }
    }
    fn int_elem(&self, op: ElemOp, dtype: DType, args: &[NodeId], count: usize) -> Vec<i64> {
        let first = self.ints(args[0]);
        if let [_] = args {
            return first.iter().map(|x| int_unary(op, dtype, *x)).collect();
        }
        let mut out: Vec<i64> = if first.len() == count { first.to_vec() } else { vec![first[0]; count] };
        for arg in &args[1..] {
            let more = self.ints(*arg);
            let width = i64::from(dtype.bits());
            match op {
                ElemOp::BitAnd => combine(&mut out, more, |a, b| a & b),
                ElemOp::BitOr => combine(&mut out, more, |a, b| a | b),
                // A value that is not negative stays in its type when it is shifted to the right.
                ElemOp::Shr if dtype.kind() == TypeKind::Unsigned || out.iter().all(|x| *x >= 0) => {
                    combine(&mut out, more, |a, b| if (0..width).contains(&b) { a >> b } else { 0 });
                }
                ElemOp::Add => combine(&mut out, more, |a, b| wrap_int(dtype, a.wrapping_add(b))),
                ElemOp::Sub => combine(&mut out, more, |a, b| wrap_int(dtype, a.wrapping_sub(b))),
                ElemOp::Mul => combine(&mut out, more, |a, b| wrap_int(dtype, a.wrapping_mul(b))),
                _ => combine(&mut out, more, |a, b| int_binary(op, dtype, a, b)),
            }
        }
        out
    }
    fn bool_elem(&self, op: ElemOp, args: &[NodeId], count: usize) -> Vec<bool> {
        let first = self.bools(args[0]);
        if op == ElemOp::Not {
            return first.iter().map(|b| !b).collect();
        }
        let mut out: Vec<bool> = (0..count).map(|at| pick(first, at)).collect();
        for arg in &args[1..] {
            combine(&mut out, self.bools(*arg), |a, b| if op == ElemOp::And { a && b } else { a || b });
        }
        out
    }
    fn compared(&self, op: ElemOp, args: &[NodeId], count: usize) -> Vec<bool> {
        let (a, b) = (args[0], args[1]);
        match Lane::of(self.program.nodes[a].dtype) {
            Lane::F(_) => {
                let (a, b) = (self.floats(a), self.floats(b));
                (0..count).map(|at| compare(op, pick(a, at).partial_cmp(&pick(b, at)))).collect()
            }
            Lane::I(_) => {
                let (a, b) = (self.ints(a), self.ints(b));
                (0..count).map(|at| compare(op, Some(pick(a, at).cmp(&pick(b, at))))).collect()
            }
            Lane::B(_) => {
                let (a, b) = (self.bools(a), self.bools(b));
                (0..count).map(|at| compare(op, Some(pick(a, at).cmp(&pick(b, at))))).collect()
            }
        }
    }
}

fn combine<T: Copy>(out: &mut [T], more: &[T], with: impl Fn(T, T) -> T) {
    if let [one] = more {
        out.iter_mut().for_each(|a| *a = with(*a, *one));
    } else {
        out.iter_mut().zip(more).for_each(|(a, b)| *a = with(*a, *b));
    }
}

/// Whether every integer of type `from` is one of type `to`.
fn holds(to: DType, from: DType) -> bool {
    let signed = |dtype: DType| dtype.kind() == TypeKind::Signed;
    to == from || to.bits() > from.bits() && (signed(to) || !signed(from))
}
