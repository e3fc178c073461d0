//! Branch-free `exp` for loops that the compiler vectorises.

use super::block::Fused;
use super::math::exp::{exp_f32, exp_f64};
use super::math::log::{log_f32, log_f64};

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
    /// Natural logarithm, without branches, 1 ulp.
    fn vln(self) -> Self;
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
        // Never by a branch, of which the compiler would make a store under a mask.
        std::hint::select_unpredictable((other > self) | other.is_nan(), other, self)
    }
}

macro_rules! real {
    ($t:ident, $exp:path, $log:path) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NEG_INFINITY: Self = $t::NEG_INFINITY;
            #[inline(always)]
            fn vexp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn vln(self) -> Self {
                $log(self)
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
// With fused multiplications whether they are instructions or not: the same bits at every level.
real!(f32, exp_f32::<Fused>, log_f32::<Fused>);
real!(f64, exp_f64::<Fused>, log_f64::<Fused>);

#[cfg(test)]
mod tests {
    use super::Real;

    fn exp_f32(x: f32) -> f32 {
        x.vexp()
    }

    fn exp_f64(x: f64) -> f64 {
        x.vexp()
    }

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
