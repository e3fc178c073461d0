//! `x[...]`, read and written, by Python's and torch's rules.

use crate::dtype::{DType, Scalar};
use crate::error::{Result, bail, ensure};
use crate::shape::{Dims, Strides, shape_text};
use crate::tensor::Tensor;

/// One entry of an index.
#[derive(Clone, Debug)]
pub enum Entry {
    /// `x[3]`
    Int(i64),
    /// `x[start:stop:step]`; `stop` absent is `i64::MAX`.
    Slice(i64, i64, i64),
    /// `x[None]`
    NewAxis,
    /// `x[...]`
    Ellipsis,
    /// `x[True]`
    Bool(bool),
    /// A mask or a tensor of indices.
    Tensor(Tensor),
}

/// What basic indexing leaves: the view, and the advanced indices into it.
struct Basic {
    view: Tensor,
    advanced: Vec<Option<Tensor>>,
}

fn consumed(entry: &Entry) -> usize {
    match entry {
        Entry::Int(_) | Entry::Slice(..) => 1,
        Entry::NewAxis | Entry::Ellipsis | Entry::Bool(_) => 0,
        Entry::Tensor(tensor) if matches!(tensor.dtype(), DType::Bool | DType::U8) => tensor.ndim(),
        Entry::Tensor(_) => 1,
    }
}

fn flag(value: bool) -> Result<Tensor> {
    if value { Tensor::from_slice(&[0i64], &[1]) } else { Tensor::empty(&[0], DType::I64) }
}

impl Tensor {
    #[track_caller]
    fn pick(&self, dim: usize, index: i64) -> Result<Self> {
        let core = self.core();
        let n = core.shape().get(dim).copied().unwrap_or(0) as i64;
        ensure!(
            (-n..n).contains(&index),
            index,
            "index {index} is out of bounds for dimension {dim} with size {n}"
        );
        self.select(dim as i64, index)
    }

    #[track_caller]
    fn part(&self, dim: usize, start: i64, stop: i64, step: i64) -> Result<Self> {
        ensure!(step > 0, value, "step must be greater than zero");
        let n = self.core().shape().get(dim).copied().unwrap_or(0) as i64;
        if start == 0 && stop >= n && step == 1 {
            return Ok(self.clone());
        }
        self.slice(dim as i64, start, stop, step)
    }

