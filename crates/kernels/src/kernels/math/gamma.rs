//! The gamma function's logarithm and its derivatives.

use std::f64::consts::PI;

use super::coefficients::{LGAMMA_1, LGAMMA_2};
use super::log::log_f64;
use super::trig::kernel_f64;
use super::{fma64, poly64, select, two_product};
use crate::kernels::block::{Exact, Mode};

const EULER: f64 = 0.5772156649015329;

/// Bernoulli numbers `B(2), B(4), ...`.
const BERNOULLI: [f64; 10] = [
    1.0 / 6.0,
    -1.0 / 30.0,
    1.0 / 42.0,
    -1.0 / 30.0,
    5.0 / 66.0,
    -691.0 / 2730.0,
    7.0 / 6.0,
    -3617.0 / 510.0,
    43867.0 / 798.0,
    -174611.0 / 330.0,
];

/// `sin(pi x)` with the exact zeros.
fn sin_pi(x: f64) -> f64 {
    let r = x - 2.0 * (x * 0.5).round();
    if r.abs() <= 0.25 {
        (PI * r).sin()
    } else if r.abs() >= 0.75 {
        (PI * (1.0 - r.abs())).sin().copysign(r)
    } else {
        (PI * (0.5 - r.abs())).cos().copysign(r)
    }
}

/// `log |gamma(x)|`; infinite at the poles.
pub fn lgamma(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return f64::INFINITY;
    }
    if x <= 0.0 {
        if x == x.floor() {
            return f64::INFINITY;
        }
        if x > -1e-17 {
            return -(-x).ln();
        }
        // Reflection.
        return (PI / (x * sin_pi(x)).abs()).ln() - lgamma(-x);
    }
    if x < 0.7 {
        // gamma(x) = gamma(1 + x) / x
        return around_one(x) - x.ln();
    }
    if x <= 1.5 {
        return around_one(x - 1.0);
    }
    if x <= 2.5 {
        return around_two(x - 2.0);
    }
    if x < 12.0 {
        // Down to (1.5, 2.5] by the recurrence.
        let (mut product, mut y) = (1.0, x);
        while y > 2.5 {
            y -= 1.0;
            product *= y;
        }
        return f64::ln(product) + around_two(y - 2.0);
    }
    (x - 0.5) * (x.ln() - 1.0) + (0.918938533204672742 - 0.5) + stirling(x)
}

/// Stirling's series for `x >= 12`: what [`lgamma`] is beside `(x - 1/2) log x - x + log(2 pi) / 2`.
pub(super) fn stirling(x: f64) -> f64 {
    let z = 1.0 / (x * x);
    let mut sum = 0.0;
    for k in (0..8).rev() {
        sum = sum * z + STIRLING[0][k];
    }
    sum / x
}

/// `lgamma(1 + x)` for `x >= 0`, as good near zero as elsewhere.
pub(super) fn lgamma_after_one(x: f64) -> f64 {
    if x < 0.7 { around_one(x) } else { lgamma(1.0 + x) }
}

/// `lgamma(1 + z)` for `-0.3 <= z <= 0.5`, and up to 0.7 by the expansion around two.
fn around_one(z: f64) -> f64 {
    if z > 0.5 {
        return around_two(z - 1.0);
    }
    z * (z * poly64::<Exact, 20>(z, &LGAMMA_1) - EULER)
}

/// `lgamma(2 + z)` for `|z| <= 0.5`.
fn around_two(z: f64) -> f64 {
    z * (z * poly64::<Exact, 19>(z, &LGAMMA_2) + (1.0 - EULER))
}

/// Terms of Stirling's series: `B(2k) / (2k (2k - 1))`, and of that of its derivative: `B(2k) / (2k)`.
const STIRLING: [[f64; 10]; 2] = {
    let mut terms = [[0.0; 10]; 2];
    let mut k = 0;
    while k < 10 {
        let n = 2.0 * (k as f64 + 1.0);
        terms[0][k] = BERNOULLI[k] / (n * (n - 1.0));
        terms[1][k] = BERNOULLI[k] / n;
        k += 1;
    }
    terms
};

/// From here on the series converge.
const FAR: f64 = 8.0;

/// The product `a (a + 1) ... (a + 7)` and its derivatives.
struct Rising {
    product: f64,
    slope: f64,
    /// Half the second derivative.
    bend: f64,
    /// The argument after those.
    next: f64,
}

impl Rising {
    /// For `a < 8`; beyond, the empty product.
    #[inline(always)]
    fn new<M: Mode>(a: f64) -> Self {
        let (mut product, mut slope, mut bend) = (a, 1.0, 0.0);
        for k in 1..8 {
            let factor = a + f64::from(k);
            bend = fma64::<M>(bend, factor, slope);
            slope = fma64::<M>(slope, factor, product);
            product *= factor;
        }
        let near = a < FAR;
        Self {
            product: select(near, product, 1.0),
            slope: select(near, slope, 0.0),
            bend: select(near, bend, 0.0),
            next: select(near, a + FAR, a),
        }
    }
}

