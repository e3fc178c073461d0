//! Eigenvalues and singular values of small matrices, several at a time: each in its own lane of all vectors.
//!
//! Formula source: Golub & Van Loan, *Matrix Computations*, section 8.5, for Jacobi's rotations; Hestenes,
//! "Inversion of Matrices by Biorthogonalization and Related Results", 1958, for those of one side.

use super::lanes::{LANES, Lane, MOST, Square, each, load};
use crate::kernels::matmul::Float;
use crate::kernels::multiversion::{self, Job};

/// Sweeps of rotations; six suffice for this size.
const SWEEPS: usize = 20;

/// Turns two: `(c x - s y, s x + c y)`.
#[inline(always)]
fn turn<T: Float>(all: &mut [Lane<T>], x: usize, y: usize, c: &Lane<T>, s: &Lane<T>) {
    let (a, b) = (all[x], all[y]);
    for l in 0..LANES {
        all[x][l] = c[l] * a[l] - s[l] * b[l];
        all[y][l] = s[l] * a[l] + c[l] * b[l];
    }
}

/// Each lane multiplied by a power of two, so that its greatest element is about one; the powers to go back.
#[inline(always)]
fn scale<T: Float>(all: &mut [Lane<T>]) -> (Lane<T>, Lane<T>) {
    let mut back = ([T::ONE; LANES], [T::ONE; LANES]);
    let mut most = [T::ZERO; LANES];
    for x in &*all {
        for l in 0..LANES {
            let size = x[l].abs();
            most[l] = if size > most[l] { size } else { most[l] };
        }
    }
    let range = if size_of::<T>() == 4 { 1e-6..1e6 } else { 1e-60..1e60 };
    for l in 0..LANES {
        let most = most[l].to_f64();
        if most > 0.0 && !range.contains(&most) {
            let half = 2.0_f64.powi(-(most.log2() / 2.0) as i32);
            for x in &mut *all {
                x[l] = T::from_f64(x[l].to_f64() * half * half);
            }
            (back.0[l], back.1[l]) = (T::from_f64(1.0 / half), T::from_f64(1.0 / half));
        }
    }
    back
}

/// The turn that makes `[[a, b], [b, c]]` diagonal: its cosine and sine, none where `b` is nothing.
#[inline(always)]
fn rotation<T: Float>(a: T, b: T, c: T, none: bool) -> (T, T) {
    let two = T::ONE + T::ONE;
    let theta = (c - a) / (two * b);
    let size = theta.abs() + (theta * theta + T::ONE).sqrt();
    let t = T::ONE / size;
    let t = if theta < T::ZERO { -t } else { t };
    let cos = T::ONE / (t * t + T::ONE).sqrt();
    // So great a quotient leaves nothing to turn.
    let none = none || !(size < T::from_f64(1e18));
    if none { (T::ONE, T::ZERO) } else { (cos, t * cos) }
}

/// Places of the values in ascending order.
#[inline(always)]
fn order_of<T: Float>(values: &[Lane<T>], lane: usize, n: usize) -> [usize; MOST] {
    let mut order: [usize; MOST] = std::array::from_fn(|i| i);
    for i in 1..n {
        let mut at = i;
        while at > 0 && values[order[at]][lane] < values[order[at - 1]][lane] {
            order.swap(at, at - 1);
            at -= 1;
        }
    }
    order
}

fn epsilon<T: Float>() -> T {
    T::from_f64(if size_of::<T>() == 4 { f64::from(f32::EPSILON) } else { f64::EPSILON } * 0.5)
}

struct Eigen<'a, T> {
    n: usize,
    a: &'a [T],
    upper: bool,
    values: &'a mut [T],
    vectors: &'a mut [T],
}

