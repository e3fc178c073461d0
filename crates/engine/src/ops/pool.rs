//! Pooling over two dimensions.

use std::sync::Arc;

use smallvec::smallvec;

pub use crate::kernels::pool::Divisor;

use super::{Cx, Op, Rule};
use crate::error::{Result, bail, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, recording1};
use crate::kernels::pool::Pool;
use crate::launch;
use crate::shape::Dims;
use crate::storage::Core;
use crate::tensor::Tensor;

/// Averages and their gradient: each is the transpose of the other.
#[derive(Clone)]
struct Average {
    pool: Pool,
    divisor: Divisor,
    backward: bool,
    adaptive: bool,
    input: Dims,
    output: Dims,
}

impl Average {
    #[track_caller]
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let shape = if self.backward { &self.input } else { &self.output };
        let core =
            launch::average_pool(&self.pool, self.divisor, self.backward, &x.shared_core(), shape)?;
        let output = Tensor::from_core(core);
        if recording1(x) {
            attach(Op::rule(self.clone()), &[x], &[], &[&output])?;
        }
        Ok(output)
    }
}

impl Rule for Average {
    fn name(&self) -> &'static str {
        match (self.adaptive, self.backward) {
            (false, false) => "AvgPool2DBackward0",
            (false, true) => "AvgPool2DBackwardBackward0",
            (true, false) => "AdaptiveAvgPool2DBackward0",
            (true, true) => "AdaptiveAvgPool2DBackwardBackward0",
        }
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let grad = Self { backward: !self.backward, ..self.clone() }.apply(grad)?;
        Ok(smallvec![Some(grad)])
    }
}

struct Maximum {
    adaptive: bool,
    planes: usize,
    pixels: usize,
    input: Dims,
}

impl Rule for Maximum {
    fn name(&self) -> &'static str {
        if self.adaptive { "AdaptiveMaxPool2DBackward0" } else { "MaxPool2DWithIndicesBackward0" }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None, None]) };
        let places = cx.saved(0)?;
        let count = grad.numel() / self.planes.max(1);
        let rows = grad.reshape_to(&[self.planes, count])?;
        let at = places.detach().reshape_to(&[self.planes, count])?.shared_core();
        let whole = super::along::put(&rows, 1, &at, &[self.planes, self.pixels])?;
        Ok(smallvec![Some(whole.reshape_to(&self.input)?)])
    }
}

/// The sizes of windows along each dimension.
#[derive(Clone, Debug)]
pub struct Windows {
    /// Their height and width.
    pub kernel: [usize; 2],
    /// Steps between them.
    pub stride: [usize; 2],
    /// How far they may reach beyond the first row and column.
    pub padding: [usize; 2],
    /// Steps between their elements.
    pub dilation: [usize; 2],
    /// Whether windows may begin inside and end beyond the last row and column.
    pub ceil: bool,
}

/// The pooling of an image of this shape, and the shape of its result.
fn plan(name: &str, x: &[usize], windows: &Windows) -> Result<(Pool, Dims)> {
    ensure!(
        x.len() == 3 || x.len() == 4,
        runtime,
        "{name}(): Expected 3D or 4D input, but got {x:?}"
    );
    let n = x.len();
    ensure!(
        x[n - 3..].iter().all(|&size| size > 0),
        runtime,
        "Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input, but got: {x:?}"
    );
    let Windows { kernel, stride, padding, dilation, ceil } = *windows;
    ensure!(
        kernel.iter().all(|&k| k > 0),
        runtime,
        "kernel size should be greater than zero, but got kH: {} kW: {}",
        kernel[0],
        kernel[1]
    );
    ensure!(stride.iter().all(|&s| s > 0), runtime, "stride should not be zero");
    ensure!(
        dilation.iter().all(|&d| d > 0),
        runtime,
        "dilation should be greater than zero, but got dilationH: {} dilationW: {}",
        dilation[0],
        dilation[1]
    );
    let mut output: Dims = x[..n - 2].iter().copied().collect();
    let mut sizes = [0; 2];
    for i in 0..2 {
        let reach = dilation[i] * (kernel[i] - 1) + 1;
        ensure!(
            2 * padding[i] <= kernel[i],
            runtime,
            "pad should be at most half of effective kernel size, but got pad={}, kernel_size={} and dilation={}",
            padding[i],
            kernel[i],
            dilation[i]
        );
        let size = x[n - 2 + i] + 2 * padding[i];
        ensure!(
            size >= reach,
            runtime,
            "Given input size: ({}x{}x{}). Calculated output size: too small. Output size is too small",
            x[n - 3],
            x[n - 2],
            x[n - 1]
        );
        let free = size - reach;
        let mut count = (if ceil { free.div_ceil(stride[i]) } else { free / stride[i] }) + 1;
        // The last window must begin inside the input or its padding before.
        if ceil && (count - 1) * stride[i] >= x[n - 2 + i] + padding[i] {
            count -= 1;
        }
        sizes[i] = count;
        output.push(count);
    }
    let pool = Pool {
        planes: x[..n - 2].iter().product(),
        input: [x[n - 2], x[n - 1]],
        kernel,
        output: sizes,
        stride,
        padding,
        dilation,
        adaptive: false,
    };
    Ok((pool, output))
}

