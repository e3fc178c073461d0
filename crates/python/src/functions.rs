//! Module-level functions.

use pyo3::prelude::*;

/// Adds the functions to the module.
pub(crate) fn export(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
