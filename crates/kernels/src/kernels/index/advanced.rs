//! Advanced indexing: index arrays for some dimensions, whole extents for the others.
#![allow(unsafe_code)]

use smallvec::SmallVec;

use super::{Number, copy_run, out_of_bounds};
use crate::dtype::Element;
use crate::error::Result;
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, GRAIN, Src, Walk, split};

/// One index array, already broadcast to the common shape (strides of 0 where it was).
#[derive(Clone, Copy, Debug)]
pub struct IndexArray<'a> {
    /// Its first element.
    pub data: *const i64,
    /// Its strides over the common shape.
    pub strides: &'a [isize],
}

/// A checked `x[i, :, j, ...]`: where every indexed slice starts, and the dimensions around.
#[derive(Clone, Debug)]
pub struct IndexPlan {
    /// The offset of each position of the index arrays in the indexed tensor.
    offsets: Vec<isize>,
    before: SmallVec<[(usize, isize); 6]>,
    after: SmallVec<[(usize, isize); 6]>,
    shape: SmallVec<[usize; 6]>,
}

/// Adds the places of rows of indices to offsets; gives the greatest place, a negative one counting as huge.
/// Without branches, so that rows without gaps are vector passes.
struct Places<'a> {
    array: IndexArray<'a>,
    common: &'a [usize],
    size: i64,
    stride: isize,
    offsets: &'a mut [isize],
}

impl Job for Places<'_> {
    type Output = u64;
    #[inline(always)]
    fn run(self) -> u64 {
        let Places { array, common, size, stride, offsets } = self;
        let mut dims: SmallVec<[(usize, isize); 6]> = SmallVec::new();
        for (&n, &step) in common.iter().zip(array.strides).filter(|&(&n, _)| n != 1) {
            match dims.last_mut() {
                Some((last, outer)) if *outer == n as isize * step => {
                    (*last, *outer) = (*last * n, step);
                }
                _ => dims.push((n, step)),
            }
        }
        let (width, step) = dims.pop().unwrap_or((1, 0));
        let mut walk = Walk::new(dims.iter().map(|&(n, step)| (n, [step])), 0);
        let place = |index: i64| index + (size & (index >> 63));
        // Wrapping: what is out of range is refused by the caller.
        let moved = |place: i64| (place as isize).wrapping_mul(stride);
        let mut worst = 0u64;
        for row in offsets.chunks_mut(width.max(1)) {
            let from = array.data.wrapping_offset(walk.offset[0]);
            match step {
                1 => {
                    // SAFETY: a row of the array, as the caller vouches, here and below.
                    let index = unsafe { std::slice::from_raw_parts(from, row.len()) };
                    for (offset, &index) in row.iter_mut().zip(index) {
                        let place = place(index);
                        worst = worst.max(place as u64);
                        *offset = offset.wrapping_add(moved(place));
                    }
                }
                0 => {
                    // SAFETY: see above.
                    let place = place(unsafe { *from });
                    worst = worst.max(place as u64);
                    for offset in row {
                        *offset = offset.wrapping_add(moved(place));
                    }
                }
                _ => {
                    for (i, offset) in row.iter_mut().enumerate() {
                        // SAFETY: see above.
                        let place = place(unsafe { *from.wrapping_offset(i as isize * step) });
                        worst = worst.max(place as u64);
                        *offset = offset.wrapping_add(moved(place));
                    }
                }
            }
            walk.advance();
        }
        worst
    }
}

