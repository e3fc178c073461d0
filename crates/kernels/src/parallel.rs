//! The thread pool: the only file that names rayon's pool and reads the thread count.
//!
//! No thread exists before the first parallel work. How work is split never depends on the number
//! of threads: callers cut it by its size, so results have the same bits however many threads run.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Once, OnceLock};

use parking_lot::Mutex;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::storage::sharing::Others;

/// The wanted number of threads; 0 until first asked.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// The pool in use, null until needed. A forked child starts with null again, see [`acquire`].
static POOL: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());

/// Work smaller than this many bytes stays on the calling thread: splitting costs some 10 us.
const DEFAULT_THRESHOLD: usize = 1 << 20;

/// A pool and how many calls are inside it. The struct itself is never freed (a few are made in
/// the life of a process), so a stale pointer to it is always safe to read.
struct Shared {
    pool: Mutex<Option<ThreadPool>>,
    raw: *const ThreadPool,
    /// Twice the number of users, plus one when retired by [`set_threads`].
    users: AtomicUsize,
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

/// The current pool, made if need be; `None` when threads cannot be started.
fn acquire() -> Option<Guard> {
    loop {
        let current = POOL.load(Ordering::Acquire);
        if current.is_null() {
            create()?;
            continue;
        }
        // SAFETY: pointers stored in POOL come from leaked boxes.
        let shared = unsafe { &*current };
        shared.users.fetch_add(2, Ordering::AcqRel);
        let guard = Guard(shared, Others::enter());
        if POOL.load(Ordering::Acquire) == current {
            return Some(guard);
        }
    }
}

fn create() -> Option<()> {
    static AT_FORK: Once = Once::new();
    AT_FORK.call_once(register_fork_handler);
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads())
        .thread_name(|i| format!("rustgrad-{i}"))
        .build()
        .ok()?;
    let shared = Box::leak(Box::new(Shared {
        pool: Mutex::new(Some(pool)),
        raw: std::ptr::null(),
        users: AtomicUsize::new(0),
    }));
    shared.raw = shared.pool.get_mut().as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let made: *mut Shared = shared;
    let null = std::ptr::null_mut();
    if POOL.compare_exchange(null, made, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: `made` was leaked above and is known to nobody else.
        unsafe { (*made).retire() };
    }
    Some(())
}

/// A forked child has none of the parent's threads: it forgets the pool (the memory leaks) and
/// makes its own when needed. Only an atomic store happens in the handler, as POSIX demands.
#[cfg(unix)]
fn register_fork_handler() {
    extern "C" fn in_child() {
        POOL.store(std::ptr::null_mut(), Ordering::Release);
    }
    // SAFETY: the handler is async-signal-safe, a single atomic store.
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

/// Sets the number of threads (at least one). Work that is under way ends on the old pool.
pub fn set_threads(n: usize) {
    THREADS.store(n.max(1), Ordering::Relaxed);
    let old = POOL.swap(std::ptr::null_mut(), Ordering::AcqRel);
    if !old.is_null() {
        // SAFETY: pointers stored in POOL come from leaked boxes.
        unsafe { (*old).retire() };
    }
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

/// Runs `f(0), ..., f(tasks - 1)`, on the pool when there is more than one task.
///
/// The caller decides the number of tasks from the size of the problem, never from the number of
/// threads. The calling thread works too, and waits only for tasks that others have begun: never
/// for a thread of the pool to be free, and without doing other work meanwhile. So it may be used
/// inside itself, inside [`install`], and while locks are held that no task takes.
#[inline]
pub fn for_each(tasks: usize, f: impl Fn(usize) + Sync) {
    run(tasks, &f);
}

/// [`for_each`], compiled once for all kernels.
fn run(tasks: usize, f: &(dyn Fn(usize) + Sync)) {
    let helpers = threads().min(tasks).saturating_sub(1);
    let guard = if helpers == 0 { None } else { acquire() };
    let Some(guard) = guard else { return (0..tasks).for_each(f) };
    // SAFETY: only the lifetime is changed. Job::work calls f for tasks it claims alone, and this
    // function returns (or unwinds) only when all claimed tasks are done and none is left.
    let f = unsafe {
        std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(f)
    };
    let job = Arc::new(Job {
        f,
        tasks,
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        panic: Mutex::new(None),
        caller: std::thread::current(),
    });
    for _ in 0..helpers {
        let job = job.clone();
        guard.pool().spawn(move || job.work());
    }
    job.work();
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
    next: AtomicUsize,
    done: AtomicUsize,
    panic: Mutex<Option<Box<dyn std::any::Any + Send>>>,
    caller: std::thread::Thread,
}

impl Job {
    /// Does tasks until none is left.
    fn work(&self) {
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= self.tasks {
                break;
            }
            // A panic must not leave a borrow behind: the caller goes on with it when all is done.
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (self.f)(i)));
            if let Err(panic) = result {
                *self.panic.lock() = Some(panic);
            }
            if self.done.fetch_add(1, Ordering::AcqRel) + 1 == self.tasks {
                self.caller.unpark();
            }
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

/// Runs `f` on a thread of the pool (where [`for_each`], [`join`] and [`scope`] then stay), or in
/// place when already there or when there is only one thread.
pub fn install<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    if in_pool() || threads() == 1 {
        return f();
    }
    match acquire() {
        Some(guard) => guard.pool().install(f),
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
    acquire().map(|guard| guard.pool().scope(f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_nested_or_not() {
        let counts: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
        for_each(10, |i| {
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
