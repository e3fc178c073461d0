//! Padding, resampling and rearranging of images: one call of the engine each, for `nn.functional`.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "PyO3's expansion, which macro spans make look like ours"
)]

use pyo3::exceptions::{PyNotImplementedError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyList, PyString, PyTuple};
use rustgrad_engine::ops::patches::Tiling;
use rustgrad_engine::ops::resample::{Edge, Filter, Interpolation};
use rustgrad_engine::{DType, Scalar};
use smallvec::SmallVec;

use crate::args::class_name;
use crate::convert;
use crate::error::Bind;
use crate::gil::detached;
use crate::tensor::{Out, PyTensor, Wrapped};

type Numbers = SmallVec<[i64; 10]>;

/// The items of a list or tuple; `None` for anything else.
fn items<'py>(value: &Bound<'py, PyAny>) -> Option<SmallVec<[Bound<'py, PyAny>; 6]>> {
    if let Ok(tuple) = value.cast::<PyTuple>() {
        return Some(tuple.iter().collect());
    }
    value.cast::<PyList>().ok().map(|list| list.iter().collect())
}

/// A whole number, which a truth value or a float is not.
fn whole(value: &Bound<'_, PyAny>) -> Option<i64> {
    if value.is_instance_of::<PyBool>() || value.is_instance_of::<PyFloat>() {
        return None;
    }
    value.extract().ok()
}

