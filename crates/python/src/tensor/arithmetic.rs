//! Operators: tensors with tensors and with numbers.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "PyO3's expansion, which macro spans make look like ours"
)]

use pyo3::prelude::*;
use rustgrad_engine::Tensor;
use rustgrad_engine::ops::binary::Binary;

use super::{Out, PyTensor, Wrapped, out};
use crate::convert;
use crate::error::Bind;

/// The result of an operator: `NotImplemented` lets Python ask the other operand.
pub(crate) enum Operated {
    /// A tensor.
    Done(Wrapped),
    /// Not our operand.
    Other,
}

impl<'py> IntoPyObject<'py> for Operated {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;
    #[inline]
    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        match self {
            Self::Done(tensor) => Ok(tensor.into_pyobject(py)?.into_any()),
            Self::Other => Ok(py.NotImplemented().into_bound(py)),
        }
    }
}

/// `this kind other`, or with the operands exchanged.
#[inline]
pub(crate) fn operate(
    this: &Tensor,
    kind: Binary,
    other: &Bound<'_, PyAny>,
    reversed: bool,
) -> Bind<Operated> {
    if let Some(other_tensor) = convert::tensor(other) {
        let (a, b) = if reversed { (other_tensor, this) } else { (this, other_tensor) };
        let bytes = a.byte_hint().max(b.byte_hint());
        let result = crate::gil::detached(other.py(), bytes, || a.binary(kind, b, 1.0))?;
        return Ok(Operated::Done(Wrapped(result)));
    }
    match convert::scalar(other)? {
        Some(number) => {
            let result = crate::gil::detached(other.py(), this.byte_hint(), || {
                this.binary_scalar(kind, number, reversed)
            })?;
            Ok(Operated::Done(Wrapped(result)))
        }
        None => Ok(Operated::Other),
    }
}

/// `this kind= other`. A number keeps its precision, whatever the default dtype.
fn operate_in_place(
    this: &Tensor,
    kind: Binary,
    name: &'static str,
    other: &Bound<'_, PyAny>,
) -> Bind<()> {
    if convert::tensor(other).is_none() {
        if let Some(number) = convert::scalar(other)? {
            return Ok(this.scalar_in_place(name, kind, number)?);
        }
    }
    if crate::standins::is_one(other) {
        let target = Wrapped(this.clone()).into_pyobject(other.py())?.into_any();
        let args = pyo3::types::PyTuple::new(other.py(), [&target, other])?;
        if let Some(answer) = crate::standins::ask("__iop__", &args, None) {
            answer?;
            return Ok(());
        }
    }
    let other = convert::tensor_or_number(other)?;
    Ok(this.apply_in_place(name, kind, &[&other], 1.0)?)
}

macro_rules! operators {
    ($($forward:ident, $backward:ident, $inplace:ident => $kind:ident;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                fn $forward(&self, other: &Bound<'_, PyAny>) -> Bind<Operated> {
                    operate(&self.tensor, Binary::$kind, other, false)
                }
                fn $backward(&self, other: &Bound<'_, PyAny>) -> Bind<Operated> {
                    operate(&self.tensor, Binary::$kind, other, true)
                }
                fn $inplace(&self, other: &Bound<'_, PyAny>) -> Bind<()> {
                    operate_in_place(&self.tensor, Binary::$kind, Binary::$kind.name(), other)
                }
            )*
        }
    };
}

operators! {
    __add__, __radd__, __iadd__ => Add;
    __sub__, __rsub__, __isub__ => Sub;
    __mul__, __rmul__, __imul__ => Mul;
    __truediv__, __rtruediv__, __itruediv__ => Div;
    __floordiv__, __rfloordiv__, __ifloordiv__ => FloorDivide;
    __mod__, __rmod__, __imod__ => Remainder;
    __and__, __rand__, __iand__ => BitwiseAnd;
    __or__, __ror__, __ior__ => BitwiseOr;
    __xor__, __rxor__, __ixor__ => BitwiseXor;
    __lshift__, __rlshift__, __ilshift__ => LeftShift;
    __rshift__, __rrshift__, __irshift__ => RightShift;
}

#[pymethods]
impl PyTensor {
    fn __pow__(&self, other: &Bound<'_, PyAny>, modulo: &Bound<'_, PyAny>) -> Bind<Operated> {
        if !modulo.is_none() {
            return Ok(Operated::Other);
        }
        operate(&self.tensor, Binary::Pow, other, false)
    }
    fn __rpow__(&self, other: &Bound<'_, PyAny>, _modulo: &Bound<'_, PyAny>) -> Bind<Operated> {
        operate(&self.tensor, Binary::Pow, other, true)
    }
    fn __ipow__(&self, other: &Bound<'_, PyAny>, _modulo: &Bound<'_, PyAny>) -> Bind<()> {
        operate_in_place(&self.tensor, Binary::Pow, "pow_", other)
    }
    fn __matmul__(&self, other: &Bound<'_, PyAny>) -> Bind<Operated> {
        match convert::tensor(other) {
            Some(other_tensor) => {
                let bytes = self.tensor.byte_hint().max(other_tensor.byte_hint()) * 16;
                let result =
                    crate::gil::detached(other.py(), bytes, || self.tensor.matmul(other_tensor))?;
                Ok(Operated::Done(Wrapped(result)))
            }
            None => Ok(Operated::Other),
        }
    }
    fn __reversed__(&self) -> Out {
        if self.tensor.ndim() == 0 {
            return Ok(Wrapped(self.tensor.clone()));
        }
        out(self.tensor.flip(&[0]))
    }
    fn __neg__(&self) -> Out {
        out(self.tensor.unary(rustgrad_engine::ops::unary::Unary::Neg, [0.0; 2]))
    }
    fn __abs__(&self) -> Out {
        out(self.tensor.unary(rustgrad_engine::ops::unary::Unary::Abs, [0.0; 2]))
    }
    fn __invert__(&self) -> Out {
        if self.tensor.dtype().is_float() {
            return Err(pyo3::exceptions::PyTypeError::new_err(
                "~ (operator.invert) is only implemented on integer and Boolean-type tensors",
            )
            .into());
        }
        out(self.tensor.unary(rustgrad_engine::ops::unary::Unary::BitwiseNot, [0.0; 2]))
    }
    fn __pos__(slf: Bound<'_, Self>) -> Bind<Bound<'_, Self>> {
        if slf.get().tensor.dtype() == rustgrad_engine::DType::Bool {
            return Err(pyo3::exceptions::PyNotImplementedError::new_err(
                "The `+` operator, on a bool tensor is not supported.",
            )
            .into());
        }
        Ok(slf)
    }

    fn __richcmp__(&self, other: &Bound<'_, PyAny>, op: pyo3::basic::CompareOp) -> Bind<Operated> {
        use pyo3::basic::CompareOp;
        let kind = match op {
            CompareOp::Eq => Binary::Eq,
            CompareOp::Ne => Binary::Ne,
            CompareOp::Lt => Binary::Lt,
            CompareOp::Le => Binary::Le,
            CompareOp::Gt => Binary::Gt,
            CompareOp::Ge => Binary::Ge,
        };
        let made = operate(&self.tensor, kind, other, false)?;
        // NumPy leaves (in)equality to us, and Python would then compare identities.
        if matches!((&made, op), (Operated::Other, CompareOp::Eq | CompareOp::Ne))
            && other.hasattr("__array_interface__")?
        {
            let other = other.py().import("rustgrad")?.call_method1("as_tensor", (other,))?;
            return operate(&self.tensor, kind, &other, false);
        }
        Ok(made)
    }
}
