//! `P A = L U` with partial pivoting.

use super::triangle::{Shape, solve};
use super::{Rows, half, less, subtract};
use crate::kernels::matmul::Float;
use crate::kernels::multiversion::{self, Job};

/// Columns of a panel that is factored as it lies.
const PANEL: usize = 8;
/// Rows or columns up to which a matrix is not halved.
const SMALL: usize = 24;
const LOWER: Shape = Shape { upper: false, unit: true };

/// L (its ones left out) and U in the place of `a`, m × n; of each row the one it was exchanged with.
///
/// # Safety
/// `a` must be the caller's, with as many exchanges as its shorter side.
pub unsafe fn lu<T: Float>(m: usize, n: usize, a: Rows<T>, swaps: &mut [usize]) {
    let k = m.min(n);
    debug_assert_eq!(swaps.len(), k);
    if k == 0 {
        return;
    }
    // SAFETY: parts of what was passed.
    unsafe {
        if k <= SMALL && m.max(n) <= 2 * SMALL {
            multiversion::run(Small { m, n, a, swaps });
            return;
        }
        if n <= PANEL {
            multiversion::run(Panel { m, n, a, swaps });
            return;
        }
        let left = half(k).min(k);
        let right = a.part(0, left);
        lu(m, left, a, &mut swaps[..left]);
        exchange(right, n - left, &swaps[..left]);
        solve((left, n - left), a.given(), right, LOWER);
        let (below, rest) = (a.part(left, 0), a.part(left, left));
        subtract((m - left, n - left, left), below.given(), right.given(), rest);
        lu(m - left, n - left, rest, &mut swaps[left..]);
        exchange(below, left, &swaps[left..]);
        for swap in &mut swaps[left..] {
            *swap += left;
        }
    }
}

/// Exchanges row after row with another.
///
/// # Safety
/// The rows must be the caller's.
unsafe fn exchange<T: Float>(a: Rows<T>, columns: usize, swaps: &[usize]) {
    for (i, &other) in swaps.iter().enumerate() {
        if i != other {
            // SAFETY: two rows.
            unsafe { a.row(i, 0, columns).swap_with_slice(a.row(other, 0, columns)) };
        }
    }
}

/// As it stands in books.
struct Small<'a, T> {
    m: usize,
    n: usize,
    a: Rows<T>,
    swaps: &'a mut [usize],
}

impl<T: Float> Job for Small<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { m, n, a, swaps } = self;
        for j in 0..swaps.len() {
            // SAFETY: rows of the matrix, which differ.
            unsafe {
                let mut best = j;
                for i in j + 1..m {
                    if (*a.at(i, j)).abs() > (*a.at(best, j)).abs() {
                        best = i;
                    }
                }
                swaps[j] = best;
                if best != j {
                    a.row(best, 0, n).swap_with_slice(a.row(j, 0, n));
                }
                let row = a.row(j, j, n - j);
                if row[0] == T::ZERO {
                    continue;
                }
                for i in j + 1..m {
                    let to = a.row(i, j, n - j);
                    let factor = to[0] / row[0];
                    to[0] = factor;
                    less(&mut to[1..], factor, &row[1..]);
                }
            }
        }
    }
}

/// Many rows of a few columns, set aside so that they lie together.
struct Panel<'a, T> {
    m: usize,
    n: usize,
    a: Rows<T>,
    swaps: &'a mut [usize],
}

impl<T: Float> Job for Panel<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { m, n, a, swaps } = self;
        let mut rows = vec![[T::ZERO; PANEL]; m];
        for (i, row) in rows.iter_mut().enumerate() {
            // SAFETY: a row of the panel.
            row[..n].copy_from_slice(unsafe { a.row(i, 0, n) });
        }
        let (mut best, mut most) = (0, rows[0][0].abs());
        for (i, row) in rows.iter().enumerate().skip(1) {
            if row[0].abs() > most {
                (best, most) = (i, row[0].abs());
            }
        }
        for j in 0..swaps.len() {
            swaps[j] = best;
            rows.swap(best, j);
            let pivot = rows[j];
            let next = (j + 1).min(PANEL - 1);
            (best, most) = (j + 1, -T::ONE);
            for (i, row) in rows.iter_mut().enumerate().skip(j + 1) {
                if pivot[j] != T::ZERO {
                    let factor = row[j] / pivot[j];
                    for l in 0..PANEL {
                        let changed = row[l] - factor * pivot[l];
                        row[l] = if l > j { changed } else { row[l] };
                    }
                    row[j] = factor;
                }
                if row[next].abs() > most {
                    (best, most) = (i, row[next].abs());
                }
            }
        }
        for (i, row) in rows.iter().enumerate() {
            // SAFETY: a row of the panel.
            unsafe { a.row(i, 0, n) }.copy_from_slice(&row[..n]);
        }
    }
}
