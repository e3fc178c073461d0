//! Symmetric matrices made diagonal, and rows made orthogonal, in double precision.
//!
//! Formula source: Golub & Van Loan, *Matrix Computations*, section 8.3, for three diagonals and QL steps;
//! Hestenes, "Inversion of Matrices by Biorthogonalization and Related Results", 1958, for rows.

use super::qr::orthogonal;
use super::{dot, less};
use crate::kernels::multiversion::{self, Job};

/// More rounds than any of the iterations needs for a size that fits into memory.
const ROUNDS: usize = 60;
/// Columns of the vectors turned at once.
const STRIP: usize = 16;

/// Eigenvalues, in no order, and eigenvectors in rows (none unless `wanted`) of a symmetric n × n matrix,
/// whose elements should be of moderate size: their squares are formed.
pub fn eigen(a: &mut [f64], n: usize, wanted: bool) -> (Vec<f64>, Vec<f64>) {
    let (mut beside, mut factors) = (vec![0.0; n], vec![0.0; n.saturating_sub(1)]);
    multiversion::run(Tridiagonal { a: &mut *a, n, beside: &mut beside, factors: &mut factors });
    let mut diagonal: Vec<f64> = (0..n).map(|i| a[i * n + i]).collect();
    let mut vectors = Vec::new();
    if wanted {
        vectors = vec![0.0; n * n];
        if n > 0 {
            vectors[0] = 1.0;
        }
        if n > 1 {
            let less = n - 1;
            let mut columns = vec![0.0; less * less];
            for (j, column) in columns.chunks_exact_mut(less).enumerate() {
                column[j..].copy_from_slice(&a[j * n + j + 1..(j + 1) * n]);
            }
            let q = orthogonal(&columns, less, &factors, less);
            for (row, column) in vectors.chunks_exact_mut(n).skip(1).zip(q.chunks_exact(less)) {
                row[1..].copy_from_slice(column);
            }
        }
    }
    steps(&mut diagonal, &mut beside, &mut vectors, n);
    (diagonal, vectors)
}

/// Reflections from both sides: the diagonal stays in `a`, the vectors in its rows beside the diagonal.
struct Tridiagonal<'a> {
    a: &'a mut [f64],
    n: usize,
    beside: &'a mut [f64],
    factors: &'a mut [f64],
}

impl Job for Tridiagonal<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let n = self.n;
        let mut shares = vec![0.0; n];
        for k in 0..self.factors.len() {
            let (done, rest) = self.a.split_at_mut((k + 1) * n);
            let v = &mut done[k * n + k + 1..];
            let below = dot(&v[1..], &v[1..]);
            if below == 0.0 {
                self.beside[k] = v[0];
                continue;
            }
            let norm = (v[0] * v[0] + below).sqrt();
            let image = if v[0] > 0.0 { -norm } else { norm };
            v[0] -= image;
            self.beside[k] = image;
            let factor = 2.0 / (v[0] * v[0] + below);
            self.factors[k] = factor;
            // From both sides at once: A - v w^T - w v^T.
            let w = &mut shares[..n - k - 1];
            for (w, row) in w.iter_mut().zip(rest.chunks_exact(n)) {
                *w = factor * dot(v, &row[k + 1..]);
            }
            less(w, 0.5 * factor * dot(v, w), v);
            for (i, row) in rest.chunks_exact_mut(n).enumerate() {
                let (vi, wi) = (v[i], w[i]);
                for ((x, vj), wj) in row[k + 1..].iter_mut().zip(&*v).zip(&*w) {
                    *x -= vi * wj + wi * vj;
                }
            }
        }
    }
}

/// QL steps with implicit shifts; each turns the vectors, if there are any.
fn steps(d: &mut [f64], e: &mut [f64], vectors: &mut [f64], n: usize) {
    let mut turns: Vec<(f64, f64)> = Vec::with_capacity(n);
    for first in 0..n {
        for _ in 0..ROUNDS {
            // Where the part that still hangs together ends.
            let last = (first..n - 1)
                .find(|&i| e[i].abs() <= 0.5 * f64::EPSILON * (d[i].abs() + d[i + 1].abs()))
                .unwrap_or(n - 1);
            if last == first {
                break;
            }
            let half = (d[first + 1] - d[first]) / (2.0 * e[first]);
            let root = half.hypot(1.0);
            let mut bulge = d[last] - d[first] + e[first] / (half + root.copysign(half));
            let (mut c, mut s, mut shift) = (1.0, 1.0, 0.0);
            let mut finished = true;
            turns.clear();
            for i in (first..last).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let length = (f * f + bulge * bulge).sqrt();
                e[i + 1] = length;
                if length == 0.0 {
                    d[i + 1] -= shift;
                    e[last] = 0.0;
                    finished = false;
                    break;
                }
                (s, c) = (f / length, bulge / length);
                let near = d[i + 1] - shift;
                let turn = (d[i] - near) * s + 2.0 * c * b;
                shift = s * turn;
                d[i + 1] = near + shift;
                bulge = c * turn - b;
                turns.push((c, s));
            }
            if !vectors.is_empty() && !turns.is_empty() {
                multiversion::run(Wave { vectors: &mut *vectors, n, last, turns: &turns });
            }
            if finished {
                d[first] -= shift;
                e[first] = bulge;
                e[last] = 0.0;
            }
        }
    }
}

