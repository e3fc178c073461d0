//! Decompositions, for `rustgrad.linalg`: one call of the engine each.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "PyO3's expansion, which macro spans make look like ours"
)]

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustgrad_engine::{Result, Tensor};

use crate::error::Bind;
use crate::gil::detached;
use crate::tensor::{PyTensor, Wrapped};

/// The results of an engine call as a tuple.
fn parts<'py>(
    py: Python<'py>,
    tensor: &Tensor,
    work: impl FnOnce() -> Result<Vec<Tensor>> + Send,
) -> Bind<Bound<'py, PyTuple>> {
    // A decomposition costs far more than it moves.
    let made = detached(py, tensor.byte_hint() * 64, work)?;
    Ok(PyTuple::new(py, made.into_iter().map(Wrapped))?)
}

macro_rules! decompositions {
    ($($name:ident, $export:literal ($($arg:ident : $type:ty),*) => |$a:ident| $body:expr, $doc:literal;)*) => {
        $(
            #[doc = $doc]
            #[pyfunction]
            fn $name<'py>(input: &Bound<'py, PyTensor>, $($arg: $type),*) -> Bind<Bound<'py, PyTuple>> {
                let $a = &input.get().tensor;
                parts(input.py(), $a, || $body)
            }
        )*

        /// Adds the functions to the module.
        pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
            $(module.add($export, wrap_pyfunction!($name, module)?)?;)*
            module.add("_linalg_solve", wrap_pyfunction!(solve, module)?)?;
            module.add("_linalg_lstsq", wrap_pyfunction!(lstsq, module)?)?;
            module.add("_linalg_solve_triangular", wrap_pyfunction!(solve_triangular, module)?)
        }
    };
}

fn two(pair: (Tensor, Tensor)) -> Vec<Tensor> {
    vec![pair.0, pair.1]
}

decompositions! {
    inv, "_linalg_inv" () => |a| a.linalg_inv().map(two), "Inverses, and where a pivot was zero.";
    det, "_linalg_det" () => |a| Ok(vec![a.linalg_det()?]), "Determinants.";
    slogdet, "_linalg_slogdet" () => |a| a.linalg_slogdet().map(two), "Signs and logarithms of determinants.";
    cholesky, "_linalg_cholesky" () => |a| a.linalg_cholesky().map(two), "Lower factors, and where one failed.";
    qr, "_linalg_qr" (complete: bool) => |a| a.linalg_qr(complete).map(two), "Q and R.";
    eigh, "_linalg_eigh" (upper: bool) => |a| a.linalg_eigh(upper).map(two), "Eigenvalues and eigenvectors of symmetric matrices.";
    svd, "_linalg_svd" (full: bool) => |a| a.linalg_svd(full).map(Vec::from), "U, S and Vh.";
    eigvalsh, "_linalg_eigvalsh" (upper: bool) => |a| Ok(vec![a.linalg_eigvalsh(upper)?]), "Eigenvalues of symmetric matrices.";
    svdvals, "_linalg_svdvals" () => |a| Ok(vec![a.linalg_svdvals()?]), "Singular values.";
    lu_factor, "_linalg_lu_factor" () => |a| a.linalg_lu_factor().map(Vec::from), "L and U in one, the exchanged rows, and where a pivot was zero.";
}

/// `A X = B`, and where a pivot was zero.
#[pyfunction]
fn solve<'py>(
    input: &Bound<'py, PyTensor>,
    other: &Bound<'py, PyTensor>,
) -> Bind<Bound<'py, PyTuple>> {
    let (a, b) = (&input.get().tensor, &other.get().tensor);
    parts(input.py(), a, || a.linalg_solve(b).map(two))
}

/// `A X = B` with a triangle of A.
#[pyfunction]
fn solve_triangular<'py>(
    input: &Bound<'py, PyTensor>,
    other: &Bound<'py, PyTensor>,
    upper: bool,
    unit: bool,
) -> Bind<Bound<'py, PyTuple>> {
    let (a, b) = (&input.get().tensor, &other.get().tensor);
    parts(input.py(), a, || Ok(vec![a.linalg_solve_triangular(b, upper, unit)?]))
}

/// The shortest solutions of least squares, and the ranks.
#[pyfunction]
fn lstsq<'py>(
    input: &Bound<'py, PyTensor>,
    other: &Bound<'py, PyTensor>,
    rcond: f64,
) -> Bind<Bound<'py, PyTuple>> {
    let (a, b) = (&input.get().tensor, &other.get().tensor);
    parts(input.py(), a, || a.linalg_lstsq(b, rcond).map(two))
}
