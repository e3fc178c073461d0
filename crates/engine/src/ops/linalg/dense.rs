//! Decompositions of small dense matrices, row by row in double precision.

/// A matrix in rows.
#[derive(Clone)]
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) data: Vec<f64>,
}

impl std::ops::Index<(usize, usize)> for Matrix {
    type Output = f64;
    #[inline]
    fn index(&self, (i, j): (usize, usize)) -> &f64 {
        &self.data[i * self.columns + j]
    }
}

impl std::ops::IndexMut<(usize, usize)> for Matrix {
    #[inline]
    fn index_mut(&mut self, (i, j): (usize, usize)) -> &mut f64 {
        &mut self.data[i * self.columns + j]
    }
}

impl Matrix {
    pub(super) fn new(rows: usize, columns: usize, data: &[f64]) -> Self {
        Self { rows, columns, data: data.to_vec() }
    }

    pub(super) fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, data: vec![0.0; rows * columns] }
    }

    pub(super) fn eye(n: usize) -> Self {
        let mut matrix = Self::zeros(n, n);
        for i in 0..n {
            matrix[(i, i)] = 1.0;
        }
        matrix
    }

    pub(super) fn transposed(&self) -> Self {
        let mut turned = Self::zeros(self.columns, self.rows);
        for i in 0..self.rows {
            for j in 0..self.columns {
                turned[(j, i)] = self[(i, j)];
            }
        }
        turned
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.data[i * self.columns..(i + 1) * self.columns]
    }

    fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.data[i * self.columns..(i + 1) * self.columns]
    }

    fn swap_rows(&mut self, i: usize, j: usize) {
        if i != j {
            let n = self.columns;
            let (low, high) = self.data.split_at_mut(i.max(j) * n);
            low[i.min(j) * n..][..n].swap_with_slice(&mut high[..n]);
        }
    }

    /// Row `i` less `factor` times row `j`, from column `from` on.
    fn subtract(&mut self, i: usize, j: usize, factor: f64, from: usize) {
        if factor == 0.0 {
            return;
        }
        let n = self.columns;
        let (low, high) = self.data.split_at_mut(i.max(j) * n);
        let (target, source) = if i > j {
            (&mut high[..n], &low[j * n..][..n])
        } else {
            (&mut low[i * n..][..n], &high[..n])
        };
        for (a, b) in target[from..].iter_mut().zip(&source[from..]) {
            *a -= factor * b;
        }
    }
}

/// The inner product, in eight sums that the processor can keep apart.
fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
    let rest: f64 = xs.remainder().iter().zip(ys.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in xs.zip(ys) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// `P A = L U` with partial pivoting, by Gauss.
pub(super) struct Lu {
    /// L below the diagonal, its ones left out, and U.
    pub(super) packed: Matrix,
    /// The row that was exchanged with each.
    pub(super) swaps: Vec<usize>,
    /// Whether the permutation is odd.
    pub(super) odd: bool,
    /// One more than the place of the first zero on the diagonal of U, if there is one.
    pub(super) singular: usize,
}

impl Lu {
    pub(super) fn new(mut a: Matrix) -> Self {
        let k = a.rows.min(a.columns);
        let (mut swaps, mut odd, mut singular) = (Vec::with_capacity(k), false, 0);
        for j in 0..k {
            let mut best = j;
            for i in j + 1..a.rows {
                if a[(i, j)].abs() > a[(best, j)].abs() {
                    best = i;
                }
            }
            swaps.push(best);
            if best != j {
                odd = !odd;
                a.swap_rows(best, j);
            }
            let pivot = a[(j, j)];
            if pivot == 0.0 {
                if singular == 0 {
                    singular = j + 1;
                }
                continue;
            }
            for i in j + 1..a.rows {
                let factor = a[(i, j)] / pivot;
                a[(i, j)] = factor;
                a.subtract(i, j, factor, j + 1);
            }
        }
        Self { packed: a, swaps, odd, singular }
    }

    /// `A x = b`, for all columns of `b`.
    pub(super) fn solve(&self, mut b: Matrix) -> Matrix {
        let n = self.packed.rows;
        for (i, &j) in self.swaps.iter().enumerate() {
            b.swap_rows(i, j);
        }
        substitute(&self.packed, &mut b, false, true);
        substitute(&self.packed, &mut b, true, false);
        debug_assert_eq!(b.rows, n);
        b
    }

    /// Which row of A stands at each place of `P A`.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.packed.rows).collect();
        for (i, &j) in self.swaps.iter().enumerate() {
            order.swap(i, j);
        }
        order
    }
}

