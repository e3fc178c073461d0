//! Divide and conquer: matrices of two or three diagonals from those of their halves.
//!
//! Formula source: Cuppen, "A Divide and Conquer Method for the Symmetric Tridiagonal Eigenproblem", 1981;
//! Gu & Eisenstat, "A Divide-and-Conquer Algorithm for the Bidiagonal SVD", 1995.

use super::blocks::into;
use super::implicit::{Vectors, singular, singular_wide, steps, unit};
use super::matmul::{Float, lines};
use super::secular::{exact, roots};

/// Rows up to which a matrix is not divided.
const LEAF: usize = 32;
/// What counts as nothing whatever it stands beside; the whole matrix is of size one.
const NOTHING: f64 = 1e-60;

/// The unit of rounding.
fn epsilon<T>() -> f64 {
    0.5 * if size_of::<T>() == 4 { f64::from(f32::EPSILON) } else { f64::EPSILON }
}

/// Vectors in rows, of which a part is being made.
struct Plane<'a, T> {
    rows: &'a mut [T],
    step: usize,
}

impl<T: Float> Plane<'_, T> {
    /// Elements from a column on of a row.
    fn row(&mut self, i: usize, from: usize, n: usize) -> &mut [T] {
        &mut self.rows[i * self.step + from..][..n]
    }

    fn get(&self, i: usize, j: usize) -> f64 {
        self.rows[i * self.step + j].to_f64()
    }

    /// `(c x + s y, c y - s x)` for two rows.
    fn turn(&mut self, (i, j): (usize, usize), from: usize, n: usize, (c, s): (f64, f64)) {
        let (c, s) = (T::from_f64(c), T::from_f64(s));
        let (i, j) = (i * self.step + from, j * self.step + from);
        for l in 0..n {
            let (x, y) = (self.rows[i + l], self.rows[j + l]);
            (self.rows[i + l], self.rows[j + l]) = (c * x + s * y, c * y - s * x);
        }
    }

    /// Rows `from..` of `n` elements from column `from`: the square of a leaf.
    fn put(&mut self, from: usize, n: usize, square: &[f64]) {
        for (i, row) in square.chunks_exact(n.max(1)).enumerate() {
            for (to, &x) in self.row(from + i, from, n).iter_mut().zip(row) {
                *to = T::from_f64(x);
            }
        }
    }

    /// Puts combinations of the kept rows first, then the others. Of the kept ones the first have elements
    /// before column `split` only, the last behind it only: as many as `groups` says, with those between.
    fn combine(
        &mut self,
        (first, n): (usize, usize),
        split: usize,
        kept: &[usize],
        groups: [usize; 3],
        others: &[usize],
        factors: &[T],
    ) {
        let k = kept.len();
        let (front, back) = (groups[0] + groups[1], groups[1] + groups[2]);
        let mut gather = |rows: &[usize], from: usize, n: usize| -> Vec<T> {
            let mut all = Vec::with_capacity(rows.len() * n);
            for &row in rows {
                all.extend_from_slice(self.row(row, from, n));
            }
            all
        };
        let before = gather(&kept[..front], first, split - first);
        let behind = gather(&kept[groups[0]..], split, first + n - split);
        let apart = gather(others, first, n);
        for (i, row) in apart.chunks_exact(n).enumerate() {
            self.row(first + k + i, first, n).copy_from_slice(row);
        }
        let step = self.step;
        let (wide, narrow) = (first + n - split, split - first);
        let to = &mut self.rows[first * step..];
        into(
            (k, narrow, front),
            T::ONE,
            factors,
            lines(k),
            &before,
            lines(narrow),
            T::ZERO,
            &mut to[first..],
            step,
        );
        into(
            (k, wide, back),
            T::ONE,
            &factors[groups[0]..],
            lines(k),
            &behind,
            lines(wide),
            T::ZERO,
            &mut to[split..],
            step,
        );
    }
}

/// One row of the matrix that two halves make.
#[derive(Clone, Copy)]
struct Entry {
    d: f64,
    z: f64,
    /// Its vector.
    row: usize,
    /// 0: of the first half, 2: of the second, 1: of both.
    group: usize,
}

