//! The strided driver against an index-by-index reference, and the derivatives of both tables
//! against central differences.
#![allow(
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    reason = "the tests hand their own vectors to the driver"
)]

use rustgrad_engine::DType;
use rustgrad_engine::kernels::copy::{cast_block, copy, fill};
use rustgrad_engine::kernels::elementwise::{Operand, run};
use rustgrad_engine::ops::binary::{Binary, any_zero, where_block};
use rustgrad_engine::ops::unary::{Saves, Unary};

struct Random(u64);
impl Random {
    fn next(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % n
    }
}

/// A random layout over `shape`: strides, offset and length of the buffer behind it.
fn layout(random: &mut Random, shape: &[usize], broadcast: bool) -> (Vec<isize>, usize, usize) {
    let mut order: Vec<usize> = (0..shape.len()).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, random.next(i + 1));
    }
    if random.next(2) == 0 {
        order = (0..shape.len()).rev().collect();
    }
    let mut strides = vec![0isize; shape.len()];
    let (mut step, mut offset) = (1, 0);
    for d in order {
        if broadcast && random.next(4) == 0 {
            continue;
        }
        let gap = [1, 1, 1, 2][random.next(4)];
        strides[d] = (step * gap) as isize;
        let extent = shape[d] * gap;
        if random.next(5) == 0 {
            offset += step * gap * (shape[d] - 1);
            strides[d] = -strides[d];
        }
        step *= extent;
    }
    (strides, offset, step)
}

fn index(shape: &[usize], strides: &[isize], offset: usize, mut i: usize) -> usize {
    let mut at = offset as isize;
    for d in (0..shape.len()).rev() {
        at += (i % shape[d]) as isize * strides[d];
        i /= shape[d];
    }
    at as usize
}

macro_rules! strided {
    ($name:ident, $t:ty, $dtype:expr) => {
        #[test]
        fn $name() {
            let mut random = Random(7);
            let sub = Binary::Sub.forward($dtype).unwrap();
            let one = if $dtype.is_float() { 1.0 } else { f64::from_bits(1) };
            for round in 0..400 {
                let sizes = [1, 2, 3, 5, 17, 64, 130, 300];
                let mut shape: Vec<usize> =
                    (0..random.next(5)).map(|_| sizes[random.next(8)]).collect();
                while shape.iter().product::<usize>() > 400_000 {
                    shape.pop();
                }
                let n: usize = shape.iter().product();
                let (so, oo, lo) = layout(&mut random, &shape, false);
                let (sa, oa, la) = layout(&mut random, &shape, true);
                let (sb, ob, lb) = layout(&mut random, &shape, true);
                let mut a: Vec<$t> = (0..la).map(|i| (i % 113) as $t).collect();
                let mut b: Vec<$t> = (0..lb).map(|i| (i % 71) as $t).collect();
                let mut out = vec![99 as $t; lo];
                unsafe {
                    run(
                        &shape,
                        Operand {
                            ptr: out.as_mut_ptr().add(oo).cast(),
                            strides: &so,
                            size: size_of::<$t>(),
                        },
                        &[
                            Operand {
                                ptr: a.as_mut_ptr().add(oa).cast(),
                                strides: &sa,
                                size: size_of::<$t>(),
                            },
                            Operand {
                                ptr: b.as_mut_ptr().add(ob).cast(),
                                strides: &sb,
                                size: size_of::<$t>(),
                            },
                        ],
                        sub,
                        &[one, 0.0],
                    );
                }
                let mut touched = vec![false; lo];
                for i in 0..n {
                    let want = (a[index(&shape, &sa, oa, i)] as i64
                        - b[index(&shape, &sb, ob, i)] as i64) as $t;
                    let at = index(&shape, &so, oo, i);
                    touched[at] = true;
                    assert_eq!(
                        out[at], want,
                        "round {round} {shape:?} {so:?} {sa:?} {sb:?} at {i}"
                    );
                }
                for (at, hit) in touched.into_iter().enumerate() {
                    assert!(hit || out[at] == 99 as $t, "round {round}: wrote outside at {at}");
                }
            }
        }
    };
}

strided!(strided_f32, f32, DType::F32);
strided!(strided_f64, f64, DType::F64);
strided!(strided_i16, i16, DType::I16);
strided!(strided_i8, i8, DType::I8);

