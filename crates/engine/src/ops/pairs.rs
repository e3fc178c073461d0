//! Distances of all pairs of rows, and a rectifier with a slope of its own for each channel.

use smallvec::smallvec;

use super::binary::Binary;
use super::unary::Unary;
use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::Scalar;
use crate::error::{Result, bail, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, is_grad_enabled, recording, recording1};
use crate::kernels::pairs::Metric;
use crate::launch;
use crate::shape::Dims;
use crate::tensor::Tensor;

struct Cdist {
    p: f64,
    metric: Metric,
}

impl Rule for Cdist {
    fn name(&self) -> &'static str {
        "CdistBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "p").then_some(SavedValue::Number(Scalar::Float(self.p)))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None, None]) };
        let (x, y, distances) = (cx.saved(0)?, cx.saved(1)?, cx.saved(2)?);
        let wanted = [cx.needs(0), cx.needs(1)];
        if is_grad_enabled() {
            let apart = x.unsqueeze(-2)?.sub(&y.unsqueeze(-3)?)?;
            let part =
                slopes(self.metric, &apart, &distances.unsqueeze(-1)?, &grad.unsqueeze(-1)?)?;
            let first = wanted[0].then(|| part.sum(&[-2], false, None)).transpose()?;
            let second = wanted[1].then(|| part.sum(&[-3], false, None)?.apply_unary(Unary::Neg));
            return Ok(smallvec![first, second.transpose()?]);
        }
        let [x, y, distances, grad] = [&x, &y, &distances, grad].map(Tensor::shared_core);
        let metric = self.metric;
        let made = launch::distances_between_backward(metric, &x, &y, &distances, &grad, wanted)?;
        Ok(made.into_iter().map(|core| core.map(Tensor::from_core)).collect())
    }
}

/// The gradients of differences, from those of their norms, for the derivatives of these.
fn slopes(metric: Metric, apart: &Tensor, distance: &Tensor, grad: &Tensor) -> Result<Tensor> {
    let differ = distance.detach().compare(Binary::Ne, 0.0)?;
    let (safe, grad) = (distance.or_else(&differ, 1.0)?, grad.or_else(&differ, 0.0)?);
    let sign = apart.detach().apply_unary(Unary::Sign)?;
    match metric {
        Metric::Count => apart.times(0.0),
        Metric::Sum => grad.mul(&sign),
        Metric::Euclid => apart.mul(&grad.div(&safe)?),
        Metric::Most => {
            let most = apart.detach().apply_unary(Unary::Abs)?.eq(&safe.detach())?;
            grad.mul(&sign)?.or_else(&most, 0.0)
        }
        Metric::Power(p) => {
            let same = apart.detach().compare(Binary::Ne, 0.0)?;
            let size = apart.mul(&sign)?.or_else(&same, 1.0)?;
            let power = |t: &Tensor| t.binary_scalar(Binary::Pow, Scalar::Float(p - 1.0), false);
            let shares = power(&size)?.mul(&sign)?;
            shares.mul(&grad.div(&power(&safe)?)?)
        }
    }
}

fn metric_of(p: f64) -> Metric {
    match p {
        0.0 => Metric::Count,
        1.0 => Metric::Sum,
        2.0 => Metric::Euclid,
        p if p.is_infinite() => Metric::Most,
        p => Metric::Power(p),
    }
}

struct Pdist {
    p: f64,
    metric: Metric,
}

impl Rule for Pdist {
    fn name(&self) -> &'static str {
        "PdistBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "p").then_some(SavedValue::Number(Scalar::Float(self.p)))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let (x, y) = (cx.saved(0)?, cx.saved(1)?);
        if is_grad_enabled() {
            return Ok(smallvec![Some(self.differentiably(&x, &y, grad)?)]);
        }
        let [x, y, grad] = [&x, &y, grad].map(Tensor::shared_core);
        let made = launch::distances_backward(self.metric, &x, &y, &grad)?;
        Ok(smallvec![Some(Tensor::from_core(made))])
    }
}

