//! Decompositions and what is solved with them, over stacks of matrices.
//!
//! The rules are written in
//! differentiable operations on what was saved, so they serve passes of any order.

mod rules;

use smallvec::{SmallVec, smallvec};

use self::rules::Rules;
use super::Op;
use crate::dtype::DType;
use crate::error::{Result, bail, ensure};
use crate::graph::{Save, attach, recording, recording1};
use crate::launch;
use crate::shape::Dims;
use crate::tensor::Tensor;

/// The sizes of a stack of matrices of floats.
fn matrices(name: &str, tensor: &Tensor) -> Result<Dims> {
    let shape = tensor.shape();
    ensure!(
        shape.len() >= 2,
        runtime,
        "{name}: The input tensor A must have at least 2 dimensions."
    );
    ensure!(
        tensor.dtype().is_float(),
        runtime,
        "{name}: Expected a floating point tensor as input. Got {}",
        tensor.dtype().scalar_name()
    );
    Ok(Dims::from_slice(&shape))
}

/// The sizes of a stack of square matrices of floats.
fn square(name: &str, tensor: &Tensor) -> Result<Dims> {
    let shape = matrices(name, tensor)?;
    let (rows, columns) = (shape[shape.len() - 2], shape[shape.len() - 1]);
    ensure!(
        rows == columns,
        runtime,
        "{name}: A must be batches of square matrices, but they are {rows} by {columns} matrices"
    );
    Ok(shape)
}

/// The sizes of A in `A X = B`, where both fit each other.
fn equation(name: &str, a: &Tensor, b: &Tensor) -> Result<Dims> {
    let (shape, right) = (square(name, a)?, matrices(name, b)?);
    let (dims, n) = (shape.len() - 2, shape[shape.len() - 1]);
    ensure!(
        right.len() == shape.len() && right[..dims] == shape[..dims] && right[dims] == n,
        runtime,
        "{name}: Incompatible shapes of A and B for the equation AX = B ({:?} and {:?})",
        shape.as_slice(),
        right.as_slice()
    );
    ensure!(
        a.dtype() == b.dtype(),
        runtime,
        "{name}: Expected A and B to have the same dtype, but found A of type {} and B of type {} \
         instead",
        a.dtype().scalar_name(),
        b.dtype().scalar_name()
    );
    Ok(shape)
}

/// One number for each matrix of a stack of that shape.
fn numbers(infos: &[usize], shape: &[usize]) -> Result<Tensor> {
    let infos: Vec<i32> = infos.iter().map(|&info| info as i32).collect();
    Tensor::from_slice(&infos, &shape[..shape.len() - 2])
}

/// The diagonals of U, and the signs of the permutations.
struct Pivots {
    diagonals: Vec<f64>,
    swaps: Vec<usize>,
    n: usize,
}

impl Pivots {
    fn of(tensor: &Tensor) -> Result<Self> {
        let n = tensor.size_along(tensor.ndim() - 1);
        let (packed, swaps, _) = launch::lu(&tensor.shared_core())?;
        let packed = Tensor::from_core(packed);
        let diagonals = packed.diagonal(0, -2, -1)?.to_dtype(DType::F64)?.to_vec::<f64>()?;
        // A matrix without elements has a determinant too.
        let swaps =
            if n == 0 { vec![0; tensor.shape().iter().rev().skip(2).product()] } else { swaps };
        Ok(Self { diagonals, swaps, n })
    }

    fn each(&self) -> impl Iterator<Item = (f64, &[f64])> {
        self.swaps.chunks_exact(self.n.max(1)).enumerate().map(|(i, swaps)| {
            let odd = swaps.iter().enumerate().filter(|&(j, &other)| j != other).count() % 2 == 1;
            let sign = if odd && self.n > 0 { -1.0 } else { 1.0 };
            (sign, &self.diagonals[i * self.n..(i + 1) * self.n])
        })
    }
}

impl Tensor {
    /// The inverses, and for each matrix zero or the place of a zero pivot.
    ///
    /// # Errors
    /// If the matrices are not square.
    #[track_caller]
    pub fn linalg_inv(&self) -> Result<(Self, Self)> {
        let shape = square("linalg.inv", self)?;
        let n = shape[shape.len() - 1];
        let (packed, swaps, infos) = launch::lu(&self.shared_core())?;
        let unit = Self::eye(n, n, self.dtype())?.expand_to(&shape)?.shared_core();
        let output = Self::from_core(launch::lu_solve(&packed, &swaps, &unit)?);
        if recording1(self) {
            attach(Op::rule(Rules::Inverse), &[self], &[Save::Output(0)], &[&output])?;
        }
        Ok((output, numbers(&infos, &shape)?))
    }

