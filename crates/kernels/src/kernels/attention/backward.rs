//! The gradients of queries, keys and values.

use super::{
    Dst, Float, Lines, Ordered, Problem, Room, Rows, SLACK, Sizes, Strides, Vector, Work, apply,
    at_level, lanes_of_pairs, pack_columns, pack_rows, product, split, wide,
};

/// Where gradients go; what is null is not asked for.
#[derive(Clone, Copy, Debug)]
pub struct Gradients<'a, T> {
    /// Of the queries.
    pub q: Lines<'a, *mut T>,
    /// Of the keys.
    pub k: Lines<'a, *mut T>,
    /// Of the values.
    pub v: Lines<'a, *mut T>,
}

// SAFETY: tasks write the lines of their own heads.
unsafe impl<T: Send> Sync for Gradients<'_, T> {}

/// The gradients from that of the result, the result itself and the logarithms that the forward pass
/// left.
///
/// # Safety
/// As for [`super::forward`]; the gradients must not overlap anything.
pub unsafe fn backward<T: Float + Ordered>(
    problem: &Problem<'_, T>,
    grad: Lines<'_, *const T>,
    out: Lines<'_, *const T>,
    logs: *const T,
    to: &Gradients<'_, T>,
) {
    let sizes = problem.sizes;
    let work = sizes.rows * sizes.keys * (sizes.width + sizes.depth) / 6;
    let (grad, out, logs) = (&grad, &out, Dst::new(logs.cast_mut()));
    split(grad.heads.len(), work, |first, last| {
        for head in first..last {
            // SAFETY: the lines of this head are the task's own.
            unsafe { at_level(Backward { problem, grad, out, logs, to, head }) };
        }
    });
}

#[derive(Clone, Copy)]
struct Backward<'a, T> {
    problem: &'a Problem<'a, T>,
    grad: &'a Lines<'a, *const T>,
    out: &'a Lines<'a, *const T>,
    logs: Dst<T>,
    to: &'a Gradients<'a, T>,
    head: usize,
}

/// Sets the lines of a head to zero.
unsafe fn clear<T: Float>(lines: &Lines<'_, *mut T>, head: usize, count: usize, n: usize) {
    if lines.start.is_null() {
        return;
    }
    for i in 0..count {
        // SAFETY: a line of the gradient.
        unsafe { std::slice::from_raw_parts_mut(lines.at(head, i), n) }.fill(T::ZERO);
    }
}

impl<T: Float + Ordered> Backward<'_, T> {
    /// Turns products of queries and keys into weights, and those of gradients and values into the
    /// gradients of the products.
    #[inline(always)]
    unsafe fn slopes(&self, row: usize, weights: &mut [T], slopes: &mut [T]) {
        let Problem { sizes, scale, ref mask, .. } = *self.problem;
        let Sizes { rows, depth, .. } = sizes;
        let seen = sizes.seen(mask, row + 1);
        let (weights, rest) = weights.split_at_mut(seen);
        rest.fill(T::ZERO);
        let (slopes, rest) = slopes.split_at_mut(seen);
        rest.fill(T::ZERO);
        // SAFETY: the row of each.
        let (log, mean) = unsafe {
            apply(mask, self.head, row, weights);
            let log = *self.logs.at((self.head * rows + row) as isize);
            let grad = std::slice::from_raw_parts(self.grad.at(self.head, row), depth);
            let out = std::slice::from_raw_parts(self.out.at(self.head, row), depth);
            (log, lanes_of_pairs(grad, out, T::ZERO, |x, y| x * y, |a, b| a + b))
        };
        if log == T::NEG_INFINITY {
            weights.fill(T::ZERO);
            slopes.fill(T::ZERO);
            return;
        }
        for (weight, slope) in weights.iter_mut().zip(slopes) {
            *weight = (*weight - log).vexp();
            *slope = *weight * (*slope - mean) * scale;
        }
    }
}

