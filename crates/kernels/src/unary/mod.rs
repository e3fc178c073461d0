//! Elementwise unary operations: the enum over the table's rows, and their kernels.

pub mod integer;
pub mod table;

use std::marker::PhantomData;

use crate::algebra::{Algebra, Float};
use crate::dtype::{DType, dispatch};
use crate::kernels::block::{Block, Exact, Map, Mode, block, block_scalar};
use crate::kernels::copy::copy_block;

/// What backward needs of the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saves {
    /// The gradient alone is enough.
    Nothing,
    /// The input.
    Input,
    /// The output.
    Output,
    /// The input and the output.
    Both,
}

impl Saves {
    /// Whether the input is among it.
    #[inline]
    pub const fn input(self) -> bool {
        matches!(self, Self::Input | Self::Both)
    }

    /// Whether the output is among it.
    #[inline]
    pub const fn output(self) -> bool {
        matches!(self, Self::Output | Self::Both)
    }
}

/// What an operation does with tensors that are not floating point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntRule {
    /// They become the default floating dtype first, bool included.
    Promote,
    /// Integers keep their dtype; bool is refused (torch: `NotImplementedError`), but see
    /// [`Unary::forward`].
    Keep,
    /// Integers and bool keep their dtype.
    KeepBool,
    /// Refused (torch: `"..." not implemented for 'Int'`).
    Refuse,
    /// Any dtype is taken, the result is bool.
    Test,
    /// Integers and bool keep their dtype, floats are refused.
    Bits,
}

/// One row: value and derivative.
pub trait Row: Copy + 'static {
    /// What backward needs.
    const SAVES: Saves;
    /// Whether the function does not vectorise.
    const SLOW: bool = false;
    /// Whether value and gradient are an instruction or a few, see [`Map::OVER`].
    const LIGHT: bool = false;
    /// Whether the value takes but a few instructions, though there is no reason to treat it as light.
    const PLAIN: bool = false;
    /// When not zero: `ANGLE x` (at most) is reduced modulo pi/2, which vectorised code can do only
    /// up to a limit.
    const ANGLE: f64 = 0.0;
    /// The value.
    fn f<V: Algebra>(x: &V, p: &[f64; 2]) -> V;
    /// The gradient of the input, of that of the output; `x` and `y` are meaningful only where
    /// `SAVES` has them.
    fn vjp<V: Algebra>(g: &V, x: &V, y: &V, p: &[f64; 2]) -> V;
}

macro_rules! define {
    ($($variant:ident $name:literal $node:literal $class:ident {$($param:literal = $default:expr),*} $doc:literal $body:tt)*) => {
        /// An elementwise unary operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Unary {
            $(#[doc = $doc] $variant,)*
        }

        impl Unary {
            /// Every operation, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// torch's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// torch's name of the node in the graph: `ExpBackward0`.
            pub const fn node_name(self) -> &'static str {
                match self { $(Self::$variant => $node,)* }
            }

            /// What is computed, in a line.
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }

            /// What happens to integers and bool.
            pub const fn int_rule(self) -> IntRule {
                match self { $(Self::$variant => IntRule::$class,)* }
            }

            /// Names and defaults of the parameters, in the order of `p`.
            pub const fn params(self) -> &'static [(&'static str, f64)] {
                match self { $(Self::$variant => &[$(($param, $default)),*],)* }
            }
        }
    };
}

crate::for_each_unary!(define);

/// Something to do with a row; the way from the enum to the types.
trait Visitor {
    type Out;
    fn visit<R: Row>(self) -> Self::Out;
}

macro_rules! visits {
    ($($variant:ident $name:literal $node:literal $class:ident $params:tt $doc:literal $body:tt)*) => {
        /// Visits the row of an operation, if it is a function with a derivative.
        fn visit<W: Visitor>(op: Unary, visitor: W) -> Option<W::Out> {
            match op {
                $(Unary::$variant => visits!(@one visitor $variant $body),)*
            }
        }
    };
    (@one $visitor:ident $variant:ident {}) => {{
        let _ = $visitor;
        None
    }};
    (@one $visitor:ident $variant:ident $body:tt) => {
        Some($visitor.visit::<table::$variant>())
    };
}