/// `T x = b` in the place of `b`, with a triangle of `a` for T.
pub(super) fn substitute(a: &Matrix, b: &mut Matrix, upper: bool, unit: bool) {
    let n = a.rows;
    for step in 0..n {
        let i = if upper { n - 1 - step } else { step };
        let others = if upper { i + 1..n } else { 0..i };
        for j in others {
            b.subtract(i, j, a[(i, j)], 0);
        }
        if !unit {
            let pivot = a[(i, i)];
            for x in b.row_mut(i) {
                *x /= pivot;
            }
        }
    }
}

/// The lower Cholesky factor; `Err` tells the order of the minor that is not positive.
pub(super) fn cholesky(a: &Matrix) -> (Matrix, usize) {
    let n = a.rows;
    let mut l = Matrix::zeros(n, n);
    for j in 0..n {
        for i in j..n {
            let sum = dot(&l.row(i)[..j], &l.row(j)[..j]);
            let value = a[(i, j)] - sum;
            if i > j {
                l[(i, j)] = value / l[(j, j)];
            } else if value > 0.0 {
                l[(j, j)] = value.sqrt();
            } else {
                return (l, j + 1);
            }
        }
    }
    (l, 0)
}

/// Q with as many columns as asked for, and R, by Householder's reflections.
pub(super) fn qr(mut a: Matrix, columns: usize) -> (Matrix, Matrix) {
    let (m, n) = (a.rows, a.columns);
    let k = m.min(n);
    let mut reflections: Vec<(Vec<f64>, f64)> = Vec::with_capacity(k);
    for j in 0..k {
        let mut v: Vec<f64> = (j..m).map(|i| a[(i, j)]).collect();
        let below: f64 = v[1..].iter().map(|x| x * x).sum();
        if below == 0.0 {
            reflections.push((v, 0.0));
            continue;
        }
        let norm = v[0].hypot(below.sqrt());
        let image = if v[0] > 0.0 { -norm } else { norm };
        v[0] -= image;
        let factor = 2.0 / (v[0] * v[0] + below);
        reflect(&mut a, &v, factor, j, j);
        a[(j, j)] = image;
        for i in j + 1..m {
            a[(i, j)] = 0.0;
        }
        reflections.push((v, factor));
    }
    let mut q = Matrix::zeros(m, columns);
    for i in 0..columns.min(m) {
        q[(i, i)] = 1.0;
    }
    for (j, (v, factor)) in reflections.iter().enumerate().rev() {
        reflect(&mut q, v, *factor, j, 0);
    }
    let mut r = Matrix::zeros(columns, n);
    for i in 0..columns.min(m) {
        r.row_mut(i)[i.min(n)..].copy_from_slice(&a.row(i)[i.min(n)..]);
    }
    (q, r)
}

/// `(1 - factor v v^T) a` over the rows from `top` on and the columns from `left` on.
fn reflect(a: &mut Matrix, v: &[f64], factor: f64, top: usize, left: usize) {
    if factor == 0.0 {
        return;
    }
    let mut sums = vec![0.0; a.columns];
    for (i, &x) in v.iter().enumerate() {
        for (sum, y) in sums[left..].iter_mut().zip(&a.row(top + i)[left..]) {
            *sum += x * y;
        }
    }
    for (i, &x) in v.iter().enumerate() {
        for (y, sum) in a.row_mut(top + i)[left..].iter_mut().zip(&sums[left..]) {
            *y -= factor * x * sum;
        }
    }
}

