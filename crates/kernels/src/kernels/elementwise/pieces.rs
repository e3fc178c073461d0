//! Copies of tiles of small pieces.

use super::{Access, MAX_OPERANDS, Plan};
use crate::kernels::copy::{SMALL, move_pieces};

impl Plan {
    /// A tile of a copy whose rows are small pieces on both sides, or whose output has gaps between elements;
    /// `false`, with nothing done, for others.
    #[inline]
    pub(super) fn pieces(&self, ptrs: [*mut u8; MAX_OPERANDS], rows: usize, cols: usize) -> bool {
        let size = self.sizes[0];
        let [row, col] = [&self.row, &self.col].map(|dim| [dim.strides[0], dim.strides[1]]);
        let bytes = cols * size;
        if col == [size as isize; 2] && self.packed && bytes <= SMALL {
            // SAFETY: the tile lies within the operands, which are apart or the same.
            unsafe {
                move_pieces(ptrs[1], row[1], ptrs[0], row[0], rows, bytes);
            }
            return true;
        }
        if self.access[0] == Access::Buffered {
            for i in 0..rows as isize {
                let (from, to) =
                    (ptrs[1].wrapping_offset(row[1] * i), ptrs[0].wrapping_offset(row[0] * i));
                // SAFETY: as above.
                unsafe { move_pieces(from, col[1], to, col[0], cols, size) };
            }
            return true;
        }
        false
    }
}
