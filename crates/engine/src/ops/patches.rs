//! Patches of images, images as sums of patches, and channels in another order.

use smallvec::{SmallVec, smallvec};

use super::binary::Binary;
use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, bail, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{attach, recording1};
use crate::kernels::resample::Patches;
use crate::launch::{self, Shuffle};
use crate::shape::Dims;
use crate::tensor::Tensor;

/// Sizes and steps of patches over two dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Tiling {
    /// Height and width of the patches.
    pub kernel: [i64; 2],
    /// Steps between their elements.
    pub dilation: [i64; 2],
    /// Zeros around the images.
    pub padding: [i64; 2],
    /// Steps between patches.
    pub stride: [i64; 2],
}

impl Tiling {
    fn check(&self) -> Result<()> {
        let words = ["height", "width"];
        for (what, short, pair) in [
            ("kernel size", "kernel", self.kernel),
            ("dilation", "dilation", self.dilation),
            ("stride", "stride", self.stride),
        ] {
            ensure!(
                pair.iter().all(|&n| n > 0),
                runtime,
                "{what} should be greater than zero, but got {short}_{}: {} {short}_{}: {}",
                words[0],
                pair[0],
                words[1],
                pair[1]
            );
        }
        let [high, wide] = self.padding;
        ensure!(
            high >= 0 && wide >= 0,
            runtime,
            "padding should be non-negative, but got pad_height: {high} pad_width: {wide}"
        );
        let all = [self.kernel, self.dilation, self.stride, self.padding];
        ensure!(
            all.as_flattened().iter().all(|&n| n < 1 << 31),
            runtime,
            "patches of {:?} elements are too large",
            self.kernel
        );
        Ok(())
    }

    /// How many patches an image of this size has, below one if it is too small for any.
    fn places(&self, size: [i64; 2]) -> [i64; 2] {
        [0, 1].map(|i| {
            let room = size[i] + 2 * self.padding[i] - self.dilation[i] * (self.kernel[i] - 1) - 1;
            room.div_euclid(self.stride[i]) + 1
        })
    }

    fn described(&self) -> String {
        let pair = |[a, b]: [i64; 2]| format!("({a}, {b})");
        format!(
            "kernel_size={}, dilation={}, padding={}",
            pair(self.kernel),
            pair(self.dilation),
            pair(self.padding)
        )
    }

    fn patches(&self, planes: usize, image: [usize; 2], places: [i64; 2]) -> Patches {
        let whole = |pair: [i64; 2]| pair.map(|n| n as usize);
        Patches {
            planes,
            image,
            places: whole(places),
            kernel: whole(self.kernel),
            stride: whole(self.stride),
            padding: whole(self.padding),
            dilation: whole(self.dilation),
        }
    }
}

/// Patches of images, or for `back` images of patches: each is the transpose of the other.
#[derive(Clone)]
struct Unfold {
    patches: Patches,
    back: bool,
    images: Dims,
    columns: Dims,
}

impl Unfold {
    #[track_caller]
    fn apply(self, x: &Tensor) -> Result<Tensor> {
        let shape = if self.back { &self.images } else { &self.columns };
        let core = launch::patches(&x.shared_core(), &self.patches, self.back, shape)?;
        let output = Tensor::from_core(core);
        if output.dtype().is_float() && recording1(x) {
            attach(Op::rule(self), &[x], &[], &[&output])?;
        }
        Ok(output)
    }
}

impl Rule for Unfold {
    fn name(&self) -> &'static str {
        if self.back { "Col2ImBackward0" } else { "Im2ColBackward0" }
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        let pair = |pair: [usize; 2]| Some(SavedValue::Sizes(pair.iter().copied().collect()));
        let size = |i: usize| Some(SavedValue::Int(self.patches.image[i] as i64));
        match name {
            "kernel_size" => pair(self.patches.kernel),
            "dilation" => pair(self.patches.dilation),
            "padding" => pair(self.patches.padding),
            "stride" => pair(self.patches.stride),
            "self_sym_argsize_minus_1" if !self.back => size(1),
            "self_sym_argsize_minus_2" if !self.back => size(0),
            _ => None,
        }
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let back = Self { back: !self.back, ..self.clone() };
        Ok(smallvec![Some(back.apply(grad)?)])
    }
}

struct Shuffled {
    order: Shuffle,
    shape: Dims,
}

impl Shuffled {
    #[track_caller]
    fn apply(order: Shuffle, shape: Dims, x: &Tensor) -> Result<Tensor> {
        let output = Tensor::from_core(launch::shuffle(&x.shared_core(), order, &shape)?);
        if output.dtype().is_float() && recording1(x) {
            let rule = Self { order, shape: x.shape() };
            attach(Op::rule(rule), &[x], &[], &[&output])?;
        }
        Ok(output)
    }
}

