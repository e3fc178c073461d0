//! What this machine can do at most: multiply-adds a second, and bytes a second of memory and of the third cache.
//!
//! `cargo run --release -p rustgrad-kernels --example limits -- 2` prints one line of JSON for two threads that
//! work at the same time, each on arrays of its own. Operations are counted as two for a multiply-add; bytes of a
//! copy are those read and those written. None of the kernels takes part: the figures are what they are held against.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

/// Chains of multiply-adds that do not wait for each other: more than latency times units of any processor of today.
const CHAINS: usize = 12;
/// Multiply-adds of each chain in one call.
const LENGTH: usize = 100_000;
/// Bytes of a thread's arrays that no cache holds, and of those that the third one does.
const MEMORY: usize = 256 << 20;
const CACHE: usize = 6 << 20;
/// The best of so many runs counts: the machine may be shared.
const ROUNDS: usize = 7;

/// A function that runs [`CHAINS`] chains of [`LENGTH`] multiply-adds of whole vectors.
macro_rules! chains {
    ($name:ident, $feature:literal, $set:ident, $fma:ident, $lanes:literal) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $feature)]
        fn $name() -> f64 {
            use std::arch::x86_64::{$fma, $set};
            let (factor, term) = ($set(black_box(0.999)), $set(black_box(1e-3)));
            let mut sums = [$set(1.0); CHAINS];
            for _ in 0..LENGTH {
                for sum in &mut sums {
                    *sum = $fma(*sum, factor, term);
                }
            }
            black_box(sums);
            (2 * CHAINS * LENGTH * $lanes) as f64
        }
    };
}

chains!(wide_singles, "avx512f", _mm512_set1_ps, _mm512_fmadd_ps, 16);
chains!(wide_doubles, "avx512f", _mm512_set1_pd, _mm512_fmadd_pd, 8);
chains!(singles, "avx2,fma", _mm256_set1_ps, _mm256_fmadd_ps, 8);
chains!(doubles, "avx2,fma", _mm256_set1_pd, _mm256_fmadd_pd, 4);

/// The same by the compiler's vectors, for processors without either set.
macro_rules! portable {
    ($name:ident, $element:ty) => {
        fn $name() -> f64 {
            let (factor, term): ($element, $element) = (black_box(0.999), black_box(1e-3));
            let mut sums = [1.0; 4 * CHAINS];
            for _ in 0..LENGTH {
                for sum in &mut sums {
                    *sum = *sum * factor + term;
                }
            }
            black_box(sums);
            (2 * sums.len() * LENGTH) as f64
        }
    };
}

portable!(portable_singles, f32);
portable!(portable_doubles, f64);

/// The fastest multiply-adds of this processor; returns their number.
fn multiply_adds(double: bool) -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the instructions, as was just asked.
            return unsafe { if double { wide_doubles() } else { wide_singles() } };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { if double { doubles() } else { singles() } };
        }
    }
    if double { portable_doubles() } else { portable_singles() }
}

/// Adds up an array by vectors of 32 bytes; returns the bytes read.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn read_by_vectors(source: &[u64]) -> f64 {
    add_up(source)
}

/// Adds up an array; returns the bytes read.
fn read(source: &[u64]) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has the instructions, as was just asked.
        return unsafe { read_by_vectors(source) };
    }
    add_up(source)
}

#[inline(always)]
fn add_up(source: &[u64]) -> f64 {
    let mut sums = [0u64; 64];
    for part in source.chunks_exact(sums.len()) {
        for (sum, &value) in sums.iter_mut().zip(part) {
            *sum = sum.wrapping_add(value);
        }
    }
    black_box(sums);
    size_of_val(source) as f64
}

/// Copies an array; returns the bytes read and written.
fn copy(source: &[u64], target: &mut [u64]) -> f64 {
    target.copy_from_slice(source);
    black_box(&*target);
    2.0 * size_of_val(source) as f64
}

/// The rate at which `threads` threads do `work` at the same time, each with what `prepare` made for it.
fn rate<S>(
    threads: usize,
    prepare: impl Fn() -> S + Sync,
    work: impl Fn(&mut S) -> f64 + Sync,
) -> f64 {
    let barrier = Barrier::new(threads);
    let one = || {
        let mut state = prepare();
        work(&mut state);
        let mut best = 0f64;
        for _ in 0..ROUNDS {
            barrier.wait();
            let begin = Instant::now();
            let mut done = 0.0;
            while begin.elapsed().as_millis() < 10 {
                done += work(&mut state);
            }
            best = best.max(done / begin.elapsed().as_secs_f64());
        }
        best
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(one)).collect();
        let mine = one();
        others.into_iter().fold(mine, |sum, other| sum + other.join().unwrap_or(0.0))
    })
}

fn main() {
    let threads = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1).max(1);
    let array = |bytes: usize| vec![1u64; bytes / size_of::<u64>()];
    let mut figures = vec![format!("\"threads\": {threads}")];
    for (name, double) in [("float32", false), ("float64", true)] {
        let best = rate(threads, || (), |()| multiply_adds(double));
        figures.push(format!("\"{name}\": {best:.4e}"));
    }
    for (name, bytes) in [("memory", MEMORY), ("cache", CACHE)] {
        let reading = rate(threads, || array(bytes), |source| read(source));
        let copying = rate(
            threads,
            || (array(bytes / 2), array(bytes / 2)),
            |(source, target)| copy(source, target),
        );
        figures.push(format!("\"{name}\": {:.4e}", reading.max(copying)));
    }
    println!("{{{}}}", figures.join(", "));
}
