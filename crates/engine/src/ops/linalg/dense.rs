//! Decompositions of single matrices in double precision, from the kernels of reflections and rotations.

use crate::kernels::dense::{
    eigen, multiply, orthogonal, orthogonalize, reflect, reflect_longest, restore,
};

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

    fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, data: vec![0.0; rows * columns] }
    }

    pub(super) fn transposed(&self) -> Self {
        /// Rows and columns turned at once, so that few lines of the cache are in use.
        const TILE: usize = 8;
        let mut turned = Self::zeros(self.columns, self.rows);
        for top in (0..self.rows).step_by(TILE) {
            for left in (0..self.columns).step_by(TILE) {
                for j in left..self.columns.min(left + TILE) {
                    for i in top..self.rows.min(top + TILE) {
                        turned[(j, i)] = self[(i, j)];
                    }
                }
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

    /// Multiplied by a power of two so that squares neither overflow nor vanish; returns what the
    /// results are to be multiplied with.
    fn moderate(&mut self) -> f64 {
        let most = self.data.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        if most == 0.0 || (1e-100..1e100).contains(&most) {
            return 1.0;
        }
        // In two steps: the power itself need not be a number.
        let half = 2.0_f64.powi(-(most.log2() / 2.0) as i32);
        for x in &mut self.data {
            *x = *x * half * half;
        }
        1.0 / half
    }
}

/// The inner product.
fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(a, b)| a * b).sum()
}

/// Q with as many columns as asked for, and R, by Householder's reflections.
pub(super) fn qr(a: &Matrix, columns: usize) -> (Matrix, Matrix) {
    let (m, n) = (a.rows, a.columns);
    let mut turned = a.transposed().data;
    let made = reflect(&mut turned, m, m.min(n));
    let q = orthogonal(&turned, m, &made.factors, columns);
    let q = Matrix { rows: columns, columns: m, data: q }.transposed();
    let mut r = Matrix::zeros(columns, n);
    for j in 0..n {
        for i in 0..columns.min(j + 1) {
            r[(i, j)] = if i == j { made.diagonal[i] } else { turned[j * m + i] };
        }
    }
    (q, r)
}

/// Ascending eigenvalues of a symmetric matrix, and the eigenvectors in rows.
pub(super) fn eigh(mut a: Matrix) -> (Vec<f64>, Matrix) {
    let n = a.rows;
    let scale = a.moderate();
    let (values, vectors) = eigen(&mut a.data, n, true);
    let vectors = Matrix { rows: n, columns: n, data: vectors };
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut sorted = Matrix::zeros(n, n);
    for (to, &from) in order.iter().enumerate() {
        sorted.row_mut(to).copy_from_slice(vectors.row(from));
    }
    (order.iter().map(|&i| values[i] * scale * scale).collect(), sorted)
}

