use super::*;
use crate::dtype::Bool;
use crate::kernels::rows::Along;

#[test]
fn gather_along_each_dimension() {
    // 3 x 4, row-major and transposed.
    let x: Vec<i32> = (0..12).collect();
    for (strides, at) in [([4isize, 1], [4, 1]), ([1, 3], [1, 3])] {
        for dim in 0..2 {
            let shape = [2usize, 3];
            let size = [3, 4][dim];
            let index = [0i64, 2, 1, 2, 0, 1];
            let mut out = [0i32; 6];
            // SAFETY: the index shape fits the input.
            unsafe {
                gather(x.as_ptr(), &strides, dim, size, &index, &shape, out.as_mut_ptr()).unwrap();
            }
            for i in 0..2 {
                for j in 0..3 {
                    let k = index[i * 3 + j] as isize;
                    let (p, q) = if dim == 0 { (k, j as isize) } else { (i as isize, k) };
                    assert_eq!(out[i * 3 + j] as isize, p * at[0] + q * at[1]);
                }
            }
        }
    }
    let mut out = [0i32; 1];
    // SAFETY: refused.
    let error = unsafe { gather(x.as_ptr(), &[1], 0, 3, &[5], &[1], out.as_mut_ptr()) };
    let text = "index 5 is out of bounds for dimension 0 with size 3";
    assert_eq!(error.unwrap_err().message(), text);
    // SAFETY: refused.
    assert!(unsafe { gather(x.as_ptr(), &[1], 0, 3, &[-1], &[1], out.as_mut_ptr()) }.is_err());
    // SAFETY: nothing to do.
    unsafe { gather(x.as_ptr(), &[1], 0, 0, &[], &[0], out.as_mut_ptr()) }.unwrap();
}

#[test]
fn scatter_of_every_kind() {
    let reduce = |reduction, include_self| {
        let mut out = [10.0f32, 20.0, 30.0, 40.0];
        let source = [1.0f32, 2.0, 3.0, 6.0];
        // SAFETY: four elements each.
        unsafe {
            scatter_reduce(
                reduction,
                include_self,
                out.as_mut_ptr(),
                &[4],
                0,
                &[0, 1, 0, 1],
                &[4],
                source.as_ptr(),
                &[1],
            )
            .unwrap();
        }
        out
    };
    assert_eq!(reduce(Reduction::Sum, true), [14.0, 28.0, 30.0, 40.0]);
    assert_eq!(reduce(Reduction::Sum, false), [4.0, 8.0, 30.0, 40.0]);
    assert_eq!(reduce(Reduction::Prod, false), [3.0, 12.0, 30.0, 40.0]);
    assert_eq!(reduce(Reduction::Mean, false), [2.0, 4.0, 30.0, 40.0]);
    assert_eq!(reduce(Reduction::Mean, true), [14.0 / 3.0, 28.0 / 3.0, 30.0, 40.0]);
    assert_eq!(reduce(Reduction::Max, true), [10.0, 20.0, 30.0, 40.0]);
    assert_eq!(reduce(Reduction::Max, false), [3.0, 6.0, 30.0, 40.0]);
    assert_eq!(reduce(Reduction::Min, true), [1.0, 2.0, 30.0, 40.0]);
    // Along dimension 0 of a matrix wider than a tile, a scalar as source.
    let mut out = vec![0i64; 2 * 300];
    let index = vec![1i64; 3 * 300];
    // SAFETY: the sizes are as stated.
    unsafe {
        scatter(
            Combine::Add,
            out.as_mut_ptr(),
            &[300, 1],
            0,
            2,
            &index,
            &[3, 300],
            &7,
            &[0, 0],
            Base::There,
        )
        .unwrap();
    }
    assert!(out[..300].iter().all(|&x| x == 0) && out[300..].iter().all(|&x| x == 21));
}

#[test]
fn slices_along_a_dimension() {
    let x: Vec<f32> = (0..24).map(|i| i as f32).collect();
    let along = Along { outer: 2, n: 3, inner: 4 };
    let mut out = vec![0.0f32; 16];
    // SAFETY: sizes as stated.
    unsafe { index_select(along, 1, x.as_ptr(), &[2, 0], out.as_mut_ptr()).unwrap() };
    assert_eq!(out[..4], x[8..12]);
    assert_eq!(out[4..8], x[..4]);
    assert_eq!(out[12..], x[12..16]);
    let mut sum = vec![0.0f32; 24];
    // SAFETY: sizes as stated.
    unsafe { index_add(along, 1, sum.as_mut_ptr(), &[1, 1], out.as_ptr(), 2.0).unwrap() };
    assert_eq!(sum[4], 2.0 * (out[0] + out[4]));
    assert_eq!(sum[0], 0.0);
    // SAFETY: sizes as stated.
    unsafe { index_copy(along, 1, sum.as_mut_ptr(), &[0, 0], out.as_ptr()).unwrap() };
    assert_eq!(sum[..4], out[4..8]);
    // SAFETY: sizes as stated.
    unsafe { index_fill(along, 1, sum.as_mut_ptr(), &[2], 9.0).unwrap() };
    assert_eq!(sum[8..12], [9.0; 4]);
}

