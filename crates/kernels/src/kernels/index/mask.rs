//! Masks and small helpers: what a strided copy cannot do.
#![allow(unsafe_code)]

use super::copy_elements;
use crate::dtype::{Bool, Element};
use crate::error::{Result, ensure};
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, Src, split};

/// Elements counted as one block.
const BLOCK: usize = 64 * 1024;

/// How many non-zero elements lie before each block of an input, and in all.
#[derive(Clone, Debug)]
pub struct Found(Vec<usize>);

impl Found {
    /// Counts.
    pub fn new<T: Element>(input: &[T]) -> Self {
        let blocks = input.len().div_ceil(BLOCK);
        let mut counts = vec![0usize; blocks + 1];
        let to = Dst::new(counts.as_mut_ptr());
        crate::parallel::for_each(blocks, |block| {
            let x = &input[block * BLOCK..input.len().min((block + 1) * BLOCK)];
            let count = multiversion::run_narrow(Count(x));
            // SAFETY: one element per block.
            unsafe { *to.at(block as isize + 1) = count };
        });
        for block in 0..blocks {
            counts[block + 1] += counts[block];
        }
        Self(counts)
    }

    /// How many there are in all.
    pub fn total(&self) -> usize {
        self.0.last().copied().unwrap_or(0)
    }

    /// Calls `f(elements of a block, where its first one found goes, how many it holds)`.
    fn each(&self, len: usize, f: impl Fn(std::ops::Range<usize>, usize, usize) + Sync) {
        crate::parallel::for_each(self.0.len() - 1, |block| {
            let range = block * BLOCK..len.min((block + 1) * BLOCK);
            f(range, self.0[block], self.0[block + 1] - self.0[block]);
        });
    }
}

struct Count<'a, T>(&'a [T]);

impl<T: Element> Job for Count<'_, T> {
    type Output = usize;
    #[inline(always)]
    fn run(self) -> usize {
        // Narrow sums keep the vector lanes full.
        let part = |x: &[T]| x.iter().map(|&x| u8::from(x != T::default())).sum::<u8>() as usize;
        self.0.chunks(128).map(part).sum()
    }
}

/// Calls `put(i)` for the positions of the `count` non-zero elements, in order. Without a branch per
/// element: of a mask without pattern every second guess would be wrong.
#[inline(always)]
fn positions<T: Element>(x: &[T], count: usize, mut put: impl FnMut(usize, usize)) {
    let mut at = 0;
    for (i, &x) in x.iter().enumerate() {
        if at == count {
            break;
        }
        put(at, i);
        at += usize::from(x != T::default());
    }
}

/// The positions of the non-zero elements of a contiguous input, as a matrix of one row per
/// element found and one column per dimension.
///
/// # Safety
/// `found` was made of `input`, which has `shape`; `output` holds `found.total() * shape.len()`.
pub unsafe fn nonzero<T: Element>(input: &[T], shape: &[usize], found: &Found, output: *mut i64) {
    let to = Dst::new(output);
    let dims = shape.len();
    let Some((&width, outer)) = shape.split_last() else { return };
    found.each(input.len(), |range, row, count| {
        if dims == 1 {
            // SAFETY: `count` rows from `row` on belong to this block.
            positions(&input[range.clone()], count, |at, i| unsafe {
                *to.at((row + at) as isize) = (range.start + i) as i64;
            });
            return;
        }
        // Line by line, the outer coordinates of a line being the same for all it holds.
        let mut columns = vec![0u32; width.min(BLOCK) + 1];
        let mut outer_index = vec![0i64; dims - 1];
        let (mut row, mut left, mut start) = (row, count, range.start);
        while start < range.end && left > 0 {
            let (line, column) = (start / width, start % width);
            let end = range.end.min(start + width - column);
            let mut here = 0;
            for (i, &x) in input[start..end].iter().enumerate() {
                columns[here] = (column + i) as u32;
                here += usize::from(x != T::default());
            }
            let mut rest = line;
            for (index, &size) in outer_index.iter_mut().zip(outer).rev() {
                *index = (rest % size) as i64;
                rest /= size;
            }
            for (k, &column) in columns[..here].iter().enumerate() {
                let to = to.at(((row + k) * dims) as isize);
                // SAFETY: as above.
                unsafe {
                    for (d, &index) in outer_index.iter().enumerate() {
                        *to.add(d) = index;
                    }
                    *to.add(dims - 1) = i64::from(column);
                }
            }
            row += here;
            left -= here;
            start = end;
        }
    });
}

/// The elements of `input` where `mask` is true, both contiguous and of one length.
///
/// # Safety
/// `found` was made of `mask`; `output` holds `found.total()` elements.
pub unsafe fn masked_select<T: Element>(input: &[T], mask: &[Bool], found: &Found, output: *mut T) {
    let to = Dst::new(output);
    found.each(mask.len(), |range, start, count| {
        let x = &input[range.clone()];
        // SAFETY: `count` elements from `start` on belong to this block.
        positions(&mask[range], count, |at, i| unsafe {
            *to.at((start + at) as isize) = *x.get_unchecked(i);
        });
    });
}