/// U in columns, descending singular values, V in rows; reduced, or with `full` square. A triangle is
/// made of the longer side first, with the longest row each time, whose rows are almost orthogonal
/// (Drmac & Veselic, "New Fast and Accurate Jacobi SVD Algorithm", 2008).
pub(super) fn svd(a: &Matrix, full: bool) -> (Matrix, Vec<f64>, Matrix) {
    if a.rows > a.columns {
        let (u, s, v) = svd(&a.transposed(), full);
        return (v.transposed(), s, u.transposed());
    }
    let (m, n) = (a.rows, a.columns);
    let mut a = a.clone();
    let scale = a.moderate();
    // A^T P = Q R, so that R = W^T S T makes A = (P T^T) S (W Q^T).
    let (made, order) = reflect_longest(&mut a.data, n, m, m);
    let mut work = Matrix::zeros(m, m);
    for j in 0..m {
        for i in 0..j {
            work[(i, j)] = a.data[j * n + i];
        }
        work[(j, j)] = made.diagonal[j];
    }
    let mut turned = Matrix::zeros(m, m);
    for i in 0..m {
        turned[(i, i)] = 1.0;
    }
    orthogonalize(&mut work.data, m, m, &mut turned.data);
    let norms: Vec<f64> = (0..m).map(|i| dot(work.row(i), work.row(i)).sqrt()).collect();
    let mut places: Vec<usize> = (0..m).collect();
    places.sort_by(|&i, &j| norms[j].total_cmp(&norms[i]));
    let (mut short, mut turns) = (Matrix::zeros(m, m), Matrix::zeros(m, m));
    let largest = places.first().map_or(0.0, |&i| norms[i]);
    let mut rank = 0;
    for (to, &from) in places.iter().enumerate() {
        turns.row_mut(to).copy_from_slice(turned.row(from));
        if norms[from] > largest * f64::EPSILON * 0.01 {
            rank = to + 1;
            for (x, y) in short.row_mut(to).iter_mut().zip(work.row(from)) {
                *x = y / norms[from];
            }
        }
    }
    // Rows without a direction of their own get one beside the others.
    complete(&mut short, rank);
    let mut u = Matrix::zeros(m, m);
    for (i, &row) in order.iter().enumerate() {
        for j in 0..m {
            u[(row, j)] = short[(j, i)];
        }
    }
    let q = orthogonal(&a.data, n, &made.factors, if full { n } else { m });
    let mut v = multiply((m, n, m), &turns.data, &q[..m * n]);
    v.extend_from_slice(&q[m * n..]);
    let v = Matrix { rows: v.len() / n.max(1), columns: n, data: v };
    (u, places.iter().map(|&i| norms[i] * scale * scale).collect(), v)
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

/// The shortest X of those for which `A X - B` is shortest, and the rank of A, by a complete orthogonal
/// factorization (Golub & Van Loan, *Matrix Computations*, section 5.5).
pub(super) fn least_squares(a: &Matrix, b: &Matrix, rcond: f64) -> (Matrix, usize) {
    let (m, n, k) = (a.rows, a.columns, b.columns);
    let mut columns = a.transposed().data;
    columns.extend(b.transposed().data);
    // A tall matrix is made a triangle first, without exchanges; the right sides go along.
    let (p, mut small) = if m > n {
        let made = reflect(&mut columns, m, n);
        let mut small = Vec::with_capacity((n + k) * n);
        for (j, column) in columns.chunks_exact(m).enumerate() {
            small.extend_from_slice(&column[..n]);
            if j < n {
                let own = &mut small[j * n..];
                own[j] = made.diagonal[j];
                own[j + 1..].fill(0.0);
            }
        }
        (n, small)
    } else {
        (m, columns)
    };
    let (made, order) = reflect_longest(&mut small, p, n, p.min(n));
    let element = |i: usize, j: usize| if i == j { made.diagonal[i] } else { small[j * p + i] };
    let rank = rank_of(made.diagonal.len(), element, rcond);
    let mut x = Matrix::zeros(n, k);
    if rank == 0 || k == 0 {
        return (x, rank);
    }
    // [R1 R2] = S^T Z^T with a triangle S: the solution is Z S^-T c.
    let mut rows: Vec<f64> = Vec::with_capacity(rank * n);
    for i in 0..rank {
        rows.extend((0..n).map(|j| if j < i { 0.0 } else { element(i, j) }));
    }
    let turned = (rank < n).then(|| reflect(&mut rows, n, rank));
    for side in 0..k {
        let mut found = small[(n + side) * p..][..rank].to_vec();
        if let Some(turned) = &turned {
            for i in 0..rank {
                let sum = dot(&found[..i], &rows[i * n..][..i]);
                found[i] = (found[i] - sum) / turned.diagonal[i];
            }
            found.resize(n, 0.0);
            restore(&rows, n, &turned.factors, &mut found, false);
        } else {
            for i in (0..n).rev() {
                let sum = dot(&rows[i * n + i + 1..(i + 1) * n], &found[i + 1..]);
                found[i] = (found[i] - sum) / rows[i * (n + 1)];
            }
        }
        for (&at, found) in order.iter().zip(found) {
            x[(at, side)] = found;
        }
    }
    (x, rank)
}

/// Up to where a triangle with falling diagonal has a condition below `1 / rcond`, estimated a column at a
/// time (Bischof, "Incremental Condition Estimation", 1990).
fn rank_of(most: usize, element: impl Fn(usize, usize) -> f64, rcond: f64) -> usize {
    if most == 0 || element(0, 0) == 0.0 || element(0, 0).is_nan() {
        return 0;
    }
    let (mut small, mut large) = (vec![1.0], vec![1.0]);
    let (mut least, mut greatest) = (element(0, 0).abs(), element(0, 0).abs());
    for rank in 1..most {
        let column: Vec<f64> = (0..rank).map(|i| element(i, rank)).collect();
        let end = element(rank, rank);
        // Of `[[value, share], [0, end]]`: the greater singular value, and the turn that its left vector is.
        let widened = |value: f64, vector: &[f64]| {
            let share = dot(vector, &column);
            let (p, q, r) = (value * value + share * share, share * end, end * end);
            let top = (0.5 * (p + r + (p - r).hypot(2.0 * q))).sqrt();
            (top, 0.5 * (2.0 * q).atan2(p - r))
        };
        let (top, angle) = widened(least, &small);
        let next_least = if top == 0.0 { 0.0 } else { least * end.abs() / top };
        let (next_greatest, wide) = widened(greatest, &large);
        // Not the other way round: what is no number ends it.
        if !(greatest.max(next_greatest) * rcond <= next_least) {
            return rank;
        }
        for x in &mut small {
            *x *= -angle.sin();
        }
        small.push(angle.cos());
        for x in &mut large {
            *x *= wide.cos();
        }
        large.push(wide.sin());
        (least, greatest) = (next_least, next_greatest);
    }
    most
}
