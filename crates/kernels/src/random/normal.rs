//! Normal numbers by the transform of Box & Muller, "A Note on the Generation of Random Normal
//! Deviates", Annals of Mathematical Statistics 29(2), 1958.
//!
//! Torch has two arrangements of it, with different numbers. Fewer than 16 go one by one in double
//! precision, the sine half of each pair kept for the next draw. From 16 on, the slice is filled
//! with uniforms and each block of 16 transformed in place, eight cosines before eight sines; a
//! remainder is served by drawing the last 16 afresh.

use std::f64::consts::TAU;

use super::continuous::Real;
use super::engine::Generator;
use crate::error::{Result, ensure};
use crate::kernels::multiversion::{self, Job};

const BLOCK: usize = 16;
const HALF: usize = BLOCK / 2;

/// Fills with normal numbers of the given mean and standard deviation.
///
/// ```
/// use rustgrad_kernels::random::{Generator, normal};
/// let mut out = [0f32; 1];
/// normal(&mut Generator::new(0), &mut out, 0.0, 1.0).unwrap();
/// assert_eq!(out, [1.5409960746765137]);
/// ```
pub fn normal<T: Real>(
    generator: &mut Generator,
    out: &mut [T],
    mean: f64,
    std: f64,
) -> Result<()> {
    if out.len() < BLOCK {
        return normal_sequential(generator, out, mean, std);
    }
    check(std)?;
    // By pieces that stay in cache; the rest of the last block stays uniform until it is drawn anew.
    for piece in out.chunks_mut(256 * BLOCK) {
        T::units(generator, piece);
        let whole = piece.len() / BLOCK * BLOCK;
        T::normal16(&mut piece[..whole], mean, std);
    }
    if !out.len().is_multiple_of(BLOCK) {
        let start = out.len() - BLOCK;
        let last = &mut out[start..];
        T::units(generator, last);
        T::normal16(last, mean, std);
    }
    Ok(())
}

/// Fills with normal numbers one by one, as torch does for fewer than 16 and for tensors that are
/// not contiguous.
///
/// ```
/// use rustgrad_kernels::random::{Generator, normal_sequential};
/// let mut out = [0f64; 3];
/// normal_sequential(&mut Generator::new(0), &mut out, 0.0, 1.0).unwrap();
/// ```
pub fn normal_sequential<T: Real>(
    generator: &mut Generator,
    out: &mut [T],
    mean: f64,
    std: f64,
) -> Result<()> {
    check(std)?;
    for slot in out {
        *slot = T::from_f64(pair(generator).mul_add(std, mean));
    }
    Ok(())
}

fn check(std: f64) -> Result<()> {
    ensure!(std >= 0.0, runtime, "normal expects std >= 0.0, but found std {std}");
    Ok(())
}

/// One standard normal number: the spare of the last pair, or the first of a new one.
#[inline]
pub(super) fn pair(generator: &mut Generator) -> f64 {
    if let Some(spare) = generator.spare_normal.take() {
        return spare;
    }
    let turn = generator.unit_f64();
    let radius = (-2.0 * (-generator.unit_f64()).ln_1p()).sqrt();
    let angle = TAU * turn;
    generator.spare_normal = Some(radius * angle.sin());
    radius * angle.cos()
}

/// Transforms blocks of 16 uniform numbers, in double precision throughout.
pub(super) fn blocks_f64(blocks: &mut [f64], mean: f64, std: f64) {
    for block in blocks.as_chunks_mut::<BLOCK>().0 {
        let (cosines, sines) = block.split_at_mut(HALF);
        for (a, b) in cosines.iter_mut().zip(sines) {
            // In (0, 1], for the logarithm.
            let radius = (-2.0 * (1.0 - *a).ln()).sqrt();
            let angle = TAU * *b;
            *a = (radius * angle.cos()).mul_add(std, mean);
            *b = (radius * angle.sin()).mul_add(std, mean);
        }
    }
}

