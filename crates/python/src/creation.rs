//! `autograd.graph.node_creation_hook`: Python callables that are told of nodes as they are made.

use std::rc::Rc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rustgrad_engine::Result;
use rustgrad_engine::graph::{CreationHook, NodeRef, pop_creation_hook, push_creation_hook};

use crate::error::to_engine;

struct PyCreationHook(Py<PyAny>);

impl CreationHook for PyCreationHook {
    fn call(&self, node: &NodeRef) -> Result<()> {
        Python::attach(|py| {
            let called = || -> PyResult<()> {
                let object = crate::node::node_object(py, node.clone()).map_err(PyErr::from)?;
                let result = self.0.bind(py).call1((object,))?;
                if result.is_none() {
                    return Ok(());
                }
                Err(PyRuntimeError::new_err(format!(
                    "a node creation hook must return None, but it returned a {}",
                    result.get_type().name()?
                )))
            };
            called().map_err(to_engine)
        })
    }
}

/// Has nodes made on this thread told to a function.
#[pyfunction]
fn _push_node_creation_hook(hook: Py<PyAny>) {
    push_creation_hook(Rc::new(PyCreationHook(hook)));
}

/// Removes the function that was added last.
#[pyfunction]
fn _pop_node_creation_hook() {
    drop(pop_creation_hook());
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(_push_node_creation_hook, module)?)?;
    module.add_function(wrap_pyfunction!(_pop_node_creation_hook, module)?)
}