/// Takes out what need not be changed: elements of z that are nothing, and all but one of equal values, after
/// a turn of their vectors. Entries ascend; those of the kept do so strictly.
fn deflate(
    entries: &[Entry],
    limit: f64,
    rho: f64,
    mut turn: impl FnMut(usize, usize, f64, f64),
) -> (Vec<Entry>, Vec<Entry>) {
    let (mut kept, mut others): (Vec<Entry>, Vec<Entry>) = (Vec::new(), Vec::new());
    for &entry in entries {
        let mut entry = entry;
        if rho * entry.z.abs() <= limit {
            others.push(entry);
            continue;
        }
        if let Some(before) = kept.last_mut() {
            let length = entry.z.hypot(before.z);
            let (c, s) = (entry.z / length, -before.z / length);
            let gap = entry.d - before.d;
            if (gap * c * s).abs() <= limit {
                turn(before.row, entry.row, c, s);
                entry.z = length;
                let (low, high) = (before.d, entry.d);
                entry.d = low * (s * s) + high * (c * c);
                before.d = low * (c * c) + high * (s * s);
                before.z = 0.0;
                if before.group != entry.group {
                    entry.group = 1;
                }
                others.push(*before);
                *before = entry;
                continue;
            }
        }
        kept.push(entry);
    }
    (kept, others)
}

/// Where each kept entry comes when they are grouped, and how many each group has.
fn grouped(kept: &[Entry]) -> (Vec<usize>, [usize; 3]) {
    let mut groups = [0; 3];
    for entry in kept {
        groups[entry.group] += 1;
    }
    let mut next = [0, groups[0], groups[0] + groups[1]];
    let places = kept.iter().map(|entry| {
        next[entry.group] += 1;
        next[entry.group] - 1
    });
    (places.collect(), groups)
}

/// The rows of the kept in the order of their groups.
fn rows_of(kept: &[Entry], places: &[usize]) -> Vec<usize> {
    let mut rows = vec![0; kept.len()];
    for (entry, &place) in kept.iter().zip(places) {
        rows[place] = entry.row;
    }
    rows
}

/// What multiplies the kept vectors: row i is `weight(j) / gaps[i][j]`, of length one, at `places`.
fn factors<T: Float>(
    gaps: &[f64],
    z: &[f64],
    places: &[usize],
    weight: impl Fn(usize, f64) -> f64,
) -> Vec<T> {
    let k = z.len();
    let mut all = vec![T::ZERO; k * k];
    let mut row = vec![0.0; k];
    for (gaps, to) in gaps.chunks_exact(k.max(1)).zip(all.chunks_exact_mut(k.max(1))) {
        let mut square = 0.0;
        for j in 0..k {
            row[j] = weight(j, z[j] / gaps[j]);
        }
        for x in &row {
            square += x * x;
        }
        let scale = 1.0 / square.sqrt();
        for (&place, x) in places.iter().zip(&row) {
            to[place] = T::from_f64(x * scale);
        }
    }
    all
}

/// The rows in the order of their values.
fn ascending(values: &[f64], from: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (from..from + values.len()).collect();
    order.sort_by(|&i, &j| values[i - from].total_cmp(&values[j - from]));
    order
}

/// Two ascending lists of rows as one.
fn merged(a: &[usize], b: &[usize], values: &[f64]) -> Vec<usize> {
    let mut all: Vec<usize> = a.iter().chain(b).copied().collect();
    // A stable sort finds the two runs.
    all.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    all
}

/// Does it with the elements made of size one, by a power of two.
fn scaled(
    d: &mut [f64],
    e: &mut [f64],
    f: impl FnOnce(&mut [f64], &mut [f64]) -> Vec<usize>,
) -> Vec<usize> {
    let greatest = d.iter().chain(&*e).fold(0.0, |most: f64, x| most.max(x.abs()));
    if greatest == 0.0 {
        return f(d, e);
    }
    let unit = 2.0_f64.powi(greatest.log2() as i32);
    d.iter_mut().chain(e.iter_mut()).for_each(|x| *x /= unit);
    let order = f(d, e);
    for x in d {
        *x *= unit;
    }
    order
}

