//! Normalisation of channels: by the statistics of the whole batch, or of groups of channels of one
//! member of it. Of a contiguous `batch` x `channels` x `size` each (member, channel) is a plane; a set
//! of planes shares a mean and a deviation.
#![allow(unsafe_code)]

use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Aligned, Dst, Src, split};
use crate::kernels::reduce::{lanes_of_pairs, sum_light};
use crate::kernels::vexp::Real;

/// Planes smaller than this are gone through by rows of all channels instead.
const SMALL: usize = 16;
/// Columns of such rows whose sums are taken together.
const TILE: usize = 256;
/// Rows whose sums are taken before they are joined.
const BLOCK: usize = 64;

/// Which planes share their statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sets {
    /// Members of the batch.
    pub batch: usize,
    /// Channels of each.
    pub channels: usize,
    /// Elements of a plane.
    pub size: usize,
    /// Groups of channels with statistics of their own for each member; without, those of a channel
    /// are taken over the batch.
    pub groups: Option<usize>,
}

impl Sets {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.groups.map_or(self.channels, |groups| self.batch * groups)
    }
    /// Elements of each.
    pub fn elements(&self) -> usize {
        self.numel() / self.count().max(1)
    }
    /// Elements of all.
    pub fn numel(&self) -> usize {
        self.batch * self.channels * self.size
    }
    fn planes(&self) -> usize {
        self.batch * self.channels
    }
    fn of(&self, plane: usize) -> usize {
        match self.groups {
            None => plane % self.channels,
            Some(groups) => plane / (self.channels / groups),
        }
    }
    fn by_rows(&self) -> bool {
        self.groups.is_none() && self.size < SMALL
    }
    /// The set and the channel of a pair of sums: of a plane, or, by rows, of a column.
    fn of_sums(&self, i: usize) -> (usize, usize) {
        if self.by_rows() {
            (i / self.size, i / self.size)
        } else {
            (self.of(i), i % self.channels)
        }
    }
}

/// What is summed over a plane.
#[derive(Clone, Copy)]
enum Term<T> {
    /// The elements, and the squares of their distances from the mean of the plane (or column) itself.
    Spread,
    /// Gradients, and their products with those distances.
    Gradients(Src<T>),
}

/// Two sums for each plane (or column, by rows).
struct Sums<'a, T> {
    sets: Sets,
    x: Src<T>,
    term: Term<T>,
    /// One mean for each set.
    means: &'a [T],
    to: Dst<[T; 2]>,
    first: usize,
    last: usize,
}

impl<T: Real> Job for Sums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let n = self.sets.size;
        for plane in self.first..self.last {
            let at = (plane * n) as isize;
            let mean = self.means[self.sets.of(plane)];
            // SAFETY: the plane lies within the operands; one pair of sums for each.
            unsafe {
                let x = std::slice::from_raw_parts(self.x.at(at), n);
                *self.to.at(plane as isize) = match self.term {
                    Term::Spread => {
                        let sum = sum_light(x, |x| x);
                        let mean = sum / T::from_f64(n as f64);
                        [sum, sum_light(x, |x| (x - mean) * (x - mean))]
                    }
                    Term::Gradients(grad) => {
                        let grad = std::slice::from_raw_parts(grad.at(at), n);
                        let products = |g: T, x: T| g * (x - mean);
                        [
                            sum_light(grad, |g| g),
                            lanes_of_pairs(grad, x, T::ZERO, products, |a, b| a + b),
                        ]
                    }
                };
            }
        }
    }
}

/// As [`Sums`], for columns of rows of all channels.
struct RowSums<'a, T>(Sums<'a, T>);

