//! Conversions of dtype, and tensors made in the image of another.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "PyO3's expansion, which macro spans make look like ours"
)]

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use rustgrad_engine::{DType, Scalar, Tensor};

use super::{Out, PyTensor, Wrapped, run};
use crate::args::{DTypeArg, DeviceArg, FormatArg, LayoutArg, leaf, shape, size_list};
use crate::convert;
use crate::create::number;
use crate::data;
use crate::error::Bind;

/// A conversion; the tensor itself where nothing changes and no copy is asked for.
fn cast(py: Python<'_>, tensor: &Tensor, dtype: DType, copy: bool) -> Out {
    run(py, tensor, || {
        if copy && tensor.dtype() == dtype { tensor.copied() } else { tensor.to_dtype(dtype) }
    })
}

macro_rules! casts {
    ($($name:literal $method:ident => $dtype:ident;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = concat!("Converted to `", $name, "`.")]
                #[pyo3(name = $name, signature = (memory_format = None))]
                fn $method(&self, py: Python<'_>, memory_format: Option<FormatArg>) -> Out {
                    let _ = memory_format;
                    cast(py, &self.tensor, DType::$dtype, false)
                }
            )*
        }
    };
}

casts! {
    "float" to_float => F32;
    "double" to_double => F64;
    "long" to_long => I64;
    "int" to_int => I32;
    "short" to_short => I16;
    "char" to_char => I8;
    "byte" to_byte => U8;
    "bool" to_bool => Bool;
}

/// `torch.FloatTensor` and the like, and dtypes by name.
fn type_of(name: &str) -> PyResult<DType> {
    let short = name.rsplit('.').next().unwrap_or(name);
    for dtype in DType::ALL {
        if short == dtype.name() || short == format!("{}Tensor", dtype.scalar_name()) {
            return Ok(dtype);
        }
    }
    Err(pyo3::exceptions::PyValueError::new_err(format!("invalid type: '{name}'")))
}

#[pymethods]
impl PyTensor {
    /// Converted to a dtype, a device, or like another tensor.
    #[pyo3(signature = (*args, dtype = None, device = None, non_blocking = false, copy = false, memory_format = None))]
    fn to(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        dtype: Option<DTypeArg>,
        device: Option<DeviceArg>,
        non_blocking: bool,
        copy: bool,
        memory_format: Option<FormatArg>,
    ) -> Out {
        let _ = (device, non_blocking, memory_format);
        let mut dtype = dtype.map(|dtype| dtype.0);
        let mut copy = copy;
        let mut flags = 0;
        for arg in args {
            if let Some(other) = convert::tensor(&arg) {
                dtype = Some(other.dtype());
            } else if arg.is_instance_of::<pyo3::types::PyBool>() {
                flags += 1;
                copy = copy || (flags == 2 && arg.is_truthy()?);
            } else if arg.is_none() {
            } else if arg.is_instance_of::<PyString>()
                || arg.is_instance_of::<crate::device::PyDevice>()
            {
                arg.extract::<DeviceArg>()?;
            } else {
                dtype = Some(arg.extract::<DTypeArg>()?.0);
            }
        }
        cast(py, &self.tensor, dtype.unwrap_or(self.tensor.dtype()), copy)
    }

