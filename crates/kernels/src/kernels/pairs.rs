//! Distances of all pairs of rows of a matrix, or of the rows of two.
#![allow(unsafe_code)]

mod between;
mod slopes;

pub use between::{between, between_backward};
use slopes::{Slopes, sums_of_slopes};

use super::multiversion::{self, Job};
use super::raw::{Dst, Scratch, Src, split};
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

/// The distances of a row from `LANES` others, of which the columns begin at `at`.
#[inline(always)]
fn made<T: Real>(metric: Metric, row: &[T], columns: &[T], at: usize) -> [T; LANES] {
    let sum = |x: T, y: T| x + y;
    let mut made = match metric {
        Metric::Count => {
            let one = |x: T| if x == T::ZERO { T::ZERO } else { T::ONE };
            joined(row, columns, at, one, sum)
        }
        Metric::Sum => joined(row, columns, at, |x| x.abs(), sum),
        Metric::Euclid => joined(row, columns, at, |x| x * x, sum),
        Metric::Most => joined(row, columns, at, |x| x.abs(), |x, y| x.max_nan(y)),
        // Products become vectors, which powers do not.
        Metric::Power(p) if p == 3.0 => joined(row, columns, at, |x| x.abs() * x * x, sum),
        Metric::Power(p) => joined(row, columns, at, |x| raised(x.abs(), p), sum),
    };
    for made in &mut made {
        match metric {
            Metric::Euclid => *made = made.sqrt(),
            Metric::Power(p) => *made = raised(*made, 1.0 / p),
            _ => {}
        }
    }
    made
}

/// The columns of a matrix of `n` rows, each with room for `LANES` more.
///
/// # Safety
/// `x` has `n * width` elements.
unsafe fn columns_of<T: Real>([n, width]: [usize; 2], x: *const T) -> Scratch<T> {
    let height = n + LANES;
    let mut columns = Scratch::filled(T::ZERO, height * width);
    for i in 0..n {
        for k in 0..width {
            // SAFETY: an element of the matrix.
            columns[k * height + i] = unsafe { *x.add(i * width + k) };
        }
    }
    columns
}

impl<T: Real> Job for Distances<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { metric, sizes: [n, width], columns, .. } = self;
        for i in self.first..self.last {
            // SAFETY: a row of the matrix.
            let row = unsafe { std::slice::from_raw_parts(self.x.at((i * width) as isize), width) };
            let mut j = i + 1;
            while j < n {
                let made = made(metric, row, columns, j);
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
    // SAFETY: the caller's promise is passed on.
    let columns = unsafe { columns_of(sizes, x) };
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

impl<T: Real> Job for Back<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let [n, width] = self.sizes;
        let mut slopes = Slopes::new(self.metric, n);
        let none = slopes.are_none();
        for i in self.first..self.last {
            // The pairs with earlier rows lie apart, those with later ones side by side.
            let mut set = |j: usize, at: usize| {
                // SAFETY: the place of the pair.
                let (g, y) = unsafe { (*self.grad.at(at as isize), *self.y.at(at as isize)) };
                slopes.set(j, g, y);
            };
            if !none {
                for j in 0..i {
                    set(j, place(n, j, i));
                }
                for j in i + 1..n {
                    set(j, place(n, i, i + 1) + j - i - 1);
                }
            }
            slopes.set(i, T::ZERO, T::ZERO);
            // SAFETY: rows of the matrix; this one of the result is the task's.
            let (row, others, to) = unsafe {
                (
                    std::slice::from_raw_parts(self.x.at((i * width) as isize), width),
                    std::slice::from_raw_parts(self.x.at(0), n * width),
                    std::slice::from_raw_parts_mut(self.to.at((i * width) as isize), width),
                )
            };
            sums_of_slopes(&mut slopes, row, others, to);
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
