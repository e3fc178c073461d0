//! Operations: what each computes and how it is differentiated, side by side.

pub mod algebra;
pub mod binary;
pub mod unary;
