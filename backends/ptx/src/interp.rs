//! Runs PTX programs on the CPU, to see what is wrong with them without a GPU.
//!
//! In: a verified module, a launch, memory. Out: the memory as the kernel leaves it and a [`Report`], or a [`Fault`] that names
//! the instruction, the CTA and the thread.
//!
//! CTAs run one after another in the order of the grid. Lanes of a warp that stand at one place go on together; after a branch the
//! lanes at the least place go first, so they meet again where the text joins. Shared memory knows of each byte whether it was
//! written, whether an asynchronous copy to it is under way (it lands when its thread waits, not before), and which
//! accesses nothing orders; barriers must be reached by whole warps and by all that they are for. Reads of what was never
//! written are remembered in registers and are an error once they decide something. Approximate instructions give the exact
//! function, rounded to f32; `mma` sums in f64.
//!
//! ```
//! use sawmill_ptx::inst::{Builder, Module, Op, Sm, Special, Word, at};
//! use sawmill_ptx::interp::{Launch, Memory, Options, interpret};
//!
//! let mut b = Builder::new("double", [32, 1, 1]);
//! let x = b.param("x", Word::U64);
//! let base = b.load_param(x);
//! let thread = b.special(Special::TidX);
//! let address = b.op(Op::Mad, &[Word::Wide, Word::U32], &[thread.into(), 4_u32.into(), base.into()]);
//! let value = b.op(Op::Ld, &[Word::Global, Word::F32], &[at(address, 0)]);
//! let sum = b.op(Op::Add, &[Word::Rn, Word::F32], &[value.into(), value.into()]);
//! b.run(Op::St, &[Word::Global, Word::F32], &[at(address, 0), sum.into()]);
//! b.ret();
//! let mut module = Module::new(Sm::Sm80);
//! module.entries.push(b.finish());
//!
//! let mut memory = Memory::default();
//! let buffer = memory.alloc([1.5_f32; 32].iter().flat_map(|x| x.to_le_bytes()).collect());
//! let launch = Launch { grid: [1, 1, 1], args: vec![buffer], dynamic_shared: 0 };
//! interpret(&module, "double", &launch, &mut memory, Options::default()).expect("no fault");
//! assert_eq!(memory.bytes(buffer).expect("a buffer")[..4], 3_f32.to_le_bytes());
//! ```

mod access;
mod banks;
mod barrier;
mod clock;
mod convert;
mod cta;
mod decode;
mod fault;
mod float;
mod group;
mod matrix;
mod memory;
mod number;
mod shared;
mod warp;

#[cfg(test)]
mod tests;

pub use banks::{Wavefronts, wavefronts};
pub use fault::{Fault, FaultKind};
pub use memory::Memory;

use crate::inst::{BlockId, Entry, Module, Op, Word, verify};
use barrier::{Barriers, Opened};
use cta::Cta;
use decode::decode;
use fault::Trouble;
use shared::SharedMemory;
use std::collections::BTreeMap;
use warp::{Warp, coordinates, lanes};

/// Lanes of a warp.
const WARP: usize = 32;
/// Steps of one warp before the next goes on.
const TURN: u32 = 256;

/// How a kernel is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// CTAs along x, y, z.
    pub grid: [u32; 3],
    /// The arguments: for each parameter a word, of which narrow types take the low bytes.
    pub args: Vec<u64>,
    /// Bytes of the shared variable whose size the launch gives.
    pub dynamic_shared: u32,
}

/// Limits of an interpretation.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Instructions that the warps of one CTA may execute together.
    pub steps: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { steps: 200_000_000 }
    }
}

/// What an interpretation counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How often warps executed each operation.
    pub executed: BTreeMap<Op, u64>,
    /// Wavefronts of each instruction on shared memory, by block and position.
    pub shared: BTreeMap<(BlockId, usize), Wavefronts>,
}

impl Report {
    /// Wavefronts of all instructions.
    pub fn wavefronts(&self) -> Wavefronts {
        let mut total = Wavefronts::default();
        self.shared.values().for_each(|part| total += *part);
        total
    }

    /// The instructions of `entry` that conflict, a line each, worst first.
    pub fn conflicts(&self, entry: &Entry) -> Vec<String> {
        let mut parts: Vec<_> = self.shared.iter().filter(|(_, part)| part.conflicts() > 0).collect();
        parts.sort_by_key(|(place, part)| (std::cmp::Reverse(part.conflicts()), **place));
        let line = |(place, part): (&(BlockId, usize), &Wavefronts)| {
            format!("{} wavefronts, {} would do: {}", part.taken, part.ideal, entry.place_of(place.0, place.1))
        };
        parts.into_iter().map(line).collect()
    }
}

