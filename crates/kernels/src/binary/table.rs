//! The table of elementwise operations of two and three inputs: one row each.

use std::f64::consts::LN_2;

use super::{Needs, Row, Saved};
use crate::algebra::Algebra;
use crate::unary::table::limit;

/// The table: calls `$callback! { Variant "name" "NodeName" Class {"param" = default, ...} "doc"
/// { ... } ... }` with all rows; bindings generate their methods by it and ignore the braces.
///
/// `Class` is a [`Class`](crate::binary::Class). The braces hold the value and, where there is
/// a derivative, for each input the gradient `da`, `db`, `dc`, made of the gradient `g` of the
/// output and what stands in brackets: inputs `a`, `b`, `c` and the output `y`. `slow` marks what
/// does not vectorise, `light` what is done in an instruction or a few,
/// `quotient` what is made of a remainder.
#[macro_export]
macro_rules! for_each_binary {
    ($callback:path) => {
        $callback! {
            Add "add" "AddBackward0" Arithmetic {"alpha" = 1.0} "`a + alpha b`" {
                light true value |a, b, p| b.fma(&a.lit(p[0]), a);
                da [] |g, _| g.clone();
                db [] |g, p| scaled(g, p[0]);
            }
            Sub "sub" "SubBackward0" Arithmetic {"alpha" = 1.0} "`a - alpha b`" {
                light true value |a, b, p| b.fma(&a.lit(-p[0]), a);
                da [] |g, _| g.clone();
                db [] |g, p| scaled(g, -p[0]);
            }
            Mul "mul" "MulBackward0" Arithmetic {} "`a b`" {
                light true value |a, b, _| a.mul(b);
                da [b] |g, _| g.mul(b);
                db [a] |g, _| g.mul(a);
            }
            Div "div" "DivBackward0" Float {} "`a / b`" {
                light true value |a, b, _| a.div(b);
                da [b] |g, _| g.div(b);
                db [a b] |g, _| g.neg().mul(&a.div(b).div(b));
            }
            FloorDivide "floor_divide" "DivBackward2" Arithmetic {} "`floor(a / b)`, as Python's `//`" {
                quotient true value |a, b, _| floor_divide(a, b);
                da [] |g, _| g.lit(0.0);
                db [] |g, _| g.lit(0.0);
            }
            DivTrunc "div_trunc" "DivBackward2" Arithmetic {} "`trunc(a / b)`, as C's `/` of integers" {
                value |a, b, _| a.div(b).trunc();
                da [] |g, _| g.lit(0.0);
                db [] |g, _| g.lit(0.0);
            }
            Remainder "remainder" "RemainderBackward1" Arithmetic {}
                "The remainder of `a / b` with the sign of `b`, as Python's `%`" {
                quotient true value |a, b, _| remainder(a, b);
                da [] |g, _| g.clone();
                db [a b] |g, _| g.neg().mul(&floor_divide(a, b));
            }
            Fmod "fmod" "FmodBackward1" Arithmetic {}
                "The remainder of `a / b` with the sign of `a`, as C's `fmod`" {
                quotient true value |a, b, _| a.fmod(b);
                da [] |g, _| g.clone();
                db [a b] |g, _| g.neg().mul(&a.div(b).trunc());
            }
            Pow "pow" "PowBackward1" Arithmetic {} "`a^b`" {
                value |a, b, _| a.pow(b);
                da [a b] |g, _| {
                    let slope = g.mul(&b.mul(&a.pow(&b.add_lit(-1.0))));
                    slope.keep(&!b.eq_lit(0.0))
                };
                db [a b y] |g, _| {
                    let slope = g.mul(&y.mul(&a.log()));
                    slope.keep(&!(a.eq_lit(0.0) & b.ge_lit(0.0)))
                };
            }
            Atan2 "atan2" "Atan2Backward0" Float {} "The angle of the point `(b, a)`" {
                value |a, b, _| a.atan2(b);
                da [a b] |g, _| {
                    let slope = g.mul(&b.div(&a.fma(a, &b.square())));
                    slope.keep(&!(a.eq_lit(0.0) & b.eq_lit(0.0)))
                };
                db [a b] |g, _| {
                    let slope = g.mul(&a.neg().div(&a.fma(a, &b.square())));
                    slope.keep(&!(a.eq_lit(0.0) & b.eq_lit(0.0)))
                };
            }
            Maximum "maximum" "MaximumBackward0" Arithmetic {}
                "The larger of `a` and `b`, NaN if either is; ties share the gradient" {
                light true value |a, b, _| V::select(&(a.gt(b) | a.is_nan()), a, b);
                da [a b] |g, _| V::select(&a.eq(b), &g.mul_lit(0.5), g).keep(&!a.lt(b));
                db [a b] |g, _| V::select(&a.eq(b), &g.mul_lit(0.5), g).keep(&!b.lt(a));
            }
            Minimum "minimum" "MinimumBackward0" Arithmetic {}
                "The smaller of `a` and `b`, NaN if either is; ties share the gradient" {
                light true value |a, b, _| V::select(&(a.lt(b) | a.is_nan()), a, b);
                da [a b] |g, _| V::select(&a.eq(b), &g.mul_lit(0.5), g).keep(&!a.gt(b));
                db [a b] |g, _| V::select(&a.eq(b), &g.mul_lit(0.5), g).keep(&!b.gt(a));
            }
            Fmax "fmax" "FmaxBackward0" Arithmetic {} "The larger of `a` and `b` that is not NaN; ties share the gradient" {
                value |a, b, _| V::select(&(a.ge(b) | b.is_nan()), a, b);
                da [a b] |g, _| V::select(&a.eq(b), &g.mul_lit(0.5), g).keep(&(a.ge(b) | b.is_nan()));
                db [a b] |g, _| V::select(&a.eq(b), &g.mul_lit(0.5), g).keep(&!(a.gt(b) | b.is_nan()));
            }
            Fmin "fmin" "FminBackward0" Arithmetic {} "The smaller of `a` and `b` that is not NaN; ties share the gradient" {
                value |a, b, _| V::select(&(a.le(b) | b.is_nan()), a, b);
                da [a b] |g, _| V::select(&a.eq(b), &g.mul_lit(0.5), g).keep(&(a.le(b) | b.is_nan()));
                db [a b] |g, _| V::select(&a.eq(b), &g.mul_lit(0.5), g).keep(&!(a.lt(b) | b.is_nan()));
            }
            Hypot "hypot" "HypotBackward0" FloatOnly {} "`sqrt(a^2 + b^2)`" {
                value |a, b, _| a.hypot(b);
                da [a y] |g, _| g.mul(&a.div(y));
                db [b y] |g, _| g.mul(&b.div(y));
            }
            LogAddExp "logaddexp" "LogaddexpBackward0" FloatOnly {} "`log(e^a + e^b)`" {
                value |a, b, _| log_add(a, b, &a.sub(b).abs().neg().exp().log1p());
                da [a b] |g, _| g.div(&b.sub(a).exp().add_lit(1.0));
                db [a b] |g, _| g.div(&a.sub(b).exp().add_lit(1.0));
            }
            LogAddExp2 "logaddexp2" "Logaddexp2Backward0" FloatOnly {} "`log2(2^a + 2^b)`" {
                value |a, b, _| log_add(a, b, &a.sub(b).abs().neg().exp2().log1p().mul_lit(1.0 / LN_2));
                da [a b] |g, _| g.div(&b.sub(a).exp2().add_lit(1.0));
                db [a b] |g, _| g.div(&a.sub(b).exp2().add_lit(1.0));
            }
            Copysign "copysign" "CopysignBackward0" Float {} "The magnitude of `a`, the sign of `b`" {
                value |a, b, _| a.copysign(b);
                da [a y] |g, _| g.mul(&y.div(a).keep(&!a.eq_lit(0.0)));
                db [] |g, _| g.lit(0.0);
            }
            Xlogy "xlogy" "XlogyBackward0" Float {} "`a log(b)`, 0 where `a` is 0" {
                value |a, b, _| {
                    V::select(&b.is_nan(), b, &a.mul(&b.log()).keep(&!a.eq_lit(0.0)))
                };
                da [a b] |g, _| g.mul(&b.log().keep(&!(a.eq_lit(0.0) & b.le_lit(0.0))));
                db [a b] |g, _| g.mul(a).div(b);
            }
            Prelu "_prelu_kernel" "PreluKernelBackward0" FloatOnly {} "`a` above 0, `a b` below" {
                light true value |a, b, _| V::select(&a.gt_lit(0.0), a, &a.mul(b));
                da [a b] |g, _| V::select(&a.gt_lit(0.0), g, &g.mul(b));
                db [a] |g, _| g.mul(a).keep(&!a.gt_lit(0.0));
            }
            SquaredDifference "squared_difference" "MseLossBackward0" FloatOnly {} "`(a - b)^2`" {
                light true value |a, b, _| a.sub(b).square();
                da [a b] |g, _| g.mul(&a.sub(b).mul_lit(2.0));
                db [a b] |g, _| g.mul(&b.sub(a).mul_lit(2.0));
            }
            HuberDifference "huber_difference" "HuberLossBackward0" FloatOnly {"delta" = 1.0}
                "`m (|d| - m / 2)` for `d = a - b`, `m` being `|d|` or `delta`, whichever is less" {
                light true value |a, b, p| {
                    let d = a.sub(b).abs();
                    let m = limit(&d, f64::NEG_INFINITY, p[0]);
                    m.fma(&m.lit(-0.5), &d).mul(&m)
                };
                da [a b] |g, p| g.mul(&limit(&a.sub(b), -p[0], p[0]));
                db [a b] |g, p| g.mul(&limit(&b.sub(a), -p[0], p[0]));
            }
            Heaviside "heaviside" "NotDifferentiable" Arithmetic {}
                "0 where `a < 0`, 1 where `a > 0`, `b` where `a` is 0" {
                value |a, b, _| {
                    let step = a.lit(1.0).keep(&a.gt_lit(0.0));
                    V::select(&a.eq_lit(0.0), b, &V::select(&a.is_nan(), a, &step))
                };
            }
            Igamma "igamma" "IgammaBackward0" FloatOnly {}
                "The regularised lower incomplete gamma function; differentiable by `b` only" {
                slow true value |a, b, _| a.gammainc(b);
                da [] |g, _| g.lit(f64::NAN);
                db [a b] |g, _| g.mul(&gamma_density(a, b));
            }
            Igammac "igammac" "IgammacBackward0" FloatOnly {}
                "The regularised upper incomplete gamma function; differentiable by `b` only" {
                slow true value |a, b, _| a.gammaincc(b);
                da [] |g, _| g.lit(f64::NAN);
                db [a b] |g, _| g.neg().mul(&gamma_density(a, b));
            }
            NextAfter "nextafter" "NextafterBackward0" FloatOnly {}
                "The number next to `a` in the direction of `b`" {
                slow true value |a, b, _| a.nextafter(b);
                da [] |g, _| g.lit(0.0);
                db [] |g, _| g.lit(0.0);
            }
            Lerp "lerp" "LerpBackward1" FloatOnly {} "`a + c (b - a)`" {
                light true value |a, b, c, _| {
                    let d = b.sub(a);
                    let low = c.fma(&d, a);
                    let high = c.sub_from(1.0).neg().fma(&d, b);
                    V::select(&c.abs().lt_lit(0.5), &low, &high)
                };
                da [c] |g, _| g.mul(&c.sub_from(1.0));
                db [c] |g, _| g.mul(c);
                dc [a b] |g, _| g.mul(&b.sub(a));
            }
            AddCMul "addcmul" "AddcmulBackward0" FloatOnly {"value" = 1.0} "`a + value b c`" {
                light true value |a, b, c, p| b.mul_lit(p[0]).fma(c, a);
                da [] |g, _| g.clone();
                db [c] |g, p| scaled(&g.mul(c), p[0]);
                dc [b] |g, p| scaled(&g.mul(b), p[0]);
            }
            AddCDiv "addcdiv" "AddcdivBackward0" FloatOnly {"value" = 1.0} "`a + value b / c`" {
                light true value |a, b, c, p| b.mul_lit(p[0]).div(c).add(a);
                da [] |g, _| g.clone();
                db [c] |g, p| scaled(&g.div(c), p[0]);
                dc [b c] |g, p| scaled(&g.mul(&b.div(&c.square())), -p[0]);
            }
            Eq "eq" "NotDifferentiable" Test {} "Whether `a == b`" {}
            Ne "ne" "NotDifferentiable" Test {} "Whether `a != b`" {}
            Lt "lt" "NotDifferentiable" Test {} "Whether `a < b`" {}
            Le "le" "NotDifferentiable" Test {} "Whether `a <= b`" {}
            Gt "gt" "NotDifferentiable" Test {} "Whether `a > b`" {}
            Ge "ge" "NotDifferentiable" Test {} "Whether `a >= b`" {}
            LogicalAnd "logical_and" "NotDifferentiable" Test {} "Whether both are non-zero" {}
            LogicalOr "logical_or" "NotDifferentiable" Test {} "Whether one is non-zero" {}
            LogicalXor "logical_xor" "NotDifferentiable" Test {} "Whether exactly one is non-zero" {}
            BitwiseAnd "bitwise_and" "NotDifferentiable" Bits {} "The bits set in both" {}
            BitwiseOr "bitwise_or" "NotDifferentiable" Bits {} "The bits set in one" {}
            BitwiseXor "bitwise_xor" "NotDifferentiable" Bits {} "The bits set in exactly one" {}
            LeftShift "bitwise_left_shift" "NotDifferentiable" Bits {} "`a 2^b`" {}
            RightShift "bitwise_right_shift" "NotDifferentiable" Bits {} "`floor(a / 2^b)`" {}
            Gcd "gcd" "NotDifferentiable" Bits {} "The greatest common divisor" {}
            Lcm "lcm" "NotDifferentiable" Bits {} "The least common multiple" {}
        }
    };
}

