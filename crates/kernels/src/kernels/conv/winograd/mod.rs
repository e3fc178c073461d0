//! Convolutions with kernels of three by three in tiles of two by two outputs: 16 multiplications
//! where the sum of products takes 36. Minimal filtering F(2x2, 3x3) after Winograd, as described by
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016):
//! `y = A' [(G w G') * (B' x B)] A` with
//!
//! ```text
//! B' = 1  0 -1  0    G = 1   0   0    A' = 1  1  1  0
//!      0  1  1  0        1/2 1/2 1/2       0  1 -1 -1
//!      0 -1  1  0        1/2 -1/2 1/2
//!      0  1  0 -1        0   0   1
//! ```
//!
//! Tiles mix their elements, so that one infinity or NaN would spread over its neighbours. Whoever
//! calls is told whether all results are finite, and takes the sum of products otherwise.

mod image;
mod pixels;
mod prepare;
mod weight;

pub use image::images;
pub use prepare::weights;
pub use weight::weight_gradient;

use super::Conv;
use crate::kernels::matmul::Vector;
use crate::kernels::vexp::Real as _;

/// Places of the transformed tile.
const PLACES: usize = 16;
/// Tiles taken through the three steps together: their transforms stay in L2.
const LANES: usize = 64;
/// Tiles summed at once for the gradient of a weight.
const SUMMED: usize = 64;
/// Elements between rows beyond their length: rows a power of two apart share lines of the cache.
const APART: usize = 16;
/// Channels on either side from which on tiles pay.
const CHANNELS: usize = 16;
/// Channels made by a part of the transformed weight: a multiple of the columns of every tile.
const PART: usize = 32;
/// Channels made by a task, at least.
const OUTPUTS: usize = 64;
/// Multiplications of a task, and tiles of a band, at least.
const GRAIN: usize = 1 << 18;
const BAND: usize = 24;
/// Tiles of all images from which on transforming the weight pays.
const TILES: usize = 32;

/// A convolution by tiles: of images with their weight, or of an output's gradient with the weight
/// turned round.
#[derive(Clone, Copy, Debug)]
pub struct Tiled {
    inputs: usize,
    outputs: usize,
    input: [usize; 2],
    output: [usize; 2],
    padding: [usize; 2],
    turned: bool,
    batch: usize,
    /// Images of a task.
    images: usize,
    /// Rows of tiles of a band, and channels made of a part: what a task makes of an image.
    band: usize,
    part: usize,
}

fn plane([_, height, width]: [usize; 3]) -> [usize; 2] {
    [height, width]
}

impl Conv {
    fn is_tiled(&self) -> bool {
        self.kernel == [1, 3, 3]
            && self.stride == [1; 3]
            && self.dilation[1..] == [1, 1]
            && self.input[0] == 1
            && self.padding[0] == 0
            && self.padding[1] <= 2
            && self.padding[2] <= 2
            && self.channels / self.groups >= CHANNELS
            && self.outputs / self.groups >= CHANNELS
    }

    /// The output of a group by tiles, if that pays.
    pub fn tiled(&self) -> Option<Tiled> {
        let tiled = Tiled {
            inputs: self.channels / self.groups,
            outputs: self.outputs / self.groups,
            input: plane(self.input),
            output: plane(self.output),
            padding: plane(self.padding),
            turned: false,
            batch: self.batch,
            images: 1,
            band: 0,
            part: 0,
        };
        (self.is_tiled() && tiled.pays()).then(|| tiled.cut())
    }

    /// The gradient of a group of the input by tiles, if that pays.
    pub fn tiled_back(&self) -> Option<Tiled> {
        if !self.is_tiled() {
            return None;
        }
        let tiled = Tiled {
            inputs: self.outputs / self.groups,
            outputs: self.channels / self.groups,
            input: plane(self.output),
            output: plane(self.input),
            padding: plane(self.padding).map(|n| 2 - n),
            turned: true,
            batch: self.batch,
            images: 1,
            band: 0,
            part: 0,
        };
        tiled.pays().then(|| tiled.cut())
    }
}