impl<T: Real> Job for RowSums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Sums { sets, x, term, means, to, first, last } = self.0;
        let columns = sets.channels * sets.size;
        for tile in first..last {
            let start = tile * TILE;
            let n = TILE.min(columns - start);
            // SAFETY: a part of a row of the operand.
            let row_of = |x: Src<T>, row: usize| unsafe {
                std::slice::from_raw_parts(x.at((row * columns + start) as isize), n)
            };
            let mut mean = Aligned([T::ZERO; TILE]);
            for (j, mean) in mean[..n].iter_mut().enumerate() {
                *mean = means[(start + j) / sets.size];
            }
            let mut sums = Aligned([[T::ZERO; TILE]; 2]);
            for block in (0..sets.batch).step_by(BLOCK) {
                let rows = block..sets.batch.min(block + BLOCK);
                let mut parts = Aligned([[T::ZERO; TILE]; 2]);
                let [part, products] = &mut *parts;
                match term {
                    Term::Spread => {
                        for row in rows.clone() {
                            for (part, &x) in part.iter_mut().zip(row_of(x, row)) {
                                *part += x;
                            }
                        }
                        let count = T::from_f64(rows.len() as f64);
                        for (mean, &part) in mean.iter_mut().zip(&*part) {
                            *mean = part / count;
                        }
                        for row in rows {
                            let places = products.iter_mut().zip(row_of(x, row)).zip(&*mean);
                            for ((square, &x), &mean) in places {
                                *square += (x - mean) * (x - mean);
                            }
                        }
                        if block > 0 {
                            join(&sums, block, &mut parts, count);
                        }
                    }
                    Term::Gradients(grad) => {
                        for row in rows {
                            let places = part.iter_mut().zip(products.iter_mut());
                            let places =
                                places.zip(row_of(grad, row)).zip(row_of(x, row)).zip(&*mean);
                            for ((((part, product), &g), &x), &mean) in places {
                                *part += g;
                                *product += g * (x - mean);
                            }
                        }
                    }
                }
                for (sum, part) in sums.as_flattened_mut().iter_mut().zip(parts.as_flattened()) {
                    *sum += *part;
                }
            }
            for j in 0..n {
                // SAFETY: one pair of sums for each column.
                unsafe { *to.at((start + j) as isize) = [sums[0][j], sums[1][j]] };
            }
        }
    }
}

/// Adds to the squares of `count` rows what the distance of their means from those of the `before` rows adds
/// to the squares of all (Chan, Golub & LeVeque, 1983).
#[inline(always)]
fn join<T: Real>(sums: &[[T; TILE]; 2], before: usize, parts: &mut [[T; TILE]; 2], count: T) {
    let before = T::from_f64(before as f64);
    let share = before * count / (before + count);
    let [part, squares] = parts;
    for ((square, &part), &sum) in squares.iter_mut().zip(&*part).zip(&sums[0]) {
        let distance = part / count - sum / before;
        *square += distance * distance * share;
    }
}

/// `y = g p + (x - mean) q + r` with factors for each plane; without a gradient the first term falls
/// away.
struct Map<'a, T> {
    sets: Sets,
    x: Src<T>,
    grad: Option<Src<T>>,
    means: &'a [T],
    /// For each plane, or channel if sets go over the batch.
    factors: &'a [[T; 3]],
    y: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Real> Map<'_, T> {
    #[inline(always)]
    fn factors(&self, plane: usize) -> [T; 3] {
        self.factors[if self.sets.groups.is_some() { plane } else { plane % self.sets.channels }]
    }
}

impl<T: Real> Job for Map<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let n = self.sets.size;
        for plane in self.first..self.last {
            let at = (plane * n) as isize;
            let mean = self.means[self.sets.of(plane)];
            let [p, q, r] = self.factors(plane);
            // SAFETY: the plane lies within the operands.
            unsafe {
                let (x, y) = (self.x.at(at), self.y.at(at));
                match self.grad {
                    None => {
                        for i in 0..n {
                            *y.add(i) = (*x.add(i) - mean) * q + r;
                        }
                    }
                    Some(grad) => {
                        let g = grad.at(at);
                        for i in 0..n {
                            *y.add(i) = *g.add(i) * p + ((*x.add(i) - mean) * q + r);
                        }
                    }
                }
            }
        }
    }
}

/// As [`Map`], for rows of all channels.
struct RowMap<'a, T> {
    map: Map<'a, T>,
    /// Mean, p, q and r of each column.
    columns: &'a [Vec<T>; 4],
}