crate::for_each_unary!(visits);

/// The parameters of a kernel: as passed, or fixed at compile time.
trait Params {
    fn get(p: &[f64; 2]) -> [f64; 2];
}

struct Passed;
impl Params for Passed {
    #[inline(always)]
    fn get(p: &[f64; 2]) -> [f64; 2] {
        *p
    }
}

/// An exponent of `N / 2`, so that the kernel has no branch on it.
struct Halves<const N: i8>;
impl<const N: i8> Params for Halves<N> {
    #[inline(always)]
    fn get(_: &[f64; 2]) -> [f64; 2] {
        [f64::from(N) * 0.5, 0.0]
    }
}

/// Whether `table::PowScalar` has a way of its own for this exponent. For any other its kernel would
/// choose among those ways once per element, which keeps it from being a vector loop.
fn common_exponent(e: f64) -> bool {
    [0.0, 0.5, 1.0, 2.0, 3.0, -0.5, -1.0, -2.0].contains(&e)
}

/// `x^p[0]` for exponents that are not common.
struct AnyPower<T>(PhantomData<T>);

impl<T: Float> Map for AnyPower<T> {
    type In = (T,);
    type Out = T;
    #[inline(always)]
    fn call<M: Mode>((x,): (T,), p: &[f64; 2]) -> T {
        let x = x.lane::<M>();
        T::value::<M>(x.pow(&x.lit(p[0])))
    }
}

/// The gradient of [`AnyPower`], of the gradient and the input.
struct AnyPowerBackward<T>(PhantomData<T>);

impl<T: Float> Map for AnyPowerBackward<T> {
    type In = (T, T);
    type Out = T;
    #[inline(always)]
    fn call<M: Mode>((g, x): (T, T), p: &[f64; 2]) -> T {
        let (g, x) = (g.lane::<M>(), x.lane::<M>());
        T::value::<M>(g.mul(&x.pow(&x.lit(p[0] - 1.0)).mul_lit(p[0])))
    }
}

struct Forward<R, T, P>(PhantomData<(R, T, P)>);

impl<R: Row, T: Float, P: Params> Map for Forward<R, T, P> {
    type In = (T,);
    type Out = T;
    const HARD: bool = R::ANGLE != 0.0;
    const OVER: bool = R::LIGHT;
    #[inline(always)]
    fn call<M: Mode>((x,): (T,), p: &[f64; 2]) -> T {
        T::value::<M>(R::f(&x.lane::<M>(), &P::get(p)))
    }
    #[inline(always)]
    fn hard((x,): (T,), _: &[f64; 2]) -> bool {
        hard::<R, T>(x)
    }
}

#[inline(always)]
fn hard<R: Row, T: Float>(x: T) -> bool {
    let x = x.lane::<Exact>();
    T::value::<Exact>(x.mul(&x.lit(R::ANGLE))).hard_angle()
}

/// Backward with the gradient alone.
struct Backward0<R, T>(PhantomData<(R, T)>);
/// Backward with the gradient and one saved operand.
struct Backward1<R, T, P>(PhantomData<(R, T, P)>);
/// Backward with the gradient, the input and the output.
struct Backward2<R, T>(PhantomData<(R, T)>);

impl<R: Row, T: Float> Map for Backward0<R, T> {
    type In = (T,);
    type Out = T;
    #[inline(always)]
    fn call<M: Mode>((g,): (T,), p: &[f64; 2]) -> T {
        let g = g.lane::<M>();
        T::value::<M>(R::vjp(&g, &g, &g, p))
    }
}

