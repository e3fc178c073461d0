//! Factors of stacks of matrices, and systems of equations with them.

use std::sync::Arc;

use super::blocks::copy_core;
use super::{ptr, ptr_mut};
use crate::dtype::{DType, dispatch};
use crate::error::{Error, Result, bail, ensure};
use crate::kernels::dense::{self as kernel, Few, Given, LANES, MOST, Rows, Sides};
use crate::kernels::matmul::{Strides, lines};
use crate::kernels::raw::{Dst, Src, split};
use crate::shape::Dims;
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

/// Matrices that are taken several at a time: the least that are, and the greatest.
const FEW: usize = 3;
/// Of those whose factors are cheap, the greatest.
const CHEAP: usize = 8;

/// Does something to each matrix of a stack from the first to before the last of a few.
fn each_few(count: usize, work: usize, f: impl Fn(usize, usize) + Sync) {
    let groups = count.div_ceil(LANES);
    each(groups, (work * LANES).max(256), |i| f(i * LANES, count.min((i + 1) * LANES)));
}

/// The parts that belong to matrices from one to before another, of so many elements each.
///
/// # Safety
/// There must be one task for each, and nobody else.
unsafe fn parts<'a, T>(all: Dst<T>, (from, to): (usize, usize), size: usize) -> &'a mut [T] {
    // SAFETY: the caller's promise; fresh cores are dense.
    unsafe { std::slice::from_raw_parts_mut(all.at((from * size) as isize), (to - from) * size) }
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
            let few = count >= FEW && rows == columns && rows <= CHEAP;
            if few {
                each_few(count, rows * rows * rows, |first, last| {
                    // SAFETY: as below.
                    unsafe {
                        let all = parts(at, (first, last), rows * rows);
                        let swaps = parts(to, (first, last), rows);
                        kernel::lu_of_few(Few { n: rows, a: all }, swaps);
                        for (i, a) in all.chunks_exact(rows * rows).enumerate() {
                            let zero = (0..rows).find(|&j| a[j * (rows + 1)] == 0.0);
                            *found.at((first + i) as isize) = zero.map_or(0, |j| j + 1);
                        }
                    }
                });
            }
            each(if few { 0 } else { count }, rows * columns * k, |i| {
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

/// Solves many small systems several at a time, where they are that.
fn few_solved(packed: &Core, swaps: &[usize], b: &Core) -> Result<bool> {
    let Stack { count, rows: n, columns } = Stack::of(packed)?;
    let Stack { count: sides, rows, columns: k } = Stack::of(b)?;
    let same = n == columns && n == rows && sides == count && swaps.len() == count * n;
    let fits = same && n > 0 && n <= CHEAP && k > 0 && count >= FEW && packed.dtype() == b.dtype();
    if !fits || !packed.is_contiguous() {
        return Ok(false);
    }
    let access = Access::new(&[packed], None);
    dispatch!(float b.dtype(), T => {
        let (a, to) = (Src::new(ptr::<T>(packed)), Dst::new(ptr_mut::<T>(b)));
        each_few(count, n * n * (k + 4), |first, last| {
            // SAFETY: `packed` is locked, every matrix of `b` has one task; the core is fresh and dense.
            unsafe {
                let (from, size) = (a.at((first * n * n) as isize), (last - first) * n * n);
                let packed = std::slice::from_raw_parts(from, size);
                let swaps = &swaps[first * n..last * n];
                kernel::solve_few::<T>((n, k), packed, swaps, parts(to, (first, last), n * k));
            }
        });
    }, else return Err(missing(b.dtype())));
    drop(access);
    Ok(true)
}

/// `A x = b` for each matrix of two stacks, with what [`lu`] gave of square matrices.
pub fn lu_solve(packed: &Core, swaps: &[usize], b: &Arc<Core>) -> Result<Arc<Core>> {
    let out = copy_core(b)?;
    if few_solved(packed, swaps, &out)? {
        return Ok(out);
    }
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
    if count >= FEW && n > 0 && n <= CHEAP {
        let out = copy_core(input)?;
        dispatch!(float input.dtype(), T => {
            let (at, found) = (Dst::new(ptr_mut::<T>(&out)), Dst::new(infos.as_mut_ptr()));
            each_few(count, n * n * n, |first, last| {
                // SAFETY: every matrix and its info have one task; the core is fresh and dense.
                unsafe {
                    let a = parts(at, (first, last), n * n);
                    kernel::cholesky_of_few(Few { n, a }, parts(found, (first, last), 1));
                }
            });
        }, else return Err(missing(input.dtype())));
        return Ok((out, infos));
    }
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

/// Fresh results, one part of that shape for each matrix.
fn fresh(input: &Core, tail: &[usize]) -> Result<Arc<Core>> {
    let mut shape = Dims::from_slice(&input.shape()[..input.shape().len() - 2]);
    shape.extend_from_slice(tail);
    Core::alloc(input.dtype(), &shape)
}

/// Whether all elements of a dense core are numbers.
fn finite(core: &Core) -> Result<bool> {
    Ok(dispatch!(float core.dtype(), T => {
        // SAFETY: a fresh dense core.
        let all = unsafe { parts(Dst::new(ptr_mut::<T>(core)), (0, 1), core.numel()) };
        all.iter().all(|x| x.is_finite())
    }, else return Err(missing(core.dtype()))))
}

fn need_finite(name: &str, core: &Core) -> Result<()> {
    ensure!(
        finite(core)?,
        runtime,
        "{name}: The algorithm failed to converge because the input matrix contained non-finite values."
    );
    Ok(())
}

/// Q with `k` columns, and R, of each matrix.
pub fn qr(input: &Arc<Core>, complete: bool) -> Result<(Arc<Core>, Arc<Core>)> {
    let Stack { count, rows: m, columns: n } = Stack::of(input)?;
    let k = if complete { m } else { m.min(n) };
    let (q, r) = (fresh(input, &[m, k])?, fresh(input, &[k, n])?);
    let work = copy_core(input)?;
    dispatch!(float input.dtype(), T => {
        let from = Src::new(ptr::<T>(&work));
        let (q, r) = (Dst::new(ptr_mut::<T>(&q)), Dst::new(ptr_mut::<T>(&r)));
        let one = |i: usize| {
            // SAFETY: every matrix has one task; the cores are fresh and dense.
            unsafe {
                let a = Given::new(from.at((i * m * n) as isize), lines(n));
                kernel::qr::<T>(a, (m, n, k), parts(q, (i, i + 1), m * k), parts(r, (i, i + 1), k * n));
            }
        };
        if count >= FEW && m > 0 && n > 0 && m.max(n) <= MOST {
            each_few(count, m * n * k * 4, |first, last| {
                let mut left = [false; LANES];
                let left = &mut left[..last - first];
                // SAFETY: as above.
                unsafe {
                    let size = (last - first) * m * n;
                    let a = std::slice::from_raw_parts(from.at((first * m * n) as isize), size);
                    let (q, r) = (parts(q, (first, last), m * k), parts(r, (first, last), k * n));
                    kernel::qr_of_few::<T>((m, n, k), a, q, r, left);
                }
                for (i, _) in left.iter().enumerate().filter(|(_, left)| **left) {
                    one(first + i);
                }
            });
        } else {
            each(count, m * n * k * 2 + 64, one);
        }
    }, else return Err(missing(input.dtype())));
    Ok((q, r))
}

/// Ascending eigenvalues of each symmetric matrix, of which one triangle is read, and eigenvectors.
pub fn eigh(
    name: &str,
    input: &Arc<Core>,
    upper: bool,
    vectors: bool,
) -> Result<(Arc<Core>, Option<Arc<Core>>)> {
    let Stack { count, rows: n, columns } = Stack::of(input)?;
    ensure!(n == columns, runtime, "{name} of {:?}", input.shape());
    let work = copy_core(input)?;
    need_finite(name, &work)?;
    let values = fresh(input, &[n])?;
    let vectors = if vectors { Some(fresh(input, &[n, n])?) } else { None };
    dispatch!(float input.dtype(), T => {
        let (from, to) = (Src::new(ptr::<T>(&work)), Dst::new(ptr_mut::<T>(&values)));
        let beside = vectors.as_ref().map(|core| Dst::new(ptr_mut::<T>(core)));
        let few = count >= FEW && n > 0 && n <= MOST;
        if few {
            each_few(count, n * n * n * 20, |first, last| {
                // SAFETY: every matrix has one task; the cores are fresh and dense.
                unsafe {
                    let size = (last - first) * n * n;
                    let a = std::slice::from_raw_parts(from.at((first * n * n) as isize), size);
                    let vectors = match beside {
                        Some(all) => parts(all, (first, last), n * n),
                        None => &mut [],
                    };
                    kernel::eigen_of_few::<T>(n, a, upper, parts(to, (first, last), n), vectors);
                }
            });
        }
        each(if few { 0 } else { count }, n * n * n * 4 + 128, |i| {
            // SAFETY: every matrix has one task; the cores are fresh and dense.
            unsafe {
                let a = Given::new(from.at((i * n * n) as isize), lines(n));
                let vectors = beside.map(|all| parts(all, (i, i + 1), n * n));
                kernel::eigh::<T>(a, n, upper, parts(to, (i, i + 1), n), vectors);
            }
        });
    }, else return Err(missing(input.dtype())));
    Ok((values, vectors))
}

/// Descending singular values of each matrix, and if wanted U and V transposed, reduced or square.
pub fn svd(
    name: &str,
    input: &Arc<Core>,
    vectors: Option<bool>,
) -> Result<(Arc<Core>, Option<(Arc<Core>, Arc<Core>)>)> {
    let Stack { count, rows: m, columns: n } = Stack::of(input)?;
    let k = m.min(n);
    let work = copy_core(input)?;
    need_finite(name, &work)?;
    let values = fresh(input, &[k])?;
    let full = vectors == Some(true);
    let (left, right) = if full { (m, n) } else { (k, k) };
    let sides = match vectors {
        Some(_) => Some((fresh(input, &[m, left])?, fresh(input, &[right, n])?)),
        None => None,
    };
    dispatch!(float input.dtype(), T => {
        let (from, to) = (Src::new(ptr::<T>(&work)), Dst::new(ptr_mut::<T>(&values)));
        let beside = sides
            .as_ref()
            .map(|(u, v)| (Dst::new(ptr_mut::<T>(u)), Dst::new(ptr_mut::<T>(v))));
        let one = |i: usize| {
            // SAFETY: every matrix has one task; the cores are fresh and dense.
            unsafe {
                let a = Given::new(from.at((i * m * n) as isize), lines(n));
                let sides = beside.map(|(u, v)| Sides {
                    left: parts(u, (i, i + 1), m * left),
                    right: parts(v, (i, i + 1), right * n),
                    full,
                });
                kernel::svd::<T>(a, (m, n), parts(to, (i, i + 1), k), sides);
            }
        };
        let reduced = !full || m == n;
        if count >= FEW && reduced && k > 0 && m.max(n) <= MOST {
            each_few(count, m * n * k * 30, |first, last| {
                let mut left = [false; LANES];
                let left = &mut left[..last - first];
                // SAFETY: as above.
                unsafe {
                    let size = (last - first) * m * n;
                    let a = std::slice::from_raw_parts(from.at((first * m * n) as isize), size);
                    let (u, v): (&mut [T], &mut [T]) = match beside {
                        Some((u, v)) => {
                            (parts(u, (first, last), m * k), parts(v, (first, last), k * n))
                        }
                        None => (&mut [], &mut []),
                    };
                    kernel::svd_of_few::<T>((m, n), a, parts(to, (first, last), k), u, v, left);
                }
                for (i, _) in left.iter().enumerate().filter(|(_, left)| **left && beside.is_some()) {
                    one(first + i);
                }
            });
        } else {
            each(count, m * n * k * 8 + 128, one);
        }
    }, else return Err(missing(input.dtype())));
    Ok((values, sides))
}

/// The shortest solutions of least squares, `n` × `k` for each matrix, and the ranks.
pub fn least_squares(
    input: &Arc<Core>,
    right: &Arc<Core>,
    rcond: f64,
) -> Result<(Arc<Core>, Vec<usize>)> {
    let Stack { count, rows: m, columns: n } = Stack::of(input)?;
    let Stack { columns: k, .. } = Stack::of(right)?;
    let dims = input.shape().len() - 1;
    ensure!(
        right.dtype() == input.dtype()
            && right.shape()[..].len() == dims + 1
            && right.shape()[..dims] == input.shape()[..dims],
        runtime,
        "least squares of {:?} and {:?}",
        input.shape(),
        right.shape()
    );
    let (a, b) = (copy_core(input)?, copy_core(right)?);
    let out = fresh(input, &[n, k])?;
    let mut ranks = vec![0; count];
    let found = Dst::new(ranks.as_mut_ptr());
    dispatch!(float input.dtype(), T => {
        let (a, b) = (Src::new(ptr::<T>(&a)), Src::new(ptr::<T>(&b)));
        let to = Dst::new(ptr_mut::<T>(&out));
        each(count, m * n * m.min(n) * 4 + 128, |i| {
            // SAFETY: every matrix has one task; the cores are fresh and dense.
            unsafe {
                let a = Given::new(a.at((i * m * n) as isize), lines(n));
                let b = Given::new(b.at((i * m * k) as isize), lines(k));
                let rank = kernel::least_squares::<T>(a, b, (m, n, k), rcond, parts(to, (i, i + 1), n * k));
                *found.at(i as isize) = rank;
            }
        });
    }, else return Err(missing(input.dtype())));
    Ok((out, ranks))
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
