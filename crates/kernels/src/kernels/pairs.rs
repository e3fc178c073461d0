//! Distances of all pairs of rows of a matrix.
#![allow(unsafe_code)]

use super::multiversion::{self, Job};
use super::raw::{Dst, Src, split};
use super::vexp::Real;

/// What is taken of the differences of two rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// How many are not zero.
    Count,
    /// The sum of their magnitudes.
    Sum,
    /// The root of the sum of their squares.
    Euclid,
    /// The greatest magnitude.
    Most,
    /// The root of this degree of the sum of such powers.
    Power(f64),
}

/// Where the distance of rows `i < j` of `n` stands.
#[inline(always)]
fn place(n: usize, i: usize, j: usize) -> usize {
    i * (2 * n - i - 1) / 2 + j - i - 1
}

#[inline(always)]
fn raised<T: Real>(x: T, power: f64) -> T {
    if power == 2.0 { x * x } else { T::from_f64(x.to_f64().powf(power)) }
}

/// Rows whose distances from one are taken together.
const LANES: usize = 16;
/// Differences summed before they are added to the others.
const BLOCK: usize = 128;

struct Distances<'a, T> {
    metric: Metric,
    sizes: [usize; 2],
    x: Src<T>,
    /// The columns, each of `n + LANES` elements.
    columns: &'a [T],
    y: Dst<T>,
    first: usize,
    last: usize,
}

/// What `join` makes of the differences of a row and `LANES` others, of which the columns begin at `at`.
#[inline(always)]
fn joined<T: Real>(
    row: &[T],
    columns: &[T],
    at: usize,
    part: impl Fn(T) -> T,
    join: impl Fn(T, T) -> T,
) -> [T; LANES] {
    let height = columns.len() / row.len().max(1);
    let mut total = [T::ZERO; LANES];
    for (block, row) in row.chunks(BLOCK).enumerate() {
        let mut sums = [T::ZERO; LANES];
        for (k, &x) in row.iter().enumerate() {
            let others = &columns[(block * BLOCK + k) * height + at..][..LANES];
            for lane in 0..LANES {
                sums[lane] = join(sums[lane], part(x - others[lane]));
            }
        }
        for lane in 0..LANES {
            total[lane] = join(total[lane], sums[lane]);
        }
    }
    total
}

impl<T: Real> Job for Distances<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { metric, sizes: [n, width], columns, .. } = self;
        let sum = |x: T, y: T| x + y;
        for i in self.first..self.last {
            // SAFETY: a row of the matrix.
            let row = unsafe { std::slice::from_raw_parts(self.x.at((i * width) as isize), width) };
            let mut j = i + 1;
            while j < n {
                let mut made = match metric {
                    Metric::Count => {
                        let one = |x: T| if x == T::ZERO { T::ZERO } else { T::ONE };
                        joined(row, columns, j, one, sum)
                    }
                    Metric::Sum => joined(row, columns, j, |x| x.abs(), sum),
                    Metric::Euclid => joined(row, columns, j, |x| x * x, sum),
                    Metric::Most => joined(row, columns, j, |x| x.abs(), |x, y| x.max_nan(y)),
                    // Products become vectors, which powers do not.
                    Metric::Power(p) if p == 3.0 => {
                        joined(row, columns, j, |x| x.abs() * x * x, sum)
                    }
                    Metric::Power(p) => joined(row, columns, j, |x| raised(x.abs(), p), sum),
                };
                for made in &mut made {
                    match metric {
                        Metric::Euclid => *made = made.sqrt(),
                        Metric::Power(p) => *made = raised(*made, 1.0 / p),
                        _ => {}
                    }
                }
                let to = self.y.at(place(n, i, j) as isize);
                for (lane, made) in made.iter().take(n - j).enumerate() {
                    // SAFETY: the distances of this row and later ones lie side by side.
                    unsafe { *to.add(lane) = *made };
                }
                j += LANES;
            }
        }
    }
}

/// The distances of all pairs of `n` rows of `width` elements, those of the first row first.
///
/// # Safety
/// `x` has `n * width` elements, `y` one for each pair, and they do not overlap.
pub unsafe fn distances<T: Real>(metric: Metric, sizes: [usize; 2], x: *const T, y: *mut T) {
    let [n, width] = sizes;
    let height = n + LANES;
    let mut columns = vec![T::ZERO; height * width];
    for i in 0..n {
        for k in 0..width {
            // SAFETY: an element of the matrix.
            columns[k * height + i] = unsafe { *x.add(i * width + k) };
        }
    }
    let (x, y, columns) = (Src::new(x), Dst::new(y), &columns[..]);
    split(n, n * width / 4, |first, last| {
        multiversion::run(Distances { metric, sizes, x, columns, y, first, last });
    });
}

struct Back<T> {
    metric: Metric,
    sizes: [usize; 2],
    x: Src<T>,
    y: Src<T>,
    grad: Src<T>,
    to: Dst<T>,
    first: usize,
    last: usize,
}

/// The sign of a number, zero for zero.
#[inline(always)]
fn sign<T: Real>(x: T) -> T {
    let up = if x > T::ZERO { T::ONE } else { T::ZERO };
    let down = if x < T::ZERO { T::ONE } else { T::ZERO };
    up - down
}

impl<T: Real> Job for Back<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let [n, width] = self.sizes;
        for i in self.first..self.last {
            // SAFETY: rows of the matrix; this one of the result is the task's.
            let (row, to) = unsafe {
                (
                    std::slice::from_raw_parts(self.x.at((i * width) as isize), width),
                    std::slice::from_raw_parts_mut(self.to.at((i * width) as isize), width),
                )
            };
            to.fill(T::ZERO);
            for j in (0..n).filter(|&j| j != i) {
                let at = place(n, i.min(j), i.max(j)) as isize;
                // SAFETY: the place of the pair, and a row of the matrix.
                let (g, y, other) = unsafe {
                    let other = self.x.at((j * width) as isize);
                    (*self.grad.at(at), *self.y.at(at), std::slice::from_raw_parts(other, width))
                };
                if y == T::ZERO {
                    continue;
                }
                match self.metric {
                    Metric::Count => {}
                    Metric::Sum => {
                        for k in 0..width {
                            to[k] += g * sign(row[k] - other[k]);
                        }
                    }
                    Metric::Euclid => {
                        let share = g / y;
                        for k in 0..width {
                            to[k] += share * (row[k] - other[k]);
                        }
                    }
                    Metric::Most => {
                        for k in 0..width {
                            let apart = row[k] - other[k];
                            let most = if apart.abs() == y { g } else { T::ZERO };
                            to[k] += most * sign(apart);
                        }
                    }
                    Metric::Power(p) => {
                        let share = g / raised(y, p - 1.0);
                        for k in 0..width {
                            let apart = row[k] - other[k];
                            if apart != T::ZERO {
                                to[k] += share * sign(apart) * raised(apart.abs(), p - 1.0);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The gradient of the matrix, from those of its distances `y`.
///
/// # Safety
/// As for [`distances`]; `grad` has as many elements as `y`, `to` as many as `x`.
pub unsafe fn distances_backward<T: Real>(
    metric: Metric,
    sizes: [usize; 2],
    [x, y, grad]: [*const T; 3],
    to: *mut T,
) {
    let (x, y, grad, to) = (Src::new(x), Src::new(y), Src::new(grad), Dst::new(to));
    split(sizes[0], sizes[0] * sizes[1], |first, last| {
        multiversion::run(Back { metric, sizes, x, y, grad, to, first, last });
    });
}
