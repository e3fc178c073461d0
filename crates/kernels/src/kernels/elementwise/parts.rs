//! Single elements and tiles of elements of which only the size is known.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment, reason = "operands are aligned by contract")]

use crate::kernels::copy;

/// The bytes of an element of `size` bytes, zero-extended.
#[inline]
pub(super) unsafe fn bits(value: *const u8, size: usize) -> u64 {
    // SAFETY: by the contract of the callers.
    unsafe {
        match size {
            1 => u64::from(value.read()),
            2 => u64::from(value.cast::<u16>().read()),
            4 => u64::from(value.cast::<u32>().read()),
            _ => value.cast::<u64>().read(),
        }
    }
}

/// A float of `size` bytes.
///
/// # Safety
/// `value` must be readable.
#[inline]
pub(crate) unsafe fn number(value: *const u8, size: usize) -> f64 {
    // SAFETY: by the contract.
    unsafe {
        if size == 4 { f64::from(value.cast::<f32>().read()) } else { value.cast::<f64>().read() }
    }
}

/// Writes `n` copies of an element of `size` bytes.
///
/// # Safety
/// `value` must be readable, `to` writable for `n` elements.
pub(crate) unsafe fn fill(value: *const u8, to: *mut u8, n: usize, size: usize) {
    // SAFETY: by the contract.
    unsafe { copy::fill_bits(to, n, size, bits(value, size)) }
}

/// Copies a tile with byte strides `(r, c)` to a packed buffer, in the order of the source.
///
/// # Safety
/// Every element of the tile must be readable, and the buffer hold them.
pub(crate) unsafe fn gather(
    src: *const u8,
    r: isize,
    c: isize,
    buffer: *mut u8,
    rows: usize,
    cols: usize,
    size: usize,
) {
    // SAFETY: by the contract of the caller.
    unsafe {
        match size {
            1 => copy::gather_tile::<u8>(src, r, c, buffer.cast(), rows, cols),
            2 => copy::gather_tile::<u16>(src, r, c, buffer.cast(), rows, cols),
            4 => copy::gather_tile::<u32>(src, r, c, buffer.cast(), rows, cols),
            _ => copy::gather_tile::<u64>(src, r, c, buffer.cast(), rows, cols),
        }
    }
}

/// The inverse of [`gather`].
///
/// # Safety
/// The buffer must hold the tile, every element of which must be writable.
pub(crate) unsafe fn scatter(
    buffer: *const u8,
    out: *mut u8,
    r: isize,
    c: isize,
    rows: usize,
    cols: usize,
    size: usize,
) {
    // SAFETY: by the contract of the caller.
    unsafe {
        match size {
            1 => copy::scatter_tile::<u8>(buffer.cast(), out, r, c, rows, cols),
            2 => copy::scatter_tile::<u16>(buffer.cast(), out, r, c, rows, cols),
            4 => copy::scatter_tile::<u32>(buffer.cast(), out, r, c, rows, cols),
            _ => copy::scatter_tile::<u64>(buffer.cast(), out, r, c, rows, cols),
        }
    }
}
