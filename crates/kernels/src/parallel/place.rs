//! Where the threads that help run: not on the processor of the thread they help.
//!
//! Linux wakes a thread on its waker's processor when the others look busy for a moment, and on virtual
//! machines idle processors often do. The helper then waits there until the caller's slice of some
//! milliseconds ends, as long as whole operations take: two threads were slower than one for seconds.

#[cfg(target_os = "linux")]
pub(super) use linux::Places;
#[cfg(not(target_os = "linux"))]
pub(super) use others::Places;

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::atomic::{AtomicI32, Ordering};

    use libc::cpu_set_t;
    use parking_lot::Mutex;

    /// Jobs after a change of places for which all stay: several callers would move them to and fro.
    const REST: u32 = 16;

    /// What the threads of one pool are kept off.
    pub(in super::super) struct Places {
        /// The system's numbers of the threads, 0 of one that has not begun.
        threads: Box<[AtomicI32]>,
        /// The processor that they keep off, -1 if none.
        avoided: AtomicI32,
        state: Mutex<State>,
    }

    struct State {
        rests: u32,
        /// Where the threads might run when they began, and where each may now.
        first: cpu_set_t,
        now: Box<[cpu_set_t]>,
    }

    impl Places {
        /// For a pool of so many threads, which run where the calling one may.
        pub(in super::super) fn new(threads: usize) -> Self {
            let first = allowed(0).unwrap_or_else(nowhere);
            Self {
                threads: (0..threads).map(|_| AtomicI32::new(0)).collect(),
                avoided: AtomicI32::new(-1),
                state: Mutex::new(State { rests: 0, first, now: vec![first; threads].into() }),
            }
        }

        /// The calling thread is number `i` of the pool.
        pub(in super::super) fn begin(&self, i: usize) {
            // SAFETY: no arguments, no memory.
            let id = unsafe { libc::gettid() };
            if let Some(place) = self.threads.get(i) {
                place.store(id, Ordering::Relaxed);
            }
        }

        /// The threads, which are alive, keep off the processor of the calling one, which is number `but` if it is one of
        /// them, if there are enough others. Who has set other processors for them keeps his.
        #[inline]
        pub(in super::super) fn keep_off(&self, but: Option<usize>) {
            // SAFETY: no arguments, no memory.
            let busy = unsafe { libc::sched_getcpu() };
            if self.avoided.load(Ordering::Relaxed) != busy {
                self.change(busy, but);
            }
        }

        #[cold]
        fn change(&self, busy: i32, but: Option<usize>) {
            let place = usize::try_from(busy).ok().filter(|&at| at < libc::CPU_SETSIZE as usize);
            let (Some(mut state), Some(place)) = (self.state.try_lock(), place) else { return };
            if state.rests > 0 {
                state.rests -= 1;
                return;
            }
            let ids = || {
                let all = self.threads.iter().map(|id| id.load(Ordering::Relaxed)).enumerate();
                all.filter(|&(i, _)| Some(i) != but)
            };
            if ids().any(|(_, id)| id == 0) {
                return;
            }
            state.rests = REST;
            let mut others = state.first;
            // SAFETY: sets of the right size, `place` is within them.
            let (enough, own) = unsafe {
                libc::CPU_CLR(place, &mut others);
                let enough = usize::try_from(libc::CPU_COUNT(&others));
                let same =
                    |(i, id)| allowed(id).is_some_and(|now| libc::CPU_EQUAL(&now, &state.now[i]));
                (enough.is_ok_and(|n| n >= ids().count()), ids().all(same))
            };
            if enough && own {
                for (i, id) in ids() {
                    // SAFETY: a set of the size that is said; the thread is one of the pool, which is alive.
                    unsafe {
                        libc::sched_setaffinity(id, size_of::<cpu_set_t>(), &raw const others)
                    };
                    state.now[i] = others;
                }
                self.avoided.store(busy, Ordering::Relaxed);
            }
        }
    }

    /// The processors on which a thread may run, 0 for the calling one.
    fn allowed(id: i32) -> Option<cpu_set_t> {
        let mut set = nowhere();
        // SAFETY: a set of the size that is said.
        let failed =
            unsafe { libc::sched_getaffinity(id, size_of::<cpu_set_t>(), &raw mut set) } != 0;
        (!failed).then_some(set)
    }

    fn nowhere() -> cpu_set_t {
        // SAFETY: bits, which may be zero.
        unsafe { std::mem::zeroed() }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn threads_keep_off_their_caller_unless_another_has_set_their_place() {
            let places = Places::new(1);
            let (begun, wait) = std::sync::mpsc::channel();
            let (end, until) = std::sync::mpsc::channel::<()>();
            std::thread::scope(|scope| {
                let places = &places;
                scope.spawn(move || {
                    places.begin(0);
                    begun.send(()).unwrap();
                    let _ = until.recv();
                });
                wait.recv().unwrap();
                let id = places.threads[0].load(Ordering::Relaxed);
                let first = allowed(0).unwrap();
                // SAFETY: sets of the right size.
                let count = unsafe { libc::CPU_COUNT(&first) };
                let holds = |place: usize| {
                    let now = allowed(id).unwrap();
                    // SAFETY: sets of the right size, a processor that exists.
                    unsafe { libc::CPU_ISSET(place, &now) }
                };
                // SAFETY: as above.
                let at = (0..libc::CPU_SETSIZE as usize)
                    .filter(|&at| unsafe { libc::CPU_ISSET(at, &first) })
                    .collect::<Vec<_>>();
                places.change(at[0] as i32, None);
                assert_eq!(holds(at[0]), count == 1);
                if count > 1 {
                    for _ in 0..=REST {
                        assert!(holds(at[1]));
                        places.change(at[1] as i32, None);
                    }
                    assert!(holds(at[0]) && !holds(at[1]));
                    // SAFETY: a set of the size that is said.
                    unsafe {
                        libc::sched_setaffinity(id, size_of::<cpu_set_t>(), &raw const first);
                    }
                    for _ in 0..=REST {
                        places.change(at[0] as i32, None);
                    }
                    assert!(holds(at[0]) && holds(at[1]));
                }
                drop(end);
            });
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod others {
    /// Threads are left where the system puts them.
    pub(in super::super) struct Places;

    impl Places {
        pub(in super::super) fn new(_: usize) -> Self {
            Self
        }
        pub(in super::super) fn begin(&self, _: usize) {}
        pub(in super::super) fn keep_off(&self, _: Option<usize>) {}
    }
}
