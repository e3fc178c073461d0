//! Binary operations with a scalar on one side, taken from the parameters.

use std::marker::PhantomData;

use super::{Binary, Class, Row, integer, table};
use crate::algebra::{Algebra, Float};
use crate::dtype::{DType, dispatch};
use crate::kernels::block::{Block, Map, Mode, block, block_scalar};

/// Parameters besides the scalar: `alpha = 1`.
const DEFAULTS: [f64; 2] = [1.0, 0.0];

struct Right<R, T>(PhantomData<(R, T)>);
struct Left<R, T>(PhantomData<(R, T)>);

impl<R: Row, T: Float> Map for Right<R, T> {
    type In = (T,);
    type Out = T;
    #[inline(always)]
    fn call<M: Mode>((x,): (T,), p: &[f64; 2]) -> T {
        let x = x.lane::<M>();
        T::value::<M>(R::f(&x, &x.lit(p[0]), &x, &DEFAULTS))
    }
}

impl<R: Row, T: Float> Map for Left<R, T> {
    type In = (T,);
    type Out = T;
    #[inline(always)]
    fn call<M: Mode>((x,): (T,), p: &[f64; 2]) -> T {
        let x = x.lane::<M>();
        T::value::<M>(R::f(&x.lit(p[0]), &x, &x, &DEFAULTS))
    }
}

fn right<R: Row>(dtype: DType) -> Option<Block> {
    dispatch!(float dtype, T => Some(if R::SLOW {
        block_scalar::<Right<R, T>>()
    } else {
        block::<Right<R, T>>()
    }), else None)
}

fn left<R: Row>(dtype: DType) -> Option<Block> {
    dispatch!(float dtype, T => Some(if R::SLOW {
        block_scalar::<Left<R, T>>()
    } else {
        block::<Left<R, T>>()
    }), else None)
}

/// See [`Binary::forward_scalar`].
pub(super) fn forward(op: Binary, dtype: DType, reversed: bool) -> Option<Block> {
    if op.class() == Class::Test || !dtype.is_float() {
        return integer::forward_scalar(op, dtype, reversed);
    }
    match (op, reversed) {
        (Binary::Add, _) => right::<table::Add>(dtype),
        (Binary::Mul, _) => right::<table::Mul>(dtype),
        (Binary::Maximum, _) => right::<table::Maximum>(dtype),
        (Binary::Minimum, _) => right::<table::Minimum>(dtype),
        (Binary::Sub, false) => right::<table::Sub>(dtype),
        (Binary::Sub, true) => left::<table::Sub>(dtype),
        (Binary::Div, false) => right::<table::Div>(dtype),
        (Binary::Div, true) => left::<table::Div>(dtype),
        (Binary::FloorDivide, false) => right::<table::FloorDivide>(dtype),
        (Binary::FloorDivide, true) => left::<table::FloorDivide>(dtype),
        (Binary::Remainder, false) => right::<table::Remainder>(dtype),
        (Binary::Remainder, true) => left::<table::Remainder>(dtype),
        (Binary::Fmod, false) => right::<table::Fmod>(dtype),
        (Binary::Pow, false) => right::<table::Pow>(dtype),
        (Binary::Pow, true) => left::<table::Pow>(dtype),
        (Binary::SquaredDifference, _) => right::<table::SquaredDifference>(dtype),
        _ => None,
    }
}
