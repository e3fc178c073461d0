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

#[cfg(target_arch = "x86_64")]
macro_rules! avx2 {
    ($name:ident, $t:ident, $n:literal, $identity:expr, $op:tt, $better:ident,
     $set:ident, $load:ident, $store:ident, $compare:ident, $or:ident, $mask:ident) => {
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
            // SAFETY: as many elements as a vector has.
            unsafe { $store(lanes.as_mut_ptr(), best) };
            let mut nan = $mask(nan) != 0;
            let mut best = $identity;
            for &v in lanes.iter().chain(&x[at..]) {
                if v $op best {
                    best = v;
                }
                nan |= v.is_nan();
            }
            (best, nan)
        }
    };
}

#[cfg(target_arch = "x86_64")]
avx2!(
    greatest_f32, f32, 8, f32::NEG_INFINITY, >, _mm256_max_ps, _mm256_set1_ps, _mm256_loadu_ps,
    _mm256_storeu_ps, _mm256_cmp_ps, _mm256_or_ps, _mm256_movemask_ps
);
#[cfg(target_arch = "x86_64")]
avx2!(
    least_f32, f32, 8, f32::INFINITY, <, _mm256_min_ps, _mm256_set1_ps, _mm256_loadu_ps,
    _mm256_storeu_ps, _mm256_cmp_ps, _mm256_or_ps, _mm256_movemask_ps
);
#[cfg(target_arch = "x86_64")]
avx2!(
    greatest_f64, f64, 4, f64::NEG_INFINITY, >, _mm256_max_pd, _mm256_set1_pd, _mm256_loadu_pd,
    _mm256_storeu_pd, _mm256_cmp_pd, _mm256_or_pd, _mm256_movemask_pd
);
#[cfg(target_arch = "x86_64")]
avx2!(
    least_f64, f64, 4, f64::INFINITY, <, _mm256_min_pd, _mm256_set1_pd, _mm256_loadu_pd,
    _mm256_storeu_pd, _mm256_cmp_pd, _mm256_or_pd, _mm256_movemask_pd
);
