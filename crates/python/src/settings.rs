//! Settings of the process, and questions about dtypes.

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rustgrad_engine::ops::binary::Binary;
use rustgrad_engine::ops::unary::Unary;
use rustgrad_engine::{DType, Scalar, Tensor};

use crate::args::{DTypeArg, class_name};
use crate::convert;
use crate::dtype::PyDType;
use crate::error::Bind;
use crate::tensor::{Out, PyTensor, Wrapped};

/// The number of threads operations use.
#[pyfunction]
fn get_num_threads() -> usize {
    rustgrad_engine::parallel::threads()
}

/// Sets the number of threads operations use.
#[pyfunction]
fn set_num_threads(num: i64) -> PyResult<()> {
    if num <= 0 {
        return Err(PyRuntimeError::new_err("set_num_threads expects a positive integer"));
    }
    rustgrad_engine::parallel::set_threads(num as usize);
    Ok(())
}

/// The dtype of tensors made from Python floats.
#[pyfunction]
fn get_default_dtype(py: Python<'_>) -> PyResult<Bound<'_, PyDType>> {
    crate::dtype::object(py, rustgrad_engine::default_dtype())
}

/// Sets the dtype of tensors made from Python floats.
#[pyfunction]
fn set_default_dtype(d: DTypeArg) -> Bind<()> {
    Ok(rustgrad_engine::set_default_dtype(d.0)?)
}

/// What the buffers of tensors take: bytes of those above 64 KiB that are in use (`live_bytes`, and
/// the most so far, `peak_bytes`) and that are kept for reuse (`cached_bytes`), and how often a buffer
/// of any size was asked of the system so far (`allocations`), which a loop that repeats itself does
/// not do after its first rounds.
#[pyfunction]
fn memory_stats(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let stats = rustgrad_engine::storage::stats();
    let entries = [
        ("live_bytes", stats.live),
        ("peak_bytes", stats.peak),
        ("cached_bytes", stats.cached),
        ("allocations", stats.fresh),
    ];
    let dict = PyDict::new(py);
    for (name, value) in entries {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}

/// Whether torch's casting rules allow a conversion.
#[pyfunction]
#[pyo3(signature = (from_, to))]
fn can_cast(from_: DTypeArg, to: DTypeArg) -> bool {
    let (from, to) = (from_.0, to.0);
    from.category() <= to.category()
}

/// The dtype of the sum of two dtypes.
#[pyfunction]
#[pyo3(signature = (type1, type2))]
fn promote_types(py: Python<'_>, type1: DTypeArg, type2: DTypeArg) -> PyResult<Bound<'_, PyDType>> {
    crate::dtype::object(py, type1.0.promote(type2.0))
}

/// The dtype of the sum of two tensors or numbers.
#[pyfunction]
#[pyo3(signature = (tensor1, tensor2))]
fn result_type<'py>(
    py: Python<'py>,
    tensor1: &Bound<'py, PyAny>,
    tensor2: &Bound<'py, PyAny>,
) -> Bind<Bound<'py, PyDType>> {
    let (a, b) = (convert::tensor_or_number(tensor1)?, convert::tensor_or_number(tensor2)?);
    Ok(crate::dtype::object(py, Tensor::result_type(&a, &b))?)
}

/// Limits of a floating dtype.
#[pyclass(frozen, name = "finfo", module = "rustgrad")]
struct FloatInfo {
    dtype: DType,
}

#[pymethods]
impl FloatInfo {
    #[new]
    #[pyo3(signature = (r#type = None))]
    fn new(r#type: Option<DTypeArg>) -> PyResult<Self> {
        let dtype = r#type.map_or_else(rustgrad_engine::default_dtype, |dtype| dtype.0);
        if !dtype.is_float() {
            return Err(PyTypeError::new_err(format!(
                "torch.finfo() requires a floating point input type. Use torch.iinfo to handle '{}'",
                dtype.name()
            )));
        }
        Ok(Self { dtype })
    }
    #[getter]
    fn bits(&self) -> usize {
        self.dtype.size() * 8
    }
    #[getter]
    fn eps(&self) -> f64 {
        if self.dtype == DType::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON }
    }
    #[getter]
    fn max(&self) -> f64 {
        if self.dtype == DType::F32 { f64::from(f32::MAX) } else { f64::MAX }
    }
    #[getter]
    fn min(&self) -> f64 {
        -self.max()
    }
    #[getter]
    fn tiny(&self) -> f64 {
        if self.dtype == DType::F32 { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE }
    }
    #[getter]
    fn smallest_normal(&self) -> f64 {
        self.tiny()
    }
    #[getter]
    fn resolution(&self) -> f64 {
        if self.dtype == DType::F32 { 1e-6 } else { 1e-15 }
    }
    #[getter]
    fn dtype(&self) -> &'static str {
        self.dtype.name()
    }
    fn __eq__(&self, other: &Self) -> bool {
        self.dtype == other.dtype
    }
    fn __hash__(&self) -> u64 {
        self.dtype as u64
    }
    fn __repr__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let parts = (
            self.resolution(),
            self.min(),
            self.max(),
            self.eps(),
            self.smallest_normal(),
            self.tiny(),
            self.dtype(),
        );
        let form =
            "finfo(resolution=%g, min=%g, max=%g, eps=%g, smallest_normal=%g, tiny=%g, dtype=%s)";
        pyo3::types::PyString::new(py, form).rem(parts)
    }
}

