//! Functions of several tensors: joins, grids, `where`, indices of triangles.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use rustgrad_engine::ops::{join, reshape};
use rustgrad_engine::{DType, Tensor};

use crate::convert;
use crate::dtype::PyDType;
use crate::error::Bind;
use crate::tensor::{Out, PyTensor, Wrapped, tuple, wrap};

/// The tensors of a sequence.
fn tensors(value: &Bound<'_, PyAny>) -> Bind<Vec<Tensor>> {
    if convert::tensor(value).is_some() {
        return Err(PyTypeError::new_err(
            "argument 'tensors' must be tuple of Tensors, not Tensor",
        )
        .into());
    }
    let mut list = Vec::new();
    for item in value.try_iter()? {
        let item = item?;
        match convert::tensor(&item) {
            Some(tensor) => list.push(tensor.clone()),
            None => {
                return Err(PyTypeError::new_err(format!(
                    "expected Tensor as element {} in argument 0, but got {}",
                    list.len(),
                    item.get_type().name()?
                ))
                .into());
            }
        }
    }
    Ok(list)
}

/// Tensors given one by one, or as one sequence.
fn many(args: &Bound<'_, PyTuple>) -> Bind<Vec<Tensor>> {
    if args.len() == 1 {
        let only = args.get_item(0)?;
        if convert::tensor(&only).is_none() {
            return tensors(&only);
        }
    }
    tensors(args.as_any())
}

fn join(
    py: Python<'_>,
    list: &[Tensor],
    work: impl FnOnce(&[&Tensor]) -> rustgrad_engine::Result<Tensor> + Send,
) -> Out {
    let bytes = list.iter().map(Tensor::byte_hint).sum();
    Ok(Wrapped(crate::gil::detached(py, bytes, || work(&list.iter().collect::<Vec<_>>()))?))
}

/// Tensors one after the other along a dimension.
#[pyfunction]
#[pyo3(signature = (tensors, dim = 0))]
fn cat(py: Python<'_>, tensors: &Bound<'_, PyAny>, dim: i64) -> Out {
    join(py, &self::tensors(tensors)?, |list| join::cat(list, dim))
}

/// Tensors along a new dimension.
#[pyfunction]
#[pyo3(signature = (tensors, dim = 0))]
fn stack(py: Python<'_>, tensors: &Bound<'_, PyAny>, dim: i64) -> Out {
    join(py, &self::tensors(tensors)?, |list| join::stack(list, dim))
}

/// With at least so many dimensions, as torch's `atleast` functions put them in.
fn at_least(tensor: &Tensor, ndim: usize) -> rustgrad_engine::Result<Tensor> {
    match (ndim, tensor.ndim()) {
        (1, 0) => tensor.reshape(&[1]),
        (2, 0) => tensor.reshape(&[1, 1]),
        (2, 1) => tensor.unsqueeze(0),
        (3, 0) => tensor.reshape(&[1, 1, 1]),
        (3, 1) => tensor.unsqueeze(0)?.unsqueeze(-1),
        (3, 2) => tensor.unsqueeze(-1),
        _ => tensor.view(&tensor.shape().iter().map(|&n| n as i64).collect::<Vec<_>>()),
    }
}

fn at_least_all<'py>(
    py: Python<'py>,
    args: &Bound<'py, PyTuple>,
    ndim: usize,
) -> Bind<Bound<'py, PyAny>> {
    if args.len() == 1 {
        if let Some(tensor) = convert::tensor(&args.get_item(0)?) {
            return Ok(if tensor.ndim() >= ndim {
                args.get_item(0)?
            } else {
                wrap(py, at_least(tensor, ndim)?)?.into_any()
            });
        }
    }
    let list: Vec<Tensor> = many(args)?
        .iter()
        .map(|tensor| at_least(tensor, ndim))
        .collect::<rustgrad_engine::Result<_>>()?;
    Ok(tuple(py, list)?.into_bound(py).into_any())
}