    /// `A X = B` for matrices B over the same stack.
    ///
    /// # Errors
    /// If shapes or dtypes do not fit.
    #[track_caller]
    pub fn linalg_solve(&self, other: &Self) -> Result<(Self, Self)> {
        let shape = equation("linalg.solve", self, other)?;
        let (packed, swaps, infos) = launch::lu(&self.shared_core())?;
        let output = Self::from_core(launch::lu_solve(&packed, &swaps, &other.shared_core())?);
        let inputs = [self, other];
        if recording(&inputs) {
            let saves = [Save::Input(0), Save::Output(0)];
            attach(Op::rule(Rules::Solve), &inputs, &saves, &[&output])?;
        }
        Ok((output, numbers(&infos, &shape)?))
    }

    /// `A X = B` with the upper or lower triangle of A.
    ///
    /// # Errors
    /// If shapes or dtypes do not fit.
    #[track_caller]
    pub fn linalg_solve_triangular(&self, other: &Self, upper: bool, unit: bool) -> Result<Self> {
        equation("linalg.solve_triangular", self, other)?;
        let (a, b) = (self.shared_core(), other.shared_core());
        let output = Self::from_core(launch::substitute(&a, &b, upper, unit)?);
        let inputs = [self, other];
        if recording(&inputs) {
            let saves = [Save::Input(0), Save::Output(0)];
            let rule = Rules::Triangular { upper, unit };
            attach(Op::rule(rule), &inputs, &saves, &[&output])?;
        }
        Ok(output)
    }

    /// The determinants.
    ///
    /// # Errors
    /// If the matrices are not square.
    #[track_caller]
    pub fn linalg_det(&self) -> Result<Self> {
        let shape = square("linalg.det", self)?;
        let pivots = Pivots::of(self)?;
        let dets: Vec<f64> =
            pivots.each().map(|(sign, row)| row.iter().fold(sign, |a, b| a * b)).collect();
        let lead = &shape[..shape.len() - 2];
        let output = Self::from_slice(&dets, lead)?.to_dtype(self.dtype())?;
        if recording1(self) {
            let saves = [Save::Input(0), Save::Output(0)];
            attach(Op::rule(Rules::Det), &[self], &saves, &[&output])?;
        }
        Ok(output)
    }

    /// The signs of the determinants, and the logarithms of their sizes.
    ///
    /// # Errors
    /// If the matrices are not square.
    #[track_caller]
    pub fn linalg_slogdet(&self) -> Result<(Self, Self)> {
        let shape = square("linalg.slogdet", self)?;
        let lead = &shape[..shape.len() - 2];
        let (mut signs, mut sizes) = (Vec::new(), Vec::new());
        for (mut sign, row) in Pivots::of(self)?.each() {
            for &pivot in row {
                sign *= if pivot == 0.0 { 0.0 } else { pivot.signum() };
            }
            signs.push(sign);
            sizes.push(row.iter().map(|pivot| pivot.abs().ln()).sum::<f64>());
        }
        let sign = Self::from_slice(&signs, lead)?.to_dtype(self.dtype())?;
        let size = Self::from_slice(&sizes, lead)?.to_dtype(self.dtype())?;
        if recording1(self) {
            attach(Op::rule(Rules::LogDet), &[self], &[Save::Input(0)], &[&size])?;
        }
        Ok((sign, size))
    }

    /// The lower factors, and for each matrix zero or the order of the minor that is not positive.
    ///
    /// # Errors
    /// If the matrices are not square.
    #[track_caller]
    pub fn linalg_cholesky(&self) -> Result<(Self, Self)> {
        let shape = square("linalg.cholesky", self)?;
        let (factor, infos) = launch::cholesky(&self.shared_core())?;
        let output = Self::from_core(factor);
        if recording1(self) {
            attach(Op::rule(Rules::Cholesky), &[self], &[Save::Output(0)], &[&output])?;
        }
        Ok((output, numbers(&infos, &shape)?))
    }

    /// `A = Q R`, reduced or with square Q.
    ///
    /// # Errors
    /// If this is no stack of matrices.
    #[track_caller]
    pub fn linalg_qr(&self, complete: bool) -> Result<(Self, Self)> {
        let shape = matrices("linalg.qr", self)?;
        let (m, n) = (shape[shape.len() - 2], shape[shape.len() - 1]);
        let (q, r) = launch::qr(&self.shared_core(), complete)?;
        let (q, r) = (Self::from_core(q), Self::from_core(r));
        if recording1(self) {
            let rule = Rules::Qr { refused: complete && m > n };
            let saves = [Save::Output(0), Save::Output(1), Save::Input(0)];
            attach(Op::rule(rule), &[self], &saves, &[&q, &r])?;
        }
        Ok((q, r))
    }