/// Eigenvalues in the place of `d`, eigenvectors in the rows of `vectors`, n × n, of zeros; returns the rows
/// in ascending order. `e` has an element less than `d`.
pub(super) fn symmetric<T: Float>(d: &mut [f64], e: &mut [f64], vectors: &mut [T]) -> Vec<usize> {
    let step = d.len();
    scaled(d, e, |d, e| symmetric_part(d, e, 0, step, &mut Plane { rows: vectors, step }))
}

fn symmetric_part<T: Float>(
    d: &mut [f64],
    e: &mut [f64],
    first: usize,
    n: usize,
    plane: &mut Plane<'_, T>,
) -> Vec<usize> {
    if n <= LEAF {
        let mut square = unit(n);
        let mut beside = e[first..first + n - 1.min(n)].to_vec();
        beside.push(0.0);
        let own = &mut d[first..first + n];
        steps(own, &mut beside, &mut Vectors { rows: &mut square, width: n });
        plane.put(first, n, &square);
        return ascending(own, first);
    }
    let half = n / 2;
    let middle = first + half;
    let between = e[middle - 1];
    let rho = between.abs();
    d[middle - 1] -= rho;
    d[middle] -= rho;
    let low = symmetric_part(d, e, first, half, plane);
    let high = symmetric_part(d, e, middle, n - half, plane);
    let rows = merged(&low, &high, d);
    // The vector has length root two.
    let root = std::f64::consts::FRAC_1_SQRT_2;
    let sign = root.copysign(between);
    let entries: Vec<Entry> = rows
        .into_iter()
        .map(|row| {
            let own = row < middle;
            let z =
                if own { plane.get(row, middle - 1) * root } else { plane.get(row, middle) * sign };
            Entry { d: d[row], z, row, group: if own { 0 } else { 2 } }
        })
        .collect();
    let rho = 2.0 * rho;
    let greatest = entries.iter().fold(rho, |most, one| most.max(one.d.abs()));
    let limit = (8.0 * epsilon::<T>() * greatest).max(NOTHING);
    let (kept, others) = deflate(&entries, limit, rho, |i, j, c, s| {
        plane.turn((i, j), first, n, (c, s));
    });
    finish_symmetric(d, (first, n), middle, (&kept, &others), rho, plane)
}

fn finish_symmetric<T: Float>(
    d: &mut [f64],
    (first, n): (usize, usize),
    middle: usize,
    (kept, others): (&[Entry], &[Entry]),
    rho: f64,
    plane: &mut Plane<'_, T>,
) -> Vec<usize> {
    let k = kept.len();
    if k > 0 {
        let poles: Vec<f64> = kept.iter().map(|one| one.d).collect();
        let z: Vec<f64> = kept.iter().map(|one| one.z).collect();
        let found = roots(&poles, &z, rho, false);
        let z = exact(&poles, &z, &found.gaps, false);
        let (places, groups) = grouped(kept);
        let factors = factors::<T>(&found.gaps, &z, &places, |_, x| x);
        let rows = rows_of(kept, &places);
        let apart: Vec<usize> = others.iter().map(|one| one.row).collect();
        plane.combine((first, n), middle, &rows, groups, &apart, &factors);
        d[first..first + k].copy_from_slice(&found.values);
        for (d, one) in d[first + k..].iter_mut().zip(others) {
            *d = one.d;
        }
    } else {
        // Nothing is combined: the rows stay where they are.
        for one in others {
            d[one.row] = one.d;
        }
    }
    ascending(&d[first..first + n], first)
}

/// Singular values in the place of `d`, and vectors in rows of squares of zeros, n × n; `e` has an
/// element less. Returns the rows in ascending order.
pub(super) fn bidiagonal<T: Float>(
    d: &mut [f64],
    e: &mut [f64],
    left: &mut [T],
    right: &mut [T],
) -> Vec<usize> {
    let n = d.len();
    if d.iter().chain(&*e).all(|&x| x == 0.0) {
        for all in [left, right] {
            all.iter_mut().step_by(n + 1).for_each(|x| *x = T::ONE);
        }
        return (0..n).collect();
    }
    let (mut left, mut right) = (Plane { rows: left, step: n }, Plane { rows: right, step: n });
    scaled(d, e, |d, e| bidiagonal_part(d, e, (0, n, false), &mut left, &mut right))
}