impl<T: Float> Job for Eigen<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { n, upper, .. } = self;
        let mut a: Square<T> = [[T::ZERO; LANES]; MOST * MOST];
        load(self.a, n * n, &mut a);
        for i in 0..n {
            for j in 0..i {
                let (to, from) =
                    if upper { (i * n + j, j * n + i) } else { (j * n + i, i * n + j) };
                a[to] = a[from];
            }
        }
        let back = scale(&mut a[..n * n]);
        // Rows of it become the eigenvectors.
        let mut v: Square<T> = [[T::ZERO; LANES]; MOST * MOST];
        for i in 0..n {
            v[i * n + i] = [T::ONE; LANES];
        }
        let wanted = !self.vectors.is_empty();
        let mut whole = [T::ZERO; LANES];
        for x in &a[..n * n] {
            for l in 0..LANES {
                whole[l] += x[l] * x[l];
            }
        }
        let limit = each::<T, T>(|l| whole[l].sqrt() * epsilon::<T>() * T::from_f64(0.05), T::ZERO);
        for _ in 0..SWEEPS {
            let mut moved = false;
            for p in 0..n {
                for q in p + 1..n {
                    let (mut c, mut s) = ([T::ONE; LANES], [T::ZERO; LANES]);
                    let (app, apq, aqq) = (a[p * n + p], a[p * n + q], a[q * n + q]);
                    let mut any = false;
                    for l in 0..LANES {
                        let none = !(apq[l].abs() > limit[l]);
                        any |= !none;
                        (c[l], s[l]) = rotation(app[l], apq[l], aqq[l], none);
                    }
                    if !any {
                        continue;
                    }
                    moved = true;
                    for j in 0..n {
                        turn(&mut a, p * n + j, q * n + j, &c, &s);
                    }
                    for j in 0..n {
                        turn(&mut a, j * n + p, j * n + q, &c, &s);
                    }
                    if wanted {
                        for j in 0..n {
                            turn(&mut v, p * n + j, q * n + j, &c, &s);
                        }
                    }
                }
            }
            if !moved {
                break;
            }
        }
        let mut values = [[T::ZERO; LANES]; MOST];
        for i in 0..n {
            values[i] = each::<T, T>(|l| a[i * n + i][l] * back.0[l] * back.1[l], T::ZERO);
        }
        for (lane, to) in self.values.chunks_exact_mut(n).enumerate() {
            let order = order_of(&values, lane, n);
            for (to, &from) in to.iter_mut().zip(&order) {
                *to = values[from][lane];
            }
            if wanted {
                let to = &mut self.vectors[lane * n * n..][..n * n];
                for j in 0..n {
                    for i in 0..n {
                        to[i * n + j] = v[order[j] * n + i][lane];
                    }
                }
            }
        }
    }
}

/// As [`eigh`](super::eigh) of each matrix; no vectors are wanted if there is no room for them.
///
/// # Panics
/// If they do not fit.
pub fn eigen_of_few<T: Float>(n: usize, a: &[T], upper: bool, values: &mut [T], vectors: &mut [T]) {
    let count = a.len() / (n * n);
    assert!(n <= MOST && count <= LANES && values.len() == count * n);
    assert!(vectors.is_empty() || vectors.len() == a.len());
    multiversion::run(Eigen { n, a, upper, values, vectors });
}

struct Singular<'a, T> {
    m: usize,
    n: usize,
    a: &'a [T],
    values: &'a mut [T],
    left: &'a mut [T],
    right: &'a mut [T],
    /// Matrices with singular values of nothing, whose left vectors are not made.
    unfinished: &'a mut [bool],
}

