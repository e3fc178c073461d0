//! Variance, norms, logsumexp, products and counts over dimensions.

use smallvec::smallvec;

use super::along::{keep, restore};
use super::binary::Binary;
use super::reduce::{dim_mask, kept_shape, reduced_count};
use super::unary::Unary;
use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, bail, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, recording1};
use crate::launch::{self, Reduction};
use crate::shape::norm_dim;
use crate::tensor::Tensor;

fn listed(mask: u64, ndim: usize) -> Vec<i64> {
    (0..ndim).filter(|dim| mask >> dim & 1 == 1).map(|dim| dim as i64).collect()
}

/// The mean over the dimensions of a mask, kept.
fn mean_over(x: &Tensor, mask: u64) -> Result<Tensor> {
    let dims = listed(mask, x.ndim());
    if dims.is_empty() { Ok(x.clone()) } else { x.mean(&dims, true, None) }
}

struct Variance {
    mask: u64,
    correction: f64,
    root: bool,
}

impl Rule for Variance {
    fn name(&self) -> &'static str {
        if self.root { "StdBackward0" } else { "VarBackward0" }
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        match name {
            "correction" => Some(SavedValue::Number(Scalar::Float(self.correction))),
            "dim" => Some(SavedValue::Dims(self.mask)),
            _ => None,
        }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let x = cx.saved(0)?;
        let shape = x.shape();
        let mut grad = restore(grad, &shape, self.mask)?;
        if self.root {
            let std = restore(&cx.saved(1)?, &shape, self.mask)?;
            // torch: no gradient where the deviation is zero.
            let slope = grad.div(&std.times(2.0)?)?;
            let zero = std.detach().compare(Binary::Ne, 0.0)?;
            grad = slope.or_else(&zero, 0.0)?;
        }
        let count = reduced_count(&shape, self.mask) as f64;
        let centred = x.sub(&mean_over(&x, self.mask)?)?;
        let grad = grad.times(2.0 / (count - self.correction).max(0.0))?.mul(&centred)?;
        Ok(smallvec![Some(grad)])
    }
}

/// The variance or deviation, and the mean.
struct VarianceAndMean(Variance);

impl Rule for VarianceAndMean {
    fn name(&self) -> &'static str {
        if self.0.root { "StdMeanBackward0" } else { "VarMeanBackward0" }
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        self.0.attribute(name)
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let of_spread = self.0.vjp(cx, &grads[..1])?.pop().flatten();
        let of_mean = match &grads[1] {
            Some(grad) => {
                let shape = cx.saved(0)?.shape();
                let count = reduced_count(&shape, self.0.mask) as f64;
                Some(restore(grad, &shape, self.0.mask)?.times(1.0 / count)?.expand_to(&shape)?)
            }
            None => None,
        };
        Ok(smallvec![match (of_spread, of_mean) {
            (Some(a), Some(b)) => Some(a.add(&b)?),
            (a, b) => a.or(b),
        }])
    }
}

struct LogSumExp {
    mask: u64,
}

impl Rule for LogSumExp {
    fn name(&self) -> &'static str {
        "LogsumexpBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "dim").then(|| SavedValue::Dims(self.mask))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let (x, y) = (cx.saved(0)?, cx.saved(1)?);
        let shape = x.shape();
        let y = restore(&y, &shape, self.mask)?;
        // An infinite result would meet an infinite element as inf - inf.
        let y = y.or_else(&y.detach().apply_unary(Unary::IsFinite)?, 0.0)?;
        let share = x.sub(&y)?.apply_unary(Unary::Exp)?;
        Ok(smallvec![Some(restore(grad, &shape, self.mask)?.mul(&share)?)])
    }
}

struct Norm {
    p: f64,
    mask: u64,
}

