use super::*;
use crate::kernels::multiversion::tests::same_fused_bits;

fn noise(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f64 / f64::from(1u32 << 23) - 1.0
        })
        .collect()
}

/// Head `h` of `lines`, each `n` long, with gaps.
fn places(heads: usize, lines: usize, n: usize) -> Vec<isize> {
    (0..heads).map(|h| (h * lines * (n + 1)) as isize).collect()
}

struct Case {
    sizes: Sizes,
    heads: usize,
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
    grad: Vec<f64>,
    added: Vec<f64>,
    kept: Vec<Bool>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Which {
    All,
    Causal,
    Add,
    Keep,
}

impl Case {
    fn new(heads: usize, rows: usize, keys: usize, width: usize, depth: usize) -> Self {
        let added = noise(rows * keys, 5);
        let mut kept: Vec<Bool> = added.iter().map(|&x| Bool::from(x > -0.5)).collect();
        // One that sees nothing.
        kept[..keys].fill(Bool::from(false));
        Self {
            sizes: Sizes { rows, keys, width, depth },
            heads,
            q: noise(heads * rows * (width + 1), 1),
            k: noise(heads * keys * (width + 1), 2),
            v: noise(heads * keys * (depth + 1), 3),
            grad: noise(heads * rows * (depth + 1), 4),
            added,
            kept,
        }
    }

    /// Result and gradients of queries, keys and values.
    fn run(&self, which: Which) -> [Vec<f64>; 4] {
        let Self { sizes, heads, .. } = *self;
        let Sizes { rows, keys, width, depth } = sizes;
        let (of_q, of_k) = (places(heads, rows, width), places(heads, keys, width));
        let (of_v, of_o) = (places(heads, keys, depth), places(heads, rows, depth));
        let none = vec![0; heads];
        let (w, d) = (width as isize + 1, depth as isize + 1);
        let lines = |x: &[f64], heads, step| Lines { start: x.as_ptr(), heads, step };
        let mask = match which {
            Which::All => Mask::All,
            Which::Causal => Mask::Causal,
            Which::Add => Mask::Add(
                Lines { start: self.added.as_ptr(), heads: &none, step: keys as isize },
                1,
            ),
            Which::Keep => Mask::Keep(
                Lines { start: self.kept.as_ptr(), heads: &none, step: keys as isize },
                1,
            ),
        };
        let problem = Problem {
            sizes,
            scale: 0.5,
            q: lines(&self.q, &of_q, w),
            k: lines(&self.k, &of_k, w),
            v: lines(&self.v, &of_v, d),
            mask,
        };
        let mut out = vec![0.0; heads * rows * (depth + 1)];
        let mut logs = vec![0.0; heads * rows];
        let mut to = [&self.q, &self.k, &self.v].map(|x| vec![0.0; x.len()]);
        let [q, k, v] = &mut to;
        // SAFETY: all arrays have the lines that the places name.
        unsafe {
            let target = Lines { start: out.as_mut_ptr(), heads: &of_o, step: d };
            forward(&problem, target, logs.as_mut_ptr());
            let gradients = Gradients {
                q: Lines { start: q.as_mut_ptr(), heads: &of_q, step: w },
                k: Lines { start: k.as_mut_ptr(), heads: &of_k, step: w },
                v: Lines { start: v.as_mut_ptr(), heads: &of_v, step: d },
            };
            let (grad, given) = (lines(&self.grad, &of_o, d), lines(&out, &of_o, d));
            backward(&problem, grad, given, logs.as_ptr(), &gradients);
        }
        let [q, k, v] = to;
        [out, q, k, v]
    }

    /// The same, one element after the other.
    fn plain(&self, which: Which) -> [Vec<f64>; 4] {
        let Self { sizes, heads, .. } = *self;
        let Sizes { rows, keys, width, depth } = sizes;
        let (w, d) = (width + 1, depth + 1);
        let mut out = vec![0.0; heads * rows * d];
        let mut to = [&self.q, &self.k, &self.v].map(|x| vec![0.0; x.len()]);
        for h in 0..heads {
            for i in 0..rows {
                let (qi, oi) = ((h * rows + i) * w, (h * rows + i) * d);
                let key = |j: usize| (h * keys + j) * w;
                let value = |j: usize| (h * keys + j) * d;
                let mut x: Vec<f64> = (0..keys)
                    .map(|j| {
                        let dot: f64 =
                            (0..width).map(|e| self.q[qi + e] * self.k[key(j) + e]).sum();
                        let at = i * keys + j;
                        match which {
                            Which::Causal if j > i => f64::NEG_INFINITY,
                            Which::Keep if !self.kept[at].get() => f64::NEG_INFINITY,
                            Which::Add => dot * 0.5 + self.added[at],
                            _ => dot * 0.5,
                        }
                    })
                    .collect();
                let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                if max == f64::NEG_INFINITY {
                    continue;
                }
                let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
                for x in &mut x {
                    *x = (*x - max).exp() / sum;
                }
                let grad = &self.grad[oi..oi + depth];
                let slopes: Vec<f64> = (0..keys)
                    .map(|j| (0..depth).map(|e| grad[e] * self.v[value(j) + e]).sum())
                    .collect();
                let mean: f64 = slopes.iter().zip(&x).map(|(s, x)| s * x).sum();
                for j in 0..keys {
                    let slope = x[j] * (slopes[j] - mean) * 0.5;
                    for e in 0..depth {
                        out[oi + e] += x[j] * self.v[value(j) + e];
                        to[2][value(j) + e] += x[j] * grad[e];
                    }
                    for e in 0..width {
                        to[0][qi + e] += slope * self.k[key(j) + e];
                        to[1][key(j) + e] += slope * self.q[qi + e];
                    }
                }
            }
        }
        let [q, k, v] = to;
        [out, q, k, v]
    }
}

#[test]
fn as_element_by_element() {
    let sizes = [(1, 1, 1, 1, 1), (2, 13, 7, 5, 3), (3, 40, 70, 16, 33), (1, 100, 300, 8, 20)];
    for (heads, rows, keys, width, depth) in sizes {
        let case = Case::new(heads, rows, keys, width, depth);
        for which in [Which::All, Which::Causal, Which::Add, Which::Keep] {
            let (got, want) = (case.run(which), case.plain(which));
            for (part, (got, want)) in got.iter().zip(&want).enumerate() {
                for (i, (a, b)) in got.iter().zip(want).enumerate() {
                    assert!((a - b).abs() < 1e-12, "{which:?} {part} {i}: {a} {b}");
                }
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_vectors() {
    let case = Case::new(2, 130, 50, 12, 9);
    same_fused_bits(|| case.run(Which::Causal));
}
