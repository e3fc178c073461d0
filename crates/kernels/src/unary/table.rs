//! The table of elementwise unary operations: one row each, from which everything else follows.

use std::f64::consts::{FRAC_2_SQRT_PI, LN_2, LN_10, PI};

use super::{Row, Saves};
use crate::algebra::Algebra;

/// The table: calls `$callback! { Variant "name" "NodeName" Class {"param" = default, ...} "doc"
/// { ... } ... }` with all rows; bindings generate their methods by it and ignore the braces.
///
/// `Class` says what integers do, see [`IntRule`](crate::unary::IntRule). The braces hold the
/// value and then the rule, which is one of: `nothing |g|`, the gradient itself; `input |x, p|`,
/// `output |y, p|` or `both |x, y, p|`, the local derivative by which the gradient is multiplied;
/// `with_input |g, x, p|`, `with_output |g, y, p|`, the gradient itself where the product would not
/// do; `constant`, a zero gradient. `slow` marks what does not vectorise, `light` what is done
/// in an instruction or a few, `plain` what is not much more, `angle k` that `k x` is reduced modulo pi/2.
#[macro_export]
macro_rules! for_each_unary {
    ($callback:path) => {
        $callback! {
            Neg "neg" "NegBackward0" Keep {} "`-x`" {
                light true value |x, _| x.neg();
                nothing |g| g.neg();
            }
            Abs "abs" "AbsBackward0" Keep {} "`|x|`; the derivative at 0 is 0" {
                light true value |x, _| x.abs();
                input |x, _| sign(x);
            }
            Sign "sign" "SignBackward0" KeepBool {} "-1, 0 or 1, as the sign of `x`" {
                light true value |x, _| sign(x);
                constant;
            }
            Sgn "sgn" "SgnBackward0" KeepBool {} "-1, 0 or 1, as the sign of `x`" {
                light true value |x, _| sign(x);
                constant;
            }
            Angle "angle" "AngleBackward0" Promote {} "The angle of a real number: 0, or pi for negative ones" {
                plain true value |x, _| {
            V::select(&x.is_nan(), x, &x.lit(PI).keep(&x.lt_lit(0.0)))
        };
                constant;
            }
            Positive "positive" "AliasBackward0" Keep {} "`x`" {
                plain true value |x, _| x.clone();
                nothing |g| g.clone();
            }
            Exp "exp" "ExpBackward0" Promote {} "`e^x`" {
                value |x, _| x.exp();
                output |y, _| y;
            }
            Exp2 "exp2" "Exp2Backward0" Promote {} "`2^x`" {
                value |x, _| x.exp2();
                output |y, _| y.mul_lit(LN_2);
            }
            Expm1 "expm1" "Expm1Backward0" Promote {} "`e^x - 1`, accurate near 0" {
                value |x, _| x.expm1();
                output |y, _| y.add_lit(1.0);
            }
            Log "log" "LogBackward0" Promote {} "The natural logarithm of `x`" {
                value |x, _| x.log();
                with_input |g, x, _| g.div(x);
            }
            Log2 "log2" "Log2Backward0" Promote {} "The logarithm of `x` to base 2" {
                value |x, _| x.log2();
                with_input |g, x, _| g.div(&x.mul_lit(LN_2));
            }
            Log10 "log10" "Log10Backward0" Promote {} "The logarithm of `x` to base 10" {
                value |x, _| x.log10();
                with_input |g, x, _| g.div(&x.mul_lit(LN_10));
            }
            Log1p "log1p" "Log1PBackward0" Promote {} "`log(1 + x)`, accurate near 0" {
                value |x, _| x.log1p();
                with_input |g, x, _| g.div(&x.add_lit(1.0));
            }
            Sqrt "sqrt" "SqrtBackward0" Promote {} "The square root of `x`" {
                light true value |x, _| x.sqrt();
                with_output |g, y, _| g.div(&y.mul_lit(2.0));
            }
            Rsqrt "rsqrt" "RsqrtBackward0" Promote {} "`1 / sqrt(x)`" {
                light true value |x, _| x.sqrt().div_into(1.0);
                output |y, _| y.mul(&y.square()).mul_lit(-0.5);
            }
            Square "square" "PowBackward0" Keep {} "`x^2`" {
                light true value |x, _| x.square();
                input |x, _| x.mul_lit(2.0);
            }
            Reciprocal "reciprocal" "ReciprocalBackward0" Promote {} "`1 / x`" {
                light true value |x, _| x.div_into(1.0);
                output |y, _| y.square().neg();
            }
            Sin "sin" "SinBackward0" Promote {} "The sine of `x` (radians)" {
                angle 1.0 value |x, _| x.sin();
                input |x, _| x.cos();
            }
            Cos "cos" "CosBackward0" Promote {} "The cosine of `x` (radians)" {
                angle 1.0 value |x, _| x.cos();
                input |x, _| x.sin().neg();
            }
            Tan "tan" "TanBackward0" Promote {} "The tangent of `x` (radians)" {
                angle 1.0 value |x, _| x.tan();
                output |y, _| y.square().add_lit(1.0);
            }
            Asin "asin" "AsinBackward0" Promote {} "The arcsine of `x`" {
                value |x, _| x.asin();
                input |x, _| x.square().sub_from(1.0).sqrt().div_into(1.0);
            }
            Acos "acos" "AcosBackward0" Promote {} "The arccosine of `x`" {
                value |x, _| x.acos();
                input |x, _| x.square().sub_from(1.0).sqrt().div_into(-1.0);
            }
            Atan "atan" "AtanBackward0" Promote {} "The arctangent of `x`" {
                value |x, _| x.atan();
                with_input |g, x, _| g.div(&x.square().add_lit(1.0));
            }
            Sinh "sinh" "SinhBackward0" Promote {} "The hyperbolic sine of `x`" {
                value |x, _| x.sinh();
                input |x, _| x.cosh();
            }
            Cosh "cosh" "CoshBackward0" Promote {} "The hyperbolic cosine of `x`" {
                value |x, _| x.cosh();
                input |x, _| x.sinh();
            }
            Tanh "tanh" "TanhBackward0" Promote {} "The hyperbolic tangent of `x`" {
                value |x, _| x.tanh();
                output |y, _| y.square().sub_from(1.0);
            }
            Asinh "asinh" "AsinhBackward0" Promote {} "The inverse hyperbolic sine of `x`" {
                value |x, _| x.asinh();
                input |x, _| x.square().add_lit(1.0).sqrt().div_into(1.0);
            }
            Acosh "acosh" "AcoshBackward0" Promote {} "The inverse hyperbolic cosine of `x`" {
                value |x, _| x.acosh();
                input |x, _| x.square().add_lit(-1.0).sqrt().div_into(1.0);
            }
            Atanh "atanh" "AtanhBackward0" Promote {} "The inverse hyperbolic tangent of `x`" {
                value |x, _| x.atanh();
                with_input |g, x, _| g.div(&x.square().sub_from(1.0));
            }
            Sigmoid "sigmoid" "SigmoidBackward0" Promote {} "`1 / (1 + e^-x)`" {
                value |x, _| x.sigmoid();
                output |y, _| y.sub_from(1.0).mul(y);
            }
            LogSigmoid "logsigmoid" "LogSigmoidBackward0" Refuse {} "`log(sigmoid(x))`" {
                value |x, _| {
            x.keep(&x.le_lit(0.0)).sub(&x.abs().neg().exp().log1p())
        };
                input |x, _| x.neg().sigmoid();
            }
            Softplus "softplus" "SoftplusBackward0" Refuse {"beta" = 1.0, "threshold" = 20.0} "`log(1 + e^(beta x)) / beta`, and `x` where `beta x > threshold`" {
                value |x, p| {
            let z = x.mul_lit(p[0]);
            V::select(&z.gt_lit(p[1]), x, &softplus(&z).mul_lit(1.0 / p[0]))
        };
                with_input |g, x, p| {
            let z = x.mul_lit(p[0]);
            V::select(&z.gt_lit(p[1]), g, &g.mul(&z.sigmoid()))
        };
            }
            Relu "relu" "ReluBackward0" Keep {} "`max(x, 0)`; the derivative at 0 is 0" {
                light true value |x, _| x.keep(&!x.le_lit(0.0));
                with_output |g, y, _| g.keep(&!y.le_lit(0.0));
            }
            Relu6 "relu6" "HardtanhBackward0" Keep {} "`min(max(x, 0), 6)`" {
                light true value |x, _| limit(x, 0.0, 6.0);
                with_input |g, x, _| g.keep(&(x.gt_lit(0.0) & x.lt_lit(6.0)));
            }
            LeakyRelu "leaky_relu" "LeakyReluBackward0" Refuse {"negative_slope" = 0.01} "`x` where positive, else `negative_slope x`" {
                light true value |x, p| V::select(&x.gt_lit(0.0), x, &x.mul_lit(p[0]));
                with_input |g, x, p| V::select(&x.gt_lit(0.0), g, &g.mul_lit(p[0]));
            }
            Elu "elu" "EluBackward0" Refuse {"alpha" = 1.0} "`x` where positive, else `alpha (e^x - 1)`" {
                value |x, p| V::select(&x.le_lit(0.0), &x.expm1().mul_lit(p[0]), x);
                with_input |g, x, p| V::select(&x.le_lit(0.0), &g.mul(&x.exp().mul_lit(p[0])), g);
            }
            Selu "selu" "EluBackward0" Refuse {} "Scaled `elu`, which keeps mean and variance" {
                value |x, _| {
            V::select(&x.le_lit(0.0), &x.expm1().mul_lit(SELU_ALPHA * SELU_SCALE), &x.mul_lit(SELU_SCALE))
        };
                with_input |g, x, _| {
            V::select(&x.le_lit(0.0), &g.mul(&x.exp().mul_lit(SELU_ALPHA * SELU_SCALE)), &g.mul_lit(SELU_SCALE))
        };
            }
            Celu "celu" "CeluBackward0" Refuse {"alpha" = 1.0} "`x` where positive, else `alpha (e^(x / alpha) - 1)`" {
                value |x, p| V::select(&x.le_lit(0.0), &x.mul_lit(1.0 / p[0]).expm1().mul_lit(p[0]), x);
                with_input |g, x, p| V::select(&x.le_lit(0.0), &g.mul(&x.mul_lit(1.0 / p[0]).exp()), g);
            }
            Silu "silu" "SiluBackward0" Refuse {} "`x sigmoid(x)`" {
                value |x, _| x.mul(&x.sigmoid());
                input |x, _| {
            let s = x.sigmoid();
            s.mul(&x.mul(&s.sub_from(1.0)).add_lit(1.0))
        };
            }
            Mish "mish" "MishBackward0" Refuse {} "`x tanh(softplus(x))`" {
                value |x, _| x.mul(&softplus(x).tanh());
                input |x, _| {
            let t = softplus(x).tanh();
            t.add(&x.mul(&x.sigmoid()).mul(&t.square().sub_from(1.0)))
        };
            }
            Gelu "gelu" "GeluBackward0" Refuse {} "`x` times the normal distribution function of `x`" {
                value |x, _| x.mul(&x.normal().0);
                input |x, _| {
            let (cdf, pdf) = x.normal();
            x.fma(&pdf, &cdf)
        };
            }
            GeluTanh "gelu_tanh" "GeluBackward0" Refuse {} "`gelu` by its approximation with tanh" {
                value |x, _| {
            let inner = x.square().mul_lit(GELU_C).add_lit(1.0).mul(x).mul_lit(GELU_K);
            x.mul_lit(0.5).mul(&inner.tanh().add_lit(1.0))
        };
                input |x, _| {
            let square = x.square();
            let t = square.mul_lit(GELU_C).add_lit(1.0).mul(x).mul_lit(GELU_K).tanh();
            let slope = square.mul_lit(3.0 * GELU_C).add_lit(1.0).mul_lit(GELU_K);
            let right = x.mul_lit(0.5).mul(&t.square().sub_from(1.0)).mul(&slope);
            t.add_lit(1.0).mul_lit(0.5).add(&right)
        };
            }
            Hardtanh "hardtanh" "HardtanhBackward0" Keep {"min_val" = -1.0, "max_val" = 1.0} "`x` limited to `[min_val, max_val]`" {
                light true value |x, p| limit(x, p[0], p[1]);
                with_input |g, x, p| g.keep(&(x.gt_lit(p[0]) & x.lt_lit(p[1])));
            }
            Hardsigmoid "hardsigmoid" "HardsigmoidBackward0" Refuse {} "`relu6(x + 3) / 6`" {
                plain true value |x, _| limit(&x.add_lit(3.0), 0.0, 6.0).mul_lit(1.0 / 6.0);
                with_input |g, x, _| g.mul_lit(1.0 / 6.0).keep(&(x.gt_lit(-3.0) & x.lt_lit(3.0)));
            }
            Hardswish "hardswish" "HardswishBackward0" Refuse {} "`x relu6(x + 3) / 6`" {
                plain true value |x, _| x.mul(&limit(&x.add_lit(3.0), 0.0, 6.0)).mul_lit(1.0 / 6.0);
                with_input |g, x, _| {
            let middle = g.mul(&x.mul_lit(1.0 / 3.0).add_lit(0.5));
            V::select(&x.ge_lit(3.0), g, &V::select(&x.le_lit(-3.0), &g.lit(0.0), &middle))
        };
            }
            Softsign "softsign" "DivBackward0" Promote {} "`x / (1 + |x|)`" {
                plain true value |x, _| x.div(&x.abs().add_lit(1.0));
                with_input |g, x, _| g.div(&x.abs().add_lit(1.0).square());
            }
            Softshrink "softshrink" "SoftshrinkBackward0" Refuse {"lambd" = 0.5} "`x` moved by `lambd` towards 0" {
                plain true value |x, p| {
            let low = V::select(&x.lt_lit(-p[0]), &x.add_lit(p[0]), &x.mul_lit(0.0));
            V::select(&x.gt_lit(p[0]), &x.add_lit(-p[0]), &low)
        };
                with_input |g, x, p| g.keep(&!(x.ge_lit(-p[0]) & x.le_lit(p[0])));
            }
            Hardshrink "hardshrink" "HardshrinkBackward0" Refuse {"lambd" = 0.5} "`x`, but 0 where `|x| <= lambd`" {
                plain true value |x, p| x.keep(&!(x.ge_lit(-p[0]) & x.le_lit(p[0])));
                with_input |g, x, p| g.keep(&!(x.ge_lit(-p[0]) & x.le_lit(p[0])));
            }
            Tanhshrink "tanhshrink" "SubBackward0" Promote {} "`x - tanh(x)`" {
                value |x, _| x.sub(&x.tanh());
                input |x, _| x.tanh().square();
            }
            Threshold "threshold" "ThresholdBackward0" Keep {"threshold" = 0.0, "value" = 0.0} "`x` where above `threshold`, else `value`" {
                light true value |x, p| V::select(&x.le_lit(p[0]), &x.lit(p[1]), x);
                with_input |g, x, p| g.keep(&!x.le_lit(p[0]));
            }
            Floor "floor" "FloorBackward0" Keep {} "The nearest integer not above `x`" {
                light true value |x, _| x.floor();
                constant;
            }
            Ceil "ceil" "CeilBackward0" Keep {} "The nearest integer not below `x`" {
                light true value |x, _| x.ceil();
                constant;
            }
            Round "round" "RoundBackward0" Keep {} "The nearest integer, ties to even" {
                light true value |x, _| x.round();
                constant;
            }
            Trunc "trunc" "TruncBackward0" Keep {} "`x` without its fractional part" {
                light true value |x, _| x.trunc();
                constant;
            }
            Frac "frac" "FracBackward0" Refuse {} "`x - trunc(x)`" {
                light true value |x, _| x.sub(&x.trunc());
                nothing |g| g.clone();
            }
            Erf "erf" "ErfBackward0" Promote {} "The error function" {
                value |x, _| x.erf();
                input |x, _| x.square().neg().exp().mul_lit(FRAC_2_SQRT_PI);
            }
            Erfc "erfc" "ErfcBackward0" Promote {} "`1 - erf(x)`, accurate for large `x`" {
                value |x, _| x.erfc();
                input |x, _| x.square().neg().exp().mul_lit(-FRAC_2_SQRT_PI);
            }
            Erfinv "erfinv" "ErfinvBackward0" Promote {} "The inverse of the error function" {
                value |x, _| x.erfinv();
                output |y, _| y.square().exp().mul_lit(1.0 / FRAC_2_SQRT_PI);
            }
            Lgamma "lgamma" "LgammaBackward0" Promote {} "`log |gamma(x)|`" {
                value |x, _| x.lgamma();
                input |x, _| x.digamma();
            }
            Digamma "digamma" "DigammaBackward0" Promote {} "The derivative of `lgamma`" {
                value |x, _| x.digamma();
                input |x, _| x.polygamma(1);
            }
            Sinc "sinc" "SincBackward0" Promote {} "`sin(pi x) / (pi x)`, 1 at 0" {
                angle 4.0 value |x, _| {
            let z = x.mul_lit(PI);
            V::select(&x.eq_lit(0.0), &x.lit(1.0), &z.sin().div(&z))
        };
                with_input |g, x, _| {
            let z = x.mul_lit(PI);
            let slope = z.mul(&z.cos()).sub(&z.sin()).div(&z.mul(x));
            g.mul(&slope.keep(&!x.eq_lit(0.0)))
        };
            }
            Logit "logit" "LogitBackward0" Promote {"eps" = -1.0} "`log(x / (1 - x))`, with `x` limited to `[eps, 1 - eps]` unless `eps` is negative" {
                value |x, p| {
            let z = if p[0] < 0.0 { x.clone() } else { limit(x, p[0], 1.0 - p[0]) };
            z.div(&z.sub_from(1.0)).log()
        };
                with_input |g, x, p| {
            let slope = g.div(&x.mul(&x.sub_from(1.0)));
            let (low, outside) = if p[0] < 0.0 { (0.0, f64::NAN) } else { (p[0], 0.0) };
            let inside = x.ge_lit(low) & x.le_lit(1.0 - low);
            V::select(&inside, &slope, &g.lit(outside))
        };
            }
            Deg2Rad "deg2rad" "Deg2RadBackward0" Promote {} "Degrees to radians" {
                light true value |x, _| x.mul_lit(PI / 180.0);
                nothing |g| g.mul_lit(PI / 180.0);
            }
            Rad2Deg "rad2deg" "Rad2DegBackward0" Promote {} "Radians to degrees" {
                light true value |x, _| x.mul_lit(180.0 / PI);
                nothing |g| g.mul_lit(180.0 / PI);
            }
            I0 "i0" "I0Backward0" Promote {} "The modified Bessel function of the first kind, order 0" {
                slow true value |x, _| x.i0();
                input |x, _| x.i1();
            }
            Clamp "clamp" "ClampBackward1" Keep {"min" = f64::NEG_INFINITY, "max" = f64::INFINITY} "`x` limited to `[min, max]`; the derivative at the limits is 0" {
                light true value |x, p| limit(x, p[0], p[1]);
                with_input |g, x, p| {
                    // An absent limit is never reached.
                    let low = x.gt_lit(p[0]) | (x.eq_lit(f64::NEG_INFINITY) & x.eq_lit(p[0]));
                    let high = x.lt_lit(p[1]) | (x.eq_lit(f64::INFINITY) & x.eq_lit(p[1]));
                    g.keep(&(low & high))
                };
            }
            PowScalar "pow" "PowBackward0" Keep {"exponent" = 1.0} "`x^exponent`" {
                plain true value |x, p| power(x, p[0]);
                with_input |g, x, p| {
            if p[0] == 0.0 { g.lit(0.0) } else { g.mul(&power(x, p[0] - 1.0).mul_lit(p[0])) }
        };
            }
            NanToNum "nan_to_num" "NanToNumBackward0" KeepBool {"nan" = 0.0, "inf" = f64::MAX} "`nan` for NaN, plus or minus `inf` for the infinities, else `x`" {
                plain true value |x, p| {
            let finite = V::select(&x.eq_lit(f64::INFINITY), &x.lit(p[1]), x);
            let finite = V::select(&x.eq_lit(f64::NEG_INFINITY), &x.lit(-p[1]), &finite);
            V::select(&x.is_nan(), &x.lit(p[0]), &finite)
        };
                with_input |g, x, _| g.keep(&x.abs().lt_lit(f64::INFINITY));
            }
            IsNan "isnan" "NotDifferentiable" Test {} "Whether `x` is not a number" {}
            IsInf "isinf" "NotDifferentiable" Test {} "Whether `x` is infinite" {}
            IsFinite "isfinite" "NotDifferentiable" Test {} "Whether `x` is neither infinite nor NaN" {}
            Signbit "signbit" "NotDifferentiable" Test {} "Whether the sign bit of `x` is set" {}
            LogicalNot "logical_not" "NotDifferentiable" Test {} "Whether `x` is zero" {}
            BitwiseNot "bitwise_not" "NotDifferentiable" Bits {} "The bits of `x` inverted" {}
        }
    };
}

