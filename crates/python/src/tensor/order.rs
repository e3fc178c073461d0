//! Sorting, ranks, counting and searching.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "PyO3's expansion, which macro spans make look like ours"
)]

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustgrad_engine::ops::sort::Rank;
use rustgrad_engine::{DType, Scalar, Tensor};

use super::reduce::run_pair;
use super::{Out, PyTensor, Wrapped, run};
use crate::convert;
use crate::error::Bind;

/// Methods that are also functions of the module.
pub(super) const FUNCTIONS: &[&str] = &[
    "sort",
    "argsort",
    "msort",
    "topk",
    "kthvalue",
    "mode",
    "median",
    "nanmedian",
    "quantile",
    "nanquantile",
    "unique",
    "unique_consecutive",
    "searchsorted",
    "bucketize",
    "bincount",
    "histc",
];

impl PyTensor {
    fn median_of(
        &self,
        py: Python<'_>,
        rank: Rank,
        dim: Option<i64>,
        keepdim: bool,
    ) -> Bind<Py<PyAny>> {
        let ignore = rank == Rank::NanMedian;
        let Some(dim) = dim else {
            let result = run(py, &self.tensor, || self.tensor.median_all(ignore))?;
            return Ok(result.into_pyobject(py)?.into_any().unbind());
        };
        let name = if ignore { "nanmedian" } else { "median" };
        run_pair(py, &self.tensor, name, || self.tensor.rank_select(rank, dim, keepdim))
    }

    fn quantile_of(
        &self,
        py: Python<'_>,
        q: &Bound<'_, PyAny>,
        dim: Option<i64>,
        keepdim: bool,
        interpolation: &str,
        ignore_nan: bool,
    ) -> Out {
        let q = match convert::tensor(q) {
            Some(q) => q.clone(),
            None => Tensor::from_scalar(Scalar::Float(q.extract()?), self.tensor.dtype())?,
        };
        run(py, &self.tensor, || self.tensor.quantile(&q, dim, keepdim, interpolation, ignore_nan))
    }

    fn unique_of<'py>(
        &self,
        py: Python<'py>,
        consecutive: bool,
        inverse: bool,
        counts: bool,
        dim: Option<i64>,
    ) -> Bind<Bound<'py, PyAny>> {
        let found = crate::gil::detached(py, self.tensor.byte_hint(), || match dim {
            Some(dim) => self.tensor.unique_slices(dim, consecutive),
            None => self.tensor.unique(consecutive),
        })?;
        let mut parts = vec![Wrapped(found.values)];
        if inverse {
            parts.push(Wrapped(found.inverse));
        }
        if counts {
            parts.push(Wrapped(found.counts));
        }
        if !inverse && !counts {
            if let Some(values) = parts.pop() {
                return Ok(values.into_pyobject(py)?.into_any());
            }
        }
        Ok(PyTuple::new(py, parts)?.into_any())
    }
}

fn search(
    py: Python<'_>,
    lines: &Tensor,
    values: &Bound<'_, PyAny>,
    right: bool,
    narrow: bool,
) -> Out {
    let values = convert::tensor_or_number_like(values, lines)?;
    run(py, lines, || {
        let found = lines.searchsorted(&values, right)?;
        if narrow { found.to_dtype(DType::I32) } else { Ok(found) }
    })
}

#[pymethods]
impl PyTensor {
    /// The elements in order, and where each was.
    #[pyo3(signature = (dim = -1, descending = false, *, stable = false))]
    fn sort(&self, py: Python<'_>, dim: i64, descending: bool, stable: bool) -> Bind<Py<PyAny>> {
        let _ = stable; // always
        run_pair(py, &self.tensor, "sort", || self.tensor.sort(dim, descending))
    }

    /// Where the elements are in order.
    #[pyo3(signature = (dim = -1, descending = false, *, stable = false))]
    fn argsort(&self, py: Python<'_>, dim: i64, descending: bool, stable: bool) -> Out {
        let _ = stable;
        run(py, &self.tensor, || Ok(self.tensor.detach().sort(dim, descending)?.1))
    }

    /// Sorted along the first dimension.
    fn msort(&self, py: Python<'_>) -> Out {
        run(py, &self.tensor, || Ok(self.tensor.sort(0, false)?.0))
    }

    /// The k greatest or least, and where they are.
    #[pyo3(signature = (k, dim = -1, largest = true, sorted = true))]
    fn topk(
        &self,
        py: Python<'_>,
        k: i64,
        dim: i64,
        largest: bool,
        sorted: bool,
    ) -> Bind<Py<PyAny>> {
        run_pair(py, &self.tensor, "topk", || self.tensor.topk(k, dim, largest, sorted))
    }

    /// The k-th least, from 1, and where it is.
    #[pyo3(signature = (k, dim = -1, keepdim = false))]
    fn kthvalue(&self, py: Python<'_>, k: i64, dim: i64, keepdim: bool) -> Bind<Py<PyAny>> {
        // 0 and less are out of range like what is too large.
        let rank = Rank::Kth(usize::try_from(k - 1).unwrap_or(usize::MAX));
        run_pair(py, &self.tensor, "kthvalue", || self.tensor.rank_select(rank, dim, keepdim))
    }

    /// The most frequent value, and where it is.
    #[pyo3(signature = (dim = -1, keepdim = false))]
    fn mode(&self, py: Python<'_>, dim: i64, keepdim: bool) -> Bind<Py<PyAny>> {
        run_pair(py, &self.tensor, "mode", || self.tensor.rank_select(Rank::Mode, dim, keepdim))
    }

