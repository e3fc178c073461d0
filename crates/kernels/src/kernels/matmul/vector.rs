//! Products of a matrix and a vector.
//!
//! Sums are split by sizes alone, in lanes that are as many whatever the vectors of the processor, so AVX2 and
//! AVX-512 give the same bits.
#![allow(unsafe_code)]

use super::blocked::Room;
use super::simd::{Vector, Work};
use super::{Float, Problem};
use crate::kernels::raw::{Dst, GRAIN, Src};

/// Terms that a set of lanes adds up: their sums are added to one another.
pub(super) const BLOCK: usize = 4096;
/// Terms of few long sums that are a task, about; the last ones of each task may be fewer.
const PART: usize = 1 << 17;
/// Bytes of lanes: of a line of the cache, in which tiles are counted.
const LINE: usize = 64;
/// Lines of a whole tile.
const LINES: usize = 4;
/// Rows of columns that lie apart which are summed up in L1, and how many columns at once.
const CHUNK: usize = 1024;
const TOGETHER: usize = 8;

/// `y[i]` = the sum over `l` of `a[i, l] * x[l]`.
#[derive(Clone, Copy)]
struct Product<T> {
    m: usize,
    k: usize,
    a: Src<T>,
    row: isize,
    column: isize,
    x: Src<T>,
    step: isize,
    y: Dst<T>,
    every: isize,
    /// What beta multiplies.
    d: Src<T>,
    each: isize,
}

/// Makes the product if one operand has at most three lines and both lie along the sum, one line after the other.
///
/// # Safety
/// See [`super::gemm`].
pub(super) unsafe fn thin<T: Float>(p: &Problem<T>, parallel: bool) -> bool {
    if p.sa.column != 1 || p.sb.row != 1 || p.k < 32 || p.m.min(p.n) > 3 {
        return false;
    }
    for line in 0..p.m.min(p.n) as isize {
        let (c, d) = (p.c, p.d);
        let one = if p.m <= p.n {
            let (a, c, d) = (p.a.at(line * p.sa.row), c.at(line * p.sc.row), d.at(line * p.sd.row));
            Problem { m: 1, a: Src::new(a), c: Dst::new(c), d: Src::new(d), ..*p }
        } else {
            let (c, d) = (c.at(line * p.sc.column), d.at(line * p.sd.column));
            let b = Src::new(p.b.at(line * p.sb.column));
            Problem { n: 1, b, c: Dst::new(c), d: Src::new(d), ..*p }
        };
        // SAFETY: a line of the caller's problem.
        unsafe { run(&one, parallel) };
    }
    true
}

/// Makes the product if it is of a column and a row: `c[i, j] = a[i] * b[j]`.
///
/// # Safety
/// See [`super::gemm`].
pub(super) unsafe fn outer<T: Float>(p: &Problem<T>, parallel: bool) -> bool {
    if p.k != 1 || p.alpha != T::ONE || p.beta != T::ZERO || p.m * p.n < LINE {
        return false;
    }
    let lines = |m, n, a, a_step, b, b_step, to| Outer { m, n, a, a_step, b, b_step, to };
    let (sa, sb) = (p.sa.row, p.sb.column);
    let (mut outer, every) = if p.sc.column == 1 {
        (lines(p.m, p.n, p.a, sa, p.b, sb, p.c), p.sc.row)
    } else if p.sc.row == 1 {
        (lines(p.n, p.m, p.b, sb, p.a, sa, p.c), p.sc.column)
    } else {
        return false;
    };
    let mut room = None;
    // SAFETY: the row is the caller's.
    outer.b = unsafe { adjoining(&mut room, outer.b, outer.b_step, outer.n) };
    let each = (GRAIN / outer.n).max(1);
    let task = |task: usize| {
        let rows = (task * each, outer.m.min((task + 1) * each));
        // SAFETY: the operands are the caller's; tasks write different rows.
        unsafe { super::at_level(Lines { outer: &outer, every, rows }) };
    };
    let parallel = parallel && outer.m * outer.n * size_of::<T>() >= crate::parallel::threshold();
    each_task(parallel, outer.m.div_ceil(each), task);
    true
}

