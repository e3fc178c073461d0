//! Backward passes, elementwise operations, reductions and matrix products by size.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustgrad_engine::ops::unary::Unary;
use rustgrad_engine::{DType, Result, Tensor};

fn ramp(shape: &[usize], dtype: DType) -> Result<Tensor> {
    let n: usize = shape.iter().product();
    Tensor::linspace(-1.0, 1.0, n, dtype)?.reshape_to(shape)
}

/// Makes elements that were put off.
fn used(result: Tensor) -> Tensor {
    result.settle();
    result
}

fn elementwise(c: &mut Criterion) {
    let mut group = c.benchmark_group("elementwise");
    for n in [1_000, 100_000, 4_000_000] {
        let Ok(x) = ramp(&[n], DType::F32) else { return };
        group.throughput(Throughput::Bytes(4 * n as u64));
        for kind in [Unary::Exp, Unary::Tanh, Unary::Sigmoid, Unary::Sin] {
            group.bench_with_input(BenchmarkId::new(kind.name(), n), &x, |b, x| {
                b.iter(|| x.unary(kind, [0.0; 2]).map(used));
            });
        }
        group
            .bench_with_input(BenchmarkId::new("add", n), &x, |b, x| b.iter(|| x.add(x).map(used)));
    }
    if let Ok(x) = ramp(&[2048, 2048], DType::F32) {
        group.bench_function("x.t() + x, 2048", |b| b.iter(|| x.t()?.add(&x).map(used)));
    }
    group.finish();
}

fn reduce(c: &mut Criterion) {
    let mut group = c.benchmark_group("reduce");
    if let Ok(x) = ramp(&[2048, 2048], DType::F32) {
        group.throughput(Throughput::Bytes(4 << 22));
        for (name, dims) in [("all", &[][..]), ("rows", &[1]), ("columns", &[0])] {
            group.bench_function(format!("sum {name}"), |b| b.iter(|| x.sum(dims, false, None)));
        }
        group.bench_function("mean rows", |b| b.iter(|| x.mean(&[1], false, None)));
    }
    group.finish();
}

fn matmul(c: &mut Criterion) {
    let mut group = c.benchmark_group("matmul");
    for dtype in [DType::F32, DType::F64] {
        for n in [16, 64, 256, 512, 1024] {
            let Ok(x) = ramp(&[n, n], dtype) else { return };
            group.throughput(Throughput::Elements(2 * (n * n * n) as u64));
            group.bench_function(format!("{dtype} {n}"), |b| b.iter(|| x.mm(&x)));
            group.bench_function(format!("{dtype} {n} a b^T"), |b| b.iter(|| x.mm(&x.t()?)));
        }
    }
    group.finish();
}

fn backward(c: &mut Criterion) {
    let mut group = c.benchmark_group("backward");
    for n in [1_000, 100_000, 4_000_000] {
        let Ok(x) = ramp(&[n], DType::F32).and_then(|x| x.requires_grad_(true)) else { return };
        group.throughput(Throughput::Elements(n as u64));
        group.bench_with_input(BenchmarkId::new("tanh * x, sigmoid, mean", n), &x, |b, x| {
            b.iter(|| {
                let y = x.unary(Unary::Tanh, [0.0; 2])?.mul(x)?;
                y.unary(Unary::Sigmoid, [0.0; 2])?.mean(&[], false, None)?.backward()
            });
        });
    }
    let wide = |size: usize| -> Result<Tensor> {
        let x = ramp(&[size, size], DType::F32)?.requires_grad_(true)?;
        let mut sum: Option<Tensor> = None;
        for _ in 0..48 {
            let branch = x.mm(&x)?.unary(Unary::Tanh, [0.0; 2])?.sum_all()?;
            sum = Some(match sum {
                Some(sum) => sum.add(&branch)?,
                None => branch,
            });
        }
        Ok(sum.unwrap_or(x))
    };
    group.bench_function("48 branches of 96 x 96 products, forward and backward", |b| {
        b.iter(|| wide(96)?.backward());
    });
    group.finish();
}

criterion_group!(benches, elementwise, reduce, matmul, backward);
criterion_main!(benches);
