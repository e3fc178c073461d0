//! Householder's reflections on columns that lie one after the other, in double precision.
//!
//! Formula source: Schreiber & Van Loan, "A Storage-Efficient WY Representation for Products of
//! Householder Transformations", 1989, for many at once.

use super::{dot, less};
use crate::kernels::matmul::{self, Strides, lines};
use crate::kernels::multiversion::{self, Job};

/// Reflections that are gathered to be applied as products.
const PANEL: usize = 32;

/// Columns that were made triangular.
#[derive(Debug)]
pub struct Reflected {
    /// The diagonal of R.
    pub diagonal: Vec<f64>,
    /// Of each reflection `1 - factor v v^T` the factor; v lies in the column from the diagonal on.
    pub factors: Vec<f64>,
}

/// Reflects `columns` of `length` elements so that the first `count` become triangular: above the
/// diagonal they then hold R, the others the product with Q transposed.
///
/// # Panics
/// If there are fewer columns, or more than a column has elements.
pub fn reflect(columns: &mut [f64], length: usize, count: usize) -> Reflected {
    let mut made = Reflected { diagonal: vec![0.0; count], factors: vec![0.0; count] };
    for from in (0..count).step_by(PANEL) {
        let to = count.min(from + PANEL);
        let (own, rest) = columns[from * length..].split_at_mut((to - from) * length);
        // A single panel reflects all there is as it goes; of more the rest follows in products.
        let alone = count <= PANEL;
        multiversion::run(Panel {
            columns: own,
            rest: if alone { &mut *rest } else { &mut [] },
            length,
            from,
            diagonal: &mut made.diagonal[from..to],
            factors: &mut made.factors[from..to],
        });
        if !alone && !rest.is_empty() {
            Block::new(own, length, from, &made.factors[from..to]).apply(rest, true);
        }
    }
    made
}

/// As [`reflect`], each time with the longest of the first `among` columns that are left in the next
/// place. Tells which column came to each.
pub fn reflect_longest(
    columns: &mut [f64],
    length: usize,
    among: usize,
    count: usize,
) -> (Reflected, Vec<usize>) {
    let mut made = Reflected { diagonal: vec![0.0; count], factors: vec![0.0; count] };
    let mut order: Vec<usize> = (0..among).collect();
    multiversion::run(Pivoted { columns, length, made: &mut made, order: &mut order });
    (made, order)
}

/// The first `count` columns of Q, from what [`reflect`] left behind.
pub fn orthogonal(columns: &[f64], length: usize, factors: &[f64], count: usize) -> Vec<f64> {
    let mut q = vec![0.0; length * count];
    for (i, column) in q.chunks_exact_mut(length.max(1)).enumerate() {
        if i < length {
            column[i] = 1.0;
        }
    }
    restore(columns, length, factors, &mut q, true);
    q
}

/// Multiplies columns with Q. With `unit` they are those of the unit matrix: the first are left as they
/// are by the later reflections.
pub fn restore(columns: &[f64], length: usize, factors: &[f64], to: &mut [f64], unit: bool) {
    let count = factors.len();
    if count <= PANEL {
        multiversion::run(Back { columns, length, factors, to, unit });
        return;
    }
    for from in (0..count).step_by(PANEL).rev() {
        let last = count.min(from + PANEL);
        let skipped = if unit { (from * length).min(to.len()) } else { 0 };
        let own = &columns[from * length..last * length];
        Block::new(own, length, from, &factors[from..last]).apply(&mut to[skipped..], false);
    }
}

struct Panel<'a> {
    columns: &'a mut [f64],
    rest: &'a mut [f64],
    length: usize,
    /// The row of the first diagonal element.
    from: usize,
    diagonal: &'a mut [f64],
    factors: &'a mut [f64],
}

impl Job for Panel<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let m = self.length;
        for j in 0..self.factors.len() {
            let (own, others) = self.columns[j * m..].split_at_mut(m);
            let v = &mut own[self.from + j..];
            let (image, factor) = one(v, others, m, self.from + j);
            (self.diagonal[j], self.factors[j]) = (image, factor);
            if factor != 0.0 {
                mirror(v, factor, self.rest, m, self.from + j);
            }
        }
    }
}

struct Pivoted<'a> {
    columns: &'a mut [f64],
    length: usize,
    made: &'a mut Reflected,
    order: &'a mut [usize],
}

impl Job for Pivoted<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let m = self.length;
        for j in 0..self.made.factors.len() {
            let (mut best, mut most) = (j, -1.0);
            for i in j..self.order.len() {
                let rest = &self.columns[i * m + j..(i + 1) * m];
                let square = dot(rest, rest);
                if square > most {
                    (best, most) = (i, square);
                }
            }
            if best != j {
                self.order.swap(j, best);
                let (low, high) = self.columns.split_at_mut(best * m);
                low[j * m..(j + 1) * m].swap_with_slice(&mut high[..m]);
            }
            let (own, others) = self.columns[j * m..].split_at_mut(m);
            (self.made.diagonal[j], self.made.factors[j]) = one(&mut own[j..], others, m, j);
        }
    }
}

