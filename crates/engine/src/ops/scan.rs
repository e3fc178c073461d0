//! Cumulative operations and the softmax family.

use smallvec::smallvec;

use super::along::{Take, reversed};
use super::binary::Binary;
use super::extreme::Extreme;
use super::unary::Unary;
use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, recording, recording1};
use crate::launch::{self, Scan};
use crate::shape::{Dims, norm_dim};
use crate::tensor::Tensor;

struct CumSum {
    dim: usize,
}

fn reverse_cumsum(x: &Tensor, dim: usize) -> Result<Tensor> {
    reversed(&reversed(x, dim)?.cumsum(dim as i64, None)?, dim)
}

impl Rule for CumSum {
    fn name(&self) -> &'static str {
        "CumsumBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "dim").then(|| SavedValue::Int(self.dim as i64))
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let grad = grads[0].as_ref().map(|grad| {
            if grad.ndim() == 0 { Ok(grad.clone()) } else { reverse_cumsum(grad, self.dim) }
        });
        Ok(smallvec![grad.transpose()?])
    }
}

struct CumProd {
    dim: usize,
}

impl Rule for CumProd {
    fn name(&self) -> &'static str {
        "CumprodBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "dim").then(|| SavedValue::Int(self.dim as i64))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let (x, y) = (cx.saved(0)?, cx.saved(1)?);
        if x.ndim() == 0 || x.numel() == 0 {
            return Ok(smallvec![Some(grad.clone())]);
        }
        if !x.detach().compare(Binary::Eq, 0.0)?.any_true()? {
            let grad = reverse_cumsum(&grad.mul(&y)?, self.dim)?.div(&x)?;
            return Ok(smallvec![Some(grad)]);
        }
        // With zeros: for each k the products without factor k, [.., i, k].
        let (dim, n) = (self.dim as i64, x.size_along(self.dim));
        let (x, grad) = (x.transpose(dim, -1)?.unsqueeze(-1)?, grad.transpose(dim, -1)?);
        let off: Vec<crate::Bool> = (0..n * n).map(|i| (i / n != i % n).into()).collect();
        let reached: Vec<crate::Bool> = (0..n * n).map(|i| (i / n >= i % n).into()).collect();
        let off = Tensor::from_slice(&off, &[n, n])?;
        let reached = Tensor::from_slice(&reached, &[n, n])?;
        let others = x.or_else(&off, 1.0)?.cumprod(-2, None)?.or_else(&reached, 0.0)?;
        let grad = grad.unsqueeze(-1)?.mul(&others)?.sum(&[-2], false, None)?;
        Ok(smallvec![Some(grad.transpose(dim, -1)?)])
    }
}

struct LogCumSumExp {
    dim: usize,
}

impl Rule for LogCumSumExp {
    fn name(&self) -> &'static str {
        "LogcumsumexpBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "dim").then(|| SavedValue::Int(self.dim as i64))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let (x, y) = (cx.saved(0)?, cx.saved(1)?);
        if x.ndim() == 0 {
            return Ok(smallvec![Some(grad.clone())]);
        }
        // Positive and negative parts in logarithms, so that nothing overflows.
        let part = |sign: f64| -> Result<Tensor> {
            let grad = grad.times(sign)?;
            let positive = grad.detach().compare(Binary::Gt, 0.0)?;
            let size = grad.or_else(&positive, 1.0)?.apply_unary(Unary::Log)?;
            let size = size.or_else(&positive, f64::NEG_INFINITY)?.sub(&y)?;
            let summed = reversed(&size, self.dim)?.logcumsumexp(self.dim as i64)?;
            reversed(&summed, self.dim)?.add(&x)?.apply_unary(Unary::Exp)
        };
        if crate::graph::is_grad_enabled() {
            // Differentiable everywhere, also where the gradient is zero.
            let scaled = grad.mul(&y.apply_unary(Unary::Neg)?.apply_unary(Unary::Exp)?)?;
            let summed = reverse_cumsum(&scaled, self.dim)?;
            return Ok(smallvec![Some(summed.mul(&x.apply_unary(Unary::Exp)?)?)]);
        }
        Ok(smallvec![Some(part(1.0)?.sub(&part(-1.0)?)?)])
    }
}

struct Softmax {
    log: bool,
    dim: usize,
}

