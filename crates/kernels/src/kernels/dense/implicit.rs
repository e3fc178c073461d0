//! Matrices of two or three diagonals made diagonal step by step, in double precision.
//!
//! Formula source: Golub & Van Loan, *Matrix Computations*, section 8.3, for QL steps; Parlett, *The
//! Symmetric Eigenvalue Problem*, section 8.15, for those without roots; Demmel & Kahan, "Accurate Singular
//! Values of Bidiagonal Matrices", 1990.

use super::qd::squares;
use crate::kernels::multiversion::{self, Job};

/// More rounds than any of the iterations needs for a size that fits into memory.
const ROUNDS: usize = 60;
/// Columns of the vectors turned at once.
const STRIP: usize = 16;
const EPSILON: f64 = 0.5 * f64::EPSILON;

/// Vectors in rows that are turned along, so many elements each.
pub(super) struct Vectors<'a> {
    pub(super) rows: &'a mut [f64],
    pub(super) width: usize,
}

impl Vectors<'_> {
    /// Turns row `first` and its neighbour, that one and the next, and so on, downwards or upwards.
    fn turn(&mut self, first: usize, up: bool, turns: &[(f64, f64)]) {
        if !self.rows.is_empty() && !turns.is_empty() {
            multiversion::run(Wave { rows: self.rows, width: self.width, first, up, turns });
        }
    }

    fn negate(&mut self, row: usize) {
        if !self.rows.is_empty() {
            self.rows[row * self.width..][..self.width].iter_mut().for_each(|x| *x = -*x);
        }
    }
}

struct Wave<'a> {
    rows: &'a mut [f64],
    width: usize,
    first: usize,
    up: bool,
    turns: &'a [(f64, f64)],
}

impl Wave<'_> {
    fn row(&self, i: usize) -> usize {
        if self.up { self.first - i } else { self.first + i }
    }
}

impl Job for Wave<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let (n, count) = (self.width, self.turns.len());
        let whole = n - n % STRIP;
        for at in (0..whole).step_by(STRIP) {
            let mut carried = [0.0; STRIP];
            carried.copy_from_slice(&self.rows[self.first * n + at..][..STRIP]);
            for (i, &(c, s)) in self.turns.iter().enumerate() {
                let mut next = [0.0; STRIP];
                next.copy_from_slice(&self.rows[self.row(i + 1) * n + at..][..STRIP]);
                let start = self.row(i) * n + at;
                let to = &mut self.rows[start..][..STRIP];
                for l in 0..STRIP {
                    to[l] = c * carried[l] + s * next[l];
                    carried[l] = c * next[l] - s * carried[l];
                }
            }
            let start = self.row(count) * n + at;
            self.rows[start..][..STRIP].copy_from_slice(&carried);
        }
        for at in whole..n {
            let mut carried = self.rows[self.first * n + at];
            for (i, &(c, s)) in self.turns.iter().enumerate() {
                let next = self.rows[self.row(i + 1) * n + at];
                let start = self.row(i) * n + at;
                self.rows[start] = c * carried + s * next;
                carried = c * next - s * carried;
            }
            let start = self.row(count) * n + at;
            self.rows[start] = carried;
        }
    }
}

/// The unit matrix.
pub(super) fn unit(n: usize) -> Vec<f64> {
    let mut all = vec![0.0; n * n];
    all.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
    all
}

/// Makes a symmetric matrix of three diagonals diagonal by QL steps with implicit shifts, and turns vectors
/// along; `e` has the length of `d`.
pub(super) fn steps(d: &mut [f64], e: &mut [f64], vectors: &mut Vectors<'_>) {
    let n = d.len();
    let mut turns: Vec<(f64, f64)> = Vec::with_capacity(n);
    for first in 0..n {
        for _ in 0..ROUNDS {
            // Where the part that still hangs together ends.
            let last = (first..n - 1)
                .find(|&i| e[i].abs() <= EPSILON * (d[i].abs() + d[i + 1].abs()))
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
            vectors.turn(last, true, &turns);
            if finished {
                d[first] -= shift;
                e[first] = bulge;
                e[last] = 0.0;
            }
        }
    }
}