impl<T: Real> Job for RowMap<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let [mean, p, q, r] = self.columns;
        let n = mean.len();
        let (mean, p, q, r) = (&mean[..n], &p[..n], &q[..n], &r[..n]);
        for row in self.map.first..self.map.last {
            let at = (row * n) as isize;
            // SAFETY: a row of the operands.
            unsafe {
                let (x, y) = (self.map.x.at(at), self.map.y.at(at));
                match self.map.grad {
                    None => {
                        for i in 0..n {
                            *y.add(i) = (*x.add(i) - mean[i]) * q[i] + r[i];
                        }
                    }
                    Some(grad) => {
                        let g = grad.at(at);
                        for i in 0..n {
                            *y.add(i) = *g.add(i) * p[i] + ((*x.add(i) - mean[i]) * q[i] + r[i]);
                        }
                    }
                }
            }
        }
    }
}

/// Sums of all planes, in both parts.
fn all_sums<T: Real>(sets: Sets, x: Src<T>, term: Term<T>, means: &[T]) -> Vec<[T; 2]> {
    let by_rows = sets.by_rows();
    let count = if by_rows { sets.channels * sets.size } else { sets.planes() };
    let mut sums = vec![[T::ZERO; 2]; count];
    let to = Dst::new(sums.as_mut_ptr());
    let job = |first, last| Sums { sets, x, term, means, to, first, last };
    if by_rows {
        split(count.div_ceil(TILE), TILE * sets.batch, |first, last| {
            multiversion::run_narrow(RowSums(job(first, last)));
        });
    } else {
        split(count, sets.size, |first, last| multiversion::run_narrow(job(first, last)));
    }
    sums
}

/// Maps all planes; `factors` has those of each plane, or channel if sets go over the batch.
fn map_all<T: Real>(
    sets: Sets,
    x: Src<T>,
    grad: Option<Src<T>>,
    means: &[T],
    factors: &[[T; 3]],
    y: Dst<T>,
) {
    let job = |first, last| Map { sets, x, grad, means, factors, y, first, last };
    if sets.by_rows() {
        let spread = |of: &dyn Fn(usize) -> T| -> Vec<T> {
            (0..sets.channels * sets.size).map(|column| of(column / sets.size)).collect()
        };
        let columns = [
            spread(&|channel| means[channel]),
            spread(&|channel| factors[channel][0]),
            spread(&|channel| factors[channel][1]),
            spread(&|channel| factors[channel][2]),
        ];
        split(sets.batch, sets.channels * sets.size, |first, last| {
            multiversion::run_narrow(RowMap { map: job(first, last), columns: &columns });
        });
    } else {
        split(sets.planes(), sets.size, |first, last| multiversion::run_narrow(job(first, last)));
    }
}

/// For each set the total of its planes' sums, each times a factor of its channel.
fn totals<T: Real>(sets: &Sets, sums: &[[T; 2]], factor: impl Fn(usize) -> f64) -> Vec<[f64; 2]> {
    let mut totals = vec![[0.0; 2]; sets.count()];
    let mut add = |set: usize, channel: usize, sum: [T; 2]| {
        let factor = factor(channel);
        totals[set][0] += factor * sum[0].to_f64();
        totals[set][1] += factor * sum[1].to_f64();
    };
    for (i, &sum) in sums.iter().enumerate() {
        let (set, channel) = sets.of_sums(i);
        add(set, channel, sum);
    }
    totals
}

/// Mean and variance of each set, of [`Term::Spread`] of its planes (or columns).
fn spreads<T: Real>(sets: &Sets, sums: &[[T; 2]]) -> Vec<[f64; 2]> {
    let count = sets.elements() as f64;
    let each = if sets.by_rows() { sets.batch } else { sets.size } as f64;
    let mut spreads = totals(sets, sums, |_| 1.0);
    for spread in &mut spreads {
        spread[0] /= count;
    }
    for (i, sum) in sums.iter().enumerate() {
        let spread = &mut spreads[sets.of_sums(i).0];
        let distance = sum[0].to_f64() / each - spread[0];
        spread[1] += each * distance * distance;
    }
    for spread in &mut spreads {
        spread[1] /= count;
    }
    spreads
}

