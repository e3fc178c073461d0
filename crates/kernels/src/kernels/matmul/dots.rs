//! Products of few rows with rows: lines of both operands lie along the sum, and packing one of them would take as long as
//! the product.
//!
//! Every element is the sum of so many lanes whatever the processor's vectors, so AVX2 and AVX-512 give the same bits.
#![allow(unsafe_code)]

use super::simd::{Vector, Work};
use super::vector::{BLOCK, each_task, folded};
use super::{Float, Problem};

/// Rows of both operands that are multiplied with one another at once.
const SIDE: usize = 4;
/// Multiply-adds of a task, about.
const TASK: usize = 1 << 18;

/// Whether this way is taken: up to so many rows or columns, and sums long enough for the lanes to be added up.
fn suits<T: Float>(p: &Problem<T>) -> bool {
    let (few, many) = (p.m.min(p.n), p.m.max(p.n));
    let along = p.sa.column == 1 && p.sb.row == 1;
    along && few >= SIDE && p.k >= 128 && (few <= 16 || few <= 32 && p.k >= 16 * many)
}

/// Makes the product if it suits.
///
/// # Safety
/// See [`super::gemm`].
pub(super) unsafe fn run<T: Float>(p: &Problem<T>, parallel: bool) -> bool {
    if !suits(p) {
        return false;
    }
    let bands = p.n.div_ceil(SIDE);
    let each = (TASK / (p.m * p.k * SIDE)).max(1);
    let task = |task: usize| {
        let (first, last) = (task * each, bands.min((task + 1) * each));
        // SAFETY: the caller's promise is passed on; tasks write different columns.
        unsafe { super::at_level(Bands { p, first, last }) };
    };
    each_task(parallel, bands.div_ceil(each), task);
    true
}

/// Bands of columns.
struct Bands<'a, T> {
    p: &'a Problem<T>,
    first: usize,
    last: usize,
}

impl<T: Float> Work<T> for Bands<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        // Vectors of the lanes, and as many sums as there are registers for.
        // SAFETY: passed on.
        unsafe {
            match V::WIDTH * size_of::<T>() {
                64 => self.squares::<V, 1, 4>(),
                32 => self.squares::<V, 2, 2>(),
                _ => self.squares::<V, 4, 1>(),
            }
        }
    }
}

impl<T: Float> Bands<'_, T> {
    #[inline(always)]
    unsafe fn squares<V: Vector<T = T>, const N: usize, const R: usize>(self) {
        let p = self.p;
        for band in self.first..self.last {
            let end = p.n.min((band + 1) * SIDE);
            for j in (band * SIDE..end).step_by(R) {
                for i in (0..p.m).step_by(R) {
                    // SAFETY: rows and columns of the operands: the last square lies over the one before.
                    unsafe { self.square::<V, N, R>(i.min(p.m - R), j.min(p.n - R), i, j, end) };
                }
            }
        }
    }

    /// Sums of rows `i..` and columns `j..`, of which those from `from_i` and `from_j` up to `end` are written.
    #[inline(always)]
    unsafe fn square<V: Vector<T = T>, const N: usize, const R: usize>(
        &self,
        i: usize,
        j: usize,
        from_i: usize,
        from_j: usize,
        end: usize,
    ) {
        let p = self.p;
        // SAFETY: lines of both operands.
        unsafe {
            let mut total = [[<V::Pack as Vector>::splat(T::ZERO); R]; R];
            let step = N * V::WIDTH;
            let last = p.k % step;
            let masks: [V::Mask; N] =
                std::array::from_fn(|v| V::mask(last.saturating_sub(v * V::WIDTH).min(V::WIDTH)));
            let mut first = 0;
            while first < p.k {
                let n = BLOCK.min(p.k - first);
                let a = p.a.at(i as isize * p.sa.row + first as isize);
                let b = p.b.at(j as isize * p.sb.column + first as isize);
                let mut sums = [[[V::splat(T::ZERO); N]; R]; R];
                macro_rules! terms {
                    ($at:expr, $load:expr) => {
                        for v in 0..N {
                            let place = $at + v * V::WIDTH;
                            let load = $load;
                            let mut columns = [V::splat(T::ZERO); R];
                            for (c, column) in columns.iter_mut().enumerate() {
                                let b = b.wrapping_offset(c as isize * p.sb.column);
                                *column = load(b.wrapping_add(place), v);
                            }
                            for (r, sums) in sums.iter_mut().enumerate() {
                                let a = a.wrapping_offset(r as isize * p.sa.row);
                                let a = load(a.wrapping_add(place), v);
                                for (sum, &column) in sums.iter_mut().zip(&columns) {
                                    sum[v] = a.fused(column, sum[v]);
                                }
                            }
                        }
                    };
                }
                let whole = n / step * step;
                let mut at = 0;
                while at < whole {
                    terms!(at, |from: *const T, _| V::load(from));
                    at += step;
                }
                if whole < n {
                    terms!(whole, |from: *const T, v: usize| V::load_some(from, masks[v]));
                }
                for (total, sums) in total.iter_mut().zip(&sums) {
                    for (total, &sum) in total.iter_mut().zip(sums) {
                        let sum = folded(sum);
                        *total = if first == 0 { sum } else { total.plus(sum) };
                    }
                }
                first += n;
            }
            // As many as a packed vector has elements are added up together.
            let width = <V::Pack as Vector>::WIDTH;
            let mut made = [T::ZERO; SIDE * SIDE + 8];
            for group in 0..(R * R).div_ceil(width) {
                let mut square = [<V::Pack as Vector>::splat(T::ZERO); 8];
                for (s, lanes) in square.iter_mut().enumerate().take(width) {
                    let at = group * width + s;
                    if at < R * R {
                        *lanes = total[at / R][at % R];
                    }
                }
                let sums = <V::Pack as Vector>::sums(&square);
                sums.plus(<V::Pack as Vector>::splat(T::ZERO))
                    .store(made.as_mut_ptr().add(group * width));
            }
            for row in from_i..i + R {
                for column in from_j..end.min(j + R) {
                    let sum = p.alpha * made[(row - i) * R + column - j];
                    let (y, x) = (row as isize, column as isize);
                    let c = p.c.at(y * p.sc.row + x * p.sc.column);
                    *c = if p.beta == T::ZERO {
                        sum
                    } else {
                        p.beta * *p.d.at(y * p.sd.row + x * p.sd.column) + sum
                    };
                }
            }
        }
    }
}