/// Rows turned into each other: `last - 1` and `last`, then `last - 2` and `last - 1`, and so on.
struct Wave<'a> {
    vectors: &'a mut [f64],
    n: usize,
    last: usize,
    turns: &'a [(f64, f64)],
}

impl Job for Wave<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { vectors, n, last, turns } = self;
        let whole = n - n % STRIP;
        for at in (0..whole).step_by(STRIP) {
            let mut carried = [0.0; STRIP];
            carried.copy_from_slice(&vectors[last * n + at..][..STRIP]);
            for (i, &(c, s)) in turns.iter().enumerate() {
                let row = (last - i) * n + at;
                let mut above = [0.0; STRIP];
                above.copy_from_slice(&vectors[row - n..][..STRIP]);
                let mut made = [0.0; STRIP];
                for l in 0..STRIP {
                    made[l] = s * above[l] + c * carried[l];
                    carried[l] = c * above[l] - s * carried[l];
                }
                vectors[row..][..STRIP].copy_from_slice(&made);
            }
            vectors[(last - turns.len()) * n + at..][..STRIP].copy_from_slice(&carried);
        }
        if whole < n {
            for (i, &(c, s)) in turns.iter().enumerate() {
                let (low, high) = vectors.split_at_mut((last - i) * n);
                let above = &mut low[(last - i - 1) * n + whole..];
                turn(above, &mut high[whole..n], c, s);
            }
        }
    }
}

/// `(c x - s y, s x + c y)`.
#[inline(always)]
fn turn(x: &mut [f64], y: &mut [f64], c: f64, s: f64) {
    for (x, y) in x.iter_mut().zip(y) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}

/// Turns `n` rows of `width` elements, of moderate size, into each other until they are orthogonal, and
/// those of `turned`, n × n, along.
pub fn orthogonalize(rows: &mut [f64], n: usize, width: usize, turned: &mut [f64]) {
    if n > 0 && width > 0 {
        multiversion::run(Rows { rows, n, width, turned });
    }
}

struct Rows<'a> {
    rows: &'a mut [f64],
    n: usize,
    width: usize,
    turned: &'a mut [f64],
}

impl Job for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { rows, n, width, turned } = self;
        // Below it the cosine of two rows is rounding.
        let limit = f64::EPSILON * (width as f64).sqrt();
        for _ in 0..ROUNDS {
            let mut moved = false;
            let mut squares: Vec<f64> = rows.chunks_exact(width).map(|row| dot(row, row)).collect();
            for i in 0..n {
                let (low, high) = rows.split_at_mut((i + 1) * width);
                let own = &mut low[i * width..];
                let (turned_low, turned_high) = turned.split_at_mut((i + 1) * n);
                let own_turned = &mut turned_low[i * n..];
                let others = high.chunks_exact_mut(width).zip(turned_high.chunks_exact_mut(n));
                for (j, (other, other_turned)) in others.enumerate() {
                    let j = i + 1 + j;
                    let (xx, yy) = (squares[i], squares[j]);
                    let xy = dot(own, other);
                    if xy == 0.0 || xy.abs() <= limit * (xx * yy).sqrt() {
                        continue;
                    }
                    moved = true;
                    let theta = (yy - xx) / (2.0 * xy);
                    let t = 1.0_f64.copysign(theta) / (theta.abs() + (theta * theta + 1.0).sqrt());
                    let c = 1.0 / (t * t + 1.0).sqrt();
                    let s = t * c;
                    turn(own, other, c, s);
                    turn(own_turned, other_turned, c, s);
                    squares[i] = (xx - t * xy).max(0.0);
                    squares[j] = yy + t * xy;
                }
            }
            if !moved {
                break;
            }
        }
    }
}
