//! Random numbers: generators and tensors of draws.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "PyO3's expansion, which macro spans make look like ours"
)]

use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustgrad_engine::random::{self, STATE_BYTES, default_generator};
use rustgrad_engine::tensor::random::Distribution;
use rustgrad_engine::{DType, Tensor};

use crate::args::{
    DTypeArg, DeviceArg, FormatArg, LayoutArg, dtype_or_default, leaf, leaf_into, shape, size_list,
};
use crate::error::Bind;
use crate::tensor::{Out, PyTensor, Wrapped};

/// A source of random numbers with a state of its own.
#[pyclass(frozen, name = "Generator", module = "rustgrad")]
pub(crate) struct PyGenerator {
    /// `None`: the generator of the process.
    own: Option<Mutex<random::Generator>>,
}

impl PyGenerator {
    fn with<R>(&self, work: impl FnOnce(&mut random::Generator) -> R) -> R {
        match &self.own {
            Some(own) => work(&mut own.lock()),
            None => work(&mut default_generator().lock()),
        }
    }
}

/// Runs with the generator given, or that of the process.
fn with<R>(
    generator: Option<&Bound<'_, PyGenerator>>,
    work: impl FnOnce(&mut random::Generator) -> R,
) -> R {
    match generator {
        Some(generator) => generator.get().with(work),
        None => work(&mut default_generator().lock()),
    }
}

/// A seed as torch reads it: 64 bits, negative ones wrap.
fn seed_of(seed: &Bound<'_, PyAny>) -> PyResult<u64> {
    let number = seed.call_method0("__index__").or_else(|_| seed.call_method0("__int__"))?;
    if let Ok(seed) = number.extract::<i64>() {
        return Ok(seed as u64);
    }
    number
        .extract::<u64>()
        .map_err(|_| PyRuntimeError::new_err("Overflow when unpacking long long"))
}

fn state_tensor(bytes: &[u8]) -> Out {
    Ok(Wrapped(Tensor::from_slice(bytes, &[bytes.len()])?))
}

fn state_bytes(state: &Bound<'_, PyTensor>) -> Bind<Vec<u8>> {
    let state = &state.get().tensor;
    if state.dtype() != DType::U8 {
        return Err(PyTypeError::new_err("RNG state must be a torch.ByteTensor").into());
    }
    if state.numel() != STATE_BYTES {
        return Err(PyRuntimeError::new_err("RNG state is wrong size").into());
    }
    Ok(state.to_vec::<u8>()?)
}

#[pymethods]
impl PyGenerator {
    #[new]
    #[pyo3(signature = (device = None))]
    fn new(device: Option<DeviceArg>) -> Self {
        let _ = device;
        Self { own: Some(Mutex::new(random::Generator::default())) }
    }

    /// Starts over from a seed.
    fn manual_seed<'py>(
        slf: Bound<'py, Self>,
        seed: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Self>> {
        let seed = seed_of(seed)?;
        slf.get().with(|generator| generator.manual_seed(seed));
        Ok(slf)
    }

    /// Starts over from a seed of the operating system and returns it.
    fn seed(&self) -> u64 {
        self.with(random::Generator::seed)
    }

    /// The seed last started from.
    fn initial_seed(&self) -> u64 {
        self.with(|generator| generator.initial_seed())
    }

    /// The state as a tensor of bytes.
    fn get_state(&self) -> Out {
        state_tensor(&self.with(|generator| generator.state()))
    }

    /// Puts a state back.
    fn set_state(&self, new_state: &Bound<'_, PyTensor>) -> Bind<()> {
        let bytes = state_bytes(new_state)?;
        Ok(self.with(|generator| generator.set_state(&bytes))?)
    }

    #[getter]
    fn device(&self, py: Python<'_>) -> PyResult<Py<crate::device::PyDevice>> {
        Ok(crate::device::cpu(py)?.clone().unbind())
    }
}

/// Seeds the generator of the process.
#[pyfunction]
fn manual_seed<'py>(py: Python<'py>, seed: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let seed = seed_of(seed)?;
    default_generator().lock().manual_seed(seed);
    py.import("rustgrad._core")?.getattr("default_generator")
}

