//! The softmax family and layer normalisation: whole rows at a time, while they are in cache.
//!
//! Inputs are contiguous and seen as `outer` × `n` × `inner`, the middle being the dimension
//! worked along.
#![allow(unsafe_code)]

mod columns;
mod cross;
mod loss;
mod norm;
mod planes;
mod softmax;

pub use cross::cross;
pub use loss::{Targets, cross_entropy, cross_entropy_backward};
pub use norm::{Incoming, layer_norm, layer_norm_backward};
pub use planes::{Sets, channel_norm, channel_norm_backward};
pub use softmax::{softmax, softmax_backward};

/// The extent of a dimension and of what lies around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Along {
    /// Product of the sizes before the dimension.
    pub outer: usize,
    /// Size of the dimension.
    pub n: usize,
    /// Product of the sizes behind it.
    pub inner: usize,
}

impl Along {
    /// The dimension `dim` of a contiguous `shape`; of a 0-d shape, its one element.
    pub fn new(shape: &[usize], dim: usize) -> Self {
        if shape.is_empty() {
            return Self { outer: 1, n: 1, inner: 1 };
        }
        Self {
            outer: shape[..dim].iter().product(),
            n: shape[dim],
            inner: shape[dim + 1..].iter().product(),
        }
    }

    /// Whether there is nothing at all.
    pub fn is_empty(self) -> bool {
        self.outer * self.n * self.inner == 0
    }
}

#[cfg(test)]
mod tests;