impl<T: Float + Ordered> Work<T> for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let Problem { sizes, scale, q, k, v, ref mask } = *self.problem;
        let Sizes { rows, keys, width, depth } = sizes;
        let (head, to) = (self.head, self.to);
        let together = sizes.together();
        let across = wide(keys);
        // SAFETY: the gradients are the task's own.
        unsafe {
            clear(&to.k, head, keys, width);
            clear(&to.v, head, keys, depth);
        }
        let sizes_of_parts = [
            across * width,         // keys across, for the weights
            across * depth,         // values across, for the gradients of the weights
            wide(width) * keys,     // keys, for the gradients of the queries
            together * width,       // queries
            together * depth,       // gradients
            wide(width) * together, // queries as columns, for the gradients of the keys
            wide(depth) * together, // gradients as columns, for those of the values
            together * across,
            together * across,
        ];
        let total: usize = sizes_of_parts.iter().map(|n| n + SLACK).sum();
        let mut room = Room::take::<T>(2, total);
        let mut at = room.start::<T>();
        let parts = sizes_of_parts.map(|n| {
            let part = at;
            at = at.wrapping_add(n + SLACK);
            part
        });
        let [
            keys_across,
            values_across,
            keys_down,
            queries,
            grads,
            queries_down,
            grads_down,
            weights,
            slopes,
        ] = parts;
        // SAFETY: the room holds all parts; lines are the caller's.
        unsafe {
            let across_of = |step| Strides { row: 1, column: step };
            let lines_of = |step| Strides { row: step, column: 1 };
            pack_columns::<V>(k.at(head, 0), across_of(k.step), width, keys, keys_across);
            pack_columns::<V>(v.at(head, 0), across_of(v.step), depth, keys, values_across);
            pack_columns::<V>(k.at(head, 0), lines_of(k.step), keys, width, keys_down);
            let c_step = across as isize;
            let straight = lines_of(c_step);
            let turned = across_of(c_step);
            let mut from = 0;
            while from < rows {
                let count = together.min(rows - from);
                let seen = sizes.seen(mask, from + count);
                let panels = seen.next_multiple_of(2 * V::WIDTH);
                let (query, grad) = (q.at(head, from), self.grad.at(head, from));
                let (q_lines, g_lines) = (lines_of(q.step), lines_of(self.grad.step));
                pack_rows::<V>(query, q_lines, count, width, queries);
                pack_rows::<V>(grad, g_lines, count, depth, grads);
                let of = |a, c| Rows { a, packed: true, s: straight, count, c, c_step };
                product::<V>(
                    of(queries, weights),
                    (keys_across, width),
                    width,
                    panels,
                    scale,
                    T::ZERO,
                );
                product::<V>(
                    of(grads, slopes),
                    (values_across, depth),
                    depth,
                    panels,
                    T::ONE,
                    T::ZERO,
                );
                for r in 0..count {
                    let weights = std::slice::from_raw_parts_mut(weights.add(r * across), seen);
                    let slopes = std::slice::from_raw_parts_mut(slopes.add(r * across), seen);
                    self.slopes(from + r, weights, slopes);
                }
                if !to.v.start.is_null() {
                    pack_columns::<V>(grad, g_lines, count, depth, grads_down);
                    let (c, c_step) = (to.v.at(head, 0), to.v.step);
                    let rows =
                        Rows { a: weights, packed: false, s: turned, count: seen, c, c_step };
                    product::<V>(rows, (grads_down, count), count, depth, T::ONE, T::ONE);
                }
                if !to.k.start.is_null() {
                    pack_columns::<V>(query, q_lines, count, width, queries_down);
                    let (c, c_step) = (to.k.at(head, 0), to.k.step);
                    let rows = Rows { a: slopes, packed: false, s: turned, count: seen, c, c_step };
                    product::<V>(rows, (queries_down, count), count, width, T::ONE, T::ONE);
                }
                if !to.q.start.is_null() {
                    let (c, c_step) = (to.q.at(head, from), to.q.step);
                    let rows = Rows { a: slopes, packed: false, s: straight, count, c, c_step };
                    product::<V>(rows, (keys_down, keys), seen, width, T::ONE, T::ZERO);
                }
                from += count;
            }
        }
    }
}
