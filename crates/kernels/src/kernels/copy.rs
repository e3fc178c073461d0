//! Copies, casts and tile transposition.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment, reason = "operands are aligned, SIMD loads need not be")]

mod fills;
mod pieces;

pub(crate) use fills::repeat_runs;
pub use fills::{element_bits, fill, fill_bits, fill_block};
pub(super) use pieces::SMALL;
pub(crate) use pieces::{interleave, move_pieces};

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::block::{Block, Map, Mode, block_narrow};
use super::elementwise::{Operand, run};
use super::raw::prefetch;
use crate::dtype::{Bool, DType, dispatch};

/// Conversion between element types as torch does it.
pub trait CastTo<O> {
    /// The converted value.
    fn cast_to(self) -> O;
}

/// Truncates as the x86 instruction does: what does not fit becomes the least integer.
macro_rules! truncate {
    ($x:expr, $f:ty, $i:ty) => {{
        let x = $x;
        // Both bounds are exact in the float type.
        let least = <$i>::MIN as $f;
        let inside = (least..-least).contains(&x);
        // SAFETY: either lies within the range of the integer.
        unsafe { (if inside { x } else { least }).to_int_unchecked::<$i>() }
    }};
}

macro_rules! casts {
    (int $($a:ty),*) => {$(
        casts!(@num $a => u8 i8 i16 i32 i64 f32 f64);
        casts!(@bool $a, |x| x != 0);
    )*};
    (@num $a:ty => $($o:ty)*) => {$(
        impl CastTo<$o> for $a {
            #[inline(always)]
            fn cast_to(self) -> $o { self as $o }
        }
        )*
    };
    (@bool $a:ty, |$x:ident| $e:expr) => {
        impl CastTo<Bool> for $a {
            #[inline(always)]
            fn cast_to(self) -> Bool { let $x = self; ($e).into() }
        }
        impl CastTo<$a> for Bool {
            #[inline(always)]
            fn cast_to(self) -> $a { u8::from(self.get()) as $a }
        }
    };
    (float $($a:ty),*) => {$(
        casts!(@num $a => f32 f64);
        casts!(@bool $a, |x| x != 0.0);
        impl CastTo<i64> for $a {
            #[inline(always)]
            fn cast_to(self) -> i64 { truncate!(self, $a, i64) }
        }
        casts!(@small $a => i32 i16 i8 u8);
    )*};
    // Through i32, as torch does: the narrow ones wrap.
    (@small $a:ty => $($o:ty)*) => {$(
        impl CastTo<$o> for $a {
            #[inline(always)]
            fn cast_to(self) -> $o { truncate!(self, $a, i32) as $o }
        }
    )*};
}

casts!(int u8, i8, i16, i32, i64);
casts!(float f32, f64);

impl CastTo<Self> for Bool {
    #[inline(always)]
    fn cast_to(self) -> Self {
        self.get().into()
    }
}

struct Cast<A, O>(PhantomData<(A, O)>);

impl<A: Copy + CastTo<O>, O: Copy> Map for Cast<A, O> {
    type In = (A,);
    type Out = O;
    #[inline(always)]
    fn call<M: Mode>((x,): (A,), _: &[f64; 2]) -> O {
        x.cast_to()
    }
}

/// The block that converts `from` to `to`, as torch's `to` does on x86: floats are truncated (what
/// no integer holds becomes the least one), integers wrap, anything but zero is true.
pub fn cast_block(from: DType, to: DType) -> Block {
    if from == to && from != DType::Bool {
        return copy_block(from.size());
    }
    dispatch!(from, A => dispatch!(to, O => block_narrow::<Cast<A, O>>()))
}