/// A list of whole numbers.
fn whole_numbers(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Numbers> {
    let Some(list) = items(value) else {
        return Err(PyTypeError::new_err(format!(
            "{what} must be tuple of ints, not {}",
            class_name(value)?
        )));
    };
    let mut numbers = Numbers::new();
    for (place, item) in list.iter().enumerate() {
        let Some(number) = whole(item) else {
            return Err(PyTypeError::new_err(format!(
                "{what} must be tuple of ints, but found element of type {} at pos {place}",
                class_name(item)?
            )));
        };
        numbers.push(number);
    }
    Ok(numbers)
}

/// The value that a constant padding adds, a number or a tensor of one element.
fn padding_value(value: Option<&Bound<'_, PyAny>>, input: &PyTensor) -> Bind<Scalar> {
    let Some(value) = value else { return Ok(Scalar::Int(0)) };
    let number = match convert::scalar(value)? {
        Some(number) => number,
        None => match value.extract::<f64>() {
            Ok(number) if convert::tensor(value).is_some() => Scalar::Float(number),
            _ => {
                return Err(PyTypeError::new_err(format!(
                    "pad(): argument 'value' (position 4) must be float, not {}",
                    class_name(value)?
                ))
                .into());
            }
        },
    };
    let dtype = input.tensor.dtype();
    if dtype == DType::U8 && number.to_f64() < 0.0 {
        return Err(PyRuntimeError::new_err(
            "value cannot be converted to type uint8_t without overflow",
        )
        .into());
    }
    crate::data::fits(number, dtype)?;
    Ok(number)
}

/// The input with elements added around it, or with some taken away where a number is negative.
///
/// Parameters
/// ----------
/// input
///     Any shape; modes other than ``"constant"`` pad the last one to three dimensions.
/// pad
///     How much before and after, from the last dimension on.
/// mode
///     ``"constant"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
/// value
///     What is added in mode ``"constant"``, zero by default.
#[pyfunction]
#[pyo3(signature = (input, pad, mode = None, value = None))]
fn pad(
    py: Python<'_>,
    input: &Bound<'_, PyAny>,
    pad: &Bound<'_, PyAny>,
    mode: Option<&Bound<'_, PyAny>>,
    value: Option<&Bound<'_, PyAny>>,
) -> Out {
    let Ok(input) = input.cast::<PyTensor>() else {
        return Err(PyTypeError::new_err(format!(
            "pad(): argument 'input' (position 1) must be Tensor, not {}",
            class_name(input)?
        ))
        .into());
    };
    let pads = whole_numbers(pad, "pad(): argument 'pad' (position 2)")?;
    let edge = match mode {
        None => Edge::Constant,
        Some(mode) => {
            let Ok(name) = mode.cast::<PyString>() else {
                return Err(PyTypeError::new_err(format!(
                    "pad(): argument 'mode' (position 3) must be str, not {}",
                    class_name(mode)?
                ))
                .into());
            };
            match name.to_str()? {
                "constant" => Edge::Constant,
                "reflect" => Edge::Reflect,
                "replicate" => Edge::Replicate,
                "circular" => Edge::Circular,
                other => {
                    return Err(PyNotImplementedError::new_err(format!(
                        "Unrecognised padding mode {other}"
                    ))
                    .into());
                }
            }
        }
    };
    let tensor = &input.get().tensor;
    if edge == Edge::Constant {
        let value = padding_value(value, input.get())?;
        return Ok(Wrapped(detached(py, tensor.byte_hint(), || {
            tensor.constant_pad(&pads, value)
        })?));
    }
    if padding_value(value, input.get())?.to_f64() != 0.0 {
        let name = mode.map_or(Ok(String::new()), |mode| mode.extract())?;
        return Err(PyRuntimeError::new_err(format!(
            "Padding mode \"{name}\" doesn't take in value argument"
        ))
        .into());
    }
    Ok(Wrapped(detached(py, tensor.byte_hint(), || tensor.edge_pad(&pads, edge))?))
}

/// A number for each dimension behind the channels, given one by one or one for all.
fn for_each_dim<T>(
    input: &PyTensor,
    value: &Bound<'_, PyAny>,
    name: &str,
    mut number: impl FnMut(&Bound<'_, PyAny>, bool) -> PyResult<T>,
) -> PyResult<SmallVec<[T; 3]>>
where
    T: Clone,
{
    let shape = input.tensor.shape();
    let dims = shape.len().saturating_sub(2);
    let Some(list) = items(value) else {
        let one = number(value, false)?;
        return Ok(std::iter::repeat_n(one, dims).collect());
    };
    if list.len() != dims {
        let (what, given, short) = if name == "size" {
            ("output", "output size of", "output size in (o1, o2, ...,oK)")
        } else {
            ("scale_factor", "scale_factor of shape", "scale_factor in (s1, s2, ...,sK)")
        };
        return Err(PyValueError::new_err(format!(
            "Input and {what} must have the same number of spatial dimensions, but got input with \
             spatial dimensions of {:?} and {given} {}. Please provide input tensor in (N, C, d1, d2, \
             ...,dK) format and {short} format.",
            shape.get(2..).unwrap_or(&[]),
            value.repr()?
        )));
    }
    list.iter().map(|item| number(item, true)).collect()
}

/// `(N, C, *)` resampled to a size, or by a factor, over one to three dimensions.
///
/// Parameters
/// ----------
/// input
///     ``(N, C, L)``, ``(N, C, H, W)`` or ``(N, C, D, H, W)``.
/// size, scale_factor
///     The new sizes, or the factors; one of the two.
/// mode
///     ``"nearest"``, ``"nearest-exact"``, ``"linear"``, ``"bilinear"``, ``"bicubic"``, ``"trilinear"``,
///     ``"lanczos"`` or ``"area"``.
/// align_corners
///     Whether the centres of the corner elements stay where they are.
/// recompute_scale_factor
///     Whether the factors are those of the sizes, not the given ones.
/// antialias
///     Whether the filter of modes ``"bilinear"``, ``"bicubic"`` and ``"lanczos"`` grows with what it takes
///     together.
#[pyfunction]
#[pyo3(signature = (input, size = None, scale_factor = None, mode = "nearest", align_corners = None, recompute_scale_factor = None, antialias = false))]
fn interpolate(
    py: Python<'_>,
    input: &Bound<'_, PyTensor>,
    size: Option<&Bound<'_, PyAny>>,
    scale_factor: Option<&Bound<'_, PyAny>>,
    mode: &str,
    align_corners: Option<bool>,
    recompute_scale_factor: Option<bool>,
    antialias: bool,
) -> Out {
    let tensor = &input.get().tensor;
    let n = tensor.ndim();
    let (filter, wanted) = match mode {
        "nearest" => (Some(Filter::Nearest), None),
        "nearest-exact" => (Some(Filter::NearestExact), None),
        "linear" => (Some(Filter::Linear), Some(3)),
        "bilinear" => (Some(Filter::Linear), Some(4)),
        "trilinear" => (Some(Filter::Linear), Some(5)),
        "bicubic" => (Some(Filter::Cubic), Some(4)),
        "lanczos" => (Some(Filter::Lanczos), Some(4)),
        _ => (None, None),
    };
    let lone = matches!(mode, "nearest" | "nearest-exact" | "area");
    if lone && align_corners.is_some() {
        return Err(PyValueError::new_err(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | \
             bicubic | trilinear",
        )
        .into());
    }
    let refused = |text: &str| Err(PyValueError::new_err(text.to_owned()).into());
    let (sizes, factors) = match (size, scale_factor) {
        (Some(_), Some(_)) => {
            return refused("only one of size or scale_factor should be defined");
        }
        (None, None) => return refused("either size or scale_factor should be defined"),
        (Some(size), None) => {
            let of = |item: &Bound<'_, PyAny>, _: bool| {
                whole(item).ok_or_else(|| {
                    PyTypeError::new_err(format!(
                        "expected size to be one of int or Tuple[int] or Tuple[int, int] or Tuple[int, \
                         int, int], but got size {size}"
                    ))
                })
            };
            (for_each_dim(input.get(), size, "size", of)?, None)
        }
        (None, Some(factor)) => {
            let of = |item: &Bound<'_, PyAny>, _: bool| match convert::scalar(item) {
                Ok(Some(number)) => Ok(number.to_f64()),
                _ => Err(PyTypeError::new_err(format!(
                    "expected scale_factor to be a float or a tuple of floats, but got {factor}"
                ))),
            };
            let factors = for_each_dim(input.get(), factor, "scale_factor", of)?;
            let mut sizes: SmallVec<[i64; 3]> = SmallVec::new();
            for (&size, factor) in tensor.shape().get(2..).unwrap_or(&[]).iter().zip(&factors) {
                let size = size as f64 * factor;
                if !(size.abs() < 9e18) {
                    return Err(PyRuntimeError::new_err(
                        "value cannot be converted to type int64_t without overflow",
                    )
                    .into());
                }
                sizes.push(size as i64);
            }
            (sizes, Some(factors))
        }
    };
    let recompute = recompute_scale_factor == Some(true);
    if recompute && size.is_some() {
        return refused("recompute_scale_factor is not meaningful with an explicit size.");
    }
    let smooth = matches!(mode, "bilinear" | "bicubic" | "lanczos");
    if antialias && !(smooth && n == 4) {
        return refused(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D \
             tensor as input",
        );
    }
    if !(3..=5).contains(&n) || filter.is_none() && mode != "area" {
        return Err(PyNotImplementedError::new_err(format!(
            "Input Error: Only 3D, 4D and 5D input Tensors supported (got {n}D) for the modes: nearest | \
             linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact (got {mode})"
        ))
        .into());
    }
    if let Some(wanted) = wanted.filter(|&wanted| wanted != n) {
        return Err(PyNotImplementedError::new_err(format!(
            "Got {n}D input, but {mode} mode needs {wanted}D input"
        ))
        .into());
    }
    let Some(filter) = filter else {
        let name = format!("adaptive_avg_pool{}d", n - 2);
        let pool = py.import("rustgrad.nn.functional")?.getattr(name)?;
        let made = pool.call1((input, PyTuple::new(py, &sizes)?))?;
        let made = made.cast::<PyTensor>().map_err(PyErr::from)?;
        return Ok(Wrapped(made.get().tensor.clone()));
    };
    if filter == Filter::Lanczos && align_corners == Some(true) {
        return refused("Lanczos mode does not support align_corners=True");
    }
    if filter == Filter::Lanczos && !antialias {
        return refused("Lanczos mode requires antialias=True");
    }
    let how = Interpolation {
        filter,
        sizes,
        factors: factors.filter(|_| !recompute),
        align: align_corners == Some(true),
        antialias,
    };
    let grown: f64 = how.sizes.iter().map(|&n| n.max(1) as f64).product();
    let elements: usize = tensor.shape()[..2].iter().product();
    let bytes = (elements as f64 * grown * 4.0).min(1e18) as usize;
    Ok(Wrapped(detached(py, tensor.byte_hint().max(bytes), || tensor.interpolate(&how))?))
}

