//! Matrix products of cores.

use std::sync::Arc;

use super::{ptr, ptr_mut};
use crate::dtype::DType;
use crate::error::{Result, bail, ensure};
use crate::kernels::matmul::{self as kernel, Strides};
use crate::storage::{Access, Core};

fn strides(core: &Core, first: usize) -> Strides {
    Strides { row: core.strides()[first], column: core.strides()[first + 1] }
}

/// `a @ b` for matrices of one dtype.
pub fn gemm(a: &Core, b: &Core) -> Result<Arc<Core>> {
    let (m, k, n) = (a.shape()[0], a.shape()[1], b.shape()[1]);
    ensure!(b.shape()[0] == k && a.dtype() == b.dtype(), runtime, "gemm of unlike matrices");
    let out = Core::alloc(a.dtype(), &[m, n])?;
    let access = Access::new(&[a, b], None);
    let (sa, sb, sc) = (strides(a, 0), strides(b, 0), strides(&out, 0));
    macro_rules! float {
        ($T:ty) => {
            // SAFETY: shapes were checked, inputs are locked, the output is fresh.
            unsafe {
                kernel::gemm::<$T>(
                    m,
                    n,
                    k,
                    1.0,
                    ptr::<$T>(a),
                    sa,
                    ptr::<$T>(b),
                    sb,
                    0.0,
                    ptr_mut::<$T>(&out),
                    sc,
                );
            }
        };
    }
    match a.dtype() {
        DType::F32 => float!(f32),
        DType::F64 => float!(f64),
        dtype => integer(dtype, (m, n, k), a, sa, b, sb, &out)?,
    }
    drop(access);
    Ok(out)
}

/// `bias + a @ b` for float matrices of one dtype, a row of the bias to each row of the product; the
/// result takes `shape`, whose rows the matrix `a` has flattened.
pub fn addmm(bias: &Core, a: &Core, b: &Core, shape: &[usize]) -> Result<Arc<Core>> {
    let (m, k, n) = (a.shape()[0], a.shape()[1], b.shape()[1]);
    ensure!(
        b.shape()[0] == k && a.dtype() == b.dtype() && a.dtype() == bias.dtype(),
        runtime,
        "addmm of unlike matrices"
    );
    ensure!(
        bias.numel() == n && bias.shape().len() == 1 && shape.iter().product::<usize>() == m * n,
        runtime,
        "addmm of a bias of shape {:?} and a product of {m} x {n}",
        bias.shape()
    );
    let out = Core::alloc(a.dtype(), shape)?;
    let access = Access::new(&[a, b, bias], None);
    let (sa, sb) = (strides(a, 0), strides(b, 0));
    let sc = Strides { row: n as isize, column: 1 };
    // Every row adds the same.
    let sd = Strides { row: 0, column: bias.strides()[0] };
    macro_rules! float {
        ($T:ty) => {
            // SAFETY: shapes were checked, inputs are locked, the output is fresh and dense.
            unsafe {
                kernel::gemm_of::<$T>(
                    m,
                    n,
                    k,
                    1.0,
                    ptr::<$T>(a),
                    sa,
                    ptr::<$T>(b),
                    sb,
                    1.0,
                    ptr::<$T>(bias),
                    sd,
                    ptr_mut::<$T>(&out),
                    sc,
                );
            }
        };
    }
    match a.dtype() {
        DType::F32 => float!(f32),
        DType::F64 => float!(f64),
        dtype => bail!(
            not_implemented,
            "\"addmm_impl_cpu_\" not implemented for '{}'",
            dtype.scalar_name()
        ),
    }
    drop(access);
    Ok(out)
}

fn integer(
    dtype: DType,
    (m, n, k): (usize, usize, usize),
    a: &Core,
    sa: Strides,
    b: &Core,
    sb: Strides,
    out: &Core,
) -> Result<()> {
    let sc = strides(out, out.shape().len() - 2);
    macro_rules! run {
        ($T:ty) => {
            // SAFETY: as in `gemm`.
            unsafe {
                kernel::integer_gemm::<$T>(
                    m,
                    n,
                    k,
                    ptr::<$T>(a),
                    sa,
                    ptr::<$T>(b),
                    sb,
                    ptr_mut::<$T>(out),
                    sc,
                );
            }
        };
    }
    match dtype {
        DType::U8 => run!(u8),
        DType::I8 => run!(i8),
        DType::I16 => run!(i16),
        DType::I32 => run!(i32),
        DType::I64 => run!(i64),
        _ => bail!(
            not_implemented,
            "\"addmm_impl_cpu_\" not implemented for '{}'",
            dtype.scalar_name()
        ),
    }
    Ok(())
}

/// `a[i] @ b[i]` for stacks of matrices of one dtype.
pub fn bmm(a: &Arc<Core>, b: &Arc<Core>) -> Result<Arc<Core>> {
    let (batch, m, k, n) = (a.shape()[0], a.shape()[1], a.shape()[2], b.shape()[2]);
    ensure!(
        b.shape()[0] == batch && b.shape()[1] == k && a.dtype() == b.dtype(),
        runtime,
        "bmm of unlike stacks"
    );
    let out = Core::alloc(a.dtype(), &[batch, m, n])?;
    let access = Access::new(&[a, b], None);
    let (sa, sb, sc) = (strides(a, 1), strides(b, 1), strides(&out, 1));
    macro_rules! float {
        ($T:ty) => {
            // SAFETY: shapes were checked, inputs are locked, the output is fresh.
            unsafe {
                kernel::bmm::<$T>(
                    batch,
                    m,
                    n,
                    k,
                    1.0,
                    ptr::<$T>(a),
                    sa,
                    a.strides()[0],
                    ptr::<$T>(b),
                    sb,
                    b.strides()[0],
                    0.0,
                    ptr_mut::<$T>(&out),
                    sc,
                    (m * n) as isize,
                );
            }
        };
    }
    match a.dtype() {
        DType::F32 => float!(f32),
        DType::F64 => float!(f64),
        dtype => {
            for i in 0..batch as isize {
                let part = |core: &Arc<Core>| {
                    let offset = core.offset() + i * core.strides()[0];
                    core.view(&core.shape()[1..], &core.strides()[1..], offset)
                };
                integer(dtype, (m, n, k), &*part(a)?, sa, &*part(b)?, sb, &*part(&out)?)?;
            }
        }
    }
    drop(access);
    Ok(out)
}
