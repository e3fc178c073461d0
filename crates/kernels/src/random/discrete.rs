//! Integers, coin flips and waiting times.

use super::continuous::Real;
use super::engine::Generator;
use crate::dtype::{DType, Element};
use crate::error::{Result, ensure};
use crate::kernels::block::Fused;
use crate::kernels::math::log::log_f64;
use crate::kernels::multiversion::{self, Job};

/// From this range on torch takes 64 random bits, so that the remainder is nearly uniform.
const WIDE: u64 = 1 << 28;

/// Fills with integers uniform in `[low, high)`; the type may be floating.
///
/// ```
/// use rustgrad_kernels::random::{Generator, randint};
/// let mut out = [0i64; 4];
/// randint(&mut Generator::new(0), &mut out, 0, 10).unwrap();
/// assert_eq!(out, [4, 9, 3, 0]);
/// ```
pub fn randint<T: Element>(
    generator: &mut Generator,
    out: &mut [T],
    low: i64,
    high: i64,
) -> Result<()> {
    ensure!(
        low < high,
        runtime,
        "random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
    );
    let (mut from, mut to) = (low, high);
    if let Some(digits) = digits(T::DTYPE) {
        from = raised::<T>(low, digits);
        to = lowered::<T>(high, digits);
        ensure!(
            from < to,
            runtime,
            "random_ expects 'from' casted to dtype to be less than 'to' casted to dtype, but got \
             from={from} >= to={to}"
        );
    }
    check_bounds(T::DTYPE, from, to - 1)?;
    fill(generator, out, to.wrapping_sub(from) as u64, from);
    Ok(())
}

/// Fills with integers from `low` to the largest the type holds (exactly, if it is floating).
///
/// ```
/// use rustgrad_kernels::random::{Generator, random_from};
/// let mut out = [0u8; 4];
/// random_from(&mut Generator::new(0), &mut out, 250).unwrap();
/// assert!(out.iter().all(|&x| x >= 250));
/// ```
pub fn random_from<T: Element>(generator: &mut Generator, out: &mut [T], low: i64) -> Result<()> {
    if low == i64::MIN && matches!(T::DTYPE, DType::I64 | DType::F32 | DType::F64) {
        for slot in out {
            *slot = T::from_i64(generator.next_u64() as i64);
        }
        return Ok(());
    }
    let (from, last) = match digits(T::DTYPE) {
        Some(digits) => (raised::<T>(low, digits), 1 << digits),
        None => (low, int_range(T::DTYPE).1),
    };
    check_bounds(T::DTYPE, from, last)?;
    ensure!(
        from < last || (from == last && !T::DTYPE.is_float()),
        runtime,
        "random_ expects 'from' casted to dtype to be less than or equal to 'to_inc' casted to \
         dtype, but got from={from} > to_inc={last}"
    );
    fill(generator, out, (last.wrapping_sub(from) as u64).wrapping_add(1), from);
    Ok(())
}

/// Fills with integers from zero to the largest the type holds (exactly, if it is floating).
///
/// ```
/// use rustgrad_kernels::random::{Generator, random};
/// let mut out = [0i8; 4];
/// random(&mut Generator::new(0), &mut out);
/// assert!(out.iter().all(|&x| x >= 0));
/// ```
pub fn random<T: Element>(generator: &mut Generator, out: &mut [T]) {
    let last = match digits(T::DTYPE) {
        Some(digits) => 1 << digits,
        None => int_range(T::DTYPE).1,
    };
    let modulus = last as u64 + 1;
    let wide = matches!(T::DTYPE, DType::I64 | DType::F64);
    for slot in out {
        let bits = if wide { generator.next_u64() } else { u64::from(generator.next_u32()) };
        *slot = T::from_i64((bits % modulus) as i64);
    }
}

fn fill<T: Element>(generator: &mut Generator, out: &mut [T], range: u64, base: i64) {
    if range >= WIDE {
        for slot in out {
            *slot = T::from_i64(((generator.next_u64() % range) as i64).wrapping_add(base));
        }
    } else {
        // The remainder by two multiplications (Lemire, Kaser & Kurz, "Faster remainder by direct
        // computation", Software: Practice and Experience 49(6), 2019): exact for 32 bits.
        let inverse = (u64::MAX / range).wrapping_add(1);
        generator.fill_u32(out, |bits| {
            let fraction = inverse.wrapping_mul(u64::from(bits));
            let rest = (u128::from(fraction) * u128::from(range)) >> 64;
            T::from_i64((rest as i64).wrapping_add(base))
        });
    }
}

/// The digits of a floating type's significand: integers up to two to this power are exact.
fn digits(dtype: DType) -> Option<u32> {
    match dtype {
        DType::F32 => Some(f32::MANTISSA_DIGITS),
        DType::F64 => Some(f64::MANTISSA_DIGITS),
        _ => None,
    }
}

fn int_range(dtype: DType) -> (i64, i64) {
    match dtype {
        DType::Bool => (0, 1),
        DType::U8 => (0, 255),
        DType::I8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
        DType::I16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        DType::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    }
}

fn check_bounds(dtype: DType, from: i64, last: i64) -> Result<()> {
    let (min, max) = int_range(dtype);
    let name = match dtype {
        DType::Bool => "bool",
        DType::U8 => "unsigned char",
        DType::I8 => "signed char",
        DType::I16 => "short int",
        DType::I32 => "int",
        _ => return Ok(()),
    };
    ensure!((min..=max).contains(&from), runtime, "from is out of bounds for {name}");
    ensure!((min..=max).contains(&last), runtime, "to - 1 is out of bounds for {name}");
    Ok(())
}