/// Limits of an integer dtype.
#[pyclass(frozen, name = "iinfo", module = "rustgrad")]
struct IntInfo {
    dtype: DType,
}

#[pymethods]
impl IntInfo {
    #[new]
    #[pyo3(signature = (r#type))]
    fn new(r#type: DTypeArg) -> PyResult<Self> {
        if !r#type.0.is_int() {
            return Err(PyTypeError::new_err(format!(
                "torch.iinfo() requires an integer input type. Use torch.finfo to handle '{}'",
                r#type.0.name()
            )));
        }
        Ok(Self { dtype: r#type.0 })
    }
    #[getter]
    fn bits(&self) -> usize {
        self.dtype.size() * 8
    }
    #[getter]
    fn max(&self) -> i64 {
        match self.dtype {
            DType::U8 => 255,
            DType::I8 => i64::from(i8::MAX),
            DType::I16 => i64::from(i16::MAX),
            DType::I32 => i64::from(i32::MAX),
            _ => i64::MAX,
        }
    }
    #[getter]
    fn min(&self) -> i64 {
        if self.dtype == DType::U8 { 0 } else { -self.max() - 1 }
    }
    #[getter]
    fn dtype(&self) -> &'static str {
        self.dtype.name()
    }
    fn __eq__(&self, other: &Self) -> bool {
        self.dtype == other.dtype
    }
    fn __hash__(&self) -> u64 {
        self.dtype as u64
    }
    fn __repr__(&self) -> String {
        format!("iinfo(min={}, max={}, dtype={})", self.min(), self.max(), self.dtype())
    }
}

// ---- comparisons of whole tensors

fn isclose_of(
    a: &Tensor,
    b: &Tensor,
    rtol: f64,
    atol: f64,
    equal_nan: bool,
) -> rustgrad_engine::Result<Tensor> {
    if a.dtype() != b.dtype() {
        return Err(rustgrad_engine::Error::runtime(format!(
            "{} did not match {}",
            a.dtype().scalar_name(),
            b.dtype().scalar_name()
        )));
    }
    if rtol < 0.0 || atol < 0.0 {
        return Err(rustgrad_engine::Error::runtime(format!(
            "rtol and atol must be greater than or equal to zero, but got {rtol} and {atol}"
        )));
    }
    let (a, b) = (a.detach(), b.detach());
    let mut close = a.eq(&b)?;
    let float = a.dtype().is_float();
    if float && equal_nan {
        let both = a.unary(Unary::IsNan, [0.0; 2])?.binary(
            Binary::LogicalAnd,
            &b.unary(Unary::IsNan, [0.0; 2])?,
            1.0,
        )?;
        close = close.binary(Binary::LogicalOr, &both, 1.0)?;
    }
    if rtol == 0.0 && atol == 0.0 {
        return Ok(close);
    }
    let (a, b) = if float { (a, b) } else { (a.to_dtype(DType::F64)?, b.to_dtype(DType::F64)?) };
    let allowed = b
        .binary_scalar(Binary::Mul, Scalar::Float(rtol), false)?
        .unary(Unary::Abs, [0.0; 2])?
        .binary_scalar(Binary::Add, Scalar::Float(atol), false)?;
    let error = a.sub(&b)?.unary(Unary::Abs, [0.0; 2])?;
    let near = error.binary(Binary::Le, &allowed, 1.0)?;
    let finite = error.unary(Unary::IsFinite, [0.0; 2])?;
    close.binary(Binary::LogicalOr, &near.binary(Binary::LogicalAnd, &finite, 1.0)?, 1.0)
}

fn allclose_of(a: &Tensor, b: &Tensor, rtol: f64, atol: f64, equal_nan: bool) -> Bind<bool> {
    let close = isclose_of(a, b, rtol, atol, equal_nan)?;
    Ok(close.all_or_any(false, &[], false)?.item()?.to_i64() != 0)
}

