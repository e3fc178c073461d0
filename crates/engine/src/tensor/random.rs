//! Tensors of random numbers.

use super::Tensor;
use crate::dtype::{DType, Element};
use crate::error::{Error, Result};
use crate::random::{self, Generator};

/// What random numbers are drawn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Uniform in `[0, 1)`.
    Unit,
    /// Uniform in `[from, to)`.
    Uniform(f64, f64),
    /// Normal with mean and standard deviation.
    Normal(f64, f64),
    /// Integers uniform in `[low, high)`.
    Integers(i64, i64),
    /// Integers uniform from here to the largest of the dtype.
    IntegersFrom(i64),
    /// Integers uniform over what the dtype holds.
    AnyInteger,
    /// One with this probability, else zero.
    Bernoulli(f64),
    /// Exponential with this rate.
    Exponential(f64),
    /// Cauchy with median and scale.
    Cauchy(f64, f64),
    /// The exponential of normal numbers.
    LogNormal(f64, f64),
    /// The number of trials to the first success.
    Geometric(f64),
}

#[cold]
fn unsupported(name: &str, dtype: DType) -> Error {
    Error::not_implemented(format!("\"{name}\" not implemented for '{}'", dtype.scalar_name()))
}

impl Tensor {
    /// A tensor of random numbers.
    ///
    /// # Errors
    /// If the parameters or the dtype do not suit the distribution, or memory is short.
    pub fn sample(
        shape: &[usize],
        dtype: DType,
        from: Distribution,
        generator: &mut Generator,
    ) -> Result<Self> {
        Self::sample_laid_out(shape, dtype, from, generator, true)
    }

    fn sample_laid_out(
        shape: &[usize],
        dtype: DType,
        from: Distribution,
        generator: &mut Generator,
        contiguous: bool,
    ) -> Result<Self> {
        crate::shape::numel(shape)?;
        let name = match from {
            Distribution::Unit => "rand",
            Distribution::Uniform(..) => "check_uniform_bounds",
            Distribution::Normal(..) => "normal_kernel_cpu",
            Distribution::Exponential(_) => "exponential_cpu",
            Distribution::Cauchy(..) => "cauchy_cpu",
            Distribution::LogNormal(..) => "log_normal_cpu",
            _ => {
                return crate::dtype::dispatch!(dtype, T => {
                    Self::filled_by::<T>(shape, |values| whole(from, generator, values))
                });
            }
        };
        crate::dtype::dispatch!(float dtype, T => {
            Self::filled_by::<T>(shape, |out| {
                match from {
                    Distribution::Uniform(a, b) => random::uniform(generator, out, a, b)?,
                    Distribution::Normal(mean, std) if contiguous => {
                        random::normal(generator, out, mean, std)?;
                    }
                    Distribution::Normal(mean, std) => {
                        random::normal_sequential(generator, out, mean, std)?;
                    }
                    Distribution::Exponential(rate) => random::exponential(generator, out, rate)?,
                    Distribution::Cauchy(median, sigma) => {
                        random::cauchy(generator, out, median, sigma)?;
                    }
                    Distribution::LogNormal(mean, std) => {
                        random::log_normal(generator, out, mean, std)?;
                    }
                    _ => random::rand(generator, out),
                }
                Ok(())
            })
        }, else Err(unsupported(name, dtype)))
    }

    /// Overwrites this tensor with random numbers.
    ///
    /// # Errors
    /// As [`Self::sample`] and [`Self::inplace`].
    #[track_caller]
    pub fn sample_(&self, op: &str, from: Distribution, generator: &mut Generator) -> Result<()> {
        self.inplace(op, |this| {
            let numbers = Self::sample_laid_out(
                &this.shape(),
                this.dtype(),
                from,
                generator,
                this.is_contiguous(),
            )?;
            if crate::graph::recording1(this) {
                return this.overwritten_by(&numbers);
            }
            Ok(numbers)
        })
    }

    /// The numbers below `n` in random order.
    ///
    /// # Errors
    /// If memory is short.
    pub fn randperm(n: usize, dtype: DType, generator: &mut Generator) -> Result<Self> {
        crate::dtype::dispatch!(dtype, T => {
            let mut values = vec![T::default(); n];
            random::randperm(generator, &mut values);
            Self::from_slice(&values, &[n])
        })
    }

    /// One with the probability in this tensor, else zero, in `dtype`.
    ///
    /// # Errors
    /// If a probability is none, or memory is short.
    pub fn bernoulli(&self, dtype: DType, generator: &mut Generator) -> Result<Self> {
        let own = self.dtype();
        crate::dtype::dispatch!(float own, P => {
            let p = self.to_vec::<P>()?;
            crate::dtype::dispatch!(dtype, T => {
                let mut values = vec![T::default(); p.len()];
                random::bernoulli_each(generator, &mut values, &p)?;
                Self::from_slice(&values, &self.shape())
            })
        }, else Err(unsupported("bernoulli_tensor_cpu_self_", own)))
    }

    /// `count` indices of each row, drawn by the weights in it.
    ///
    /// # Errors
    /// If the weights are not one or two-dimensional floats that can be drawn from.
    pub fn multinomial(
        &self,
        count: usize,
        replacement: bool,
        generator: &mut Generator,
    ) -> Result<Self> {
        let (shape, own) = (self.shape(), self.dtype());
        let (rows, categories) = match *shape.as_slice() {
            [n] => (1, n),
            [rows, n] => (rows, n),
            _ => return Err(Error::runtime("prob_dist must be 1 or 2 dim")),
        };
        if count == 0 {
            return Err(Error::runtime("cannot sample n_sample <= 0 samples"));
        }
        if !replacement && count > categories {
            return Err(Error::runtime(
                "cannot sample n_sample > prob_dist.size(-1) samples without replacement",
            ));
        }
        crate::dtype::dispatch!(float own, P => {
            let weights = self.to_vec::<P>()?;
            let mut values = vec![0i64; rows * count];
            random::multinomial(generator, &mut values, &weights, categories, replacement)?;
            if shape.len() == 1 {
                Self::from_slice(&values, &[count])
            } else {
                Self::from_slice(&values, &[rows, count])
            }
        }, else Err(Error::runtime(format!(
            "multinomial only supports floating-point dtypes for input, got: {}",
            own.scalar_name()
        ))))
    }
}

/// Fills with numbers of a distribution that suits any dtype.
fn whole<T: Element>(from: Distribution, generator: &mut Generator, out: &mut [T]) -> Result<()> {
    match from {
        Distribution::Integers(low, high) => random::randint(generator, out, low, high),
        Distribution::IntegersFrom(low) => random::random_from(generator, out, low),
        Distribution::Bernoulli(p) => random::bernoulli(generator, out, p),
        Distribution::Geometric(p) => random::geometric(generator, out, p),
        _ => {
            random::random(generator, out);
            Ok(())
        }
    }
}
