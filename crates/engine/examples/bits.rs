//! Prints a hash of the bits that each of a table of operations gives, and first the instruction set that
//! made them, so that the lines of one `RUSTGRAD_ISA` can be held against those of another. AVX2 and AVX-512
//! must give the same.
#![allow(clippy::print_stdout)]

use rustgrad_engine::kernels::isa;
use rustgrad_engine::kernels::reduce::Extreme;
use rustgrad_engine::ops::binary::Binary;
use rustgrad_engine::ops::conv::Steps;
use rustgrad_engine::ops::elementwise;
use rustgrad_engine::ops::unary::Unary;
use rustgrad_engine::{DType, Result, Tensor};

/// Lengths about the widths of vectors, of unrolled loops and of blocks.
const LENGTHS: [usize; 14] = [1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 65, 127, 1000, 4099];

/// Edges of the formats and of the ranges where a function changes its formula.
const SPECIAL: [f64; 26] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    1e-45,
    -1e-45,
    1e-40,
    5e-324,
    1.1754943508222875e-38,
    -2.2250738585072014e-308,
    3.4028234663852886e38,
    -1.7976931348623157e308,
    88.72284,
    -87.33655,
    -103.97208,
    709.782712893384,
    -745.1332191019412,
    0.5,
    -2.5,
    16777217.0,
    1e10,
    std::f64::consts::FRAC_PI_4,
    std::f64::consts::PI,
];

/// Numbers of a fixed sequence.
struct Numbers(u64);

impl Numbers {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Uniform on -1 to 1.
    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn tensor(&mut self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let count = shape.iter().product();
        let values: Vec<f64> = (0..count).map(|_| self.unit()).collect();
        Tensor::from_slice(&values, shape)?.to_dtype(dtype)
    }

    /// Magnitudes from tiny to great, and each fifth element a special value.
    fn wild(&mut self, count: usize, dtype: DType) -> Result<Tensor> {
        let values: Vec<f64> = (0..count)
            .map(|_| match self.bits() % 5 {
                0 => SPECIAL[(self.bits() % SPECIAL.len() as u64) as usize],
                1 => self.unit() * 1e3,
                2 => self.unit() * 1e-4,
                _ => self.unit() * 4.0,
            })
            .collect();
        Tensor::from_slice(&values, &[count])?.to_dtype(dtype)
    }
}

/// FNV-1a over the elements; every NaN counts as the same.
fn hash(tensor: &Tensor) -> Result<u64> {
    let words: Vec<u64> = match tensor.dtype() {
        DType::F32 => (tensor.to_vec::<f32>()?.iter())
            .map(|x| if x.is_nan() { u64::MAX } else { u64::from(x.to_bits()) })
            .collect(),
        DType::F64 => (tensor.to_vec::<f64>()?.iter())
            .map(|x| if x.is_nan() { u64::MAX } else { x.to_bits() })
            .collect(),
        _ => tensor
            .to_dtype(DType::I64)?
            .to_vec::<i64>()?
            .iter()
            .map(|x| x.cast_unsigned())
            .collect(),
    };
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for byte in words.into_iter().flat_map(u64::to_le_bytes) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    Ok(hash)
}

/// A line of the table: the hashes of the result and of the gradients of the leaves.
fn line(label: &str, leaves: &[&Tensor], f: impl FnOnce() -> Result<Tensor>) {
    let run = || -> Result<String> {
        let result = f()?;
        let mut out = format!("{:016x}", hash(&result.detach())?);
        if result.requires_grad() {
            // A second use of the result, so that its gradient is not the same number everywhere.
            result.mul(&result)?.sum_all()?.backward()?;
        }
        for leaf in leaves {
            if let Some(grad) = leaf.replace_grad(None) {
                out = format!("{out} {:016x}", hash(&grad)?);
            }
        }
        Ok(out)
    };
    match run() {
        Ok(hashes) => println!("{label}: {hashes}"),
        Err(error) => println!("{label}: {error}"),
    }
}

fn leaf(tensor: Tensor) -> Result<Tensor> {
    tensor.requires_grad_(true)
}

