//! Where the extreme is: argmax, argmin, and max or min along a dimension with index.
#![allow(unsafe_code)]

use smallvec::SmallVec;

use super::kind::{Kind, Max, Min, Ordered};
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Aligned, Dst, Src, Walk, split};

/// Which extreme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extreme {
    /// The greatest.
    Max,
    /// The least.
    Min,
}

/// Elements searched as one block.
const BLOCK: usize = 2048;

/// Index (and value, where `values` is not null) of the extreme over the dimensions set in
/// `mask`, counted in row-major order over those dimensions. NaN counts as the extreme; the first
/// of equals is taken. There must be something to reduce.
///
/// # Safety
/// As for [`super::reduce`]; `values` may be null.
pub unsafe fn argreduce<T: Ordered>(
    extreme: Extreme,
    input: *const T,
    shape: &[usize],
    strides: &[isize],
    mask: u64,
    values: *mut T,
    indices: *mut i64,
) {
    let mut kept = SmallVec::<[(usize, [isize; 1]); 6]>::new();
    let mut reduced = SmallVec::<[(usize, [isize; 1]); 6]>::new();
    for (i, (&size, &stride)) in shape.iter().zip(strides).enumerate() {
        let list = if mask >> i & 1 == 1 { &mut reduced } else { &mut kept };
        if size == 1 {
            continue;
        }
        // Joined in logical order only: the index counts in that order.
        if let Some((last, [outer])) = list.last_mut()
            && *outer == stride * size as isize
        {
            *last *= size;
            *outer = stride;
        } else {
            list.push((size, [stride]));
        }
    }
    let inner = kept.last().copied();
    let run = reduced.pop().unwrap_or((1, [0]));
    let task = Task {
        extreme,
        input: Src::new(input),
        values: Dst::new(values),
        has_values: !values.is_null(),
        indices: Dst::new(indices),
        outputs: kept.iter().map(|d| d.0).product(),
        outer: reduced.iter().map(|d| d.0).product(),
        kept,
        reduced,
        run,
    };
    if let Some((width, [1])) = inner
        && width >= 16
        && task.run.1[0] != 1
    {
        task.by_columns(width);
    } else {
        task.by_rows();
    }
}

struct Task<T> {
    extreme: Extreme,
    input: Src<T>,
    values: Dst<T>,
    has_values: bool,
    indices: Dst<i64>,
    outputs: usize,
    outer: usize,
    kept: SmallVec<[(usize, [isize; 1]); 6]>,
    reduced: SmallVec<[(usize, [isize; 1]); 6]>,
    run: (usize, [isize; 1]),
}

/// Whether `a` displaces `b`: strictly more extreme, or the first NaN.
#[inline(always)]
fn beats<T: Ordered>(extreme: Extreme, a: T, b: T) -> bool {
    let more = if extreme == Extreme::Max { a > b } else { a < b };
    more | (a.unordered() & !b.unordered())
}

/// Where the first element equal to `value` (or NaN, if that is) stands, by pieces: most are passed
/// over in vector registers.
#[inline(always)]
fn find<T: Ordered>(x: &[T], value: T) -> usize {
    let is = |x: T| x == value || (x.unordered() & value.unordered());
    let mut at = 0;
    for piece in x.chunks(64) {
        if piece.iter().fold(false, |found, &x| found | is(x)) {
            return at + piece.iter().position(|&x| is(x)).unwrap_or(0);
        }
        at += piece.len();
    }
    0
}

impl<T: Ordered> Task<T> {
    fn by_rows(&self) {
        split(self.outputs, self.run.0 * self.outer, |first, last| {
            let job = Rows { task: self, first, last };
            if const { T::DTYPE.is_float() } {
                multiversion::run(job);
            } else {
                multiversion::run_narrow(job);
            }
        });
    }

    fn by_columns(&self, width: usize) {
        let tile = width.min(256);
        let tiles = width.div_ceil(tile);
        let units = self.outputs / width * tiles;
        split(units, tile * self.run.0 * self.outer, |first, last| {
            let job = Columns { task: self, first, last, width, tile };
            if const { T::DTYPE.is_float() } {
                multiversion::run(job);
            } else {
                multiversion::run_narrow(job);
            }
        });
    }

    #[inline(always)]
    fn put(&self, output: usize, value: T, index: i64) {
        // SAFETY: each output is written once, by the unit that owns it.
        unsafe {
            if self.has_values {
                *self.values.at(output as isize) = value;
            }
            *self.indices.at(output as isize) = index;
        }
    }
}

struct Rows<'a, T> {
    task: &'a Task<T>,
    first: usize,
    last: usize,
}