/// Runs the entry `name` of `module`.
///
/// # Errors
/// The first fault.
pub fn interpret(
    module: &Module,
    name: &str,
    launch: &Launch,
    memory: &mut Memory,
    options: Options,
) -> Result<Report, Fault> {
    let refuse =
        |message: String| Fault { kind: FaultKind::Launch, place: name.to_owned(), cta: [0; 3], thread: None, message };
    verify(module).map_err(|error| refuse(error.to_string()))?;
    let entry = module.entry(name).ok_or_else(|| refuse("the module has no such entry".into()))?;
    if launch.args.len() != entry.params.len() {
        return Err(refuse(format!("{} arguments for {} parameters", launch.args.len(), entry.params.len())));
    }
    let fixed: u32 = entry.shared.values().filter_map(|shared| shared.bytes).sum();
    if fixed.saturating_add(launch.dynamic_shared) > module.sm.shared_bytes() {
        return Err(refuse(format!("{fixed} and {} bytes of shared memory", launch.dynamic_shared)));
    }
    let warps = entry.thread_count().div_ceil(32) as usize;
    let shared = SharedMemory::new(entry, launch.dynamic_shared, warps);
    let program = decode(entry, &shared);
    memory.begin(program.steps.iter().any(|step| step.shape.has(Word::Nc)));
    let mut report = Report::default();
    let count = launch.grid.iter().try_fold(1_u32, |product, extent| product.checked_mul(*extent));
    let count = count.ok_or_else(|| refuse("the grid has 2^32 CTAs or more".into()))?;
    for number in 0..count {
        let id = coordinates(number, launch.grid);
        let (memory, report) = (&mut *memory, &mut report);
        let (barriers, opened) = (Barriers::new(), Vec::new());
        let mut cta = Cta { program: &program, launch, id, shared: shared.clone(), barriers, memory, report, opened };
        run_cta(&mut cta, warps, options)?;
    }
    Ok(report)
}

fn run_cta(cta: &mut Cta<'_>, warps: usize, options: Options) -> Result<(), Fault> {
    let program = cta.program;
    let threads = program.entry.thread_count();
    let mut all: Vec<Warp> = (0..warps).map(|index| Warp::new(index, warps, threads, program.widths.len())).collect();
    let mut left = options.steps;
    while all.iter().any(|warp| warp.alive() != 0) {
        let mut moved = false;
        for index in 0..warps {
            moved |= take_turn(cta, &mut all, index, &mut left)?;
        }
        if !moved {
            return Err(deadlock(cta, &all));
        }
    }
    Ok(())
}

/// Lets a warp go on for a while; says whether it could.
fn take_turn(cta: &mut Cta<'_>, all: &mut [Warp], index: usize, left: &mut u64) -> Result<bool, Fault> {
    let mut moved = false;
    for _ in 0..TURN {
        let Some((place, there)) = all[index].next() else { break };
        let located = |trouble: Trouble, cta: &Cta<'_>| Fault {
            kind: trouble.kind,
            place: cta.program.place(place),
            cta: cta.id,
            thread: trouble.thread,
            message: trouble.message,
        };
        if *left == 0 {
            let trouble = Trouble::of_all(FaultKind::Limit, format!("warp {index} is here when the steps are used up"));
            return Err(located(trouble, cta));
        }
        *left -= 1;
        moved = true;
        cta.step(&mut all[index], place, there).map_err(|trouble| located(trouble, cta))?;
        for Opened { waiters, told } in cta.opened.drain(..) {
            for waiter in waiters {
                let warp = &mut all[waiter.warp];
                warp.waiting &= !waiter.lanes;
                warp.clock.learn(&told);
            }
        }
    }
    Ok(moved)
}

/// Nobody can go on: who waits where.
fn deadlock(cta: &Cta<'_>, all: &[Warp]) -> Fault {
    let mut places = BTreeMap::<usize, Vec<usize>>::new();
    for warp in all {
        for lane in lanes(warp.waiting) {
            let warps = places.entry(warp.places[lane] - 1).or_default();
            if warps.last() != Some(&warp.index) {
                warps.push(warp.index);
            }
        }
    }
    let ended: Vec<usize> = all.iter().filter(|warp| warp.alive() == 0).map(|warp| warp.index).collect();
    let barriers: Vec<String> = cta
        .barriers
        .unfinished()
        .map(|(id, arrived, expected)| format!("barrier {id} has {arrived} of {expected} threads"))
        .collect();
    let waiting: Vec<String> =
        places.iter().map(|(place, warps)| format!("warps {warps:?} at {}", cta.program.place(*place))).collect();
    let first = places.keys().next().copied().unwrap_or_default();
    let message = format!("{}; {}; ended: warps {ended:?}", barriers.join(", "), waiting.join(", "));
    Fault { kind: FaultKind::Deadlock, place: cta.program.place(first), cta: cta.id, thread: None, message }
}