/// Turns two rows of a matrix into each other: `(c x - s y, s x + c y)`.
fn rotate(a: &mut Matrix, p: usize, q: usize, c: f64, s: f64) {
    let n = a.columns;
    let (low, high) = a.data.split_at_mut(q * n);
    for (x, y) in low[p * n..][..n].iter_mut().zip(&mut high[..n]) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}

/// Cosine and sine of the rotation that makes `[[a, b], [b, d]]` diagonal.
fn rotation(a: f64, b: f64, d: f64) -> (f64, f64) {
    let theta = (d - a) / (2.0 * b);
    let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let c = 1.0 / t.hypot(1.0);
    (c, t * c)
}

/// More rounds than any of the iterations needs for a size that fits into memory.
const ROUNDS: usize = 60;

/// A symmetric matrix as `Q T Q^T` with T of three diagonals, by Householder's reflections: the
/// diagonal, the one beside it, and the transpose of Q.
fn tridiagonal(mut a: Matrix) -> (Vec<f64>, Vec<f64>, Matrix) {
    let n = a.rows;
    let mut reflections: Vec<(Vec<f64>, f64)> = Vec::new();
    let mut beside = vec![0.0; n];
    for k in 0..n.saturating_sub(1) {
        let top = k + 1;
        let mut v: Vec<f64> = (top..n).map(|i| a[(i, k)]).collect();
        let below: f64 = v[1..].iter().map(|x| x * x).sum();
        if below == 0.0 {
            beside[k] = v[0];
            reflections.push((v, 0.0));
            continue;
        }
        let norm = v[0].hypot(below.sqrt());
        let image = if v[0] > 0.0 { -norm } else { norm };
        v[0] -= image;
        beside[k] = image;
        let factor = 2.0 / (v[0] * v[0] + below);
        // From both sides at once: A - v w^T - w v^T.
        let mut w: Vec<f64> = (top..n).map(|i| factor * dot(&v, &a.row(i)[top..])).collect();
        let share = 0.5 * factor * dot(&v, &w);
        for (x, y) in w.iter_mut().zip(&v) {
            *x -= share * y;
        }
        for i in 0..v.len() {
            let (vi, wi) = (v[i], w[i]);
            for ((x, vj), wj) in a.row_mut(top + i)[top..].iter_mut().zip(&v).zip(&w) {
                *x -= vi * wj + wi * vj;
            }
        }
        reflections.push((v, factor));
    }
    let diagonal = (0..n).map(|i| a[(i, i)]).collect();
    let mut q = Matrix::eye(n);
    for (k, (v, factor)) in reflections.iter().enumerate().rev() {
        reflect(&mut q, v, *factor, k + 1, 0);
    }
    (diagonal, beside, q.transposed())
}

/// Ascending eigenvalues of a symmetric matrix, and the eigenvectors in rows: QL steps with implicit
/// shifts on three diagonals (Golub & Van Loan, *Matrix Computations*, section 8.3).
pub(super) fn eigh(a: Matrix) -> (Vec<f64>, Matrix) {
    let n = a.rows;
    let (mut d, mut e, mut vectors) = tridiagonal(a);
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
            for i in (first..last).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let length = f.hypot(bulge);
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
                rotate(&mut vectors, i, i + 1, c, s);
            }
            if finished {
                d[first] -= shift;
                e[first] = bulge;
                e[last] = 0.0;
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| d[i].total_cmp(&d[j]));
    let mut sorted = Matrix::zeros(n, n);
    for (to, &from) in order.iter().enumerate() {
        sorted.row_mut(to).copy_from_slice(vectors.row(from));
    }
    (order.iter().map(|&i| d[i]).collect(), sorted)
}

