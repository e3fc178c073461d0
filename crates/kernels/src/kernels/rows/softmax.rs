//! Softmax and log-softmax, forward and backward.
#![allow(unsafe_code)]

use super::{Along, columns};
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Aligned, Dst, Src, split};
use crate::kernels::reduce::{Kind, Max, Ordered, lanes, lanes_of_pairs};
use crate::kernels::reduce::{sum_light, sum_mapped};
use crate::kernels::vexp::Real;

/// Columns worked on together when the dimension is not the last one.
const TILE: usize = 64;
/// Rows of up to this length are turned to columns first: too short for vectors, they would pay for
/// every step of a row.
const SHORT: usize = 32;
/// So many of them.
const WIDE: usize = 16;
/// Short rows as columns.
type Turned<T> = Aligned<[[T; WIDE]; SHORT]>;

/// Reads `count` rows of `n` elements as columns; what is missing repeats the first row.
///
/// # Safety
/// The rows must be readable.
#[inline(always)]
unsafe fn turn<T: Real>(from: *const T, n: usize, count: usize, to: &mut Turned<T>) {
    for j in 0..WIDE {
        let row = from.wrapping_add(if j < count { j * n } else { 0 });
        for (i, to) in to[..n].iter_mut().enumerate() {
            // SAFETY: i < n, of a row that is there.
            to[j] = unsafe { *row.add(i) };
        }
    }
}

/// The inverse of [`turn`].
///
/// # Safety
/// The rows must be writable.
#[inline(always)]
unsafe fn turn_back<T: Real>(from: &Turned<T>, n: usize, count: usize, to: *mut T) {
    for j in 0..count {
        for (i, from) in from[..n].iter().enumerate() {
            // SAFETY: i < n, of a row that is there.
            unsafe { *to.add(j * n + i) = from[j] };
        }
    }
}

/// `softmax(input)` or, if `log`, its logarithm.
///
/// # Safety
/// Both must cover `along` contiguously and not overlap, or be the same.
pub unsafe fn softmax<T: Real + Ordered>(log: bool, along: Along, input: *const T, output: *mut T) {
    if along.is_empty() {
        return;
    }
    let (x, y) = (Src::new(input), Dst::new(output));
    if along.inner > 1
        && let Some(wide) = columns::together::<T>(along)
    {
        // SAFETY: the caller's promise is passed on.
        unsafe { columns::softmax(log, along, wide, x, y) };
        return;
    }
    over(along, |first, last| {
        multiversion::run(Forward { log, along, x, y, first, last });
    });
}

/// The gradient of [`softmax`]: `y * (g - sum(y * g))`, or `g - exp(y) * sum(g)` if `log`.
///
/// # Safety
/// As for [`softmax`]; `grad_in` may be `grad_out`.
pub unsafe fn softmax_backward<T: Real + Ordered>(
    log: bool,
    along: Along,
    output: *const T,
    grad_out: *const T,
    grad_in: *mut T,
) {
    if along.is_empty() {
        return;
    }
    let (y, g, d) = (Src::new(output), Src::new(grad_out), Dst::new(grad_in));
    if along.inner > 1
        && let Some(wide) = columns::together::<T>(along)
    {
        // SAFETY: the caller's promise is passed on.
        unsafe { columns::softmax_backward(log, along, wide, [y, g], d) };
        return;
    }
    over(along, |first, last| {
        multiversion::run(Backward { log, along, y, g, d, first, last });
    });
}

/// Splits into rows, or into tiles of columns if the dimension is strided.
fn over(along: Along, f: impl Fn(usize, usize) + Sync) {
    if along.inner == 1 {
        split(along.outer, along.n, f);
    } else {
        let tiles = along.inner.div_ceil(TILE);
        split(along.outer * tiles, along.n * TILE.min(along.inner), f);
    }
}

/// Columns worked on together: all of a tile, or if there are only a few, those of several rows that follow
/// each other in memory as one row of more columns.
#[derive(Clone, Copy)]
struct Tile {
    offset: isize,
    /// Elements from row to row.
    stride: usize,
    /// Columns of a row; the last one may have fewer.
    width: usize,
    rows: usize,
    last: usize,
    /// Columns that are truly different.
    period: usize,
}

impl Tile {
    #[inline(always)]
    fn new(Along { n, inner, .. }: Along, unit: usize) -> Self {
        let together = (TILE / inner).clamp(1, n);
        if together > 1 {
            let rows = n.div_ceil(together);
            let (offset, width) = ((unit * n * inner) as isize, together * inner);
            let last = (n - (rows - 1) * together) * inner;
            return Self { offset, stride: width, width, rows, last, period: inner };
        }
        let tiles = inner.div_ceil(TILE);
        let start = unit % tiles * TILE;
        let offset = (unit / tiles * n * inner + start) as isize;
        let width = TILE.min(inner - start);
        Self { offset, stride: inner, width, rows: n, last: width, period: width }
    }

