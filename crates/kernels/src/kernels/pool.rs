//! Averages and maxima over windows of images.
#![allow(unsafe_code)]

mod lanes;
mod maximum;

pub use maximum::maximum;

use super::matmul::Float;
use super::multiversion::{self, Job};
use super::raw::{Dst, Src, split};
use super::reduce::sum_light;

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

/// The first row or column of the input under a window, the end, and how many the average counts.
type Window = (usize, usize, usize);

impl Pool {
    fn pixels(&self) -> usize {
        self.input[0] * self.input[1]
    }
    fn places(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// A window.
    #[inline(always)]
    fn window(&self, dim: usize, place: usize) -> Window {
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

    /// All windows along a dimension: their divisions take longer than their elements.
    fn windows(&self, dim: usize) -> Vec<Window> {
        (0..self.output[dim]).map(|place| self.window(dim, place)).collect()
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
}

impl Divisor {
    /// That of a window.
    #[inline(always)]
    fn share<T: Float>(self, (top, bottom, tall): Window, (left, right, wide): Window) -> T {
        let count = match self {
            Self::Given(divisor) => divisor,
            Self::Padded => (tall * wide) as f64,
            Self::Inside => (bottom.saturating_sub(top) * right.saturating_sub(left)).max(1) as f64,
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
        let (rows, columns) = (p.windows(0), p.windows(1));
        for plane in self.planes.0..self.planes.1 {
            let image = self.from.at((plane * p.pixels()) as isize);
            let to = self.to.at((plane * p.places()) as isize);
            for (y, &row) in rows.iter().enumerate() {
                let (top, bottom, _) = row;
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
                        let count = self.divisor.share::<T>(row, columns[x]);
                        for (i, sum) in sums.into_iter().enumerate() {
                            // SAFETY: a place of the plane.
                            unsafe { *to.add(y * p.output[1] + x + i) = sum / count };
                        }
                        x += SIDE_BY_SIDE;
                        continue;
                    }
                    let (left, right, _) = columns[x];
                    let mut sum = T::ZERO;
                    for line in top..bottom {
                        // SAFETY: the window was cut to the image.
                        let line = unsafe {
                            let from = image.add(line * p.input[1] + left);
                            std::slice::from_raw_parts(from, right.saturating_sub(left))
                        };
                        if line.len() < WIDE {
                            for &x in line {
                                sum += x;
                            }
                        } else {
                            sum += sum_light(line, |x| x);
                        }
                    }
                    // SAFETY: a place of the plane.
                    unsafe {
                        *to.add(y * p.output[1] + x) =
                            sum / self.divisor.share::<T>(row, columns[x]);
                    };
                    x += 1;
                }
            }
        }
    }
}

/// Columns of a window from which on they are summed by vectors.
const WIDE: usize = 32;

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
        let (rows, columns) = (p.windows(0), p.windows(1));
        for plane in self.planes.0..self.planes.1 {
            let grad = self.from.at((plane * p.places()) as isize);
            let image = self.to.at((plane * p.pixels()) as isize);
            // SAFETY: a plane of the result, owned by this task.
            unsafe { std::slice::from_raw_parts_mut(image, p.pixels()) }.fill(T::ZERO);
            for (y, &row) in rows.iter().enumerate() {
                let (top, bottom, _) = row;
                for (x, &column) in columns.iter().enumerate() {
                    let (left, right, _) = column;
                    // SAFETY: a place of the plane.
                    let grad = unsafe { *grad.add(y * p.output[1] + x) };
                    let part = grad / self.divisor.share::<T>(row, column);
                    for line in top..bottom {
                        for column in left..right {
                            // SAFETY: the window was cut to the image.
                            unsafe { *image.add(line * p.input[1] + column) += part };
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
