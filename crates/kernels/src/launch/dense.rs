//! Factors of stacks of matrices, and systems of equations with them.

use std::sync::Arc;

use super::blocks::copy_core;
use super::{ptr, ptr_mut};
use crate::dtype::{DType, dispatch};
use crate::error::{Error, Result, bail, ensure};
use crate::kernels::dense::{self as kernel, Given, Rows};
use crate::kernels::matmul::Strides;
use crate::kernels::raw::{Dst, Src, split};
use crate::storage::{Access, Core};

/// Matrices of the last two dimensions.
struct Stack {
    count: usize,
    rows: usize,
    columns: usize,
}

impl Stack {
    fn of(core: &Core) -> Result<Self> {
        let [lead @ .., rows, columns] = core.shape() else {
            bail!(runtime, "a matrix has two dimensions, got {:?}", core.shape());
        };
        Ok(Self { count: lead.iter().product(), rows: *rows, columns: *columns })
    }
}

fn missing(dtype: DType) -> Error {
    Error::not_implemented(format!("\"linalg\" not implemented for '{}'", dtype.scalar_name()))
}

/// Does something to each matrix of a stack, of so many multiply-adds each.
fn each(count: usize, work: usize, f: impl Fn(usize) + Sync) {
    // A multiply-add takes a tenth of what an element of a simple pass does.
    split(count, work / 8, |first, last| (first..last).for_each(&f));
}

/// L and U of each matrix in one, which row each row was exchanged with, and of each matrix zero or one
/// more than the place of the first zero on the diagonal.
pub fn lu(input: &Arc<Core>) -> Result<(Arc<Core>, Vec<usize>, Vec<usize>)> {
    let Stack { count, rows, columns } = Stack::of(input)?;
    let (out, k) = (copy_core(input)?, rows.min(columns));
    let (mut swaps, mut infos) = (vec![0; count * k], vec![0; count]);
    if count * k > 0 {
        dispatch!(float input.dtype(), T => {
            let (at, to) = (Dst::new(ptr_mut::<T>(&out)), Dst::new(swaps.as_mut_ptr()));
            let found = Dst::new(infos.as_mut_ptr());
            each(count, rows * columns * k, |i| {
                // SAFETY: each matrix, its exchanges and its info are touched by one task only; the core
                // is fresh and dense.
                unsafe {
                    let a = at.at((i * rows * columns) as isize);
                    let swaps = std::slice::from_raw_parts_mut(to.at((i * k) as isize), k);
                    kernel::lu::<T>(rows, columns, Rows::new(a, columns), swaps);
                    let zero = (0..k).find(|&j| *a.add(j * (columns + 1)) == 0.0);
                    *found.at(i as isize) = zero.map_or(0, |j| j + 1);
                }
            });
        }, else return Err(missing(input.dtype())));
    }
    Ok((out, swaps, infos))
}

/// Exchanges rows of each matrix of a fresh stack, as [`lu`] did.
fn exchange(core: &Core, swaps: &[usize], k: usize) -> Result<()> {
    let Stack { count, rows, columns } = Stack::of(core)?;
    ensure!(
        swaps.len() == count * k && k <= rows && swaps.iter().all(|&other| other < rows),
        runtime,
        "exchanges that do not fit {:?}",
        core.shape()
    );
    dispatch!(float core.dtype(), T => {
        let at = ptr_mut::<T>(core);
        for i in 0..count {
            for (j, &other) in swaps[i * k..(i + 1) * k].iter().enumerate() {
                if other != j {
                    // SAFETY: two rows of a fresh dense core.
                    unsafe {
                        let matrix = at.add(i * rows * columns);
                        let (a, b) = (matrix.add(j * columns), matrix.add(other * columns));
                        std::ptr::swap_nonoverlapping(a, b, columns);
                    }
                }
            }
        }
    }, else return Err(missing(core.dtype())));
    Ok(())
}