/// The block that copies elements of `size` bytes. Never inlined, so that it gives the same function to
/// all: the driver knows it by its address.
#[inline(never)]
pub fn copy_block(size: usize) -> Block {
    unsafe fn copy<const S: usize>(ins: *const *const u8, out: *mut u8, n: usize, _: &[f64; 2]) {
        // SAFETY: the contract of `Block`: equal or apart.
        unsafe {
            let from = *ins;
            if from != out.cast_const() {
                copy_bytes(from, out, n * S);
            }
        }
    }
    match size {
        1 => copy::<1>,
        2 => copy::<2>,
        4 => copy::<4>,
        _ => copy::<8>,
    }
}

/// Copies bytes that do not overlap. Longer runs go through a loop of our own: the C library's takes the
/// string instruction, which on some processors is ten times as slow where the two places lie a few bytes
/// apart in their pages, and asks for nothing ahead.
///
/// # Safety
/// Both must be valid for `n` bytes.
#[inline]
pub(crate) unsafe fn copy_bytes(from: *const u8, to: *mut u8, n: usize) {
    // SAFETY: by the contract; the level was found to be there.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if n >= 1024 && super::isa::level() >= super::isa::Level::Avx2 {
            return copy_bytes_avx2(from, to, n);
        }
        std::ptr::copy_nonoverlapping(from, to, n);
    }
}

/// [`copy_bytes`] of a run that does not follow the one before. The C library's string instruction begins faster
/// than loads that the processor does not expect, where both places are as far into their lines (Zen 4, 2000 rows of
/// 8000 bytes from last to first: 0.75 of the time).
///
/// # Safety
/// As for [`copy_bytes`].
#[inline]
pub(crate) unsafe fn copy_line(from: *const u8, to: *mut u8, n: usize) {
    /// From here on it takes the instruction.
    const STRING: usize = 2112;
    // SAFETY: by the contract.
    unsafe {
        if n > STRING && (to as usize).wrapping_sub(from as usize).is_multiple_of(64) {
            std::ptr::copy_nonoverlapping(from, to, n);
        } else {
            copy_bytes(from, to, n);
        }
    }
}

/// [`copy_bytes`] of 160 and more.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn copy_bytes_avx2(from: *const u8, to: *mut u8, n: usize) {
    use std::arch::x86_64::*;
    /// How far ahead memory is asked for, in runs that end before the processor would do so by itself; in
    /// longer ones that only costs (12 MB copied on Zen 4: 676 us with, 474 without).
    const AHEAD: usize = 1024;
    const SHORT: usize = 8 * 1024;
    // SAFETY: whole vectors within the first or the last 160 bytes, or between.
    unsafe {
        let load = |at: usize| _mm256_loadu_si256(from.add(at).cast());
        _mm256_storeu_si256(to.cast(), load(0));
        let mut at = 32 - to as usize % 32;
        while at + 128 <= n {
            if n < SHORT {
                prefetch(from.wrapping_add(at + AHEAD));
                prefetch(from.wrapping_add(at + AHEAD + 64));
            }
            let pieces = [load(at), load(at + 32), load(at + 64), load(at + 96)];
            for (i, piece) in pieces.into_iter().enumerate() {
                _mm256_store_si256(to.add(at + 32 * i).cast(), piece);
            }
            at += 128;
        }
        // What is left and a little of what was written, once more.
        for i in 1..=4 {
            _mm256_storeu_si256(to.add(n - 32 * i).cast(), load(n - 32 * i));
        }
    }
}

/// Copies a strided tensor to another of the same shape and element size.
///
/// # Safety
/// As for [`run`].
pub unsafe fn copy(shape: &[usize], out: Operand<'_>, input: Operand<'_>) {
    // SAFETY: by the contract.
    unsafe { run(shape, out, &[input], copy_block(out.size), &[0.0; 2]) }
}

