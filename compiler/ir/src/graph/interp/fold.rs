//! Folds, executed step by step as folds.
//!
//! In: components in order, each an element and perhaps a repair over the running values of earlier components. Out: the
//! final values. At each step a component is repaired (unless it still is the identity), then combined with its element if
//! that is present. States are blocks where the elements are.

use super::compile::{Kind, NodeId};
use super::machine::{Cell, Lane, Machine, Step, pick};
use super::number::{float_identity, int_binary, int_identity, maximum, minimum};
use super::value::{ABSENT, BROKEN, PRESENT};
use crate::dtype::DType;
use crate::elem::{ElemOp, ReduceOp};
use crate::graph::{Component, Repair};

/// A component's state: for `argmax` and `argmin` the values are what stands at the chosen positions.
struct State {
    values: Lane,
    chosen: Vec<i64>,
    status: Vec<u8>,
}

impl Machine<'_> {
    /// A fold: its running values become final.
    pub(super) fn fold(&mut self, id: NodeId) -> Step {
        let program = self.program;
        let node = &program.nodes[id];
        let Kind::Fold { fold, axes, components } = &node.kind else { return Ok(()) };
        let storage = &program.folds[*fold];
        let repairs = components.iter().filter(|c| c.repair != Repair::None).count();
        let (operands, ends) = node.args.split_at(components.len() + repairs);
        let mut states = Vec::new();
        for (at, component) in components.iter().enumerate() {
            let dtype = program.nodes[operands[at]].dtype;
            states.push(State::identity(component.op, dtype, self.count(storage.contexts[at])));
        }
        self.running[*fold].new = states.iter().zip(components).map(|(s, c)| s.cell(c.op)).collect();
        let running = &mut self.running[*fold];
        running.old.clone_from(&running.new);
        self.looped(axes, ends, &mut |machine| {
            let place = axes.last().map_or(0, |slot| machine.position[*slot]);
            let running = &mut machine.running[*fold];
            running.old.clone_from(&running.new);
            storage.old.iter().for_each(|slot| machine.touch(*slot));
            let mut repair = components.len();
            for (at, component) in components.iter().enumerate() {
                machine.eval(operands[at])?;
                let mut factor = None;
                if component.repair != Repair::None {
                    machine.eval(operands[repair])?;
                    factor = Some(operands[repair]);
                    repair += 1;
                }
                machine.step(&mut states[at], component, operands[at], factor, place);
                machine.running[*fold].new[at] = states[at].cell(component.op);
                machine.touch(storage.new[at]);
            }
            Ok(())
        })
    }
    fn step(&self, state: &mut State, component: &Component, element: NodeId, factor: Option<NodeId>, place: i64) {
        for at in 0..state.status.len() {
            if let Some(factor) = factor {
                self.repair(state, component, factor, at);
            }
            match self.state(element, at) {
                PRESENT => self.combine(state, component.op, element, at, place),
                BROKEN => state.status[at] = BROKEN,
                _ => {}
            }
        }
    }
    fn repair(&self, state: &mut State, component: &Component, factor: NodeId, at: usize) {
        let broken = self.state(factor, at) == BROKEN;
        match &mut state.values {
            Lane::F(values) if values[at] != float_identity(component.op) => {
                let by = pick(self.floats(factor), at);
                match component.repair {
                    Repair::Scale => values[at] *= by,
                    Repair::Shift => values[at] += by,
                    Repair::None => {}
                }
            }
            Lane::I(values) if values[at] != int_identity(component.op, state_dtype(self, factor)) => {
                let by = pick(self.ints(factor), at);
                let dtype = state_dtype(self, factor);
                match component.repair {
                    Repair::Scale => values[at] = int_binary(ElemOp::Mul, dtype, values[at], by),
                    Repair::Shift => values[at] = int_binary(ElemOp::Add, dtype, values[at], by),
                    Repair::None => {}
                }
            }
            _ => return,
        }
        if broken {
            state.status[at] = BROKEN;
        }
    }
    fn combine(&self, state: &mut State, op: ReduceOp, element: NodeId, at: usize, place: i64) {
        let first = state.status[at] == ABSENT;
        let better = match &mut state.values {
            Lane::F(values) => {
                let (old, x) = (values[at], pick(self.floats(element), at));
                let better = match op {
                    ReduceOp::ArgMax => first || x > old || old.is_nan() && !x.is_nan(),
                    ReduceOp::ArgMin => first || x < old || old.is_nan() && !x.is_nan(),
                    _ => first || op == ReduceOp::Last,
                };
                values[at] = match op {
                    ReduceOp::Prod => old * x,
                    ReduceOp::Max => maximum(old, x),
                    ReduceOp::Min => minimum(old, x),
                    _ if !op.chooses() => old + x,
                    _ if better => x,
                    _ => old,
                };
                better
            }
            Lane::I(values) => {
                let (old, x) = (values[at], pick(self.ints(element), at));
                let dtype = state_dtype(self, element);
                let better = match op {
                    ReduceOp::ArgMax => first || x > old,
                    ReduceOp::ArgMin => first || x < old,
                    _ => first || op == ReduceOp::Last,
                };
                values[at] = match op {
                    ReduceOp::Prod => int_binary(ElemOp::Mul, dtype, old, x),
                    ReduceOp::Max => old.max(x),
                    ReduceOp::Min => old.min(x),
                    _ if !op.chooses() => int_binary(ElemOp::Add, dtype, old, x),
                    _ if better => x,
                    _ => old,
                };
                better
            }
            Lane::B(values) => {
                let x = pick(self.bools(element), at);
                let better = first || op == ReduceOp::Last;
                values[at] = match op {
                    ReduceOp::All => values[at] && x,
                    _ if !op.chooses() => values[at] || x,
                    _ if better => x,
                    _ => values[at],
                };
                better
            }
        };
        if better {
            state.chosen[at] = place;
        }
        if first {
            state.status[at] = PRESENT;
        }
    }
}

fn state_dtype(machine: &Machine<'_>, node: NodeId) -> DType {
    machine.program.nodes[node].dtype
}

impl State {
    fn identity(op: ReduceOp, dtype: DType, count: usize) -> Self {
        let values = match Lane::of(dtype) {
            Lane::F(_) => Lane::F(vec![float_identity(op); count]),
            Lane::I(_) => Lane::I(vec![int_identity(op, dtype); count]),
            Lane::B(_) => Lane::B(vec![op == ReduceOp::All; count]),
        };
        let status = if op.chooses() { ABSENT } else { PRESENT };
        Self { values, chosen: vec![0; count], status: vec![status; count] }
    }
    fn cell(&self, op: ReduceOp) -> Cell {
        let lane = if op.gives_position() { Lane::I(self.chosen.clone()) } else { self.values.clone() };
        let whole = self.status.iter().all(|s| *s == PRESENT);
        Cell { lane, state: if whole { Vec::new() } else { self.status.clone() }, ..Cell::default() }
    }
}
