//! Loops over slices and strides. They know no tensor, no graph and no operation by name.

pub(crate) mod multiversion;
pub(crate) mod raw;
mod vexp;

pub mod attention;
pub mod block;
pub mod conv;
pub mod copy;
pub mod ctc;
pub mod dense;
pub mod elementwise;
pub mod grid;
pub mod index;
pub mod isa;
pub mod lstm;
pub mod math;
pub mod matmul;
pub mod optim;
pub mod pairs;
pub mod pool;
pub mod reduce;
pub mod resample;
pub mod rows;
pub mod scan;
pub mod sort;
