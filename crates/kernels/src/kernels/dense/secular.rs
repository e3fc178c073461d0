//! The eigenvalues of a diagonal matrix plus a product of a vector with itself, and of the singular values of
//! a diagonal matrix with one full row.
//!
//! Formula source: Li, "Solving Secular Equations Stably and Efficiently", 1993; Gu & Eisenstat, "A
//! Divide-and-Conquer Algorithm for the Symmetric Tridiagonal Eigenproblem" and "... for the Bidiagonal SVD",
//! 1995, for the vectors.

use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, split};

const EPSILON: f64 = 0.5 * f64::EPSILON;
/// More rounds than a root needs.
const ROUNDS: usize = 100;
/// Sums that the processor can keep apart.
const LANES: usize = 8;

/// Roots of `1 / rho + sum z^2 / (pole - x) = 0`; a pole is an entry of `d`, or its square.
pub(super) struct Secular {
    /// The roots as they are, or their square roots.
    pub(super) values: Vec<f64>,
    /// Row i: all poles less root i, each to full precision.
    pub(super) gaps: Vec<f64>,
}

/// The difference of two poles, to full precision.
#[inline(always)]
fn gap(a: f64, b: f64, squared: bool) -> f64 {
    if squared { (a - b) * (a + b) } else { a - b }
}

/// All roots; `d` ascends strictly, no element of `z` is zero, and `rho` is positive.
pub(super) fn roots(d: &[f64], z: &[f64], rho: f64, squared: bool) -> Secular {
    let k = d.len();
    let squares: Vec<f64> = z.iter().map(|z| z * z).collect();
    let mut made = Secular { values: vec![0.0; k], gaps: vec![0.0; k * k] };
    let (values, gaps) = (Dst::new(made.values.as_mut_ptr()), Dst::new(made.gaps.as_mut_ptr()));
    // About six passes over the poles, each of a division per pole.
    split(k, k * 8, |first, last| {
        for i in first..last {
            // SAFETY: every root has its own value and row.
            let (value, row) = unsafe {
                let row = std::slice::from_raw_parts_mut(gaps.at((i * k) as isize), k);
                (&mut *values.at(i as isize), row)
            };
            *value = multiversion::run(Root { d, squares: &squares, rho, squared, i, gaps: row });
        }
    });
    made
}

struct Root<'a> {
    d: &'a [f64],
    squares: &'a [f64],
    rho: f64,
    squared: bool,
    i: usize,
    gaps: &'a mut [f64],
}

/// Two sums over poles, of terms and of their derivatives.
#[inline(always)]
fn sums(poles: &[f64], squares: &[f64], x: f64) -> (f64, f64) {
    let (mut terms, mut slopes) = ([0.0; LANES], [0.0; LANES]);
    let (ps, zs) = (poles.chunks_exact(LANES), squares.chunks_exact(LANES));
    let (mut term, mut slope) = (0.0, 0.0);
    for (&p, &z) in ps.remainder().iter().zip(zs.remainder()) {
        let inverse = 1.0 / (p - x);
        let part = z * inverse;
        term += part;
        slope += part * inverse;
    }
    for (p, z) in ps.zip(zs) {
        for l in 0..LANES {
            let inverse = 1.0 / (p[l] - x);
            let part = z[l] * inverse;
            terms[l] += part;
            slopes[l] += part * inverse;
        }
    }
    for width in [4, 2, 1] {
        for l in 0..width {
            terms[l] += terms[l + width];
            slopes[l] += slopes[l + width];
        }
    }
    (term + terms[0], slope + slopes[0])
}

impl Root<'_> {
    /// Poles as seen from the one that is the origin.
    #[inline(always)]
    fn origin(&mut self, at: usize) {
        for (gap_to, &d) in self.gaps.iter_mut().zip(self.d) {
            *gap_to = gap(d, self.d[at], self.squared);
        }
    }
}