/// Two numbers, or one for both.
fn two(value: &Bound<'_, PyAny>, name: &str) -> PyResult<[i64; 2]> {
    if let Some(number) = whole(value) {
        return Ok([number; 2]);
    }
    let numbers = whole_numbers(value, name)?;
    match numbers[..] {
        [both] => Ok([both; 2]),
        [first, second] => Ok([first, second]),
        _ => Err(PyRuntimeError::new_err(format!(
            "It is expected {name} equals to 2, but got size {}",
            numbers.len()
        ))),
    }
}

fn tiling(
    kernel: &Bound<'_, PyAny>,
    dilation: Option<&Bound<'_, PyAny>>,
    padding: Option<&Bound<'_, PyAny>>,
    stride: Option<&Bound<'_, PyAny>>,
) -> PyResult<Tiling> {
    let given = |value: Option<&Bound<'_, PyAny>>, name: &str, default: i64| {
        value.map_or(Ok([default; 2]), |value| two(value, name))
    };
    Ok(Tiling {
        kernel: two(kernel, "kernel_size")?,
        dilation: given(dilation, "dilation", 1)?,
        padding: given(padding, "padding", 0)?,
        stride: given(stride, "stride", 1)?,
    })
}

/// The patches of images as columns: ``(N, C, H, W)`` to ``(N, C * kernel, places)``.
#[pyfunction]
#[pyo3(signature = (input, kernel_size, dilation = None, padding = None, stride = None))]
fn unfold(
    py: Python<'_>,
    input: &Bound<'_, PyTensor>,
    kernel_size: &Bound<'_, PyAny>,
    dilation: Option<&Bound<'_, PyAny>>,
    padding: Option<&Bound<'_, PyAny>>,
    stride: Option<&Bound<'_, PyAny>>,
) -> Out {
    let tiling = tiling(kernel_size, dilation, padding, stride)?;
    let input = &input.get().tensor;
    let kernel = tiling.kernel.iter().map(|&n| n.clamp(1, 1 << 16) as usize).product::<usize>();
    let bytes = input.byte_hint().saturating_mul(kernel);
    Ok(Wrapped(detached(py, bytes, || input.unfold_patches(&tiling))?))
}