/// Seeds the generator of the process by the operating system.
#[pyfunction]
fn seed() -> u64 {
    default_generator().lock().seed()
}

/// The seed the generator of the process last started from.
#[pyfunction]
fn initial_seed() -> u64 {
    default_generator().lock().initial_seed()
}

/// The state of the generator of the process.
#[pyfunction]
fn get_rng_state() -> Out {
    let state = default_generator().lock().state();
    state_tensor(&state)
}

/// Puts back the state of the generator of the process.
#[pyfunction]
fn set_rng_state(new_state: &Bound<'_, PyTensor>) -> Bind<()> {
    let bytes = state_bytes(new_state)?;
    Ok(default_generator().lock().set_state(&bytes)?)
}

fn draw(
    sizes: &[usize],
    dtype: DType,
    from: Distribution,
    generator: Option<&Bound<'_, PyGenerator>>,
) -> rustgrad_engine::Result<Tensor> {
    with(generator, |generator| Tensor::sample(sizes, dtype, from, generator))
}

macro_rules! draws {
    ($($name:ident, $like:ident => $from:expr;)*) => {
        $(
            #[doc = concat!("Random numbers, see torch.", stringify!($name), ".")]
            #[pyfunction]
            #[pyo3(signature = (
                *args, size = None, generator = None, out = None, dtype = None, layout = None,
                device = None, requires_grad = false, pin_memory = false
            ))]
            fn $name(
                args: &Bound<'_, PyTuple>,
                size: Option<&Bound<'_, PyAny>>,
                generator: Option<&Bound<'_, PyGenerator>>,
                out: Option<&Bound<'_, PyAny>>,
                dtype: Option<DTypeArg>,
                layout: Option<LayoutArg>,
                device: Option<DeviceArg>,
                requires_grad: bool,
                pin_memory: bool,
            ) -> Out {
                let _ = (layout, device, pin_memory);
                leaf_into(stringify!($name), out, draw(&shape(args, size)?, dtype_or_default(dtype), $from, generator), requires_grad)
            }

            #[doc = concat!("Random numbers in the shape of a tensor, see torch.", stringify!($like), ".")]
            #[pyfunction]
            #[pyo3(signature = (
                input, *, dtype = None, layout = None, device = None, requires_grad = false,
                memory_format = None, generator = None
            ))]
            fn $like(
                input: &Bound<'_, PyTensor>,
                dtype: Option<DTypeArg>,
                layout: Option<LayoutArg>,
                device: Option<DeviceArg>,
                requires_grad: bool,
                memory_format: Option<FormatArg>,
                generator: Option<&Bound<'_, PyGenerator>>,
            ) -> Out {
                let _ = (layout, device, memory_format);
                let input = &input.get().tensor;
                let dtype = dtype.map_or(input.dtype(), |dtype| dtype.0);
                leaf(draw(&input.shape(), dtype, $from, generator), requires_grad)
            }
        )*
    };
}

draws! {
    rand, rand_like => Distribution::Unit;
    randn, randn_like => Distribution::Normal(0.0, 1.0);
}

/// The arguments `(high, size)` or `(low, high, size)`.
fn bounds<'py>(
    args: &Bound<'py, PyTuple>,
    low: Option<i64>,
    high: Option<i64>,
    size: Option<Bound<'py, PyAny>>,
    sized: bool,
) -> Bind<(i64, i64, Option<Bound<'py, PyAny>>)> {
    let wrong = || PyTypeError::new_err("randint() received an invalid combination of arguments");
    let mut rest: Vec<Bound<'py, PyAny>> = args.iter().collect();
    let size = match size {
        Some(size) => Some(size),
        None if sized => Some(rest.pop().ok_or_else(wrong)?),
        None => None,
    };
    let mut numbers = Vec::new();
    for value in rest {
        numbers.push(value.extract::<i64>().map_err(|_| wrong())?);
    }
    let (low, high) = match (numbers.as_slice(), low, high) {
        (&[high], low, None) => (low.unwrap_or(0), high),
        (&[low, high], None, None) => (low, high),
        (&[low], None, Some(high)) => (low, high),
        (&[], low, Some(high)) => (low.unwrap_or(0), high),
        _ => return Err(wrong().into()),
    };
    Ok((low, high, size))
}

