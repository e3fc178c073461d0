//! Matrix products: which kernel for which shape, and a split into tiles by size alone.
#![allow(unsafe_code)]

mod integer;
mod small;

pub use integer::{Integer, integer_gemm};

use super::raw::{Dst, Src};
use super::vexp::Real;

/// A float that matrix products exist for.
pub trait Float: Real + small::Fused {}
impl Float for f32 {}
impl Float for f64 {}

/// Multiply-adds below which packing costs more than it saves.
const SMALL: usize = 8 * 8 * 8;
/// Rows below which a transposed right operand is not worth packing.
const THIN: usize = 8;
/// Rows and columns of the tiles a large product is split into.
const TILE: usize = 512;
/// Multiply-adds per task of a batch.
const BATCH_GRAIN: usize = 1 << 18;

/// A matrix somewhere in memory: its strides in elements (0 and negative allowed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strides {
    /// From one row to the next.
    pub row: isize,
    /// From one column to the next.
    pub column: isize,
}

/// `c = alpha * a @ b + beta * c`, with `a` m × k, `b` k × n and `c` m × n.
///
/// `c` is not read when `beta` is zero. The bits depend on the shapes and strides only.
///
/// # Safety
/// `a` and `b` must be readable and `c` writable at every offset the sizes and strides reach; no
/// element of `c` may be reached twice or overlap `a` or `b`.
pub unsafe fn gemm<T: Float>(
    m: usize,
    n: usize,
    k: usize,
    alpha: T,
    a: *const T,
    a_strides: Strides,
    b: *const T,
    b_strides: Strides,
    beta: T,
    c: *mut T,
    c_strides: Strides,
) {
    if m == 0 || n == 0 {
        return;
    }
    let problem = Problem {
        m,
        n,
        k,
        alpha,
        a: Src::new(a),
        sa: a_strides,
        b: Src::new(b),
        sb: b_strides,
        beta,
        c: Dst::new(c),
        sc: c_strides,
    };
    // SAFETY: the caller's promise is passed on.
    unsafe { problem.run(true) }
}

/// `batch` products `c[i] = alpha * a[i] @ b[i] + beta * c[i]`, `*_step` elements apart.
///
/// # Safety
/// As for `gemm`, for every member of the batch; the `c`s must not overlap one another.
pub unsafe fn bmm<T: Float>(
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    alpha: T,
    a: *const T,
    a_strides: Strides,
    a_step: isize,
    b: *const T,
    b_strides: Strides,
    b_step: isize,
    beta: T,
    c: *mut T,
    c_strides: Strides,
    c_step: isize,
) {
    if m == 0 || n == 0 || batch == 0 {
        return;
    }
    let (a, b, c) = (Src::new(a), Src::new(b), Dst::new(c));
    let member = |i: usize, split: bool| {
        let i = i as isize;
        let problem = Problem {
            m,
            n,
            k,
            alpha,
            a: Src::new(a.at(i * a_step)),
            sa: a_strides,
            b: Src::new(b.at(i * b_step)),
            sb: b_strides,
            beta,
            c: Dst::new(c.at(i * c_step)),
            sc: c_strides,
        };
        // SAFETY: the caller vouches for every member.
        unsafe { problem.run(split) };
    };
    let work = (m * n * k.max(1)).max(1);
    if work >= BATCH_GRAIN {
        // Members are tasks; one that is itself large is split further inside.
        crate::parallel::for_each(batch, |i| member(i, batch == 1));
        return;
    }
    let per_task = BATCH_GRAIN / work;
    crate::parallel::for_each(batch.div_ceil(per_task), |task| {
        for i in task * per_task..batch.min((task + 1) * per_task) {
            member(i, false);
        }
    });
}

#[derive(Clone, Copy)]
struct Problem<T> {
    m: usize,
    n: usize,
    k: usize,
    alpha: T,
    a: Src<T>,
    sa: Strides,
    b: Src<T>,
    sb: Strides,
    beta: T,
    c: Dst<T>,
    sc: Strides,
}

impl<T: Float> Problem<T> {
    /// # Safety
    /// See [`gemm`].
    unsafe fn run(self, split: bool) {
        let Self { m, n, k, .. } = self;
        if k == 0 {
            // SAFETY: c is the caller's.
            unsafe { self.scale() };
        } else if m == 1 || n == 1 || k == 1 || m * n * k <= SMALL {
            // SAFETY: the caller's promise is passed on.
            unsafe { small::run(&self, split) };
        } else if m <= THIN && n >= 64 && self.sc.column == 1 && self.sb.row == 1 {
            // SAFETY: the caller's promise is passed on.
            unsafe { self.thin(split) };
        } else {
            // SAFETY: the caller's promise is passed on.
            unsafe { self.tiled(split) };
        }
    }

    /// Few rows times a transposed matrix, by way of a transposed result: the crate would pack all
    /// of b as its left operand otherwise, at six times the cost.
    unsafe fn thin(self, split: bool) {
        let Self { m, n, .. } = self;
        let mut turned = vec![T::ZERO; m * n];
        let c = Dst::new(turned.as_mut_ptr());
        let sc = Strides { row: 1, column: m as isize };
        // SAFETY: a and b are the caller's, c is as large as it must be.
        unsafe { Self { c, sc, beta: T::ZERO, ..self }.tiled(split) };
        for (at, &sum) in turned.iter().enumerate() {
            let c = self.c.at((at % m) as isize * self.sc.row + (at / m) as isize);
            // SAFETY: within c; read only if beta says so.
            unsafe {
                *c = if self.beta == T::ZERO { sum } else { self.beta * *c + sum };
            }
        }
    }

    unsafe fn scale(&self) {
        for i in 0..self.m as isize {
            for j in 0..self.n as isize {
                let c = self.c.at(i * self.sc.row + j * self.sc.column);
                // SAFETY: within c; read only if beta says so.
                unsafe {
                    *c = if self.beta == T::ZERO { T::ZERO } else { self.beta * *c };
                }
            }
        }
    }

    unsafe fn tiled(&self, split: bool) {
        let (rows, columns) = (self.m.div_ceil(TILE), self.n.div_ceil(TILE));
        let tile = |task: usize| {
            let (i, j) = (task / columns * TILE, task % columns * TILE);
            let (m, n) = (TILE.min(self.m - i), TILE.min(self.n - j));
            let (i, j) = (i as isize, j as isize);
            // SAFETY: a tile of the caller's matrices; tiles of c are disjoint.
            unsafe {
                gemm::gemm(
                    m,
                    n,
                    self.k,
                    self.c.at(i * self.sc.row + j * self.sc.column),
                    self.sc.column,
                    self.sc.row,
                    self.beta != T::ZERO,
                    self.a.at(i * self.sa.row),
                    self.sa.column,
                    self.sa.row,
                    self.b.at(j * self.sb.column),
                    self.sb.column,
                    self.sb.row,
                    self.beta,
                    self.alpha,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
        };
        if split {
            crate::parallel::for_each(rows * columns, tile);
        } else {
            (0..rows * columns).for_each(tile);
        }
    }
}

#[cfg(test)]
mod tests;
