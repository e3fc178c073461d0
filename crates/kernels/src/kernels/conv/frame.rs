//! Planes framed by zeros, with the columns sorted by their remainder by the steps: the sources of
//! neighbouring results then lie side by side for every element of the kernel.

use std::ops::Range;

use crate::kernels::matmul::Vector;
use crate::kernels::raw::{carry, prefetch};
use crate::kernels::vexp::Real;

/// Elements of a kernel, with the distances of their sources from the first.
#[derive(Clone, Debug)]
pub(super) struct Taps {
    /// Along each dimension which elements, and at what distance.
    along: [Vec<(usize, usize)>; 3],
    /// Elements of the whole kernel along the last two dimensions.
    whole: [usize; 2],
}

impl Taps {
    pub(super) fn new(along: [Vec<(usize, usize)>; 3], whole: [usize; 2]) -> Self {
        Self { along, whole }
    }
    pub(super) fn counts(&self) -> [usize; 3] {
        [0, 1, 2].map(|i| self.along[i].len())
    }
    pub(super) fn len(&self) -> usize {
        self.counts().iter().product()
    }
    /// The greatest distance along a dimension.
    fn reach(&self, dim: usize) -> usize {
        self.along[dim].iter().map(|&(_, at)| at).max().unwrap_or(0)
    }
    /// Whether rows follow one another.
    pub(super) fn dense_rows(&self) -> bool {
        self.along[1].iter().enumerate().all(|(i, &(_, at))| i == at)
    }
    /// Which elements along a dimension have their source between 0 and `size`, the first's being at `at`.
    pub(super) fn within(&self, dim: usize, at: isize, size: usize) -> Range<usize> {
        let inside = |&(_, step): &(usize, usize)| {
            let at = at + step as isize;
            at >= 0 && (at as usize) < size
        };
        let first = self.along[dim].iter().position(inside).unwrap_or(0);
        let n = self.along[dim][first..].iter().take_while(|&tap| inside(tap)).count();
        first..first + n
    }
    /// The elements by their number in the whole kernel.
    pub(super) fn elements(&self) -> impl Iterator<Item = usize> + '_ {
        let [high, wide] = self.whole;
        let [z, y, x] = &self.along;
        z.iter().flat_map(move |&(z, _)| {
            y.iter().flat_map(move |&(y, _)| x.iter().map(move |&(x, _)| (z * high + y) * wide + x))
        })
    }
    /// Where their sources lie in frames of some channels.
    pub(super) fn offsets(
        &self,
        channels: usize,
        plane: usize,
        line: usize,
        step: usize,
    ) -> Vec<usize> {
        let [z, y, x] = &self.along;
        let mut offsets = Vec::with_capacity(channels * self.len());
        for part in 0..channels * z.len() {
            for &(_, y) in y {
                for &(_, x) in x {
                    offsets.push(part * plane + (y * step + x % step) * line + x / step);
                }
            }
        }
        offsets
    }
}

/// Results at regular places, each from the sources that lie at the distances of some elements of the
/// kernel from its first.
#[derive(Clone, Debug)]
pub(super) struct Sweep {
    pub(super) taps: Taps,
    /// How far before the source's start the first result's first source lies.
    pub(super) before: [isize; 3],
    /// From the sources of one result to those of the next.
    pub(super) step: [usize; 3],
    /// Results.
    pub(super) size: [usize; 3],
    /// Where they lie: the first, and from one to the next.
    pub(super) first: [usize; 3],
    pub(super) every: [usize; 3],
}

impl Sweep {
    pub(super) fn places(&self) -> usize {
        self.size.iter().product()
    }
    /// Elements of a framed row with one remainder, for whole vectors of `lanes`.
    pub(super) fn line(&self, lanes: usize) -> usize {
        self.size[2].next_multiple_of(lanes) + self.taps.reach(2) / self.step[2]
    }
    /// Framed lines for so many rows of results.
    pub(super) fn rows(&self, results: usize) -> usize {
        ((results.max(1) - 1) * self.step[1] + self.taps.reach(1) + 1) * self.step[2]
    }
    /// Part `band` of `bands` of the rows of results, as `(plane, first row, end)`, at most `rows` of one plane
    /// together.
    pub(super) fn band(
        &self,
        band: usize,
        bands: usize,
        rows: usize,
    ) -> impl Iterator<Item = (usize, usize, usize)> {
        let [depth, high, wide] = self.size;
        let all = if wide == 0 { 0 } else { depth * high };
        let (mut row, end) = (all * band / bands, all * (band + 1) / bands);
        std::iter::from_fn(move || {
            (row < end).then(|| {
                let (depth, from) = (row / high, row % high);
                let to = high.min(from + rows).min(from + end - row);
                row += to - from;
                (depth, from, to)
            })
        })
    }
    /// Which elements of the kernel, along depth and height, have their source inside planes of `size` for
    /// the results of a row.
    pub(super) fn within(&self, size: [usize; 3], depth: usize, row: usize) -> [Range<usize>; 2] {
        [(0, depth), (1, row)].map(|(dim, place)| {
            let at = (place * self.step[dim]) as isize - self.before[dim];
            self.taps.within(dim, at, size[dim])
        })
    }
    /// Elements from the sources of one row of results to those of the next.
    pub(super) fn between(&self, line: usize) -> usize {
        self.step[1] * self.step[2] * line
    }