#[pymethods]
impl PyTensor {
    /// Whether two tensors have the same shape and elements.
    fn equal(&self, other: &Bound<'_, PyTensor>) -> Bind<bool> {
        Ok(self.tensor.equal(&other.get().tensor)?)
    }

    /// Whether elements are close.
    #[pyo3(signature = (other, rtol = 1e-5, atol = 1e-8, equal_nan = false))]
    fn isclose(&self, other: &Bound<'_, PyTensor>, rtol: f64, atol: f64, equal_nan: bool) -> Out {
        Ok(Wrapped(isclose_of(&self.tensor, &other.get().tensor, rtol, atol, equal_nan)?))
    }

    /// Whether all elements are close.
    #[pyo3(signature = (other, rtol = 1e-5, atol = 1e-8, equal_nan = false))]
    fn allclose(
        &self,
        other: &Bound<'_, PyTensor>,
        rtol: f64,
        atol: f64,
        equal_nan: bool,
    ) -> Bind<bool> {
        allclose_of(&self.tensor, &other.get().tensor, rtol, atol, equal_nan)
    }
}

/// Whether two tensors have the same shape and elements.
#[pyfunction]
fn equal(input: &Bound<'_, PyTensor>, other: &Bound<'_, PyTensor>) -> Bind<bool> {
    input.get().equal(other)
}

/// Whether elements are close.
#[pyfunction]
#[pyo3(signature = (input, other, rtol = 1e-5, atol = 1e-8, equal_nan = false))]
fn isclose(
    input: &Bound<'_, PyTensor>,
    other: &Bound<'_, PyTensor>,
    rtol: f64,
    atol: f64,
    equal_nan: bool,
) -> Out {
    input.get().isclose(other, rtol, atol, equal_nan)
}

/// Whether all elements are close.
#[pyfunction]
#[pyo3(signature = (input, other, rtol = 1e-5, atol = 1e-8, equal_nan = false))]
fn allclose(
    input: &Bound<'_, PyTensor>,
    other: &Bound<'_, PyTensor>,
    rtol: f64,
    atol: f64,
    equal_nan: bool,
) -> Bind<bool> {
    input.get().allclose(other, rtol, atol, equal_nan)
}

/// The number of elements.
#[pyfunction]
fn numel(input: &Bound<'_, PyTensor>) -> usize {
    input.get().tensor.numel()
}

/// Whether the dtype is floating point.
#[pyfunction]
fn is_floating_point(input: &Bound<'_, PyTensor>) -> bool {
    input.get().tensor.dtype().is_float()
}

/// Whether the dtype is complex; none is.
#[pyfunction]
fn is_complex(input: &Bound<'_, PyTensor>) -> bool {
    let _ = input;
    false
}

/// Whether the only element is not zero.
#[pyfunction]
fn is_nonzero(input: &Bound<'_, PyAny>) -> PyResult<bool> {
    if convert::tensor(input).is_none() {
        return Err(PyTypeError::new_err(format!(
            "is_nonzero(): argument 'input' must be Tensor, not {}",
            class_name(input)?
        )));
    }
    input.is_truthy()
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<FloatInfo>()?;
    module.add_class::<IntInfo>()?;
    module.add("pi", std::f64::consts::PI)?;
    module.add("e", std::f64::consts::E)?;
    module.add("inf", f64::INFINITY)?;
    module.add("nan", f64::NAN)?;
    module.add_function(wrap_pyfunction!(get_num_threads, module)?)?;
    module.add_function(wrap_pyfunction!(set_num_threads, module)?)?;
    module.add_function(wrap_pyfunction!(memory_stats, module)?)?;
    module.add_function(wrap_pyfunction!(get_default_dtype, module)?)?;
    module.add_function(wrap_pyfunction!(set_default_dtype, module)?)?;
    module.add_function(wrap_pyfunction!(can_cast, module)?)?;
    module.add_function(wrap_pyfunction!(promote_types, module)?)?;
    module.add_function(wrap_pyfunction!(result_type, module)?)?;
    module.add_function(wrap_pyfunction!(equal, module)?)?;
    module.add_function(wrap_pyfunction!(isclose, module)?)?;
    module.add_function(wrap_pyfunction!(allclose, module)?)?;
    module.add_function(wrap_pyfunction!(numel, module)?)?;
    module.add_function(wrap_pyfunction!(is_floating_point, module)?)?;
    module.add_function(wrap_pyfunction!(is_complex, module)?)?;
    module.add_function(wrap_pyfunction!(is_nonzero, module)?)
}