impl Rule for Shuffled {
    fn name(&self) -> &'static str {
        match self.order {
            Shuffle::Pixels(..) => "PixelShuffleBackward0",
            Shuffle::PixelsBack(..) => "PixelUnshuffleBackward0",
            Shuffle::Channels(_) => "ChannelShuffleBackward0",
        }
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        match (self.order, name) {
            (Shuffle::Pixels(_, n), "upscale_factor")
            | (Shuffle::PixelsBack(_, n), "downscale_factor")
            | (Shuffle::Channels([_, n, ..]), "groups") => Some(SavedValue::Int(n as i64)),
            _ => None,
        }
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let back = match self.order {
            Shuffle::Pixels(sizes, n) => Shuffle::PixelsBack(sizes, n),
            Shuffle::PixelsBack(sizes, n) => Shuffle::Pixels(sizes, n),
            Shuffle::Channels([batch, groups, each, inner]) => {
                Shuffle::Channels([batch, each, groups, inner])
            }
        };
        Ok(smallvec![Some(Self::apply(back, self.shape.clone(), grad)?)])
    }
}

fn check_image(name: &str, shape: &[usize]) -> Result<()> {
    ensure!(
        shape.len() >= 3,
        runtime,
        "{name} expects input to have at least 3 dimensions, but got input with {} dimension(s)",
        shape.len()
    );
    Ok(())
}

impl Tensor {
    /// The patches of `(N, C, H, W)` as columns `(N, C * kernel, places)`, or without a batch.
    ///
    /// # Errors
    /// If sizes are not positive, or no patch fits.
    #[track_caller]
    pub fn unfold_patches(&self, tiling: &Tiling) -> Result<Self> {
        tiling.check()?;
        let images = self.shape();
        let n = images.len();
        ensure!(
            n >= 3,
            index,
            "Dimension out of range: unfold expects a 3D or 4D (batch mode) tensor, but got {images:?}"
        );
        ensure!(
            n <= 4 && images[n - 3..].iter().all(|&size| size > 0),
            runtime,
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero \
             dimensions for input, but got: {images:?}"
        );
        let (height, width) = (images[n - 2], images[n - 1]);
        let places = tiling.places([height as i64, width as i64]);
        ensure!(
            places.iter().all(|&count| count > 0),
            runtime,
            "Given input with spatial size ({height}, {width}), {}, calculated shape of the array of \
             sliding blocks as ({}, {}), but its components must be at least one.",
            tiling.described(),
            places[0],
            places[1]
        );
        if !self.dtype().is_float() && self.dtype() != DType::Bool {
            bail!(
                not_implemented,
                "\"im2col_out_cpu\" not implemented for '{}'",
                self.dtype().scalar_name()
            );
        }
        let planes = images[..n - 2].iter().product();
        let patches = tiling.patches(planes, [height, width], places);
        let [kh, kw] = patches.kernel;
        let mut columns: Dims = images[..n - 2].iter().copied().collect();
        columns[n - 3] *= kh * kw;
        columns.push(patches.places[0] * patches.places[1]);
        Unfold { patches, back: false, images, columns }.apply(self)
    }

    /// Images `(N, C, H, W)` of this size that are the sums of patches `(N, C * kernel, places)`, or without a
    /// batch.
    ///
    /// # Errors
    /// If sizes are not positive, or there are not as many patches as the image has.
    #[track_caller]
    pub fn fold_patches(&self, size: [i64; 2], tiling: &Tiling) -> Result<Self> {
        tiling.check()?;
        let columns = self.shape();
        let n = columns.len();
        ensure!(
            (n == 2 || n == 3) && columns[n - 2..].iter().all(|&size| size > 0),
            runtime,
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero \
             dimensions for input, but got: {columns:?}"
        );
        let [kh, kw] = tiling.kernel;
        let (rows, count) = (columns[n - 2] as i64, columns[n - 1] as i64);
        ensure!(
            kh.checked_mul(kw).is_some_and(|kernel| rows % kernel == 0),
            runtime,
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got \
             input.size(1)={rows} and kernel_size=({kh}, {kw})."
        );
        let places = tiling.places(size);
        let expected = places[0].checked_mul(places[1]);
        ensure!(
            expected == Some(count) && places[0] > 0,
            runtime,
            "Given output_size=({}, {}), {}, stride=({}, {}), expected size of input's dimension 2 to \
             match the calculated number of sliding blocks {} * {} = {}, but got input.size(2)={count}.",
            size[0],
            size[1],
            tiling.described(),
            tiling.stride[0],
            tiling.stride[1],
            places[0],
            places[1],
            expected.unwrap_or(i64::MAX)
        );
        ensure!(
            size.iter().all(|&n| n > 0),
            runtime,
            "Expected output spatial size to be positive, but got: output_size=({}, {}).",
            size[0],
            size[1]
        );
        let [height, width] = size.map(|n| n as usize);
        let mut images: Dims = columns[..n - 1].iter().copied().collect();
        images[n - 2] = (rows / (kh * kw)) as usize;
        let planes = images.iter().product();
        images.extend([height, width]);
        let patches = tiling.patches(planes, [height, width], places);
        if self.dtype() == DType::Bool {
            // Sums of truth values are true where any of them is.
            let wide = self.to_dtype(DType::F32)?;
            let sums = Unfold { patches, back: true, images, columns }.apply(&wide)?;
            return sums.binary_scalar(Binary::Ne, Scalar::Int(0), false);
        }
        Unfold { patches, back: true, images, columns }.apply(self)
    }

