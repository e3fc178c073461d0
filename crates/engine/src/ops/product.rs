//! Products composed of matrix products: einsum, tensordot, kron, cross, linear.

use smallvec::{SmallVec, smallvec};

use super::along::take;
use super::{Cx, Op, Rule, SavedValue};
use crate::dtype::Scalar;
use crate::error::{Result, bail, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{Save, attach, recording};
use crate::launch;
use crate::ops::binary::Binary;
use crate::shape::{Dims, norm_dim};
use crate::tensor::Tensor;

/// An operand of einsum: a tensor and the label of each of its dimensions.
#[derive(Clone)]
struct Term {
    tensor: Tensor,
    labels: Vec<u32>,
}

impl Term {
    /// The sum over the labels that `keep` does not want.
    fn summed(self, keep: impl Fn(u32) -> bool) -> Result<Self> {
        let dims: Vec<i64> =
            (0..self.labels.len()).filter(|&i| !keep(self.labels[i])).map(|i| i as i64).collect();
        if dims.is_empty() {
            return Ok(self);
        }
        let tensor = self.tensor.sum(&dims, false, Some(self.tensor.dtype()))?;
        let labels = self.labels.into_iter().filter(|&label| keep(label)).collect();
        Ok(Self { tensor, labels })
    }

    /// Permuted to the order of some of its labels, joined in groups.
    fn grouped(&self, groups: [&[u32]; 3], sizes: [usize; 3]) -> Result<Tensor> {
        let order: Vec<usize> = groups
            .iter()
            .flat_map(|group| group.iter())
            .filter_map(|label| self.labels.iter().position(|own| own == label))
            .collect();
        self.tensor.permute_to(&order)?.reshape_to(&sizes)
    }
}

/// The labels of an equation's term; the ellipsis stands for dimensions numbered from the back.
fn parse(term: &str, ndim: Option<usize>, dots: &mut usize) -> Result<Vec<u32>> {
    const DOTS: u32 = 1 << 24;
    let mut labels = Vec::new();
    let letters = term.chars().filter(|c| c.is_ascii_alphabetic()).count();
    let mut rest = term;
    while let Some(c) = rest.chars().next() {
        if let Some(tail) = rest.strip_prefix("...") {
            let count = match ndim {
                Some(ndim) => {
                    ensure!(
                        ndim >= letters,
                        runtime,
                        "einsum(): the number of subscripts in the equation ({letters}) is more \
                         than the number of dimensions ({ndim}) for an operand"
                    );
                    ndim - letters
                }
                None => *dots,
            };
            *dots = (*dots).max(count);
            labels.extend((0..count as u32).rev().map(|i| DOTS + i));
            rest = tail;
            continue;
        }
        if c.is_ascii_alphabetic() {
            labels.push(u32::from(c));
        } else if c != ' ' {
            bail!(
                runtime,
                "einsum(): invalid subscript given at: {c}, subscripts must be in [a-zA-Z]"
            );
        }
        rest = &rest[c.len_utf8()..];
    }
    Ok(labels)
}

/// Two terms as one, keeping the labels wanted later.
fn contract(a: Term, b: Term, keep: impl Fn(u32) -> bool) -> Result<Term> {
    let a = a.summed(|label| keep(label) || b.labels.contains(&label))?;
    let b = b.summed(|label| keep(label) || a.labels.contains(&label))?;
    let in_both = |label: &u32| b.labels.contains(label);
    let batch: Vec<u32> = a.labels.iter().copied().filter(|l| in_both(l) && keep(*l)).collect();
    let inner: Vec<u32> = a.labels.iter().copied().filter(|l| in_both(l) && !keep(*l)).collect();
    let left: Vec<u32> = a.labels.iter().copied().filter(|l| !in_both(l)).collect();
    let right: Vec<u32> = b.labels.iter().copied().filter(|l| !a.labels.contains(l)).collect();
    let size = |term: &Term, labels: &[u32]| -> (usize, Dims) {
        let shape = term.tensor.shape();
        let sizes: Dims = labels
            .iter()
            .filter_map(|label| term.labels.iter().position(|own| own == label))
            .map(|at| shape[at])
            .collect();
        (sizes.iter().product(), sizes)
    };
    let ((n_batch, mut shape), (n_inner, _)) = (size(&a, &batch), size(&a, &inner));
    let ((n_left, lefts), (n_right, rights)) = (size(&a, &left), size(&b, &right));
    let x = a.grouped([&batch, &left, &inner], [n_batch, n_left, n_inner])?;
    let y = b.grouped([&batch, &inner, &right], [n_batch, n_inner, n_right])?;
    let product = if inner.is_empty() { x.mul(&y)? } else { x.bmm(&y)? };
    shape.extend(lefts);
    shape.extend(rights);
    let labels = batch.into_iter().chain(left).chain(right).collect();
    Ok(Term { tensor: product.reshape_to(&shape)?, labels })
}

/// Sums of products by Einstein's convention.
///
/// # Errors
/// If the equation is malformed or does not fit the operands.
#[track_caller]
pub fn einsum(equation: &str, operands: &[Tensor]) -> Result<Tensor> {
    ensure!(!operands.is_empty(), runtime, "einsum(): must provide at least one operand");
    let (inputs, output) = match equation.split_once("->") {
        Some((inputs, output)) => (inputs, Some(output)),
        None => (equation, None),
    };
    let texts: Vec<&str> = inputs.split(',').collect();
    ensure!(
        texts.len() == operands.len(),
        runtime,
        "einsum(): {} operands were provided than specified in the equation",
        if texts.len() > operands.len() { "fewer" } else { "more" }
    );
    let mut dots = 0;
    let mut terms = Vec::new();
    let mut seen: Vec<(u32, usize, usize)> = Vec::new(); // label, size, occurrences
    for (text, operand) in texts.iter().zip(operands) {
        let mut labels = parse(text, Some(operand.ndim()), &mut dots)?;
        ensure!(
            labels.len() == operand.ndim(),
            runtime,
            "einsum(): the number of subscripts in the equation ({}) does not match the number of \
             dimensions ({}) for an operand and no ellipsis was given",
            labels.len(),
            operand.ndim()
        );
        let mut tensor = operand.clone();
        for &label in &labels {
            match seen.iter_mut().find(|entry| entry.0 == label) {
                Some(entry) => entry.2 += 1,
                None => seen.push((label, 1, 1)),
            }
        }
        // A label twice in one term: the diagonal.
        let mut at = 0;
        while at < labels.len() {
            if let Some(again) = labels[at + 1..].iter().position(|l| *l == labels[at]) {
                let again = at + 1 + again;
                let shape = tensor.shape();
                ensure!(
                    shape[at] == shape[again],
                    runtime,
                    "einsum(): subscript is repeated for an operand but the sizes don't match, \
                     {} != {}",
                    shape[again],
                    shape[at]
                );
                tensor = tensor.diagonal(0, at as i64, again as i64)?;
                let label = labels[at];
                labels.remove(again);
                labels.remove(at);
                labels.push(label);
            } else {
                at += 1;
            }
        }
        for (&label, &n) in labels.iter().zip(&tensor.shape()) {
            if let Some(entry) = seen.iter_mut().find(|entry| entry.0 == label) {
                ensure!(
                    entry.1 == 1 || n == 1 || entry.1 == n,
                    runtime,
                    "einsum(): operands do not broadcast with remapped shapes: sizes {} and {n}",
                    entry.1
                );
                entry.1 = if entry.1 == 1 { n } else { entry.1 };
            }
        }
        terms.push(Term { tensor, labels });
    }
    let wanted = match output {
        Some(text) => parse(text, None, &mut dots)?,
        None => {
            let mut once: Vec<u32> = seen
                .iter()
                .filter(|entry| entry.2 == 1 && entry.0 < 1 << 24)
                .map(|entry| entry.0)
                .collect();
            // Upper case before lower case, as torch.
            once.sort_unstable();
            let mut all = parse("...", None, &mut dots)?;
            all.extend(once);
            all
        }
    };
    for (i, label) in wanted.iter().enumerate() {
        ensure!(
            !wanted[..i].contains(label),
            runtime,
            "einsum(): output subscript appears more than once in the output"
        );
        ensure!(
            seen.iter().any(|entry| entry.0 == *label),
            runtime,
            "einsum(): output subscript does not appear in the equation for any input operand"
        );
    }
    for term in &mut terms {
        let shape: Dims = term
            .labels
            .iter()
            .map(|label| seen.iter().find(|entry| entry.0 == *label).map_or(1, |entry| entry.1))
            .collect();
        if shape != term.tensor.shape() {
            term.tensor = term.tensor.expand_to(&shape)?;
        }
    }
    let mut rest = terms.into_iter();
    let Some(mut result) = rest.next() else { bail!(runtime, "einsum(): no operands") };
    let rest: Vec<Term> = rest.collect();
    for (i, term) in rest.iter().enumerate() {
        let later = &rest[i + 1..];
        let keep =
            |label| wanted.contains(&label) || later.iter().any(|t| t.labels.contains(&label));
        result = contract(result, term.clone(), keep)?;
    }
    let result = result.summed(|label| wanted.contains(&label))?;
    let order: Vec<usize> = wanted
        .iter()
        .filter_map(|label| result.labels.iter().position(|own| own == label))
        .collect();
    result.tensor.permute_to(&order)
}

struct Cross {
    dim: usize,
}

impl Rule for Cross {
    fn name(&self) -> &'static str {
        "LinalgCrossBackward0"
    }
    fn attribute(&self, name: &str) -> Option<SavedValue> {
        (name == "dim").then_some(SavedValue::Int(self.dim as i64))
    }
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let mut result: GradList = smallvec![None, None];
        let Some(grad) = &grads[0] else { return Ok(result) };
        let (dim, first) = (self.dim as i64, usize::from(cx.needs(0)));
        if cx.needs(0) {
            result[0] = Some(cx.saved(0)?.cross(grad, dim)?);
        }
        if cx.needs(1) {
            result[1] = Some(grad.cross(&cx.saved(first)?, dim)?);
        }
        Ok(result)
    }
}

