//! Operands copied as the micro-kernels read them: columns in panels of two vectors, rows in groups.
#![allow(unsafe_code)]

use super::Strides;
use super::blocked::group;
use super::simd::Vector;
use crate::kernels::vexp::Real as _;

/// Elements behind packed ones that packing may overwrite.
pub(in crate::kernels) const SLACK: usize = 16;

/// Packs `terms` rows of columns in panels of two vectors, the last one filled up with zeros. Behind the
/// target [`SLACK`] elements are written to.
///
/// # Safety
/// The processor must have the instruction set; source and target are the caller's.
#[inline(always)]
pub(in crate::kernels) unsafe fn pack_columns<V: Vector>(
    source: *const V::T,
    s: Strides,
    terms: usize,
    columns: usize,
    target: *mut V::T,
) {
    let width = 2 * V::WIDTH;
    for at in (0..columns).step_by(width) {
        let source = source.wrapping_offset(at as isize * s.column);
        let target = target.wrapping_add(at * terms);
        // SAFETY: a panel of the source; it holds `width * terms` elements of the target.
        unsafe { pack_panel::<V>(source, s, terms, width.min(columns - at), target) };
    }
}

/// Packs `terms` rows of `n` columns, filled up with zeros to two vectors. Behind the target [`SLACK`]
/// elements are written to.
///
/// # Safety
/// The processor must have the instruction set; source and target are the caller's.
#[inline(always)]
unsafe fn pack_panel<V: Vector>(
    source: *const V::T,
    s: Strides,
    terms: usize,
    n: usize,
    target: *mut V::T,
) {
    let width = 2 * V::WIDTH;
    // SAFETY: passed on.
    unsafe {
        if n < width {
            for l in 0..terms {
                let row = source.wrapping_offset(l as isize * s.row);
                let to = target.add(l * width);
                // A vector that is full goes whole, and nobody reads the second of a panel without it.
                let (from, end) = if s.column == 1 && n >= V::WIDTH {
                    V::load(row).store(to);
                    (V::WIDTH, if n > V::WIDTH { width } else { n })
                } else {
                    (0, width)
                };
                for j in from..end {
                    let value = if j < n {
                        *row.wrapping_offset(j as isize * s.column)
                    } else {
                        V::T::ZERO
                    };
                    *to.add(j) = value;
                }
            }
        } else if s.column == 1 {
            for l in 0..terms {
                let row = source.wrapping_offset(l as isize * s.row);
                let to = target.add(l * width);
                V::load(row).store(to);
                V::load(row.add(V::WIDTH)).store(to.add(V::WIDTH));
            }
        } else {
            transpose::<V::Pack>(source, s.column, s.row, target, width, width, terms);
        }
    }
}

/// `target[l * apart + j] = source[j * column + l * row]` for `j` below `width`; up to `apart` the last
/// column is repeated. Behind the target a vector of room is written to.
///
/// # Safety
/// The processor must have the instruction set; source and target are the caller's.
#[inline(always)]
pub(in crate::kernels) unsafe fn transpose<V: Vector>(
    source: *const V::T,
    column: isize,
    row: isize,
    target: *mut V::T,
    width: usize,
    apart: usize,
    terms: usize,
) {
    const PARTS: usize = 4;
    let step = V::WIDTH;
    let parts = apart.div_ceil(step);
    let mut done = 0;
    if row == 1 && step > 1 && parts <= PARTS {
        while done + step <= terms {
            // SAFETY: `step` terms of each of `width` columns are readable. What is written beyond
            // the last part is the start of the next term, which is written after.
            unsafe {
                let mut turned = [[V::splat(V::T::ZERO); 8]; PARTS];
                for (part, turned) in turned.iter_mut().enumerate().take(parts) {
                    for (j, lane) in turned.iter_mut().enumerate().take(step) {
                        let j = (part * step + j).min(width - 1) as isize;
                        *lane = V::load(source.wrapping_offset(j * column + done as isize));
                    }
                    V::turn(turned);
                }
                for t in 0..step {
                    let to = target.add((done + t) * apart);
                    for (part, turned) in turned.iter().enumerate().take(parts) {
                        turned[t].store(to.add(part * step));
                    }
                }
            }
            done += step;
        }
    }
    for l in done..terms {
        for j in 0..apart {
            let from = j.min(width - 1) as isize * column + l as isize * row;
            // SAFETY: within the source and the target.
            unsafe {
                *target.add(l * apart + j) = *source.wrapping_offset(from);
            }
        }
    }
}

/// Packs rows in groups as the micro-kernels take them: a group of `g` rows has the `g` elements of
/// one term side by side. Behind the target [`SLACK`] elements are written to.
///
/// # Safety
/// The processor must have the instruction set; source and target are the caller's.
#[inline(always)]
pub(in crate::kernels) unsafe fn pack_rows<V: Vector>(
    source: *const V::T,
    s: Strides,
    rows: usize,
    terms: usize,
    target: *mut V::T,
) {
    // Of rows side by side a few terms at a time: the next group finds their lines in the cache.
    let step = if s.row == 1 { 8 } else { terms };
    for first in (0..terms).step_by(step) {
        let few = step.min(terms - first);
        let mut i = 0;
        while i < rows {
            let group = group::<V>(rows - i);
            let source = source.wrapping_offset(i as isize * s.row + first as isize * s.column);
            let target = target.wrapping_add(i * terms + first * group);
            // SAFETY: `group` rows of `few` elements each; the target holds them all.
            unsafe {
                if s.row == 1 && group == V::ROWS {
                    for l in 0..few {
                        let from = source.wrapping_offset(l as isize * s.column);
                        for r in 0..V::ROWS {
                            *target.add(l * V::ROWS + r) = *from.add(r);
                        }
                    }
                } else if s.row == 1 {
                    for l in 0..few {
                        let from = source.wrapping_offset(l as isize * s.column);
                        for r in 0..group {
                            *target.add(l * group + r) = *from.add(r);
                        }
                    }
                } else {
                    transpose::<V::Pack>(source, s.row, s.column, target, group, group, terms);
                }
            }
            i += group;
        }
    }
}
