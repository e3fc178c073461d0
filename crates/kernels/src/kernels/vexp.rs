//! Branch-free `exp` for loops that the compiler vectorises.

/// A float with the few functions the row kernels need.
pub trait Real:
    crate::dtype::Element
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// -∞, the identity of max.
    const NEG_INFINITY: Self;
    /// e to the power of `self`, below 1.5 ulp.
    fn vexp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// log(1 + x).
    fn ln_1p(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// Whether it is NaN.
    fn is_nan(self) -> bool;
    /// The greater one; NaN if either is.
    #[inline(always)]
    fn max_nan(self, other: Self) -> Self {
        if other > self || other.is_nan() { other } else { self }
    }
}

macro_rules! real {
    ($t:ident, $exp:ident) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NEG_INFINITY: Self = $t::NEG_INFINITY;
            #[inline(always)]
            fn vexp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $t::ln(self)
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                $t::ln_1p(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $t::abs(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $t::is_nan(self)
            }
        }
    };
}
real!(f32, exp_f32);
real!(f64, exp_f64);

/// Adding 1.5 * 2^23 leaves the rounded integer in the low bits.
const MAGIC_F32: f32 = 12_582_912.0;
const MAGIC_F64: f64 = 6_755_399_441_055_744.0;

#[inline(always)]
fn exp_f32(x: f32) -> f32 {
    // Written so that NaN falls through both.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, MAGIC_F32);
    let n = shifted - MAGIC_F32;
    let r = n.mul_add(-0.693_359_375, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    // Minimax on [-ln2/2, ln2/2] (Cephes).
    let p = 1.987_569_15e-4f32;
    let p = p.mul_add(r, 1.398_199_95e-3);
    let p = p.mul_add(r, 8.333_451_9e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_55e-1);
    let p = p.mul_add(r, 5.000_000_1e-1);
    let p = (r * r).mul_add(p, r) + 1.0;
    // Two steps, since 2^n alone leaves the normal range at both ends.
    let k = (shifted.to_bits() as i32).wrapping_sub(MAGIC_F32.to_bits() as i32);
    let half = k >> 1;
    let low = f32::from_bits((half.wrapping_add(127) << 23) as u32);
    let high = f32::from_bits(((k.wrapping_sub(half)).wrapping_add(127) << 23) as u32);
    p * low * high
}

#[inline(always)]
fn exp_f64(x: f64) -> f64 {
    let x = if x > 710.0 { 710.0 } else { x };
    let x = if x < -746.0 { -746.0 } else { x };
    let shifted = x.mul_add(std::f64::consts::LOG2_E, MAGIC_F64);
    let n = shifted - MAGIC_F64;
    let r = n.mul_add(-6.931_471_803_691_238_16e-1, x);
    let r = n.mul_add(-1.908_214_929_270_587_70e-10, r);
    // Taylor to the 13th term: below 2^-58 on the interval.
    let p = 1.605_904_383_682_161_3e-10f64;
    let p = p.mul_add(r, 2.087_675_698_786_81e-9);
    let p = p.mul_add(r, 2.505_210_838_544_172e-8);
    let p = p.mul_add(r, 2.755_731_922_398_589e-7);
    let p = p.mul_add(r, 2.755_731_922_398_589_3e-6);
    let p = p.mul_add(r, 2.480_158_730_158_73e-5);
    let p = p.mul_add(r, 1.984_126_984_126_984_1e-4);
    let p = p.mul_add(r, 1.388_888_888_888_889e-3);
    let p = p.mul_add(r, 8.333_333_333_333_333e-3);
    let p = p.mul_add(r, 4.166_666_666_666_666_4e-2);
    let p = p.mul_add(r, 1.666_666_666_666_666_6e-1);
    let p = p.mul_add(r, 0.5);
    let p = (r * r).mul_add(p, r) + 1.0;
    let k = (shifted.to_bits() as i64).wrapping_sub(MAGIC_F64.to_bits() as i64);
    let half = k >> 1;
    let low = f64::from_bits((half.wrapping_add(1023) << 52) as u64);
    let high = f64::from_bits(((k.wrapping_sub(half)).wrapping_add(1023) << 52) as u64);
    p * low * high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_everywhere() {
        let mut worst = 0.0f64;
        for i in 0..2_000_000 {
            let x = -87.0 + i as f32 * (175.0 / 2e6);
            let want = f64::from(x).exp();
            let ulp =
                f64::from(f32::from_bits((want as f32).to_bits() + 1)) - f64::from(want as f32);
            worst = worst.max((f64::from(exp_f32(x)) - want).abs() / ulp);
        }
        assert!(worst < 1.5, "{worst} ulp");
        let mut worst = 0.0f64;
        for i in 0..1_000_000 {
            let x = -700.0 + f64::from(i) * 1.4e-3;
            let want = x.exp();
            let ulp = f64::from_bits(want.to_bits() + 1) - want;
            worst = worst.max((exp_f64(x) - want).abs() / ulp);
        }
        assert!(worst < 2.0, "{worst} ulp");
    }

    #[test]
    fn exp_at_the_ends() {
        assert_eq!(exp_f32(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp_f32(f32::INFINITY), f32::INFINITY);
        assert!(exp_f32(f32::NAN).is_nan());
        assert_eq!(exp_f32(0.0), 1.0);
        assert!((exp_f32(-100.0) - (-100f32).exp()).abs() <= f32::from_bits(1));
        assert_eq!(exp_f64(f64::NEG_INFINITY), 0.0);
        assert_eq!(exp_f64(f64::INFINITY), f64::INFINITY);
        assert!(exp_f64(f64::NAN).is_nan());
        assert_eq!(exp_f64(0.0), 1.0);
    }
}
