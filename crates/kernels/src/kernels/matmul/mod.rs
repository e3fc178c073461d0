//! Matrix products: which kernel for which shape.
#![allow(unsafe_code)]

mod blocked;
mod dots;
mod integer;
mod pack;
mod simd;
mod small;
mod tiny;
mod vector;

pub(super) use blocked::{Ahead, KC, Room, Tile, group, micro_rows};
pub use integer::{Integer, integer_gemm};
pub(super) use pack::{SLACK, pack_columns, pack_rows, transpose};

#[cfg(target_arch = "x86_64")]
use super::multiversion::Level;
use super::raw::{Dst, Src};
use super::vexp::Real;

/// A float that matrix products exist for, with its vectors.
pub trait Float: Real + small::Fused {
    /// Without a fused multiply-add.
    #[doc(hidden)]
    type Plain: Vector<T = Self>;
    /// Of 256 bits.
    #[cfg(target_arch = "x86_64")]
    #[doc(hidden)]
    type Avx2: Vector<T = Self>;
    /// Of 512 bits.
    #[cfg(target_arch = "x86_64")]
    #[doc(hidden)]
    type Avx512: Vector<T = Self>;
}
impl Float for f32 {
    type Plain = simd::Plain<Self, 4>;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = simd::x86::Avx2F32;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = simd::x86::Avx512F32;
}
impl Float for f64 {
    type Plain = simd::Plain<Self, 2>;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = simd::x86::Avx2F64;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = simd::x86::Avx512F64;
}

pub(super) use simd::{Vector, Work, halved};

/// Does the work with the vectors of the level in use.
///
/// # Safety
/// What the work asks for.
pub(super) unsafe fn at_level<T: Float, W: Work<T>>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    match super::multiversion::level() {
        // SAFETY: the level was found on this machine; the rest is the caller's promise.
        Level::Avx512 => return unsafe { T::Avx512::within(work) },
        // SAFETY: as above.
        Level::Avx2 => return unsafe { T::Avx2::within(work) },
        Level::Baseline => {}
    }
    // SAFETY: passed on.
    unsafe { T::Plain::within(work) }
}

/// Multiply-adds below which a full tile is mostly waste.
const SMALL: usize = 8 * 8 * 8;
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

/// The strides of a matrix whose lines of so many columns lie one after the other.
pub const fn lines(columns: usize) -> Strides {
    Strides { row: columns as isize, column: 1 }
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
    let d = (c.cast_const(), c_strides);
    // SAFETY: the caller's promise is passed on.
    unsafe {
        gemm_of(m, n, k, alpha, a, a_strides, b, b_strides, beta, d.0, d.1, c, c_strides);
    }
}

/// `c = alpha * a @ b + beta * d`, as [`gemm`] with another matrix in place of the old `c`.
///
/// # Safety
/// As for [`gemm`]; `d` must be readable (also where strides are 0), and overlap `c` only by being it.
pub unsafe fn gemm_of<T: Float>(
    m: usize,
    n: usize,
    k: usize,
    alpha: T,
    a: *const T,
    a_strides: Strides,
    b: *const T,
    b_strides: Strides,
    beta: T,
    d: *const T,
    d_strides: Strides,
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
        d: Src::new(d),
        sd: d_strides,
        ahead: [(Src::new(a), 0); 3],
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
    let work = (m * n * k.max(1)).max(1);
    if m.max(n).max(k) <= tiny::MOST && k > 0 && beta == T::ZERO {
        let (sa, sb, sc) = (a_strides, b_strides, c_strides);
        let ahead = [(a, 0); 3];
        let (d, sd) = (Src::new(c.at(0)), sc);
        let problem = Problem { m, n, k, alpha, a, sa, b, sb, beta, c, sc, d, sd, ahead };
        let (steps, each) = ([a_step, b_step, c_step], BATCH_GRAIN / work);
        crate::parallel::for_each(batch.div_ceil(each), |task| {
            let (first, last) = (task * each, batch.min((task + 1) * each));
            super::multiversion::run_narrow(tiny::Tiny { problem, steps, first, last });
        });
        return;
    }
    // Matrices of the next member without gaps.
    let dense = |s: Strides, rows: usize, columns: usize| {
        s == lines(columns) || s == (Strides { row: 1, column: rows as isize })
    };
    let count = |s, rows, columns| if dense(s, rows, columns) { rows * columns } else { 0 };
    let counts = [count(a_strides, m, k), count(b_strides, k, n), count(c_strides, m, n)];
    let member = |i: usize, split: bool| {
        let counts = if i + 1 < batch { counts } else { [0; 3] };
        let i = i as isize;
        let next =
            [a.at((i + 1) * a_step), b.at((i + 1) * b_step), c.at((i + 1) * c_step).cast_const()];
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
            d: Src::new(c.at(i * c_step)),
            sd: c_strides,
            ahead: [0, 1, 2].map(|which| (Src::new(next[which]), counts[which])),
        };
        // SAFETY: the caller vouches for every member.
        unsafe { problem.run(split) };
    };
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
    /// What beta multiplies: c, or what takes its place.
    d: Src<T>,
    sd: Strides,
    /// Memory that is wanted soon, and how many elements of it.
    ahead: [(Src<T>, usize); 3],
}

impl<T: Float> Problem<T> {
    /// # Safety
    /// See [`gemm`].
    unsafe fn run(self, split: bool) {
        let Self { m, n, k, .. } = self;
        if k == 0 {
            // SAFETY: c is the caller's.
            unsafe { self.scale() };
        // SAFETY: the caller's promise is passed on.
        } else if unsafe { self.vectors(split) } {
        } else if m == 1 || n == 1 || k == 1 || m * n * k <= SMALL {
            // SAFETY: the caller's promise is passed on.
            unsafe {
                if self.beta != T::ZERO && self.d.at(0) != self.c.at(0).cast_const() {
                    self.scale();
                    small::run(&Self { beta: T::ONE, ..self }, split);
                } else {
                    small::run(&self, split);
                }
            }
        } else {
            // SAFETY: the caller's promise is passed on.
            unsafe { blocked::best(&self, split) };
        }
    }

    /// Products of vectors, and of few lines along the sum; whether this was one.
    ///
    /// # Safety
    /// See [`gemm`].
    unsafe fn vectors(&self, split: bool) -> bool {
        let Self { m, n, k, .. } = *self;
        // SAFETY: the caller's promise is passed on.
        unsafe {
            if k == 1 {
                vector::outer(self, split)
            } else if m == 1 || n == 1 {
                vector::run(self, split)
            } else {
                vector::thin(self, split) || dots::run(self, split)
            }
        }
    }

    /// `c = beta * d`
    unsafe fn scale(&self) {
        for i in 0..self.m as isize {
            for j in 0..self.n as isize {
                let c = self.c.at(i * self.sc.row + j * self.sc.column);
                let d = self.d.at(i * self.sd.row + j * self.sd.column);
                // SAFETY: within c and d, which is read only if beta says so.
                unsafe {
                    *c = if self.beta == T::ZERO { T::ZERO } else { self.beta * *d };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
