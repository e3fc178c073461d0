//! Work put off: a core whose elements are made when first needed, so that a run of elementwise
//! operations becomes one pass over memory.
//!
//! Nothing a user can see changes. Memory that would run short does so at the line that asks for it;
//! whoever touches elements takes an [`Access`](super::Access), which has them
//! made first; a write in place first has everything made that reads what is overwritten; memory
//! lent to others is never read later. At most 64 cores wait at a time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::{Buf, Core, LENT, READER};
use crate::dtype::DType;
use crate::error::Result;
use crate::kernels::block::Block;
use crate::kernels::elementwise::MAX_INPUTS;
use crate::shape::{Strides, contiguous_strides};

/// Cores that wait at a time; the oldest is made when there is one more.
const MOST: usize = 64;
/// Operations in one program; what reads more has its inputs made.
pub const LONGEST: usize = 32;
/// Bytes of a result below which putting it off costs more than it saves.
const LEAST: usize = 128 * 1024;

/// How elements of an input go with those of the output, which are counted as they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// One for one.
    Each,
    /// The same one for all.
    One,
    /// Each for a run of so many.
    Run(usize),
    /// So many, again and again.
    Cycle(usize),
    /// From across, see [`Across`].
    Across(Across),
}

/// How an input lies that is walked against its order, as a transposed matrix: planes of rows of the
/// output, along which it is far apart, one row beside the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Across {
    /// Rows of a plane.
    pub rows: usize,
    /// Elements of a row.
    pub cols: usize,
    /// Elements from one of a row to the next.
    pub col: isize,
    /// Elements from one plane to the next.
    pub plane: isize,
}

/// Bytes of input brought together at a time where it is walked from across: a part of the cache that
/// keeps a core's own data.
const PANEL: usize = 256 * 1024;
/// Elements of such a panel that are worth it.
const PANEL_LEAST: usize = 4096;
/// Rows of a panel: a line of the cache, at least, for all that have so many.
const PANEL_ROWS: usize = 16;

impl Across {
    /// Rows brought together.
    pub fn together(&self, size: usize) -> usize {
        let line = (64 / size).max(PANEL_ROWS);
        line.max((PANEL_LEAST / self.cols).next_multiple_of(line)).min(self.rows)
    }

    /// Bytes of a panel.
    pub fn bytes(&self, size: usize) -> usize {
        self.together(size) * self.cols * size
    }

    /// The first element of the panel that an element of the output is in, and the one after its last.
    pub fn panel(&self, at: usize, together: usize) -> (usize, usize) {
        let plane = self.rows * self.cols;
        let start = at - at % plane;
        let length = together * self.cols;
        let first = start + (at - start) / length * length;
        (first, (first + length).min(start + plane))
    }
}

/// A result whose dimensions lie in memory in another order than their own.
pub struct Turned<'a> {
    /// Its sizes in their own order.
    pub shape: &'a [usize],
    /// Its strides.
    pub strides: &'a [isize],
    /// The strides of the inputs over the dimensions as they lie.
    pub inputs: &'a [Strides],
}

/// An elementwise operation.
pub struct Work<'a> {
    /// What is done to each run of elements.
    pub block: Block,
    /// The parameters of the block.
    pub p: &'a [f64; 2],
    /// The dtype of the result.
    pub dtype: DType,
    /// The sizes of the result, as its dimensions lie.
    pub shape: &'a [usize],
    /// What is read.
    pub ins: &'a [&'a Arc<Core>],
    /// How the result lies, if not in row-major order.
    pub turned: Option<Turned<'a>>,
}

/// One operation that was put off.
pub struct Step {
    /// What is done to each run of elements.
    pub block: Block,
    /// The parameters of the block.
    pub p: [f64; 2],
    /// What is read, and how.
    pub ins: SmallVec<[(Arc<Core>, Reach); 3]>,
}

/// What a core waits for.
pub struct Deferred {
    /// What carries it out.
    run: fn(&Core),
    step: Mutex<Option<Arc<Step>>>,
    made: AtomicBool,
    /// How often the elements were made and not kept.
    passes: AtomicUsize,
    /// Operations in the program of this core, counted with repetitions.
    length: usize,
    /// Bytes of the panels of that program.
    panels: usize,
}

/// The cores that wait, oldest first.
static WAITING: Mutex<VecDeque<Weak<Core>>> = Mutex::new(VecDeque::new());
static RUNS: AtomicUsize = AtomicUsize::new(0);

/// How many fused passes were run so far.
pub fn passes() -> usize {
    RUNS.load(Ordering::Relaxed)
}

pub(crate) fn count_pass() {
    RUNS.fetch_add(1, Ordering::Relaxed);
}

fn least() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| {
        // The pass of the tests that sends all work through the parallel code also fuses it all.
        let bytes = LEAST.min(crate::parallel::threshold());
        match std::env::var("RUSTGRAD_FUSION").as_deref() {
            Ok("0") => usize::MAX,
            _ => bytes.max(2),
        }
    })
}

/// Whether elementwise work with a result of this size is put off, if nothing forbids it.
#[inline]
pub fn pays(numel: usize, dtype: DType) -> bool {
    numel >= 2 && numel * dtype.size() >= least()
}

