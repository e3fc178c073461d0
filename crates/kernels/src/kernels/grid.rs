//! Samples of images between their elements, of four neighbours each: block by block of places, so that
//! neighbours and weights are found by vector loops and serve all channels.
#![allow(unsafe_code)]

use super::multiversion::{self, Job};
use super::raw::{Dst, Src, split};
use super::vexp::Real;

/// Sizes of `(N, C, H, W)` images, and how many samples are taken of each.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Images.
    pub batch: usize,
    /// Channels of each.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Places of an image.
    pub count: usize,
}

impl Sizes {
    fn plane(self) -> usize {
        self.height * self.width
    }
}

/// An element that tells where it lies.
pub trait Place: Real {
    /// The whole number below.
    #[must_use]
    fn floor(self) -> Self;
    /// A number of at most 31 bits.
    ///
    /// # Safety
    /// It must be one.
    unsafe fn whole(self) -> i32;
}

macro_rules! place {
    ($($t:ident),*) => {$(
        impl Place for $t {
            #[inline(always)]
            fn floor(self) -> Self {
                $t::floor(self)
            }
            #[inline(always)]
            unsafe fn whole(self) -> i32 {
                // SAFETY: the caller's promise.
                unsafe { self.to_int_unchecked() }
            }
        }
    )*};
}
place!(f32, f64);

/// Places found together.
const BLOCK: usize = 128;
/// All four neighbours lie inside.
const WHOLE: i32 = 0b1111;

/// A block of places: the column and row of the neighbour above and to the left, how far the place lies beyond
/// it, the weights of all four (above and below, each left and right), and which of them lie inside.
struct Places<T> {
    columns: [i32; BLOCK],
    rows: [i32; BLOCK],
    across: [T; BLOCK],
    down: [T; BLOCK],
    weights: [[T; BLOCK]; 4],
    inside: [i32; BLOCK],
}

impl<T: Place> Places<T> {
    #[inline(always)]
    fn new() -> Self {
        let zero = [T::ZERO; BLOCK];
        let none = [0; BLOCK];
        let weights = [zero; 4];
        Self { columns: none, rows: none, across: zero, down: zero, weights, inside: none }
    }

    /// Finds `n` places, given as column and row.
    ///
    /// # Safety
    /// They must be readable.
    #[inline(always)]
    unsafe fn find(&mut self, from: *const T, n: usize, sizes: Sizes) {
        let (width, height) = (T::from_f64(sizes.width as f64), T::from_f64(sizes.height as f64));
        let (last_column, last_row) = (width - T::ONE, height - T::ONE);
        // What is not a number lies outside, as what is far away does.
        let limit = |x: T, end: T| {
            let x = if x >= -T::ONE { x } else { -T::ONE - T::ONE };
            if x < end { x } else { end }
        };
        for i in 0..n {
            // SAFETY: by the contract.
            let (x, y) = unsafe { (*from.add(2 * i), *from.add(2 * i + 1)) };
            let (left, top) = (x.floor(), y.floor());
            let (across, down) = (x - left, y - top);
            self.across[i] = across;
            self.down[i] = down;
            let (left, top) = (limit(left, width), limit(top, height));
            // SAFETY: sizes have 31 bits.
            unsafe {
                self.columns[i] = left.whole();
                self.rows[i] = top.whole();
            }
            let l = i32::from(left >= T::ZERO) & i32::from(left <= last_column);
            let r = i32::from(left >= -T::ONE) & i32::from(left < last_column);
            let t = i32::from(top >= T::ZERO) & i32::from(top <= last_row);
            let b = i32::from(top >= -T::ONE) & i32::from(top < last_row);
            self.inside[i] = (t & l) | (t & r) << 1 | (b & l) << 2 | (b & r) << 3;
        }
        let (across, down) = (&self.across[..n], &self.down[..n]);
        let [a, b, c, d] = &mut self.weights;
        let (a, b, c, d) = (&mut a[..n], &mut b[..n], &mut c[..n], &mut d[..n]);
        for i in 0..n {
            let (x, y) = (across[i], down[i]);
            let (before, above) = (T::ONE - x, T::ONE - y);
            a[i] = above * before;
            b[i] = above * x;
            c[i] = y * before;
            d[i] = y * x;
        }
    }

    /// The neighbours of a place in a plane; zero outside.
    ///
    /// # Safety
    /// The plane must have the sizes that the places were found for.
    #[inline(always)]
    unsafe fn values(&self, i: usize, plane: *const T, width: usize) -> [T; 4] {
        let corner = plane.wrapping_offset(self.corner(i, width));
        // SAFETY: what lies inside is part of the plane.
        unsafe {
            if self.inside[i] == WHOLE {
                let below = corner.add(width);
                return [*corner, *corner.add(1), *below, *below.add(1)];
            }
            self.offsets(i, width).map(|at| at.map_or(T::ZERO, |at| *corner.wrapping_add(at)))
        }
    }

