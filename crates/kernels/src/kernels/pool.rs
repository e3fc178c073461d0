//! Averages and maxima over windows of images.
#![allow(unsafe_code)]

mod lanes;
mod maximum;

pub use maximum::maximum;

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
    /// Whether the windows follow from the sizes of input and output alone: as many as there are share the
    /// input evenly, and those that do not divide it overlap.
    pub adaptive: bool,
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
        if self.adaptive {
            let count = self.output[dim];
            let (start, end) = (place * n / count, ((place + 1) * n).div_ceil(count));
            return (start, end, end - start);
        }
        let start = place * self.stride[dim];
        let end = (start + self.kernel[dim]).min(n + 2 * pad);
        let counted = end.saturating_sub(start);
        (start.saturating_sub(pad).min(n), end.saturating_sub(pad).min(n), counted)
    }

    /// The windows along a row all of whose elements are inside, if their sizes are alike.
    fn inside(&self) -> (usize, usize) {
        if self.adaptive {
            return (0, 0);
        }
        let (pad, stride) = (self.padding[1], self.stride[1]);
        let reach = self.dilation[1] * (self.kernel[1] - 1);
        let last = (self.input[1] + pad).saturating_sub(reach).div_ceil(stride);
        (pad.div_ceil(stride), last.min(self.output[1]))
    }

    /// The divisor of a window.
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
                // Windows with all columns inside, side by side.
                let (mut x, inside) = (0, p.inside());
                while x < p.output[1] {
                    if x >= inside.0 && x + SIDE_BY_SIDE <= inside.1 {
                        let sums = match p.stride[1] {
                            // SAFETY: the rows and columns of these windows are inside.
                            1 => unsafe { side_by_side::<T, 1>(&p, image, top, bottom, x) },
                            // SAFETY: as above.
                            2 => unsafe { side_by_side::<T, 2>(&p, image, top, bottom, x) },
                            // SAFETY: as above.
                            _ => unsafe { side_by_side::<T, 0>(&p, image, top, bottom, x) },
                        };
                        let count = p.share::<T>(self.divisor, y, x);
                        for (i, sum) in sums.into_iter().enumerate() {
                            // SAFETY: a place of the plane.
                            unsafe { *to.add(y * p.output[1] + x + i) = sum / count };
                        }
                        x += SIDE_BY_SIDE;
                        continue;
                    }
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
                    x += 1;
                }
            }
        }
    }
}

/// Windows that are averaged together.
const SIDE_BY_SIDE: usize = 8;

/// The sums of neighbouring windows from `x` on over rows `top..bottom`; `STRIDE` 0 stands for any.
///
/// # Safety
/// These rows, and all columns of these windows, must be inside the image.
#[inline(always)]
unsafe fn side_by_side<T: Float, const STRIDE: usize>(
    p: &Pool,
    image: *const T,
    top: usize,
    bottom: usize,
    x: usize,
) -> [T; SIDE_BY_SIDE] {
    let stride = if STRIDE == 0 { p.stride[1] } else { STRIDE };
    let mut sums = [T::ZERO; SIDE_BY_SIDE];
    for row in top..bottom {
        let from = image.wrapping_add(row * p.input[1] + x * stride - p.padding[1]);
        for column in 0..p.kernel[1] {
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: by the contract.
                *sum += unsafe { *from.add(i * stride + column) };
            }
        }
    }
    sums
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
