//! Advanced indexing: index arrays for some dimensions, whole extents for the others.
#![allow(unsafe_code)]

use smallvec::SmallVec;

use super::{Number, copy_run, out_of_bounds};
use crate::dtype::Element;
use crate::error::Result;
use crate::kernels::raw::{Dst, Src, Walk, split};

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
            let steps = common.iter().zip(array.strides).map(|(&n, &s)| (n, [s]));
            let mut walk = Walk::new(steps, 0);
            for offset in &mut offsets {
                // SAFETY: within the array, as the caller vouches.
                let index = unsafe { *array.data.wrapping_offset(walk.offset[0]) };
                let place = if index < 0 { index + size } else { index };
                if place < 0 || place >= size {
                    return Err(out_of_bounds(index, dim, shape[dim]));
                }
                *offset += place as isize * stride;
                walk.advance();
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

    fn parts(&self) -> (usize, usize, (usize, isize)) {
        let before = self.before.iter().map(|d| d.0).product();
        let after: usize = self.after.iter().map(|d| d.0).product();
        let run = self.after.last().copied().unwrap_or((1, 1));
        (before, after.checked_div(run.0).unwrap_or(0), run)
    }
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
            if rows == 1 {
                // SAFETY: the plan was checked; each output run belongs to one task.
                unsafe { copy_run(x.at(base), run.1, y.at(to), 1, run.0) };
                continue;
            }
            let mut walk = Walk::new(outer.iter().map(|&(n, s)| (n, [s])), 0);
            for row in 0..rows {
                let to = to + (row * run.0) as isize;
                // SAFETY: as above.
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
