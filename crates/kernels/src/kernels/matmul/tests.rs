use super::*;

fn layout(order: usize, rows: usize, columns: usize) -> (Strides, usize) {
    match order {
        0 => (Strides { row: columns as isize, column: 1 }, 0),
        1 => (Strides { row: 1, column: rows as isize }, 0),
        2 => (Strides { row: 2 * columns as isize, column: 2 }, 0),
        3 => (Strides { row: -(columns as isize), column: 1 }, (rows - 1) * columns),
        _ => (Strides { row: 0, column: 0 }, 0),
    }
}

#[test]
fn every_shape_and_layout() {
    for (m, n, k) in [
        (1, 1, 1),
        (1, 1, 5000),
        (1, 70, 9),
        (70, 1, 9),
        (65, 1, 130),
        (1, 129, 200),
        (5, 7, 1),
        (3, 3, 3),
        (17, 19, 23),
        (64, 48, 40),
        (130, 30, 70),
        (600, 3, 40),
        (5, 100, 70),
        (520, 530, 33),
        (97, 100, 513),
        (13, 2100, 40),
        (6, 600, 600),
        (5, 9, 300),
        (16, 33, 4200),
        (3, 50, 64),
        (40, 2, 100),
        (30, 20, 900),
        (70, 33, 1),
    ] {
        let a: Vec<f64> = (0..2 * m * k).map(|i| (i * 7 % 11) as f64 - 5.0).collect();
        let b: Vec<f64> = (0..2 * n * k).map(|i| (i * 5 % 13) as f64 - 6.0).collect();
        for (la, lb, lc) in [
            (0, 0, 0),
            (1, 0, 0),
            (0, 1, 0),
            (1, 1, 0),
            (0, 0, 1),
            (2, 2, 2),
            (3, 3, 0),
            (4, 0, 0),
            (0, 4, 1),
        ] {
            let (sa, oa) = layout(la, m, k);
            let (sb, ob) = layout(lb, k, n);
            let (sc, _) = layout(lc, m, n);
            for (alpha, beta) in [(1.0, 0.0), (2.0, 1.0)] {
                let start = if beta == 0.0 { f64::NAN } else { 3.0 };
                let mut c = vec![start; 2 * m * n];
                // SAFETY: the vectors cover the layouts.
                unsafe {
                    let (a, b) = (a.as_ptr().add(oa), b.as_ptr().add(ob));
                    gemm(m, n, k, alpha, a, sa, b, sb, beta, c.as_mut_ptr(), sc);
                }
                for i in (0..m).step_by(1 + m / 20) {
                    for j in (0..n).step_by(1 + n / 20) {
                        let mut want = 0.0;
                        for l in 0..k as isize {
                            let x = oa as isize + i as isize * sa.row + l * sa.column;
                            let y = ob as isize + l * sb.row + j as isize * sb.column;
                            want += a[x as usize] * b[y as usize];
                        }
                        let want = alpha * want + if beta == 0.0 { 0.0 } else { beta * 3.0 };
                        let at = i as isize * sc.row + j as isize * sc.column;
                        assert_eq!(c[at as usize], want, "{m} {n} {k} {la} {lb} {lc} {i} {j}");
                    }
                }
            }
        }
    }
}

#[test]
fn nothing_to_sum() {
    let s = Strides { row: 2, column: 1 };
    let mut c = [f32::NAN; 4];
    // SAFETY: k is zero, c is 2 x 2.
    unsafe { gemm(2, 2, 0, 1.0, c.as_ptr(), s, c.as_ptr(), s, 0.0, c.as_mut_ptr(), s) };
    assert_eq!(c, [0.0; 4]);
    c = [1.0; 4];
    // SAFETY: as above.
    unsafe { gemm(2, 2, 0, 1.0, c.as_ptr(), s, c.as_ptr(), s, 3.0, c.as_mut_ptr(), s) };
    assert_eq!(c, [3.0; 4]);
}

#[test]
fn batches() {
    let (batch, m, n, k) = (5, 3, 4, 2);
    let a: Vec<f32> = (0..batch * m * k).map(|i| i as f32).collect();
    let b: Vec<f32> = (0..k * n).map(|i| i as f32).collect();
    let mut c = vec![0.0f32; batch * m * n];
    let row = |n: usize| Strides { row: n as isize, column: 1 };
    // SAFETY: the vectors have these sizes; b is shared by the batch.
    unsafe {
        let (pa, pb, pc) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
        bmm(batch, m, n, k, 1.0, pa, row(k), 6, pb, row(n), 0, 0.0, pc, row(n), 12);
    }
    for (at, &c) in c.iter().enumerate() {
        let (i, j) = (at / n, at % n);
        assert_eq!(c, a[2 * i] * b[j] + a[2 * i + 1] * b[n + j]);
    }
}

