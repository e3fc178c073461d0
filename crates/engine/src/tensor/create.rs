//! Tensors from nothing: filled, counted, from slices.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::Tensor;
use crate::dtype::{DType, Element, Scalar};
use crate::error::{Result, ensure};
use crate::launch::create::from_fn;
use crate::storage::{Core, filled_by, from_slice};

static DEFAULT: AtomicU8 = AtomicU8::new(DType::F32 as u8);

/// The dtype of tensors made from Python floats.
pub fn default_dtype() -> DType {
    if DEFAULT.load(Ordering::Relaxed) == DType::F64 as u8 { DType::F64 } else { DType::F32 }
}

/// Sets the dtype of tensors made from floats.
///
/// # Errors
/// If it is not a floating-point type.
pub fn set_default_dtype(dtype: DType) -> Result<()> {
    ensure!(
        dtype.is_float(),
        type_error,
        "only floating-point types are supported as the default type"
    );
    DEFAULT.store(dtype as u8, Ordering::Relaxed);
    Ok(())
}

impl Tensor {
    /// A row-major tensor holding a copy of `data`.
    ///
    /// # Errors
    /// If `data` does not fill the shape, or memory is short.
    pub fn from_slice<T: Element>(data: &[T], shape: &[usize]) -> Result<Self> {
        Ok(Self::from_core(from_slice(data, shape)?))
    }

    /// A row-major tensor whose elements `fill` writes over zeros.
    ///
    /// # Errors
    /// Those of `fill`, or if memory is short.
    pub fn filled_by<T: Element>(
        shape: &[usize],
        fill: impl FnOnce(&mut [T]) -> Result<()>,
    ) -> Result<Self> {
        Ok(Self::from_core(filled_by(shape, fill)?))
    }

    /// A 0-d tensor.
    ///
    /// # Errors
    /// If memory is short.
    pub fn scalar<T: Element>(value: T) -> Result<Self> {
        Self::from_slice(&[value], &[])
    }

    /// A 0-d tensor of a number, in a given dtype.
    ///
    /// # Errors
    /// If memory is short.
    pub fn from_scalar(value: Scalar, dtype: DType) -> Result<Self> {
        crate::dtype::dispatch!(dtype, T => Self::scalar(T::from_scalar(value)))
    }

    /// A tensor of unspecified contents.
    ///
    /// # Errors
    /// If memory is short.
    pub fn empty(shape: &[usize], dtype: DType) -> Result<Self> {
        Ok(Self::from_core(Core::alloc(dtype, shape)?))
    }

