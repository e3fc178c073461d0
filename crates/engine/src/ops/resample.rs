//! Padding and interpolation: linear operations that are told by what happens along each dimension, whose
//! gradients are the transposed ones, and those of these the operations again.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

pub use crate::kernels::resample::{Along, Edge, Filter, Scale};

use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::{DType, Scalar};
use crate::error::{Result, bail, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, recording1};
use crate::launch;
use crate::shape::Dims;
use crate::storage::Core;
use crate::tensor::Tensor;

type Alongs = SmallVec<[Along; 5]>;

struct ConstantPad(Vec<[i64; 2]>);

impl Rule for ConstantPad {
    fn name(&self) -> &'static str {
        "ConstantPadNdBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        let given = self.0.iter().rev().flatten().map(|&n| n as usize);
        (name == "pad").then(|| {
            let mut pad: Dims = given.collect();
            while pad.len() > 2 && pad[pad.len() - 2..] == [0, 0] {
                pad.truncate(pad.len() - 2);
            }
            SavedValue::Sizes(pad)
        })
    }
    fn vjp(&self, _: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        let back: Vec<[i64; 2]> = self.0.iter().map(|[a, b]| [-a, -b]).collect();
        Ok(smallvec![Some(grad.pad_dims(back, Scalar::Int(0))?)])
    }
}

/// torch's names of a node and of its gradient's.
type Names = [&'static str; 2];

macro_rules! names {
    ($($name:literal)*) => {
        [$([concat!($name, "Backward0"), concat!($name, "BackwardBackward0")],)*]
    };
}

const REFLECTION: [Names; 3] = names!("ReflectionPad1D" "ReflectionPad2D" "ReflectionPad3D");
const REPLICATION: [Names; 3] = names!("ReplicationPad1D" "ReplicationPad2D" "ReplicationPad3D");
const NEAREST: [Names; 3] = names!("UpsampleNearest1D" "UpsampleNearest2D" "UpsampleNearest3D");
const EXACT: [Names; 3] =
    names!("UpsampleNearestExact1D" "UpsampleNearestExact2D" "UpsampleNearestExact3D");
const LINEAR: [Names; 3] = names!("UpsampleLinear1D" "UpsampleBilinear2D" "UpsampleTrilinear3D");
const SMOOTH: [Names; 3] =
    names!("UpsampleBilinear2DAa" "UpsampleBicubic2DAa" "UpsampleLanczos2DAa");
const CUBIC: [Names; 1] = names!("UpsampleBicubic2D");
// torch writes the middle and then both ends into a fresh tensor.
const CIRCULAR: Names = ["CopySlices", "CopySlices"];

/// A padding by what is there already, or an interpolation, or the transpose of either.
#[derive(Clone)]
struct Resample {
    names: Names,
    along: Alongs,
    transposed: bool,
    /// Whether the input is kept, as torch does for its sizes.
    keeps: bool,
    scaled: Option<Interpolation>,
}

impl Resample {
    #[track_caller]
    fn apply(self, x: &Tensor) -> Result<Tensor> {
        let core =
            launch::resample(&x.shared_core(), &self.along, self.transposed, Scalar::Int(0))?;
        let output = Tensor::from_core(core);
        if output.dtype().is_float() && recording1(x) {
            let saves: &[Save<'_>] =
                if self.keeps && !self.transposed { &[Save::Input(0)] } else { &[] };
            attach(Op::rule(self), &[x], saves, &[&output])?;
        }
        Ok(output)
    }

    fn sizes(&self) -> Dims {
        self.along.iter().map(|along| along.sizes()[0]).collect()
    }
}

impl Rule for Resample {
    fn name(&self) -> &'static str {
        self.names[usize::from(self.transposed)]
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        let Some(scaled) = &self.scaled else {
            let pads = self.along.iter().rev().filter_map(|along| match along {
                Along::Pad { before, after, .. } => Some([*before as usize, *after as usize]),
                _ => None,
            });
            return (name == "padding").then(|| SavedValue::Sizes(pads.flatten().collect()));
        };
        let scale = |place: usize| match &scaled.factors {
            Some(factors) => factors.get(place).map(|&f| SavedValue::Number(Scalar::Float(f))),
            None => Some(SavedValue::Nothing),
        };
        let dims = scaled.sizes.len();
        match name {
            "output_size" => {
                Some(SavedValue::Sizes(scaled.sizes.iter().map(|&n| n as usize).collect()))
            }
            "self_sym_sizes" => Some(SavedValue::Sizes(self.sizes())),
            "align_corners" => Some(SavedValue::Bool(scaled.align)),
            "scales" if dims == 1 => scale(0),
            "scales_d" if dims == 3 => scale(0),
            "scales_h" if dims > 1 => scale(dims - 2),
            "scales_w" if dims > 1 => scale(dims - 1),
            _ => None,
        }
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None]) };
        if self.keeps && !self.transposed {
            cx.saved_core(0)?;
        }
        let back = Self { transposed: !self.transposed, ..self.clone() };
        Ok(smallvec![Some(back.apply(grad)?)])
    }
}

