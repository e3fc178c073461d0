//! Special functions that take a parameter or only occur in derivatives.

use smallvec::smallvec;

use super::{Cx, Op, Rule, SavedValue};
use crate::error::Result;
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, recording1};
use crate::kernels::block::Exact;
use crate::kernels::math::gamma;
use crate::launch::program::map_later;
use crate::ops::binary::Binary;
use crate::ops::unary::Unary;
use crate::tensor::Tensor;

/// The derivative of order `n` of digamma, whose derivative is that of order `n + 1`.
struct Polygamma(u32);

impl Rule for Polygamma {
    fn name(&self) -> &'static str {
        "PolygammaBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "n").then_some(SavedValue::Int(i64::from(self.0)))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        Ok(smallvec![Some(grad.mul(&cx.saved(0)?.polygamma(self.0 + 1)?)?)])
    }
}

/// The modified Bessel function of order 1: I1' = I0 - I1 / x (Abramowitz & Stegun 9.6.26).
struct BesselI1;

impl Rule for BesselI1 {
    fn name(&self) -> &'static str {
        "SpecialI1Backward0"
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let (x, y) = (cx.saved(0)?, cx.saved(1)?);
        let zero = x.binary_scalar(Binary::Eq, 0.0.into(), false)?;
        let half = Tensor::from_scalar(0.5.into(), x.dtype())?;
        // The limit at 0 is 1/2; the quotient is kept away from 0/0 so that no NaN gets through.
        let safe = zero.where_(&half, &x)?;
        let i0 = x.unary(Unary::I0, [0.0; 2])?;
        let d = zero.where_(&half, &i0.sub(&y.div(&safe)?)?)?;
        Ok(smallvec![Some(grad.mul(&d)?)])
    }
}

impl Tensor {
    /// The `n`-th derivative of digamma.
    ///
    /// # Errors
    /// If memory is short.
    #[track_caller]
    pub fn polygamma(&self, n: u32) -> Result<Self> {
        let input = self.as_float()?;
        let output = match Unary::Digamma.backward(input.dtype(), &[0.0; 2]) {
            // The derivative of digamma is a vector kernel, of a gradient of one.
            Some(block) if n == 1 => {
                let one = Self::from_scalar(1.0.into(), input.dtype())?.shared_core();
                let core = input.shared_core();
                let (shape, p) = (core.shape(), [0.0; 2]);
                Self::from_core(map_later(block, &p, core.dtype(), shape, &[&one, &core])?)
            }
            _ => input.scalar_map(|x| gamma::polygamma::<Exact>(n, x))?,
        };
        if recording1(&input) {
            attach(Op::rule(Polygamma(n)), &[&input], &[Save::Input(0)], &[&output])?;
        }
        Ok(output)
    }

    /// The modified Bessel function of the first kind of order 1.
    ///
    /// # Errors
    /// If memory is short.
    #[track_caller]
    pub fn i1(&self) -> Result<Self> {
        let input = self.as_float()?;
        let output = input.scalar_map(crate::kernels::math::special::i1)?;
        if recording1(&input) {
            let saves = [Save::Input(0), Save::Output(0)];
            attach(Op::rule(BesselI1), &[&input], &saves, &[&output])?;
        }
        Ok(output)
    }

    /// A function of doubles, element by element, for what has no vector kernel.
    fn scalar_map(&self, f: impl Fn(f64) -> f64) -> Result<Self> {
        use crate::dtype::{DType, Element};
        let shape = self.shape();
        if self.dtype() == DType::F32 {
            let values: Vec<f32> =
                self.to_vec::<f32>()?.into_iter().map(|x| f(x.to_f64()) as f32).collect();
            return Self::from_slice(&values, &shape);
        }
        let values: Vec<f64> = self.to_vec::<f64>()?.into_iter().map(f).collect();
        Self::from_slice(&values, &shape)
    }
}
