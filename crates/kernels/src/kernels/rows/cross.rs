//! The cross product of vectors of three.
#![allow(unsafe_code)]

use crate::kernels::multiversion::{self, Job};
use crate::kernels::raw::{Dst, Src, split};
use crate::kernels::vexp::Real;

struct Cross<T> {
    inner: usize,
    x: Src<T>,
    y: Src<T>,
    output: Dst<T>,
    first: usize,
    last: usize,
}

impl<T: Real> Job for Cross<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let inner = self.inner;
        for block in self.first..self.last {
            let at = (block * 3 * inner) as isize;
            let (x, y, to) = (self.x.at(at), self.y.at(at), self.output.at(at));
            for i in 0..inner {
                // SAFETY: three runs of each operand.
                unsafe {
                    let [a, b, c] = [0, 1, 2].map(|k| *x.add(k * inner + i));
                    let [d, e, f] = [0, 1, 2].map(|k| *y.add(k * inner + i));
                    *to.add(i) = b * f - c * e;
                    *to.add(inner + i) = c * d - a * f;
                    *to.add(2 * inner + i) = a * e - b * d;
                }
            }
        }
    }
}

/// The cross products of `blocks` of three runs of `inner` elements each.
///
/// # Safety
/// All three must be dense and have so many elements; the output overlaps neither of the others.
pub unsafe fn cross<T: Real>(
    blocks: usize,
    inner: usize,
    x: *const T,
    y: *const T,
    output: *mut T,
) {
    let (x, y, output) = (Src::new(x), Src::new(y), Dst::new(output));
    split(blocks, 3 * inner, |first, last| {
        multiversion::run_narrow(Cross { inner, x, y, output, first, last });
    });
}
