//! Copies of pieces of a few bytes: their lengths are known to the compiler where they are common.

use crate::kernels::multiversion::{Job, run_narrow};

/// Bytes of a piece up to which [`move_pieces`] is worth its choice.
pub(in crate::kernels) const SMALL: usize = 64;

/// Copies `count` pieces of `len` bytes, `step_from` bytes apart, to places `step_to` bytes apart.
///
/// # Safety
/// All of them must be readable and writable, and source and destination apart.
pub(crate) unsafe fn move_pieces(
    from: *const u8,
    step_from: isize,
    to: *mut u8,
    step_to: isize,
    count: usize,
    len: usize,
) {
    macro_rules! known {
        ($($n:literal)*) => {
            match len {
                $($n => {
                    for i in 0..count as isize {
                        // SAFETY: by the contract.
                        unsafe {
                            let piece = from.offset(step_from * i).cast::<[u8; $n]>().read();
                            to.offset(step_to * i).cast::<[u8; $n]>().write(piece);
                        }
                    }
                })*
                _ => {
                    for i in 0..count as isize {
                        // SAFETY: by the contract.
                        unsafe {
                            let (from, to) = (from.offset(step_from * i), to.offset(step_to * i));
                            std::ptr::copy_nonoverlapping(from, to, len);
                        }
                    }
                }
            }
        };
    }
    known!(1 2 3 4 6 8 12 16 20 24 32 40 48 64);
}

/// `N` runs of elements taken in turn: element `i` of run `k` goes to place `i * N + k`.
struct Interleave<'a, T, const N: usize> {
    runs: [&'a [T]; N],
    to: &'a mut [[std::mem::MaybeUninit<T>; N]],
}

impl<T: Copy, const N: usize> Job for Interleave<'_, T, N> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let n = self.to.len();
        let runs = self.runs.map(|run| &run[..n]);
        for i in 0..n {
            for k in 0..N {
                self.to[i][k].write(runs[k][i]);
            }
        }
    }
}

/// Takes runs of `count` elements in turn; `false`, with nothing done, for others than two to four.
///
/// # Safety
/// The runs must be readable, and `to` writable for all of them, apart from them.
pub(crate) unsafe fn interleave<T: Copy>(runs: &[*const T], to: *mut T, count: usize) -> bool {
    macro_rules! known {
        ($($n:literal)*) => {
            match runs.len() {
                $($n => {
                    // SAFETY: by the contract.
                    let job = unsafe {
                        Interleave::<T, $n> {
                            runs: std::array::from_fn(|k| {
                                std::slice::from_raw_parts(runs[k], count)
                            }),
                            to: std::slice::from_raw_parts_mut(to.cast(), count),
                        }
                    };
                    run_narrow(job);
                })*
                _ => return false,
            }
        };
    }
    known!(2 3 4);
    true
}

/// Writes the elements of rows `r` bytes apart in reverse, `N` of each; `src` is the first row's first.
struct Reverse<'a, T, const N: usize> {
    src: *const u8,
    r: isize,
    to: &'a mut [[std::mem::MaybeUninit<T>; N]],
}

impl<T: Copy, const N: usize> Job for Reverse<'_, T, N> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let back = (N as isize - 1) * size_of::<T>() as isize;
        for (i, to) in self.to.iter_mut().enumerate() {
            let row = self.src.wrapping_offset(self.r * i as isize - back).cast::<[T; N]>();
            // SAFETY: by the contract of `reverse`.
            let row = unsafe { row.read_unaligned() };
            for k in 0..N {
                to[k].write(row[N - 1 - k]);
            }
        }
    }
}

/// Copies rows of two to four elements that lie backwards; `false`, with nothing done, for others.
///
/// # Safety
/// `src` and the `cols - 1` elements before it, of every row, must be readable; `to` must hold the rows.
pub(super) unsafe fn reverse<T: Copy>(
    src: *const u8,
    r: isize,
    to: *mut T,
    rows: usize,
    cols: usize,
) -> bool {
    macro_rules! known {
        ($($n:literal)*) => {
            match cols {
                $($n => {
                    // SAFETY: by the contract.
                    let to = unsafe { std::slice::from_raw_parts_mut(to.cast(), rows) };
                    run_narrow(Reverse::<T, $n> { src, r, to });
                })*
                _ => return false,
            }
        };
    }
    known!(2 3 4);
    true
}
