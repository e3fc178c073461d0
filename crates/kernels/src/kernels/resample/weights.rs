//! Taps of interpolation: where a place lies in the input, and the weights of its neighbours.

use smallvec::SmallVec;

use super::{Filter, Scale};
use crate::kernels::vexp::Real;

/// Elements of one row with their weights.
pub(super) type Row<T> = SmallVec<[(usize, T); 8]>;

/// Steps in the input for one of the output, in the precision of the elements as in torch.
pub(super) fn step<T: Real>(scale: &Scale) -> T {
    let of = |n: usize| T::from_f64(n as f64);
    match scale.factor {
        _ if scale.align => {
            if scale.output > 1 {
                of(scale.input - 1) / of(scale.output - 1)
            } else {
                T::ZERO
            }
        }
        Some(factor) if factor > 0.0 => T::from_f64(1.0 / factor),
        _ => of(scale.input) / of(scale.output),
    }
}

/// Calls `each` with the taps of each place in turn.
pub(super) fn each_row<T: Real>(scale: &Scale, mut each: impl FnMut(&[(usize, T)])) {
    let step = step::<T>(scale);
    let last = scale.input - 1;
    let half = T::from_f64(0.5);
    let at = |place: usize| T::from_f64(place as f64);
    let mut row: Row<T> = SmallVec::new();
    for place in 0..scale.output {
        row.clear();
        let middle = step * (at(place) + half) - half;
        match scale.filter {
            _ if scale.antialias => {
                if scale.input == scale.output {
                    row.push((place, T::ONE));
                } else {
                    smoothed(scale, step, place, &mut row);
                }
            }
            // torch takes the floor of a float whatever the elements are.
            Filter::Nearest => row.push((floor_f32((step * at(place)).to_f64()).min(last), T::ONE)),
            Filter::NearestExact => {
                let middle = if middle < T::ZERO { T::ZERO } else { middle };
                row.push((floor_f32(middle.to_f64() + 0.5).min(last), T::ONE));
            }
            Filter::Linear => {
                if scale.input == scale.output {
                    row.push((place, T::ONE));
                } else {
                    let (below, share) = split(source(scale, step, place, false), last);
                    row.push((below, T::ONE - share));
                    row.push(((below + 1).min(last), share));
                }
            }
            Filter::Cubic | Filter::Lanczos => {
                let real = source(scale, step, place, true);
                let floor = real.to_f64().floor();
                let floor = floor.min(last as f64);
                let share = unit(real - T::from_f64(floor));
                for (shift, weight) in (-1i64..).zip(cubic_four(share)) {
                    let index = (floor as i64 + shift).clamp(0, last as i64);
                    row.push((index as usize, weight));
                }
            }
        }
        each(&row);
    }
}

fn floor_f32(real: f64) -> usize {
    (real as f32).floor() as usize
}

/// Where a place lies in the input.
pub(super) fn source<T: Real>(scale: &Scale, step: T, place: usize, below_zero: bool) -> T {
    let (place, half) = (T::from_f64(place as f64), T::from_f64(0.5));
    if scale.align {
        return step * place;
    }
    let real = step * (place + half) - half;
    if !below_zero && real < T::ZERO { T::ZERO } else { real }
}

/// Between nought and one.
pub(super) fn unit<T: Real>(share: T) -> T {
    if share < T::ZERO {
        T::ZERO
    } else if share > T::ONE {
        T::ONE
    } else {
        share
    }
}

/// The neighbour below and the share of the one above.
fn split<T: Real>(real: T, last: usize) -> (usize, T) {
    let below = (real.to_f64().floor() as usize).min(last);
    (below, unit(real - T::from_f64(below as f64)))
}

/// The cubic filter between its middle and one, and between one and two.
fn cubic_parts<T: Real>(x: T, a: T) -> [T; 2] {
    let number = |n: f64| T::from_f64(n);
    let inner = ((a + number(2.0)) * x - (a + number(3.0))) * x * x + T::ONE;
    let outer = ((a * x - number(5.0) * a) * x + number(8.0) * a) * x - number(4.0) * a;
    [inner, outer]
}

/// The weights of the four neighbours of a place at a share between the middle ones.
fn cubic_four<T: Real>(share: T) -> [T; 4] {
    let a = T::from_f64(-0.75);
    let rest = T::ONE - share;
    [
        cubic_parts(share + T::ONE, a)[1],
        cubic_parts(share, a)[0],
        cubic_parts(rest, a)[0],
        cubic_parts(rest + T::ONE, a)[1],
    ]
}

/// The width of a filter.
pub(super) fn width(filter: Filter) -> usize {
    match filter {
        Filter::Linear => 2,
        Filter::Cubic => 4,
        Filter::Lanczos => 6,
        Filter::Nearest | Filter::NearestExact => 1,
    }
}

/// A filter at a distance from its middle. Against aliasing the cubic one is Pillow's, with another slope.
pub(super) fn filtered<T: Real>(filter: Filter, x: T, antialias: bool) -> T {
    let x = x.abs();
    let distance = x.to_f64();
    match filter {
        Filter::Linear if distance < 1.0 => T::ONE - x,
        Filter::Cubic if distance < 2.0 => {
            let a = T::from_f64(if antialias { -0.5 } else { -0.75 });
            cubic_parts(x, a)[usize::from(distance >= 1.0)]
        }
        Filter::Lanczos if distance < 3.0 => {
            let sinc = |x: f64| {
                let x = x * std::f64::consts::PI;
                if x == 0.0 { 1.0 } else { x.sin() / x }
            };
            T::from_f64(sinc(distance) * sinc(distance / 3.0))
        }
        _ => T::ZERO,
    }
}

/// The taps of a filter that grows with the step.
pub(super) fn smoothed<T: Real>(scale: &Scale, step: T, place: usize, row: &mut Row<T>) {
    let half = T::from_f64(0.5);
    let reach = T::from_f64(width(scale.filter) as f64 * 0.5);
    let wide = step >= T::ONE;
    let support = if wide { reach * step } else { reach };
    let inverse = if wide { T::ONE / step } else { T::ONE };
    let most = support.to_f64().ceil() as i64 * 2 + 1;
    let middle = step * (T::from_f64(place as f64) + half);
    let first = ((middle - support + half).to_f64() as i64).max(0);
    let end = ((middle + support + half).to_f64() as i64).min(scale.input as i64);
    let count = (end - first).clamp(0, most);
    let mut total = T::ZERO;
    for tap in 0..count {
        let distance = (T::from_f64((tap + first) as f64) - middle + half) * inverse;
        let weight = filtered(scale.filter, distance, true);
        row.push(((first + tap) as usize, weight));
        total += weight;
    }
    if total != T::ZERO {
        for (_, weight) in row.iter_mut() {
            *weight = *weight / total;
        }
    }
}
