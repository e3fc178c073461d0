//! Reductions over a set of dimensions.

use std::sync::Arc;

use super::along::kept;
use super::ptr;
use crate::dtype::{Bool, DType, dispatch};
use crate::error::{Result, bail};
use crate::kernels::reduce::{self as kernel, Kind};
use crate::storage::{Access, Core};

/// What a reduction computes; the kernels' kinds, by name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reduction {
    /// The sum; integers and bools sum to int64.
    Sum,
    /// The product; integers and bools to int64.
    Prod,
    /// The largest element; NaN wins.
    Max,
    /// The smallest element; NaN wins.
    Min,
    /// Whether any element is true.
    Any,
    /// Whether all elements are true.
    All,
    /// The mean, for floats, of this many elements.
    Mean(usize),
    /// The variance with this correction, or its root.
    Var {
        /// Taken off the count.
        correction: f64,
        /// Whether to give the standard deviation.
        root: bool,
    },
    /// log(sum(exp)).
    LogSumExp,
    /// The p-norm, for floats.
    Norm(f64),
    /// How many elements are not zero.
    CountNonzero,
}

impl Reduction {
    /// The dtype of the result.
    pub fn result(self, dtype: DType) -> DType {
        match self {
            Self::Sum | Self::Prod if !dtype.is_float() => DType::I64,
            Self::Any | Self::All => DType::Bool,
            Self::CountNonzero => DType::I64,
            _ => dtype,
        }
    }
}

/// Reduces the dimensions set in `mask` into a fresh core over the others.
pub fn reduce(what: Reduction, input: &Arc<Core>, mask: u64) -> Result<Arc<Core>> {
    let dtype = input.dtype();
    // What counts is whether elements are zero, or what they are as int64: one kernel does for all types.
    let first = match what {
        Reduction::Any | Reduction::All | Reduction::CountNonzero => DType::Bool,
        Reduction::Prod if !dtype.is_float() => DType::I64,
        _ => dtype,
    };
    if first != dtype {
        return reduce(what, &super::blocks::cast(input, first)?, mask);
    }
    let out = Core::alloc(what.result(dtype), &kept(input.shape(), mask))?;
    if super::program::reduce(what, input, mask, &out) {
        return Ok(out);
    }
    let access = Access::read(input);
    macro_rules! run {
        ($T:ty, $kind:expr, $Out:ty) => {
            // SAFETY: the input is locked and inside its buffer; the output is fresh, dense over
            // the kept dimensions, and of the kind's output type.
            unsafe {
                kernel::reduce::<$T, _>(
                    $kind,
                    ptr::<$T>(input),
                    input.shape(),
                    input.strides(),
                    mask,
                    out.data().cast::<$Out>(),
                );
            }
        };
    }
    macro_rules! floats {
        ($kind:expr) => {
            match dtype {
                DType::F32 => run!(f32, $kind, f32),
                DType::F64 => run!(f64, $kind, f64),
                _ => bail!(runtime, "this reduction takes floating point tensors, not {dtype}"),
            }
        };
    }
    match what {
        Reduction::Sum => {
            dispatch!(dtype, T => run!(T, kernel::Sum, <kernel::Sum as Kind<T>>::Out));
        }
        Reduction::Prod => match dtype {
            DType::F32 => run!(f32, kernel::Prod, f32),
            DType::F64 => run!(f64, kernel::Prod, f64),
            _ => run!(i64, kernel::Prod, i64),
        },
        Reduction::Max => dispatch!(dtype, T => run!(T, kernel::Max, T)),
        Reduction::Min => dispatch!(dtype, T => run!(T, kernel::Min, T)),
        Reduction::Any => run!(Bool, kernel::Any, Bool),
        Reduction::All => run!(Bool, kernel::All, Bool),
        Reduction::CountNonzero => run!(Bool, kernel::CountNonzero, i64),
        Reduction::Mean(count) => floats!(kernel::Mean { count }),
        Reduction::Var { correction, root } => floats!(kernel::Variance { correction, root }),
        Reduction::LogSumExp => floats!(kernel::LogSumExp),
        Reduction::Norm(p) if p == 1.0 => floats!(kernel::AbsSum),
        Reduction::Norm(p) if p == 2.0 => floats!(kernel::SquareSum { root: true }),
        Reduction::Norm(p) if p == f64::INFINITY => floats!(kernel::MaxAbs),
        Reduction::Norm(p) if p == f64::NEG_INFINITY => floats!(kernel::MinAbs),
        Reduction::Norm(p) if p == 0.0 => {
            drop(access);
            let count = reduce(Reduction::CountNonzero, input, mask)?;
            return super::blocks::cast(&count, dtype);
        }
        Reduction::Norm(p) => floats!(kernel::Norm { p }),
    }
    drop(access);
    Ok(out)
}
