//! Extremes of floats with vector instructions: of floating-point comparisons in lanes the compiler makes
//! none by itself.
#![allow(unsafe_code)]

use super::kind::Ordered;

/// The greatest (or least) element that is a number, and whether there is NaN; `None` where there are no
/// instructions for it. The extreme of no number is the identity.
#[inline(always)]
pub(in crate::kernels) fn extreme<T: Ordered>(x: &[T], greatest: bool) -> Option<(T, bool)> {
    #[cfg(target_arch = "x86_64")]
    {
        use crate::dtype::DType;
        use crate::kernels::multiversion::{Level, level};
        if level() >= Level::Avx2 {
            let (pointer, n) = (x.as_ptr(), x.len());
            // SAFETY: the level is there; elements are of the type that the dtype says.
            unsafe {
                match T::DTYPE {
                    DType::F32 => {
                        let x = std::slice::from_raw_parts(pointer.cast::<f32>(), n);
                        let (best, nan) = if greatest { greatest_f32(x) } else { least_f32(x) };
                        return Some(((&raw const best).cast::<T>().read(), nan));
                    }
                    DType::F64 => {
                        let x = std::slice::from_raw_parts(pointer.cast::<f64>(), n);
                        let (best, nan) = if greatest { greatest_f64(x) } else { least_f64(x) };
                        return Some(((&raw const best).cast::<T>().read(), nan));
                    }
                    _ => {}
                }
            }
        }
    }
    let _ = (x, greatest);
    None
}

/// Merges rows into `acc`, column by column, as `merge` does: NaN wins, the last of several; of equals the
/// first. `false`, and nothing done, where there are no instructions for it.
///
/// # Safety
/// Every row must be readable for `acc.len()` elements.
#[inline(always)]
pub(super) unsafe fn extreme_columns<T: Ordered>(
    row: impl Fn(usize) -> *const T,
    rows: usize,
    acc: &mut [T],
    greatest: bool,
) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use crate::dtype::DType;
        use crate::kernels::multiversion::{Level, level};
        if level() >= Level::Avx2 {
            let (to, n) = (acc.as_mut_ptr(), acc.len());
            // SAFETY: the level is there; elements are of the type that the dtype says.
            unsafe {
                match T::DTYPE {
                    DType::F32 => {
                        let row = |r: usize| row(r).cast::<f32>();
                        let acc = std::slice::from_raw_parts_mut(to.cast::<f32>(), n);
                        if greatest {
                            columns_greatest_f32(row, rows, acc);
                        } else {
                            columns_least_f32(row, rows, acc);
                        }
                        return true;
                    }
                    DType::F64 => {
                        let row = |r: usize| row(r).cast::<f64>();
                        let acc = std::slice::from_raw_parts_mut(to.cast::<f64>(), n);
                        if greatest {
                            columns_greatest_f64(row, rows, acc);
                        } else {
                            columns_least_f64(row, rows, acc);
                        }
                        return true;
                    }
                    _ => {}
                }
            }
        }
    }
    let _ = (row, rows, acc, greatest);
    false
}

