//! Loops over slices and strides. They know no tensor, no graph and no operation by name.
mod multiversion;
mod raw;
mod vexp;

pub mod index;
pub mod matmul;
pub mod reduce;
pub mod rows;
pub mod scan;
pub mod sort;
