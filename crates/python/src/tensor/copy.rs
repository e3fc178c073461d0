//! Copying and pickling.

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use rustgrad_engine::{Bool, DType, Tensor};

use super::{Out, PyTensor, Wrapped};
use crate::dtype::PyDType;
use crate::error::Bind;

macro_rules! numbers {
    ($tensor:expr, $t:ty) => {
        $tensor.to_vec::<$t>()?.into_iter().flat_map(<$t>::to_le_bytes).collect()
    };
    (from $bytes:expr, $shape:expr, $t:ty) => {{
        let values: Vec<$t> = $bytes
            .chunks_exact(size_of::<$t>())
            .map(|chunk| <$t>::from_le_bytes(chunk.try_into().unwrap_or_default()))
            .collect();
        Tensor::from_slice(&values, $shape)?
    }};
}

/// The elements, row-major, as little-endian bytes.
fn to_bytes(tensor: &Tensor) -> Bind<Vec<u8>> {
    Ok(match tensor.dtype() {
        DType::Bool => {
            tensor.to_vec::<Bool>()?.into_iter().map(|value| u8::from(value.get())).collect()
        }
        DType::U8 => tensor.to_vec::<u8>()?,
        DType::I8 => numbers!(tensor, i8),
        DType::I16 => numbers!(tensor, i16),
        DType::I32 => numbers!(tensor, i32),
        DType::I64 => numbers!(tensor, i64),
        DType::F32 => numbers!(tensor, f32),
        DType::F64 => numbers!(tensor, f64),
    })
}

fn from_bytes(bytes: &[u8], shape: &[usize], dtype: DType) -> Bind<Tensor> {
    let count = rustgrad_engine::shape::numel(shape)?;
    if bytes.len() != count * dtype.size() {
        return Err(PyValueError::new_err("the bytes do not fill the shape").into());
    }
    Ok(match dtype {
        DType::Bool => {
            let values: Vec<Bool> = bytes.iter().map(|&byte| Bool::from(byte != 0)).collect();
            Tensor::from_slice(&values, shape)?
        }
        DType::U8 => Tensor::from_slice(bytes, shape)?,
        DType::I8 => numbers!(from bytes, shape, i8),
        DType::I16 => numbers!(from bytes, shape, i16),
        DType::I32 => numbers!(from bytes, shape, i32),
        DType::I64 => numbers!(from bytes, shape, i64),
        DType::F32 => numbers!(from bytes, shape, f32),
        DType::F64 => numbers!(from bytes, shape, f64),
    })
}

/// A tensor out of a pickle; `order` lists the dimensions from the outermost in memory.
#[pyfunction]
#[pyo3(signature = (bytes, shape, dtype, order, requires_grad))]
fn _rebuild_tensor(
    bytes: &Bound<'_, PyBytes>,
    shape: Vec<usize>,
    dtype: &Bound<'_, PyDType>,
    order: Vec<i64>,
    requires_grad: bool,
) -> Out {
    let tensor = from_bytes(bytes.as_bytes(), &shape, dtype.get().0)?;
    let tensor = if order.windows(2).all(|pair| pair[0] < pair[1]) {
        tensor
    } else {
        let mut back = vec![0; order.len()];
        for (place, &dim) in order.iter().enumerate() {
            let slot = usize::try_from(dim).ok().and_then(|dim| back.get_mut(dim));
            match slot {
                Some(slot) => *slot = place as i64,
                None => {
                    return Err(PyValueError::new_err("the order of dimensions is broken").into());
                }
            }
        }
        let laid_out = tensor.permute(&order)?.copied()?.permute(&back)?;
        Tensor::from_shared(laid_out.shared_core())
    };
    tensor.set_requires_grad(requires_grad)?;
    Ok(Wrapped(tensor))
}

/// The dimensions from the outermost in memory.
fn memory_order(tensor: &Tensor) -> Vec<i64> {
    let mut order: Vec<i64> = (0..tensor.ndim() as i64).collect();
    let strides = tensor.strides();
    if !tensor.is_contiguous() {
        order.sort_by_key(|&dim| std::cmp::Reverse(strides[dim as usize]));
    }
    order
}

/// A copy without history in memory of its own; of a view, a view of the copied base.
fn deep<'py>(slf: &Bound<'py, PyTensor>, memo: &Bound<'py, PyDict>) -> Bind<Tensor> {
    let py = slf.py();
    let this = &slf.get().tensor;
    if let Some(base) = this.base().filter(|base| base.is_contiguous() && base.is_leaf()) {
        let base = Wrapped(base).into_pyobject(py)?;
        let copied = py.import("copy")?.call_method1("deepcopy", (base, memo))?;
        if let Some(copied) = crate::convert::tensor(&copied) {
            let offset = this.shared_core().offset();
            let view = copied.detach().as_strided(&this.shape(), &this.strides(), Some(offset))?;
            return Ok(Tensor::from_shared(view.shared_core()));
        }
    }
    Ok(this.detach().copied()?)
}

#[pymethods]
impl PyTensor {
    fn __reduce_ex__<'py>(slf: &Bound<'py, Self>, protocol: i32) -> Bind<Bound<'py, PyTuple>> {
        let _ = protocol;
        let py = slf.py();
        let this = &slf.get().tensor;
        // Of a history only that there was one is kept, as in torch.
        let arguments = (
            PyBytes::new(py, &to_bytes(this)?),
            PyTuple::new(py, this.shape().iter())?,
            crate::dtype::object(py, this.dtype())?,
            memory_order(this),
            this.requires_grad(),
        );
        let rebuild = py.import("rustgrad._core")?.getattr("_rebuild_tensor")?;
        Ok(PyTuple::new(py, [rebuild, arguments.into_bound_py_any(py)?])?)
    }

    /// Another tensor over the same memory, a leaf of its own.
    fn __copy__(&self) -> Out {
        let copy = self.tensor.detach();
        copy.set_requires_grad(self.tensor.requires_grad())?;
        Ok(Wrapped(copy))
    }

    fn __deepcopy__<'py>(
        slf: &Bound<'py, Self>,
        memo: &Bound<'py, PyDict>,
    ) -> Bind<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = &slf.get().tensor;
        if !this.is_leaf() {
            return Err(PyRuntimeError::new_err(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy \
                 protocol at the moment.  If you were attempting to deepcopy a module, this may be \
                 because of a torch.nn.utils.weight_norm usage, see \
                 https://github.com/pytorch/pytorch/pull/103001",
            )
            .into());
        }
        let key = slf.as_ptr() as usize;
        if let Some(known) = memo.get_item(key)? {
            return Ok(known);
        }
        let copy = deep(slf, memo)?;
        copy.set_requires_grad(this.requires_grad())?;
        if let Some(grad) = this.grad() {
            copy.set_grad(Some(grad.detach().copied()?))?;
        }
        let copy = Wrapped(copy).into_pyobject(py)?.into_any();
        memo.set_item(key, &copy)?;
        Ok(copy)
    }
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(_rebuild_tensor, module)?)
}
