//! Reverse-mode automatic differentiation over strided tensors.
//!
//! The engine of `rustgrad`, usable on its own: a torch-like [`Tensor`] whose recorded graph lives
//! in an arena and is known whole when a backward pass starts.
//!
//! ```
//! use rustgrad_engine::{Result, Tensor};
//!
//! # fn main() -> Result<()> {
//! let x = Tensor::from_slice(&[1.0f64, 2.0, 3.0], &[3])?.requires_grad_(true)?;
//! let y = x.mul(&x)?.sum_all()?;
//! y.backward()?;
//! assert_eq!(x.grad().unwrap().to_vec::<f64>()?, [2.0, 4.0, 6.0]);
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

pub mod display;
pub mod graph;
pub mod ops;
pub mod optim;
pub mod tensor;

pub(crate) use rustgrad_kernels::launch;
pub use rustgrad_kernels::{dtype, error, interrupt, kernels, parallel, random, shape, storage};

pub use dtype::{Bool, DType, Element, Scalar};
pub use error::{Error, ErrorKind, Result};
pub use tensor::{Tensor, WeakTensor, default_dtype, set_default_dtype};
