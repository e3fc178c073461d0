//! Python data as elements: numbers, nested sequences, tensors and arrays inside them.

use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyComplex, PyFloat, PyInt, PyList, PySequence, PyString, PyTuple};
use rustgrad_engine::{DType, Scalar, Tensor, default_dtype};

use crate::args::class_name;
use crate::convert;
use crate::error::Bind;
use crate::interop;

/// Deeper nesting than this is refused, as in torch.
const MAX_DIMS: usize = 64;

/// Elements found so far.
struct Reader {
    shape: Vec<usize>,
    values: Vec<Scalar>,
    dtype: Option<DType>,
    /// The dtype asked for, if any.
    want: Option<DType>,
}

/// A tensor of what Python data holds.
pub(crate) fn read(data: &Bound<'_, PyAny>, want: Option<DType>) -> Bind<Tensor> {
    // What cannot be an array is not asked for an array's attributes: each no costs an exception.
    let plain = data.is_exact_instance_of::<PyList>()
        || data.is_exact_instance_of::<PyFloat>()
        || data.is_exact_instance_of::<PyInt>();
    if !plain && let Some(tensor) = interop::read_array(data)? {
        return Ok(match want {
            Some(dtype) => tensor.to_dtype(dtype)?,
            None => tensor,
        });
    }
    let mut reader = Reader { shape: Vec::new(), values: Vec::new(), dtype: None, want };
    reader.measure(data)?;
    if !reader.shape.contains(&0) {
        reader.values.reserve(reader.shape.iter().product());
    }
    reader.collect(data, 0)?;
    let dtype = want.or(reader.dtype).unwrap_or_else(default_dtype);
    for value in &reader.values {
        fits(*value, dtype)?;
    }
    Ok(Tensor::from_scalars(&reader.values, &reader.shape, dtype)?)
}

/// Refuses what the dtype cannot hold.
pub(crate) fn fits(value: Scalar, dtype: DType) -> PyResult<()> {
    let limits = match dtype {
        DType::U8 => (-255.0, 255.0, "uint8_t"),
        DType::I8 => (-128.0, 127.0, "int8_t"),
        DType::I16 => (-32768.0, 32767.0, "int16_t"),
        DType::I32 => (-2147483648.0, 2147483647.0, "int"),
        DType::I64 => (-9223372036854775808.0, 9223372036854775807.0, "int64_t"),
        _ => return Ok(()),
    };
    let fine = match value {
        Scalar::Bool(_) => true,
        Scalar::Int(_) if dtype == DType::I64 => true,
        value => (limits.0..=limits.1).contains(&value.to_f64().trunc()),
    };
    if fine {
        return Ok(());
    }
    Err(PyRuntimeError::new_err(format!(
        "value cannot be converted to type {} without overflow",
        limits.2
    )))
}

/// The items of a sequence that counts as a dimension.
fn sequence<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        return Ok(Some(value.clone()));
    }
    if value.is_instance_of::<PyFloat>()
        || value.is_instance_of::<PyInt>()
        || value.is_instance_of::<PyString>()
        || convert::tensor(value).is_some()
    {
        return Ok(None);
    }
    if interop::is_array(value)? {
        let list = value.call_method0("tolist")?;
        return Ok(list.is_instance_of::<PyList>().then_some(list));
    }
    let sequence = value.cast::<PySequence>().is_ok()
        || (value.hasattr("__len__")?
            && value.hasattr("__getitem__")?
            && !value.hasattr("keys")?);
    Ok(if sequence {
        Some(value.try_iter()?.collect::<PyResult<Vec<_>>>()?.into_pyobject(value.py())?)
    } else {
        None
    })
}

impl Reader {
    /// The shape, by first items.
    fn measure(&mut self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut current = data.clone();
        while let Some(items) = sequence(&current)? {
            let n = items.len()?;
            self.shape.push(n);
            if self.shape.len() > MAX_DIMS {
                return Err(PyValueError::new_err(format!(
                    "too many dimensions '{}'",
                    class_name(data)?
                )));
            }
            if n == 0 {
                break;
            }
            current = items.get_item(0)?;
        }
        Ok(())
    }

