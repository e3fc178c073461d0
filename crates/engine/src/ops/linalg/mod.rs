//! Decompositions and what is solved with them, over stacks of matrices.
//!
//! Numbers are computed in double precision whatever the dtype. The rules are written in
//! differentiable operations on what was saved, so they serve passes of any order.

mod dense;
mod rules;

use smallvec::{SmallVec, smallvec};

use self::dense::{Lu, Matrix};
use self::rules::Rules;
use super::Op;
use crate::dtype::DType;
use crate::error::{Result, ensure};
use crate::graph::{Save, attach, recording, recording1};
use crate::shape::Dims;
use crate::tensor::Tensor;

/// The matrices of a stack, one after the other.
struct Stack {
    lead: Dims,
    rows: usize,
    columns: usize,
    data: Vec<f64>,
}

impl Stack {
    fn new(name: &str, tensor: &Tensor) -> Result<Self> {
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
        let (lead, last) = shape.split_at(shape.len() - 2);
        let data = tensor.detach().to_dtype(DType::F64)?.to_vec::<f64>()?;
        Ok(Self { lead: Dims::from_slice(lead), rows: last[0], columns: last[1], data })
    }

    fn square(name: &str, tensor: &Tensor) -> Result<Self> {
        let stack = Self::new(name, tensor)?;
        ensure!(
            stack.rows == stack.columns,
            runtime,
            "{name}: A must be batches of square matrices, but they are {} by {} matrices",
            stack.rows,
            stack.columns
        );
        Ok(stack)
    }

    fn count(&self) -> usize {
        self.lead.iter().product()
    }

    fn matrices(&self) -> impl Iterator<Item = Matrix> + '_ {
        let size = self.rows * self.columns;
        (0..self.count()).map(move |i| {
            Matrix::new(self.rows, self.columns, &self.data[i * size..(i + 1) * size])
        })
    }

    /// A tensor with one part per matrix of the stack.
    fn collect(&self, data: &[f64], tail: &[usize], dtype: DType) -> Result<Tensor> {
        let mut shape = self.lead.clone();
        shape.extend_from_slice(tail);
        Tensor::from_slice(data, &shape)?.to_dtype(dtype)
    }

    fn numbers(&self, data: &[i64], tail: &[usize], dtype: DType) -> Result<Tensor> {
        let mut shape = self.lead.clone();
        shape.extend_from_slice(tail);
        Tensor::from_slice(data, &shape)?.to_dtype(dtype)
    }
}

impl Tensor {
    /// The inverses, and for each matrix zero or the place of a zero pivot.
    ///
    /// # Errors
    /// If the matrices are not square.
    #[track_caller]
    pub fn linalg_inv(&self) -> Result<(Self, Self)> {
        let name = "linalg.inv";
        let stack = Stack::square(name, self)?;
        let n = stack.rows;
        let (mut data, mut infos) = (Vec::new(), Vec::new());
        for matrix in stack.matrices() {
            let lu = Lu::new(matrix);
            infos.push(lu.singular as i64);
            data.extend(lu.solve(Matrix::eye(n)).data);
        }
        let output = stack.collect(&data, &[n, n], self.dtype())?;
        if recording1(self) {
            attach(Op::rule(Rules::Inverse), &[self], &[Save::Output(0)], &[&output])?;
        }
        Ok((output, stack.numbers(&infos, &[], DType::I32)?))
    }

    /// `A X = B` for matrices B over the same stack.
    ///
    /// # Errors
    /// If shapes or dtypes do not fit.
    #[track_caller]
    pub fn linalg_solve(&self, other: &Self) -> Result<(Self, Self)> {
        let name = "linalg.solve";
        let (stack, right) = (Stack::square(name, self)?, Stack::new(name, other)?);
        ensure!(
            stack.lead == right.lead && stack.rows == right.rows,
            runtime,
            "{name}: Incompatible shapes of A and B for the equation AX = B ({:?} and {:?})",
            self.shape().as_slice(),
            other.shape().as_slice()
        );
        ensure!(
            self.dtype() == other.dtype(),
            runtime,
            "{name}: Expected A and B to have the same dtype, but found A of type {} and B of type \
             {} instead",
            self.dtype().scalar_name(),
            other.dtype().scalar_name()
        );
        let (mut data, mut infos) = (Vec::new(), Vec::new());
        for (matrix, b) in stack.matrices().zip(right.matrices()) {
            let lu = Lu::new(matrix);
            infos.push(lu.singular as i64);
            data.extend(lu.solve(b).data);
        }
        let output = stack.collect(&data, &[right.rows, right.columns], self.dtype())?;
        let inputs = [self, other];
        if recording(&inputs) {
            let saves = [Save::Input(0), Save::Output(0)];
            attach(Op::rule(Rules::Solve), &inputs, &saves, &[&output])?;
        }
        Ok((output, stack.numbers(&infos, &[], DType::I32)?))
    }

