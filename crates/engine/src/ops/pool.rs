//! Pooling over two dimensions.

use smallvec::smallvec;

pub use crate::kernels::pool::Divisor;

use super::{Cx, Op, Rule};
use crate::error::{Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, recording1};
use crate::kernels::pool::Pool;
use crate::launch;
use crate::shape::Dims;
use crate::tensor::Tensor;

/// Averages and their gradient: each is the transpose of the other.
#[derive(Clone)]
struct Average {
    pool: Pool,
    divisor: Divisor,
    backward: bool,
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
        if self.backward { "AvgPool2DBackwardBackward0" } else { "AvgPool2DBackward0" }
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let grad = Self { backward: !self.backward, ..self.clone() }.apply(grad)?;
        Ok(smallvec![Some(grad)])
    }
}

struct Maximum {
    planes: usize,
    pixels: usize,
    input: Dims,
}

impl Rule for Maximum {
    fn name(&self) -> &'static str {
        "MaxPool2DWithIndicesBackward0"
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
        Average { pool, divisor, backward: false, input, output }.apply(self)
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
        let values = Self::from_core(values);
        if recording1(self) {
            let rule =
                Maximum { planes: pool.planes, pixels: pool.input[0] * pool.input[1], input };
            attach(Op::rule(rule), &[self], &[Save::Private(&places)], &[&values])?;
        }
        Ok((values, Self::from_core(places)))
    }
}
