//! One index per element: `gather` and the scatter family.

use smallvec::smallvec;

use super::binary::Binary;
use super::index::as_index;
use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::Scalar;
use crate::error::{Result, bail, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, is_grad_enabled, recording, recording1};
use crate::launch::index::{self as launch, Combine, ScatterReduction};
use crate::shape::{Dims, norm_dim, shape_text};
use crate::tensor::Tensor;

struct Gather {
    dim: i64,
    input: Dims,
}

impl Rule for Gather {
    fn name(&self) -> &'static str {
        "GatherBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        match name {
            "dim" => Some(SavedValue::Int(self.dim)),
            "sparse_grad" => Some(SavedValue::Bool(false)),
            _ => None,
        }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        if cx.node().saved_roles().get(1).is_some_and(Option::is_some) {
            // Only the shape matters, but as in torch the input must not have been written.
            cx.saved(1)?;
        }
        let index = cx.saved(0)?;
        if !recording1(grad) && !self.input.is_empty() {
            let dim = norm_dim(self.dim, self.input.len())?;
            let made = super::along::put(grad, dim, &index.shared_core(), &self.input)?;
            return Ok(smallvec![Some(made)]);
        }
        let zeros = Tensor::zeros(&self.input, grad.dtype())?;
        Ok(smallvec![Some(zeros.scattered(self.dim, &index, grad, Meet::Add, true)?)])
    }
}

/// How sources meet what they find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meet {
    /// They replace it.
    Set,
    /// They are added.
    Add,
    /// They are multiplied.
    Multiply,
    /// `scatter_reduce`'s sum; `true`: with what is there.
    Sum(bool),
    /// Its product.
    Prod(bool),
    /// Its mean.
    Mean(bool),
    /// Its maximum.
    Amax(bool),
    /// Its minimum.
    Amin(bool),
}

const SEVERAL_ZEROS: &str = "scatter_reduce(): Double backward is unsupported for src when >1 zeros \
     in src are scattered to the same position in self";

struct Scatter {
    dim: i64,
    meet: Meet,
}

