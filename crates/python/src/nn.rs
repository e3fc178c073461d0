//! Layers and losses: one call of the engine each, for `nn.functional`.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "PyO3's expansion, which macro spans make look like ours"
)]

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use rustgrad_engine::ops::conv::Steps;
use rustgrad_engine::ops::pool::{Divisor, Windows};
use rustgrad_engine::ops::recurrent::{Cell, Sequence};
use rustgrad_engine::{Scalar, Tensor};

use crate::error::Bind;
use crate::gil::detached;
use crate::tensor::{Out, PyTensor, Wrapped, wrap};

/// `input @ weight.T + bias` over the last dimension.
#[pyfunction]
#[pyo3(signature = (input, weight, bias = None))]
fn linear(
    py: Python<'_>,
    input: &Bound<'_, PyTensor>,
    weight: &Bound<'_, PyTensor>,
    bias: Option<&Bound<'_, PyTensor>>,
) -> Out {
    let (input, weight) = (&input.get().tensor, &weight.get().tensor);
    let bias = bias.map(|bias| &bias.get().tensor);
    // Each element is read as often as there are columns: a product costs more than it moves.
    let bytes = (input.byte_hint() + weight.byte_hint()) * 4;
    Ok(Wrapped(detached(py, bytes, || input.linear(weight, bias))?))
}

/// A number for every dimension, or a list of one per dimension (of one, for all).
fn spread(value: &Bound<'_, PyAny>, name: &str, dims: usize) -> PyResult<Vec<usize>> {
    let list = match value.extract::<i64>() {
        Ok(one) => vec![one; dims],
        Err(_) => value.extract::<Vec<i64>>().map_err(|_| {
            PyTypeError::new_err(format!("{name} must be an int or a tuple of {dims} ints"))
        })?,
    };
    let list = if list.len() == 1 { vec![list[0]; dims] } else { list };
    if list.len() != dims {
        return Err(PyRuntimeError::new_err(format!(
            "expected {name} to be a single integer value or a list of {dims} values, but got {list:?}"
        )));
    }
    list.into_iter()
        .map(|n| {
            usize::try_from(n)
                .map_err(|_| PyRuntimeError::new_err(format!("negative {name} is not supported")))
        })
        .collect()
}

fn pair(value: &Bound<'_, PyAny>, name: &str) -> PyResult<[usize; 2]> {
    let list = spread(value, name, 2)?;
    Ok([list[0], list[1]])
}

/// `padding="same"` or `"valid"`: zeros on both sides, and how many more at the end.
fn named_padding(
    name: &str,
    kernel: &[usize],
    stride: &[usize],
    dilation: &[usize],
) -> PyResult<(Vec<usize>, Vec<i64>)> {
    match name {
        "valid" => Ok((vec![0; kernel.len()], Vec::new())),
        "same" => {
            if stride.iter().any(|&step| step != 1) {
                return Err(PyRuntimeError::new_err(
                    "padding='same' is not supported for strided convolutions",
                ));
            }
            let total: Vec<usize> =
                kernel.iter().zip(dilation).map(|(k, d)| d * k.saturating_sub(1)).collect();
            let before = total.iter().map(|n| n / 2).collect();
            let more: Vec<i64> = total.iter().rev().flat_map(|n| [0, (n % 2) as i64]).collect();
            Ok((before, if more.iter().any(|&n| n > 0) { more } else { Vec::new() }))
        }
        _ => Err(PyRuntimeError::new_err(format!(
            "Invalid padding string: '{name}'; it must be 'valid' or 'same'"
        ))),
    }
}

/// The arguments of a convolution over `dims` dimensions.
struct Convolution<'a, 'py> {
    input: &'a Bound<'py, PyTensor>,
    weight: &'a Bound<'py, PyTensor>,
    bias: Option<&'a Bound<'py, PyTensor>>,
    stride: Option<Bound<'py, PyAny>>,
    padding: Option<Bound<'py, PyAny>>,
    dilation: Option<Bound<'py, PyAny>>,
    groups: usize,
}