/// Tensors with at least one dimension.
#[pyfunction]
#[pyo3(signature = (*tensors))]
fn atleast_1d<'py>(py: Python<'py>, tensors: &Bound<'py, PyTuple>) -> Bind<Bound<'py, PyAny>> {
    at_least_all(py, tensors, 1)
}
/// Tensors with at least two dimensions.
#[pyfunction]
#[pyo3(signature = (*tensors))]
fn atleast_2d<'py>(py: Python<'py>, tensors: &Bound<'py, PyTuple>) -> Bind<Bound<'py, PyAny>> {
    at_least_all(py, tensors, 2)
}
/// Tensors with at least three dimensions.
#[pyfunction]
#[pyo3(signature = (*tensors))]
fn atleast_3d<'py>(py: Python<'py>, tensors: &Bound<'py, PyTuple>) -> Bind<Bound<'py, PyAny>> {
    at_least_all(py, tensors, 3)
}

fn stacked(py: Python<'_>, list: &Bound<'_, PyAny>, ndim: usize, dim: i64) -> Out {
    let list: Vec<Tensor> = tensors(list)?
        .iter()
        .map(|tensor| at_least(tensor, ndim))
        .collect::<rustgrad_engine::Result<_>>()?;
    let dim =
        if ndim == 1 && list.first().is_some_and(|tensor| tensor.ndim() == 1) { 0 } else { dim };
    join(py, &list, |list| join::cat(list, dim))
}

/// Tensors side by side.
#[pyfunction]
fn hstack(py: Python<'_>, tensors: &Bound<'_, PyAny>) -> Out {
    stacked(py, tensors, 1, 1)
}
/// Tensors one below the other.
#[pyfunction]
fn vstack(py: Python<'_>, tensors: &Bound<'_, PyAny>) -> Out {
    stacked(py, tensors, 2, 0)
}
/// Tensors one behind the other.
#[pyfunction]
fn dstack(py: Python<'_>, tensors: &Bound<'_, PyAny>) -> Out {
    stacked(py, tensors, 3, 2)
}
/// Tensors side by side, vectors as columns.
#[pyfunction]
fn column_stack(py: Python<'_>, tensors: &Bound<'_, PyAny>) -> Out {
    let list: Vec<Tensor> = self::tensors(tensors)?
        .iter()
        .map(|tensor| match tensor.ndim() {
            0 | 1 => tensor.reshape(&[tensor.numel() as i64, 1]),
            _ => Ok(tensor.clone()),
        })
        .collect::<rustgrad_engine::Result<_>>()?;
    join(py, &list, |list| join::cat(list, 1))
}

/// Tensors in the shape they broadcast to.
#[pyfunction]
#[pyo3(signature = (*tensors))]
fn broadcast_tensors(py: Python<'_>, tensors: &Bound<'_, PyTuple>) -> Bind<Py<PyTuple>> {
    let list = many(tensors)?;
    tuple(py, reshape::broadcast_tensors(&list.iter().collect::<Vec<_>>())?)
}

/// The shape that shapes broadcast to.
#[pyfunction]
#[pyo3(signature = (*shapes))]
fn broadcast_shapes<'py>(py: Python<'py>, shapes: &Bound<'py, PyTuple>) -> Bind<Bound<'py, PyAny>> {
    let mut all = rustgrad_engine::shape::Dims::new();
    for shape in shapes {
        let shape = shape.extract::<convert::DimArg>()?.list();
        let shape = rustgrad_engine::shape::from_sizes(&shape)?;
        all = rustgrad_engine::shape::broadcast(&all, &shape)?;
    }
    Ok(crate::size::size(py, &all)?)
}