/// `sin(pi x)` and `cos(pi x)` up to a common sign, exact at whole and half numbers.
#[inline(always)]
fn half_turns<M: Mode>(x: f64) -> (f64, f64) {
    let r = x - x.round_ties_even();
    let far = r.abs() > 0.25;
    let t = select(far, 0.5 - r.abs(), r.abs());
    let (angle, low) = two_product::<M>(t, PI);
    let (s, c) = kernel_f64::<M>(angle, fma64::<M>(t, 1.2246467991473532e-16, low));
    (select(far, c, s).copysign(r), select(far, s, c))
}

/// [`lgamma`] in double precision of a single, as good as that needs it.
#[inline(always)]
pub fn lgamma_single<M: Mode>(x: f64) -> f64 {
    // The series at |x| or beyond, less the factors of the way there; below 1/2 by reflection.
    let behind = x < 0.5;
    let Rising { product, next: y, .. } = Rising::new::<M>(select(behind, 1.0 - x, x));
    let z = 1.0 / (y * y);
    let series = fma64::<M>(y - 0.5, log_f64::<M>(y) - 1.0, 0.918938533204672742 - 0.5)
        + poly64::<M, 10>(z, &STIRLING[0]) / y;
    let (sine, _) = half_turns::<M>(x);
    let factor = log_f64::<M>(select(behind, PI * product / sine.abs(), product));
    let value = select(behind, factor - series, series - factor);
    let value = select(x == 1.0 || x == 2.0, 0.0, value);
    let value = select(x.abs() == f64::INFINITY, f64::INFINITY, value);
    select(x.is_nan(), x, value)
}

/// The derivative of [`lgamma`]; torch's values at the poles.
#[inline(always)]
pub fn digamma<M: Mode>(x: f64) -> f64 {
    let behind = x < 0.0;
    let Rising { product, slope, next: y, .. } = Rising::new::<M>(select(behind, 1.0 - x, x));
    let z = 1.0 / (y * y);
    let series = z * poly64::<M, 10>(z, &STIRLING[1]);
    let value = (log_f64::<M>(y) - 0.5 / y - series) - slope / product;
    let (sine, cosine) = half_turns::<M>(x);
    let value = select(behind, value - PI * cosine / sine, value);
    let value = select(behind && sine == 0.0, f64::NAN, value);
    select(x == 0.0, f64::NEG_INFINITY.copysign(-x), value)
}

/// The derivative of [`digamma`]; infinite at the poles.
#[inline(always)]
fn trigamma<M: Mode>(x: f64) -> f64 {
    let behind = x < 0.0;
    let a = Rising::new::<M>(select(behind, 1.0 - x, x));
    // The sum of 1 / (a + k)^2 is the square of that of 1 / (a + k) less twice its products.
    let inverse = 1.0 / a.product;
    let slope = a.slope * inverse;
    let way = fma64::<M>(slope, slope, -2.0 * (a.bend * inverse));
    let y = 1.0 / a.next;
    let z = y * y;
    let series = fma64::<M>(z * y, poly64::<M, 10>(z, &BERNOULLI), fma64::<M>(0.5, z, y));
    let (sine, _) = half_turns::<M>(x);
    let turned = PI / sine;
    let value = series + way;
    let value = select(behind, fma64::<M>(turned, turned, -value), value);
    // Nearer to zero the square overflows.
    select(x.abs() < 1e-155, f64::INFINITY, value)
}

/// The `n`-th derivative of [`digamma`].
#[inline(always)]
pub fn polygamma<M: Mode>(n: u32, x: f64) -> f64 {
    match n {
        0 => digamma::<M>(x),
        1 => trigamma::<M>(x),
        _ => higher(n, x),
    }
}

/// [`polygamma`] from the second derivative on.
fn higher(n: u32, x: f64) -> f64 {
    let factorial: f64 = (1..=n).map(f64::from).product();
    let sign = if n % 2 == 1 { 1.0 } else { -1.0 };
    sign * factorial * zeta(f64::from(n + 1), x)
}

/// Hurwitz' zeta function for `s > 1`, by the Euler-Maclaurin sum.
fn zeta(s: f64, q: f64) -> f64 {
    if q <= 0.0 {
        if q == q.floor() {
            return f64::INFINITY;
        }
        if s != s.floor() {
            return f64::NAN;
        }
    }
    let (mut sum, mut a) = (0.0, q);
    while a < 15.0 {
        sum += a.powf(-s);
        a += 1.0;
    }
    let power = a.powf(-s);
    sum += a * power / (s - 1.0) + 0.5 * power;
    // B(2j) / (2j)! s (s + 1) ... (s + 2j - 2) a^(-s - 2j + 1)
    let mut term = 0.5 * s * power / a;
    let mut j = 2.0;
    for b in BERNOULLI {
        sum += b * term;
        term *= (s + j - 1.0) * (s + j) / ((j + 1.0) * (j + 2.0) * a * a);
        j += 2.0;
    }
    sum
}