/// Integers uniform in `[low, high)`.
#[pyfunction]
#[pyo3(signature = (
    *args, low = None, high = None, size = None, generator = None, out = None, dtype = None,
    layout = None, device = None, requires_grad = false, pin_memory = false
))]
fn randint(
    args: &Bound<'_, PyTuple>,
    low: Option<i64>,
    high: Option<i64>,
    size: Option<Bound<'_, PyAny>>,
    generator: Option<&Bound<'_, PyGenerator>>,
    out: Option<&Bound<'_, PyAny>>,
    dtype: Option<DTypeArg>,
    layout: Option<LayoutArg>,
    device: Option<DeviceArg>,
    requires_grad: bool,
    pin_memory: bool,
) -> Out {
    let _ = (layout, device, pin_memory);
    let (low, high, size) = bounds(args, low, high, size, true)?;
    let Some(size) = size.filter(|size| size.hasattr("__iter__").unwrap_or(false)) else {
        return Err(PyTypeError::new_err("randint(): argument 'size' must be tuple of ints").into());
    };
    let sizes = rustgrad_engine::shape::from_sizes(&size_list(&size)?)?;
    let dtype = dtype.map_or(DType::I64, |dtype| dtype.0);
    leaf_into(
        "randint",
        out,
        draw(&sizes, dtype, Distribution::Integers(low, high), generator),
        requires_grad,
    )
}

/// Integers uniform in `[low, high)` in the shape of a tensor.
#[pyfunction]
#[pyo3(signature = (
    input, *args, low = None, high = None, dtype = None, layout = None, device = None,
    requires_grad = false, memory_format = None, generator = None
))]
fn randint_like(
    input: &Bound<'_, PyTensor>,
    args: &Bound<'_, PyTuple>,
    low: Option<i64>,
    high: Option<i64>,
    dtype: Option<DTypeArg>,
    layout: Option<LayoutArg>,
    device: Option<DeviceArg>,
    requires_grad: bool,
    memory_format: Option<FormatArg>,
    generator: Option<&Bound<'_, PyGenerator>>,
) -> Out {
    let _ = (layout, device, memory_format);
    let (low, high, _) = bounds(args, low, high, None, false)?;
    let input = &input.get().tensor;
    let dtype = dtype.map_or(input.dtype(), |dtype| dtype.0);
    leaf(draw(&input.shape(), dtype, Distribution::Integers(low, high), generator), requires_grad)
}

/// The numbers below `n` in random order.
#[pyfunction]
#[pyo3(signature = (
    n, *, generator = None, out = None, dtype = None, layout = None, device = None,
    requires_grad = false, pin_memory = false
))]
fn randperm(
    n: i64,
    generator: Option<&Bound<'_, PyGenerator>>,
    out: Option<&Bound<'_, PyAny>>,
    dtype: Option<DTypeArg>,
    layout: Option<LayoutArg>,
    device: Option<DeviceArg>,
    requires_grad: bool,
    pin_memory: bool,
) -> Out {
    let _ = (layout, device, pin_memory);
    if n < 0 {
        return Err(PyRuntimeError::new_err(format!("n must be non-negative, got {n}")).into());
    }
    let dtype = dtype.map_or(DType::I64, |dtype| dtype.0);
    leaf_into(
        "randperm",
        out,
        with(generator, |generator| Tensor::randperm(n as usize, dtype, generator)),
        requires_grad,
    )
}