impl<T: Ordered> Job for Rows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let task = self.task;
        let (n, [stride]) = task.run;
        let mut kept = Walk::new(task.kept.iter().copied(), self.first);
        let mut packed = Vec::<T>::new();
        if stride != 1 {
            packed.resize(BLOCK.min(n), T::default());
        }
        if task.outer == 1 && stride == 1 && n < 16 {
            // A few elements: one after the other, without branches, the processor being at several rows.
            let row = |output: usize, from: isize| {
                let from = task.input.at(from);
                let least = task.extreme == Extreme::Min;
                // As integers, of which the compiler truly makes no branches.
                // SAFETY: a run of n elements, of which there is one at least.
                let (mut best, mut index) = (unsafe { *from }.rank(least), 0u32);
                for i in 1..n as u32 {
                    // SAFETY: as above.
                    let rank = unsafe { *from.add(i as usize) }.rank(least);
                    let wins = rank > best;
                    best = std::hint::select_unpredictable(wins, rank, best);
                    index = std::hint::select_unpredictable(wins, i, index);
                }
                // SAFETY: index < n.
                task.put(output, unsafe { *from.add(index as usize) }, i64::from(index));
            };
            if let [(_, [step])] = task.kept[..] {
                for output in self.first..self.last {
                    row(output, output as isize * step);
                }
                return;
            }
            for output in self.first..self.last {
                row(output, kept.offset[0]);
                kept.advance();
            }
            return;
        }
        if task.outer == 1 && stride == 1 && n < 64 {
            for output in self.first..self.last {
                let from = task.input.at(kept.offset[0]);
                // SAFETY: a run of n elements.
                let x = unsafe { std::slice::from_raw_parts(from, n) };
                let best = match task.extreme {
                    Extreme::Max => Max.block(x),
                    Extreme::Min => Min.block(x),
                };
                // Without branches: in short rows a wrong guess costs more than the search.
                let mut index = n as u32;
                for (i, &x) in (0..n as u32).zip(x).rev() {
                    let found = x == best || x.unordered();
                    index = if found { i } else { index };
                }
                task.put(output, best, i64::from(index));
                kept.advance();
            }
            return;
        }
        for output in self.first..self.last {
            let mut outer = Walk::new(task.reduced.iter().copied(), 0);
            // SAFETY: the reduction is not empty.
            let mut best = unsafe { *task.input.at(kept.offset[0]) };
            let mut index = 0;
            for row in 0..task.outer {
                let mut at = 0;
                while at < n {
                    let len = BLOCK.min(n - at);
                    let from =
                        task.input.at(kept.offset[0] + outer.offset[0] + at as isize * stride);
                    let x = if stride == 1 {
                        from
                    } else {
                        for (i, to) in packed[..len].iter_mut().enumerate() {
                            // SAFETY: within the run.
                            *to = unsafe { *from.wrapping_offset(i as isize * stride) };
                        }
                        packed.as_ptr()
                    };
                    // SAFETY: `len` elements of the run, or of the packed copy.
                    let x = unsafe { std::slice::from_raw_parts(x, len) };
                    // The vector pass finds the value; only a block that wins is searched.
                    let value = match task.extreme {
                        Extreme::Max => Max.block(x),
                        Extreme::Min => Min.block(x),
                    };
                    if beats(task.extreme, value, best) {
                        best = value;
                        index = row * n + at + find(x, value);
                    }
                    at += len;
                }
                outer.advance();
            }
            task.put(output, best, index as i64);
            kept.advance();
        }
    }
}

struct Columns<'a, T> {
    task: &'a Task<T>,
    first: usize,
    last: usize,
    width: usize,
    tile: usize,
}

impl<T: Ordered> Job for Columns<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let task = self.task;
        let (n, [stride]) = task.run;
        let mut best = Aligned([T::default(); 256]);
        let mut index = Aligned([0i64; 256]);
        let tiles = self.width.div_ceil(self.tile);
        for unit in self.first..self.last {
            let start = unit % tiles * self.tile;
            let output = unit / tiles * self.width + start;
            let width = self.tile.min(self.width - start);
            let base = Walk::new(task.kept.iter().copied(), output).offset[0];
            let (best, index) = (&mut best[..width], &mut index[..width]);
            // SAFETY: a row of `width` elements at the first position.
            best.copy_from_slice(unsafe { std::slice::from_raw_parts(task.input.at(base), width) });
            index.fill(0);
            let mut outer = Walk::new(task.reduced.iter().copied(), 0);
            let mut position = 0i64;
            for _ in 0..task.outer {
                for i in 0..n {
                    let row = task.input.at(base + outer.offset[0] + i as isize * stride);
                    // SAFETY: the inner kept dimension is contiguous.
                    let row = unsafe { std::slice::from_raw_parts(row, width) };
                    for ((best, index), &x) in best.iter_mut().zip(&mut *index).zip(row) {
                        let wins = beats(task.extreme, x, *best);
                        *best = if wins { x } else { *best };
                        *index = if wins { position } else { *index };
                    }
                    position += 1;
                }
                outer.advance();
            }
            for (j, (&value, &index)) in best.iter().zip(&*index).enumerate() {
                task.put(output + j, value, index);
            }
        }
    }
}
