//! Loops over slices and strides. They know no tensor, no graph and no operation by name.
<<<<<<< HEAD
mod multiversion;
mod raw;
mod vexp;

pub mod index;
pub mod matmul;
pub mod reduce;
pub mod rows;
pub mod scan;
pub mod sort;
=======

pub mod block;
pub mod copy;
pub mod elementwise;
pub mod isa;
pub mod math;
>>>>>>> k1