const SELU_SCALE: f64 = 1.0507009873554804934193349852946;
const SELU_ALPHA: f64 = 1.6732632423543772848170429916717;
/// `sqrt(2 / pi)`
const GELU_K: f64 = 0.79788456080286535588;
const GELU_C: f64 = 0.044715;

/// Makes the type of each row.
macro_rules! rows {
    ($($variant:ident $name:literal $node:literal $class:ident $params:tt $doc:literal $body:tt)*) => {
        $(rows!(@row $variant $doc $body);)*
    };
    (@row $variant:ident $doc:literal {}) => {};
    (@row $variant:ident $doc:literal {
        $(slow $slow:literal)? $(light $light:literal)? $(plain $plain:literal)? $(angle $factor:literal)?
        value |$x:tt, $p:tt| $f:expr;
        $form:ident $(|$($a:tt),*| $e:expr)?;
    }) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug)]
        pub struct $variant;
        impl Row for $variant {
            $(const SLOW: bool = $slow;)?
            $(const LIGHT: bool = $light;)?
            $(const PLAIN: bool = $plain;)?
            $(const ANGLE: f64 = $factor;)?
            #[inline(always)]
            fn f<V: Algebra>($x: &V, $p: &[f64; 2]) -> V { $f }
            rows!(@rule $form $(|$($a),*| $e)?);
        }
    };
    (@rule constant) => {
        const SAVES: Saves = Saves::Nothing;
        #[inline(always)]
        fn vjp<V: Algebra>(g: &V, _: &V, _: &V, _: &[f64; 2]) -> V { g.lit(0.0) }
    };
    (@rule nothing |$g:tt| $e:expr) => {
        const SAVES: Saves = Saves::Nothing;
        #[inline(always)]
        fn vjp<V: Algebra>($g: &V, _: &V, _: &V, _: &[f64; 2]) -> V { $e }
    };
    (@rule input |$x:tt, $p:tt| $e:expr) => {
        const SAVES: Saves = Saves::Input;
        #[inline(always)]
        fn vjp<V: Algebra>(g: &V, $x: &V, _: &V, $p: &[f64; 2]) -> V { g.mul(&$e) }
    };
    (@rule output |$y:tt, $p:tt| $e:expr) => {
        const SAVES: Saves = Saves::Output;
        #[inline(always)]
        fn vjp<V: Algebra>(g: &V, _: &V, $y: &V, $p: &[f64; 2]) -> V { g.mul(&$e) }
    };
    (@rule both |$x:tt, $y:tt, $p:tt| $e:expr) => {
        const SAVES: Saves = Saves::Both;
        #[inline(always)]
        fn vjp<V: Algebra>(g: &V, $x: &V, $y: &V, $p: &[f64; 2]) -> V { g.mul(&$e) }
    };
    (@rule with_input |$g:tt, $x:tt, $p:tt| $e:expr) => {
        const SAVES: Saves = Saves::Input;
        #[inline(always)]
        fn vjp<V: Algebra>($g: &V, $x: &V, _: &V, $p: &[f64; 2]) -> V { $e }
    };
    (@rule with_output |$g:tt, $y:tt, $p:tt| $e:expr) => {
        const SAVES: Saves = Saves::Output;
        #[inline(always)]
        fn vjp<V: Algebra>($g: &V, _: &V, $y: &V, $p: &[f64; 2]) -> V { $e }
    };
}

