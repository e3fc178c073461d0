//! Resampling of floats by sums of weighted elements.

use smallvec::SmallVec;

use super::taps::{Axis, Kind};
use super::{Layout, Piece};
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, Src};
use crate::kernels::vexp::Real;

/// Places summed side by side.
const LANES: usize = 8;
/// Taps of rows that repeat, at most.
const MOST: usize = 16;
/// Blocks kept between rows, at most.
const KEPT: usize = 32;

/// One axis of a resampling, of which the last is made by [`Line`].
struct Step<'a, T> {
    axis: &'a Axis<T>,
    from: usize,
    to: usize,
    /// Whether blocks of the input are summed before they are resampled further, or after that.
    before: bool,
    /// Blocks kept, if after.
    kept: usize,
}

/// What a task needs for an axis: blocks that were summed, or are to be, and which those are.
struct Room<T> {
    blocks: Vec<T>,
    held: Vec<usize>,
}

type Rows<T> = SmallVec<[(*const T, T); 8]>;

/// `y = w0 x0 + w1 x1 + ...` for blocks.
struct Combine<'a, T> {
    rows: &'a [(*const T, T)],
    y: *mut T,
    count: usize,
}

impl<T: Real> Job for Combine<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { rows, y, count } = self;
        // SAFETY: whoever makes one has checked that the blocks have `count` elements and that `y` is none
        // of the others.
        unsafe {
            match *rows {
                [] => {
                    for i in 0..count {
                        *y.add(i) = T::ZERO;
                    }
                }
                [(a, p)] => {
                    for i in 0..count {
                        *y.add(i) = p * *a.add(i);
                    }
                }
                [(a, p), (b, q)] => {
                    for i in 0..count {
                        *y.add(i) = p * *a.add(i) + q * *b.add(i);
                    }
                }
                [(a, p), (b, q), (c, r)] => {
                    for i in 0..count {
                        *y.add(i) = p * *a.add(i) + q * *b.add(i) + r * *c.add(i);
                    }
                }
                [(a, p), (b, q), (c, r), (d, s), ref rest @ ..] => {
                    for i in 0..count {
                        *y.add(i) = p * *a.add(i) + q * *b.add(i) + r * *c.add(i) + s * *d.add(i);
                    }
                    for pair in rest.chunks(2) {
                        if let [(a, p), (b, q)] = *pair {
                            for i in 0..count {
                                *y.add(i) = *y.add(i) + p * *a.add(i) + q * *b.add(i);
                            }
                        } else {
                            let (a, p) = pair[0];
                            for i in 0..count {
                                *y.add(i) = *y.add(i) + p * *a.add(i);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Places `low..high` of a row.
struct Line<'a, T> {
    axis: &'a Axis<T>,
    x: *const T,
    y: *mut T,
    low: usize,
    high: usize,
}

impl<T: Real> Job for Line<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { axis, x, y, low, high } = self;
        for piece in &axis.pieces {
            let Some((start, end)) = piece.within(low, high) else { continue };
            let y = y.wrapping_add(start);
            let count = end - start;
            // SAFETY: taps lie inside the row, and places inside that of the output.
            unsafe {
                match piece.kind {
                    Kind::Empty => {
                        for i in 0..count {
                            *y.add(i) = T::ZERO;
                        }
                    }
                    Kind::Copy(first) => {
                        let x = x.wrapping_add(first + start - piece.to);
                        std::ptr::copy_nonoverlapping(x, y, count);
                    }
                    Kind::Sums { first, each } => {
                        let row = first + start - piece.to;
                        match each {
                            1 => alike::<T, 1>(axis, row, x, y, count),
                            2 => alike::<T, 2>(axis, row, x, y, count),
                            4 => alike::<T, 4>(axis, row, x, y, count),
                            _ => differing(axis, row, x, y, count),
                        }
                    }
                    Kind::Phases { phases, step, .. } => match (phases, step) {
                        (2, 1) => repeated::<T, 2, 1>(axis, piece, x, y, start, end),
                        (3, 1) => repeated::<T, 3, 1>(axis, piece, x, y, start, end),
                        (4, 1) => repeated::<T, 4, 1>(axis, piece, x, y, start, end),
                        (1, 2) => repeated::<T, 1, 2>(axis, piece, x, y, start, end),
                        (1, 3) => repeated::<T, 1, 3>(axis, piece, x, y, start, end),
                        _ => repeated::<T, 1, 4>(axis, piece, x, y, start, end),
                    },
                }
            }
        }
    }
}

/// Rows of `N` taps each.
///
/// # Safety
/// Their taps lie in `x`, `y` has `count` elements.
#[inline(always)]
unsafe fn alike<T: Real, const N: usize>(
    axis: &Axis<T>,
    row: usize,
    x: *const T,
    y: *mut T,
    count: usize,
) {
    let at = axis.range(row).0;
    let index = axis.index[at..at + N * count].as_ptr();
    let weight = axis.weight[at..at + N * count].as_ptr();
    for i in 0..count {
        // SAFETY: by the contract, and as there are so many taps.
        unsafe {
            let tap = |j: usize| *weight.add(N * i + j) * *x.add(*index.add(N * i + j) as usize);
            let mut sum = tap(0);
            for j in 1..N {
                sum += tap(j);
            }
            *y.add(i) = sum;
        }
    }
}

/// Rows of any number of taps.
///
/// # Safety
/// As for [`alike`].
#[inline(always)]
unsafe fn differing<T: Real>(axis: &Axis<T>, row: usize, x: *const T, y: *mut T, count: usize) {
    for i in 0..count {
        let (index, weight) = axis.taps(row + i);
        let mut sum = T::ZERO;
        for (j, (&index, &weight)) in index.iter().zip(weight).enumerate() {
            // SAFETY: by the contract.
            let part = weight * unsafe { *x.add(index as usize) };
            sum = if j == 0 { part } else { sum + part };
        }
        // SAFETY: by the contract.
        unsafe { *y.add(i) = sum };
    }
}

/// Rows whose weights repeat after `F`, `S` elements further on.
///
/// # Safety
/// As for [`alike`], for places `start..end` of the piece.
#[inline(always)]
unsafe fn repeated<T: Real, const F: usize, const S: usize>(
    axis: &Axis<T>,
    piece: &Piece,
    x: *const T,
    y: *mut T,
    start: usize,
    end: usize,
) {
    let Kind::Phases { first, .. } = piece.kind else { return };
    let (mut at, end) = (start - piece.to, end - piece.to);
    let place = |at: usize| y.wrapping_add(at + piece.to - start);
    // What does not begin or end with a whole period goes one by one.
    let ragged = at.next_multiple_of(F).min(end) - at;
    // SAFETY: by the contract.
    unsafe { differing(axis, first + at, x, place(at), ragged) };
    at += ragged;
    let mut weight = [[T::ZERO; MOST]; F];
    let (mut base, mut count) = ([0usize; F], [0usize; F]);
    let mut fits = at + F * LANES <= end;
    for phase in 0..F {
        let (index, from) = axis.taps(first + phase);
        fits &= from.len() <= MOST;
        if let (Some(&index), true) = (index.first(), fits) {
            base[phase] = index as usize;
            count[phase] = from.len();
            weight[phase][..from.len()].copy_from_slice(from);
        }
    }
    let whole = at + (end - at) / F * F;
    while fits && at < whole {
        // The last ones again, if they are too few.
        at = at.min(whole - F * LANES);
        let step = at / F * S;
        let mut sums = [[T::ZERO; LANES]; F];
        for phase in 0..F {
            let from = x.wrapping_add(base[phase] + step);
            if count[phase] > 0 {
                for lane in 0..LANES {
                    // SAFETY: by the contract.
                    sums[phase][lane] = weight[phase][0] * unsafe { *from.add(lane * S) };
                }
            }
            for tap in 1..count[phase] {
                let factor = weight[phase][tap];
                for lane in 0..LANES {
                    // SAFETY: by the contract.
                    sums[phase][lane] += factor * unsafe { *from.add(lane * S + tap) };
                }
            }
        }
        let to = place(at);
        for lane in 0..LANES {
            for (phase, sums) in sums.iter().enumerate() {
                // SAFETY: by the contract.
                unsafe { *to.add(lane * F + phase) = sums[lane] };
            }
        }
        at += F * LANES;
    }
    // SAFETY: by the contract.
    unsafe { differing(axis, first + at, x, place(at), end - at) };
}

/// Resamples what lies inside steps `low..high` of the first axis.
///
/// # Safety
/// `x` and `y` are blocks of the layout from this axis on, `high` is no more than it has steps.
unsafe fn along<T: Real>(
    steps: &[Step<'_, T>],
    inner: usize,
    x: *const T,
    y: *mut T,
    low: usize,
    high: usize,
    rooms: &mut [Room<T>],
) {
    let Some((step, rest)) = steps.split_first() else { return };
    let Step { axis, from, to, .. } = *step;
    if rest.is_empty() && inner == 1 {
        return multiversion::run(Line { axis, x, y, low, high });
    }
    let Some((room, rooms)) = rooms.split_first_mut() else { return };
    let whole = rest.first().map_or(0, |step| step.axis.output);
    room.held.fill(usize::MAX);
    let mut rows: Rows<T> = SmallVec::new();
    for piece in &axis.pieces {
        let Some((start, end)) = piece.within(low, high) else { continue };
        if let (Kind::Copy(first), true) = (piece.kind, rest.is_empty()) {
            let x = x.wrapping_add((first + start - piece.to) * from);
            let y = y.wrapping_add(start * to);
            // SAFETY: a part of the blocks.
            unsafe { std::ptr::copy_nonoverlapping(x, y, (end - start) * to) };
            continue;
        }
        let mut last = None;
        for place in start..end {
            let y = y.wrapping_add(place * to);
            let copied;
            let (index, weight): (&[u32], &[T]) = match piece.kind {
                Kind::Empty => (&[], &[]),
                Kind::Copy(first) => {
                    copied = [(first + place - piece.to) as u32];
                    (&copied, &[T::ONE])
                }
                Kind::Sums { first, .. } | Kind::Phases { first, .. } => {
                    axis.taps(first + place - piece.to)
                }
            };
            let block = |index: u32| x.wrapping_add(index as usize * from);
            rows.clear();
            if rest.is_empty() {
                rows.extend(
                    index.iter().zip(weight).map(|(&index, &weight)| (block(index), weight)),
                );
                multiversion::run(Combine { rows: &rows, y, count: to });
                continue;
            }
            // SAFETY: taps lie inside the input, and what is kept has the size of a block.
            unsafe {
                match (index, weight) {
                    ([], _) => multiversion::run(Combine { rows: &[], y, count: to }),
                    ([index], [weight]) if *weight == T::ONE => {
                        if last == Some(*index) {
                            std::ptr::copy_nonoverlapping(y.wrapping_sub(to).cast_const(), y, to);
                        } else {
                            along(rest, inner, block(*index), y, 0, whole, rooms);
                        }
                        last = Some(*index);
                        continue;
                    }
                    _ if step.before => {
                        let pairs = index.iter().zip(weight);
                        rows.extend(pairs.map(|(&index, &weight)| (block(index), weight)));
                        let sum = room.blocks.as_mut_ptr();
                        multiversion::run(Combine { rows: &rows, y: sum, count: from });
                        along(rest, inner, sum.cast_const(), y, 0, whole, rooms);
                    }
                    _ => {
                        for (&index, &weight) in index.iter().zip(weight) {
                            let slot = index as usize % step.kept;
                            let kept = room.blocks.as_mut_ptr().wrapping_add(slot * to);
                            if room.held[slot] != index as usize {
                                along(rest, inner, block(index), kept, 0, whole, rooms);
                                room.held[slot] = index as usize;
                            }
                            rows.push((kept.cast_const(), weight));
                        }
                        multiversion::run(Combine { rows: &rows, y, count: to });
                    }
                }
            }
            last = None;
        }
    }
}

/// Resamples floats.
///
/// # Safety
/// `input` and `output` have as many elements as the layout says, and do not overlap.
pub unsafe fn resample<T: Real>(layout: &Layout<T>, input: *const T, output: *mut T) {
    let (x, y) = (Src::new(input), Dst::new(output));
    let [from, to] = layout.plane();
    let inner = layout.inner;
    let steps: SmallVec<[Step<'_, T>; 4]> = layout
        .axes
        .iter()
        .zip(&layout.blocks)
        .map(|(axis, &[from, to])| {
            let kept = axis.spread();
            let before = axis.output <= axis.input || kept > KEPT;
            Step { axis, from, to, before, kept }
        })
        .collect();
    let work: usize = layout.axes.iter().map(Axis::density).sum::<usize>() * size_of::<T>() / 2;
    layout.split(work.max(2), |plane, low, high| {
        let (x, y) = (x.at((plane * from) as isize), y.at((plane * to) as isize));
        let room = |step: &Step<'_, T>| {
            let last = std::ptr::eq(step, &raw const steps[steps.len() - 1]);
            let size = match () {
                () if last => 0,
                () if step.before => step.from,
                () => step.to * step.kept,
            };
            Room {
                blocks: vec![T::ZERO; size],
                held: vec![usize::MAX; if step.before { 0 } else { step.kept }],
            }
        };
        let mut rooms: SmallVec<[Room<T>; 4]> = steps.iter().map(room).collect();
        // SAFETY: by the contract; tasks have steps of their own.
        unsafe {
            if steps.is_empty() {
                std::ptr::copy_nonoverlapping(x, y, inner);
            } else {
                along(&steps, inner, x, y, low, high, &mut rooms);
            }
        }
    });
}