/// Grids of coordinates.
#[pyfunction]
#[pyo3(signature = (*tensors, indexing = None))]
fn meshgrid(
    py: Python<'_>,
    tensors: &Bound<'_, PyTuple>,
    indexing: Option<&str>,
) -> Bind<Py<PyTuple>> {
    let xy = match indexing {
        None => {
            crate::function::warn(
                py,
                "torch.meshgrid: in an upcoming release, it will be required to pass the indexing \
                 argument.",
            )?;
            false
        }
        Some("ij") => false,
        Some("xy") => true,
        Some(other) => {
            return Err(rustgrad_engine::Error::runtime(format!(
                "torch.meshgrid: indexing must be one of \"xy\" or \"ij\", but received: {other}"
            ))
            .into());
        }
    };
    let list = many(tensors)?;
    tuple(py, reshape::meshgrid(&list.iter().collect::<Vec<_>>(), xy)?)
}

/// All combinations of one element of each vector.
#[pyfunction]
#[pyo3(signature = (*tensors))]
fn cartesian_prod(py: Python<'_>, tensors: &Bound<'_, PyTuple>) -> Out {
    join(py, &many(tensors)?, |list| reshape::cartesian_prod(list))
}

/// Matrices along the diagonal of a larger one.
#[pyfunction]
#[pyo3(signature = (*tensors))]
fn block_diag(py: Python<'_>, tensors: &Bound<'_, PyTuple>) -> Out {
    join(py, &many(tensors)?, |list| reshape::block_diag(list))
}

/// All combinations of so many elements of a vector.
#[pyfunction]
#[pyo3(signature = (input, r = 2, with_replacement = false))]
fn combinations(py: Python<'_>, input: &PyTensor, r: i64, with_replacement: bool) -> Out {
    let this = &input.tensor;
    if this.ndim() != 1 || r < 0 {
        return Err(rustgrad_engine::Error::runtime(
            "Expect a 1D vector and a non-negative number of elements",
        )
        .into());
    }
    let (n, r) = (this.numel(), r as usize);
    let mut rows: Vec<i64> = Vec::new();
    let mut count = 0;
    let mut row: Vec<usize> = (0..r).map(|i| if with_replacement { 0 } else { i }).collect();
    let possible = r > 0 && if with_replacement { n > 0 } else { r <= n };
    // Left by the break once the last row is written.
    loop {
        if !possible {
            break;
        }
        rows.extend(row.iter().map(|&i| i as i64));
        count += 1;
        let limit = |i: usize| if with_replacement { n - 1 } else { n - r + i };
        let Some(at) = (0..r).rfind(|&i| row[i] < limit(i)) else { break };
        row[at] += 1;
        for i in at + 1..r {
            row[i] = row[i - 1] + usize::from(!with_replacement);
        }
    }
    let shape: &[usize] = if r == 0 { &[0] } else { &[count, r] };
    let index = Tensor::from_slice(&rows, shape)?;
    crate::tensor::run(py, this, || this.index(&[Some(index)]))
}

/// `input` where the condition holds, else `other`; without them, where the condition holds.
#[pyfunction(name = "where")]
#[pyo3(signature = (condition, input = None, other = None))]
fn where_<'py>(
    py: Python<'py>,
    condition: &PyTensor,
    input: Option<&Bound<'py, PyAny>>,
    other: Option<&Bound<'py, PyAny>>,
) -> Bind<Bound<'py, PyAny>> {
    let condition = &condition.tensor;
    match (input, other) {
        (None, None) => Ok(tuple(py, condition.nonzero_columns()?)?.into_bound(py).into_any()),
        (Some(a), Some(b)) => {
            let (a, b) = match (convert::tensor(a), convert::tensor(b)) {
                (Some(tensor), _) => (tensor.clone(), convert::tensor_or_number_like(b, tensor)?),
                (None, Some(tensor)) => {
                    (convert::tensor_or_number_like(a, tensor)?, tensor.clone())
                }
                (None, None) => (convert::tensor_or_number(a)?, convert::tensor_or_number(b)?),
            };
            let bytes = condition.byte_hint().max(a.byte_hint()).max(b.byte_hint());
            let result = crate::gil::detached(py, bytes, || condition.where_(&a, &b))?;
            Ok(wrap(py, result)?.into_any())
        }
        _ => {
            Err(PyTypeError::new_err("where() takes a condition, or a condition and two values")
                .into())
        }
    }
}

