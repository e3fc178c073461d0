//! Matrices made of two diagonals.
//!
//! Formula source: Dongarra, Sorensen & Hammarling, "Block Reduction of Matrices to Condensed Forms for
//! Eigenvalue Computations", 1989.

use super::blocks::{PANEL, less, turned};
use super::matmul::{Float, lines};
use super::vectors::{Lines, across, dots, reflector};

/// An upper matrix of two diagonals, and the reflections from the left and from the right, whose vectors lie
/// in rows from the diagonal on, or from beside it on.
pub(super) struct Two<T> {
    pub(super) diagonal: Vec<f64>,
    pub(super) beside: Vec<f64>,
    pub(super) left: Vec<T>,
    pub(super) left_factors: Vec<T>,
    pub(super) right: Vec<T>,
    pub(super) right_factors: Vec<T>,
}

/// Reflects an m × n matrix in rows from both sides; it must not have fewer rows than columns.
pub(super) fn bidiagonal<T: Float>(a: &mut [T], m: usize, n: usize) -> Two<T> {
    debug_assert!(m >= n);
    let mut made = Two {
        diagonal: Vec::with_capacity(n),
        beside: Vec::with_capacity(n),
        left: vec![T::ZERO; n * m],
        left_factors: Vec::with_capacity(n),
        right: vec![T::ZERO; n * n],
        right_factors: Vec::with_capacity(n),
    };
    // Rows in pairs: A - tall^T wide is due.
    let mut tall = vec![T::ZERO; 2 * PANEL.min(n) * m];
    let mut wide = vec![T::ZERO; 2 * PANEL.min(n) * n];
    let mut shares = [T::ZERO; 2 * PANEL];
    for from in (0..n).step_by(PANEL) {
        let to = n.min(from + PANEL);
        for k in from..to {
            let done = 2 * (k - from);
            let (old_tall, new_tall) = tall.split_at_mut(done * m);
            let (old_wide, new_wide) = wide.split_at_mut(done * n);
            let (u, x) = new_tall.split_at_mut(m);
            let (y, v) = new_wide.split_at_mut(n);
            let (u, y) = (&mut u[k..], &mut y[k + 1..]);
            // The column.
            for (u, row) in u.iter_mut().zip(a[k * n..].chunks_exact(n)) {
                *u = row[k];
            }
            for (share, row) in shares.iter_mut().zip(old_wide.chunks_exact(n)) {
                *share = -row[k];
            }
            let tall_from_k = Lines::of(&old_tall[k.min(done * m)..], m, done, m - k);
            across(tall_from_k, &shares[..done], u);
            let (image, factor) = reflector(u);
            made.diagonal.push(image.to_f64());
            made.left_factors.push(factor);
            made.left[k * m + k..(k + 1) * m].copy_from_slice(u);
            let rest = n - k - 1;
            if rest == 0 {
                break;
            }
            y.fill(T::ZERO);
            across(Lines::of(&a[k * n + k + 1..], n, m - k, rest), u, y);
            dots(tall_from_k, u, &mut shares[..done]);
            shares[..done].iter_mut().for_each(|x| *x = -*x);
            let wide_behind = Lines::of(&old_wide[(k + 1).min(done * n)..], n, done, rest);
            across(wide_behind, &shares[..done], y);
            for y in y.iter_mut() {
                *y = factor * *y;
            }
            // The row.
            let v = &mut v[k + 1..n];
            for ((v, &a), &y) in v.iter_mut().zip(&a[k * n + k + 1..]).zip(&*y) {
                *v = a - y;
            }
            for (share, row) in shares.iter_mut().zip(old_tall.chunks_exact(m)) {
                *share = -row[k];
            }
            across(wide_behind, &shares[..done], v);
            let (image, factor) = reflector(v);
            made.beside.push(image.to_f64());
            made.right_factors.push(factor);
            made.right[k * n + k + 1..(k + 1) * n].copy_from_slice(v);
            let x = &mut x[k + 1..m];
            dots(Lines::of(&a[(k + 1) * n + k + 1..], n, m - k - 1, rest), v, x);
            dots(wide_behind, v, &mut shares[..done]);
            shares[done] = super::vectors::dot_of(y, v);
            shares[..=done].iter_mut().for_each(|x| *x = -*x);
            let tall_behind = Lines::of(&old_tall[(k + 1).min(done * m)..], m, done, m - k - 1);
            across(tall_behind, &shares[..done], x);
            across(Lines::of(&u[1..], m - k - 1, 1, m - k - 1), &[shares[done]], x);
            for x in x.iter_mut() {
                *x = factor * *x;
            }
        }
        if to < n {
            let k = 2 * (to - from);
            let (all_tall, all_wide) = (turned(lines(m)), lines(n));
            let c = &mut a[to * n + to..];
            less((m - to, n - to, k), &tall[to..], all_tall, &wide[to..], all_wide, c, n);
        }
    }
    made
}
