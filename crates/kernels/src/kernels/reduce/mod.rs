//! Reductions over any set of dimensions of a strided input.
//!
//! The tree of additions depends on shape and strides only: never on the instruction set, the
//! number of threads or the order in which tasks run.
#![allow(unsafe_code)]

mod arg;
mod drive;
mod extreme;
mod kind;
mod statistic;
mod strips;

pub use arg::{Extreme, argreduce};
pub use drive::{Maker, reduce, reduce_made, sum_of_product};
pub(super) use extreme::extreme;
pub use kind::{
    AbsSum, All, Any, CountNonzero, Kind, Max, MaxAbs, Min, MinAbs, Norm, Ordered, Prod, SquareSum,
    Sum,
};
pub use kind::{lanes, lanes_of_pairs, sum_light, sum_mapped, tree};
pub use statistic::{LogSumExp, Mean, MeanVar, Moments, Shifted, Variance};

#[cfg(test)]
mod tests;
