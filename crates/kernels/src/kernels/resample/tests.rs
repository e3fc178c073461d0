use super::*;

fn dense<T: Real>(along: &Along) -> Vec<Vec<f64>> {
    matrix(&Axis::<T>::new(along))
}

/// An axis as a matrix of weights.
fn matrix<T: Real>(axis: &Axis<T>) -> Vec<Vec<f64>> {
    use taps::Kind;
    let mut rows = vec![vec![0.0; axis.input]; axis.output];
    for piece in &axis.pieces {
        for place in 0..piece.len {
            let row = &mut rows[piece.to + place];
            match piece.kind {
                Kind::Empty => {}
                Kind::Copy(from) => row[from + place] = 1.0,
                Kind::Sums { first, .. } | Kind::Phases { first, .. } => {
                    let (index, weight) = axis.taps(first + place);
                    for (&index, &weight) in index.iter().zip(weight) {
                        row[index as usize] += weight.to_f64();
                    }
                }
            }
        }
    }
    rows
}

fn turned(rows: &[Vec<f64>], input: usize) -> Vec<Vec<f64>> {
    (0..input).map(|i| rows.iter().map(|row| row[i]).collect()).collect()
}

fn examples() -> Vec<Along> {
    let mut all = Vec::new();
    for edge in [Edge::Constant, Edge::Reflect, Edge::Replicate, Edge::Circular] {
        for (input, before, after) in [(5, 2, 3), (5, -1, 4), (5, 4, -2), (1, 0, 0), (6, -2, -2)] {
            all.push(Along::Pad { input, before, after, edge });
        }
    }
    let filters =
        [Filter::Nearest, Filter::NearestExact, Filter::Linear, Filter::Cubic, Filter::Lanczos];
    for filter in filters {
        for (input, output) in [(5, 7), (20, 40), (40, 20), (7, 3), (1, 4), (4, 1), (30, 90)] {
            for align in [false, true] {
                let antialias = filter == Filter::Lanczos;
                let scale = Scale { input, output, filter, factor: None, align, antialias };
                all.push(Along::Scale(scale));
                let smooth = matches!(filter, Filter::Linear | Filter::Cubic);
                all.push(Along::Scale(Scale { antialias: smooth || antialias, ..scale }));
            }
        }
    }
    all
}

#[test]
fn the_transpose_is_the_transpose() {
    for along in examples() {
        let mut axis = Axis::<f64>::new(&along);
        let rows = dense::<f64>(&along);
        let mut back = axis.transposed();
        assert_eq!(matrix(&back), turned(&rows, axis.input), "{along:?}");
        axis.find_phases();
        back.find_phases();
        assert_eq!(matrix(&axis), rows, "{along:?}");
        assert_eq!(matrix(&back), turned(&rows, axis.input), "{along:?}");
    }
}

#[test]
fn weights_of_a_place_add_up_to_one() {
    for along in examples() {
        if matches!(along, Along::Scale(_)) {
            for row in dense::<f32>(&along) {
                assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{along:?} {row:?}");
            }
        }
    }
}

fn run<T: Real>(along: &[Along], transposed: bool, x: &[T]) -> Vec<T> {
    let layout = Layout::<T>::new(along, transposed);
    let [read, made] = layout.counts();
    assert_eq!(read, x.len());
    let mut y = vec![T::from_f64(f64::NAN); made];
    // SAFETY: the sizes are those of the layout.
    unsafe { resample::<T>(&layout, x.as_ptr(), y.as_mut_ptr()) };
    y
}

/// By the matrices of all dimensions.
fn plain(along: &[Along], transposed: bool, x: &[f64]) -> Vec<f64> {
    let mut held = x.to_vec();
    let sizes: Vec<[usize; 2]> = along
        .iter()
        .map(|along| if transposed { [along.sizes()[1], along.sizes()[0]] } else { along.sizes() })
        .collect();
    for (dim, one) in along.iter().enumerate() {
        let rows = dense::<f64>(one);
        let rows = if transposed { turned(&rows, one.sizes()[0]) } else { rows };
        let outer: usize = sizes[..dim].iter().map(|sizes| sizes[1]).product();
        let inner: usize = sizes[dim + 1..].iter().map(|sizes| sizes[0]).product();
        let n = sizes[dim][0];
        let mut next = Vec::new();
        for o in 0..outer {
            for row in &rows {
                for i in 0..inner {
                    next.push((0..n).map(|k| row[k] * held[(o * n + k) * inner + i]).sum());
                }
            }
        }
        held = next;
    }
    held
}

#[test]
fn layouts_do_what_matrices_do() {
    let all = examples();
    for (i, &one) in all.iter().enumerate() {
        let other = all[(i * 7 + 3) % all.len()];
        let cases: [&[Along]; 5] = [
            &[one],
            &[Along::Keep(3), one],
            &[one, Along::Keep(2)],
            &[Along::Keep(2), one, other],
            &[other, Along::Keep(2), one, Along::Keep(2)],
        ];
        for along in cases {
            for transposed in [false, true] {
                let count: usize =
                    along.iter().map(|along| along.sizes()[usize::from(transposed)]).product();
                let x: Vec<f64> = (0..count).map(|i| ((i * 37 + 11) % 101) as f64 - 50.0).collect();
                let expected = plain(along, transposed, &x);
                let made = run::<f64>(along, transposed, &x);
                assert_eq!(made.len(), expected.len());
                for (a, b) in made.iter().zip(&expected) {
                    assert!((a - b).abs() < 1e-9, "{along:?} {transposed} {a} {b}");
                }
            }
        }
    }
}

#[test]
fn every_level_gives_the_same_bits() {
    let all = examples();
    for pair in all.chunks(2) {
        for transposed in [false, true] {
            let count: usize =
                pair.iter().map(|along| along.sizes()[usize::from(transposed)]).product();
            let x: Vec<f32> = (0..count).map(|i| (i as f32).sin()).collect();
            crate::kernels::multiversion::tests::same_bits(|| {
                run::<f32>(pair, transposed, &x).iter().map(|x| x.to_bits()).collect::<Vec<_>>()
            });
        }
    }
}
