//! Reductions, scans and the softmax family.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "PyO3's expansion, which macro spans make look like ours"
)]

use pyo3::prelude::*;
use pyo3::types::PyBool;
use rustgrad_engine::ops::extreme::Extreme;
use rustgrad_engine::{DType, Result, Tensor};

use super::{Out, PyTensor, Wrapped, run};
use crate::convert::{self, DimArg};
use crate::dtype::PyDType;
use crate::error::Bind;

/// Methods that are also functions of the module.
pub(super) const FUNCTIONS: &[&str] = &[
    "sum",
    "mean",
    "nansum",
    "nanmean",
    "prod",
    "max",
    "min",
    "amax",
    "amin",
    "aminmax",
    "argmax",
    "argmin",
    "var",
    "std",
    "var_mean",
    "std_mean",
    "norm",
    "logsumexp",
    "all",
    "any",
    "count_nonzero",
    "cumsum",
    "cumprod",
    "cummax",
    "cummin",
    "logcumsumexp",
    "diff",
    "softmax",
    "log_softmax",
    "trace",
];

type Dtype<'a, 'py> = Option<&'a Bound<'py, PyDType>>;

fn kind(dtype: Dtype<'_, '_>) -> Option<DType> {
    dtype.map(|dtype| dtype.get().0)
}

fn list(dim: Option<DimArg>) -> Vec<i64> {
    dim.map(|dim| dim.list()).unwrap_or_default()
}

/// Several tensors under the name torch gives such results.
pub(crate) fn named(py: Python<'_>, name: &str, tensors: Vec<Tensor>) -> Bind<Py<PyAny>> {
    let class = py.import("rustgrad.return_types")?.getattr(name)?;
    let wrapped: Vec<Wrapped> = tensors.into_iter().map(Wrapped).collect();
    Ok(class.call1((wrapped,))?.unbind())
}

/// Runs an engine call that gives two tensors.
pub(crate) fn run_pair(
    py: Python<'_>,
    tensor: &Tensor,
    name: &str,
    work: impl FnOnce() -> Result<(Tensor, Tensor)> + Send,
) -> Bind<Py<PyAny>> {
    let (a, b) = crate::gil::detached(py, tensor.byte_hint(), work)?;
    named(py, name, vec![a, b])
}

fn single(py: Python<'_>, result: Out) -> Bind<Py<PyAny>> {
    Ok(result?.into_pyobject(py)?.into_any().unbind())
}

/// The correction of a variance from torch's three ways to say it, and the dims.
fn correction(
    dim: Option<&Bound<'_, PyAny>>,
    unbiased: Option<bool>,
    correction: Option<f64>,
) -> PyResult<(Vec<i64>, f64)> {
    let mut unbiased = unbiased;
    let dims = match dim {
        Some(flag) if flag.is_instance_of::<PyBool>() => {
            unbiased = Some(flag.extract()?);
            Vec::new()
        }
        Some(dim) => dim.extract::<DimArg>()?.list(),
        None => Vec::new(),
    };
    let default = if unbiased == Some(false) { 0.0 } else { 1.0 };
    Ok((dims, correction.unwrap_or(default)))
}

/// A scan for a result in the dtype of the tensor itself.
fn scanned(
    this: &Tensor,
    scan: impl FnOnce(&Tensor, i64, Option<DType>) -> Result<Tensor>,
    dim: i64,
    dtype: Option<DType>,
) -> Result<Tensor> {
    scan(this, dim, dtype)?.to_dtype(this.dtype())
}

impl PyTensor {
    fn extreme_of(
        &self,
        py: Python<'_>,
        extreme: Extreme,
        dim: Option<&Bound<'_, PyAny>>,
        keepdim: bool,
        other: Option<&Bound<'_, PyAny>>,
    ) -> Bind<Py<PyAny>> {
        let name = if extreme == Extreme::Max { "max" } else { "min" };
        let other = other.or(dim).and_then(|other| convert::tensor(other));
        if let Some(other) = other {
            return single(
                py,
                run(py, &self.tensor, || match extreme {
                    Extreme::Max => self.tensor.maximum(other),
                    Extreme::Min => self.tensor.minimum(other),
                }),
            );
        }
        match dim {
            None => single(py, run(py, &self.tensor, || self.tensor.extreme_all(extreme))),
            Some(dim) => {
                let dim = dim.extract::<i64>()?;
                run_pair(py, &self.tensor, name, || self.tensor.extreme(extreme, dim, keepdim))
            }
        }
    }
}