/// The values of the cross product of floats of one dtype, broadcast to `shape`.
fn crossed(x: &Tensor, y: &Tensor, shape: &[usize], at: usize) -> Result<Tensor> {
    let (x, y) = (x.detach().expand_to(shape)?, y.detach().expand_to(shape)?);
    let product = launch::cross(&x.shared_core(), &y.shared_core(), at)?;
    Ok(Tensor::from_core(product))
}

impl Tensor {
    /// `beta * self + alpha * product`.
    ///
    /// # Errors
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn plus_product(&self, product: &Self, beta: Scalar, alpha: Scalar) -> Result<Self> {
        // Integers take whole factors only, as in torch.
        let whole = !Self::result_type(self, product).is_float();
        let cast = |number: Scalar| if whole { Scalar::Int(number.to_i64()) } else { number };
        let (beta, alpha) = (cast(beta), cast(alpha));
        let is_one = |number: Scalar| number.to_f64() == 1.0;
        let product = if is_one(alpha) {
            product.clone()
        } else {
            product.binary_scalar(Binary::Mul, alpha, false)?
        };
        if beta.to_f64() == 0.0 {
            // Not even NaN in `self` matters then.
            return product.expand_to(&crate::shape::broadcast(&self.shape(), &product.shape())?);
        }
        let own =
            if is_one(beta) { self.clone() } else { self.binary_scalar(Binary::Mul, beta, false)? };
        own.add(&product)
    }

