//! Interpolation of bytes in whole numbers, one dimension after the other from the last, rounding after each as
//! torch does: a weight has up to 15 bits, as many behind the point as the greatest of an axis leaves.

use smallvec::SmallVec;

use super::weights::{Row, filtered, smoothed, source, step, unit, width};
use super::{Along, Scale};
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, Src, split};

/// The taps of a dimension.
struct Axis {
    /// The first element of each place, and where its weights lie.
    places: Vec<(usize, usize, usize)>,
    weights: Vec<i32>,
    precision: u32,
    words: Option<Words>,
}

/// The taps of a dimension of neighbouring bytes, four to a word: as many words for each place, which all
/// lie inside the dimension.
struct Words {
    count: usize,
    /// The first byte of each place.
    first: Vec<u32>,
    /// Weights of the first bytes of all places, then those of the second ones, and so on.
    weights: Vec<i32>,
}

/// Places of a row made side by side.
const LANES: usize = 8;

impl Words {
    fn new(input: usize, places: &[(usize, usize, usize)], weights: &[i32]) -> Option<Self> {
        let most = places.iter().map(|(_, start, end)| end - start).max()?;
        let (count, n) = (most.div_ceil(4), places.len());
        if n < LANES || 4 * count > input {
            return None;
        }
        let mut made =
            Self { count, first: Vec::with_capacity(n), weights: vec![0; 4 * count * n] };
        for (place, &(index, start, end)) in places.iter().enumerate() {
            let first = index.min(input - 4 * count);
            made.first.push(first as u32);
            for (tap, weight) in weights[start..end].iter().enumerate() {
                made.weights[(index - first + tap) * n + place] = *weight;
            }
        }
        Some(made)
    }

    /// # Safety
    /// `x` and `y` are a row of the input and of the output.
    #[inline(always)]
    unsafe fn row(&self, x: *const u8, y: *mut u8, half: i32, precision: u32) {
        let n = self.first.len();
        let mut at = 0;
        while at < n {
            // The last ones again, if they are too few.
            at = at.min(n - LANES);
            let mut sums = [half; LANES];
            for word in 0..self.count {
                let mut words = [0u32; LANES];
                for (lane, held) in words.iter_mut().enumerate() {
                    let from = x.wrapping_add(self.first[at + lane] as usize + 4 * word);
                    // SAFETY: all words lie inside the row.
                    *held = u32::from_le(unsafe { from.cast::<u32>().read_unaligned() });
                }
                for byte in 0..4 {
                    let weights = &self.weights[(4 * word + byte) * n + at..][..LANES];
                    for lane in 0..LANES {
                        sums[lane] += weights[lane] * (words[lane] >> (8 * byte) & 255) as i32;
                    }
                }
            }
            for (lane, sum) in sums.iter().enumerate() {
                // SAFETY: a place of the row.
                unsafe { *y.add(at + lane) = rounded(*sum, precision) };
            }
            at += LANES;
        }
    }
}

impl Axis {
    fn new(scale: &Scale) -> Self {
        let step = step::<f64>(scale);
        let (mut places, mut real) = (Vec::with_capacity(scale.output), Vec::new());
        let mut row: Row<f64> = SmallVec::new();
        for place in 0..scale.output {
            row.clear();
            if scale.antialias {
                smoothed(scale, step, place, &mut row);
            } else {
                neighbours(scale, step, place, &mut row);
            }
            places.push((row.first().map_or(0, |tap| tap.0), real.len(), real.len() + row.len()));
            real.extend(row.iter().map(|tap| tap.1));
        }
        let most = real.iter().copied().fold(0.0f64, f64::max);
        let fits = |bits: &u32| (0.5 + most * f64::from(1u32 << (bits + 1))) < 32768.0;
        let precision = (0..22).find(|bits| !fits(bits)).unwrap_or(22);
        let whole = |weight: &f64| (weight * f64::from(1u32 << precision)).round() as i32;
        let weights: Vec<i32> = real.iter().map(whole).collect();
        let words = Words::new(scale.input, &places, &weights);
        Self { places, weights, precision, words }
    }
}

/// The neighbours of a place; those beyond an end count for the element there.
fn neighbours(scale: &Scale, step: f64, place: usize, row: &mut Row<f64>) {
    let count = width(scale.filter) as i64;
    let last = scale.input as i64 - 1;
    let real = source(scale, step, place, count > 2);
    let below = real.floor().min(last as f64);
    let share = unit(real - below);
    for tap in 0..count {
        let shift = tap + 1 - count / 2;
        let weight = filtered(scale.filter, shift as f64 - share, false);
        let index = (below as i64 + shift).clamp(0, last) as usize;
        match row.last_mut() {
            Some((at, sum)) if *at == index => *sum += weight,
            _ => row.push((index, weight)),
        }
    }
}

/// Resamples the middle one of three dimensions, for some of the outermost.
struct Pass<'a> {
    axis: &'a Axis,
    inner: usize,
    input: usize,
    x: Src<u8>,
    y: Dst<u8>,
    first: usize,
    last: usize,
}

/// Bytes summed side by side.
const TILE: usize = 64;