    /// Where the neighbour above and to the left would be.
    #[inline(always)]
    fn corner(&self, i: usize, width: usize) -> isize {
        self.rows[i] as isize * width as isize + self.columns[i] as isize
    }

    /// From there to each neighbour that lies inside.
    #[inline(always)]
    fn offsets(&self, i: usize, width: usize) -> [Option<usize>; 4] {
        let place = |corner: i32, at: usize| (self.inside[i] >> corner & 1 == 1).then_some(at);
        [place(0, 0), place(1, 1), place(2, width), place(3, width + 1)]
    }

    #[inline(always)]
    fn weights(&self, i: usize) -> [T; 4] {
        let [a, b, c, d] = &self.weights;
        [a[i], b[i], c[i], d[i]]
    }
}

/// Blocks of places of all images.
fn blocks(sizes: Sizes) -> usize {
    sizes.batch * sizes.count.div_ceil(BLOCK)
}

/// The image, the first place and the number of places of a block.
#[inline(always)]
fn block(sizes: Sizes, unit: usize) -> (usize, usize, usize) {
    let each = sizes.count.div_ceil(BLOCK);
    let start = unit % each * BLOCK;
    (unit / each, start, BLOCK.min(sizes.count - start))
}

struct Forward<T> {
    sizes: Sizes,
    images: Src<T>,
    places: Src<T>,
    output: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Place> Job for Forward<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Sizes { channels, width, count, .. } = self.sizes;
        let mut places = Places::new();
        for unit in self.first..self.last {
            let (image, start, n) = block(self.sizes, unit);
            // SAFETY: places of this image, its planes, and outputs of this block alone.
            unsafe {
                places.find(self.places.at(((image * count + start) * 2) as isize), n, self.sizes);
                for channel in image * channels..(image + 1) * channels {
                    let plane = self.images.at((channel * self.sizes.plane()) as isize);
                    let to = self.output.at((channel * count + start) as isize);
                    for i in 0..n {
                        let [a, b, c, d] = places.values(i, plane, width);
                        let [p, q, r, s] = places.weights(i);
                        *to.add(i) = a * p + b * q + c * r + d * s;
                    }
                }
            }
        }
    }
}

/// The bilinear samples of images at places, given as column and row; outside all is zero.
///
/// # Safety
/// Images, places `(N, count, 2)` and output `(N, C, count)` must be dense, of sizes of 31 bits, and not
/// overlap.
pub unsafe fn sample<T: Place>(sizes: Sizes, images: *const T, places: *const T, output: *mut T) {
    let (images, places, output) = (Src::new(images), Src::new(places), Dst::new(output));
    split(blocks(sizes), BLOCK * (4 + 2 * sizes.channels), |first, last| {
        multiversion::run(Forward { sizes, images, places, output, first, last });
    });
}