    /// The name of the type, or converted to another.
    #[pyo3(signature = (dtype = None, non_blocking = false))]
    fn r#type<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Bound<'py, PyAny>>,
        non_blocking: bool,
    ) -> Bind<Bound<'py, PyAny>> {
        let _ = non_blocking;
        let Some(wanted) = dtype else {
            let name = format!("torch.{}Tensor", self.tensor.dtype().scalar_name());
            return Ok(PyString::new(py, &name).into_any());
        };
        let dtype = match wanted.cast::<PyString>() {
            Ok(name) => type_of(name.to_str()?)?,
            Err(_) => match wanted.extract::<DTypeArg>() {
                Ok(dtype) => dtype.0,
                Err(error) => match wanted.getattr("__name__") {
                    Ok(name) => type_of(name.extract::<String>()?.as_str())?,
                    Err(_) => return Err(error.into()),
                },
            },
        };
        Ok(cast(py, &self.tensor, dtype, false)?.into_pyobject(py)?.into_any())
    }

    /// Converted to the dtype of another tensor.
    fn type_as(&self, py: Python<'_>, other: &Bound<'_, PyTensor>) -> Out {
        cast(py, &self.tensor, other.get().tensor.dtype(), false)
    }

    /// The tensor itself: it is on the CPU.
    #[pyo3(signature = (memory_format = None))]
    fn cpu(slf: Bound<'_, Self>, memory_format: Option<FormatArg>) -> Bound<'_, Self> {
        let _ = memory_format;
        slf
    }

    // ---- in the image of the tensor

    /// A tensor of this dtype from sizes or data.
    #[pyo3(name = "new", signature = (*args))]
    fn new_of_kind(&self, args: &Bound<'_, PyTuple>) -> Out {
        Ok(Wrapped(legacy(args, self.tensor.dtype())?))
    }

    /// A tensor of the data, with this tensor's dtype.
    #[pyo3(signature = (data, *, dtype = None, device = None, requires_grad = false))]
    fn new_tensor(
        &self,
        data: &Bound<'_, PyAny>,
        dtype: Option<DTypeArg>,
        device: Option<DeviceArg>,
        requires_grad: bool,
    ) -> Out {
        let _ = device;
        let dtype = dtype.map_or(self.tensor.dtype(), |dtype| dtype.0);
        if let Some(other) = convert::tensor(data) {
            let other = other.detach();
            return leaf(
                if other.dtype() == dtype { other.copied() } else { other.to_dtype(dtype) },
                requires_grad,
            );
        }
        leaf(Ok(data::read(data, Some(dtype))?), requires_grad)
    }

    /// One value everywhere, with this tensor's dtype.
    #[pyo3(signature = (size, fill_value, *, dtype = None, device = None, requires_grad = false, layout = None, pin_memory = false))]
    fn new_full(
        &self,
        size: &Bound<'_, PyAny>,
        fill_value: &Bound<'_, PyAny>,
        dtype: Option<DTypeArg>,
        device: Option<DeviceArg>,
        requires_grad: bool,
        layout: Option<LayoutArg>,
        pin_memory: bool,
    ) -> Out {
        let _ = (device, layout, pin_memory);
        let dtype = dtype.map_or(self.tensor.dtype(), |dtype| dtype.0);
        let sizes = rustgrad_engine::shape::from_sizes(&size_list(size)?)?;
        leaf(Tensor::full(&sizes, number(fill_value)?, dtype), requires_grad)
    }
}

macro_rules! images {
    ($($new:ident, $like:ident => |$sizes:ident, $dtype:ident| $make:expr, $value:expr;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = concat!("See torch.Tensor.", stringify!($new), ".")]
                #[pyo3(signature = (*args, size = None, dtype = None, device = None, requires_grad = false, layout = None, pin_memory = false))]
                fn $new(
                    &self,
                    args: &Bound<'_, PyTuple>,
                    size: Option<&Bound<'_, PyAny>>,
                    dtype: Option<DTypeArg>,
                    device: Option<DeviceArg>,
                    requires_grad: bool,
                    layout: Option<LayoutArg>,
                    pin_memory: bool,
                ) -> Out {
                    let _ = (device, layout, pin_memory);
                    let ($sizes, $dtype) =
                        (&shape(args, size)?, dtype.map_or(self.tensor.dtype(), |dtype| dtype.0));
                    leaf($make, requires_grad)
                }
            )*
        }

        $(
            #[doc = concat!("See torch.", stringify!($like), ".")]
            #[pyfunction]
            #[pyo3(signature = (input, *, dtype = None, layout = None, device = None, pin_memory = false, requires_grad = false, memory_format = None))]
            fn $like(
                input: &Bound<'_, PyTensor>,
                dtype: Option<DTypeArg>,
                layout: Option<LayoutArg>,
                device: Option<DeviceArg>,
                pin_memory: bool,
                requires_grad: bool,
                memory_format: Option<FormatArg>,
            ) -> Out {
                let _ = (layout, device, pin_memory, memory_format);
                leaf(like(&input.get().tensor, dtype, $value), requires_grad)
            }
        )*
    };
}

