//! The main path end to end.
#![allow(clippy::unwrap_used)]
use rustgrad_engine::{DType, Result, Tensor};

#[test]
fn chapter() -> Result<()> {
    let x = Tensor::arange(0.0.into(), 1.0.into(), 4, DType::F32)?.requires_grad_(true)?;
    let y =
        x.dot(&x)?.binary_scalar(rustgrad_engine::ops::binary::Binary::Mul, 2.0.into(), false)?;
    y.backward()?;
    assert_eq!(x.grad().unwrap().to_vec::<f32>()?, [0.0, 4.0, 8.0, 12.0]);
    Ok(())
}

#[test]
fn deep() -> Result<()> {
    let x = Tensor::scalar(1.0f32)?.requires_grad_(true)?;
    let mut z = x.clone();
    for _ in 0..1_000_000 {
        z = z.binary_scalar(rustgrad_engine::ops::binary::Binary::Add, 1.0.into(), false)?;
    }
    z.backward()?;
    assert_eq!(x.grad().unwrap().to_vec::<f32>()?, [1.0]);
    Ok(())
}
#[test]
fn inplace_views() -> Result<()> {
    let x = Tensor::from_slice(&[1.0f64, 2.0, 3.0], &[3])?.requires_grad_(true)?;
    let y = x.mul(&x)?;
    let v = y.slice(0, 0, 2, 1)?;
    v.inplace("mul_", |v| v.mul(&x.slice(0, 1, 3, 1)?))?;
    assert_eq!(y.grad_fn().unwrap().0.name(), "CopySlices");
    y.sum_all()?.backward()?;
    // y0 = x0^2 x1, y1 = x1^2 x2, y2 = x2^2
    assert_eq!(x.grad().unwrap().to_vec::<f64>()?, [4.0, 1.0 + 12.0, 4.0 + 6.0]);
    Ok(())
}

#[test]
fn counts_of_inputs() -> Result<()> {
    use rustgrad_engine::ops::{binary::Binary, elementwise::apply};
    let x = Tensor::from_slice(&[1.0f32, 2.0], &[2])?;
    for kind in [Binary::Lerp, Binary::AddCMul, Binary::AddCDiv] {
        let error = x.binary(kind, &x, 1.0).unwrap_err().to_string();
        assert!(error.contains("takes 3 inputs, got 2"), "{error}");
        assert!(x.apply_in_place("op_", kind, &[&x], 1.0).is_err());
        assert_eq!(apply(kind, &[&x, &x, &x], 0.0)?.shape()[..], [2]);
    }
    assert!(apply(Binary::Add, &[&x, &x, &x], 1.0).is_err());
    assert!(apply(Binary::Add, &[&x], 1.0).is_err());
    assert!(apply(Binary::Add, &[], 1.0).is_err());
    Ok(())
}
