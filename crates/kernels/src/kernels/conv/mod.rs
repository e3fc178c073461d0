//! Convolutions over up to three dimensions: sums of products over framed planes ([`direct`] and
//! [`summed`]); by patches and products ([`patches`]) or by tiles ([`winograd`]) where that is faster.
#![allow(unsafe_code)]

pub mod direct;
mod frame;
mod halved;
mod lone;
mod panels;
pub mod patches;
mod planes;
mod strip;
pub mod summed;
mod turn;
pub mod winograd;

use frame::Taps;

/// Sizes of a convolution over depth, height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Images.
    pub batch: usize,
    /// Channels of the input, of all groups.
    pub channels: usize,
    /// Channels of the output, of all groups.
    pub outputs: usize,
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// Size of the input.
    pub input: [usize; 3],
    /// Size of the kernel.
    pub kernel: [usize; 3],
    /// Size of the output.
    pub output: [usize; 3],
    /// Steps between places.
    pub stride: [usize; 3],
    /// Zeros before the first element.
    pub padding: [usize; 3],
    /// Steps between the elements of the kernel.
    pub dilation: [usize; 3],
}

impl Conv {
    /// Elements of the weight for each channel of the output.
    pub fn depth(&self) -> usize {
        self.channels / self.groups * self.kernel.iter().product::<usize>()
    }
    /// Places of the output.
    pub fn places(&self) -> usize {
        self.output.iter().product()
    }
    /// Elements of a channel of the input.
    pub fn pixels(&self) -> usize {
        self.input.iter().product()
    }
    /// Whether the kernel covers all of the input, from the one place there is.
    pub fn sees_all(&self) -> bool {
        self.groups == 1 && self.kernel == self.input && self.padding == [0; 3]
    }
    /// The same with all pixels in one row, if none has to do with another.
    fn flat(&self) -> Self {
        if self.kernel == [1; 3] && self.stride == [1; 3] && self.padding == [0; 3] {
            Self { input: [1, 1, self.pixels()], output: [1, 1, self.places()], ..*self }
        } else {
            *self
        }
    }
    fn taps(&self) -> Taps {
        let along =
            [0, 1, 2].map(|i| (0..self.kernel[i]).map(|k| (k, k * self.dilation[i])).collect());
        Taps::new(along, [self.kernel[1], self.kernel[2]])
    }
}

/// Tasks that few images are cut into, if there is work for as many. The cut changes no bits: whatever is
/// summed by one task is summed in the same order by any.
fn tasks() -> usize {
    match crate::parallel::threads() {
        0 | 1 => 1,
        n => 2 * n,
    }
}

#[cfg(test)]
mod tests;
