use super::{
    Few, Given, LANES, MOST, Rows, Sides, cholesky, cholesky_of_few, eigen_of_few, eigh,
    least_squares, lu, lu_of_few, qr, qr_of_few, solve_few, substitute, svd, svd_of_few,
};
use crate::kernels::matmul::lines;
use crate::kernels::multiversion::tests::same_bits;

/// Numbers between -1 and 1 from a linear congruence.
fn draw(count: usize) -> Vec<f64> {
    let mut state = 12345u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / f64::from(1u32 << 30) - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn product(m: usize, n: usize, k: usize, a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for l in 0..k {
            for j in 0..n {
                c[i * n + j] += a[i * k + l] * b[l * n + j];
            }
        }
    }
    c
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9), "{a:?} {b:?}");
}

#[test]
fn factors_of_every_shape() {
    for (m, n) in [(1, 1), (7, 5), (5, 70), (70, 5), (40, 40), (90, 33), (33, 90), (130, 130)] {
        let (original, k) = (draw(m * n), m.min(n));
        let mut swaps = vec![0; k];
        let mut packed = Vec::new();
        same_bits(|| {
            packed = original.clone();
            // SAFETY: a matrix of our own.
            unsafe { lu(m, n, Rows::new(packed.as_mut_ptr(), n), &mut swaps) };
            swaps.clone()
        });
        let (mut l, mut u) = (vec![0.0; m * k], vec![0.0; k * n]);
        for i in 0..m {
            for j in 0..n {
                if j < i && j < k {
                    l[i * k + j] = packed[i * n + j];
                } else if i < k {
                    u[i * n + j] = packed[i * n + j];
                }
            }
            if i < k {
                l[i * k + i] = 1.0;
            }
        }
        let mut made = product(m, n, k, &l, &u);
        for (i, &other) in swaps.iter().enumerate().rev() {
            for j in 0..n {
                made.swap(i * n + j, other * n + j);
            }
        }
        close(&made, &original);
    }
}

#[test]
fn triangles_of_every_kind() {
    for (n, k) in [(1, 1), (9, 1), (16, 33), (50, 1), (50, 20), (131, 40)] {
        let mut a = draw(n * n);
        a.iter_mut().step_by(n + 1).for_each(|x| *x += 4.0);
        a.iter_mut().enumerate().filter(|(i, _)| i % (n + 1) != 0).for_each(|(_, x)| *x *= 0.1);
        for (upper, unit, turned) in (0..8).map(|i| (i & 1 == 1, i & 2 == 2, i & 4 == 4)) {
            let b = draw(n * k);
            let mut x = b.clone();
            let mut s = lines(n);
            if turned {
                s = crate::kernels::matmul::Strides { row: 1, column: n as isize };
            }
            // SAFETY: matrices of our own.
            unsafe {
                let given = Given::new(a.as_ptr(), s);
                substitute((n, k), given, Rows::new(x.as_mut_ptr(), k), upper, unit);
            }
            let mut t = vec![0.0; n * n];
            for i in 0..n {
                for j in 0..n {
                    let from = if turned { a[j * n + i] } else { a[i * n + j] };
                    if i == j {
                        t[i * n + j] = if unit { 1.0 } else { from };
                    } else if (j > i) == upper {
                        t[i * n + j] = from;
                    }
                }
            }
            close(&product(n, k, n, &t, &x), &b);
        }
    }
}

#[test]
fn positive_matrices_and_others() {
    for n in [1, 10, 25, 60, 200] {
        let root = draw(n * n);
        let mut a = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                a[i * n + j] = (0..n).map(|l| root[l * n + i] * root[l * n + j]).sum();
            }
            a[i * n + i] += 1.0;
        }
        let mut u = a.clone();
        // SAFETY: a matrix of our own.
        assert_eq!(unsafe { cholesky(n, Rows::new(u.as_mut_ptr(), n)) }, 0);
        for i in 0..n {
            u[i * n..i * n + i].fill(0.0);
        }
        let turned: Vec<f64> = (0..n * n).map(|at| u[at % n * n + at / n]).collect();
        close(&product(n, n, n, &turned, &u), &a);
        a[(n / 2) * (n + 1)] = -1.0;
        // SAFETY: as above.
        assert_eq!(unsafe { cholesky(n, Rows::new(a.as_mut_ptr(), n)) }, n / 2 + 1);
    }
}

