//! Where the blocks of a definition go.
//!
//! In: a machine, and how loops and block move through the tensor. Out: its elements, row-major whatever the order of the
//! loops, and their states.

use super::machine::{Lane, Machine, advance};
use super::value::PRESENT;
use crate::dtype::DType;
use crate::entity::Entity;

/// Writes blocks into a row-major tensor whatever the order of the loops.
pub(super) struct Writer {
    pub(super) lane: Lane,
    pub(super) state: Option<Vec<u8>>,
    count: usize,
    loop_steps: Vec<usize>,
    block_steps: Vec<usize>,
    block: Vec<usize>,
}

impl Writer {
    /// Zeros to write over; `None` if there is no memory for `count` of them.
    pub(super) fn new(
        dtype: DType,
        count: usize,
        loop_steps: Vec<usize>,
        block_steps: Vec<usize>,
        block: Vec<usize>,
    ) -> Option<Self> {
        fn zeros<T: Clone + Default>(count: usize) -> Option<Vec<T>> {
            let mut zeros = Vec::new();
            zeros.try_reserve_exact(count).ok()?;
            zeros.resize(count, T::default());
            Some(zeros)
        }
        let lane = match Lane::of(dtype) {
            Lane::F(_) => Lane::F(zeros(count)?),
            Lane::I(_) => Lane::I(zeros(count)?),
            Lane::B(_) => Lane::B(zeros(count)?),
        };
        Some(Self { lane, state: None, count, loop_steps, block_steps, block })
    }
    pub(super) fn fill(&mut self, machine: &mut Machine<'_>, loops: &[usize]) -> Result<(), String> {
        let program = machine.program;
        let low = vec![0; self.block.len()];
        machine.set_block(program.context, &low, &self.block)?;
        let offsets = self.offsets();
        let mut at = vec![0_usize; loops.len()];
        loop {
            for (axis, place) in program.loops.iter().zip(&at) {
                machine.set(axis.index(), *place as i64);
            }
            machine.eval(program.root)?;
            let base: usize = at.iter().zip(&self.loop_steps).map(|(at, step)| at * step).sum();
            self.write(machine, base, &offsets);
            if !advance(&mut at, loops) {
                return Ok(());
            }
        }
    }
    /// Where each element of a block goes, relative to its first.
    fn offsets(&self) -> Vec<usize> {
        let count: usize = self.block.iter().product();
        let mut at = vec![0_usize; self.block.len()];
        let mut offsets = Vec::with_capacity(count);
        for _ in 0..count {
            offsets.push(at.iter().zip(&self.block_steps).map(|(at, step)| at * step).sum());
            advance(&mut at, &self.block);
        }
        offsets
    }
    fn write(&mut self, machine: &Machine<'_>, base: usize, offsets: &[usize]) {
        fn scatter<T: Copy>(to: &mut [T], from: &[T], base: usize, offsets: &[usize]) {
            if let [one] = from {
                offsets.iter().for_each(|at| to[base + at] = *one);
            } else {
                offsets.iter().zip(from).for_each(|(at, x)| to[base + at] = *x);
            }
        }
        let root = machine.program.root;
        match &mut self.lane {
            Lane::F(to) => scatter(to, machine.floats(root), base, offsets),
            Lane::I(to) => scatter(to, machine.ints(root), base, offsets),
            Lane::B(to) => scatter(to, machine.bools(root), base, offsets),
        }
        if !machine.cells[root].state.is_empty() {
            let states = self.state.get_or_insert_with(|| vec![PRESENT; self.count]);
            for (at, offset) in offsets.iter().enumerate() {
                states[base + offset] = machine.state(root, at);
            }
        }
    }
}
