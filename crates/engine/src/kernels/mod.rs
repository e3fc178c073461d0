//! Loops over slices and strides. They know no tensor, no graph and no operation by name.
