//! Convolutions over one to three dimensions.
//!
//! With output gradient `g`, `sum(conv(x, w) * g)` is linear in each of x, w and g. Each factor's
//! gradient is therefore a product of the other two, and so are the gradients of those: three
//! operations closed under differentiation.

use smallvec::smallvec;

use super::{Cx, Op, Rule};
use crate::error::{Result, bail, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Node, Save, attach, recording};
use crate::kernels::conv::Conv;
use crate::launch::{Factor, convolve};
use crate::shape::{Dims, shape_text};
use crate::tensor::Tensor;

/// What all three factors of one convolution share.
#[derive(Clone)]
struct Frame {
    conv: Conv,
    input: Dims,
    weight: Dims,
    output: Dims,
}

impl Frame {
    fn shape(&self, factor: Factor) -> &[usize] {
        match factor {
            Factor::Output => &self.output,
            Factor::Input => &self.input,
            Factor::Weight => &self.weight,
        }
    }
}

/// Which factors a product of two takes, and their order.
fn taken(made: Factor) -> [Factor; 2] {
    match made {
        Factor::Output => [Factor::Input, Factor::Weight],
        Factor::Input => [Factor::Weight, Factor::Output],
        Factor::Weight => [Factor::Input, Factor::Output],
    }
}

struct Convolution {
    frame: Frame,
    made: Factor,
    has_bias: bool,
}

impl Rule for Convolution {
    fn name(&self) -> &'static str {
        if self.made == Factor::Output {
            "ConvolutionBackward0"
        } else {
            "ConvolutionBackwardBackward0"
        }
    }
    fn depth(&self, _: &Node) -> usize {
        self.frame.weight.iter().skip(1).product()
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let mut result: GradList = smallvec![None; 2 + usize::from(self.has_bias)];
        let Some(grad) = &grads[0] else { return Ok(result) };
        let factors = taken(self.made);
        let edges = cx.node().edges();
        for i in 0..2 {
            if cx.needs(i) {
                // The gradient of one factor is the product of the other and the result's gradient.
                let at = if i == 1 { 0 } else { usize::from(edges[1].node.is_some()) };
                let other = cx.saved(at)?;
                let pair = [(factors[1 - i], &other), (self.made, grad)];
                let [first, _] = taken(factors[i]);
                let (a, b) = if pair[0].0 == first {
                    (pair[0].1, pair[1].1)
                } else {
                    (pair[1].1, pair[0].1)
                };
                result[i] = Some(product(&self.frame, factors[i], a, b, None)?);
            }
        }
        if self.has_bias && cx.needs(2) {
            let c = &self.frame.conv;
            let flat = grad.reshape_to(&[c.batch, c.outputs, c.places()])?;
            result[2] = Some(flat.sum(&[0, 2], false, None)?);
        }
        Ok(result)
    }
}

