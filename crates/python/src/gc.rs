//! What the garbage collector is told of the graph: the Python objects that only one tensor keeps
//! alive, so that cycles through hooks, custom functions and packed tensors are found.

use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rustgrad_engine::Tensor;
use rustgrad_engine::graph::{Node, NodeRef, visit_owned};

use crate::function::PyRule;
use crate::hooks::PyHook;
use crate::saved::PyPacked;

/// How many Python objects hang in graphs; while there are none the collector need not look.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Counts a Python object in a graph while it lives.
pub(crate) struct Counted(());

impl Counted {
    pub(crate) fn new() -> Self {
        LIVE.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Shows the collector one thing that hangs on a node.
fn part(any: &dyn Any, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
    if let Some(hook) = any.downcast_ref::<PyHook>() {
        visit.call(&hook.callable)
    } else if let Some(rule) = any.downcast_ref::<PyRule>() {
        visit.call(&rule.context)
    } else if let Some(packed) = any.downcast_ref::<PyPacked>() {
        packed.traverse(visit)
    } else if let Some(note) = any.downcast_ref::<Py<PyDict>>() {
        visit.call(note)
    } else {
        Ok(())
    }
}

/// Shows the collector what the graph behind a tensor keeps alive for this tensor alone.
pub(crate) fn traverse(
    tensor: &Tensor,
    visit: &pyo3::PyVisit<'_>,
) -> Result<(), pyo3::PyTraverseError> {
    if tensor.handles() != 1 {
        return Ok(());
    }
    for hook in tensor.leaf_hooks().iter().chain(&tensor.post_accumulate_hooks()) {
        part(hook.as_any(), visit)?;
    }
    if LIVE.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    let mut result = Ok(());
    tensor.visit_owned(&mut |node| owned(node, visit, &mut result));
    result
}

/// Shows the collector what hangs on a node that is known to be kept alive by what is visited.
fn owned(node: &Node, visit: &pyo3::PyVisit<'_>, result: &mut Result<(), pyo3::PyTraverseError>) {
    node.foreign_parts(&mut |any| {
        if result.is_ok() {
            *result = part(any, visit);
        }
    });
    if let Some(leaf) = node.leaf_alone() {
        for hook in leaf.leaf_hooks().iter().chain(&leaf.post_accumulate_hooks()) {
            if result.is_ok() {
                *result = part(hook.as_any(), visit);
            }
        }
    }
}

/// Shows the collector what the graph behind a node's Python object keeps alive for it alone.
pub(crate) fn traverse_node(
    node: &NodeRef,
    visit: &pyo3::PyVisit<'_>,
) -> Result<(), pyo3::PyTraverseError> {
    if LIVE.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    let mut result = Ok(());
    visit_owned(node, 1, &mut |node| owned(node, visit, &mut result));
    result
}
