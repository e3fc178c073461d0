//! Reverse-mode automatic differentiation over strided tensors.
#![deny(unsafe_code)]

pub mod dtype;
pub mod error;
pub mod kernels;
pub mod ops;
pub mod parallel;

pub use dtype::{DType, Element, Scalar};
pub use error::{Error, ErrorKind, Result};
