//! The loops over vectors that reflections are made of.

use super::Given;
use crate::kernels::matmul::{Float, Vector, Work, halved};
use crate::kernels::vexp::Real;

/// Does the work with the vectors of the level in use.
pub(super) fn at_level<T: Float, W: Work<T>>(work: W) -> W::Output {
    // SAFETY: what the work reaches was checked when it was made.
    unsafe { crate::kernels::matmul::at_level(work) }
}

/// What is to be read of a matrix in rows: asserted to lie within a slice.
#[derive(Clone, Copy)]
pub(super) struct Lines<T> {
    at: Given<T>,
    count: usize,
    width: usize,
}

impl<T> Lines<T> {
    /// `count` rows of `width` elements, `step` apart, from the beginning of the slice on.
    pub(super) fn of(data: &[T], step: usize, count: usize, width: usize) -> Self {
        assert!(count == 0 || (count - 1) * step + width <= data.len());
        Self { at: Given::new(data.as_ptr(), super::matmul::lines(step)), count, width }
    }
}

/// The sum of a vector's elements, in halves.
#[inline(always)]
unsafe fn total<V: Vector>(v: V) -> V::T {
    let mut all = [V::T::ZERO; 16];
    // SAFETY: no vector has more elements.
    unsafe { v.store(all.as_mut_ptr()) };
    halved(&mut all[..V::WIDTH])
}

/// Inner products of `R` rows with `x`.
#[inline(always)]
unsafe fn inner<V: Vector, const R: usize>(
    rows: [*const V::T; R],
    x: *const V::T,
    n: usize,
) -> [V::T; R] {
    // SAFETY: the caller's rows have n elements each.
    unsafe {
        let zero = V::splat(V::T::ZERO);
        let (mut even, mut odd) = ([zero; R], [zero; R]);
        let mut at = 0;
        while at + 2 * V::WIDTH <= n {
            let (near, far) = (V::load(x.add(at)), V::load(x.add(at + V::WIDTH)));
            for r in 0..R {
                even[r] = V::load(rows[r].add(at)).fused(near, even[r]);
                odd[r] = V::load(rows[r].add(at + V::WIDTH)).fused(far, odd[r]);
            }
            at += 2 * V::WIDTH;
        }
        if at + V::WIDTH <= n {
            let near = V::load(x.add(at));
            for r in 0..R {
                even[r] = V::load(rows[r].add(at)).fused(near, even[r]);
            }
            at += V::WIDTH;
        }
        let mut sums = [V::T::ZERO; R];
        for r in 0..R {
            sums[r] = total(even[r].plus(odd[r]));
        }
        for j in at..n {
            for r in 0..R {
                sums[r] = V::combine(*rows[r].add(j), *x.add(j), sums[r]);
            }
        }
        sums
    }
}

/// `y += sum of factors times rows`, for `R` rows.
#[inline(always)]
unsafe fn combine<V: Vector, const R: usize>(
    rows: [*const V::T; R],
    factors: [V::T; R],
    y: *mut V::T,
    n: usize,
) {
    // SAFETY: the caller's rows, and `y`, have n elements each.
    unsafe {
        let wide = factors.map(|factor| V::splat(factor));
        let mut at = 0;
        while at + V::WIDTH <= n {
            let mut sum = V::load(y.add(at));
            for r in 0..R {
                sum = V::load(rows[r].add(at)).fused(wide[r], sum);
            }
            sum.store(y.add(at));
            at += V::WIDTH;
        }
        for j in at..n {
            let mut sum = *y.add(j);
            for r in 0..R {
                sum = V::combine(*rows[r].add(j), factors[r], sum);
            }
            *y.add(j) = sum;
        }
    }
}

struct Dots<'a, T> {
    lines: Lines<T>,
    x: &'a [T],
    out: &'a mut [T],
}

