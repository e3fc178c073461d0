//! The derivatives of decompositions.
//!
//! Formula source: Giles, *An extended collection of matrix derivative results*, 2008; Seeger et
//! al., *Auto-differentiating linear algebra*, 2017, for the decompositions.

use smallvec::smallvec;

use crate::dtype::{DType, Scalar};
use crate::error::{Result, ensure};
use crate::graph::hooks::GradList;
use crate::ops::binary::Binary;
use crate::ops::unary::Unary;
use crate::ops::{Cx, Rule};
use crate::tensor::Tensor;

/// Which operation it was.
pub(super) enum Rules {
    /// Saved: the inverse.
    Inverse,
    /// Saved: the matrix, the solution.
    Solve,
    /// Saved: the matrix, the solution.
    Triangular { upper: bool, unit: bool },
    /// Saved: the matrix, its determinant.
    Det,
    /// Saved: the matrix.
    LogDet,
    /// Saved: the factor.
    Cholesky,
    /// Saved: Q, R, the matrix.
    Qr { refused: bool },
    /// Saved: values, vectors.
    Eigh,
    /// Saved: U, S, Vh.
    Svd,
    /// Saved: L and U, the order of rows.
    Lu,
}

fn neg(x: &Tensor) -> Result<Tensor> {
    x.apply_unary(Unary::Neg)
}

/// `diag(s)` from the right: columns scaled.
fn columns_by(x: &Tensor, s: &Tensor) -> Result<Tensor> {
    x.mul(&s.unsqueeze(-2)?)
}

/// The upper triangle with half the diagonal for `true`, else the lower one.
fn half(x: &Tensor) -> Result<Tensor> {
    x.tril(0)?.add(&x.tril(-1)?)?.times(0.5)
}

fn tri_solve(a: &Tensor, b: &Tensor, upper: bool) -> Result<Tensor> {
    a.linalg_solve_triangular(b, upper, false)
}

/// `A^-T g`, by a solution.
fn solve_turned(a: &Tensor, g: &Tensor) -> Result<Tensor> {
    Ok(a.mt()?.linalg_solve(g)?.0)
}

/// What each element of a singular matrix adds to the determinant: the determinants of the minors.
fn cofactors(a: &Tensor) -> Result<Tensor> {
    let shape = a.shape();
    let n = shape[shape.len() - 1];
    let data = a.detach().to_dtype(DType::F64)?.to_vec::<f64>()?;
    let (mut minors, mut signs) = (Vec::new(), Vec::with_capacity(data.len()));
    for matrix in data.chunks_exact((n * n).max(1)) {
        for i in 0..n {
            for j in 0..n {
                let kept = (0..n * n).filter(|at| at / n != i && at % n != j);
                minors.extend(kept.map(|at| matrix[at]));
                signs.push(if (i + j) % 2 == 1 { -1.0 } else { 1.0 });
            }
        }
    }
    let less = n.saturating_sub(1);
    let minors = Tensor::from_slice(&minors, &[signs.len(), less, less])?;
    let signs = Tensor::from_slice(&signs, &shape)?;
    minors.linalg_det()?.reshape_to(&shape)?.mul(&signs)?.to_dtype(a.dtype())
}

/// One over the differences of the entries of a vector, zero on the diagonal.
fn inverse_gaps(values: &Tensor) -> Result<Tensor> {
    let gaps = values.unsqueeze(-2)?.sub(&values.unsqueeze(-1)?)?;
    let n = values.size_along(values.ndim() - 1);
    let eye = Tensor::eye(n, n, values.dtype())?;
    // One on the diagonal, so that nothing is divided by zero there.
    let inverse = gaps.add(&eye)?.binary_scalar(Binary::Div, Scalar::Int(1), true)?;
    inverse.mul(&eye.binary_scalar(Binary::Sub, Scalar::Int(1), true)?)
}

fn plus(a: Option<Tensor>, b: Option<Tensor>) -> Result<Option<Tensor>> {
    match (a, b) {
        (Some(a), Some(b)) => Ok(Some(a.add(&b)?)),
        (a, b) => Ok(a.or(b)),
    }
}

fn diag(x: &Tensor) -> Result<Tensor> {
    x.diag_embed(0, -2, -1)
}

/// The gradient of a matrix with at least as many rows as columns.
fn qr_tall(q: &Tensor, r: &Tensor, gq: Option<&Tensor>, gr: Option<&Tensor>) -> Result<Tensor> {
    let from_r = gr.map(|gr| r.matmul(&gr.mt()?)).transpose()?;
    let from_q = gq.map(|gq| neg(&gq.mt()?.matmul(q)?)).transpose()?;
    let Some(m) = plus(from_r, from_q)? else { return Tensor::zeros(&q.shape(), q.dtype()) };
    let symmetric = m.tril(0)?.add(&m.tril(-1)?.mt()?)?;
    let inner = q.matmul(&symmetric)?;
    let inner = match gq {
        Some(gq) => inner.add(gq)?,
        None => inner,
    };
    // `inner R^-T`
    tri_solve(r, &inner.mt()?, true)?.mt()
}

