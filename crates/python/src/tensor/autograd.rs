//! Autograd state of a tensor, and its hooks.

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;

use super::{Out, PyTensor, Wrapped, out};
use crate::convert;
use crate::dtype::PyDType;
use crate::error::Bind;

/// While derivatives are carried forward: whether a tensor requires a gradient apart from them.
#[cold]
fn shown_while_forward(tensor: &Bound<'_, PyTensor>) -> Bind<bool> {
    let module = tensor.py().import("rustgrad.autograd.forward_ad")?;
    Ok(module.call_method1("_asks_grad", (tensor,))?.is_truthy()?)
}

/// The node that made a tensor, or None.
fn node_of(tensor: &rustgrad_engine::Tensor, py: Python<'_>) -> Bind<Option<Py<PyAny>>> {
    match tensor.try_grad_fn()? {
        None => Ok(None),
        Some((node, _)) => Ok(Some(crate::node::node_object(py, node)?)),
    }
}

#[pymethods]
impl PyTensor {
    /// Whether operations on the tensor are recorded.
    #[getter]
    fn requires_grad(slf: &Bound<'_, Self>) -> Bind<bool> {
        let asks = slf.get().tensor.requires_grad();
        if asks && rustgrad_engine::graph::is_forward() {
            return shown_while_forward(slf);
        }
        Ok(asks)
    }

    /// [`Self::requires_grad`] as it is, also for values that only carry a derivative forward.
    #[getter]
    fn _asks_grad(&self) -> bool {
        self.tensor.requires_grad()
    }

    #[setter]
    fn set_requires_grad(&self, on: &Bound<'_, PyAny>) -> Bind<()> {
        let Ok(on) = on.extract::<bool>() else { return Self::delete_requires_grad(self) };
        if !self.tensor.is_leaf() && on {
            return Err(PyRuntimeError::new_err(
                "you can only change requires_grad flags of leaf variables.",
            )
            .into());
        }
        Ok(self.tensor.set_requires_grad(on)?)
    }

    #[deleter]
    fn delete_requires_grad(&self) -> Bind<()> {
        Err(PyRuntimeError::new_err("requires_grad must be a bool").into())
    }