#[pymethods]
impl PyTensor {
    /// The sum over all or some dimensions.
    #[pyo3(signature = (dim = None, keepdim = false, *, dtype = None))]
    fn sum(&self, py: Python<'_>, dim: Option<DimArg>, keepdim: bool, dtype: Dtype<'_, '_>) -> Out {
        let (dims, dtype) = (list(dim), kind(dtype));
        run(py, &self.tensor, || self.tensor.sum(&dims, keepdim, dtype))
    }

    /// The mean over all or some dimensions.
    #[pyo3(signature = (dim = None, keepdim = false, *, dtype = None))]
    fn mean(
        &self,
        py: Python<'_>,
        dim: Option<DimArg>,
        keepdim: bool,
        dtype: Dtype<'_, '_>,
    ) -> Out {
        let (dims, dtype) = (list(dim), kind(dtype));
        run(py, &self.tensor, || self.tensor.mean(&dims, keepdim, dtype))
    }

    /// The sum of what is not NaN.
    #[pyo3(signature = (dim = None, keepdim = false, *, dtype = None))]
    fn nansum(
        &self,
        py: Python<'_>,
        dim: Option<DimArg>,
        keepdim: bool,
        dtype: Dtype<'_, '_>,
    ) -> Out {
        let (dims, dtype) = (list(dim), kind(dtype));
        run(py, &self.tensor, || self.tensor.nansum(&dims, keepdim, dtype))
    }

    /// The mean of what is not NaN.
    #[pyo3(signature = (dim = None, keepdim = false, *, dtype = None))]
    fn nanmean(
        &self,
        py: Python<'_>,
        dim: Option<DimArg>,
        keepdim: bool,
        dtype: Dtype<'_, '_>,
    ) -> Out {
        let (dims, dtype) = (list(dim), kind(dtype));
        run(py, &self.tensor, || self.tensor.nanmean(&dims, keepdim, dtype))
    }

    /// The product of all elements or along a dimension.
    #[pyo3(signature = (dim = None, keepdim = false, *, dtype = None))]
    fn prod(&self, py: Python<'_>, dim: Option<i64>, keepdim: bool, dtype: Dtype<'_, '_>) -> Out {
        let dtype = kind(dtype);
        run(py, &self.tensor, || self.tensor.prod(dim, keepdim, dtype))
    }

    /// The greatest element; along a dimension with its index; or element by element.
    #[pyo3(signature = (dim = None, keepdim = false, *, other = None))]
    fn max(
        &self,
        py: Python<'_>,
        dim: Option<&Bound<'_, PyAny>>,
        keepdim: bool,
        other: Option<&Bound<'_, PyAny>>,
    ) -> Bind<Py<PyAny>> {
        self.extreme_of(py, Extreme::Max, dim, keepdim, other)
    }

    /// The least element; along a dimension with its index; or element by element.
    #[pyo3(signature = (dim = None, keepdim = false, *, other = None))]
    fn min(
        &self,
        py: Python<'_>,
        dim: Option<&Bound<'_, PyAny>>,
        keepdim: bool,
        other: Option<&Bound<'_, PyAny>>,
    ) -> Bind<Py<PyAny>> {
        self.extreme_of(py, Extreme::Min, dim, keepdim, other)
    }

    /// The greatest over some dimensions; equal ones share the gradient.
    #[pyo3(signature = (dim = None, keepdim = false))]
    fn amax(&self, py: Python<'_>, dim: Option<DimArg>, keepdim: bool) -> Out {
        let dims = list(dim);
        run(py, &self.tensor, || self.tensor.amax(Extreme::Max, &dims, keepdim))
    }

    /// The least over some dimensions; equal ones share the gradient.
    #[pyo3(signature = (dim = None, keepdim = false))]
    fn amin(&self, py: Python<'_>, dim: Option<DimArg>, keepdim: bool) -> Out {
        let dims = list(dim);
        run(py, &self.tensor, || self.tensor.amax(Extreme::Min, &dims, keepdim))
    }

    /// The least and the greatest.
    #[pyo3(signature = (*, dim = None, keepdim = false))]
    fn aminmax(&self, py: Python<'_>, dim: Option<i64>, keepdim: bool) -> Bind<Py<PyAny>> {
        let dims: Vec<i64> = dim.into_iter().collect();
        run_pair(py, &self.tensor, "aminmax", || {
            let low = self.tensor.amax(Extreme::Min, &dims, keepdim)?;
            Ok((low, self.tensor.amax(Extreme::Max, &dims, keepdim)?))
        })
    }