    #[track_caller]
    fn basic(&self, entries: &[Entry]) -> Result<Basic> {
        let ndim = self.ndim();
        let wanted: usize = entries.iter().map(consumed).sum();
        let zero = ndim == 0 && entries.iter().any(|entry| matches!(entry, Entry::Int(_)));
        ensure!(
            !zero,
            index,
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` \
             in C++ to convert a 0-dim tensor to a number"
        );
        ensure!(wanted <= ndim, index, "too many indices for tensor of dimension {ndim}");
        let mut view = self.clone();
        let mut advanced: Vec<Option<Self>> = Vec::new();
        let mut dim = 0;
        let put = |advanced: &mut Vec<Option<Self>>, dim: usize, tensor: Self| {
            if advanced.len() <= dim {
                advanced.resize(dim + 1, None);
            }
            advanced[dim] = Some(tensor);
        };
        // Masks of several dimensions stand as one entry and shift the places behind them.
        let mut hidden = 0;
        let mut seen = false;
        for entry in entries {
            match entry {
                Entry::Int(index) => view = view.pick(dim, *index)?,
                Entry::Slice(start, stop, step) => {
                    view = view.part(dim, *start, *stop, *step)?;
                    dim += 1;
                }
                Entry::NewAxis => {
                    view = view.unsqueeze(dim as i64)?;
                    dim += 1;
                }
                Entry::Ellipsis => {
                    // A second one is as good as a colon for nothing.
                    if !seen {
                        dim += ndim - wanted;
                    }
                    seen = true;
                }
                Entry::Bool(value) => {
                    view = view.unsqueeze(dim as i64)?;
                    put(&mut advanced, dim - hidden, flag(*value)?);
                    dim += 1;
                }
                Entry::Tensor(tensor) if tensor.ndim() == 0 => match tensor.dtype() {
                    DType::Bool | DType::U8 => {
                        view = view.unsqueeze(dim as i64)?;
                        let value = tensor.item()?.to_i64() != 0;
                        put(&mut advanced, dim - hidden, flag(value)?);
                        dim += 1;
                    }
                    dtype if dtype.is_int() => view = view.pick(dim, tensor.item()?.to_i64())?,
                    _ => bail!(
                        index,
                        "tensors used as indices must be long, int, byte or bool tensors"
                    ),
                },
                Entry::Tensor(tensor) => {
                    put(&mut advanced, dim - hidden, tensor.clone());
                    let width = consumed(entry);
                    dim += width;
                    hidden += width - 1;
                }
            }
        }
        Ok(Basic { view, advanced })
    }

    /// `self[entries]`: a view, or a copy if there are advanced entries.
    ///
    /// # Errors
    /// If an entry does not fit.
    #[track_caller]
    pub fn subscript(&self, entries: &[Entry]) -> Result<Self> {
        if let [Entry::Int(index)] = entries {
            if self.ndim() > 0 {
                return self.pick(0, *index);
            }
        }
        let Basic { view, advanced } = self.basic(entries)?;
        if !advanced.is_empty() {
            return view.index(&advanced);
        }
        if view.is(self) { self.alias() } else { Ok(view) }
    }

    /// `self[entries] = number`, for writes that are not recorded at integers and slices; `false`,
    /// with nothing done, for others and for those that will be refused.
    ///
    /// # Errors
    /// If torch refuses writes to this tensor.
    #[track_caller]
    pub fn subscript_fill(&self, entries: &[Entry], number: Scalar) -> Result<bool> {
        if crate::graph::recording1(self) {
            return Ok(false);
        }
        let core = self.core();
        let (shape, strides) = (core.shape(), core.strides());
        if entries.len() > shape.len() {
            return Ok(false);
        }
        let mut offset = core.offset();
        let (mut sizes, mut steps) = (Dims::new(), Strides::new());
        for (entry, (&n, &stride)) in entries.iter().zip(shape.iter().zip(strides)) {
            let n = n as i64;
            match *entry {
                Entry::Int(index) if (-n..n).contains(&index) => {
                    offset += (if index < 0 { index + n } else { index }) as isize * stride;
                }
                Entry::Slice(start, stop, step) if step > 0 => {
                    let clamp =
                        |at: i64| (if at < 0 { at.saturating_add(n) } else { at }).clamp(0, n);
                    let (start, stop) = (clamp(start), clamp(stop));
                    let count = if stop > start { (stop - start - 1) / step + 1 } else { 0 };
                    offset += start as isize * stride;
                    sizes.push(count as usize);
                    steps.push(step as isize * stride);
                }
                _ => return Ok(false),
            }
        }
        sizes.extend_from_slice(&shape[entries.len()..]);
        steps.extend_from_slice(&strides[entries.len()..]);
        self.write_through("fill_", |core| {
            let place = self.shared_core().view(&sizes, &steps, offset)?;
            debug_assert!(place.same_storage(core));
            crate::launch::blocks::fill(&place, number)
        })?;
        Ok(true)
    }

    /// `self[entries] = value`.
    ///
    /// # Errors
    /// If an entry or the value does not fit, or the write is refused.
    #[track_caller]
    pub fn subscript_assign(&self, entries: &[Entry], value: &Self) -> Result<()> {
        if let [Entry::Bool(false)] = entries {
            return Ok(());
        }
        let Basic { view, advanced } = self.basic(entries)?;
        if advanced.is_empty() {
            let value = strip(value, view.ndim())?;
            let core = view.core();
            ensure!(
                crate::shape::is_expandable_to(&value.shape(), core.shape()),
                runtime,
                "The expanded size of the tensor ({}) must match the existing size ({}) at \
                 non-singleton dimension {}.  Target sizes: {}.  Tensor sizes: {}",
                core.shape().last().copied().unwrap_or(1),
                value.shape().last().copied().unwrap_or(1),
                core.shape().len().saturating_sub(1),
                shape_text(core.shape()),
                shape_text(&value.shape())
            );
            if crate::tensor::is_expanded(&core) {
                if let (true, false, Some(number)) =
                    (value.ndim() == 0, value.requires_grad(), value.detach().get_element(&[]))
                {
                    return view.fill_(number);
                }
                return view.copy_(&value.expand_to(core.shape())?);
            }
            return view.copy_(&value);
        }
        let value = strip(value, usize::MAX)?;
        view.index_put_(&advanced, &value, false)
    }
}

/// Without leading dimensions of size one beyond `ndim` (all of them if `ndim` is `MAX`).
fn strip(value: &Tensor, ndim: usize) -> Result<Tensor> {
    let shape = value.shape();
    let ones = shape.iter().take_while(|&&n| n == 1).count();
    let surplus =
        if ndim == usize::MAX { ones } else { shape.len().saturating_sub(ndim).min(ones) };
    if surplus == 0 {
        return Ok(value.clone());
    }
    value.reshape_to(&Dims::from_slice(&shape[surplus..]))
}