fn triangle(
    row: i64,
    col: i64,
    dtype: Option<&Bound<'_, PyDType>>,
    kept: impl Fn(i64) -> (i64, i64),
) -> Out {
    if row < 0 || col < 0 {
        return Err(PyValueError::new_err("row and col must be non-negative").into());
    }
    // The columns of each row that are kept.
    let kept = |i: i64| {
        let (start, end) = kept(i);
        start.clamp(0, col)..end.clamp(0, col)
    };
    let n: usize = (0..row).map(|i| kept(i).count()).sum();
    let result = Tensor::filled_by(&[2, n], |places: &mut [i64]| {
        let (rows, columns) = places.split_at_mut(n);
        let mut at = 0;
        for i in 0..row {
            let end = at + kept(i).count();
            rows[at..end].fill(i);
            for (place, j) in columns[at..end].iter_mut().zip(kept(i)) {
                *place = j;
            }
            at = end;
        }
        Ok(())
    })?;
    Ok(Wrapped(result.to_dtype(dtype.map_or(DType::I64, |dtype| dtype.get().0))?))
}

/// The indices of a lower triangle.
#[pyfunction]
#[pyo3(signature = (row, col, offset = 0, *, dtype = None, **_rest))]
fn tril_indices(
    row: i64,
    col: i64,
    offset: i64,
    dtype: Option<&Bound<'_, PyDType>>,
    _rest: Option<&Bound<'_, PyDict>>,
) -> Out {
    triangle(row, col, dtype, |i| (0, i.saturating_add(offset).saturating_add(1)))
}

/// The indices of an upper triangle.
#[pyfunction]
#[pyo3(signature = (row, col, offset = 0, *, dtype = None, **_rest))]
fn triu_indices(
    row: i64,
    col: i64,
    offset: i64,
    dtype: Option<&Bound<'_, PyDType>>,
    _rest: Option<&Bound<'_, PyDict>>,
) -> Out {
    triangle(row, col, dtype, |i| (i.saturating_add(offset), col))
}

/// Rows with a one at each index.
#[pyfunction]
#[pyo3(signature = (tensor, num_classes = -1))]
fn _one_hot(tensor: &PyTensor, num_classes: i64) -> Out {
    if num_classes < -1 || num_classes == 0 {
        return Err(rustgrad_engine::Error::runtime("num_classes should be positive").into());
    }
    Ok(Wrapped(tensor.tensor.one_hot(usize::try_from(num_classes).ok())?))
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(cat, module)?,
        wrap_pyfunction!(stack, module)?,
        wrap_pyfunction!(atleast_1d, module)?,
        wrap_pyfunction!(atleast_2d, module)?,
        wrap_pyfunction!(atleast_3d, module)?,
        wrap_pyfunction!(hstack, module)?,
        wrap_pyfunction!(vstack, module)?,
        wrap_pyfunction!(dstack, module)?,
        wrap_pyfunction!(column_stack, module)?,
        wrap_pyfunction!(broadcast_tensors, module)?,
        wrap_pyfunction!(broadcast_shapes, module)?,
        wrap_pyfunction!(meshgrid, module)?,
        wrap_pyfunction!(cartesian_prod, module)?,
        wrap_pyfunction!(block_diag, module)?,
        wrap_pyfunction!(combinations, module)?,
        wrap_pyfunction!(where_, module)?,
        wrap_pyfunction!(tril_indices, module)?,
        wrap_pyfunction!(triu_indices, module)?,
        wrap_pyfunction!(_one_hot, module)?,
    ] {
        module.add_function(function)?;
    }
    for (alias, name) in [("concat", "cat"), ("concatenate", "cat"), ("row_stack", "vstack")] {
        module.add(alias, module.getattr(name)?)?;
    }
    Ok(())
}
