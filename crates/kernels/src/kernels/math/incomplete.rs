//! The incomplete gamma functions, by their power series (DLMF 8.7.1, 8.11.4) and their continued fraction
//! (8.9.2), in the way of Cephes.

use std::f64::consts::TAU;

use super::gamma::{lgamma, lgamma_after_one, stirling};

/// Terms after which a series is given up.
const STEPS: usize = 200_000;
/// From here on the factor of the series comes from Stirling's, where no large terms cancel.
const LARGE: f64 = 12.0;
/// Where the two numbers of the fraction are scaled down.
const BIG: f64 = 4503599627370496.0;

/// `log(1 + x) - x`
fn log1p_less(x: f64) -> f64 {
    if x.abs() > 0.5 {
        return x.ln_1p() - x;
    }
    // log(1 + x) = 2 atanh r, of which the first term and x are 2 r - x = -x r.
    let r = x / (2.0 + x);
    let square = r * r;
    let (mut sum, mut power, mut n) = (0.0, 2.0 * r * square, 3.0);
    loop {
        let term = power / n;
        sum += term;
        if term.abs() <= 1e-17 * sum.abs() {
            return sum - x * r;
        }
        power *= square;
        n += 2.0;
    }
}

/// `x^a e^-x / gamma(a)`
fn factor(a: f64, x: f64) -> f64 {
    if a < LARGE {
        return (a * x.ln() - x - lgamma(a)).exp();
    }
    let apart = (x - a) / a;
    (a / TAU).sqrt() * (a * log1p_less(apart) - stirling(a)).exp()
}

/// The lower function, for `x < a + 1`.
fn lower_series(a: f64, x: f64, error: f64) -> f64 {
    let (mut term, mut total, mut n) = (1.0 / a, 1.0 / a, a);
    for _ in 0..STEPS {
        n += 1.0;
        term *= x / n;
        total += term;
        if term <= error * total {
            break;
        }
    }
    factor(a, x) * total
}

/// The upper function, for small `x`: where the lower one is nearly 1.
fn upper_series(a: f64, x: f64, error: f64) -> f64 {
    let (mut power, mut sum, mut n) = (1.0, 0.0, 0.0);
    for _ in 0..STEPS {
        n += 1.0;
        power *= -x / n;
        let term = power / (a + n);
        sum += term;
        if term.abs() <= error * f64::abs(sum) {
            break;
        }
    }
    let exponent = a * x.ln() - lgamma_after_one(a);
    -exponent.exp_m1() - exponent.exp() * a * sum
}

/// The upper function, for `x >= a + 1`.
fn upper_fraction(a: f64, x: f64, error: f64) -> f64 {
    let (mut y, mut z, mut c) = (1.0 - a, x + 2.0 - a, 0.0);
    let (mut above, mut below) = ([1.0, x + 1.0], [x, z * x]);
    let mut value = above[1] / below[1];
    for _ in 0..STEPS {
        c += 1.0;
        y += 1.0;
        z += 2.0;
        let product = y * c;
        let next = above[1] * z - above[0] * product;
        let under = below[1] * z - below[0] * product;
        (above, below) = ([above[1], next], [below[1], under]);
        if under != 0.0 {
            let ratio = next / under;
            let near = (value - ratio).abs() <= error * ratio.abs();
            value = ratio;
            if near {
                break;
            }
        }
        if next.abs() > BIG {
            above = above.map(|x| x / BIG);
            below = below.map(|x| x / BIG);
        }
    }
    factor(a, x) * value
}

/// The value where one argument is at the end of its range.
fn end(a: f64, x: f64) -> Option<f64> {
    let both = x.is_infinite() && a.is_infinite();
    if a.is_nan() || x.is_nan() || a < 0.0 || x < 0.0 || both || (a == 0.0 && x == 0.0) {
        return Some(f64::NAN);
    }
    if x == 0.0 || a.is_infinite() {
        return Some(0.0);
    }
    (a == 0.0 || x.is_infinite()).then_some(1.0)
}

/// The regularised lower incomplete gamma function, to a relative error.
pub fn gammainc(a: f64, x: f64, error: f64) -> f64 {
    if let Some(value) = end(a, x) {
        return value;
    }
    if x < a + 1.0 { lower_series(a, x, error) } else { 1.0 - upper_fraction(a, x, error) }
}

/// The regularised upper incomplete gamma function, to a relative error.
pub fn gammaincc(a: f64, x: f64, error: f64) -> f64 {
    if let Some(value) = end(a, x) {
        return 1.0 - value;
    }
    if x <= 1.1 {
        let lower_is_small = if x <= 0.5 { -0.4 / x.ln() < a } else { x * 1.1 < a };
        return if lower_is_small {
            1.0 - lower_series(a, x, error)
        } else {
            upper_series(a, x, error)
        };
    }
    if x < a + 1.0 { 1.0 - lower_series(a, x, error) } else { upper_fraction(a, x, error) }
}

/// The relative error that singles need.
pub const ERROR_F32: f64 = 5e-9;
/// The relative error that doubles need.
pub const ERROR_F64: f64 = 1.2e-16;