impl Rule for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "LogSoftmaxBackward0" } else { "SoftmaxBackward0" }
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "dim").then_some(SavedValue::Int(self.dim as i64))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let y = cx.saved(0)?;
        if !recording(&[grad, &y]) && grad.shape() == y.shape() && grad.dtype() == y.dtype() {
            let core = launch::softmax_backward(
                self.log,
                &y.shared_core(),
                &grad.shared_core(),
                self.dim,
            )?;
            return Ok(smallvec![Some(Tensor::from_core(core))]);
        }
        let dims = [self.dim as i64];
        let dims = if y.ndim() == 0 { &[][..] } else { &dims[..] };
        let grad = if self.log {
            grad.sub(&y.apply_unary(Unary::Exp)?.mul(&grad.sum(dims, true, None)?)?)?
        } else {
            let weighted = grad.mul(&y)?;
            weighted.sub(&y.mul(&weighted.sum(dims, true, None)?)?)?
        };
        Ok(smallvec![Some(grad)])
    }
}

impl Tensor {
    #[track_caller]
    fn scan(
        &self,
        what: Scan,
        dim: i64,
        dtype: Option<DType>,
        rule: impl FnOnce(usize) -> Op,
        saves: &[Save<'_>],
    ) -> Result<Self> {
        let x = match dtype {
            Some(dtype) => self.to_dtype(dtype)?,
            None => self.clone(),
        };
        let dim = norm_dim(dim, x.ndim())?;
        let output = Self::from_core(launch::cumulative(what, &x.shared_core(), dim)?);
        if output.dtype().is_float() && recording1(&x) {
            attach(rule(dim), &[&x], saves, &[&output])?;
        }
        match dtype {
            Some(dtype) => output.to_dtype(dtype),
            None => Ok(output),
        }
    }

    /// The running sum along a dimension; integers sum to int64.
    ///
    /// # Errors
    /// If the dimension is out of range.
    #[track_caller]
    pub fn cumsum(&self, dim: i64, dtype: Option<DType>) -> Result<Self> {
        self.scan(Scan::Sum, dim, dtype, |dim| Op::rule(CumSum { dim }), &[])
    }

    /// The running product along a dimension; integers multiply to int64.
    ///
    /// # Errors
    /// If the dimension is out of range.
    #[track_caller]
    pub fn cumprod(&self, dim: i64, dtype: Option<DType>) -> Result<Self> {
        let saves = [Save::Input(0), Save::Output(0)];
        self.scan(Scan::Product, dim, dtype, |dim| Op::rule(CumProd { dim }), &saves)
    }

    /// The running log(sum(exp)) along a dimension.
    ///
    /// # Errors
    /// If the dimension is out of range or the dtype is not floating point.
    #[track_caller]
    pub fn logcumsumexp(&self, dim: i64) -> Result<Self> {
        let saves = [Save::Input(0), Save::Output(0)];
        self.scan(Scan::LogSumExp, dim, None, |dim| Op::rule(LogCumSumExp { dim }), &saves)
    }

    /// The running maximum or minimum along a dimension, and where it is.
    ///
    /// # Errors
    /// If the dimension is out of range.
    #[track_caller]
    pub fn cumextreme(&self, extreme: Extreme, dim: i64) -> Result<(Self, Self)> {
        let dim = norm_dim(dim, self.ndim())?;
        let core = self.shared_core();
        let (values, indices) = launch::cumextreme(extreme, &core, dim)?;
        let (values, indices) = (Self::from_core(values), Self::from_core(indices));
        if values.dtype().is_float() && recording1(self) {
            let rule = Take {
                name: if extreme == Extreme::Max { "CummaxBackward0" } else { "CumminBackward0" },
                dim,
                size: self.size_along(dim),
                squeezed: false,
                shape: Dims::from_slice(core.shape()),
            };
            let saves = [Save::Private(&indices.shared_core())];
            attach(Op::rule(rule), &[self], &saves, &[&values])?;
        }
        Ok((values, indices))
    }

    /// softmax along a dimension, or with `log` its logarithm.
    ///
    /// # Errors
    /// If the dimension is out of range or the dtype is not floating point.
    #[track_caller]
    pub fn softmax(&self, log: bool, dim: i64, dtype: Option<DType>) -> Result<Self> {
        let x = match dtype {
            Some(dtype) => self.to_dtype(dtype)?,
            None => self.clone(),
        };
        let dim = norm_dim(dim, x.ndim())?;
        let output = Self::from_core(launch::softmax(log, &x.shared_core(), dim)?);
        if recording1(&x) {
            attach(Op::rule(Softmax { log, dim }), &[&x], &[Save::Output(0)], &[&output])?;
        }
        Ok(output)
    }
}
