//! Thread-local grad mode.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// What recording has to do beyond its work: pack what is saved.
pub(super) const PACKING: u8 = 1;
/// Look for numbers that are not finite.
pub(super) const WATCHING: u8 = 2;
/// Tell the embedder of writes in place before they happen.
pub(super) const WRITES: u8 = 4;
/// Tell the embedder of nodes as they are made.
pub(super) const CREATION: u8 = 8;
const EXTRAS: u8 = PACKING | WATCHING | WRITES | CREATION;
/// Operations are recorded: what was asked for, unless in inference mode.
const RECORDS: u8 = 16;
const INFERENCE: u8 = 32;

/// All modes that an operation asks for, in one look: thread-local variables of a shared library cost
/// a call each.
#[derive(Clone, Copy)]
pub(crate) struct Modes(u8);

impl Modes {
    /// Those of this thread, now.
    #[inline]
    pub(crate) fn now() -> Self {
        Self(MODES.get())
    }

    /// Whether operations are recorded.
    #[inline]
    pub(crate) fn records(self) -> bool {
        self.0 & RECORDS != 0
    }

    /// Whether the thread is in inference mode.
    #[inline]
    pub(crate) fn inference(self) -> bool {
        self.0 & INFERENCE != 0
    }

    /// Whether recording has to do something beyond its work.
    #[inline]
    pub(crate) fn any_extra(self) -> bool {
        self.0 & EXTRAS != 0
    }

    fn set(mode: u8, on: bool) {
        let rest = MODES.get() & !mode;
        MODES.set(if on { rest | mode } else { rest });
    }
}

thread_local! {
    static MODES: Cell<u8> = const { Cell::new(RECORDS) };
    /// What the user asked for.
    static GRAD: Cell<bool> = const { Cell::new(true) };
    static TASK: Cell<TaskState> = const { Cell::new(TaskState { id: 0, selective: false }) };
    /// Whether derivatives are carried forward, which needs the record of operations also where no
    /// gradient is asked for.
    static FORWARD: Cell<bool> = const { Cell::new(false) };
    /// Whether the pass that runs is one that finds such derivatives.
    static TANGENTS: Cell<bool> = const { Cell::new(false) };
    /// Whether backward passes may use several threads.
    static THREADS: Cell<bool> = const { Cell::new(true) };
    /// Whether a gradient that becomes `.grad` must be laid out like its leaf.
    static LAYOUT: Cell<bool> = const { Cell::new(true) };
}

/// Whether operations on this thread are recorded.
#[inline]
pub fn is_grad_enabled() -> bool {
    Modes::now().records()
}

/// Whether recording is asked for on this thread; inference mode may overrule it.
pub fn grad_wanted() -> bool {
    GRAD.get()
}

/// Switches recording on this thread; returns what was asked for before.
pub fn set_grad_enabled(enabled: bool) -> bool {
    Modes::set(RECORDS, (enabled || FORWARD.get()) && !is_inference());
    GRAD.replace(enabled)
}

/// Whether derivatives are carried forward on this thread.
pub fn is_forward() -> bool {
    FORWARD.get()
}

/// Carries derivatives forward, or no longer: recording stays on meanwhile, whatever is asked for.
pub fn set_forward(on: bool) {
    FORWARD.set(on);
    Modes::set(RECORDS, (GRAD.get() || on) && !is_inference());
}

/// Whether the pass that runs on this thread finds derivatives that are carried forward.
pub(crate) fn finds_tangents() -> bool {
    TANGENTS.get()
}

/// Marks the passes that follow on this thread as such, or no longer; returns what it was.
pub fn set_finds_tangents(on: bool) -> bool {
    TANGENTS.replace(on)
}

/// Whether backward passes started on this thread may use several threads.
pub fn is_multithreading_enabled() -> bool {
    THREADS.get()
}

/// Allows backward passes to use several threads, or not; returns what it was.
pub fn set_multithreading_enabled(enabled: bool) -> bool {
    THREADS.replace(enabled)
}

/// Whether a gradient must be laid out like its leaf to become `.grad` without a copy.
pub fn is_layout_enforced() -> bool {
    LAYOUT.get()
}

/// Requires gradients to be laid out like their leaf, or not; returns what it was.
pub fn set_layout_enforced(enforced: bool) -> bool {
    LAYOUT.replace(enforced)
}

/// The modes of a thread, for another thread that goes on with its work: recording, inference, several
/// threads, layouts.
#[derive(Clone, Copy, Debug)]
pub struct ThreadModes([bool; 4]);

impl ThreadModes {
    /// Those of this thread.
    pub fn here() -> Self {
        Self([GRAD.get(), is_inference(), THREADS.get(), LAYOUT.get()])
    }

    /// Makes them this thread's.
    pub fn apply(self) {
        let [grad, inference, threads, layout] = self.0;
        set_inference(inference);
        set_grad_enabled(grad);
        set_multithreading_enabled(threads);
        set_layout_enforced(layout);
    }
}

/// Which extras are on, on this thread.
#[inline]
pub(super) fn extras() -> u8 {
    MODES.get() & EXTRAS
}

/// Switches an extra.
pub(super) fn set_extra(extra: u8, on: bool) {
    Modes::set(extra, on);
}

/// Whether this thread is in inference mode: no recording, no views or versions tracked.
#[inline]
pub fn is_inference() -> bool {
    Modes::now().inference()
}

/// Switches inference mode on this thread; returns what it was.
pub fn set_inference(enabled: bool) -> bool {
    let before = is_inference();
    Modes::set(RECORDS, (GRAD.get() || FORWARD.get()) && !enabled);
    Modes::set(INFERENCE, enabled);
    before
}

/// Restores the grad mode when dropped.
///
/// ```
/// use rustgrad_engine::graph::{GradMode, is_grad_enabled};
/// let guard = GradMode::no_grad();
/// assert!(!is_grad_enabled());
/// drop(guard);
/// assert!(is_grad_enabled());
/// ```
#[must_use]
pub struct GradMode {
    asked: bool,
    records: bool,
}

impl GradMode {
    /// Recording as told until the guard is dropped.
    pub fn set(enabled: bool) -> Self {
        let before = Self { asked: GRAD.replace(enabled), records: is_grad_enabled() };
        Modes::set(RECORDS, enabled && !is_inference());
        before
    }
    /// No recording until the guard is dropped.
    pub fn no_grad() -> Self {
        Self::set(false)
    }
    /// Recording until the guard is dropped.
    pub fn enable_grad() -> Self {
        Self::set(true)
    }
}

impl Drop for GradMode {
    fn drop(&mut self) {
        GRAD.set(self.asked);
        Modes::set(RECORDS, self.records);
    }
}

#[derive(Clone, Copy)]
struct TaskState {
    id: u64,
    selective: bool,
}

static TASKS: AtomicU64 = AtomicU64::new(1);

/// The number of the backward pass that runs on this thread, the innermost if passes are nested.
pub fn current_task() -> Option<u64> {
    Some(TASK.get().id).filter(|&id| id != 0)
}

/// Whether that pass, or one around it, delivers gradients to chosen places only (`grad`, or
/// `backward` with inputs).
pub fn current_task_is_selective() -> bool {
    TASK.get().selective
}

/// Numbers a backward pass, until dropped.
pub(super) struct Task(TaskState);

impl Task {
    pub(super) fn enter(selective: bool) -> Self {
        let id = TASKS.fetch_add(1, Ordering::Relaxed);
        let selective = selective || TASK.get().selective;
        Self(TASK.replace(TaskState { id, selective }))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        TASK.set(self.0);
    }
}