    /// Where each row lies, and how many columns it has.
    #[inline(always)]
    fn rows(self) -> impl Iterator<Item = (isize, usize)> {
        (0..self.rows).map(move |i| {
            let width = if i + 1 == self.rows { self.last } else { self.width };
            (self.offset + (i * self.stride) as isize, width)
        })
    }

    /// Merges the columns that are the same in truth.
    #[inline(always)]
    fn join<T: Copy>(self, values: &mut [T; TILE], merge: impl Fn(T, T) -> T) {
        if self.period == self.width {
            return;
        }
        for at in self.period..self.width {
            values[at % self.period] = merge(values[at % self.period], values[at]);
        }
        for at in self.period..self.width {
            values[at] = values[at % self.period];
        }
    }
}

struct Forward<T> {
    log: bool,
    along: Along,
    x: Src<T>,
    y: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Real + Ordered> Job for Forward<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        if self.along.inner == 1 && self.along.n <= SHORT {
            let mut x = Aligned([[T::ZERO; WIDE]; SHORT]);
            for first in (self.first..self.last).step_by(WIDE) {
                self.short(first, WIDE.min(self.last - first), &mut x);
            }
            return;
        }
        for unit in self.first..self.last {
            if self.along.inner == 1 {
                self.row(unit);
            } else {
                self.columns(unit);
            }
        }
    }
}

impl<T: Real + Ordered> Forward<T> {
    /// Some short rows.
    #[inline(always)]
    fn short(&self, first: usize, count: usize, x: &mut Turned<T>) {
        let n = self.along.n;
        let at = (first * n) as isize;
        // SAFETY: these rows of the input.
        unsafe { turn(self.x.at(at), n, count, x) };
        let (mut max, mut sum) = (Aligned([T::NEG_INFINITY; WIDE]), Aligned([T::ZERO; WIDE]));
        for x in &x[..n] {
            for (max, &x) in max.iter_mut().zip(x) {
                *max = max.max_nan(x);
            }
        }
        for x in &mut x[..n] {
            for ((x, &max), sum) in x.iter_mut().zip(&*max).zip(&mut *sum) {
                let moved = *x - max;
                let e = moved.vexp();
                *sum += e;
                *x = if self.log { moved } else { e };
            }
        }
        for sum in &mut *sum {
            *sum = if self.log { sum.vln() } else { T::ONE / *sum };
        }
        for x in &mut x[..n] {
            for (x, &sum) in x.iter_mut().zip(&*sum) {
                *x = if self.log { *x - sum } else { *x * sum };
            }
        }
        // SAFETY: these rows of the output.
        unsafe { turn_back(x, n, count, self.y.at(at)) };
    }

    #[inline(always)]
    fn row(&self, unit: usize) {
        let n = self.along.n;
        let (x, y) = (self.x.at((unit * n) as isize), self.y.at((unit * n) as isize));
        // SAFETY: row `unit` of the input; writes below go through y only after the last read.
        let max = Max.block(unsafe { std::slice::from_raw_parts(x, n) });
        if self.log {
            // SAFETY: as above.
            let row = unsafe { std::slice::from_raw_parts(x, n) };
            let shift = max + sum_mapped(row, |x| (x - max).vexp()).ln();
            for i in 0..n {
                // SAFETY: i < n; reads happen before the write of the same element.
                unsafe { *y.add(i) = *x.add(i) - shift };
            }
            return;
        }
        let mut sum = T::ZERO;
        let mut at = 0;
        while at < n {
            let len = 1024.min(n - at);
            for i in at..at + len {
                // SAFETY: as above.
                unsafe { *y.add(i) = (*x.add(i) - max).vexp() };
            }
            // SAFETY: just written.
            let block = unsafe { std::slice::from_raw_parts(y.add(at), len) };
            sum += lanes(block, T::ZERO, |x| x, |a, b| a + b);
            at += len;
        }
        let scale = T::ONE / sum;
        for i in 0..n {
            // SAFETY: as above.
            unsafe { *y.add(i) = *y.add(i) * scale };
        }
    }

