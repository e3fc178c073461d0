//! Gathering, scattering, masks and triangles.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use rustgrad_engine::ops::scatter::{self, Meet};
use rustgrad_engine::{Result, Scalar, Tensor};

use super::{Out, PyTensor, run};
use crate::convert;
use crate::error::Bind;

/// Methods that are also functions of the module.
pub(super) const FUNCTIONS: &[&str] = &[
    "gather",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "index_select",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_put_",
    "take",
    "put",
    "take_along_dim",
    "masked_fill",
    "masked_select",
    "masked_scatter",
    "select_scatter",
    "slice_scatter",
    "diagonal_scatter",
    "tril",
    "triu",
    "diag",
    "diagflat",
    "diag_embed",
    "nonzero",
    "argwhere",
];

fn in_place<'py>(
    slf: Bound<'py, PyTensor>,
    name: &str,
    work: impl FnOnce(&Tensor) -> Result<Tensor> + Send,
) -> Bind<Bound<'py, PyTensor>> {
    let this = &slf.get().tensor;
    crate::gil::detached(slf.py(), this.byte_hint(), || this.inplace(name, work))?;
    Ok(slf)
}

/// As [`in_place`], for what writes by itself.
fn written<'py>(
    slf: Bound<'py, PyTensor>,
    work: impl FnOnce(&Tensor) -> Result<()> + Send,
) -> Bind<Bound<'py, PyTensor>> {
    let this = &slf.get().tensor;
    crate::gil::detached(slf.py(), this.byte_hint(), || work(this))?;
    Ok(slf)
}

/// A tensor, or a number in the dtype of `this`.
fn operand(this: &Tensor, value: &Bound<'_, PyAny>) -> Bind<Tensor> {
    if let Some(tensor) = convert::tensor(value) {
        return Ok(tensor.clone());
    }
    match convert::scalar(value)? {
        Some(number) => Ok(Tensor::from_scalar(number, this.dtype())?),
        None => Err(PyTypeError::new_err(format!(
            "expected a Tensor or a number, got {}",
            value.get_type().name()?
        ))
        .into()),
    }
}

fn number(value: Option<&Bound<'_, PyAny>>) -> Bind<Scalar> {
    let Some(value) = value else { return Ok(Scalar::Int(1)) };
    match convert::scalar(value)? {
        Some(number) => Ok(number),
        None => Err(PyTypeError::new_err("alpha must be a number").into()),
    }
}

/// The index tuple of `index_put`.
fn index_list(indices: &Bound<'_, PyAny>) -> Bind<Vec<Option<Tensor>>> {
    let mut list = Vec::new();
    for item in indices.try_iter()? {
        let item = item?;
        if item.is_none() {
            list.push(None);
        } else if let Some(tensor) = convert::tensor(&item) {
            list.push(Some(tensor.clone()));
        } else {
            return Err(PyTypeError::new_err("indices must be a tuple of Tensors").into());
        }
    }
    Ok(list)
}

/// `src` or `value` of a scatter, with the way it meets what is there.
fn scattered(
    this: &Tensor,
    src: Option<&Bound<'_, PyAny>>,
    value: Option<&Bound<'_, PyAny>>,
    reduce: Option<&str>,
) -> Bind<(Tensor, Meet)> {
    let Some(source) = src.or(value) else {
        return Err(PyTypeError::new_err("scatter() needs src or value").into());
    };
    let meet = match reduce {
        None => Meet::Set,
        Some("add") => Meet::Add,
        Some("multiply") => Meet::Multiply,
        Some(other) => {
            return Err(rustgrad_engine::Error::runtime(format!(
                "reduce argument must be either add or multiply, got {other}"
            ))
            .into());
        }
    };
    Ok((operand(this, source)?, meet))
}