fn elementwise(numbers: &mut Numbers, dtype: DType) -> Result<()> {
    for n in LENGTHS {
        let x = leaf(numbers.wild(n, dtype)?)?;
        let y = leaf(numbers.wild(n, dtype)?)?;
        for &kind in Unary::ALL {
            let mut p = [0.0; 2];
            for (to, from) in p.iter_mut().zip(kind.params()) {
                *to = from.1;
            }
            line(&format!("{} {dtype:?} {n}", kind.name()), &[&x], || x.unary(kind, p));
        }
        let z = leaf(numbers.wild(n, dtype)?)?;
        for &kind in Binary::ALL {
            let p = kind.params().first().map_or(0.0, |p| p.1);
            let three = matches!(kind, Binary::Lerp | Binary::AddCMul | Binary::AddCDiv);
            let inputs = [&x, &y, &z];
            let inputs = if three { &inputs[..] } else { &inputs[..2] };
            line(&format!("{} {dtype:?} {n}", kind.name()), inputs, || {
                elementwise::apply(kind, inputs, p)
            });
        }
        line(&format!("a chain {dtype:?} {n}"), &[&x, &y], || {
            x.unary(Unary::Tanh, [0.0; 2])?
                .mul(&y)?
                .add(&x)?
                .unary(Unary::Sigmoid, [0.0; 2])?
                .mul(&x)
        });
    }
    let row = leaf(numbers.tensor(&[133], dtype)?)?;
    let column = leaf(numbers.tensor(&[37, 1], dtype)?)?;
    line(&format!("broadcast {dtype:?}"), &[&row, &column], || {
        row.mul(&column)?.unary(Unary::Exp, [0.0; 2])?.add(&column)
    });
    Ok(())
}

fn reductions(numbers: &mut Numbers, dtype: DType) -> Result<()> {
    for (rows, columns) in [(1, 7), (5, 1003), (37, 129), (130, 33), (513, 16)] {
        for transposed in [false, true] {
            let x = leaf(numbers.tensor(&[rows, columns], dtype)?)?;
            let view = if transposed { x.t()? } else { x.clone() };
            let at = format!("{dtype:?} {rows}x{columns}{}", if transposed { " t" } else { "" });
            for dims in [&[0][..], &[1], &[0, 1]] {
                let label = |name: &str| format!("{name} {at} {dims:?}");
                line(&label("sum"), &[&x], || view.sum(dims, false, None));
                line(&label("mean"), &[&x], || view.mean(dims, false, None));
                line(&label("var"), &[&x], || view.var(dims, 1.0, false, false));
                line(&label("std"), &[&x], || view.var(dims, 1.0, false, true));
                line(&label("logsumexp"), &[&x], || view.logsumexp(dims, false));
                line(&label("amax"), &[&x], || view.amax(Extreme::Max, dims, false));
            }
            for dim in [0, 1] {
                let label = |name: &str| format!("{name} {at} {dim}");
                line(&label("prod"), &[&x], || view.prod(Some(dim), false, None));
                line(&label("min"), &[&x], || Ok(view.extreme(Extreme::Min, dim, false)?.0));
                line(&label("argmax"), &[], || Ok(view.extreme(Extreme::Max, dim, false)?.1));
                line(&label("cumsum"), &[&x], || view.cumsum(dim, None));
                line(&label("softmax"), &[&x], || view.softmax(false, dim, None));
                line(&label("log_softmax"), &[&x], || view.softmax(true, dim, None));
            }
            let width = if transposed { rows } else { columns };
            let weight = leaf(numbers.tensor(&[width], dtype)?)?;
            let bias = leaf(numbers.tensor(&[width], dtype)?)?;
            line(&format!("layer_norm {at}"), &[&x, &weight, &bias], || {
                view.layer_norm(&[width], Some(&weight), Some(&bias), 1e-5)
            });
        }
    }
    Ok(())
}