/// The adaptive pooling of an image of this shape to `counts` places, and the shape of its result; no size
/// may be zero from dimension `from` on.
fn adaptive(name: &str, x: &[usize], counts: [usize; 2], from: usize) -> Result<(Pool, Dims)> {
    let n = x.len();
    ensure!(n == 3 || n == 4, runtime, "{name}(): Expected 3D or 4D tensor, but got {x:?}");
    if let Some(empty) = (from..n).find(|&dim| x[dim] == 0) {
        bail!(
            runtime,
            "{name}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes \
             {x:?} with dimension {empty} being empty"
        );
    }
    let mut output: Dims = x[..n - 2].iter().copied().collect();
    output.extend(counts);
    let sizes = [x[n - 2], x[n - 1]];
    // Windows of one size are those of a common pool.
    let alike = (0..2).all(|i| counts[i] > 0 && sizes[i].is_multiple_of(counts[i]));
    let kernel = if alike { [sizes[0] / counts[0], sizes[1] / counts[1]] } else { [1, 1] };
    let pool = Pool {
        planes: x[..n - 2].iter().product(),
        input: sizes,
        kernel,
        output: counts,
        stride: kernel,
        padding: [0, 0],
        dilation: [1, 1],
        adaptive: !alike,
    };
    Ok((pool, output))
}

impl Tensor {
    /// The averages of windows of `(N, C, H, W)` or `(C, H, W)`.
    ///
    /// # Errors
    /// If sizes do not fit, or the dtype is not floating point.
    #[track_caller]
    pub fn avg_pool2d(&self, windows: &Windows, divisor: Divisor) -> Result<Self> {
        let input = self.shape();
        let (pool, output) = plan("avg_pool2d", &input, windows)?;
        ensure!(divisor != Divisor::Given(0.0), runtime, "divisor must be not zero");
        Average { pool, divisor, backward: false, adaptive: false, input, output }.apply(self)
    }

    /// The greatest elements of windows of `(N, C, H, W)` or `(C, H, W)`, and where they are in their
    /// planes.
    ///
    /// # Errors
    /// If sizes do not fit, or the dtype is not floating point.
    #[track_caller]
    pub fn max_pool2d(&self, windows: &Windows) -> Result<(Self, Self)> {
        let input = self.shape();
        let (pool, output) = plan("max_pool2d", &input, windows)?;
        let (values, places) = launch::maximum_pool(&pool, &self.shared_core(), &output)?;
        self.greatest(false, &pool, input, values, places)
    }

    #[track_caller]
    fn greatest(
        &self,
        adaptive: bool,
        pool: &Pool,
        input: Dims,
        values: Arc<Core>,
        places: Arc<Core>,
    ) -> Result<(Self, Self)> {
        let values = Self::from_core(values);
        if recording1(self) {
            let rule = Maximum {
                adaptive,
                planes: pool.planes,
                pixels: pool.input[0] * pool.input[1],
                input,
            };
            attach(Op::rule(rule), &[self], &[Save::Private(&places)], &[&values])?;
        }
        Ok((values, Self::from_core(places)))
    }

    /// The averages of as many windows of `(N, C, H, W)` or `(C, H, W)` as `counts` says, which share the
    /// input evenly: window `i` of `m` reaches from element `floor(i * n / m)` to `ceil((i + 1) * n / m)`.
    ///
    /// # Errors
    /// If the image is empty, or the dtype is not floating point.
    #[track_caller]
    pub fn adaptive_avg_pool2d(&self, counts: [usize; 2]) -> Result<Self> {
        let input = self.shape();
        let (pool, output) =
            adaptive("adaptive_avg_pool2d", &input, counts, input.len().saturating_sub(2))?;
        let divisor = Divisor::Inside;
        Average { pool, divisor, backward: false, adaptive: true, input, output }.apply(self)
    }

    /// The greatest elements of the windows of [`Self::adaptive_avg_pool2d`], and where they are in their
    /// planes.
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn adaptive_max_pool2d(&self, counts: [usize; 2]) -> Result<(Self, Self)> {
        let input = self.shape();
        let (pool, output) = adaptive("adaptive_max_pool2d", &input, counts, 1)?;
        let (values, places) = launch::maximum_pool(&pool, &self.shared_core(), &output)?;
        self.greatest(true, &pool, input, values, places)
    }
}
