use super::*;

/// Numbers that repeat late and are exact in sums of products.
fn numbers(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 37 + seed * 11) % 23) as f64 - 11.0).collect()
}

fn layer(
    [channels, outputs]: [usize; 2],
    groups: usize,
    input: [usize; 2],
    padding: [usize; 2],
) -> Conv {
    let output = [0, 1].map(|i| input[i] + 2 * padding[i] - 2);
    Conv {
        batch: 3,
        channels,
        outputs,
        groups,
        input,
        kernel: [3, 3],
        output,
        stride: [1, 1],
        padding,
        dilation: [1, 1],
    }
}

/// Both ways to all three products; the numbers are such that all sums are exact.
#[test]
fn tiles_give_what_patches_give() {
    for (channels, groups, input, padding) in [
        ([16, 16], 1, [10, 10], [1, 1]),
        ([16, 32], 1, [32, 32], [1, 1]),
        ([40, 24], 1, [15, 33], [0, 2]),
        ([17, 19], 1, [9, 30], [2, 0]),
        ([32, 48], 2, [14, 14], [1, 1]),
        ([70, 33], 1, [7, 28], [1, 1]),
    ] {
        let conv = layer(channels, groups, input, padding);
        assert!(conv.tiled().is_some() || conv.tiled_back().is_some(), "{conv:?}");
        let (pixels, places) = (input[0] * input[1], conv.places());
        let (c, k) = (channels[0] / groups, channels[1] / groups);
        let x = numbers(3 * channels[0] * pixels, 1);
        let w = numbers(channels[1] * c * 9, 2);
        let g = numbers(3 * channels[1] * places, 3);
        let bias = numbers(channels[1], 4);
        let mut scratch = vec![f64::NAN; conv.scratch()];
        multiversion::tests::same_bits(|| {
            // SAFETY: the vectors have the sizes of the layer.
            unsafe {
                if let Some(tiled) = conv.tiled() {
                    let mut room = vec![f64::NAN; tiled.scratch().max(tiled.summing())];
                    let mut u = vec![f64::NAN; tiled.weights()];
                    let (mut direct, mut made) =
                        (vec![0.0; channels[1] * places], vec![0.0; channels[1] * places]);
                    forward(
                        &conv,
                        x.as_ptr(),
                        w.as_ptr(),
                        bias.as_ptr(),
                        direct.as_mut_ptr(),
                        scratch.as_mut_ptr(),
                    );
                    for group in 0..groups {
                        winograd::weights(
                            &tiled,
                            w.as_ptr().add(group * k * c * 9),
                            u.as_mut_ptr(),
                        );
                        assert!(winograd::image(
                            &tiled,
                            x.as_ptr().add(group * c * pixels),
                            u.as_ptr(),
                            bias.as_ptr().add(group * k),
                            made.as_mut_ptr().add(group * k * places),
                            room.as_mut_ptr(),
                        ));
                    }
                    assert_eq!(direct, made, "{conv:?}");
                    let (mut direct, mut made) = (vec![0.0; w.len()], vec![0.0; w.len()]);
                    for i in 0..3 {
                        weight_gradient(
                            &conv,
                            x.as_ptr().add(i * channels[0] * pixels),
                            g.as_ptr().add(i * channels[1] * places),
                            direct.as_mut_ptr(),
                            scratch.as_mut_ptr(),
                            i == 0,
                        );
                    }
                    for group in 0..groups {
                        assert!(winograd::weight_gradient(
                            &tiled,
                            3,
                            x.as_ptr().add(group * c * pixels),
                            channels[0] * pixels,
                            g.as_ptr().add(group * k * places),
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
                    let size = channels[0] * pixels;
                    let (mut direct, mut made) = (vec![0.0; size], vec![0.0; size]);
                    input_gradient(
                        &conv,
                        g.as_ptr(),
                        w.as_ptr(),
                        direct.as_mut_ptr(),
                        scratch.as_mut_ptr(),
                    );
                    for group in 0..groups {
                        winograd::weights(
                            &tiled,
                            w.as_ptr().add(group * k * c * 9),
                            u.as_mut_ptr(),
                        );
                        assert!(winograd::image(
                            &tiled,
                            g.as_ptr().add(group * k * places),
                            u.as_ptr(),
                            std::ptr::null(),
                            made.as_mut_ptr().add(group * c * pixels),
                            room.as_mut_ptr(),
                        ));
                    }
                    assert_eq!(direct, made, "{conv:?}");
                }
            }
        });
    }
}

#[test]
fn a_number_that_is_not_finite_is_told() {
    let conv = layer([16, 16], 1, [16, 16], [1, 1]);
    let tiled = conv.tiled().expect("large enough");
    let w = numbers(16 * 16 * 9, 2);
    let mut u = vec![0.0; tiled.weights()];
    let mut room = vec![0.0; tiled.scratch()];
    let mut made = vec![0.0; 16 * conv.places()];
    // SAFETY: as above.
    unsafe { winograd::weights(&tiled, w.as_ptr(), u.as_mut_ptr()) };
    for value in [f64::INFINITY, f64::NAN, 1e308] {
        let mut x = numbers(16 * 256, 1);
        x[16 * 100 + 40] = value;
        // SAFETY: as above.
        let finite = unsafe {
            winograd::image(
                &tiled,
                x.as_ptr(),
                u.as_ptr(),
                std::ptr::null(),
                made.as_mut_ptr(),
                room.as_mut_ptr(),
            )
        };
        assert!(!finite, "{value}");
    }
}
