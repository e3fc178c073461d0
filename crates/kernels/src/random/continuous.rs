//! Uniform, exponential, Cauchy and log-normal numbers.

use std::f64::consts::PI;
use std::ops::{Add, Div};

use super::engine::Generator;
use super::normal::pair;
use crate::dtype::{DType, Element};
use crate::error::{Result, ensure};
use crate::kernels::block::Fused;
use crate::kernels::math::log::log1p_f64;
use crate::kernels::math::trig::tan_f64;
use crate::kernels::multiversion::{self, Job};

/// A floating-point element: how many random bits it takes, and how it rounds.
pub trait Real: Element + Add<Output = Self> + Div<Output = Self> {
    /// The largest finite value.
    const MAX: f64;
    /// A number in `[0, 1)` that uses the full precision of the type.
    fn unit(generator: &mut Generator) -> Self;
    /// As many of them as `out` holds.
    fn units(generator: &mut Generator, out: &mut [Self]);
    /// `unit * (to - from) + from`, rounded once, or `from` if that rounds to `to`.
    fn between(unit: Self, from: f64, to: f64) -> Self;
    /// Turns the uniform numbers of whole blocks of 16 into normal ones.
    fn normal16(blocks: &mut [Self], mean: f64, std: f64);
}

macro_rules! between {
    ($t:ty) => {
        #[inline(always)]
        fn between(unit: Self, from: f64, to: f64) -> Self {
            let (from, to) = (from as $t, to as $t);
            // Rounded once, as torch's vector code does.
            let value = unit.mul_add(to - from, from);
            if value == to { from } else { value }
        }
    };
}

impl Real for f32 {
    const MAX: f64 = f32::MAX as f64;
    #[inline]
    fn unit(generator: &mut Generator) -> Self {
        generator.unit_f32()
    }
    fn units(generator: &mut Generator, out: &mut [Self]) {
        generator.units_f32(out);
    }
    fn normal16(blocks: &mut [Self], mean: f64, std: f64) {
        super::normal::blocks_f32(blocks, mean as f32, std as f32);
    }
    between!(f32);
}

impl Real for f64 {
    const MAX: f64 = f64::MAX;
    #[inline]
    fn unit(generator: &mut Generator) -> Self {
        generator.unit_f64()
    }
    fn units(generator: &mut Generator, out: &mut [Self]) {
        generator.units_f64(out);
    }
    fn normal16(blocks: &mut [Self], mean: f64, std: f64) {
        super::normal::blocks_f64(blocks, mean, std);
    }
    between!(f64);
}

/// Fills with numbers uniform in `[0, 1)`: 24 random bits per `f32`, 53 per `f64`.
///
/// ```
/// use rustgrad_kernels::random::{Generator, rand};
/// let mut out = [0f32; 2];
/// rand(&mut Generator::new(0), &mut out);
/// assert_eq!(out, [0.49625658988952637, 0.7682217955589294]);
/// ```
pub fn rand<T: Real>(generator: &mut Generator, out: &mut [T]) {
    T::units(generator, out);
}

/// Fills with numbers uniform in `[from, to)`.
///
/// ```
/// use rustgrad_kernels::random::{Generator, uniform};
/// let mut out = [0f64; 4];
/// uniform(&mut Generator::new(0), &mut out, -1.0, 1.0).unwrap();
/// assert!(out.iter().all(|x| (-1.0..1.0).contains(x)));
/// assert!(uniform(&mut Generator::new(0), &mut out, 1.0, 0.0).is_err());
/// ```
pub fn uniform<T: Real>(
    generator: &mut Generator,
    out: &mut [T],
    from: f64,
    to: f64,
) -> Result<()> {
    let name = T::DTYPE.scalar_name().to_lowercase();
    for (what, bound) in [("from", from), ("to", to)] {
        ensure!(bound.abs() <= T::MAX, runtime, "{what} is out of bounds for {name}");
    }
    ensure!(
        from <= to,
        runtime,
        "uniform_ expects to return a [from, to) range, but found from={from} > to={to}"
    );
    ensure!(
        to - from <= T::MAX,
        runtime,
        "uniform_ expects to-from <= std::numeric_limits<{}>::max(), but found to={to} and \
         from={from} which result in to-from to exceed the limit",
        T::DTYPE.scalar_name()
    );
    if (from, to) == (0.0, 1.0) {
        T::units(generator, out);
        return Ok(());
    }
    // By pieces that stay in cache.
    for piece in out.chunks_mut(4096) {
        T::units(generator, piece);
        multiversion::run_narrow(Between { piece, from, to });
    }
    Ok(())
}

