//! Other arrangements, put together from views and joins.

use smallvec::smallvec;

use super::join::{cat, stack};
use super::strided::{Geometry, regather};
use crate::dtype::DType;
use crate::error::{Result, ensure};
use crate::shape::{Dims, broadcast, norm_dim, norm_dims};
use crate::tensor::Tensor;

fn signed(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&n| n as i64).collect()
}

/// Where the diagonal of a dense tensor lies: that of one whose memory is not touched.
fn diagonal_of(
    shape: &[usize],
    dtype: DType,
    offset: i64,
    dim1: i64,
    dim2: i64,
) -> Result<Geometry> {
    let whole = Tensor::from_core(crate::storage::Core::alloc(dtype, shape)?);
    Ok(Geometry::of(&whole.diagonal(offset, dim1, dim2)?.core()))
}

impl Tensor {
    /// Dimensions `start` to `end`, both included, as one.
    ///
    /// # Errors
    /// If a dimension is out of range or they are in the wrong order.
    #[track_caller]
    pub fn flatten(&self, start: i64, end: i64) -> Result<Self> {
        let ndim = self.ndim();
        let (a, b) = (norm_dim(start, ndim)?, norm_dim(end, ndim)?);
        ensure!(a <= b, runtime, "flatten() has invalid args: start_dim cannot come after end_dim");
        if ndim == 0 {
            return self.reshape_to(&[1]);
        }
        if a == b {
            return Ok(self.clone());
        }
        let shape = self.shape();
        let mut to = Dims::from_slice(&shape[..a]);
        to.push(shape[a..=b].iter().product());
        to.extend_from_slice(&shape[b + 1..]);
        self.reshape_to(&to)
    }

    /// One dimension as several; one size may be -1.
    ///
    /// # Errors
    /// If the sizes do not multiply to the dimension's.
    #[track_caller]
    pub fn unflatten(&self, dim: i64, sizes: &[i64]) -> Result<Self> {
        ensure!(!sizes.is_empty(), runtime, "unflatten: sizes must be non-empty");
        let at = norm_dim(dim, self.ndim())?;
        let shape = self.shape();
        let n = shape.get(at).copied().unwrap_or(1);
        let known: i64 = sizes.iter().filter(|&&size| size != -1).product();
        let fits = if sizes.contains(&-1) {
            known > 0 && (n as i64) % known == 0
        } else {
            known == n as i64
        };
        ensure!(
            fits,
            runtime,
            "unflatten: Provided sizes {sizes:?} don't multiply up to the size of dim {at} ({n}) \
             in the input tensor"
        );
        let inner = crate::shape::infer_reshape(sizes, n)?;
        let mut to = signed(&shape[..at]);
        to.extend(signed(&inner));
        to.extend(signed(shape.get(at + 1..).unwrap_or_default()));
        self.view(&to)
    }

    /// `length` indices of a dimension from `start`, as a view.
    ///
    /// # Errors
    /// If they leave the dimension.
    #[track_caller]
    pub fn narrow(&self, dim: i64, start: i64, length: i64) -> Result<Self> {
        ensure!(self.ndim() > 0, runtime, "narrow() cannot be applied to a 0-dim tensor.");
        ensure!(length >= 0, runtime, "narrow(): length must be non-negative.");
        let at = norm_dim(dim, self.ndim())?;
        let n = self.shape()[at] as i64;
        ensure!(
            (-n..=n).contains(&start),
            index,
            "start out of range (expected to be in range of [{}, {n}], but got {start})",
            -n
        );
        let start = if start < 0 { start + n } else { start };
        ensure!(
            start <= n - length,
            runtime,
            "start ({start}) + length ({length}) exceeds dimension size ({n})."
        );
        self.slice(at as i64, start, start + length, 1)
    }