impl<R: Row, T: Float, P: Params> Map for Backward1<R, T, P> {
    type In = (T, T);
    type Out = T;
    const HARD: bool = R::ANGLE != 0.0 && R::SAVES.input();
    const OVER: bool = R::LIGHT;
    #[inline(always)]
    fn call<M: Mode>((g, v): (T, T), p: &[f64; 2]) -> T {
        let v = v.lane::<M>();
        T::value::<M>(R::vjp(&g.lane::<M>(), &v, &v, &P::get(p)))
    }
    #[inline(always)]
    fn hard((_, x): (T, T), _: &[f64; 2]) -> bool {
        hard::<R, T>(x)
    }
}

impl<R: Row, T: Float> Map for Backward2<R, T> {
    type In = (T, T, T);
    type Out = T;
    #[inline(always)]
    fn call<M: Mode>((g, x, y): (T, T, T), p: &[f64; 2]) -> T {
        T::value::<M>(R::vjp(&g.lane::<M>(), &x.lane::<M>(), &y.lane::<M>(), p))
    }
}

fn made<F: Map>(slow: bool) -> Block {
    if slow { block_scalar::<F>() } else { block::<F>() }
}

/// Runs an expression with `$P` bound to the fixed exponent if it is a common one.
macro_rules! with_exponent {
    ($e:expr, $P:ident => $x:expr) => {
        match ($e * 2.0) as i64 {
            _ if ($e * 2.0).fract() != 0.0 => {
                type $P = Passed;
                $x
            }
            0 => {
                type $P = Halves<0>;
                $x
            }
            1 => {
                type $P = Halves<1>;
                $x
            }
            2 => {
                type $P = Halves<2>;
                $x
            }
            4 => {
                type $P = Halves<4>;
                $x
            }
            6 => {
                type $P = Halves<6>;
                $x
            }
            -1 => {
                type $P = Halves<-1>;
                $x
            }
            -2 => {
                type $P = Halves<-2>;
                $x
            }
            -4 => {
                type $P = Halves<-4>;
                $x
            }
            _ => {
                type $P = Passed;
                $x
            }
        }
    };
}

/// Visitors.
struct SavesOf;
struct Weight(DType);
struct ForwardBlock(DType);
struct BackwardBlock(DType);
struct Value<'a, V>(&'a V, &'a [f64; 2]);
struct Vjp<'a, V>(&'a V, &'a V, &'a V, &'a [f64; 2]);

impl Visitor for SavesOf {
    type Out = Saves;
    fn visit<R: Row>(self) -> Saves {
        R::SAVES
    }
}

impl Visitor for Weight {
    type Out = usize;
    fn visit<R: Row>(self) -> usize {
        match self.0 {
            _ if R::SLOW => 512,
            _ if R::LIGHT || R::PLAIN => 0,
            DType::F64 => 64,
            _ => 16,
        }
    }
}

impl Visitor for ForwardBlock {
    type Out = Option<Block>;
    fn visit<R: Row>(self) -> Option<Block> {
        dispatch!(float self.0, T => Some(made::<Forward<R, T, Passed>>(R::SLOW)), else None)
    }
}

impl Visitor for BackwardBlock {
    type Out = Option<Block>;
    fn visit<R: Row>(self) -> Option<Block> {
        dispatch!(float self.0, T => Some(match R::SAVES {
            Saves::Nothing => made::<Backward0<R, T>>(false),
            Saves::Input | Saves::Output => made::<Backward1<R, T, Passed>>(R::SLOW),
            Saves::Both => made::<Backward2<R, T>>(R::SLOW),
        }), else None)
    }
}

impl<V: Algebra> Visitor for Value<'_, V> {
    type Out = V;
    fn visit<R: Row>(self) -> V {
        R::f(self.0, self.1)
    }
}

impl<V: Algebra> Visitor for Vjp<'_, V> {
    type Out = V;
    fn visit<R: Row>(self) -> V {
        R::vjp(self.0, self.1, self.2, self.3)
    }
}

