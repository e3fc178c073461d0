//! The algebra of differentiable tensors: the same derivative text that makes the fused kernels,
//! instantiated as tensor operations, for passes that are recorded themselves.
