//! Layer normalisation over contiguous rows.
#![allow(unsafe_code)]

use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, Src, split};
use crate::kernels::reduce::lanes_of_pairs;
use crate::kernels::reduce::sum_mapped as sum_blocks;
use crate::kernels::vexp::Real;

/// Rows whose contributions to the affine gradients are summed before groups are joined.
const GROUP: usize = 64;

/// `(x - mean) * rstd * weight + bias` for each of `rows` rows of `n`; `means` and `rstds` are
/// kept for the way back.
///
/// # Safety
/// `input` and `output` must hold `rows * n` elements (they may be the same), `means` and
/// `rstds` `rows`; `weight` and `bias`, if given, have length `n`.
pub unsafe fn layer_norm<T: Real>(
    rows: usize,
    n: usize,
    input: *const T,
    weight: Option<&[T]>,
    bias: Option<&[T]>,
    epsilon: f64,
    output: *mut T,
    means: *mut T,
    rstds: *mut T,
) {
    let (x, y) = (Src::new(input), Dst::new(output));
    let (means, rstds) = (Dst::new(means), Dst::new(rstds));
    split(rows, n, |first, last| {
        multiversion::run(Forward { n, x, weight, bias, epsilon, y, means, rstds, first, last });
    });
}

struct Forward<'a, T> {
    n: usize,
    x: Src<T>,
    weight: Option<&'a [T]>,
    bias: Option<&'a [T]>,
    epsilon: f64,
    y: Dst<T>,
    means: Dst<T>,
    rstds: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Real> Job for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let n = self.n;
        for row in self.first..self.last {
            let at = (row * n) as isize;
            // SAFETY: row `row` of the input.
            let x = unsafe { std::slice::from_raw_parts(self.x.at(at), n) };
            let count = T::from_f64(n as f64);
            let mean = sum_blocks(x, |x| x) / count;
            let square = sum_blocks(x, |x| (x - mean) * (x - mean));
            let rstd = T::ONE / (square / count + T::from_f64(self.epsilon)).sqrt();
            let (x, y) = (self.x.at(at), self.y.at(at));
            // SAFETY: n elements of each; each x is read before its y is written.
            unsafe {
                match (self.weight, self.bias) {
                    (Some(w), Some(b)) => {
                        for i in 0..n {
                            *y.add(i) = (*x.add(i) - mean) * rstd * *w.get_unchecked(i)
                                + *b.get_unchecked(i);
                        }
                    }
                    (Some(w), None) => {
                        for i in 0..n {
                            *y.add(i) = (*x.add(i) - mean) * rstd * *w.get_unchecked(i);
                        }
                    }
                    (None, bias) => {
                        for i in 0..n {
                            let shift = bias.map_or(T::ZERO, |b| *b.get_unchecked(i));
                            *y.add(i) = (*x.add(i) - mean) * rstd + shift;
                        }
                    }
                }
                *self.means.at(row as isize) = mean;
                *self.rstds.at(row as isize) = rstd;
            }
        }
    }
}