#[test]
fn orthogonal_and_triangular() {
    for (m, n) in [(1, 1), (30, 7), (7, 30), (50, 50), (90, 40), (150, 130)] {
        let (original, k) = (draw(m * n), m.min(n));
        let (mut q, mut r) = (vec![0.0; m * k], vec![0.0; k * n]);
        // SAFETY: a matrix of our own.
        unsafe { qr(Given::new(original.as_ptr(), lines(n)), (m, n, k), &mut q, &mut r) };
        close(&product(m, n, k, &q, &r), &original);
        close(&product(k, k, m, &turned(m, k, &q), &q), &unit(k));
        assert!((0..k).all(|i| r[i * n..i * n + i].iter().all(|&x| x == 0.0)));
    }
}

fn turned(m: usize, n: usize, a: &[f64]) -> Vec<f64> {
    (0..m * n).map(|at| a[at % m * n + at / m]).collect()
}

fn unit(n: usize) -> Vec<f64> {
    (0..n * n).map(|at| f64::from(u8::from(at % (n + 1) == 0))).collect()
}

/// Square matrices of which some are hard: equal values, none, steep falls, and far from one.
fn squares(n: usize) -> Vec<Vec<f64>> {
    let random = draw(n * n);
    let place = |at: usize| (at / n, at % n);
    let by = |f: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
        (0..n * n).map(|at| f(place(at).0, place(at).1)).collect()
    };
    vec![
        random.clone(),
        vec![0.0; n * n],
        unit(n),
        vec![1.0; n * n],
        by(&|i, j| 2.0_f64.powf(-((i + j) as f64) / 3.0) * (1 + (i * j) % 5) as f64),
        by(&|i, j| {
            if i == j { (i as f64 - 20.0).abs() } else { f64::from(u8::from(i.abs_diff(j) == 1)) }
        }),
        by(&|i, j| f64::from(u8::from(j == i + 1))),
        by(&|i, j| (1 + i % 3) as f64 * (1 + j % 3) as f64),
        random.iter().map(|x| x * 1e305).collect(),
        random.iter().map(|x| x * 1e-306).collect(),
    ]
}

#[test]
fn eigenvalues_of_every_kind() {
    for n in [1, 2, 3, 20, 33, 70, 130] {
        for (kind, mut a) in squares(n).into_iter().enumerate() {
            for i in 0..n {
                for j in 0..i {
                    a[i * n + j] = a[j * n + i];
                }
            }
            let (mut values, mut alone) = (vec![0.0; n], vec![0.0; n]);
            let mut vectors = vec![0.0; n * n];
            let given = Given::new(a.as_ptr(), lines(n));
            // SAFETY: a matrix of our own.
            unsafe {
                eigh(given, n, false, &mut values, Some(&mut vectors));
                eigh(given, n, true, &mut alone, None);
            }
            let size =
                values.iter().fold(0.0, |most: f64, x| most.max(x.abs())).max(f64::MIN_POSITIVE);
            let scaled = |x: &[f64]| -> Vec<f64> { x.iter().map(|x| x / size).collect() };
            assert!(values.is_sorted() && alone.is_sorted(), "{kind} {n}");
            close(&scaled(&values), &scaled(&alone));
            close(&product(n, n, n, &turned(n, n, &vectors), &vectors), &unit(n));
            let mapped = product(n, n, n, &scaled(&a), &vectors);
            let expected: Vec<f64> =
                (0..n * n).map(|at| vectors[at] * (values[at % n] / size)).collect();
            close(&mapped, &expected);
        }
    }
}

