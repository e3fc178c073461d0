//! Reverse-mode automatic differentiation over strided tensors.
#![deny(unsafe_code)]

pub mod display;
pub mod dtype;
pub mod error;
pub mod kernels;
pub mod parallel;
pub mod random;
pub mod shape;

pub use dtype::{DType, Element, Scalar};
pub use error::{Error, ErrorKind, Result};
