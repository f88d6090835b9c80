//! One CTA, and the execution of one step by lanes of one of its warps.

use super::banks::Wavefronts;
use super::barrier::{Arrival, Barriers, Opened, Waiter};
use super::decode::{Operand, Program, Step};
use super::fault::{FaultKind, Trouble};
use super::memory::Memory;
use super::number::evaluate;
use super::shared::{Accessor, SharedMemory};
use super::warp::{Warp, lanes, special};
use super::{Launch, Report};
use crate::inst::{Op, Word};

/// The state that the warps of a CTA share.
pub(crate) struct Cta<'a> {
    pub(crate) program: &'a Program<'a>,
    pub(crate) launch: &'a Launch,
    pub(crate) id: [u32; 3],
    pub(crate) shared: SharedMemory,
    pub(crate) barriers: Barriers,
    pub(crate) memory: &'a mut Memory,
    pub(crate) report: &'a mut Report,
    /// What has opened and is to be told to its warps.
    pub(crate) opened: Vec<Opened>,
}

pub(crate) type Done = Result<(), Trouble>;

impl Warp {
    /// Who a lane is, to the clocks.
    pub(crate) fn accessor(&self, lane: usize) -> Accessor<'_> {
        Accessor { thread: self.thread(lane), clock: &self.clock }
    }
}