    /// Where the greatest element is.
    #[pyo3(signature = (dim = None, keepdim = false))]
    fn argmax(&self, py: Python<'_>, dim: Option<i64>, keepdim: bool) -> Out {
        run(py, &self.tensor, || self.tensor.arg_extreme(Extreme::Max, dim, keepdim))
    }

    /// Where the least element is.
    #[pyo3(signature = (dim = None, keepdim = false))]
    fn argmin(&self, py: Python<'_>, dim: Option<i64>, keepdim: bool) -> Out {
        run(py, &self.tensor, || self.tensor.arg_extreme(Extreme::Min, dim, keepdim))
    }

    /// The p-norm.
    #[pyo3(signature = (p = None, dim = None, keepdim = false, dtype = None))]
    fn norm(
        &self,
        py: Python<'_>,
        p: Option<&Bound<'_, PyAny>>,
        dim: Option<DimArg>,
        keepdim: bool,
        dtype: Dtype<'_, '_>,
    ) -> Out {
        let (dims, dtype) = (list(dim), kind(dtype));
        if let Some(name) = p.and_then(|p| p.extract::<String>().ok()) {
            return run(py, &self.tensor, || match dtype {
                Some(dtype) => self.tensor.to_dtype(dtype)?.named_norm(&name, &dims, keepdim),
                None => self.tensor.named_norm(&name, &dims, keepdim),
            });
        }
        let p = match p {
            Some(p) => p.extract::<f64>()?,
            None => 2.0,
        };
        run(py, &self.tensor, || self.tensor.vector_norm(p, &dims, keepdim, dtype))
    }

    /// log(sum(exp)) over some dimensions.
    #[pyo3(signature = (dim, keepdim = false))]
    fn logsumexp(&self, py: Python<'_>, dim: DimArg, keepdim: bool) -> Out {
        let dims = dim.list();
        run(py, &self.tensor, || self.tensor.logsumexp(&dims, keepdim))
    }

    /// Whether all elements are true.
    #[pyo3(signature = (dim = None, keepdim = false))]
    fn all(&self, py: Python<'_>, dim: Option<DimArg>, keepdim: bool) -> Out {
        let dims = list(dim);
        run(py, &self.tensor, || self.tensor.all_or_any(false, &dims, keepdim))
    }

    /// Whether any element is true.
    #[pyo3(signature = (dim = None, keepdim = false))]
    fn any(&self, py: Python<'_>, dim: Option<DimArg>, keepdim: bool) -> Out {
        let dims = list(dim);
        run(py, &self.tensor, || self.tensor.all_or_any(true, &dims, keepdim))
    }

    /// How many elements are not zero.
    #[pyo3(signature = (dim = None))]
    fn count_nonzero(&self, py: Python<'_>, dim: Option<DimArg>) -> Out {
        let dims = list(dim);
        run(py, &self.tensor, || self.tensor.count_nonzero(&dims))
    }

    /// The running sum.
    #[pyo3(signature = (dim, *, dtype = None))]
    fn cumsum(&self, py: Python<'_>, dim: i64, dtype: Dtype<'_, '_>) -> Out {
        let dtype = kind(dtype);
        run(py, &self.tensor, || self.tensor.cumsum(dim, dtype))
    }

    /// The running product.
    #[pyo3(signature = (dim, *, dtype = None))]
    fn cumprod(&self, py: Python<'_>, dim: i64, dtype: Dtype<'_, '_>) -> Out {
        let dtype = kind(dtype);
        run(py, &self.tensor, || self.tensor.cumprod(dim, dtype))
    }

    /// The running maximum and where it is.
    fn cummax(&self, py: Python<'_>, dim: i64) -> Bind<Py<PyAny>> {
        run_pair(py, &self.tensor, "cummax", || self.tensor.cumextreme(Extreme::Max, dim))
    }

    /// The running minimum and where it is.
    fn cummin(&self, py: Python<'_>, dim: i64) -> Bind<Py<PyAny>> {
        run_pair(py, &self.tensor, "cummin", || self.tensor.cumextreme(Extreme::Min, dim))
    }

    /// The running log(sum(exp)).
    fn logcumsumexp(&self, py: Python<'_>, dim: i64) -> Out {
        run(py, &self.tensor, || self.tensor.logcumsumexp(dim))
    }

    /// The differences of neighbours.
    #[pyo3(signature = (n = 1, dim = -1, prepend = None, append = None))]
    fn diff(
        &self,
        py: Python<'_>,
        n: i64,
        dim: i64,
        prepend: Option<&Bound<'_, Self>>,
        append: Option<&Bound<'_, Self>>,
    ) -> Out {
        let (prepend, append) =
            (prepend.map(|more| &more.get().tensor), append.map(|more| &more.get().tensor));
        run(py, &self.tensor, || self.tensor.diff(n, dim, prepend, append))
    }

