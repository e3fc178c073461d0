//! Patches of images as columns, and images as sums of patches.

use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, Src, split};
use crate::kernels::vexp::Real;

/// Sizes of images and of the patches taken of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patches {
    /// Images, each of one channel.
    pub planes: usize,
    /// Height and width of the images.
    pub image: [usize; 2],
    /// How many patches there are above one another and side by side.
    pub places: [usize; 2],
    /// Height and width of the patches.
    pub kernel: [usize; 2],
    /// Steps between patches.
    pub stride: [usize; 2],
    /// Zeros around the images.
    pub padding: [usize; 2],
    /// Steps between the elements of a patch.
    pub dilation: [usize; 2],
}

impl Patches {
    /// Elements of the images and of the columns.
    pub fn counts(&self) -> [usize; 2] {
        let places = self.places[0] * self.places[1];
        let [height, width] = self.image;
        [self.planes * height * width, self.planes * self.kernel[0] * self.kernel[1] * places]
    }

    /// The places across whose element `k` lies inside the image, and the column of the first.
    #[inline(always)]
    fn inside(&self, k: usize) -> (usize, usize, usize) {
        let (shift, pad) = (k * self.dilation[1], self.padding[1]);
        let (step, places) = (self.stride[1], self.places[1]);
        let first = pad.saturating_sub(shift).div_ceil(step).min(places);
        let end = (self.image[1] + pad).saturating_sub(shift).div_ceil(step);
        let end = end.min(places).max(first);
        (first, end, if first < end { first * step + shift - pad } else { 0 })
    }
}

struct Unfold<B> {
    patches: Patches,
    zero: B,
    x: Src<B>,
    y: Dst<B>,
    first: usize,
    last: usize,
}

impl<B: Copy> Job for Unfold<B> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let p = self.patches;
        let [height, width] = p.image;
        let [down, across] = p.places;
        for row in self.first..self.last {
            let (plane, ky) = (row / p.kernel[0], row % p.kernel[0]);
            let image = self.x.at((plane * height * width) as isize);
            for kx in 0..p.kernel[1] {
                let (left, right, column) = p.inside(kx);
                let mut to = self.y.at(((row * p.kernel[1] + kx) * down * across) as isize);
                for y in 0..down {
                    let line = (y * p.stride[0] + ky * p.dilation[0]).wrapping_sub(p.padding[0]);
                    // SAFETY: the places inside were found above; the others are zeros.
                    unsafe {
                        if line >= height || left == right {
                            put(to, 0, across, |_| self.zero);
                        } else {
                            let from = image.wrapping_add(line * width + column);
                            put(to, 0, left, |_| self.zero);
                            match p.stride[1] {
                                1 => put(to, left, right, |i| *from.add(i)),
                                2 => put(to, left, right, |i| *from.add(2 * i)),
                                step => put(to, left, right, |i| *from.add(step * i)),
                            }
                            put(to, right, across, |_| self.zero);
                        }
                    }
                    to = to.wrapping_add(across);
                }
            }
        }
    }
}

/// Sets places `first..last` to what `value` says, counted from the first.
///
/// # Safety
/// There are so many.
#[inline(always)]
unsafe fn put<B>(to: *mut B, first: usize, last: usize, value: impl Fn(usize) -> B) {
    let to = to.wrapping_add(first);
    for i in 0..last - first {
        // SAFETY: by the contract.
        unsafe { *to.add(i) = value(i) };
    }
}

/// The patches `(planes, kernel, places)` of images `(planes, height, width)`, of elements of a type `B` of
/// their size.
///
/// # Safety
/// Both have as many elements as `patches` says, and do not overlap.
pub unsafe fn unfold<B: Copy + Send + Sync>(
    patches: &Patches,
    zero: B,
    images: *const B,
    columns: *mut B,
) {
    let (x, y, patches) = (Src::new(images), Dst::new(columns), *patches);
    let work = patches.kernel[1] * patches.places[0] * patches.places[1];
    split(patches.planes * patches.kernel[0], work, |first, last| {
        multiversion::run_narrow(Unfold { patches, zero, x, y, first, last });
    });
}

struct Fold<T> {
    patches: Patches,
    x: Src<T>,
    y: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Real> Job for Fold<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let p = self.patches;
        let [height, width] = p.image;
        let [down, across] = p.places;
        for row in self.first..self.last {
            let (plane, line) = (row / height, row % height);
            let to = self.y.at((row * width) as isize);
            // SAFETY: a row of the images, which this task owns, and the places inside it.
            unsafe {
                put(to, 0, width, |_| T::ZERO);
                for ky in 0..p.kernel[0] {
                    let at = (line + p.padding[0]).wrapping_sub(ky * p.dilation[0]);
                    let y = at / p.stride[0];
                    if y >= down || !at.is_multiple_of(p.stride[0]) {
                        continue;
                    }
                    for kx in 0..p.kernel[1] {
                        let (left, right, column) = p.inside(kx);
                        let patch = (plane * p.kernel[0] + ky) * p.kernel[1] + kx;
                        let from = self.x.at(((patch * down + y) * across + left) as isize);
                        let to = to.wrapping_add(column);
                        match p.stride[1] {
                            1 => add::<T>(from, to, right - left, 1),
                            2 => add::<T>(from, to, right - left, 2),
                            step => add::<T>(from, to, right - left, step),
                        }
                    }
                }
            }
        }
    }
}

/// Adds elements to every one so many steps on.
///
/// # Safety
/// There are so many of both.
#[inline(always)]
unsafe fn add<T: Real>(from: *const T, to: *mut T, count: usize, step: usize) {
    for i in 0..count {
        // SAFETY: by the contract.
        unsafe { *to.add(i * step) += *from.add(i) };
    }
}

/// The images `(planes, height, width)` that are the sums of patches `(planes, kernel, places)`, each added in
/// the order of the elements of the patches.
///
/// # Safety
/// As for [`unfold`].
pub unsafe fn fold<T: Real>(patches: &Patches, columns: *const T, images: *mut T) {
    let (x, y, patches) = (Src::new(columns), Dst::new(images), *patches);
    let work = patches.image[1] + patches.kernel[0] * patches.kernel[1] * patches.places[1];
    split(patches.planes * patches.image[0], work, |first, last| {
        multiversion::run(Fold { patches, x, y, first, last });
    });
}