/// Makes the type of each row.
macro_rules! rows {
    ($($variant:ident $name:literal $node:literal $class:ident $params:tt $doc:literal $body:tt)*) => {
        $(rows!(@row $variant $doc $body);)*
    };
    (@row $variant:ident $doc:literal {}) => {};
    (@row $variant:ident $doc:literal {
        $(slow $slow:literal)?
        $(light $light:literal)?
        $(quotient $quotient:literal)?
        value |$($x:tt),*| $f:expr;
        $($d:ident [$($need:ident)*] |$g:ident, $p:tt| $e:expr;)*
    }) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug)]
        pub struct $variant;
        impl Row for $variant {
            $(const SLOW: bool = $slow;)?
            $(const LIGHT: bool = $light;)?
            $(const QUOTIENT: bool = $quotient;)?
            rows!(@value |$($x),*| $f);
            const NEEDS: &'static [Needs] = &[$({
                #[allow(unused_mut, reason = "some gradients need nothing")]
                let mut needs = Needs::NONE;
                $(needs.$need = true;)*
                needs
            }),*];
            $(rows!(@grad $d [$($need)*] |$g, $p| $e);)*
        }
    };
    (@value |$a:tt, $b:tt, $p:tt| $f:expr) => {
        const INPUTS: usize = 2;
        #[inline(always)]
        fn f<V: Algebra>($a: &V, $b: &V, _: &V, $p: &[f64; 2]) -> V { $f }
    };
    (@value |$a:tt, $b:tt, $c:tt, $p:tt| $f:expr) => {
        const INPUTS: usize = 3;
        #[inline(always)]
        fn f<V: Algebra>($a: &V, $b: &V, $c: &V, $p: &[f64; 2]) -> V { $f }
    };
    (@grad $d:ident [$($need:ident)*] |$g:ident, $p:tt| $e:expr) => {
        #[inline(always)]
        #[allow(unused_variables, reason = "some gradients need nothing")]
        fn $d<V: Algebra>($g: &V, saved: &Saved<'_, V>, $p: &[f64; 2]) -> V {
            $(let $need = saved.$need;)*
            $e
        }
    };
}