#[cfg(target_arch = "x86_64")]
macro_rules! avx2 {
    ($name:ident, $columns:ident, $t:ident, $n:literal, $identity:expr, $op:tt, $better:ident, $set:ident,
     $load:ident, $store:ident, $compare:ident, $or:ident, $mask:ident, $blend:ident, $half:ident) => {
        /// See [`extreme_columns`].
        #[target_feature(enable = "avx2")]
        unsafe fn $columns(row: impl Fn(usize) -> *const $t, rows: usize, acc: &mut [$t]) {
            use std::arch::x86_64::*;
            // Of equals, and where `best` is not a number, the second operand of the comparison.
            let join = |x, best| $blend($better(x, best), x, $compare::<_CMP_UNORD_Q>(x, x));
            let (strips, rest) = acc.as_chunks_mut::<{ 4 * $n }>();
            let mut at = 0;
            for acc in strips {
                // SAFETY: in bounds, of rows as long as `acc`.
                unsafe {
                    let mut best: [_; 4] = std::array::from_fn(|v| $load(acc.as_ptr().add(v * $n)));
                    for r in 0..rows {
                        let from = row(r).add(at);
                        for (v, best) in best.iter_mut().enumerate() {
                            *best = join($load(from.add(v * $n)), *best);
                        }
                    }
                    for (v, best) in best.into_iter().enumerate() {
                        $store(acc.as_mut_ptr().add(v * $n), best);
                    }
                }
                at += 4 * $n;
            }
            let (vectors, rest) = rest.as_chunks_mut::<$n>();
            for acc in vectors {
                // SAFETY: as above.
                unsafe {
                    let mut best = $load(acc.as_ptr());
                    for r in 0..rows {
                        best = join($load(row(r).add(at)), best);
                    }
                    $store(acc.as_mut_ptr(), best);
                }
                at += $n;
            }
            for (i, acc) in rest.iter_mut().enumerate() {
                for r in 0..rows {
                    // SAFETY: as above.
                    let v = unsafe { *row(r).add(at + i) };
                    *acc = if v $op *acc || v.is_nan() { v } else { *acc };
                }
            }
        }

        #[target_feature(enable = "avx2")]
        unsafe fn $name(x: &[$t]) -> ($t, bool) {
            use std::arch::x86_64::*;
            let mut best = [$set($identity); 4];
            let mut nan = $set(0.0);
            let mut at = 0;
            // What is not a number is the first operand, in whose place the second one comes.
            while at + 4 * $n <= x.len() {
                for (k, best) in best.iter_mut().enumerate() {
                    // SAFETY: in bounds.
                    let v = unsafe { $load(x.as_ptr().add(at + k * $n)) };
                    *best = $better(v, *best);
                    nan = $or(nan, $compare::<_CMP_UNORD_Q>(v, v));
                }
                at += 4 * $n;
            }
            let [a, b, c, d] = best;
            let mut best = $better($better(a, b), $better(c, d));
            while at + $n <= x.len() {
                // SAFETY: in bounds.
                let v = unsafe { $load(x.as_ptr().add(at)) };
                best = $better(v, best);
                nan = $or(nan, $compare::<_CMP_UNORD_Q>(v, v));
                at += $n;
            }
            let mut lanes = [0.0; $n];
            // Halves, so that few elements are left to be taken one by one.
            best = $better(best, $half::<1>(best, best));
            // SAFETY: as many elements as a vector has.
            unsafe { $store(lanes.as_mut_ptr(), best) };
            let mut nan = $mask(nan) != 0;
            let better = |a: $t, b: $t| if b $op a { b } else { a };
            let mut best = match lanes[..$n / 2] {
                [a, b] => better(a, b),
                [a, b, c, d] => better(better(a, b), better(c, d)),
                _ => $identity,
            };
            for &v in &x[at..] {
                best = better(best, v);
                nan |= v.is_nan();
            }
            (best, nan)
        }
    };
}

#[cfg(target_arch = "x86_64")]
avx2!(
    greatest_f32, columns_greatest_f32, f32, 8, f32::NEG_INFINITY, >, _mm256_max_ps, _mm256_set1_ps, _mm256_loadu_ps,
    _mm256_storeu_ps, _mm256_cmp_ps, _mm256_or_ps, _mm256_movemask_ps,
    _mm256_blendv_ps, _mm256_permute2f128_ps
);
#[cfg(target_arch = "x86_64")]
avx2!(
    least_f32, columns_least_f32, f32, 8, f32::INFINITY, <, _mm256_min_ps, _mm256_set1_ps, _mm256_loadu_ps,
    _mm256_storeu_ps, _mm256_cmp_ps, _mm256_or_ps, _mm256_movemask_ps,
    _mm256_blendv_ps, _mm256_permute2f128_ps
);
#[cfg(target_arch = "x86_64")]
avx2!(
    greatest_f64, columns_greatest_f64, f64, 4, f64::NEG_INFINITY, >, _mm256_max_pd, _mm256_set1_pd, _mm256_loadu_pd,
    _mm256_storeu_pd, _mm256_cmp_pd, _mm256_or_pd, _mm256_movemask_pd,
    _mm256_blendv_pd, _mm256_permute2f128_pd
);
#[cfg(target_arch = "x86_64")]
avx2!(
    least_f64, columns_least_f64, f64, 4, f64::INFINITY, <, _mm256_min_pd, _mm256_set1_pd, _mm256_loadu_pd,
    _mm256_storeu_pd, _mm256_cmp_pd, _mm256_or_pd, _mm256_movemask_pd,
    _mm256_blendv_pd, _mm256_permute2f128_pd
);