fn bidiagonal_part<T: Float>(
    d: &mut [f64],
    e: &mut [f64],
    (first, n, wide): (usize, usize, bool),
    left: &mut Plane<'_, T>,
    right: &mut Plane<'_, T>,
) -> Vec<usize> {
    let all = n + usize::from(wide);
    if n <= LEAF {
        let (mut u, mut v) = (unit(n), unit(all));
        let mut beside = e[first..first + all - 1.min(all)].to_vec();
        let own = &mut d[first..first + n];
        let mut us = Vectors { rows: &mut u, width: n };
        let mut vs = Vectors { rows: &mut v, width: all };
        if wide {
            singular_wide(own, &mut beside, &mut us, &mut vs);
        } else {
            singular(own, &mut beside, &mut us, &mut vs);
        }
        left.put(first, n, &u);
        right.put(first, all, &v);
        return ascending(own, first);
    }
    // A row between two halves, of which the first has a column more than rows.
    let middle = first + n / 2;
    let (alpha, beta) = (d[middle], e[middle]);
    let low = bidiagonal_part(d, e, (first, middle - first, true), left, right);
    let high = bidiagonal_part(d, e, (middle + 1, first + n - middle - 1, wide), left, right);
    let end = first + n;
    left.row(middle, middle, 1)[0] = T::ONE;
    // The vectors that the halves map to zero: one of two stays such.
    let (near, far) = (alpha * right.get(middle, middle), 0.0);
    let far = if wide { beta * right.get(end, middle + 1) } else { far };
    let mut z = near;
    if wide {
        let length = near.hypot(far);
        if length > 0.0 {
            right.turn((middle, end), first, all, (near / length, far / length));
        }
        z = length;
    }
    let rows = merged(&low, &high, d);
    let greatest = rows.iter().fold(alpha.abs().max(beta.abs()), |most, &row| most.max(d[row]));
    let limit = (8.0 * epsilon::<T>() * greatest).max(NOTHING);
    let mut entries = vec![];
    for row in rows {
        let own = row < middle;
        let z =
            if own { alpha * right.get(row, middle) } else { beta * right.get(row, middle + 1) };
        // No pole may come too near to the one at zero.
        entries.push(Entry { d: d[row].max(0.5 * limit), z, row, group: if own { 0 } else { 2 } });
    }
    if z.abs() <= limit {
        z = limit;
    }
    let (kept, others) = deflate(&entries, limit, 1.0, |i, j, c, s| {
        left.turn((i, j), first, n, (c, s));
        right.turn((i, j), first, all, (c, s));
    });
    let mut whole = vec![Entry { d: 0.0, z, row: middle, group: 1 }];
    whole.extend(kept);
    finish_bidiagonal(d, (first, n, wide), middle, (&whole, &others), left, right)
}

fn finish_bidiagonal<T: Float>(
    d: &mut [f64],
    (first, n, wide): (usize, usize, bool),
    middle: usize,
    (kept, others): (&[Entry], &[Entry]),
    left: &mut Plane<'_, T>,
    right: &mut Plane<'_, T>,
) -> Vec<usize> {
    let k = kept.len();
    let poles: Vec<f64> = kept.iter().map(|one| one.d).collect();
    let z: Vec<f64> = kept.iter().map(|one| one.z).collect();
    let found = roots(&poles, &z, 1.0, true);
    let z = exact(&poles, &z, &found.gaps, true);
    let (places, groups) = grouped(kept);
    let rows = rows_of(kept, &places);
    let apart: Vec<usize> = others.iter().map(|one| one.row).collect();
    let of_right = factors::<T>(&found.gaps, &z, &places, |_, x| x);
    let of_left =
        factors::<T>(&found.gaps, &z, &places, |j, x| if j == 0 { -1.0 } else { poles[j] * x });
    left.combine((first, n), middle, &rows, groups, &apart, &of_left);
    // The last row, which maps to zero, is none of the square's.
    right.combine((first, n + usize::from(wide)), middle + 1, &rows, groups, &apart, &of_right);
    d[first..first + k].copy_from_slice(&found.values);
    for (d, one) in d[first + k..].iter_mut().zip(others) {
        *d = one.d;
    }
    ascending(&d[first..first + n], first)
}
