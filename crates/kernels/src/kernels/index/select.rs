//! Whole slices along a dimension: `index_select`, `index_add` (and with it the gradient of an
//! embedding), `index_copy`, `index_fill`. `take` and `put` are the flat case (`outer` and `inner` 1).
#![allow(unsafe_code)]

use super::{Combine, Number, Reduction, check, copy_run};
use crate::dtype::Element;
use crate::error::Result;
use crate::kernels::raw::{Dst, GRAIN, Src, split};
use crate::kernels::rows::Along;

/// Columns of one task when slices are added.
const TILE: usize = 256;

/// `output[:, i, :] = input[:, index[i], :]`, all contiguous.
///
/// # Errors
/// An index outside `0..along.n` (`dim` is for the message); nothing is written then.
///
/// # Safety
/// `input` covers `along`, `output` the same with `index.len()` in place of `n`.
pub unsafe fn index_select<T: Element>(
    along: Along,
    dim: usize,
    input: *const T,
    index: &[i64],
    output: *mut T,
) -> Result<()> {
    check(index, dim, along.n)?;
    let (x, y) = (Src::new(input), Dst::new(output));
    let Along { outer, n, inner } = along;
    if outer > 1
        && let Some(runs) = runs(index)
    {
        split(outer, index.len() * inner, |first, last| {
            for o in first..last {
                for &Run { at, row, len } in &runs {
                    // SAFETY: the index was checked; each line of the output belongs to one task.
                    unsafe {
                        let from = x.at(((o * n + row) * inner) as isize);
                        let to = y.at(((o * index.len() + at) * inner) as isize);
                        copy_run(from, 1, to, 1, len * inner);
                    }
                }
            }
        });
        return Ok(());
    }
    if outer == 1 && inner == 1 {
        split(index.len(), 1, |first, last| {
            for (to, &from) in (first as isize..).zip(&index[first..last]) {
                // SAFETY: the index was checked; each output element belongs to one task.
                unsafe { *y.at(to) = *x.at(from as isize) };
            }
        });
        return Ok(());
    }
    if inner == 1 {
        split(outer, index.len(), |first, last| {
            for o in first..last {
                let (from, to) = (x.at((o * n) as isize), y.at((o * index.len()) as isize));
                for (i, &row) in index.iter().enumerate() {
                    // SAFETY: the index was checked; each line of the output belongs to one task.
                    unsafe { *to.add(i) = *from.add(row as usize) };
                }
            }
        });
        return Ok(());
    }
    split(outer * index.len(), inner, |first, last| {
        let (mut o, mut i) = (first / index.len(), first % index.len());
        for unit in first..last {
            // SAFETY: the index was checked; each output slice belongs to one task.
            unsafe {
                let row = *index.get_unchecked(i) as usize;
                let from = x.at(((o * n + row) * inner) as isize);
                copy_run(from, 1, y.at((unit * inner) as isize), 1, inner);
            }
            i += 1;
            if i == index.len() {
                (o, i) = (o + 1, 0);
            }
        }
    });
    Ok(())
}

/// Indices that follow each other: positions from `at` on hold `row`, `row + 1`, ...
struct Run {
    at: usize,
    row: usize,
    len: usize,
}

/// The runs of checked indices, if there are few: of padding, and of slices given as indices.
fn runs(index: &[i64]) -> Option<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    for (at, &row) in index.iter().enumerate() {
        let row = row as usize;
        match runs.last_mut() {
            Some(last) if last.row + last.len == row => last.len += 1,
            _ => runs.push(Run { at, row, len: 1 }),
        }
        if runs.len() > 8 + at / 4 {
            return None;
        }
    }
    (runs.len() * 4 <= index.len()).then_some(runs)
}