impl Unary {
    /// What backward needs.
    pub fn saves(self) -> Saves {
        visit(self, SavesOf).unwrap_or(Saves::Nothing)
    }

    /// What the value of an element costs beside reading and writing it, in bytes of traffic that take as
    /// long (measured, roughly): says how work is split.
    pub fn weight(self, dtype: DType) -> usize {
        visit(self, Weight(dtype)).unwrap_or(0)
    }

    /// Whether the operation has a derivative (a zero one included).
    pub fn differentiable(self) -> bool {
        !matches!(self.int_rule(), IntRule::Test | IntRule::Bits)
    }

    /// The block for inputs of `dtype` (one input; bool output if [`IntRule::Test`], else the same
    /// dtype); `None` where the operation is not defined on it and promotion has to come first, or
    /// an error.
    ///
    /// For integer dtypes all parameters are integers: pass them as `f64::from_bits(i64 as u64)`,
    /// absent limits of `Clamp` as the least and greatest `i64`.
    /// `NanToNum` wants the finite maximum of the dtype where torch has a default.
    pub fn forward(self, dtype: DType, p: &[f64; 2]) -> Option<Block> {
        if self == Self::Positive {
            return (dtype != DType::Bool).then(|| copy_block(dtype.size()));
        }
        if self == Self::PowScalar && dtype.is_float() {
            if p[0] == 1.0 {
                return Some(copy_block(dtype.size()));
            }
            if !common_exponent(p[0]) {
                return dispatch!(float dtype, T => Some(block::<AnyPower<T>>()), else None);
            }
            return dispatch!(float dtype, T => with_exponent!(p[0], P =>
                Some(block::<Forward<table::PowScalar, T, P>>())), else None);
        }
        if !dtype.is_float() || !self.differentiable() {
            return integer::forward(self, dtype);
        }
        visit(self, ForwardBlock(dtype)).flatten()
    }

    /// The fused backward block: inputs are the gradient, then the input and the output as far as
    /// [`Unary::saves`] has them; the result is the gradient of the input. Floats only.
    pub fn backward(self, dtype: DType, p: &[f64; 2]) -> Option<Block> {
        if self == Self::PowScalar {
            if !common_exponent(p[0]) {
                return dispatch!(float dtype, T => Some(block::<AnyPowerBackward<T>>()), else None);
            }
            return dispatch!(float dtype, T => with_exponent!(p[0], P =>
                Some(block::<Backward1<table::PowScalar, T, P>>())), else None);
        }
        visit(self, BackwardBlock(dtype)).flatten()
    }

    /// The value, in any algebra. `None` for tests and bit operations.
    pub fn value<V: Algebra>(self, x: &V, p: &[f64; 2]) -> Option<V> {
        visit(self, Value(x, p))
    }

    /// The gradient of the input given that of the output, in any algebra (so of any order). `x`
    /// and `y` must be there as far as [`Unary::saves`] says. `None` without a derivative.
    pub fn vjp<V: Algebra>(
        self,
        grad: &V,
        x: Option<&V>,
        y: Option<&V>,
        p: &[f64; 2],
    ) -> Option<V> {
        let saves = self.saves();
        debug_assert!(x.is_some() || !saves.input(), "{self:?} needs its input");
        debug_assert!(y.is_some() || !saves.output(), "{self:?} needs its output");
        let (x, y) = (x.unwrap_or(grad), y.unwrap_or(grad));
        visit(self, Vjp(grad, x, y, p))
    }

    /// The local derivative, in any algebra: [`Unary::vjp`] of a gradient of one, `like` giving its
    /// kind.
    pub fn derivative<V: Algebra>(
        self,
        like: &V,
        x: Option<&V>,
        y: Option<&V>,
        p: &[f64; 2],
    ) -> Option<V> {
        self.vjp(&like.lit(1.0), x, y, p)
    }
}