    /// Frames what results in rows `rows` of one plane of results need of `channels` channels, but for
    /// the first `skipped` columns.
    ///
    /// # Safety
    /// `from` holds dense channels of `size`, `to` the frames.
    #[inline(always)]
    pub(super) unsafe fn fill<T: Real>(
        &self,
        from: *const T,
        size: [usize; 3],
        channels: usize,
        depth: usize,
        rows: Range<usize>,
        to: *mut T,
        skipped: usize,
        plane: usize,
        line: usize,
    ) {
        let [_, y, x] = &self.taps.along;
        let [deep, high, wide] = size;
        let [_, down, step] = self.step;
        // Which remainders by the steps are read.
        let used = |taps: &[(usize, usize)], step: usize| -> u64 {
            if step > 64 {
                !0
            } else {
                taps.iter().fold(0, |used, &(_, at)| used | 1 << (at % step))
            }
        };
        let (used_down, used_along) = (used(y, down), used(x, step));
        let framed = self.rows(rows.len()) / step;
        let top = (rows.start * down) as isize - self.before[1];
        let mut part = 0;
        for channel in 0..channels {
            for &(_, z) in &self.taps.along[0] {
                let z = (depth * self.step[0] + z) as isize - self.before[0];
                let inside = z >= 0 && (z as usize) < deep;
                let mut remainder = 0;
                for row in 0..framed {
                    let skipped_row = remainder < 64 && used_down >> remainder & 1 == 0;
                    remainder = if remainder + 1 == down { 0 } else { remainder + 1 };
                    if skipped_row {
                        continue;
                    }
                    let source = top + row as isize;
                    let inside = inside && source >= 0 && (source as usize) < high;
                    for rest in 0..step {
                        if rest < 64 && used_along >> rest & 1 == 0 {
                            continue;
                        }
                        // SAFETY: one line of the frame; the source's row is within it.
                        unsafe {
                            let to = to.add(part * plane + (row * step + rest) * line);
                            let to = std::slice::from_raw_parts_mut(to, line);
                            if !inside {
                                blank(to);
                                continue;
                            }
                            let at = (channel * deep + z as usize) * high + source as usize;
                            let from = std::slice::from_raw_parts(from.add(at * wide), wide);
                            let shift = (skipped + rest) as isize - self.before[2];
                            spread(from, to, shift, step);
                        }
                    }
                }
                part += 1;
            }
        }
    }
}

/// `to[i] = from[shift + i * step]`, or zero where there is no such element.
#[inline(always)]
pub(super) fn spread<T: Real>(from: &[T], to: &mut [T], shift: isize, step: usize) {
    let first = steps((-shift).max(0) as usize, step).min(to.len());
    let start = (shift + (first * step) as isize) as usize;
    let n = steps(from.len().saturating_sub(start), step).min(to.len() - first);
    // Zeros at both ends in whole vectors, which the elements inside are written over after.
    blank_ends(to, first, to.len() - first - n);
    let inside = &mut to[first..first + n];
    let from = from.get(start..).unwrap_or(&[]);
    match step {
        1 => carry(&from[..n], inside),
        2 => {
            // Pairs make vectors of the loop.
            let (pairs, last) = from.as_chunks::<2>();
            for (to, pair) in inside.iter_mut().zip(pairs) {
                *to = pair[0];
            }
            if let ([last], true) = (last, n > pairs.len()) {
                inside[n - 1] = *last;
            }
        }
        _ => {
            for (to, from) in inside.iter_mut().zip(from.iter().step_by(step)) {
                *to = *from;
            }
        }
    }
}

/// `n / step` rounded up: without a division where that is easy.
#[inline(always)]
fn steps(n: usize, step: usize) -> usize {
    match step {
        1 => n,
        2 => n.div_ceil(2),
        _ => n.div_ceil(step),
    }
}

/// Elements moved at once: rows are too short for calls of the library's functions.
const MOVED: usize = 8;

/// Copies a row of `n` elements into a frame, in whole vectors, zeros behind it; and asks for that of the next plane,
/// `next` elements on: rows are so short that waiting for them takes longer than moving them.
///
/// # Safety
/// The processor must have the instruction set; `from` must have the elements, `to` room for whole vectors.
#[inline(always)]
pub(super) unsafe fn lay<V: Vector>(from: *const V::T, n: usize, next: usize, to: *mut V::T) {
    prefetch(from.wrapping_add(next));
    let whole = n / V::WIDTH * V::WIDTH;
    // SAFETY: the caller's promise.
    unsafe {
        for x in (0..whole).step_by(V::WIDTH) {
            V::load(from.add(x)).store(to.add(x));
        }
        if whole < n {
            V::load_some(from.add(whole), V::mask(n - whole)).store(to.add(whole));
        }
    }
}

#[inline(always)]
pub(super) fn blank<T: Real>(to: &mut [T]) {
    let (parts, _) = to.as_chunks_mut::<MOVED>();
    for part in parts {
        *part = [T::ZERO; MOVED];
    }
    match to.last_chunk_mut::<MOVED>() {
        Some(last) => *last = [T::ZERO; MOVED],
        None => to.fill(T::ZERO),
    }
}

/// Sets at least the first `before` and last `after` elements to zero.
#[inline(always)]
fn blank_ends<T: Real>(to: &mut [T], before: usize, after: usize) {
    if before > MOVED || after > MOVED || to.len() < MOVED {
        blank(to);
        return;
    }
    if let (true, Some(first)) = (before > 0, to.first_chunk_mut::<MOVED>()) {
        *first = [T::ZERO; MOVED];
    }
    if let (true, Some(last)) = (after > 0, to.last_chunk_mut::<MOVED>()) {
        *last = [T::ZERO; MOVED];
    }
}