    /// The sum of products over pairs of dimensions.
    ///
    /// # Errors
    /// If the dimensions do not fit.
    #[track_caller]
    pub fn tensordot(&self, other: &Self, own: &[i64], others: &[i64]) -> Result<Self> {
        ensure!(own.len() == others.len(), runtime, "both dimension lists should have same length");
        let (a, b) = (self.shape(), other.shape());
        let mut labels: Vec<u32> = (0..b.len() as u32).map(|i| 1000 + i).collect();
        let mine: Vec<u32> = (0..a.len() as u32).collect();
        let mut summed: SmallVec<[u32; 4]> = SmallVec::new();
        let (mut first, mut second) = (self.clone(), other.clone());
        for (&x, &y) in own.iter().zip(others) {
            let (x, y) = (norm_dim(x, a.len())?, norm_dim(y, b.len())?);
            // A size of one stands for every index of the other.
            if a[x] == 1 && b[y] != 1 {
                second = second.sum(&[y as i64], true, None)?.to_dtype(second.dtype())?;
            } else if b[y] == 1 && a[x] != 1 {
                first = first.sum(&[x as i64], true, None)?.to_dtype(first.dtype())?;
            }
            ensure!(
                a[x] == b[y] || a[x] == 1 || b[y] == 1,
                runtime,
                "contracted dimensions need to match, but first has size {} in dim {x} and second \
                 has size {} in dim {y}",
                a[x],
                b[y]
            );
            labels[y] = x as u32;
            summed.push(x as u32);
        }
        let left = Term { tensor: first, labels: mine };
        let right = Term { tensor: second, labels };
        Ok(contract(left, right, |label| !summed.contains(&label))?.tensor)
    }

