//! The gamma function's logarithm and its derivatives, one double at a time.

use std::f64::consts::PI;

use super::coefficients::{LGAMMA_1, LGAMMA_2};
use super::poly64;
use crate::kernels::block::Exact;

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
    let z = 1.0 / (x * x);
    let mut sum = 0.0;
    for k in (0..8).rev() {
        let n = 2.0 * (k as f64 + 1.0);
        sum = sum * z + BERNOULLI[k] / (n * (n - 1.0));
    }
    (x - 0.5) * (x.ln() - 1.0) + (0.918938533204672742 - 0.5) + sum / x
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

/// The derivative of [`lgamma`]; torch's values at the poles.
pub fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return f64::NEG_INFINITY.copysign(-x);
    }
    if x < 0.0 {
        if x == x.floor() {
            return f64::NAN;
        }
        let r = x - x.round();
        return digamma(1.0 - x) - PI / (PI * r).tan();
    }
    let (mut shift, mut y) = (0.0, x);
    while y < 12.0 {
        shift -= 1.0 / y;
        y += 1.0;
    }
    let z = 1.0 / (y * y);
    let mut sum = 0.0;
    for k in (0..8).rev() {
        sum = sum * z + BERNOULLI[k] / (2.0 * (k as f64 + 1.0));
    }
    shift + (y.ln() - 0.5 / y - sum * z)
}

/// The `n`-th derivative of [`digamma`].
pub fn polygamma(n: u32, x: f64) -> f64 {
    if n == 0 {
        return digamma(x);
    }
    let factorial: f64 = (1..=n).map(f64::from).product();
    if n == 1 && x < 0.5 {
        if x == x.floor() {
            return f64::INFINITY;
        }
        // Reflection of the trigamma function.
        let s = sin_pi(x);
        return PI * PI / (s * s) - polygamma(1, 1.0 - x);
    }
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