/// The gradient of the images.
struct ToImages<T> {
    sizes: Sizes,
    places: Src<T>,
    grad: Src<T>,
    output: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Place> Job for ToImages<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Sizes { channels, width, count, .. } = self.sizes;
        let mut places = Places::new();
        let mut next = self.first;
        while next < self.last {
            // Planes of one image share their places.
            let image = next / channels;
            let planes = next..self.last.min((image + 1) * channels);
            next = planes.end;
            for start in (0..count).step_by(BLOCK) {
                let n = BLOCK.min(count - start);
                // SAFETY: places of this image, and planes of this task alone.
                unsafe {
                    let from = self.places.at(((image * count + start) * 2) as isize);
                    places.find(from, n, self.sizes);
                    for channel in planes.clone() {
                        let plane = self.output.at((channel * self.sizes.plane()) as isize);
                        let grad = self.grad.at((channel * count + start) as isize);
                        for i in 0..n {
                            let corner = plane.wrapping_offset(places.corner(i, width));
                            let (grad, weights) = (*grad.add(i), places.weights(i));
                            if places.inside[i] == WHOLE {
                                let below = corner.add(width);
                                *corner += grad * weights[0];
                                *corner.add(1) += grad * weights[1];
                                *below += grad * weights[2];
                                *below.add(1) += grad * weights[3];
                                continue;
                            }
                            for (at, weight) in places.offsets(i, width).into_iter().zip(weights) {
                                if let Some(at) = at {
                                    *corner.wrapping_add(at) += grad * weight;
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The gradient of the places.
struct ToPlaces<T> {
    sizes: Sizes,
    images: Src<T>,
    places: Src<T>,
    grad: Src<T>,
    output: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Place> Job for ToPlaces<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Sizes { channels, width, count, .. } = self.sizes;
        let mut places = Places::new();
        for unit in self.first..self.last {
            let (image, start, n) = block(self.sizes, unit);
            let at = ((image * count + start) * 2) as isize;
            let mut seen = [[T::ZERO; BLOCK]; 4];
            // SAFETY: places of this image, its planes, and outputs of this block alone.
            unsafe {
                places.find(self.places.at(at), n, self.sizes);
                for channel in image * channels..(image + 1) * channels {
                    let plane = self.images.at((channel * self.sizes.plane()) as isize);
                    let grad = self.grad.at((channel * count + start) as isize);
                    for i in 0..n {
                        let grad = *grad.add(i);
                        let values = places.values(i, plane, width);
                        for (seen, value) in seen.iter_mut().zip(values) {
                            seen[i] += grad * value;
                        }
                    }
                }
                let to = self.output.at(at);
                let [a, b, c, d] = &seen;
                for i in 0..n {
                    let (x, y) = (places.across[i], places.down[i]);
                    *to.add(2 * i) = (b[i] - a[i]) * (T::ONE - y) + (d[i] - c[i]) * y;
                    *to.add(2 * i + 1) = (c[i] - a[i]) * (T::ONE - x) + (d[i] - b[i]) * x;
                }
            }
        }
    }
}

/// The gradients of [`sample`], those that are wanted: of the images, to whose zeros it is added, and of the
/// places.
///
/// # Safety
/// As for [`sample`].
pub unsafe fn sample_backward<T: Place>(
    sizes: Sizes,
    [images, places, grad]: [*const T; 3],
    to_images: Option<*mut T>,
    to_places: Option<*mut T>,
) {
    let (images, places, grad) = (Src::new(images), Src::new(places), Src::new(grad));
    if let Some(output) = to_images {
        let output = Dst::new(output);
        split(sizes.batch * sizes.channels, sizes.count * 4, |first, last| {
            multiversion::run(ToImages { sizes, places, grad, output, first, last });
        });
    }
    if let Some(output) = to_places {
        let output = Dst::new(output);
        split(blocks(sizes), BLOCK * (4 + 3 * sizes.channels), |first, last| {
            multiversion::run(ToPlaces { sizes, images, places, grad, output, first, last });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::multiversion::tests::same_bits;

    #[test]
    fn places_inside_outside_and_between() {
        let sizes = Sizes { batch: 1, channels: 2, height: 2, width: 3, count: 7 };
        let images: Vec<f64> = (0..12).map(f64::from).collect();
        let far = f64::INFINITY;
        let places = [0.0, 0.0, 2.0, 1.0, 0.5, 0.5, -0.5, 0.0, 2.5, 1.5, far, 0.0, f64::NAN, 1.0];
        let mut output = [0.0; 14];
        // SAFETY: as many as the sizes say.
        unsafe { sample(sizes, images.as_ptr(), places.as_ptr(), output.as_mut_ptr()) };
        assert_eq!(output[..5], [0.0, 5.0, 2.0, 0.0, 1.25]);
        assert_eq!(output[7..12], [6.0, 11.0, 8.0, 3.0, 2.75]);
        assert!(output[5..7].iter().chain(&output[12..]).all(|&x| x == 0.0 || x.is_nan()));
    }

    #[test]
    fn the_same_bits_at_every_level() {
        let sizes = Sizes { batch: 2, channels: 3, height: 9, width: 7, count: 300 };
        let noise = |i: usize| (i * 7919 % 1009) as f32 / 1009.0;
        let images: Vec<f32> = (0..2 * 3 * 63).map(noise).collect();
        let places: Vec<f32> = (0..1200).map(|i| noise(i + 3) * 12.0 - 2.0).collect();
        let grad: Vec<f32> = (0..1800).map(|i| noise(i + 5)).collect();
        same_bits(|| {
            let mut made = [vec![0.0f32; 1800], vec![0.0; images.len()], vec![0.0; 1200]];
            let [y, x, at] = &mut made;
            // SAFETY: as many as the sizes say.
            unsafe {
                sample(sizes, images.as_ptr(), places.as_ptr(), y.as_mut_ptr());
                let read = [images.as_ptr(), places.as_ptr(), grad.as_ptr()];
                sample_backward(sizes, read, Some(x.as_mut_ptr()), Some(at.as_mut_ptr()));
            }
            made
        });
    }
}
