//! Averages and maxima over windows of images.
#![allow(unsafe_code)]

use super::matmul::Float;
use super::multiversion::{self, Job};
use super::raw::{Dst, Src, split};

/// Sizes of a pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Images, each of one channel.
    pub planes: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the windows.
    pub kernel: [usize; 2],
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Steps between windows.
    pub stride: [usize; 2],
    /// How far windows may reach beyond the first row and column.
    pub padding: [usize; 2],
    /// Steps between the elements of a window.
    pub dilation: [usize; 2],
}

/// What an average divides by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Divisor {
    /// The elements inside the input and its padding.
    Padded,
    /// The elements inside the input.
    Inside,
    /// A number.
    Given(f64),
}

impl Pool {
    fn pixels(&self) -> usize {
        self.input[0] * self.input[1]
    }
    fn places(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// The rows or columns of the input under a window, and how many the average counts.
    #[inline(always)]
    fn window(&self, dim: usize, place: usize) -> (usize, usize, usize) {
        let (pad, n) = (self.padding[dim], self.input[dim]);
        let start = place * self.stride[dim];
        let end = (start + self.kernel[dim]).min(n + 2 * pad);
        let counted = end.saturating_sub(start);
        (start.saturating_sub(pad).min(n), end.saturating_sub(pad).min(n), counted)
    }

    /// One over the divisor of a window.
    #[inline(always)]
    fn share<T: Float>(&self, divisor: Divisor, y: usize, x: usize) -> T {
        let ((top, bottom, tall), (left, right, wide)) = (self.window(0, y), self.window(1, x));
        let count = match divisor {
            Divisor::Given(divisor) => divisor,
            Divisor::Padded => (tall * wide) as f64,
            Divisor::Inside => {
                (bottom.saturating_sub(top) * right.saturating_sub(left)).max(1) as f64
            }
        };
        T::from_f64(count)
    }
}

struct Average<T> {
    pool: Pool,
    divisor: Divisor,
    from: Src<T>,
    to: Dst<T>,
    planes: (usize, usize),
}

impl<T: Float> Job for Average<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let p = self.pool;
        for plane in self.planes.0..self.planes.1 {
            let image = self.from.at((plane * p.pixels()) as isize);
            let to = self.to.at((plane * p.places()) as isize);
            for y in 0..p.output[0] {
                let (top, bottom, _) = p.window(0, y);
                for x in 0..p.output[1] {
                    let (left, right, _) = p.window(1, x);
                    let mut sum = T::ZERO;
                    for row in top..bottom {
                        for column in left..right {
                            // SAFETY: the window was cut to the image.
                            sum += unsafe { *image.add(row * p.input[1] + column) };
                        }
                    }
                    // SAFETY: a place of the plane.
                    unsafe {
                        *to.add(y * p.output[1] + x) = sum / p.share::<T>(self.divisor, y, x);
                    };
                }
            }
        }
    }
}

struct Spread<T> {
    pool: Pool,
    divisor: Divisor,
    from: Src<T>,
    to: Dst<T>,
    planes: (usize, usize),
}

impl<T: Float> Job for Spread<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let p = self.pool;
        for plane in self.planes.0..self.planes.1 {
            let grad = self.from.at((plane * p.places()) as isize);
            let image = self.to.at((plane * p.pixels()) as isize);
            // SAFETY: a plane of the result, owned by this task.
            unsafe { std::slice::from_raw_parts_mut(image, p.pixels()) }.fill(T::ZERO);
            for y in 0..p.output[0] {
                let (top, bottom, _) = p.window(0, y);
                for x in 0..p.output[1] {
                    let (left, right, _) = p.window(1, x);
                    // SAFETY: a place of the plane.
                    let grad = unsafe { *grad.add(y * p.output[1] + x) };
                    let part = grad / p.share::<T>(self.divisor, y, x);
                    for row in top..bottom {
                        for column in left..right {
                            // SAFETY: the window was cut to the image.
                            unsafe { *image.add(row * p.input[1] + column) += part };
                        }
                    }
                }
            }
        }
    }
}

/// The averages of all windows.
///
/// # Safety
/// `input` and `output` are dense and of the sizes `pool` says.
pub unsafe fn average<T: Float>(pool: &Pool, divisor: Divisor, input: *const T, output: *mut T) {
    let (from, to, pool) = (Src::new(input), Dst::new(output), *pool);
    split(pool.planes, pool.pixels(), |first, last| {
        multiversion::run(Average { pool, divisor, from, to, planes: (first, last) });
    });
}

