//! Matrix products and their gradients.

use smallvec::smallvec;

use super::{Cx, Op, Rule};
use crate::error::{Result, bail, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Node, Save, attach, recording};
use crate::launch;
use crate::shape::{Dims, broadcast, shape_text};
use crate::tensor::Tensor;

/// What each gradient reads: that of one factor needs the other.
fn saves(a: &Tensor, b: &Tensor) -> smallvec::SmallVec<[Save<'static>; 2]> {
    let mut saves = smallvec::SmallVec::new();
    if b.requires_grad() {
        saves.push(Save::Input(0));
    }
    if a.requires_grad() {
        saves.push(Save::Input(1));
    }
    saves
}

/// The saved factors: what the gradient of `b` reads, what that of `a` reads.
fn factors(cx: &Cx<'_>) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let edges = cx.node().edges();
    let a = cx.needs(1).then(|| cx.saved(0)).transpose()?;
    let at = usize::from(edges[1].node.is_some());
    let b = cx.needs(0).then(|| cx.saved(at)).transpose()?;
    Ok((a, b))
}

struct Mm;

impl Rule for Mm {
    fn name(&self) -> &'static str {
        "MmBackward0"
    }
    fn depth(&self, node: &Node) -> usize {
        node.input_size(0, 0).max(node.input_size(1, 1))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None, None]) };
        let (a, b) = factors(cx)?;
        let grad_a = b.map(|b| grad.mm(&b.t()?)).transpose()?;
        let grad_b = a.map(|a| a.t()?.mm(grad)).transpose()?;
        Ok(smallvec![grad_a, grad_b])
    }
}

struct Bmm;

impl Rule for Bmm {
    fn name(&self) -> &'static str {
        "BmmBackward0"
    }
    fn depth(&self, node: &Node) -> usize {
        node.input_size(0, 0).max(node.input_size(1, 1))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None, None]) };
        let (a, b) = factors(cx)?;
        let grad_a = b.map(|b| grad.bmm(&b.transpose(1, 2)?)).transpose()?;
        let grad_b = a.map(|a| a.transpose(1, 2)?.bmm(grad)).transpose()?;
        Ok(smallvec![grad_a, grad_b])
    }
}

struct Dot;

impl Rule for Dot {
    fn name(&self) -> &'static str {
        "DotBackward0"
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None, None]) };
        let (a, b) = factors(cx)?;
        let grad_a = b.map(|b| grad.mul(&b)).transpose()?;
        let grad_b = a.map(|a| grad.mul(&a)).transpose()?;
        Ok(smallvec![grad_a, grad_b])
    }
}

struct Mv;

impl Rule for Mv {
    fn name(&self) -> &'static str {
        "MvBackward0"
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let Some(grad) = &grads[0] else { return Ok(smallvec![None, None]) };
        let (a, b) = factors(cx)?;
        let grad_a = b.map(|b| grad.outer(&b)).transpose()?;
        let grad_b = a.map(|a| a.t()?.mv(grad)).transpose()?;
        Ok(smallvec![grad_a, grad_b])
    }
}

fn same_dtype(a: &Tensor, b: &Tensor) -> Result<()> {
    ensure!(
        a.dtype() == b.dtype(),
        runtime,
        "expected m1 and m2 to have the same dtype, but got: {} != {}",
        a.dtype().scalar_name().to_lowercase(),
        b.dtype().scalar_name().to_lowercase()
    );
    Ok(())
}

#[cold]
fn unfit(op: &str, a: &Tensor, b: &Tensor) -> crate::error::Error {
    // As torch says it of what it folds into one product.
    let folded = match (a.core().shape(), b.core().shape()) {
        ([lead @ .., k], [m, n]) => {
            let rows: usize = lead.iter().product();
            format!("mm: mat1 and mat2 shapes cannot be multiplied ({rows}x{k} and {m}x{n})\n  ")
        }
        _ => String::new(),
    };
    crate::error::Error::runtime(format!(
        "{folded}{op}: shapes {} and {} cannot be multiplied\n  at {}{}",
        shape_text(a.core().shape()),
        shape_text(b.core().shape()),
        crate::graph::Site::here(),
        super::origins(&[a, b])
    ))
}

