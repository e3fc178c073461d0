//! Reductions over any set of dimensions of a strided input.
//!
//! The tree of additions depends on shape and strides only: never on the instruction set, the
//! number of threads or the order in which tasks run.
#![allow(unsafe_code)]

mod arg;
mod drive;
mod kind;

pub use arg::{Extreme, argreduce};
pub use drive::{reduce, sum_of_product};
pub use kind::{
    AbsSum, All, Any, CountNonzero, Kind, LogSumExp, Max, MaxAbs, Mean, MeanVar, Min, MinAbs,
    Moments, Norm, Ordered, Prod, Shifted, SquareSum, Sum, Variance,
};
pub(crate) use kind::{lanes, lanes_of_pairs};

#[cfg(test)]
mod tests;