    /// The inner product over the last dimensions.
    ///
    /// # Errors
    /// If the last sizes differ.
    #[track_caller]
    pub fn inner(&self, other: &Self) -> Result<Self> {
        if self.ndim() == 0 || other.ndim() == 0 {
            return self.mul(other);
        }
        ensure!(
            self.shape().last() == other.shape().last(),
            runtime,
            "inner() the last dimension must match on both input tensors but got shapes {:?} and {:?}",
            self.shape().as_slice(),
            other.shape().as_slice()
        );
        self.tensordot(other, &[-1], &[-1])
    }

    /// The Kronecker product.
    ///
    /// # Errors
    /// If memory is short.
    #[track_caller]
    pub fn kron(&self, other: &Self) -> Result<Self> {
        let ndim = self.ndim().max(other.ndim());
        let (a, b) = (self.shape(), other.shape());
        let size = |shape: &Dims, dim: usize| {
            if dim + shape.len() < ndim { 1 } else { shape[dim + shape.len() - ndim] }
        };
        let (mut x, mut y, mut to) = (Dims::new(), Dims::new(), Dims::new());
        for dim in 0..ndim {
            let (m, n) = (size(&a, dim), size(&b, dim));
            x.extend([m, 1]);
            y.extend([1, n]);
            to.push(m * n);
        }
        let (mut left, mut right) = (self.reshape_to(&x)?, other.reshape_to(&y)?);
        // With short lines each is repeated along them first, so that long ones are multiplied.
        if let Some(last) = ndim.checked_sub(1) {
            let (m, n) = (size(&a, last), size(&b, last));
            let outer = (left.numel() / m.max(1)).min(right.numel() / n.max(1));
            if m > 1 && (2..64).contains(&n) && outer >= 4 {
                let tile = |t: &Self, mut shape: Dims| {
                    let at = shape.len() - 2;
                    shape[at..].copy_from_slice(&[m, n]);
                    let wide = t.expand_to(&shape)?.contiguous()?;
                    shape.truncate(at);
                    shape.push(m * n);
                    wide.reshape_to(&shape)
                };
                (left, right) = (tile(&left, x)?, tile(&right, y)?);
            }
        }
        left.mul(&right)?.contiguous()?.unsafe_view("UnsafeViewBackward0", &to)
    }

    /// The cross product of vectors of three along a dimension.
    ///
    /// # Errors
    /// If the dimension does not have size three in both.
    #[track_caller]
    pub fn cross(&self, other: &Self, dim: i64) -> Result<Self> {
        let shape = crate::shape::broadcast(&self.shape(), &other.shape())?;
        let at = norm_dim(dim, shape.len())?;
        ensure!(
            shape.get(at) == Some(&3),
            runtime,
            "linalg.cross: inputs dimension {dim} must have length 3. Got {} and {}",
            self.size_along(at),
            other.size_along(at)
        );
        let dtype = Self::result_type(self, other);
        if dtype.is_float() {
            let (x, y) = (self.to_dtype(dtype)?, other.to_dtype(dtype)?);
            let output = crossed(&x, &y, &shape, at)?;
            if recording(&[&x, &y]) {
                // Each is only needed for the gradient of the other.
                let mut saves: SmallVec<[Save<'_>; 2]> = SmallVec::new();
                if x.requires_grad() {
                    saves.push(Save::Input(1));
                }
                if y.requires_grad() {
                    saves.push(Save::Input(0));
                }
                attach(Op::rule(Cross { dim: at }), &[&x, &y], &saves, &[&output])?;
            }
            return Ok(output);
        }
        let (x, y) = (self.expand_to(&shape)?, other.expand_to(&shape)?);
        let mut along: Dims = shape.iter().map(|_| 1).collect();
        along[at] = 3;
        let turn = |tensor: &Self, order: [i64; 3]| {
            let index = Self::from_slice(&order, &along)?.expand_to(&shape)?;
            take(tensor, at, &index.shared_core())
        };
        let ahead = turn(&x, [1, 2, 0])?.mul(&turn(&y, [2, 0, 1])?)?;
        ahead.sub(&turn(&x, [2, 0, 1])?.mul(&turn(&y, [1, 2, 0])?)?)
    }
}
