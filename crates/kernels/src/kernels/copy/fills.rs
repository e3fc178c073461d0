//! Memory filled with one value, or with runs of values.
#![allow(unsafe_code)]
#![allow(
    clippy::cast_ptr_alignment,
    reason = "operands are aligned, or written as if they were not"
)]

use crate::dtype::Element;
use crate::kernels::block::Block;
use crate::kernels::elementwise::{Operand, run};
use crate::kernels::multiversion::{Job, run_narrow};

/// The block without inputs that writes one value: the element's bits, as `f64::from_bits` of the
/// zero-extended pattern, in `p[0]` (see [`element_bits`]).
pub fn fill_block(size: usize) -> Block {
    unsafe fn fill<const S: usize>(_: *const *const u8, out: *mut u8, n: usize, p: &[f64; 2]) {
        // SAFETY: the contract of `Block`.
        unsafe { fill_bits(out, n, S, p[0].to_bits()) }
    }
    match size {
        1 => fill::<1>,
        2 => fill::<2>,
        4 => fill::<4>,
        _ => fill::<8>,
    }
}

/// The bytes of an element, zero-extended.
#[inline]
pub fn element_bits<T: Element>(value: T) -> u64 {
    let mut bytes = [0u8; 8];
    // SAFETY: elements are at most 8 bytes without padding.
    unsafe {
        std::ptr::copy_nonoverlapping(
            (&raw const value).cast::<u8>(),
            bytes.as_mut_ptr(),
            size_of::<T>(),
        );
    }
    // The pattern is cut at the element's size by whoever writes it, low bytes first.
    u64::from_le_bytes(bytes)
}

/// Writes `n` elements of `size` bytes.
///
/// # Safety
/// `out` must be aligned and valid for that.
#[inline]
pub unsafe fn fill_bits(out: *mut u8, n: usize, size: usize, bits: u64) {
    // SAFETY: by the contract.
    unsafe {
        if bits == 0 {
            std::ptr::write_bytes(out, 0, n * size);
            return;
        }
        match size {
            1 => std::ptr::write_bytes(out, bits as u8, n),
            2 => fill_with(out.cast(), n, bits as u16),
            4 => fill_with(out.cast(), n, bits as u32),
            _ => fill_with(out.cast(), n, bits),
        }
    }
}

/// Writes `n` elements, in the widest vectors there are.
#[inline]
unsafe fn fill_with<T: Copy>(out: *mut T, n: usize, value: T) {
    struct Fill<T>(*mut T, usize, T);
    impl<T: Copy> Job for Fill<T> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            for i in 0..self.1 {
                // SAFETY: by the contract of the callers.
                unsafe { self.0.add(i).write(self.2) };
            }
        }
    }
    run_narrow(Fill(out, n, value));
}

/// Writes each of some elements several times: the first of them `first` times, all others `length` times,
/// `n` elements together and up to 63 bytes of anything behind them.
///
/// # Safety
/// All must be readable, and `to` valid for so much.
pub(crate) unsafe fn repeat_runs(
    from: *const u8,
    size: usize,
    first: usize,
    length: usize,
    to: *mut u8,
    n: usize,
) {
    /// Elements of a type, and how many of them make a line.
    struct Runs<T, const LINE: usize> {
        from: *const T,
        first: usize,
        length: usize,
        to: *mut T,
        n: usize,
    }
    impl<T: Copy, const LINE: usize> Job for Runs<T, LINE> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            let Self { mut from, first, length, to, n } = self;
            let (mut done, mut run) = (0, first);
            while done < n {
                // Whole lines; the next run begins by writing over what is too much.
                // SAFETY: by the contract of the caller.
                unsafe {
                    let value = [from.read(); LINE];
                    for at in (0..run.min(n - done)).step_by(LINE) {
                        to.add(done + at).cast::<[T; LINE]>().write_unaligned(value);
                    }
                }
                from = from.wrapping_add(1);
                done += run;
                run = length;
            }
        }
    }
    macro_rules! sizes {
        ($($size:pat => $t:ty, $line:literal;)*) => {
            match size {
                $($size => run_narrow(Runs::<$t, $line> {
                    from: from.cast(),
                    first,
                    length,
                    to: to.cast(),
                    n,
                }),)*
            }
        };
    }
    sizes! { 1 => u8, 64; 2 => u16, 32; 4 => u32, 16; _ => u64, 8; }
}

/// Fills a strided tensor with one value.
///
/// # Safety
/// As for [`run`].
pub unsafe fn fill<T: Element>(shape: &[usize], out: Operand<'_>, value: T) {
    let p = [f64::from_bits(element_bits(value)), 0.0];
    // SAFETY: by the contract.
    unsafe { run(shape, out, &[], fill_block(size_of::<T>()), &p) }
}
