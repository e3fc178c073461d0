//! Layers that are fed their own output: a whole sequence as one operation.
//!
//! The input comes projected (`x @ weight_ih.T + bias`, one product for all steps). The rule saves
//! inputs and outputs: from these all steps' gates are computed again at once, so that the way back
//! has one small product a step, and one large one for the weight. It is written in differentiable
//! operations and serves passes of any order. An LSTM keeps its gates for passes that are not recorded.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::binary::Binary;
use super::join::{cat, stack};
use super::unary::Unary;
use super::{Cx, Op, Rule};
use crate::dtype::Scalar;
use crate::error::{Result, ensure};
use crate::graph::hooks::GradList;
use crate::graph::{GradMode, Node, Save, attach, is_grad_enabled, recording};
use crate::launch;
use crate::storage::Core;
use crate::tensor::Tensor;

/// What happens at each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// `tanh(x + h W)`.
    Tanh,
    /// `relu(x + h W)`.
    Relu,
    /// Long short-term memory (Hochreiter & Schmidhuber, 1997); gates i, f, g, o.
    Lstm,
    /// Gated recurrent unit (Cho et al., 2014), with the product inside of the reset; gates r, z, n.
    Gru,
}

impl Cell {
    /// How many times the hidden size the projected input has.
    pub fn gates(self) -> usize {
        match self {
            Self::Tanh | Self::Relu => 1,
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }
}

/// The states of a sequence: the inputs of the operation, in this order.
pub struct Sequence<'a> {
    /// `(T, B, gates * H)`, projected.
    pub input: &'a Tensor,
    /// `(gates * H, H)`.
    pub weight: &'a Tensor,
    /// `(B, H)`.
    pub hidden: &'a Tensor,
    /// `(B, H)`; of an LSTM only.
    pub memory: Option<&'a Tensor>,
    /// `(gates * H)`, added to the product of hidden state and weight; of a GRU only.
    pub bias: Option<&'a Tensor>,
}

struct Recurrent {
    cell: Cell,
    has_bias: bool,
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    x.apply_unary(Unary::Sigmoid)
}

fn tanh(x: &Tensor) -> Result<Tensor> {
    x.apply_unary(Unary::Tanh)
}

/// `1 - x`.
fn rest(x: &Tensor) -> Result<Tensor> {
    x.binary_scalar(Binary::Sub, Scalar::Int(1), true)
}

/// The part of the last dimension that gate `k` has.
fn gate(x: &Tensor, k: usize, hidden: usize) -> Result<Tensor> {
    x.span(x.ndim() - 1, k * hidden, (k + 1) * hidden)
}

/// The states before each step: the first, then all outputs but the last.
fn before(first: &Tensor, states: &Tensor) -> Result<Tensor> {
    let first = first.unsqueeze(0)?;
    match states.size_along(0) {
        1 => Ok(first),
        steps => cat(&[&first, &states.span(0, 0, steps - 1)?], 0),
    }
}

/// One step of a cell without a memory: from the projected input and the state to the next state.
fn step(
    cell: Cell,
    x: &Tensor,
    h: &Tensor,
    turned: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let n = h.size_along(1);
    let product = h.mm(turned)?;
    if cell != Cell::Gru {
        let kind = if cell == Cell::Tanh { Unary::Tanh } else { Unary::Relu };
        return x.add(&product)?.apply_unary(kind);
    }
    let product = match bias {
        Some(bias) => product.add(bias)?,
        None => product,
    };
    let both = sigmoid(&x.span(1, 0, 2 * n)?.add(&product.span(1, 0, 2 * n)?)?)?;
    let reset = gate(&both, 0, n)?.mul(&gate(&product, 2, n)?)?;
    let new = tanh(&gate(x, 2, n)?.add(&reset)?)?;
    // new + z (h - new)
    let parts = [&new, &gate(&both, 1, n)?, &h.sub(&new)?];
    super::elementwise::apply(Binary::AddCMul, &parts, 1.0)
}

/// What the way back multiplies the gradients of the states with, for all steps at once.
struct Factors {
    /// From the gradient of the state (of an LSTM: of the memory) to those of the gates.
    gates: Tensor,
    /// From the gradient of the state to what the product with the weight gets, if that differs.
    product: Option<Tensor>,
    /// Of an LSTM, from the gradient of the state: to the output gate, and to the memory.
    output: Option<(Tensor, Tensor)>,
    /// From the gradient of what is carried on to that of the step before.
    carried: Option<Tensor>,
}

