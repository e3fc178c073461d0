//! The thread pools: the only file that names rayon's pool and reads the thread count.
//!
//! No thread exists before the first parallel work. How work is split never depends on the number
//! of threads: callers cut it by its size, so results have the same bits however many threads run.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Once, OnceLock};

use parking_lot::Mutex;
use rayon::{ThreadPool, ThreadPoolBuilder};
use smallvec::SmallVec;

use crate::storage::sharing::Others;

mod place;
mod post;

use place::Places;
use post::Post;

thread_local! {
    /// Whether the thread belongs to those who help.
    static HELPS: Cell<bool> = const { Cell::new(false) };
}

/// The wanted number of threads; 0 until first asked.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// The pool in which [`install`], [`join`] and [`scope`] run while their caller waits.
static POOL: Slot = Slot { current: AtomicPtr::new(std::ptr::null_mut()), fewer: 0 };

/// The pool that helps a caller of [`for_each`] which works itself. With one thread more than processors, an
/// idle one looking for work took turns with a busy one: 1270 us instead of 460 for 6 MB on two threads.
static HELPERS: Slot = Slot { current: AtomicPtr::new(std::ptr::null_mut()), fewer: 1 };

/// Where a pool is found.
struct Slot {
    /// The one in use, null until needed. A forked child starts with null again.
    current: AtomicPtr<Shared>,
    /// How many threads fewer than [`threads`] it has.
    fewer: usize,
}

/// Work smaller than this many bytes stays on the calling thread: splitting costs 1 to 2 us while helpers are awake,
/// some 10 where one must be woken.
const DEFAULT_THRESHOLD: usize = 1 << 19;

/// A pool and how many calls are inside it. The struct itself is never freed (a few are made in
/// the life of a process), so a stale pointer to it is always safe to read.
struct Shared {
    pool: Mutex<Option<ThreadPool>>,
    raw: *const ThreadPool,
    /// Twice the number of users, plus one when retired by [`set_threads`].
    users: AtomicUsize,
    places: Arc<Places>,
    post: Arc<Post<Job>>,
}

impl Shared {
    fn release(&self) {
        if self.users.fetch_sub(2, Ordering::AcqRel) == 3 {
            self.stop();
        }
    }

    fn retire(&self) {
        if self.users.fetch_or(1, Ordering::AcqRel) == 0 {
            self.stop();
        }
    }

    /// Ends the threads of a retired pool without users. Boxed storage stays, see [`Shared`].
    fn stop(&self) {
        drop(self.pool.lock().take());
    }
}