impl Rule for Norm {
    fn name(&self) -> &'static str {
        "LinalgVectorNormBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        match name {
            "dim" => Some(SavedValue::Dims(self.mask)),
            "ord" => Some(SavedValue::Number(Scalar::Float(self.p))),
            _ => None,
        }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let (x, y) = (cx.saved(0)?, cx.saved(1)?);
        let shape = x.shape();
        let grad = restore(grad, &shape, self.mask)?;
        let y = restore(&y, &shape, self.mask)?;
        let p = self.p;
        let grad = if p == 0.0 {
            Tensor::zeros(&shape, grad.dtype())?
        } else if p == 1.0 {
            grad.mul(&x.apply_unary(Unary::Sgn)?)?
        } else if p == 2.0 {
            let zero = y.detach().compare(Binary::Ne, 0.0)?;
            grad.mul(&x.div(&y)?.or_else(&zero, 0.0)?)?
        } else if p.is_infinite() {
            let size = x.apply_unary(Unary::Abs)?;
            let (sizes, top) = (size.detach(), y.detach());
            let mut hits = sizes.binary(Binary::Eq, &top, 1.0)?;
            if top.apply_unary(Unary::IsNan)?.any_true()? {
                hits = sizes.apply_unary(Unary::IsNan)?.binary(Binary::LogicalOr, &hits, 1.0)?;
            }
            let hits = hits.to_dtype(grad.dtype())?;
            let dims = listed(self.mask, shape.len());
            let count = if dims.is_empty() { hits.clone() } else { hits.sum(&dims, true, None)? };
            grad.div(&count)?.mul(&x.apply_unary(Unary::Sgn)?)?.mul(&hits)?
        } else {
            let zero = y.detach().compare(Binary::Ne, 0.0)?;
            let power = |t: &Tensor, e: f64| t.binary_scalar(Binary::Pow, Scalar::Float(e), false);
            let scaled = if p < 2.0 {
                let size = power(&x.apply_unary(Unary::Abs)?, p - 1.0)?;
                let own = x.detach().compare(Binary::Ne, 0.0)?;
                x.apply_unary(Unary::Sgn)?.mul(&size)?.or_else(&own, 0.0)?
            } else {
                x.mul(&power(&x.apply_unary(Unary::Abs)?, p - 2.0)?)?
            };
            let scale = grad.div(&power(&y, p - 1.0)?)?.or_else(&zero, 0.0)?;
            scaled.mul(&scale)?
        };
        Ok(smallvec![Some(grad)])
    }
}

struct NanSum {
    mask: u64,
}

impl Rule for NanSum {
    fn name(&self) -> &'static str {
        "NansumBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "dim").then_some(SavedValue::Dims(self.mask))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let x = cx.saved(0)?.detach();
        let number = x.binary(Binary::Eq, &x, 1.0)?;
        let grad = restore(grad, &x.shape(), self.mask)?.expand_to(&x.shape())?;
        Ok(smallvec![Some(grad.or_else(&number, 0.0)?)])
    }
}

struct Product {
    name: &'static str,
    mask: u64,
}

impl Rule for Product {
    fn name(&self) -> &str {
        self.name
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        let one = name == "dim" && self.name.ends_with('1');
        one.then(|| SavedValue::Int(i64::from(self.mask.trailing_zeros() % 64)))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let (x, y) = (cx.saved(0)?, cx.saved(1)?);
        let shape = x.shape();
        let grad = restore(grad, &shape, self.mask)?;
        if !x.detach().compare(Binary::Eq, 0.0)?.any_true()? {
            let y = restore(&y, &shape, self.mask)?;
            return Ok(smallvec![Some(grad.mul(&y)?.div(&x)?)]);
        }
        let others = if shape.is_empty() {
            Tensor::ones(&shape, x.dtype())?
        } else if listed(self.mask, shape.len()).len() == shape.len() {
            products_of_others(&x.reshape_to(&[x.numel()])?)?.reshape_to(&shape)?
        } else {
            let dim = self.mask.trailing_zeros() as i64;
            let last = x.transpose(dim, -1)?;
            products_of_others(&last)?.transpose(dim, -1)?
        };
        Ok(smallvec![Some(grad.mul(&others)?)])
    }
}

/// For each element, the product of the others along the last dimension: a tree of products up,
/// and one of products of others down. No division, so zeros do no harm.
fn products_of_others(x: &Tensor) -> Result<Tensor> {
    let shape = x.shape();
    let Some((&n, lead)) = shape.split_last() else { return Tensor::ones(&shape, x.dtype()) };
    if n == 0 {
        return Ok(x.clone());
    }
    let rows: usize = lead.iter().product();
    let width = n.next_power_of_two();
    let index: Vec<i64> = (0..width).map(|i| i.min(n - 1) as i64).collect();
    let index = Tensor::from_slice(&index, &[1, width])?.expand_to(&[rows, width])?;
    let inside: Vec<crate::Bool> = (0..width).map(|i| (i < n).into()).collect();
    let inside = Tensor::from_slice(&inside, &[width])?;
    let mut level = x.reshape_to(&[rows, n])?.take_along(1, &index)?.or_else(&inside, 1.0)?;
    let mut levels = Vec::new();
    let mut size = width;
    while size > 1 {
        let half = size / 2;
        let (low, high) = (level.span(1, 0, half)?, level.span(1, half, size)?);
        level = low.mul(&high)?;
        levels.push((low, high));
        size = half;
    }
    let mut others = Tensor::ones(&[rows, 1], x.dtype())?;
    let first = Tensor::from_slice(&[crate::Bool::from(true), false.into()], &[2, 1])?;
    for (low, high) in levels.iter().rev() {
        let half = low.shape()[1];
        let (of_low, of_high) = (others.mul(high)?.unsqueeze(1)?, others.mul(low)?.unsqueeze(1)?);
        others = first.where_(&of_low, &of_high)?.reshape_to(&[rows, 2 * half])?;
    }
    others.span(1, 0, n)?.reshape_to(&shape)
}