/// A tensor in the layout of another, filled if there is a value.
fn like(
    input: &Tensor,
    dtype: Option<DTypeArg>,
    value: Option<Scalar>,
) -> rustgrad_engine::Result<Tensor> {
    let tensor = Tensor::empty_like(input, dtype.map_or(input.dtype(), |dtype| dtype.0))?;
    if let Some(value) = value {
        tensor.fill_(value)?;
        // Nobody has seen the tensor before.
        return Ok(Tensor::from_shared(tensor.shared_core()));
    }
    Ok(tensor)
}

images! {
    new_zeros, zeros_like => |sizes, dtype| Tensor::zeros(sizes, dtype), Some(Scalar::Int(0));
    new_ones, ones_like => |sizes, dtype| Tensor::ones(sizes, dtype), Some(Scalar::Int(1));
    new_empty, empty_like => |sizes, dtype| Tensor::empty(sizes, dtype), None;
}

/// One value in the layout of a tensor.
#[pyfunction]
#[pyo3(signature = (input, fill_value, *, dtype = None, layout = None, device = None, pin_memory = false, requires_grad = false, memory_format = None))]
fn full_like(
    input: &Bound<'_, PyTensor>,
    fill_value: &Bound<'_, PyAny>,
    dtype: Option<DTypeArg>,
    layout: Option<LayoutArg>,
    device: Option<DeviceArg>,
    pin_memory: bool,
    requires_grad: bool,
    memory_format: Option<FormatArg>,
) -> Out {
    let _ = (layout, device, pin_memory, memory_format);
    let value = number(fill_value)?;
    leaf(like(&input.get().tensor, dtype, Some(value)), requires_grad)
}

/// A tensor of a fixed dtype from sizes or data.
pub(crate) fn legacy(args: &Bound<'_, PyTuple>, dtype: DType) -> Bind<Tensor> {
    if args.len() == 1 {
        let only = args.get_item(0)?;
        if let Some(tensor) = convert::tensor(&only) {
            if tensor.dtype() != dtype {
                return Err(PyTypeError::new_err(format!(
                    "expected {dtype} (got {})",
                    tensor.dtype()
                ))
                .into());
            }
            return Ok(tensor.detach());
        }
        if only.hasattr("__iter__")? && !is_size(&only)? {
            return data::read(&only, Some(dtype));
        }
    }
    if args.is_empty() {
        return Ok(Tensor::empty(&[0], dtype)?);
    }
    Ok(Tensor::empty(&shape(args, None)?, dtype)?)
}

fn is_size(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(value.is_instance_of::<PyTuple>() && value.get_type().name()?.to_str()? == "Size")
}

/// A tensor of a dtype from sizes or data, as torch's constructors make them.
#[pyfunction]
#[pyo3(signature = (dtype, *args))]
fn _legacy_tensor(dtype: DTypeArg, args: &Bound<'_, PyTuple>) -> Out {
    Ok(Wrapped(legacy(args, dtype.0)?))
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(_legacy_tensor, module)?)?;
    module.add_function(wrap_pyfunction!(zeros_like, module)?)?;
    module.add_function(wrap_pyfunction!(ones_like, module)?)?;
    module.add_function(wrap_pyfunction!(empty_like, module)?)?;
    module.add_function(wrap_pyfunction!(full_like, module)?)
}

#[pymethods]
impl PyTensor {
    /// A float tensor from sizes or data.
    #[new]
    #[pyo3(signature = (*args))]
    fn new(args: &Bound<'_, PyTuple>) -> Bind<Self> {
        if let Some(tensor) = super::PENDING.take() {
            return Ok(Self { tensor });
        }
        Ok(Self { tensor: legacy(args, rustgrad_engine::default_dtype())? })
    }

    /// The data of a tensor as an object of a subclass.
    #[staticmethod]
    #[pyo3(signature = (cls, data, require_grad = false))]
    fn _make_subclass<'py>(
        cls: &Bound<'py, pyo3::types::PyType>,
        data: &Bound<'py, Self>,
        require_grad: bool,
    ) -> Bind<Bound<'py, PyAny>> {
        super::make_subclass(cls, data.get().tensor.detach(), require_grad)
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __init__(
        slf: &Bound<'_, Self>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, pyo3::types::PyDict>>,
    ) {
        let _ = (args, kwargs);
        super::adopt(slf);
    }
}