fn products(numbers: &mut Numbers, dtype: DType) -> Result<()> {
    let sizes = [
        [1, 1, 1],
        [1, 300, 65],
        [3, 5, 7],
        [16, 16, 16],
        [17, 33, 65],
        [64, 64, 64],
        [13, 513, 31],
        [100, 129, 97],
        [250, 70, 1],
        [130, 260, 131],
    ];
    for [m, k, n] in sizes {
        for layout in 0..4 {
            let (first, second) = (layout & 1 == 1, layout & 2 == 2);
            let a = leaf(numbers.tensor(&if first { [k, m] } else { [m, k] }, dtype)?)?;
            let b = leaf(numbers.tensor(&if second { [n, k] } else { [k, n] }, dtype)?)?;
            let left = if first { a.t()? } else { a.clone() };
            let right = if second { b.t()? } else { b.clone() };
            let label = |name: &str| format!("{name} {dtype:?} {m}x{k}x{n} {first} {second}");
            line(&label("matmul"), &[&a, &b], || left.matmul(&right));
            let vector = leaf(numbers.tensor(&[k], dtype)?)?;
            line(&label("mv"), &[&a, &vector], || left.mv(&vector));
        }
        let x = leaf(numbers.tensor(&[m, k], dtype)?)?;
        let weight = leaf(numbers.tensor(&[n, k], dtype)?)?;
        let bias = leaf(numbers.tensor(&[n], dtype)?)?;
        line(&format!("linear {dtype:?} {m}x{k}x{n}"), &[&x, &weight, &bias], || {
            x.linear(&weight, Some(&bias))
        });
        line(&format!("dot {dtype:?} {}", m * k), &[&x], || {
            let flat = x.reshape(&[-1])?;
            flat.dot(&flat)
        });
    }
    let a = leaf(numbers.tensor(&[5, 19, 37], dtype)?)?;
    let b = leaf(numbers.tensor(&[5, 37, 23], dtype)?)?;
    line(&format!("bmm {dtype:?}"), &[&a, &b], || a.bmm(&b));
    Ok(())
}

fn convolutions(numbers: &mut Numbers, dtype: DType) -> Result<()> {
    // Batch, channels in, channels out, side, kernel, stride, padding, dilation, groups.
    let cases = [
        [2, 3, 8, 14, 3, 1, 1, 1, 1],
        [1, 16, 16, 13, 3, 1, 1, 1, 1],
        [2, 32, 48, 16, 3, 1, 1, 1, 1],
        [1, 5, 7, 33, 3, 1, 0, 1, 1],
        [2, 8, 8, 15, 3, 2, 1, 1, 1],
        [1, 8, 8, 17, 3, 1, 2, 2, 1],
        [2, 12, 12, 11, 3, 1, 1, 1, 12],
        [1, 12, 6, 9, 3, 1, 1, 1, 3],
        [1, 4, 9, 20, 5, 1, 2, 1, 1],
        [2, 17, 19, 10, 1, 1, 0, 1, 1],
    ];
    for case in cases {
        let [batch, channels, filters, side, kernel, stride, padding, dilation, groups] = case;
        let steps = Steps {
            stride: vec![stride; 2],
            padding: vec![padding; 2],
            dilation: vec![dilation; 2],
            groups,
        };
        let x = leaf(numbers.tensor(&[batch, channels, side, side], dtype)?)?;
        let w = leaf(numbers.tensor(&[filters, channels / groups, kernel, kernel], dtype)?)?;
        let b = leaf(numbers.tensor(&[filters], dtype)?)?;
        line(&format!("conv2d {dtype:?} {case:?}"), &[&x, &w, &b], || {
            x.convolution(&w, Some(&b), 2, &steps)
        });
        let back = leaf(numbers.tensor(&[channels, filters / groups, kernel, kernel], dtype)?)?;
        line(&format!("conv_transpose2d {dtype:?} {case:?}"), &[&x, &back], || {
            x.transposed_convolution(&back, None, 2, &steps, &[0, 0])
        });
    }
    Ok(())
}

fn main() -> Result<()> {
    println!("instruction set: {}", isa::level().name());
    for dtype in [DType::F32, DType::F64] {
        let numbers = &mut Numbers(0x9e37_79b9_7f4a_7c15);
        elementwise(numbers, dtype)?;
        reductions(numbers, dtype)?;
        products(numbers, dtype)?;
        convolutions(numbers, dtype)?;
    }
    Ok(())
}
