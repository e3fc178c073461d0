//! Products of vectors, matrices and stacks of them.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "PyO3's expansion, which macro spans make look like ours"
)]

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustgrad_engine::ops::addmm::Product;
use rustgrad_engine::ops::losses::{Loss, Reduce};
use rustgrad_engine::{Scalar, Tensor};

use super::{Out, PyTensor, Wrapped, run};
use crate::convert::{self, DimArg};
use crate::error::Bind;

/// Methods that are also functions of the module.
pub(crate) const FUNCTIONS: &[&str] = &[
    "matmul",
    "mm",
    "bmm",
    "mv",
    "dot",
    "vdot",
    "inner",
    "outer",
    "ger",
    "kron",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "addbmm",
    "cross",
    "tensordot",
];

fn number(value: Option<&Bound<'_, PyAny>>) -> PyResult<Scalar> {
    match value {
        None => Ok(Scalar::Int(1)),
        Some(value) => convert::scalar(value)?
            .ok_or_else(|| PyTypeError::new_err("alpha and beta must be numbers")),
    }
}

macro_rules! products {
    ($($name:ident, $arg:ident => |$a:ident, $b:ident| $body:expr, $doc:literal;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = $doc]
                fn $name(&self, py: Python<'_>, $arg: &Bound<'_, Self>) -> Out {
                    let ($a, $b) = (&self.tensor, &$arg.get().tensor);
                    let bytes = $a.byte_hint().max($b.byte_hint()) * 16;
                    Ok(Wrapped(crate::gil::detached(py, bytes, || $body)?))
                }
            )*
        }
    };
}

products! {
    matmul, other => |a, b| a.matmul(b), "The product of vectors, matrices or stacks of matrices.";
    mm, mat2 => |a, b| a.mm(b), "The product of two matrices.";
    bmm, mat2 => |a, b| a.bmm(b), "The products of two stacks of matrices.";
    mv, vec => |a, b| a.mv(b), "The product of a matrix and a vector.";
    dot, tensor => |a, b| a.dot(b), "The inner product of two vectors.";
    vdot, other => |a, b| a.dot(b), "The inner product of two vectors.";
    inner, other => |a, b| a.inner(b), "The inner product over the last dimensions.";
    outer, vec2 => |a, b| a.outer(b), "The outer product of two vectors.";
    ger, vec2 => |a, b| a.outer(b), "The outer product of two vectors.";
    kron, other => |a, b| a.kron(b), "The Kronecker product.";
}

macro_rules! sums {
    ($($name:ident $in_place:ident $x:ident $y:ident $kind:ident, $doc:literal;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = $doc]
                #[pyo3(signature = ($x, $y, *, beta = None, alpha = None))]
                fn $name(
                    &self,
                    py: Python<'_>,
                    $x: &Bound<'_, Self>,
                    $y: &Bound<'_, Self>,
                    beta: Option<&Bound<'_, PyAny>>,
                    alpha: Option<&Bound<'_, PyAny>>,
                ) -> Out {
                    let (beta, alpha) = (number(beta)?, number(alpha)?);
                    let ($x, $y) = (&$x.get().tensor, &$y.get().tensor);
                    let bytes = $x.byte_hint().max($y.byte_hint()) * 16;
                    Ok(Wrapped(crate::gil::detached(py, bytes, || {
                        self.tensor.plus_product_of(Product::$kind, $x, $y, beta, alpha)
                    })?))
                }
                #[doc = concat!($doc, " In place.")]
                #[pyo3(signature = ($x, $y, *, beta = None, alpha = None))]
                fn $in_place<'py>(
                    slf: Bound<'py, Self>,
                    $x: &Bound<'_, Self>,
                    $y: &Bound<'_, Self>,
                    beta: Option<&Bound<'_, PyAny>>,
                    alpha: Option<&Bound<'_, PyAny>>,
                ) -> Bind<Bound<'py, Self>> {
                    let (beta, alpha) = (number(beta)?, number(alpha)?);
                    let ($x, $y) = (&$x.get().tensor, &$y.get().tensor);
                    let bytes = $x.byte_hint().max($y.byte_hint()) * 16;
                    let this = &slf.get().tensor;
                    crate::gil::detached(slf.py(), bytes, || {
                        this.inplace(stringify!($in_place), |this| {
                            this.plus_product_of(Product::$kind, $x, $y, beta, alpha)
                        })
                    })?;
                    Ok(slf)
                }
            )*
        }
    };
}

