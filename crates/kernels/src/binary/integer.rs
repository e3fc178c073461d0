//! Binary operations on integers and bool, the comparisons, `where`, and the search for zeros.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use super::Binary;
use crate::dtype::{Bool, DType, Element, dispatch};
use crate::kernels::block::{Block, Map, Mode, block_narrow, block_scalar};
use crate::kernels::elementwise::Operand;
use crate::unary::integer::{Integer, int};

/// Integer arithmetic as torch's: it wraps, and what has no value is zero instead of a fault.
trait Arithmetic: Integer {
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn div_trunc(self, other: Self) -> Self;
    fn fmod(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn shift_left(self, other: Self) -> Self;
    fn shift_right(self, other: Self) -> Self;
}

macro_rules! arithmetic {
    ($($t:ty)*) => {$(
        impl Arithmetic for $t {
            #[inline(always)]
            fn add(self, other: Self) -> Self { self.wrapping_add(other) }
            #[inline(always)]
            fn sub(self, other: Self) -> Self { self.wrapping_sub(other) }
            #[inline(always)]
            fn div_trunc(self, other: Self) -> Self {
                if other == 0 { 0 } else { self.wrapping_div(other) }
            }
            #[inline(always)]
            fn fmod(self, other: Self) -> Self {
                if other == 0 { 0 } else { self.wrapping_rem(other) }
            }
            #[inline(always)]
            fn and(self, other: Self) -> Self { self & other }
            #[inline(always)]
            fn or(self, other: Self) -> Self { self | other }
            #[inline(always)]
            fn xor(self, other: Self) -> Self { self ^ other }
            #[inline(always)]
            fn shift_left(self, other: Self) -> Self {
                let inside = (0..<$t>::BITS as i64).contains(&(other as i64));
                if inside { self.wrapping_shl(other as u32) } else { 0 }
            }
            #[inline(always)]
            fn shift_right(self, other: Self) -> Self {
                let inside = (0..<$t>::BITS as i64).contains(&(other as i64));
                self.wrapping_shr(if inside { other as u32 } else { <$t>::BITS - 1 })
            }
        }
    )*};
}

arithmetic! { u8 i8 i16 i32 i64 }

/// Python's `%`.
#[inline(always)]
fn remainder<T: Arithmetic>(a: T, b: T) -> T {
    let r = a.fmod(b);
    let zero = T::default();
    if r != zero && (r < zero) != (b < zero) { r.add(b) } else { r }
}

/// Python's `//`.
#[inline(always)]
fn floor_divide<T: Arithmetic>(a: T, b: T) -> T {
    let q = a.div_trunc(b);
    // By the quotient: a second division takes longer.
    let r = if b == T::default() { b } else { a.sub(q.mul(b)) };
    let zero = T::default();
    if r != zero && (r < zero) != (b < zero) { q.sub(T::from_i64(1)) } else { q }
}

#[inline(always)]
fn gcd<T: Arithmetic>(a: T, b: T) -> T {
    let (mut a, mut b) = (a, b);
    while b != T::default() {
        (a, b) = (b, a.fmod(b));
    }
    if a < T::default() { a.neg() } else { a }
}

/// A function of two elements: what all forms (tensor, scalar on either side) are made of.
trait Pair {
    type T: Element;
    type Out: Copy;
    /// See [`Map::OVER`].
    const OVER: bool = false;
    fn pair(a: Self::T, b: Self::T, p: &[f64; 2]) -> Self::Out;
}

struct Tensors<F>(PhantomData<F>);
struct ScalarRight<F>(PhantomData<F>);
struct ScalarLeft<F>(PhantomData<F>);

impl<F: Pair> Map for Tensors<F> {
    type In = (F::T, F::T);
    type Out = F::Out;
    const OVER: bool = F::OVER;
    #[inline(always)]
    fn call<M: Mode>((a, b): (F::T, F::T), p: &[f64; 2]) -> F::Out {
        F::pair(a, b, p)
    }
}

/// The scalar of the parameters, and the default ones (`alpha = 1`) instead.
#[inline(always)]
fn scalar<T: Element>(p: &[f64; 2]) -> (T, [f64; 2]) {
    if T::DTYPE.is_float() {
        (T::from_f64(p[0]), [1.0, 0.0])
    } else {
        (T::from_i64(int(p, 0)), [f64::from_bits(1), 0.0])
    }
}

impl<F: Pair> Map for ScalarRight<F> {
    type In = (F::T,);
    type Out = F::Out;
    const OVER: bool = F::OVER;
    #[inline(always)]
    fn call<M: Mode>((x,): (F::T,), p: &[f64; 2]) -> F::Out {
        let (s, p) = scalar(p);
        F::pair(x, s, &p)
    }
}

impl<F: Pair> Map for ScalarLeft<F> {
    type In = (F::T,);
    type Out = F::Out;
    #[inline(always)]
    fn call<M: Mode>((x,): (F::T,), p: &[f64; 2]) -> F::Out {
        let (s, p) = scalar(p);
        F::pair(s, x, &p)
    }
}

macro_rules! pairs {
    ($bound:ident, $out:ty, $over:literal: $($name:ident |$a:ident, $b:ident, $p:tt| $e:expr;)*) => {$(
        struct $name<T>(PhantomData<T>);
        impl<T: $bound> Pair for $name<T> {
            type T = T;
            type Out = $out;
            const OVER: bool = $over;
            #[inline(always)]
            fn pair($a: T, $b: T, $p: &[f64; 2]) -> $out { $e }
        }
    )*};
}

pairs! { Arithmetic, T, true:
    Add |a, b, p| a.add(b.mul(T::from_i64(int(p, 0))));
    Sub |a, b, p| a.sub(b.mul(T::from_i64(int(p, 0))));
    Mul |a, b, _| a.mul(b);
    FloorDivide |a, b, _| floor_divide(a, b);
    DivTrunc |a, b, _| a.div_trunc(b);
    Remainder |a, b, _| remainder(a, b);
    Fmod |a, b, _| a.fmod(b);
    Pow |a, b, _| a.pow(b.to_i64());
    And |a, b, _| a.and(b);
    Or |a, b, _| a.or(b);
    Xor |a, b, _| a.xor(b);
    LeftShift |a, b, _| a.shift_left(b);
    RightShift |a, b, _| a.shift_right(b);
    Gcd |a, b, _| gcd(a, b);
    Lcm |a, b, _| {
        let product = a.div_trunc(gcd(a, b)).mul(b);
        if product < T::default() { product.neg() } else { product }
    };
    Maximum |a, b, _| if a > b { a } else { b };
    Minimum |a, b, _| if a < b { a } else { b };
    Heaviside |a, b, _| {
        if a == T::default() { b } else { T::from_i64(i64::from(a > T::default())) }
    };
}

pairs! { Element, Bool, false:
    Eq |a, b, _| (a == b).into();
    Ne |a, b, _| (a != b).into();
    Lt |a, b, _| (a < b).into();
    Le |a, b, _| (a <= b).into();
    LogicalAnd |a, b, _| ((a != T::default()) & (b != T::default())).into();
    LogicalOr |a, b, _| ((a != T::default()) | (b != T::default())).into();
    LogicalXor |a, b, _| ((a != T::default()) ^ (b != T::default())).into();
}

struct BoolAdd;
impl Pair for BoolAdd {
    type T = Bool;
    type Out = Bool;
    #[inline(always)]
    fn pair(a: Bool, b: Bool, p: &[f64; 2]) -> Bool {
        (a.get() | (b.get() & (int(p, 0) != 0))).into()
    }
}

struct BoolHeaviside;
impl Pair for BoolHeaviside {
    type T = Bool;
    type Out = Bool;
    #[inline(always)]
    fn pair(a: Bool, b: Bool, _: &[f64; 2]) -> Bool {
        (a.get() | b.get()).into()
    }
}

/// Which operands are tensors.
#[derive(Clone, Copy)]
enum Form {
    Tensors,
    Right,
    Left,
}

fn vector<F: Pair>(form: Form) -> Block {
    match form {
        Form::Tensors => block_narrow::<Tensors<F>>(),
        Form::Right => block_narrow::<ScalarRight<F>>(),
        Form::Left => block_narrow::<ScalarLeft<F>>(),
    }
}

/// For divisions and loops, which no vector unit helps.
fn serial<F: Pair>(form: Form) -> Block {
    match form {
        Form::Tensors => block_scalar::<Tensors<F>>(),
        Form::Right => block_scalar::<ScalarRight<F>>(),
        Form::Left => block_scalar::<ScalarLeft<F>>(),
    }
}

/// The block for two tensors of `dtype`.
pub(super) fn forward(op: Binary, dtype: DType) -> Option<Block> {
    make(op, dtype, Form::Tensors)
}

/// The block for a tensor of `dtype` and a scalar.
pub(super) fn forward_scalar(op: Binary, dtype: DType, reversed: bool) -> Option<Block> {
    // Of a comparison and its mirror image one is enough.
    let (op, form) = match op {
        Binary::Gt
        | Binary::Ge
        | Binary::Lt
        | Binary::Le
        | Binary::Sub
        | Binary::FloorDivide
        | Binary::DivTrunc
        | Binary::Remainder
        | Binary::Fmod
        | Binary::Pow
        | Binary::LeftShift
        | Binary::RightShift
        | Binary::Heaviside
            if reversed =>
        {
            (op, Form::Left)
        }
        _ => (op, Form::Right),
    };
    make(op, dtype, form)
}

fn make(op: Binary, dtype: DType, form: Form) -> Option<Block> {
    macro_rules! int {
        ($how:ident $pair:ident) => {
            match dtype {
                DType::U8 => Some($how::<$pair<u8>>(form)),
                DType::I8 => Some($how::<$pair<i8>>(form)),
                DType::I16 => Some($how::<$pair<i16>>(form)),
                DType::I32 => Some($how::<$pair<i32>>(form)),
                DType::I64 => Some($how::<$pair<i64>>(form)),
                _ => None,
            }
        };
    }
    macro_rules! test {
        ($pair:ident, $form:expr) => {{
            let form = $form;
            dispatch!(dtype, T => Some(vector::<$pair<T>>(form)))
        }};
    }
    if dtype == DType::Bool {
        match op {
            Binary::Add => return Some(vector::<BoolAdd>(form)),
            Binary::Mul | Binary::Minimum | Binary::Fmin | Binary::BitwiseAnd => {
                return Some(vector::<LogicalAnd<Bool>>(form));
            }
            Binary::Maximum | Binary::Fmax | Binary::BitwiseOr => {
                return Some(vector::<LogicalOr<Bool>>(form));
            }
            Binary::BitwiseXor => return Some(vector::<LogicalXor<Bool>>(form)),
            Binary::Heaviside => return Some(vector::<BoolHeaviside>(form)),
            _ => {}
        }
    }
    // a > b is b < a; with two tensors only a block of its own can say so.
    match op {
        Binary::Add => int!(vector Add),
        Binary::Sub => int!(vector Sub),
        Binary::Mul => int!(vector Mul),
        Binary::FloorDivide => int!(serial FloorDivide),
        Binary::DivTrunc => int!(serial DivTrunc),
        Binary::Remainder => int!(serial Remainder),
        Binary::Fmod => int!(serial Fmod),
        Binary::Pow => int!(serial Pow),
        Binary::Maximum | Binary::Fmax => int!(vector Maximum),
        Binary::Minimum | Binary::Fmin => int!(vector Minimum),
        Binary::BitwiseAnd => int!(vector And),
        Binary::BitwiseOr => int!(vector Or),
        Binary::BitwiseXor => int!(vector Xor),
        Binary::LeftShift => int!(vector LeftShift),
        Binary::RightShift => int!(vector RightShift),
        Binary::Gcd => int!(serial Gcd),
        Binary::Lcm => int!(serial Lcm),
        Binary::Heaviside => int!(vector Heaviside),
        Binary::Eq => test!(Eq, form),
        Binary::Ne => test!(Ne, form),
        Binary::Lt => test!(Lt, form),
        Binary::Le => test!(Le, form),
        Binary::Gt => match form {
            Form::Tensors => dispatch!(dtype, T => Some(block_narrow::<Swapped<Lt<T>>>())),
            Form::Right => test!(Lt, Form::Left),
            Form::Left => test!(Lt, Form::Right),
        },
        Binary::Ge => match form {
            Form::Tensors => dispatch!(dtype, T => Some(block_narrow::<Swapped<Le<T>>>())),
            Form::Right => test!(Le, Form::Left),
            Form::Left => test!(Le, Form::Right),
        },
        Binary::LogicalAnd => test!(LogicalAnd, form),
        Binary::LogicalOr => test!(LogicalOr, form),
        Binary::LogicalXor => test!(LogicalXor, form),
        _ => None,
    }
}

struct Swapped<F>(PhantomData<F>);
impl<F: Pair> Map for Swapped<F> {
    type In = (F::T, F::T);
    type Out = F::Out;
    #[inline(always)]
    fn call<M: Mode>((a, b): (F::T, F::T), p: &[f64; 2]) -> F::Out {
        F::pair(b, a, p)
    }
}

struct Where<T>(PhantomData<T>);
impl<T: Copy> Map for Where<T> {
    type In = (Bool, T, T);
    type Out = T;
    #[inline(always)]
    fn call<M: Mode>((mask, a, b): (Bool, T, T), _: &[f64; 2]) -> T {
        if mask.get() { a } else { b }
    }
}

/// The block of the inputs bool, `a`, `b` that picks `a` where true, for elements of `size` bytes.
pub fn where_block(size: usize) -> Block {
    match size {
        1 => block_narrow::<Where<u8>>(),
        2 => block_narrow::<Where<u16>>(),
        4 => block_narrow::<Where<u32>>(),
        _ => block_narrow::<Where<u64>>(),
    }
}

/// Whether a tensor has a zero: integer divisors are asked before a division.
///
/// # Safety
/// `divisor` must be readable for its strides over `shape` and of element type `dtype`.
pub unsafe fn any_zero(shape: &[usize], divisor: Operand<'_>, dtype: DType) -> bool {
    unsafe fn scan<T: Element>(shape: &[usize], ptr: *const T, strides: &[isize]) -> bool {
        match (shape, strides) {
            // SAFETY: by the contract, as for every element below.
            ([], _) => unsafe { *ptr == T::default() },
            (&[n], &[s]) => {
                let mut found = false;
                for i in 0..n as isize {
                    // SAFETY: as above.
                    found |= unsafe { *ptr.offset(i * s) } == T::default();
                }
                found
            }
            _ => (0..shape[0] as isize).any(|i| {
                // SAFETY: as above; the depth is the number of dimensions.
                unsafe { scan(&shape[1..], ptr.offset(i * strides[0]), &strides[1..]) }
            }),
        }
    }
    if shape.contains(&0) {
        return false;
    }
    // SAFETY: by the contract.
    dispatch!(dtype, T => unsafe { scan::<T>(shape, divisor.ptr.cast(), divisor.strides) })
}