impl Tensor {
    /// Runs a reduction and records its rule, which sees input and output.
    #[track_caller]
    fn reduced(
        &self,
        what: Reduction,
        mask: u64,
        keepdim: bool,
        rule: impl FnOnce() -> Op,
    ) -> Result<Self> {
        let core = self.core();
        let output = launch::reduce(what, &core, mask)?;
        let output = Self::from_core(keep(output, core.shape(), mask, keepdim)?);
        if output.dtype().is_float() && recording1(self) {
            attach(rule(), &[self], &[Save::Input(0), Save::Output(0)], &[&output])?;
        }
        Ok(output)
    }

    /// The variance over some dimensions (all if none are named), or with `root` the standard
    /// deviation; `correction` is taken off the count.
    ///
    /// # Errors
    /// If a dimension is out of range or named twice, or the dtype is not floating point.
    #[track_caller]
    pub fn var(&self, dims: &[i64], correction: f64, keepdim: bool, root: bool) -> Result<Self> {
        ensure!(
            self.dtype().is_float(),
            runtime,
            "std and var only support floating point and complex dtypes"
        );
        let mask = dim_mask(dims, self.ndim())?;
        self.reduced(Reduction::Var { correction, root }, mask, keepdim, || {
            Op::rule(Variance { mask, correction, root })
        })
    }

    /// log(sum(exp)) over some dimensions; integers become floats.
    ///
    /// # Errors
    /// If a dimension is out of range or named twice.
    #[track_caller]
    pub fn logsumexp(&self, dims: &[i64], keepdim: bool) -> Result<Self> {
        let x = self.as_float()?;
        let mask = dim_mask(dims, x.ndim())?;
        x.reduced(Reduction::LogSumExp, mask, keepdim, || Op::rule(LogSumExp { mask }))
    }

    /// The p-norm of the elements over some dimensions (all if none are named).
    ///
    /// # Errors
    /// If a dimension is out of range or named twice, the dtype is not floating point, or there
    /// is no least or greatest of nothing.
    #[track_caller]
    pub fn vector_norm(
        &self,
        p: f64,
        dims: &[i64],
        keepdim: bool,
        dtype: Option<DType>,
    ) -> Result<Self> {
        ensure!(
            self.dtype().is_float(),
            runtime,
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got {}",
            self.dtype().scalar_name()
        );
        let x = match dtype {
            Some(dtype) => self.to_dtype(dtype)?,
            None => self.clone(),
        };
        let mask = dim_mask(dims, x.ndim())?;
        if (p == f64::INFINITY || p < 0.0) && x.numel() == 0 {
            let shape = x.shape();
            ensure!(
                !dims.is_empty() && reduced_count(&shape, mask) > 0,
                runtime,
                "linalg.vector_norm cannot compute the {} norm on an empty tensor because the \
                 operation does not have an identity",
                if p == f64::INFINITY { "inf".to_owned() } else { p.to_string() }
            );
        }
        if p.is_infinite() || [0.0, 1.0, 2.0].contains(&p) {
            return x.reduced(Reduction::Norm(p), mask, keepdim, || Op::rule(Norm { p, mask }));
        }
        // Powers of whole blocks, not one by one.
        let power = |t: &Self, p: f64| t.binary_scalar(Binary::Pow, Scalar::Float(p), false);
        let powers = power(&x.detach().apply_unary(Unary::Abs)?, p)?;
        let sums = launch::reduce(Reduction::Sum, &powers.core(), mask)?;
        let sums = Self::from_core(keep(sums, powers.core().shape(), mask, keepdim)?);
        let output = power(&sums, 1.0 / p)?;
        if recording1(&x) {
            let saves = [Save::Input(0), Save::Output(0)];
            attach(Op::rule(Norm { p, mask }), &[&x], &saves, &[&output])?;
        }
        Ok(output)
    }