/// How an input goes with an output of this shape, if simply.
fn reach(core: &Core, shape: &[usize], numel: usize) -> Option<Reach> {
    if core.is_contiguous() && core.numel() == numel {
        return Some(Reach::Each);
    }
    if core.numel() == 1 {
        return Some(Reach::One);
    }
    let missing = shape.len().checked_sub(core.shape().len())?;
    let stride = |dim: usize| {
        if dim < missing || core.shape()[dim - missing] == 1 {
            0
        } else {
            core.strides()[dim - missing]
        }
    };
    reach_of((0..shape.len()).map(|dim| (shape[dim], stride(dim))), core.dtype().size())
}

/// How an input with these strides over the output's sizes goes with it.
pub(crate) fn reach_of(dims: impl Iterator<Item = (usize, isize)>, size: usize) -> Option<Reach> {
    // Dimensions of one element say nothing.
    let dims: SmallVec<[(usize, isize); 6]> = dims.filter(|&(n, _)| n != 1).collect();
    let dense = |dims: &[(usize, isize)]| {
        let mut expected = 1;
        for &(n, s) in dims.iter().rev() {
            if s != expected {
                return None;
            }
            expected *= n as isize;
        }
        Some(expected as usize)
    };
    let zeros = |dims: &[(usize, isize)]| dims.iter().all(|&(_, s)| s == 0);
    if zeros(&dims) {
        return Some(Reach::One);
    }
    if dense(&dims).is_some() {
        return Some(Reach::Each);
    }
    for cut in 1..dims.len() {
        let (head, tail) = dims.split_at(cut);
        if zeros(head) {
            if let Some(n) = dense(tail) {
                return Some(Reach::Cycle(n));
            }
        }
        if zeros(tail) && dense(head).is_some() {
            return Some(Reach::Run(tail.iter().map(|&(n, _)| n).product()));
        }
    }
    across(&dims, size).map(Reach::Across)
}

fn across(dims: &[(usize, isize)], size: usize) -> Option<Across> {
    let mut joined: SmallVec<[(usize, isize); 6]> = SmallVec::new();
    for &(n, s) in dims {
        match joined.last_mut() {
            Some(last) if last.1 == s * n as isize => *last = (last.0 * n, s),
            _ => joined.push((n, s)),
        }
    }
    let (plane, rows, cols, col) = match joined[..] {
        [(rows, 1), (cols, col)] => (0, rows, cols, col),
        [(_, plane), (rows, 1), (cols, col)] => (plane, rows, cols, col),
        _ => return None,
    };
    let across = Across { rows, cols, col, plane };
    (rows >= PANEL_ROWS && col > 1 && across.bytes(size) <= PANEL).then_some(across)
}

/// Puts work off, to be carried out by `run`, or gives `None` where that would not pay or not be safe.
pub fn defer(run: fn(&Core), work: &Work<'_>) -> Option<Result<Arc<Core>>> {
    let numel: usize = work.shape.iter().product();
    if !pays(numel, work.dtype) || work.ins.len() > MAX_INPUTS {
        return None;
    }
    let mut step = Step { block: work.block, p: *work.p, ins: SmallVec::new() };
    let mut whole = false;
    let mut panels = 0;
    for (i, core) in work.ins.iter().enumerate() {
        let size = core.dtype().size();
        let reach = match &work.turned {
            None => reach(core, work.shape, numel)?,
            Some(turned) => {
                let strides = turned.inputs[i].iter().copied();
                reach_of(work.shape.iter().copied().zip(strides), size)?
            }
        };
        whole |= matches!(reach, Reach::Each | Reach::Across(_));
        if let Reach::Across(across) = reach {
            panels += across.bytes(size);
        }
        let root = core.root();
        if matches!(root.buf, Buf::Foreign(..)) || root.readers.load(Ordering::Acquire) & LENT != 0
        {
            return None;
        }
        step.ins.push(((*core).clone(), reach));
    }
    if !whole {
        return None;
    }
    let (own, mut length) = (panels, 1);
    for (core, reach) in &step.ins {
        if core.is_waiting() && *reach != Reach::Each {
            core.settle();
        } else if let Some(deferred) = core.deferred() {
            length += deferred.length;
            panels += deferred.panels;
        }
    }
    if length > LONGEST || panels > PANEL {
        for (core, _) in &step.ins {
            core.settle();
        }
        (length, panels) = (1, own);
    }
    let dense;
    let (shape, strides) = match &work.turned {
        Some(turned) => (turned.shape, turned.strides),
        None => {
            dense = contiguous_strides(work.shape);
            (work.shape, &dense[..])
        }
    };
    let core = Core::promise(work.dtype, shape, strides);
    Some(core.map(|core| wait(core, run, Arc::new(step), length, panels)))
}

