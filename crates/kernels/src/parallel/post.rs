//! How helpers that have just ended a job get the next one: they stay awake for a while and watch a counter.
//!
//! To wake a thread costs its waker 10 us here (a virtual machine), and the thread begins 20 to 45 us later: as
//! long as whole operations of a hundred thousand elements take. One that is awake begins at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a helper stays awake without work: as long as a few operations of Python between two of ours.
const LINGER: Duration = Duration::from_micros(500);

/// Looks at the counter before the processor is offered to others.
const LOOKS: usize = 64;

/// Where a caller leaves a job for the helpers of a pool.
pub(super) struct Post<J> {
    /// Counts what was left.
    count: AtomicUsize,
    job: Mutex<Option<Arc<J>>>,
    /// Helpers that will look here before they leave.
    present: AtomicUsize,
}

impl<J> Post<J> {
    pub(super) fn new() -> Self {
        Self { count: AtomicUsize::new(0), job: Mutex::new(None), present: AtomicUsize::new(0) }
    }

    /// Leaves a job for up to `helpers` of them and calls `bring` for each one that has to be brought.
    pub(super) fn leave(&self, job: &Arc<J>, helpers: usize, bring: impl Fn(usize)) {
        *self.job.lock() = Some(job.clone());
        let count = self.count.fetch_add(1, Ordering::SeqCst);
        let more = |present| (present < helpers).then_some(present + 1);
        while self.present.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok() {
            bring(count);
        }
    }

    /// Sends those home who wait.
    pub(super) fn dismiss(&self) {
        if self.present.load(Ordering::Relaxed) > 0 {
            *self.job.lock() = None;
            self.count.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// What a helper does that was brought when `seen` jobs had been left: those there are, until none comes.
    pub(super) fn serve(&self, mut seen: usize, work: impl Fn(&J)) {
        loop {
            while let Some(count) = self.next(seen) {
                seen = count;
                let job = self.job.lock().clone();
                match job {
                    Some(job) => work(&job),
                    None => break,
                }
            }
            self.present.fetch_sub(1, Ordering::SeqCst);
            // Who left a job before that counted on this helper.
            if self.count.load(Ordering::SeqCst) == seen {
                return;
            }
            self.present.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The counter, once it is another than `seen`.
    fn next(&self, seen: usize) -> Option<usize> {
        let changed = || Some(self.count.load(Ordering::SeqCst)).filter(|&count| count != seen);
        let begin = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if let Some(count) = changed() {
                    return Some(count);
                }
                std::hint::spin_loop();
            }
            if begin.elapsed() > linger() {
                return None;
            }
            std::thread::yield_now();
        }
    }
}

/// How long a helper waits: not at all where there are fewer processors than threads.
fn linger() -> Duration {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    let count = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if super::threads() <= *PROCESSORS.get_or_init(count) { LINGER } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_done_by_those_who_wait_or_are_brought() {
        let post = Post::<AtomicUsize>::new();
        std::thread::scope(|scope| {
            for round in 1..=50 {
                let job = Arc::new(AtomicUsize::new(0));
                post.leave(&job, 2, |seen| {
                    let post = &post;
                    scope.spawn(move || {
                        post.serve(seen, |job| {
                            job.fetch_add(1, Ordering::SeqCst);
                        });
                    });
                });
                if round % 10 == 0 {
                    post.dismiss();
                }
                while job.load(Ordering::SeqCst) == 0 && round % 10 != 0 {
                    std::hint::spin_loop();
                }
            }
        });
        assert_eq!(post.present.load(Ordering::SeqCst), 0);
    }
}
