//! Masks and small helpers: what a strided copy cannot do.
#![allow(unsafe_code)]

use crate::dtype::{Bool, Element};
use crate::error::{Result, ensure};
use crate::kernels::raw::{Dst, Src, split};

/// Elements counted as one block.
const BLOCK: usize = 64 * 1024;

/// How many non-zero elements lie before each block of `input`, and in all.
fn offsets<T: Element>(input: &[T]) -> Vec<usize> {
    let blocks = input.len().div_ceil(BLOCK);
    let mut counts = vec![0usize; blocks + 1];
    let to = Dst::new(counts.as_mut_ptr());
    crate::parallel::for_each(blocks, |block| {
        let x = &input[block * BLOCK..input.len().min((block + 1) * BLOCK)];
        let mut count = 0;
        for part in x.chunks(128) {
            // Narrow sums keep the vector lanes full.
            count += part.iter().map(|&x| u8::from(x != T::default())).sum::<u8>() as usize;
        }
        // SAFETY: one element per block.
        unsafe { *to.at(block as isize + 1) = count };
    });
    for block in 0..blocks {
        counts[block + 1] += counts[block];
    }
    counts
}

/// The positions of the non-zero elements of a contiguous input, as a matrix of one row per
/// element found and one column per dimension.
pub fn nonzero<T: Element>(input: &[T], shape: &[usize]) -> Vec<i64> {
    let offsets = offsets(input);
    let dims = shape.len();
    let total = offsets[offsets.len() - 1];
    let mut output = vec![0i64; total * dims];
    let to = Dst::new(output.as_mut_ptr());
    crate::parallel::for_each(offsets.len() - 1, |block| {
        let mut row = offsets[block];
        let start = block * BLOCK;
        for (i, &x) in input[start..input.len().min(start + BLOCK)].iter().enumerate() {
            if x == T::default() {
                continue;
            }
            let mut linear = start + i;
            if let [_] = shape {
                // SAFETY: row < total.
                unsafe { *to.at(row as isize) = linear as i64 };
            } else {
                for d in (0..dims).rev() {
                    // SAFETY: row < total, d < dims; each row belongs to one block.
                    unsafe { *to.at((row * dims + d) as isize) = (linear % shape[d]) as i64 };
                    linear /= shape[d];
                }
            }
            row += 1;
        }
    });
    output
}

/// The elements of `input` where `mask` is true, both contiguous and of one length.
pub fn masked_select<T: Element>(input: &[T], mask: &[Bool]) -> Vec<T> {
    let offsets = offsets(mask);
    let total = offsets[offsets.len() - 1];
    // One spare element, so that the write below needs no branch.
    let mut output = vec![T::default(); total + 1];
    let to = Dst::new(output.as_mut_ptr());
    crate::parallel::for_each(offsets.len() - 1, |block| {
        let end = offsets[block + 1];
        let mut at = offsets[block];
        let start = block * BLOCK;
        let range = start..input.len().min(start + BLOCK);
        for (&x, &keep) in input[range.clone()].iter().zip(&mask[range]) {
            if at == end {
                break;
            }
            // SAFETY: at < end <= total; each stretch belongs to one block.
            unsafe { *to.at(at as isize) = x };
            at += usize::from(keep.get());
        }
    });
    output.truncate(total);
    output
}

/// Puts the elements of `source`, in order, where `mask` is true; all contiguous.
///
/// # Errors
/// Fewer source elements than true ones; nothing is written then.
pub fn masked_scatter<T: Element>(output: &mut [T], mask: &[Bool], source: &[T]) -> Result<()> {
    let offsets = offsets(mask);
    ensure!(
        offsets[offsets.len() - 1] <= source.len(),
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
                std::ptr::copy_nonoverlapping(x.at(at), y.at(at + cut as isize), len - cut);
                std::ptr::copy_nonoverlapping(x.at(at + (len - cut) as isize), y.at(at), cut);
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

/// One row of `classes` elements per index, 1 at the index and 0 elsewhere.
///
/// # Errors
/// An index out of range.
pub fn one_hot<T: Element>(index: &[i64], classes: usize) -> Result<Vec<T>> {
    if let Some(bad) = index.iter().find(|&&i| i < 0 || i as usize >= classes) {
        ensure!(*bad >= 0, runtime, "Class values must be non-negative.");
        ensure!(false, runtime, "Class values must be smaller than num_classes.");
    }
    let mut output = vec![T::default(); index.len() * classes];
    for (row, &class) in index.iter().enumerate() {
        output[row * classes + class as usize] = T::from_i64(1);
    }
    Ok(output)
}