sums! {
    addmm addmm_ mat1 mat2 Mm, "`beta * self + alpha * mat1 @ mat2`.";
    addmv addmv_ mat vec Mv, "`beta * self + alpha * mat @ vec`.";
    addr addr_ vec1 vec2 Outer, "`beta * self + alpha * outer(vec1, vec2)`.";
    baddbmm baddbmm_ batch1 batch2 Bmm, "`beta * self + alpha * bmm(batch1, batch2)`.";
    addbmm addbmm_ batch1 batch2 SumBmm,
        "`beta * self + alpha * sum(bmm(batch1, batch2))`.";
}

#[pymethods]
impl PyTensor {
    /// The cross product of vectors of three.
    #[pyo3(signature = (other, dim = None))]
    fn cross(&self, py: Python<'_>, other: &Bound<'_, Self>, dim: Option<i64>) -> Out {
        let other = &other.get().tensor;
        let first = self.tensor.shape().iter().position(|&n| n == 3).unwrap_or(0) as i64;
        run(py, &self.tensor, || self.tensor.cross(other, dim.unwrap_or(first)))
    }

    /// The sum of products over pairs of dimensions.
    #[pyo3(signature = (b, dims = None))]
    fn tensordot(
        &self,
        py: Python<'_>,
        b: &Bound<'_, Self>,
        dims: Option<&Bound<'_, PyAny>>,
    ) -> Out {
        let b = &b.get().tensor;
        let count = match dims {
            None => Some(2),
            Some(dims) => dims.extract::<i64>().ok(),
        };
        let (own, others) = match (count, dims) {
            (None, Some(dims)) => {
                let (own, others) = dims.extract::<(DimArg, DimArg)>().or_else(|_| {
                    let pair: Vec<DimArg> = dims.extract()?;
                    <[DimArg; 2]>::try_from(pair)
                        .map(|[a, b]| (a, b))
                        .map_err(|_| PyTypeError::new_err("tensordot takes two lists of dims"))
                })?;
                (own.list(), others.list())
            }
            (count, _) => {
                let count = count.unwrap_or(2);
                if count < 0 {
                    let message = format!("tensordot expects dims >= 0, but got dims={count}");
                    return Err(pyo3::exceptions::PyRuntimeError::new_err(message).into());
                }
                if count > self.tensor.ndim().min(b.ndim()) as i64 {
                    let message =
                        format!("tensordot expects dims < ndim_a or ndim_b, but got dims={count}");
                    return Err(pyo3::exceptions::PyRuntimeError::new_err(message).into());
                }
                ((-count..0).collect(), (0..count).collect())
            }
        };
        run(py, &self.tensor, || self.tensor.tensordot(b, &own, &others))
    }

    fn _layer_norm(
        &self,
        py: Python<'_>,
        normalized_shape: Vec<usize>,
        weight: Option<&Bound<'_, Self>>,
        bias: Option<&Bound<'_, Self>>,
        eps: f64,
    ) -> Out {
        let weight = weight.map(|weight| &weight.get().tensor);
        let bias = bias.map(|bias| &bias.get().tensor);
        run(py, &self.tensor, || self.tensor.layer_norm(&normalized_shape, weight, bias, eps))
    }

    fn _channel_norm(
        &self,
        py: Python<'_>,
        groups: Option<usize>,
        given: Option<(Bound<'_, Self>, Bound<'_, Self>)>,
        weight: Option<&Bound<'_, Self>>,
        bias: Option<&Bound<'_, Self>>,
        eps: f64,
    ) -> PyResult<(Wrapped, Wrapped, Wrapped)> {
        let weight = weight.map(|weight| &weight.get().tensor);
        let bias = bias.map(|bias| &bias.get().tensor);
        let given = given.as_ref().map(|(mean, var)| [&mean.get().tensor, &var.get().tensor]);
        let [output, mean, variance] = crate::gil::detached(py, self.tensor.byte_hint(), || {
            self.tensor.channel_norm(groups, given, weight, bias, eps)
        })?;
        Ok((Wrapped(output), Wrapped(mean), Wrapped(variance)))
    }

