use super::*;

fn sorted<T: Sortable>(x: &[T], along: Along, descending: bool) -> (Vec<T>, Vec<i64>) {
    let (mut v, mut i) = (vec![T::default(); x.len()], vec![0i64; x.len()]);
    // SAFETY: all cover `along`.
    unsafe { sort(along, descending, x.as_ptr(), v.as_mut_ptr(), i.as_mut_ptr()) };
    (v, i)
}

fn line(n: usize) -> Along {
    Along { outer: 1, n, inner: 1 }
}

fn noise(n: usize) -> Vec<u64> {
    let mut state = 1u64;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 20
        })
        .collect()
}

#[test]
fn floats_with_nan_and_zeros() {
    let x = [1.0f32, f32::NAN, -0.0, 0.0, f32::NEG_INFINITY, f32::INFINITY, -f32::NAN];
    assert_eq!(sorted(&x, line(7), false).1, [4, 2, 3, 0, 5, 1, 6]);
    assert_eq!(sorted(&x, line(7), true).1, [1, 6, 5, 0, 2, 3, 4]);
    let x = x.map(f64::from);
    assert_eq!(sorted(&x, line(7), false).1, [4, 2, 3, 0, 5, 1, 6]);
    assert!(sorted(&x, line(7), false).0[1].is_sign_negative());
}

#[test]
fn long_lines_and_strided_ones() {
    let noise = noise(6000);
    let x: Vec<i64> = noise.iter().map(|&x| (x % 1000) as i64 - 500).collect();
    for descending in [false, true] {
        let mut want: Vec<i64> = (0..6000).collect();
        want.sort_by_key(|&i| if descending { -x[i as usize] } else { x[i as usize] });
        assert_eq!(sorted(&x, line(6000), descending).1, want);
        let narrow: Vec<i16> = x.iter().map(|&x| x as i16).collect();
        assert_eq!(sorted(&narrow, line(6000), descending).1, want);
    }
    let (v, i) = sorted(&x, Along { outer: 2, n: 1000, inner: 3 }, false);
    for line in 0..6 {
        let base = line / 3 * 3000 + line % 3;
        for at in 0..1000 {
            let here = base + 3 * at;
            assert_eq!(v[here], x[base + 3 * i[here] as usize]);
            assert!(at == 0 || v[here - 3] <= v[here]);
        }
    }
    assert_eq!(sorted(&[] as &[f32], line(0), false).1, [] as [i64; 0]);
    assert_eq!(sorted(&[Bool(5), Bool(0), Bool(1)], line(3), false).1, [1, 0, 2]);
}

#[test]
fn topk_is_the_head_of_the_sort() {
    let noise = noise(20_000);
    let x: Vec<f32> = noise.iter().map(|&x| (x % 5000) as f32).collect();
    for k in [1, 7, 300, 20_000] {
        for largest in [true, false] {
            let (mut v, mut i) = (vec![0.0f32; k], vec![0i64; k]);
            // SAFETY: k elements each.
            unsafe {
                topk(line(20_000), k, largest, true, x.as_ptr(), v.as_mut_ptr(), i.as_mut_ptr());
            }
            let want = sorted(&x, line(20_000), largest);
            assert_eq!((&v[..], &i[..]), (&want.0[..k], &want.1[..k]));
        }
    }
}

#[test]
fn ranks() {
    let pick = |rank, x: &[f64]| {
        let (mut v, mut i) = ([0.0], [0i64]);
        // SAFETY: one element each.
        unsafe { select(rank, line(x.len()), x.as_ptr(), v.as_mut_ptr(), i.as_mut_ptr()) };
        (v[0], i[0])
    };
    let nan = f64::NAN;
    assert_eq!(pick(Rank::Kth(1), &[3.0, 1.0, 2.0]), (2.0, 2));
    assert_eq!(pick(Rank::Median, &[4.0, 1.0, 3.0, 2.0]), (2.0, 3));
    assert_eq!(pick(Rank::Median, &[4.0, nan, 3.0]).1, 1);
    assert_eq!(pick(Rank::NanMedian, &[4.0, nan, 3.0]), (3.0, 2));
    assert!(pick(Rank::NanMedian, &[nan]).0.is_nan());
    assert_eq!(pick(Rank::Mode, &[2.0, 1.0, 2.0, 1.0, 5.0]), (1.0, 3));
}

#[test]
fn counting() {
    let got = unique(&[3i32, 1, 3, 2]);
    assert_eq!(got.values, [1, 2, 3]);
    assert_eq!(got.inverse, [2, 0, 2, 1]);
    assert_eq!(got.counts, [1, 1, 2]);
    assert_eq!(unique(&[f32::NAN, f32::NAN]).counts, [1, 1]);
    assert_eq!(unique_consecutive(&[1u8, 1, 2, 1]).values, [1, 2, 1]);
    let mut out = [0i64; 4];
    searchsorted(&[1.0f32, 2.0, 2.0, 3.0], 4, &[2.0, 0.0, 9.0, f32::NAN], 4, false, &mut out);
    assert_eq!(out, [1, 0, 4, 4]);
    searchsorted(&[1.0f32, 2.0, 2.0, 3.0], 2, &[2.0, 0.0, 2.0, 3.0], 2, true, &mut out);
    assert_eq!(out, [2, 0, 1, 2]);
    assert_eq!(bincount(&[1, 1, 0], None, 4, 9).unwrap(), BinCount::Counts(vec![1, 2, 0, 0]));
    assert_eq!(
        bincount(&[1, 1], Some(&[0.5, 2.0]), 0, 9).unwrap(),
        BinCount::Weighted(vec![0.0, 2.5])
    );
    assert!(bincount(&[-1], None, 0, 9).is_err());
    assert!(bincount(&[9], None, 0, 9).is_err());
    let many: Vec<i64> = (0..101).map(|i| i * i % 7).collect();
    let expected = (0..7).map(|k| many.iter().filter(|&&x| x == k).count() as i64).collect();
    assert_eq!(bincount(&many, None, 7, 9).unwrap(), BinCount::Counts(expected));
    assert_eq!(histogram(&[0.0f32, 1.0, 2.0, 4.0, 5.0], 4, 0.0, 4.0), [1, 1, 1, 1]);
}

#[test]
fn few_keys_are_sorted_as_many_are() {
    let noise = noise(1000);
    for n in 1..=17 {
        for start in 0..200 {
            let x: Vec<i32> = noise[start..start + n].iter().map(|&x| (x % 7) as i32).collect();
            let mut want: Vec<i64> = (0..n as i64).collect();
            want.sort_by_key(|&i| x[i as usize]);
            assert_eq!(sorted(&x, line(n), false).1, want, "{x:?}");
            want.sort_by_key(|&i| (-x[i as usize], i));
            assert_eq!(sorted(&x, line(n), true).1, want, "{x:?}");
        }
    }
}