/// Normal numbers around `mean`, each with the spread `std`.
#[pyfunction]
#[pyo3(signature = (mean, std = None, size = None, *, generator = None, out = None, dtype = None, layout = None, device = None, requires_grad = false))]
fn normal(
    mean: &Bound<'_, PyAny>,
    std: Option<&Bound<'_, PyAny>>,
    size: Option<&Bound<'_, PyAny>>,
    generator: Option<&Bound<'_, PyGenerator>>,
    out: Option<&Bound<'_, PyAny>>,
    dtype: Option<DTypeArg>,
    layout: Option<LayoutArg>,
    device: Option<DeviceArg>,
    requires_grad: bool,
) -> Out {
    let _ = (layout, device);
    if let Some(size) = size {
        let (mean, std) = (
            crate::create::number(mean)?.to_f64(),
            std.map(crate::create::number).transpose()?.map_or(1.0, |std| std.to_f64()),
        );
        let sizes = rustgrad_engine::shape::from_sizes(&size_list(size)?)?;
        let from = Distribution::Normal(mean, std);
        return leaf_into(
            "normal",
            out,
            draw(&sizes, dtype_or_default(dtype), from, generator),
            requires_grad,
        );
    }
    let mean = crate::convert::tensor_or_number(mean)?;
    let std = match std {
        Some(std) => crate::convert::tensor_or_number(std)?,
        None => Tensor::scalar(1.0f32)?.into_number(),
    };
    let (mean, std) = (mean.detach(), std.detach());
    if std
        .lt(&Tensor::scalar(0.0f32)?.into_number())?
        .all_or_any(true, &[], false)?
        .item()?
        .to_f64()
        != 0.0
    {
        return Err(
            rustgrad_engine::Error::runtime("normal expects all elements of std >= 0.0").into()
        );
    }
    let scale = std.add(&mean.mul(&Tensor::scalar(0.0f32)?.into_number())?)?;
    let noise = draw(&scale.shape(), scale.dtype(), Distribution::Normal(0.0, 1.0), generator)?;
    Ok(Wrapped(noise.mul(&std)?.add(&mean)?))
}

/// One with the probability in `input`, else zero.
#[pyfunction]
#[pyo3(signature = (input, p = None, *, generator = None, out = None))]
fn bernoulli(
    input: &Bound<'_, PyTensor>,
    p: Option<f64>,
    generator: Option<&Bound<'_, PyGenerator>>,
    out: Option<&Bound<'_, PyAny>>,
) -> Out {
    let input = &input.get().tensor;
    let result = match p {
        Some(p) => draw(&input.shape(), input.dtype(), Distribution::Bernoulli(p), generator),
        None => with(generator, |generator| input.bernoulli(input.dtype(), generator)),
    };
    leaf_into("bernoulli", out, result, false)
}

/// Indices drawn by weights.
#[pyfunction]
#[pyo3(signature = (input, num_samples, replacement = false, *, generator = None, out = None))]
fn multinomial(
    input: &Bound<'_, PyTensor>,
    num_samples: i64,
    replacement: bool,
    generator: Option<&Bound<'_, PyGenerator>>,
    out: Option<&Bound<'_, PyAny>>,
) -> Out {
    let (input, count) = (&input.get().tensor, num_samples.max(0) as usize);
    let result = with(generator, |generator| input.multinomial(count, replacement, generator));
    leaf_into("multinomial", out, result, false)
}

macro_rules! fills {
    ($($name:ident ($($arg:ident = $default:expr),*) => $from:expr;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = concat!("Overwrites the tensor with random numbers, see torch.Tensor.", stringify!($name), ".")]
                #[pyo3(signature = ($($arg = $default,)* *, generator = None))]
                fn $name<'py>(
                    slf: Bound<'py, Self>,
                    $($arg: f64,)*
                    generator: Option<&Bound<'py, PyGenerator>>,
                ) -> Bind<Bound<'py, Self>> {
                    let tensor = &slf.get().tensor;
                    with(generator, |generator| tensor.sample_(stringify!($name), $from, generator))?;
                    Ok(slf)
                }
            )*
        }
    };
}

fills! {
    uniform_(from = 0.0, to = 1.0) => Distribution::Uniform(from, to);
    normal_(mean = 0.0, std = 1.0) => Distribution::Normal(mean, std);
    exponential_(lambd = 1.0) => Distribution::Exponential(lambd);
    cauchy_(median = 0.0, sigma = 1.0) => Distribution::Cauchy(median, sigma);
    log_normal_(mean = 1.0, std = 2.0) => Distribution::LogNormal(mean, std);
}

