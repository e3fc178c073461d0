//! Squares of the singular values of matrices of two diagonals, without vectors.
//!
//! Formula source: Fernando & Parlett, "Accurate Singular Values and Differential qd Algorithms", 1994;
//! Parlett & Marques, "An Implementation of the dqds Algorithm (Positive Case)", 2000, for the shifts.

const EPSILON: f64 = 0.5 * f64::EPSILON;
/// Squared: below it in relation to its neighbours an element counts as zero.
const SMALL: f64 = (20.0 * EPSILON) * (20.0 * EPSILON);
/// More rounds than a value needs.
const ROUNDS: usize = 60;

/// The least of what a pass leaves, of all but the last and of all but the last two; the last three.
#[derive(Clone, Copy, Default)]
struct Least {
    all: f64,
    but_one: f64,
    but_two: f64,
    last: f64,
    last_but_one: f64,
    last_but_two: f64,
}

/// One pass with a shift, from `q` and `e` to others.
#[inline(always)]
fn pass(q: &[f64], e: &[f64], shift: f64, to_q: &mut [f64], to_e: &mut [f64]) -> Least {
    let n = q.len();
    let (e, to_q) = (&e[..n - 1], &mut to_q[..n]);
    let to_e = &mut to_e[..n - 1];
    let mut d = q[0] - shift;
    let mut made =
        Least { all: d, but_one: f64::INFINITY, but_two: f64::INFINITY, ..Least::default() };
    let (mut before, mut far) = (f64::INFINITY, f64::INFINITY);
    for i in 0..n - 1 {
        made.but_two = made.but_one;
        made.but_one = made.all;
        far = before;
        before = d;
        let sum = d + e[i];
        let ratio = q[i + 1] / sum;
        to_q[i] = sum;
        to_e[i] = e[i] * ratio;
        d = d * ratio - shift;
        made.all = if d < made.all { d } else { made.all };
    }
    to_q[n - 1] = d;
    (made.last, made.last_but_one, made.last_but_two) = (d, before, far);
    made
}

/// A shift below the least value, as far as can be told.
fn shift_of(q: &[f64], e: &[f64], least: Least, share: &mut f64) -> f64 {
    let n = q.len();
    let d = least.all;
    if d <= 0.0 {
        return 0.0;
    }
    if d == least.last && n > 2 {
        if least.but_one == least.last_but_one {
            let b1 = (q[n - 1] * e[n - 2]).sqrt();
            let b2 = (q[n - 2] * e[n - 3]).sqrt();
            let a2 = q[n - 2] + e[n - 2];
            let second = if n > 3 { least.but_two - a2 - 0.25 * least.but_two } else { 0.0 };
            let first = if second > 0.0 && second > b2 {
                a2 - d - (b2 / second) * b2
            } else {
                a2 - d - (b1 + b2)
            };
            if first > 0.0 && first > b1 {
                return (d - (b1 / first) * b1).max(0.5 * d);
            }
            let mut s = if d > b1 { d - b1 } else { 0.0 };
            if a2 > b1 + b2 {
                s = s.min(a2 - (b1 + b2));
            }
            return s.max(d / 3.0);
        }
        // The length of the vector that belongs to the last element.
        let (mut part, mut sum) = (1.0, 0.0);
        let mut falls = true;
        for i in (0..n - 1).rev() {
            let before = part;
            if e[i] > q[i] {
                falls = false;
                break;
            }
            part *= e[i] / q[i];
            sum += part;
            if 100.0 * before.max(part) < sum || sum > 0.563 {
                break;
            }
        }
        sum *= 1.05;
        if falls && sum < 0.563 {
            return d * (1.0 - sum.sqrt()) / (1.0 + sum);
        }
        return 0.25 * d;
    }
    *share += (1.0 - *share) / 3.0;
    *share * d
}

/// Eigenvalues of the product of a lower matrix, ones on the diagonal and `e` below it, with an upper one, `q`
/// on the diagonal and ones above it: in the place of `q`, in no order. All must be at least zero. `false` if
/// that fails.
pub(super) fn squares(q: &mut [f64], e: &mut [f64]) -> bool {
    let n = q.len();
    let (mut q2, mut e2) = (vec![0.0; n], vec![0.0; n]);
    let mut parts = vec![(0, n, 0.0)];
    let mut rounds = ROUNDS * n + 10;
    while let Some((first, mut end, mut sigma)) = parts.pop() {
        let mut least = Least::default();
        let (mut known, mut share, mut turned) = (false, 0.25, false);
        let mut gone = 0;
        while end > first {
            let last = end - 1;
            if last == first {
                q[last] += sigma;
                break;
            }
            let small = |i: usize, q: &[f64], e: &[f64]| {
                e[i] <= SMALL * (sigma + q[i + 1]) || e[i] <= SMALL * q[i]
            };
            if small(last - 1, q, e) {
                q[last] += sigma;
                end -= 1;
                gone += 1;
                continue;
            }
            if last - first == 1 || small(last - 2, q, e) {
                // The last two by themselves.
                let (mut a, mut b, c) = (q[last - 1], q[last], e[last - 1]);
                if b > a {
                    std::mem::swap(&mut a, &mut b);
                }
                let half = 0.5 * ((a - b) + c);
                if c > b * SMALL && half != 0.0 {
                    let part = b * (c / half);
                    let part = if part <= half {
                        b * (c / (half * (1.0 + (1.0 + part / half).sqrt())))
                    } else {
                        b * (c / (half + half.sqrt() * (half + part).sqrt()))
                    };
                    let greater = a + (part + c);
                    b *= a / greater;
                    a = greater;
                }
                q[last - 1] = a + sigma;
                q[last] = b + sigma;
                end -= 2;
                gone += 2;
                continue;
            }
            // A part that falls apart is taken from its end.
            if let Some(split) = (first..last).rev().find(|&i| small(i, q, e)) {
                parts.push((first, split + 1, sigma));
                parts.push((split + 1, end, sigma));
                break;
            }
            if !turned {
                turned = true;
                if q[first] < q[last] {
                    q[first..end].reverse();
                    e[first..last].reverse();
                    known = false;
                }
            }
            let mut shift = 0.0;
            if known {
                shift = match gone {
                    0 => shift_of(&q[first..end], &e[first..last], least, &mut share),
                    1 if least.but_one == least.last_but_one => 0.5 * least.but_one,
                    1 => 0.25 * least.but_one,
                    2 if least.but_two == least.last_but_two => 0.5 * least.but_two,
                    2 => 0.25 * least.but_two,
                    _ => 0.0,
                };
                shift = if shift.is_finite() { shift.max(0.0) } else { 0.0 };
            }
            loop {
                if rounds == 0 {
                    return false;
                }
                rounds -= 1;
                let (own, beside) = (&q[first..end], &e[first..last]);
                least = pass(own, beside, shift, &mut q2[first..end], &mut e2[first..last]);
                if least.all >= 0.0 && least.last >= 0.0 {
                    break;
                }
                if shift == 0.0 {
                    return false;
                }
                // Too far. Where the last element alone tells so, by how much it does.
                let near = shift + least.last;
                shift = if least.but_one > 0.0 && least.last < 0.0 && near > 0.0 && !share.is_nan()
                {
                    near * (1.0 - 4.0 * EPSILON)
                } else if least.last.is_nan() || shift < EPSILON * (sigma + q[first]) {
                    0.0
                } else {
                    0.25 * shift
                };
            }
            q[first..end].copy_from_slice(&q2[first..end]);
            e[first..last].copy_from_slice(&e2[first..last]);
            sigma += shift;
            (known, gone) = (true, 0);
        }
    }
    true
}