impl Cta<'_> {
    /// Executes the step at `place` in the lanes `there`, and moves them on.
    pub(crate) fn step(&mut self, warp: &mut Warp, place: usize, there: u32) -> Done {
        let program = self.program;
        let step = &program.steps[place];
        let active = warp.guarded(step, there)?;
        for lane in lanes(there) {
            warp.places[lane] = place + 1;
        }
        if active == 0 {
            return Ok(());
        }
        *self.report.executed.entry(step.inst.op).or_default() += 1;
        match step.inst.op {
            Op::Bra => branch(warp, step, active),
            Op::Ret => ended(warp, active),
            Op::Trap => return Err(Trouble::of_all(FaultKind::Trap, "the program stops itself")),
            Op::Bar | Op::Barrier => self.barrier(warp, step, place, active)?,
            Op::Ld => self.load(warp, step, active)?,
            Op::St => self.store(warp, step, active)?,
            Op::Atom | Op::Red => self.atomic(warp, step, active)?,
            Op::CpAsync => self.copy(warp, step, active)?,
            Op::CpAsyncGroup => self.copy_group(warp, step, active),
            Op::Ldmatrix => self.load_matrices(warp, step, active)?,
            Op::Stmatrix => self.store_matrices(warp, step, active)?,
            Op::Shfl => self.shuffle(warp, step, active)?,
            Op::Vote => self.vote(warp, step, active)?,
            Op::Redux => self.reduce(warp, step, active)?,
            Op::Movmatrix => self.transpose(warp, step, active)?,
            Op::Mma => self.multiply(warp, step, active)?,
            // Every access is seen by all at once here.
            Op::Fence => {}
            Op::ReadSpecial => self.read_special(warp, step, active),
            Op::Pack => self.pack(warp, step, active),
            Op::Unpack => self.unpack(warp, step, active),
            _ => self.lane_by_lane(warp, step, active),
        }
        Ok(())
    }

    /// What needs nothing but the registers of its lane.
    fn lane_by_lane(&self, warp: &mut Warp, step: &Step<'_>, active: u32) {
        let Operand::Reg(dest) = step.args[0] else { unreachable!("the first operand is written") };
        for lane in lanes(active) {
            let mut inputs = [0; 4];
            let mut defined = true;
            for (input, operand) in inputs.iter_mut().zip(&step.args[1..]) {
                let (value, is_defined) = warp.operand(operand, lane);
                *input = value;
                defined &= is_defined;
            }
            let result = if step.inst.op == Op::Selp {
                select(warp, step, lane)
            } else {
                evaluate(&step.shape, inputs).map_or((0, false), |value| (value, defined))
            };
            warp.write(self.program, step, 0, (dest, lane), result);
        }
    }

    fn read_special(&self, warp: &mut Warp, step: &Step<'_>, active: u32) {
        let [Operand::Reg(dest), Operand::Special(which)] = step.args[..] else { unreachable!("as verified") };
        let threads = self.program.entry.threads;
        for lane in lanes(active) {
            let thread = warp.thread(lane);
            let value = special(which, thread, threads, self.id, self.launch);
            warp.set(dest, lane, value, true);
        }
    }

    fn pack(&self, warp: &mut Warp, step: &Step<'_>, active: u32) {
        let [Operand::Reg(dest), Operand::Regs(parts)] = &step.args[..] else { unreachable!("as verified") };
        let width = self.program.widths[parts[0]];
        for lane in lanes(active) {
            let [(lower, a), (upper, b)] = [0, 1].map(|n| warp.get(parts[n], lane));
            warp.set(*dest, lane, upper << width | lower, a && b);
        }
    }

    fn unpack(&self, warp: &mut Warp, step: &Step<'_>, active: u32) {
        let [Operand::Regs(parts), source] = &step.args[..] else { unreachable!("as verified") };
        let width = self.program.widths[parts[0]];
        for lane in lanes(active) {
            let (value, defined) = warp.operand(source, lane);
            warp.set(parts[0], lane, super::number::low(value, width), defined);
            warp.set(parts[1], lane, value >> width, defined);
        }
    }

    fn barrier(&mut self, warp: &mut Warp, step: &Step<'_>, place: usize, active: u32) -> Done {
        if step.shape.has(Word::Warp) {
            return self.warp_barrier(warp, step, active);
        }
        let whole = step.inst.op == Op::Bar || step.shape.has(Word::Aligned);
        if whole && active != warp.alive() {
            let elsewhere = warp.alive() & !active;
            let message = format!("of warp {} the lanes {elsewhere:#x} are not at this barrier", warp.index);
            return Err(Trouble::of_all(FaultKind::Divergence, message));
        }
        let id = warp.uniform(&step.args[0], active, "the barrier")?;
        let all = self.program.entry.thread_count().next_multiple_of(32);
        let expected = match step.args.get(1) {
            Some(count) => warp.uniform(count, active, "the number of threads")?,
            None => all.into(),
        };
        let expected = u32::try_from(expected).unwrap_or(u32::MAX);
        // Lanes that the last warp lacks count, too: a barrier counts whole warps. Lane 0 brings them.
        let threads = if whole { 32 } else { active.count_ones() + (active & 1) * (32 - warp.exist.count_ones()) };
        let waits = !step.shape.has(Word::Arrive);
        let waiter = waits.then_some(Waiter { warp: warp.index, lanes: active });
        let opened = self.barriers.arrive(Arrival { id, threads, expected }, waiter, |told| warp.clock.tell(told))?;
        warp.clock.tick();
        if waits {
            warp.waiting |= active;
            lanes(active).for_each(|lane| warp.places[lane] = place + 1);
        }
        self.opened.extend(opened);
        Ok(())
    }

    fn warp_barrier(&self, warp: &mut Warp, step: &Step<'_>, active: u32) -> Done {
        let mask = self.members(warp, step, 0, active)?;
        if mask & warp.alive() == warp.alive() {
            warp.clock.tick();
        }
        Ok(())
    }

    /// Counts the wavefronts of an access to shared memory.
    pub(crate) fn count_banks(&mut self, step: &Step<'_>, taken: Wavefronts) {
        *self.report.shared.entry((step.block, step.position)).or_default() += taken;
    }
}

fn select(warp: &Warp, step: &Step<'_>, lane: usize) -> (u64, bool) {
    let (condition, decided) = warp.operand(&step.args[3], lane);
    let (value, defined) = warp.operand(&step.args[if condition == 1 { 1 } else { 2 }], lane);
    (value, defined && decided)
}

fn branch(warp: &mut Warp, step: &Step<'_>, active: u32) {
    let Operand::Target(target) = step.args[0] else { unreachable!("a branch has a target") };
    lanes(active).for_each(|lane| warp.places[lane] = target);
}

fn ended(warp: &mut Warp, active: u32) {
    warp.done |= active;
}