/// The inverse of [`masked_select`]: the values in order where `mask` is true, zero elsewhere.
///
/// # Safety
/// `found` was made of `mask`; `values` holds `found.total()` elements and `output` as many as the
/// mask.
pub unsafe fn masked_spread<T: Element>(
    values: &[T],
    mask: &[Bool],
    found: &Found,
    output: *mut T,
) {
    let to = Dst::new(output);
    found.each(mask.len(), |range, start, count| {
        let values = &values[start..start + count];
        let mut at = 0;
        for (i, keep) in range.clone().zip(&mask[range]) {
            let value = values.get(at).copied().unwrap_or_default();
            // SAFETY: each block has its own elements of the output.
            unsafe { *to.at(i as isize) = if keep.get() { value } else { T::default() } };
            at += usize::from(keep.get());
        }
    });
}

/// Puts the elements of `source`, in order, where `mask` is true; all contiguous.
///
/// # Errors
/// Fewer source elements than true ones; nothing is written then.
pub fn masked_scatter<T: Element>(output: &mut [T], mask: &[Bool], source: &[T]) -> Result<()> {
    ensure!(
        Found::new(mask).total() <= source.len(),
        runtime,
        "masked_scatter: expected self and source to have same dtypes and at least as many \
         elements in source as ones in mask"
    );
    let mut next = source.iter();
    for (to, keep) in output.iter_mut().zip(mask) {
        if keep.get()
            && let Some(&x) = next.next()
        {
            *to = x;
        }
    }
    Ok(())
}

/// The lower (or upper) triangle of `batch` contiguous matrices, zero elsewhere: `triu`, `tril`.
///
/// # Safety
/// Both hold `batch * rows * columns` elements; they may be the same.
pub unsafe fn triangle<T: Element>(
    lower: bool,
    diagonal: i64,
    batch: usize,
    rows: usize,
    columns: usize,
    input: *const T,
    output: *mut T,
) {
    let (x, y) = (Src::new(input), Dst::new(output));
    split(batch * rows, columns, |first, last| {
        for unit in first..last {
            let row = (unit % rows) as i64;
            let (x, y) = (x.at((unit * columns) as isize), y.at((unit * columns) as isize));
            let edge = row.saturating_add(diagonal).saturating_add(i64::from(lower));
            let edge = edge.clamp(0, columns as i64) as usize;
            let (keep, zero) =
                if lower { (0..edge, edge..columns) } else { (edge..columns, 0..edge) };
            // SAFETY: one row of each; `copy` allows them to be the same.
            unsafe {
                std::ptr::copy(x.add(keep.start), y.add(keep.start), keep.len());
                for j in zero {
                    *y.add(j) = T::default();
                }
            }
        }
    });
}

/// `output[:, (i + shift) mod n, :] = input[:, i, :]` along a contiguous dimension.
///
/// # Safety
/// Both cover `along` and do not overlap.
pub unsafe fn roll<T: Element>(
    along: crate::kernels::rows::Along,
    shift: i64,
    input: *const T,
    output: *mut T,
) {
    if along.is_empty() {
        return;
    }
    let cut = shift.rem_euclid(along.n as i64) as usize * along.inner;
    let len = along.n * along.inner;
    let (x, y) = (Src::new(input), Dst::new(output));
    split(along.outer, len, |first, last| {
        for o in first..last {
            let at = (o * len) as isize;
            // SAFETY: two pieces of one outer slice.
            unsafe {
                let rest = len - cut;
                copy_elements(x.at(at), y.at(at + cut as isize), rest);
                copy_elements(x.at(at + rest as isize), y.at(at), cut);
            }
        }
    });
}

/// The index array by which `repeat_interleave` selects: i as often as `counts[i]` says.
///
/// # Errors
/// A negative count.
pub fn repeat_indices(counts: &[i64]) -> Result<Vec<i64>> {
    ensure!(counts.iter().all(|&c| c >= 0), runtime, "repeats can not be negative");
    let mut output = Vec::with_capacity(counts.iter().sum::<i64>() as usize);
    for (i, &count) in counts.iter().enumerate() {
        output.extend(std::iter::repeat_n(i as i64, count as usize));
    }
    Ok(output)
}

/// Checks the classes of a one-hot encoding.
///
/// # Errors
/// An index out of range.
pub fn check_classes(index: &[i64], classes: usize) -> Result<()> {
    if let Some(bad) = index.iter().find(|&&i| i < 0 || i as usize >= classes) {
        ensure!(*bad >= 0, runtime, "Class values must be non-negative.");
        ensure!(false, runtime, "Class values must be smaller than num_classes.");
    }
    Ok(())
}

/// Writes 1 at each index of a row of `classes` elements, which are 0.
///
/// # Safety
/// The indices must be in range, and `to` hold a row for each.
pub unsafe fn one_hot<T: Element>(index: &[i64], classes: usize, to: *mut T) {
    for (row, &class) in index.iter().enumerate() {
        // SAFETY: by the contract.
        unsafe { to.add(row * classes + class as usize).write(T::from_i64(1)) };
    }
}