    /// Dimensions moved elsewhere, the others in their order.
    ///
    /// # Errors
    /// If the lists differ in length, or a dimension is out of range or named twice.
    #[track_caller]
    pub fn movedim(&self, from: &[i64], to: &[i64]) -> Result<Self> {
        ensure!(
            from.len() == to.len(),
            runtime,
            "movedim: Invalid source or destination dims: source ({from:?} dims) should contain \
             the same number of dims as destination ({to:?} dims)"
        );
        let ndim = self.ndim();
        let (from, to) = (norm_dims(from, ndim)?, norm_dims(to, ndim)?);
        if ndim == 0 {
            return self.alias();
        }
        let mut order: Vec<Option<usize>> = vec![None; ndim];
        for (&from, &to) in from.iter().zip(&to) {
            order[to] = Some(from);
        }
        let mut rest = (0..ndim).filter(|dim| !from.contains(dim));
        let order: Vec<i64> = order
            .into_iter()
            .filter_map(|place| place.or_else(|| rest.next()))
            .map(|dim| dim as i64)
            .collect();
        self.permute(&order)
    }

    /// The last two dimensions exchanged.
    ///
    /// # Errors
    /// If there are less than two.
    #[track_caller]
    pub fn mt(&self) -> Result<Self> {
        ensure!(
            self.ndim() >= 2,
            runtime,
            "tensor.mT is only supported on matrices or batches of matrices. Got {}-D tensor.",
            self.ndim()
        );
        self.transpose(-2, -1)
    }

    /// All dimensions in reverse order.
    ///
    /// # Errors
    /// Never in practice.
    #[track_caller]
    pub fn reversed(&self) -> Result<Self> {
        let order: Vec<i64> = (0..self.ndim() as i64).rev().collect();
        self.permute(&order)
    }

    /// Copies side by side, so many along each dimension.
    ///
    /// # Errors
    /// If there are fewer repeats than dimensions, or one is negative.
    #[track_caller]
    pub fn repeat(&self, repeats: &[i64]) -> Result<Self> {
        let ndim = self.ndim();
        ensure!(
            repeats.len() >= ndim,
            runtime,
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of \
             tensor"
        );
        ensure!(
            repeats.iter().all(|&count| count >= 0),
            runtime,
            "Trying to create tensor with negative dimension: {repeats:?}"
        );
        let lead = repeats.len() - ndim;
        let shape = self.shape();
        let (mut split, mut wide, mut flat) = (Dims::new(), Dims::new(), Dims::new());
        for (i, &count) in repeats.iter().enumerate() {
            let n = if i < lead { 1 } else { shape[i - lead] };
            split.extend([1, n]);
            wide.extend([count as usize, n]);
            flat.push(n * count as usize);
        }
        let (summed, counts) = (wide.clone(), repeats.len());
        self.linear_map(
            "RepeatBackward0",
            |this| {
                if this.numel() == 0 || flat.contains(&0) {
                    return this.reshape_to(&split)?.expand_to(&wide)?.copied()?.reshape_to(&flat);
                }
                let result = this.reshape_to(&split)?.expand_to(&wide)?.reshape_to(&flat)?;
                let shared = result.core().same_storage(&this.core());
                if shared { result.copied() } else { Ok(result) }
            },
            move |grad| {
                let dims: Vec<i64> = (0..counts as i64).map(|i| 2 * i).collect();
                grad.reshape_to(&summed)?.sum(&dims, false, None)?.reshape_to(&shape)
            },
        )
    }

    /// [`Self::repeat`] with missing repeats taken as one.
    ///
    /// # Errors
    /// If one is negative.
    #[track_caller]
    pub fn tile(&self, repeats: &[i64]) -> Result<Self> {
        let mut all = vec![1; self.ndim().saturating_sub(repeats.len())];
        all.extend_from_slice(repeats);
        self.repeat(&all)
    }