/// Reads a tile with byte strides `(r, c)` into packed rows.
///
/// # Safety
/// Every element of the tile must be readable and the buffer hold `rows * cols` elements.
pub(super) unsafe fn gather_tile<T: Copy>(
    src: *const u8,
    r: isize,
    c: isize,
    buffer: *mut T,
    rows: usize,
    cols: usize,
) {
    let size = size_of::<T>() as isize;
    // A few rows that lie in turn, as the colours of pixels do.
    let few = rows <= 4 && c.unsigned_abs() <= 4 * size.unsigned_abs();
    // SAFETY: by the contract.
    unsafe {
        if c == 0 {
            match cols {
                2 => repeat::<T, 2>(src, r, buffer, rows),
                3 => repeat::<T, 3>(src, r, buffer, rows),
                4 => repeat::<T, 4>(src, r, buffer, rows),
                _ => {
                    for i in 0..rows {
                        let value = src.offset(r * i as isize).cast::<T>().read();
                        for j in 0..cols {
                            buffer.add(i * cols + j).write(value);
                        }
                    }
                }
            }
        } else if c == size && cols * size_of::<T>() <= SMALL {
            move_pieces(src, r, buffer.cast(), cols as isize * size, rows, cols * size_of::<T>());
        } else if c == -size && pieces::reverse(src, r, buffer, rows, cols) {
        } else if c.unsigned_abs() <= r.unsigned_abs() || rows == 1 || r == 0 || few {
            for i in 0..rows {
                let row = src.offset(r * i as isize);
                let to = buffer.add(i * cols);
                // Steps known to the compiler become shuffles of whole vectors.
                if c == size {
                    copy_line(row, to.cast(), cols * size_of::<T>());
                } else if c == 2 * size {
                    spread::<T, 2>(row.cast::<T>(), to, cols);
                } else if c == 3 * size {
                    spread::<T, 3>(row.cast::<T>(), to, cols);
                } else if c == 4 * size {
                    spread::<T, 4>(row.cast::<T>(), to, cols);
                } else if c == -size {
                    spread::<T, -1>(row.cast::<T>(), to, cols);
                } else {
                    for j in 0..cols {
                        let value = row.offset(c * j as isize).cast::<T>().read();
                        buffer.add(i * cols + j).write(value);
                    }
                }
            }
        } else if r == size && cols <= 4 {
            // A few runs, to lie in turn.
            let runs = [0, 1, 2, 3].map(|k| src.wrapping_offset(c * k).cast::<T>());
            if !interleave(&runs[..cols], buffer, rows) {
                copy_bytes(src, buffer.cast(), rows * size_of::<T>());
            }
        } else {
            transpose(
                src,
                r,
                c,
                buffer.cast(),
                (cols * size_of::<T>()) as isize,
                size_of::<T>() as isize,
                rows,
                cols,
                PhantomData::<T>,
            );
        }
    }
}

/// Copies elements `r` bytes apart, each `N` times.
///
/// # Safety
/// As for [`gather_tile`].
#[inline(never)]
unsafe fn repeat<T: Copy, const N: usize>(src: *const u8, r: isize, to: *mut T, rows: usize) {
    // SAFETY: by the contract. A slice, so that the compiler knows it to be apart from what is read.
    let to = unsafe { std::slice::from_raw_parts_mut(to.cast::<[MaybeUninit<T>; N]>(), rows) };
    if r == size_of::<T>() as isize {
        for (i, to) in to.iter_mut().enumerate() {
            // SAFETY: as above.
            *to = [MaybeUninit::new(unsafe { src.cast::<T>().add(i).read() }); N];
        }
        return;
    }
    for (i, to) in to.iter_mut().enumerate() {
        // SAFETY: as above.
        *to = [MaybeUninit::new(unsafe { src.offset(r * i as isize).cast::<T>().read() }); N];
    }
}