/// Transforms blocks of 16 uniform numbers with the bits of torch's AVX2 path.
pub(super) fn blocks_f32(blocks: &mut [f32], mean: f32, std: f32) {
    multiversion::run_narrow(Blocks { blocks: blocks.as_chunks_mut::<BLOCK>().0, mean, std });
}

struct Blocks<'a> {
    blocks: &'a mut [[f32; BLOCK]],
    mean: f32,
    std: f32,
}

impl Job for Blocks<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { blocks, mean, std } = self;
        for block in blocks {
            let (cosines, sines) = block.split_at_mut(HALF);
            for (a, b) in cosines.iter_mut().zip(sines) {
                let radius = (-2.0 * ln(1.0 - *a)).sqrt();
                let (sin, cos) = sin_cos(std::f32::consts::TAU * *b);
                *a = fma(radius * cos, std, mean);
                *b = fma(radius * sin, std, mean);
            }
        }
    }
}

/// `a * b + c` rounded once, as torch has it: one instruction at the levels that matter.
#[inline(always)]
fn fma(a: f32, b: f32, c: f32) -> f32 {
    a.mul_add(b, c)
}

/// The natural logarithm of a normal positive number, by the polynomial of `logf` in S. Moshier's
/// Cephes library (1989).
///
/// Torch's build contracts multiply-adds; the same ones are contracted here.
#[inline(always)]
fn ln(x: f32) -> f32 {
    const P: [f32; 9] = [
        7.0376836292E-2,
        -1.1514610310E-1,
        1.1676998740E-1,
        -1.2420140846E-1,
        1.4249322787E-1,
        -1.6668057665E-1,
        2.0000714765E-1,
        -2.4999993993E-1,
        3.3333331174E-1,
    ];
    const LN2_LOW: f32 = -2.12194440e-4;
    const LN2_HIGH: f32 = 0.693359375;
    let bits = x.to_bits();
    let exponent = (bits >> 23) as i32 - 126;
    let mantissa = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
    let below = mantissa < std::f32::consts::FRAC_1_SQRT_2;
    let e = (exponent - i32::from(below)) as f32;
    let x = if below { (mantissa - 1.0) + mantissa } else { mantissa - 1.0 };
    let z = x * x;
    let mut y = P[0];
    for p in &P[1..] {
        y = fma(y, x, *p);
    }
    y = fma(y * x, z, e * LN2_LOW);
    y -= z * 0.5;
    fma(e, LN2_HIGH, x + y)
}

/// Sine and cosine of an angle in `[0, 2π)`, by the polynomials of Cephes' `sinf` and `cosf`.
#[inline(always)]
fn sin_cos(angle: f32) -> (f32, f32) {
    const FOUR_OVER_PI: f32 = 1.27323954473516;
    // π/4 in three parts, so that the reduction loses nothing.
    const PART1: f32 = -0.78515625;
    const PART2: f32 = -2.4187564849853515625e-4;
    const PART3: f32 = -3.77489497744594108e-8;
    // The even octant at or above the angle.
    let octant = ((angle * FOUR_OVER_PI) as i32 + 1) & !1;
    let y = octant as f32;
    let x = fma(y, PART3, fma(y, PART2, fma(y, PART1, angle)));
    let z = x * x;
    let c = fma(fma(2.443315711809948E-5, z, -1.388731625493765E-3), z, 4.166664568298827E-2);
    let cos = fma(c * z, z, -(z * 0.5)) + 1.0;
    let s = fma(fma(-1.9515295891E-4, z, 8.3321608736E-3), z, -1.6666654611E-1);
    let sin = fma(s * z, x, x);
    let swapped = octant & 2 != 0;
    let (s, c) = if swapped { (cos, sin) } else { (sin, cos) };
    let sign =
        |value: f32, negative: bool| f32::from_bits(value.to_bits() ^ (u32::from(negative) << 31));
    (sign(s, octant & 4 != 0), sign(c, (octant - 2) & 4 == 0))
}
