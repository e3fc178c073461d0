//! Against texts and strides recorded from torch 2.15.
#![allow(clippy::expect_used)]

use super::*;

fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.expect_err("must fail").message().to_string()
}

#[test]
fn reshape_texts() {
    assert_eq!(message(infer_reshape(&[-1, -1], 3)), "only one dimension can be inferred");
    assert_eq!(message(infer_reshape(&[-1, -1, -5], 3)), "only one dimension can be inferred");
    assert_eq!(
        message(infer_reshape(&[-1, -5], 3)),
        "invalid shape dimension -5 at index 1 of shape [-1, -5]"
    );
    assert_eq!(
        message(infer_reshape(&[0, -1], 0)),
        "cannot reshape tensor of 0 elements into shape [0, -1] because the unspecified dimension \
         size -1 can be any value and is ambiguous"
    );
    for (shape, n) in [(&[0, -1][..], 3), (&[2, 2], 3), (&[4, 0, -1], 3), (&[1 << 40, 1 << 40], 0)]
    {
        assert_eq!(
            message(infer_reshape(shape, n)),
            format!("shape '{}' is invalid for input of size {n}", requested_text(shape))
        );
    }
    assert_eq!(infer_reshape(&[-1, 3], 0).expect("valid").as_slice(), &[0, 3]);
    assert_eq!(infer_reshape(&[-1], 0).expect("valid").as_slice(), &[0]);
    assert_eq!(infer_reshape(&[], 1).expect("valid").as_slice(), &[] as &[usize]);
}

#[test]
fn broadcast_texts() {
    let text =
        "The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 0";
    assert_eq!(message(broadcast(&[3, 2], &[4, 2])), text);
    assert_eq!(broadcast(&[2, 0, 3], &[1, 3]).expect("valid").as_slice(), &[2, 0, 3]);
    assert_eq!(
        message(broadcast(&[2, 0, 3], &[2, 3])),
        "The size of tensor a (0) must match the size of tensor b (2) at non-singleton dimension 1"
    );
    assert_eq!(broadcast(&[], &[]).expect("valid").as_slice(), &[] as &[usize]);
    assert_eq!(broadcast(&[1], &[0]).expect("valid").as_slice(), &[0]);
}

#[test]
fn expand_texts() {
    let run = |shape: &[usize], target: &[i64]| {
        expand(shape, &contiguous_strides(shape), target, DType::F32)
    };
    assert_eq!(
        message(run(&[2, 3], &[4, 3])),
        "The expanded size of the tensor (4) must match the existing size (2) at non-singleton \
         dimension 0.  Target sizes: [4, 3].  Tensor sizes: [2, 3]"
    );
    assert_eq!(
        message(run(&[2, 3], &[3])),
        "expand(torch.FloatTensor{[2, 3]}, size=[3]): the number of sizes provided (1) must be \
         greater or equal to the number of dimensions in the tensor (2)"
    );
    assert_eq!(
        message(run(&[2, 3], &[-1, 2, 3])),
        "The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension 0"
    );
    assert_eq!(message(run(&[1], &[1 << 40, 1 << 40])), "numel: integer multiplication overflow");
}

#[test]
fn dims() {
    assert_eq!(
        message(norm_dim(1, 0)),
        "Dimension out of range (expected to be in range of [-1, 0], but got 1)"
    );
    assert_eq!(
        message(norm_dim(i64::MIN, 2)),
        format!(
            "Dimension out of range (expected to be in range of [-2, 1], but got {})",
            i64::MIN
        )
    );
    assert_eq!(norm_dim(0, 0).expect("valid"), 0);
}

#[test]
fn contiguity() {
    assert!(is_contiguous(&[0, 3], &[1, 1]));
    assert!(is_contiguous(&[3, 0, 2], &[7, 7, 7]));
    assert!(is_contiguous(&[0, 3, 4], &[1, 1, 9]));
    assert!(is_contiguous(&[], &[]));
    assert!(!is_contiguous(&[2], &[0]));
    assert!(is_contiguous(&[1], &[0]));
}

#[test]
fn views_of_empty_tensors() {
    // torch.zeros(0, 3, 4).transpose(0, 2)
    let (shape, strides) = (&[4, 3, 0][..], &[1, 4, 12][..]);
    assert_eq!(view_strides(shape, strides, &[3, 4, 0]), Some(Strides::from_slice(&[4, 1, 1])));
    assert_eq!(view_strides(shape, strides, shape), Some(strides.into()));
}

type Case = (&'static [usize], &'static [isize], &'static [usize], Option<&'static [isize]>);

