//! `gather` and the scatter family: one index per element.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

use smallvec::SmallVec;

use super::{Number, all_inside, check, copy_run};
use crate::dtype::Element;
use crate::error::Result;
use crate::kernels::raw::{Dst, Src, Walk, split};

/// Columns of one task where the dimension is not the last.
const TILE: usize = 256;

/// What an output has where nothing is written to.
#[derive(Clone, Copy, Debug)]
pub enum Base<T> {
    /// What is there.
    There,
    /// Zeros; the output is fresh, contiguous, and of the index's shape but for the last dimension, which is the
    /// one that is indexed.
    Zeros,
    /// These elements, as many and as contiguous; the output is as for zeros.
    Copy(*const T),
}

// SAFETY: elements that are read while the caller holds them.
unsafe impl<T: Sync> Sync for Base<T> {}

/// How a source element meets the one already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// It replaces it; the last one wins.
    Set,
    /// Sum.
    Add,
    /// Product.
    Multiply,
    /// The greater; NaN wins.
    Max,
    /// The less; NaN wins.
    Min,
}

/// What `scatter_reduce` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Sum.
    Sum,
    /// Product.
    Prod,
    /// Mean.
    Mean,
    /// Greatest.
    Max,
    /// Least.
    Min,
}

impl Reduction {
    /// The result of nothing, and how an element joins it.
    pub(super) fn parts<T: Number>(self) -> (T, Combine) {
        match self {
            Self::Sum | Self::Mean => (T::default(), Combine::Add),
            Self::Prod => (T::from_i64(1), Combine::Multiply),
            Self::Max => (T::LOWEST, Combine::Max),
            Self::Min => (T::HIGHEST, Combine::Min),
        }
    }
}

/// The independent lines along `dim` of an index array: no two lines touch the same destination.
struct Lines {
    /// Dimensions that number the lines, with strides of (index, indexed, other).
    dims: SmallVec<[(usize, [isize; 3]); 6]>,
    /// The last dimension, walked in the innermost loop, unless it is `dim`.
    run: (usize, [isize; 3]),
    n: usize,
    steps: [isize; 3],
}

impl Lines {
    fn new(shape: &[usize], dim: usize, indexed: &[isize], other: &[isize]) -> Self {
        let mut lines = Self { dims: SmallVec::new(), run: (1, [0; 3]), n: 1, steps: [0, 0, 0] };
        let mut stride = 1;
        for (d, &size) in shape.iter().enumerate().rev() {
            let strides = [stride, indexed[d], other[d]];
            stride *= size as isize;
            if d == dim {
                lines.n = size;
                lines.steps = strides;
            } else if d + 1 == shape.len() {
                lines.run = (size, strides);
            } else {
                lines.dims.push((size, strides));
            }
        }
        lines.dims.reverse();
        lines
    }

    /// Calls `f(index offset, indexed offset, other offset, run length)` for every piece of a run,
    /// those of one line in order.
    fn for_each(&self, f: impl Fn([isize; 3], usize) + Sync) {
        let tiles = self.run.0.div_ceil(TILE);
        let units = self.dims.iter().map(|d| d.0).product::<usize>() * tiles;
        split(units, self.n * self.run.0.min(TILE), |first, last| {
            for unit in first..last {
                let base = Walk::new(self.dims.iter().copied(), unit / tiles).offset;
                let start = unit % tiles * TILE;
                let len = TILE.min(self.run.0 - start);
                for i in 0..self.n as isize {
                    let at =
                        |k: usize| base[k] + start as isize * self.run.1[k] + i * self.steps[k];
                    // The indexed operand does not move with i: its place comes from the index.
                    f([at(0), at(1) - i * self.steps[1], at(2)], len);
                }
            }
        });
    }
}