/// Calls `f(slice of the destination, slice of the source, length)` for every index in order,
/// dividing the work by destination.
fn by_destination(along: Along, index: &[i64], f: impl Fn(isize, isize, usize) + Sync) {
    let Along { outer, n, inner } = along;
    let m = index.len();
    // Few columns and many indices: cut the destination along `n`, sorting the indices by place.
    if outer == 1 && (8..2 * TILE).contains(&inner) && m * inner >= 4 * GRAIN && n > 64 {
        let order = order_by_row(index, n);
        let parts = (m * inner / GRAIN).clamp(2, 64).min(n);
        let rows = n.div_ceil(parts);
        crate::parallel::for_each(parts, |part| {
            let (low, high) = (part * rows, n.min((part + 1) * rows));
            if low >= high {
                return;
            }
            for &i in &order.positions[order.starts[low]..order.starts[high]] {
                let row = index[i as usize] as usize;
                f((row * inner) as isize, (i as usize * inner) as isize, inner);
            }
        });
        return;
    }
    let tiles = inner.div_ceil(TILE);
    if tiles == 1
        && let Some(runs) = runs(index)
    {
        split(outer, m * inner, |first, last| {
            for o in first..last {
                for &Run { at, row, len } in &runs {
                    f(
                        ((o * n + row) * inner) as isize,
                        ((o * m + at) * inner) as isize,
                        len * inner,
                    );
                }
            }
        });
        return;
    }
    split(outer * tiles, m * inner.min(TILE), |first, last| {
        for unit in first..last {
            let (o, start) = (unit / tiles, unit % tiles * TILE);
            let len = TILE.min(inner - start);
            for (i, &row) in index.iter().enumerate() {
                let to = (o * n + row as usize) * inner + start;
                let from = (o * m + i) * inner + start;
                f(to as isize, from as isize, len);
            }
        }
    });
}

struct Order {
    /// Where the positions of each row start; one more than there are rows.
    starts: Vec<usize>,
    /// Positions in the index array, by row and then by position.
    positions: Vec<u32>,
}

/// A stable counting sort.
fn order_by_row(index: &[i64], n: usize) -> Order {
    let mut starts = vec![0usize; n + 1];
    for &row in index {
        starts[row as usize + 1] += 1;
    }
    for row in 0..n {
        starts[row + 1] += starts[row];
    }
    let mut next = starts.clone();
    let mut positions = vec![0u32; index.len()];
    for (i, &row) in index.iter().enumerate() {
        let at = &mut next[row as usize];
        positions[*at] = i as u32;
        *at += 1;
    }
    Order { starts, positions }
}

/// `output[:, index[i], :] += alpha * source[:, i, :]`, in the order of i, all contiguous.
///
/// # Errors
/// An index outside `0..along.n`; nothing is written then.
///
/// # Safety
/// `output` covers `along`, `source` the same with `index.len()` in place of `n`; no overlap.
pub unsafe fn index_add<T: Number>(
    along: Along,
    dim: usize,
    output: *mut T,
    index: &[i64],
    source: *const T,
    alpha: T,
) -> Result<()> {
    check(index, dim, along.n)?;
    let (x, y) = (Src::new(source), Dst::new(output));
    let plain = alpha == T::from_i64(1);
    if along.inner == 1 && plain {
        // Single elements: nothing of the work may be more than the addition.
        let m = index.len();
        split(along.outer, m, |first, last| {
            for o in first..last {
                let (to, from) = (y.at((o * along.n) as isize), x.at((o * m) as isize));
                for (i, &row) in index.iter().enumerate() {
                    // SAFETY: the index was checked; the line belongs to this task.
                    unsafe {
                        let to = to.add(row as usize);
                        *to = (*to).plus(*from.add(i));
                    }
                }
            }
        });
        return Ok(());
    }
    by_destination(along, index, |to, from, len| {
        // SAFETY: the index was checked; the destination belongs to this task.
        let (x, y) = unsafe {
            (
                std::slice::from_raw_parts(x.at(from), len),
                std::slice::from_raw_parts_mut(y.at(to), len),
            )
        };
        if plain {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = y.plus(x);
            }
        } else {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = y.plus(alpha.times(x));
            }
        }
    });
    Ok(())
}