/// An interpolation of all dimensions behind the channels.
#[derive(Clone, Debug)]
pub struct Interpolation {
    /// How.
    pub filter: Filter,
    /// The new sizes.
    pub sizes: SmallVec<[i64; 3]>,
    /// How many times as large, if that was said.
    pub factors: Option<SmallVec<[f64; 3]>>,
    /// Whether the outermost elements stay where they are.
    pub align: bool,
    /// Whether the filter grows with what it takes together.
    pub antialias: bool,
}

impl Interpolation {
    fn names(&self) -> Result<Names> {
        let dims = self.sizes.len();
        let found = match (self.filter, self.antialias) {
            (Filter::Linear, true) if dims == 2 => Some(SMOOTH[0]),
            (Filter::Cubic, true) if dims == 2 => Some(SMOOTH[1]),
            (Filter::Lanczos, true) if dims == 2 => Some(SMOOTH[2]),
            (_, true) | (Filter::Lanczos, false) => None,
            (Filter::Nearest, false) => NEAREST.get(dims.wrapping_sub(1)).copied(),
            (Filter::NearestExact, false) => EXACT.get(dims.wrapping_sub(1)).copied(),
            (Filter::Linear, false) => LINEAR.get(dims.wrapping_sub(1)).copied(),
            (Filter::Cubic, false) => CUBIC.first().copied().filter(|_| dims == 2),
        };
        match found {
            Some(names) => Ok(names),
            None => bail!(
                not_implemented,
                "interpolation by {:?}{} over {dims} dimensions is not supported",
                self.filter,
                if self.antialias { " against aliasing" } else { "" }
            ),
        }
    }

    fn check_dtype(&self, dtype: DType) -> Result<()> {
        let dims = self.sizes.len();
        let whole = dims == 2 || matches!(self.filter, Filter::Nearest | Filter::NearestExact);
        if dtype.is_float() || dtype == DType::U8 && whole {
            return Ok(());
        }
        let kernel = match (self.filter, dims) {
            _ if self.antialias => "compute_index_ranges_weights",
            (Filter::Nearest | Filter::NearestExact, 2) => "upsample_nearest2d_channels_last",
            (Filter::Linear, 2) => "upsample_bilinear2d_channels_last",
            (Filter::Nearest | Filter::NearestExact, _) => "compute_indices_weights_nearest",
            (Filter::Linear, _) => "compute_indices_weights_linear",
            _ => "compute_indices_weights_cubic",
        };
        bail!(not_implemented, "\"{kernel}\" not implemented for '{}'", dtype.scalar_name())
    }
}

/// Sizes with the letters of their dimensions: `H: 2, W: 3`.
fn lettered(sizes: impl ExactSizeIterator<Item = i64>, between: &str) -> String {
    let letters = &["D", "H", "W"][3 - sizes.len().min(3)..];
    let parts: Vec<String> = letters.iter().zip(sizes).map(|(l, n)| format!("{l}: {n}")).collect();
    parts.join(between)
}

impl Tensor {
    /// With `value` added before and after along each dimension (outermost first), or with elements
    /// taken away where a number is negative.
    #[track_caller]
    fn pad_dims(&self, pads: Vec<[i64; 2]>, value: Scalar) -> Result<Self> {
        let x = self.shared_core();
        let mut along = Alongs::new();
        for (i, (&n, &[before, after])) in x.shape().iter().zip(&pads).enumerate() {
            let sizes = [Some(n as i64), Some(before), Some(after)];
            let size = sizes.into_iter().try_fold(0i64, |sum, n| sum.checked_add(n?));
            ensure!(
                size.is_some_and(|size| size >= 0) && n as i64 + before.min(0) + after.min(0) >= 0,
                runtime,
                "narrow(): length must be non-negative: the input size {n}, plus padding {before} and \
                 {after}, takes away more than there is. Check dimension {i} of your input."
            );
            along.push(if before == 0 && after == 0 {
                Along::Keep(n)
            } else {
                Along::Pad { input: n, before, after, edge: Edge::Constant }
            });
        }
        let out = if x.is_contiguous() {
            launch::resample(&x, &along, false, value)?
        } else {
            padded_view(&x, &along, value)?
        };
        let output = Self::from_core(out);
        if output.dtype().is_float() && recording1(self) {
            attach(Op::rule(ConstantPad(pads)), &[self], &[], &[&output])?;
        }
        Ok(output)
    }