/// `output[p] = input[p with p[dim] = index[p]]`; index and output are contiguous of `shape`.
///
/// # Errors
/// An index outside `0..size`, the extent of `input` along `dim`; what was written then is of no use.
///
/// # Safety
/// `input` must be readable wherever `shape` (with `size` along `dim`) and `strides` reach,
/// `output` writable for the product of `shape`; `index` has that length.
pub unsafe fn gather<T: Element>(
    input: *const T,
    strides: &[isize],
    dim: usize,
    size: usize,
    index: &[i64],
    shape: &[usize],
    output: *mut T,
) -> Result<()> {
    if shape.is_empty() {
        check(index, dim, size)?;
        // SAFETY: 0-d: one element each.
        unsafe { *output = *input };
        return Ok(());
    }
    let lines = Lines::new(shape, dim, strides, strides);
    let (x, y) = (Src::new(input), Dst::new(output));
    let (step, run) = (lines.steps[1], lines.run.1[1]);
    if lines.run.0 == 1 && lines.steps[0] == 1 {
        // Along the last dimension: one tight loop per line, whose indices are checked just before.
        let n = lines.n;
        let units = index.len() / n.max(1);
        let bad = AtomicBool::new(false);
        split(units, n, |first, last| {
            let mut walk = Walk::new(lines.dims.iter().copied(), first);
            for _ in first..last {
                let (base, at) = (x.at(walk.offset[1]), walk.offset[0]);
                let index = &index[at as usize..][..n];
                if !all_inside(index, size) {
                    bad.store(true, Ordering::Relaxed);
                    return;
                }
                // SAFETY: a line of the output, which belongs to this task.
                let to =
                    unsafe { std::slice::from_raw_parts_mut(y.at(at).cast::<MaybeUninit<T>>(), n) };
                // SAFETY (both): every index was checked.
                if step == 1 {
                    for (to, &i) in to.iter_mut().zip(index) {
                        // SAFETY: see above.
                        to.write(unsafe { *base.add(i as usize) });
                    }
                } else {
                    for (to, &i) in to.iter_mut().zip(index) {
                        // SAFETY: see above.
                        to.write(unsafe { *base.wrapping_offset(i as isize * step) });
                    }
                }
                walk.advance();
            }
        });
        return if bad.into_inner() { check(index, dim, size) } else { Ok(()) };
    }
    check(index, dim, size)?;
    lines.for_each(|[at, base, _], len| {
        for j in 0..len as isize {
            // SAFETY: every index was checked.
            unsafe {
                let index = *index.get_unchecked((at + j) as usize) as isize;
                *y.at(at + j) = *x.at(base + j * run + index * step);
            }
        }
    });
    Ok(())
}

/// `output[p with p[dim] = index[p]]` combined with `source[p]`, for all p of `shape` (that of the
/// contiguous index); sources that meet are taken in index order. `source_strides` of 0 make a
/// scalar of the source. A fresh output gets the elements of its `base` line by line.
///
/// # Errors
/// An index outside `0..size`, the extent of `output` along `dim`; nothing is written then, or a fresh output is of
/// no use.
///
/// # Safety
/// `source` must be readable wherever `shape` reaches, `output` readable and writable wherever
/// `shape` (with `size` along `dim`) and `strides` reach; they do not overlap.
pub unsafe fn scatter<T: Number>(
    combine: Combine,
    output: *mut T,
    strides: &[isize],
    dim: usize,
    size: usize,
    index: &[i64],
    shape: &[usize],
    source: *const T,
    source_strides: &[isize],
    base: Base<T>,
) -> Result<()> {
    if matches!(base, Base::There) {
        check(index, dim, size)?;
    }
    // Every index was checked, or is; lines of different tasks are disjoint.
    let lines =
        Scattered { output, strides, dim, size, index, shape, source, source_strides, base };
    // SAFETY (all): the destination is valid and belongs to the line.
    let inside = match combine {
        // SAFETY: see above. The common ones are worth loops of their own.
        Combine::Set => unsafe { lines.write(|to, x| *to = x) },
        // SAFETY: see above.
        Combine::Add => unsafe { lines.write(|to, x| *to = (*to).plus(x)) },
        _ => {
            let join: &(dyn Fn(T, T) -> T + Sync) = match combine {
                Combine::Multiply => &|there, x| there.times(x),
                Combine::Max => &|there, x| if x > there || x.unordered() { x } else { there },
                _ => &|there, x| if x < there || x.unordered() { x } else { there },
            };
            // SAFETY: see above.
            unsafe { lines.write(|to, x| *to = join(*to, x)) }
        }
    };
    if inside { Ok(()) } else { check(index, dim, size) }
}

/// What [`scatter`] is given.
#[derive(Clone, Copy)]
struct Scattered<'a, T> {
    output: *mut T,
    strides: &'a [isize],
    dim: usize,
    size: usize,
    index: &'a [i64],
    shape: &'a [usize],
    source: *const T,
    source_strides: &'a [isize],
    base: Base<T>,
}