    /// The product of all elements, or along a dimension; integers multiply to int64.
    ///
    /// # Errors
    /// If the dimension is out of range.
    #[track_caller]
    pub fn prod(&self, dim: Option<i64>, keepdim: bool, dtype: Option<DType>) -> Result<Self> {
        let x = match dtype {
            Some(dtype) => self.to_dtype(dtype)?,
            None => self.clone(),
        };
        let (mask, name) = match dim {
            Some(dim) => (dim_mask(&[dim], x.ndim())?, "ProdBackward1"),
            None => (dim_mask(&[], x.ndim())?, "ProdBackward0"),
        };
        let output =
            x.reduced(Reduction::Prod, mask, keepdim, || Op::rule(Product { name, mask }))?;
        match dtype {
            Some(dtype) => output.to_dtype(dtype),
            None => Ok(output),
        }
    }

    /// Whether all elements are true (`any`: whether any is) over some dimensions.
    ///
    /// # Errors
    /// If a dimension is out of range or named twice.
    pub fn all_or_any(&self, any: bool, dims: &[i64], keepdim: bool) -> Result<Self> {
        let core = self.core();
        let mask = dim_mask(dims, core.shape().len())?;
        let what = if any { Reduction::Any } else { Reduction::All };
        let output = launch::reduce(what, &core, mask)?;
        let output = Self::from_core(keep(output, core.shape(), mask, keepdim)?);
        // torch keeps uint8 for historical reasons.
        if core.dtype() == DType::U8 { output.to_dtype(DType::U8) } else { Ok(output) }
    }

    /// How many elements are not zero, over some dimensions.
    ///
    /// # Errors
    /// If a dimension is out of range or named twice.
    pub fn count_nonzero(&self, dims: &[i64]) -> Result<Self> {
        let core = self.core();
        let mask = dim_mask(dims, core.shape().len())?;
        Ok(Self::from_core(launch::reduce(Reduction::CountNonzero, &core, mask)?))
    }

    /// The sum of what is not NaN.
    ///
    /// # Errors
    /// As for [`Self::sum`].
    #[track_caller]
    pub fn nansum(&self, dims: &[i64], keepdim: bool, dtype: Option<DType>) -> Result<Self> {
        if !self.dtype().is_float() {
            return self.sum(dims, keepdim, dtype);
        }
        Ok(self.nansum_of(dims, keepdim, dtype)?.0)
    }

    /// The sum of what is not NaN, and what is a number if not all is.
    #[track_caller]
    fn nansum_of(
        &self,
        dims: &[i64],
        keepdim: bool,
        dtype: Option<DType>,
    ) -> Result<(Self, Option<Self>)> {
        let x = match dtype {
            Some(dtype) => self.to_dtype(dtype)?,
            None => self.clone(),
        };
        let plain = x.detach();
        let mut output = plain.sum(dims, keepdim, None)?;
        let mut number = None;
        // A sum that is a number is one of numbers.
        if output.apply_unary(Unary::IsNan)?.any_true()? {
            let is = plain.binary(Binary::Eq, &plain, 1.0)?;
            output = plain.or_else(&is, 0.0)?.sum(dims, keepdim, None)?;
            number = Some(is);
        }
        if recording1(&x) {
            let rule = NanSum { mask: dim_mask(dims, x.ndim())? };
            attach(Op::rule(rule), &[&x], &[Save::Input(0)], &[&output])?;
        }
        Ok((output, number))
    }

    /// The mean of what is not NaN.
    ///
    /// # Errors
    /// As for [`Self::mean`].
    #[track_caller]
    pub fn nanmean(&self, dims: &[i64], keepdim: bool, dtype: Option<DType>) -> Result<Self> {
        ensure!(
            self.dtype().is_float(),
            runtime,
            "nanmean(): expected input to have floating point or complex dtype but got {}",
            self.dtype().scalar_name()
        );
        let (sum, number) = self.nansum_of(dims, keepdim, dtype)?;
        let count = match number {
            Some(number) => number.sum(dims, keepdim, None)?,
            None => {
                let count = reduced_count(&self.shape(), dim_mask(dims, self.ndim())?);
                Self::from_scalar(Scalar::Int(count as i64), DType::I64)?
            }
        };
        sum.div(&count)
    }

