//! Softmax and its kin along a dimension that others lie behind: some columns at a time, copied to where
//! they lie together, so that memory is read once and written once.
#![allow(unsafe_code)]

use smallvec::SmallVec;

use super::Along;
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, Src, split};
use crate::kernels::reduce::Ordered;
use crate::kernels::vexp::Real;

/// Columns worked on together, if they have few rows, and if they have many.
const WIDE: usize = 64;
const NARROW: usize = 16;
/// Bytes that so many columns may have; beyond, the copy would leave the second cache.
const ROOM: usize = 64 * 1024;
const MORE_ROOM: usize = 192 * 1024;

/// How many columns are worked on together, if they are to be copied at all.
pub(super) fn together<T>(along: Along) -> Option<usize> {
    let column = along.n * size_of::<T>();
    if column * WIDE <= ROOM && along.outer * along.inner > NARROW {
        Some(WIDE)
    } else {
        (column * NARROW <= MORE_ROOM).then_some(NARROW)
    }
}

/// Neighbouring columns in memory.
struct Run {
    /// Of the first row.
    offset: isize,
    /// The first of the columns worked on.
    to: usize,
    len: usize,
}

/// Where `W` columns lie; the last of all may be fewer.
struct Place<const W: usize> {
    runs: SmallVec<[Run; 8]>,
    stride: usize,
}

impl<const W: usize> Place<W> {
    #[inline(always)]
    fn new(Along { outer, n, inner }: Along, unit: usize) -> Self {
        let (mut column, last) = (unit * W, ((unit + 1) * W).min(outer * inner));
        let (mut runs, mut to) = (SmallVec::new(), 0);
        while column < last {
            let (o, start) = (column / inner, column % inner);
            let len = (inner - start).min(last - column);
            runs.push(Run { offset: (o * n * inner + start) as isize, to, len });
            (column, to) = (column + len, to + len);
        }
        Self { runs, stride: inner }
    }

    /// Reads row `i`.
    ///
    /// # Safety
    /// The row must be readable.
    #[inline(always)]
    unsafe fn read<T: Real>(&self, x: Src<T>, i: usize) -> [T; W] {
        let row = (i * self.stride) as isize;
        let first = &self.runs[0];
        if first.len == W {
            // SAFETY: the run has W elements.
            return unsafe { x.at(first.offset + row).cast::<[T; W]>().read_unaligned() };
        }
        let mut made = [T::ZERO; W];
        for run in &self.runs {
            let from = x.at(run.offset + row);
            for l in 0..run.len {
                // SAFETY: l < len.
                made[run.to + l] = unsafe { *from.add(l) };
            }
        }
        made
    }

    /// Writes row `i`.
    ///
    /// # Safety
    /// The row must be writable.
    #[inline(always)]
    unsafe fn write<T: Real>(&self, y: Dst<T>, i: usize, made: [T; W]) {
        let row = (i * self.stride) as isize;
        let first = &self.runs[0];
        if first.len == W {
            // SAFETY: the run has W elements.
            unsafe { y.at(first.offset + row).cast::<[T; W]>().write_unaligned(made) };
            return;
        }
        for run in &self.runs {
            let to = y.at(run.offset + row);
            for l in 0..run.len {
                // SAFETY: l < len.
                unsafe { *to.add(l) = made[run.to + l] };
            }
        }
    }
}

struct Forward<T, const W: usize> {
    log: bool,
    along: Along,
    x: Src<T>,
    y: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Real + Ordered, const W: usize> Job for Forward<T, W> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let mut rows = vec![[T::ZERO; W]; self.along.n];
        for unit in self.first..self.last {
            let place = Place::<W>::new(self.along, unit);
            let mut max = [T::NEG_INFINITY; W];
            for (i, row) in rows.iter_mut().enumerate() {
                // SAFETY: a row of these columns.
                *row = unsafe { place.read(self.x, i) };
                for (max, &x) in max.iter_mut().zip(&*row) {
                    *max = max.max_nan(x);
                }
            }
            let mut sum = [T::ZERO; W];
            if self.log {
                for row in &mut rows {
                    for ((x, &max), sum) in row.iter_mut().zip(&max).zip(&mut sum) {
                        *x = *x - max;
                        *sum += x.vexp();
                    }
                }
            } else {
                for row in &mut rows {
                    for ((x, &max), sum) in row.iter_mut().zip(&max).zip(&mut sum) {
                        *x = (*x - max).vexp();
                        *sum += *x;
                    }
                }
            }
            for sum in &mut sum {
                *sum = if self.log { sum.vln() } else { T::ONE / *sum };
            }
            for (i, row) in rows.iter().enumerate() {
                let mut row = *row;
                for (x, &sum) in row.iter_mut().zip(&sum) {
                    *x = if self.log { *x - sum } else { *x * sum };
                }
                // SAFETY: a row of these columns, which have all been read.
                unsafe { place.write(self.y, i, row) };
            }
        }
    }
}

/// `softmax(input)` or, if `log`, its logarithm, by `wide` columns.
///
/// # Safety
/// Both must cover `along` contiguously and not overlap, or be the same.
pub(super) unsafe fn softmax<T: Real + Ordered>(
    log: bool,
    along: Along,
    wide: usize,
    x: Src<T>,
    y: Dst<T>,
) {
    split((along.outer * along.inner).div_ceil(wide), along.n * wide, |first, last| {
        if wide == WIDE {
            multiversion::run(Forward::<T, WIDE> { log, along, x, y, first, last });
        } else {
            multiversion::run(Forward::<T, NARROW> { log, along, x, y, first, last });
        }
    });
}

struct Backward<T, const W: usize> {
    log: bool,
    along: Along,
    y: Src<T>,
    g: Src<T>,
    d: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Real + Ordered, const W: usize> Job for Backward<T, W> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let mut rows = vec![[[T::ZERO; W]; 2]; self.along.n];
        for unit in self.first..self.last {
            let place = Place::<W>::new(self.along, unit);
            let mut sum = [T::ZERO; W];
            for (i, row) in rows.iter_mut().enumerate() {
                // SAFETY: a row of these columns, twice.
                let (y, g) = unsafe { (place.read(self.y, i), place.read(self.g, i)) };
                for l in 0..W {
                    sum[l] += if self.log { g[l] } else { y[l] * g[l] };
                }
                *row = [y, g];
            }
            for (i, [y, g]) in rows.iter().enumerate() {
                let mut row = [T::ZERO; W];
                for l in 0..W {
                    row[l] =
                        if self.log { g[l] - y[l].vexp() * sum[l] } else { y[l] * (g[l] - sum[l]) };
                }
                // SAFETY: a row of these columns, which have all been read.
                unsafe { place.write(self.d, i, row) };
            }
        }
    }
}

/// The gradient of [`softmax`].
///
/// # Safety
/// As for [`softmax`]; `d` may be `g`.
pub(super) unsafe fn softmax_backward<T: Real + Ordered>(
    log: bool,
    along: Along,
    wide: usize,
    [y, g]: [Src<T>; 2],
    d: Dst<T>,
) {
    split((along.outer * along.inner).div_ceil(wide), along.n * wide, |first, last| {
        if wide == WIDE {
            multiversion::run(Backward::<T, WIDE> { log, along, y, g, d, first, last });
        } else {
            multiversion::run(Backward::<T, NARROW> { log, along, y, g, d, first, last });
        }
    });
}
