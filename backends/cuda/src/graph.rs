//! Launches that come again and again as CUDA graphs: the driver is given all of a run at once.
//!
//! In: the launches of a run. Out: the same work, given by one call to the driver. The second run of the same kernels in the same
//! order makes a graph; each later run changes the parameters of those nodes whose words differ (a cache that has grown, an output
//! that lies elsewhere) and launches it. Launches depend on each other only where one writes what the other uses, so those of
//! one layer that are independent run at once.
//!
//! Invariants: what a node depends on is asked anew whenever an address differs. Two memories of a run are the same memory or share
//! no byte, so comparing the addresses of their first elements tells which.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::Arc;

use cudarc::driver::sys::{
    self, CUDA_KERNEL_NODE_PARAMS_v2_st as Parameters, CUgraph, CUgraphExec, CUgraphInstantiate_flags, CUgraphNode,
};
use cudarc::driver::{DriverError, result};

use crate::error::GpuError;
use crate::function::parameters;
use crate::gpu::Gpu;
use crate::machine::Loaded;

/// Runs of fewer launches are given one by one.
const FEWEST: usize = 4;
/// Orders of kernels that are remembered for each module.
const MOST_KNOWN: usize = 32;

/// A launch of a run: its words are `words[first..first + count]` of the run's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) kernel: usize,
    pub(crate) ctas: u32,
    pub(crate) first: usize,
    pub(crate) count: usize,
}

impl Planned {
    pub(crate) fn words<'w>(&self, words: &'w [u64]) -> &'w [u64] {
        &words[self.first..self.first + self.count]
    }
}

/// The graphs of a module.
#[derive(Default)]
pub(crate) struct Graphs {
    /// The latest last.
    known: Vec<Known>,
}

/// An order of kernels that was run.
struct Known {
    /// Which part of the run it was.
    part: usize,
    kernels: Vec<usize>,
    graph: Option<Graph>,
}

impl Graphs {
    /// Gives `launches`, part number `part` of a run, to the GPU if it is worth a graph; otherwise false, and nothing was given.
    ///
    /// # Safety
    /// As for each launch alone.
    pub(crate) unsafe fn launch(
        &mut self,
        gpu: &Arc<Gpu>,
        kernels: &[Loaded],
        part: usize,
        (launches, words): (&[Planned], &[u64]),
    ) -> Result<bool, GpuError> {
        if launches.len() < FEWEST {
            return Ok(false);
        }
        let kernels_of = || launches.iter().map(|launch| launch.kernel);
        let same = |known: &Known| known.part == part && known.kernels.iter().copied().eq(kernels_of());
        let Some(at) = self.known.iter().position(same) else {
            if self.known.len() == MOST_KNOWN {
                self.known.remove(0);
            }
            self.known.push(Known { part, kernels: kernels_of().collect(), graph: None });
            return Ok(false);
        };
        let mut known = self.known.remove(at);
        let graph = match known.graph.take() {
            Some(graph) => graph.updated(kernels, launches, words)?,
            None => Graph::new(gpu, kernels, launches, words)?,
        };
        // SAFETY: the nodes are these launches, for which the caller vouches.
        unsafe { graph.launch() }?;
        known.graph = Some(graph);
        self.known.push(known);
        Ok(true)
    }
}

/// A graph that can be launched.
struct Graph {
    gpu: Arc<Gpu>,
    graph: CUgraph,
    exec: CUgraphExec,
    nodes: Vec<CUgraphNode>,
    launches: Vec<Planned>,
    words: Vec<u64>,
    /// For each launch, those before it that it waits for.
    waits: Vec<Vec<usize>>,
}

// SAFETY: handles of the driver, which any thread may use; one at a time does, by `&mut Graphs`.
unsafe impl Send for Graph {}