#[test]
fn integers_wrap() {
    let (a, b) = ([100i8, 2, 3, 4], [2i8, 0, 1, 1]);
    let mut c = [0i8; 4];
    let s = Strides { row: 2, column: 1 };
    // SAFETY: all are 2 x 2.
    unsafe { integer_gemm(2, 2, 2, a.as_ptr(), s, b.as_ptr(), s, c.as_mut_ptr(), s) };
    assert_eq!(c, [200u8 as i8 + 2, 2, 10, 4]);
    let t = Strides { row: 1, column: 2 };
    // SAFETY: as above.
    unsafe { integer_gemm(2, 2, 2, a.as_ptr(), s, b.as_ptr(), t, c.as_mut_ptr(), s) };
    assert_eq!(c, [200u8 as i8, 102, 6, 7]);
}

#[test]
fn the_same_bits_for_any_layout_tile_and_number_of_threads() {
    let (m, n, k) = (130, 150, 300);
    let number = |i: usize| ((i * 2654435761) % 1000) as f32 / 999.0 - 0.5;
    let a: Vec<f32> = (0..m * k).map(number).collect();
    let b: Vec<f32> = (0..k * n).map(|i| number(i + 7)).collect();
    let turned = |x: &[f32], rows: usize, columns: usize| -> Vec<f32> {
        (0..rows * columns).map(|i| x[i % rows * columns + i / rows]).collect()
    };
    let (at, bt) = (turned(&a, m, k), turned(&b, k, n));
    let row = |n: usize| Strides { row: n as isize, column: 1 };
    let column = |n: usize| Strides { row: 1, column: n as isize };
    let run = |rows: usize, a: &[f32], sa, b: &[f32], sb| {
        let mut c = vec![0.0f32; rows * n];
        // SAFETY: the vectors cover the layouts.
        unsafe {
            let (a, b) = (a.as_ptr(), b.as_ptr());
            gemm(rows, n, k, 1.0, a, sa, b, sb, 0.0, c.as_mut_ptr(), row(n));
        }
        c
    };
    let before = crate::parallel::threads();
    let whole = run(m, &a, row(k), &b, row(n));
    for threads in [1, 3] {
        crate::parallel::set_threads(threads);
        assert_eq!(whole, run(m, &at, column(m), &bt, column(k)));
        // Few rows take the way without packing.
        assert_eq!(whole[..11 * n], run(11, &a, row(k), &b, row(n)));
    }
    crate::parallel::set_threads(before);
}

#[test]
fn stacks_of_tiny_matrices() {
    for (m, k, n) in [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 1), (3, 3, 1), (1, 5, 8), (7, 2, 3)] {
        let a: Vec<f64> = (0..2 * 9 * m * k).map(|i| (i * 7 % 11) as f64 - 5.0).collect();
        let b: Vec<f64> = (0..2 * 9 * n * k).map(|i| (i * 5 % 13) as f64 - 6.0).collect();
        for (la, lb, lc) in [(0, 0, 0), (1, 1, 0), (2, 0, 1), (0, 2, 0), (0, 4, 0)] {
            let (sa, _) = layout(la, m, k);
            let (sb, _) = layout(lb, k, n);
            let (sc, _) = layout(lc, m, n);
            let (step_a, step_b, step_c) = (2 * m * k, if lb == 4 { 0 } else { 2 * k * n }, m * n);
            let mut c = vec![f64::NAN; 9 * m * n];
            // SAFETY: the vectors cover nine members of these layouts.
            unsafe {
                let (from, to) = ((a.as_ptr(), b.as_ptr()), c.as_mut_ptr());
                let (step_a, step_b) = (step_a as isize, step_b as isize);
                bmm(
                    9,
                    m,
                    n,
                    k,
                    2.0,
                    from.0,
                    sa,
                    step_a,
                    from.1,
                    sb,
                    step_b,
                    0.0,
                    to,
                    sc,
                    step_c as isize,
                );
            }
            for member in 0..9 {
                for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                    let at = |s: Strides, r: usize, c: usize| {
                        (r as isize * s.row + c as isize * s.column) as usize
                    };
                    let part = |l: usize| {
                        a[member * step_a + at(sa, i, l)] * b[member * step_b + at(sb, l, j)]
                    };
                    let want = 2.0 * (0..k).map(part).sum::<f64>();
                    assert_eq!(c[member * step_c + at(sc, i, j)], want, "{m} {k} {n} {la} {lb}");
                }
            }
        }
    }
}

#[test]
fn bands_cover_all_rows_once_and_shrink() {
    for (tile, part) in [(12, 1), (12, 4), (6, 2), (4, 16)] {
        for m in (1..900).chain([100_000]) {
            let bands = blocked::Bands::new(m, tile, part);
            let mut next = (0, usize::MAX);
            for band in 0..bands.count() {
                let (first, rows) = bands.at(band);
                assert_eq!(first, next.0, "{m} rows in tiles of {tile}, {part} parts, band {band}");
                assert!(rows > 0 && rows <= next.1 && rows <= 192);
                next = (first + rows, rows);
            }
            assert_eq!(next.0, m, "{m} rows in tiles of {tile}, {part} parts");
        }
    }
}

