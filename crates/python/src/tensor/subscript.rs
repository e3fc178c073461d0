//! `x[...]` and `x[...] = y`.

use pyo3::exceptions::{PyIndexError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyEllipsis, PyFloat, PyInt, PyList, PySlice, PyTuple};
use rustgrad_engine::ops::subscript::Entry;
use rustgrad_engine::{DType, Tensor};
use smallvec::{SmallVec, smallvec};

use super::{Out, PyTensor, Wrapped, run};
use crate::convert;
use crate::error::Bind;
use crate::standins;

type Entries = SmallVec<[Entry; 4]>;

fn entries(key: &Bound<'_, PyAny>) -> Bind<Entries> {
    match key.cast::<PyTuple>() {
        Ok(tuple) => tuple.iter().map(|item| entry(&item)).collect(),
        Err(_) => match key.cast::<PyList>() {
            // As NumPy once did: a short list that holds sequences or slices stands for a tuple.
            Ok(list) if list.len() < 32 && list.iter().any(|item| is_composite(&item)) => {
                list.iter().map(|item| entry(&item)).collect()
            }
            _ => Ok(smallvec![entry(key)?]),
        },
    }
}

fn is_composite(item: &Bound<'_, PyAny>) -> bool {
    item.is_none()
        || item.is_instance_of::<PyList>()
        || item.is_instance_of::<PyTuple>()
        || item.is_instance_of::<PySlice>()
        || item.is_instance_of::<PyEllipsis>()
        || convert::tensor(item).is_some()
}

fn bound(value: &Bound<'_, PyAny>) -> Bind<Option<i64>> {
    if value.is_none() {
        return Ok(None);
    }
    if let Some(tensor) = convert::tensor(value) {
        return Ok(Some(tensor.item()?.to_i64()));
    }
    match value.extract::<i64>() {
        Ok(value) => Ok(Some(value)),
        // Python clamps the ends of slices, however large.
        Err(_) if value.is_instance_of::<PyInt>() => {
            Ok(Some(if value.lt(0)? { i64::MIN + 1 } else { i64::MAX }))
        }
        Err(_) => Err(PyTypeError::new_err(
            "slice indices must be integers or None or have an __index__ method",
        )
        .into()),
    }
}

fn entry(item: &Bound<'_, PyAny>) -> Bind<Entry> {
    if item.is_exact_instance_of::<PyInt>() {
        return Ok(Entry::Int(item.extract()?));
    }
    if let Ok(slice) = item.cast::<PySlice>() {
        let start = bound(&slice.getattr(intern!(slice.py(), "start"))?)?;
        let stop = bound(&slice.getattr(intern!(slice.py(), "stop"))?)?;
        let step = bound(&slice.getattr(intern!(slice.py(), "step"))?)?.unwrap_or(1);
        if step == 0 {
            return Err(PyValueError::new_err("slice step cannot be zero").into());
        }
        if step < 0 {
            return Err(PyValueError::new_err("step must be greater than zero").into());
        }
        // No dimension is longer; the stride must not overflow.
        let step = step.min(1 << 31);
        return Ok(Entry::Slice(start.unwrap_or(0), stop.unwrap_or(i64::MAX), step));
    }
    if item.is_none() {
        return Ok(Entry::NewAxis);
    }
    if item.is_instance_of::<PyEllipsis>() {
        return Ok(Entry::Ellipsis);
    }
    if item.is_instance_of::<PyBool>() {
        return Ok(Entry::Bool(item.is_truthy()?));
    }
    if let Some(tensor) = convert::tensor(item) {
        return Ok(Entry::Tensor(tensor.clone()));
    }
    entry_slow(item)
}

fn refused(item: &Bound<'_, PyAny>) -> Bind<Entry> {
    if item.hasattr("encode")? {
        return Err(PyTypeError::new_err("a tensor cannot be indexed by a string").into());
    }
    Err(PyIndexError::new_err(format!(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid \
         indices (got {})",
        item.get_type().name()?
    ))
    .into())
}

#[inline(never)]
fn entry_slow(item: &Bound<'_, PyAny>) -> Bind<Entry> {
    if item.hasattr("dtype")? && item.hasattr("tolist")? {
        // NumPy's arrays and scalars.
        let kind: String = item.getattr("dtype")?.getattr("kind")?.extract()?;
        let list = item.call_method0("tolist")?;
        if !list.is_instance_of::<PyList>() {
            return entry(&list);
        }
        let shape: Vec<usize> = item.getattr("shape")?.extract()?;
        let mut leaves = Leaves { bools: kind == "b", ints: Vec::new() };
        if !matches!(kind.as_str(), "b" | "i" | "u") {
            return refused(item);
        }
        leaves.flatten(&list, &mut Vec::new(), 0)?;
        return Ok(Entry::Tensor(leaves.tensor(&shape)?));
    }
    if item.hasattr("__index__")? {
        return Ok(Entry::Int(item.extract()?));
    }
    if item.hasattr("__len__")? && item.hasattr("__getitem__")? && !item.hasattr("encode")? {
        let mut leaves = Leaves { bools: true, ints: Vec::new() };
        let mut shape = Vec::new();
        leaves.flatten(item, &mut shape, 0)?;
        if leaves.ints.is_empty() {
            leaves.bools = false;
        }
        return Ok(Entry::Tensor(leaves.tensor(&shape)?));
    }
    refused(item)
}

