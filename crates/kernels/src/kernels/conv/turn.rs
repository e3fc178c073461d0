//! From vectors of channels to rows of places.

use crate::kernels::matmul::{Float, Vector};

/// Sums that are turned: a vector of channels for each place to places for each channel.
pub(super) struct Turn<'a, T> {
    pub(super) from: *const T,
    /// Where those of each place lie, in vectors `apart` long.
    pub(super) slots: &'a [usize],
    pub(super) apart: usize,
    pub(super) to: *mut T,
    pub(super) plane: usize,
    pub(super) every: usize,
    /// One element for each channel, or null.
    pub(super) bias: *const T,
}

impl<T: Float> Turn<'_, T> {
    #[inline(always)]
    pub(super) unsafe fn run<V: Vector<T = T>>(&self, channels: usize) {
        let length = self.slots.len();
        let whole = self.every == 1 && length >= V::WIDTH && V::WIDTH > 1;
        // SAFETY: places and channels are the caller's.
        unsafe {
            if whole {
                let mut at = 0;
                while at < length {
                    // The last lie over those before.
                    let place = at.min(length - V::WIDTH);
                    let mut square = [V::splat(T::ZERO); 8];
                    for (i, lane) in square.iter_mut().enumerate().take(V::WIDTH) {
                        *lane = V::load(self.from.add(self.slots[place + i] * self.apart));
                    }
                    V::turn(&mut square);
                    for (i, lane) in square.iter().enumerate().take(V::WIDTH) {
                        if i < channels {
                            let bias = V::splat(self.shift(i));
                            bias.plus(*lane).store(self.to.add(i * self.plane + place));
                        }
                    }
                    at += V::WIDTH;
                }
                return;
            }
            for i in 0..channels {
                let bias = self.shift(i);
                let to = self.to.add(i * self.plane);
                for (place, slot) in self.slots.iter().enumerate() {
                    *to.add(place * self.every) = bias + *self.from.add(slot * self.apart + i);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn shift(&self, channel: usize) -> T {
        // SAFETY: the caller's bias, if there is one.
        if self.bias.is_null() { T::ZERO } else { unsafe { *self.bias.add(channel) } }
    }
}