#[test]
fn adding_many_rows_takes_index_order() {
    let (n, inner, m) = (100usize, 9usize, 60_000usize);
    let index: Vec<i64> = (0..m).map(|i| (i * i % n) as i64).collect();
    let x: Vec<f32> = (0..m * inner).map(|i| 1.0 / (1.0 + i as f32)).collect();
    let mut out = vec![0.0f32; n * inner];
    // SAFETY: sizes as stated.
    unsafe {
        let along = Along { outer: 1, n, inner };
        index_add(along, 0, out.as_mut_ptr(), &index, x.as_ptr(), 1.0).unwrap();
    }
    let mut want = vec![0.0f32; n * inner];
    for (i, &row) in index.iter().enumerate() {
        for j in 0..inner {
            want[row as usize * inner + j] += x[i * inner + j];
        }
    }
    assert_eq!(out, want);
}

#[test]
fn advanced_reads_and_writes() {
    let x: Vec<i64> = (0..60).collect();
    let (shape, strides) = ([3usize, 4, 5], [20isize, 5, 1]);
    let (i, j) = ([0i64, -1], [1i64, 2, 3]);
    let a = IndexArray { data: i.as_ptr(), strides: &[1, 0] };
    let b = IndexArray { data: j.as_ptr(), strides: &[0, 1] };
    let read = |arrays: &[Option<IndexArray<'_>>], common: &[usize]| {
        // SAFETY: the arrays have the common shape.
        let plan = unsafe { IndexPlan::new(&shape, &strides, arrays, common).unwrap() };
        let mut out = vec![-1i64; plan.shape().iter().product()];
        // SAFETY: x has the plan's shape.
        unsafe { index(&plan, x.as_ptr(), out.as_mut_ptr()) };
        (plan, out)
    };
    // x[i[:, None], j]: neighbours.
    let (plan, out) = read(&[Some(a), Some(b)], &[2, 3]);
    assert_eq!(plan.shape(), [2, 3, 5]);
    assert_eq!(out[5..10], [10, 11, 12, 13, 14]);
    assert_eq!(out[15], 45);
    // x[i[:, None], :, j]: apart, so in front.
    let (plan, out) = read(&[Some(a), None, Some(b)], &[2, 3]);
    assert_eq!(plan.shape(), [2, 3, 4]);
    assert_eq!(out[..4], [1, 6, 11, 16]);
    // x[:, i]: a dimension before.
    let c = IndexArray { data: i.as_ptr(), strides: &[1] };
    let (plan, out) = read(&[None, Some(c)], &[2]);
    assert_eq!(plan.shape(), [3, 2, 5]);
    assert_eq!(out[5], 15);
    assert_eq!(out[10], 20);
    let mut y = x.clone();
    // SAFETY: y has the plan's shape; the value is a scalar.
    unsafe { index_put(&plan, y.as_mut_ptr(), &100, &[0, 0, 0], true) };
    for (at, (&y, &x)) in y.iter().zip(&x).enumerate() {
        let row = at / 5 % 4;
        assert_eq!(y - x, if row == 0 || row == 3 { 100 } else { 0 });
    }
    // Twice the same place: both count.
    let same = [1i64, 1];
    let c = IndexArray { data: same.as_ptr(), strides: &[1] };
    // SAFETY: as above.
    unsafe {
        let plan = IndexPlan::new(&shape, &strides, &[Some(c)], &[2]).unwrap();
        index_put(&plan, y.as_mut_ptr(), x.as_ptr(), &[20, 5, 1], true);
    }
    assert_eq!(y[21], 121 + 1 + 21);
    let bad = [-4i64];
    let c = IndexArray { data: bad.as_ptr(), strides: &[1] };
    // SAFETY: refused.
    let error = unsafe { IndexPlan::new(&shape, &strides, &[Some(c)], &[1]) };
    let text = "index -4 is out of bounds for dimension 0 with size 3";
    assert_eq!(error.unwrap_err().message(), text);
}