    /// The variance (or deviation) and the mean together.
    ///
    /// # Errors
    /// As for [`Self::var`].
    #[track_caller]
    pub fn var_mean(
        &self,
        dims: &[i64],
        correction: f64,
        keepdim: bool,
        root: bool,
    ) -> Result<(Self, Self)> {
        let plain = self.detach();
        let spread = plain.var(dims, correction, keepdim, root)?;
        let mean = plain.mean(dims, keepdim, None)?;
        if recording1(self) {
            let mask = dim_mask(dims, self.ndim())?;
            let rule = VarianceAndMean(Variance { mask, correction, root });
            let saves = [Save::Input(0), Save::Output(0)];
            attach(Op::rule(rule), &[self], &saves, &[&spread, &mean])?;
        }
        Ok((spread, mean))
    }

    /// The sum of the diagonal of a matrix.
    ///
    /// # Errors
    /// If this is not a matrix.
    #[track_caller]
    pub fn trace(&self) -> Result<Self> {
        ensure!(
            self.ndim() == 2,
            runtime,
            "trace: expected a matrix, but got tensor with dim {}",
            self.ndim()
        );
        let shape = self.shape();
        self.linear_map(
            "TraceBackward0",
            |this| this.diagonal(0, 0, 1)?.sum(&[], false, None),
            move |grad| Self::eye(shape[0], shape[1], grad.dtype())?.mul(grad),
        )
    }

    /// The differences of neighbours along a dimension, `n` times over.
    ///
    /// # Errors
    /// If the dimension is out of range or the tensor is a scalar.
    #[track_caller]
    pub fn diff(
        &self,
        n: i64,
        dim: i64,
        prepend: Option<&Self>,
        append: Option<&Self>,
    ) -> Result<Self> {
        ensure!(self.ndim() > 0, runtime, "diff expects input to be at least one-dimensional");
        ensure!(n >= 0, runtime, "order must be non-negative but got {n}");
        let dim = norm_dim(dim, self.ndim())?;
        if n == 0 {
            return self.copied();
        }
        for more in [prepend, append].into_iter().flatten() {
            ensure!(
                more.ndim() == self.ndim(),
                runtime,
                "diff expects prepend or append to be the same dimension as input"
            );
        }
        let parts: Vec<&Self> = prepend.into_iter().chain([self]).chain(append).collect();
        let mut x = match parts[..] {
            [only] => only.clone(),
            _ => super::join::cat(&parts, dim as i64)?,
        };
        for _ in 0..n {
            let size = x.size_along(dim);
            if size == 0 {
                break;
            }
            let (ahead, behind) = (x.span(dim, 1, size)?, x.span(dim, 0, size - 1)?);
            let kind = if x.dtype() == DType::Bool { Binary::LogicalXor } else { Binary::Sub };
            x = ahead.binary(kind, &behind, 1.0)?;
        }
        Ok(x)
    }

    /// The norm of the Frobenius kind or of a number, for torch's `norm`.
    ///
    /// # Errors
    /// If there is no such norm.
    #[track_caller]
    pub fn named_norm(&self, p: &str, dims: &[i64], keepdim: bool) -> Result<Self> {
        match p {
            "fro" => self.vector_norm(2.0, dims, keepdim, None),
            "nuc" => {
                let n = self.ndim();
                let dims: Vec<i64> =
                    if dims.is_empty() { (0..n as i64).collect() } else { dims.to_vec() };
                ensure!(dims.len() == 2, runtime, "the nuclear norm takes two dimensions");
                let (rows, columns) = (norm_dim(dims[0], n)?, norm_dim(dims[1], n)?);
                ensure!(rows != columns, runtime, "the dimensions of a norm must differ");
                let mut order: Vec<usize> =
                    (0..n).filter(|&dim| dim != rows && dim != columns).collect();
                order.extend([rows, columns]);
                let [_, values, _] = self.permute_to(&order)?.linalg_svd(false)?;
                let sums = values.sum(&[-1], false, None)?;
                if !keepdim {
                    return Ok(sums);
                }
                let (first, second) = (rows.min(columns) as i64, rows.max(columns) as i64);
                sums.unsqueeze(first)?.unsqueeze(second)
            }
            _ => bail!(runtime, "Unsupported norm: {p}"),
        }
    }

    /// The shape with some dimensions of size one.
    pub fn kept_shape(&self, dims: &[i64]) -> Result<crate::shape::Dims> {
        Ok(kept_shape(&self.shape(), dim_mask(dims, self.ndim())?))
    }
}
