//! Shapes and views.

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use rustgrad_engine::Tensor;

use super::{Out, PyTensor, run};
use crate::convert::{self, DimArg};
use crate::dtype::PyDType;
use crate::error::Bind;
use crate::size::size;

/// Methods that are also functions of the module.
pub(super) const FUNCTIONS: &[&str] = &[
    "reshape",
    "permute",
    "transpose",
    "swapaxes",
    "swapdims",
    "t",
    "adjoint",
    "movedim",
    "moveaxis",
    "broadcast_to",
    "squeeze",
    "unsqueeze",
    "flatten",
    "unflatten",
    "ravel",
    "narrow",
    "select",
    "diagonal",
    "as_strided",
    "clone",
    "split",
    "split_with_sizes",
    "chunk",
    "tensor_split",
    "unbind",
    "hsplit",
    "vsplit",
    "dsplit",
    "flip",
    "fliplr",
    "flipud",
    "roll",
    "rot90",
    "tile",
    "repeat_interleave",
    "view_as",
    "expand_as",
    "is_same_size",
];

/// Several tensors as a tuple.
pub(crate) fn tuple(py: Python<'_>, tensors: Vec<Tensor>) -> Bind<Py<PyTuple>> {
    let wrapped: Vec<_> =
        tensors.into_iter().map(|tensor| super::wrap(py, tensor)).collect::<PyResult<_>>()?;
    Ok(PyTuple::new(py, wrapped)?.unbind())
}

/// Sizes given one by one, as a list, or by keyword.
fn sizes_or(
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
    name: &str,
) -> Bind<Vec<i64>> {
    if let Some(value) = kwargs.and_then(|kwargs| kwargs.get_item(name).transpose()) {
        return Ok(value?.extract::<DimArg>()?.list());
    }
    if let Some(kwargs) = kwargs {
        if let Some(key) = kwargs.keys().iter().next() {
            return Err(PyTypeError::new_err(format!("unexpected keyword argument '{key}'")).into());
        }
    }
    Ok(convert::sizes(args)?)
}

/// Refuses memory formats that no tensor here has.
fn check_format(format: Option<&Bound<'_, PyAny>>) -> Bind<()> {
    if let Some(format) = format {
        let text = format.str()?.to_string();
        if text.contains("channels_last") {
            return Err(
                PyValueError::new_err("channels_last memory formats are not supported").into()
            );
        }
    }
    Ok(())
}

impl PyTensor {
    /// Takes the layout of a view of this tensor, in place.
    #[track_caller]
    fn relayout(&self, view: impl FnOnce(&Tensor) -> rustgrad_engine::Result<Tensor>) -> Bind<()> {
        Ok(self.tensor.relayout(view)?)
    }
}