impl Rules {
    fn gradient(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let g = grads[0].as_ref();
        Ok(match (self, g) {
            (Self::Solve, Some(g)) => {
                let (a, x) = (cx.saved(0)?, cx.saved(1)?);
                let own = solve_turned(&a, g)?;
                let of_matrix = if cx.needs(0) { Some(neg(&own.matmul(&x.mt()?)?)?) } else { None };
                smallvec![of_matrix, Some(own)]
            }
            (Self::Triangular { upper, unit }, Some(g)) => {
                let (a, x) = (cx.saved(0)?, cx.saved(1)?);
                let own = a.mt()?.linalg_solve_triangular(g, !upper, *unit)?;
                let of_matrix = if cx.needs(0) {
                    let whole = neg(&own.matmul(&x.mt()?)?)?;
                    let off = i64::from(*unit);
                    Some(if *upper { whole.triu(off)? } else { whole.tril(-off)? })
                } else {
                    None
                };
                smallvec![of_matrix, Some(own)]
            }
            (Self::Solve | Self::Triangular { .. }, None) => smallvec![None, None],
            (Self::Inverse, Some(g)) => {
                let turned = cx.saved(0)?.mt()?;
                smallvec![Some(neg(&turned.matmul(g)?.matmul(&turned)?)?)]
            }
            (Self::Det, Some(g)) => {
                let (a, det) = (cx.saved(0)?, cx.saved(1)?);
                let wide = |x: &Tensor| x.unsqueeze(-1)?.unsqueeze(-1);
                if det.detach().compare(Binary::Eq, 0.0)?.any_true()? {
                    return Ok(smallvec![Some(cofactors(&a)?.mul(&wide(g)?)?)]);
                }
                let turned = a.linalg_inv()?.0.mt()?;
                smallvec![Some(turned.mul(&wide(&g.mul(&det)?)?)?)]
            }
            (Self::LogDet, Some(g)) => {
                let turned = cx.saved(0)?.linalg_inv()?.0.mt()?;
                smallvec![Some(turned.mul(&g.unsqueeze(-1)?.unsqueeze(-1)?)?)]
            }
            (Self::Cholesky, Some(g)) => {
                let l = cx.saved(0)?;
                let inner = half(&l.mt()?.matmul(g)?.tril(0)?)?;
                // L^-T inner L^-1, symmetric.
                let left = tri_solve(&l.mt()?, &inner, true)?;
                let whole = tri_solve(&l.mt()?, &left.mt()?, true)?.mt()?;
                smallvec![Some(whole.add(&whole.mt()?)?.times(0.5)?)]
            }
            (Self::Lu, Some(g)) => {
                let (packed, order) = (cx.saved(0)?, cx.saved(1)?.detach());
                let (m, n) =
                    (packed.size_along(packed.ndim() - 2), packed.size_along(packed.ndim() - 1));
                let k = m.min(n);
                let (last, before) = (packed.ndim() - 1, packed.ndim() - 2);
                let square = packed.span(last, 0, k)?.span(before, 0, k)?;
                let eye = Tensor::eye(k, k, packed.dtype())?;
                let (l, u) = (square.tril(-1)?.add(&eye)?, square.triu(0)?);
                let own = g.span(last, 0, k)?.span(before, 0, k)?;
                let (mut of_l, mut of_u) = (own.tril(-1)?, own.triu(0)?);
                // What lies beside the square part: U2 = L^-1 A2, or L2 = A2 U^-1.
                let mut rest = None;
                if n > m {
                    let g = l.mt()?.linalg_solve_triangular(&g.span(last, k, n)?, true, true)?;
                    let beside = packed.span(last, k, n)?;
                    of_l = of_l.sub(&g.matmul(&beside.mt()?)?.tril(-1)?)?;
                    rest = Some((g, last));
                } else if m > n {
                    let g = tri_solve(&u, &g.span(before, k, m)?.mt()?, true)?.mt()?;
                    let beside = packed.span(before, k, m)?;
                    of_u = of_u.sub(&beside.mt()?.matmul(&g)?.triu(0)?)?;
                    rest = Some((g, before));
                }
                let inner =
                    l.mt()?.matmul(&of_l)?.tril(-1)?.add(&of_u.matmul(&u.mt()?)?.triu(0)?)?;
                let left = l.mt()?.linalg_solve_triangular(&inner, true, true)?;
                let mut whole = tri_solve(&u, &left.mt()?, true)?.mt()?;
                if let Some((rest, dim)) = rest {
                    whole = crate::ops::join::cat(&[&whole, &rest], dim as i64)?;
                }
                // Back to the order of the rows of the matrix.
                let back = order.sort(-1, false)?.1.unsqueeze(-1)?.expand_to(&whole.shape())?;
                smallvec![Some(whole.gather(-2, &back)?)]
            }
            (Self::Qr { refused }, _) => {
                if grads.iter().all(Option::is_none) {
                    return Ok(smallvec![None]);
                }
                ensure!(
                    !refused,
                    runtime,
                    "The QR decomposition is not differentiable when mode='complete' and nrows > \
                     ncols"
                );
                let (q, r, a) = (cx.saved(0)?, cx.saved(1)?, cx.saved(2)?);
                let (m, n) = (a.size_along(a.ndim() - 2), a.size_along(a.ndim() - 1));
                let (gq, gr) = (g, grads[1].as_ref());
                if m >= n {
                    return Ok(smallvec![Some(qr_tall(&q, &r, gq, gr)?)]);
                }
                // The columns behind the square part: R2 = Q^T A2.
                let last = a.ndim() - 1;
                let rest = a.span(last, m, n)?;
                let square = r.span(last, 0, m)?;
                let (gq, first, second) = match gr {
                    Some(gr) => {
                        let second = gr.span(last, m, n)?;
                        let more = rest.matmul(&second.mt()?)?;
                        let gq = plus(gq.cloned(), Some(more))?;
                        (gq, Some(gr.span(last, 0, m)?), q.matmul(&second)?)
                    }
                    None => (gq.cloned(), None, Tensor::zeros(&rest.shape(), rest.dtype())?),
                };
                let first = qr_tall(&q, &square, gq.as_ref(), first.as_ref())?;
                smallvec![Some(crate::ops::join::cat(&[&first, &second], last as i64)?)]
            }
            (Self::Eigh, _) => {
                let (values, vectors) = (cx.saved(0)?, cx.saved(1)?);
                let of_values = g.map(diag).transpose()?;
                let of_vectors = match grads[1].as_ref() {
                    Some(g) => Some(vectors.mt()?.matmul(g)?.mul(&inverse_gaps(&values)?)?),
                    None => None,
                };
                let Some(inner) = plus(of_values, of_vectors)? else {
                    return Ok(smallvec![None]);
                };
                smallvec![Some(vectors.matmul(&inner)?.matmul(&vectors.mt()?)?)]
            }
            (Self::Svd, _) => smallvec![svd(cx, grads)?],
            (_, None) => smallvec![None],
        })
    }
}