/// The numbers of nested lists.
struct Leaves {
    bools: bool,
    ints: Vec<i64>,
}

impl Leaves {
    fn flatten(
        &mut self,
        item: &Bound<'_, PyAny>,
        shape: &mut Vec<usize>,
        depth: usize,
    ) -> Bind<()> {
        if let Some(tensor) = convert::tensor(item) {
            if tensor.ndim() > 0 {
                for part in tensor.unbind(0)? {
                    let part = super::wrap(item.py(), part)?;
                    self.flatten(part.as_any(), shape, depth + 1)?;
                }
                let n = tensor.shape()[0];
                if shape.len() <= depth {
                    shape.resize(depth + 1, n);
                }
                shape[depth] = n;
                return Ok(());
            }
            if !tensor.dtype().is_int() && tensor.dtype() != DType::Bool {
                return refused(item).map(|_| ());
            }
            self.bools &= tensor.dtype() == DType::Bool;
            self.ints.push(tensor.item()?.to_i64());
            return Ok(());
        }
        if item.is_instance_of::<PyBool>() {
            self.ints.push(i64::from(item.is_truthy()?));
            return Ok(());
        }
        if item.hasattr("__index__")? {
            self.bools = false;
            self.ints.push(item.extract()?);
            return Ok(());
        }
        if !item.hasattr("__len__")? || item.hasattr("encode")? {
            return refused(item).map(|_| ());
        }
        let n = item.len()?;
        if shape.len() <= depth {
            shape.push(n);
        }
        if shape[depth] != n {
            return Err(PyValueError::new_err(format!(
                "expected sequence of length {} at dim {depth} (got {n})",
                shape[depth]
            ))
            .into());
        }
        for part in item.try_iter()? {
            self.flatten(&part?, shape, depth + 1)?;
        }
        Ok(())
    }

    fn tensor(self, shape: &[usize]) -> Bind<Tensor> {
        let tensor = Tensor::from_slice(&self.ints, shape)?;
        Ok(if self.bools { tensor.to_dtype(DType::Bool)? } else { tensor })
    }
}

/// What is assigned, as a tensor.
fn value_of(this: &Tensor, value: &Bound<'_, PyAny>) -> Bind<Tensor> {
    if let Some(tensor) = convert::tensor(value) {
        return Ok(tensor.clone());
    }
    let plain = value.is_exact_instance_of::<PyFloat>() || value.is_exact_instance_of::<PyInt>();
    let number = if !plain && (value.is_instance_of::<PyList>() || value.hasattr("encode")?) {
        None
    } else {
        convert::scalar(value)?
    };
    match number {
        Some(number) => Ok(Tensor::from_scalar(number, this.dtype())?),
        None => Err(PyTypeError::new_err(format!(
            "can't assign a {} to a torch.{}Tensor",
            value.get_type().name()?,
            this.dtype().scalar_name()
        ))
        .into()),
    }
}

#[pymethods]
impl PyTensor {
    fn __getitem__<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
    ) -> Bind<Bound<'py, PyAny>> {
        match slf.get().part(key) {
            Ok(part) => Ok(part.into_pyobject(key.py())?.into_any()),
            Err(error) => {
                let args = PyTuple::new(key.py(), [slf.as_any(), key])?;
                Ok(standins::ask("__getitem__", &args, None).unwrap_or(Err(error.into()))?)
            }
        }
    }

    fn __setitem__<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
    ) -> Bind<()> {
        let Err(error) = slf.get().assign(key, value) else { return Ok(()) };
        let args = PyTuple::new(key.py(), [slf.as_any(), key, value])?;
        standins::ask("__setitem__", &args, None).unwrap_or(Err(error.into()))?;
        Ok(())
    }

    fn __delitem__(&self, _key: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(PyTypeError::new_err("Tensor does not support deleting items"))
    }
}

impl PyTensor {
    #[inline]
    fn part(&self, key: &Bound<'_, PyAny>) -> Out {
        if key.is_exact_instance_of::<PyInt>() {
            let index = key.extract()?;
            return Ok(Wrapped(self.tensor.subscript(&[Entry::Int(index)])?));
        }
        let entries = entries(key)?;
        let advanced = entries.iter().any(|entry| matches!(entry, Entry::Tensor(_)));
        if advanced {
            return run(key.py(), &self.tensor, || self.tensor.subscript(&entries));
        }
        Ok(Wrapped(self.tensor.subscript(&entries)?))
    }

    fn assign(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> Bind<()> {
        let entries = entries(key)?;
        // A number at a basic place is written without a tensor or a view being made.
        if value.is_exact_instance_of::<PyFloat>() || value.is_exact_instance_of::<PyInt>() {
            if let Some(number) = convert::scalar(value)?
                && self.tensor.subscript_fill(&entries, number)?
            {
                return Ok(());
            }
        }
        let value = value_of(&self.tensor, value)?;
        crate::gil::detached(key.py(), self.tensor.byte_hint(), || {
            self.tensor.subscript_assign(&entries, &value)
        })
    }
}