/// A matrix times a vector, by a plain sum in double precision and by the kernel at both levels.
#[test]
fn matrices_times_vectors() {
    let number = |i: usize| ((i * 2654435761) % 1000) as f32 / 999.0 - 0.5;
    for (m, k) in [
        (1, 2),
        (1, 300_000),
        (2, 140_000),
        (3, 5),
        (50, 2),
        (50, 3),
        (50, 4),
        (5, 3),
        (8, 8),
        (9, 17),
        (13, 33),
        (16, 40),
        (20, 9000),
        (31, 64),
        (33, 70),
        (64, 65),
        (65, 10),
        (100, 100),
        (260, 7),
        (300, 40),
        (1500, 33),
        (2100, 9),
        (5000, 70),
    ] {
        let a: Vec<f32> = (0..m * k).map(number).collect();
        let x: Vec<f32> = (0..k).map(|i| number(i + 5)).collect();
        for (lines, column) in [(true, 1), (false, 1), (true, 3)] {
            let spread: Vec<f32> = x.iter().flat_map(|&x| vec![x; column]).collect();
            let sa = if lines { self::lines(k) } else { Strides { row: 1, column: m as isize } };
            let sx = Strides { row: column as isize, column: 1 };
            let run = |turned: bool, (alpha, beta)| {
                let mut y = vec![2.0f32; m];
                let turn = |s: Strides| Strides { row: s.column, column: s.row };
                let sy = self::lines(1);
                let (pa, px, py) = (a.as_ptr(), spread.as_ptr(), y.as_mut_ptr());
                // SAFETY: the vectors cover the layouts.
                unsafe {
                    if turned {
                        gemm(1, m, k, alpha, px, turn(sx), pa, turn(sa), beta, py, turn(sy));
                    } else {
                        gemm(m, 1, k, alpha, pa, sa, px, sx, beta, py, sy);
                    }
                }
                y.iter().map(|y| y.to_bits()).collect::<Vec<_>>()
            };
            let (plain, added) = ((1.0, 0.0), (2.0, -1.0));
            crate::kernels::multiversion::tests::same_fused_bits(|| run(false, plain));
            let made = run(false, plain);
            assert_eq!(made, run(true, plain), "{m} {k}");
            let more = run(false, added);
            for i in 0..m {
                let at = |l: usize| if lines { i * k + l } else { l * m + i };
                let want: f64 = (0..k).map(|l| f64::from(a[at(l)]) * f64::from(x[l])).sum();
                let (one, other) = (f32::from_bits(made[i]), f32::from_bits(more[i]));
                assert!((f64::from(one) - want).abs() < 2e-5 * (k as f64).sqrt(), "{m} {k}");
                assert_eq!(other, 2.0 * one - 2.0, "{m} {k}");
            }
        }
    }
    let a: Vec<f32> = (0..2000 * 300).map(number).collect();
    let before = crate::parallel::threads();
    let run = |threads: usize, sa: Strides, m: usize, k: usize| {
        crate::parallel::set_threads(threads);
        let mut y = vec![0.0f32; m];
        // SAFETY: a matrix, its own elements as vector, and what is made.
        unsafe {
            let (a, to, s) = (a.as_ptr(), y.as_mut_ptr(), lines(1));
            gemm(m, 1, k, 1.0, a, sa, a, s, 0.0, to, s);
        }
        y
    };
    for (m, k) in [(2000, 300), (20, 30_000), (2, 300_000), (30_000, 20)] {
        for sa in [lines(k), Strides { row: 1, column: m as isize }] {
            assert_eq!(run(1, sa, m, k), run(3, sa, m, k), "{m} {k}");
        }
    }
    crate::parallel::set_threads(before);
}

#[test]
fn few_rows_have_the_same_bits_with_narrow_vectors() {
    let number = |i: usize| ((i * 2654435761) % 1000) as f32 / 999.0 - 0.5;
    for (m, n, k) in
        [(4, 4, 128), (5, 11, 200), (7, 6, 4203), (16, 18, 131), (2, 9, 77), (20, 13, 333)]
    {
        let a: Vec<f32> = (0..m * k).map(number).collect();
        let b: Vec<f32> = (0..n * k).map(|i| number(i + 5)).collect();
        crate::kernels::multiversion::tests::same_fused_bits(|| {
            let mut c = vec![0.0f32; m * n];
            let (sb, beta) = (Strides { row: 1, column: k as isize }, 0.0);
            // SAFETY: the vectors cover the layouts.
            unsafe {
                let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
                gemm(m, n, k, 1.0, a, lines(k), b, sb, beta, c, lines(n));
            }
            c.iter().map(|c| c.to_bits()).collect::<Vec<_>>()
        });
    }
}