impl Convolution<'_, '_> {
    fn steps(&self, dims: usize) -> PyResult<(Steps, Vec<i64>)> {
        let numbers = |value: &Option<Bound<'_, PyAny>>, name: &str, default: usize| match value {
            Some(value) => spread(value, name, dims),
            None => Ok(vec![default; dims]),
        };
        let stride = numbers(&self.stride, "stride", 1)?;
        let dilation = numbers(&self.dilation, "dilation", 1)?;
        let named = self.padding.as_ref().and_then(|value| value.cast::<PyString>().ok());
        let (padding, more) = match named {
            Some(name) => {
                let shape = self.weight.get().tensor.shape();
                let kernel = &shape[shape.len().saturating_sub(dims)..];
                named_padding(name.to_str()?, kernel, &stride, &dilation)?
            }
            None => (numbers(&self.padding, "padding", 0)?, Vec::new()),
        };
        Ok((Steps { stride, padding, dilation, groups: self.groups }, more))
    }

    fn run(&self, py: Python<'_>, dims: usize) -> Out {
        let (mut steps, mut more) = self.steps(dims)?;
        let (input, weight) = (&self.input.get().tensor, &self.weight.get().tensor);
        let bias = self.bias.map(|bias| &bias.get().tensor);
        if !more.is_empty() {
            // One more zero at the end than at the beginning: all of them are written out.
            for (place, pair) in more.chunks_exact_mut(2).enumerate() {
                let before = steps.padding[dims - 1 - place] as i64;
                pair[0] += before;
                pair[1] += before;
            }
            steps.padding = vec![0; dims];
        }
        Ok(Wrapped(detached(py, input.byte_hint() * 16, || {
            if more.is_empty() {
                return input.convolution(weight, bias, dims, &steps);
            }
            input.constant_pad(&more, Scalar::Int(0))?.convolution(weight, bias, dims, &steps)
        })?))
    }

    fn run_transposed(
        &self,
        py: Python<'_>,
        dims: usize,
        output_padding: Option<&Bound<'_, PyAny>>,
    ) -> Out {
        let (steps, _) = self.steps(dims)?;
        let more = match output_padding {
            Some(value) => spread(value, "output_padding", dims)?,
            None => vec![0; dims],
        };
        let (input, weight) = (&self.input.get().tensor, &self.weight.get().tensor);
        let bias = self.bias.map(|bias| &bias.get().tensor);
        Ok(Wrapped(detached(py, input.byte_hint() * 16, || {
            input.transposed_convolution(weight, bias, dims, &steps, &more)
        })?))
    }
}

macro_rules! convolutions {
    ($($name:ident $transposed:ident $dims:literal;)*) => {
        $(
            #[doc = concat!("A convolution over ", stringify!($dims), " dimensions.")]
            #[pyfunction]
            #[pyo3(signature = (input, weight, bias = None, stride = None, padding = None, dilation = None, groups = 1))]
            fn $name<'py>(
                py: Python<'py>,
                input: &Bound<'py, PyTensor>,
                weight: &Bound<'py, PyTensor>,
                bias: Option<&Bound<'py, PyTensor>>,
                stride: Option<Bound<'py, PyAny>>,
                padding: Option<Bound<'py, PyAny>>,
                dilation: Option<Bound<'py, PyAny>>,
                groups: usize,
            ) -> Out {
                Convolution { input, weight, bias, stride, padding, dilation, groups }.run(py, $dims)
            }

            #[doc = concat!("A transposed convolution over ", stringify!($dims), " dimensions.")]
            #[pyfunction]
            #[pyo3(signature = (input, weight, bias = None, stride = None, padding = None, output_padding = None, groups = 1, dilation = None))]
            fn $transposed<'py>(
                py: Python<'py>,
                input: &Bound<'py, PyTensor>,
                weight: &Bound<'py, PyTensor>,
                bias: Option<&Bound<'py, PyTensor>>,
                stride: Option<Bound<'py, PyAny>>,
                padding: Option<Bound<'py, PyAny>>,
                output_padding: Option<&Bound<'py, PyAny>>,
                groups: usize,
                dilation: Option<Bound<'py, PyAny>>,
            ) -> Out {
                Convolution { input, weight, bias, stride, padding, dilation, groups }
                    .run_transposed(py, $dims, output_padding)
            }
        )*
    };
}