#[pymethods]
impl PyTensor {
    /// Overwrites the tensor with random integers.
    #[pyo3(signature = (from = None, to = None, *, generator = None))]
    fn random_<'py>(
        slf: Bound<'py, Self>,
        from: Option<i64>,
        to: Option<i64>,
        generator: Option<&Bound<'py, PyGenerator>>,
    ) -> Bind<Bound<'py, Self>> {
        let numbers = match (from, to) {
            (None, None) => Distribution::AnyInteger,
            (Some(end), None) => Distribution::Integers(0, end),
            (from, Some(to)) => Distribution::Integers(from.unwrap_or(0), to),
        };
        let tensor = &slf.get().tensor;
        with(generator, |generator| tensor.sample_("random_", numbers, generator))?;
        Ok(slf)
    }

    /// Overwrites the tensor with numbers of trials to the first success.
    #[pyo3(signature = (p, *, generator = None))]
    fn geometric_<'py>(
        slf: Bound<'py, Self>,
        p: f64,
        generator: Option<&Bound<'py, PyGenerator>>,
    ) -> Bind<Bound<'py, Self>> {
        let tensor = &slf.get().tensor;
        with(generator, |generator| {
            tensor.sample_("geometric_", Distribution::Geometric(p), generator)
        })?;
        Ok(slf)
    }

    /// Overwrites the tensor with ones and zeros; `p` is a probability or a tensor of them.
    #[pyo3(signature = (p = None, *, generator = None))]
    fn bernoulli_<'py>(
        slf: Bound<'py, Self>,
        p: Option<&Bound<'py, PyAny>>,
        generator: Option<&Bound<'py, PyGenerator>>,
    ) -> Bind<Bound<'py, Self>> {
        let tensor = &slf.get().tensor;
        if let Some(p) = p.and_then(crate::convert::tensor) {
            let draws = with(generator, |generator| p.bernoulli(tensor.dtype(), generator))?;
            tensor.copy_(&draws)?;
            return Ok(slf);
        }
        let p = p.map(crate::create::number).transpose()?.map_or(0.5, |p| p.to_f64());
        with(generator, |generator| {
            tensor.sample_("bernoulli_", Distribution::Bernoulli(p), generator)
        })?;
        Ok(slf)
    }

    /// One with the probability in the tensor, else zero.
    #[pyo3(name = "bernoulli", signature = (p = None, *, generator = None))]
    fn bernoulli_method(
        slf: &Bound<'_, Self>,
        p: Option<f64>,
        generator: Option<&Bound<'_, PyGenerator>>,
    ) -> Out {
        bernoulli(slf, p, generator, None)
    }

    /// Indices drawn by the weights in the tensor.
    #[pyo3(name = "multinomial", signature = (num_samples, replacement = false, *, generator = None))]
    fn multinomial_method(
        slf: &Bound<'_, Self>,
        num_samples: i64,
        replacement: bool,
        generator: Option<&Bound<'_, PyGenerator>>,
    ) -> Out {
        multinomial(slf, num_samples, replacement, generator, None)
    }
}

/// Adds the functions to the module.
pub(crate) fn export(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyGenerator>()?;
    module.add("default_generator", Bound::new(module.py(), PyGenerator { own: None })?)?;
    module.add_function(wrap_pyfunction!(manual_seed, module)?)?;
    module.add_function(wrap_pyfunction!(seed, module)?)?;
    module.add_function(wrap_pyfunction!(initial_seed, module)?)?;
    module.add_function(wrap_pyfunction!(get_rng_state, module)?)?;
    module.add_function(wrap_pyfunction!(set_rng_state, module)?)?;
    module.add_function(wrap_pyfunction!(rand, module)?)?;
    module.add_function(wrap_pyfunction!(rand_like, module)?)?;
    module.add_function(wrap_pyfunction!(randn, module)?)?;
    module.add_function(wrap_pyfunction!(randn_like, module)?)?;
    module.add_function(wrap_pyfunction!(randint, module)?)?;
    module.add_function(wrap_pyfunction!(randint_like, module)?)?;
    module.add_function(wrap_pyfunction!(randperm, module)?)?;
    module.add_function(wrap_pyfunction!(normal, module)?)?;
    module.add_function(wrap_pyfunction!(bernoulli, module)?)?;
    module.add_function(wrap_pyfunction!(multinomial, module)?)
}