    /// A tensor with the same value everywhere.
    ///
    /// ```
    /// use rustgrad_engine::{DType, Tensor};
    /// let t = Tensor::full(&[2, 2], 1.5.into(), DType::F64)?;
    /// assert_eq!(t.to_vec::<f64>()?, [1.5; 4]);
    /// # Ok::<(), rustgrad_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If memory is short.
    pub fn full(shape: &[usize], value: Scalar, dtype: DType) -> Result<Self> {
        let core = Core::alloc(dtype, shape)?;
        crate::launch::blocks::fill(&core, value)?;
        Ok(Self::from_core(core))
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// If memory is short.
    pub fn zeros(shape: &[usize], dtype: DType) -> Result<Self> {
        Self::full(shape, Scalar::Int(0), dtype)
    }

    /// A tensor of ones.
    ///
    /// # Errors
    /// If memory is short.
    pub fn ones(shape: &[usize], dtype: DType) -> Result<Self> {
        Self::full(shape, Scalar::Int(1), dtype)
    }

    /// Zeros of another tensor's shape and dtype.
    ///
    /// # Errors
    /// If memory is short.
    pub fn zeros_like(other: &Self) -> Result<Self> {
        Self::zeros(other.core().shape(), other.dtype())
    }

    /// Ones of another tensor's shape and dtype.
    ///
    /// # Errors
    /// If memory is short.
    pub fn ones_like(other: &Self) -> Result<Self> {
        Self::ones(other.core().shape(), other.dtype())
    }

    /// `start + i * step` for `i` in `0..count`, computed in double precision (integers exactly).
    ///
    /// # Errors
    /// If memory is short.
    pub fn arange(start: Scalar, step: Scalar, count: usize, dtype: DType) -> Result<Self> {
        crate::dtype::dispatch!(dtype, T => {
            Ok(Self::from_core(if dtype.is_float() {
                let (start, step) = (start.to_f64(), step.to_f64());
                from_fn(&[count], move |i| T::from_f64(start + i as f64 * step))?
            } else {
                let (start, step) = (start.to_i64(), step.to_i64());
                from_fn(&[count], move |i| {
                    T::from_i64(start.wrapping_add(step.wrapping_mul(i as i64)))
                })?
            }))
        })
    }

    /// `count` numbers from `start` to `end`, both included, evenly spaced; the second half is
    /// counted back from the end, so that both ends are exact.
    ///
    /// # Errors
    /// If memory is short.
    pub fn linspace(start: f64, end: f64, count: usize, dtype: DType) -> Result<Self> {
        let last = count.max(2) - 1;
        // The ends of integers are integers.
        let end_of = |x: f64| if dtype.is_float() { x } else { x.trunc() };
        let (start, end) = (end_of(start), end_of(end));
        // `$I` holds the places, `$F` does the sums.
        macro_rules! spaced {
            ($F:ty, $I:ty, $value:expr) => {{
                let (start, end) = (start as $F, end as $F);
                let step = if count > 1 { (end - start) / last as $F } else { 0.0 };
                let half = if count == 1 { 1 } else { count / 2 } as $I;
                from_fn(&[count], move |i| {
                    let i = i as $I;
                    // What is counted from, and how many steps.
                    let (from, n) = if i < half { (start, i) } else { (end, i - last as $I) };
                    $value(step.mul_add(n as $F, from))
                })?
            }};
        }
        // Vectors convert places of 32 bits.
        let few = i32::try_from(count).is_ok();
        crate::dtype::dispatch!(dtype, T => {
            Ok(Self::from_core(match (dtype == DType::F32, few) {
                (true, true) => spaced!(f32, i32, |x: f32| T::from_f64(f64::from(x))),
                (true, false) => spaced!(f32, i64, |x: f32| T::from_f64(f64::from(x))),
                (false, true) => spaced!(f64, i32, T::from_f64),
                (false, false) => spaced!(f64, i64, T::from_f64),
            }))
        })
    }

    /// A matrix with ones on the diagonal.
    ///
    /// # Errors
    /// If memory is short.
    pub fn eye(n: usize, m: usize, dtype: DType) -> Result<Self> {
        let matrix = Self::zeros(&[n, m], dtype)?;
        let diagonal = matrix.core().view(&[n.min(m)], &[m as isize + 1], 0)?;
        crate::launch::blocks::fill(&diagonal, Scalar::Int(1))?;
        Ok(matrix)
    }
}

impl Tensor {
    /// A row-major tensor of numbers, converted to `dtype` as C casts do.
    ///
    /// # Errors
    /// If the numbers do not fill the shape, or memory is short.
    pub fn from_scalars(values: &[Scalar], shape: &[usize], dtype: DType) -> Result<Self> {
        crate::dtype::dispatch!(dtype, T => {
            let values: Vec<T> = values.iter().map(|&value| T::from_scalar(value)).collect();
            Self::from_slice(&values, shape)
        })
    }

    /// A tensor over elements made elsewhere, see [`Core::foreign`].
    pub fn from_shared(core: Arc<Core>) -> Self {
        Self::from_core(core)
    }

    /// A tensor of unspecified contents whose dimensions lie in memory as those of `other`.
    ///
    /// # Errors
    /// If memory is short.
    pub fn empty_like(other: &Self, dtype: DType) -> Result<Self> {
        let core = other.core();
        if core.is_contiguous() {
            return Self::empty(core.shape(), dtype);
        }
        Ok(Self::from_core(crate::ops::layout::alloc_like(dtype, &core)?))
    }
}