/// A fresh core, promised its memory, that waits for a step.
fn wait(
    mut core: Arc<Core>,
    run: fn(&Core),
    step: Arc<Step>,
    length: usize,
    panels: usize,
) -> Arc<Core> {
    for (input, _) in &step.ins {
        input.root().readers.fetch_add(READER, Ordering::AcqRel);
    }
    let step = Mutex::new(Some(step));
    let deferred = Box::new(Deferred {
        run,
        step,
        made: AtomicBool::new(false),
        passes: AtomicUsize::new(0),
        length,
        panels,
    });
    // Nobody else has the fresh core.
    if let Some(fresh) = Arc::get_mut(&mut core) {
        *fresh.deferred.get_mut() = Box::into_raw(deferred);
    }
    let oldest = {
        let mut waiting = WAITING.lock();
        waiting.push_back(Arc::downgrade(&core));
        if waiting.len() > MOST { waiting.pop_front() } else { None }
    };
    if let Some(oldest) = oldest.and_then(|weak| weak.upgrade()) {
        oldest.settle();
    }
    core
}

/// A core that waits for the elements another one waits for, with the same order of them in memory but
/// other dimensions: instead of a view, where nobody can tell, because `core` has one handle and is about
/// to go. `None` where that is not so.
pub fn relaid(core: &Arc<Core>, shape: &[usize], strides: &[isize]) -> Option<Arc<Core>> {
    let deferred = core.deferred().filter(|_| core.is_waiting() && Arc::strong_count(core) == 1)?;
    let step = deferred.step()?;
    let (run, length, panels) = (deferred.run, deferred.length, deferred.panels);
    let fresh = Core::promise(core.dtype(), shape, strides).ok()?;
    Some(wait(fresh, run, step, length, panels))
}

impl Deferred {
    /// The operation, unless it was carried out.
    pub(crate) fn step(&self) -> Option<Arc<Step>> {
        self.step.lock().clone()
    }

    /// Notes that the elements are made without being kept; gives how often that was so before.
    pub(crate) fn pass(&self) -> usize {
        self.passes.fetch_add(1, Ordering::AcqRel)
    }

    /// How often the elements were made without being kept.
    pub(crate) fn passes(&self) -> usize {
        self.passes.load(Ordering::Acquire)
    }
}

impl Core {
    #[inline]
    pub(crate) fn deferred(&self) -> Option<&Deferred> {
        let deferred = self.deferred.load(Ordering::Acquire);
        // SAFETY: set before the core was shared and freed when it is dropped.
        unsafe { deferred.as_ref() }
    }

    /// Whether the elements are yet to be made.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.deferred().is_some_and(|deferred| !deferred.made.load(Ordering::Acquire))
    }

    /// Makes the elements, if they were put off.
    #[inline]
    pub fn settle(&self) {
        if let Some(deferred) = self.deferred() {
            if !deferred.made.load(Ordering::Acquire) {
                (deferred.run)(self);
            }
        }
    }

    /// Makes everything that is to read this root, which is about to be written.
    #[inline]
    pub(super) fn settle_readers(&self) {
        if self.readers.load(Ordering::Acquire) >= READER {
            self.settle_readers_now();
        }
    }

    #[cold]
    fn settle_readers_now(&self) {
        let reads = |core: &Arc<Core>| {
            let step = core.deferred().and_then(Deferred::step);
            step.is_some_and(|step| {
                step.ins.iter().any(|(input, _)| std::ptr::eq(input.root(), self))
            })
        };
        let waiting: SmallVec<[Arc<Core>; 8]> =
            WAITING.lock().iter().filter_map(Weak::upgrade).collect();
        for core in waiting.iter().filter(|core| reads(core)) {
            core.settle();
        }
    }

    /// Notes that the memory is in the hands of others, who may write it unseen.
    pub(super) fn lend(&self) {
        let root = self.root();
        root.settle();
        root.readers.fetch_or(LENT, Ordering::AcqRel);
        root.settle_readers();
    }

    /// Marks the elements as made: called once, by who made them, with the core locked.
    pub(crate) fn set_made(&self) -> Option<Arc<Step>> {
        let deferred = self.deferred()?;
        let step = deferred.step.lock().take();
        deferred.made.store(true, Ordering::Release);
        if let Some(step) = &step {
            self.leave(step);
        }
        step
    }

    /// Takes the core off the list of those that wait.
    fn leave(&self, step: &Step) {
        for (input, _) in &step.ins {
            input.root().readers.fetch_sub(READER, Ordering::AcqRel);
        }
        let mut gone: SmallVec<[Weak<Core>; 2]> = SmallVec::new();
        WAITING.lock().retain_mut(|weak| {
            let keep = !std::ptr::eq(weak.as_ptr(), self);
            if !keep {
                gone.push(std::mem::take(weak));
            }
            keep
        });
    }

    /// Forgets what was put off and never asked for.
    pub(super) fn drop_deferred(&mut self) {
        let deferred = std::mem::replace(self.deferred.get_mut(), std::ptr::null_mut());
        if deferred.is_null() {
            return;
        }
        // SAFETY: made by `Box::into_raw` in `defer`, and freed here only.
        let deferred = unsafe { Box::from_raw(deferred) };
        let step = deferred.step.lock().take();
        if let Some(step) = step {
            self.leave(&step);
        }
    }
}
