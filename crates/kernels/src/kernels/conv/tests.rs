use std::sync::atomic::{AtomicBool, Ordering};

use super::direct::Direct;
use super::patches::Patched;
use super::summed::Summed;
use super::*;
use crate::kernels::matmul::Float;
use crate::kernels::multiversion;

/// Numbers that repeat late and are exact in sums of products.
fn numbers(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 37 + seed * 11) % 23) as f64 - 11.0).collect()
}

fn layer(
    [batch, channels, outputs, groups]: [usize; 4],
    input: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
    dilation: [usize; 3],
) -> Conv {
    let output = [0, 1, 2]
        .map(|i| (input[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) / stride[i] + 1);
    Conv { batch, channels, outputs, groups, input, kernel, output, stride, padding, dilation }
}

/// The operands of a convolution, and the places of all products.
struct Operands {
    conv: Conv,
    x: Vec<f64>,
    w: Vec<f64>,
    g: Vec<f64>,
    bias: Vec<f64>,
}

impl Operands {
    fn new(conv: Conv) -> Self {
        let (c, k) = (conv.channels, conv.outputs);
        let [x, g] = [c * conv.pixels(), k * conv.places()].map(|n| n * conv.batch);
        let (x, w, g) = (numbers(x, 1), numbers(k * conv.depth(), 2), numbers(g, 3));
        Self { conv, x, w, g, bias: numbers(k, 4) }
    }

    /// Calls `f` with the places in input, weight and output of every product.
    fn each(&self, mut f: impl FnMut(usize, usize, usize)) {
        let c = &self.conv;
        let (inputs, outputs) = (c.channels / c.groups, c.outputs / c.groups);
        let split = |i: usize, [_, b, c]: [usize; 3]| [i / (b * c), i / c % b, i % c];
        let taps: usize = c.kernel.iter().product();
        for image in 0..c.batch {
            for output in 0..c.outputs {
                for place in 0..c.places() {
                    for input in 0..inputs {
                        for tap in 0..taps {
                            let (p, k) = (split(place, c.output), split(tap, c.kernel));
                            let at = [0, 1, 2].map(|i| {
                                (p[i] * c.stride[i] + k[i] * c.dilation[i])
                                    .checked_sub(c.padding[i])
                                    .filter(|&at| at < c.input[i])
                            });
                            let [Some(z), Some(y), Some(x)] = at else { continue };
                            let channel = output / outputs * inputs + input;
                            let pixel = (z * c.input[1] + y) * c.input[2] + x;
                            f(
                                (image * c.channels + channel) * c.pixels() + pixel,
                                (output * inputs + input) * taps + tap,
                                (image * c.outputs + output) * c.places() + place,
                            );
                        }
                    }
                }
            }
        }
    }

    fn expected(&self) -> [Vec<f64>; 3] {
        let [mut x, mut w, mut g] = [&self.x, &self.w, &self.g].map(|v| vec![0.0; v.len()]);
        for (i, g) in g.iter_mut().enumerate() {
            *g = self.bias[i / self.conv.places() % self.conv.outputs];
        }
        self.each(|i, j, k| {
            x[i] += self.w[j] * self.g[k];
            w[j] += self.x[i] * self.g[k];
            g[k] += self.x[i] * self.w[j];
        });
        [x, w, g]
    }

    fn sweep<T: Float>(&self, direct: &Direct, from: &[T], bias: *const T, n: usize) -> Vec<T> {
        let blank = |n: usize| vec![T::from_f64(f64::NAN); n];
        let (mut made, mut packed) = (blank(n), blank(direct.packed()));
        let w = rounded::<T>(&self.w);
        // SAFETY: all have the sizes of the convolution.
        unsafe {
            for task in 0..direct.packs() {
                direct::pack(direct, task, w.as_ptr(), packed.as_mut_ptr());
            }
            let weight = if direct.packs() > 0 { &packed } else { &w };
            for task in 0..direct.tasks() {
                let mut scratch = blank(direct.scratch());
                direct::run(
                    direct,
                    task,
                    from.as_ptr(),
                    weight.as_ptr(),
                    bias,
                    made.as_mut_ptr(),
                    scratch.as_mut_ptr(),
                );
            }
        }
        made
    }

    /// All three by patches, but for the two that are never made so of groups of one channel.
    fn by_patches(&self) -> [Option<Vec<f64>>; 3] {
        let c = &self.conv;
        let lone = c.is_lone();
        let null = std::ptr::null();
        let run = |plan: Patched, a: &[f64], b: &[f64], bias: *const f64, n: usize| {
            let summed = plan.parts();
            let mut made = vec![vec![f64::NAN; n]];
            for task in 0..plan.tasks() {
                let mut scratch = vec![f64::NAN; plan.scratch()];
                // SAFETY: all have the sizes of the convolution.
                unsafe {
                    let (a, b) = (a.as_ptr(), b.as_ptr());
                    patches::run(
                        &plan,
                        task,
                        a,
                        b,
                        bias,
                        made[0].as_mut_ptr(),
                        scratch.as_mut_ptr(),
                    );
                }
                if plan.is_weight() && task + 1 < summed {
                    let part = made[0].clone();
                    made.push(part);
                }
            }
            let first = made.swap_remove(0);
            made.into_iter()
                .fold(first, |sum, part| sum.iter().zip(part).map(|(a, b)| a + b).collect())
        };
        let x = run(c.patched_back(), &self.w, &self.g, null, self.x.len());
        if lone {
            return [Some(x), None, None];
        }
        let w =
            (c.batch > 0).then(|| run(c.patched_weight(), &self.x, &self.g, null, self.w.len()));
        [Some(x), w, Some(run(c.patched(), &self.x, &self.w, self.bias.as_ptr(), self.g.len()))]
    }

    fn sum<T: Float>(&self, summed: &Summed) -> Vec<T> {
        let (x, g) = (rounded::<T>(&self.x), rounded::<T>(&self.g));
        let blank = |n: usize| vec![T::from_f64(f64::NAN); n];
        let mut made = vec![T::ZERO; self.w.len()];
        let mut parts = vec![blank(self.w.len()); summed.parts()];
        for task in 0..summed.tasks() {
            let mut scratch = blank(summed.scratch());
            let to = parts[summed.part(task)].as_mut_ptr();
            // SAFETY: as above.
            unsafe {
                summed::run(summed, task, x.as_ptr(), g.as_ptr(), to, scratch.as_mut_ptr());
            }
        }
        for part in parts {
            made.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        made
    }
}

/// The same numbers in another precision.
fn rounded<T: Float>(numbers: &[f64]) -> Vec<T> {
    numbers.iter().map(|&number| T::from_f64(number)).collect()
}

/// All that can be asked for, at every level; the numbers are such that all sums are exact.
#[test]
fn sums_are_those_of_the_definition() {
    let one = [1; 3];
    let layers = [
        layer([2, 3, 5, 1], [1, 9, 11], [1, 3, 3], one, [0, 1, 1], one),
        layer([1, 5, 7, 1], [1, 20, 37], [1, 5, 3], one, [0, 2, 1], one),
        layer([9, 4, 6, 2], [1, 7, 7], [1, 3, 3], [1, 2, 2], [0, 1, 1], one),
        layer([2, 2, 13, 1], [1, 16, 23], [1, 7, 7], [1, 2, 2], [0, 3, 3], one),
        layer([2, 3, 4, 1], [1, 12, 18], [1, 3, 4], [1, 3, 2], [0, 2, 0], [1, 2, 3]),
        layer([2, 6, 8, 1], [1, 6, 9], [1, 1, 1], one, [0; 3], one),
        layer([2, 6, 8, 2], [1, 6, 9], [1, 1, 1], [1, 2, 2], [0; 3], one),
        layer([2, 2, 3, 1], [1, 5, 6], [1, 2, 2], [1, 1, 3], [0, 4, 5], one),
        layer([3, 5, 4, 1], [1, 1, 600], [1, 1, 5], one, [0, 0, 2], one),
        layer([2, 3, 20, 1], [5, 6, 7], [3, 3, 3], one, [1; 3], one),
        layer([1, 4, 6, 2], [7, 5, 9], [3, 2, 3], [2, 1, 2], [1, 0, 2], [2, 1, 1]),
        layer([2, 40, 50, 1], [1, 10, 10], [1, 3, 3], one, [0, 1, 1], one),
        layer([1, 300, 3, 1], [1, 3, 5], [1, 1, 2], one, [0; 3], one),
        layer([2, 6, 6, 6], [1, 13, 21], [1, 3, 3], one, [0, 1, 1], one),
        layer([2, 3, 6, 3], [1, 13, 21], [1, 3, 3], one, [0, 1, 1], one),
        layer([2, 6, 6, 6], [1, 14, 20], [1, 5, 5], [1, 2, 2], [0, 2, 2], one),
        layer([1, 3, 3, 3], [1, 17, 9], [1, 7, 6], one, [0, 3, 2], [1, 1, 2]),
        layer([1, 3, 3, 3], [1, 9, 9], [1, 2, 8], one, [0, 3, 5], [1, 3, 1]),
        layer([2, 3, 3, 3], [4, 9, 5], [2, 3, 3], one, [1; 3], one),
        layer([1, 3, 3, 3], [1, 200, 100], [1, 3, 3], one, [0, 1, 1], one),
        layer([1, 2, 2, 1], [1, 300, 300], [1, 3, 3], one, [0, 1, 1], one),
        layer([0, 2, 2, 1], [1, 5, 5], [1, 3, 3], one, [0, 1, 1], one),
        // With vectors of channels.
        layer([1, 20, 40, 1], [1, 9, 9], [1, 3, 3], one, [0, 1, 1], one),
        layer([9, 20, 70, 1], [1, 7, 7], [1, 3, 3], [1, 2, 2], [0, 1, 1], one),
        layer([1, 9, 16, 1], [1, 1, 1000], [1, 1, 5], one, [0, 0, 2], one),
        layer([2, 24, 20, 2], [1, 9, 8], [1, 3, 4], [1, 2, 3], [0, 1, 2], [1, 1, 2]),
        layer([2, 9, 18, 1], [4, 6, 5], [2, 3, 3], [1, 2, 1], [0, 1, 1], one),
        layer([1, 8, 16, 1], [1, 60, 61], [1, 3, 3], one, [0, 1, 1], one),
        layer([1, 2, 8, 1], [1, 33, 34], [1, 31, 31], one, [0; 3], one),
        layer([30, 16, 64, 1], [1, 10, 10], [1, 5, 5], one, [0; 3], one),
        // With rows of the kernel in the padding left out.
        layer([5, 10, 17, 1], [4, 4, 4], [3, 3, 3], one, [1; 3], one),
        layer([7, 22, 40, 1], [1, 7, 7], [1, 5, 3], [1, 2, 1], [0, 2, 1], one),
        // One channel by steps: parts of the kernel for every other row and column.
        layer([2, 3, 3, 3], [1, 28, 27], [1, 3, 3], [1, 2, 2], [0, 1, 1], one),
        layer([1, 2, 2, 2], [1, 16, 22], [1, 7, 7], [1, 2, 2], [0, 3, 3], one),
        layer([1, 2, 2, 2], [1, 21, 18], [1, 3, 4], [1, 1, 2], [0, 0, 1], one),
        layer([1, 2, 2, 2], [1, 21, 18], [1, 4, 3], [1, 2, 1], [0, 1, 0], one),
        layer([1, 2, 2, 2], [1, 300, 200], [1, 3, 3], [1, 2, 2], [0, 1, 1], one),
        // Square kernels by steps of two: every remainder of padding and sizes, several vectors and bands.
        layer([2, 3, 3, 3], [1, 14, 14], [1, 3, 3], [1, 2, 2], [0; 3], one),
        layer([2, 3, 3, 3], [1, 15, 13], [1, 3, 3], [1, 2, 2], [0, 2, 2], one),
        layer([2, 3, 3, 3], [1, 9, 56], [1, 3, 3], [1, 2, 2], [0, 1, 2], one),
        layer([2, 3, 3, 3], [1, 7, 43], [1, 3, 3], [1, 2, 2], [0, 0, 1], one),
        layer([2, 3, 3, 3], [1, 2, 1], [1, 3, 3], [1, 2, 2], [0, 1, 2], one),
        layer([2, 3, 3, 3], [1, 7, 7], [1, 5, 5], [1, 2, 2], [0, 2, 2], one),
        layer([2, 3, 3, 3], [1, 28, 29], [1, 5, 5], [1, 2, 2], [0, 1, 3], one),
        layer([1, 3, 3, 3], [1, 31, 70], [1, 5, 5], [1, 2, 2], [0, 4, 1], one),
        layer([1, 2, 2, 2], [1, 5, 5], [1, 5, 5], [1, 2, 2], [0; 3], one),
        layer([1, 2, 2, 2], [1, 301, 190], [1, 5, 5], [1, 2, 2], [0, 2, 4], one),
        // Several channels from planes of one, and the other way round.
        layer([3, 1, 5, 1], [1, 19, 28], [1, 3, 3], one, [0; 3], one),
        layer([2, 1, 7, 1], [1, 16, 29], [1, 5, 5], one, [0, 2, 2], one),
        layer([2, 2, 6, 2], [1, 31, 62], [1, 7, 7], [1, 2, 2], [0, 3, 3], one),
        layer([2, 6, 2, 2], [1, 15, 30], [1, 3, 3], one, [0, 1, 1], one),
        layer([2, 5, 1, 1], [1, 17, 60], [1, 5, 5], [1, 2, 2], [0, 2, 2], one),
        layer([1, 1, 9, 1], [1, 90, 400], [1, 3, 3], one, [0, 1, 1], one),
        layer([1, 2, 2, 2], [1, 27, 94], [1, 7, 7], [1, 2, 2], [0, 2, 3], one),
        layer([1, 3, 3, 3], [1, 9, 131], [1, 1, 4], [1, 1, 2], [0, 0, 1], one),
        // Planes narrower than a vector.
        layer([3, 5, 5, 5], [1, 3, 5], [1, 3, 3], one, [0, 1, 1], one),
        layer([3, 5, 5, 5], [1, 14, 14], [1, 7, 7], one, [0, 3, 3], one),
        layer([3, 9, 9, 9], [1, 7, 7], [1, 3, 3], one, [0, 1, 1], one),
    ];
    for conv in layers {
        let all = Operands::new(conv);
        let [x, w, g] = all.expected();
        let null = std::ptr::null();
        multiversion::tests::same_bits(|| {
            assert_eq!(
                all.sweep(&conv.direct(), &all.x, all.bias.as_ptr(), g.len()),
                g,
                "{conv:?}"
            );
            assert_eq!(all.sweep(&conv.direct_back(), &all.g, null, x.len()), x, "{conv:?}");
            assert_eq!(all.sum::<f64>(&conv.summed()), w, "{conv:?}");
            if conv.batch > 0 {
                assert_eq!(all.sum::<f64>(&conv.summed().alone()), w, "{conv:?}");
            }
            // Sums are small enough to be exact in single precision too.
            let [x, w, g] = [&x, &w, &g].map(|v| rounded::<f32>(v));
            let bias = rounded::<f32>(&all.bias);
            let made = all.sweep(&conv.direct(), &rounded(&all.x), bias.as_ptr(), g.len());
            assert_eq!(made, g, "{conv:?}");
            let null = std::ptr::null::<f32>();
            assert_eq!(all.sweep(&conv.direct_back(), &rounded(&all.g), null, x.len()), x);
            assert_eq!(all.sum::<f32>(&conv.summed()), w, "{conv:?}");
        });
        multiversion::tests::same_bits(|| {
            for (made, wanted) in all.by_patches().iter().zip([&x, &w, &g]) {
                assert_eq!(made.as_ref().unwrap_or(wanted), wanted, "{conv:?}");
            }
        });
    }
}

/// What lies behind a row of places is no part of a sum, even where it is multiplied by zero.
#[test]
fn what_is_not_finite_stays_within_its_windows() {
    for (groups, stride) in [(1, 1), (2, 1), (2, 2)] {
        let conv =
            layer([1, 2, 2, groups], [1, 9, 9], [1, 3, 3], [1, stride, stride], [0; 3], [1; 3]);
        let mut all = Operands::new(conv);
        // In the last column: read by the last places only, or with steps of two by some elements.
        all.x[4 * 9 + 8] = f64::INFINITY;
        let [_, w, g] = all.expected();
        let same = |a: &[f64], b: &[f64]| {
            a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
        };
        assert!(w.iter().any(|w| w.is_finite()) && g.iter().any(|g| g.is_finite()));
        multiversion::tests::same_bits(|| {
            assert!(same(&all.sweep(&conv.direct(), &all.x, all.bias.as_ptr(), g.len()), &g));
            assert!(same(&all.sum::<f64>(&conv.summed()), &w));
        });
    }
}

/// Both ways to all three products.
#[test]
fn tiles_give_what_sums_give() {
    let mut cut = false;
    for ((channels, groups, input, padding), batch) in [
        ([16, 16], 1, [10, 10], [1, 1]),
        ([16, 32], 1, [32, 32], [1, 1]),
        ([40, 24], 1, [15, 33], [0, 2]),
        ([17, 19], 1, [9, 30], [2, 0]),
        ([32, 48], 2, [14, 14], [1, 1]),
        ([70, 33], 1, [7, 28], [1, 1]),
        ([40, 130], 1, [14, 14], [1, 1]),
        ([20, 60], 1, [41, 37], [1, 0]),
        ([24, 40], 1, [4, 4], [1, 1]),
        ([33, 16], 1, [1, 2], [2, 2]),
        ([16, 17], 1, [6, 230], [1, 1]),
        ([16, 100], 1, [7, 7], [1, 1]),
    ]
    .into_iter()
    .zip([3, 9, 3, 3, 3, 9, 1, 1, 21, 40, 1, 5])
    {
        let conv = layer(
            [batch, channels[0], channels[1], groups],
            [1, input[0], input[1]],
            [1, 3, 3],
            [1; 3],
            [0, padding[0], padding[1]],
            [1; 3],
        );
        assert!(conv.tiled().is_some() || conv.tiled_back().is_some(), "{conv:?}");
        cut |= conv.tiled().is_some_and(|tiled| batch == 1 && tiled.tasks() > 1);
        let (pixels, places) = (conv.pixels(), conv.places());
        let (c, k) = (channels[0] / groups, channels[1] / groups);
        let all = Operands::new(conv);
        let null = std::ptr::null();
        let spoilt: Vec<AtomicBool> = (0..batch).map(|_| AtomicBool::new(false)).collect();
        multiversion::tests::same_bits(|| {
            // SAFETY: the vectors have the sizes of the layer.
            unsafe {
                if let Some(tiled) = conv.tiled() {
                    let mut room = vec![f64::NAN; tiled.scratch().max(tiled.summing())];
                    let mut u = vec![f64::NAN; tiled.weights()];
                    let direct = all.sweep(&conv.direct(), &all.x, all.bias.as_ptr(), all.g.len());
                    let mut made = vec![0.0; all.g.len()];
                    for group in 0..groups {
                        for task in 0..tiled.packs() {
                            let w = all.w.as_ptr().add(group * k * c * 9);
                            winograd::weights(&tiled, task, w, u.as_mut_ptr());
                        }
                        for task in 0..tiled.tasks() {
                            winograd::images(
                                &tiled,
                                task,
                                [
                                    all.x.as_ptr().add(group * c * pixels),
                                    u.as_ptr(),
                                    all.bias.as_ptr().add(group * k),
                                ],
                                channels[0] * pixels,
                                made.as_mut_ptr().add(group * k * places),
                                channels[1] * places,
                                room.as_mut_ptr(),
                                &spoilt,
                            );
                        }
                    }
                    assert_eq!(direct, made, "{conv:?}");
                    assert!(spoilt.iter().all(|spoilt| !spoilt.load(Ordering::Relaxed)));
                    let (direct, mut made) =
                        (all.sum::<f64>(&conv.summed()), vec![0.0; all.w.len()]);
                    for group in 0..groups {
                        assert!(winograd::weight_gradient(
                            &tiled,
                            batch,
                            all.x.as_ptr().add(group * c * pixels),
                            channels[0] * pixels,
                            all.g.as_ptr().add(group * k * places),
                            channels[1] * places,
                            made.as_mut_ptr().add(group * k * c * 9),
                            room.as_mut_ptr(),
                        ));
                    }
                    assert_eq!(direct, made, "{conv:?}");
                }
                if let Some(tiled) = conv.tiled_back() {
                    let mut room = vec![f64::NAN; tiled.scratch()];
                    let mut u = vec![f64::NAN; tiled.weights()];
                    let direct = all.sweep(&conv.direct_back(), &all.g, null, all.x.len());
                    let mut made = vec![0.0; all.x.len()];
                    for group in 0..groups {
                        for task in 0..tiled.packs() {
                            let w = all.w.as_ptr().add(group * k * c * 9);
                            winograd::weights(&tiled, task, w, u.as_mut_ptr());
                        }
                        for task in 0..tiled.tasks() {
                            winograd::images(
                                &tiled,
                                task,
                                [all.g.as_ptr().add(group * k * places), u.as_ptr(), null],
                                channels[1] * places,
                                made.as_mut_ptr().add(group * c * pixels),
                                channels[0] * pixels,
                                room.as_mut_ptr(),
                                &spoilt,
                            );
                        }
                    }
                    assert_eq!(direct, made, "{conv:?}");
                    assert!(spoilt.iter().all(|spoilt| !spoilt.load(Ordering::Relaxed)));
                }
            }
        });
    }
    assert!(cut || crate::parallel::threads() == 1, "some image in several tasks");
}

#[test]
fn a_number_that_is_not_finite_is_told() {
    let conv = layer([1, 16, 16, 1], [1, 16, 16], [1, 3, 3], [1; 3], [0, 1, 1], [1; 3]);
    let tiled = conv.tiled().expect("large enough");
    let w = numbers(16 * 16 * 9, 2);
    let mut u = vec![0.0; tiled.weights()];
    let mut room = vec![0.0; tiled.scratch()];
    let mut made = vec![0.0; 16 * conv.places()];
    multiversion::tests::same_bits(|| {
        // SAFETY: as above.
        unsafe { winograd::weights(&tiled, 0, w.as_ptr(), u.as_mut_ptr()) };
        for value in [f64::INFINITY, f64::NAN, 1e308] {
            let mut x = numbers(16 * 256, 1);
            x[16 * 100 + 40] = value;
            let spoilt = [AtomicBool::new(false)];
            for task in 0..tiled.tasks() {
                // SAFETY: as above.
                unsafe {
                    winograd::images(
                        &tiled,
                        task,
                        [x.as_ptr(), u.as_ptr(), std::ptr::null()],
                        x.len(),
                        made.as_mut_ptr(),
                        made.len(),
                        room.as_mut_ptr(),
                        &spoilt,
                    );
                }
            }
            assert!(spoilt[0].load(Ordering::Relaxed), "{value}");
        }
    });
}