/// Copies every `STEP`-th element. The results are a reference so that the compiler knows them to be
/// apart from what is read.
macro_rules! spread {
    ($name:ident $(, $feature:literal)?) => {
        $(#[target_feature(enable = $feature)])?
        #[inline(never)]
        unsafe fn $name<T: Copy, const STEP: isize>(from: *const T, to: &mut [MaybeUninit<T>]) {
            for (j, to) in to.iter_mut().enumerate() {
                // SAFETY: by the contract of the caller.
                to.write(unsafe { from.offset(STEP * j as isize).read() });
            }
        }
    };
}

spread!(spread_baseline);
#[cfg(target_arch = "x86_64")]
spread!(spread_avx2, "avx2");

/// Copies every `STEP`-th element.
#[inline(always)]
unsafe fn spread<T: Copy, const STEP: isize>(from: *const T, to: *mut T, n: usize) {
    // SAFETY: by the contract of the caller; the level was found to be there.
    unsafe {
        let to = std::slice::from_raw_parts_mut(to.cast::<MaybeUninit<T>>(), n);
        #[cfg(target_arch = "x86_64")]
        if super::isa::level() >= super::isa::Level::Avx2 {
            return spread_avx2::<T, STEP>(from, to);
        }
        spread_baseline::<T, STEP>(from, to);
    }
}

/// Writes packed rows to a tile with byte strides `(r, c)`.
///
/// # Safety
/// As for [`gather_tile`], with the tile writable.
pub(super) unsafe fn scatter_tile<T: Copy>(
    buffer: *const T,
    out: *mut u8,
    r: isize,
    c: isize,
    rows: usize,
    cols: usize,
) {
    // SAFETY: by the contract.
    unsafe {
        if c.unsigned_abs() <= r.unsigned_abs() || rows == 1 {
            for i in 0..rows {
                let row = out.offset(r * i as isize);
                for j in 0..cols {
                    let value = buffer.add(i * cols + j).read();
                    row.offset(c * j as isize).cast::<T>().write(value);
                }
            }
        } else {
            transpose(
                buffer.cast(),
                (cols * size_of::<T>()) as isize,
                size_of::<T>() as isize,
                out,
                r,
                c,
                rows,
                cols,
                PhantomData::<T>,
            );
        }
    }
}

/// Moves a tile column by column, so that each cache line of the side whose rows are close together
/// is touched once; squares of elements of four or eight bytes go through registers.
unsafe fn transpose<T: Copy>(
    src: *const u8,
    sr: isize,
    sc: isize,
    out: *mut u8,
    or: isize,
    oc: isize,
    rows: usize,
    cols: usize,
    _: PhantomData<T>,
) {
    // SAFETY: by the contract of the callers.
    unsafe {
        let one = |i: usize, j: usize| {
            let (i, j) = (i as isize, j as isize);
            let value = src.offset(sr * i + sc * j).cast::<T>().read();
            out.offset(or * i + oc * j).cast::<T>().write(value);
        };
        let (mut done_rows, mut done_cols) = (0, 0);
        #[cfg(target_arch = "x86_64")]
        {
            let size = size_of::<T>() as isize;
            // Along `i` the source is contiguous, along `j` the output; or the other way round.
            let turned = if sr == size && oc == size {
                Some((sc, or, rows, cols))
            } else if sc == size && or == size {
                Some((sr, oc, cols, rows))
            } else {
                None
            };
            if let Some((from, to, n, m)) = turned
                && let Some((unit, squares)) = squares(size_of::<T>())
            {
                squares(src, from, out, to, n & !(unit - 1), m & !(unit - 1));
                (done_rows, done_cols) = (rows & !(unit - 1), cols & !(unit - 1));
            }
        }
        for j in 0..done_cols {
            for i in done_rows..rows {
                one(i, j);
            }
        }
        for j in done_cols..cols {
            for i in 0..rows {
                one(i, j);
            }
        }
    }
}

/// Transposes `m` rows `from` bytes apart, of `n` elements, into `n` rows `to` bytes apart; both
/// multiples of the side of the squares that go through registers.
#[cfg(target_arch = "x86_64")]
type Squares = unsafe fn(*const u8, isize, *mut u8, isize, usize, usize);

/// The side of the squares and the function, for elements of a size.
#[cfg(target_arch = "x86_64")]
fn squares(size: usize) -> Option<(usize, Squares)> {
    match (size, super::isa::level() >= super::isa::Level::Avx2) {
        (4, true) => Some((8, squares8_avx2)),
        (4, false) => Some((4, squares4)),
        (8, true) => Some((4, squares4_wide_avx2)),
        _ => None,
    }
}

/// Rows of squares that memory is asked for in advance.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 4;

/// Calls `square(i, j)` over all squares of a side, row after row of squares; those of later rows
/// are asked for meanwhile, lying too far apart for the processor to guess.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn each_square(
    src: *const u8,
    from: isize,
    n: usize,
    m: usize,
    side: usize,
    size: usize,
    square: impl Fn(isize, isize),
) {
    for j in (0..m).step_by(side) {
        for i in (0..n).step_by(side) {
            if (i * size).is_multiple_of(64) {
                for k in 0..side {
                    let next = src.wrapping_offset(from * (j + AHEAD * side + k) as isize);
                    prefetch(next.wrapping_add(i * size));
                }
            }
            square(i as isize, j as isize);
        }
    }
}

