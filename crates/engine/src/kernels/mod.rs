//! Loops over slices and strides. They know no tensor, no graph and no operation by name.

pub mod block;
pub mod copy;
pub mod elementwise;
pub mod isa;
pub mod math;
