//! Sorting and what picks elements by their order.

use super::Op;
use super::along::{Take, check_not_empty, take};
use super::binary::Binary;
use super::unary::Unary;
use crate::dtype::{DType, Scalar};
use crate::error::{Result, bail, ensure};
use crate::graph::{Save, attach, recording1};
pub use crate::kernels::sort::Rank;
use crate::launch;
use crate::shape::{Dims, norm_dim};
use crate::tensor::Tensor;

/// Lines from this length on are not sorted for one quantile.
const SELECTED: usize = 256;

impl Tensor {
    /// Hangs the rule of picking along a dimension on freshly made values.
    #[track_caller]
    fn picked(
        &self,
        name: &'static str,
        dim: usize,
        squeezed: bool,
        values: &Self,
        indices: &Self,
    ) -> Result<()> {
        if values.dtype().is_float() && recording1(self) {
            let shape = Dims::from_slice(self.core().shape());
            let rule = Take { name, dim, size: self.size_along(dim), squeezed, shape };
            let saves = [Save::Private(&indices.shared_core())];
            attach(Op::rule(rule), &[self], &saves, &[values])?;
        }
        Ok(())
    }

    /// The elements in order along a dimension, and where each was; equal ones keep their order,
    /// NaN is the greatest.
    ///
    /// # Errors
    /// If the dimension is out of range.
    #[track_caller]
    pub fn sort(&self, dim: i64, descending: bool) -> Result<(Self, Self)> {
        let dim = norm_dim(dim, self.ndim())?;
        let (values, indices) = launch::sort(&self.shared_core(), dim, descending)?;
        let (values, indices) = (Self::from_core(values), Self::from_core(indices));
        self.picked("SortBackward0", dim, false, &values, &indices)?;
        Ok((values, indices))
    }

    /// The `k` greatest (or least) along a dimension, and where they are.
    ///
    /// # Errors
    /// If the dimension is out of range or has fewer than `k` elements.
    #[track_caller]
    pub fn topk(&self, k: i64, dim: i64, largest: bool, sorted: bool) -> Result<(Self, Self)> {
        ensure!(
            self.dtype() != DType::Bool,
            not_implemented,
            "\"topk_cpu\" not implemented for 'Bool'"
        );
        let dim = norm_dim(dim, self.ndim())?;
        ensure!(
            k >= 0 && k as usize <= self.size_along(dim),
            runtime,
            "selected index k out of range"
        );
        let (values, indices) =
            launch::topk(&self.shared_core(), dim, k as usize, largest, sorted)?;
        let (values, indices) = (Self::from_core(values), Self::from_core(indices));
        self.picked("TopkBackward0", dim, false, &values, &indices)?;
        Ok((values, indices))
    }

    /// One element of each line by its rank, and where it is.
    ///
    /// # Errors
    /// If the dimension is out of range or empty, or `k` is.
    #[track_caller]
    pub fn rank_select(&self, rank: Rank, dim: i64, keepdim: bool) -> Result<(Self, Self)> {
        let (name, node) = match rank {
            Rank::Kth(_) => ("kthvalue", "KthvalueBackward0"),
            Rank::Median => ("median", "MedianBackward1"),
            Rank::NanMedian => ("nanmedian", "NanmedianBackward1"),
            Rank::Mode => ("mode", "ModeBackward0"),
        };
        ensure!(
            self.dtype() != DType::Bool || matches!(rank, Rank::Mode),
            not_implemented,
            "\"{name}_cpu\" not implemented for 'Bool'"
        );
        let core = self.shared_core();
        let dim = norm_dim(dim, core.shape().len())?;
        check_not_empty(name, core.shape(), dim)?;
        if let Rank::Kth(k) = rank {
            ensure!(
                k < self.size_along(dim),
                runtime,
                "kthvalue(): selected number k out of range for dimension {dim}"
            );
        }
        let (values, indices) = launch::select(rank, &core, dim)?;
        let mut shape = Dims::from_slice(core.shape());
        match (keepdim, shape.get_mut(dim)) {
            (_, None) => {}
            (true, Some(size)) => *size = 1,
            (false, Some(_)) => {
                shape.remove(dim);
            }
        }
        let strides = crate::shape::contiguous_strides(&shape);
        let values = Self::from_core(values.into_layout(&shape, &strides)?);
        let indices = Self::from_core(indices.into_layout(&shape, &strides)?);
        self.picked(node, dim, !keepdim, &values, &indices)?;
        Ok((values, indices))
    }

    /// The lower median of all elements; NaN if there is one, unless they are to be left out.
    ///
    /// # Errors
    /// If the dtype is bool.
    #[track_caller]
    pub fn median_all(&self, ignore_nan: bool) -> Result<Self> {
        if self.numel() == 0 {
            let value = if self.dtype().is_float() { f64::NAN } else { 0.0 };
            return Self::from_scalar(Scalar::Float(value), self.dtype());
        }
        let rank = if ignore_nan { Rank::NanMedian } else { Rank::Median };
        let value = self.detach().reshape_to(&[self.numel()])?.rank_select(rank, 0, false)?.0;
        let node = if ignore_nan { "NanmedianBackward0" } else { "MedianBackward0" };
        self.share_gradient(node, &value)?;
        Ok(value)
    }