convolutions! {
    conv1d conv_transpose1d 1;
    conv2d conv_transpose2d 2;
    conv3d conv_transpose3d 3;
}

fn windows(
    kernel: &Bound<'_, PyAny>,
    stride: Option<&Bound<'_, PyAny>>,
    padding: &Bound<'_, PyAny>,
    dilation: Option<&Bound<'_, PyAny>>,
    ceil: bool,
) -> PyResult<Windows> {
    let kernel = pair(kernel, "kernel_size")?;
    // An empty list stands for the kernel too.
    let given = stride.filter(|value| !value.is_none() && !value.len().is_ok_and(|n| n == 0));
    Ok(Windows {
        kernel,
        stride: given.map_or(Ok(kernel), |value| pair(value, "stride"))?,
        padding: pair(padding, "padding")?,
        dilation: dilation.map_or(Ok([1, 1]), |value| pair(value, "dilation"))?,
        ceil,
    })
}

/// The averages of windows.
#[pyfunction]
fn avg_pool2d(
    py: Python<'_>,
    input: &Bound<'_, PyTensor>,
    kernel_size: &Bound<'_, PyAny>,
    stride: Option<&Bound<'_, PyAny>>,
    padding: &Bound<'_, PyAny>,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: Option<i64>,
) -> Out {
    let windows = windows(kernel_size, stride, padding, None, ceil_mode)?;
    let divisor = match divisor_override {
        Some(divisor) => Divisor::Given(divisor as f64),
        None if count_include_pad => Divisor::Padded,
        None => Divisor::Inside,
    };
    let input = &input.get().tensor;
    Ok(Wrapped(detached(py, input.byte_hint(), || input.avg_pool2d(&windows, divisor))?))
}

/// The greatest elements of windows, and their places.
#[pyfunction]
fn max_pool2d<'py>(
    py: Python<'py>,
    input: &Bound<'py, PyTensor>,
    kernel_size: &Bound<'py, PyAny>,
    stride: Option<&Bound<'py, PyAny>>,
    padding: &Bound<'py, PyAny>,
    dilation: &Bound<'py, PyAny>,
    ceil_mode: bool,
) -> Bind<(Bound<'py, PyTensor>, Bound<'py, PyTensor>)> {
    let windows = windows(kernel_size, stride, padding, Some(dilation), ceil_mode)?;
    let input = &input.get().tensor;
    let (values, places) = detached(py, input.byte_hint(), || input.max_pool2d(&windows))?;
    Ok((wrap(py, values)?, wrap(py, places)?))
}

/// The averages of windows that share the input evenly.
#[pyfunction]
fn adaptive_avg_pool2d(py: Python<'_>, input: &Bound<'_, PyTensor>, counts: [usize; 2]) -> Out {
    let input = &input.get().tensor;
    Ok(Wrapped(detached(py, input.byte_hint(), || input.adaptive_avg_pool2d(counts))?))
}

/// The greatest elements of windows that share the input evenly, and their places.
#[pyfunction]
fn adaptive_max_pool2d<'py>(
    py: Python<'py>,
    input: &Bound<'py, PyTensor>,
    counts: [usize; 2],
) -> Bind<(Bound<'py, PyTensor>, Bound<'py, PyTensor>)> {
    let input = &input.get().tensor;
    let (values, places) = detached(py, input.byte_hint(), || input.adaptive_max_pool2d(counts))?;
    Ok((wrap(py, values)?, wrap(py, places)?))
}

