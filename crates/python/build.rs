//! Makes `cfg(Py_3_11)` and its kin known.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
