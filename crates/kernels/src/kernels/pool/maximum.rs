//! Maxima over windows of images.

use super::Pool;
use super::lanes::{Row, windows};
use crate::kernels::matmul::Float;
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, Src, split};
use crate::kernels::reduce::{Ordered, extreme};

/// The greatest element of each window (NaN if there is one) and where it is in its plane; the
/// first of equal ones.
///
/// # Safety
/// `input`, `output` and `places` are dense and of the sizes `pool` says; no window is empty.
pub unsafe fn maximum<T: Float + Ordered>(
    pool: &Pool,
    input: *const T,
    output: *mut T,
    places: *mut i64,
) {
    let (from, to, at, pool) = (Src::new(input), Dst::new(output), Dst::new(places), *pool);
    // Windows of their own sizes, or few and wide ones, or such as hold whole rows.
    let long = pool.kernel[1] >= 8 || pool.kernel[1] == pool.input[1];
    let wide = long && pool.output[1] < 8 && pool.dilation == [1, 1];
    if pool.adaptive || wide {
        let work = pool.pixels().max(pool.places());
        split(pool.planes, work, |first, last| {
            multiversion::run(Scan { pool, from, to, at, planes: (first, last) });
        });
        return;
    }
    split(pool.planes, pool.pixels(), |first, last| {
        multiversion::run(Maximum { pool, from, to, at, planes: (first, last) });
    });
}

/// Window after window.
struct Scan<T> {
    pool: Pool,
    from: Src<T>,
    to: Dst<T>,
    at: Dst<i64>,
    planes: (usize, usize),
}

impl<T: Float + Ordered> Job for Scan<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let p = self.pool;
        let (rows, columns) = (p.windows(0), p.windows(1));
        for plane in self.planes.0..self.planes.1 {
            let image = self.from.at((plane * p.pixels()) as isize);
            // SAFETY: a plane of the input.
            let image = unsafe { std::slice::from_raw_parts(image, p.pixels()) };
            for (y, &(top, bottom, _)) in rows.iter().enumerate() {
                for (x, &(left, right, _)) in columns.iter().enumerate() {
                    // Whole rows are one run.
                    let whole = right - left == p.input[1];
                    let runs = if whole { 1 } else { bottom - top };
                    let len = if whole { (bottom - top) * p.input[1] } else { right - left };
                    let start = top * p.input[1] + left;
                    let (best, place) = greatest(image, start, p.input[1], runs, len);
                    let at = (plane * p.places() + y * p.output[1] + x) as isize;
                    // SAFETY: a place of this task's planes.
                    unsafe {
                        *self.to.at(at) = best;
                        *self.at.at(at) = place as i64;
                    }
                }
            }
        }
    }
}

/// The greatest of some runs of `len` elements, `step` apart, and its place; the last NaN if there is one.
#[inline(always)]
fn greatest<T: Float + Ordered>(
    image: &[T],
    start: usize,
    step: usize,
    runs: usize,
    len: usize,
) -> (T, usize) {
    let (mut best, mut place, mut nan) = (T::NEG_INFINITY, start, false);
    for k in 0..runs {
        let at = start + k * step;
        let run = &image[at..at + len];
        match if len < 16 { None } else { extreme(run, true) } {
            Some((value, unordered)) => {
                nan |= unordered;
                if value > best {
                    (best, place) = (value, at + position(run, value));
                }
            }
            None => {
                for (i, &value) in run.iter().enumerate() {
                    nan |= value.is_nan();
                    if value > best {
                        (best, place) = (value, at + i);
                    }
                }
            }
        }
    }
    if nan {
        for at in (0..runs).flat_map(|k| start + k * step..start + k * step + len) {
            if image[at].is_nan() {
                (best, place) = (image[at], at);
            }
        }
    }
    (best, place)
}

/// Where a value first stands among elements that have it.
#[inline(always)]
fn position<T: Float>(run: &[T], value: T) -> usize {
    let (chunks, _) = run.as_chunks::<8>();
    let mut start = 0;
    for chunk in chunks {
        let mut any = false;
        for &x in chunk {
            any |= x == value;
        }
        if any {
            break;
        }
        start += 8;
    }
    let mut at = start;
    while at < run.len() && run[at] != value {
        at += 1;
    }
    at
}