/// The eigenvalues only, in no order: the same steps on the squares of what lies beside the diagonal.
pub(super) fn values(d: &mut [f64], e: &mut [f64]) {
    let n = d.len();
    for i in 0..n.saturating_sub(1) {
        e[i] *= e[i];
    }
    let small = |d: &[f64], e: &[f64], i: usize| {
        let most = EPSILON * (d[i].abs() + d[i + 1].abs());
        e[i] <= most * most
    };
    let mut first = 0;
    let mut rounds = ROUNDS * n;
    let mut turned_to = 0;
    while first < n && rounds > 0 {
        rounds -= 1;
        let last = (first..n - 1).find(|&i| small(d, e, i)).unwrap_or(n - 1);
        if last > first && turned_to <= first {
            // A part that falls is taken from its other end.
            turned_to = last;
            if d[last].abs() < d[first].abs() {
                d[first..=last].reverse();
                e[first..last].reverse();
                continue;
            }
        }
        if last == first {
            first += 1;
            continue;
        }
        let root = e[first].sqrt();
        if last == first + 1 {
            let (low, high) = (d[first], d[last]);
            let half = 0.5 * (low - high);
            let (middle, part) = (0.5 * (low + high), (half * half + e[first]).sqrt());
            // The one of less size from the product, which loses nothing.
            let far = if middle < 0.0 { middle - part } else { middle + part };
            let near = if far == 0.0 { 0.0 } else { (low / far) * high - (root / far) * root };
            (d[first], d[last]) = (near, far);
            e[first] = 0.0;
            first += 2;
            continue;
        }
        let half = (d[first + 1] - d[first]) / (2.0 * root);
        let sigma = d[first] - root / (half + (half * half + 1.0).sqrt().copysign(half));
        let (mut c, mut s) = (1.0, 0.0);
        let mut gamma = d[last] - sigma;
        let mut p = gamma * gamma;
        for i in (first..last).rev() {
            let square = e[i];
            let r = p + square;
            if i + 1 < last {
                e[i + 1] = s * r;
            }
            let old = c;
            // Divided by both at once: neither waits for the other.
            let back = r / p;
            if r == 0.0 {
                (c, s) = (1.0, 0.0);
            } else {
                (c, s) = (p / r, square / r);
            }
            let before = gamma;
            let alpha = d[i];
            gamma = c * (alpha - sigma) - s * before;
            d[i + 1] = before + (alpha - gamma);
            p = if back.is_finite() { gamma * gamma * back } else { old * square };
        }
        e[first] = s * p;
        d[first] = sigma + gamma;
    }
}

/// `(c, s, r)` with `c f + s g = r` and `c g = s f`.
#[inline(always)]
fn turn_of(f: f64, g: f64) -> (f64, f64, f64) {
    let square = f * f + g * g;
    let mut r = square.sqrt();
    if square < 1e-280 {
        if g == 0.0 {
            return (1.0, 0.0, f);
        }
        r = f.hypot(g);
    }
    let inverse = 1.0 / r;
    if inverse.is_infinite() {
        return (f / r, g / r, r);
    }
    (f * inverse, g * inverse, r)
}

/// The smaller singular value of `[[f, g], [0, h]]`.
fn smaller_of_two(f: f64, g: f64, h: f64) -> f64 {
    let (f, g, h) = (f.abs(), g.abs(), h.abs());
    let (least, most) = (f.min(h), f.max(h));
    if least == 0.0 {
        return 0.0;
    }
    let (near, far) = (1.0 + least / most, (most - least) / most);
    if g < most {
        let part = (g / most) * (g / most);
        return least * (2.0 / ((near * near + part).sqrt() + (far * far + part).sqrt()));
    }
    let ratio = most / g;
    if ratio == 0.0 {
        return (least * most) / g;
    }
    let (x, y) = (near * ratio, far * ratio);
    2.0 * (least * ratio) / ((x * x + 1.0).sqrt() + (y * y + 1.0).sqrt())
}

/// The singular values only, in no order.
pub(super) fn singular_values(d: &mut [f64], e: &mut [f64]) {
    // Squares must neither overflow nor vanish.
    let greatest = d.iter().chain(&*e).fold(0.0, |most: f64, x| most.max(x.abs()));
    if greatest == 0.0 {
        d.fill(0.0);
        return;
    }
    let unit = 2.0_f64.powi(greatest.log2() as i32);
    let square = |x: &f64| (x / unit) * (x / unit);
    let (mut q, mut beside): (Vec<f64>, Vec<f64>) =
        (d.iter().map(square).collect(), e.iter().map(square).collect());
    if squares(&mut q, &mut beside) {
        for (d, q) in d.iter_mut().zip(q) {
            *d = q.sqrt() * unit;
        }
        return;
    }
    let mut none = Vectors { rows: &mut [], width: 0 };
    singular(d, e, &mut none, &mut Vectors { rows: &mut [], width: 0 });
}

