//! Layer normalisation over contiguous rows.
#![allow(unsafe_code)]

use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, Scratch, Src, split};
use crate::kernels::reduce::{Maker, sum_light, tree};
use crate::kernels::vexp::Real;

/// Rows whose contributions to the affine gradients are summed before groups are joined.
const GROUP: usize = 64;
/// Elements of gradients that are made at a time.
const MADE: usize = 4096;

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
            let mean = sum_light(x, |x| x) / count;
            let square = sum_light(x, |x| (x - mean) * (x - mean));
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

/// The gradient that comes to [`layer_norm_backward`].
#[derive(Clone, Copy)]
pub enum Incoming<'a, T> {
    /// It lies in memory, contiguous.
    At(*const T),
    /// It is made when asked for.
    Made(Maker<'a, T>),
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
    grad_out: Incoming<'_, T>,
    grad_in: *mut T,
    grad_weight: *mut T,
    grad_bias: *mut T,
) {
    let groups = rows.div_ceil(GROUP);
    let affine = !grad_weight.is_null() || !grad_bias.is_null();
    let mut partials = Scratch::filled(T::ZERO, if affine { groups * 2 * n } else { 0 });
    // A factor of one changes no bit.
    let ones = Scratch::filled(T::ONE, if weight.is_none() { n } else { 0 });
    let (g, made) = match grad_out {
        Incoming::At(pointer) => (pointer, None),
        Incoming::Made(make) => (std::ptr::null(), Some(make)),
    };
    let job = Backward {
        rows,
        n,
        x: Src::new(input),
        weight: weight.unwrap_or(&ones),
        means: Src::new(means),
        rstds: Src::new(rstds),
        g: Src::new(g),
        made,
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
    weight: &'a [T],
    means: Src<T>,
    rstds: Src<T>,
    g: Src<T>,
    made: Option<Maker<'a, T>>,
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
        // Gradients are made for a few rows at a time; where nobody wants those of weight and bias,
        // they go to waste.
        let batch = if self.made.is_some() { (MADE / n).clamp(1, GROUP) } else { GROUP };
        let mut room = Scratch::filled(T::ZERO, if self.made.is_some() { batch * n } else { 0 });
        let mut waste = Scratch::filled(T::ZERO, if self.affine { 0 } else { 2 * n });
        for group in self.first..self.last {
            let end = self.rows.min((group + 1) * GROUP);
            for start in (group * GROUP..end).step_by(batch) {
                let rows = batch.min(end - start);
                let gradients = if let Some(make) = self.made {
                    make(start * n, rows * n, room.as_mut_ptr());
                    room.as_ptr()
                } else {
                    self.g.at((start * n) as isize)
                };
                for row in start..start + rows {
                    let at = (row * n) as isize;
                    // SAFETY: row `row` of input, gradient, statistics and result, and the partial
                    // sums of this group, both owned by this task.
                    unsafe {
                        let (dw, db) = if self.affine {
                            let to = self.partials.at((2 * group * n) as isize);
                            (
                                std::slice::from_raw_parts_mut(to, n),
                                std::slice::from_raw_parts_mut(to.add(n), n),
                            )
                        } else {
                            waste.split_at_mut(n)
                        };
                        let x = std::slice::from_raw_parts(self.x.at(at), n);
                        let g = std::slice::from_raw_parts(gradients.add((row - start) * n), n);
                        let (mean, rstd) =
                            (*self.means.at(row as isize), *self.rstds.at(row as isize));
                        let sums = gather_row(x, g, self.weight, mean, rstd, dw, db);
                        if self.wants_input {
                            let d = std::slice::from_raw_parts_mut(self.d.at(at), n);
                            let (mean_g, mean_p) = (sums[0] / count, sums[1] / count);
                            for (((d, &g), &w), &x) in d.iter_mut().zip(g).zip(self.weight).zip(x) {
                                let normal = (x - mean) * rstd;
                                *d = (g * w - mean_g - normal * mean_p) * rstd;
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Adds a row's part of the gradients of weight and bias; gives the sums of the gradient times weight,
/// and of that times the normalised input.
#[inline(always)]
fn gather_row<T: Real>(
    x: &[T],
    g: &[T],
    weight: &[T],
    mean: T,
    rstd: T,
    dw: &mut [T],
    db: &mut [T],
) -> [T; 2] {
    let one = |x: T, g: T, w: T, dw: &mut T, db: &mut T| {
        let normal = (x - mean) * rstd;
        *dw += g * normal;
        *db += g;
        [g * w, g * w * normal]
    };
    let mut sums = [T::ZERO; 2];
    // Long lanes, short lanes, single elements.
    let mut done = 0;
    macro_rules! lanes {
        ($n:literal) => {
            let (xs, gs) = (x[done..].as_chunks::<$n>().0, g[done..].as_chunks::<$n>().0);
            if !xs.is_empty() {
                let ws = weight[done..].as_chunks::<$n>().0;
                let dws = dw[done..].as_chunks_mut::<$n>().0;
                let dbs = db[done..].as_chunks_mut::<$n>().0;
                let (mut a, mut b) = ([T::ZERO; $n], [T::ZERO; $n]);
                for ((((x, g), w), dw), db) in xs.iter().zip(gs).zip(ws).zip(dws).zip(dbs) {
                    for i in 0..$n {
                        let [p, q] = one(x[i], g[i], w[i], &mut dw[i], &mut db[i]);
                        a[i] += p;
                        b[i] += q;
                    }
                }
                sums[0] += tree(std::hint::black_box(a), &|a: T, b: T| a + b);
                sums[1] += tree(std::hint::black_box(b), &|a: T, b: T| a + b);
                done += xs.len() * $n;
            }
        };
    }
    lanes!(32);
    lanes!(8);
    for i in done..x.len() {
        let [p, q] = one(x[i], g[i], weight[i], &mut dw[i], &mut db[i]);
        sums[0] += p;
        sums[1] += q;
    }
    sums
}