impl Graph {
    fn new(gpu: &Arc<Gpu>, kernels: &[Loaded], launches: &[Planned], words: &[u64]) -> Result<Graph, GpuError> {
        gpu.enter()?;
        let noted = |error: DriverError| gpu.noted(error, 0);
        let mut graph = Graph {
            gpu: Arc::clone(gpu),
            graph: ptr::null_mut(),
            exec: ptr::null_mut(),
            nodes: Vec::with_capacity(launches.len()),
            launches: launches.to_vec(),
            words: words.to_vec(),
            waits: waits(kernels, launches, words),
        };
        // SAFETY: writes a handle to a live place.
        unsafe { sys::cuGraphCreate(&raw mut graph.graph, 0) }.result().map_err(noted)?;
        for (launch, waits) in launches.iter().zip(&graph.waits) {
            let before: Vec<CUgraphNode> = waits.iter().map(|at| graph.nodes[*at]).collect();
            let mut node = ptr::null_mut();
            with_parameters(&kernels[launch.kernel], launch, words, |parameters| {
                // SAFETY: the graph is ours, the nodes before are its own, as many as said; parameters are copied.
                unsafe {
                    sys::cuGraphAddKernelNode_v2(&raw mut node, graph.graph, before.as_ptr(), before.len(), parameters)
                }
            })
            .map_err(noted)?;
            graph.nodes.push(node);
        }
        // SAFETY: the graph is whole.
        graph.exec = unsafe { result::graph::instantiate(graph.graph, CUgraphInstantiate_flags(0)) }.map_err(noted)?;
        Ok(graph)
    }
    /// The graph with these launches, of the same kernels in the same order.
    fn updated(mut self, kernels: &[Loaded], launches: &[Planned], words: &[u64]) -> Result<Graph, GpuError> {
        let moved = |(at, launch): (usize, &Planned)| {
            let (old, new) = (self.launches[at].words(&self.words), launch.words(words));
            kernels[launch.kernel].memories.iter().any(|memory| old[memory.word] != new[memory.word])
        };
        if launches.iter().enumerate().any(moved) && waits(kernels, launches, words) != self.waits {
            return Graph::new(&Arc::clone(&self.gpu), kernels, launches, words);
        }
        self.gpu.enter()?;
        for (at, launch) in launches.iter().enumerate() {
            let old = self.launches[at];
            if old.ctas == launch.ctas && old.words(&self.words) == launch.words(words) {
                continue;
            }
            let (exec, node) = (self.exec, self.nodes[at]);
            with_parameters(&kernels[launch.kernel], launch, words, |parameters| {
                // SAFETY: the node is one of the graph that `exec` was made of, and of the same kernel; parameters are copied.
                unsafe { sys::cuGraphExecKernelNodeSetParams_v2(exec, node, parameters) }
            })
            .map_err(|error| self.gpu.noted(error, 0))?;
        }
        self.launches.clear();
        self.launches.extend_from_slice(launches);
        self.words.clear();
        self.words.extend_from_slice(words);
        Ok(self)
    }
    /// # Safety
    /// As for each launch alone.
    unsafe fn launch(&self) -> Result<(), GpuError> {
        self.gpu.enter()?;
        // SAFETY: the graph is whole, the stream the GPU's own; passed on to the caller.
        unsafe { result::graph::launch(self.exec, self.gpu.stream.cu_stream()) }
            .map_err(|error| self.gpu.noted(error, 0))
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // Errors here have nobody to be told. The driver keeps a graph that still runs until it is done.
        let _ = self.gpu.context.bind_to_thread();
        if !self.exec.is_null() {
            // SAFETY: made once, destroyed once.
            let _ = unsafe { result::graph::exec_destroy(self.exec) };
        }
        if !self.graph.is_null() {
            // SAFETY: made once, destroyed once.
            let _ = unsafe { result::graph::destroy(self.graph) };
        }
    }
}

/// Calls `give` with the parameters of a launch, as nodes have them.
fn with_parameters(
    kernel: &Loaded,
    launch: &Planned,
    words: &[u64],
    give: impl FnOnce(*const Parameters) -> sys::CUresult,
) -> Result<(), DriverError> {
    let mut places = parameters(launch.words(words));
    let parameters = Parameters {
        func: kernel.function.function.cu_function(),
        gridDimX: launch.ctas,
        gridDimY: 1,
        gridDimZ: 1,
        blockDimX: kernel.threads,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: kernel.dynamic_bytes,
        kernelParams: places.as_mut_ptr(),
        extra: ptr::null_mut(),
        kern: ptr::null_mut(),
        ctx: ptr::null_mut(),
    };
    give(&raw const parameters).result()
}

/// A memory that a kernel is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// The word that holds its address.
    pub(crate) word: usize,
    pub(crate) written: bool,
}

/// Who uses a memory: who wrote it last, and who has read it since.
#[derive(Default)]
struct Users {
    writer: Option<usize>,
    readers: Vec<usize>,
}

/// For each launch, those before it that it must wait for, ascending.
fn waits(kernels: &[Loaded], launches: &[Planned], words: &[u64]) -> Vec<Vec<usize>> {
    order(launches.iter().map(|launch| (kernels[launch.kernel].memories.as_slice(), launch.words(words))))
}

/// The same by what each launch is given and its words.
fn order<'l>(launches: impl Iterator<Item = (&'l [Given], &'l [u64])>) -> Vec<Vec<usize>> {
    let mut users: BTreeMap<u64, Users> = BTreeMap::new();
    let mut waits = Vec::new();
    for (at, (memories, words)) in launches.enumerate() {
        let mut before = Vec::new();
        for memory in memories {
            let users = users.entry(words[memory.word]).or_default();
            before.extend(users.writer.filter(|writer| *writer != at));
            if memory.written {
                before.extend(users.readers.drain(..).filter(|reader| *reader != at));
                users.writer = Some(at);
            } else {
                users.readers.push(at);
            }
        }
        before.sort_unstable();
        before.dedup();
        waits.push(before);
    }
    waits
}

#[cfg(test)]
mod tests {
    use super::{Given, order};

    #[test]
    fn launches_wait_for_those_whose_memory_they_share_and_no_others() {
        let (read, write) = (|word| Given { word, written: false }, |word| Given { word, written: true });
        let copy = [read(0), write(1)];
        let sum = [read(0), read(1), write(2)];
        // b = a; c = a; d = b + c; b = d (after its reader); e = a.
        let launches: [(&[Given], &[u64]); 5] =
            [(&copy, &[10, 20]), (&copy, &[10, 30]), (&sum, &[20, 30, 40]), (&copy, &[40, 20]), (&copy, &[10, 50])];
        assert_eq!(order(launches.into_iter()), [vec![], vec![], vec![0, 1], vec![0, 2], vec![]]);
    }

    #[test]
    fn a_memory_that_is_read_and_written_by_one_launch_orders_it_once() {
        let both = [Given { word: 0, written: false }, Given { word: 1, written: true }];
        let launches: [(&[Given], &[u64]); 3] = [(&both, &[10, 10]), (&both, &[10, 10]), (&both, &[10, 10])];
        assert_eq!(order(launches.into_iter()), [vec![], vec![0], vec![1]]);
    }
}
