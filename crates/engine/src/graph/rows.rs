//! All rows of a Jacobian from one recording: the pass is planned once and run for each element of
//! the output.

use super::accumulate::{add, fit};
use super::backward::{Backward, Pass, Target};
use super::mode::{GradMode, Task};
use super::plan::Plan;
use crate::dtype::Scalar;
use crate::error::Result;
use crate::tensor::Tensor;

/// What [`Backward::rows`] found out about one input.
pub struct Rows {
    /// The gradients of all elements of the output, one after the other along a new first
    /// dimension; `None` if none of them depends on the input.
    pub stacked: Option<Tensor>,
    /// The first row that does not depend on the input.
    pub absent: Option<usize>,
    /// The first row with a gradient that has no history itself.
    pub constant: Option<usize>,
}

impl Backward {
    /// The gradients at `inputs` of each element of `output` in turn, or of its products with `vectors`,
    /// which lie along a first dimension, from one plan. The graph is retained; `.grad` is not touched.
    /// An output without history or elements gives no rows.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn rows(
        self,
        output: &Tensor,
        inputs: &[&Tensor],
        vectors: Option<&Tensor>,
    ) -> Result<Vec<Rows>> {
        let this = Self { retain_graph: true, ..self };
        let targets: Vec<Target> =
            inputs.iter().map(|input| input.target()).collect::<Result<_>>()?;
        let mut rows: Vec<Vec<Option<Tensor>>> = inputs.iter().map(|_| Vec::new()).collect();
        let edge = output.gradient_edge();
        if let Some(node) = &edge.node {
            let mut plan = Plan::new(std::iter::once((node.id(), &**node)), Some(&targets), false)?;
            let count = vectors.map_or(output.numel(), |vectors| vectors.shape()[0]);
            let work = plan.work.saturating_mul(count);
            let mut run = || this.each_row(output, vectors, &mut plan, &targets, &mut rows);
            if work < crate::interrupt::LONG { run() } else { crate::interrupt::long_work(run) }?;
        }
        let _mode = GradMode::set(self.create_graph);
        inputs.iter().zip(rows).map(|(input, rows)| gather(input, &rows)).collect()
    }

    fn each_row(
        self,
        output: &Tensor,
        vectors: Option<&Tensor>,
        plan: &mut Plan<'_>,
        targets: &[Target],
        rows: &mut [Vec<Option<Tensor>>],
    ) -> Result<()> {
        let edge = output.gradient_edge();
        let Some(node) = &edge.node else { return Ok(()) };
        let Some(place) = plan.places.get(node.id()) else { return Ok(()) };
        let waits: Vec<u32> = plan.steps.iter().map(|step| step.waits).collect();
        let slot = plan.steps[place].first as usize + edge.out as usize;
        let shape = output.shape();
        let mut results: Vec<Option<Tensor>> = vec![None; targets.len()];
        let mut grads: Vec<Option<Tensor>> = vec![None; plan.grads];
        for at in 0..vectors.map_or(output.numel(), |vectors| vectors.shape()[0]) {
            let unit = match vectors {
                Some(vectors) => {
                    let _mode = GradMode::set(self.create_graph);
                    vectors.select(0, at as i64)?
                }
                None => {
                    let _mode = GradMode::no_grad();
                    let flat = Tensor::zeros(&[output.numel()], output.dtype())?;
                    flat.narrow(0, at as i64, 1)?.fill_(Scalar::Int(1))?;
                    flat.reshape_to(&shape)?
                }
            };
            let _task = Task::enter(true);
            let _mode = GradMode::set(self.create_graph);
            for (step, &waits) in plan.steps.iter_mut().zip(&waits) {
                step.waits = waits;
            }
            grads.fill(None);
            let unit = fit(unit, node.out_meta(edge.out), node, 0)?;
            add(&mut grads[slot], unit)?;
            Pass::new(self, targets, true, &mut results).run(plan, &mut grads)?;
            for (list, row) in rows.iter_mut().zip(&mut results) {
                list.push(row.take());
            }
        }
        Ok(())
    }
}

/// Puts the rows of one input together, with zeros for those that are absent.
fn gather(input: &Tensor, rows: &[Option<Tensor>]) -> Result<Rows> {
    let absent = rows.iter().position(Option::is_none);
    let constant = rows.iter().position(|row| row.as_ref().is_some_and(|row| !row.requires_grad()));
    if rows.iter().all(Option::is_none) {
        return Ok(Rows { stacked: None, absent, constant });
    }
    let zeros = absent.map(|_| Tensor::zeros_like(input)).transpose()?;
    let rows: Vec<&Tensor> =
        rows.iter().filter_map(|row| row.as_ref().or(zeros.as_ref())).collect();
    let stacked = match rows[..] {
        [only] => only.unsqueeze(0)?,
        _ => crate::ops::join::stack(&rows, 0)?,
    };
    Ok(Rows { stacked: Some(stacked), absent, constant })
}