    /// `A X = B` with the upper or lower triangle of A.
    ///
    /// # Errors
    /// If shapes or dtypes do not fit.
    #[track_caller]
    pub fn linalg_solve_triangular(&self, other: &Self, upper: bool, unit: bool) -> Result<Self> {
        let name = "linalg.solve_triangular";
        let (stack, right) = (Stack::square(name, self)?, Stack::new(name, other)?);
        ensure!(
            stack.lead == right.lead && stack.rows == right.rows,
            runtime,
            "{name}: Incompatible shapes of A and B for the equation AX = B ({:?} and {:?})",
            self.shape().as_slice(),
            other.shape().as_slice()
        );
        ensure!(
            self.dtype() == other.dtype(),
            runtime,
            "{name}: Expected A and B to have the same dtype, but found A of type {} and B of type \
             {} instead",
            self.dtype().scalar_name(),
            other.dtype().scalar_name()
        );
        let mut data = Vec::new();
        for (matrix, mut b) in stack.matrices().zip(right.matrices()) {
            dense::substitute(&matrix, &mut b, upper, unit);
            data.extend(b.data);
        }
        let output = stack.collect(&data, &[right.rows, right.columns], self.dtype())?;
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
        let stack = Stack::square("linalg.det", self)?;
        let dets: Vec<f64> = stack
            .matrices()
            .map(|matrix| {
                let lu = Lu::new(matrix);
                let product: f64 = (0..stack.rows).map(|i| lu.packed[(i, i)]).product();
                if lu.odd { -product } else { product }
            })
            .collect();
        let output = stack.collect(&dets, &[], self.dtype())?;
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
        let stack = Stack::square("linalg.slogdet", self)?;
        let (mut signs, mut sizes) = (Vec::new(), Vec::new());
        for matrix in stack.matrices() {
            let lu = Lu::new(matrix);
            let (mut sign, mut size) = (if lu.odd { -1.0 } else { 1.0 }, 0.0);
            for i in 0..stack.rows {
                let pivot = lu.packed[(i, i)];
                sign *= if pivot == 0.0 { 0.0 } else { pivot.signum() };
                size += pivot.abs().ln();
            }
            signs.push(sign);
            sizes.push(size);
        }
        let sign = stack.collect(&signs, &[], self.dtype())?;
        let size = stack.collect(&sizes, &[], self.dtype())?;
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
        let name = "linalg.cholesky";
        let stack = Stack::square(name, self)?;
        let n = stack.rows;
        let (mut data, mut infos) = (Vec::new(), Vec::new());
        for matrix in stack.matrices() {
            let (l, info) = dense::cholesky(&matrix);
            infos.push(info as i64);
            data.extend(l.data);
        }
        let output = stack.collect(&data, &[n, n], self.dtype())?;
        if recording1(self) {
            attach(Op::rule(Rules::Cholesky), &[self], &[Save::Output(0)], &[&output])?;
        }
        Ok((output, stack.numbers(&infos, &[], DType::I32)?))
    }