/// U in columns, descending singular values, V in rows; reduced, or with `full` square. By the
/// one-sided method of Hestenes on the rows of the shorter side.
pub(super) fn svd(a: &Matrix, full: bool) -> (Matrix, Vec<f64>, Matrix) {
    if a.rows > a.columns {
        let (u, s, v) = svd(&a.transposed(), full);
        return (v.transposed(), s, u.transposed());
    }
    let (m, n) = (a.rows, a.columns);
    // Rows are made orthogonal: `turn a = diag(s) v`. A triangle first, so that rows are short.
    let (q, r) = if n > m { qr(a.transposed(), m) } else { (Matrix::eye(n), a.transposed()) };
    let mut work = r.transposed();
    let mut turn = Matrix::eye(m);
    for _ in 0..ROUNDS {
        let mut turned = false;
        let mut squares: Vec<f64> = (0..m).map(|i| dot(work.row(i), work.row(i))).collect();
        for i in 0..m {
            for j in i + 1..m {
                let (xx, yy) = (squares[i], squares[j]);
                let xy = dot(work.row(i), work.row(j));
                if xy == 0.0 || xy.abs() <= f64::EPSILON * (xx * yy).sqrt() {
                    continue;
                }
                turned = true;
                let (c, s) = rotation(xx, xy, yy);
                rotate(&mut work, i, j, c, s);
                rotate(&mut turn, i, j, c, s);
                squares[i] = (xx - s / c * xy).max(0.0);
                squares[j] = yy + s / c * xy;
            }
        }
        if !turned {
            break;
        }
    }
    let norms: Vec<f64> = (0..m).map(|i| dot(work.row(i), work.row(i)).sqrt()).collect();
    let mut order: Vec<usize> = (0..m).collect();
    order.sort_by(|&i, &j| norms[j].total_cmp(&norms[i]));
    let mut u = Matrix::zeros(m, m);
    let mut short = Matrix::zeros(m, m.min(work.columns));
    let largest = order.first().map_or(0.0, |&i| norms[i]);
    let mut rank = 0;
    for (to, &from) in order.iter().enumerate() {
        for i in 0..m {
            u[(i, to)] = turn[(from, i)];
        }
        if norms[from] > largest * f64::EPSILON * 0.01 {
            rank = to + 1;
            for (x, y) in short.row_mut(to).iter_mut().zip(work.row(from)) {
                *x = y / norms[from];
            }
        }
    }
    // Rows without a direction of their own get one beside the others.
    complete(&mut short, rank);
    let mut v = Matrix::zeros(if full { n } else { m }, n);
    for i in 0..m {
        for (j, &x) in short.row(i).iter().enumerate() {
            for l in 0..n {
                v[(i, l)] += x * q[(l, j)];
            }
        }
    }
    if full {
        complete(&mut v, m);
    }
    (u, order.iter().map(|&i| norms[i]).collect(), v)
}

/// Fills the rows from `known` on so that all are orthogonal and of length one.
fn complete(a: &mut Matrix, known: usize) {
    let n = a.columns;
    for at in known..a.rows {
        let mut best: (f64, Vec<f64>) = (-1.0, Vec::new());
        for axis in 0..n {
            let mut candidate = vec![0.0; n];
            candidate[axis] = 1.0;
            for _ in 0..2 {
                for i in 0..at {
                    let share = dot(&candidate, a.row(i));
                    for (x, y) in candidate.iter_mut().zip(a.row(i)) {
                        *x -= share * y;
                    }
                }
            }
            let norm = candidate.iter().map(|x| x * x).sum::<f64>().sqrt();
            if norm > best.0 {
                best = (norm, candidate);
            }
            if norm > 0.5 {
                break;
            }
        }
        let (norm, candidate) = best;
        for (x, y) in a.row_mut(at).iter_mut().zip(candidate) {
            *x = y / norm;
        }
    }
}