impl Rule for Scatter {
    fn name(&self) -> &'static str {
        match self.meet {
            Meet::Set => "ScatterBackward0",
            Meet::Add => "ScatterAddBackward0",
            _ => "ScatterReduceBackward0",
        }
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        let (reduce, include) = match self.meet {
            Meet::Set | Meet::Add | Meet::Multiply => (None, true),
            Meet::Sum(include) => (Some("sum"), include),
            Meet::Prod(include) => (Some("prod"), include),
            Meet::Mean(include) => (Some("mean"), include),
            Meet::Amax(include) => (Some("amax"), include),
            Meet::Amin(include) => (Some("amin"), include),
        };
        match name {
            "dim" => Some(SavedValue::Int(self.dim)),
            "reduce" => reduce.map(SavedValue::Text),
            "include_self" => reduce.map(|_| SavedValue::Bool(include)),
            _ => None,
        }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None, None]) };
        if self.meet == Meet::Add && !cx.needs(1) {
            return Ok(smallvec![Some(grad.clone()), None]);
        }
        let index = cx.saved(0)?;
        let (dim, zero) = (self.dim, Tensor::scalar(0.0)?.to_dtype(grad.dtype())?);
        let cleared = |grad: &Tensor| grad.scatter(dim, &index, &zero, Meet::Set);
        let listed = |this: Option<Tensor>, source: Option<Tensor>| -> GradList {
            let mut list: GradList = smallvec![this];
            if cx.node().edges().len() > 1 {
                list.push(source);
            }
            list
        };
        let (this, source) = match self.meet {
            Meet::Set | Meet::Add | Meet::Sum(_) => {
                let stays = matches!(self.meet, Meet::Add | Meet::Sum(true));
                let this = || if stays { Ok(grad.clone()) } else { cleared(grad) };
                let this = cx.needs(0).then(this).transpose()?;
                let source = cx.needs(1).then(|| grad.gather(dim, &index)).transpose()?;
                return Ok(listed(this, source));
            }
            Meet::Mean(include) => {
                let start = i64::from(include);
                let counts = Tensor::full(&grad.shape(), Scalar::Int(start), grad.dtype())?;
                let ones = Tensor::ones(&index.shape(), grad.dtype())?;
                let counts = counts.scatter_add(dim, &index, &ones)?;
                let one = Tensor::ones(&[], grad.dtype())?;
                let counts = counts.maximum(&one)?;
                let share = grad.div(&counts)?;
                let this = if include { share.clone() } else { cleared(grad)? };
                (this, share.gather(dim, &index)?)
            }
            Meet::Amax(include) | Meet::Amin(include) => {
                let (this, source, out) = (cx.saved(1)?, cx.saved(2)?, cx.saved(3)?);
                let narrow = narrow_to(&source, &index.shape())?;
                let mine = this.eq(&out)?.to_dtype(grad.dtype())?;
                let mine = if include { mine } else { cleared(&mine)? };
                let theirs = narrow.eq(&out.gather(dim, &index)?)?.to_dtype(grad.dtype())?;
                let count = mine.scatter_add(dim, &index, &theirs)?;
                let one = Tensor::ones(&[], grad.dtype())?;
                let share = grad.div(&count.maximum(&one)?)?;
                let self_grad = if include { share.mul(&mine)? } else { cleared(grad)? };
                (self_grad, share.gather(dim, &index)?.mul(&theirs)?)
            }
            Meet::Multiply | Meet::Prod(_) => {
                let include = self.meet != Meet::Prod(false);
                let (this, source, out) = (cx.saved(1)?, cx.saved(2)?, cx.saved(3)?);
                let one = Tensor::ones(&[], grad.dtype())?;
                let zero_at = this.eq(&zero)?;
                let narrow = narrow_to(&source, &index.shape())?;
                let base = zero_at.where_(&one, &this)?;
                let others = base.scatter(dim, &index, &narrow, Meet::Prod(include))?;
                let this_grad =
                    if include { grad.mul(&others)?.div(&base)? } else { cleared(grad)? };
                // Where a source is zero, the product of the others is formed without it; where
                // two or more are, the gradient is zero.
                let none = narrow.eq(&zero)?;
                let zeros = Tensor::zeros(&grad.shape(), grad.dtype())?.scatter_add(
                    dim,
                    &index,
                    &none.to_dtype(grad.dtype())?,
                )?;
                let single = zeros.gather(dim, &index)?.eq(&one)?;
                let safe = none.where_(&one, &narrow)?;
                let rest = this.scatter(dim, &index, &safe, Meet::Prod(include))?;
                let alone = grad.mul(&rest)?.gather(dim, &index)?;
                let alone = single.where_(&alone, &zero)?;
                let plain = grad.mul(&out)?.gather(dim, &index)?.div(&safe)?;
                let mut theirs = none.where_(&alone, &plain)?;
                if is_grad_enabled() && zeros.detach().compare(Binary::Gt, 1.0)?.any_true()? {
                    // Zeros meet zeros: what each would have been without the others is lost.
                    let refused = crate::graph::delayed_error(SEVERAL_ZEROS, &[theirs.clone()])?;
                    theirs = refused.into_iter().next().unwrap_or(theirs);
                }
                (this_grad, theirs)
            }
        };
        Ok(listed(cx.needs(0).then_some(this), cx.needs(1).then_some(source)))
    }
}

fn narrow_to(tensor: &Tensor, shape: &[usize]) -> Result<Tensor> {
    if tensor.ndim() != shape.len() {
        return Ok(tensor.clone());
    }
    let mut tensor = tensor.clone();
    for (dim, &n) in shape.iter().enumerate() {
        if tensor.shape()[dim] != n {
            tensor = tensor.slice(dim as i64, 0, n as i64, 1)?;
        }
    }
    Ok(tensor)
}