#[pymethods]
impl PyTensor {
    /// The sizes.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        size(py, &self.tensor.shape())
    }
    /// The sizes, or the size of one dimension.
    #[pyo3(signature = (dim = None))]
    fn size<'py>(&self, py: Python<'py>, dim: Option<i64>) -> Bind<Bound<'py, PyAny>> {
        let shape = self.tensor.shape();
        match dim {
            None => Ok(size(py, &shape)?),
            Some(dim) => {
                let at = rustgrad_engine::shape::norm_dim(dim, shape.len())?;
                match shape.get(at) {
                    Some(n) => Ok(n.into_pyobject(py).map_err(PyErr::from)?.into_any()),
                    None => Err(pyo3::exceptions::PyIndexError::new_err(
                        "Dimension specified as 0 but tensor has no dimensions",
                    )
                    .into()),
                }
            }
        }
    }
    /// The strides in elements, or that of one dimension.
    #[pyo3(signature = (dim = None))]
    fn stride<'py>(&self, py: Python<'py>, dim: Option<i64>) -> Bind<Bound<'py, PyAny>> {
        let strides = self.tensor.strides();
        match dim {
            None => Ok(PyTuple::new(py, strides.iter())?.into_any()),
            Some(dim) => {
                let at = rustgrad_engine::shape::norm_dim(dim, strides.len())?;
                let stride = strides.get(at).copied().unwrap_or(1);
                Ok(stride.into_pyobject(py).map_err(PyErr::from)?.into_any())
            }
        }
    }
    /// The number of dimensions.
    #[getter]
    fn ndim(&self) -> usize {
        self.tensor.ndim()
    }
    /// The number of dimensions.
    fn dim(&self) -> usize {
        self.tensor.ndim()
    }
    /// The number of dimensions.
    fn ndimension(&self) -> usize {
        self.tensor.ndim()
    }
    /// Where the first element lies in the buffer, in elements.
    fn storage_offset(&self) -> isize {
        self.tensor.shared_core().offset()
    }
    /// The address of the first element.
    fn data_ptr(&self) -> usize {
        self.tensor.data_address()
    }
    /// Whether the elements lie dense and row-major.
    #[pyo3(signature = (memory_format = None))]
    fn is_contiguous(&self, memory_format: Option<&Bound<'_, PyAny>>) -> bool {
        let _ = memory_format;
        self.tensor.is_contiguous()
    }
    /// Whether another tensor has the same sizes.
    fn is_same_size(&self, other: &Self) -> bool {
        self.tensor.shape() == other.tensor.shape()
    }
    /// The same elements in other sizes, or their bytes as another dtype, as a view.
    #[pyo3(signature = (*args, **kwargs))]
    fn view(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> Out {
        let by_name = kwargs.and_then(|kwargs| kwargs.get_item("dtype").transpose()).transpose()?;
        let first = if args.len() == 1 { Some(args.get_item(0)?) } else { None };
        if let Some(dtype) = by_name.or(first) {
            if let Ok(dtype) = dtype.cast::<PyDType>() {
                let dtype = dtype.get().0;
                return run(py, &self.tensor, || self.tensor.view_dtype(dtype));
            }
        }
        let shape = sizes_or(args, kwargs, "size")?;
        run(py, &self.tensor, || self.tensor.view(&shape))
    }
    /// A view in the sizes of another tensor.
    fn view_as(&self, py: Python<'_>, other: &Self) -> Out {
        let shape: Vec<i64> = other.tensor.shape().iter().map(|&n| n as i64).collect();
        run(py, &self.tensor, || self.tensor.view(&shape))
    }
    /// The same elements in other sizes, as a view if possible.
    #[pyo3(signature = (*args, **kwargs))]
    fn reshape(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> Out {
        let shape = sizes_or(args, kwargs, "shape")?;
        run(py, &self.tensor, || self.tensor.reshape(&shape))
    }
    /// The same elements in the sizes of another tensor.
    fn reshape_as(&self, py: Python<'_>, other: &Self) -> Out {
        run(py, &self.tensor, || self.tensor.reshape_to(&other.tensor.shape()))
    }
    /// Changes the sizes in place: elements stay in memory order, new ones are zero.
    #[pyo3(signature = (*args, memory_format = None))]
    fn resize_<'py>(
        slf: Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
        memory_format: Option<&Bound<'py, PyAny>>,
    ) -> Bind<Bound<'py, Self>> {
        check_format(memory_format)?;
        let shape = convert::sizes(args)?
            .into_iter()
            .map(|n| {
                usize::try_from(n).map_err(|_| {
                    PyRuntimeError::new_err(format!("resize_: negative size {n} in the shape"))
                })
            })
            .collect::<PyResult<Vec<_>>>()?;
        slf.get().tensor.resize_(&shape)?;
        Ok(slf)
    }
    /// Changes the sizes in place to those of another tensor.
    #[pyo3(signature = (other, memory_format = None))]
    fn resize_as_<'py>(
        slf: Bound<'py, Self>,
        other: &Bound<'py, Self>,
        memory_format: Option<&Bound<'py, PyAny>>,
    ) -> Bind<Bound<'py, Self>> {
        check_format(memory_format)?;
        slf.get().tensor.resize_(&other.get().tensor.shape())?;
        Ok(slf)
    }
    /// Dimensions in another order.
    #[pyo3(signature = (*args, **kwargs))]
    fn permute(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> Out {
        let dims = sizes_or(args, kwargs, "dims")?;
        run(py, &self.tensor, || self.tensor.permute(&dims))
    }
    /// Two dimensions exchanged.
    fn transpose(&self, py: Python<'_>, dim0: i64, dim1: i64) -> Out {
        run(py, &self.tensor, || self.tensor.transpose(dim0, dim1))
    }
    /// Two dimensions exchanged.
    fn swapaxes(&self, py: Python<'_>, axis0: i64, axis1: i64) -> Out {
        run(py, &self.tensor, || self.tensor.transpose(axis0, axis1))
    }
    /// Two dimensions exchanged.
    fn swapdims(&self, py: Python<'_>, dim0: i64, dim1: i64) -> Out {
        run(py, &self.tensor, || self.tensor.transpose(dim0, dim1))
    }
    /// The transpose of a matrix.
    fn t(&self, py: Python<'_>) -> Out {
        run(py, &self.tensor, || self.tensor.t())
    }
    /// The transpose of a matrix, in place.
    fn t_(slf: Bound<'_, Self>) -> Bind<Bound<'_, Self>> {
        slf.get().relayout(|this| this.t())?;
        Ok(slf)
    }
    /// Two dimensions exchanged, in place: another name of `transpose_`.
    fn swapaxes_(slf: Bound<'_, Self>, axis0: i64, axis1: i64) -> Bind<Bound<'_, Self>> {
        Self::transpose_(slf, axis0, axis1)
    }
    /// Two dimensions exchanged, in place: another name of `transpose_`.
    fn swapdims_(slf: Bound<'_, Self>, dim0: i64, dim1: i64) -> Bind<Bound<'_, Self>> {
        Self::transpose_(slf, dim0, dim1)
    }
    /// Any sizes and strides over the same buffer, in place.
    #[pyo3(signature = (size, stride, storage_offset = None))]
    fn as_strided_(
        slf: Bound<'_, Self>,
        size: DimArg,
        stride: DimArg,
        storage_offset: Option<isize>,
    ) -> Bind<Bound<'_, Self>> {
        let shape = rustgrad_engine::shape::from_sizes(&size.list())?;
        let strides: Vec<isize> = stride.list().iter().map(|&n| n as isize).collect();
        slf.get().relayout(|this| this.as_strided(&shape, &strides, storage_offset))?;
        Ok(slf)
    }
    /// Two dimensions exchanged, in place.
    fn transpose_(slf: Bound<'_, Self>, dim0: i64, dim1: i64) -> Bind<Bound<'_, Self>> {
        slf.get().relayout(|this| this.transpose(dim0, dim1))?;
        Ok(slf)
    }
    /// Without dimensions of size one, in place.
    #[pyo3(signature = (dim = None))]
    fn squeeze_(slf: Bound<'_, Self>, dim: Option<DimArg>) -> Bind<Bound<'_, Self>> {
        let dims = dim.map(|dim| dim.list());
        slf.get().relayout(|this| this.squeeze(dims.as_deref()))?;
        Ok(slf)
    }
    /// With a dimension of size one put in, in place.
    fn unsqueeze_(slf: Bound<'_, Self>, dim: i64) -> Bind<Bound<'_, Self>> {
        slf.get().relayout(|this| this.unsqueeze(dim))?;
        Ok(slf)
    }
    /// All dimensions in reverse order.
    #[getter(T)]
    fn reversed(&self, py: Python<'_>) -> Out {
        match self.tensor.ndim() {
            2 => {}
            0 => crate::function::warn(
                py,
                "Tensor.T is deprecated on 0-D tensors. This function is the identity in these cases.",
            )?,
            _ => crate::function::warn(
                py,
                "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is \
                 deprecated and it will throw an error in a future release. Consider `x.mT` to \
                 transpose batches of matrices or `x.permute(*torch.arange(x.ndim - 1, -1, -1))` \
                 to reverse the dimensions of a tensor.",
            )?,
        }
        run(py, &self.tensor, || self.tensor.reversed())
    }
    /// The last two dimensions exchanged.
    #[getter(mT)]
    fn matrix_transpose(&self, py: Python<'_>) -> Out {
        run(py, &self.tensor, || self.tensor.mt())
    }
    /// The last two dimensions exchanged.
    fn adjoint(&self, py: Python<'_>) -> Out {
        run(py, &self.tensor, || self.tensor.mt())
    }
    /// Dimensions moved elsewhere.
    fn movedim(&self, py: Python<'_>, source: DimArg, destination: DimArg) -> Out {
        let (from, to) = (source.list(), destination.list());
        run(py, &self.tensor, || self.tensor.movedim(&from, &to))
    }
    /// Dimensions moved elsewhere.
    fn moveaxis(&self, py: Python<'_>, source: DimArg, destination: DimArg) -> Out {
        self.movedim(py, source, destination)
    }
    /// Broadcast to larger sizes.
    #[pyo3(signature = (*args, **kwargs))]
    fn expand(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> Out {
        let shape = sizes_or(args, kwargs, "size")?;
        run(py, &self.tensor, || self.tensor.expand(&shape))
    }
    /// Broadcast to the sizes of another tensor.
    fn expand_as(&self, py: Python<'_>, other: &Self) -> Out {
        let shape: Vec<i64> = other.tensor.shape().iter().map(|&n| n as i64).collect();
        run(py, &self.tensor, || self.tensor.expand(&shape))
    }
    /// Broadcast to larger sizes.
    fn broadcast_to(&self, py: Python<'_>, size: DimArg) -> Out {
        let shape = size.list();
        run(py, &self.tensor, || self.tensor.expand(&shape))
    }
    /// Without dimensions of size one.
    #[pyo3(signature = (dim = None))]
    fn squeeze(&self, py: Python<'_>, dim: Option<DimArg>) -> Out {
        let dims = dim.map(|dim| dim.list());
        run(py, &self.tensor, || self.tensor.squeeze(dims.as_deref()))
    }
    /// With a dimension of size one put in.
    fn unsqueeze(&self, py: Python<'_>, dim: i64) -> Out {
        run(py, &self.tensor, || self.tensor.unsqueeze(dim))
    }
    /// Several dimensions as one.
    #[pyo3(signature = (start_dim = 0, end_dim = -1))]
    fn flatten(&self, py: Python<'_>, start_dim: i64, end_dim: i64) -> Out {
        run(py, &self.tensor, || self.tensor.flatten(start_dim, end_dim))
    }
    /// One dimension as several.
    fn unflatten(&self, py: Python<'_>, dim: i64, sizes: DimArg) -> Out {
        let sizes = sizes.list();
        run(py, &self.tensor, || self.tensor.unflatten(dim, &sizes))
    }
    /// All elements in one dimension.
    fn ravel(&self, py: Python<'_>) -> Out {
        run(py, &self.tensor, || self.tensor.reshape(&[-1]))
    }
    /// A part of a dimension.
    fn narrow(&self, py: Python<'_>, dim: i64, start: &Bound<'_, PyAny>, length: i64) -> Out {
        let start = match convert::tensor(start) {
            Some(tensor) => tensor.item()?.to_i64(),
            None => start.extract()?,
        };
        run(py, &self.tensor, || self.tensor.narrow(dim, start, length))
    }
    /// One index of a dimension.
    fn select(&self, py: Python<'_>, dim: i64, index: i64) -> Out {
        run(py, &self.tensor, || self.tensor.select(dim, index))
    }
    /// A diagonal, as the last dimension.
    #[pyo3(signature = (offset = 0, dim1 = 0, dim2 = 1))]
    fn diagonal(&self, py: Python<'_>, offset: i64, dim1: i64, dim2: i64) -> Out {
        run(py, &self.tensor, || self.tensor.diagonal(offset, dim1, dim2))
    }
    /// Windows along a dimension.
    fn unfold(&self, py: Python<'_>, dimension: i64, size: i64, step: i64) -> Out {
        if size < 0 || step < 0 {
            return Err(rustgrad_engine::Error::runtime(format!(
                "unfold: size is {size} and step is {step}, but neither may be negative"
            ))
            .into());
        }
        run(py, &self.tensor, || self.tensor.unfold(dimension, size as usize, step as usize))
    }
    /// Any sizes and strides over the same buffer.
    #[pyo3(signature = (size, stride, storage_offset = None))]
    fn as_strided(
        &self,
        py: Python<'_>,
        size: DimArg,
        stride: DimArg,
        storage_offset: Option<isize>,
    ) -> Out {
        let shape = rustgrad_engine::shape::from_sizes(&size.list())?;
        let strides: Vec<isize> = stride.list().iter().map(|&n| n as isize).collect();
        run(py, &self.tensor, || self.tensor.as_strided(&shape, &strides, storage_offset))
    }
    /// The tensor itself if it is dense and row-major, else a copy that is.
    #[pyo3(signature = (memory_format = None))]
    fn contiguous(&self, py: Python<'_>, memory_format: Option<&Bound<'_, PyAny>>) -> Out {
        check_format(memory_format)?;
        run(py, &self.tensor, || self.tensor.contiguous())
    }
    /// A copy.
    #[pyo3(signature = (*, memory_format = None))]
    fn clone(&self, py: Python<'_>, memory_format: Option<&Bound<'_, PyAny>>) -> Out {
        check_format(memory_format)?;
        let contiguous = match memory_format {
            Some(format) => format.str()?.to_string().contains("contiguous_format"),
            None => false,
        };
        run(
            py,
            &self.tensor,
            || {
                if contiguous { self.tensor.copied() } else { self.tensor.cloned() }
            },
        )
    }
    /// Views of a size, or of sizes, along a dimension.
    #[pyo3(signature = (split_size_or_sections, dim = 0))]
    fn split(&self, py: Python<'_>, split_size_or_sections: DimArg, dim: i64) -> Bind<Py<PyTuple>> {
        tuple(
            py,
            match split_size_or_sections {
                DimArg::One(one) => self.tensor.split(one, dim)?,
                DimArg::Many(sizes) => self.tensor.split_with_sizes(&sizes, dim)?,
            },
        )
    }
    /// [`split`] into tensors that are no views and have versions of their own.
    #[pyo3(signature = (split_size_or_sections, dim = 0))]
    fn _unsafe_split(
        &self,
        py: Python<'_>,
        split_size_or_sections: DimArg,
        dim: i64,
    ) -> Bind<Py<PyTuple>> {
        tuple(
            py,
            match split_size_or_sections {
                DimArg::One(one) => self.tensor.unsafe_split(one, dim)?,
                DimArg::Many(sizes) => self.tensor.unsafe_split_with_sizes(&sizes, dim)?,
            },
        )
    }
    /// Views of sizes along a dimension.
    #[pyo3(signature = (split_sizes, dim = 0))]
    fn split_with_sizes(
        &self,
        py: Python<'_>,
        split_sizes: Vec<i64>,
        dim: i64,
    ) -> Bind<Py<PyTuple>> {
        tuple(py, self.tensor.split_with_sizes(&split_sizes, dim)?)
    }
    /// At most so many views along a dimension.
    #[pyo3(signature = (chunks, dim = 0))]
    fn chunk(&self, py: Python<'_>, chunks: i64, dim: i64) -> Bind<Py<PyTuple>> {
        tuple(py, self.tensor.chunk(chunks, dim)?)
    }
    /// Views along a dimension: so many, or between indices.
    #[pyo3(signature = (indices_or_sections, dim = 0))]
    fn tensor_split(
        &self,
        py: Python<'_>,
        indices_or_sections: DimArg,
        dim: i64,
    ) -> Bind<Py<PyTuple>> {
        tuple(
            py,
            match indices_or_sections {
                DimArg::One(one) => self.tensor.tensor_split(one, dim)?,
                DimArg::Many(indices) => self.tensor.tensor_split_at(&indices, dim)?,
            },
        )
    }
    /// [`tensor_split`] along the second dimension (the first of vectors).
    fn hsplit(&self, py: Python<'_>, indices_or_sections: DimArg) -> Bind<Py<PyTuple>> {
        let dim = i64::from(self.tensor.ndim() > 1);
        self.sections(py, "hsplit", 1, indices_or_sections, dim)
    }
    /// [`tensor_split`] along the first dimension.
    fn vsplit(&self, py: Python<'_>, indices_or_sections: DimArg) -> Bind<Py<PyTuple>> {
        self.sections(py, "vsplit", 2, indices_or_sections, 0)
    }
    /// [`tensor_split`] along the third dimension.
    fn dsplit(&self, py: Python<'_>, indices_or_sections: DimArg) -> Bind<Py<PyTuple>> {
        self.sections(py, "dsplit", 3, indices_or_sections, 2)
    }
    /// One view per index of a dimension.
    #[pyo3(signature = (dim = 0))]
    fn unbind(&self, py: Python<'_>, dim: i64) -> Bind<Py<PyTuple>> {
        tuple(py, self.tensor.unbind(dim)?)
    }
    /// A copy with dimensions reversed.
    #[pyo3(signature = (*args, **kwargs))]
    fn flip(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> Out {
        let dims = sizes_or(args, kwargs, "dims")?;
        run(py, &self.tensor, || self.tensor.flip(&dims))
    }
    /// A copy with the second dimension reversed.
    fn fliplr(&self, py: Python<'_>) -> Out {
        need_dims(&self.tensor, 2, "fliplr")?;
        run(py, &self.tensor, || self.tensor.flip(&[1]))
    }
    /// A copy with the first dimension reversed.
    fn flipud(&self, py: Python<'_>) -> Out {
        need_dims(&self.tensor, 1, "flipud")?;
        run(py, &self.tensor, || self.tensor.flip(&[0]))
    }
    /// Elements moved around cyclically.
    #[pyo3(signature = (shifts, dims = None))]
    fn roll(&self, py: Python<'_>, shifts: DimArg, dims: Option<DimArg>) -> Out {
        let (shifts, dims) = (shifts.list(), dims.map(|dims| dims.list()).unwrap_or_default());
        run(py, &self.tensor, || self.tensor.roll(&shifts, &dims))
    }
    /// Quarter turns.
    #[pyo3(signature = (k = 1, dims = None))]
    fn rot90(&self, py: Python<'_>, k: i64, dims: Option<DimArg>) -> Out {
        let dims = dims.map_or_else(|| vec![0, 1], |dims| dims.list());
        run(py, &self.tensor, || self.tensor.rot90(k, &dims))
    }
    /// Copies side by side.
    #[pyo3(signature = (*args, **kwargs))]
    fn tile(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> Out {
        let dims = sizes_or(args, kwargs, "dims")?;
        run(py, &self.tensor, || self.tensor.tile(&dims))
    }
    /// Copies side by side.
    #[pyo3(signature = (*args, **kwargs))]
    fn repeat(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> Out {
        if args.is_empty() && kwargs.is_none() {
            let message = "repeat() missing 1 required positional arguments: \"repeats\"";
            return Err(PyTypeError::new_err(message).into());
        }
        let counts = sizes_or(args, kwargs, "repeats")?;
        run(py, &self.tensor, || self.tensor.repeat(&counts))
    }
    /// Each element, or each index of a dimension, several times.
    #[pyo3(signature = (repeats, dim = None, *, output_size = None))]
    fn repeat_interleave(
        &self,
        py: Python<'_>,
        repeats: &Bound<'_, PyAny>,
        dim: Option<i64>,
        output_size: Option<i64>,
    ) -> Out {
        let _ = output_size;
        let this = match dim {
            Some(_) => self.tensor.clone(),
            None => self.tensor.reshape(&[-1])?,
        };
        let dim = dim.unwrap_or(0);
        if let Some(counts) = convert::tensor(repeats) {
            return run(py, &self.tensor, || this.repeat_interleave(counts, dim));
        }
        let count = repeats.extract::<i64>()?;
        run(py, &self.tensor, || this.repeat_each(count, dim))
    }
}

fn need_dims(tensor: &Tensor, ndim: usize, name: &str) -> Bind<()> {
    if tensor.ndim() < ndim {
        return Err(rustgrad_engine::Error::runtime(format!(
            "torch.{name} requires a tensor with at least {ndim} dimension, but got a tensor with \
             {} dimensions!",
            tensor.ndim()
        ))
        .into());
    }
    Ok(())
}

impl PyTensor {
    fn sections(
        &self,
        py: Python<'_>,
        name: &str,
        ndim: usize,
        parts: DimArg,
        dim: i64,
    ) -> Bind<Py<PyTuple>> {
        need_dims(&self.tensor, ndim, name)?;
        tuple(
            py,
            match parts {
                DimArg::One(one) => {
                    let n = self.tensor.shape()[dim as usize] as i64;
                    if one <= 0 || n % one != 0 {
                        return Err(rustgrad_engine::Error::runtime(format!(
                        "torch.{name} attempted to split along dimension {dim}, but the size of \
                         the dimension {n} is not divisible by the split_size {one}!"
                    ))
                    .into());
                    }
                    self.tensor.tensor_split(one, dim)?
                }
                DimArg::Many(indices) => self.tensor.tensor_split_at(&indices, dim)?,
            },
        )
    }
}