impl Tiled {
    /// Tiles along both dimensions.
    fn tiles(&self) -> [usize; 2] {
        self.output.map(|n| n.div_ceil(2))
    }
    /// Cuts few images into bands, and these into parts, which all transform the band's tiles; several
    /// small images are a task together.
    fn cut(self) -> Self {
        let [rows, columns] = self.tiles();
        let work = PLACES * rows * columns * self.inputs * self.outputs;
        let tasks = super::tasks();
        let wanted = tasks.div_ceil(self.batch.max(1)).min(work / GRAIN).max(1);
        let bands = wanted.min((rows * columns / BAND).clamp(1, rows));
        let parts = wanted.div_ceil(bands).min(self.outputs / OUTPUTS).max(1);
        let part = self.outputs.div_ceil(parts).next_multiple_of(PART).min(self.outputs);
        let most = if bands * parts == 1 { (self.batch / tasks).max(1) } else { 1 };
        let images = (LANES / (rows * columns)).clamp(1, most);
        Self { images, band: rows.div_ceil(bands), part, ..self }
    }
    fn bands(&self) -> usize {
        self.tiles()[0].div_ceil(self.band)
    }
    fn parts(&self) -> usize {
        self.outputs.div_ceil(self.part)
    }
    /// Independent parts of the work on a group of all images.
    pub fn tasks(&self) -> usize {
        self.batch.div_ceil(self.images) * self.bands() * self.parts()
    }
    /// Whether so much of the tiles is wanted that they take fewer multiplications by far, and there are
    /// enough of them for what is done to the weight. The same at every level: the bits depend on it.
    fn pays(&self) -> bool {
        let tiles = self.tiles().iter().product::<usize>();
        let places = self.output.iter().product::<usize>();
        self.output.iter().all(|&n| n > 2)
            && places * 9 * 2 >= PLACES * tiles * 3
            && self.batch * tiles >= TILES
    }
    /// From one place of a sum of products for the gradient of a weight to the next.
    fn place(&self) -> usize {
        self.inputs * self.outputs + APART
    }
    /// From one place of a transformed weight to the next.
    fn weight_place(&self) -> usize {
        self.inputs * self.wide(self.outputs) + APART
    }
    /// Elements of a transformed weight.
    pub fn weights(&self) -> usize {
        PLACES * self.weight_place()
    }
    /// Independent parts of transforming the weight of a group.
    pub fn packs(&self) -> usize {
        self.outputs.div_ceil(PART)
    }
    /// Elements of the buffer a task works in.
    pub fn scratch(&self) -> usize {
        let (inputs, part) = (self.filled(self.inputs), self.filled(self.part));
        let [rows, columns] = self.segment();
        (2 * rows + 2) * (2 * columns + 2) * inputs
            + PLACES * (self.step(inputs) + self.step(part))
            + 4 * rows * columns * part
            + part
    }
    /// Tiles along both dimensions of what is read and written at once, at most [`LANES`] in all.
    fn segment(&self) -> [usize; 2] {
        let columns = self.tiles()[1];
        let columns = columns.div_ceil(columns.div_ceil(LANES).max(1));
        let most = (LANES / columns.max(1)).max(1);
        [self.band.div_ceil(self.band.div_ceil(most).max(1)), columns]
    }
    /// Images whose tiles are enough for a sum by itself, for the gradient of a weight.
    pub fn together(&self) -> usize {
        SUMMED / 2 / self.tiles().iter().product::<usize>().max(1)
    }
    /// Elements of the buffer the gradient of a weight is summed in.
    pub fn summing(&self) -> usize {
        let [rows, columns] = self.tiles();
        let (inputs, outputs) = (self.wide(self.inputs), self.wide(self.outputs) + APART);
        4 * inputs * (rows + 1) * (columns + 1)
            + 4 * outputs * rows * columns
            + PLACES * (SUMMED * (inputs + outputs) + 2 * APART)
            + PLACES * self.place()
    }
    /// From one place of [`LANES`] transformed tiles to the next.
    fn step(&self, channels: usize) -> usize {
        LANES * channels + APART
    }
    /// Channels filled up to full vectors of any level.
    fn filled(&self, channels: usize) -> usize {
        channels.next_multiple_of(16)
    }
    /// Channels filled up to two full vectors of any level.
    fn wide(&self, channels: usize) -> usize {
        channels.next_multiple_of(32)
    }
}

/// `B' d B` of the 16 elements that `load` gives, handed to `store` place by place.
#[inline(always)]
unsafe fn transform<V: Vector>(load: impl Fn(usize, usize) -> V, store: impl Fn(usize, V)) {
    // SAFETY: the caller has the instruction set.
    unsafe {
        let mut half = [[V::splat(V::T::ZERO); 4]; 4];
        for j in 0..4 {
            let (a, b, c, d) = (load(0, j), load(1, j), load(2, j), load(3, j));
            half[0][j] = a.minus(c);
            half[1][j] = b.plus(c);
            half[2][j] = c.minus(b);
            half[3][j] = b.minus(d);
        }
        for (i, [a, b, c, d]) in half.into_iter().enumerate() {
            store(4 * i, a.minus(c));
            store(4 * i + 1, b.plus(c));
            store(4 * i + 2, c.minus(b));
            store(4 * i + 3, b.minus(d));
        }
    }
}