    /// Each index of a dimension so many times.
    ///
    /// # Errors
    /// If the count is negative or the dimension out of range.
    #[track_caller]
    pub fn repeat_each(&self, count: i64, dim: i64) -> Result<Self> {
        ensure!(count >= 0, runtime, "Repeats must be non-negative");
        let this = if self.ndim() == 0 { self.reshape_to(&[1])? } else { self.clone() };
        let at = norm_dim(dim, this.ndim())?;
        let mut shape = this.shape();
        let mut wide = shape.clone();
        wide.insert(at + 1, count as usize);
        shape[at] *= count as usize;
        this.unsqueeze(at as i64 + 1)?.expand_to(&wide)?.copied()?.reshape_to(&shape)
    }

    /// Elements moved around cyclically: along dimensions, or over the flat tensor if none is named.
    ///
    /// # Errors
    /// If the lists differ in length or a dimension is out of range.
    #[track_caller]
    pub fn roll(&self, shifts: &[i64], dims: &[i64]) -> Result<Self> {
        ensure!(!shifts.is_empty(), runtime, "`shifts` required");
        if dims.is_empty() && shifts.len() == 1 {
            let (shift, shape) = (shifts[0], self.shape());
            return self.linear_map(
                "RollBackward0",
                |this| this.reshape_to(&[this.numel()])?.roll(&[shift], &[0])?.reshape_to(&shape),
                move |grad| grad.roll(&[shift.wrapping_neg()], &[]),
            );
        }
        ensure!(
            shifts.len() == dims.len(),
            runtime,
            "shifts and dimensions must align. shifts: {}, dims:{}",
            shifts.len(),
            dims.len()
        );
        if self.numel() == 0 {
            return self.copied();
        }
        for &dim in dims {
            norm_dim(dim, self.ndim())?;
        }
        let back: Vec<i64> = shifts.iter().map(|&shift| shift.wrapping_neg()).collect();
        let along = dims.to_vec();
        self.linear_map(
            "RollBackward0",
            |this| this.rolled(shifts, dims),
            move |grad| grad.roll(&back, &along),
        )
    }

    fn rolled(&self, shifts: &[i64], dims: &[i64]) -> Result<Self> {
        let mut result = self.clone();
        for (&shift, &dim) in shifts.iter().zip(dims) {
            let at = norm_dim(dim, self.ndim())?;
            let n = self.shape().get(at).map_or(1, |&n| n as i64);
            let cut = n - shift.rem_euclid(n);
            if self.ndim() == 0 || cut == n {
                continue;
            }
            let (head, tail) = (result.slice(dim, 0, cut, 1)?, result.slice(dim, cut, n, 1)?);
            result = cat(&[&tail, &head], dim)?;
        }
        if result.is(self) { self.copied() } else { Ok(result) }
    }

    /// Quarter turns in the plane of two dimensions.
    ///
    /// # Errors
    /// If the dimensions are not two different ones.
    #[track_caller]
    pub fn rot90(&self, k: i64, dims: &[i64]) -> Result<Self> {
        let &[first, second] = dims else {
            crate::error::bail!(
                runtime,
                "expected total rotation dims == 2, but got dims = {}",
                dims.len()
            );
        };
        let (a, b) = (norm_dim(first, self.ndim())?, norm_dim(second, self.ndim())?);
        ensure!(
            a != b,
            runtime,
            "expected rotation dims to be different, but got dim0 = {first} and dim1 = {second}"
        );
        self.linear_map(
            "Rot90Backward0",
            |this| match k.rem_euclid(4) {
                1 => this.flip(&[second])?.transpose(first, second),
                2 => this.flip(&[first, second]),
                3 => this.flip(&[first])?.transpose(first, second),
                _ => this.copied(),
            },
            move |grad| grad.rot90(k.wrapping_neg(), &[first, second]),
        )
    }

