//! What the graph can tell of itself: where a pass failed, where the first number that is not
//! finite came from, and which lines hold memory.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::arena::NodeRef;
use super::hooks::GradList;
use super::node::{Edge, Node, WITNESSED};
use super::site::Site;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::shape::Dims;
use crate::storage::Core;
use crate::tensor::Tensor;

const ENABLED: u8 = 1;
const CHECK_NAN: u8 = 2;
/// Some thread watched for numbers that are not finite; until then nobody need look.
const WATCHED: u8 = 4;
static ANOMALY: AtomicU8 = AtomicU8::new(0);

/// Whether anomaly detection is on, and whether it looks for NaN.
pub fn anomaly() -> (bool, bool) {
    let mode = ANOMALY.load(Ordering::Relaxed);
    (mode & ENABLED != 0, mode & CHECK_NAN != 0)
}

/// Switches anomaly detection for the whole process; with `check_nan` a gradient that has a NaN is
/// an error that names the line of the operation it belongs to.
pub fn set_anomaly(enabled: bool, check_nan: bool) {
    let mode = if enabled { ENABLED } else { 0 } | if check_nan { CHECK_NAN } else { 0 };
    let watched = ANOMALY.load(Ordering::Relaxed) & WATCHED;
    ANOMALY.store(mode | watched, Ordering::Relaxed);
}

/// Where to look for the write that a saved tensor did not survive.
pub(crate) fn hint() -> &'static str {
    if anomaly().0 {
        "Hint: the backtrace further above shows the operation that failed to compute its gradient. \
         The variable in question was changed in there or anywhere later. Good luck!"
    } else {
        "Hint: enable anomaly detection to find the operation that failed to compute its gradient, \
         with torch.autograd.set_detect_anomaly(True, check_nan=False)."
    }
}

/// Whether a pass has to stay on one thread and be looked at node by node.
#[inline]
pub(super) fn watching_backward() -> bool {
    let mode = ANOMALY.load(Ordering::Relaxed);
    mode & (ENABLED | WATCHED) != 0 && (mode & ENABLED != 0 || WATCH.get())
}

/// The node a pass failed in.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its class name.
    pub name: String,
    /// The line that recorded it.
    pub site: Site,
    /// Whether it was recorded under anomaly detection.
    pub witnessed: bool,
    /// The node whose gradient was being computed when it was recorded.
    pub cause: Option<Arc<Failure>>,
}

impl Failure {
    fn of(node: &Node) -> Self {
        Self {
            name: node.name().to_owned(),
            site: node.site(),
            witnessed: node.has(WITNESSED),
            cause: node.more_if().and_then(|more| more.cause.get().cloned()),
        }
    }
}

/// Notes of a fresh node that it was recorded under anomaly detection, and in whose gradient.
#[inline]
pub(super) fn witness(node: &Node) {
    if ANOMALY.load(Ordering::Relaxed) & ENABLED != 0 {
        node.set(WITNESSED);
        if let Some(cause) = CAUSE.with_borrow(Clone::clone) {
            let _ = node.more().cause.set(cause);
        }
    }
}

thread_local! {
    /// The node whose rule is running, under anomaly detection.
    static CAUSE: RefCell<Option<Arc<Failure>>> = const { RefCell::new(None) };
    static FAILURE: RefCell<Option<Failure>> = const { RefCell::new(None) };
    static WATCH: Cell<bool> = const { Cell::new(false) };
    static FOUND: RefCell<Option<NonFinite>> = const { RefCell::new(None) };
}

/// The node in which the last pass on this thread failed under anomaly detection, once.
pub fn take_failure() -> Option<Failure> {
    FAILURE.take()
}

/// Runs a node's rule and looks at what it gives, while someone watches.
#[cold]
pub(super) fn inspect(
    node: &Node,
    incoming: &GradList,
    run: impl FnOnce() -> Result<GradList>,
) -> Result<GradList> {
    let (enabled, check_nan) = anomaly();
    let result = if enabled {
        let outer = CAUSE.replace(Some(Arc::new(Failure::of(node))));
        let result = run();
        CAUSE.set(outer);
        result
    } else {
        run()
    };
    let note = || format!("  {} was recorded at {}", node.name(), node.site());
    let mut result = result;
    if enabled && check_nan {
        if let Ok(grads) = &result {
            for (i, grad) in grads.iter().enumerate() {
                let Some(grad) = grad else { continue };
                if Range::of(&grad.core()).is_some_and(|range| range.nans > 0) {
                    result = Err(Error::runtime(format!(
                        "Function '{}' returned nan values in its {i}th output.",
                        node.name()
                    )));
                    break;
                }
            }
        }
    }
    if let Ok(grads) = &result {
        if WATCH.get() {
            let (before, after) = (present(incoming), present(grads));
            let before: Vec<_> = before.iter().map(|tensor| tensor.shared_core()).collect();
            for tensor in after {
                watch(node.name(), node.site(), true, &before, &tensor.core());
            }
        }
    }
    if enabled {
        result = result.map_err(|error| {
            let noted = error.with_note(note());
            FAILURE.with_borrow_mut(|failure| {
                failure.get_or_insert(Failure::of(node));
            });
            noted
        });
    }
    result
}

fn present(grads: &GradList) -> Vec<&Tensor> {
    grads.iter().flatten().collect()
}

// ---- the first number that is not finite