/// Shape and strides of a tensor, a shape, and the strides of the view (none: torch refused).
const VIEWS: &[Case] = &[
    (&[4, 1, 2], &[3, 3, 2], &[4, 1, 2], Some(&[3, 4, 2])),
    (&[3, 2, 2, 2], &[2, 1, 12, 6], &[2, 2, 6, 1], None),
    (&[4, 2], &[3, 1], &[4, 2], Some(&[3, 1])),
    (&[1, 1, 4, 1], &[4, 4, 1, 2], &[4], Some(&[1])),
    (&[1, 2], &[2, 1], &[1, 2, 1], Some(&[2, 1, 1])),
    (&[2], &[0], &[2], Some(&[0])),
    (&[2, 3, 1], &[0, 1, 1], &[6], None),
    (&[2, 1], &[0, 1], &[2], Some(&[0])),
    (&[], &[], &[], Some(&[])),
    (&[], &[], &[1, 1], Some(&[1, 1])),
    (&[2, 2, 4, 2], &[24, 12, 3, 2], &[16, 2], Some(&[3, 2])),
    (&[2, 1, 4], &[0, 4, 1], &[1, 2, 2, 1, 2], Some(&[0, 0, 2, 2, 1])),
    (&[2], &[1], &[2], Some(&[1])),
    (&[2, 1, 1, 1], &[1, 2, 2, 2], &[1, 1, 2], Some(&[2, 2, 1])),
    (&[1], &[2], &[], Some(&[])),
    (&[2, 1], &[1, 2], &[2], Some(&[1])),
    (&[2, 1, 4, 2, 3], &[0, 24, 6, 3, 1], &[24, 1, 2, 1], None),
    (&[3, 1], &[1, 2], &[3], Some(&[1])),
    (&[4, 3, 2], &[9, 3, 2], &[1, 24, 1], None),
    (&[2], &[1], &[2, 1, 1], Some(&[1, 1, 1])),
    (&[1, 4, 4, 4], &[16, 1, 16, 4], &[64], None),
    (&[2, 1, 1, 4], &[0, 4, 4, 1], &[4, 2], None),
    (&[1, 2, 2], &[2, 1, 2], &[2, 2], Some(&[1, 2])),
    (&[], &[], &[1], Some(&[1])),
    (&[1], &[2], &[1], Some(&[2])),
    (&[2, 3], &[3, 1], &[2, 3], Some(&[3, 1])),
    (&[2, 3], &[0, 1], &[3, 2, 1, 1], None),
    (&[3, 3], &[1, 3], &[3, 3], Some(&[1, 3])),
    (&[2, 3], &[0, 1], &[1, 3, 2], None),
    (&[2, 1], &[0, 1], &[1, 1, 2], Some(&[0, 0, 0])),
    (&[3, 3, 4], &[12, 4, 1], &[12, 3], Some(&[3, 1])),
    (&[4, 4, 1], &[4, 1, 16], &[1, 1, 4, 4], Some(&[16, 16, 4, 1])),
    (&[2, 1, 1, 4], &[0, 4, 4, 1], &[4, 1, 2, 1], None),
    (&[2, 2], &[3, 1], &[2, 2], Some(&[3, 1])),
    (&[1], &[1], &[], Some(&[])),
    (&[2], &[2], &[1, 1, 2], Some(&[4, 4, 2])),
    (&[4, 2, 4, 2], &[32, 16, 4, 2], &[64, 1], Some(&[2, 2])),
    (&[2], &[1], &[1, 2, 1], Some(&[2, 1, 1])),
    (&[3, 2, 1], &[4, 2, 2], &[1, 3, 2, 1], Some(&[12, 4, 2, 2])),
    (&[2, 1, 1, 4, 2], &[0, 8, 8, 2, 1], &[16, 1], None),
    (&[1], &[1], &[1, 1], Some(&[1, 1])),
    (&[2, 2], &[0, 1], &[4], None),
    (&[4, 4, 2], &[1, 8, 4], &[16, 1, 2, 1], None),
    (&[2], &[0], &[2, 1], Some(&[0, 0])),
    (&[4, 3, 1], &[6, 2, 2], &[4, 3], Some(&[6, 2])),
    (&[2, 2, 2, 1, 4], &[0, 8, 4, 4, 1], &[1, 2, 4, 4, 1], Some(&[0, 0, 4, 1, 1])),
    (&[2, 1, 3], &[0, 3, 1], &[2, 3], Some(&[0, 1])),
    (&[2], &[0], &[1, 2, 1], Some(&[0, 0, 0])),
    (&[3, 3, 2], &[6, 2, 1], &[9, 2, 1], Some(&[2, 1, 1])),
    (&[1, 2], &[1, 1], &[2], Some(&[1])),
    (&[2, 2], &[0, 1], &[2, 2], Some(&[0, 1])),
    (&[3, 4], &[4, 1], &[1, 1, 6, 2], Some(&[12, 12, 2, 1])),
    (&[3, 4, 1], &[8, 2, 2], &[4, 3], Some(&[6, 2])),
    (&[2, 4], &[0, 1], &[1, 1, 8], None),
    (&[2, 3, 4, 2], &[0, 8, 2, 1], &[8, 3, 2], None),
    (&[1, 1], &[2, 2], &[1], Some(&[2])),
    (&[4, 2, 1], &[4, 2, 2], &[4, 1, 2], Some(&[4, 4, 2])),
    (&[1, 2], &[4, 2], &[2], Some(&[2])),
    (&[1, 2], &[3, 1], &[2], Some(&[1])),
    (&[2, 4, 3], &[12, 3, 1], &[2, 4, 3, 1, 1], Some(&[12, 3, 1, 1, 1])),
];

#[test]
fn views() {
    for &(old, strides, new, expected) in VIEWS {
        let found = view_strides(old, strides, new);
        assert_eq!(found.as_deref(), expected, "{old:?} {strides:?} -> {new:?}");
    }
}