/// Four by four elements of four bytes, with SSE2.
#[cfg(target_arch = "x86_64")]
unsafe fn squares4(src: *const u8, from: isize, out: *mut u8, to: isize, n: usize, m: usize) {
    use std::arch::x86_64::*;
    // SAFETY: SSE2 is part of x86-64, the pointers are valid by the contract of `transpose`; moves
    // and shuffles keep any bit pattern.
    unsafe {
        each_square(src, from, n, m, 4, 4, |i, j| {
            let src = src.offset(4 * i + from * j);
            let out = out.offset(to * i + 4 * j);
            let load = |k: isize| _mm_loadu_ps(src.offset(from * k).cast::<f32>());
            let (a, b, c, d) = (load(0), load(1), load(2), load(3));
            let (ab, cd) = (_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(c, d));
            let (ef, gh) = (_mm_unpackhi_ps(a, b), _mm_unpackhi_ps(c, d));
            _mm_storeu_ps(out.cast(), _mm_movelh_ps(ab, cd));
            _mm_storeu_ps(out.offset(to).cast(), _mm_movehl_ps(cd, ab));
            _mm_storeu_ps(out.offset(2 * to).cast(), _mm_movelh_ps(ef, gh));
            _mm_storeu_ps(out.offset(3 * to).cast(), _mm_movehl_ps(gh, ef));
        });
    }
}

/// Eight by eight elements of four bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn squares8_avx2(src: *const u8, from: isize, out: *mut u8, to: isize, n: usize, m: usize) {
    use std::arch::x86_64::*;
    // SAFETY: the pointers are valid by the contract of `transpose`; moves and shuffles keep any bit
    // pattern.
    unsafe {
        each_square(src, from, n, m, 8, 4, |i, j| {
            let src = src.offset(4 * i + from * j);
            let out = out.offset(to * i + 4 * j);
            // Halves of rows k and k + 4 in one register, so that shuffles within halves do the rest.
            let load = |k: isize, half: isize| {
                let low = _mm_loadu_ps(src.offset(from * k + 16 * half).cast::<f32>());
                let high = _mm_loadu_ps(src.offset(from * (k + 4) + 16 * half).cast::<f32>());
                _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high)
            };
            for half in 0..2 {
                let (a, b, c, d) = (load(0, half), load(1, half), load(2, half), load(3, half));
                let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
                let (ef, gh) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
                let out = out.offset(4 * half * to);
                let row = |k: isize, v| _mm256_storeu_ps(out.offset(k * to).cast(), v);
                row(0, _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd));
                row(1, _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd));
                row(2, _mm256_shuffle_ps::<0b01_00_01_00>(ef, gh));
                row(3, _mm256_shuffle_ps::<0b11_10_11_10>(ef, gh));
            }
        });
    }
}