/// The set and channel that each entry of a list of factors belongs to.
fn places(sets: Sets) -> impl Iterator<Item = (usize, usize)> {
    let entries = if sets.groups.is_some() { sets.planes() } else { sets.channels };
    (0..entries).map(move |entry| (sets.of(entry), entry % sets.channels.max(1)))
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias`. Means and variances are those of the sets,
/// and written, unless `given`; the reciprocals of the deviations are always.
///
/// # Safety
/// `input` and `output` hold the planes of `sets` and do not overlap; the slices have one element
/// for each set, weight and bias one for each channel.
pub unsafe fn channel_norm<T: Real>(
    sets: Sets,
    input: *const T,
    weight: Option<&[T]>,
    bias: Option<&[T]>,
    epsilon: f64,
    given: bool,
    means: &mut [T],
    variances: &mut [T],
    rstds: &mut [T],
    output: *mut T,
) {
    let (x, y) = (Src::new(input), Dst::new(output));
    if !given {
        // One pass over memory: the second one over a plane, or some rows, finds it in the caches.
        means.fill(T::ZERO);
        let sums = all_sums(sets, x, Term::Spread, means);
        let to = means.iter_mut().zip(variances.iter_mut());
        for ((mean, variance), spread) in to.zip(spreads(&sets, &sums)) {
            (*mean, *variance) = (T::from_f64(spread[0]), T::from_f64(spread[1]));
        }
    }
    for (rstd, &variance) in rstds.iter_mut().zip(variances.iter()) {
        *rstd = T::ONE / (variance + T::from_f64(epsilon)).sqrt();
    }
    let factors: Vec<[T; 3]> = places(sets)
        .map(|(set, channel)| {
            let scale = weight.map_or(T::ONE, |weight| weight[channel]);
            let shift = bias.map_or(T::ZERO, |bias| bias[channel]);
            [T::ZERO, rstds[set] * scale, shift]
        })
        .collect();
    map_all(sets, x, None, means, &factors, y);
}

/// The gradients of [`channel_norm`], as far as they are wanted.
///
/// # Safety
/// As for [`channel_norm`]; `grad_in`, if not null, holds the planes too.
pub unsafe fn channel_norm_backward<T: Real>(
    sets: Sets,
    input: *const T,
    grad: *const T,
    weight: Option<&[T]>,
    given: bool,
    means: &[T],
    rstds: &[T],
    grad_in: *mut T,
    grad_weight: Option<&mut [T]>,
    grad_bias: Option<&mut [T]>,
) {
    let (x, g) = (Src::new(input), Src::new(grad));
    let sums = if given && grad_weight.is_none() && grad_bias.is_none() {
        Vec::new()
    } else {
        all_sums(sets, x, Term::Gradients(g), means)
    };
    // Of channels: with the deviations of the sets that their planes belong to.
    let by_channel = |pick: &dyn Fn(usize, [T; 2]) -> f64, to: &mut [T]| {
        let mut totals = vec![0.0; sets.channels];
        for (i, &sum) in sums.iter().enumerate() {
            let (set, channel) = sets.of_sums(i);
            totals[channel] += pick(set, sum);
        }
        for (to, total) in to.iter_mut().zip(totals) {
            *to = T::from_f64(total);
        }
    };
    if let Some(to) = grad_weight {
        by_channel(&|set, sum| sum[1].to_f64() * rstds[set].to_f64(), to);
    }
    if let Some(to) = grad_bias {
        by_channel(&|_, sum| sum[0].to_f64(), to);
    }
    if grad_in.is_null() {
        return;
    }
    let scale = |channel: usize| weight.map_or(T::ONE, |weight| weight[channel]);
    if given {
        // The statistics are constants, and the input does not matter.
        let factors: Vec<[T; 3]> = places(sets)
            .map(|(set, channel)| [T::ZERO, rstds[set] * scale(channel), T::ZERO])
            .collect();
        let means = vec![T::ZERO; means.len()];
        return map_all(sets, g, None, &means, &factors, Dst::new(grad_in));
    }
    let shares = totals(&sets, &sums, |channel| scale(channel).to_f64());
    let count = sets.elements() as f64;
    let factors: Vec<[T; 3]> = places(sets)
        .map(|(set, channel)| {
            let rstd = rstds[set].to_f64();
            let [plain, products] = shares[set].map(|share| share / count);
            [
                rstds[set] * scale(channel),
                T::from_f64(-rstd * rstd * rstd * products),
                T::from_f64(-rstd * plain),
            ]
        })
        .collect();
    map_all(sets, x, Some(g), means, &factors, Dst::new(grad_in));
}