#[test]
fn in_place_and_large() {
    let n = 3_000_001;
    let mut x: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let ptr = x.as_mut_ptr().cast();
    let operand = Operand { ptr, strides: &[1], size: 4 };
    let square = Unary::Square.forward(DType::F32, &[0.0; 2]).unwrap();
    unsafe { run(&[n], operand, &[operand], square, &[0.0; 2]) };
    assert!(x.iter().enumerate().all(|(i, &v)| v == i as f32 * i as f32));
    // Large enough for streaming stores, at an odd address.
    let n = 9_000_001;
    let a = vec![1.5f32; n];
    let mut out = vec![0f32; n + 3];
    unsafe {
        let operand = |p: *const f32| Operand { ptr: p.cast_mut().cast(), strides: &[1], size: 4 };
        let add = Binary::Add.forward(DType::F32).unwrap();
        run(&[n], operand(out.as_mut_ptr().add(1)), &[operand(a.as_ptr()); 2], add, &[1.0, 0.0]);
    }
    assert!(out[0] == 0.0 && out[n + 1] == 0.0 && out[1..=n].iter().all(|&v| v == 3.0));
}

#[test]
fn casts_fills_copies_and_where() {
    let x = [f64::INFINITY, f64::NAN, 3e9, 300.0, -1.9, 0.5, -0.0];
    let cast = |to: DType, out: *mut u8| unsafe {
        cast_block(DType::F64, to)([x.as_ptr().cast()].as_ptr(), out, x.len(), &[0.0; 2]);
    };
    let mut i32s = [0i32; 7];
    cast(DType::I32, i32s.as_mut_ptr().cast());
    assert_eq!(i32s, [i32::MIN, i32::MIN, i32::MIN, 300, -1, 0, 0]);
    let mut u8s = [0u8; 7];
    cast(DType::U8, u8s.as_mut_ptr().cast());
    assert_eq!(u8s, [0, 0, 0, 44, 255, 0, 0]);
    cast(DType::Bool, u8s.as_mut_ptr().cast());
    assert_eq!(u8s, [1, 1, 1, 1, 1, 1, 0]);
    let mut y = [0i16; 12];
    let out = Operand { ptr: y.as_mut_ptr().cast(), strides: &[4, 2], size: 2 };
    unsafe { fill(&[3, 2], out, -7i16) };
    assert_eq!(y, [-7, 0, -7, 0, -7, 0, -7, 0, -7, 0, -7, 0]);
    let mut z = [0i16; 6];
    let packed = Operand { ptr: z.as_mut_ptr().cast(), strides: &[1, 3], size: 2 };
    unsafe { copy(&[3, 2], packed, out) };
    assert_eq!(z, [-7; 6]);
    let (a, b) = ([1i64, 2, 3, 4], [5i64, 6, 7, 8]);
    let mask = [1u8, 0, 2, 0];
    let mut out = [0i64; 4];
    unsafe {
        let ins = [mask.as_ptr(), a.as_ptr().cast(), b.as_ptr().cast()];
        where_block(8)(ins.as_ptr(), out.as_mut_ptr().cast(), 4, &[0.0; 2]);
        assert_eq!(out, [1, 6, 3, 8]);
        let o = Operand { ptr: out.as_mut_ptr().cast(), strides: &[2, 1], size: 8 };
        assert!(!any_zero(&[2, 2], o, DType::I64));
        out[3] = 0;
        assert!(any_zero(&[2, 2], Operand { ptr: out.as_mut_ptr().cast(), ..o }, DType::I64));
    }
}

#[test]
fn integers_wrap_and_never_fault() {
    let a: [i64; 7] = [i64::MIN, 7, -7, 7, -7, 5, 2];
    let b: [i64; 7] = [-1, 2, 2, -2, -2, 0, -1];
    let go = |op: Binary, p: f64| {
        let mut out = [0i64; 7];
        let ins: [*const u8; 2] = [a.as_ptr().cast(), b.as_ptr().cast()];
        unsafe {
            op.forward(DType::I64).unwrap()(ins.as_ptr(), out.as_mut_ptr().cast(), 7, &[p, 0.0]);
        };
        out
    };
    assert_eq!(go(Binary::FloorDivide, 0.0), [i64::MIN, 3, -4, -4, 3, 0, -2]);
    assert_eq!(go(Binary::Remainder, 0.0), [0, 1, 1, -1, -1, 0, 0]);
    assert_eq!(go(Binary::Fmod, 0.0), [0, 1, -1, 1, -1, 0, 0]);
    assert_eq!(go(Binary::Sub, f64::from_bits(2))[1], 3);
    assert_eq!(go(Binary::Pow, 0.0), [0, 49, 49, 0, 0, 1, 0]);
}

/// Runs a float64 block on single elements.
fn one(block: rustgrad_engine::kernels::block::Block, ins: &[f64], p: &[f64; 2]) -> f64 {
    let ptrs: Vec<*const u8> = ins.iter().map(|x| std::ptr::from_ref(x).cast()).collect();
    let mut out = 0.0f64;
    unsafe { block(ptrs.as_ptr(), (&raw mut out).cast(), 1, p) };
    out
}