impl Recurrent {
    fn factors(&self, cx: &Cx<'_>, states: &Tensor, earlier: &Tensor) -> Result<Factors> {
        let n = states.size_along(2);
        let slope = |open: &Tensor| open.mul(&rest(open)?);
        if matches!(self.cell, Cell::Tanh | Cell::Relu) {
            let gates = if self.cell == Cell::Tanh {
                rest(&states.mul(states)?)?
            } else {
                states.detach().compare(Binary::Gt, 0.0)?.to_dtype(states.dtype())?
            };
            return Ok(Factors { gates, product: None, output: None, carried: None });
        }
        if self.cell == Cell::Lstm {
            let gates = cx.saved(1)?.add(&self.product(cx, earlier)?)?;
            return Self::of_lstm(cx, &[sigmoid(&gates)?, tanh(&gate(&gates, 2, n)?)?], n);
        }
        let (x, product) = (cx.saved(1)?, self.product(cx, earlier)?);
        let reset = sigmoid(&gate(&x, 0, n)?.add(&gate(&product, 0, n)?)?)?;
        let update = sigmoid(&gate(&x, 1, n)?.add(&gate(&product, 1, n)?)?)?;
        let own = gate(&product, 2, n)?;
        let new = tanh(&gate(&x, 2, n)?.add(&reset.mul(&own)?)?)?;
        let to_new = rest(&update)?.mul(&rest(&new.mul(&new)?)?)?;
        let to_reset = to_new.mul(&own)?.mul(&slope(&reset)?)?;
        let to_update = earlier.sub(&new)?.mul(&slope(&update)?)?;
        let gates = stack(&[&to_reset, &to_update, &to_new], 2)?;
        let product = stack(&[&to_reset, &to_update, &to_new.mul(&reset)?], 2)?;
        Ok(Factors { gates, product: Some(product), output: None, carried: Some(update) })
    }

    /// The pass of an LSTM that is not recorded, from the gates it kept.
    fn lstm_vjp(
        cx: &Cx<'_>,
        grads: &[Option<Tensor>],
        states: &Tensor,
        earlier: &Tensor,
    ) -> Result<GradList> {
        let dense = |grad: Option<&Option<Tensor>>| -> Result<Option<Arc<Core>>> {
            let Some(Some(grad)) = grad else { return Ok(None) };
            let grad = grad.to_dtype(states.dtype())?.expand_to(&states.shape())?;
            Ok(Some(grad.shared_core()))
        };
        let arriving = [dense(grads.first())?, dense(grads.get(1))?];
        let [of_gates, of_state, of_memory] = launch::lstm_backward(
            &cx.saved(2)?.shared_core(),
            &cx.saved(5)?.shared_core(),
            &cx.saved(4)?.shared_core(),
            &cx.saved(6)?.shared_core(),
            [arriving[0].as_ref(), arriving[1].as_ref()],
        )?;
        let of_gates = Tensor::from_core(of_gates);
        let mut of_weight = None;
        if cx.needs(1) {
            let shape = of_gates.shape();
            let rows = shape[0] * shape[1];
            let flat = of_gates.reshape_to(&[rows, shape[2]])?;
            of_weight = Some(flat.t()?.mm(&earlier.reshape_to(&[rows, shape[2] / 4])?)?);
        }
        Ok(smallvec![
            Some(of_gates),
            of_weight,
            Some(Tensor::from_core(of_state)),
            Some(Tensor::from_core(of_memory)),
        ])
    }

    /// What all steps add to the projected input.
    fn product(&self, cx: &Cx<'_>, earlier: &Tensor) -> Result<Tensor> {
        let (x, weight) = (cx.saved(1)?, cx.saved(2)?);
        let rows = earlier.size_along(0) * earlier.size_along(1);
        let flat = earlier.reshape_to(&[rows, earlier.size_along(2)])?;
        let mut product = flat.mm(&weight.t()?)?;
        if self.has_bias {
            product = product.add(&cx.saved(4)?)?;
        }
        product.reshape_to(&x.shape())
    }

    fn of_lstm(cx: &Cx<'_>, parts: &[Tensor; 2], n: usize) -> Result<Factors> {
        let slope = |open: &Tensor| open.mul(&rest(open)?);
        let [open, new] = parts;
        let (taken, kept, shown) = (gate(open, 0, n)?, gate(open, 1, n)?, gate(open, 3, n)?);
        let memories = cx.saved(4)?;
        let earlier = before(&cx.saved(5)?, &memories)?;
        let bounded = tanh(&memories)?;
        let to_taken = new.mul(&slope(&taken)?)?;
        let to_kept = earlier.mul(&slope(&kept)?)?;
        let to_new = taken.mul(&rest(&new.mul(new)?)?)?;
        let to_shown = bounded.mul(&slope(&shown)?)?;
        let to_memory = shown.mul(&rest(&bounded.mul(&bounded)?)?)?;
        Ok(Factors {
            gates: stack(&[&to_taken, &to_kept, &to_new], 2)?,
            product: None,
            output: Some((to_shown, to_memory)),
            carried: Some(kept),
        })
    }
}

