//! Python's protocols: numbers, containers, NumPy.

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyComplex, PyFloat, PyInt, PyList};
use rustgrad_engine::dtype::Bool;
use rustgrad_engine::ops::binary::Binary;
use rustgrad_engine::{DType, Scalar, Tensor};

use super::{PyTensor, Wrapped};
use crate::convert;
use crate::device::PyDevice;
use crate::dtype::PyDType;
use crate::error::Bind;
use crate::interop;

/// A number as a Python object.
pub(crate) fn number<'py>(py: Python<'py>, value: Scalar) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Scalar::Bool(value) => value.into_bound_py_any(py),
        Scalar::Int(value) => value.into_bound_py_any(py),
        Scalar::Float(value) => value.into_bound_py_any(py),
    }
}

/// The only element as a Python object.
pub(crate) fn item<'py>(py: Python<'py>, tensor: &Tensor) -> Bind<Bound<'py, PyAny>> {
    Ok(number(py, tensor.item()?)?)
}

/// Nested lists of the elements, the innermost made at once; of a 0-d tensor the element.
fn nested<'py, T: Copy>(
    py: Python<'py>,
    values: &[T],
    shape: &[usize],
    leaf: impl Fn(T) -> Bound<'py, PyAny> + Copy,
) -> PyResult<Bound<'py, PyAny>> {
    let list = match shape {
        [] => return Ok(values.first().map_or_else(|| py.None().into_bound(py), |&x| leaf(x))),
        [_] => PyList::new(py, values.iter().map(|&x| leaf(x)))?,
        [n, inner @ ..] => {
            let size = inner.iter().product::<usize>();
            let items = (0..*n)
                .map(|i| nested(py, &values[i * size..(i + 1) * size], inner, leaf))
                .collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, items)?
        }
    };
    Ok(list.into_any())
}

/// The items of dimension 0.
fn rows(tensor: &Tensor) -> Bind<Vec<Wrapped>> {
    if tensor.ndim() == 0 {
        return Err(PyTypeError::new_err("iteration over a 0-d tensor").into());
    }
    Ok(tensor.unbind(0)?.into_iter().map(Wrapped).collect())
}

/// The only element, for Python's conversions.
fn single(tensor: &Tensor) -> Bind<Scalar> {
    if tensor.numel() != 1 {
        return Err(PyValueError::new_err(
            "only one element tensors can be converted to Python scalars",
        )
        .into());
    }
    Ok(tensor.item()?)
}

fn truth(tensor: &Tensor) -> Bind<bool> {
    let count = tensor.numel();
    if count != 1 {
        let what = if count == 0 { "no values" } else { "more than one value" };
        return Err(pyo3::exceptions::PyRuntimeError::new_err(format!(
            "Boolean value of Tensor with {what} is ambiguous"
        ))
        .into());
    }
    Ok(match tensor.item()? {
        Scalar::Float(value) => value != 0.0,
        other => other.to_i64() != 0,
    })
}

/// Warns that a number forgets where it came from.
fn warn_of_gradient(py: Python<'_>, tensor: &Tensor) -> PyResult<()> {
    if !tensor.requires_grad() {
        return Ok(());
    }
    crate::function::warn(
        py,
        "Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior.\n\
         Consider using tensor.detach() first.",
    )
}

#[pymethods]
impl PyTensor {
    /// NumPy leaves operators with arrays to the tensor.
    #[classattr]
    #[allow(non_upper_case_globals, reason = "NumPy's name")]
    const __array_priority__: i64 = 1000;

