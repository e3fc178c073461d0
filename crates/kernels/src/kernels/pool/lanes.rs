//! Maxima of neighbouring windows side by side: of floating-point comparisons in lanes the compiler makes no
//! vectors by itself.

use super::Pool;
use crate::dtype::DType;
use crate::kernels::matmul::Float;
#[cfg(target_arch = "x86_64")]
use crate::kernels::multiversion::{Level, level};

/// The row `y` of windows, those from `first` to `last` along it, all of whose columns are inside the image.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) y: usize,
    /// The first and the last row of their elements, as places in the window.
    pub(super) tall: (usize, usize),
    pub(super) first: usize,
    pub(super) last: usize,
}

/// The greatest elements of a row of windows (the last NaN if there is one) and their places in the plane;
/// `false`, with nothing done, where there are no instructions for it or too few windows.
///
/// # Safety
/// `image` is a plane of the input; `to` and `at` are the rows of the results, written from `first` to `last`.
#[inline(always)]
pub(super) unsafe fn windows<T: Float>(
    p: &Pool,
    image: *const T,
    row: Row,
    to: *mut T,
    at: *mut i64,
) -> bool {
    #[cfg(target_arch = "x86_64")]
    if level() >= Level::Avx2 {
        let lanes = 32 / size_of::<T>();
        if row.last < row.first + lanes || p.pixels() >= 1 << 30 || p.stride[1] >= 1 << 20 {
            return false;
        }
        // SAFETY: the level is there, and elements are of the type that the dtype says.
        unsafe {
            match T::DTYPE {
                DType::F32 => windows_f32(p, image.cast(), row, to.cast(), at),
                _ => windows_f64(p, image.cast(), row, to.cast(), at),
            }
        }
        return true;
    }
    let _ = (p, image, row, to, at, DType::F32);
    false
}

#[cfg(target_arch = "x86_64")]
macro_rules! windows {
    ($name:ident, $t:ident, $n:literal, $run:ident, $set:ident, $or:ident, $compare:ident, $blend:ident,
     $store:ident, $offset:expr, $select:expr, $write:expr) => {
        #[target_feature(enable = "avx2")]
        unsafe fn $name(p: &Pool, image: *const $t, row: Row, to: *mut $t, at: *mut i64) {
            use std::arch::x86_64::*;
            let (stride, wide) = (p.stride[1], p.input[1]);
            let pixels = p.pixels();
            let mut x = row.first;
            loop {
                // The last ones are done again rather than one by one.
                x = x.min(row.last - $n);
                // The first element of the first window's column, had it all rows.
                let corner = (row.y * p.stride[0]) as isize - p.padding[0] as isize;
                let corner = corner * wide as isize + (x * stride - p.padding[1]) as isize;
                let mut best = $set($t::NEG_INFINITY);
                let mut found = $offset((row.tall.0 * p.dilation[0] * wide) as i64);
                for ky in row.tall.0..=row.tall.1 {
                    for kx in 0..p.kernel[1] {
                        let offset = ky * p.dilation[0] * wide + kx * p.dilation[1];
                        let from = (corner + offset as isize) as usize;
                        // SAFETY: the elements of all these windows at this place are inside.
                        let v = unsafe { $run(image.wrapping_add(from), stride, pixels - from) };
                        let more =
                            $or($compare::<_CMP_GT_OQ>(v, best), $compare::<_CMP_UNORD_Q>(v, v));
                        best = $blend(best, v, more);
                        found = $select(found, $offset(offset as i64), more);
                    }
                }
                // SAFETY: so many windows are left in the row.
                unsafe {
                    $store(to.add(x), best);
                    $write(at.add(x), found, corner as i64, stride as i64);
                }
                x += $n;
                if x >= row.last {
                    return;
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// Eight elements, `stride` apart; `left` are readable.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn run_f32(from: *const f32, stride: usize, left: usize) -> __m256 {
        // SAFETY: by the contract.
        unsafe {
            match stride {
                1 => _mm256_loadu_ps(from),
                2 if left >= 16 => {
                    let (a, b) = (_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8)));
                    let mixed = _mm256_castps_pd(_mm256_shuffle_ps::<0x88>(a, b));
                    _mm256_castpd_ps(_mm256_permute4x64_pd::<0xD8>(mixed))
                }
                _ => {
                    let steps = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                    let steps = _mm256_mullo_epi32(steps, _mm256_set1_epi32(stride as i32));
                    _mm256_i32gather_ps::<4>(from, steps)
                }
            }
        }
    }

    /// Four elements, `stride` apart; `left` are readable.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn run_f64(from: *const f64, stride: usize, left: usize) -> __m256d {
        // SAFETY: by the contract.
        unsafe {
            match stride {
                1 => _mm256_loadu_pd(from),
                2 if left >= 8 => {
                    let (a, b) = (_mm256_loadu_pd(from), _mm256_loadu_pd(from.add(4)));
                    _mm256_permute4x64_pd::<0xD8>(_mm256_shuffle_pd::<0>(a, b))
                }
                _ => {
                    let steps =
                        _mm_mullo_epi32(_mm_setr_epi32(0, 1, 2, 3), _mm_set1_epi32(stride as i32));
                    _mm256_i32gather_pd::<8>(from, steps)
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn select_i32(a: __m256i, b: __m256i, mask: __m256) -> __m256i {
        _mm256_blendv_epi8(a, b, _mm256_castps_si256(mask))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn select_i64(a: __m256i, b: __m256i, mask: __m256d) -> __m256i {
        _mm256_blendv_epi8(a, b, _mm256_castpd_si256(mask))
    }

    /// Offsets as places: four windows, the first at `corner`.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn write_i64(to: *mut i64, offsets: __m256i, corner: i64, stride: i64) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| corner + i * stride);
        let places = _mm256_add_epi64(offsets, _mm256_setr_epi64x(a, b, c, d));
        // SAFETY: by the contract.
        unsafe { _mm256_storeu_si256(to.cast(), places) };
    }

    /// The same of eight.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn write_i32(to: *mut i64, offsets: __m256i, corner: i64, stride: i64) {
        let low = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(offsets));
        let high = _mm256_cvtepi32_epi64(_mm256_extracti128_si256::<1>(offsets));
        // SAFETY: by the contract.
        unsafe {
            write_i64(to, low, corner, stride);
            write_i64(to.add(4), high, corner + 4 * stride, stride);
        }
    }
}

#[cfg(target_arch = "x86_64")]
use x86::{run_f32, run_f64, select_i32, select_i64, write_i32, write_i64};

#[cfg(target_arch = "x86_64")]
windows!(
    windows_f32,
    f32,
    8,
    run_f32,
    _mm256_set1_ps,
    _mm256_or_ps,
    _mm256_cmp_ps,
    _mm256_blendv_ps,
    _mm256_storeu_ps,
    |offset: i64| _mm256_set1_epi32(offset as i32),
    select_i32,
    write_i32
);
#[cfg(target_arch = "x86_64")]
windows!(
    windows_f64,
    f64,
    4,
    run_f64,
    _mm256_set1_pd,
    _mm256_or_pd,
    _mm256_cmp_pd,
    _mm256_blendv_pd,
    _mm256_storeu_pd,
    _mm256_set1_epi64x,
    select_i64,
    write_i64
);