    /// The values below which the fractions `q` of the elements lie, in all or along a dimension.
    ///
    /// # Errors
    /// If a fraction lies outside [0, 1], the dtypes differ, or there is nothing.
    #[track_caller]
    pub fn quantile(
        &self,
        q: &Self,
        dim: Option<i64>,
        keepdim: bool,
        interpolation: &str,
        ignore_nan: bool,
    ) -> Result<Self> {
        ensure!(self.numel() > 0, runtime, "quantile() input tensor must be non-empty");
        ensure!(q.ndim() <= 1, runtime, "quantile() q must be a scalar or 1D tensor");
        ensure!(
            self.dtype().is_float(),
            runtime,
            "quantile() input tensor must be either float or double dtype"
        );
        ensure!(
            self.dtype() == q.dtype(),
            runtime,
            "quantile() q tensor must be same dtype as the input tensor"
        );
        let outside = q.detach().compare(Binary::Lt, 0.0)?.binary(
            Binary::LogicalOr,
            &q.detach().compare(Binary::Gt, 1.0)?,
            1.0,
        )?;
        ensure!(!outside.any_true()?, runtime, "quantile() q values must be in the range [0, 1]");
        let shape = self.shape();
        let (x, at) = match dim {
            None => (self.reshape_to(&[self.numel()])?, None),
            Some(_) if shape.is_empty() => (self.unsqueeze(0)?, None),
            Some(dim) => {
                let dim = norm_dim(dim, shape.len())?;
                let mut order: Vec<usize> = (0..shape.len()).filter(|&d| d != dim).collect();
                order.push(dim);
                (self.permute_to(&order)?, Some(dim))
            }
        };
        let dim = x.ndim() - 1;
        let n = x.size_along(dim);
        // Per line: how many elements count, and whether NaN decides.
        let fractions = q.reshape_to(&[q.numel()])?;
        let nan = x.detach().apply_unary(Unary::IsNan)?;
        let nans = nan.sum(&[-1], true, None)?;
        let last = if ignore_nan {
            nans.binary_scalar(Binary::Sub, Scalar::Int(n as i64 - 1), true)?
                .binary_scalar(Binary::Maximum, Scalar::Int(0), false)?
                .to_dtype(self.dtype())?
        } else {
            Self::full(&nans.shape(), Scalar::Int(n as i64 - 1), self.dtype())?
        };
        let position = fractions.mul(&last)?;
        let position = match interpolation {
            "lower" => position.apply_unary(Unary::Floor)?,
            "higher" => position.apply_unary(Unary::Ceil)?,
            "nearest" => position.apply_unary(Unary::Round)?,
            "linear" | "midpoint" => position,
            _ => bail!(
                runtime,
                "quantile() interpolation must be one of linear, lower, higher, midpoint or \
                 nearest, but got {interpolation}"
            ),
        };
        // One place is found faster than all; where it is must be the same for all lines.
        let sorted = if q.numel() == 1 && !ignore_nan && n >= SELECTED {
            None
        } else {
            Some(x.sort(-1, false)?.0)
        };
        let pick = |places: &Self| {
            let places = places.to_dtype(DType::I64)?;
            match &sorted {
                Some(sorted) => take(sorted, dim, &places.shared_core()),
                None => {
                    let place = places.to_vec::<i64>()?.first().map_or(0, |&at| at.max(0) as usize);
                    Ok(x.rank_select(Rank::Kth(place.min(n - 1)), -1, true)?.0)
                }
            }
        };
        let below = position.detach().apply_unary(Unary::Floor)?;
        let low = pick(&below)?;
        let mut result = if matches!(interpolation, "linear" | "midpoint") {
            let above = position.detach().apply_unary(Unary::Ceil)?;
            let high = pick(&above)?;
            let weight = if interpolation == "midpoint" {
                Self::full(&[], Scalar::Float(0.5), self.dtype())?
            } else {
                position.sub(&below)?
            };
            low.add(&high.sub(&low)?.mul(&weight)?)?
        } else {
            low
        };
        if !ignore_nan && nan.any_true()? {
            result = result.or_else(&nans.compare(Binary::Eq, 0.0)?, f64::NAN)?;
        }
        // The fractions come first.
        let order: Vec<usize> = std::iter::once(dim).chain(0..dim).collect();
        let mut result = result.permute_to(&order)?;
        if keepdim {
            result = match at {
                Some(at) => result.unsqueeze(at as i64 + 1)?,
                None => {
                    let mut kept = Dims::from_slice(&[q.numel()]);
                    kept.extend(shape.iter().map(|_| 1));
                    result.reshape_to(&kept)?
                }
            };
        }
        if q.ndim() == 0 { result.squeeze(Some(&[0])) } else { Ok(result) }
    }
}
