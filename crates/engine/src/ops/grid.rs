//! Samples of images between their elements: of four neighbours each.

use smallvec::smallvec;

use super::along::{put, take};
use super::binary::Binary;
use super::unary::Unary;
use super::{Cx, Op, Rule};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, bail, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, is_grad_enabled, recording};
use crate::kernels::grid::Sizes;
use crate::launch;
use crate::shape::{Dims, contiguous_strides};
use crate::tensor::Tensor;

/// Where the four neighbours of each place lie in their plane, and whether they do.
fn corners(places: &[f64], sizes: Sizes) -> Vec<[Option<usize>; 4]> {
    let corner = |place: &[f64], corner: usize| {
        let (column, row) = (place[0].floor(), place[1].floor());
        let (row, column) = (row + (corner >> 1) as f64, column + (corner & 1) as f64);
        // What is NaN lies outside.
        let inside = (0.0..sizes.height as f64).contains(&row)
            && (0.0..sizes.width as f64).contains(&column);
        inside.then_some(row as usize * sizes.width + column as usize)
    };
    places.chunks_exact(2).map(|place| [0, 1, 2, 3].map(|at| corner(place, at))).collect()
}

struct GridSample {
    sizes: Sizes,
}

impl Rule for GridSample {
    fn name(&self) -> &'static str {
        "GridSampler2DBackward0"
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None, None]) };
        let (images, places) = (cx.saved(0)?, cx.saved(1)?);
        let wants = [cx.needs(0), cx.needs(1)];
        if is_grad_enabled() {
            return self.differentiably(&images, &places, grad, wants);
        }
        let [x, at, grad] = [&images, &places, grad].map(Tensor::shared_core);
        let made = launch::grid_sample_backward(self.sizes, &x, &at, &grad, wants)?;
        Ok(made.into_iter().map(|made| made.map(Tensor::from_core)).collect())
    }
}

impl GridSample {
    fn differentiably(
        &self,
        images: &Tensor,
        places: &Tensor,
        grad: &Tensor,
        wants: [bool; 2],
    ) -> Result<GradList> {
        let Sizes { batch, channels, height, width, count } = self.sizes;
        let flat = [batch, channels, height * width];
        let x = images.reshape_to(&flat)?;
        let points = places.reshape_to(&[batch, count, 2])?;
        let grad = grad.reshape_to(&[batch, channels, count])?;
        let corners = corners(&places.to_dtype(DType::F64)?.to_vec::<f64>()?, self.sizes);
        let mut shares = Vec::new();
        for axis in 0..2 {
            let place = points.select(2, axis)?;
            let share = place.sub(&place.detach().apply_unary(Unary::Floor)?)?;
            let rest = share.binary_scalar(Binary::Sub, Scalar::Float(1.0), true)?;
            shares.push([rest, share]);
        }
        let plus = |sum: Option<Tensor>, part: Tensor| match sum {
            Some(sum) => sum.add(&part).map(Some),
            None => Ok(Some(part)),
        };
        let (mut d_images, mut d_places) = (None, [None, None]);
        for corner in 0..4 {
            let (lower, right) = (corner >> 1, corner & 1);
            let (across, down) = (&shares[0][right], &shares[1][lower]);
            let at: Vec<i64> =
                corners.iter().map(|at| at[corner].map_or(0, |at| at as i64)).collect();
            let inside: Vec<crate::Bool> =
                corners.iter().map(|at| at[corner].is_some().into()).collect();
            let inside = Tensor::from_slice(&inside, &[batch, 1, count])?;
            let at = Tensor::from_slice(&at, &[batch, 1, count])?;
            let at = at.expand_to(&[batch, channels, count])?.contiguous()?.shared_core();
            if wants[0] {
                let weight = down.mul(across)?.reshape_to(&[batch, 1, count])?;
                let part = grad.mul(&weight)?.or_else(&inside, 0.0)?;
                d_images = plus(d_images, put(&part, 2, &at, &flat)?)?;
            }
            if wants[1] {
                let value = take(&x, 2, &at)?.or_else(&inside, 0.0)?;
                let seen = grad.mul(&value)?.sum(&[1], false, None)?;
                for (axis, (share, upper)) in
                    [(down, right), (across, lower)].into_iter().enumerate()
                {
                    let part = seen.mul(share)?.times(if upper == 1 { 1.0 } else { -1.0 })?;
                    d_places[axis] = plus(d_places[axis].take(), part)?;
                }
            }
        }
        let d_images = match d_images {
            Some(sum) => Some(sum.reshape_to(&images.shape())?),
            None => None,
        };
        let d_places = match &d_places {
            [Some(x), Some(y)] => {
                Some(super::join::stack(&[x, y], 2)?.reshape_to(&places.shape())?)
            }
            _ => None,
        };
        Ok(smallvec![d_images, d_places])
    }
}

impl Tensor {
    /// Of `(N, C, H, W)` images the bilinear samples at `places` `(N, h, w, 2)`, given as column and
    /// row; outside all is zero.
    ///
    /// # Errors
    /// If the shapes or dtypes do not fit, or the images are empty.
    #[track_caller]
    pub fn grid_sample(&self, places: &Self) -> Result<Self> {
        let (images, grid) = (self.shape(), places.shape());
        let ([batch, channels, height, width], [n, rows, columns, 2]) = (&images[..], &grid[..])
        else {
            bail!(
                runtime,
                "grid_sampler(): expected images (N, C, H, W) and places (N, h, w, 2), but got {:?} and {:?}",
                images.as_slice(),
                grid.as_slice()
            );
        };
        ensure!(
            n == batch && height * width > 0 && self.dtype() == places.dtype(),
            runtime,
            "grid_sampler(): expected images that are not empty and places of the same batch and dtype"
        );
        let sizes = Sizes {
            batch: *batch,
            channels: *channels,
            height: *height,
            width: *width,
            count: rows * columns,
        };
        let shape: Dims = smallvec![*batch, *channels, *rows, *columns];
        let output = launch::grid_sample(sizes, &self.shared_core(), &places.shared_core())?;
        let output = Self::from_core(output.into_layout(&shape, &contiguous_strides(&shape))?);
        if recording(&[self, places]) {
            let saves = [Save::Input(0), Save::Input(1)];
            attach(Op::rule(GridSample { sizes }), &[self, places], &saves, &[&output])?;
        }
        Ok(output)
    }
}
