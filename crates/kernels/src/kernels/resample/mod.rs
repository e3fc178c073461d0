//! Resampling: along each dimension every element of the result is a sum of a few elements of the input
//! with weights, its *taps*. Paddings have one tap of weight one (or none, where a value is set), the
//! nearest neighbour one, interpolation two or more. The transpose, by which gradients come back, has the
//! same form, so that it is the same loop.
#![allow(unsafe_code)]

mod bytes;
mod moves;
mod patches;
mod shuffle;
mod sums;
mod taps;
mod weights;

#[cfg(test)]
mod tests;

use smallvec::SmallVec;

pub use bytes::resample_bytes;
pub use moves::resample_bits;
pub use patches::{Patches, fold, unfold};
pub use shuffle::{channel_shuffle, pixel_shuffle};
pub use sums::resample;
use taps::{Axis, Piece};

use super::vexp::Real;

/// What stands beyond the ends of a padded dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// One value.
    Constant,
    /// The dimension backwards, without the element at its end.
    Reflect,
    /// The element at its end.
    Replicate,
    /// The dimension again.
    Circular,
}

/// How a dimension is brought to another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The element that a place lies in, by its lower end.
    Nearest,
    /// The element that its middle lies in.
    NearestExact,
    /// Lines between neighbours.
    Linear,
    /// Cubic convolution (Keys, 1981).
    Cubic,
    /// A windowed sinc of three lobes; only against aliasing.
    Lanczos,
}

/// A dimension brought to another size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Elements before.
    pub input: usize,
    /// Elements after.
    pub output: usize,
    /// How.
    pub filter: Filter,
    /// How many times as large, if that is not said by the sizes.
    pub factor: Option<f64>,
    /// Whether the outermost elements stay where they are, or else their outer ends.
    pub align: bool,
    /// Whether the filter grows with what it takes together.
    pub antialias: bool,
}

/// What happens to a dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Along {
    /// Nothing.
    Keep(usize),
    /// Elements are added at its ends, or taken away where a number is negative.
    Pad {
        /// Elements before.
        input: usize,
        /// How many are added in front.
        before: i64,
        /// And behind.
        after: i64,
        /// Which.
        edge: Edge,
    },
    /// It is brought to another size.
    Scale(Scale),
}

impl Along {
    /// The sizes of the dimension before and after.
    pub fn sizes(&self) -> [usize; 2] {
        match *self {
            Self::Keep(n) => [n, n],
            Self::Pad { input, before, after, .. } => {
                [input, (input as i64 + before + after).max(0) as usize]
            }
            Self::Scale(scale) => [scale.input, scale.output],
        }
    }
}

/// A resampling of dense elements: neighbouring dimensions to which nothing happens are one.
#[derive(Debug)]
pub struct Layout<T> {
    planes: usize,
    axes: SmallVec<[Axis<T>; 4]>,
    inner: usize,
    /// Elements of input and output inside one step along each axis.
    blocks: SmallVec<[[usize; 2]; 4]>,
}

impl<T: Real> Layout<T> {
    /// The resampling of these dimensions, or its transpose.
    pub fn new(along: &[Along], transposed: bool) -> Self {
        let same = |along: &Along| matches!(along, Along::Keep(_));
        let elements = |part: &[Along]| part.iter().map(|along| along.sizes()[0]).product();
        let first = along.iter().position(|along| !same(along)).unwrap_or(along.len());
        let end = along.iter().rposition(|along| !same(along)).map_or(first, |last| last + 1);
        let inner = elements(&along[end..]);
        let mut axes: SmallVec<[Axis<T>; 4]> = SmallVec::new();
        let mut planes = elements(&along[..first]);
        // Rows of a single dimension are taken together as those of a plane are.
        if end == first + 1 && inner == 1 && planes > 1 && u32::try_from(planes).is_ok() {
            axes.push(Axis::new(&Along::Keep(planes)));
            planes = 1;
        }
        for along in &along[first..end] {
            let axis = Axis::new(along);
            axes.push(if transposed { axis.transposed() } else { axis });
        }
        if let (Some(last), 1) = (axes.last_mut(), inner) {
            last.find_phases();
        }
        let mut blocks: SmallVec<[[usize; 2]; 4]> = SmallVec::new();
        let mut block = [inner; 2];
        for axis in axes.iter().rev() {
            blocks.push(block);
            block = [block[0] * axis.input, block[1] * axis.output];
        }
        blocks.reverse();
        Self { planes, axes, inner, blocks }
    }

    /// Elements of input and output in each plane.
    fn plane(&self) -> [usize; 2] {
        match (self.blocks.first(), self.axes.first()) {
            (Some(block), Some(axis)) => [block[0] * axis.input, block[1] * axis.output],
            _ => [self.inner; 2],
        }
    }

    /// Elements of input and output.
    pub fn counts(&self) -> [usize; 2] {
        self.plane().map(|n| n * self.planes)
    }

    /// Runs `part` for pieces of planes: with the plane, and the first and last step along its first axis.
    /// `work` is how much an element of the output costs, in quarters of what is read at once.
    fn split(&self, work: usize, part: impl Fn(usize, usize, usize) + Sync) {
        let steps = self.axes.first().map_or(1, |axis| axis.output);
        let each = self.blocks.first().map_or(self.inner, |block| block[1]);
        super::raw::split(self.planes * steps, (each * work).div_ceil(4), |first, last| {
            let mut at = first;
            while at < last {
                let (plane, low) = (at / steps, at % steps);
                let high = steps.min(low + last - at);
                part(plane, low, high);
                at += high - low;
            }
        });
    }
}