#[test]
fn singular_values_of_every_kind() {
    let mut cases: Vec<(usize, usize, Vec<f64>)> = Vec::new();
    for n in [1, 2, 3, 20, 33, 70, 130] {
        cases.extend(squares(n).into_iter().map(|a| (n, n, a)));
    }
    for (m, n) in [(1, 7), (7, 1), (40, 36), (36, 40), (90, 33), (33, 90)] {
        cases.push((m, n, draw(m * n)));
    }
    for (m, n, a) in cases {
        let k = m.min(n);
        for full in [false, true] {
            let (wide, high) = if full { (m, n) } else { (k, k) };
            let (mut values, mut alone) = (vec![0.0; k], vec![0.0; k]);
            let (mut left, mut right) = (vec![0.0; m * wide], vec![0.0; high * n]);
            let given = Given::new(a.as_ptr(), lines(n));
            let sides = Sides { left: &mut left, right: &mut right, full };
            // SAFETY: a matrix of our own.
            unsafe {
                svd(given, (m, n), &mut values, Some(sides));
                svd(given, (m, n), &mut alone, None);
            }
            let size = values[0].max(f64::MIN_POSITIVE);
            let scaled = |x: &[f64]| -> Vec<f64> { x.iter().map(|x| x / size).collect() };
            assert!(values.is_sorted_by(|a, b| a >= b) && values[k - 1] >= 0.0);
            close(&scaled(&values), &scaled(&alone));
            close(&product(wide, wide, m, &turned(m, wide, &left), &left), &unit(wide));
            close(&product(high, high, n, &right, &turned(high, n, &right)), &unit(high));
            let mut inner = vec![0.0; k * n];
            for (at, x) in inner.iter_mut().enumerate() {
                *x = right[at] * (values[at / n] / size);
            }
            let short: Vec<f64> = (0..m * k).map(|at| left[at / k * wide + at % k]).collect();
            close(&product(m, n, k, &short, &inner), &scaled(&a));
        }
    }
}

/// Small matrices, eight at a time, some of them hard.
fn stack(n: usize) -> Vec<f64> {
    let mut all: Vec<f64> = squares(n).into_iter().take(7).flatten().collect();
    all.extend(draw(n * n).iter().map(|x| x * 1e200));
    all
}

#[test]
fn a_few_at_a_time_as_one_by_one() {
    for n in 1..=MOST {
        let all = stack(n);
        let given = |i: usize| Given::new(all[i * n * n..].as_ptr(), lines(n));
        let scaled = |x: &[f64], size: f64| -> Vec<f64> { x.iter().map(|x| x / size).collect() };
        let (mut values, mut vectors) = (vec![0.0; LANES * n], vec![0.0; LANES * n * n]);
        eigen_of_few(n, &all, true, &mut values, &mut vectors);
        let (mut singular, mut sides) =
            (vec![0.0; LANES * n], [vec![0.0; LANES * n * n], vec![0.0; LANES * n * n]]);
        let mut unfinished = [false; LANES];
        let [left, right] = &mut sides;
        svd_of_few((n, n), &all, &mut singular, left, right, &mut unfinished);
        let (mut q, mut r) = (vec![0.0; LANES * n * n], vec![0.0; LANES * n * n]);
        let mut undone = [false; LANES];
        qr_of_few((n, n, n), &all, &mut q, &mut r, &mut undone);
        for i in 0..LANES {
            let part = i * n * n..(i + 1) * n * n;
            let size =
                all[part.clone()].iter().fold(f64::MIN_POSITIVE, |most, x| most.max(x.abs()));
            let mut alone = vec![0.0; n];
            // SAFETY: matrices of our own.
            unsafe { eigh(given(i), n, true, &mut alone, None) };
            close(&scaled(&values[i * n..(i + 1) * n], size), &scaled(&alone, size));
            let own = &vectors[part.clone()];
            close(&product(n, n, n, &turned(n, n, own), own), &unit(n));
            // SAFETY: as above.
            unsafe { svd(given(i), (n, n), &mut alone, None) };
            close(&scaled(&singular[i * n..(i + 1) * n], size), &scaled(&alone, size));
            if !unfinished[i] {
                let (u, v) = (&left[part.clone()], &right[part.clone()]);
                close(&product(n, n, n, &turned(n, n, u), u), &unit(n));
                let mut inner = scaled(v, size);
                inner.iter_mut().enumerate().for_each(|(at, x)| *x *= singular[i * n + at / n]);
                close(&product(n, n, n, u, &inner), &scaled(&all[part.clone()], size));
            }
            if !undone[i] {
                let (q, r) = (&q[part.clone()], scaled(&r[part.clone()], size));
                close(&product(n, n, n, q, &r), &scaled(&all[part.clone()], size));
                close(&product(n, n, n, &turned(n, n, q), q), &unit(n));
            }
        }
        assert!(!unfinished[0] && !undone[0], "a random matrix is finished");
    }
}