/// `T x = b` for each matrix of two stacks, with a triangle of `a`; written over `b`, which is fresh.
fn substitute_in(a: &Core, b: &Core, upper: bool, unit: bool) -> Result<()> {
    let (of_a, of_b) = (Stack::of(a)?, Stack::of(b)?);
    let (n, k) = (of_b.rows, of_b.columns);
    let dims = a.shape().len() - 2;
    ensure!(
        a.dtype() == b.dtype()
            && a.shape()[..dims] == b.shape()[..b.shape().len() - 2]
            && of_a.rows == n
            && of_a.columns == n,
        runtime,
        "triangles of shape {:?} with right sides of {:?}",
        a.shape(),
        b.shape()
    );
    let strides = Strides { row: a.strides()[dims], column: a.strides()[dims + 1] };
    // Where each matrix of `a` begins: the stack may be expanded.
    let mut starts = vec![0isize];
    for (&size, &step) in a.shape()[..dims].iter().zip(a.strides()) {
        starts =
            starts.iter().flat_map(|&at| (0..size as isize).map(move |i| at + i * step)).collect();
    }
    let access = Access::new(&[a], None);
    dispatch!(float a.dtype(), T => {
        let (from, to) = (Src::new(ptr::<T>(a)), Dst::new(ptr_mut::<T>(b)));
        each(of_b.count, n * n * k, |i| {
            // SAFETY: `a` is locked, every matrix of `b` has one task; the core is fresh and dense.
            unsafe {
                let (a, b) = (from.at(starts[i]), to.at((i * n * k) as isize));
                kernel::substitute::<T>((n, k), Given::new(a, strides), Rows::new(b, k), upper, unit);
            }
        });
    }, else return Err(missing(a.dtype())));
    drop(access);
    Ok(())
}

/// `T x = b` for each matrix of two stacks, with the upper or lower triangle of `a`; with `unit` its
/// diagonal counts as ones.
pub fn substitute(a: &Core, b: &Arc<Core>, upper: bool, unit: bool) -> Result<Arc<Core>> {
    let out = copy_core(b)?;
    substitute_in(a, &out, upper, unit)?;
    Ok(out)
}

/// `A x = b` for each matrix of two stacks, with what [`lu`] gave of square matrices.
pub fn lu_solve(packed: &Core, swaps: &[usize], b: &Arc<Core>) -> Result<Arc<Core>> {
    let out = copy_core(b)?;
    exchange(&out, swaps, Stack::of(packed)?.rows)?;
    substitute_in(packed, &out, false, true)?;
    substitute_in(packed, &out, true, false)?;
    Ok(out)
}

/// The lower factor of each square matrix, of which the lower triangle is read, and zero or the order
/// of the first minor that is not positive; what was not reached is zero.
pub fn cholesky(input: &Arc<Core>) -> Result<(Arc<Core>, Vec<usize>)> {
    let Stack { count, rows: n, columns } = Stack::of(input)?;
    ensure!(n == columns, runtime, "cholesky of {:?}", input.shape());
    let mut infos = vec![0; count];
    // The factor is made in rows of the upper triangle, and turned at the end.
    let work = turned(input)?;
    if count * n > 0 {
        dispatch!(float input.dtype(), T => {
            let (at, found) = (Dst::new(ptr_mut::<T>(&work)), Dst::new(infos.as_mut_ptr()));
            each(count, n * n * n / 3, |i| {
                // SAFETY: every matrix and its info have one task; the core is fresh and dense.
                unsafe {
                    let a = at.at((i * n * n) as isize);
                    let info = kernel::cholesky::<T>(n, Rows::new(a, n));
                    *found.at(i as isize) = info;
                    let done = if info > 0 { info - 1 } else { n };
                    for row in 0..n {
                        let zeros = if row < done { row } else { n };
                        std::slice::from_raw_parts_mut(a.add(row * n), zeros).fill(0.0);
                    }
                }
            });
        }, else return Err(missing(input.dtype())));
    }
    Ok((turned(&work)?, infos))
}

/// The matrices of a stack transposed, dense.
fn turned(core: &Arc<Core>) -> Result<Arc<Core>> {
    let dims = core.shape().len();
    let (mut shape, mut strides) = (core.shape().to_vec(), core.strides().to_vec());
    shape.swap(dims - 2, dims - 1);
    strides.swap(dims - 2, dims - 1);
    let offset = core.offset();
    copy_core(&*core.view(&shape, &strides, offset)?)
}
