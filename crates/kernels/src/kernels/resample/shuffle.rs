//! Channels spread over the pixels of larger images, and back; channels of groups taken in turn.

use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, Src, split};

/// Rows of large images, each made of `n` rows of small ones taken in turn, or the other way.
struct Interleave<B> {
    n: usize,
    height: usize,
    width: usize,
    back: bool,
    x: Src<B>,
    y: Dst<B>,
    first: usize,
    last: usize,
}

impl<B: Copy> Job for Interleave<B> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { n, height, width, .. } = self;
        for row in self.first..self.last {
            let (plane, line) = (row / (n * height), row % (n * height));
            let (y, i) = (line / n, line % n);
            let wide = row * n * width;
            let narrow = ((plane * n + i) * n * height + y) * width;
            let step = height * width;
            // SAFETY: the rows lie inside both images.
            unsafe {
                if self.back {
                    let (x, to) = (self.x.at(wide as isize), self.y.at(narrow as isize));
                    match n {
                        2 => part::<B, 2>(x, to, width, step, 2),
                        3 => part::<B, 3>(x, to, width, step, 3),
                        4 => part::<B, 4>(x, to, width, step, 4),
                        _ => part::<B, 0>(x, to, width, step, n),
                    }
                } else {
                    let (x, to) = (self.x.at(narrow as isize), self.y.at(wide as isize));
                    match n {
                        2 => join::<B, 2>(x, to, width, step, 2),
                        3 => join::<B, 3>(x, to, width, step, 3),
                        4 => join::<B, 4>(x, to, width, step, 4),
                        _ => join::<B, 0>(x, to, width, step, n),
                    }
                }
            }
        }
    }
}

/// Takes `n` rows (`N`, unless that is zero) that lie `step` apart in turn.
///
/// # Safety
/// They have `width` elements each, `y` as many as all.
#[inline(always)]
unsafe fn join<B: Copy, const N: usize>(
    x: *const B,
    y: *mut B,
    width: usize,
    step: usize,
    n: usize,
) {
    // SAFETY: by the contract.
    unsafe {
        if N == 0 {
            for j in 0..n {
                for i in 0..width {
                    *y.add(i * n + j) = *x.add(j * step + i);
                }
            }
        } else {
            for i in 0..width {
                for j in 0..N {
                    *y.add(i * N + j) = *x.add(j * step + i);
                }
            }
        }
    }
}

/// The other way.
///
/// # Safety
/// As for [`join`].
#[inline(always)]
unsafe fn part<B: Copy, const N: usize>(
    x: *const B,
    y: *mut B,
    width: usize,
    step: usize,
    n: usize,
) {
    // SAFETY: by the contract.
    unsafe {
        if N == 0 {
            for j in 0..n {
                for i in 0..width {
                    *y.add(j * step + i) = *x.add(i * n + j);
                }
            }
        } else {
            for i in 0..width {
                for j in 0..N {
                    *y.add(j * step + i) = *x.add(i * N + j);
                }
            }
        }
    }
}

/// Spreads `n * n` channels each over the pixels of an image `n` times as high and wide: `planes` images of
/// `height * width` come of it, or are taken apart again.
///
/// # Safety
/// Both have `planes * n * n * height * width` elements, and do not overlap.
pub unsafe fn pixel_shuffle<B: Copy + Send + Sync>(
    [planes, height, width]: [usize; 3],
    n: usize,
    back: bool,
    input: *const B,
    output: *mut B,
) {
    let (x, y) = (Src::new(input), Dst::new(output));
    split(planes * n * height, n * width, |first, last| {
        multiversion::run_narrow(Interleave { n, height, width, back, x, y, first, last });
    });
}

/// Takes the channels of `groups` in turn: `(batch, groups, each, inner)` to `(batch, each, groups, inner)`.
///
/// # Safety
/// Both have so many elements, and do not overlap.
pub unsafe fn channel_shuffle<B: Copy + Send + Sync>(
    [batch, groups, each, inner]: [usize; 4],
    input: *const B,
    output: *mut B,
) {
    let (x, y) = (Src::new(input), Dst::new(output));
    let channels = groups * each;
    split(batch * channels, inner, |first, last| {
        for row in first..last {
            let (member, channel) = (row / channels, row % channels);
            let from = member * channels + channel % groups * each + channel / groups;
            let (x, y) = (x.at((from * inner) as isize), y.at((row * inner) as isize));
            // SAFETY: a channel of each.
            unsafe { std::ptr::copy_nonoverlapping(x, y, inner) };
        }
    });
}