/// Four by four elements of eight bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn squares4_wide_avx2(
    src: *const u8,
    from: isize,
    out: *mut u8,
    to: isize,
    n: usize,
    m: usize,
) {
    use std::arch::x86_64::*;
    // SAFETY: as above.
    unsafe {
        each_square(src, from, n, m, 4, 8, |i, j| {
            let src = src.offset(8 * i + from * j);
            let out = out.offset(to * i + 8 * j);
            for half in 0..2 {
                // Two columns of rows 0 and 2, and of rows 1 and 3.
                let load = |k: isize| {
                    let low = _mm_loadu_pd(src.offset(from * k + 16 * half).cast::<f64>());
                    let high = _mm_loadu_pd(src.offset(from * (k + 2) + 16 * half).cast::<f64>());
                    _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(low), high)
                };
                let (a, b) = (load(0), load(1));
                let out = out.offset(2 * half * to);
                _mm256_storeu_pd(out.cast(), _mm256_unpacklo_pd(a, b));
                _mm256_storeu_pd(out.offset(to).cast(), _mm256_unpackhi_pd(a, b));
            }
        });
    }
}

/// Whether [`stream`] bypasses the caches.
#[inline]
pub(super) fn can_stream() -> bool {
    cfg!(target_arch = "x86_64")
}

/// Copies past the caches, in as few writes as the instruction set allows: while they wait for memory the
/// processor goes on, until there are more of them than it can hold.
///
/// # Safety
/// Both must be valid for `bytes`.
pub(crate) unsafe fn stream(from: *const u8, to: *mut u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: by the contract; the level was found to be there.
    unsafe {
        match super::isa::level() {
            super::isa::Level::Avx512 => stream_avx512(from, to, bytes),
            super::isa::Level::Avx2 => stream_avx2(from, to, bytes),
            super::isa::Level::Baseline => stream_baseline(from, to, bytes),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: by the contract.
    unsafe {
        std::ptr::copy_nonoverlapping(from, to, bytes);
    }
}

/// [`stream`] for one level.
#[cfg(target_arch = "x86_64")]
macro_rules! stream {
    ($name:ident, $vector:ident, $load:ident, $store:ident $(, $feature:literal)?) => {
        $(#[target_feature(enable = $feature)])?
        unsafe fn $name(from: *const u8, to: *mut u8, bytes: usize) {
            use std::arch::x86_64::{$load, $store, $vector};
            const WIDE: usize = size_of::<$vector>();
            // SAFETY: whole lines within both, the second of which are aligned, and what lies around them.
            unsafe {
                let head = to.align_offset(64).min(bytes);
                std::ptr::copy_nonoverlapping(from, to, head);
                let mut at = head;
                while at + 64 <= bytes {
                    for at in (at..at + 64).step_by(WIDE) {
                        $store(to.add(at).cast(), $load(from.add(at).cast()));
                    }
                    at += 64;
                }
                std::ptr::copy_nonoverlapping(from.add(at), to.add(at), bytes - at);
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
stream!(stream_baseline, __m128i, _mm_loadu_si128, _mm_stream_si128);
#[cfg(target_arch = "x86_64")]
stream!(stream_avx2, __m256i, _mm256_loadu_si256, _mm256_stream_si256, "avx2");
#[cfg(target_arch = "x86_64")]
stream!(stream_avx512, __m512i, _mm512_loadu_si512, _mm512_stream_si512, "avx512f");

/// Orders streamed writes before what follows.
#[inline]
pub(crate) fn stream_fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_are_copied_whole() {
        let from: Vec<u8> = (0..6000u32).map(|i| (i * 7 % 251) as u8).collect();
        for n in (1000..1300).chain([2048, 4095, 5900]) {
            for (first, second) in [(0, 0), (1, 0), (0, 31), (3, 17), (12, 24)] {
                let mut to = vec![255u8; 6000];
                // SAFETY: within both.
                unsafe { copy_bytes(from.as_ptr().add(first), to.as_mut_ptr().add(second), n) };
                assert_eq!(to[second..second + n], from[first..first + n], "{n} bytes");
                let around = to[..second].iter().chain(&to[second + n..]);
                assert!(around.into_iter().all(|&byte| byte == 255), "{n} bytes");
            }
        }
    }
}