    /// Vectors as diagonals of matrices.
    ///
    /// # Errors
    /// If a dimension is out of range or the two are the same.
    #[track_caller]
    pub fn diag_embed(&self, offset: i64, dim1: i64, dim2: i64) -> Result<Self> {
        ensure!(self.ndim() > 0, runtime, "diag_embed: expected at least one dimension");
        let ndim = self.ndim() + 1;
        let (a, b) = (norm_dim(dim1, ndim)?, norm_dim(dim2, ndim)?);
        ensure!(a != b, runtime, "diagonal dimensions cannot be identical {dim1}, {dim2}");
        let shape = self.shape();
        let n = shape[ndim - 2] + offset.unsigned_abs() as usize;
        let mut to = Dims::from_slice(&shape[..ndim - 2]);
        to.insert(a.min(b), n);
        to.insert(a.max(b), n);
        self.linear_map(
            "DiagEmbedBackward0",
            |this| {
                let diagonal = diagonal_of(&to, this.dtype(), offset, dim1, dim2)?;
                regather(&this.contiguous()?, &diagonal, &Geometry::dense(&to))
            },
            move |grad| grad.diagonal(offset, dim1, dim2),
        )
    }

    /// The diagonal of a matrix, or the matrix with a vector as diagonal.
    ///
    /// # Errors
    /// For other numbers of dimensions.
    #[track_caller]
    pub fn diag(&self, offset: i64) -> Result<Self> {
        match self.ndim() {
            1 => self.diag_embed(offset, 0, 1),
            2 => {
                let shape = self.shape();
                self.linear_map(
                    "DiagonalBackward0_copy",
                    |this| this.diagonal(offset, 0, 1)?.copied(),
                    move |grad| {
                        let diagonal = diagonal_of(&shape, grad.dtype(), offset, 0, 1)?;
                        regather(&grad.contiguous()?, &diagonal, &Geometry::dense(&shape))
                    },
                )
            }
            n => crate::error::bail!(runtime, "diag(): Supports 1D or 2D tensors. Got {n}D"),
        }
    }

    /// One value on the diagonal, in place; `wrap` starts again below in tall matrices.
    ///
    /// # Errors
    /// If there are less than two dimensions, or more of different sizes.
    #[track_caller]
    pub fn fill_diagonal_(&self, value: crate::Scalar, wrap: bool) -> Result<()> {
        let core = self.shared_core();
        let (shape, strides) = (core.shape(), core.strides());
        ensure!(shape.len() >= 2, runtime, "dimensions must larger than 1");
        ensure!(
            shape.len() == 2 || shape.iter().all(|&n| n == shape[0]),
            runtime,
            "all dimensions of input must be of equal length"
        );
        let step: isize = strides.iter().sum();
        let len = shape.iter().copied().min().unwrap_or(0);
        self.as_strided(&[len], &[step], None)?.fill_(value)?;
        let (n, m) = (shape[0], shape[1]);
        if wrap && shape.len() == 2 && n > m + 1 {
            let mut row = m + 1;
            while row < n {
                let offset = core.offset() + row as isize * strides[0];
                self.as_strided(&[m.min(n - row)], &[step], Some(offset))?.fill_(value)?;
                row += m + 1;
            }
        }
        Ok(())
    }

    /// A copy with `source` in place of the part that a view of it shows.
    ///
    /// # Errors
    /// If the view cannot be made, or the source has another shape.
    #[track_caller]
    pub fn part_replaced(
        &self,
        name: &'static str,
        source: &Self,
        part: impl FnOnce(&Self) -> Result<Self>,
    ) -> Result<Self> {
        // Of the same layout, for the sake of its geometry.
        let whole = Self::from_core(crate::storage::Core::alloc(self.dtype(), &self.shape())?);
        let view = part(&whole)?;
        ensure!(
            view.shape() == source.shape(),
            runtime,
            "expected src to have a size equal to the slice of self. src size = {}, slice size = {}",
            crate::shape::shape_text(&source.shape()),
            crate::shape::shape_text(&view.shape())
        );
        let (base, geometry) = (Geometry::of(&whole.core()), Geometry::of(&view.core()));
        // Its memory, which nobody has touched, is to be the result's.
        drop((whole, view));
        super::strided::replace_part(name, self, Some(source), &base, &geometry)
    }
}