impl Tensor {
    /// `self[p with p[dim] = index[p]]` for every place of `index`.
    ///
    /// # Errors
    /// If the index does not fit or is out of range.
    #[track_caller]
    pub fn gather(&self, dim: i64, index: &Self) -> Result<Self> {
        let at = norm_dim(dim, self.ndim())?;
        let index = as_index("gather", index)?;
        let (this, index) = if self.ndim() == 0 || index.ndim() == 0 {
            let shape = index.shape();
            let lone = |t: &Self| if t.ndim() == 0 { t.reshape_to(&[1]) } else { Ok(t.clone()) };
            ensure!(
                self.ndim() <= 1 && index.ndim() <= 1,
                runtime,
                "Index tensor must have the same number of dimensions as input tensor"
            );
            if self.ndim() + index.ndim() > 0 || self.requires_grad() {
                return lone(self)?.gather(0, &lone(&index)?)?.reshape_to(&shape);
            }
            (lone(self)?, lone(&index)?)
        } else {
            (self.clone(), index)
        };
        if index.numel() == 0 {
            let output = Self::zeros(&index.shape(), this.dtype())?;
            if recording1(&this) {
                let rule = Gather { dim, input: this.shape() };
                attach(Op::rule(rule), &[&this], &[Save::Private(&index.core())], &[&output])?;
            }
            return Ok(output);
        }
        ensure!(
            index.ndim() == this.ndim(),
            runtime,
            "Index tensor must have the same number of dimensions as input tensor"
        );
        for (d, (&n, &m)) in index.shape().iter().zip(&this.shape()).enumerate() {
            ensure!(
                d == at || n <= m,
                runtime,
                "Size does not match at dimension {d} expected index {} to be no larger than self \
                 {} apart from dimension {at}",
                shape_text(&index.shape()),
                shape_text(&this.shape())
            );
        }
        let indices = index.core();
        let out = launch::gather(&this.core(), at, &indices).map_err(bounds)?;
        let output = Self::from_core(out);
        if recording1(&this) {
            let rule = Gather { dim, input: this.shape() };
            // The input is saved as torch saves it: a write to it is an error there.
            let saves = [Save::Private(&indices), Save::Input(0)];
            attach(Op::rule(rule), &[&this], &saves, &[&output])?;
        }
        Ok(output)
    }

    /// [`Self::scatter`], adding.
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn scatter_add(&self, dim: i64, index: &Self, source: &Self) -> Result<Self> {
        self.scatter(dim, index, source, Meet::Add)
    }

    /// A copy with every place of `index` written: `out[p with p[dim] = index[p]]` meets
    /// `source[p]` (or the one number of a 0-d source).
    ///
    /// # Errors
    /// If shapes or dtypes do not fit, or an index is out of range.
    #[track_caller]
    pub fn scatter(&self, dim: i64, index: &Self, source: &Self, meet: Meet) -> Result<Self> {
        self.scattered(dim, index, source, meet, false)
    }

    /// [`Self::scatter`] in place; `name` is for messages.
    ///
    /// # Errors
    /// As there, or if this tensor may not be written.
    #[track_caller]
    pub fn scatter_(
        &self,
        name: &str,
        dim: i64,
        index: &Self,
        source: &Self,
        meet: Meet,
    ) -> Result<()> {
        // The other rules need what was there.
        let over = matches!(meet, Meet::Set | Meet::Add) || !recording(&[self, source]);
        self.inplace(name, |this| this.scattered(dim, index, source, meet, over))
    }