/// A use of the pool; the pool outlives it. Its threads count as others meanwhile.
struct Guard(&'static Shared, Others);

impl Guard {
    fn pool(&self) -> &ThreadPool {
        // SAFETY: `raw` points into the `Box` leaked with `Shared`; the pool is taken out only when
        // no guard exists (`users` counts them), so the reference is valid while `self` lives.
        unsafe { &*self.0.raw }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Slot {
    /// The current pool, made if need be; `None` when threads cannot be started.
    fn acquire(&self) -> Option<Guard> {
        loop {
            let current = self.current.load(Ordering::Acquire);
            if current.is_null() {
                self.create()?;
                continue;
            }
            // SAFETY: pointers stored in slots come from leaked boxes.
            let shared = unsafe { &*current };
            shared.users.fetch_add(2, Ordering::AcqRel);
            let guard = Guard(shared, Others::enter());
            if self.current.load(Ordering::Acquire) == current {
                return Some(guard);
            }
        }
    }

    fn create(&self) -> Option<()> {
        static AT_FORK: Once = Once::new();
        AT_FORK.call_once(register_fork_handler);
        let threads = threads().saturating_sub(self.fewer).max(1);
        let places = Arc::new(Places::new(threads));
        let begun = places.clone();
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("rustgrad-{i}"))
            .start_handler(move |i| begun.begin(i))
            .build()
            .ok()?;
        let shared = Box::leak(Box::new(Shared {
            pool: Mutex::new(Some(pool)),
            raw: std::ptr::null(),
            users: AtomicUsize::new(0),
            places,
            post: Arc::new(Post::new()),
        }));
        shared.raw = shared.pool.get_mut().as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let made: *mut Shared = shared;
        let null = std::ptr::null_mut();
        let kept =
            self.current.compare_exchange(null, made, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !kept {
            // SAFETY: `made` was leaked above and is known to nobody else.
            unsafe { (*made).retire() };
        }
        Some(())
    }

    /// Sends home who waits for work.
    fn dismiss(&self) {
        let current = self.current.load(Ordering::Acquire);
        if !current.is_null() {
            // SAFETY: pointers stored in slots come from leaked boxes.
            unsafe { (*current).post.dismiss() };
        }
    }

    /// The pool is used no more; work that is under way ends on it.
    fn retire(&self) {
        let old = self.current.swap(std::ptr::null_mut(), Ordering::AcqRel);
        if !old.is_null() {
            // SAFETY: pointers stored in slots come from leaked boxes.
            unsafe { (*old).retire() };
        }
    }
}

/// A forked child has none of the parent's threads: it forgets the pools (the memory leaks) and
/// makes its own when needed. Only atomic stores happen in the handler, as POSIX demands.
#[cfg(unix)]
fn register_fork_handler() {
    extern "C" fn in_child() {
        POOL.current.store(std::ptr::null_mut(), Ordering::Release);
        HELPERS.current.store(std::ptr::null_mut(), Ordering::Release);
    }
    // SAFETY: the handler is async-signal-safe, two atomic stores.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
}

#[cfg(not(unix))]
fn register_fork_handler() {}

fn env_usize(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.trim().parse().ok()
}

/// How many threads parallel work may use, the calling one included: `RUSTGRAD_NUM_THREADS`, or
/// what affinity and cgroup quota allow, or what [`set_threads`] said last.
#[inline]
pub fn threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => {
            let n = env_usize("RUSTGRAD_NUM_THREADS").filter(|&n| n > 0).unwrap_or_else(|| {
                std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
            });
            // Lost against a concurrent `set_threads`, the latter holds.
            let _ = THREADS.compare_exchange(0, n, Ordering::Relaxed, Ordering::Relaxed);
            THREADS.load(Ordering::Relaxed)
        }
        n => n,
    }
}

/// Sets the number of threads (at least one). Work that is under way ends on the old pools.
pub fn set_threads(n: usize) {
    THREADS.store(n.max(1), Ordering::Relaxed);
    POOL.retire();
    HELPERS.retire();
}

/// Bytes of memory traffic below which work is not split; `RUSTGRAD_PARALLEL_THRESHOLD=1` sends
/// everything through the parallel paths, for tests.
#[inline]
pub fn threshold() -> usize {
    static THRESHOLD: OnceLock<usize> = OnceLock::new();
    *THRESHOLD.get_or_init(|| env_usize("RUSTGRAD_PARALLEL_THRESHOLD").unwrap_or(DEFAULT_THRESHOLD))
}

/// Whether the calling thread belongs to the pool.
#[inline]
pub fn in_pool() -> bool {
    rayon::current_thread_index().is_some()
}

/// Runs `f(0), ..., f(tasks - 1)`, with the help of a pool when there is more than one task.
///
/// The caller decides the number of tasks from the size of the problem, never from the number of
/// threads. The calling thread works too, and waits only for tasks that others have begun: never
/// for a thread of the pool to be free, and without doing other work meanwhile. So it may be used
/// inside itself, inside [`install`], and while locks are held that no task takes.
///
/// Every thread begins with a part of its own, the same in every call, and then helps with the others: what
/// it wrote is in its caches when the next operation reads it.
#[inline]
pub fn for_each(tasks: usize, f: impl Fn(usize) + Sync) {
    run(tasks, threads().min(tasks), &f);
}

/// [`for_each`] with the tasks begun in their order, for those that are smaller towards the end.
#[inline]
pub fn in_turn(tasks: usize, f: impl Fn(usize) + Sync) {
    run(tasks, 1, &f);
}

/// [`for_each`] in so many parts, compiled once for all kernels.
fn run(tasks: usize, parts: usize, f: &(dyn Fn(usize) + Sync)) {
    let helpers = threads().min(tasks).saturating_sub(1);
    // A thread of the pool shares with its own, whose user holds a guard. Those who help find jobs in their
    // post alone: what is spawned in their pool would wait until they have nothing else to do.
    let helping = HELPS.get();
    let inside = in_pool() && !helping;
    let guard = if helpers == 0 || inside { None } else { HELPERS.acquire() };
    if helpers == 0 || (guard.is_none() && !inside) {
        return (0..tasks).for_each(f);
    }
    // SAFETY: only the lifetime is changed. Job::work calls f for tasks it claims alone, and this
    // function returns (or unwinds) only when all claimed tasks are done and none is left.
    let f = unsafe {
        std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(f)
    };
    let job = Arc::new(Job {
        f,
        tasks,
        next: (0..parts).map(|part| AtomicUsize::new(part * tasks / parts)).collect(),
        done: AtomicUsize::new(0),
        panic: Mutex::new(None),
        caller: std::thread::current(),
    });
    if let Some(guard) = guard.as_ref().filter(|_| !helping) {
        guard.0.places.keep_off(None);
    }
    match &guard {
        Some(guard) => {
            let post = &guard.0.post;
            post.leave(&job, helpers, |seen| {
                let post = post.clone();
                guard.pool().spawn(move || {
                    HELPS.set(true);
                    post.serve(seen, |job| job.work(number() + 1));
                });
            });
        }
        None => {
            for _ in 0..helpers {
                let job = job.clone();
                rayon::spawn(move || job.work(number()));
            }
        }
    }
    job.work(number() + usize::from(helping));
    job.wait();
    let panic = job.panic.lock().take();
    if let Some(panic) = panic {
        std::panic::resume_unwind(panic);
    }
}

/// The tasks of one [`for_each`].
struct Job {
    f: &'static (dyn Fn(usize) + Sync),
    tasks: usize,
    /// The next task of each part.
    next: SmallVec<[AtomicUsize; 8]>,
    done: AtomicUsize,
    panic: Mutex<Option<Box<dyn std::any::Any + Send>>>,
    caller: std::thread::Thread,
}

/// Which thread of its pool this is; 0 elsewhere.
fn number() -> usize {
    rayon::current_thread_index().unwrap_or(0)
}

impl Job {
    /// Does tasks until none is left, from the part of thread `number` on.
    fn work(&self, number: usize) {
        let parts = self.next.len();
        for part in (0..parts).map(|turn| (number + turn) % parts) {
            let end = (part + 1) * self.tasks / parts;
            loop {
                let i = self.next[part].fetch_add(1, Ordering::Relaxed);
                if i >= end {
                    break;
                }
                self.task(i);
            }
        }
    }

    fn task(&self, i: usize) {
        // A panic must not leave a borrow behind: the caller goes on with it when all is done.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (self.f)(i)));
        if let Err(panic) = result {
            *self.panic.lock() = Some(panic);
        }
        if self.done.fetch_add(1, Ordering::AcqRel) + 1 == self.tasks {
            self.caller.unpark();
        }
    }

    /// Waits for the tasks that others do.
    fn wait(&self) {
        let mut spins = 0u32;
        while self.done.load(Ordering::Acquire) < self.tasks {
            spins += 1;
            if spins < 2000 {
                std::hint::spin_loop();
            } else {
                std::thread::park();
            }
        }
    }
}

/// The pool in which the caller waits; those who helped it leave their processors.
fn whole_pool() -> Option<Guard> {
    HELPERS.dismiss();
    POOL.acquire()
}

/// Runs `f` on the calling thread of the pool, whose processor the others leave.
fn lead<R>(places: &Places, f: impl FnOnce() -> R) -> R {
    places.keep_off(rayon::current_thread_index());
    f()
}

/// Runs `f` on a thread of the pool (where [`for_each`], [`join`] and [`scope`] then stay), or in
/// place when already there or when there is only one thread.
pub fn install<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    if in_pool() || threads() == 1 {
        return f();
    }
    match whole_pool() {
        Some(guard) => {
            let places = &*guard.0.places;
            guard.pool().install(|| lead(places, f))
        }
        None => f(),
    }
}