fn svd(cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<Option<Tensor>> {
    let (u, s, vh) = (cx.saved(0)?, cx.saved(1)?, cx.saved(2)?);
    let k = s.size_along(s.ndim() - 1);
    let (last, before) = (u.ndim() - 1, u.ndim() - 2);
    // What completes square factors has no derivative of its own.
    let (u, vh) = (u.span(last, 0, k)?, vh.span(before, 0, k)?);
    let gu = grads[0].as_ref().map(|g| g.span(last, 0, k)).transpose()?;
    let gv = grads[2].as_ref().map(|g| g.span(before, 0, k)?.mt()).transpose()?;
    let v = vh.mt()?;
    let (m, n) = (u.size_along(before), v.size_along(before));
    let mut inner = grads[1].as_ref().map(diag).transpose()?;
    let gaps = if gu.is_some() || gv.is_some() { Some(inverse_gaps(&s.mul(&s)?)?) } else { None };
    let skew = |x: &Tensor, g: &Tensor| -> Result<Tensor> {
        let product = x.mt()?.matmul(g)?;
        product.sub(&product.mt()?)
    };
    if let (Some(gu), Some(gaps)) = (&gu, &gaps) {
        inner = plus(inner, Some(columns_by(&skew(&u, gu)?.mul(gaps)?, &s)?))?;
    }
    if let (Some(gv), Some(gaps)) = (&gv, &gaps) {
        inner = plus(inner, Some(skew(&v, gv)?.mul(gaps)?.mul(&s.unsqueeze(-1)?)?))?;
    }
    let Some(inner) = inner else { return Ok(None) };
    let mut result = u.matmul(&inner)?.matmul(&vh)?;
    // Parts outside of the spaces of U and V.
    if let (Some(gu), true) = (&gu, m > k) {
        let scaled = gu.div(&s.unsqueeze(-2)?)?;
        let outside = scaled.sub(&u.matmul(&u.mt()?.matmul(&scaled)?)?)?;
        result = result.add(&outside.matmul(&vh)?)?;
    }
    if let (Some(gv), true) = (&gv, n > k) {
        let scaled = gv.div(&s.unsqueeze(-2)?)?;
        let outside = scaled.sub(&v.matmul(&vh.matmul(&scaled)?)?)?;
        result = result.add(&u.matmul(&outside.mt()?)?)?;
    }
    Ok(Some(result))
}

impl Rule for Rules {
    fn name(&self) -> &str {
        match self {
            Self::Inverse => "LinalgInvExBackward0",
            Self::Solve => "LinalgSolveExBackward0",
            Self::Triangular { .. } => "LinalgSolveTriangularBackward0",
            Self::Det => "LinalgDetBackward0",
            Self::LogDet => "LinalgSlogdetBackward0",
            Self::Cholesky => "LinalgCholeskyExBackward0",
            Self::Qr { .. } => "LinalgQrBackward0",
            Self::Eigh => "LinalgEighBackward0",
            Self::Svd => "LinalgSvdBackward0",
            Self::Lu => "LinalgLuFactorExBackward0",
        }
    }

    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        self.gradient(cx, grads)
    }
}