    /// The only element as a Python number.
    fn item<'py>(&self, py: Python<'py>) -> Bind<Bound<'py, PyAny>> {
        item(py, &self.tensor)
    }

    /// The elements as nested lists; of a 0-d tensor the number.
    fn tolist<'py>(&self, py: Python<'py>) -> Bind<Bound<'py, PyAny>> {
        let shape = self.tensor.shape();
        macro_rules! lists {
            ($t:ty, $x:ident => $item:expr) => {
                nested(py, &self.tensor.to_vec::<$t>()?, &shape, |$x: $t| $item.into_any())
            };
        }
        let list = match self.tensor.dtype() {
            DType::F32 => lists!(f32, x => PyFloat::new(py, f64::from(x))),
            DType::F64 => lists!(f64, x => PyFloat::new(py, x)),
            DType::I64 => lists!(i64, x => PyInt::new(py, x)),
            DType::Bool => lists!(Bool, x => PyBool::new(py, x.get()).to_owned()),
            _ => {
                let values = self.tensor.to_scalars()?;
                nested(py, &values, &shape, |x| PyInt::new(py, x.to_i64()).into_any())
            }
        };
        Ok(list?)
    }

    fn __len__(&self) -> PyResult<usize> {
        match self.tensor.shape().first() {
            Some(&n) => Ok(n),
            None => Err(PyTypeError::new_err("len() of a 0-d tensor")),
        }
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> Bind<Bound<'py, PyAny>> {
        let list = PyList::new(py, rows(&self.tensor)?)?;
        Ok(list.try_iter()?.into_any())
    }

    fn __bool__(&self) -> Bind<bool> {
        truth(&self.tensor)
    }

    /// Whether the only element is not zero.
    fn is_nonzero(&self) -> Bind<bool> {
        truth(&self.tensor)
    }

    fn __float__(&self, py: Python<'_>) -> Bind<f64> {
        warn_of_gradient(py, &self.tensor)?;
        Ok(single(&self.tensor)?.to_f64())
    }

    fn __int__<'py>(&self, py: Python<'py>) -> Bind<Bound<'py, PyAny>> {
        Ok(match single(&self.tensor)? {
            Scalar::Float(value) if value.is_nan() => {
                return Err(PyValueError::new_err("cannot convert float NaN to integer").into());
            }
            Scalar::Float(value) if value.is_infinite() => {
                return Err(
                    PyOverflowError::new_err("cannot convert float infinity to integer").into()
                );
            }
            Scalar::Float(value) => value.into_bound_py_any(py)?.call_method0("__int__")?,
            other => other.to_i64().into_bound_py_any(py)?,
        })
    }

    fn __index__(&self) -> Bind<i64> {
        if self.tensor.dtype().is_float() || self.tensor.numel() != 1 {
            return Err(PyTypeError::new_err(
                "only integer tensors of a single element can be converted to an index",
            )
            .into());
        }
        Ok(self.tensor.item()?.to_i64())
    }

    fn __complex__<'py>(&self, py: Python<'py>) -> Bind<Bound<'py, PyComplex>> {
        warn_of_gradient(py, &self.tensor)?;
        Ok(PyComplex::from_doubles(py, single(&self.tensor)?.to_f64(), 0.0))
    }

    fn __contains__(&self, element: &Bound<'_, PyAny>) -> Bind<bool> {
        let hits = if let Some(other) = convert::tensor(element) {
            self.tensor.detach().binary(Binary::Eq, other, 1.0)?
        } else if let Some(number) = convert::scalar(element)? {
            self.tensor.detach().binary_scalar(Binary::Eq, number, false)?
        } else {
            return Err(pyo3::exceptions::PyRuntimeError::new_err(format!(
                "Tensor.__contains__ only supports Tensor or scalar, but you passed in a {}.",
                element.get_type()
            ))
            .into());
        };
        Ok(hits.to_scalars()?.into_iter().any(|hit| hit.to_i64() != 0))
    }

    fn __hash__(slf: &Bound<'_, Self>) -> isize {
        slf.as_ptr() as isize
    }

    /// A NumPy array that shares the memory.
    #[pyo3(signature = (*, force = false))]
    fn numpy<'py>(&self, py: Python<'py>, force: bool) -> PyResult<Bound<'py, PyAny>> {
        interop::checked_array(py, &self.tensor, force)
    }

    #[pyo3(signature = (dtype = None, copy = None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let array = interop::checked_array(py, &self.tensor, false)?;
        if let Some(dtype) = dtype {
            let kwargs = pyo3::types::PyDict::new(py);
            kwargs.set_item("copy", copy.unwrap_or(false))?;
            return array.call_method("astype", (dtype,), Some(&kwargs));
        }
        if copy == Some(true) { array.call_method0("copy") } else { Ok(array) }
    }

    /// What NumPy's functions return, as a tensor.
    #[pyo3(signature = (array, context = None, return_scalar = false))]
    fn __array_wrap__<'py>(
        &self,
        array: &Bound<'py, PyAny>,
        context: Option<&Bound<'py, PyAny>>,
        return_scalar: bool,
    ) -> super::Out {
        let _ = (context, return_scalar);
        let tensor = interop::share_array(array)?;
        Ok(Wrapped(tensor))
    }

    // ---- what the tensor is

    /// The element type.
    #[getter]
    fn dtype<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDType>> {
        crate::dtype::object(py, self.tensor.dtype())
    }

    /// Where the tensor lives.
    #[getter]
    fn device<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDevice>> {
        Ok(crate::device::cpu(py)?.clone())
    }

    #[getter]
    fn is_cpu(&self) -> bool {
        true
    }

    #[getter]
    fn is_cuda(&self) -> bool {
        false
    }

    #[getter]
    fn is_sparse(&self) -> bool {
        false
    }

    #[getter]
    fn is_quantized(&self) -> bool {
        false
    }

    #[getter]
    fn is_meta(&self) -> bool {
        false
    }

    fn is_floating_point(&self) -> bool {
        self.tensor.dtype().is_float()
    }

    fn is_complex(&self) -> bool {
        false
    }

    fn is_signed(&self) -> bool {
        !matches!(self.tensor.dtype(), DType::Bool | DType::U8)
    }

    fn is_inference(&self) -> bool {
        self.tensor.is_inference()
    }

    /// The number of elements.
    fn numel(&self) -> usize {
        self.tensor.numel()
    }

    /// The number of elements.
    fn nelement(&self) -> usize {
        self.tensor.numel()
    }

    /// Bytes of one element.
    fn element_size(&self) -> usize {
        self.tensor.dtype().size()
    }

    /// Bytes of one element.
    #[getter]
    fn itemsize(&self) -> usize {
        self.tensor.dtype().size()
    }

    /// Bytes of all elements.
    #[getter]
    fn nbytes(&self) -> usize {
        self.tensor.numel() * self.tensor.dtype().size()
    }
}
