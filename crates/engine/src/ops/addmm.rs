//! A tensor plus a product of two others, as one operation: `addmm` and its siblings.

use smallvec::{SmallVec, smallvec};

use super::binary::Binary;
use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::Scalar;
use crate::error::Result;
use crate::graph::hooks::GradList;
use crate::graph::{GradMode, Node, Save, attach, recording};
use crate::tensor::Tensor;

/// Which product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Of matrices.
    Mm,
    /// Of a matrix and a vector.
    Mv,
    /// Of two vectors, every element with every one.
    Outer,
    /// Of stacks of matrices.
    Bmm,
    /// [`Product::Bmm`], the stack summed.
    SumBmm,
}

impl Product {
    fn of(self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        match self {
            Self::Mm => x.mm(y),
            Self::Mv => x.mv(y),
            Self::Outer => x.outer(y),
            Self::Bmm => x.bmm(y),
            Self::SumBmm => {
                let stack = x.bmm(y)?;
                stack.sum(&[0], false, None)?.to_dtype(stack.dtype())
            }
        }
    }
}

/// Saved are each of the factors, if the other one needs a gradient.
struct PlusProduct {
    product: Product,
    beta: Scalar,
    alpha: Scalar,
}

fn scaled(x: Tensor, factor: Scalar) -> Result<Tensor> {
    if factor.to_f64() == 1.0 { Ok(x) } else { x.binary_scalar(Binary::Mul, factor, false) }
}

impl Rule for PlusProduct {
    fn name(&self) -> &'static str {
        match self.product {
            Product::Mm => "AddmmBackward0",
            Product::Mv => "AddmvBackward0",
            Product::Outer => "AddrBackward0",
            Product::Bmm => "BaddbmmBackward0",
            Product::SumBmm => "AddbmmBackward0",
        }
    }
    fn depth(&self, node: &Node) -> usize {
        match self.product {
            Product::Mm | Product::Bmm => node.input_size(1, 0).max(node.input_size(2, 1)),
            _ => 0,
        }
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        match name {
            "alpha" => Some(SavedValue::Number(self.alpha)),
            "beta" => Some(SavedValue::Number(self.beta)),
            _ => None,
        }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let mut out: GradList = smallvec![None, None, None];
        let Some(grad) = &grads[0] else { return Ok(out) };
        if cx.needs(0) {
            out[0] = Some(scaled(grad.clone(), self.beta)?);
        }
        if !(cx.needs(1) || cx.needs(2)) {
            return Ok(out);
        }
        let edges = cx.node().edges();
        // The first factor was saved for the second one's gradient.
        let first = usize::from(edges[2].node.is_some());
        let x = if cx.needs(2) { Some(cx.saved(0)?) } else { None };
        let y = if cx.needs(1) { Some(cx.saved(first)?) } else { None };
        let grad = scaled(grad.clone(), self.alpha)?;
        let grad = match (self.product, x.as_ref().or(y.as_ref())) {
            (Product::SumBmm, Some(factor)) => {
                let (rows, columns) = (grad.size_along(0), grad.size_along(1));
                grad.expand_to(&[factor.size_along(0), rows, columns])?
            }
            _ => grad,
        };
        if let Some(y) = y {
            out[1] = Some(match self.product {
                Product::Mm => grad.mm(&y.t()?)?,
                Product::Mv => grad.outer(&y)?,
                Product::Outer => grad.mv(&y)?,
                Product::Bmm | Product::SumBmm => grad.bmm(&y.transpose(1, 2)?)?,
            });
        }
        if let Some(x) = x {
            out[2] = Some(match self.product {
                Product::Mm => x.t()?.mm(&grad)?,
                Product::Mv => x.t()?.mv(&grad)?,
                Product::Outer => grad.t()?.mv(&x)?,
                Product::Bmm | Product::SumBmm => x.transpose(1, 2)?.bmm(&grad)?,
            });
        }
        Ok(out)
    }
}

impl Tensor {
    /// `beta * self + alpha * product(x, y)`.
    ///
    /// # Errors
    /// If the shapes or dtypes do not fit.
    #[track_caller]
    pub fn plus_product_of(
        &self,
        product: Product,
        x: &Self,
        y: &Self,
        beta: Scalar,
        alpha: Scalar,
    ) -> Result<Self> {
        let inputs = [self, x, y];
        let records = recording(&inputs);
        if !records || inputs.iter().any(|input| !input.dtype().is_float()) {
            return self.plus_product(&product.of(x, y)?, beta, alpha);
        }
        let output = {
            let _mode = GradMode::no_grad();
            let product = product.of(&x.detach(), &y.detach())?;
            // With nothing added it may be a view of the product, which nobody knows.
            Self::from_core(self.detach().plus_product(&product, beta, alpha)?.shared_core())
        };
        let mut saves: SmallVec<[Save<'_>; 2]> = SmallVec::new();
        if y.requires_grad() {
            saves.push(Save::Input(1));
        }
        if x.requires_grad() {
            saves.push(Save::Input(2));
        }
        attach(Op::rule(PlusProduct { product, beta, alpha }), &inputs, &saves, &[&output])?;
        Ok(output)
    }
}