impl Pdist {
    fn differentiably(&self, x: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let shape = x.shape();
        let (rows, pairs) = (shape[0], y.numel());
        let all = (0..rows).flat_map(|i| (i + 1..rows).map(move |j| (i as i64, j as i64)));
        let (first, second): (Vec<i64>, Vec<i64>) = all.unzip();
        let index = |list: &[i64]| Tensor::from_slice(list, &[pairs]);
        let (first, second) = (index(&first)?, index(&second)?);
        let apart = x.index_select(0, &first)?.sub(&x.index_select(0, &second)?)?;
        let part = slopes(self.metric, &apart, &y.unsqueeze(1)?, &grad.unsqueeze(1)?)?;
        let whole = Tensor::zeros(&shape, x.dtype())?;
        let whole = whole.index_add(0, &first, &part, Scalar::Int(1))?;
        whole.index_add(0, &second, &part, Scalar::Int(-1))
    }
}

impl Tensor {
    /// The distances of all pairs of rows of a matrix, by the norm of degree `p` of their difference.
    ///
    /// # Errors
    /// If this is not a matrix of floats, or `p` is negative.
    #[track_caller]
    pub fn pdist(&self, p: f64) -> Result<Self> {
        ensure!(self.ndim() == 2, runtime, "pdist only supports 2D tensors, got: {}D", self.ndim());
        ensure!(self.dtype().is_float(), runtime, "pdist only supports floating-point dtypes");
        ensure!(p >= 0.0, runtime, "pdist only supports non-negative p values");
        let metric = metric_of(p);
        let output = Self::from_core(launch::distances(metric, &self.shared_core())?);
        if recording1(self) {
            let saves = [Save::Input(0), Save::Output(0)];
            attach(Op::rule(Pdist { p, metric }), &[self], &saves, &[&output])?;
        }
        Ok(output)
    }

    /// The distances of the rows of the last two dimensions from those of `other`, by the norm of degree `p`
    /// of their difference; all other sizes must agree.
    ///
    /// # Errors
    /// If they do not, or the dtype is not floating point.
    #[track_caller]
    pub fn cdist(&self, other: &Self, p: f64) -> Result<Self> {
        let metric = metric_of(p);
        let made = launch::distances_between(metric, &self.shared_core(), &other.shared_core())?;
        let output = Self::from_core(made);
        if recording(&[self, other]) {
            let saves = [Save::Input(0), Save::Input(1), Save::Output(0)];
            attach(Op::rule(Cdist { p, metric }), &[self, other], &saves, &[&output])?;
        }
        Ok(output)
    }

    /// The elements above zero, and multiples of the others by a weight, or by one for each channel.
    ///
    /// # Errors
    /// If there are not as many weights as channels, or dtypes differ.
    #[track_caller]
    pub fn prelu(&self, weight: &Self) -> Result<Self> {
        ensure!(
            self.dtype() == weight.dtype(),
            runtime,
            "prelu: Type promoting not supported. Got {} and {}",
            self.dtype().scalar_name(),
            weight.dtype().scalar_name()
        );
        if !self.dtype().is_float() {
            bail!(
                not_implemented,
                "\"prelu_cpu\" not implemented for '{}'",
                self.dtype().scalar_name()
            );
        }
        let (count, ndim) = (weight.numel(), self.ndim());
        if count != 1 {
            ensure!(ndim > 0, runtime, "Not allow zero-dim input tensor.");
            let channels = if ndim > 1 { self.core().shape()[1] } else { 1 };
            ensure!(
                count == channels,
                runtime,
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = {count} \
                 and channel size = {channels}."
            );
        }
        ensure!(
            weight.ndim() <= 1,
            runtime,
            "prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {}",
            weight.ndim()
        );
        if ndim == 2 && weight.ndim() == 1 {
            return self.binary(Binary::Prelu, weight, 0.0);
        }
        let mut shape: Dims = smallvec![1; ndim];
        if ndim > 1 {
            shape[1] = count;
        }
        self.binary(Binary::Prelu, &weight.reshape_to(&shape)?, 0.0)
    }
}