    /// The result is this tensor itself where it can be, if it is written `over`.
    #[track_caller]
    fn scattered(
        &self,
        dim: i64,
        index: &Self,
        source: &Self,
        meet: Meet,
        over: bool,
    ) -> Result<Self> {
        let at = norm_dim(dim, self.ndim())?;
        ensure!(
            self.dtype() == source.dtype(),
            runtime,
            "scatter(): Expected self.dtype to be equal to src.dtype"
        );
        let index = as_index("scatter", index)?;
        if self.ndim() == 0 {
            let index = index.reshape_to(&[index.numel()])?;
            let source = if source.ndim() == 0 { source.reshape_to(&[1])? } else { source.clone() };
            return self.reshape_to(&[1])?.scatter(0, &index, &source, meet)?.reshape_to(&[]);
        }
        if index.numel() == 0 {
            return self.copied();
        }
        ensure!(
            index.ndim() == self.ndim() && (source.ndim() == 0 || source.ndim() == index.ndim()),
            runtime,
            "Index tensor must have the same number of dimensions as self tensor"
        );
        let single = source.ndim() == 0;
        for (d, &n) in index.shape().iter().enumerate() {
            ensure!(
                (d == at || n <= self.shape()[d]) && (single || n <= source.shape()[d]),
                runtime,
                "Expected index {} to be no larger than self {} apart from dimension {at} and to \
                 be no larger size than src {}",
                shape_text(&index.shape()),
                shape_text(&self.shape()),
                shape_text(&source.shape())
            );
        }
        if !single && source.shape() != index.shape() && source.requires_grad() {
            let source = narrow_to(source, &index.shape())?;
            return self.scattered(dim, &index, &source, meet, over);
        }
        let (combine, reduction) = match meet {
            Meet::Set => (Combine::Set, None),
            Meet::Add => (Combine::Add, None),
            Meet::Multiply => (Combine::Multiply, None),
            Meet::Sum(include) => (Combine::Add, Some((ScatterReduction::Sum, include))),
            Meet::Prod(include) => (Combine::Multiply, Some((ScatterReduction::Prod, include))),
            Meet::Mean(include) => (Combine::Add, Some((ScatterReduction::Mean, include))),
            Meet::Amax(include) => (Combine::Max, Some((ScatterReduction::Max, include))),
            Meet::Amin(include) => (Combine::Min, Some((ScatterReduction::Min, include))),
        };
        let (indices, from) = (index.core(), source.core());
        let this = self.shared_core();
        let core = launch::scatter(&this, at, &indices, &from, combine, reduction, over)
            .map_err(bounds)?;
        let output = Self::from_core(core);
        if self.dtype().is_float() && recording(&[self, source]) {
            let op = Op::rule(Scatter { dim, meet });
            match meet {
                Meet::Set | Meet::Add | Meet::Sum(_) | Meet::Mean(_) => {
                    let inputs = [self, source];
                    let inputs = if single { &inputs[..1] } else { &inputs[..] };
                    let index = [Save::Private(&indices)];
                    // The gradient of what is added to is the result's.
                    let plain = meet == Meet::Add && !source.requires_grad();
                    attach(op, inputs, if plain { &[] } else { &index }, &[&output])?;
                }
                _ => {
                    let saves =
                        [Save::Private(&indices), Save::Input(0), Save::Input(1), Save::Output(0)];
                    attach(op, &[self, source], &saves, &[&output])?;
                }
            }
        }
        Ok(output)
    }
}

/// torch's text and type for indices of gather and scatter.
fn bounds(error: crate::error::Error) -> crate::error::Error {
    if error.kind() == crate::error::ErrorKind::Index {
        return crate::error::Error::runtime(error.message());
    }
    error
}

/// The reduction of a name.
///
/// # Errors
/// For a name that torch does not know.
pub fn reduction(name: &str, include_self: bool) -> Result<Meet> {
    Ok(match name {
        "sum" => Meet::Sum(include_self),
        "prod" => Meet::Prod(include_self),
        "mean" => Meet::Mean(include_self),
        "amax" => Meet::Amax(include_self),
        "amin" => Meet::Amin(include_self),
        _ => bail!(
            runtime,
            "reduce argument must be either sum, prod, mean, amax or amin, got {name}"
        ),
    })
}
