use super::*;

fn run(log: bool, along: Along, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    // SAFETY: both cover `along`.
    unsafe { softmax(log, along, x.as_ptr(), y.as_mut_ptr()) };
    y
}

#[test]
fn softmax_along_any_dimension() {
    for (outer, n, inner) in [(1, 1, 1), (3, 7, 1), (2, 5, 130), (1, 3000, 1), (0, 3, 2), (2, 0, 3)]
    {
        let along = Along { outer, n, inner };
        let x: Vec<f64> = (0..outer * n * inner).map(|i| (i * 37 % 101) as f64 * 0.1).collect();
        let (y, l) = (run(false, along, &x), run(true, along, &x));
        let g: Vec<f64> = x.iter().map(|x| x.sin()).collect();
        let (mut dy, mut dl) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        // SAFETY: all cover `along`.
        unsafe {
            softmax_backward(false, along, y.as_ptr(), g.as_ptr(), dy.as_mut_ptr());
            softmax_backward(true, along, l.as_ptr(), g.as_ptr(), dl.as_mut_ptr());
        }
        for o in 0..outer {
            for j in 0..inner {
                let at = |i: usize| (o * n + i) * inner + j;
                let sum: f64 = (0..n).map(|i| x[at(i)].exp()).sum();
                let gy: f64 = (0..n).map(|i| g[at(i)] * y[at(i)]).sum();
                let gs: f64 = (0..n).map(|i| g[at(i)]).sum();
                for i in 0..n {
                    let want = x[at(i)].exp() / sum;
                    assert!((y[at(i)] - want).abs() < 1e-13);
                    assert!((l[at(i)] - want.ln()).abs() < 1e-12);
                    assert!((dy[at(i)] - want * (g[at(i)] - gy)).abs() < 1e-12);
                    assert!((dl[at(i)] - (g[at(i)] - want * gs)).abs() < 1e-11);
                }
            }
        }
    }
}

#[test]
fn softmax_of_infinities_is_torchs() {
    let along = Along { outer: 1, n: 3, inner: 1 };
    let inf = f64::INFINITY;
    assert!(run(false, along, &[-inf; 3]).iter().all(|x| x.is_nan()));
    assert_eq!(run(false, along, &[-inf, 0.0, -inf]), [0.0, 1.0, 0.0]);
    assert_eq!(run(true, along, &[-inf, 0.0, -inf]), [-inf, 0.0, -inf]);
    assert!(run(true, along, &[f64::NAN, 0.0, 1.0]).iter().all(|x| x.is_nan()));
}

#[test]
fn cross_entropy_and_its_gradient() {
    let (rows, n) = (4usize, 5usize);
    let x: Vec<f64> = (0..rows * n).map(|i| (i * 7 % 5) as f64).collect();
    let classes = [1i64, 4, -100, 0];
    let weights = [1.0, 2.0, 1.0, 1.0, 0.5];
    let targets =
        Targets { classes: &classes, ignore: -100, weights: Some(&weights), smoothing: 0.0 };
    let (mut loss, mut sums, mut d) = (vec![9.0; rows], vec![0.0; rows], vec![9.0; rows * n]);
    // SAFETY: the vectors have these sizes.
    unsafe {
        cross_entropy(n, x.as_ptr(), targets, loss.as_mut_ptr(), sums.as_mut_ptr()).unwrap();
        cross_entropy_backward(n, x.as_ptr(), targets, sums.as_ptr(), &[0.5], d.as_mut_ptr())
            .unwrap();
    }
    assert_eq!(targets.total_weight(), 3.5);
    for (row, &class) in classes.iter().enumerate() {
        let x = &x[row * n..][..n];
        let sum: f64 = x.iter().map(|x| x.exp()).sum();
        for i in 0..n {
            let want = if class < 0 {
                0.0
            } else {
                let hit = f64::from(i == class as usize);
                (x[i].exp() / sum - hit) * weights[class as usize] * 0.5
            };
            assert!((d[row * n + i] - want).abs() < 1e-12);
        }
        let want =
            if class < 0 { 0.0 } else { (sum.ln() - x[class as usize]) * weights[class as usize] };
        assert!((loss[row] - want).abs() < 1e-12);
    }
    let bad = Targets { classes: &[5], ignore: -100, weights: None, smoothing: 0.0 };
    // SAFETY: refused before anything is read.
    let error = unsafe { cross_entropy(n, x.as_ptr(), bad, loss.as_mut_ptr(), sums.as_mut_ptr()) };
    assert_eq!(error.unwrap_err().message(), "Target 5 is out of bounds.");
}

