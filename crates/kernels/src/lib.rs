//! Storage and kernels of `rustgrad-engine`: what knows elements, buffers and loops, and neither
//! tensors nor graphs.
//!
//! A crate of its own because it is most of what there is to compile and changes least; its
//! interface is the engine's, and is not meant for others.
#![deny(unsafe_code)]

pub mod algebra;
pub mod binary;
pub mod dtype;
pub mod error;
pub mod interrupt;
pub mod kernels;
pub mod launch;
pub mod parallel;
pub mod random;
pub mod shape;
pub mod storage;
pub mod unary;