    /// Switches the collection of a gradient on or off, in place.
    #[pyo3(signature = (requires_grad = true))]
    fn requires_grad_<'py>(slf: Bound<'py, Self>, requires_grad: bool) -> Bind<Bound<'py, Self>> {
        slf.get().tensor.set_requires_grad(requires_grad)?;
        Ok(slf)
    }

    /// The collected gradient, or None.
    #[getter]
    fn grad(&self, py: Python<'_>) -> Bind<Option<Wrapped>> {
        let grad = self.tensor.grad();
        if grad.is_none() && !self.tensor.is_leaf() && !self.tensor.retains_grad() {
            crate::function::warn(
                py,
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its \
                 .grad attribute won't be populated during autograd.backward(). If you indeed want \
                 the .grad field to be populated for a non-leaf Tensor, use .retain_grad() on the \
                 non-leaf Tensor. If you access the non-leaf Tensor by mistake, make sure you \
                 access the leaf Tensor instead. See github.com/pytorch/pytorch/pull/30531 for more \
                 informations.",
            )?;
        }
        Ok(grad.map(Wrapped))
    }

    /// [`Self::grad`], without the warning for non-leaves.
    #[getter]
    fn _grad(&self) -> Option<Wrapped> {
        self.tensor.grad().map(Wrapped)
    }

    #[deleter]
    fn delete_grad(&self) -> Bind<()> {
        Ok(self.tensor.set_grad(None)?)
    }

    /// The dtype the gradient must have; None for any.
    #[getter]
    fn grad_dtype<'py>(&self, py: Python<'py>) -> Bind<Option<Bound<'py, PyDType>>> {
        Ok(self.tensor.grad_dtype().map(|dtype| crate::dtype::object(py, dtype)).transpose()?)
    }

    #[setter]
    fn set_grad_dtype(&self, dtype: Option<&Bound<'_, PyDType>>) -> Bind<()> {
        Ok(self.tensor.set_grad_dtype(dtype.map(|dtype| dtype.get().0))?)
    }

    /// Which output of its node the tensor is.
    #[getter]
    fn output_nr(&self) -> Bind<u32> {
        Ok(self.tensor.try_grad_fn()?.map_or(0, |(_, out)| out))
    }

    /// A relic: always False.
    #[getter]
    fn volatile(&self, py: Python<'_>) -> Bind<bool> {
        crate::function::warn(py, "volatile was removed (Variable.volatile is always False)")?;
        Ok(false)
    }

    /// Looks into the memory of another tensor from now on; without one, at no elements.
    #[pyo3(signature = (source = None))]
    fn set_<'py>(
        slf: Bound<'py, Self>,
        source: Option<&Bound<'py, PyAny>>,
    ) -> Bind<Bound<'py, Self>> {
        let this = &slf.get().tensor;
        match source {
            None => this.set_(&rustgrad_engine::Tensor::zeros(&[0], this.dtype())?)?,
            Some(source) => match convert::tensor(source) {
                Some(source) => this.set_(source)?,
                None => {
                    return Err(PyTypeError::new_err(format!(
                        "set_(): argument 'source' must be Tensor, not {}: storages are not objects \
                         of their own here",
                        source.get_type().name()?
                    ))
                    .into());
                }
            },
        }
        Ok(slf)
    }

    /// Tensors have no names.
    #[getter]
    fn name(&self, py: Python<'_>) -> Py<PyAny> {
        py.None()
    }

    #[setter]
    fn set_grad(&self, value: Option<&Bound<'_, PyAny>>) -> Bind<()> {
        let Some(value) = value.filter(|value| !value.is_none()) else {
            self.tensor.set_grad(None)?;
            return Ok(());
        };
        match convert::tensor(value) {
            Some(grad) => Ok(self.tensor.set_grad(Some(grad.clone()))?),
            None => Err(PyTypeError::new_err(format!(
                "assigned grad expected to be a Tensor or None but got grad of type {}",
                value.get_type().name()?
            ))
            .into()),
        }
    }

    /// Whether the tensor was not computed by a recorded operation.
    #[getter]
    fn is_leaf(slf: &Bound<'_, Self>) -> Bind<bool> {
        let tensor = &slf.get().tensor;
        tensor.try_grad_fn()?;
        if !tensor.is_leaf() && rustgrad_engine::graph::is_forward() {
            return Ok(!shown_while_forward(slf)?);
        }
        Ok(tensor.is_leaf())
    }

    /// The gradients of this tensor with respect to the leaves, added to their `.grad`.
    #[pyo3(signature = (gradient = None, retain_graph = None, create_graph = false, inputs = None))]
    fn backward(
        &self,
        py: Python<'_>,
        gradient: Option<&Bound<'_, PyAny>>,
        retain_graph: Option<bool>,
        create_graph: bool,
        inputs: Option<&Bound<'_, PyAny>>,
    ) -> Bind<()> {
        let gradients = vec![match gradient.filter(|gradient| !gradient.is_none()) {
            None => None,
            Some(gradient) => Some(convert::tensor(gradient).cloned().ok_or_else(|| {
                PyTypeError::new_err(
                    "gradients can be either Tensors or None, but got something else",
                )
            })?),
        }];
        crate::autograd::backward(
            py,
            &[crate::autograd::Place::Tensor(self.tensor.clone())],
            gradients,
            retain_graph.unwrap_or(create_graph),
            create_graph,
            inputs,
        )
    }

    /// The same data without history.
    fn detach(&self) -> Out {
        Ok(Wrapped(self.tensor.detach()))
    }

    /// Cuts the tensor from its history, in place.
    fn detach_<'py>(slf: Bound<'py, Self>) -> Bind<Bound<'py, Self>> {
        slf.get().tensor.detach_()?;
        Ok(slf)
    }

    /// The same data without history and with a version counter of its own.
    #[getter]
    fn data(&self) -> Out {
        out(self.tensor.data())
    }

    #[setter]
    fn set_data(&self, value: &Bound<'_, PyAny>) -> Bind<()> {
        match convert::tensor(value) {
            Some(other) => Ok(self.tensor.set_data(other)?),
            None => Err(PyTypeError::new_err(format!(
                "Variable data has to be a tensor, but got {}",
                value.get_type().name()?
            ))
            .into()),
        }
    }

    #[deleter]
    fn delete_data(&self) -> Bind<()> {
        Err(PyRuntimeError::new_err("Deleting tensor data is not allowed. Delete tensor instead!")
            .into())
    }

    /// Keeps the gradient of a non-leaf in `.grad`.
    fn retain_grad(&self) -> Bind<()> {
        self.tensor.try_grad_fn()?;
        Ok(self.tensor.retain_grad()?)
    }

    /// Whether a non-leaf keeps its gradient.
    #[getter]
    fn retains_grad(&self) -> Bind<bool> {
        self.tensor.try_grad_fn()?;
        Ok(self.tensor.retains_grad())
    }

    /// How often the data was written in place.
    #[getter]
    fn _version(&self) -> Bind<u32> {
        if self.tensor.is_inference() {
            return Err(
                PyRuntimeError::new_err("Inference tensors do not track version counter.").into()
            );
        }
        Ok(self.tensor.version())
    }

    /// The tensor this one is a view of, or None.
    #[getter]
    fn _base(&self) -> Option<Wrapped> {
        self.tensor.base().map(Wrapped)
    }

    fn _is_view(&self) -> bool {
        self.tensor.is_view()
    }

    /// Copies `src`, broadcast and cast, into the tensor.
    #[pyo3(signature = (src, non_blocking = false))]
    fn copy_<'py>(
        slf: Bound<'py, Self>,
        src: &Bound<'py, PyAny>,
        non_blocking: bool,
    ) -> Bind<Bound<'py, Self>> {
        // On the CPU a copy is complete when the call returns, whatever was asked.
        let _ = non_blocking;
        let source = convert::tensor_or_number_like(src, &slf.get().tensor)?;
        slf.get().tensor.check_overlap(&source)?;
        slf.get().tensor.copy_(&source)?;
        Ok(slf)
    }

    /// Writes one value everywhere.
    fn fill_<'py>(slf: Bound<'py, Self>, value: &Bound<'py, PyAny>) -> Bind<Bound<'py, Self>> {
        if let Some(number) = convert::scalar(value)? {
            slf.get().tensor.fill_(number)?;
            return Ok(slf);
        }
        let value = convert::tensor_or_number(value)?;
        if value.ndim() != 0 {
            return Err(PyRuntimeError::new_err(format!(
                "fill_ only supports 0-dimension value tensor but got tensor with {} dimensions.",
                value.ndim()
            ))
            .into());
        }
        slf.get().tensor.copy_(&value)?;
        Ok(slf)
    }

    /// Writes zeros everywhere.
    fn zero_<'py>(slf: Bound<'py, Self>) -> Bind<Bound<'py, Self>> {
        slf.get().tensor.zero_()?;
        Ok(slf)
    }

    /// The node that made the tensor, or None.
    #[getter]
    fn grad_fn(slf: &Bound<'_, Self>) -> Bind<Option<Py<PyAny>>> {
        let found = node_of(&slf.get().tensor, slf.py())?;
        if found.is_some() && rustgrad_engine::graph::is_forward() && !shown_while_forward(slf)? {
            return Ok(None);
        }
        Ok(found)
    }

    /// [`Self::grad_fn`] under its inner name.
    #[getter]
    fn _grad_fn(&self, py: Python<'_>) -> Bind<Option<Py<PyAny>>> {
        node_of(&self.tensor, py)
    }

    #[deleter(_grad_fn)]
    fn delete_grad_fn(&self) -> Bind<()> {
        Err(PyRuntimeError::new_err("Deletion of _grad_fn not allowed. Detach tensor instead!")
            .into())
    }
}