/// What the elements of a floating-point tensor are like.
#[derive(Clone, Debug)]
pub struct Range {
    /// The shape.
    pub shape: Dims,
    /// The element type.
    pub dtype: DType,
    /// The least and the largest finite element, if there is one.
    pub finite: Option<(f64, f64)>,
    /// How many elements are NaN.
    pub nans: usize,
    /// How many are infinite.
    pub infinities: usize,
}

impl Range {
    /// `None` for dtypes that are always finite.
    fn of(core: &Core) -> Option<Self> {
        if !core.dtype().is_float() {
            return None;
        }
        let dense = crate::launch::blocks::copy_core(core).ok()?;
        let mut range = Self {
            shape: Dims::from_slice(core.shape()),
            dtype: core.dtype(),
            finite: None,
            nans: 0,
            infinities: 0,
        };
        let mut see = |x: f64| {
            if x.is_nan() {
                range.nans += 1;
            } else if x.is_infinite() {
                range.infinities += 1;
            } else {
                let (low, high) = range.finite.unwrap_or((x, x));
                range.finite = Some((low.min(x), high.max(x)));
            }
        };
        if dense.dtype() == DType::F32 {
            for x in crate::storage::to_vec::<f32>(&dense) {
                see(f64::from(x));
            }
        } else {
            for x in crate::storage::to_vec::<f64>(&dense) {
                see(x);
            }
        }
        Some(range)
    }

    fn is_finite(&self) -> bool {
        self.nans == 0 && self.infinities == 0
    }
}

/// The first operation whose inputs were finite and whose output was not.
#[derive(Clone, Debug)]
pub struct NonFinite {
    /// The node's class name.
    pub name: String,
    /// The line that recorded it.
    pub site: Site,
    /// Whether it was its gradient.
    pub backward: bool,
    /// What went in.
    pub inputs: Vec<Range>,
    /// What came out.
    pub output: Range,
}

/// Starts or ends watching the recorded operations of this thread; returns what it was. What was
/// found before is forgotten when watching starts.
pub fn watch_nonfinite(on: bool) -> bool {
    if on && !WATCH.get() {
        FOUND.take();
    }
    super::mode::set_extra(super::mode::WATCHING, on);
    ANOMALY.fetch_or(WATCHED, Ordering::Relaxed);
    WATCH.replace(on)
}

/// What was found on this thread.
pub fn found_nonfinite() -> Option<NonFinite> {
    FOUND.with_borrow(Clone::clone)
}

fn watch(name: &str, site: Site, backward: bool, inputs: &[Arc<Core>], output: &Core) {
    if FOUND.with_borrow(Option::is_some) {
        return;
    }
    let Some(output) = Range::of(output).filter(|range| !range.is_finite()) else { return };
    let inputs: Vec<Range> = inputs.iter().filter_map(|core| Range::of(core)).collect();
    if inputs.iter().all(Range::is_finite) {
        let found = NonFinite { name: name.to_owned(), site, backward, inputs, output };
        FOUND.with_borrow_mut(|place| *place = Some(found));
    }
}

/// Looks at an operation that is being recorded.
#[cold]
#[track_caller]
pub(super) fn watch_forward(name: &str, inputs: &[&Tensor], outputs: &[&Tensor]) {
    let inputs: Vec<_> = inputs.iter().map(|input| input.shared_core()).collect();
    for output in outputs {
        watch(name, Site::here(), false, &inputs, &output.core());
    }
}

// ---- memory

/// What the nodes recorded at one line hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct LineUsage {
    /// How many nodes are alive.
    pub nodes: usize,
    /// How many tensors they saved.
    pub tensors: usize,
    /// Bytes of the buffers these tensors keep alive, each counted at the first line that holds it.
    pub bytes: usize,
}

/// Live nodes and the bytes their saved tensors hold, by line of the program, the most bytes first.
/// Accumulators of leaves, which no line recorded, are left out.
pub fn memory() -> Vec<(Site, LineUsage)> {
    let mut lines: HashMap<Site, LineUsage> = HashMap::new();
    let mut seen = HashSet::new();
    let mut nodes = super::live_nodes();
    nodes.sort_by_key(|node| node.sequence_nr());
    for node in nodes.iter().filter(|node| !node.is_leaf()) {
        let line = lines.entry(node.site()).or_default();
        line.nodes += 1;
        for core in node.saved_cores() {
            line.tensors += 1;
            if seen.insert(std::ptr::from_ref(core.root()) as usize) {
                line.bytes += core.storage_bytes();
            }
        }
    }
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort_by_key(|(site, line)| (std::cmp::Reverse((line.bytes, line.nodes)), site.0));
    lines
}

impl Node {
    /// The buffers of what the node saved.
    fn saved_cores(&self) -> Vec<Arc<Core>> {
        let mut cores = self.op.saved_cores();
        let collect = self.for_saved(|saved| {
            cores.extend(saved.core.clone());
            Ok(())
        });
        debug_assert!(collect.is_ok());
        cores
    }
}

/// Whether a place in a graph leads to leaves other than those that `points` are the edges of.
pub fn leads_elsewhere(from: &Edge, points: &[Edge]) -> bool {
    let known: Vec<u32> =
        points.iter().filter_map(|edge| edge.node.as_ref().map(NodeRef::id)).collect();
    let mut seen = HashSet::new();
    let mut stack: Vec<&NodeRef> = from.node.iter().collect();
    while let Some(node) = stack.pop() {
        if known.contains(&node.id()) || !seen.insert(node.id()) {
            continue;
        }
        if node.is_leaf() {
            return true;
        }
        stack.extend(node.edges().iter().filter_map(|edge| edge.node.as_ref()));
    }
    false
}