impl Job for Root<'_> {
    type Output = f64;
    #[inline(always)]
    fn run(mut self) -> f64 {
        let (k, i, inverse) = (self.d.len(), self.i, 1.0 / self.rho);
        // The poles on either side, or for the last root the two before it.
        let last = i + 1 == k;
        let mut origin = i;
        self.origin(i);
        let (mut low, mut high);
        let mut x;
        let near = if last { i.saturating_sub(1) } else { i };
        if k == 1 {
            x = self.rho * self.squares[0];
            (low, high) = (x, x);
        } else if last {
            let most = self.rho * self.squares.iter().sum::<f64>();
            (low, high) = (0.0, most);
            x = 0.5 * most;
            let own = self.squares[i] * self.rho;
            if own > 0.0 && own < most {
                x = x.max(own);
            }
        } else {
            let width = self.gaps[i + 1];
            let half = 0.5 * width;
            let (below, _) = sums(&self.gaps[..=i], &self.squares[..=i], half);
            let (above, _) = sums(&self.gaps[i + 1..], &self.squares[i + 1..], half);
            let middle = inverse + below + above;
            let (z, next) = (self.squares[i], self.squares[i + 1]);
            let rest = middle + z / half - next / half;
            // The two nearest poles alone, with what the others sum up to in the middle.
            if middle >= 0.0 {
                (low, high) = (0.0, half);
                let a = rest * width + z + next;
                let b = z * width;
                let root = (a * a - 4.0 * b * rest).abs().sqrt();
                x = if a > 0.0 { 2.0 * b / (a + root) } else { (a - root) / (2.0 * rest) };
            } else {
                origin = i + 1;
                self.origin(i + 1);
                (low, high) = (-half, 0.0);
                let a = rest * width - z - next;
                let b = next * width;
                let root = (a * a + 4.0 * b * rest).abs().sqrt();
                x = if a < 0.0 { 2.0 * b / (a - root) } else { -(a + root) / (2.0 * rest) };
            }
            if !(x > low && x < high) {
                x = 0.5 * (low + high);
            }
        }
        let mut before = f64::INFINITY;
        for round in 0..ROUNDS {
            if low >= high {
                break;
            }
            let (psi, psi_slope) = sums(&self.gaps[..=near], &self.squares[..=near], x);
            let (phi, phi_slope) = sums(&self.gaps[near + 1..], &self.squares[near + 1..], x);
            let (w, slope) = (inverse + psi + phi, psi_slope + phi_slope);
            let size = inverse + psi.abs() + phi.abs();
            if w.abs() <= EPSILON * 4.0 * size {
                break;
            }
            if w < 0.0 {
                low = low.max(x);
            } else {
                high = high.min(x);
            }
            let (p, q) = (self.gaps[near] - x, self.gaps[near + 1] - x);
            let step = if last {
                let c = (w - p * psi_slope - q * phi_slope).abs();
                let a = (p + q) * w - p * q * slope;
                let b = p * q * w;
                let root = (a * a - 4.0 * b * c).abs().sqrt();
                if a >= 0.0 { (a + root) / (2.0 * c) } else { 2.0 * b / (a - root) }
            } else {
                // The term of the near pole is exact.
                let c = if origin == i {
                    w - q * slope - (p - q) * (self.squares[i] / p / p)
                } else {
                    w - p * slope - (q - p) * (self.squares[i + 1] / q / q)
                };
                let a = (p + q) * w - p * q * slope;
                let b = p * q * w;
                let root = (a * a - 4.0 * b * c).abs().sqrt();
                if c == 0.0 {
                    b / a
                } else if a <= 0.0 {
                    (a - root) / (2.0 * c)
                } else {
                    2.0 * b / (a + root)
                }
            };
            let step = if w * step >= 0.0 { -w / slope } else { step };
            let mut next = x + step;
            // What does not converge, or leaves where the root is, is halved instead.
            let slow = round > 8 && w.abs() > 0.1 * before;
            if slow || !(next > low && next < high) {
                next = if low > 0.0 && high > 4.0 * low {
                    low.sqrt() * high.sqrt()
                } else if high < 0.0 && low < 4.0 * high {
                    -((-low).sqrt() * (-high).sqrt())
                } else if low == 0.0 && round > 4 {
                    high / 64.0
                } else if high == 0.0 && round > 4 {
                    low / 64.0
                } else {
                    0.5 * (low + high)
                };
            }
            before = w.abs();
            if next == x || next <= low || next >= high {
                break;
            }
            x = next;
        }
        for gap in &mut *self.gaps {
            *gap -= x;
        }
        let own = self.d[origin];
        if self.squared && x != 0.0 { own + x / (own + (own * own + x).sqrt()) } else { own + x }
    }
}

/// The vector whose matrix has exactly those roots, so that the vectors made of it are orthogonal.
pub(super) fn exact(d: &[f64], z: &[f64], gaps: &[f64], squared: bool) -> Vec<f64> {
    let mut made = vec![0.0; d.len()];
    multiversion::run(Exact { d, gaps, squared, made: &mut made });
    for (made, &z) in made.iter_mut().zip(z) {
        *made = made.abs().sqrt().copysign(z);
    }
    made
}

struct Exact<'a> {
    d: &'a [f64],
    gaps: &'a [f64],
    squared: bool,
    made: &'a mut [f64],
}

impl Job for Exact<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { d, gaps, squared, made } = self;
        let k = d.len();
        for (j, made) in made.iter_mut().enumerate() {
            *made = gaps[j * k + j];
        }
        for (i, row) in gaps.chunks_exact(k).enumerate() {
            let own = d[i];
            let mut part = |from: usize, to: usize| {
                let poles = d[from..to].iter().zip(&row[from..to]);
                for (made, (&d, &root)) in made[from..to].iter_mut().zip(poles) {
                    *made *= root / gap(d, own, squared);
                }
            };
            part(0, i);
            part(i + 1, k);
        }
    }
}