/// Images from their patches, added where they overlap: ``(N, C * kernel, places)`` to ``(N, C, H, W)``.
#[pyfunction]
#[pyo3(signature = (input, output_size, kernel_size, dilation = None, padding = None, stride = None))]
fn fold(
    py: Python<'_>,
    input: &Bound<'_, PyTensor>,
    output_size: &Bound<'_, PyAny>,
    kernel_size: &Bound<'_, PyAny>,
    dilation: Option<&Bound<'_, PyAny>>,
    padding: Option<&Bound<'_, PyAny>>,
    stride: Option<&Bound<'_, PyAny>>,
) -> Out {
    let size = two(output_size, "output_size")?;
    let tiling = tiling(kernel_size, dilation, padding, stride)?;
    let input = &input.get().tensor;
    Ok(Wrapped(detached(py, input.byte_hint(), || input.fold_patches(size, &tiling))?))
}

macro_rules! shuffles {
    ($($(#[$doc:meta])* $name:ident $argument:ident;)*) => {
        $(
            $(#[$doc])*
            #[pyfunction]
            fn $name(py: Python<'_>, input: &Bound<'_, PyTensor>, $argument: &Bound<'_, PyAny>) -> Out {
                let Some(number) = whole($argument) else {
                    return Err(PyTypeError::new_err(format!(
                        "{}(): argument '{}' (position 2) must be int, not {}",
                        stringify!($name),
                        stringify!($argument),
                        class_name($argument)?
                    ))
                    .into());
                };
                let input = &input.get().tensor;
                Ok(Wrapped(detached(py, input.byte_hint(), || input.$name(number))?))
            }
        )*
    };
}

shuffles! {
    /// ``(*, C * r * r, H, W)`` as ``(*, C, H * r, W * r)``.
    pixel_shuffle upscale_factor;
    /// ``(*, C, H * r, W * r)`` as ``(*, C * r * r, H, W)``.
    pixel_unshuffle downscale_factor;
    /// The channels of ``(N, C, *)`` with those of the groups taken in turn.
    channel_shuffle groups;
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("_nn_pad", wrap_pyfunction!(pad, module)?)?;
    module.add("_nn_interpolate", wrap_pyfunction!(interpolate, module)?)?;
    module.add("_nn_unfold", wrap_pyfunction!(unfold, module)?)?;
    module.add("_nn_fold", wrap_pyfunction!(fold, module)?)?;
    module.add("_nn_pixel_shuffle", wrap_pyfunction!(pixel_shuffle, module)?)?;
    module.add("_nn_pixel_unshuffle", wrap_pyfunction!(pixel_unshuffle, module)?)?;
    module.add("_nn_channel_shuffle", wrap_pyfunction!(channel_shuffle, module)?)
}