#[test]
fn layer_norm_against_the_definition() {
    let (rows, n) = (130usize, 37usize);
    let x: Vec<f64> = (0..rows * n).map(|i| ((i * 31 % 97) as f64).sin()).collect();
    let g: Vec<f64> = (0..rows * n).map(|i| ((i * 17 % 89) as f64).cos()).collect();
    let w: Vec<f64> = (0..n).map(|i| 1.0 + i as f64 * 0.1).collect();
    let b: Vec<f64> = (0..n).map(|i| i as f64).collect();
    let (mut y, mut mean, mut rstd) = (vec![0.0; rows * n], vec![0.0; rows], vec![0.0; rows]);
    let (mut dx, mut dw, mut db) = (vec![0.0; rows * n], vec![0.0; n], vec![0.0; n]);
    let forward = |x: &[f64], y: &mut [f64], mean: &mut [f64], rstd: &mut [f64]| {
        // SAFETY: the slices have the sizes stated.
        unsafe {
            layer_norm(
                rows,
                n,
                x.as_ptr(),
                Some(&w),
                Some(&b),
                1e-5,
                y.as_mut_ptr(),
                mean.as_mut_ptr(),
                rstd.as_mut_ptr(),
            );
        }
    };
    forward(&x, &mut y, &mut mean, &mut rstd);
    // SAFETY: as above.
    unsafe {
        layer_norm_backward(
            rows,
            n,
            x.as_ptr(),
            Some(&w),
            mean.as_ptr(),
            rstd.as_ptr(),
            Incoming::At(g.as_ptr()),
            dx.as_mut_ptr(),
            dw.as_mut_ptr(),
            db.as_mut_ptr(),
        );
    }
    for j in 0..n {
        let want: f64 = (0..rows).map(|i| g[i * n + j]).sum();
        assert!((db[j] - want).abs() < 1e-10);
        let want: f64 = (0..rows).map(|i| g[i * n + j] * (x[i * n + j] - mean[i]) * rstd[i]).sum();
        assert!((dw[j] - want).abs() < 1e-10);
    }
    for at in [0, 500, rows * n - 1] {
        let mut moved = x.clone();
        moved[at] += 1e-6;
        let mut z = vec![0.0; rows * n];
        forward(&moved, &mut z, &mut mean, &mut rstd);
        let slope: f64 = z.iter().zip(&y).zip(&g).map(|((z, y), g)| (z - y) / 1e-6 * g).sum();
        assert!((slope - dx[at]).abs() < 1e-4, "{slope} {}", dx[at]);
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let x: Vec<f32> = (0..3 * 700 * 5).map(|i| ((i * 37 % 1013) as f32).sin() * 5.0).collect();
    crate::kernels::multiversion::tests::same_bits(|| {
        let mut bits = Vec::new();
        for along in [Along { outer: 15, n: 700, inner: 1 }, Along { outer: 3, n: 700, inner: 5 }] {
            for log in [false, true] {
                let (mut y, mut d) = (x.clone(), x.clone());
                // SAFETY: all cover `along`.
                unsafe {
                    softmax(log, along, x.as_ptr(), y.as_mut_ptr());
                    softmax_backward(log, along, y.as_ptr(), x.as_ptr(), d.as_mut_ptr());
                }
                bits.extend(y.iter().chain(&d).map(|x| x.to_bits()));
            }
        }
        bits
    });
}
