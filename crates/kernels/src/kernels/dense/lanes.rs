//! Small matrices, several at a time: each in its own lane of all vectors. What a matrix becomes does not
//! depend on its neighbours.

use crate::kernels::matmul::Float;
use crate::kernels::multiversion::{self, Job};

/// Matrices at a time.
pub const LANES: usize = 8;
/// Rows and columns at most.
pub const MOST: usize = 12;

pub(super) type Lane<T> = [T; LANES];
pub(super) type Square<T> = [Lane<T>; MOST * MOST];

/// Reads matrices of `m` × `n` that lie one after the other; lanes that are left over hold zeros.
#[inline(always)]
pub(super) fn load<T: Float>(from: &[T], size: usize, to: &mut [Lane<T>]) {
    for (lane, matrix) in from.chunks_exact(size).enumerate() {
        for (to, &x) in to.iter_mut().zip(matrix) {
            to[lane] = x;
        }
    }
}

#[inline(always)]
fn store<T: Float>(from: &[Lane<T>], size: usize, to: &mut [T]) {
    for (lane, matrix) in to.chunks_exact_mut(size).enumerate() {
        for (to, from) in matrix.iter_mut().zip(from) {
            *to = from[lane];
        }
    }
}

#[inline(always)]
pub(super) fn each<T: Float, R: Copy>(f: impl Fn(usize) -> R, zero: R) -> [R; LANES] {
    let _: Option<T> = None;
    let mut all = [zero; LANES];
    for l in 0..LANES {
        all[l] = f(l);
    }
    all
}

/// `a -= b c`.
#[inline(always)]
fn less<T: Float>(a: &mut Lane<T>, b: &Lane<T>, c: &Lane<T>) {
    for l in 0..LANES {
        a[l] = a[l] - b[l] * c[l];
    }
}

/// Up to [`LANES`] square matrices one after the other.
#[derive(Debug)]
pub struct Few<'a, T> {
    /// Rows and columns, at most [`MOST`].
    pub n: usize,
    /// The matrices.
    pub a: &'a mut [T],
}

struct Lu<'a, T> {
    few: Few<'a, T>,
    swaps: &'a mut [usize],
}

impl<T: Float> Job for Lu<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Few { n, a: all } = self.few;
        let mut a: Square<T> = [[T::ZERO; LANES]; MOST * MOST];
        load(all, n * n, &mut a);
        for k in 0..n {
            let mut most = each::<T, T>(|l| a[k * n + k][l].abs(), T::ZERO);
            let mut best = [k as u32; LANES];
            for i in k + 1..n {
                for l in 0..LANES {
                    let size = a[i * n + k][l].abs();
                    let greater = size > most[l];
                    most[l] = if greater { size } else { most[l] };
                    best[l] = if greater { i as u32 } else { best[l] };
                }
            }
            for (lane, swaps) in self.swaps.chunks_exact_mut(n).enumerate() {
                swaps[k] = best[lane] as usize;
            }
            for i in k + 1..n {
                for j in 0..n {
                    let (x, y) = (a[k * n + j], a[i * n + j]);
                    for l in 0..LANES {
                        let here = best[l] == i as u32;
                        a[k * n + j][l] = if here { y[l] } else { x[l] };
                        a[i * n + j][l] = if here { x[l] } else { y[l] };
                    }
                }
            }
            let pivot = a[k * n + k];
            for i in k + 1..n {
                let own = a[i * n + k];
                let factor = each::<T, T>(
                    |l| if pivot[l] == T::ZERO { T::ZERO } else { own[l] / pivot[l] },
                    T::ZERO,
                );
                for l in 0..LANES {
                    a[i * n + k][l] = if pivot[l] == T::ZERO { own[l] } else { factor[l] };
                }
                for j in k + 1..n {
                    let row = a[k * n + j];
                    less(&mut a[i * n + j], &factor, &row);
                }
            }
        }
        store(&a, n * n, all);
    }
}

/// As [`lu`](super::lu) of each matrix.
///
/// # Panics
/// If they do not fit.
pub fn lu_of_few<T: Float>(few: Few<'_, T>, swaps: &mut [usize]) {
    let count = few.a.len() / (few.n * few.n);
    assert!(few.n <= MOST && count <= LANES && swaps.len() == count * few.n);
    multiversion::run(Lu { few, swaps });
}

struct Solve<'a, T> {
    n: usize,
    k: usize,
    packed: &'a [T],
    swaps: &'a [usize],
    b: &'a mut [T],
}

