//! Unary operations on integers and bool, and the tests with a bool result.

use std::marker::PhantomData;

use super::{IntRule, Unary};
use crate::dtype::{Bool, DType, Element, dispatch};
use crate::kernels::block::{Block, Map, Mode, block_narrow};
use crate::kernels::copy::copy_block;

/// Integer arithmetic as torch's: it wraps.
pub trait Integer: Element {
    /// The least value.
    const LEAST: Self;
    /// The greatest value.
    const MOST: Self;
    /// The negation.
    fn neg(self) -> Self;
    /// The product.
    fn mul(self, other: Self) -> Self;
    /// All bits inverted.
    fn not(self) -> Self;
    /// -1, 0 or 1.
    fn sign(self) -> Self;
    /// The power.
    fn pow(self, e: i64) -> Self;
}

macro_rules! integer {
    ($($t:ty, |$x:ident| $sign:expr;)*) => {$(
        impl Integer for $t {
            const LEAST: Self = <$t>::MIN;
            const MOST: Self = <$t>::MAX;
            #[inline(always)]
            fn neg(self) -> Self { self.wrapping_neg() }
            #[inline(always)]
            fn mul(self, other: Self) -> Self { self.wrapping_mul(other) }
            #[inline(always)]
            fn not(self) -> Self { !self }
            #[inline(always)]
            fn sign(self) -> Self { let $x = self; $sign }
            /// By squaring; negative exponents give the truncated fraction.
            #[inline(always)]
            fn pow(self, e: i64) -> Self {
                if e < 0 {
                    return match self {
                        1 => 1,
                        x if x.wrapping_add(1) == 0 && <$t>::MIN != 0 => if e & 1 == 0 { 1 } else { x },
                        _ => 0,
                    };
                }
                let (mut e, mut base, mut result) = (e, self, 1);
                while e > 0 {
                    if e & 1 == 1 {
                        result = <$t>::wrapping_mul(result, base);
                    }
                    base = base.wrapping_mul(base);
                    e >>= 1;
                }
                result
            }
        }
    )*};
}

integer! {
    u8, |x| u8::from(x != 0);
    i8, |x| x.signum();
    i16, |x| x.signum();
    i32, |x| x.signum();
    i64, |x| x.signum();
}

/// Functions of an integer: the value is one of these, chosen by the type.
macro_rules! integer_maps {
    ($($name:ident: |$x:ident, $p:tt| $e:expr;)*) => {$(
        struct $name<T>(PhantomData<T>);
        impl<T: Integer> Map for $name<T> {
            type In = (T,);
            type Out = T;
            const OVER: bool = true;
            #[inline(always)]
            fn call<M: Mode>(($x,): (T,), $p: &[f64; 2]) -> T { $e }
        }
    )*};
}

integer_maps! {
    Neg: |x, _| x.neg();
    Abs: |x, _| if x < T::default() { x.neg() } else { x };
    Sign: |x, _| x.sign();
    Square: |x, _| x.mul(x);
    Relu: |x, _| if x < T::default() { T::default() } else { x };
    Relu6: |x, _| limit(x, T::default(), T::from_i64(6));
    Not: |x, _| x.not();
    Hardtanh: |x, p| limit(x, T::from_i64(int(p, 0)), T::from_i64(int(p, 1)));
    Threshold: |x, p| if x.to_i64() <= int(p, 0) { T::from_i64(int(p, 1)) } else { x };
    Clamp: |x, p| {
        // Limits that lie beyond the type are cut by it, after the comparison as i64.
        let (low, high) = (int(p, 0), int(p, 1));
        let (least, most) = (T::LEAST.to_i64(), T::MOST.to_i64());
        if low <= most && high >= least {
            let (low, high) = (T::from_i64(low.max(least)), T::from_i64(high.min(most)));
            limit(x, low, high)
        } else {
            let v = x.to_i64();
            let v = if v < low { low } else { v };
            T::from_i64(if v > high { high } else { v })
        }
    };
    Pow: |x, p| x.pow(int(p, 0));
}

/// Parameters of integer kernels are integers, passed by bit pattern.
#[inline(always)]
pub fn int(p: &[f64; 2], i: usize) -> i64 {
    p[i].to_bits() as i64
}

#[inline(always)]
fn limit<T: Element>(x: T, low: T, high: T) -> T {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// Tests of an element: bool results.
macro_rules! tests {
    ($($name:ident: |$x:ident| $e:expr;)*) => {$(
        struct $name<T>(PhantomData<T>);
        impl<T: Element> Map for $name<T> {
            type In = (T,);
            type Out = Bool;
            #[inline(always)]
            fn call<M: Mode>(($x,): (T,), _: &[f64; 2]) -> Bool { ($e).into() }
        }
    )*};
}

tests! {
    IsZero: |x| x == T::default();
    IsNan: |x| x.partial_cmp(&x).is_none();
    IsInf: |x| x.to_f64().abs() == f64::INFINITY;
    IsFinite: |x| x.to_f64().abs() < f64::INFINITY;
    Signbit: |x| x.to_f64().is_sign_negative();
}

/// The block for what is not a float function of a float.
pub(super) fn forward(op: Unary, dtype: DType) -> Option<Block> {
    macro_rules! int {
        ($map:ident) => {
            match dtype {
                DType::U8 => Some(block_narrow::<$map<u8>>()),
                DType::I8 => Some(block_narrow::<$map<i8>>()),
                DType::I16 => Some(block_narrow::<$map<i16>>()),
                DType::I32 => Some(block_narrow::<$map<i32>>()),
                DType::I64 => Some(block_narrow::<$map<i64>>()),
                _ => None,
            }
        };
    }
    macro_rules! test {
        ($map:ident) => {
            dispatch!(dtype, T => Some(block_narrow::<$map<T>>()))
        };
    }
    let copies = dtype.is_int() || (dtype == DType::Bool && op.int_rule() == IntRule::KeepBool);
    match op {
        Unary::Neg => int!(Neg),
        Unary::Abs => int!(Abs),
        // torch squares bool as int64 and answers so; the caller casts.
        Unary::Square => int!(Square),
        Unary::Sign | Unary::Sgn if dtype == DType::Bool => Some(copy_block(1)),
        Unary::Sign | Unary::Sgn => int!(Sign),
        Unary::Relu => int!(Relu),
        Unary::Relu6 => int!(Relu6),
        Unary::Hardtanh => int!(Hardtanh),
        Unary::Threshold => int!(Threshold),
        Unary::Clamp => int!(Clamp),
        Unary::PowScalar => int!(Pow),
        Unary::BitwiseNot if dtype == DType::Bool => Some(block_narrow::<IsZero<Bool>>()),
        Unary::BitwiseNot => int!(Not),
        Unary::Floor | Unary::Ceil | Unary::Round | Unary::Trunc | Unary::NanToNum => {
            copies.then(|| copy_block(dtype.size()))
        }
        Unary::LogicalNot => test!(IsZero),
        Unary::IsNan => test!(IsNan),
        Unary::IsInf => test!(IsInf),
        Unary::IsFinite => test!(IsFinite),
        Unary::Signbit => test!(Signbit),
        _ => None,
    }
}