    /// `(*, C * n * n, H, W)` as `(*, C, H * n, W * n)`.
    ///
    /// # Errors
    /// If there are not so many channels.
    #[track_caller]
    pub fn pixel_shuffle(&self, n: i64) -> Result<Self> {
        let mut shape = self.shape();
        check_image("pixel_shuffle", &shape)?;
        ensure!(n > 0, runtime, "pixel_shuffle expects a positive upscale_factor, but got {n}");
        let (dim, n) = (shape.len() - 3, n as usize);
        let square = n.checked_mul(n);
        let Some(square) = square.filter(|&square| shape[dim].is_multiple_of(square)) else {
            bail!(
                runtime,
                "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of \
                 upscale_factor, but input.size(-3)={} is not divisible by {}",
                shape[dim],
                square.unwrap_or(usize::MAX)
            );
        };
        let (height, width) = (shape[dim + 1], shape[dim + 2]);
        shape[dim] /= square;
        let planes = shape[..=dim].iter().product();
        shape[dim + 1] *= n;
        shape[dim + 2] *= n;
        Shuffled::apply(Shuffle::Pixels([planes, height, width], n), shape, self)
    }

    /// `(*, C, H * n, W * n)` as `(*, C * n * n, H, W)`.
    ///
    /// # Errors
    /// If height or width is no multiple of `n`.
    #[track_caller]
    pub fn pixel_unshuffle(&self, n: i64) -> Result<Self> {
        let mut shape = self.shape();
        check_image("pixel_unshuffle", &shape)?;
        ensure!(n > 0, runtime, "pixel_unshuffle expects a positive downscale_factor, but got {n}");
        let (dim, n) = (shape.len() - 3, n as usize);
        for (name, place) in [("height", 2), ("width", 1)] {
            let size = shape[shape.len() - place];
            ensure!(
                size.is_multiple_of(n),
                runtime,
                "pixel_unshuffle expects {name} to be divisible by downscale_factor, but \
                 input.size(-{place})={size} is not divisible by {n}"
            );
        }
        let planes = shape[..=dim].iter().product();
        shape[dim] *= n * n;
        shape[dim + 1] /= n;
        shape[dim + 2] /= n;
        let order = Shuffle::PixelsBack([planes, shape[dim + 1], shape[dim + 2]], n);
        Shuffled::apply(order, shape, self)
    }

    /// The channels of `(N, C, *)` with those of the groups taken in turn.
    ///
    /// # Errors
    /// If the channels do not divide into so many groups.
    #[track_caller]
    pub fn channel_shuffle(&self, groups: i64) -> Result<Self> {
        let shape = self.shape();
        ensure!(
            shape.len() > 2,
            runtime,
            "channel_shuffle expects input with > 2 dims, but got input with sizes {shape:?}"
        );
        ensure!(
            groups > 0,
            runtime,
            "Number of groups to divide channels in must be positive. Value of groups:{groups}"
        );
        let (channels, count) = (shape[1], groups as usize);
        ensure!(
            channels.is_multiple_of(count),
            runtime,
            "Number of channels must be divisible by groups. Got {channels} channels and {groups} groups."
        );
        let inner: SmallVec<[usize; 4]> = shape[2..].iter().copied().collect();
        let sizes = [shape[0], count, channels / count, inner.iter().product()];
        Shuffled::apply(Shuffle::Channels(sizes), shape, self)
    }
}