impl<T: Float> Job for Solve<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { n, k, packed, swaps, b: all } = self;
        let mut a: Square<T> = [[T::ONE; LANES]; MOST * MOST];
        load(packed, n * n, &mut a);
        for from in (0..k).step_by(MOST) {
            let wide = (k - from).min(MOST);
            let mut b: Square<T> = [[T::ZERO; LANES]; MOST * MOST];
            for (lane, (matrix, swaps)) in
                all.chunks_exact(n * k).zip(swaps.chunks_exact(n)).enumerate()
            {
                let mut order: [usize; MOST] = std::array::from_fn(|i| i);
                for (i, &other) in swaps.iter().enumerate() {
                    order.swap(i, other);
                }
                for i in 0..n {
                    for j in 0..wide {
                        b[i * wide + j][lane] = matrix[order[i] * k + from + j];
                    }
                }
            }
            for i in 1..n {
                for other in 0..i {
                    let factor = a[i * n + other];
                    for j in 0..wide {
                        let row = b[other * wide + j];
                        less(&mut b[i * wide + j], &factor, &row);
                    }
                }
            }
            for i in (0..n).rev() {
                for other in (i + 1..n).rev() {
                    let factor = a[i * n + other];
                    for j in 0..wide {
                        let row = b[other * wide + j];
                        less(&mut b[i * wide + j], &factor, &row);
                    }
                }
                let pivot = a[i * n + i];
                for j in 0..wide {
                    for l in 0..LANES {
                        b[i * wide + j][l] = b[i * wide + j][l] / pivot[l];
                    }
                }
            }
            for (lane, matrix) in all.chunks_exact_mut(n * k).enumerate() {
                for i in 0..n {
                    for j in 0..wide {
                        matrix[i * k + from + j] = b[i * wide + j][lane];
                    }
                }
            }
        }
    }
}

/// `A x = b` for each matrix, with what [`lu_of_few`] gave, in the place of `b`, n × k each.
///
/// # Panics
/// If they do not fit.
pub fn solve_few<T: Float>((n, k): (usize, usize), packed: &[T], swaps: &[usize], b: &mut [T]) {
    let count = packed.len() / (n * n);
    assert!(n <= MOST && count <= LANES && swaps.len() == count * n && b.len() == count * n * k);
    assert!(swaps.iter().all(|&other| other < n));
    multiversion::run(Solve { n, k, packed, swaps, b });
}

struct Cholesky<'a, T> {
    few: Few<'a, T>,
    failed: &'a mut [usize],
}

impl<T: Float> Job for Cholesky<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Few { n, a: all } = self.few;
        let mut a: Square<T> = [[T::ZERO; LANES]; MOST * MOST];
        load(all, n * n, &mut a);
        let mut failed = [0u32; LANES];
        for j in 0..n {
            let own = a[j * n + j];
            let mut root = [T::ZERO; LANES];
            for l in 0..LANES {
                // A number that is none is not positive either.
                let fine = own[l] > T::ZERO && failed[l] == 0;
                failed[l] = if fine || failed[l] > 0 { failed[l] } else { j as u32 + 1 };
                root[l] = own[l].sqrt();
                a[j * n + j][l] = root[l];
            }
            for i in j + 1..n {
                for l in 0..LANES {
                    a[i * n + j][l] = a[i * n + j][l] / root[l];
                }
            }
            for i in j + 1..n {
                let factor = a[i * n + j];
                for other in j + 1..=i {
                    let row = a[other * n + j];
                    less(&mut a[i * n + other], &factor, &row);
                }
            }
        }
        store(&a, n * n, all);
        for (to, failed) in self.failed.iter_mut().zip(failed) {
            *to = failed as usize;
        }
        for (matrix, &failed) in all.chunks_exact_mut(n * n).zip(&*self.failed) {
            let done = if failed > 0 { failed - 1 } else { n };
            for (i, row) in matrix.chunks_exact_mut(n).enumerate() {
                let kept = done.min(i + 1);
                row[kept..].fill(T::ZERO);
            }
        }
    }
}

/// The lower factor of each matrix, of which the lower triangle is read, in its place; of each zero, or the
/// order of the first minor that is not positive. What was not reached is zero.
///
/// # Panics
/// If they do not fit.
pub fn cholesky_of_few<T: Float>(few: Few<'_, T>, failed: &mut [usize]) {
    let count = few.a.len() / (few.n * few.n);
    assert!(few.n <= MOST && count <= LANES && failed.len() == count);
    multiversion::run(Cholesky { few, failed });
}

struct Qr<'a, T> {
    size: (usize, usize, usize),
    a: &'a [T],
    q: &'a mut [T],
    r: &'a mut [T],
    unfinished: &'a mut [bool],
}

