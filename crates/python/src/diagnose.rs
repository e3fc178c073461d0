//! Anomaly detection, the search for numbers that are not finite, and what graphs hold in memory.

use pyo3::prelude::*;
use rustgrad_engine::graph;
use rustgrad_engine::graph::{Range, Site};

use crate::error::Bind;

/// A line of the program.
type Line = Option<(String, u32)>;

fn line(site: Site) -> Line {
    site.resolve().map(|(file, line)| (file.to_string(), line))
}

/// Whether anomaly detection is on, and whether it looks for NaN.
#[pyfunction]
fn _anomaly() -> (bool, bool) {
    graph::anomaly()
}

/// Switches anomaly detection.
#[pyfunction]
fn _set_anomaly(enabled: bool, check_nan: bool) {
    graph::set_anomaly(enabled, check_nan);
}

/// Warns of the line that recorded the node a pass failed in.
pub(crate) fn report_failure(py: Python<'_>) -> PyResult<()> {
    let Some(failure) = graph::take_failure() else { return Ok(()) };
    let place = match line(failure.site) {
        Some((file, number)) => {
            let text: String = py
                .import("linecache")?
                .call_method1("getline", (&file, number))?
                .extract::<String>()?;
            format!("  File \"{file}\", line {number}\n    {}", text.trim())
        }
        None => "  an unknown line".to_owned(),
    };
    crate::function::warn(
        py,
        &format!(
            "Error detected in {}. Traceback of forward call that caused the error:\n{place}\n",
            failure.name
        ),
    )
}

/// Shape, dtype, least and largest finite element, and the counts of NaN and infinities.
type RangeParts = (Vec<usize>, String, Option<(f64, f64)>, usize, usize);

fn parts(range: &Range) -> RangeParts {
    (
        range.shape.to_vec(),
        range.dtype.name().to_owned(),
        range.finite,
        range.nans,
        range.infinities,
    )
}

/// Starts or ends watching for numbers that are not finite; returns what it was.
#[pyfunction]
fn _watch_nonfinite(on: bool) -> bool {
    graph::watch_nonfinite(on)
}

/// The first operation with finite inputs and a non-finite output: name, line, whether it was its
/// gradient, inputs and output.
#[pyfunction]
fn _found_nonfinite() -> Option<(String, Line, bool, Vec<RangeParts>, RangeParts)> {
    graph::found_nonfinite().map(|found| {
        let inputs = found.inputs.iter().map(parts).collect();
        (found.name, line(found.site), found.backward, inputs, parts(&found.output))
    })
}

/// Live nodes and bytes of saved tensors by line: file and line, nodes, tensors, bytes.
#[pyfunction]
fn _graph_memory() -> Bind<Vec<(Line, usize, usize, usize)>> {
    Ok(graph::memory()
        .into_iter()
        .map(|(site, usage)| (line(site), usage.nodes, usage.tensors, usage.bytes))
        .collect())
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(_anomaly, module)?)?;
    module.add_function(wrap_pyfunction!(_set_anomaly, module)?)?;
    module.add_function(wrap_pyfunction!(_watch_nonfinite, module)?)?;
    module.add_function(wrap_pyfunction!(_found_nonfinite, module)?)?;
    module.add_function(wrap_pyfunction!(_graph_memory, module)?)
}
