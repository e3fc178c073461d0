//! Samples of images between their elements: of four neighbours each.

use std::ops::{Add, AddAssign, Mul, Sub};

use smallvec::smallvec;

use super::along::{put, take};
use super::binary::Binary;
use super::unary::Unary;
use super::{Cx, Op, Rule};
use crate::dtype::{Element, Scalar, dispatch};
use crate::error::{Result, bail, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, is_grad_enabled, recording};
use crate::shape::Dims;
use crate::tensor::Tensor;

trait Float:
    Element + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + AddAssign
{
}
impl Float for f32 {}
impl Float for f64 {}

/// Sizes of `(N, C, H, W)` images, and how many samples are taken of each.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    channels: usize,
    height: usize,
    width: usize,
    count: usize,
}

/// The neighbours of a place: above and below, each left and right.
#[derive(Clone, Copy)]
struct Corners<T> {
    at: [usize; 4],
    inside: [bool; 4],
    weight: [T; 4],
    /// How the weights change with the column and with the row.
    slope: [[T; 2]; 4],
}

impl<T: Float> Corners<T> {
    fn new(place: [T; 2], sizes: Sizes) -> Self {
        let [x, y] = place.map(T::to_f64);
        let (left, top) = (x.floor(), y.floor());
        let zero = T::default();
        let one = T::from_f64(1.0);
        let (x, y) = (place[0] - T::from_f64(left), place[1] - T::from_f64(top));
        let (across, down) = ([one - x, x], [one - y, y]);
        let sign = [zero - one, one];
        let mut made =
            Self { at: [0; 4], inside: [false; 4], weight: [zero; 4], slope: [[zero; 2]; 4] };
        for corner in 0..4 {
            let (lower, right) = (corner >> 1, corner & 1);
            let (row, column) = (top + lower as f64, left + right as f64);
            // What is NaN lies outside.
            let inside = (0.0..sizes.height as f64).contains(&row)
                && (0.0..sizes.width as f64).contains(&column);
            made.inside[corner] = inside;
            made.at[corner] = if inside { row as usize * sizes.width + column as usize } else { 0 };
            made.weight[corner] = down[lower] * across[right];
            made.slope[corner] = [down[lower] * sign[right], across[right] * sign[lower]];
        }
        made
    }

    fn value(&self, corner: usize, plane: &[T]) -> T {
        if self.inside[corner] { plane[self.at[corner]] } else { T::default() }
    }
}

fn corners<T: Float>(places: &[T], sizes: Sizes) -> Vec<Corners<T>> {
    places.chunks_exact(2).map(|place| Corners::new([place[0], place[1]], sizes)).collect()
}

fn forward<T: Float>(images: &[T], places: &[T], sizes: Sizes) -> Vec<T> {
    let Sizes { channels, height, width, count, .. } = sizes;
    let mut output = Vec::with_capacity(sizes.batch * channels * count);
    for (n, places) in places.chunks_exact((2 * count).max(1)).enumerate() {
        let corners = corners(places, sizes);
        for channel in 0..channels {
            let plane = &images[(n * channels + channel) * height * width..][..height * width];
            output.extend(corners.iter().map(|corners| {
                let part = |corner| corners.value(corner, plane) * corners.weight[corner];
                part(0) + part(1) + part(2) + part(3)
            }));
        }
    }
    output
}

/// The gradients of the images and of the places.
fn backward<T: Float>(
    images: &[T],
    places: &[T],
    grad: &[T],
    sizes: Sizes,
    wants: [bool; 2],
) -> [Vec<T>; 2] {
    let Sizes { channels, height, width, count, .. } = sizes;
    let mut d_images = vec![T::default(); if wants[0] { images.len() } else { 0 }];
    let mut d_places = Vec::with_capacity(if wants[1] { places.len() } else { 0 });
    for (n, places) in places.chunks_exact((2 * count).max(1)).enumerate() {
        let corners = corners(places, sizes);
        let mut seen = vec![[T::default(); 4]; if wants[1] { count } else { 0 }];
        for channel in n * channels..(n + 1) * channels {
            let span = channel * height * width..(channel + 1) * height * width;
            let grad = &grad[channel * count..][..count];
            if wants[0] {
                let plane = &mut d_images[span.clone()];
                for (corners, &grad) in corners.iter().zip(grad) {
                    for corner in (0..4).filter(|&corner| corners.inside[corner]) {
                        plane[corners.at[corner]] += grad * corners.weight[corner];
                    }
                }
            }
            let plane = &images[span];
            for ((seen, corners), &grad) in seen.iter_mut().zip(&corners).zip(grad) {
                for (corner, seen) in seen.iter_mut().enumerate() {
                    *seen += grad * corners.value(corner, plane);
                }
            }
        }
        for (seen, corners) in seen.iter().zip(&corners) {
            for axis in 0..2 {
                let part = |corner: usize| seen[corner] * corners.slope[corner][axis];
                d_places.push(part(0) + part(1) + part(2) + part(3));
            }
        }
    }
    [d_images, d_places]
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
        let made = dispatch!(float images.dtype(), T => {
            let (x, at) = (images.to_vec::<T>()?, places.to_vec::<T>()?);
            let [x, at] = backward(&x, &at, &grad.to_vec::<T>()?, self.sizes, wants);
            [
                if wants[0] { Some(Tensor::from_slice(&x, &images.shape())?) } else { None },
                if wants[1] { Some(Tensor::from_slice(&at, &places.shape())?) } else { None },
            ]
        }, else [None, None]);
        Ok(GradList::from_iter(made))
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
        let corners = dispatch!(float images.dtype(), T => {
            corners(&places.to_vec::<T>()?, self.sizes)
                .into_iter()
                .map(|corners| (corners.at, corners.inside))
                .collect::<Vec<_>>()
        }, else Vec::new());
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
            let at: Vec<i64> = corners.iter().map(|(at, _)| at[corner] as i64).collect();
            let inside: Vec<crate::Bool> =
                corners.iter().map(|(_, inside)| inside[corner].into()).collect();
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
        let output = dispatch!(float self.dtype(), T => {
            let made = forward(&self.to_vec::<T>()?, &places.to_vec::<T>()?, sizes);
            Self::from_slice(&made, &shape)?
        }, else bail!(
            not_implemented,
            "\"grid_sampler_2d_cpu\" not implemented for '{}'",
            self.dtype().scalar_name()
        ));
        if recording(&[self, places]) {
            let saves = [Save::Input(0), Save::Input(1)];
            attach(Op::rule(GridSample { sizes }), &[self, places], &saves, &[&output])?;
        }
        Ok(output)
    }
}