    /// With `value` added around: `pads` gives how much before and after, from the last dimension on;
    /// negative numbers take away.
    ///
    /// # Errors
    /// If there are more pairs than dimensions, or more is taken away than there is.
    #[track_caller]
    pub fn constant_pad(&self, pads: &[i64], value: Scalar) -> Result<Self> {
        let n = self.ndim();
        check_pads(pads, n)?;
        let mut list = vec![[0i64; 2]; n];
        for (i, pair) in pads.chunks_exact(2).enumerate() {
            list[n - 1 - i] = [pair[0], pair[1]];
        }
        self.pad_dims(list, value)
    }

    /// With what is there already added around the last one to three dimensions: `pads` as for
    /// [`Self::constant_pad`].
    ///
    /// # Errors
    /// If the numbers do not fit the dimensions, or more is asked for than there is.
    #[track_caller]
    pub fn edge_pad(&self, pads: &[i64], edge: Edge) -> Result<Self> {
        let shape = self.shape();
        let n = shape.len();
        check_pads(pads, usize::MAX / 2)?;
        let dims = pads.len() / 2;
        ensure!(
            (1..=3).contains(&dims) && (n == dims + 1 || n == dims + 2),
            not_implemented,
            "Padding size {} is not supported for {n}D input tensor.\nSupported combinations for \
             non-constant padding:\n  - 2D or 3D input: padding size = 2 (pads last dimension)\n  - 3D \
             or 4D input: padding size = 4 (pads last 2 dimensions)\n  - 4D or 5D input: padding size = \
             6 (pads last 3 dimensions)",
            pads.len()
        );
        let mut along: Alongs = shape.iter().map(|&n| Along::Keep(n)).collect();
        for (place, pair) in pads.chunks_exact(2).enumerate() {
            let (dim, before, after) = (n - 1 - place, pair[0], pair[1]);
            along[dim] = Along::Pad { input: shape[dim], before, after, edge };
        }
        check_edges(&shape, &along, edge, dims)?;
        let names = match edge {
            Edge::Reflect => REFLECTION[dims - 1],
            Edge::Replicate => REPLICATION[dims - 1],
            Edge::Constant | Edge::Circular => CIRCULAR,
        };
        if self.dtype() == DType::Bool && edge != Edge::Circular {
            let name = if edge == Edge::Reflect { "reflection" } else { "replication" };
            bail!(not_implemented, "\"{name}_pad{dims}d\" not implemented for 'Bool'");
        }
        let keeps = edge != Edge::Circular;
        Resample { names, along, transposed: false, keeps, scaled: None }.apply(self)
    }

    /// `(N, C, *)` brought to other sizes behind the channels.
    ///
    /// # Errors
    /// If a size is not positive, there are no channels, or the dtype or the filter is not supported.
    #[track_caller]
    pub fn interpolate(&self, how: &Interpolation) -> Result<Self> {
        let shape = self.shape();
        let dims = how.sizes.len();
        let names = how.names()?;
        ensure!(
            shape.len() == dims + 2,
            runtime,
            "It is expected input_size equals to {}, but got size {}",
            dims + 2,
            shape.len()
        );
        ensure!(
            shape[2..].iter().all(|&n| n > 0) && how.sizes.iter().all(|&n| n > 0),
            runtime,
            "Input and output sizes should be greater than 0, but got input ({}){} output ({})",
            lettered(shape[2..].iter().map(|&n| n as i64), ", "),
            if dims == 1 { " and" } else { "" },
            lettered(how.sizes.iter().copied(), ", ")
        );
        ensure!(
            shape[1] > 0,
            runtime,
            "Non-empty {}D data tensor expected but got a tensor with sizes {shape:?}",
            dims + 2
        );
        how.check_dtype(self.dtype())?;
        let mut along: Alongs = smallvec![Along::Keep(shape[0]), Along::Keep(shape[1])];
        for (place, (&input, &output)) in shape[2..].iter().zip(&how.sizes).enumerate() {
            // Over two dimensions torch goes by the sizes where they are equal or one is twice the other.
            let simple = output as usize == input || output as usize == 2 * input;
            let by_size = how.filter == Filter::Nearest && dims == 2 && simple;
            let factors = how.factors.as_ref().filter(|_| !by_size);
            along.push(Along::Scale(Scale {
                input,
                output: output as usize,
                filter: how.filter,
                factor: factors.and_then(|factors| factors.get(place).copied()),
                align: how.align,
                antialias: how.antialias,
            }));
        }
        let scaled = Some(how.clone());
        Resample { names, along, transposed: false, keeps: false, scaled }.apply(self)
    }
}

