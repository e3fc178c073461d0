#![allow(missing_docs)]
use crate::dtype::{DType, Scalar};
use crate::kernels::block::Block;
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResultType { Same, Float, Bool }
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binary { Add, Sub, Mul, Div, Pow, Eq, Gt, Lt, Ne, Le, Ge, Maximum, Minimum, FloorDivide, Remainder, BitwiseAnd, BitwiseOr, BitwiseXor, ShiftLeft, ShiftRight, Atan2, Hypot, Copysign }
pub struct Reads;
impl Reads { pub fn reads(&self, _i: usize, _v: usize) -> bool { true } }
impl Binary {
    pub fn name(self) -> &'static str { "x" }
    pub fn node_name(self) -> &'static str { "x" }
    pub fn result(self) -> ResultType { ResultType::Same }
    pub fn forward(self, _: DType) -> Option<Block> { None }
    pub fn backward(self, _: usize, _: DType) -> Option<Block> { None }
    pub fn scalar(self, _: DType, _: bool) -> Option<Block> { None }
    pub fn scalar_bits(self, _: DType, _: Scalar) -> f64 { 0.0 }
    pub fn saves(self) -> Reads { Reads }
    pub fn vjp<V: Clone>(self, _i: usize, g: &V, _a: &V, _b: &V, _y: &V, _p: &[f64; 2]) -> V { g.clone() }
    pub fn divides_integers(self) -> bool { false }
    pub fn passes_gradient(self, _: usize, _: f64) -> bool { false }
}
