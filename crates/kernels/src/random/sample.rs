//! Permutations and draws from a list of weights.

use super::continuous::{Real, exponential};
use super::engine::Generator;
use crate::dtype::Element;
use crate::error::{Result, ensure};

/// Fills with a random permutation of `0..out.len()`, by the shuffle of Fisher & Yates (Durstenfeld,
/// "Algorithm 235: Random permutation", CACM 7(7), 1964).
///
/// ```
/// use rustgrad_kernels::random::{Generator, randperm};
/// let mut out = [0i64; 4];
/// randperm(&mut Generator::new(0), &mut out);
/// out.sort_unstable();
/// assert_eq!(out, [0, 1, 2, 3]);
/// ```
pub fn randperm<T: Element>(generator: &mut Generator, out: &mut [T]) {
    // From this length on, a 32-bit remainder would be visibly uneven, and torch changes over to
    // wide draws and the inside-out variant of the shuffle.
    if out.len() >= u32::MAX as usize / 20 {
        for i in 0..out.len() {
            let place = (generator.next_u64() % (i as u64 + 1)) as usize;
            out[i] = T::from_i64(i as i64);
            out.swap(place, i);
        }
        return;
    }
    for (i, slot) in out.iter_mut().enumerate() {
        *slot = T::from_i64(i as i64);
    }
    for i in 0..out.len().saturating_sub(1) {
        let rest = (out.len() - i) as u32;
        out.swap(i, i + (generator.next_u32() % rest) as usize);
    }
}

/// Draws `out.len() / rows` categories per row of `weights`, a row-major matrix with `categories`
/// columns; weights need not sum to one.
///
/// With replacement: search in the cumulative sums. Without, or for a single draw, as torch does:
/// the greatest of weight over exponential noise (exponential races; Efraimidis & Spirakis,
/// "Weighted random sampling with a reservoir", IPL 97(5), 2006).
///
/// ```
/// use rustgrad_kernels::random::{Generator, multinomial};
/// let mut out = [9i64; 2];
/// multinomial(&mut Generator::new(0), &mut out, &[0.0f32, 3.0, 1.0], 3, false).unwrap();
/// assert!(out == [1, 2] || out == [2, 1]);
/// ```
pub fn multinomial<P: Real>(
    generator: &mut Generator,
    out: &mut [i64],
    weights: &[P],
    categories: usize,
    replacement: bool,
) -> Result<()> {
    let rows = weights.len().checked_div(categories).unwrap_or(0);
    if rows == 0 {
        return Ok(());
    }
    let draws = out.len() / rows;
    ensure!(draws > 0, runtime, "cannot sample n_sample <= 0 samples");
    ensure!(
        replacement || draws <= categories,
        runtime,
        "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
    );
    if replacement && draws > 1 {
        for (row, out) in weights.chunks_exact(categories).zip(out.chunks_exact_mut(draws)) {
            by_search(generator, out, row)?;
        }
        return Ok(());
    }
    for &weight in weights {
        let weight = weight.to_f64();
        ensure!(
            (0.0..f64::INFINITY).contains(&weight),
            runtime,
            "probability tensor contains either `inf`, `nan` or element < 0"
        );
    }
    for row in weights.chunks_exact(categories) {
        ensure!(
            row.iter().any(|weight| weight.to_f64() > 0.0),
            runtime,
            "invalid multinomial distribution (sum of probabilities <= 0)"
        );
    }
    // All noise first: torch draws it for the whole matrix at once.
    let mut keys = vec![P::default(); weights.len()];
    exponential(generator, &mut keys, 1.0)?;
    for (key, &weight) in keys.iter_mut().zip(weights) {
        *key = weight / *key;
    }
    let mut order: Vec<usize> = Vec::with_capacity(categories);
    for (keys, out) in keys.chunks_exact(categories).zip(out.chunks_exact_mut(draws)) {
        order.clear();
        order.extend(0..categories);
        // Of equal keys the first, as argmax has it.
        let by_key =
            |&a: &usize, &b: &usize| keys[b].to_f64().total_cmp(&keys[a].to_f64()).then(a.cmp(&b));
        if draws < categories {
            order.select_nth_unstable_by(draws - 1, by_key);
            order.truncate(draws);
        }
        order.sort_unstable_by(by_key);
        for (slot, &category) in out.iter_mut().zip(&order) {
            *slot = category as i64;
        }
    }
    Ok(())
}

fn by_search<P: Real>(generator: &mut Generator, out: &mut [i64], row: &[P]) -> Result<()> {
    let mut sums = Vec::with_capacity(row.len());
    let mut sum = P::default();
    for &weight in row {
        let value = weight.to_f64();
        ensure!(
            value >= 0.0,
            runtime,
            "invalid multinomial distribution (encountering probability entry < 0)"
        );
        ensure!(
            value.is_finite(),
            runtime,
            "invalid multinomial distribution (encountering probability entry = infinity or NaN)"
        );
        sum = sum + weight;
        sums.push(sum);
    }
    ensure!(
        sum.to_f64() > 0.0,
        runtime,
        "invalid multinomial distribution (sum of probabilities <= 0)"
    );
    for slot in &mut sums {
        *slot = *slot / sum;
    }
    // Rounding must not leave a gap below one.
    if let Some(last) = sums.last_mut() {
        *last = P::from_f64(1.0);
    }
    for slot in out {
        let draw = generator.unit_f64();
        *slot = sums.partition_point(|sum| sum.to_f64() < draw) as i64;
    }
    Ok(())
}