impl<T: Number> Scattered<'_, T> {
    /// Calls `f(destination, source)` for every index, those of one line in order. `false` if an index is out of
    /// range: looked at only where the output is fresh.
    ///
    /// # Safety
    /// As for [`scatter`], with the indices checked if the output is not fresh.
    unsafe fn write(self, f: impl Fn(*mut T, T) + Sync) -> bool {
        let Self { output, strides, dim, size, index, shape, source, source_strides, base } = self;
        let (x, y) = (Src::new(source), Dst::new(output));
        if shape.is_empty() {
            // SAFETY: 0-d: one element each.
            f(output, unsafe { *source });
            return true;
        }
        let lines = Lines::new(shape, dim, strides, source_strides);
        let (step, run, run_source) = (lines.steps[1], lines.run.1[1], lines.run.1[2]);
        if lines.run.0 == 1 && lines.steps[0] == 1 {
            // Along the last dimension: one tight loop per line.
            let (n, step_source) = (lines.n, lines.steps[2]);
            let bad = AtomicBool::new(false);
            split(index.len() / n.max(1), n, |first, last| {
                let mut walk = Walk::new(lines.dims.iter().copied(), first);
                for _ in first..last {
                    let [at, line, from] = walk.offset;
                    let (index, to, from) = (&index[at as usize..][..n], y.at(line), x.at(from));
                    let base = &base;
                    if !matches!(base, Base::There) && !all_inside(index, size) {
                        bad.store(true, Ordering::Relaxed);
                        return;
                    }
                    // SAFETY: lines of both, as long as the dimension; of all types a zero has zero bits only.
                    unsafe {
                        match *base {
                            Base::There => {}
                            Base::Zeros => std::ptr::write_bytes(to, 0, size),
                            Base::Copy(base) => {
                                copy_run(base.wrapping_offset(line), 1, to, 1, size);
                            }
                        }
                    }
                    if step == 1 && step_source == 1 {
                        for (i, &index) in index.iter().enumerate() {
                            // SAFETY: every index was checked; this task owns the line.
                            unsafe { f(to.add(index as usize), *from.add(i)) };
                        }
                    } else {
                        for (i, &index) in (0..).zip(index) {
                            // SAFETY: as above.
                            unsafe {
                                let to = to.wrapping_offset(index as isize * step);
                                f(to, *from.wrapping_offset(i * step_source));
                            }
                        }
                    }
                    walk.advance();
                }
            });
            return !bad.into_inner();
        }
        debug_assert!(matches!(base, Base::There), "a base goes with the last dimension");
        lines.for_each(|[at, base, from], len| {
            for j in 0..len as isize {
                // SAFETY: every index was checked; this task owns the line.
                unsafe {
                    let index = *index.get_unchecked((at + j) as usize) as isize;
                    f(y.at(base + j * run + index * step), *x.at(from + j * run_source));
                }
            }
        });
        true
    }
}

/// torch's `scatter_reduce`: as [`scatter`] on a contiguous `output` of `out_shape`; without
/// `include_self` the elements that were there do not take part where a source arrives.
///
/// # Errors
/// An index out of range; nothing is written then.
///
/// # Safety
/// As for [`scatter`], `output` being contiguous of `out_shape`.
pub unsafe fn scatter_reduce<T: Number>(
    reduction: Reduction,
    include_self: bool,
    output: *mut T,
    out_shape: &[usize],
    dim: usize,
    index: &[i64],
    shape: &[usize],
    source: *const T,
    source_strides: &[isize],
) -> Result<()> {
    let size = out_shape.get(dim).copied().unwrap_or(1);
    check(index, dim, size)?;
    let mut strides = SmallVec::<[isize; 6]>::from_elem(1, out_shape.len());
    for d in (1..out_shape.len()).rev() {
        strides[d - 1] = strides[d] * out_shape[d] as isize;
    }
    let zeros = SmallVec::<[isize; 6]>::from_elem(0, shape.len());
    let (identity, combine) = reduction.parts::<T>();
    // SAFETY: the caller's promise is passed on; the counts have the output's shape.
    unsafe {
        if !include_self {
            scatter(
                Combine::Set,
                output,
                &strides,
                dim,
                size,
                index,
                shape,
                &raw const identity,
                &zeros,
                Base::There,
            )?;
        }
        scatter(
            combine,
            output,
            &strides,
            dim,
            size,
            index,
            shape,
            source,
            source_strides,
            Base::There,
        )?;
        if reduction == Reduction::Mean {
            let total = out_shape.iter().product::<usize>();
            let mut counts = vec![i64::from(include_self); total];
            let one = 1i64;
            let to = counts.as_mut_ptr();
            let one = &raw const one;
            scatter(Combine::Add, to, &strides, dim, size, index, shape, one, &zeros, Base::There)?;
            for (at, &count) in counts.iter().enumerate() {
                if count > 1 {
                    *output.add(at) = (*output.add(at)).over(count);
                }
            }
        }
    }
    Ok(())
}
