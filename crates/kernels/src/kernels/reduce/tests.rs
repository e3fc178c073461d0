use super::*;
use crate::dtype::Bool;

fn sum<T: crate::dtype::Element, K: Kind<T>>(
    kind: K,
    x: &[T],
    base: isize,
    shape: &[usize],
    strides: &[isize],
    mask: u64,
) -> Vec<K::Out> {
    let n: usize =
        shape.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 0).map(|(_, s)| s).product();
    let mut out = Vec::with_capacity(n);
    // SAFETY: the tests give shapes that lie within x.
    unsafe {
        reduce(kind, x.as_ptr().offset(base), shape, strides, mask, out.as_mut_ptr());
        out.set_len(n);
    }
    out
}

fn noise(n: usize) -> Vec<f64> {
    let mut state = 1u64;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        })
        .collect()
}

/// Every mask and permutation of strides against the plain definition.
#[test]
fn all_masks_all_layouts() {
    for shape in [[3usize, 5, 70], [70, 3, 5], [1, 100, 9], [9, 1, 1], [40, 700, 2], [2, 33, 1100]]
    {
        let n: usize = shape.iter().product();
        let x: Vec<i32> = (0..n as i32).map(|i| i * 7919 % 1009 - 500).collect();
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
            let mut strides = [0isize; 3];
            let mut step = 1;
            for &dim in order.iter().rev() {
                strides[dim] = step;
                step *= shape[dim] as isize;
            }
            for negative in [false, true] {
                let mut base = 0;
                let mut strides = strides;
                if negative {
                    base = (shape[1] as isize - 1) * strides[1];
                    strides[1] = -strides[1];
                }
                for mask in 0..8u64 {
                    let size = |d: usize| if mask >> d & 1 == 1 { 1 } else { shape[d] };
                    let mut want = vec![0i64; size(0) * size(1) * size(2)];
                    for i in 0..shape[0] {
                        for j in 0..shape[1] {
                            for k in 0..shape[2] {
                                let at =
                                    |d: usize, i: usize| if mask >> d & 1 == 1 { 0 } else { i };
                                let to = (at(0, i) * size(1) + at(1, j)) * size(2) + at(2, k);
                                let from = base
                                    + i as isize * strides[0]
                                    + j as isize * strides[1]
                                    + k as isize * strides[2];
                                want[to] += i64::from(x[from as usize]);
                            }
                        }
                    }
                    assert_eq!(
                        sum(Sum, &x, base, &shape, &strides, mask),
                        want,
                        "{shape:?} {mask}"
                    );
                }
            }
        }
    }
}

#[test]
fn broadcast_and_empty() {
    assert_eq!(sum(Sum, &[2.0f32], 0, &[3, 4], &[0, 0], 3), [24.0]);
    assert_eq!(sum(Sum, &[1.0f32, 2.0], 0, &[3, 2], &[0, 1], 1), [3.0, 6.0]);
    assert_eq!(sum(Sum, &[1.0f32, 2.0], 0, &[2, 3], &[1, 0], 2), [3.0, 6.0]);
    assert_eq!(sum(Sum, &[] as &[f32], 0, &[0], &[1], 1), [0.0]);
    assert_eq!(sum(Prod, &[] as &[u8], 0, &[0, 3], &[3, 1], 1), [1, 1, 1]);
    assert_eq!(sum(Sum, &[] as &[f32], 0, &[0, 3], &[3, 1], 2), [] as [f32; 0]);
    assert_eq!(sum(Sum, &[5.0f32], 0, &[], &[], 0), [5.0]);
    assert!(sum(MeanVar, &[] as &[f32], 0, &[0], &[1], 1)[0].mean.is_nan());
}

#[test]
fn float_sum_is_accurate() {
    for n in [1000usize, 100_000, 3_000_000] {
        let x = noise(n);
        let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        let want: f64 = narrow.iter().map(|&x| f64::from(x)).sum();
        let rows = sum(Sum, &narrow, 0, &[n], &[1], 1)[0];
        assert!((f64::from(rows) - want).abs() / want < 2e-7, "{n}: {rows} {want}");
        let columns = sum(Sum, &narrow, 0, &[n / 100, 100], &[100, 1], 1);
        let total: f64 = columns.iter().map(|&x| f64::from(x)).sum();
        assert!((total - want).abs() / want < 2e-7, "{n}: {total} {want}");
    }
}