impl<T: Float> Job for Singular<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { m, n, .. } = self;
        // The shorter side's vectors in rows, made orthogonal.
        let wide = m < n;
        let (count, length) = (m.min(n), m.max(n));
        let mut a: Square<T> = [[T::ZERO; LANES]; MOST * MOST];
        for (lane, matrix) in self.a.chunks_exact(m * n).enumerate() {
            for i in 0..count {
                for j in 0..length {
                    a[i * length + j][lane] = matrix[if wide { i * n + j } else { j * n + i }];
                }
            }
        }
        let back = scale(&mut a[..m * n]);
        let wanted = !self.left.is_empty();
        let mut v: Square<T> = [[T::ZERO; LANES]; MOST * MOST];
        for i in 0..count {
            v[i * count + i] = [T::ONE; LANES];
        }
        let dot = |a: &Square<T>, p: usize, q: usize| {
            let mut sum = [T::ZERO; LANES];
            for j in 0..length {
                let (x, y) = (&a[p * length + j], &a[q * length + j]);
                for l in 0..LANES {
                    sum[l] += x[l] * y[l];
                }
            }
            sum
        };
        let mut squares = [[T::ZERO; LANES]; MOST];
        for i in 0..count {
            squares[i] = dot(&a, i, i);
        }
        let mut whole = [T::ZERO; LANES];
        for square in &squares[..count] {
            for l in 0..LANES {
                whole[l] += square[l];
            }
        }
        let limit = epsilon::<T>() * T::from_f64(1.0 + 0.25 * length as f64);
        // Rows of so little length have no direction that matters.
        let nothing = each::<T, T>(
            |l| whole[l] * epsilon::<T>() * epsilon::<T>() * T::from_f64(0.01),
            T::ZERO,
        );
        for _ in 0..SWEEPS {
            let mut moved = false;
            for p in 0..count {
                for q in p + 1..count {
                    let between = dot(&a, p, q);
                    let (pp, qq) = (dot(&a, p, p), dot(&a, q, q));
                    let (mut c, mut s) = ([T::ONE; LANES], [T::ZERO; LANES]);
                    let mut any = false;
                    for l in 0..LANES {
                        let sizes = (pp[l] * qq[l]).sqrt();
                        let sizes = if sizes > nothing[l] { sizes } else { nothing[l] };
                        let none = !(between[l].abs() > limit * sizes);
                        any |= !none;
                        (c[l], s[l]) = rotation(pp[l], between[l], qq[l], none);
                    }
                    if !any {
                        continue;
                    }
                    moved = true;
                    for j in 0..length {
                        turn(&mut a, p * length + j, q * length + j, &c, &s);
                    }
                    if wanted {
                        for j in 0..count {
                            turn(&mut v, p * count + j, q * count + j, &c, &s);
                        }
                    }
                }
            }
            if !moved {
                break;
            }
        }
        let mut values = [[T::ZERO; LANES]; MOST];
        let mut sizes = [[T::ZERO; LANES]; MOST];
        for i in 0..count {
            let square = dot(&a, i, i);
            values[i] = each::<T, T>(|l| square[l].sqrt(), T::ZERO);
            sizes[i] = each::<T, T>(|l| values[i][l] * back.0[l] * back.1[l], T::ZERO);
        }
        for (lane, to) in self.values.chunks_exact_mut(count).enumerate() {
            let order = order_of(&values, lane, count);
            for (to, &from) in to.iter_mut().rev().zip(&order) {
                *to = sizes[from][lane];
            }
            let (least, most) = (values[order[0]][lane], values[order[count - 1]][lane]);
            self.unfinished[lane] = !(least > most * epsilon::<T>() * T::from_f64(8.0));
            if !wanted || self.unfinished[lane] {
                continue;
            }
            let left = &mut self.left[lane * m * count..][..m * count];
            let right = &mut self.right[lane * n * count..][..n * count];
            for place in 0..count {
                let from = order[count - 1 - place];
                let size = values[from][lane];
                for j in 0..length {
                    let x = a[from * length + j][lane] / size;
                    if wide {
                        right[place * n + j] = x;
                    } else {
                        left[j * count + place] = x;
                    }
                }
                for j in 0..count {
                    let x = v[from * count + j][lane];
                    if wide {
                        left[j * count + place] = x;
                    } else {
                        right[place * n + j] = x;
                    }
                }
            }
        }
    }
}

/// As [`svd`](super::svd), reduced, of each m × n matrix; no vectors are wanted if there is no room for them.
/// Tells of each whether it is close to singular, so that its vectors are still to be made.
///
/// # Panics
/// If they do not fit.
pub fn svd_of_few<T: Float>(
    (m, n): (usize, usize),
    a: &[T],
    values: &mut [T],
    left: &mut [T],
    right: &mut [T],
    unfinished: &mut [bool],
) {
    let (count, k) = (a.len() / (m * n), m.min(n));
    assert!(m.max(n) <= MOST && count <= LANES && values.len() == count * k);
    assert!(left.is_empty() || (left.len() == count * m * k && right.len() == count * k * n));
    assert!(unfinished.len() == count);
    multiversion::run(Singular { m, n, a, values, left, right, unfinished });
}
