//! Softmax and its kin along a dimension that others lie behind: some columns at a time, copied to where
//! they lie together, so that memory is read once and written once.
#![allow(unsafe_code)]

use smallvec::SmallVec;

use super::Along;
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Aligned, Dst, Scratch, Src, carry, prefetch, split};
use crate::kernels::reduce::{Kind, Max, Ordered};
use crate::kernels::vexp::Real;

/// Columns worked on together, if they have few rows, and if they have many.
const WIDE: usize = 64;
const NARROW: usize = 16;
/// Bytes that so many columns may have; beyond, the copy would leave the second cache.
const ROOM: usize = 192 * 1024;

/// How many columns are worked on together, if they are to be copied at all.
pub(super) fn together<T>(along: Along) -> Option<usize> {
    let column = along.n * size_of::<T>();
    if column * WIDE <= ROOM && along.outer * along.inner > NARROW {
        Some(WIDE)
    } else {
        (column * NARROW <= ROOM).then_some(NARROW)
    }
}

/// Rows that are read before their columns' greatest elements are looked for.
const BLOCK: usize = 32;

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
    unsafe fn read<T: Real>(&self, x: Src<T>, i: usize, made: &mut [T; W]) {
        let row = (i * self.stride) as isize;
        let first = &self.runs[0];
        if first.len == W {
            let from = x.at(first.offset + row);
            for (l, made) in made.iter_mut().enumerate() {
                // SAFETY: the run has W elements.
                *made = unsafe { *from.add(l) };
            }
            return;
        }
        for run in &self.runs {
            // SAFETY: the run has so many elements.
            let from = unsafe { std::slice::from_raw_parts(x.at(run.offset + row), run.len) };
            carry(from, &mut made[run.to..run.to + run.len]);
        }
    }

    /// Asks for row `i`, which is `start` elements from where the columns begin: rows lie too far apart for the
    /// processor to guess.
    #[inline(always)]
    fn ask<T>(&self, start: *const T, i: usize) {
        let first = start.wrapping_offset(self.runs[0].offset + (i * self.stride) as isize);
        for at in (0..W).step_by(64 / size_of::<T>()) {
            prefetch(first.wrapping_add(at));
        }
    }

    /// Writes row `i`.
    ///
    /// # Safety
    /// The row must be writable.
    #[inline(always)]
    unsafe fn write<T: Real>(&self, y: Dst<T>, i: usize, made: impl Fn(usize) -> T) {
        let row = (i * self.stride) as isize;
        let first = &self.runs[0];
        if first.len == W {
            let to = y.at(first.offset + row);
            for l in 0..W {
                // SAFETY: the run has W elements.
                unsafe { *to.add(l) = made(l) };
            }
            return;
        }
        let all: [T; W] = std::array::from_fn(made);
        for run in &self.runs {
            // SAFETY: the run has so many elements, which belong to this task.
            let to = unsafe { std::slice::from_raw_parts_mut(y.at(run.offset + row), run.len) };
            carry(&all[run.to..run.to + run.len], to);
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
        let mut rows = Scratch::filled(Aligned([T::ZERO; W]), self.along.n);
        for unit in self.first..self.last {
            let place = Place::<W>::new(self.along, unit);
            let next = Place::<W>::new(self.along, (unit + 1).min(self.last - 1));
            // What is written, and the columns after these, while there is something to compute.
            let ask = |i: usize| {
                place.ask(self.y.at(0), i);
                next.ask(self.x.at(0), i);
            };
            let mut max = Aligned([T::NEG_INFINITY; W]);
            for (block, rows) in rows.chunks_mut(BLOCK).enumerate() {
                for (i, row) in rows.iter_mut().enumerate() {
                    // SAFETY: a row of these columns.
                    unsafe { place.read(self.x, block * BLOCK + i, row) };
                }
                // SAFETY: the rows that were read, while they are in the first cache.
                unsafe {
                    let step = size_of::<Aligned<[T; W]>>() / size_of::<T>();
                    let (eights, rest) = rows.as_chunks::<8>();
                    Max.strips(rows.as_ptr().cast(), step as isize, eights.len(), &mut *max);
                    for row in rest {
                        Max.columns(&[row.as_ptr()], &mut *max);
                    }
                }
            }
            let mut sum = Aligned([T::ZERO; W]);
            if self.log {
                for (i, row) in rows.iter_mut().enumerate() {
                    ask(i);
                    for ((x, &max), sum) in row.iter_mut().zip(&*max).zip(&mut *sum) {
                        *x = *x - max;
                        *sum += x.vexp();
                    }
                }
            } else {
                for (i, row) in rows.iter_mut().enumerate() {
                    ask(i);
                    for ((x, &max), sum) in row.iter_mut().zip(&*max).zip(&mut *sum) {
                        *x = (*x - max).vexp();
                        *sum += *x;
                    }
                }
            }
            for sum in &mut *sum {
                *sum = if self.log { sum.vln() } else { T::ONE / *sum };
            }
            for (i, row) in rows.iter().enumerate() {
                // SAFETY: a row of these columns, which have all been read.
                unsafe {
                    if self.log {
                        place.write(self.y, i, |l| row[l] - sum[l]);
                    } else {
                        place.write(self.y, i, |l| row[l] * sum[l]);
                    }
                }
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
        let mut rows = Scratch::filled([Aligned([T::ZERO; W]); 2], self.along.n);
        for unit in self.first..self.last {
            let place = Place::<W>::new(self.along, unit);
            let next = Place::<W>::new(self.along, (unit + 1).min(self.last - 1));
            let mut sum = Aligned([T::ZERO; W]);
            for (i, row) in rows.iter_mut().enumerate() {
                place.ask(self.d.at(0), i);
                let [y, g] = row;
                // SAFETY: a row of these columns, twice.
                unsafe {
                    place.read(self.y, i, y);
                    place.read(self.g, i, g);
                }
                for l in 0..W {
                    sum[l] += if self.log { g[l] } else { y[l] * g[l] };
                }
            }
            for (i, [y, g]) in rows.iter().enumerate() {
                next.ask(self.y.at(0), i);
                next.ask(self.g.at(0), i);
                // SAFETY: a row of these columns, which have all been read.
                unsafe {
                    if self.log {
                        place.write(self.d, i, |l| g[l] - y[l].vexp() * sum[l]);
                    } else {
                        place.write(self.d, i, |l| y[l] * (g[l] - sum[l]));
                    }
                }
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