impl Job for Pass<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Axis { places, weights, precision, words } = self.axis;
        let precision = *precision;
        let half = 1i32 << precision >> 1;
        let inner = self.inner;
        for outer in self.first..self.last {
            let x = self.x.at((outer * self.input * inner) as isize);
            let y = self.y.at((outer * places.len() * inner) as isize);
            if let (Some(words), 1) = (words, inner) {
                // SAFETY: a row of each.
                unsafe { words.row(x, y, half, precision) };
                continue;
            }
            for (place, &(index, start, end)) in places.iter().enumerate() {
                let weights = &weights[start..end];
                let from = x.wrapping_add(index * inner);
                let to = y.wrapping_add(place * inner);
                // SAFETY: the taps of an axis lie inside its dimension, the place inside the result.
                unsafe {
                    let at = |tap: usize| i32::from(*from.add(tap));
                    match *weights {
                        _ if inner > 1 => rows(from, to, inner, half, precision, weights),
                        _ => {
                            let mut sum = half;
                            for (tap, &weight) in weights.iter().enumerate() {
                                sum += weight * at(tap);
                            }
                            *to = rounded(sum, precision);
                        }
                    }
                }
            }
        }
    }
}

/// Sums rows of `count` bytes.
///
/// # Safety
/// There are as many as weights, and `y` has `count`.
#[inline(always)]
unsafe fn rows(x: *const u8, y: *mut u8, count: usize, half: i32, precision: u32, weights: &[i32]) {
    // SAFETY: by the contract.
    unsafe {
        match *weights {
            [w] => sum(x, y, count, half, precision, [w]),
            [v, w] => sum(x, y, count, half, precision, [v, w]),
            [u, v, w] => sum(x, y, count, half, precision, [u, v, w]),
            [t, u, v, w] => sum(x, y, count, half, precision, [t, u, v, w]),
            _ => sum_many(x, y, count, half, precision, weights),
        }
    }
}

#[inline(always)]
fn rounded(sum: i32, precision: u32) -> u8 {
    (sum >> precision).clamp(0, 255) as u8
}

/// Sums `N` rows of `count` bytes.
///
/// # Safety
/// There are so many, and `y` has `count`.
#[inline(always)]
unsafe fn sum<const N: usize>(
    x: *const u8,
    y: *mut u8,
    count: usize,
    half: i32,
    precision: u32,
    weights: [i32; N],
) {
    for i in 0..count {
        let mut sum = half;
        for tap in 0..N {
            // SAFETY: by the contract.
            sum += weights[tap] * i32::from(unsafe { *x.add(tap * count + i) });
        }
        // SAFETY: by the contract.
        unsafe { *y.add(i) = rounded(sum, precision) };
    }
}

/// [`sum`] for any number of rows.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn sum_many(
    x: *const u8,
    y: *mut u8,
    count: usize,
    half: i32,
    precision: u32,
    weights: &[i32],
) {
    let mut column = 0;
    while column < count {
        let n = TILE.min(count - column);
        let mut sums = [half; TILE];
        for (tap, &weight) in weights.iter().enumerate() {
            let from = x.wrapping_add(tap * count + column);
            for (lane, sum) in sums[..n].iter_mut().enumerate() {
                // SAFETY: by the contract.
                *sum += weight * i32::from(unsafe { *from.add(lane) });
            }
        }
        for (lane, sum) in sums[..n].iter().enumerate() {
            // SAFETY: by the contract.
            unsafe { *y.add(column + lane) = rounded(*sum, precision) };
        }
        column += n;
    }
}

/// Interpolates bytes along each dimension that is scaled to another size.
///
/// # Safety
/// `input` and `output` have as many elements as the dimensions say, and do not overlap.
pub unsafe fn resample_bytes(along: &[Along], input: *const u8, output: *mut u8) {
    let mut sizes: SmallVec<[usize; 6]> = along.iter().map(|along| along.sizes()[0]).collect();
    let scaled = |along: &Along| match along {
        Along::Scale(scale) if scale.input != scale.output => Some(*scale),
        _ => None,
    };
    let dims = (0..along.len()).rev().filter_map(|dim| Some((dim, scaled(&along[dim])?)));
    let dims: SmallVec<[(usize, Scale); 4]> = dims.collect();
    let mut held: Vec<u8> = Vec::new();
    for (i, &(dim, scale)) in dims.iter().enumerate() {
        let axis = Axis::new(&scale);
        let outer: usize = sizes[..dim].iter().product();
        let inner: usize = sizes[dim + 1..].iter().product();
        sizes[dim] = scale.output;
        let mut made = Vec::new();
        let y = if i + 1 == dims.len() {
            Dst::new(output)
        } else {
            made.resize(outer * scale.output * inner, 0);
            Dst::new(made.as_mut_ptr())
        };
        let x = Src::new(if i == 0 { input } else { held.as_ptr() });
        let work = scale.output * inner * width(scale.filter);
        split(outer, work, |first, last| {
            let pass = Pass { axis: &axis, inner, input: scale.input, x, y, first, last };
            multiversion::run_narrow(pass);
        });
        held = made;
    }
    if dims.is_empty() {
        // SAFETY: nothing is scaled: both have these elements.
        unsafe { std::ptr::copy_nonoverlapping(input, output, sizes.iter().product()) };
    }
}