    /// `A = Q R`, reduced or with square Q.
    ///
    /// # Errors
    /// If this is no stack of matrices.
    #[track_caller]
    pub fn linalg_qr(&self, complete: bool) -> Result<(Self, Self)> {
        let stack = Stack::new("linalg.qr", self)?;
        let (m, n) = (stack.rows, stack.columns);
        let k = if complete { m } else { m.min(n) };
        let (mut qs, mut rs) = (Vec::new(), Vec::new());
        for matrix in stack.matrices() {
            let (q, r) = dense::qr(matrix, k);
            qs.extend(q.data);
            rs.extend(r.data);
        }
        let q = stack.collect(&qs, &[m, k], self.dtype())?;
        let r = stack.collect(&rs, &[k, n], self.dtype())?;
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
        let name = "linalg.eigh";
        let stack = Stack::square(name, self)?;
        ensure!(
            stack.data.iter().all(|x| x.is_finite()),
            runtime,
            "{name}: The algorithm failed to converge because the input matrix contained \
             non-finite values."
        );
        let n = stack.rows;
        let (mut values, mut vectors) = (Vec::new(), Vec::new());
        for mut matrix in stack.matrices() {
            for i in 0..n {
                for j in 0..i {
                    if upper {
                        matrix[(i, j)] = matrix[(j, i)];
                    } else {
                        matrix[(j, i)] = matrix[(i, j)];
                    }
                }
            }
            let (w, v) = dense::eigh(matrix);
            values.extend(w);
            vectors.extend(v.transposed().data);
        }
        let values = stack.collect(&values, &[n], self.dtype())?;
        let vectors = stack.collect(&vectors, &[n, n], self.dtype())?;
        if recording1(self) {
            let saves = [Save::Output(0), Save::Output(1)];
            attach(Op::rule(Rules::Eigh), &[self], &saves, &[&values, &vectors])?;
        }
        Ok((values, vectors))
    }

    /// `A = U diag(S) Vh`, reduced or with square U and Vh.
    ///
    /// # Errors
    /// If this is no stack of matrices, or holds what is not finite.
    #[track_caller]
    pub fn linalg_svd(&self, full: bool) -> Result<[Self; 3]> {
        let name = "linalg.svd";
        let stack = Stack::new(name, self)?;
        ensure!(
            stack.data.iter().all(|x| x.is_finite()),
            runtime,
            "{name}: The algorithm failed to converge because the input matrix contained \
             non-finite values."
        );
        let (m, n) = (stack.rows, stack.columns);
        let k = m.min(n);
        let (mut us, mut ss, mut vs) = (Vec::new(), Vec::new(), Vec::new());
        for matrix in stack.matrices() {
            let (u, s, v) = dense::svd(&matrix, full);
            us.extend(u.data);
            ss.extend(s);
            vs.extend(v.data);
        }
        let (left, right) = if full { (m, n) } else { (k, k) };
        let u = stack.collect(&us, &[m, left], self.dtype())?;
        let s = stack.collect(&ss, &[k], self.dtype())?;
        let v = stack.collect(&vs, &[right, n], self.dtype())?;
        if recording1(self) {
            let saves = [Save::Output(0), Save::Output(1), Save::Output(2)];
            attach(Op::rule(Rules::Svd), &[self], &saves, &[&u, &s, &v])?;
        }
        Ok([u, s, v])
    }

    /// L and U packed in one, the rows exchanged (from 1), and for each matrix zero or the place of
    /// a zero pivot.
    ///
    /// # Errors
    /// If this is no stack of matrices.
    #[track_caller]
    pub fn linalg_lu_factor(&self) -> Result<[Self; 3]> {
        let stack = Stack::new("linalg.lu_factor", self)?;
        let (m, n) = (stack.rows, stack.columns);
        let (mut data, mut swaps, mut infos) = (Vec::new(), Vec::new(), Vec::new());
        let mut orders: Vec<i64> = Vec::new();
        for matrix in stack.matrices() {
            let lu = Lu::new(matrix);
            orders.extend(lu.order().iter().map(|&i| i as i64));
            swaps.extend(lu.swaps.iter().map(|&i| i as i64 + 1));
            infos.push(lu.singular as i64);
            data.extend(lu.packed.data);
        }
        let output = stack.collect(&data, &[m, n], self.dtype())?;
        if recording1(self) {
            let orders = stack.numbers(&orders, &[m], DType::I64)?.shared_core();
            let saves: SmallVec<[Save<'_>; 2]> = smallvec![Save::Output(0), Save::Private(&orders)];
            attach(Op::rule(Rules::Lu), &[self], &saves, &[&output])?;
        }
        let swaps = stack.numbers(&swaps, &[m.min(n)], DType::I32)?;
        Ok([output, swaps, stack.numbers(&infos, &[], DType::I32)?])
    }
}