/// The elements of a vector one after the other: copied into `room` unless they are.
///
/// # Safety
/// There must be `n` elements, `step` apart.
unsafe fn adjoining<T: Float>(
    room: &mut Option<Room>,
    from: Src<T>,
    step: isize,
    n: usize,
) -> Src<T> {
    if step == 1 {
        return from;
    }
    let to = room.insert(Room::take::<T>(1, n)).start::<T>();
    for i in 0..n {
        // SAFETY: an element of the vector; the room holds as many.
        unsafe { *to.add(i) = *from.at(i as isize * step) };
    }
    Src::new(to)
}

/// Does the tasks, on several threads if so it is said.
pub(super) fn each_task(parallel: bool, count: usize, task: impl Fn(usize) + Sync) {
    if parallel {
        crate::parallel::for_each(count, task);
    } else {
        (0..count).for_each(task);
    }
}

/// A column of `m` elements times a row of `n`, which adjoin.
struct Outer<T> {
    m: usize,
    n: usize,
    a: Src<T>,
    a_step: isize,
    b: Src<T>,
    b_step: isize,
    to: Dst<T>,
}

/// Some rows of it, `every` elements apart.
struct Lines<'a, T> {
    outer: &'a Outer<T>,
    every: isize,
    rows: (usize, usize),
}

impl<T: Float> Work<T> for Lines<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let p = self.outer;
        let (whole, left) = (p.n / V::WIDTH * V::WIDTH, p.n % V::WIDTH);
        let b = p.b.at(0);
        // SAFETY: the vectors, and rows of what is made.
        unsafe {
            let last = V::load_some(b.add(whole), V::mask(left));
            for i in self.rows.0..self.rows.1 {
                let x = V::splat(*p.a.at(i as isize * p.a_step));
                let to = p.to.at(i as isize * self.every);
                let mut j = 0;
                while j < whole {
                    V::load(b.add(j)).times(x).store(to.add(j));
                    j += V::WIDTH;
                }
                if left > 0 {
                    last.times(x).store_some(to.add(whole), left);
                }
            }
        }
    }
}

/// Makes the product if one operand is a vector and the other has lines of adjoining elements.
///
/// # Safety
/// See [`super::gemm`].
pub(super) unsafe fn run<T: Float>(p: &Problem<T>, parallel: bool) -> bool {
    let (a, b) = (p.sa, p.sb);
    let product = if p.n == 1 && (p.m > 1 || a.column == 1) {
        let (m, k, row, column, step, every) = (p.m, p.k, a.row, a.column, b.row, p.sc.row);
        Product { m, k, a: p.a, row, column, x: p.b, step, y: p.c, every, d: p.d, each: p.sd.row }
    } else if p.m == 1 {
        let (m, k, row, column, step) = (p.n, p.k, b.column, b.row, a.column);
        let (every, each) = (p.sc.column, p.sd.column);
        Product { m, k, a: p.b, row, column, x: p.a, step, y: p.c, every, d: p.d, each }
    } else {
        return false;
    };
    if product.column != 1 && product.row != 1 {
        return false;
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { product.run(p.alpha, p.beta, parallel) };
    true
}

impl<T: Float> Product<T> {
    /// Terms of a task if sums are few and long, else all.
    fn part(&self) -> usize {
        let lanes = LINES * LINE / size_of::<T>();
        let part = if self.column == 1 { PART } else { (PART / self.m).next_multiple_of(8) };
        let few = if self.column == 1 { self.m <= 4 } else { self.m <= lanes };
        if few && self.k > part { part } else { self.k }
    }

    unsafe fn run(mut self, alpha: T, beta: T, parallel: bool) {
        let Self { m, k, .. } = self;
        let part = self.part();
        let parts = k.div_ceil(part);
        let mut copied = None;
        // SAFETY: the vector is the caller's.
        self.x = unsafe { adjoining(&mut copied, self.x, self.step, k) };
        let plain = parts == 1 && self.every == 1 && alpha == T::ONE && beta == T::ZERO;
        let mut made = None;
        let to = if plain {
            self.y
        } else {
            Dst::new(made.insert(Room::take::<T>(2, m * parts)).start::<T>())
        };
        // Some rows of a part each.
        let rows = if self.column == 1 {
            (GRAIN / part).max(1).next_multiple_of(8)
        } else {
            (4 * GRAIN / part).max(1).next_multiple_of(CHUNK / 4)
        };
        let bands = m.div_ceil(rows);
        let sums = |task: usize| {
            let (first, band) = (task / bands * part, task % bands * rows);
            let (terms, rows) = ((first, k.min(first + part)), (band, m.min(band + rows)));
            let to = to.at((task / bands * m) as isize);
            // SAFETY: the operands are the caller's; tasks write different sums.
            unsafe { super::at_level(Sums { product: &self, rows, terms, to }) };
        };
        let parallel = parallel && m * k * size_of::<T>() >= crate::parallel::threshold();
        each_task(parallel, bands * parts, sums);
        if plain {
            return;
        }
        for i in 0..m {
            // SAFETY: the sums of row i; an element of y, and of d if beta is not zero.
            unsafe {
                let mut sum = *to.at(i as isize);
                for part in 1..parts {
                    sum += *to.at((part * m + i) as isize);
                }
                let y = self.y.at(i as isize * self.every);
                *y = if beta == T::ZERO {
                    alpha * sum
                } else {
                    beta * *self.d.at(i as isize * self.each) + alpha * sum
                };
            }
        }
    }
}

/// The sums of some terms of some rows, one after the other.
#[derive(Clone, Copy)]
struct Sums<'a, T> {
    product: &'a Product<T>,
    rows: (usize, usize),
    terms: (usize, usize),
    /// That of row 0.
    to: *mut T,
}