/// The gradients of [`layer_norm`]; those of weight and bias (null if not wanted) are summed over
/// groups of rows in a fixed order.
///
/// # Safety
/// As for [`layer_norm`]; `grad_in`, if not null, holds `rows * n` elements and overlaps nothing,
/// `grad_weight` and `grad_bias`, if not null, `n`.
pub unsafe fn layer_norm_backward<T: Real>(
    rows: usize,
    n: usize,
    input: *const T,
    weight: Option<&[T]>,
    means: *const T,
    rstds: *const T,
    grad_out: *const T,
    grad_in: *mut T,
    grad_weight: *mut T,
    grad_bias: *mut T,
) {
    let groups = rows.div_ceil(GROUP);
    let affine = !grad_weight.is_null() || !grad_bias.is_null();
    let mut partials = vec![T::ZERO; if affine { groups * 2 * n } else { 0 }];
    let job = Backward {
        rows,
        n,
        x: Src::new(input),
        weight,
        means: Src::new(means),
        rstds: Src::new(rstds),
        g: Src::new(grad_out),
        d: Dst::new(grad_in),
        wants_input: !grad_in.is_null(),
        affine,
        partials: Dst::new(partials.as_mut_ptr()),
        first: 0,
        last: 0,
    };
    split(groups, GROUP * n, |first, last| multiversion::run(Backward { first, last, ..job }));
    for (target, part) in [(grad_weight, 0), (grad_bias, 1)] {
        if target.is_null() {
            continue;
        }
        // SAFETY: n elements, as the caller vouches.
        let target = unsafe { std::slice::from_raw_parts_mut(target, n) };
        target.fill(T::ZERO);
        for group in 0..groups {
            let partial = &partials[(2 * group + part) * n..][..n];
            for (target, &partial) in target.iter_mut().zip(partial) {
                *target += partial;
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Backward<'a, T> {
    rows: usize,
    n: usize,
    x: Src<T>,
    weight: Option<&'a [T]>,
    means: Src<T>,
    rstds: Src<T>,
    g: Src<T>,
    d: Dst<T>,
    wants_input: bool,
    affine: bool,
    partials: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Real> Job for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let n = self.n;
        let count = T::from_f64(n as f64);
        // g * weight and the normalised input of one row.
        let mut weighted = vec![T::ZERO; n];
        let mut normal = vec![T::ZERO; n];
        let (weighted, normal) = (&mut weighted[..n], &mut normal[..n]);
        for group in self.first..self.last {
            for row in group * GROUP..self.rows.min((group + 1) * GROUP) {
                let at = (row * n) as isize;
                // SAFETY: row `row` of input, gradient and statistics.
                let (x, g, mean, rstd) = unsafe {
                    (
                        std::slice::from_raw_parts(self.x.at(at), n),
                        std::slice::from_raw_parts(self.g.at(at), n),
                        *self.means.at(row as isize),
                        *self.rstds.at(row as isize),
                    )
                };
                if self.affine {
                    let at = (2 * group * n) as isize;
                    // SAFETY: the partial sums of this group, owned by this task.
                    let (dw, db) = unsafe {
                        (
                            std::slice::from_raw_parts_mut(self.partials.at(at), n),
                            std::slice::from_raw_parts_mut(self.partials.at(at + n as isize), n),
                        )
                    };
                    for i in 0..n {
                        normal[i] = (x[i] - mean) * rstd;
                        dw[i] += g[i] * normal[i];
                        db[i] += g[i];
                    }
                } else {
                    for (normal, &x) in normal.iter_mut().zip(x) {
                        *normal = (x - mean) * rstd;
                    }
                }
                if !self.wants_input {
                    continue;
                }
                let scaled = if let Some(weight) = self.weight {
                    for ((t, &g), &w) in weighted.iter_mut().zip(g).zip(weight) {
                        *t = g * w;
                    }
                    &*weighted
                } else {
                    g
                };
                let add = |a: [T; 2], b: [T; 2]| [a[0] + b[0], a[1] + b[1]];
                let mut sums = [T::ZERO; 2];
                for (a, b) in scaled.chunks(1024).zip(normal.chunks(1024)) {
                    let part = lanes_of_pairs(a, b, [T::ZERO; 2], |a, b| [a, a * b], add);
                    sums = add(sums, part);
                }
                let (mean_g, mean_p) = (sums[0] / count, sums[1] / count);
                // SAFETY: row `row` of the result, owned by this task.
                let d = unsafe { std::slice::from_raw_parts_mut(self.d.at(at), n) };
                for ((d, &g), &normal) in d.iter_mut().zip(scaled).zip(&*normal) {
                    *d = (g - mean_g - normal * mean_p) * rstd;
                }
            }
        }
    }
}