/// The rows of a table that an index names.
#[pyfunction]
fn embedding(
    py: Python<'_>,
    input: &Bound<'_, PyTensor>,
    weight: &Bound<'_, PyTensor>,
    padding_idx: Option<i64>,
) -> Out {
    let (index, weight): (&Tensor, &Tensor) = (&input.get().tensor, &weight.get().tensor);
    Ok(Wrapped(detached(py, index.byte_hint() * 16, || weight.embedding(index, padding_idx))?))
}

/// All states of a recurrent layer over a projected sequence, and all memories of an LSTM.
#[pyfunction]
fn recurrent<'py>(
    py: Python<'py>,
    cell: &str,
    input: &Bound<'py, PyTensor>,
    weight: &Bound<'py, PyTensor>,
    hidden: &Bound<'py, PyTensor>,
    memory: Option<&Bound<'py, PyTensor>>,
    bias: Option<&Bound<'py, PyTensor>>,
) -> Bind<(Bound<'py, PyTensor>, Option<Bound<'py, PyTensor>>)> {
    let cell = match cell {
        "RNN_TANH" => Cell::Tanh,
        "RNN_RELU" => Cell::Relu,
        "LSTM" => Cell::Lstm,
        "GRU" => Cell::Gru,
        other => return Err(PyTypeError::new_err(format!("unknown recurrent cell {other}")).into()),
    };
    let sequence = Sequence {
        input: &input.get().tensor,
        weight: &weight.get().tensor,
        hidden: &hidden.get().tensor,
        memory: memory.map(|memory| &memory.get().tensor),
        bias: bias.map(|bias| &bias.get().tensor),
    };
    let bytes = sequence.input.byte_hint() * 16;
    let (states, memories) =
        detached(py, bytes, || rustgrad_engine::ops::recurrent::recurrent(cell, &sequence))?;
    Ok((wrap(py, states)?, memories.map(|memories| wrap(py, memories)).transpose()?))
}

/// The losses of connectionist temporal classification.
#[pyfunction]
fn ctc_loss(
    py: Python<'_>,
    log_probs: &Bound<'_, PyTensor>,
    targets: &Bound<'_, PyTensor>,
    input_lengths: Vec<i64>,
    target_lengths: Vec<i64>,
    blank: i64,
    zero_infinity: bool,
) -> Out {
    let (input, targets) = (&log_probs.get().tensor, &targets.get().tensor);
    // Each label has exponentials at every step.
    let bytes = input.byte_hint() * 8;
    let lengths = (input_lengths, target_lengths);
    Ok(Wrapped(detached(py, bytes, || {
        input.ctc_loss(targets, &lengths.0, &lengths.1, blank, zero_infinity)
    })?))
}

/// The input above zero, a multiple of it per channel below.
#[pyfunction]
fn prelu(py: Python<'_>, input: &Bound<'_, PyTensor>, weight: &Bound<'_, PyTensor>) -> Out {
    let (input, weight) = (&input.get().tensor, &weight.get().tensor);
    Ok(Wrapped(detached(py, input.byte_hint(), || input.prelu(weight))?))
}

/// The distances of all pairs of rows of a matrix, in one vector.
#[pyfunction]
#[pyo3(signature = (input, p = 2.0))]
fn pdist(py: Python<'_>, input: &Bound<'_, PyTensor>, p: f64) -> Out {
    let input = &input.get().tensor;
    let bytes = input.byte_hint().saturating_mul(input.shape().first().copied().unwrap_or(0));
    Ok(Wrapped(detached(py, bytes, || input.pdist(p))?))
}