const UNSAFE_VIEW: &str = "UnsafeViewBackward0";

impl Tensor {
    /// The product of two matrices.
    ///
    /// # Errors
    /// If they are not matrices, the inner sizes differ, or the dtypes differ.
    #[track_caller]
    pub fn mm(&self, other: &Self) -> Result<Self> {
        let (a, b) = (self.core(), other.core());
        for (name, core) in [("self", &a), ("mat2", &b)] {
            let ndim = core.shape().len();
            ensure!(ndim == 2, runtime, "mm: {name} must be a matrix, got {ndim}-D tensor");
        }
        if a.shape()[1] != b.shape()[0] {
            return Err(crate::error::Error::runtime(format!(
                "mm: mat1 and mat2 shapes cannot be multiplied ({}x{} and {}x{})\n  at {}{}",
                a.shape()[0],
                a.shape()[1],
                b.shape()[0],
                b.shape()[1],
                crate::graph::Site::here(),
                super::origins(&[self, other])
            )));
        }
        same_dtype(self, other)?;
        let output = Self::from_core(launch::gemm(&a, &b)?);
        if output.dtype().is_float() && recording(&[self, other]) {
            attach(Op::rule(Mm), &[self, other], &saves(self, other), &[&output])?;
        }
        Ok(output)
    }

    /// The products of two stacks of matrices.
    ///
    /// # Errors
    /// If they are not stacks of the same length, the inner sizes differ, or the dtypes differ.
    #[track_caller]
    pub fn bmm(&self, other: &Self) -> Result<Self> {
        let (a, b) = (self.core(), other.core());
        ensure!(a.shape().len() == 3, runtime, "batch1 must be a 3D tensor");
        ensure!(b.shape().len() == 3, runtime, "batch2 must be a 3D tensor");
        ensure!(
            a.shape()[0] == b.shape()[0] && a.shape()[2] == b.shape()[1],
            runtime,
            "Expected size for first two dimensions of batch2 tensor to be: [{}, {}] but got: \
             [{}, {}].",
            a.shape()[0],
            a.shape()[2],
            b.shape()[0],
            b.shape()[1]
        );
        same_dtype(self, other)?;
        let output = Self::from_core(launch::bmm(&a, &b)?);
        if output.dtype().is_float() && recording(&[self, other]) {
            attach(Op::rule(Bmm), &[self, other], &saves(self, other), &[&output])?;
        }
        Ok(output)
    }

    /// The inner product of two vectors.
    ///
    /// # Errors
    /// If they are not vectors of the same length and dtype.
    #[track_caller]
    pub fn dot(&self, other: &Self) -> Result<Self> {
        let (a, b) = (self.core(), other.core());
        ensure!(
            a.shape().len() == 1 && b.shape().len() == 1,
            runtime,
            "1D tensors expected, but got {}D and {}D tensors",
            a.shape().len(),
            b.shape().len()
        );
        ensure!(
            a.dtype() == b.dtype(),
            runtime,
            "dot : expected both vectors to have same dtype, but found {} and {}",
            a.dtype().scalar_name(),
            b.dtype().scalar_name()
        );
        ensure!(
            a.shape() == b.shape(),
            runtime,
            "inconsistent tensor size, expected tensor [{}] and src [{}] to have the same number \
             of elements, but got {} and {} elements respectively",
            a.shape()[0],
            b.shape()[0],
            a.shape()[0],
            b.shape()[0]
        );
        let n = a.shape()[0];
        let row = a.view(&[1, n], &[0, a.strides()[0]], a.offset())?;
        let column = b.view(&[n, 1], &[b.strides()[0], 0], b.offset())?;
        let output = launch::gemm(&row, &column)?.into_layout(&[], &[])?;
        let output = Self::from_core(output);
        if output.dtype().is_float() && recording(&[self, other]) {
            attach(Op::rule(Dot), &[self, other], &saves(self, other), &[&output])?;
        }
        Ok(output)
    }

