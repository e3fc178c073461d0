//! Random numbers, the same as torch's on the CPU for the same seed.
//!
//! Every fill writes its slice in order and draws as often as torch does, so that mixed sequences
//! of fills agree too. Callers hand in a contiguous slice in the logical order of the tensor; for
//! a tensor that is not contiguous, torch fills normals by [`normal_sequential`] whatever the size.

mod continuous;
mod discrete;
mod engine;
mod normal;
mod sample;

pub use continuous::{Real, cauchy, exponential, log_normal, rand, uniform};
pub use discrete::{
    bernoulli, bernoulli_each, dropout_noise, geometric, randint, random, random_from,
};
pub use engine::{DEFAULT_SEED, Generator, STATE_BYTES, default_generator};
pub use normal::{normal, normal_sequential};
pub use sample::{multinomial, randperm};

#[cfg(test)]
#[path = "../../tests/unit/random.rs"]
mod tests;