/// The distances of the rows of two stacks of matrices.
#[pyfunction]
fn cdist(py: Python<'_>, x1: &Bound<'_, PyTensor>, x2: &Bound<'_, PyTensor>, p: f64) -> Out {
    let (x, y) = (&x1.get().tensor, &x2.get().tensor);
    let rows = x.shape().iter().rev().nth(1).copied().unwrap_or(0);
    let bytes = y.byte_hint().saturating_mul(rows);
    Ok(Wrapped(detached(py, bytes, || x.cdist(y, p))?))
}

/// The losses of rows by the margins of their classes: one each, or several that a row of `targets` names.
#[pyfunction]
#[pyo3(signature = (input, targets, margin = 1.0, weights = None))]
fn margin_losses(
    py: Python<'_>,
    input: &Bound<'_, PyTensor>,
    targets: &Bound<'_, PyTensor>,
    margin: f64,
    weights: Option<&Bound<'_, PyTensor>>,
) -> Out {
    let (x, targets) = (&input.get().tensor, &targets.get().tensor);
    let weights = weights.map(|weights| &weights.get().tensor);
    Ok(Wrapped(detached(py, x.byte_hint(), || {
        if targets.ndim() == 2 {
            x.multilabel_margin_losses(targets)
        } else {
            x.multi_margin_losses(targets, margin, weights)
        }
    })?))
}

/// Attention without dropout.
#[pyfunction]
fn attention(
    py: Python<'_>,
    query: &Bound<'_, PyTensor>,
    key: &Bound<'_, PyTensor>,
    value: &Bound<'_, PyTensor>,
    mask: Option<&Bound<'_, PyTensor>>,
    causal: bool,
    scale: f64,
) -> Out {
    let (q, k, v) = (&query.get().tensor, &key.get().tensor, &value.get().tensor);
    let mask = mask.map(|mask| &mask.get().tensor);
    // Each element of a query meets all keys.
    let keys = k.shape().iter().rev().nth(1).copied().unwrap_or(1);
    let bytes = q.byte_hint().saturating_mul(keys);
    Ok(Wrapped(detached(py, bytes, || q.attention(k, v, mask, causal, scale))?))
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("_nn_recurrent", wrap_pyfunction!(recurrent, module)?)?;
    module.add("_nn_ctc_loss", wrap_pyfunction!(ctc_loss, module)?)?;
    module.add("_nn_prelu", wrap_pyfunction!(prelu, module)?)?;
    module.add("_nn_cdist", wrap_pyfunction!(cdist, module)?)?;
    module.add("_nn_margin_losses", wrap_pyfunction!(margin_losses, module)?)?;
    module.add("_nn_pdist", wrap_pyfunction!(pdist, module)?)?;
    module.add("_nn_attention", wrap_pyfunction!(attention, module)?)?;
    module.add("_nn_linear", wrap_pyfunction!(linear, module)?)?;
    module.add("_nn_conv1d", wrap_pyfunction!(conv1d, module)?)?;
    module.add("_nn_conv2d", wrap_pyfunction!(conv2d, module)?)?;
    module.add("_nn_conv3d", wrap_pyfunction!(conv3d, module)?)?;
    module.add("_nn_conv_transpose1d", wrap_pyfunction!(conv_transpose1d, module)?)?;
    module.add("_nn_conv_transpose2d", wrap_pyfunction!(conv_transpose2d, module)?)?;
    module.add("_nn_conv_transpose3d", wrap_pyfunction!(conv_transpose3d, module)?)?;
    module.add("_nn_avg_pool2d", wrap_pyfunction!(avg_pool2d, module)?)?;
    module.add("_nn_max_pool2d", wrap_pyfunction!(max_pool2d, module)?)?;
    module.add("_nn_adaptive_avg_pool2d", wrap_pyfunction!(adaptive_avg_pool2d, module)?)?;
    module.add("_nn_adaptive_max_pool2d", wrap_pyfunction!(adaptive_max_pool2d, module)?)?;
    module.add("_nn_embedding", wrap_pyfunction!(embedding, module)?)
}