impl IndexPlan {
    /// A plan for a tensor of `shape` and `strides`, `arrays[d]` indexing dimension d if it is
    /// given (there may be fewer than dimensions). Negative indices count from the end. The
    /// dimensions of the index arrays stand where the indexed ones stood if those are neighbours,
    /// in front otherwise, as in torch.
    ///
    /// # Errors
    /// An index out of range, with torch's text.
    ///
    /// # Safety
    /// Every array must be readable wherever `common` and its strides reach.
    pub unsafe fn new(
        shape: &[usize],
        strides: &[isize],
        arrays: &[Option<IndexArray<'_>>],
        common: &[usize],
    ) -> Result<Self> {
        let count = common.iter().product::<usize>();
        let mut offsets = vec![0isize; count];
        for (dim, array) in arrays.iter().enumerate() {
            let Some(array) = array else { continue };
            let (size, stride) = (shape[dim] as i64, strides[dim]);
            let job = Places { array: *array, common, size, stride, offsets: &mut offsets };
            if multiversion::run_narrow(job) >= size as u64 && count > 0 {
                let steps = common.iter().zip(array.strides).map(|(&n, &s)| (n, [s]));
                let mut walk = Walk::new(steps, 0);
                for _ in 0..count {
                    // SAFETY: within the array, as the caller vouches.
                    let index = unsafe { *array.data.wrapping_offset(walk.offset[0]) };
                    if !(-size..size).contains(&index) {
                        return Err(out_of_bounds(index, dim, shape[dim]));
                    }
                    walk.advance();
                }
            }
        }
        let indexed = |dim: usize| arrays.get(dim).is_some_and(Option::is_some);
        let first = (0..shape.len()).find(|&d| indexed(d)).unwrap_or(0);
        let last = (0..shape.len()).rfind(|&d| indexed(d)).unwrap_or(0);
        let adjacent = (first..=last).all(indexed);
        let mut plan = Self {
            offsets,
            before: SmallVec::new(),
            after: SmallVec::new(),
            shape: SmallVec::new(),
        };
        for (dim, (&size, &stride)) in shape.iter().zip(strides).enumerate() {
            if indexed(dim) {
                continue;
            }
            let list = if adjacent && dim < first { &mut plan.before } else { &mut plan.after };
            list.push((size, stride));
        }
        plan.shape.extend(plan.before.iter().map(|d| d.0));
        plan.shape.extend_from_slice(common);
        plan.shape.extend(plan.after.iter().map(|d| d.0));
        // A contiguous tail becomes one run.
        while let [.., a, b] = plan.after[..]
            && a.1 == b.0 as isize * b.1
        {
            plan.after.pop();
            plan.after.pop();
            plan.after.push((a.0 * b.0, b.1));
        }
        Ok(plan)
    }

    /// The shape of what is read or written.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How rows of values go to rows of the target, if each of the latter is one contiguous run, and the
    /// former are runs or numbers, one as far from the next as all are.
    fn rows(&self, value_strides: &[isize]) -> Option<Rows> {
        let (before, outer, (len, step)) = self.parts();
        if before != 1 || !self.before.is_empty() || outer > 1 || (step != 1 && len != 1) {
            return None;
        }
        // From the last dimension on as long as there are elements of a row, then the positions.
        let mut dims = self.shape.iter().zip(value_strides).rev().filter(|&(&n, _)| n != 1);
        let (mut width, mut strides) = (1, [0; 2]);
        let mut joined = |width: &mut usize, stride: &mut isize, most: usize| {
            let mut fits = true;
            *width = 1;
            while *width < most {
                let Some((&n, &next)) = dims.next() else { return false };
                fits &= *width == 1 || next == *stride * *width as isize;
                if *width == 1 {
                    *stride = next;
                }
                *width *= n;
            }
            fits && *width == most
        };
        let [along, pitch] = &mut strides;
        let fits = joined(&mut width, along, len) && joined(&mut width, pitch, self.offsets.len());
        let [along, pitch] = strides;
        let constant = along == 0 && len != 1;
        (fits && (along == 1 || constant || len == 1)).then_some(Rows {
            len,
            start: 0,
            pitch,
            constant,
        })
    }

    fn parts(&self) -> (usize, usize, (usize, isize)) {
        let before = self.before.iter().map(|d| d.0).product();
        let after: usize = self.after.iter().map(|d| d.0).product();
        let run = self.after.last().copied().unwrap_or((1, 1));
        (before, after.checked_div(run.0).unwrap_or(0), run)
    }
}

/// See [`IndexPlan::rows`].
#[derive(Clone, Copy)]
struct Rows {
    len: usize,
    /// The first column, and the distance of rows of values.
    start: usize,
    pitch: isize,
    /// One number for each row.
    constant: bool,
}

impl Rows {
    /// Some columns only.
    fn part(self, start: usize, end: usize) -> Self {
        Self { len: end - start, start, ..self }
    }