fn check_pads(pads: &[i64], dims: usize) -> Result<()> {
    ensure!(pads.len().is_multiple_of(2), runtime, "Padding length must be divisible by 2");
    ensure!(
        pads.len() / 2 <= dims,
        runtime,
        "Padding length should be less than or equal to two times the input dimension but got padding \
         length {} and input of dimension {dims}",
        pads.len()
    );
    let most = 1i64 << 48;
    ensure!(
        pads.iter().all(|n| (-most..=most).contains(n)),
        runtime,
        "padding of {pads:?} elements is too large"
    );
    Ok(())
}

/// Refuses paddings that need more than there is.
fn check_edges(shape: &[usize], along: &[Along], edge: Edge, dims: usize) -> Result<()> {
    let n = shape.len();
    let batched = n == dims + 2;
    let needed = usize::from(batched);
    ensure!(
        edge == Edge::Circular || shape[needed..].iter().all(|&n| n > 0),
        runtime,
        "Expected {}D or {}D (batch mode) tensor with possibly 0 batch size and other non-zero \
         dimensions for input, but got: {shape:?}",
        dims + 1,
        dims + 2
    );
    let mut output: SmallVec<[i64; 3]> = SmallVec::new();
    for (dim, along) in along.iter().enumerate().skip(n - dims).rev() {
        let Along::Pad { input, before, after, .. } = *along else { continue };
        let size = input as i64;
        output.insert(0, size + before + after);
        match edge {
            Edge::Reflect => {
                ensure!(
                    before < size && after < size,
                    runtime,
                    "Argument #{}: Padding size should be less than the corresponding input dimension, \
                     but got: padding ({before}, {after}) at dimension {dim} of input {shape:?}",
                    4 + 2 * (n - 1 - dim)
                );
            }
            Edge::Circular => {
                let kept = size + before.min(0) + after.min(0);
                ensure!(
                    kept >= 0 && size + before + after >= 0,
                    runtime,
                    "Negative padding value is resulting in an empty dimension"
                );
                ensure!(
                    before <= kept && after <= kept,
                    runtime,
                    "Padding value causes wrapping around more than once."
                );
            }
            _ => {}
        }
    }
    if edge == Edge::Circular || output.iter().all(|&n| n > 0) {
        return Ok(());
    }
    let given = || shape[n - dims..].iter().map(|&n| n as i64);
    if dims == 1 {
        bail!(
            runtime,
            "input (W: {}) is too small. Calculated output W: {}",
            shape[n - 1],
            output[0]
        );
    }
    bail!(
        runtime,
        "Calculated output {} must be >= 1 in every dimension (input {})",
        lettered(output.iter().copied(), " "),
        lettered(given(), ", ")
    )
}

/// A strided input with a value around, copied once.
fn padded_view(x: &Arc<Core>, along: &[Along], value: Scalar) -> Result<Arc<Core>> {
    let shape: Dims = along.iter().map(|along| along.sizes()[1]).collect();
    let out = Core::alloc(x.dtype(), &shape)?;
    launch::blocks::fill(&out, value)?;
    // What is kept of the input: its first place, the first place it goes to, how many.
    let (mut from, mut to, mut kept) = (x.offset(), 0isize, Dims::new());
    for (dim, along) in along.iter().enumerate() {
        let (n, before, after) = match *along {
            Along::Pad { input, before, after, .. } => (input as i64, before, after),
            _ => (x.shape()[dim] as i64, 0, 0),
        };
        let first = (-before).max(0);
        from += first as isize * x.strides()[dim];
        to += before.max(0) as isize * out.strides()[dim];
        kept.push((n + after.min(0) - first).max(0) as usize);
    }
    if kept.iter().all(|&n| n > 0) {
        let source = x.view(&kept, x.strides(), from)?;
        let target = out.view(&kept, out.strides(), to)?;
        let copy = crate::kernels::copy::cast_block(x.dtype(), x.dtype());
        launch::blocks::run_into(copy, &[0.0; 2], &target, &[&source])?;
    }
    Ok(out)
}