impl<T: Float> Work<T> for Dots<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let Lines { at, count, width } = self.lines;
        let x = self.x.as_ptr();
        let mut i = 0;
        // SAFETY: rows of the lines.
        unsafe {
            while i + 4 <= count {
                let rows = std::array::from_fn(|r| at.at(i + r, 0));
                self.out[i..i + 4].copy_from_slice(&inner::<V, 4>(rows, x, width));
                i += 4;
            }
            while i < count {
                self.out[i] = inner::<V, 1>([at.at(i, 0)], x, width)[0];
                i += 1;
            }
        }
    }
}

/// The inner products of rows with `x`.
pub(super) fn dots<T: Float>(lines: Lines<T>, x: &[T], out: &mut [T]) {
    assert!(x.len() == lines.width && out.len() == lines.count);
    at_level(Dots { lines, x, out });
}

/// The inner product of two.
pub(super) fn dot_of<T: Float>(x: &[T], y: &[T]) -> T {
    let mut out = [T::ZERO];
    dots(Lines::of(x, x.len(), 1, x.len()), y, &mut out);
    out[0]
}

struct Across<'a, T> {
    lines: Lines<T>,
    factors: &'a [T],
    y: &'a mut [T],
}

impl<T: Float> Work<T> for Across<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let Lines { at, count, width } = self.lines;
        let y = self.y.as_mut_ptr();
        let mut i = 0;
        // SAFETY: rows of the lines.
        unsafe {
            while i + 8 <= count {
                let rows = std::array::from_fn(|r| at.at(i + r, 0));
                let factors = std::array::from_fn(|r| self.factors[i + r]);
                combine::<V, 8>(rows, factors, y, width);
                i += 8;
            }
            while i + 2 <= count {
                let rows = std::array::from_fn(|r| at.at(i + r, 0));
                let factors = std::array::from_fn(|r| self.factors[i + r]);
                combine::<V, 2>(rows, factors, y, width);
                i += 2;
            }
            while i < count {
                combine::<V, 1>([at.at(i, 0)], [self.factors[i]], y, width);
                i += 1;
            }
        }
    }
}

/// `y += sum of factors times rows`.
pub(super) fn across<T: Float>(lines: Lines<T>, factors: &[T], y: &mut [T]) {
    assert!(factors.len() == lines.count && y.len() == lines.width);
    at_level(Across { lines, factors, y });
}

struct Symmetric<'a, T> {
    lines: Lines<T>,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Float> Work<T> for Symmetric<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        const R: usize = 4;
        let Lines { at, count: n, .. } = self.lines;
        let (x, y) = (self.x, self.y.as_mut_ptr());
        // SAFETY: elements of the upper triangle, and of vectors as long.
        unsafe {
            for j in 0..n {
                *y.add(j) = T::ZERO;
            }
            let mut i = 0;
            while i + R <= n {
                for r in 0..R {
                    let row = at.at(i + r, 0);
                    *y.add(i + r) += *row.add(i + r) * x[i + r];
                    for j in i + r + 1..i + R {
                        *y.add(i + r) += *row.add(j) * x[j];
                        *y.add(j) += *row.add(j) * x[i + r];
                    }
                }
                let rows: [*const T; R] = std::array::from_fn(|r| at.at(i + r, 0));
                let wide: [V; R] = std::array::from_fn(|r| V::splat(x[i + r]));
                let mut sums = [V::splat(T::ZERO); R];
                let mut j = i + R;
                while j + V::WIDTH <= n {
                    let near = V::load(x.as_ptr().add(j));
                    let mut to = V::load(y.add(j));
                    for r in 0..R {
                        let a = V::load(rows[r].add(j));
                        sums[r] = a.fused(near, sums[r]);
                        to = a.fused(wide[r], to);
                    }
                    to.store(y.add(j));
                    j += V::WIDTH;
                }
                for r in 0..R {
                    let mut sum = total(sums[r]);
                    for j in j..n {
                        sum = V::combine(*rows[r].add(j), x[j], sum);
                        *y.add(j) = V::combine(*rows[r].add(j), x[i + r], *y.add(j));
                    }
                    *y.add(i + r) += sum;
                }
                i += R;
            }
            for i in i..n {
                let row = at.at(i, 0);
                *y.add(i) += *row.add(i) * x[i];
                for j in i + 1..n {
                    *y.add(i) += *row.add(j) * x[j];
                    *y.add(j) += *row.add(j) * x[i];
                }
            }
        }
    }
}

