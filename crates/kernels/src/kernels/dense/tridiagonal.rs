//! Symmetric matrices made of three diagonals.
//!
//! Formula source: Dongarra, Sorensen & Hammarling, "Block Reduction of Matrices to Condensed Forms for
//! Eigenvalue Computations", 1989.

use super::blocks::{PANEL, less, turned};
use super::matmul::{Float, lines};
use super::vectors::{Lines, across, dot_of, dots, reflector, symmetric};

/// Rows up to which both triangles of an update are made.
const SQUARE: usize = 96;

/// The diagonal, what lies beside it, and the factors of the reflections, whose vectors replace the rows of
/// `a` beside the diagonal. The upper triangle is read.
pub(super) struct Three<T> {
    pub(super) diagonal: Vec<f64>,
    pub(super) beside: Vec<f64>,
    pub(super) factors: Vec<T>,
}

/// Reflects an n × n matrix from both sides.
pub(super) fn tridiagonal<T: Float>(a: &mut [T], n: usize) -> Three<T> {
    let count = n.saturating_sub(1);
    let mut made = Three {
        diagonal: Vec::with_capacity(n),
        beside: Vec::with_capacity(count),
        factors: Vec::with_capacity(count),
    };
    // Rows in pairs: a vector and its share, so that A - V W^T - W V^T is due.
    let mut pairs = vec![T::ZERO; 2 * PANEL.min(count) * n];
    let mut swapped = pairs.clone();
    let mut shares = [T::ZERO; 2 * PANEL];
    for from in (0..count).step_by(PANEL) {
        let to = count.min(from + PANEL);
        for k in from..to {
            let done = 2 * (k - from);
            let (above, below) = a.split_at_mut((k + 1) * n);
            let row = &mut above[k * n + k..];
            for (p, share) in shares[..done].iter_mut().enumerate() {
                *share = -pairs[(p ^ 1) * n + k];
            }
            across(Lines::of(&pairs[k.min(done * n)..], n, done, n - k), &shares[..done], row);
            made.diagonal.push(row[0].to_f64());
            let (image, factor) = reflector(&mut row[1..]);
            made.beside.push(image.to_f64());
            made.factors.push(factor);
            let (v, wide) = (&row[1..], n - k - 1);
            let (old, new) = pairs.split_at_mut(done * n);
            new[k + 1..n].copy_from_slice(v);
            let w = &mut new[n + k + 1..2 * n];
            symmetric(Lines::of(&below[k + 1..], n, wide, wide), v, w);
            let old = Lines::of(&old[(k + 1).min(done * n)..], n, done, wide);
            dots(old, v, &mut shares[..done]);
            for two in shares[..done].chunks_exact_mut(2) {
                (two[0], two[1]) = (-two[1], -two[0]);
            }
            across(old, &shares[..done], w);
            for x in &mut *w {
                *x = factor * *x;
            }
            let half = factor * dot_of(v, w) * T::from_f64(-0.5);
            across(Lines::of(v, wide, 1, wide), &[half], w);
        }
        let rest = n - to;
        if to < count {
            for (p, row) in swapped.chunks_exact_mut(n).enumerate() {
                row[to..].copy_from_slice(&pairs[(p ^ 1) * n + to..][..rest]);
            }
            let k = 2 * (to - from);
            less_upper((rest, k), &pairs[to..], &swapped[to..], n, &mut a[to * n + to..], n);
        } else if n > 0 {
            // The last element of the diagonal.
            for p in 0..2 * (to - from) {
                let less = pairs[p * n + n - 1] * pairs[(p ^ 1) * n + n - 1];
                a[n * n - 1] = a[n * n - 1] - less;
            }
        }
    }
    if n > 0 {
        made.diagonal.push(a[n * n - 1].to_f64());
    }
    made
}

/// The upper triangle of `c -= a^T b`, with `a` and `b` k × n.
fn less_upper<T: Float>(
    (n, k): (usize, usize),
    a: &[T],
    b: &[T],
    between: usize,
    c: &mut [T],
    step: usize,
) {
    let s = lines(between);
    if n <= SQUARE {
        less((n, n, k), a, turned(s), b, s, c, step);
        return;
    }
    let h = super::half(n);
    less_upper((h, k), a, b, between, c, step);
    less((h, n - h, k), a, turned(s), &b[h..], s, &mut c[h..], step);
    less_upper((n - h, k), &a[h..], &b[h..], between, &mut c[h * step + h..], step);
}
