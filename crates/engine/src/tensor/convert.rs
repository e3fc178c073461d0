//! Elements out of a tensor.

use super::Tensor;
use crate::dtype::{DType, Element, Scalar};
use crate::error::{Result, ensure};

impl Tensor {
    /// The only element.
    ///
    /// # Errors
    /// If there is not exactly one.
    pub fn item(&self) -> Result<Scalar> {
        let core = self.core();
        ensure!(
            core.numel() == 1,
            runtime,
            "a Tensor with {} elements cannot be converted to Scalar",
            core.numel()
        );
        Ok(core.get(&vec![0; core.shape().len()]).unwrap_or(Scalar::Int(0)))
    }

    /// One element by multi-index; `None` when out of range.
    pub fn get_element(&self, index: &[usize]) -> Option<Scalar> {
        self.core().get(index)
    }

    /// All elements, row-major.
    ///
    /// # Errors
    /// If `T` is not the element type.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        ensure!(
            T::DTYPE == self.dtype(),
            runtime,
            "expected scalar type {} but found {}",
            T::DTYPE.scalar_name(),
            self.dtype().scalar_name()
        );
        let dense = self.detach().contiguous()?;
        let core = dense.core();
        Ok(crate::storage::to_vec(&core))
    }

    /// All elements, row-major, as numbers.
    ///
    /// # Errors
    /// If memory is short.
    pub fn to_scalars(&self) -> Result<Vec<Scalar>> {
        crate::dtype::dispatch!(self.dtype(), T => {
            Ok(self.to_vec::<T>()?.into_iter().map(T::to_scalar).collect())
        })
    }

    /// Whether the tensor takes part in promotion as a number rather than as a tensor.
    pub(crate) fn promotion_rank(&self) -> u8 {
        if self.is_number() {
            0
        } else if self.core().shape().is_empty() {
            1
        } else {
            2
        }
    }

    /// The dtype `a op b` has by torch's rules: tensors with dimensions outrank 0-d tensors, which
    /// outrank numbers, unless the lower one is of a higher category.
    pub fn result_type(a: &Self, b: &Self) -> DType {
        let (x, y) = (a.dtype(), b.dtype());
        if x == y {
            return x;
        }
        let (rank_x, rank_y) = (a.promotion_rank(), b.promotion_rank());
        let natural = |t: &Self| {
            if t.is_number() && t.dtype().is_float() { super::default_dtype() } else { t.dtype() }
        };
        match rank_x.cmp(&rank_y) {
            std::cmp::Ordering::Equal => x.promote(y),
            std::cmp::Ordering::Greater if y.category() > x.category() => natural(b),
            std::cmp::Ordering::Greater => x,
            std::cmp::Ordering::Less if x.category() > y.category() => natural(a),
            std::cmp::Ordering::Less => y,
        }
    }
}
