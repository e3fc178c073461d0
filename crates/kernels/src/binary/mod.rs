//! Elementwise operations of two and three inputs: the enum over the table's rows, their kernels.
//!
//! Inputs have been brought to one dtype and are broadcast by the driver; see
//! [`elementwise::run`](crate::kernels::elementwise::run).

mod integer;
mod scalar;
pub mod table;

use std::marker::PhantomData;

pub use integer::{any_zero, where_block};
pub use scalar::number_forms;

use crate::algebra::{Algebra, Float};
use crate::dtype::{DType, dispatch};
use crate::kernels::block::{Block, Map, Mode, block, block_scalar};

/// What a gradient is made of besides the gradient of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a set of four operands")]
pub struct Needs {
    /// The first input.
    pub a: bool,
    /// The second input.
    pub b: bool,
    /// The third input.
    pub c: bool,
    /// The output.
    pub y: bool,
}

impl Needs {
    /// Nothing.
    pub const NONE: Self = Self { a: false, b: false, c: false, y: false };

    /// How many operands that is.
    pub const fn count(self) -> usize {
        self.a as usize + self.b as usize + self.c as usize + self.y as usize
    }

    /// What either needs.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self { a: self.a | other.a, b: self.b | other.b, c: self.c | other.c, y: self.y | other.y }
    }
}

/// The operands a gradient is made of; those it does not need may be anything.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a, V> {
    /// The first input.
    pub a: &'a V,
    /// The second input.
    pub b: &'a V,
    /// The third input.
    pub c: &'a V,
    /// The output.
    pub y: &'a V,
}

/// Which dtypes an operation takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Any number, and what [`Binary::forward`] has of bool; the result has the same dtype.
    Arithmetic,
    /// Integers and bool become the default floating dtype first.
    Float,
    /// Floats only (torch: `"..." not implemented for 'Int'`).
    FloatOnly,
    /// Anything; the result is bool.
    Test,
    /// Integers, and what [`Binary::forward`] has of bool.
    Bits,
}

/// The dtype of a result, given that of the (promoted) inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultType {
    /// That of the inputs.
    Same,
    /// Bool.
    Bool,
    /// That of the inputs, which are promoted to floating point first.
    Float,
}

/// One row: value and gradients.
pub trait Row: Copy + 'static {
    /// Two or three.
    const INPUTS: usize;
    /// Whether the function does not vectorise.
    const SLOW: bool = false;
    /// Whether the value and the gradients are an instruction or a few, see [`Map::OVER`].
    const LIGHT: bool = false;
    /// Whether it is made of the remainder of a division, which vectorised code can do only up to a limit.
    const QUOTIENT: bool = false;
    /// For each input what its gradient is made of; empty without a derivative.
    const NEEDS: &'static [Needs];
    /// The value; `c` only means something to rows of three inputs.
    fn f<V: Algebra>(a: &V, b: &V, c: &V, p: &[f64; 2]) -> V;
    /// The gradient of `a`.
    #[inline(always)]
    fn da<V: Algebra>(g: &V, _: &Saved<'_, V>, _: &[f64; 2]) -> V {
        g.lit(0.0)
    }
    /// The gradient of `b`.
    #[inline(always)]
    fn db<V: Algebra>(g: &V, _: &Saved<'_, V>, _: &[f64; 2]) -> V {
        g.lit(0.0)
    }
    /// The gradient of `c`.
    #[inline(always)]
    fn dc<V: Algebra>(g: &V, _: &Saved<'_, V>, _: &[f64; 2]) -> V {
        g.lit(0.0)
    }
}

macro_rules! define {
    ($($variant:ident $name:literal $node:literal $class:ident {$($param:literal = $default:expr),*} $doc:literal $body:tt)*) => {
        /// An elementwise operation of two or three inputs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Binary {
            $(#[doc = $doc] $variant,)*
        }

        impl Binary {
            /// Every operation, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// torch's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// torch's name of the node in the graph: `MulBackward0`.
            pub const fn node_name(self) -> &'static str {
                match self { $(Self::$variant => $node,)* }
            }

            /// What is computed, in a line.
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }

            /// Which dtypes are taken and given.
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)* }
            }

            /// Names and defaults of the parameters, in the order of `p`.
            pub const fn params(self) -> &'static [(&'static str, f64)] {
                match self { $(Self::$variant => &[$(($param, $default)),*],)* }
            }
        }
    };
}

crate::for_each_binary!(define);

/// Something to do with a row; the way from the enum to the types.
trait Visitor {
    type Out;
    fn visit<R: Row>(self) -> Self::Out;
}