    #[inline(always)]
    fn columns(&self, unit: usize) {
        let tile = Tile::new(self.along, unit);
        let mut max = Aligned([T::NEG_INFINITY; TILE]);
        let mut sum = Aligned([T::ZERO; TILE]);
        for (at, width) in tile.rows() {
            let x = self.x.at(at);
            for (j, max) in max[..width].iter_mut().enumerate() {
                // SAFETY: a row of the tile.
                *max = max.max_nan(unsafe { *x.add(j) });
            }
        }
        tile.join(&mut max, T::max_nan);
        for (at, width) in tile.rows() {
            let (x, y) = (self.x.at(at), self.y.at(at));
            for j in 0..width {
                // SAFETY: a row of the tile. For the logarithm y may be x, so it is not written.
                unsafe {
                    let e = (*x.add(j) - max[j]).vexp();
                    sum[j] += e;
                    if !self.log {
                        *y.add(j) = e;
                    }
                }
            }
        }
        tile.join(&mut sum, |a, b| a + b);
        for (sum, &max) in sum[..tile.width].iter_mut().zip(&*max) {
            *sum = if self.log { max + sum.vln() } else { T::ONE / *sum };
        }
        for (at, width) in tile.rows() {
            let (x, y) = (self.x.at(at), self.y.at(at));
            for (j, &sum) in sum[..width].iter().enumerate() {
                // SAFETY: a row of the tile.
                unsafe { *y.add(j) = if self.log { *x.add(j) - sum } else { *y.add(j) * sum } };
            }
        }
    }
}

struct Backward<T> {
    log: bool,
    along: Along,
    y: Src<T>,
    g: Src<T>,
    d: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Real + Ordered> Job for Backward<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Along { n, inner, .. } = self.along;
        if inner == 1 && n <= SHORT {
            let mut y = Aligned([[T::ZERO; WIDE]; SHORT]);
            let mut g = y;
            for first in (self.first..self.last).step_by(WIDE) {
                self.short(first, WIDE.min(self.last - first), &mut y, &mut g);
            }
            return;
        }
        for unit in self.first..self.last {
            if inner == 1 {
                let at = (unit * n) as isize;
                let (y, g, d) = (self.y.at(at), self.g.at(at), self.d.at(at));
                let sum = self.row_sum(y, g);
                for i in 0..n {
                    // SAFETY: i < n; the reads come before the write.
                    unsafe { *d.add(i) = self.element(*y.add(i), *g.add(i), sum) };
                }
                continue;
            }
            let tile = Tile::new(self.along, unit);
            let mut sum = Aligned([T::ZERO; TILE]);
            for (at, width) in tile.rows() {
                let (y, g) = (self.y.at(at), self.g.at(at));
                for (j, sum) in sum[..width].iter_mut().enumerate() {
                    // SAFETY: a row of the tile.
                    *sum += unsafe { if self.log { *g.add(j) } else { *y.add(j) * *g.add(j) } };
                }
            }
            tile.join(&mut sum, |a, b| a + b);
            for (at, width) in tile.rows() {
                let (y, g, d) = (self.y.at(at), self.g.at(at), self.d.at(at));
                for (j, &sum) in sum[..width].iter().enumerate() {
                    // SAFETY: a row of the tile.
                    unsafe { *d.add(j) = self.element(*y.add(j), *g.add(j), sum) };
                }
            }
        }
    }
}

impl<T: Real + Ordered> Backward<T> {
    #[inline(always)]
    fn element(&self, y: T, g: T, sum: T) -> T {
        if self.log { g - y.vexp() * sum } else { y * (g - sum) }
    }

    /// Some short rows.
    #[inline(always)]
    fn short(&self, first: usize, count: usize, y: &mut Turned<T>, g: &mut Turned<T>) {
        let n = self.along.n;
        let at = (first * n) as isize;
        // SAFETY: these rows of the output of the way there, and of the gradient.
        unsafe {
            turn(self.y.at(at), n, count, y);
            turn(self.g.at(at), n, count, g);
        }
        let mut sum = Aligned([T::ZERO; WIDE]);
        for (y, g) in y[..n].iter().zip(&g[..n]) {
            for ((sum, &y), &g) in sum.iter_mut().zip(y).zip(g) {
                *sum += if self.log { g } else { y * g };
            }
        }
        for (y, g) in y[..n].iter_mut().zip(&g[..n]) {
            for ((y, &g), &sum) in y.iter_mut().zip(g).zip(&*sum) {
                *y = self.element(*y, g, sum);
            }
        }
        // SAFETY: these rows of the result.
        unsafe { turn_back(y, n, count, self.d.at(at)) };
    }

    #[inline(always)]
    fn row_sum(&self, y: *const T, g: *const T) -> T {
        let n = self.along.n;
        // SAFETY: a row each; nothing is written before this sum is done.
        let (y, g) =
            unsafe { (std::slice::from_raw_parts(y, n), std::slice::from_raw_parts(g, n)) };
        if self.log {
            return sum_light(g, |g| g);
        }
        let mut sum = T::ZERO;
        for (y, g) in y.chunks(1024).zip(g.chunks(1024)) {
            sum += lanes_of_pairs(y, g, T::ZERO, |y, g| y * g, |a, b| a + b);
        }
        sum
    }
}