impl<T: Float> Job for Qr<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let (m, n, k) = self.size;
        let mut a: Square<T> = [[T::ZERO; LANES]; MOST * MOST];
        for (lane, matrix) in self.a.chunks_exact(m * n).enumerate() {
            for i in 0..m {
                for j in 0..n {
                    a[j * m + i][lane] = matrix[i * n + j];
                }
            }
        }
        let tiny = T::from_f64(if size_of::<T>() == 4 { 1e-26 } else { 1e-260 });
        let huge = T::from_f64(if size_of::<T>() == 4 { 1e26 } else { 1e260 });
        let mut bad = [false; LANES];
        let count = m.min(n);
        let mut factors = [[T::ZERO; LANES]; MOST];
        let mut diagonal = [[T::ZERO; LANES]; MOST];
        for j in 0..count {
            let (mut square, mut most) = ([T::ZERO; LANES], [T::ZERO; LANES]);
            for i in j + 1..m {
                let x = &a[j * m + i];
                for l in 0..LANES {
                    square[l] += x[l] * x[l];
                    let size = x[l].abs();
                    most[l] = if size > most[l] { size } else { most[l] };
                }
            }
            let first = a[j * m + j];
            let mut scale = [T::ZERO; LANES];
            for l in 0..LANES {
                let all = first[l] * first[l] + square[l];
                let none = most[l] == T::ZERO;
                bad[l] |= !(none || (square[l] > tiny && all < huge));
                let norm = all.sqrt();
                let image = if first[l] > T::ZERO { -norm } else { norm };
                scale[l] = if none { T::ZERO } else { T::ONE / (first[l] - image) };
                factors[j][l] = if none { T::ZERO } else { (image - first[l]) / image };
                diagonal[j][l] = if none { first[l] } else { image };
            }
            a[j * m + j] = [T::ONE; LANES];
            for i in j + 1..m {
                for l in 0..LANES {
                    a[j * m + i][l] = a[j * m + i][l] * scale[l];
                }
            }
            for other in j + 1..n {
                let share = share(&a, &a, (j * m, other * m), (j, m), &factors[j]);
                for i in j..m {
                    let v = a[j * m + i];
                    less(&mut a[other * m + i], &share, &v);
                }
            }
        }
        let mut q: Square<T> = [[T::ZERO; LANES]; MOST * MOST];
        for i in 0..k {
            q[i * m + i] = [T::ONE; LANES];
        }
        for j in (0..count).rev() {
            for other in j..k {
                let share = share(&a, &q, (j * m, other * m), (j, m), &factors[j]);
                for i in j..m {
                    let v = a[j * m + i];
                    less(&mut q[other * m + i], &share, &v);
                }
            }
        }
        for (lane, to) in self.q.chunks_exact_mut(m * k).enumerate() {
            for i in 0..m {
                for j in 0..k {
                    to[i * k + j] = q[j * m + i][lane];
                }
            }
        }
        for (lane, to) in self.r.chunks_exact_mut(k * n).enumerate() {
            for i in 0..k {
                for j in 0..n {
                    to[i * n + j] = if j < i {
                        T::ZERO
                    } else if j == i && i < count {
                        diagonal[i][lane]
                    } else {
                        a[j * m + i][lane]
                    };
                }
            }
            self.unfinished[lane] = bad[lane];
        }
    }
}

/// The inner products of two columns, times the factors.
#[inline(always)]
fn share<T: Float>(
    a: &Square<T>,
    b: &Square<T>,
    (x, y): (usize, usize),
    (from, to): (usize, usize),
    factors: &Lane<T>,
) -> Lane<T> {
    let mut sum = [T::ZERO; LANES];
    for i in from..to {
        for l in 0..LANES {
            sum[l] += a[x + i][l] * b[y + i][l];
        }
    }
    each::<T, T>(|l| factors[l] * sum[l], T::ZERO)
}

/// As [`qr`](super::qr) of each matrix, m × n with `k` columns of Q. Tells of each whether its elements are
/// so far from one that it is still to be done.
///
/// # Panics
/// If they do not fit.
pub fn qr_of_few<T: Float>(
    size: (usize, usize, usize),
    a: &[T],
    q: &mut [T],
    r: &mut [T],
    unfinished: &mut [bool],
) {
    let (m, n, k) = size;
    let count = a.len() / (m * n);
    assert!(m.max(n) <= MOST && k <= m && count <= LANES && unfinished.len() == count);
    assert!(q.len() == count * m * k && r.len() == count * k * n && k >= m.min(n));
    multiversion::run(Qr { size, a, q, r, unfinished });
}
