//! Products of integer matrices, wrapping as torch's do.
#![allow(unsafe_code)]

use super::Strides;
use crate::dtype::Element;
use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, Src, split};

/// An integer element (bool has no matrix product).
pub trait Integer: Element {
    /// `self + a * b`, wrapping.
    #[must_use]
    fn multiply_add(self, a: Self, b: Self) -> Self;
}

macro_rules! integer {
    ($($t:ident)*) => {$(
        impl Integer for $t {
            #[inline(always)]
            fn multiply_add(self, a: Self, b: Self) -> Self {
                self.wrapping_add(a.wrapping_mul(b))
            }
        }
    )*};
}
integer!(u8 i8 i16 i32 i64);

/// Columns summed at once.
const WIDTH: usize = 256;

/// `c = a @ b` for integers, with `a` m × k, `b` k × n and `c` m × n.
///
/// # Safety
/// As for [`super::gemm`].
pub unsafe fn integer_gemm<T: Integer>(
    m: usize,
    n: usize,
    k: usize,
    a: *const T,
    sa: Strides,
    b: *const T,
    sb: Strides,
    c: *mut T,
    sc: Strides,
) {
    let (a, b, c) = (Src::new(a), Src::new(b), Dst::new(c));
    let tiles = n.div_ceil(WIDTH);
    split(m * tiles, k * WIDTH.min(n), |first, last| {
        multiversion::run_narrow(Rows { n, k, a, sa, b, sb, c, sc, first, last, tiles });
    });
}

struct Rows<T> {
    n: usize,
    k: usize,
    a: Src<T>,
    sa: Strides,
    b: Src<T>,
    sb: Strides,
    c: Dst<T>,
    sc: Strides,
    first: usize,
    last: usize,
    tiles: usize,
}

impl<T: Integer> Job for Rows<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        if self.n == 1 && self.sa.column == 1 && self.sb.row == 1 {
            for i in self.first as isize..self.last as isize {
                // SAFETY: row i of a, the column of b and one element of c, as the caller vouches.
                unsafe {
                    let x = std::slice::from_raw_parts(self.a.at(i * self.sa.row), self.k);
                    let y = std::slice::from_raw_parts(self.b.at(0), self.k);
                    let mut sum = T::default();
                    for (&x, &y) in x.iter().zip(y) {
                        sum = sum.multiply_add(x, y);
                    }
                    *self.c.at(i * self.sc.row) = sum;
                }
            }
            return;
        }
        for unit in self.first..self.last {
            let (i, start) = ((unit / self.tiles) as isize, unit % self.tiles * WIDTH);
            let width = WIDTH.min(self.n - start);
            let mut acc = [T::default(); WIDTH];
            let acc = &mut acc[..width];
            for l in 0..self.k as isize {
                let row = self.b.at(l * self.sb.row + start as isize * self.sb.column);
                // SAFETY: row i of a and row l of b, as the caller vouches.
                unsafe {
                    let x = *self.a.at(i * self.sa.row + l * self.sa.column);
                    if self.sb.column == 1 {
                        let row = std::slice::from_raw_parts(row, width);
                        for (acc, &y) in acc.iter_mut().zip(row) {
                            *acc = acc.multiply_add(x, y);
                        }
                    } else {
                        for (j, acc) in acc.iter_mut().enumerate() {
                            let y = *row.wrapping_offset(j as isize * self.sb.column);
                            *acc = acc.multiply_add(x, y);
                        }
                    }
                }
            }
            for (j, &sum) in acc.iter().enumerate() {
                let at = i * self.sc.row + (start + j) as isize * self.sc.column;
                // SAFETY: each element of c belongs to one unit.
                unsafe { *self.c.at(at) = sum };
            }
        }
    }
}