/// The gradient of [`average`].
///
/// # Safety
/// As for [`average`].
pub unsafe fn average_backward<T: Float>(
    pool: &Pool,
    divisor: Divisor,
    grad: *const T,
    input: *mut T,
) {
    let (from, to, pool) = (Src::new(grad), Dst::new(input), *pool);
    split(pool.planes, pool.pixels(), |first, last| {
        multiversion::run(Spread { pool, divisor, from, to, planes: (first, last) });
    });
}

/// The greatest element of each window (NaN if there is one) and where it is in its plane; the
/// first of equal ones.
///
/// # Safety
/// `input`, `output` and `places` are dense and of the sizes `pool` says; no window is empty.
pub unsafe fn maximum<T: Float + PartialOrd>(
    pool: &Pool,
    input: *const T,
    output: *mut T,
    places: *mut i64,
) {
    let (from, to, at, pool) = (Src::new(input), Dst::new(output), Dst::new(places), *pool);
    split(pool.planes, pool.pixels(), |first, last| {
        multiversion::run(Maximum { pool, from, to, at, planes: (first, last) });
    });
}

struct Maximum<T> {
    pool: Pool,
    from: Src<T>,
    to: Dst<T>,
    at: Dst<i64>,
    planes: (usize, usize),
}

impl<T: Float + PartialOrd> Job for Maximum<T> {
    type Output = ();
    /// A row of windows at a time, all of whose elements at one place of the window are compared before
    /// those at the next: without branches, and in vectors.
    #[inline(always)]
    fn run(self) {
        let p = self.pool;
        let width = p.output[1];
        let (mut best, mut code) = (vec![T::NEG_INFINITY; width], vec![0u32; width]);
        // The first column of each window inside the image: where nothing is greater, that is it.
        let skipped = |dim: usize, place: usize| {
            p.padding[dim].saturating_sub(place * p.stride[dim]).div_ceil(p.dilation[dim])
        };
        let left: Vec<u32> = (0..width).map(|x| skipped(1, x) as u32).collect();
        for plane in self.planes.0..self.planes.1 {
            let image = self.from.at((plane * p.pixels()) as isize);
            for y in 0..p.output[0] {
                let top = skipped(0, y);
                best.fill(T::NEG_INFINITY);
                for (code, &left) in code.iter_mut().zip(&left) {
                    *code = (top * p.kernel[1]) as u32 + left;
                }
                for ky in top..p.kernel[0] {
                    let row = y * p.stride[0] + ky * p.dilation[0] - p.padding[0];
                    if row >= p.input[0] {
                        break;
                    }
                    let row = image.wrapping_add(row * p.input[1]);
                    for kx in 0..p.kernel[1] {
                        let here = (ky * p.kernel[1] + kx) as u32;
                        match p.stride[1] {
                            1 => self.compare::<1>(row, kx, here, &mut best, &mut code),
                            2 => self.compare::<2>(row, kx, here, &mut best, &mut code),
                            _ => self.compare::<0>(row, kx, here, &mut best, &mut code),
                        }
                    }
                }
                let base = (plane * p.places() + y * width) as isize;
                for (x, (&best, &code)) in best.iter().zip(&code).enumerate() {
                    let (ky, kx) = (code as usize / p.kernel[1], code as usize % p.kernel[1]);
                    let row = y * p.stride[0] + ky * p.dilation[0];
                    let column = x * p.stride[1] + kx * p.dilation[1];
                    let place = (row - p.padding[0]) * p.input[1] + column - p.padding[1];
                    // SAFETY: a place of this task's planes.
                    unsafe {
                        *self.to.at(base + x as isize) = best;
                        *self.at.at(base + x as isize) = place as i64;
                    }
                }
            }
        }
    }
}

impl<T: Float + PartialOrd> Maximum<T> {
    /// Compares the elements of a row at place `kx` of their windows; `STRIDE` 0 stands for any.
    #[inline(always)]
    fn compare<const STRIDE: usize>(
        &self,
        row: *const T,
        kx: usize,
        here: u32,
        best: &mut [T],
        code: &mut [u32],
    ) {
        let p = &self.pool;
        let stride = if STRIDE == 0 { p.stride[1] } else { STRIDE };
        let (ahead, pad) = (kx * p.dilation[1], p.padding[1]);
        // The windows whose element at this place lies inside the row.
        let first = pad.saturating_sub(ahead).div_ceil(stride).min(best.len());
        let end = (p.input[1] + pad).saturating_sub(ahead).div_ceil(stride).min(best.len());
        if first >= end {
            return;
        }
        let start = row.wrapping_add(first * stride + ahead - pad);
        for (i, (best, code)) in best[first..end].iter_mut().zip(&mut code[first..end]).enumerate()
        {
            // SAFETY: inside the row, as just computed.
            let value = unsafe { *start.add(i * stride) };
            let more = value > *best || value.is_nan();
            *best = if more { value } else { *best };
            *code = if more { here } else { *code };
        }
    }
}