#[test]
fn a_few_systems_as_one_by_one() {
    for n in 1..=8 {
        let all = stack(n);
        let mut packed = all.clone();
        let mut swaps = vec![0; LANES * n];
        lu_of_few(Few { n, a: &mut packed }, &mut swaps);
        let b = draw(LANES * n * 3);
        let mut x = b.clone();
        solve_few((n, 3), &packed, &swaps, &mut x);
        let mut positive = Vec::new();
        for i in 0..LANES {
            let part = i * n * n..(i + 1) * n * n;
            let mut alone = all[part.clone()].to_vec();
            let mut own = vec![0; n];
            // SAFETY: a matrix of our own.
            unsafe { lu(n, n, Rows::new(alone.as_mut_ptr(), n), &mut own) };
            assert_eq!(alone, packed[part.clone()]);
            assert_eq!(own, swaps[i * n..(i + 1) * n]);
            let root = &draw(LANES * n * n)[part];
            let mut square = product(n, n, n, &turned(n, n, root), root);
            square.iter_mut().step_by(n + 1).for_each(|x| *x += 0.1);
            positive.extend(square);
        }
        close(&product(n, 3, n, &all[..n * n], &x[..n * 3]), &b[..n * 3]);
        positive[(LANES - 1) * n * n + n * n - 1] = -1.0;
        let (mut factors, mut failed) = (positive.clone(), vec![0; LANES]);
        cholesky_of_few(Few { n, a: &mut factors }, &mut failed);
        for i in 0..LANES - 1 {
            let l = &factors[i * n * n..(i + 1) * n * n];
            close(&product(n, n, n, l, &turned(n, n, l)), &positive[i * n * n..(i + 1) * n * n]);
        }
        assert_eq!(failed[..LANES - 1], [0; LANES - 1]);
        assert_eq!(failed[LANES - 1], n);
    }
}

#[test]
fn least_squares_of_every_rank() {
    for (m, n, rank) in [(5, 3, 3), (3, 5, 3), (40, 40, 40), (60, 20, 20), (30, 30, 7), (50, 20, 4)]
    {
        let (tall, wide) = (draw(m * rank), draw(rank * n));
        let a = product(m, n, rank, &tall, &wide);
        let b = draw(m * 2);
        let mut x = vec![0.0; n * 2];
        let (from, right) = (Given::new(a.as_ptr(), lines(n)), Given::new(b.as_ptr(), lines(2)));
        // SAFETY: matrices of our own.
        assert_eq!(unsafe { least_squares(from, right, (m, n, 2), 1e-9, &mut x) }, rank);
        // What is left is orthogonal to the columns, and the solution to what the matrix maps to zero.
        let mut rest = product(m, 2, n, &a, &x);
        rest.iter_mut().zip(&b).for_each(|(x, b)| *x -= b);
        close(&product(n, 2, m, &turned(m, n, &a), &rest), &vec![0.0; n * 2]);
        // So it is a sum of rows: least squares with these leave nothing.
        let across = turned(rank, n, &wide);
        let mut shares = vec![0.0; rank * 2];
        let (from, right) =
            (Given::new(across.as_ptr(), lines(rank)), Given::new(x.as_ptr(), lines(2)));
        // SAFETY: as above.
        unsafe { least_squares(from, right, (n, rank, 2), 1e-12, &mut shares) };
        close(&product(n, 2, rank, &across, &shares), &x);
    }
}

#[test]
fn a_small_singular_value_that_no_diagonal_shows() {
    // Ones with minus ones above them: the least singular value is about 2 to the minus 38.
    let n = 40;
    let a: Vec<f64> = (0..n * n)
        .map(|at| match (at / n).cmp(&(at % n)) {
            std::cmp::Ordering::Less => -1.0,
            std::cmp::Ordering::Equal => 1.0,
            std::cmp::Ordering::Greater => 0.0,
        })
        .collect();
    let (b, mut x) = (draw(n), vec![0.0; n]);
    let (from, right) = (Given::new(a.as_ptr(), lines(n)), Given::new(b.as_ptr(), lines(1)));
    for (rcond, rank) in [(1e-9, n - 1), (1e-15, n)] {
        // SAFETY: matrices of our own.
        assert_eq!(unsafe { least_squares(from, right, (n, n, 1), rcond, &mut x) }, rank);
    }
}