    /// Writes or adds the row of values `p` at `to`.
    ///
    /// # Safety
    /// `len` elements must be writable at `to`; the values must have a row `p`.
    #[inline(always)]
    unsafe fn put<T: Number>(self, to: *mut T, values: Src<T>, p: usize, accumulate: bool) {
        let row = p as isize * self.pitch;
        // SAFETY: by the contract.
        unsafe {
            let to = std::slice::from_raw_parts_mut(to, self.len);
            if self.constant {
                let value = *values.at(row);
                if accumulate {
                    for to in to.iter_mut() {
                        *to = to.plus(value);
                    }
                } else {
                    to.fill(value);
                }
                return;
            }
            let from = std::slice::from_raw_parts(values.at(row + self.start as isize), self.len);
            if accumulate {
                for (to, &value) in to.iter_mut().zip(from) {
                    *to = to.plus(value);
                }
            } else {
                to.copy_from_slice(from);
            }
        }
    }
}

/// Sums `values` (of [`IndexPlan::shape`], with strides over it) into zeros at the indices: what
/// `index` of a dense tensor of `numel` elements receives as gradient. Values that meet are added in
/// index order.
///
/// `false`, with nothing done, if these are not whole rows on both sides.
///
/// # Safety
/// `target` is writable for `numel` elements, those of a dense tensor of the plan's shape; `values`
/// readable; no overlap.
pub unsafe fn index_sum<T: Number>(
    plan: &IndexPlan,
    target: *mut T,
    numel: usize,
    values: *const T,
    value_strides: &[isize],
) -> bool {
    let Some(rows) = plan.rows(value_strides) else { return false };
    if numel == 0 {
        return true;
    }
    let (x, y) = (Src::new(values), Dst::new(target));
    let len = rows.len.max(1);
    let slots = numel / len;
    if len * size_of::<T>() < 64 || plan.offsets.len() >= u32::MAX as usize {
        // SAFETY: `numel` elements of zeros, all zero bits; then rows inside, as the plan checked.
        unsafe {
            std::ptr::write_bytes(target, 0, numel);
            for (p, &offset) in plan.offsets.iter().enumerate() {
                rows.put(y.at(offset), x, p, true);
            }
        }
        return true;
    }
    // The positions by row of the target, in index order within each: a counting sort.
    let mut starts = vec![0u32; slots + 1];
    for &offset in &plan.offsets {
        starts[offset as usize / len + 1] += 1;
    }
    for slot in 0..slots {
        starts[slot + 1] += starts[slot];
    }
    let mut next = starts.clone();
    let mut order = vec![0u32; plan.offsets.len()];
    for (p, &offset) in plan.offsets.iter().enumerate() {
        let at = &mut next[offset as usize / len];
        order[*at as usize] = p as u32;
        *at += 1;
    }
    // Every row of the target is written once: with zeros, or with the first of its values.
    split(slots, len, |first, last| {
        let mut slot = first;
        while slot < last {
            let positions = &order[starts[slot] as usize..starts[slot + 1] as usize];
            let to = y.at((slot * len) as isize);
            // SAFETY: rows of the target that belong to this task, and rows of the values.
            unsafe {
                if let [one, more @ ..] = positions {
                    rows.put(to, x, *one as usize, false);
                    for &p in more {
                        rows.put(to, x, p as usize, true);
                    }
                    slot += 1;
                } else {
                    let from = slot;
                    while slot < last && starts[slot] == starts[slot + 1] {
                        slot += 1;
                    }
                    std::ptr::write_bytes(to, 0, (slot - from) * len);
                }
            }
        }
    });
    true
}

/// Reads `input` (of the plan's shape and strides) into a contiguous `output` of
/// [`IndexPlan::shape`].
///
/// # Safety
/// `input` must be readable wherever the plan's shape and strides reach, `output` writable.
pub unsafe fn index<T: Element>(plan: &IndexPlan, input: *const T, output: *mut T) {
    let (before, rows, run) = plan.parts();
    let positions = plan.offsets.len();
    let (x, y) = (Src::new(input), Dst::new(output));
    if rows == 1 {
        split(before * positions, run.0, |mut first, last| {
            while first < last {
                let (b, p) = (first / positions, first % positions);
                let count = (positions - p).min(last - first);
                let base = Walk::new(plan.before.iter().map(|&(n, s)| (n, [s])), b).offset[0];
                let (from, to) = (x.at(base), y.at((first * run.0) as isize));
                let offsets = &plan.offsets[p..p + count];
                // SAFETY: the plan was checked; each output run belongs to one task.
                unsafe {
                    if run.0 == 1 {
                        for (i, &offset) in offsets.iter().enumerate() {
                            *to.add(i) = *from.wrapping_offset(offset);
                        }
                    } else {
                        for (i, &offset) in offsets.iter().enumerate() {
                            let from = from.wrapping_offset(offset);
                            copy_run(from, run.1, to.add(i * run.0), 1, run.0);
                        }
                    }
                }
                first += count;
            }
        });
        return;
    }
    split(before * positions, rows * run.0, |first, last| {
        let outer = &plan.after[..plan.after.len().saturating_sub(1)];
        for unit in first..last {
            let base = if plan.before.is_empty() {
                0
            } else {
                Walk::new(plan.before.iter().map(|&(n, s)| (n, [s])), unit / positions).offset[0]
            };
            let base = base + plan.offsets[unit % positions];
            let to = (unit * rows * run.0) as isize;
            let mut walk = Walk::new(outer.iter().map(|&(n, s)| (n, [s])), 0);
            for row in 0..rows {
                let to = to + (row * run.0) as isize;
                // SAFETY: the plan was checked; each output run belongs to one task.
                unsafe { copy_run(x.at(base + walk.offset[0]), run.1, y.at(to), 1, run.0) };
                walk.advance();
            }
        }
    });
}

/// Writes `values` (of [`IndexPlan::shape`], with strides over it) into `target`, or adds them if
/// `accumulate`; values that meet are taken in index order.
///
/// # Safety
/// `target` must be readable and writable wherever the plan's shape and strides reach and no two
/// places of it may be the same; `values` readable; no overlap.
pub unsafe fn index_put<T: Number>(
    plan: &IndexPlan,
    target: *mut T,
    values: *const T,
    value_strides: &[isize],
    accumulate: bool,
) {
    let (before, rows, run) = plan.parts();
    let positions = plan.offsets.len();
    let nb = plan.before.len();
    // Strides of the values over (before, positions, after); the tail was joined, so the last
    // part is walked by the original shape.
    let common = plan.shape.len() - nb;
    let value_walk = |range: std::ops::Range<usize>, at: usize| {
        Walk::new(range.map(|d| (plan.shape[d], [value_strides[d]])), at)
    };
    let (x, y) = (Src::new(values), Dst::new(target));
    let per_position = rows * run.0;
    debug_assert_eq!(
        plan.shape[nb..].iter().product::<usize>(),
        positions * per_position,
        "{common}"
    );
    if per_position == 0 || positions == 0 {
        return;
    }
    if let Some(rows) = plan.rows(value_strides) {
        if positions * per_position < GRAIN || per_position * size_of::<T>() < 64 {
            for (p, &offset) in plan.offsets.iter().enumerate() {
                // SAFETY: the plan was checked; one task.
                unsafe { rows.put(y.at(offset), x, p, accumulate) };
            }
            return;
        }
        if positions < 64 {
            // Cut into columns, for which all positions are gone through in order.
            let tile = 256;
            split(per_position.div_ceil(tile), positions * tile, |first, last| {
                let (start, end) = (first * tile, per_position.min(last * tile));
                let part = rows.part(start, end);
                for (p, &offset) in plan.offsets.iter().enumerate() {
                    // SAFETY: the plan was checked; these columns of the destination are this task's.
                    unsafe { part.put(y.at(offset + start as isize), x, p, accumulate) };
                }
            });
            return;
        }
        // Each task goes through all positions, for those within its part of the target.
        let low = plan.offsets.iter().copied().min().unwrap_or(0);
        let high = plan.offsets.iter().copied().max().unwrap_or(0) + 1;
        // No element's values are written in another order, however many there are.
        let threads = crate::parallel::threads();
        let parts = if threads == 1 { 1 } else { (2 * threads).min(16) as isize };
        let part = (high - low).div_euclid(parts) + 1;
        crate::parallel::for_each(parts as usize, |task| {
            let from = low + part * task as isize;
            for (p, &offset) in plan.offsets.iter().enumerate() {
                if (from..from + part).contains(&offset) {
                    // SAFETY: the plan was checked; rows that begin here are this task's.
                    unsafe { rows.put(y.at(offset), x, p, accumulate) };
                }
            }
        });
        return;
    }
    // Divided by what lies around the indexed dimensions: those destinations are disjoint.
    let tile = 256.min(per_position);
    let tiles = per_position.div_ceil(tile);
    split(before * tiles, positions * tile, |first, last| {
        for unit in first..last {
            let (b, start) = (unit / tiles, unit % tiles * tile);
            let len = tile.min(per_position - start);
            let base = Walk::new(plan.before.iter().map(|&(n, s)| (n, [s])), b).offset[0];
            let from = value_walk(0..nb, b).offset[0];
            let mut to = Walk::new(plan.after.iter().map(|&(n, s)| (n, [s])), start);
            let mut value = value_walk(nb..plan.shape.len(), start);
            for (p, &offset) in plan.offsets.iter().enumerate() {
                if tiles > 1 {
                    to.seek(start);
                    value.seek(p * per_position + start);
                }
                for _ in 0..len {
                    // SAFETY: the plan was checked; the destination belongs to this task.
                    unsafe {
                        let to = y.at(base + offset + to.offset[0]);
                        let value = *x.at(from + value.offset[0]);
                        *to = if accumulate { (*to).plus(value) } else { value };
                    }
                    to.advance();
                    value.advance();
                }
            }
        }
    });
}