macro_rules! visits {
    ($($variant:ident $name:literal $node:literal $class:ident $params:tt $doc:literal $body:tt)*) => {
        /// Visits the row of an operation, if it is a function of floats.
        fn visit<W: Visitor>(op: Binary, visitor: W) -> Option<W::Out> {
            match op {
                $(Binary::$variant => visits!(@one visitor $variant $body),)*
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

crate::for_each_binary!(visits);

struct Forward2<R, T>(PhantomData<(R, T)>);
struct Forward3<R, T>(PhantomData<(R, T)>);

impl<R: Row, T: Float> Map for Forward2<R, T> {
    type In = (T, T);
    type Out = T;
    const OVER: bool = R::LIGHT;
    const HARD: bool = R::QUOTIENT;
    #[inline(always)]
    fn hard((a, b): (T, T), _: &[f64; 2]) -> bool {
        a.hard_quotient(b)
    }
    #[inline(always)]
    fn call<M: Mode>((a, b): (T, T), p: &[f64; 2]) -> T {
        let (a, b) = (a.lane::<M>(), b.lane::<M>());
        T::value::<M>(R::f(&a, &b, &a, p))
    }
}

impl<R: Row, T: Float> Map for Forward3<R, T> {
    type In = (T, T, T);
    type Out = T;
    const OVER: bool = R::LIGHT;
    #[inline(always)]
    fn call<M: Mode>((a, b, c): (T, T, T), p: &[f64; 2]) -> T {
        T::value::<M>(R::f(&a.lane::<M>(), &b.lane::<M>(), &c.lane::<M>(), p))
    }
}

/// The gradient of input `I`, with as many saved operands as `N` has elements.
struct Backward<R, T, N, const I: usize>(PhantomData<(R, T, N)>);

#[inline(always)]
fn gradient<R: Row, T: Float, M: Mode, const I: usize, const K: usize>(
    g: T,
    saved: [T; K],
    p: &[f64; 2],
) -> T {
    let g = g.lane::<M>();
    let needs = R::NEEDS[I];
    let mut at = 0;
    let mut next = |wanted: bool| {
        if wanted {
            at += 1;
            saved[at - 1].lane::<M>()
        } else {
            g
        }
    };
    let (a, b, c, y) = (next(needs.a), next(needs.b), next(needs.c), next(needs.y));
    let saved = Saved { a: &a, b: &b, c: &c, y: &y };
    T::value::<M>(match I {
        0 => R::da(&g, &saved, p),
        1 => R::db(&g, &saved, p),
        _ => R::dc(&g, &saved, p),
    })
}

macro_rules! backward {
    ($(($($v:ident),*) ($($t:ident),*);)*) => {$(
        impl<R: Row, T: Float, const I: usize> Map for Backward<R, T, ($($t,)*), I> {
            type In = (T, $($t),*);
            type Out = T;
            const OVER: bool = R::LIGHT;
            const HARD: bool = R::QUOTIENT;
            #[inline(always)]
            fn hard((_, $($v),*): Self::In, _: &[f64; 2]) -> bool {
                // What is made of a quotient saves both of its operands.
                matches!(&[$($v),*] as &[T], [a, b] if a.hard_quotient(*b))
            }
            #[inline(always)]
            fn call<M: Mode>((g, $($v),*): Self::In, p: &[f64; 2]) -> T {
                gradient::<R, T, M, I, _>(g, [$($v),*], p)
            }
        }
    )*};
}

backward! {
    () ();
    (s) (T);
    (s, t) (T, T);
    (s, t, u) (T, T, T);
}

fn made<F: Map>(slow: bool) -> Block {
    if slow { block_scalar::<F>() } else { block::<F>() }
}

struct ForwardBlock(DType);
impl Visitor for ForwardBlock {
    type Out = Option<Block>;
    fn visit<R: Row>(self) -> Option<Block> {
        dispatch!(float self.0, T => Some(if R::INPUTS == 2 {
            made::<Forward2<R, T>>(R::SLOW)
        } else {
            made::<Forward3<R, T>>(R::SLOW)
        }), else None)
    }
}

struct NeedsOf;
impl Visitor for NeedsOf {
    type Out = (&'static [Needs], usize);
    fn visit<R: Row>(self) -> Self::Out {
        (R::NEEDS, R::INPUTS)
    }
}

struct BackwardBlock<const I: usize>(DType);
impl<const I: usize> Visitor for BackwardBlock<I> {
    type Out = Option<Block>;
    fn visit<R: Row>(self) -> Option<Block> {
        let count = R::NEEDS.get(I)?.count();
        dispatch!(float self.0, T => Some(match count {
            0 => made::<Backward<R, T, (), I>>(false),
            1 => made::<Backward<R, T, (T,), I>>(R::SLOW),
            2 => made::<Backward<R, T, (T, T), I>>(R::SLOW),
            _ => made::<Backward<R, T, (T, T, T), I>>(R::SLOW),
        }), else None)
    }
}

struct Value<'a, V>(&'a V, &'a V, &'a V, &'a [f64; 2]);
impl<V: Algebra> Visitor for Value<'_, V> {
    type Out = V;
    fn visit<R: Row>(self) -> V {
        R::f(self.0, self.1, self.2, self.3)
    }
}

struct Vjp<'a, V>(usize, &'a V, Saved<'a, V>, &'a [f64; 2]);
impl<V: Algebra> Visitor for Vjp<'_, V> {
    type Out = Option<V>;
    fn visit<R: Row>(self) -> Option<V> {
        let Self(i, g, saved, p) = self;
        R::NEEDS.get(i)?;
        Some(match i {
            0 => R::da(g, &saved, p),
            1 => R::db(g, &saved, p),
            _ => R::dc(g, &saved, p),
        })
    }
}

impl Binary {
    /// As [`Unary::weight`](crate::unary::Unary::weight).
    pub const fn weight(self, dtype: DType) -> usize {
        match self {
            Self::Pow | Self::Atan2 | Self::LogAddExp | Self::LogAddExp2 => 16 * dtype.size(),
            Self::Xlogy | Self::Fmod | Self::Remainder | Self::FloorDivide => 8 * dtype.size(),
            _ => 0,
        }
    }

    /// How many inputs there are: two or three.
    pub fn inputs(self) -> usize {
        visit(self, NeedsOf).map_or(2, |(_, inputs)| inputs)
    }

    /// The dtype of the result.
    pub const fn result(self) -> ResultType {
        match self.class() {
            Class::Test => ResultType::Bool,
            Class::Float => ResultType::Float,
            _ => ResultType::Same,
        }
    }

    /// Whether there is a derivative (a zero one included).
    pub fn differentiable(self) -> bool {
        visit(self, NeedsOf).is_some_and(|(needs, _)| !needs.is_empty())
    }

    /// What the gradient of input `i` is made of.
    pub fn needs(self, i: usize) -> Needs {
        visit(self, NeedsOf).and_then(|(needs, _)| needs.get(i).copied()).unwrap_or(Needs::NONE)
    }

    /// What all gradients together are made of.
    pub fn saves(self) -> Needs {
        (0..3).fold(Needs::NONE, |all, i| all.union(self.needs(i)))
    }

    /// Whether integers divided by zero are an error (torch: `RuntimeError: ZeroDivisionError`);
    /// the blocks give zero then, [`any_zero`] finds out.
    pub const fn divides(self) -> bool {
        matches!(self, Self::FloorDivide | Self::DivTrunc | Self::Remainder | Self::Fmod)
    }

    /// The block for inputs of `dtype`; the result is of that dtype or bool, see
    /// [`Binary::result`]. `None` where the operation is not defined on the dtype, so that it has
    /// to be promoted first or is refused.
    ///
    /// For integer dtypes and bool `alpha` is an integer: pass it as `f64::from_bits(i64 as u64)`.
    pub fn forward(self, dtype: DType) -> Option<Block> {
        if dtype.is_float()
            && matches!(self.class(), Class::Arithmetic | Class::Float | Class::FloatOnly)
        {
            return visit(self, ForwardBlock(dtype)).flatten();
        }
        integer::forward(self, dtype)
    }

    /// The block of one input `x` that computes `x op scalar`, or `scalar op x` when `reversed`,
    /// the scalar being `p[0]` (for integer dtypes and bool `f64::from_bits(i64 as u64)`, wrapped
    /// to the dtype) and other parameters at their defaults. `None` where there is no such block:
    /// make a tensor of the scalar then.
    pub fn forward_scalar(self, dtype: DType, reversed: bool) -> Option<Block> {
        scalar::forward(self, dtype, reversed)
    }

    /// The fused backward block of input `i`: inputs are the gradient, then what
    /// [`Binary::needs`] says, in the order `a`, `b`, `c`, `y`; the result is the gradient of the
    /// input before broadcasting is summed out. Floats only.
    pub fn backward(self, i: usize, dtype: DType) -> Option<Block> {
        match i {
            0 => visit(self, BackwardBlock::<0>(dtype)),
            1 => visit(self, BackwardBlock::<1>(dtype)),
            _ => visit(self, BackwardBlock::<2>(dtype)),
        }
        .flatten()
    }

    /// The value, in any algebra (`c` only matters to operations of three inputs). `None` for tests
    /// and bit operations.
    pub fn value<V: Algebra>(self, a: &V, b: &V, c: Option<&V>, p: &[f64; 2]) -> Option<V> {
        visit(self, Value(a, b, c.unwrap_or(a), p))
    }

    /// The gradient of input `i` given that of the output, in any algebra (so of any order). The
    /// operands must be there as far as [`Binary::needs`] says. `None` without a derivative.
    pub fn vjp<V: Algebra>(
        self,
        i: usize,
        grad: &V,
        a: Option<&V>,
        b: Option<&V>,
        c: Option<&V>,
        y: Option<&V>,
        p: &[f64; 2],
    ) -> Option<V> {
        let needs = self.needs(i);
        debug_assert!(a.is_some() >= needs.a && b.is_some() >= needs.b, "{self:?} needs inputs");
        debug_assert!(c.is_some() >= needs.c && y.is_some() >= needs.y, "{self:?} needs operands");
        let saved = Saved {
            a: a.unwrap_or(grad),
            b: b.unwrap_or(grad),
            c: c.unwrap_or(grad),
            y: y.unwrap_or(grad),
        };
        visit(self, Vjp(i, grad, saved, p)).flatten()
    }
}
