//! Anomaly detection, the search for numbers that are not finite, and what graphs hold in memory.

use pyo3::exceptions::PyWarning;
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
    let place = place(py, failure.site)?;
    let text = if failure.witnessed {
        format!(
            "Error detected in {}. Traceback of forward call that caused the error:\n{place}\n",
            failure.name
        )
    } else {
        format!(
            "Error detected in {}. No forward pass information available. Enable detect anomaly \
             during forward pass for more information. It was recorded at\n{place}\n",
            failure.name
        )
    };
    say(py, &text)?;
    let mut next = failure.cause;
    while let Some(cause) = next {
        let place = self::place(py, cause.site)?;
        let text = if cause.witnessed {
            format!(
                "\n\nPrevious calculation was induced by {}. Traceback of forward call that induced \
                 the previous calculation:\n{place}\n",
                cause.name
            )
        } else {
            format!(
                "\n\nPrevious calculation was induced by {}. No forward pass information \
                 available. It was recorded at\n{place}\n",
                cause.name
            )
        };
        say(py, &text)?;
        next = cause.cause.as_ref().map(std::sync::Arc::clone);
    }
    Ok(())
}

/// A line of the program, as tracebacks show it.
fn place(py: Python<'_>, site: Site) -> PyResult<String> {
    let Some((file, number)) = line(site) else { return Ok("  an unknown line".to_owned()) };
    let text: String =
        py.import("linecache")?.call_method1("getline", (&file, number))?.extract::<String>()?;
    Ok(format!("  File \"{file}\", line {number}\n    {}", text.trim()))
}

/// Warns; a warning that is an error goes to stderr, since the error of the pass comes after it.
fn say(py: Python<'_>, text: &str) -> PyResult<()> {
    match crate::function::warn(py, text) {
        Err(error) if error.is_instance_of::<PyWarning>(py) => {
            error.print(py);
            Ok(())
        }
        result => result,
    }
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