crate::for_each_binary!(rows);

/// `g k`, without work for the common `k`.
#[inline(always)]
fn scaled<V: Algebra>(g: &V, k: f64) -> V {
    if k == 1.0 {
        g.clone()
    } else if k == -1.0 {
        g.neg()
    } else {
        g.mul_lit(k)
    }
}

/// `b^(a - 1) e^-b / gamma(a)`
#[inline(always)]
fn gamma_density<V: Algebra>(a: &V, b: &V) -> V {
    let power = a.add_lit(-1.0);
    let log = power.mul(&b.log()).keep(&!power.eq_lit(0.0));
    log.sub(b).sub(&a.lgamma()).exp()
}

/// Python's `%`.
#[inline(always)]
fn remainder<V: Algebra>(a: &V, b: &V) -> V {
    let r = a.fmod(b);
    let zero = a.lit(0.0);
    let other_side = (r.lt(&zero) & b.gt(&zero)) | (r.gt(&zero) & b.lt(&zero));
    V::select(&other_side, &r.add(b), &r)
}

/// Python's `//`: by the remainder, as the rounded quotient may be off by one.
#[inline(always)]
fn floor_divide<V: Algebra>(a: &V, b: &V) -> V {
    let zero = a.lit(0.0);
    let quotient = a.div(b);
    let r = a.fmod(b);
    let d = a.sub(&r).div(b);
    let other_side = (r.lt(&zero) & b.gt(&zero)) | (r.gt(&zero) & b.lt(&zero));
    let d = V::select(&other_side, &d.add_lit(-1.0), &d);
    let whole = d.floor();
    let whole = V::select(&d.sub(&whole).gt_lit(0.5), &whole.add_lit(1.0), &whole);
    let whole = V::select(&d.eq(&zero), &zero.copysign(&quotient), &whole);
    V::select(&b.eq(&zero), &quotient, &whole)
}

/// The larger of the two plus a correction; equal infinities have none.
#[inline(always)]
fn log_add<V: Algebra>(a: &V, b: &V, correction: &V) -> V {
    let larger = V::select(&(a.gt(b) | a.is_nan()), a, b);
    let same = a.eq(b) & a.abs().eq_lit(f64::INFINITY);
    V::select(&same, a, &larger.add(correction))
}