/// One factor as the product of the two others.
#[track_caller]
fn product(
    frame: &Frame,
    made: Factor,
    a: &Tensor,
    b: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let shift = bias.map(Tensor::shared_core);
    let core = convolve(
        &frame.conv,
        made,
        &a.shared_core(),
        &b.shared_core(),
        shift.as_ref(),
        frame.shape(made),
    )?;
    let output = Tensor::from_core(core);
    let mut inputs: smallvec::SmallVec<[&Tensor; 3]> = smallvec![a, b];
    inputs.extend(bias);
    if recording(&inputs) {
        let mut saves = smallvec::SmallVec::<[Save<'_>; 2]>::new();
        if b.requires_grad() {
            saves.push(Save::Input(0));
        }
        if a.requires_grad() {
            saves.push(Save::Input(1));
        }
        let rule = Convolution { frame: frame.clone(), made, has_bias: bias.is_some() };
        attach(Op::rule(rule), &inputs, &saves, &[&output])?;
    }
    Ok(output)
}

/// The numbers of a convolution along each dimension.
#[derive(Clone, Debug)]
pub struct Steps {
    /// Steps between places.
    pub stride: Vec<usize>,
    /// Zeros before and after the input.
    pub padding: Vec<usize>,
    /// Steps between the elements of the kernel.
    pub dilation: Vec<usize>,
    /// Groups of channels that do not mix.
    pub groups: usize,
}

/// At most three sizes as three, the first of them `fill` if there are less.
fn triple(sizes: &[usize], fill: usize) -> [usize; 3] {
    let mut all = [fill; 3];
    let n = sizes.len().min(3);
    all[3 - n..].copy_from_slice(&sizes[..n]);
    all
}

fn check_steps(steps: &Steps, dims: usize) -> Result<()> {
    for (name, list, least) in [
        ("stride", &steps.stride, 1),
        ("padding", &steps.padding, 0),
        ("dilation", &steps.dilation, 1),
    ] {
        ensure!(
            list.len() == dims,
            runtime,
            "expected {name} to be a single integer value or a list of {dims} values to match the \
             convolution dimensions, but got {name}={list:?}"
        );
        ensure!(list.iter().all(|&n| n >= least), runtime, "non-positive {name} is not supported");
    }
    ensure!(steps.groups > 0, runtime, "non-positive groups is not supported");
    Ok(())
}

fn check_bias(bias: Option<&Tensor>, outputs: usize, weight: &[usize]) -> Result<()> {
    if let Some(bias) = bias {
        ensure!(
            bias.ndim() == 1 && bias.numel() == outputs,
            runtime,
            "Given weight of size {weight:?}, expected bias to be 1-dimensional with {outputs} \
             elements, but got bias of size {} instead",
            shape_text(&bias.shape())
        );
    }
    Ok(())
}

fn check_dtypes(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<()> {
    ensure!(
        input.dtype() == weight.dtype(),
        runtime,
        "Input type ({}) and weight type ({}) should be the same",
        crate::dtype::DType::scalar_name(input.dtype()).to_lowercase(),
        weight.dtype().scalar_name().to_lowercase()
    );
    if let Some(bias) = bias {
        ensure!(
            input.dtype() == bias.dtype(),
            runtime,
            "Input type ({}) and bias type ({}) should be the same",
            input.dtype().scalar_name().to_lowercase(),
            bias.dtype().scalar_name().to_lowercase()
        );
    }
    Ok(())
}

impl Tensor {
    /// The convolution over the last `dims` (1 to 3) dimensions: `(N, C, ...)` or `(C, ...)` with a
    /// weight `(O, C / groups, ...)`.
    ///
    /// # Errors
    /// If sizes or dtypes do not fit.
    #[track_caller]
    pub fn convolution(
        &self,
        weight: &Self,
        bias: Option<&Self>,
        dims: usize,
        steps: &Steps,
    ) -> Result<Self> {
        let (x, w) = (self.shape(), weight.shape());
        ensure!(
            x.len() == dims + 1 || x.len() == dims + 2,
            runtime,
            "Expected {}D (unbatched) or {}D (batched) input to conv{dims}d, but got input of size: {x:?}",
            dims + 1,
            dims + 2
        );
        ensure!(
            w.len() == dims + 2,
            runtime,
            "weight should have at least three dimensions: expected {}D weight of conv{dims}d, got {w:?}",
            dims + 2
        );
        check_steps(steps, dims)?;
        check_dtypes(self, weight, bias)?;
        let batched = x.len() == dims + 2;
        let (batch, channels) = if batched { (x[0], x[1]) } else { (1, x[0]) };
        let spatial = &x[x.len() - dims..];
        let groups = steps.groups;
        ensure!(
            channels == w[1] * groups,
            runtime,
            "Given groups={groups}, weight of size {w:?}, expected input{x:?} to have {} channels, \
             but got {channels} channels instead",
            w[1] * groups
        );
        ensure!(
            w[0] % groups == 0 && w[0] >= groups,
            runtime,
            "Given groups={groups}, expected weight to be at least {groups} at dimension 0 and \
             divisible by it, but got weight of size {w:?} instead"
        );
        check_bias(bias, w[0], &w)?;
        let mut output: Dims = x[..x.len() - dims].iter().copied().collect();
        let last = output.len() - 1;
        output[last] = w[0];
        for i in 0..dims {
            let (n, pad) = (spatial[i], steps.padding[i]);
            let reach = steps.dilation[i] * w[2 + i].saturating_sub(1) + 1;
            if n + 2 * pad < reach || w[2 + i] == 0 {
                bail!(
                    runtime,
                    "Calculated padded input size per channel: ({}). Kernel size: ({}). Kernel size \
                     can't be greater than actual input size",
                    spatial
                        .iter()
                        .zip(&steps.padding)
                        .map(|(n, p)| (n + 2 * p).to_string())
                        .collect::<Vec<_>>()
                        .join(" x "),
                    w[2..]
                        .iter()
                        .zip(&steps.dilation)
                        .map(|(k, d)| (d * k.saturating_sub(1) + 1).to_string())
                        .collect::<Vec<_>>()
                        .join(" x ")
                );
            }
            output.push((n + 2 * pad - reach) / steps.stride[i] + 1);
        }
        let conv = Conv {
            batch,
            channels,
            outputs: w[0],
            groups,
            input: triple(spatial, 1),
            kernel: triple(&w[2..], 1),
            output: triple(&output[output.len() - dims..], 1),
            stride: triple(&steps.stride, 1),
            padding: triple(&steps.padding, 0),
            dilation: triple(&steps.dilation, 1),
        };
        let frame = Frame { conv, input: x, weight: w, output };
        product(&frame, Factor::Output, self, weight, bias)
    }

    /// The transpose of [`Self::convolution`]: `(N, C, ...)` with a weight `(C, O / groups, ...)`,
    /// the gradient a convolution's input gets from `self` as its output's.
    ///
    /// # Errors
    /// If sizes or dtypes do not fit.
    #[track_caller]
    pub fn transposed_convolution(
        &self,
        weight: &Self,
        bias: Option<&Self>,
        dims: usize,
        steps: &Steps,
        output_padding: &[usize],
    ) -> Result<Self> {
        let (x, w) = (self.shape(), weight.shape());
        ensure!(
            (x.len() == dims + 1 || x.len() == dims + 2) && w.len() == dims + 2,
            runtime,
            "Expected {}D (unbatched) or {}D (batched) input to conv_transpose{dims}d, but got input of size: {x:?}",
            dims + 1,
            dims + 2
        );
        check_steps(steps, dims)?;
        check_dtypes(self, weight, bias)?;
        ensure!(output_padding.len() == dims, runtime, "expected {dims} values of output_padding");
        let batched = x.len() == dims + 2;
        let (batch, channels) = if batched { (x[0], x[1]) } else { (1, x[0]) };
        let groups = steps.groups;
        ensure!(
            channels == w[0] && channels % groups == 0,
            runtime,
            "Given transposed=1, weight of size {w:?}, expected input{x:?} to have {} channels, but \
             got {channels} channels instead",
            w[0]
        );
        let outputs = w[1] * groups;
        check_bias(bias, outputs, &w)?;
        let spatial = &x[x.len() - dims..];
        let mut made: Dims = x[..x.len() - dims].iter().copied().collect();
        let last = made.len() - 1;
        made[last] = outputs;
        for i in 0..dims {
            ensure!(
                output_padding[i] < steps.stride[i].max(steps.dilation[i]),
                runtime,
                "output padding must be smaller than either stride or dilation, but got \
                 output_padding: {output_padding:?} stride: {:?} dilation: {:?}",
                steps.stride,
                steps.dilation
            );
            let grown = spatial[i].saturating_sub(1) * steps.stride[i]
                + steps.dilation[i] * w[2 + i].saturating_sub(1)
                + output_padding[i]
                + 1;
            ensure!(
                grown > 2 * steps.padding[i] && spatial[i] > 0,
                runtime,
                "Given input size per channel: {spatial:?}. Calculated output size per channel is too small"
            );
            made.push(grown - 2 * steps.padding[i]);
        }
        let conv = Conv {
            batch,
            channels: outputs,
            outputs: channels,
            groups,
            input: triple(&made[made.len() - dims..], 1),
            kernel: triple(&w[2..], 1),
            output: triple(spatial, 1),
            stride: triple(&steps.stride, 1),
            padding: triple(&steps.padding, 0),
            dilation: triple(&steps.dilation, 1),
        };
        let frame = Frame { conv, input: made, weight: w, output: x };
        let result = product(&frame, Factor::Input, weight, self, None)?;
        match bias {
            Some(bias) => {
                let mut shape: Dims = smallvec![1; dims + 1];
                shape[0] = outputs;
                result.add(&bias.reshape_to(&shape)?)
            }
            None => Ok(result),
        }
    }
}