/// All tensors in the shape they broadcast to, as views.
///
/// # Errors
/// If they do not broadcast.
#[track_caller]
pub fn broadcast_tensors(tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
    let mut shape = Dims::new();
    for tensor in tensors {
        shape = broadcast(&shape, &tensor.shape())?;
    }
    tensors.iter().map(|tensor| tensor.expand_to(&shape)).collect()
}

/// Grids of coordinates; `xy` exchanges the first two dimensions.
///
/// # Errors
/// If there are no tensors, or one has more than one dimension.
#[track_caller]
pub fn meshgrid(tensors: &[&Tensor], xy: bool) -> Result<Vec<Tensor>> {
    ensure!(!tensors.is_empty(), runtime, "meshgrid expects a non-empty TensorList");
    ensure!(
        tensors.iter().all(|tensor| tensor.ndim() <= 1),
        runtime,
        "torch.meshgrid: Expected 0D or 1D tensor in the tensor list"
    );
    ensure!(
        tensors.iter().all(|tensor| tensor.dtype() == tensors[0].dtype()),
        runtime,
        "torch.meshgrid expects all tensors to have the same dtype"
    );
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    if xy && order.len() >= 2 {
        order.swap(0, 1);
    }
    let shape: Dims = order.iter().map(|&i| tensors[i].numel()).collect();
    let mut grids = Vec::with_capacity(order.len());
    for (i, tensor) in tensors.iter().enumerate() {
        let place = order.iter().position(|&at| at == i).unwrap_or(i);
        let mut thin: Dims = smallvec![1; order.len()];
        thin[place] = tensor.numel();
        grids.push(tensor.reshape_to(&thin)?.expand_to(&shape)?);
    }
    Ok(grids)
}

/// All combinations of one element of each vector, as rows.
///
/// # Errors
/// If a tensor is not a vector.
#[track_caller]
pub fn cartesian_prod(tensors: &[&Tensor]) -> Result<Tensor> {
    ensure!(
        tensors.iter().all(|tensor| tensor.ndim() == 1),
        runtime,
        "Expect a 1D vector, but got a tensor of another shape"
    );
    if let [only] = tensors {
        return Ok((*only).clone());
    }
    let grids = meshgrid(tensors, false)?;
    let flat: Vec<Tensor> =
        grids.iter().map(|grid| grid.reshape_to(&[grid.numel()])).collect::<Result<_>>()?;
    stack(&flat.iter().collect::<Vec<_>>(), 1)
}

/// Matrices along the diagonal of a larger one.
///
/// # Errors
/// If a tensor has more than two dimensions.
#[track_caller]
pub fn block_diag(tensors: &[&Tensor]) -> Result<Tensor> {
    let mut dtype = tensors.first().map_or(DType::F32, |tensor| tensor.dtype());
    let mut blocks = Vec::with_capacity(tensors.len());
    for (i, tensor) in tensors.iter().enumerate() {
        ensure!(
            tensor.ndim() <= 2,
            runtime,
            "torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {} \
             dimensions",
            tensor.ndim()
        );
        dtype = dtype.promote(tensor.dtype());
        let mut shape = tensor.shape();
        while shape.len() < 2 {
            shape.insert(0, 1);
        }
        blocks.push(tensor.reshape_to(&shape)?);
    }
    let columns: usize = blocks.iter().map(|block| block.shape()[1]).sum();
    let mut rows = Vec::with_capacity(blocks.len());
    let mut before = 0;
    for block in &blocks {
        let (n, m) = (block.shape()[0], block.shape()[1]);
        let left = Tensor::zeros(&[n, before], dtype)?;
        let right = Tensor::zeros(&[n, columns - before - m], dtype)?;
        rows.push(cat(&[&left, block, &right], 1)?);
        before += m;
    }
    if rows.is_empty() {
        return Tensor::zeros(&[1, 0], dtype);
    }
    cat(&rows.iter().collect::<Vec<_>>(), 0)
}