impl<T: Float> Work<T> for Sums<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: passed on.
        unsafe {
            if self.product.column == 1 {
                self.along::<V>();
            } else {
                self.across::<V>();
            }
        }
    }
}

impl<T: Float> Sums<'_, T> {
    /// Rows of adjoining elements: dot products.
    #[inline(always)]
    unsafe fn along<V: Vector<T = T>>(self) {
        let terms = self.terms.1 - self.terms.0;
        // SAFETY: passed on.
        unsafe {
            match (terms, self.product.row) {
                (2, 2) => return self.narrow::<2, 16>(),
                (3, 3) => return self.narrow::<3, 16>(),
                (4, 4) => return self.narrow::<4, 16>(),
                (5, 5) => return self.narrow::<5, 8>(),
                (6, 6) => return self.narrow::<6, 8>(),
                (7, 7) => return self.narrow::<7, 8>(),
                (8, 8) => return self.narrow::<8, 8>(),
                _ => {}
            }
            match (V::WIDTH * size_of::<T>(), terms.div_ceil(V::WIDTH)) {
                (64, 1) if terms <= V::WIDTH / 2 => self.short::<V::Pack, 1>(),
                (64, 1) => self.short::<V, 1>(),
                (64, 2) => self.short::<V, 2>(),
                (64, 3) => self.short::<V, 3>(),
                (64, 4) => self.short::<V, 4>(),
                (64, _) => self.long::<V, 4, 4>(),
                (32, 1) => self.short::<V, 1>(),
                (32, 2) => self.short::<V, 2>(),
                (32, 3) => self.short::<V, 3>(),
                (32, 4) => self.short::<V, 4>(),
                (32, 5) => self.short::<V, 5>(),
                (32, 6) => self.short::<V, 6>(),
                (32, 7) => self.short::<V, 7>(),
                (32, 8) => self.short::<V, 8>(),
                (32, _) => self.long::<V, 8, 1>(),
                (_, 0..=4) => self.short::<V, 4>(),
                (_, _) => self.long::<V, 16, 1>(),
            }
        }
    }

    /// Very short rows without gaps, many of them in a vector: the compiler takes them apart.
    #[inline(always)]
    unsafe fn narrow<const K: usize, const ROWS: usize>(self) {
        let p = self.product;
        let (mut i, end) = self.rows;
        // SAFETY: rows of the matrix, the vector, and sums.
        unsafe {
            let x = p.x.at(0).cast::<[T; K]>().read();
            let sum = |row: &[T; K]| {
                let mut sum = row[0] * x[0];
                for l in 1..K {
                    sum = row[l].fused(x[l], sum);
                }
                sum
            };
            while i + ROWS <= end {
                let from = &*p.a.at((i * K) as isize).cast::<[[T; K]; ROWS]>();
                let mut sums = [T::ZERO; ROWS];
                for (to, row) in sums.iter_mut().zip(from) {
                    *to = sum(row);
                }
                self.to.add(i).cast::<[T; ROWS]>().write(sums);
                i += ROWS;
            }
            while i < end {
                *self.to.add(i) = sum(&*p.a.at((i * K) as isize).cast());
                i += 1;
            }
        }
    }

    /// Rows of at most `N` vectors: each is one of products, added up in halves.
    #[inline(always)]
    unsafe fn short<V: Vector<T = T>, const N: usize>(self) {
        let p = self.product;
        let (first, terms) = (self.terms.0, self.terms.1 - self.terms.0);
        // SAFETY: rows of the matrix, and the vector.
        unsafe {
            let masks: [V::Mask; N] =
                std::array::from_fn(|v| V::mask(terms.saturating_sub(v * V::WIDTH).min(V::WIDTH)));
            let x: [V; N] = std::array::from_fn(|v| {
                V::load_some(p.x.at(first as isize).wrapping_add(v * V::WIDTH), masks[v])
            });
            self.rows::<V, 1>(|i| {
                let a = p.a.at(i as isize * p.row + first as isize);
                let products: [V; N] = std::array::from_fn(|v| {
                    let a = a.wrapping_add(v * V::WIDTH);
                    // All but the last are whole, unless vectors are narrow.
                    let whole = v + 1 < N && V::WIDTH * size_of::<T>() >= 32;
                    let a = if whole { V::load(a) } else { V::load_some(a, masks[v]) };
                    a.times(x[v])
                });
                [folded(products)]
            });
        }
    }

    #[inline(always)]
    unsafe fn long<V: Vector<T = T>, const N: usize, const R: usize>(self) {
        let last = (self.terms.1 - self.terms.0) % (N * V::WIDTH);
        // SAFETY: rows of the matrix, and the vector.
        unsafe {
            let masks =
                std::array::from_fn(|v| V::mask(last.saturating_sub(v * V::WIDTH).min(V::WIDTH)));
            if self.rows.1 - self.rows.0 >= R {
                self.rows::<V, R>(|i| self.lanes::<V, N, R>(i, masks));
            } else {
                self.rows::<V, 1>(|i| self.lanes::<V, N, 1>(i, masks));
            }
        }
    }

    /// The sums of all rows, of what `lanes` gives for `R` of them each.
    #[inline(always)]
    unsafe fn rows<V: Vector<T = T>, const R: usize>(&self, lanes: impl Fn(usize) -> [V::Pack; R]) {
        let width = <V::Pack as Vector>::WIDTH;
        let (mut i, end) = self.rows;
        // SAFETY: sums of rows.
        unsafe {
            let mut square = [V::Pack::splat(T::ZERO); 8];
            while i < end {
                // Rows beyond the last are the last.
                let whole = i + width <= end;
                // Constant bounds: what stands in the square stays in registers.
                for group in 0..8 / R {
                    let at = i + group * R;
                    if group * R < width && (whole || at < end) {
                        let some = lanes(if whole { at } else { at.min(end - R) });
                        square[group * R..(group + 1) * R].copy_from_slice(&some);
                    }
                }
                // A zero without its sign: lanes without products would add it in one way and not in another.
                let sums = V::Pack::sums(&square).plus(V::Pack::splat(T::ZERO));
                if whole {
                    sums.store(self.to.add(i));
                } else if R == 1 {
                    sums.store_some(self.to.add(i), end - i);
                } else {
                    let mut last = [T::ZERO; 8];
                    sums.store(last.as_mut_ptr());
                    for j in i..end {
                        // In the group that begins R before the end, if it was drawn back.
                        let group = (j - i) / R * R;
                        let at = group + j - (i + group).min(end - R);
                        *self.to.add(j) = last[at];
                    }
                }
                i += width;
            }
        }
    }

    /// Sums of every so many products of `R` rows.
    #[inline(always)]
    unsafe fn lanes<V: Vector<T = T>, const N: usize, const R: usize>(
        &self,
        i: usize,
        masks: [V::Mask; N],
    ) -> [V::Pack; R] {
        let p = self.product;
        // SAFETY: rows of the matrix, and the vector.
        unsafe {
            let mut total = [V::Pack::splat(T::ZERO); R];
            let mut first = self.terms.0;
            loop {
                let n = BLOCK.min(self.terms.1 - first);
                let x = p.x.at(first as isize);
                let a = p.a.at(i as isize * p.row + first as isize);
                let mut acc = [[V::splat(T::ZERO); N]; R];
                let step = N * V::WIDTH;
                let whole = n / step * step;
                let mut at = 0;
                while at < whole {
                    for v in 0..N {
                        let place = at + v * V::WIDTH;
                        let x = V::load(x.add(place));
                        for (r, acc) in acc.iter_mut().enumerate() {
                            let a = a.wrapping_offset(r as isize * p.row).add(place);
                            acc[v] = V::load(a).fused(x, acc[v]);
                        }
                    }
                    at += step;
                }
                for v in 0..N {
                    let place = whole + v * V::WIDTH;
                    if place < n {
                        let x = V::load_some(x.add(place), masks[v]);
                        for (r, acc) in acc.iter_mut().enumerate() {
                            let a = a.wrapping_offset(r as isize * p.row).add(place);
                            acc[v] = V::load_some(a, masks[v]).fused(x, acc[v]);
                        }
                    }
                }
                for (total, acc) in total.iter_mut().zip(acc) {
                    let sum = folded(acc);
                    *total = if first == self.terms.0 { sum } else { total.plus(sum) };
                }
                first += n;
                if first >= self.terms.1 {
                    return total;
                }
            }
        }
    }

    /// Columns of adjoining elements: sums of columns.
    #[inline(always)]
    unsafe fn across<V: Vector<T = T>>(self) {
        let line = LINE / size_of::<T>();
        let (mut i, end) = self.rows;
        // SAFETY: passed on.
        unsafe {
            if end - i >= CHUNK / 4 && self.terms.1 - self.terms.0 > TOGETHER {
                return self.streams::<V>();
            }
            while i < end {
                let left = end - i;
                // Vectors of a tile, and how many sums each of its elements has: enough to be on their way at once.
                i += match (V::WIDTH * size_of::<T>(), left.div_ceil(line / 2)) {
                    (32.., 0..=1) => self.tile::<V::Pack, 1, 8>(i, left),
                    (_, 0..=1) => self.tile::<V, 2, 8>(i, left),
                    (64, 2) => self.tile::<V, 1, 4>(i, left),
                    (64, 3..=4) => self.tile::<V, 2, 2>(i, left),
                    (64, _) => self.tile::<V, 4, 1>(i, left),
                    (32, 2) => self.tile::<V, 2, 4>(i, left),
                    (32, 3..=4) => self.tile::<V, 4, 2>(i, left),
                    (32, _) => self.tile::<V, 8, 1>(i, left),
                    (_, 2) => self.tile::<V, 4, 4>(i, left),
                    (_, 3..=4) => self.tile::<V, 8, 2>(i, left),
                    (_, _) => self.tile::<V, 16, 1>(i, left),
                };
            }
        }
    }

    /// The sums of `N` vectors of rows, or as many as are left, in `U` sums of every `U`-th term; gives the number of rows.
    #[inline(always)]
    unsafe fn tile<V: Vector<T = T>, const N: usize, const U: usize>(
        &self,
        i: usize,
        left: usize,
    ) -> usize {
        let p = self.product;
        let rows = left.min(N * V::WIDTH);
        // SAFETY: rows of columns, and their sums.
        unsafe {
            let mut acc = [[V::splat(T::ZERO); N]; U];
            let column = |l: usize| p.a.at(i as isize + l as isize * p.column);
            let (first, last) = self.terms;
            let whole = first + (last - first) / U * U;
            let masks: [V::Mask; N] =
                std::array::from_fn(|v| V::mask(rows.saturating_sub(v * V::WIDTH).min(V::WIDTH)));
            macro_rules! term {
                ($l:expr, $acc:expr, $load:expr) => {
                    let (x, a) = (V::splat(*p.x.at($l as isize)), column($l));
                    for (v, acc) in $acc.iter_mut().enumerate() {
                        *acc = $load(a.wrapping_add(v * V::WIDTH), v).fused(x, *acc);
                    }
                };
            }
            let some = |from: *const T, v: usize| V::load_some(from, masks[v]);
            if rows == N * V::WIDTH {
                for l in (first..whole).step_by(U) {
                    for (u, acc) in acc.iter_mut().enumerate() {
                        term!(l + u, acc, |from: *const T, _| V::load(from));
                    }
                }
            } else {
                for l in (first..whole).step_by(U) {
                    for (u, acc) in acc.iter_mut().enumerate() {
                        term!(l + u, acc, some);
                    }
                }
            }
            for (u, acc) in acc.iter_mut().enumerate() {
                if whole + u < last {
                    term!(whole + u, acc, some);
                }
            }
            for half in [4, 2, 1] {
                if half < U {
                    for u in 0..half {
                        for v in 0..N {
                            acc[u][v] = acc[u][v].plus(acc[u + half][v]);
                        }
                    }
                }
            }
            for (v, &sum) in acc[0].iter().enumerate() {
                let at = v * V::WIDTH;
                if at + V::WIDTH <= rows {
                    sum.store(self.to.add(i + at));
                } else if at < rows {
                    sum.store_some(self.to.add(i + at), rows - at);
                }
            }
        }
        rows
    }

    /// Many rows: some columns at a time are added to sums in L1, whatever the distance of columns. The bits are those
    /// of whole tiles.
    #[inline(always)]
    unsafe fn streams<V: Vector<T = T>>(self) {
        let p = self.product;
        let (first, last) = self.terms;
        // SAFETY: rows of columns, and their sums.
        unsafe {
            for i in (self.rows.0..self.rows.1).step_by(CHUNK) {
                let rows = CHUNK.min(self.rows.1 - i);
                let to = self.to.add(i);
                for l in (first..last).step_by(TOGETHER) {
                    let n = TOGETHER.min(last - l);
                    // Those beyond the last are not used.
                    let x: [V; TOGETHER] =
                        std::array::from_fn(|j| V::splat(*p.x.at((l + j.min(n - 1)) as isize)));
                    let a = p.a.at(i as isize + l as isize * p.column);
                    let mut at = 0;
                    while at < rows {
                        let count = V::WIDTH.min(rows - at);
                        let whole = count == V::WIDTH;
                        let load = |from: *const T| {
                            if whole { V::load(from) } else { V::load_some(from, V::mask(count)) }
                        };
                        let mut sum = if l == first { V::splat(T::ZERO) } else { load(to.add(at)) };
                        let a = a.add(at);
                        if n == TOGETHER {
                            for (j, &x) in x.iter().enumerate() {
                                sum = load(a.wrapping_offset(j as isize * p.column)).fused(x, sum);
                            }
                        } else {
                            for (j, &x) in x.iter().enumerate().take(n) {
                                sum = load(a.wrapping_offset(j as isize * p.column)).fused(x, sum);
                            }
                        }
                        if whole {
                            sum.store(to.add(at));
                        } else {
                            sum.store_some(to.add(at), count);
                        }
                        at += V::WIDTH;
                    }
                }
            }
        }
    }
}

/// Lanes added up by halves, until a packed vector is left.
///
/// # Safety
/// The processor must have the instruction set.
#[inline(always)]
pub(super) unsafe fn folded<V: Vector, const N: usize>(mut lanes: [V; N]) -> V::Pack {
    // SAFETY: the caller has the instruction set.
    unsafe {
        for half in [8, 4, 2, 1] {
            for v in 0..half {
                if v + half < N {
                    lanes[v] = lanes[v].plus(lanes[v + half]);
                }
            }
        }
        lanes[0].half()
    }
}