crate::for_each_unary!(rows);

/// The sign of `x`; NaN has none, as in torch.
#[inline(always)]
fn sign<V: Algebra>(x: &V) -> V {
    let one = x.lit(1.0);
    one.keep(&x.gt_lit(0.0)).sub(&one.keep(&x.lt_lit(0.0)))
}

/// `log(1 + e^x)` without overflow.
#[inline(always)]
fn softplus<V: Algebra>(x: &V) -> V {
    x.keep(&!x.le_lit(0.0)).add(&x.abs().neg().exp().log1p())
}

/// `x` between the limits; NaN passes, and the upper limit wins where they cross.
#[inline(always)]
pub(crate) fn limit<V: Algebra>(x: &V, low: f64, high: f64) -> V {
    let x = V::select(&x.lt_lit(low), &x.lit(low), x);
    V::select(&x.gt_lit(high), &x.lit(high), &x)
}

/// `x^e`; the common exponents without a logarithm, as torch does.
#[inline(always)]
fn power<V: Algebra>(x: &V, e: f64) -> V {
    if e == 0.0 {
        x.lit(1.0)
    } else if e == 1.0 {
        x.clone()
    } else if e == 2.0 {
        x.square()
    } else if e == 3.0 {
        x.square().mul(x)
    } else if e == 0.5 {
        x.sqrt()
    } else if e == -0.5 {
        x.sqrt().div_into(1.0)
    } else if e == -1.0 {
        x.div_into(1.0)
    } else if e == -2.0 {
        x.square().div_into(1.0)
    } else {
        x.pow(&x.lit(e))
    }
}