/// The sum of what there is.
fn total(a: Option<Tensor>, b: Option<Tensor>) -> Result<Option<Tensor>> {
    match (a, b) {
        (Some(a), Some(b)) => Ok(Some(a.add(&b)?)),
        (a, b) => Ok(a.or(b)),
    }
}

impl Rule for Recurrent {
    fn name(&self) -> &str {
        match self.cell {
            Cell::Tanh => "RnnTanhBackward0",
            Cell::Relu => "RnnReluBackward0",
            Cell::Lstm => "LstmBackward0",
            Cell::Gru => "GruBackward0",
        }
    }

    fn depth(&self, node: &Node) -> usize {
        2 * node.input_size(1, 1)
    }

    // Saved: states, input, weight, first state, then memories and first memory, or the bias.
    fn vjp(&self, cx: &Cx<'_>, grads: &[Option<Tensor>]) -> Result<GradList> {
        let mut result: GradList = smallvec![None; 5];
        if grads.iter().all(Option::is_none) {
            return Ok(result);
        }
        let (states, weight, first) = (cx.saved(0)?, cx.saved(2)?, cx.saved(3)?);
        let shape = states.shape();
        let (steps, batch, n) = (shape[0], shape[1], shape[2]);
        let earlier = before(&first, &states)?;
        if self.cell == Cell::Lstm && !is_grad_enabled() {
            return Self::lstm_vjp(cx, grads, &states, &earlier);
        }
        let factors = self.factors(cx, &states, &earlier)?;
        let parts = |tensor: Option<&Tensor>| -> Result<Vec<Tensor>> {
            tensor.map_or(Ok(Vec::new()), |tensor| tensor.unbind(0))
        };
        let arriving = parts(grads[0].as_ref())?;
        let arriving_memory = parts(grads.get(1).and_then(Option::as_ref))?;
        let to_product = parts(Some(factors.product.as_ref().unwrap_or(&factors.gates)))?;
        let carried = parts(factors.carried.as_ref())?;
        let to_shown = parts(factors.output.as_ref().map(|pair| &pair.0))?;
        let to_memory = parts(factors.output.as_ref().map(|pair| &pair.1))?;
        let width = self.cell.gates() * n;
        // Of the states, and of the products with the weight, of each step from the last on.
        let (mut of_states, mut of_products) = (Vec::new(), Vec::new());
        let (mut later, mut later_memory): (Option<Tensor>, Option<Tensor>) = (None, None);
        for t in (0..steps).rev() {
            let state = total(later.take(), arriving.get(t).cloned())?;
            let memory = total(later_memory.take(), arriving_memory.get(t).cloned())?;
            let product = if self.cell == Cell::Lstm {
                let memory = match &state {
                    Some(state) => total(memory, Some(state.mul(&to_memory[t])?))?,
                    None => memory,
                };
                let Some(memory) = memory else {
                    of_products.push(Tensor::zeros(&[batch, width], states.dtype())?);
                    continue;
                };
                let three =
                    to_product[t].mul(&memory.unsqueeze(1)?)?.reshape_to(&[batch, 3 * n])?;
                let shown = match &state {
                    Some(state) => state.mul(&to_shown[t])?,
                    None => Tensor::zeros(&[batch, n], states.dtype())?,
                };
                later_memory = Some(memory.mul(&carried[t])?);
                cat(&[&three, &shown], 1)?
            } else {
                let Some(state) = state else {
                    of_products.push(Tensor::zeros(&[batch, width], states.dtype())?);
                    of_states.push(Tensor::zeros(&[batch, n], states.dtype())?);
                    continue;
                };
                let product = if self.cell == Cell::Gru {
                    later = Some(state.mul(&carried[t])?);
                    to_product[t].mul(&state.unsqueeze(1)?)?.reshape_to(&[batch, width])?
                } else {
                    to_product[t].mul(&state)?
                };
                of_states.push(state);
                product
            };
            later = total(later, Some(product.mm(&weight)?))?;
            of_products.push(product);
        }
        let joined = |mut list: Vec<Tensor>| -> Result<Tensor> {
            list.reverse();
            stack(&list.iter().collect::<Vec<_>>(), 0)
        };
        let products = joined(of_products)?;
        let flat = products.reshape_to(&[steps * batch, width])?;
        if cx.needs(1) {
            let earlier = earlier.reshape_to(&[steps * batch, n])?;
            result[1] = Some(flat.t()?.mm(&earlier)?);
        }
        if self.has_bias && cx.needs(3) {
            result[3] = Some(flat.sum(&[0], false, None)?);
        }
        if cx.needs(0) {
            result[0] = Some(if self.cell == Cell::Gru {
                let of_states = joined(of_states)?.unsqueeze(2)?;
                factors.gates.mul(&of_states)?.reshape_to(&[steps, batch, width])?
            } else {
                products
            });
        }
        result[2] = later;
        if self.cell == Cell::Lstm {
            result[3] = later_memory;
        }
        result.truncate(3 + usize::from(self.has_bias) + usize::from(self.cell == Cell::Lstm));
        Ok(result)
    }
}

