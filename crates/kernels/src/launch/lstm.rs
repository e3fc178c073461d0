//! Long short-term memory over a sequence of cores.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::along::dense;
use super::{fits, ptr, ptr_mut};
use crate::dtype::dispatch;
use crate::error::{Result, bail};
use crate::kernels::lstm as kernel;
use crate::kernels::matmul::{gemm, lines};
use crate::storage::{Access, Core};

/// The states, memories and gates of all steps, from the projected input `(T, B, 4 n)`, the weight
/// turned, `(n, 4 n)`, and the first state and memory `(B, n)`.
pub fn lstm(
    input: &Arc<Core>,
    turned: &Arc<Core>,
    state: &Arc<Core>,
    memory: &Arc<Core>,
) -> Result<[Arc<Core>; 3]> {
    let &[steps, batch, width] = input.shape() else {
        bail!(runtime, "an LSTM takes (T, B, 4 n), got {:?}", input.shape());
    };
    let (n, dtype) = (width / 4, input.dtype());
    let (input, turned) = (dense(input)?, dense(turned)?);
    let (first, first_memory) = (dense(state)?, dense(memory)?);
    fits("an LSTM", &turned, n * width, dtype)?;
    fits("an LSTM", &first, batch * n, dtype)?;
    fits("an LSTM", &first_memory, batch * n, dtype)?;
    let states = Core::alloc(dtype, &[steps, batch, n])?;
    let memories = Core::alloc(dtype, &[steps, batch, n])?;
    let gates = Core::alloc(dtype, &[steps, batch, width])?;
    let access = Access::new(&[&input, &turned, &first, &first_memory], None);
    dispatch!(float dtype, T => {
        // SAFETY: sizes were checked, the inputs are dense and locked, the outputs fresh.
        unsafe {
            let (mut h, mut c) = (ptr::<T>(&first), ptr::<T>(&first_memory));
            let all = ptr_mut::<T>(&gates);
            std::ptr::copy_nonoverlapping(ptr::<T>(&input), all, steps * batch * width);
            for t in 0..steps {
                let (to, memory) = (all.add(t * batch * width), ptr_mut::<T>(&memories));
                let (memory, state) =
                    (memory.add(t * batch * n), ptr_mut::<T>(&states).add(t * batch * n));
                gemm::<T>(
                    batch, width, n, 1.0, h, lines(n), ptr::<T>(&turned), lines(width), 1.0, to,
                    lines(width),
                );
                kernel::forward::<T>(batch, n, to, c, memory, state);
                (h, c) = (state, memory);
            }
        }
    }, else bail!(not_implemented, "\"lstm\" not implemented for '{}'", dtype.scalar_name()));
    drop(access);
    Ok([states, memories, gates])
}

/// The gradients of the projected input and of the first state and memory, from those of all states
/// and of all memories. The weight is `(4 n, n)`.
pub fn lstm_backward(
    weight: &Arc<Core>,
    memory: &Arc<Core>,
    memories: &Arc<Core>,
    gates: &Arc<Core>,
    grads: [Option<&Arc<Core>>; 2],
) -> Result<[Arc<Core>; 3]> {
    let &[steps, batch, width] = gates.shape() else {
        bail!(runtime, "an LSTM has gates (T, B, 4 n), got {:?}", gates.shape());
    };
    let (n, dtype) = (width / 4, gates.dtype());
    let (weight, first_memory) = (dense(weight)?, dense(memory)?);
    let (memories, gates) = (dense(memories)?, dense(gates)?);
    fits("an LSTM", &weight, n * width, dtype)?;
    fits("an LSTM", &first_memory, batch * n, dtype)?;
    fits("an LSTM", &memories, steps * batch * n, dtype)?;
    let mut arriving: [Option<Arc<Core>>; 2] = [None, None];
    for (grad, to) in grads.into_iter().zip(&mut arriving) {
        if let Some(grad) = grad {
            let grad = dense(grad)?;
            fits("an LSTM", &grad, steps * batch * n, dtype)?;
            *to = Some(grad);
        }
    }
    let of_gates = Core::alloc(dtype, &[steps, batch, width])?;
    let of_state = Core::alloc(dtype, &[batch, n])?;
    let of_memory = Core::alloc(dtype, &[batch, n])?;
    let mut reads: SmallVec<[&Core; 6]> = smallvec![&*weight, &*first_memory, &*memories, &*gates];
    reads.extend(arriving.iter().filter_map(Option::as_deref));
    let access = Access::new(&reads, None);
    dispatch!(float dtype, T => {
        // SAFETY: sizes were checked, the inputs are dense and locked, the outputs fresh.
        unsafe {
            let size = batch * n;
            let states = std::slice::from_raw_parts_mut(ptr_mut::<T>(&of_state), size);
            let carried = std::slice::from_raw_parts_mut(ptr_mut::<T>(&of_memory), size);
            states.fill(0.0);
            carried.fill(0.0);
            for t in (0..steps).rev() {
                for (grad, to) in arriving.iter().zip([&mut *states, &mut *carried]) {
                    if let Some(grad) = grad {
                        let grad = std::slice::from_raw_parts(ptr::<T>(grad).add(t * size), size);
                        for (to, &grad) in to.iter_mut().zip(grad) {
                            *to += grad;
                        }
                    }
                }
                let (all, to) = (ptr::<T>(&memories), ptr_mut::<T>(&of_gates).add(t * batch * width));
                let before =
                    if t == 0 { ptr::<T>(&first_memory) } else { all.add((t - 1) * size) };
                kernel::backward::<T>(
                    batch, n, ptr::<T>(&gates).add(t * batch * width), before, all.add(t * size),
                    states.as_ptr(), carried.as_mut_ptr(), to,
                );
                gemm::<T>(
                    batch, n, width, 1.0, to, lines(width), ptr::<T>(&weight), lines(n), 0.0,
                    states.as_mut_ptr(), lines(n),
                );
            }
        }
    }, else bail!(not_implemented, "\"lstm\" not implemented for '{}'", dtype.scalar_name()));
    drop(access);
    Ok([of_gates, of_state, of_memory])
}
