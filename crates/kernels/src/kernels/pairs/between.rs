//! Distances of the rows of one matrix from those of another.
#![allow(unsafe_code)]

use super::{LANES, Metric, Slopes, columns_of, made, sums_of_slopes};
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, Src, split};
use crate::kernels::vexp::Real;

struct Between<'a, T> {
    metric: Metric,
    /// Rows of both, and their elements.
    sizes: [usize; 3],
    x: Src<T>,
    columns: &'a [T],
    to: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Real> Job for Between<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { metric, sizes: [_, m, width], columns, .. } = self;
        for i in self.first..self.last {
            // SAFETY: a row of the matrix, and one of the result, which is the task's.
            let (row, to) = unsafe {
                (
                    std::slice::from_raw_parts(self.x.at((i * width) as isize), width),
                    std::slice::from_raw_parts_mut(self.to.at((i * m) as isize), m),
                )
            };
            for (j, to) in to.chunks_mut(LANES).enumerate() {
                let made = made(metric, row, columns, j * LANES);
                to.copy_from_slice(&made[..to.len()]);
            }
        }
    }
}

/// The distances of `n` rows from `m` others, all of `width` elements.
///
/// # Safety
/// `x` has `n * width` elements, `y` `m * width`, `to` `n * m`, and that overlaps neither.
pub unsafe fn between<T: Real>(
    metric: Metric,
    sizes: [usize; 3],
    [x, y]: [*const T; 2],
    to: *mut T,
) {
    let [n, m, width] = sizes;
    // SAFETY: the caller's promise is passed on.
    let columns = unsafe { columns_of([m, width], y) };
    let (x, to, columns) = (Src::new(x), Dst::new(to), &columns[..]);
    split(n, m * width / 4, |first, last| {
        multiversion::run(Between { metric, sizes, x, columns, to, first, last });
    });
}

struct Back<T> {
    metric: Metric,
    sizes: [usize; 3],
    x: Src<T>,
    others: Src<T>,
    distances: Src<T>,
    grad: Src<T>,
    /// Steps from row to row of the distances, and from one other to the next.
    steps: [usize; 2],
    to: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Real> Job for Back<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let [_, m, width] = self.sizes;
        let mut slopes = Slopes::new(self.metric, m);
        for i in self.first..self.last {
            for j in 0..if slopes.are_none() { 0 } else { m } {
                let at = (i * self.steps[0] + j * self.steps[1]) as isize;
                // SAFETY: the place of the pair.
                let (g, y) = unsafe { (*self.grad.at(at), *self.distances.at(at)) };
                slopes.set(j, g, y);
            }
            // SAFETY: rows of the matrices; this one of the result is the task's.
            let (row, others, to) = unsafe {
                (
                    std::slice::from_raw_parts(self.x.at((i * width) as isize), width),
                    std::slice::from_raw_parts(self.others.at(0), m * width),
                    std::slice::from_raw_parts_mut(self.to.at((i * width) as isize), width),
                )
            };
            sums_of_slopes(&mut slopes, row, others, to);
        }
    }
}

/// The gradients of both matrices from those of their distances; either may be null.
///
/// # Safety
/// As for [`between`]; `distances` and `grad` have as many elements as its result, the gradients as many as
/// their matrices.
pub unsafe fn between_backward<T: Real>(
    metric: Metric,
    [n, m, width]: [usize; 3],
    [x, y]: [*const T; 2],
    [distances, grad]: [*const T; 2],
    to: [*mut T; 2],
) {
    let (x, y) = (Src::new(x), Src::new(y));
    let (distances, grad) = (Src::new(distances), Src::new(grad));
    let sides = [([n, m, width], [x, y], [m, 1]), ([m, n, width], [y, x], [1, m])];
    for ((sizes, [x, others], steps), to) in sides.into_iter().zip(to) {
        if to.is_null() {
            continue;
        }
        let to = Dst::new(to);
        split(sizes[0], sizes[1] * width, |first, last| {
            let job = Back { metric, sizes, x, others, distances, grad, steps, to, first, last };
            multiversion::run(job);
        });
    }
}
