//! Instructions that lanes of a warp execute together.

use super::WARP;
use super::access::shared_address;
use super::banks::{Wavefronts, wavefronts};
use super::cta::{Cta, Done};
use super::decode::{Operand, Step};
use super::fault::{FaultKind, Trouble};
use super::matrix::{self, Fragment, pair_of};
use super::number::{bits_of, integer, low};
use super::shared::Access;
use super::warp::{Warp, lanes};
use crate::inst::Word;

/// Bytes of a row of an 8 by 8 matrix.
const ROW: usize = 16;

fn one(operand: &Operand) -> usize {
    match operand {
        Operand::Reg(reg) => *reg,
        other => unreachable!("{other:?} is no register"),
    }
}

fn many(operand: &Operand) -> &[usize] {
    match operand {
        Operand::Regs(regs) => regs,
        other => unreachable!("{other:?} is no group of registers"),
    }
}

fn whole_warp(warp: &Warp, active: u32) -> Done {
    if active == u32::MAX {
        return Ok(());
    }
    let message = format!("the lanes {:#x} of warp {} are not here, all must be", !active, warp.index);
    Err(Trouble::of_all(FaultKind::Divergence, message))
}

impl Cta<'_> {
    /// The lanes that operand `n` names, all of which must be here. Lanes that never existed may be named.
    pub(crate) fn members(&self, warp: &Warp, step: &Step<'_>, n: usize, active: u32) -> Result<u32, Trouble> {
        let mask = warp.uniform(&step.args[n], active, "the lanes that take part")?;
        let named = u32::try_from(low(mask, 32)).expect("32 bits") & warp.exist;
        if named & !active != 0 || active & !named != 0 {
            let message = format!("names the lanes {named:#x} of warp {}, at it are {active:#x}", warp.index);
            return Err(Trouble::of_all(FaultKind::Divergence, message));
        }
        Ok(named)
    }

    pub(crate) fn shuffle(&self, warp: &mut Warp, step: &Step<'_>, active: u32) -> Done {
        self.members(warp, step, 4, active)?;
        let source: Vec<(u64, bool)> = (0..WARP).map(|lane| warp.operand(&step.args[1], lane)).collect();
        for lane in lanes(active) {
            let b = warp.decided(&step.args[2], lane, "the other lane")?;
            let c = warp.decided(&step.args[3], lane, "the segment")?;
            let from = source_lane(step, lane as u64, b & 31, c);
            let (value, defined) = source[from];
            warp.set(one(&step.args[0]), lane, value, defined && active >> from & 1 == 1);
        }
        Ok(())
    }

    pub(crate) fn vote(&self, warp: &mut Warp, step: &Step<'_>, active: u32) -> Done {
        self.members(warp, step, 2, active)?;
        let mut held = 0_u32;
        for lane in lanes(active) {
            held |= u32::from(warp.decided(&step.args[1], lane, "a vote")? == 1) << lane;
        }
        let result = if step.shape.has(Word::Ballot) {
            held.into()
        } else if step.shape.has(Word::All) {
            u64::from(held == active)
        } else if step.shape.has(Word::Any) {
            u64::from(held != 0)
        } else {
            u64::from(held == active || held == 0)
        };
        lanes(active).for_each(|lane| warp.set(one(&step.args[0]), lane, result, true));
        Ok(())
    }

    pub(crate) fn reduce(&self, warp: &mut Warp, step: &Step<'_>, active: u32) -> Done {
        self.members(warp, step, 2, active)?;
        let ty = step.shape.t;
        let mut defined = true;
        let mut values = Vec::new();
        for lane in lanes(active) {
            let (value, is_defined) = warp.operand(&step.args[1], lane);
            values.push(integer(value, ty));
            defined &= is_defined;
        }
        let join = |a: i128, b: i128| match step.shape {
            shape if shape.has(Word::Add) => a + b,
            shape if shape.has(Word::Min) => a.min(b),
            shape if shape.has(Word::Max) => a.max(b),
            shape if shape.has(Word::And) => a & b,
            shape if shape.has(Word::Or) => a | b,
            _ => a ^ b,
        };
        let total = values.into_iter().reduce(join).expect("some lane is active");
        let result = low(bits_of(total), 32);
        lanes(active).for_each(|lane| warp.set(one(&step.args[0]), lane, result, defined));
        Ok(())
    }

    fn fragment(warp: &Warp, operand: &Operand) -> Fragment {
        let registers = many(operand).iter();
        registers.map(|reg| std::array::from_fn(|lane| warp.get(*reg, lane))).collect()
    }

    pub(crate) fn multiply(&self, warp: &mut Warp, step: &Step<'_>, active: u32) -> Done {
        whole_warp(warp, active)?;
        let [a, b, c] = [1, 2, 3].map(|n| Self::fragment(warp, &step.args[n]));
        let d = matrix::multiply(step.shape.words, &a, &b, &c);
        for (register, values) in many(&step.args[0]).iter().zip(&d) {
            for (lane, (value, defined)) in values.iter().enumerate() {
                warp.set(*register, lane, *value, *defined);
            }
        }
        Ok(())
    }

    pub(crate) fn transpose(&self, warp: &mut Warp, step: &Step<'_>, active: u32) -> Done {
        whole_warp(warp, active)?;
        let source: Vec<(u64, bool)> = (0..WARP).map(|lane| warp.operand(&step.args[1], lane)).collect();
        for lane in 0..WARP {
            let halves = pair_of(lane, true).map(|(row, column)| {
                let (value, defined) = source[4 * row + column / 2];
                (low(value >> (16 * (column % 2)), 16), defined)
            });
            let [(lower, a), (upper, b)] = halves;
            warp.set(one(&step.args[0]), lane, upper << 16 | lower, a && b);
        }
        Ok(())
    }

    /// Where the rows of the matrices begin: lane `8 m + r` says it of row `r` of matrix `m`.
    fn rows(&mut self, warp: &Warp, step: &Step<'_>, n: usize, matrices: usize) -> Result<Vec<usize>, Trouble> {
        let Operand::Mem(address) = step.args[n] else { unreachable!("an address") };
        let mut starts = Vec::with_capacity(8 * matrices);
        let mut total = Wavefronts { accesses: 1, ..Wavefronts::default() };
        let mut seen = Vec::new();
        for lane in 0..8 * matrices {
            let at = shared_address(warp.address(address, lane)?);
            starts.push(self.shared.check(warp.thread(lane), at, ROW)?);
            seen.push(Some(at));
        }
        for phase in seen.chunks(8) {
            let of_phase = wavefronts(phase, 16);
            total.taken += of_phase.taken;
            total.ideal += of_phase.ideal;
        }
        self.count_banks(step, total);
        Ok(starts)
    }

    pub(crate) fn load_matrices(&mut self, warp: &mut Warp, step: &Step<'_>, active: u32) -> Done {
        whole_warp(warp, active)?;
        let dests = many(&step.args[0]).to_vec();
        let starts = self.rows(warp, step, 1, dests.len())?;
        for (lane, start) in starts.iter().enumerate() {
            self.shared.access(warp.accessor(lane), *start, ROW, Access::Read)?;
        }
        for (matrix, dest) in dests.iter().enumerate() {
            for lane in 0..WARP {
                let halves = pair_of(lane, step.shape.has(Word::Trans)).map(|(row, column)| {
                    let mut bytes = [0; 2];
                    let defined = self.shared.get(starts[8 * matrix + row] + 2 * column, &mut bytes);
                    (u64::from(u16::from_le_bytes(bytes)), defined)
                });
                let [(lower, a), (upper, b)] = halves;
                warp.set(*dest, lane, upper << 16 | lower, a && b);
            }
        }
        Ok(())
    }

    pub(crate) fn store_matrices(&mut self, warp: &Warp, step: &Step<'_>, active: u32) -> Done {
        whole_warp(warp, active)?;
        let sources = many(&step.args[1]).to_vec();
        let starts = self.rows(warp, step, 0, sources.len())?;
        for (lane, start) in starts.iter().enumerate() {
            self.shared.access(warp.accessor(lane), *start, ROW, Access::Write)?;
        }
        for (matrix, source) in sources.iter().enumerate() {
            for lane in 0..WARP {
                let (value, defined) = warp.get(*source, lane);
                for (half, (row, column)) in pair_of(lane, step.shape.has(Word::Trans)).into_iter().enumerate() {
                    let bytes = &value.to_le_bytes()[2 * half..2 * half + 2];
                    self.shared.set(starts[8 * matrix + row] + 2 * column, bytes, defined);
                }
            }
        }
        Ok(())
    }
}

/// The lane that `shfl` reads: its own where the other is outside of the segment.
fn source_lane(step: &Step<'_>, lane: u64, b: u64, c: u64) -> usize {
    let (clamp, segment) = (c & 31, c >> 8 & 31);
    let first = lane & segment;
    let last = first | (clamp & !segment);
    let (other, inside) = if step.shape.has(Word::Up) {
        (lane.wrapping_sub(b), lane >= b && lane - b >= last)
    } else if step.shape.has(Word::Down) {
        (lane + b, lane + b <= last)
    } else if step.shape.has(Word::Bfly) {
        (lane ^ b, lane ^ b <= last)
    } else {
        let other = first | (b & !segment & 31);
        (other, other <= last)
    };
    usize::try_from(if inside { other } else { lane }).expect("below 32")
}
