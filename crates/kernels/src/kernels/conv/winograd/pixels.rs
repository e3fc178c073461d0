//! Planes of channels, and pixels with their channels side by side.

use crate::kernels::matmul::Vector;
use crate::kernels::vexp::Real as _;

/// Squares of pixels and channels turned one after the other: with two a line of the cache is used up.
const SQUARES: usize = 2;

/// Copies `pixels` of `channels` planes, `apart` elements from each other, so that the channels of a pixel lie
/// side by side at `place(pixel)`.
///
/// # Safety
/// The processor must have the instruction set; the pixels are readable, the places writable.
#[inline(always)]
pub(super) unsafe fn gather<V: Vector>(
    from: *const V::T,
    apart: usize,
    channels: usize,
    pixels: usize,
    to: *mut V::T,
    place: impl Fn(usize) -> usize,
) {
    let at = |channel: usize, pixel: usize| from.wrapping_add(channel * apart + pixel);
    // SAFETY: passed on.
    unsafe {
        if !squares::<V>(channels, pixels) {
            for pixel in 0..pixels {
                let to = to.add(place(pixel));
                for channel in 0..channels {
                    *to.add(channel) = *at(channel, pixel);
                }
            }
            return;
        }
        each_square::<V>(
            channels,
            pixels,
            |channel, pixel, _, square| {
                for (i, line) in square.iter_mut().enumerate().take(V::WIDTH) {
                    *line = V::load(at(channel + i, pixel));
                }
            },
            place,
            |channel, _, places, square| {
                for (&place, line) in places.iter().zip(square).take(V::WIDTH) {
                    line.store(to.add(place + channel));
                }
            },
        );
    }
}

/// Copies `pixels`, whose channels lie side by side and `wide` elements from those of the next, to `channels` planes,
/// `apart` elements from each other.
///
/// # Safety
/// The processor must have the instruction set; the pixels are readable, the planes writable.
#[inline(always)]
pub(super) unsafe fn scatter<V: Vector>(
    from: *const V::T,
    wide: usize,
    channels: usize,
    pixels: usize,
    to: *mut V::T,
    apart: usize,
) {
    // SAFETY: passed on.
    unsafe {
        if !squares::<V>(channels, pixels) {
            for channel in 0..channels {
                for pixel in 0..pixels {
                    *to.add(channel * apart + pixel) = *from.add(pixel * wide + channel);
                }
            }
            return;
        }
        each_square::<V>(
            channels,
            pixels,
            |channel, _, places, square| {
                for (&place, line) in places.iter().zip(square).take(V::WIDTH) {
                    *line = V::load(from.add(place + channel));
                }
            },
            |pixel| pixel * wide,
            |channel, pixel, _, square| {
                for (i, line) in square.iter().enumerate().take(V::WIDTH) {
                    line.store(to.add((channel + i) * apart + pixel));
                }
            },
        );
    }
}

/// Whether there are whole squares.
#[inline(always)]
fn squares<V: Vector>(channels: usize, pixels: usize) -> bool {
    V::WIDTH > 1 && channels >= V::WIDTH && pixels >= V::WIDTH
}

/// Turns all squares of channels and pixels that `load` gives, handed to `store`, with the places of their
/// pixels. The last ones lie over those before, so that they are whole.
///
/// # Safety
/// The processor must have the instruction set.
#[inline(always)]
unsafe fn each_square<V: Vector>(
    channels: usize,
    pixels: usize,
    load: impl Fn(usize, usize, &[usize], &mut [V; 8]),
    place: impl Fn(usize) -> usize,
    store: impl Fn(usize, usize, &[usize], &[V; 8]),
) {
    let step = V::WIDTH;
    let mut pixel = 0;
    while pixel < pixels {
        let several = ((pixels - pixel) / step).clamp(1, SQUARES);
        let first = pixel.min(pixels - step);
        let mut places = [0; SQUARES * 8];
        for (i, at) in places.iter_mut().enumerate().take(several * step) {
            *at = place(first + i);
        }
        for channel in (0..channels).step_by(step) {
            let channel = channel.min(channels - step);
            for at in (0..several * step).step_by(step) {
                let places = &places[at..at + step];
                // SAFETY: the caller has the instruction set.
                unsafe {
                    let mut square = [V::splat(V::T::ZERO); 8];
                    load(channel, first + at, places, &mut square);
                    V::turn(&mut square);
                    store(channel, first + at, places, &square);
                }
            }
        }
        pixel += several * step;
    }
}
