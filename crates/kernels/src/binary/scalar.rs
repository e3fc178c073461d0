//! Binary operations with a scalar on one side, taken from the parameters.

use std::marker::PhantomData;
use std::sync::OnceLock;

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
    const OVER: bool = R::LIGHT;
    const HARD: bool = R::QUOTIENT;
    #[inline(always)]
    fn hard((x,): (T,), p: &[f64; 2]) -> bool {
        x.hard_quotient(T::from_f64(p[0]))
    }
    #[inline(always)]
    fn call<M: Mode>((x,): (T,), p: &[f64; 2]) -> T {
        let x = x.lane::<M>();
        T::value::<M>(R::f(&x, &x.lit(p[0]), &x, &DEFAULTS))
    }
}

impl<R: Row, T: Float> Map for Left<R, T> {
    type In = (T,);
    type Out = T;
    const HARD: bool = R::QUOTIENT;
    #[inline(always)]
    fn hard((x,): (T,), p: &[f64; 2]) -> bool {
        T::from_f64(p[0]).hard_quotient(x)
    }
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

/// A block of two inputs, whether its `alpha` must be 1, and the blocks with a number for either.
type Row2 = (Block, bool, [Option<Block>; 2]);

/// For a block of two floats the blocks of one that have the first, or the second, in `p[0]`: for
/// operands that stay the same for many elements. The results have the same bits.
pub fn number_forms(block: Block, p: &[f64; 2]) -> [Option<Block>; 2] {
    static ROWS: OnceLock<Vec<Row2>> = OnceLock::new();
    let rows = ROWS.get_or_init(|| {
        let ops =
            [Binary::Mul, Binary::Add, Binary::Sub, Binary::Div, Binary::Maximum, Binary::Minimum];
        let row = |op: Binary, dtype: DType| -> Option<Row2> {
            let alpha = matches!(op, Binary::Add | Binary::Sub);
            // Zeros of either sign are equal, and which one is taken depends on the order.
            let ordered = matches!(op, Binary::Maximum | Binary::Minimum);
            let first = if ordered { None } else { forward(op, dtype, true) };
            Some((op.forward(dtype)?, alpha, [first, forward(op, dtype, false)]))
        };
        let pairs = ops.iter().flat_map(|&op| [(op, DType::F32), (op, DType::F64)]);
        pairs.filter_map(|(op, dtype)| row(op, dtype)).collect()
    });
    let found = rows.iter().find(|row| std::ptr::fn_addr_eq(row.0, block));
    match found {
        Some(&(_, alpha, forms)) if !alpha || p[0] == 1.0 => forms,
        _ => [None; 2],
    }
}