/// `y = A x` with a symmetric matrix, of which the upper triangle is read.
pub(super) fn symmetric<T: Float>(lines: Lines<T>, x: &[T], y: &mut [T]) {
    assert!(lines.count == lines.width && x.len() == lines.count && y.len() == lines.count);
    at_level(Symmetric { lines, x, y });
}

struct Mirror<'a, T> {
    v: &'a [T],
    factor: T,
    lines: &'a mut [T],
    step: usize,
    top: usize,
}

impl<T: Float> Work<T> for Mirror<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let Self { v, factor, lines, step, top } = self;
        let (v, n) = (v.as_ptr(), v.len());
        let mut left = lines.chunks_exact_mut(4 * step);
        // SAFETY: whole lines, of which what lies behind `top` is as long as v.
        unsafe {
            for four in &mut left {
                let at = four.as_mut_ptr();
                let rows: [*mut T; 4] = std::array::from_fn(|r| at.add(r * step + top));
                let shares = inner::<V, 4>(rows.map(<*mut T>::cast_const), v, n);
                for (row, share) in rows.into_iter().zip(shares) {
                    combine::<V, 1>([v], [-(factor * share)], row, n);
                }
            }
            for one in left.into_remainder().chunks_exact_mut(step) {
                let row = one.as_mut_ptr().add(top);
                let [share] = inner::<V, 1>([row], v, n);
                combine::<V, 1>([v], [-(factor * share)], row, n);
            }
        }
    }
}

/// `1 - factor v v^T` times columns that lie one after the other, from row `top` on.
pub(super) fn mirror<T: Float>(v: &[T], factor: T, columns: &mut [T], length: usize, top: usize) {
    assert!(length > 0 && top + v.len() == length);
    if factor != T::ZERO && !columns.is_empty() {
        at_level(Mirror { v, factor, lines: columns, step: length, top });
    }
}

/// Turns `x` into the vector v, which begins with one, of the reflection `1 - factor v v^T` that makes a
/// multiple of the first unit vector of `x`. Returns that multiple, and the factor.
pub(super) fn reflector<T: Float>(x: &mut [T]) -> (T, T) {
    let Some((&mut first, rest)) = x.split_first_mut() else { return (T::ZERO, T::ZERO) };
    let square = dot_of(rest, rest);
    let narrow = size_of::<T>() == 4;
    let (least, most) = if narrow { (1e-26, 1e26) } else { (1e-260, 1e260) };
    let all = (first * first + square).to_f64();
    if square.to_f64() > least && all < most {
        let norm = T::from_f64(all.sqrt());
        let image = if first > T::ZERO { -norm } else { norm };
        let scale = T::ONE / (first - image);
        for x in rest {
            *x = *x * scale;
        }
        x[0] = T::ONE;
        (image, (image - first) / image)
    } else {
        // Far from one, and perhaps not even of full precision.
        let greatest = rest.iter().fold(0.0, |most: f64, x| most.max(x.to_f64().abs()));
        if greatest == 0.0 && !square.is_nan() {
            x[0] = T::ONE;
            return (first, T::ZERO);
        }
        let unit = greatest.max(first.to_f64().abs());
        let (mut sum, own) = (0.0, first.to_f64() / unit);
        for x in &*rest {
            let part = x.to_f64() / unit;
            sum += part * part;
        }
        let norm = (own * own + sum).sqrt() * if first > T::ZERO { -1.0 } else { 1.0 };
        for x in rest {
            *x = T::from_f64(x.to_f64() / unit / (own - norm));
        }
        x[0] = T::ONE;
        (T::from_f64(norm * unit), T::from_f64((norm - own) / norm))
    }
}
