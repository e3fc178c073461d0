//! The buffer protocol: `memoryview(tensor)` shares the tensor's memory.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::ptr::null_mut;
use std::sync::Arc;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use rustgrad_engine::DType;
use rustgrad_engine::storage::Core;

use super::PyTensor;

/// What an exported buffer points to.
struct Export {
    /// Keeps the memory alive even if the tensor is given other data meanwhile.
    _core: Arc<Core>,
    shape: Vec<ffi::Py_ssize_t>,
    strides: Vec<ffi::Py_ssize_t>,
}

/// The `struct` code of a dtype.
fn format(dtype: DType) -> &'static CStr {
    match dtype {
        DType::Bool => c"?",
        DType::U8 => c"B",
        DType::I8 => c"b",
        DType::I16 => c"h",
        DType::I32 => c"i",
        DType::I64 => c"l",
        DType::F32 => c"f",
        DType::F64 => c"d",
    }
}

#[pymethods]
impl PyTensor {
    /// Fills a description of the tensor's memory.
    ///
    /// # Safety
    /// Called by Python, with a view to fill.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let tensor = &slf.get().tensor;
        let refuse = |why: &str| Err(PyBufferError::new_err(why.to_owned()));
        if view.is_null() {
            return refuse("there is no view to fill");
        }
        // SAFETY: not null, and ours to fill.
        unsafe { (*view).obj = null_mut() };
        if tensor.requires_grad() {
            return refuse(
                "Can't export a buffer of a tensor that requires grad. Use tensor.detach() instead.",
            );
        }
        let core = tensor.shared_core();
        let writable = core.writable();
        if flags & ffi::PyBUF_WRITABLE != 0 && !writable {
            return refuse("the tensor shares memory that is read-only");
        }
        let asks_for = |flag: c_int| flags & flag == flag;
        let wants_strides = asks_for(ffi::PyBUF_STRIDES);
        if !core.is_contiguous() && !wants_strides {
            return refuse(
                "the tensor is not contiguous, and the buffer is asked for without strides",
            );
        }
        if !core.is_contiguous()
            && (asks_for(ffi::PyBUF_C_CONTIGUOUS) || asks_for(ffi::PyBUF_ANY_CONTIGUOUS))
        {
            return refuse("the tensor is not contiguous");
        }
        let size = core.dtype().size() as isize;
        let export = Box::new(Export {
            shape: core.shape().iter().map(|&n| n as ffi::Py_ssize_t).collect(),
            strides: core.strides().iter().map(|&stride| stride * size).collect(),
            _core: core.clone(),
        });
        // SAFETY: the view is ours to fill; shape, strides and memory live as long as the export,
        // which is freed when the view is released.
        unsafe {
            let view = &mut *view;
            view.buf = core.address() as *mut c_void;
            view.len = core.numel() as isize * size;
            view.itemsize = size;
            view.readonly = c_int::from(!writable);
            view.format = if asks_for(ffi::PyBUF_FORMAT) {
                format(core.dtype()).as_ptr().cast_mut()
            } else {
                null_mut()
            };
            view.ndim = core.shape().len() as c_int;
            view.shape =
                if asks_for(ffi::PyBUF_ND) { export.shape.as_ptr().cast_mut() } else { null_mut() };
            view.strides =
                if wants_strides { export.strides.as_ptr().cast_mut() } else { null_mut() };
            view.suboffsets = null_mut();
            view.internal = Box::into_raw(export).cast::<c_void>();
            view.obj = slf.into_any().into_ptr();
        }
        Ok(())
    }

    /// Gives a description of the memory back.
    ///
    /// # Safety
    /// Called by Python, with a view that `__getbuffer__` filled.
    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        // SAFETY: `internal` is the box leaked for this very view.
        unsafe { drop(Box::from_raw((*view).internal.cast::<Export>())) };
    }
}