    #[pyo3(signature = (target, weight, ignore_index, reduce, mean, wide = false, smoothing = 0.0))]
    fn _cross_entropy(
        &self,
        py: Python<'_>,
        target: &Bound<'_, Self>,
        weight: Option<&Bound<'_, Self>>,
        ignore_index: i64,
        reduce: bool,
        mean: bool,
        wide: bool,
        smoothing: f64,
    ) -> Out {
        let (target, weight) = (&target.get().tensor, weight.map(|weight| &weight.get().tensor));
        run(py, &self.tensor, || {
            let this = &self.tensor;
            this.cross_entropy_rows(target, weight, ignore_index, reduce, mean, wide, smoothing)
        })
    }

    /// Bilinear samples, see `rustgrad.nn.functional.grid_sample`.
    fn _grid_sample(&self, py: Python<'_>, places: &Bound<'_, Self>) -> Out {
        let places = &places.get().tensor;
        run(py, &self.tensor, || self.tensor.grid_sample(places))
    }

    /// A loss of two tensors by its name, see `rustgrad.nn.functional`.
    fn _pair_loss(
        &self,
        py: Python<'_>,
        target: &Bound<'_, PyTensor>,
        name: &str,
        reduction: &str,
        parameter: f64,
    ) -> Out {
        let loss = match name {
            "mse" => Loss::Mse,
            "smooth_l1" => Loss::SmoothL1(parameter),
            "huber" => Loss::Huber(parameter),
            "binary_cross_entropy" => Loss::BinaryCrossEntropy,
            "binary_cross_entropy_with_logits" => Loss::BinaryCrossEntropyWithLogits,
            "soft_margin" => Loss::SoftMargin,
            _ => return Err(PyValueError::new_err(format!("no loss is called {name}")).into()),
        };
        let reduce = match reduction {
            "none" => Reduce::None,
            "mean" => Reduce::Mean,
            "sum" => Reduce::Sum,
            _ => {
                let message = format!("{reduction} is not a valid value for reduction");
                return Err(PyValueError::new_err(message).into());
            }
        };
        let target = &target.get().tensor;
        run(py, &self.tensor, || self.tensor.pair_loss(target, loss, reduce))
    }

    /// `nll_loss` along dimension 1, see `rustgrad.nn.functional`.
    #[pyo3(signature = (target, weight, ignore_index, reduce, mean, wide))]
    fn _nll_loss(
        &self,
        py: Python<'_>,
        target: &Bound<'_, PyTensor>,
        weight: Option<&Bound<'_, PyTensor>>,
        ignore_index: i64,
        reduce: bool,
        mean: bool,
        wide: bool,
    ) -> Out {
        let target = &target.get().tensor;
        let weight = weight.map(|weight| &weight.get().tensor);
        run(py, &self.tensor, || {
            self.tensor.nll_loss(target, weight, ignore_index, reduce, mean, wide)
        })
    }
}

/// Sums of products by Einstein's convention.
#[pyfunction]
#[pyo3(signature = (equation, *operands))]
fn einsum(py: Python<'_>, equation: &str, operands: &Bound<'_, PyTuple>) -> Out {
    let tensors: Vec<Bound<'_, PyTensor>> = match operands.extract() {
        Ok(tensors) => tensors,
        Err(_) => operands.get_item(0)?.extract()?,
    };
    let tensors: Vec<Tensor> = tensors.iter().map(|one| one.get().tensor.clone()).collect();
    let bytes = tensors.iter().map(Tensor::byte_hint).max().unwrap_or(0) * 16;
    Ok(Wrapped(crate::gil::detached(py, bytes, || {
        rustgrad_engine::ops::product::einsum(equation, &tensors)
    })?))
}

/// The product of a chain of matrices.
#[pyfunction]
#[pyo3(signature = (*matrices))]
fn chain_matmul(py: Python<'_>, matrices: &Bound<'_, PyTuple>) -> Out {
    let tensors: Vec<Bound<'_, PyTensor>> = matrices.extract()?;
    let mut tensors = tensors.iter().map(|one| one.get().tensor.clone());
    let Some(first) = tensors.next() else {
        return Err(PyTypeError::new_err("chain_matmul takes at least one matrix").into());
    };
    let rest: Vec<Tensor> = tensors.collect();
    let bytes = first.byte_hint() * 16;
    Ok(Wrapped(crate::gil::detached(py, bytes, || {
        rest.iter().try_fold(first.clone(), |product, next| product.mm(next))
    })?))
}

/// Adds the functions without a tensor first.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(einsum, module)?)?;
    module.add_function(wrap_pyfunction!(chain_matmul, module)?)
}