fn defaults(params: &[(&str, f64)]) -> [f64; 2] {
    [params.first().map_or(0.0, |p| p.1), params.get(1).map_or(0.0, |p| p.1)]
}

#[test]
fn unary_derivatives_match_differences() {
    for &op in Unary::ALL.iter().filter(|op| op.differentiable()) {
        let mut p = defaults(op.params());
        if op == Unary::PowScalar {
            p[0] = 2.5;
        }
        let f = op.forward(DType::F64, &p).unwrap();
        let df = op.backward(DType::F64, &p).unwrap();
        for x in [0.13, 0.31, 0.77, -0.37, -0.81, 1.3, 2.71, -2.1, 3.3] {
            let h = 1e-6;
            let slope = (one(f, &[x + h], &p) - one(f, &[x - h], &p)) / (2.0 * h);
            let y = one(f, &[x], &p);
            if !slope.is_finite() || !y.is_finite() {
                continue;
            }
            let ins = match op.saves() {
                Saves::Nothing => vec![2.0],
                Saves::Input => vec![2.0, x],
                Saves::Output => vec![2.0, y],
                Saves::Both => vec![2.0, x, y],
            };
            let got = one(df, &ins, &p);
            assert!(
                (got - 2.0 * slope).abs() < 1e-6 * (1.0 + slope.abs()) * 10.0,
                "{op:?} at {x}: {got} {}",
                2.0 * slope
            );
            // The same text on a plain number.
            let again = op.vjp(&2.0f64, Some(&x), Some(&y), &p).unwrap();
            assert!(
                (again - got).abs() <= 1e-12 * (1.0 + got.abs()),
                "{op:?} at {x}: {again} {got}"
            );
        }
    }
}

#[test]
fn binary_derivatives_match_differences() {
    // nextafter has the derivative torch gives it, not its own.
    let differentiable = |op: &&Binary| op.differentiable() && **op != Binary::NextAfter;
    for &op in Binary::ALL.iter().filter(differentiable) {
        let p = [if op.params().is_empty() { 0.0 } else { 1.7 }, 0.0];
        let f = op.forward(DType::F64).unwrap();
        let n = op.inputs();
        for x in [[0.3, 1.7, 0.2], [1.9, 0.6, 0.8], [2.3, 1.1, -0.3]] {
            let y = one(f, &x[..n], &p);
            // The derivative by the parameter is not known: asking for it is an error.
            let first = usize::from(matches!(op, Binary::Igamma | Binary::Igammac));
            for i in first..n {
                let h = 1e-6;
                let (mut up, mut down) = (x, x);
                up[i] += h;
                down[i] -= h;
                let slope = (one(f, &up[..n], &p) - one(f, &down[..n], &p)) / (2.0 * h);
                let needs = op.needs(i);
                let mut ins = vec![2.0];
                for (needed, v) in [(needs.a, x[0]), (needs.b, x[1]), (needs.c, x[2]), (needs.y, y)]
                {
                    if needed {
                        ins.push(v);
                    }
                }
                let got = one(op.backward(i, DType::F64).unwrap(), &ins, &p);
                assert!(
                    (got - 2.0 * slope).abs() < 1e-5 * (1.0 + slope.abs()),
                    "{op:?} {i} at {x:?}: {got} {}",
                    2.0 * slope
                );
            }
        }
    }
}

#[test]
fn a_derivative_that_is_not_known_is_an_error() {
    let number = |x: f64| rustgrad_engine::Tensor::from_slice(&[x], &[1]).unwrap();
    let (a, x) = (number(1.5), number(0.7));
    a.set_requires_grad(true).unwrap();
    for op in [Binary::Igamma, Binary::Igammac] {
        let error = a.binary(op, &x, 1.0).unwrap_err();
        assert!(error.to_string().contains("for 'self' is not implemented"), "{error}");
    }
    x.set_requires_grad(true).unwrap();
    assert!(a.detach().binary(Binary::Igamma, &x, 1.0).unwrap().requires_grad());
}

#[test]
fn huge_angles_take_the_exact_path() {
    let x: Vec<f32> = (0..200).map(|i| if i % 50 == 7 { 1e30 } else { i as f32 }).collect();
    let mut y = vec![0f32; 200];
    let sin = Unary::Sin.forward(DType::F32, &[0.0; 2]).unwrap();
    unsafe { sin([x.as_ptr().cast()].as_ptr(), y.as_mut_ptr().cast(), 200, &[0.0; 2]) };
    for (x, y) in x.iter().zip(&y) {
        assert!((f64::from(*x).sin() - f64::from(*y)).abs() < 1e-7, "{x} {y}");
    }
}