/// The least bound not below `from` that no integer above it rounds past.
fn raised<T: Element>(from: i64, digits: u32) -> i64 {
    let next = T::from_i64(from.wrapping_add(1)).to_i64();
    if next < from { next + ulp(from.wrapping_add(1), digits) } else { from }
}

/// The greatest bound not above `to` that no integer below it rounds up to.
fn lowered<T: Element>(to: i64, digits: u32) -> i64 {
    let last = T::from_i64(to.wrapping_sub(1)).to_i64();
    if last >= to { last - ulp(to.wrapping_sub(1), digits) } else { to }
}

/// The spacing of the floating numbers around `value`.
fn ulp(value: i64, digits: u32) -> i64 {
    let log2 = value.unsigned_abs().checked_ilog2().unwrap_or(0);
    1i64 << (log2 + 1).saturating_sub(digits)
}

/// Fills with ones of probability `p`, else zeros.
///
/// ```
/// use rustgrad_kernels::random::{Generator, bernoulli};
/// let mut out = [0f32; 4];
/// bernoulli(&mut Generator::new(0), &mut out, 0.5).unwrap();
/// assert!(bernoulli(&mut Generator::new(0), &mut out, 1.5).is_err());
/// ```
pub fn bernoulli<T: Element>(generator: &mut Generator, out: &mut [T], p: f64) -> Result<()> {
    ensure!(
        (0.0..=1.0).contains(&p),
        runtime,
        "bernoulli_ expects p to be in [0, 1], but got p={p}"
    );
    for slot in out {
        *slot = T::from_i64(i64::from(generator.unit_f64() < p));
    }
    Ok(())
}

/// Fills with ones whose probability is the element of `probabilities` at the same place.
///
/// The draw has the precision of the probabilities, not that of the output.
///
/// ```
/// use rustgrad_kernels::random::{Generator, bernoulli_each};
/// let mut out = [9i64; 2];
/// bernoulli_each(&mut Generator::new(0), &mut out, &[0.0f32, 1.0]).unwrap();
/// assert_eq!(out, [0, 1]);
/// ```
pub fn bernoulli_each<T: Element, P: Real>(
    generator: &mut Generator,
    out: &mut [T],
    probabilities: &[P],
) -> Result<()> {
    for (slot, &p) in out.iter_mut().zip(probabilities) {
        ensure!(
            (0.0..=1.0).contains(&p.to_f64()),
            runtime,
            "Expected p_in >= 0 && p_in <= 1 to be true, but got false.  (Could this error message \
             be improved?  If so, please report an enhancement request to PyTorch.)"
        );
        *slot = T::from_i64(i64::from(P::unit(generator) < p));
    }
    Ok(())
}

/// Fills with the factors of inverted dropout: zero with probability `p`, else `1 / (1 - p)`
/// (Srivastava et al., "Dropout", JMLR 15, 2014).
///
/// Torch draws nothing when `p` is 0 (the input is returned) or 1 (it is multiplied by zero), nor
/// outside training; the caller decides those cases.
///
/// ```
/// use rustgrad_kernels::random::{Generator, dropout_noise};
/// let mut out = [0f32; 8];
/// dropout_noise(&mut Generator::new(0), &mut out, 0.5).unwrap();
/// assert!(out.iter().all(|&x| x == 0.0 || x == 2.0));
/// ```
pub fn dropout_noise<T: Real>(generator: &mut Generator, out: &mut [T], p: f64) -> Result<()> {
    ensure!(
        (0.0..=1.0).contains(&p),
        runtime,
        "dropout probability has to be between 0 and 1, but got {p}"
    );
    let keep = 1.0 - p;
    let kept = T::from_f64(1.0) / T::from_f64(keep);
    for slot in out {
        *slot = if generator.unit_f64() < keep { kept } else { T::default() };
    }
    Ok(())
}

/// Fills with the number of trials up to the first success of probability `p`, by inversion
/// (Devroye 1986, X.2).
///
/// ```
/// use rustgrad_kernels::random::{Generator, geometric};
/// let mut out = [0i64; 4];
/// geometric(&mut Generator::new(0), &mut out, 0.3).unwrap();
/// assert!(out.iter().all(|&x| x >= 1));
/// ```
pub fn geometric<T: Element>(generator: &mut Generator, out: &mut [T], p: f64) -> Result<()> {
    ensure!(p > 0.0 && p < 1.0, runtime, "geometric_ expects p to be in (0, 1), but got p={p}");
    let scale = (-p).ln_1p();
    let mut units = [0.0; 256];
    for out in out.chunks_mut(units.len()) {
        let units = &mut units[..out.len()];
        generator.units_f64(units);
        multiversion::run_narrow(Waiting { units, scale });
        for (slot, &mut wait) in out.iter_mut().zip(units) {
            *slot = T::from_f64(wait);
        }
    }
    Ok(())
}

/// Waiting times of uniform numbers, in their place.
struct Waiting<'a> {
    units: &'a mut [f64],
    scale: f64,
}

impl Job for Waiting<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for unit in self.units {
            *unit = (log_f64::<Fused>(*unit) / self.scale).ceil();
        }
    }
}