    /// Ascending eigenvalues of symmetric matrices, of which one triangle is read, and eigenvectors.
    ///
    /// # Errors
    /// If the matrices are not square, or hold what is not finite.
    #[track_caller]
    pub fn linalg_eigh(&self, upper: bool) -> Result<(Self, Self)> {
        square("linalg.eigh", self)?;
        let (values, vectors) = launch::eigh("linalg.eigh", &self.shared_core(), upper, true)?;
        let values = Self::from_core(values);
        let vectors = vectors.map_or_else(
            || Self::zeros(&self.shape(), self.dtype()),
            |core| Ok(Self::from_core(core)),
        )?;
        if recording1(self) {
            let saves = [Save::Output(0), Save::Output(1)];
            attach(Op::rule(Rules::Eigh), &[self], &saves, &[&values, &vectors])?;
        }
        Ok((values, vectors))
    }

    /// The eigenvalues alone; with a derivative to come, this takes as long as [`Self::linalg_eigh`].
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn linalg_eigvalsh(&self, upper: bool) -> Result<Self> {
        if recording1(self) {
            return Ok(self.linalg_eigh(upper)?.0);
        }
        square("linalg.eigh", self)?;
        Ok(Self::from_core(launch::eigh("linalg.eigh", &self.shared_core(), upper, false)?.0))
    }

    /// `A = U diag(S) Vh`, reduced or with square U and Vh.
    ///
    /// # Errors
    /// If this is no stack of matrices, or holds what is not finite.
    #[track_caller]
    pub fn linalg_svd(&self, full: bool) -> Result<[Self; 3]> {
        matrices("linalg.svd", self)?;
        let (s, sides) = launch::svd("linalg.svd", &self.shared_core(), Some(full))?;
        let s = Self::from_core(s);
        let Some((u, v)) = sides else { bail!(runtime, "linalg.svd without vectors") };
        let (u, v) = (Self::from_core(u), Self::from_core(v));
        if recording1(self) {
            let saves = [Save::Output(0), Save::Output(1), Save::Output(2)];
            attach(Op::rule(Rules::Svd), &[self], &saves, &[&u, &s, &v])?;
        }
        Ok([u, s, v])
    }

    /// The singular values alone; with a derivative to come, this takes as long as [`Self::linalg_svd`].
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn linalg_svdvals(&self) -> Result<Self> {
        if recording1(self) {
            let [_, s, _] = self.linalg_svd(false)?;
            return Ok(s);
        }
        matrices("linalg.svd", self)?;
        Ok(Self::from_core(launch::svd("linalg.svd", &self.shared_core(), None)?.0))
    }

    /// The shortest solutions of least squares and the ranks: singular values below `rcond` times the
    /// greatest count as zero. Without derivatives.
    ///
    /// # Errors
    /// If shapes or dtypes do not fit.
    #[track_caller]
    pub fn linalg_lstsq(&self, other: &Self, rcond: f64) -> Result<(Self, Self)> {
        let name = "torch.linalg.lstsq";
        let (shape, right) = (matrices(name, self)?, matrices(name, other)?);
        let dims = shape.len() - 1;
        ensure!(
            right.len() == shape.len()
                && shape[..dims] == right[..dims]
                && self.dtype() == other.dtype(),
            runtime,
            "{name}: input.size(-2) should match other.size(-2), and so should what is before ({:?} and {:?})",
            shape.as_slice(),
            right.as_slice()
        );
        let (a, b) = (self.shared_core(), other.shared_core());
        let (solution, ranks) = launch::least_squares(&a, &b, rcond)?;
        let ranks: Vec<i64> = ranks.into_iter().map(|rank| rank as i64).collect();
        Ok((Self::from_core(solution), Self::from_slice(&ranks, &shape[..dims - 1])?))
    }

    /// L and U packed in one, the rows exchanged (from 1), and for each matrix zero or the place of
    /// a zero pivot.
    ///
    /// # Errors
    /// If this is no stack of matrices.
    #[track_caller]
    pub fn linalg_lu_factor(&self) -> Result<[Self; 3]> {
        let shape = matrices("linalg.lu_factor", self)?;
        let (m, n) = (shape[shape.len() - 2], shape[shape.len() - 1]);
        let k = m.min(n);
        let (packed, swaps, infos) = launch::lu(&self.shared_core())?;
        let output = Self::from_core(packed);
        let mut wide = Dims::from_slice(&shape[..shape.len() - 2]);
        if recording1(self) {
            let mut orders: Vec<i64> = Vec::with_capacity(infos.len() * m);
            for i in 0..infos.len() {
                let at = orders.len();
                orders.extend(0..m as i64);
                for (j, &other) in swaps[i * k..(i + 1) * k].iter().enumerate() {
                    orders.swap(at + j, at + other);
                }
            }
            wide.push(m);
            let orders = Self::from_slice(&orders, &wide)?.shared_core();
            wide.pop();
            let saves: SmallVec<[Save<'_>; 2]> = smallvec![Save::Output(0), Save::Private(&orders)];
            attach(Op::rule(Rules::Lu), &[self], &saves, &[&output])?;
        }
        wide.push(k);
        let swaps: Vec<i32> = swaps.iter().map(|&other| other as i32 + 1).collect();
        Ok([output, Self::from_slice(&swaps, &wide)?, numbers(&infos, &shape)?])
    }
}