    fn collect(&mut self, value: &Bound<'_, PyAny>, dim: usize) -> Bind<()> {
        let Some(&expected) = self.shape.get(dim) else { return self.leaf(value) };
        let Some(items) = sequence(value)? else {
            // The kind of the value is looked at before its place.
            self.kind(value)?;
            return Err(PyTypeError::new_err("not a sequence").into());
        };
        let n = items.len()?;
        if n != expected {
            return Err(PyValueError::new_err(format!(
                "expected sequence of length {expected} at dim {dim} (got {n})"
            ))
            .into());
        }
        if n > 0 && interop::is_array(value)? {
            let dtype = interop::array_dtype(value)?;
            let known = self.dtype;
            for item in items.try_iter()? {
                self.collect(&item?, dim + 1)?;
            }
            self.dtype = known;
            self.meet(dtype);
            return Ok(());
        }
        if let Ok(list) = items.cast::<PyList>() {
            for item in list {
                self.collect(&item, dim + 1)?;
            }
        } else {
            for item in items.try_iter()? {
                self.collect(&item?, dim + 1)?;
            }
        }
        if n == 0 {
            self.meet(default_dtype());
        }
        Ok(())
    }

    fn meet(&mut self, dtype: DType) {
        self.dtype = Some(self.dtype.map_or(dtype, |have| have.promote(dtype)));
    }

    /// The dtype of one element, or why it is none.
    fn kind(&self, value: &Bound<'_, PyAny>) -> PyResult<DType> {
        if value.is_instance_of::<PyFloat>() && !interop::is_array_scalar(value)? {
            return Ok(default_dtype());
        }
        if value.is_instance_of::<PyBool>() {
            return Ok(DType::Bool);
        }
        if value.is_instance_of::<PyInt>() {
            return Ok(DType::I64);
        }
        if let Some(tensor) = convert::tensor(value) {
            return Ok(tensor.dtype());
        }
        if value.is_instance_of::<PyComplex>() {
            return Err(PyTypeError::new_err("complex numbers are not supported"));
        }
        if value.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err("new(): invalid data type 'str'"));
        }
        if interop::is_array(value)? || interop::is_array_scalar(value)? {
            return interop::array_dtype(value).map(|dtype| {
                if dtype.is_int() && !interop::is_array(value).unwrap_or(true) {
                    DType::I64
                } else {
                    dtype
                }
            });
        }
        if sequence(value)?.is_some() {
            return match self.want {
                Some(dtype) if dtype.is_float() => Err(PyTypeError::new_err(format!(
                    "must be real number, not {}",
                    class_name(value)?
                ))),
                _ => Err(PyTypeError::new_err(format!(
                    "'{}' object cannot be interpreted as an integer",
                    class_name(value)?
                ))),
            };
        }
        Err(PyRuntimeError::new_err(format!("Could not infer dtype of {}", class_name(value)?)))
    }

    fn leaf(&mut self, value: &Bound<'_, PyAny>) -> Bind<()> {
        if value.is_exact_instance_of::<PyFloat>() {
            self.values.push(Scalar::Float(value.extract()?));
            if self.dtype != Some(DType::F64) {
                self.meet(default_dtype());
            }
            return Ok(());
        }
        let dtype = self.kind(value)?;
        self.meet(dtype);
        if let Some(tensor) = convert::tensor(value) {
            if tensor.numel() != 1 {
                return Err(PyValueError::new_err(
                    "only one element tensors can be converted to Python scalars",
                )
                .into());
            }
            self.values.push(tensor.item()?);
            return Ok(());
        }
        let number = convert::scalar(value).map_err(|error| {
            if error.is_instance_of::<PyOverflowError>(value.py()) {
                if self.want.is_some_and(DType::is_float) {
                    return match value.extract::<f64>() {
                        Ok(_) => PyValueError::new_err("Overflow when unpacking long long"),
                        Err(error) => error,
                    };
                }
                return PyValueError::new_err("Overflow when unpacking long long");
            }
            error
        });
        let number = match number {
            // An integer too large for 64 bits is still a float.
            Err(_) if self.want.is_some_and(DType::is_float) => {
                Some(Scalar::Float(value.extract()?))
            }
            number => number?,
        };
        match number {
            Some(number) => self.values.push(number),
            None => self.values.push(Scalar::Float(value.extract()?)),
        }
        Ok(())
    }
}