/// Makes an upper matrix of two diagonals diagonal, and turns left and right vectors along; at the end no
/// value is negative. They are in no order.
pub(super) fn singular(
    d: &mut [f64],
    e: &mut [f64],
    left: &mut Vectors<'_>,
    right: &mut Vectors<'_>,
) {
    let n = d.len();
    // Relative to the neighbours, as `Demmel & Kahan` have it, and to the whole.
    let tolerance = 10.0 * EPSILON;
    let greatest = d.iter().chain(&*e).fold(0.0, |most: f64, x| most.max(x.abs()));
    let negligible = greatest * EPSILON * 1e-3;
    let (mut rights, mut lefts) = (Vec::with_capacity(n), Vec::with_capacity(n));
    let mut end = n;
    let mut rounds = ROUNDS * n;
    let mut part = (0, 0);
    let mut flip = false;
    'parts: while end > 1 && rounds > 0 {
        rounds -= 1;
        let last = end - 1;
        let mut first = last;
        while first > 0 {
            if e[first - 1].abs() <= negligible {
                e[first - 1] = 0.0;
                break;
            }
            first -= 1;
        }
        if first == last {
            end -= 1;
            continue;
        }
        if part != (first, last) && !(part.0 == first && last < part.1) {
            flip = d[first].abs() < d[last].abs();
        }
        part = (first, last);
        // From the greater end to the smaller one: seen from the other side if need be.
        let count = last - first;
        let at = |i: usize| if flip { last - i } else { first + i };
        let beside = |i: usize| if flip { last - 1 - i } else { first + i };
        if e[beside(count - 1)].abs() <= tolerance * d[at(count)].abs() {
            e[beside(count - 1)] = 0.0;
            continue;
        }
        let mut mu = d[at(0)].abs();
        let (mut least, mut most) = (mu, mu);
        for i in 0..count {
            let size = e[beside(i)].abs();
            if size <= tolerance * mu {
                e[beside(i)] = 0.0;
                continue 'parts;
            }
            let next = d[at(i + 1)].abs();
            most = most.max(size).max(next);
            mu = next * (mu / (mu + size));
            least = least.min(mu);
        }
        let mut shift = 0.0;
        if n as f64 * tolerance * (least / most) > (0.01 * tolerance).max(EPSILON) {
            shift = smaller_of_two(d[at(count - 1)], e[beside(count - 1)], d[at(count)]);
            let ratio = shift / d[at(0)].abs();
            if ratio * ratio < EPSILON {
                shift = 0.0;
            }
        }
        rights.clear();
        lefts.clear();
        if shift == 0.0 {
            let (mut c, mut old_c, mut old_s) = (1.0, 1.0, 0.0);
            let mut s = 0.0;
            for i in 0..count {
                let r;
                (c, s, r) = turn_of(d[at(i)] * c, e[beside(i)]);
                if i > 0 {
                    e[beside(i - 1)] = old_s * r;
                }
                (old_c, old_s, d[at(i)]) = turn_of(old_c * r, d[at(i + 1)] * s);
                rights.push((c, s));
                lefts.push((old_c, old_s));
            }
            let _ = s;
            let h = d[at(count)] * c;
            d[at(count)] = h * old_c;
            e[beside(count - 1)] = h * old_s;
        } else {
            let top = d[at(0)];
            let mut f = (top.abs() - shift) * (1.0_f64.copysign(top) + shift / top);
            let mut g = e[beside(0)];
            for i in 0..count {
                let (c, s, r) = turn_of(f, g);
                if i > 0 {
                    e[beside(i - 1)] = r;
                }
                let (own, side, next) = (d[at(i)], e[beside(i)], d[at(i + 1)]);
                let side_now = c * side - s * own;
                let next_now = c * next;
                let (c2, s2, r) = turn_of(c * own + s * side, s * next);
                d[at(i)] = r;
                f = c2 * side_now + s2 * next_now;
                d[at(i + 1)] = c2 * next_now - s2 * side_now;
                if i + 1 < count {
                    let behind = e[beside(i + 1)];
                    g = s2 * behind;
                    e[beside(i + 1)] = c2 * behind;
                }
                rights.push((c, s));
                lefts.push((c2, s2));
            }
            e[beside(count - 1)] = f;
        }
        if flip {
            left.turn(last, true, &rights);
            right.turn(last, true, &lefts);
        } else {
            right.turn(first, false, &rights);
            left.turn(first, false, &lefts);
        }
    }
    for (i, d) in d.iter_mut().enumerate() {
        if *d < 0.0 {
            *d = -*d;
            right.negate(i);
        }
    }
}

/// The same of a matrix with a column more than rows, the last element of `e`; `right` has a row more, which
/// becomes the vector that the matrix maps to zero.
pub(super) fn singular_wide(
    d: &mut [f64],
    e: &mut [f64],
    left: &mut Vectors<'_>,
    right: &mut Vectors<'_>,
) {
    let n = d.len();
    // The last column is turned away: what remains is lower. Then it is made upper again.
    let mut turns = Vec::with_capacity(n);
    for i in 0..n {
        let (c, s, r) = turn_of(d[i], e[i]);
        turns.push((c, s));
        d[i] = r;
        if i + 1 < n {
            e[i] = s * d[i + 1];
            d[i + 1] *= c;
        }
    }
    right.turn(0, false, &turns);
    turns.clear();
    for i in 0..n.saturating_sub(1) {
        let (c, s, r) = turn_of(d[i], e[i]);
        turns.push((c, s));
        d[i] = r;
        e[i] = s * d[i + 1];
        d[i + 1] *= c;
    }
    left.turn(0, false, &turns);
    let width = n.saturating_sub(1);
    singular(d, &mut e[..width], left, right);
}