/// Moves numbers from `[0, 1)` to `[from, to)`: a processor with fused multiply-adds need not ask a library for them.
struct Between<'a, T> {
    piece: &'a mut [T],
    from: f64,
    to: f64,
}

impl<T: Real> Job for Between<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for slot in self.piece {
            *slot = T::between(*slot, self.from, self.to);
        }
    }
}

/// Fills with exponentially distributed numbers of rate `lambda`, by inversion of the distribution
/// function in double precision (Devroye, "Non-Uniform Random Variate Generation", 1986, II.2).
///
/// ```
/// use rustgrad_kernels::random::{Generator, exponential};
/// let mut out = [0f32; 4];
/// exponential(&mut Generator::new(0), &mut out, 2.0).unwrap();
/// assert!(out.iter().all(|&x| x >= 0.0));
/// ```
pub fn exponential<T: Real>(generator: &mut Generator, out: &mut [T], lambda: f64) -> Result<()> {
    ensure!(lambda > 0.0, runtime, "exponential_ expects lambda > 0.0, but found lambda={lambda}");
    let scale = -1.0 / lambda;
    if T::DTYPE == DType::F64 {
        for slot in out {
            *slot = T::from_f64(scale * (-generator.unit_f64()).ln_1p());
        }
        return Ok(());
    }
    by_doubles(
        generator,
        out,
        |units| multiversion::run_narrow(Logarithms { units }),
        |logarithm| scale * logarithm,
    );
    Ok(())
}

/// Fills with Cauchy numbers around `median` of scale `sigma`, by inversion in double precision.
///
/// ```
/// use rustgrad_kernels::random::{Generator, cauchy};
/// let mut out = [0f64; 4];
/// cauchy(&mut Generator::new(0), &mut out, 0.0, 1.0).unwrap();
/// assert!(out.iter().all(|x| x.is_finite()));
/// ```
pub fn cauchy<T: Real>(
    generator: &mut Generator,
    out: &mut [T],
    median: f64,
    sigma: f64,
) -> Result<()> {
    ensure!(sigma > 0.0, runtime, "cauchy_ expects sigma > 0.0, but found sigma={sigma}");
    if T::DTYPE == DType::F64 {
        for slot in out {
            let tangent = (PI * (generator.unit_f64() - 0.5)).tan();
            *slot = T::from_f64(sigma.mul_add(tangent, median));
        }
        return Ok(());
    }
    by_doubles(
        generator,
        out,
        |units| multiversion::run_narrow(Tangents { units }),
        |tangent| sigma.mul_add(tangent, median),
    );
    Ok(())
}

/// Fills with numbers whose logarithm is normal with the given mean and standard deviation.
///
/// ```
/// use rustgrad_kernels::random::{Generator, log_normal};
/// let mut out = [0f32; 4];
/// log_normal(&mut Generator::new(0), &mut out, 1.0, 2.0).unwrap();
/// assert!(out.iter().all(|&x| x > 0.0));
/// ```
pub fn log_normal<T: Real>(
    generator: &mut Generator,
    out: &mut [T],
    mean: f64,
    std: f64,
) -> Result<()> {
    ensure!(std > 0.0, runtime, "log_normal_ expects std > 0.0, but found std={std}");
    for slot in out {
        *slot = T::from_f64(pair(generator).mul_add(std, mean).exp());
    }
    Ok(())
}

/// Fills with what vectors make of uniform numbers in double precision, `finish`ed one by one: of singles the last
/// bits of a double's logarithm or tangent are not seen.
fn by_doubles<T: Real>(
    generator: &mut Generator,
    out: &mut [T],
    map: impl Fn(&mut [f64]),
    finish: impl Fn(f64) -> f64,
) {
    let mut units = [0.0; 256];
    for out in out.chunks_mut(units.len()) {
        let units = &mut units[..out.len()];
        generator.units_f64(units);
        map(units);
        for (slot, &mut value) in out.iter_mut().zip(units) {
            *slot = T::from_f64(finish(value));
        }
    }
}

/// The logarithms of one less uniform numbers, in the place of these.
struct Logarithms<'a> {
    units: &'a mut [f64],
}

impl Job for Logarithms<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for unit in self.units {
            *unit = log1p_f64::<Fused>(-*unit);
        }
    }
}

/// The tangents of angles between the quarters of a circle, in the place of uniform numbers.
struct Tangents<'a> {
    units: &'a mut [f64],
}

impl Job for Tangents<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for unit in self.units {
            *unit = tan_f64::<Fused>(PI * (*unit - 0.5));
        }
    }
}