/// All states of a layer, and all memories of an LSTM.
///
/// # Errors
/// If shapes or dtypes do not fit, or the sequence is empty.
#[track_caller]
pub fn recurrent(cell: Cell, sequence: &Sequence<'_>) -> Result<(Tensor, Option<Tensor>)> {
    let Sequence { input, weight, hidden, memory, bias } = *sequence;
    let shape = input.shape();
    ensure!(
        shape.len() == 3 && weight.ndim() == 2,
        runtime,
        "a layer takes (T, B, gates * H) and a matrix"
    );
    let (steps, batch, n) = (shape[0], shape[1], weight.size_along(1));
    ensure!(steps > 0, runtime, "Expected sequence length to be larger than 0 in RNN");
    let width = cell.gates() * n;
    ensure!(
        shape[2] == width && weight.size_along(0) == width,
        runtime,
        "a layer of {} gates and hidden size {n} got an input of {} and a weight of {}",
        cell.gates(),
        shape[2],
        weight.size_along(0)
    );
    ensure!((cell == Cell::Lstm) == memory.is_some(), runtime, "only an LSTM has a memory");
    ensure!(
        cell == Cell::Gru || bias.is_none(),
        runtime,
        "the bias belongs to the projected input"
    );
    for state in [Some(hidden), memory].into_iter().flatten() {
        ensure!(
            state.shape().as_slice() == [batch, n],
            runtime,
            "Expected hidden size ({batch}, {n}), got {:?}",
            state.shape().as_slice()
        );
    }
    let inputs: SmallVec<[&Tensor; 5]> =
        [Some(input), Some(weight), Some(hidden), memory, bias].into_iter().flatten().collect();
    for other in &inputs[1..] {
        ensure!(
            other.dtype() == input.dtype() && input.dtype().is_float(),
            runtime,
            "input and weights must have the same floating dtype, but got {} and {}",
            input.dtype().scalar_name(),
            other.dtype().scalar_name()
        );
    }
    let records = recording(&inputs);
    let (states, memories, kept) = {
        let _guard = GradMode::no_grad();
        let turned = weight.detach().t()?;
        if let Some(memory) = memory {
            let turned = turned.contiguous()?.shared_core();
            let made = launch::lstm(
                &input.shared_core(),
                &turned,
                &hidden.shared_core(),
                &memory.shared_core(),
            )?;
            let [states, memories, gates] = made;
            (Tensor::from_core(states), Some(Tensor::from_core(memories)), Some(gates))
        } else {
            let bias = bias.map(Tensor::detach);
            let mut h = hidden.detach();
            let mut states = Vec::new();
            for x in input.detach().unbind(0)? {
                h = step(cell, &x, &h, &turned, bias.as_ref())?;
                states.push(h.clone());
            }
            (stack(&states.iter().collect::<Vec<_>>(), 0)?, None, None)
        }
    };
    if records {
        let rule = Recurrent { cell, has_bias: bias.is_some() };
        let mut saves: SmallVec<[Save<'_>; 8]> =
            smallvec![Save::Output(0), Save::Input(0), Save::Input(1), Save::Input(2)];
        if memories.is_some() {
            saves.push(Save::Output(1));
        }
        if inputs.len() > 3 {
            saves.push(Save::Input(3));
        }
        saves.extend(kept.iter().map(Save::Private));
        let outputs: SmallVec<[&Tensor; 2]> = std::iter::once(&states).chain(&memories).collect();
        attach(Op::rule(rule), &inputs, &saves, &outputs)?;
    }
    Ok((states, memories))
}