#[test]
fn nan_and_extremes() {
    let nan = f32::NAN;
    let mut x = vec![0.0f32; 5000];
    x[4000] = nan;
    x[4999] = 5.0;
    assert!(sum(Max, &x, 0, &[5000], &[1], 1)[0].is_nan());
    assert!(sum(Min, &x, 0, &[50, 100], &[100, 1], 3)[0].is_nan());
    assert!(sum(Max, &x, 0, &[50, 100], &[100, 1], 1)[0].is_nan());
    x[4000] = -1.0;
    assert_eq!(sum(Max, &x, 0, &[5000], &[1], 1), [5.0]);
    assert_eq!(sum(MaxAbs, &[-3i32, 2], 0, &[2], &[1], 1), [3]);
    assert!(sum(Any, &x, 0, &[5000], &[1], 1)[0].get());
    assert!(!sum(All, &x, 0, &[5000], &[1], 1)[0].get());
    assert_eq!(sum(CountNonzero, &x, 0, &[5000], &[1], 1), [2]);
    assert_eq!(sum(Sum, &[Bool(1), Bool(0), Bool(7)], 0, &[3], &[1], 1), [2]);
}

#[test]
fn moments_and_norms() {
    let x: Vec<f32> = noise(10_000).iter().map(|&x| 1000.0 + x as f32).collect();
    let mean: f64 = x.iter().map(|&x| f64::from(x)).sum::<f64>() / 1e4;
    let m2: f64 = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum();
    for (shape, strides) in [([1usize, 10_000], [0isize, 1]), ([10_000, 1], [1, 0])] {
        let got = sum(Variance { correction: 1.0, root: false }, &x, 0, &shape, &strides, 3)[0];
        assert!((f64::from(got) / (m2 / 9999.0) - 1.0).abs() < 1e-6);
    }
    let columns = sum(Variance { correction: 1.0, root: true }, &x, 0, &[100, 100], &[100, 1], 1);
    let rows = sum(Variance { correction: 1.0, root: true }, &x, 0, &[100, 100], &[1, 100], 2);
    for (a, b) in columns.iter().zip(&rows) {
        assert!((a - b).abs() < 1e-6);
    }
    assert_eq!(sum(SquareSum { root: true }, &[3.0f64, 4.0], 0, &[2], &[1], 1), [5.0]);
    assert!(
        (sum(Norm { p: 3.0 }, &[3.0f64, 4.0], 0, &[2], &[1], 1)[0] - 91f64.cbrt()).abs() < 1e-12
    );
}

#[test]
fn logsumexp_survives_infinities() {
    let inf = f32::INFINITY;
    assert_eq!(sum(LogSumExp, &[-inf, -inf], 0, &[2], &[1], 1), [-inf]);
    assert_eq!(sum(LogSumExp, &[inf, 1.0], 0, &[2], &[1], 1), [inf]);
    assert_eq!(sum(LogSumExp, &[] as &[f32], 0, &[0], &[1], 1), [-inf]);
    assert!(sum(LogSumExp, &[f32::NAN, 1.0], 0, &[2], &[1], 1)[0].is_nan());
    let mut x = vec![-inf; 5000];
    x[4500] = -1000.0;
    assert_eq!(sum(LogSumExp, &x, 0, &[5000], &[1], 1), [-1000.0]);
    assert_eq!(sum(LogSumExp, &x, 0, &[5000, 1], &[1, 1], 1), [-1000.0]);
    let x = vec![1000.0f32; 64];
    let got = sum(LogSumExp, &x, 0, &[64], &[1], 1)[0];
    assert!((got - 1000.0 - 64f32.ln()).abs() < 1e-3);
}

#[test]
fn argmax_takes_the_first_and_nan() {
    let arg = |e, x: &[f32], shape: &[usize], strides: &[isize], mask: u64, n: usize| {
        let (mut v, mut i) = (vec![0.0f32; n], vec![-1i64; n]);
        // SAFETY: the shapes below lie within x.
        unsafe { argreduce(e, x.as_ptr(), shape, strides, mask, v.as_mut_ptr(), i.as_mut_ptr()) };
        (v, i)
    };
    let mut x = vec![1.0f32; 6000];
    x[3000] = 2.0;
    x[5000] = 2.0;
    assert_eq!(arg(Extreme::Max, &x, &[6000], &[1], 1, 1), (vec![2.0], vec![3000]));
    assert_eq!(arg(Extreme::Min, &x, &[6000], &[1], 1, 1), (vec![1.0], vec![0]));
    let (_, i) = arg(Extreme::Max, &x, &[60, 100], &[100, 1], 1, 100);
    assert_eq!((i[0], i[1]), (30, 0));
    // Transposed: the flattened index counts in the view's order.
    let (_, i) = arg(Extreme::Max, &x, &[100, 60], &[1, 100], 3, 1);
    assert_eq!(i, [30]);
    x[4000] = f32::NAN;
    assert_eq!(arg(Extreme::Max, &x, &[6000], &[1], 1, 1).1, [4000]);
    assert_eq!(arg(Extreme::Min, &x, &[60, 100], &[100, 1], 1, 100).1[0], 40);
    assert_eq!(arg(Extreme::Min, &x, &[1], &[1], 1, 1).1, [0]);
}