/// Makes a vector of the column and reflects others with it; the image on the diagonal, and the factor.
#[inline(always)]
fn one(v: &mut [f64], others: &mut [f64], length: usize, top: usize) -> (f64, f64) {
    let below = dot(&v[1..], &v[1..]);
    if below == 0.0 {
        return (v[0], 0.0);
    }
    let norm = v[0].hypot(below.sqrt());
    let image = if v[0] > 0.0 { -norm } else { norm };
    v[0] -= image;
    let factor = 2.0 / (v[0] * v[0] + below);
    mirror(v, factor, others, length, top);
    (image, factor)
}

struct Back<'a> {
    columns: &'a [f64],
    length: usize,
    factors: &'a [f64],
    to: &'a mut [f64],
    unit: bool,
}

impl Job for Back<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let m = self.length;
        for (j, &factor) in self.factors.iter().enumerate().rev() {
            if factor != 0.0 {
                let v = &self.columns[j * m + j..(j + 1) * m];
                let skipped = if self.unit { (j * m).min(self.to.len()) } else { 0 };
                mirror(v, factor, &mut self.to[skipped..], m, j);
            }
        }
    }
}

/// `(1 - factor v v^T)` times columns, from row `top` on.
#[inline(always)]
fn mirror(v: &[f64], factor: f64, columns: &mut [f64], length: usize, top: usize) {
    for column in columns.chunks_exact_mut(length) {
        let column = &mut column[top..];
        let share = factor * dot(v, column);
        less(column, share, v);
    }
}

/// Reflections as one: `1 - V T V^T`.
struct Block {
    /// Columns of V in rows, from the first diagonal element on.
    vectors: Vec<f64>,
    wide: usize,
    count: usize,
    /// T in rows.
    factors: Vec<f64>,
    top: usize,
    length: usize,
}

impl Block {
    fn new(columns: &[f64], length: usize, top: usize, factors: &[f64]) -> Self {
        let (count, wide) = (factors.len(), length - top);
        let mut vectors = vec![0.0; count * wide];
        for (j, to) in vectors.chunks_exact_mut(wide).enumerate() {
            to[j..].copy_from_slice(&columns[j * length + top + j..(j + 1) * length]);
        }
        let mut inner = vec![0.0; count * count];
        let all = lines(wide);
        product((count, count, wide), 1.0, &vectors, all, &vectors, turned(all), 0.0, &mut inner);
        let mut t = vec![0.0; count * count];
        for (j, &factor) in factors.iter().enumerate() {
            for i in 0..j {
                let sum: f64 = (i..j).map(|l| t[i * count + l] * inner[l * count + j]).sum();
                t[i * count + j] = -factor * sum;
            }
            t[j * count + j] = factor;
        }
        Self { vectors, wide, count, factors: t, top, length }
    }

    /// Multiplies columns with it, or with its transpose.
    fn apply(&self, columns: &mut [f64], transposed: bool) {
        let (n, k, wide) = (columns.len() / self.length, self.count, self.wide);
        if n == 0 {
            return;
        }
        let (mut shares, mut turns) = (vec![0.0; n * k], vec![0.0; n * k]);
        let all = lines(wide);
        let below = &columns[self.top..];
        product(
            (n, k, wide),
            1.0,
            below,
            lines(self.length),
            &self.vectors,
            turned(all),
            0.0,
            &mut shares,
        );
        let t = if transposed { lines(k) } else { turned(lines(k)) };
        product((n, k, k), 1.0, &shares, lines(k), &self.factors, t, 0.0, &mut turns);
        let (c, step) = (&mut columns[self.top..], self.length);
        into((n, wide, k), &turns, &self.vectors, c, step);
    }
}

fn turned(s: Strides) -> Strides {
    Strides { row: s.column, column: s.row }
}

/// The last element that a matrix reaches.
fn reach(rows: usize, columns: usize, s: Strides) -> usize {
    (rows - 1) * s.row as usize + (columns - 1) * s.column as usize
}

/// `c = alpha a b + beta c`, with `a` m × k, `b` k × n and `c` in rows of n: see [`matmul::gemm`].
pub(super) fn product(
    (m, n, k): (usize, usize, usize),
    alpha: f64,
    a: &[f64],
    sa: Strides,
    b: &[f64],
    sb: Strides,
    beta: f64,
    c: &mut [f64],
) {
    assert!(m > 0 && n > 0 && k > 0 && c.len() >= m * n);
    assert!(reach(m, k, sa) < a.len() && reach(k, n, sb) < b.len());
    let to = c.as_mut_ptr();
    // SAFETY: the offsets were checked.
    unsafe {
        matmul::gemm::<f64>(m, n, k, alpha, a.as_ptr(), sa, b.as_ptr(), sb, beta, to, lines(n));
    }
}

/// `c -= a b`, all in rows, those of `c` so far apart.
fn into((m, n, k): (usize, usize, usize), a: &[f64], b: &[f64], c: &mut [f64], step: usize) {
    assert!(
        a.len() >= m * k && b.len() >= k * n && reach(m, n, lines(step)) < c.len() && n <= step
    );
    let (a, b, to) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
    // SAFETY: the offsets were checked.
    unsafe { matmul::gemm::<f64>(m, n, k, -1.0, a, lines(k), b, lines(n), 1.0, to, lines(step)) };
}

/// The product of matrices in rows, m × k and k × n.
pub fn multiply((m, n, k): (usize, usize, usize), a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    if m * n * k > 0 {
        product((m, n, k), 1.0, a, lines(k), b, lines(n), 0.0, &mut c);
    }
    c
}