    /// The lower median of all, or along a dimension with its index.
    #[pyo3(signature = (dim = None, keepdim = false))]
    fn median(&self, py: Python<'_>, dim: Option<i64>, keepdim: bool) -> Bind<Py<PyAny>> {
        self.median_of(py, Rank::Median, dim, keepdim)
    }

    /// The lower median of what is not NaN.
    #[pyo3(signature = (dim = None, keepdim = false))]
    fn nanmedian(&self, py: Python<'_>, dim: Option<i64>, keepdim: bool) -> Bind<Py<PyAny>> {
        self.median_of(py, Rank::NanMedian, dim, keepdim)
    }

    /// The values below which fractions of the elements lie.
    #[pyo3(signature = (q, dim = None, keepdim = false, *, interpolation = "linear"))]
    fn quantile(
        &self,
        py: Python<'_>,
        q: &Bound<'_, PyAny>,
        dim: Option<i64>,
        keepdim: bool,
        interpolation: &str,
    ) -> Out {
        self.quantile_of(py, q, dim, keepdim, interpolation, false)
    }

    /// [`Self::quantile`] of what is not NaN.
    #[pyo3(signature = (q, dim = None, keepdim = false, *, interpolation = "linear"))]
    fn nanquantile(
        &self,
        py: Python<'_>,
        q: &Bound<'_, PyAny>,
        dim: Option<i64>,
        keepdim: bool,
        interpolation: &str,
    ) -> Out {
        self.quantile_of(py, q, dim, keepdim, interpolation, true)
    }

    /// The distinct elements, in order.
    #[pyo3(signature = (sorted = true, return_inverse = false, return_counts = false, dim = None))]
    fn unique<'py>(
        &self,
        py: Python<'py>,
        sorted: bool,
        return_inverse: bool,
        return_counts: bool,
        dim: Option<i64>,
    ) -> Bind<Bound<'py, PyAny>> {
        let _ = sorted; // always
        self.unique_of(py, false, return_inverse, return_counts, dim)
    }

    /// The elements without immediate repetitions.
    #[pyo3(signature = (return_inverse = false, return_counts = false, dim = None))]
    fn unique_consecutive<'py>(
        &self,
        py: Python<'py>,
        return_inverse: bool,
        return_counts: bool,
        dim: Option<i64>,
    ) -> Bind<Bound<'py, PyAny>> {
        self.unique_of(py, true, return_inverse, return_counts, dim)
    }

    /// Where values would be inserted into this sorted sequence.
    #[pyo3(signature = (input, *, out_int32 = false, right = false, side = None, sorter = None))]
    fn searchsorted(
        &self,
        py: Python<'_>,
        input: &Bound<'_, PyAny>,
        out_int32: bool,
        right: bool,
        side: Option<&str>,
        sorter: Option<&Bound<'_, Self>>,
    ) -> Out {
        let wrong = |text: String| Err(PyRuntimeError::new_err(text).into());
        if !matches!(side, None | Some("left" | "right")) {
            return wrong(format!(
                "torch.searchsorted(): side can only be 'left' or 'right' but got {}",
                side.unwrap_or_default()
            ));
        }
        if right && side == Some("left") {
            return wrong(
                "torch.searchsorted(): side and right can't be set to opposites, got side of left \
                 while right was True"
                    .into(),
            );
        }
        let right = right || side == Some("right");
        let Some(sorter) = sorter else { return search(py, &self.tensor, input, right, out_int32) };
        let sorter = &sorter.get().tensor;
        if sorter.shape() != self.tensor.shape() {
            return wrong(format!(
                "torch.searchsorted(): boundary and sorter must have the same size, but got {:?} \
                 and {:?}",
                self.tensor.shape().as_slice(),
                sorter.shape().as_slice()
            ));
        }
        if sorter.dtype() != DType::I64 {
            return wrong(format!(
                "torch.searchsorted(): sorter must be a tensor of long dtype but got dtype {}",
                sorter.dtype().scalar_name()
            ));
        }
        let sorted = self.tensor.detach().gather(-1, sorter)?;
        search(py, &sorted, input, right, out_int32)
    }

    /// The buckets, between the boundaries, that these values fall into.
    #[pyo3(signature = (boundaries, *, out_int32 = false, right = false))]
    fn bucketize(
        slf: &Bound<'_, Self>,
        boundaries: &Bound<'_, Self>,
        out_int32: bool,
        right: bool,
    ) -> Out {
        search(slf.py(), &boundaries.get().tensor, slf.as_any(), right, out_int32)
    }

    /// How often each number occurs.
    #[pyo3(signature = (weights = None, minlength = 0))]
    fn bincount(&self, py: Python<'_>, weights: Option<&Bound<'_, Self>>, minlength: i64) -> Out {
        let weights = weights.map(|weights| &weights.get().tensor);
        run(py, &self.tensor, || self.tensor.bincount(weights, minlength))
    }

    /// Whether each element is among others, see `rustgrad.isin`.
    fn _is_among(&self, py: Python<'_>, tests: &Bound<'_, Self>, invert: bool) -> Out {
        let tests = &tests.get().tensor;
        run(py, &self.tensor, || self.tensor.is_among(tests, invert))
    }

    /// How many elements fall into each of equal intervals.
    #[pyo3(signature = (bins = 100, min = 0.0, max = 0.0))]
    fn histc(&self, py: Python<'_>, bins: i64, min: f64, max: f64) -> Out {
        run(py, &self.tensor, || self.tensor.histc(bins, min, max))
    }
}