#[test]
fn product_sum() {
    let a: Vec<f32> = (0..600).map(|i| (i % 13) as f32).collect();
    let b: Vec<f32> = (0..600).map(|i| (i % 7) as f32).collect();
    let mut out = vec![0.0f32; 20];
    // SAFETY: both are 30 x 20.
    unsafe {
        sum_of_product(a.as_ptr(), &[20, 1], b.as_ptr(), &[20, 1], &[30, 20], 1, out.as_mut_ptr());
    }
    for j in 0..20 {
        assert_eq!(out[j], (0..30).map(|i| a[i * 20 + j] * b[i * 20 + j]).sum::<f32>());
    }
    let mut out = vec![0.0f32; 30];
    // SAFETY: b is broadcast along the rows.
    unsafe {
        sum_of_product(a.as_ptr(), &[20, 1], b.as_ptr(), &[1, 0], &[30, 20], 2, out.as_mut_ptr());
    }
    for i in 0..30 {
        assert_eq!(out[i], (0..20).map(|j| a[i * 20 + j] * b[i]).sum::<f32>());
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let x: Vec<f32> = noise(300 * 1111).iter().map(|&x| x as f32 - 0.3).collect();
    crate::kernels::multiversion::tests::same_bits(|| {
        let mut bits = Vec::new();
        for mask in 1..4 {
            let strides = [1111, 1];
            for (shape, strides) in [([300, 1111], strides), ([1111, 300], [1, 1111])] {
                let mut take = |out: Vec<f32>| bits.extend(out.iter().map(|x| x.to_bits()));
                take(sum(Sum, &x, 0, &shape, &strides, mask));
                take(sum(Prod, &x, 0, &shape, &strides, mask));
                take(sum(SquareSum { root: true }, &x, 0, &shape, &strides, mask));
                take(sum(Variance { correction: 1.0, root: true }, &x, 0, &shape, &strides, mask));
                take(sum(LogSumExp, &x, 0, &shape, &strides, mask));
            }
        }
        bits
    });
}

/// Columns of every width near the pieces they are taken in, more rows than one level of the cascade takes, with and
/// without gaps between rows.
#[test]
fn strips_of_columns() {
    let x = noise(700 * 150);
    let whole: Vec<i32> = x.iter().map(|x| (x * 1000.0) as i32 - 500).collect();
    let mut floats: Vec<f32> = whole.iter().map(|&x| x as f32).collect();
    floats[5 * 150 + 2] = f32::NAN;
    for width in [1usize, 3, 4, 7, 8, 13, 15, 16, 31, 33, 45, 64, 77, 107, 150] {
        for (rows, step) in [(700usize, 150usize), (23, 150), (16, width), (520, width), (9, width)]
        {
            let (shape, strides) = ([rows, width], [step as isize, 1]);
            let column = |j: usize| (0..rows).map(move |i| i * step + j);
            let sums: Vec<i64> =
                (0..width).map(|j| column(j).map(|at| i64::from(whole[at])).sum()).collect();
            assert_eq!(sum(Sum, &whole, 0, &shape, &strides, 1), sums, "{rows} x {width}");
            let got = sum(Max, &floats, 0, &shape, &strides, 1);
            for (j, &got) in got.iter().enumerate() {
                let want =
                    column(j).map(|at| floats[at]).fold(f32::NEG_INFINITY, |a, b| Max.merge(a, b));
                assert!(
                    got == want || got.is_nan() && want.is_nan(),
                    "{rows} x {width}: {got} {want}"
                );
            }
            let got = sum(SquareSum { root: false }, &floats, 0, &shape, &strides, 1);
            for (j, &got) in got.iter().enumerate() {
                let want: f64 = column(j).map(|at| f64::from(floats[at]).powi(2)).sum();
                let near = (f64::from(got) - want).abs() <= 1e-5 * want;
                assert!(near || got.is_nan() && want.is_nan(), "{rows} x {width}: {got} {want}");
            }
        }
    }
}