#[test]
fn sums_at_indices_take_index_order() {
    // Rows long enough for the sort, and single elements; with repeats and rows that get nothing.
    for (n, len, m) in [(50usize, 40usize, 300usize), (500, 1, 300)] {
        let rows: Vec<i64> = (0..m).map(|i| (i * i % (n - 7)) as i64).collect();
        let values: Vec<f32> = (0..m * len).map(|i| 1.0 / (1.0 + i as f32)).collect();
        let array = IndexArray { data: rows.as_ptr(), strides: &[1] };
        let mut out = vec![5.0f32; n * len];
        let mut want = vec![0.0f32; n * len];
        let strides = [len as isize, 1];
        // SAFETY: sizes as stated.
        unsafe {
            let plan = IndexPlan::new(&[n, len], &strides, &[Some(array)], &[m]).unwrap();
            let to = out.as_mut_ptr();
            assert!(index_sum(&plan, to, n * len, values.as_ptr(), &strides));
        }
        for (i, &row) in rows.iter().enumerate() {
            for j in 0..len {
                want[row as usize * len + j] += values[i * len + j];
            }
        }
        assert_eq!(out, want);
    }
}

#[test]
fn wide_put_matches_narrow() {
    let x: Vec<f32> = (0..2 * 3 * 700).map(|i| i as f32).collect();
    let mut y = vec![0.0f32; 4 * 700];
    let rows = [3i64, 0, 3];
    let c = IndexArray { data: rows.as_ptr(), strides: &[1] };
    // SAFETY: sizes as stated.
    unsafe {
        let plan = IndexPlan::new(&[4, 7, 100], &[700, 100, 1], &[Some(c)], &[3]).unwrap();
        index_put(&plan, y.as_mut_ptr(), x.as_ptr(), &[700, 100, 1], true);
    }
    for j in 0..700 {
        assert_eq!(y[3 * 700 + j], x[j] + x[1400 + j]);
        assert_eq!(y[j], x[700 + j]);
    }
}

#[test]
fn masks() {
    let x = [0.0f32, 1.0, f32::NAN, 0.0, -0.0, 2.0];
    let positions = |x: &[f32], shape: &[usize]| {
        let found = Found::new(x);
        let mut out = vec![-1; found.total() * shape.len()];
        // SAFETY: a row for each element found.
        unsafe { nonzero(x, shape, &found, out.as_mut_ptr()) };
        out
    };
    assert_eq!(positions(&x, &[2, 3]), [0, 1, 0, 2, 1, 2]);
    assert_eq!(positions(&x, &[6]), [1, 2, 5]);
    assert_eq!(positions(&[], &[0, 3]), [] as [i64; 0]);
    // More than a block, lines that cross its edge, three dimensions.
    let long: Vec<f32> = (0..70_000).map(|i| if i % 3 == 0 { 0.0 } else { 1.0 }).collect();
    let want: Vec<i64> = (0..70_000i64)
        .filter(|i| i % 3 != 0)
        .flat_map(|i| [i / 7000, i / 70 % 100, i % 70])
        .collect();
    assert_eq!(positions(&long, &[10, 100, 70]), want);
    let mask = [true, false, true, true].map(Bool::from);
    let found = Found::new(&mask);
    let (mut some, mut all) = ([0; 3], [9; 4]);
    // SAFETY: as many elements as were found; as many as the mask has.
    unsafe {
        masked_select(&[1, 2, 3, 4], &mask, &found, some.as_mut_ptr());
        masked_spread(&some, &mask, &found, all.as_mut_ptr());
    }
    assert_eq!((some, all), ([1, 3, 4], [1, 0, 3, 4]));
    let mut y = [0i32; 4];
    masked_scatter(&mut y, &mask, &[7, 8, 9]).unwrap();
    assert_eq!(y, [7, 0, 8, 9]);
    assert!(masked_scatter(&mut y, &mask, &[7]).is_err());
    let x: Vec<i32> = (1..=6).collect();
    let mut y = [0i32; 6];
    // SAFETY: 2 x 3 both.
    unsafe { triangle(true, 0, 1, 2, 3, x.as_ptr(), y.as_mut_ptr()) };
    assert_eq!(y, [1, 0, 0, 4, 5, 0]);
    // SAFETY: 2 x 3 both.
    unsafe { triangle(false, 1, 1, 2, 3, x.as_ptr(), y.as_mut_ptr()) };
    assert_eq!(y, [0, 2, 3, 0, 0, 6]);
    // SAFETY: 2 x 3 both.
    unsafe { roll(Along { outer: 2, n: 3, inner: 1 }, -1, x.as_ptr(), y.as_mut_ptr()) };
    assert_eq!(y, [2, 3, 1, 5, 6, 4]);
    assert_eq!(repeat_indices(&[2, 0, 1]).unwrap(), [0, 0, 2]);
    let mut rows = [0i64; 6];
    // SAFETY: two rows of three.
    unsafe { one_hot(&[1, 0], 3, rows.as_mut_ptr()) };
    assert_eq!(rows, [0, 1, 0, 1, 0, 0]);
    assert!(check_classes(&[3], 3).is_err());
    assert!(check_classes(&[-1], 3).is_err());
}
