//! One generic source, compiled for several instruction sets and chosen once per process.
#![allow(unsafe_code)]

pub(super) use super::isa::Level;
#[cfg(test)]
use super::isa::detect;

/// The level in use: [`isa::level`](super::isa::level), or what a test forces.
#[inline]
pub(super) fn level() -> Level {
    #[cfg(test)]
    match tests::FORCED.load(std::sync::atomic::Ordering::Relaxed) {
        1 => return Level::Baseline,
        2 => return detect().min(Level::Avx2),
        _ => {}
    }
    super::isa::level()
}

/// A piece of work to be compiled once per level. `run` must be `#[inline(always)]`, as must be
/// what it calls, or the callee is compiled for the baseline.
pub(crate) trait Job {
    /// What `run` gives.
    type Output;
    /// Does the work.
    fn run(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn avx512<J: Job>(job: J) -> J::Output {
    job.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn avx2<J: Job>(job: J) -> J::Output {
    job.run()
}

/// Runs the job as compiled for the level in use.
#[inline]
pub(super) fn run<J: Job>(job: J) -> J::Output {
    #[cfg(target_arch = "x86_64")]
    {
        match level() {
            // SAFETY: `level` found these features on this machine.
            Level::Avx512 => return unsafe { avx512(job) },
            // SAFETY: as above.
            Level::Avx2 => return unsafe { avx2(job) },
            Level::Baseline => {}
        }
    }
    job.run()
}

/// As [`run`], but AVX2 at most: for integers, where AVX-512 copies would only cost code size.
#[inline]
pub(crate) fn run_narrow<J: Job>(job: J) -> J::Output {
    #[cfg(target_arch = "x86_64")]
    if level() >= Level::Avx2 {
        // SAFETY: `level` found these features on this machine.
        return unsafe { avx2(job) };
    }
    job.run()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    /// 1: baseline, 2: AVX2, 0: the best there is.
    pub(crate) static FORCED: AtomicU8 = AtomicU8::new(0);

    /// What some kernels pack for others depends on the level, so one test at a time sets it.
    static ONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

    /// Runs `f` at every level and asserts that the results are equal to the bit.
    pub(crate) fn same_bits<T: PartialEq + std::fmt::Debug>(mut f: impl FnMut() -> T) {
        let _alone = ONE.lock();
        // Other tests may run meanwhile, at whatever level: all give the same bits.
        let results = [0, 1, 2].map(|level| {
            FORCED.store(level, Ordering::Relaxed);
            f()
        });
        FORCED.store(0, Ordering::Relaxed);
        assert_eq!(results[0], results[1]);
        assert_eq!(results[0], results[2]);
    }

    /// The same for work whose multiplications and additions fuse, which they do not at the baseline.
    pub(crate) fn same_fused_bits<T: PartialEq + std::fmt::Debug>(mut f: impl FnMut() -> T) {
        let _alone = ONE.lock();
        if crate::kernels::isa::level() == super::Level::Baseline {
            return;
        }
        let best = f();
        FORCED.store(2, Ordering::Relaxed);
        let narrow = f();
        FORCED.store(0, Ordering::Relaxed);
        assert_eq!(best, narrow);
    }
}
