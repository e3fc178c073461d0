use super::{Given, Rows, cholesky, lu, orthogonal, reflect, substitute};
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
    for (m, n) in [(1, 1), (30, 7), (50, 50), (90, 40), (150, 130)] {
        let original = draw(m * n);
        let mut columns = original.clone();
        let made = reflect(&mut columns, m, n);
        let q = orthogonal(&columns, m, &made.factors, n);
        let mut r = vec![0.0; n * n];
        for j in 0..n {
            r[j * n..j * n + j].copy_from_slice(&columns[j * m..j * m + j]);
            r[j * n + j] = made.diagonal[j];
        }
        close(&product(n, m, n, &r, &q), &original);
        let turned: Vec<f64> = (0..m * n).map(|at| q[at % n * m + at / n]).collect();
        let unit: Vec<f64> = (0..n * n).map(|at| f64::from(u8::from(at % (n + 1) == 0))).collect();
        close(&product(n, n, m, &q, &turned), &unit);
    }
}