/// Runs both, possibly at the same time.
pub fn join<A: Send, B: Send>(
    a: impl FnOnce() -> A + Send,
    b: impl FnOnce() -> B + Send,
) -> (A, B) {
    if threads() == 1 {
        let first = a();
        return (first, b());
    }
    install(|| if in_pool() { rayon::join(a, b) } else { (a(), b()) })
}

/// A scope in which tasks of the pool may be spawned; returns when all have ended. `None`, without
/// having run `f`, when no thread can be started.
pub fn scope<'s, R: Send>(f: impl FnOnce(&rayon::Scope<'s>) -> R + Send) -> Option<R> {
    if in_pool() {
        return Some(rayon::scope(f));
    }
    let guard = whole_pool()?;
    let places = &*guard.0.places;
    Some(guard.pool().scope(|scope| lead(places, || f(scope))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_nested_or_not() {
        let counts: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
        in_turn(10, |i| {
            for_each(10, |j| {
                counts[i * 10 + j].fetch_add(1, Ordering::Relaxed);
            });
        });
        assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
        let (a, b) = install(|| join(|| 1, || 2));
        assert_eq!((a, b), (1, 2));
    }

    #[test]
    fn pools_can_be_replaced_while_in_use() {
        let before = threads();
        std::thread::scope(|s| {
            s.spawn(|| (0..200).for_each(|_| for_each(4, |_| ())));
            s.spawn(|| (0..20).for_each(|i| set_threads(2 + i % 3)));
        });
        set_threads(before);
        for_each(4, |_| ());
    }

    #[cfg(unix)]
    #[test]
    fn a_forked_child_can_compute() {
        set_threads(2);
        for_each(4, |_| ());
        // SAFETY: the child only computes and leaves by `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let sum = AtomicUsize::new(0);
            for_each(8, |i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
            // SAFETY: as above.
            unsafe { libc::_exit(i32::from(sum.load(Ordering::Relaxed) != 28)) };
        }
        let mut status = 0;
        // SAFETY: `pid` is our child, `status` is writable.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(status, 0);
    }
}