    /// The product of a matrix and a vector.
    ///
    /// # Errors
    /// If the shapes or dtypes do not fit.
    #[track_caller]
    pub fn mv(&self, vec: &Self) -> Result<Self> {
        let (a, b) = (self.core(), vec.core());
        ensure!(
            a.shape().len() == 2 && b.shape().len() == 1,
            runtime,
            "vector + matrix @ vector expected, got 1, {}, {}",
            a.shape().len(),
            b.shape().len()
        );
        ensure!(
            a.shape()[1] == b.shape()[0],
            runtime,
            "size mismatch, got input ({}), mat ({}x{}), vec ({})",
            a.shape()[0],
            a.shape()[0],
            a.shape()[1],
            b.shape()[0]
        );
        same_dtype(self, vec)?;
        let column = b.view(&[b.shape()[0], 1], &[b.strides()[0], 1], b.offset())?;
        let output = launch::gemm(&a, &column)?.into_layout(&[a.shape()[0]], &[1])?;
        let output = Self::from_core(output);
        if output.dtype().is_float() && recording(&[self, vec]) {
            attach(Op::rule(Mv), &[self, vec], &saves(self, vec), &[&output])?;
        }
        Ok(output)
    }

    /// The outer product of two vectors.
    ///
    /// # Errors
    /// If they are not vectors.
    #[track_caller]
    pub fn outer(&self, vec: &Self) -> Result<Self> {
        ensure!(
            self.ndim() == 1 && vec.ndim() == 1,
            runtime,
            "outer: Expected 1-D argument, but got {}-D and {}-D",
            self.ndim(),
            vec.ndim()
        );
        self.unsqueeze(1)?.mul(vec)
    }

    /// torch's general product: vectors, matrices and broadcast stacks of matrices.
    ///
    /// # Errors
    /// If the shapes or dtypes do not fit.
    #[track_caller]
    pub fn matmul(&self, other: &Self) -> Result<Self> {
        let (a, b) = (self.shape(), other.shape());
        match (a.len(), b.len()) {
            (0, _) | (_, 0) => bail!(
                runtime,
                "both arguments to matmul need to be at least 1D, but they are {}D and {}D",
                a.len(),
                b.len()
            ),
            (1, 1) => self.dot(other),
            (2, 2) => self.mm(other),
            (2, 1) => self.mv(other),
            (1, 2) => {
                let result = self.unsqueeze(0)?.mm(other)?.without(0, "SqueezeBackward4")?;
                // torch takes the dimension out in place, which counts as a write.
                result.core().bump_version(0);
                Ok(result)
            }
            (1, m) => self.unsqueeze(0)?.matmul(other)?.without(m - 2, UNSAFE_VIEW),
            (n, 1) if n > 2 => self.matmul(&other.unsqueeze(1)?)?.without(n - 1, UNSAFE_VIEW),
            // Rows of a stack times one matrix: one large product.
            (n, 2) => {
                if a[n - 1] != b[0] {
                    return Err(unfit("matmul", self, other));
                }
                let mut shape = a.clone();
                shape[n - 1] = b[1];
                let rows: usize = a[..n - 1].iter().product();
                self.reshape_to(&[rows, a[n - 1]])?.mm(other)?.unsafe_view(UNSAFE_VIEW, &shape)
            }
            (n, m) => {
                if a[n - 1] != b[m - 2] {
                    return Err(unfit("matmul", self, other));
                }
                let lead = broadcast(&a[..n - 2], &b[..m - 2])?;
                let batch: usize = lead.iter().product();
                let stack = |tensor: &Self, rows: usize, columns: usize| -> Result<Self> {
                    let mut shape = lead.clone();
                    shape.extend([rows, columns]);
                    tensor.expand_to(&shape)?.reshape_to(&[batch, rows, columns])
                };
                let product =
                    stack(self, a[n - 2], a[n - 1])?.bmm(&stack(other, b[m - 2], b[m - 1])?)?;
                let mut shape: Dims = lead;
                shape.extend([a[n - 2], b[m - 1]]);
                product.unsafe_view(UNSAFE_VIEW, &shape)
            }
        }
    }
}

impl Tensor {
    /// This fresh result without a dimension of length one.
    #[track_caller]
    fn without(&self, dim: usize, name: &'static str) -> Result<Self> {
        let mut shape = self.shape();
        shape.remove(dim);
        self.unsafe_view(name, &shape)
    }
}