    /// The running sum along a dimension, in place.
    #[pyo3(signature = (dim, *, dtype = None))]
    fn cumsum_<'py>(
        slf: Bound<'py, Self>,
        dim: i64,
        dtype: Dtype<'_, 'py>,
    ) -> Bind<Bound<'py, Self>> {
        slf.get()
            .tensor
            .inplace("cumsum_", |this| scanned(this, Tensor::cumsum, dim, kind(dtype)))?;
        Ok(slf)
    }

    /// The running product along a dimension, in place.
    #[pyo3(signature = (dim, *, dtype = None))]
    fn cumprod_<'py>(
        slf: Bound<'py, Self>,
        dim: i64,
        dtype: Dtype<'_, 'py>,
    ) -> Bind<Bound<'py, Self>> {
        slf.get()
            .tensor
            .inplace("cumprod_", |this| scanned(this, Tensor::cumprod, dim, kind(dtype)))?;
        Ok(slf)
    }

    /// The sum of the diagonal.
    fn trace(&self, py: Python<'_>) -> Out {
        run(py, &self.tensor, || self.tensor.trace())
    }

    /// softmax along a dimension.
    #[pyo3(signature = (dim, dtype = None))]
    fn softmax(&self, py: Python<'_>, dim: i64, dtype: Dtype<'_, '_>) -> Out {
        let dtype = kind(dtype);
        run(py, &self.tensor, || self.tensor.softmax(false, dim, dtype))
    }

    /// The logarithm of softmax along a dimension.
    #[pyo3(signature = (dim, dtype = None))]
    fn log_softmax(&self, py: Python<'_>, dim: i64, dtype: Dtype<'_, '_>) -> Out {
        let dtype = kind(dtype);
        run(py, &self.tensor, || self.tensor.softmax(true, dim, dtype))
    }
}

/// Warns where nothing is left to vary.
fn warn_of_freedom(
    py: Python<'_>,
    tensor: &Tensor,
    name: &str,
    dims: &[i64],
    correction: f64,
) -> PyResult<()> {
    let shape = tensor.shape();
    let size = |&dim: &i64| {
        let dim = if dim < 0 { dim + shape.len() as i64 } else { dim };
        usize::try_from(dim).ok().and_then(|dim| shape.get(dim)).copied().unwrap_or(1)
    };
    let count: usize =
        if dims.is_empty() { shape.iter().product() } else { dims.iter().map(size).product() };
    if count as f64 - correction > 0.0 {
        return Ok(());
    }
    crate::function::warn(
        py,
        &format!(
            "{name}(): degrees of freedom is <= 0. Correction should be strictly less than the \
             reduction factor (input numel divided by output numel)."
        ),
    )
}

macro_rules! variances {
    ($($single:ident $pair:ident $root:literal $doc:literal;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = $doc]
                #[pyo3(signature = (dim = None, unbiased = None, keepdim = false, *, correction = None))]
                fn $single(
                    &self,
                    py: Python<'_>,
                    dim: Option<&Bound<'_, PyAny>>,
                    unbiased: Option<bool>,
                    keepdim: bool,
                    correction: Option<f64>,
                ) -> Out {
                    let (dims, correction) = self::correction(dim, unbiased, correction)?;
                    warn_of_freedom(py, &self.tensor, stringify!($single), &dims, correction)?;
                    run(py, &self.tensor, || self.tensor.var(&dims, correction, keepdim, $root))
                }

                #[doc = concat!($doc, " Together with the mean.")]
                #[pyo3(signature = (dim = None, unbiased = None, keepdim = false, *, correction = None))]
                fn $pair(
                    &self,
                    py: Python<'_>,
                    dim: Option<&Bound<'_, PyAny>>,
                    unbiased: Option<bool>,
                    keepdim: bool,
                    correction: Option<f64>,
                ) -> Bind<(Wrapped, Wrapped)> {
                    let (dims, correction) = self::correction(dim, unbiased, correction)?;
                    warn_of_freedom(py, &self.tensor, stringify!($pair), &dims, correction)?;
                    let (spread, mean) = crate::gil::detached(py, self.tensor.byte_hint(), || {
                        self.tensor.var_mean(&dims, correction, keepdim, $root)
                    })?;
                    Ok((Wrapped(spread), Wrapped(mean)))
                }
            )*
        }
    };
}

variances! {
    var var_mean false "The variance.";
    std std_mean true "The standard deviation.";
}