#[pymethods]
impl PyTensor {
    /// Elements of `src` added at the indices
    fn scatter_add(&self, py: Python<'_>, dim: i64, index: &Self, src: &Self) -> Out {
        let this = &self.tensor;
        let (index, src) = (&index.tensor, &src.tensor);
        run(py, this, || this.scatter_add(dim, index, src))
    }
    /// Elements of `src` added at the indices, in place.
    fn scatter_add_<'py>(
        slf: Bound<'py, Self>,
        dim: i64,
        index: &Self,
        src: &Self,
    ) -> Bind<Bound<'py, Self>> {
        let (index, src) = (&index.tensor, &src.tensor);
        written(slf, |this| this.scatter_("scatter_add_", dim, index, src, Meet::Add))
    }
    /// Elements of `src`, or a value, put at the indices
    #[pyo3(signature = (dim, index, src = None, *, value = None, reduce = None))]
    fn scatter(
        &self,
        py: Python<'_>,
        dim: i64,
        index: &Self,
        src: Option<&Bound<'_, PyAny>>,
        value: Option<&Bound<'_, PyAny>>,
        reduce: Option<&str>,
    ) -> Out {
        let this = &self.tensor;
        let (src, meet) = scattered(this, src, value, reduce)?;
        let index = &index.tensor;
        run(py, this, || this.scatter(dim, index, &src, meet))
    }
    /// Elements of `src`, or a value, put at the indices, in place.
    #[pyo3(signature = (dim, index, src = None, *, value = None, reduce = None))]
    fn scatter_<'py>(
        slf: Bound<'py, Self>,
        dim: i64,
        index: &Self,
        src: Option<&Bound<'_, PyAny>>,
        value: Option<&Bound<'_, PyAny>>,
        reduce: Option<&str>,
    ) -> Bind<Bound<'py, Self>> {
        let this = &slf.get().tensor.clone();
        let (src, meet) = scattered(this, src, value, reduce)?;
        let index = &index.tensor;
        written(slf, |this| this.scatter_("scatter_", dim, index, &src, meet))
    }
    /// Elements of `src` reduced at the indices
    #[pyo3(signature = (dim, index, src, reduce, *, include_self = true))]
    fn scatter_reduce(
        &self,
        py: Python<'_>,
        dim: i64,
        index: &Self,
        src: &Self,
        reduce: &str,
        include_self: bool,
    ) -> Out {
        let this = &self.tensor;
        let meet = scatter::reduction(reduce, include_self)?;
        let (index, src) = (&index.tensor, &src.tensor);
        run(py, this, || this.scatter(dim, index, src, meet))
    }
    /// Elements of `src` reduced at the indices, in place.
    #[pyo3(signature = (dim, index, src, reduce, *, include_self = true))]
    fn scatter_reduce_<'py>(
        slf: Bound<'py, Self>,
        dim: i64,
        index: &Self,
        src: &Self,
        reduce: &str,
        include_self: bool,
    ) -> Bind<Bound<'py, Self>> {
        let meet = scatter::reduction(reduce, include_self)?;
        let (index, src) = (&index.tensor, &src.tensor);
        written(slf, |this| this.scatter_("scatter_reduce_", dim, index, src, meet))
    }
    /// Slices of `source` added at the indices
    #[pyo3(signature = (dim, index, source, *, alpha = None))]
    fn index_add(
        &self,
        py: Python<'_>,
        dim: i64,
        index: &Self,
        source: &Self,
        alpha: Option<&Bound<'_, PyAny>>,
    ) -> Out {
        let this = &self.tensor;
        let (index, source, alpha) = (&index.tensor, &source.tensor, number(alpha)?);
        run(py, this, || this.index_add(dim, index, source, alpha))
    }
    /// Slices of `source` added at the indices, in place.
    #[pyo3(signature = (dim, index, source, *, alpha = None))]
    fn index_add_<'py>(
        slf: Bound<'py, Self>,
        dim: i64,
        index: &Self,
        source: &Self,
        alpha: Option<&Bound<'_, PyAny>>,
    ) -> Bind<Bound<'py, Self>> {
        let (index, source, alpha) = (&index.tensor, &source.tensor, number(alpha)?);
        written(slf, |this| this.index_add_(dim, index, source, alpha))
    }
    /// Slices of `source` put at the indices
    fn index_copy(&self, py: Python<'_>, dim: i64, index: &Self, source: &Self) -> Out {
        let this = &self.tensor;
        let (index, source) = (&index.tensor, &source.tensor);
        run(py, this, || this.index_copy(dim, index, source))
    }
    /// Slices of `source` put at the indices, in place.
    fn index_copy_<'py>(
        slf: Bound<'py, Self>,
        dim: i64,
        index: &Self,
        source: &Self,
    ) -> Bind<Bound<'py, Self>> {
        let (index, source) = (&index.tensor, &source.tensor);
        written(slf, |this| this.index_copy_(dim, index, source))
    }
    /// One value at the indices
    fn index_fill(&self, py: Python<'_>, dim: i64, index: &Self, value: &Bound<'_, PyAny>) -> Out {
        let this = &self.tensor;
        let (index, lone) = (&index.tensor, convert::tensor(value));
        let plain = if lone.is_none() { number(Some(value))? } else { Scalar::Int(0) };
        run(py, this, || match lone {
            Some(value) => this.index_fill_tensor(dim, index, value),
            None => this.index_fill(dim, index, plain),
        })
    }
    /// One value at the indices, in place.
    fn index_fill_<'py>(
        slf: Bound<'py, Self>,
        dim: i64,
        index: &Self,
        value: &Bound<'_, PyAny>,
    ) -> Bind<Bound<'py, Self>> {
        let (index, lone) = (&index.tensor, convert::tensor(value));
        let plain = if lone.is_none() { number(Some(value))? } else { Scalar::Int(0) };
        match lone {
            Some(value) => {
                in_place(slf, "index_fill_", |this| this.index_fill_tensor(dim, index, value))
            }
            None => written(slf, |this| this.index_fill_(dim, index, plain)),
        }
    }
    /// Values written, or added, at a tuple of indices
    #[pyo3(signature = (indices, values, accumulate = false))]
    fn index_put(
        &self,
        py: Python<'_>,
        indices: &Bound<'_, PyAny>,
        values: &Self,
        accumulate: bool,
    ) -> Out {
        let this = &self.tensor;
        let (indices, values) = (index_list(indices)?, &values.tensor);
        run(py, this, || this.index_put(&indices, values, accumulate))
    }
    /// Values written, or added, at a tuple of indices, in place.
    #[pyo3(signature = (indices, values, accumulate = false))]
    fn index_put_<'py>(
        slf: Bound<'py, Self>,
        indices: &Bound<'_, PyAny>,
        values: &Self,
        accumulate: bool,
    ) -> Bind<Bound<'py, Self>> {
        let (indices, values) = (index_list(indices)?, &values.tensor);
        written(slf, |this| this.index_put_(&indices, values, accumulate))
    }
    /// Elements at flat indices replaced
    #[pyo3(signature = (index, source, accumulate = false))]
    fn put(&self, py: Python<'_>, index: &Self, source: &Self, accumulate: bool) -> Out {
        let this = &self.tensor;
        let (index, source) = (&index.tensor, &source.tensor);
        run(py, this, || this.put(index, source, accumulate))
    }
    /// Elements at flat indices replaced, in place.
    #[pyo3(signature = (index, source, accumulate = false))]
    fn put_<'py>(
        slf: Bound<'py, Self>,
        index: &Self,
        source: &Self,
        accumulate: bool,
    ) -> Bind<Bound<'py, Self>> {
        let (index, source) = (&index.tensor, &source.tensor);
        in_place(slf, "put_", |this| this.put(index, source, accumulate))
    }
    /// A value where the mask holds
    fn masked_fill(&self, py: Python<'_>, mask: &Self, value: &Bound<'_, PyAny>) -> Out {
        let this = &self.tensor;
        let (mask, value) = (&mask.tensor, operand(this, value)?);
        run(py, this, || this.masked_fill(mask, &value))
    }
    /// A value where the mask holds, in place.
    fn masked_fill_<'py>(
        slf: Bound<'py, Self>,
        mask: &Self,
        value: &Bound<'_, PyAny>,
    ) -> Bind<Bound<'py, Self>> {
        let this = &slf.get().tensor.clone();
        let (mask, value) = (&mask.tensor, operand(this, value)?);
        in_place(slf, "masked_fill_", |this| this.masked_fill(mask, &value))
    }
    /// Elements of `source`, in order, where the mask holds
    fn masked_scatter(&self, py: Python<'_>, mask: &Self, source: &Self) -> Out {
        let this = &self.tensor;
        let (mask, source) = (&mask.tensor, &source.tensor);
        run(py, this, || this.masked_scatter(mask, source))
    }
    /// Elements of `source`, in order, where the mask holds, in place.
    fn masked_scatter_<'py>(
        slf: Bound<'py, Self>,
        mask: &Self,
        source: &Self,
    ) -> Bind<Bound<'py, Self>> {
        let (mask, source) = (&mask.tensor, &source.tensor);
        in_place(slf, "masked_scatter_", |this| this.masked_scatter(mask, source))
    }
    /// The lower triangles
    #[pyo3(signature = (diagonal = 0))]
    fn tril(&self, py: Python<'_>, diagonal: i64) -> Out {
        let this = &self.tensor;
        run(py, this, || this.tril(diagonal))
    }
    /// The lower triangles, in place.
    #[pyo3(signature = (diagonal = 0))]
    fn tril_<'py>(slf: Bound<'py, Self>, diagonal: i64) -> Bind<Bound<'py, Self>> {
        in_place(slf, "tril_", |this| this.tril(diagonal))
    }
    /// The upper triangles
    #[pyo3(signature = (diagonal = 0))]
    fn triu(&self, py: Python<'_>, diagonal: i64) -> Out {
        let this = &self.tensor;
        run(py, this, || this.triu(diagonal))
    }
    /// The upper triangles, in place.
    #[pyo3(signature = (diagonal = 0))]
    fn triu_<'py>(slf: Bound<'py, Self>, diagonal: i64) -> Bind<Bound<'py, Self>> {
        in_place(slf, "triu_", |this| this.triu(diagonal))
    }
    /// One element per index along a dimension.
    #[pyo3(signature = (dim, index, *, sparse_grad = false))]
    fn gather(&self, py: Python<'_>, dim: i64, index: &Self, sparse_grad: bool) -> Out {
        let _ = sparse_grad;
        run(py, &self.tensor, || self.tensor.gather(dim, &index.tensor))
    }
    /// The slices that a vector of indices names.
    fn index_select(&self, py: Python<'_>, dim: i64, index: &Self) -> Out {
        run(py, &self.tensor, || self.tensor.index_select(dim, &index.tensor))
    }
    /// The elements at flat indices.
    fn take(&self, py: Python<'_>, index: &Self) -> Out {
        run(py, &self.tensor, || self.tensor.take(&index.tensor))
    }
    /// `gather` with the other dimensions broadcast.
    #[pyo3(signature = (indices, dim = None))]
    fn take_along_dim(&self, py: Python<'_>, indices: &Self, dim: Option<i64>) -> Out {
        run(py, &self.tensor, || self.tensor.take_along_dim(&indices.tensor, dim))
    }
    /// The elements where the mask holds.
    fn masked_select(&self, py: Python<'_>, mask: &Self) -> Out {
        run(py, &self.tensor, || self.tensor.masked_select(&mask.tensor))
    }
    /// A copy with one index of a dimension replaced.
    fn select_scatter(&self, py: Python<'_>, src: &Self, dim: i64, index: i64) -> Out {
        run(py, &self.tensor, || {
            self.tensor.part_replaced("SelectScatterBackward0", &src.tensor, |this| {
                this.select(dim, index)
            })
        })
    }
    /// A copy with a slice of a dimension replaced.
    #[pyo3(signature = (src, dim = 0, start = None, end = None, step = 1))]
    fn slice_scatter(
        &self,
        py: Python<'_>,
        src: &Self,
        dim: i64,
        start: Option<i64>,
        end: Option<i64>,
        step: i64,
    ) -> Out {
        let (start, end) = (start.unwrap_or(0), end.unwrap_or(i64::MAX));
        run(py, &self.tensor, || {
            self.tensor.part_replaced("SliceScatterBackward0", &src.tensor, |this| {
                this.slice(dim, start, end, step)
            })
        })
    }
    /// A copy with a diagonal replaced.
    #[pyo3(signature = (src, offset = 0, dim1 = 0, dim2 = 1))]
    fn diagonal_scatter(
        &self,
        py: Python<'_>,
        src: &Self,
        offset: i64,
        dim1: i64,
        dim2: i64,
    ) -> Out {
        run(py, &self.tensor, || {
            self.tensor.part_replaced("DiagonalScatterBackward0", &src.tensor, |this| {
                this.diagonal(offset, dim1, dim2)
            })
        })
    }
    /// One value on the diagonal, in place.
    #[pyo3(signature = (fill_value, wrap = false))]
    fn fill_diagonal_<'py>(
        slf: Bound<'py, Self>,
        fill_value: &Bound<'_, PyAny>,
        wrap: bool,
    ) -> Bind<Bound<'py, Self>> {
        let value = number(Some(fill_value))?;
        slf.get().tensor.fill_diagonal_(value, wrap)?;
        Ok(slf)
    }
    /// The diagonal of a matrix, or a matrix from its diagonal.
    #[pyo3(signature = (diagonal = 0))]
    fn diag(&self, py: Python<'_>, diagonal: i64) -> Out {
        run(py, &self.tensor, || self.tensor.diag(diagonal))
    }
    /// A matrix with all elements as its diagonal.
    #[pyo3(signature = (offset = 0))]
    fn diagflat(&self, py: Python<'_>, offset: i64) -> Out {
        run(py, &self.tensor, || self.tensor.reshape(&[-1])?.diag(offset))
    }
    /// Vectors as diagonals of matrices.
    #[pyo3(signature = (offset = 0, dim1 = -2, dim2 = -1))]
    fn diag_embed(&self, py: Python<'_>, offset: i64, dim1: i64, dim2: i64) -> Out {
        run(py, &self.tensor, || self.tensor.diag_embed(offset, dim1, dim2))
    }
    /// The positions of the elements that are not zero.
    #[pyo3(signature = (*, as_tuple = false))]
    fn nonzero<'py>(&self, py: Python<'py>, as_tuple: bool) -> Bind<Bound<'py, PyAny>> {
        if as_tuple {
            let columns = super::view::tuple(py, self.tensor.nonzero_columns()?)?;
            return Ok(columns.into_bound(py).into_any());
        }
        Ok(super::wrap(py, self.tensor.nonzero()?)?.into_any())
    }
    /// The positions of the elements that are not zero, one row each.
    fn argwhere(&self, py: Python<'_>) -> Out {
        run(py, &self.tensor, || self.tensor.nonzero())
    }
    /// This tensor where the condition holds, else `other`.
    #[pyo3(name = "where")]
    fn where_(&self, py: Python<'_>, condition: &Self, other: &Bound<'_, PyAny>) -> Out {
        let other = convert::tensor_or_number_like(other, &self.tensor)?;
        run(py, &self.tensor, || condition.tensor.where_(&self.tensor, &other))
    }
}