/// torch's `scatter_reduce` by whole slices: `output[:, index[i], :]` meets `source[:, i, :]`, in the order
/// of i, all contiguous; without `include_self` what was there does not take part where a slice arrives.
///
/// # Errors
/// An index outside `0..along.n`; nothing is written then.
///
/// # Safety
/// As for [`index_add`].
pub unsafe fn index_combine<T: Number>(
    reduction: Reduction,
    include_self: bool,
    along: Along,
    dim: usize,
    output: *mut T,
    index: &[i64],
    source: *const T,
) -> Result<()> {
    check(index, dim, along.n)?;
    let (x, y) = (Src::new(source), Dst::new(output));
    let (identity, combine) = reduction.parts::<T>();
    if !include_self {
        // SAFETY: the caller's promise is passed on.
        unsafe { index_fill(along, dim, output, index, identity)? };
    }
    by_destination(along, index, |to, from, len| {
        // SAFETY: the index was checked; the destination belongs to this task.
        let (x, y) = unsafe {
            (
                std::slice::from_raw_parts(x.at(from), len),
                std::slice::from_raw_parts_mut(y.at(to), len),
            )
        };
        let pairs = y.iter_mut().zip(x);
        match combine {
            Combine::Set => pairs.for_each(|(y, &x)| *y = x),
            Combine::Add => pairs.for_each(|(y, &x)| *y = y.plus(x)),
            Combine::Multiply => pairs.for_each(|(y, &x)| *y = y.times(x)),
            Combine::Max => {
                pairs.for_each(|(y, &x)| *y = if x > *y || x.unordered() { x } else { *y });
            }
            Combine::Min => {
                pairs.for_each(|(y, &x)| *y = if x < *y || x.unordered() { x } else { *y });
            }
        }
    });
    if reduction == Reduction::Mean {
        let mut counts = vec![i64::from(include_self); along.n];
        for &row in index {
            counts[row as usize] += 1;
        }
        split(along.outer * along.n, along.inner, |first, last| {
            for row in first..last {
                let count = counts[row % along.n];
                if count > 1 {
                    // SAFETY: a row of the output, which belongs to this task.
                    let row = unsafe {
                        let at = y.at((row * along.inner) as isize);
                        std::slice::from_raw_parts_mut(at, along.inner)
                    };
                    for x in row {
                        *x = x.over(count);
                    }
                }
            }
        });
    }
    Ok(())
}

/// `output[:, index[i], :] = source[:, i, :]`, in the order of i, all contiguous.
///
/// # Errors
/// An index outside `0..along.n`; nothing is written then.
///
/// # Safety
/// As for [`index_add`].
pub unsafe fn index_copy<T: Element>(
    along: Along,
    dim: usize,
    output: *mut T,
    index: &[i64],
    source: *const T,
) -> Result<()> {
    check(index, dim, along.n)?;
    let (x, y) = (Src::new(source), Dst::new(output));
    by_destination(along, index, |to, from, len| {
        // SAFETY: the index was checked; the destination belongs to this task.
        unsafe { copy_run(x.at(from), 1, y.at(to), 1, len) };
    });
    Ok(())
}

/// `output[:, index[i], :] = value`, contiguous.
///
/// # Errors
/// An index outside `0..along.n`; nothing is written then.
///
/// # Safety
/// `output` covers `along`.
pub unsafe fn index_fill<T: Element>(
    along: Along,
    dim: usize,
    output: *mut T,
    index: &[i64],
    value: T,
) -> Result<()> {
    check(index, dim, along.n)?;
    let y = Dst::new(output);
    by_destination(along, index, |to, _, len| {
        // SAFETY: the index was checked; the destination belongs to this task.
        unsafe { std::slice::from_raw_parts_mut(y.at(to), len) }.fill(value);
    });
    Ok(())
}