struct Maximum<T> {
    pool: Pool,
    from: Src<T>,
    to: Dst<T>,
    at: Dst<i64>,
    planes: (usize, usize),
}

impl<T: Float + Ordered> Job for Maximum<T> {
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
        let offset =
            |ky: usize, kx: usize| (ky * p.dilation[0] * p.input[1] + kx * p.dilation[1]) as i64;
        let offsets: Vec<i64> = (0..p.kernel[0])
            .flat_map(|ky| (0..p.kernel[1]).map(move |kx| offset(ky, kx)))
            .collect();
        let left: Vec<u32> = (0..width).map(|x| skipped(1, x) as u32).collect();
        let inside = p.inside();
        for plane in self.planes.0..self.planes.1 {
            let image = self.from.at((plane * p.pixels()) as isize);
            for y in 0..p.output[0] {
                let top = skipped(0, y);
                // SAFETY: the rows are inside, and so are the columns of these windows.
                if unsafe { self.inside(plane, y, top, inside) } {
                    for x in (0..inside.0).chain(inside.1..width) {
                        self.one(plane, y, x, top, left[x] as usize);
                    }
                    continue;
                }
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
                // Where the windows of this row begin, which may be outside; a place of theirs is inside.
                let corner = (y * p.stride[0]).wrapping_sub(p.padding[0]).wrapping_mul(p.input[1]);
                let corner = corner.wrapping_sub(p.padding[1]) as i64;
                // SAFETY: a row of this task's planes.
                let (to, at) = unsafe {
                    (
                        std::slice::from_raw_parts_mut(self.to.at(base), width),
                        std::slice::from_raw_parts_mut(self.at.at(base), width),
                    )
                };
                to.copy_from_slice(&best);
                let mut corner = corner;
                for (at, &code) in at.iter_mut().zip(&code) {
                    // SAFETY: there is an offset for every code.
                    *at = corner + unsafe { *offsets.get_unchecked(code as usize) };
                    corner += p.stride[1] as i64;
                }
            }
        }
    }
}

impl<T: Float + Ordered> Maximum<T> {
    /// The windows from `inside.0` to `inside.1` of row `y`, whose first row in the image is `top`; `false`
    /// where that is not done.
    ///
    /// # Safety
    /// The columns of these windows must be inside the image.
    #[inline(always)]
    unsafe fn inside(&self, plane: usize, y: usize, top: usize, inside: (usize, usize)) -> bool {
        let p = &self.pool;
        let start = y * p.stride[0];
        let Some(below) = (p.input[0] + p.padding[0]).checked_sub(start + 1) else { return false };
        let tall = (top, (below / p.dilation[0]).min(p.kernel[0] - 1));
        let image = self.from.at((plane * p.pixels()) as isize);
        let base = (plane * p.places() + y * p.output[1]) as isize;
        let row = Row { y, tall, first: inside.0, last: inside.1 };
        // SAFETY: a row of this task's planes; the rest is the caller's promise.
        unsafe { windows(p, image, row, self.to.at(base), self.at.at(base)) }
    }

    /// One window, given its first row and column in the image.
    #[inline(always)]
    fn one(&self, plane: usize, y: usize, x: usize, top: usize, left: usize) {
        let p = &self.pool;
        let image = self.from.at((plane * p.pixels()) as isize);
        let place = |ky: usize, kx: usize| {
            let row = y * p.stride[0] + ky * p.dilation[0] - p.padding[0];
            let column = x * p.stride[1] + kx * p.dilation[1] - p.padding[1];
            (row < p.input[0] && column < p.input[1]).then_some(row * p.input[1] + column)
        };
        let (mut best, mut found) = (T::NEG_INFINITY, place(top, left).unwrap_or(0));
        for ky in top..p.kernel[0] {
            for kx in left..p.kernel[1] {
                let Some(at) = place(ky, kx) else { break };
                // SAFETY: inside the plane.
                let value = unsafe { *image.add(at) };
                if value > best || value.is_nan() {
                    (best, found) = (value, at);
                }
            }
        }
        let at = (plane * p.places() + y * p.output[1] + x) as isize;
        // SAFETY: a place of this task's planes.
        unsafe {
            *self.to.at(at) = best;
            *self.at.at(at) = found as i64;
        }
    }

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
