//! Element types, torch's promotion rules and the one dispatch macro.

use std::fmt;

/// A `bool` element: one byte, false when zero. A newtype because memory shared with NumPy may
/// hold any byte, which a Rust `bool` may not.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub struct Bool(pub u8);

impl Bool {
    /// Whether the element is true.
    #[inline(always)]
    pub fn get(self) -> bool {
        self.0 != 0
    }
}

impl From<bool> for Bool {
    #[inline(always)]
    fn from(value: bool) -> Self {
        Self(u8::from(value))
    }
}

impl PartialEq for Bool {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl PartialOrd for Bool {
    #[inline(always)]
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.get().partial_cmp(&other.get())
    }
}

/// The element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DType {
    /// One byte, zero or one.
    Bool,
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 8 bits.
    I8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits; what Python integers become.
    I64,
    /// IEEE single precision; the default floating type.
    F32,
    /// IEEE double precision.
    F64,
}

impl DType {
    /// Every dtype, in promotion order.
    pub const ALL: [Self; 8] =
        [Self::Bool, Self::U8, Self::I8, Self::I16, Self::I32, Self::I64, Self::F32, Self::F64];

    /// Bytes of one element.
    #[inline]
    pub const fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::I16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    /// Whether the type is floating point, hence may require a gradient.
    #[inline]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// Whether the type is an integer (bool is not).
    #[inline]
    pub const fn is_int(self) -> bool {
        !matches!(self, Self::F32 | Self::F64 | Self::Bool)
    }

    /// torch's name of the type: `float32`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }

    /// The name torch uses in error messages: `Float`, `Long`.
    pub const fn scalar_name(self) -> &'static str {
        match self {
            Self::Bool => "Bool",
            Self::U8 => "Byte",
            Self::I8 => "Char",
            Self::I16 => "Short",
            Self::I32 => "Int",
            Self::I64 => "Long",
            Self::F32 => "Float",
            Self::F64 => "Double",
        }
    }

    /// The type of `a op b` for tensors of the same standing (torch's promotion table).
    ///
    /// ```
    /// use rustgrad_kernels::dtype::DType;
    /// assert_eq!(DType::I64.promote(DType::F32), DType::F32);
    /// assert_eq!(DType::U8.promote(DType::I8), DType::I16);
    /// ```
    #[must_use]
    #[inline]
    pub fn promote(self, other: Self) -> Self {
        if self == other {
            return self;
        }
        match (self, other) {
            (Self::U8, Self::I8) | (Self::I8, Self::U8) => Self::I16,
            (a, b) => a.max(b),
        }
    }

    /// 0 for bool, 1 for integers, 2 for floats: the category that decides whether a scalar or a
    /// 0-d tensor takes part in promotion.
    #[inline]
    pub const fn category(self) -> u8 {
        match self {
            Self::Bool => 0,
            Self::F32 | Self::F64 => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Python-like number without a dtype of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
}

impl Scalar {
    /// See [`DType::category`].
    #[inline]
    pub const fn category(self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Int(_) => 1,
            Self::Float(_) => 2,
        }
    }

    /// The dtype a tensor made of this scalar alone has, given the default floating dtype.
    #[inline]
    pub const fn natural_dtype(self, default_float: DType) -> DType {
        match self {
            Self::Bool(_) => DType::Bool,
            Self::Int(_) => DType::I64,
            Self::Float(_) => default_float,
        }
    }

    /// The value as `f64`.
    #[inline]
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Bool(b) => f64::from(u8::from(b)),
            Self::Int(i) => i as f64,
            Self::Float(f) => f,
        }
    }

    /// The value as `i64`, truncated.
    #[inline]
    pub fn to_i64(self) -> i64 {
        match self {
            Self::Bool(b) => i64::from(b),
            Self::Int(i) => i,
            Self::Float(f) => f as i64,
        }
    }
}

impl From<f64> for Scalar {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<i64> for Scalar {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that can be the element of a tensor.
pub trait Element:
    sealed::Sealed + Copy + Default + PartialEq + PartialOrd + fmt::Debug + Send + Sync + 'static
{
    /// The dtype of this type.
    const DTYPE: DType;
    /// Converts as C casts do, except that anything non-zero is true for bool.
    fn from_f64(value: f64) -> Self;
    /// Converts as C casts do (wrapping), except that anything non-zero is true for bool.
    fn from_i64(value: i64) -> Self;
    /// Widens.
    fn to_f64(self) -> f64;
    /// Converts; floats are truncated.
    fn to_i64(self) -> i64;

    /// Converts a scalar.
    #[inline(always)]
    fn from_scalar(value: Scalar) -> Self {
        match value {
            Scalar::Bool(b) => Self::from_i64(i64::from(b)),
            Scalar::Int(i) => Self::from_i64(i),
            Scalar::Float(f) => Self::from_f64(f),
        }
    }

    /// The element as a scalar of its own category.
    #[inline(always)]
    fn to_scalar(self) -> Scalar {
        match Self::DTYPE.category() {
            0 => Scalar::Bool(self.to_i64() != 0),
            1 => Scalar::Int(self.to_i64()),
            _ => Scalar::Float(self.to_f64()),
        }
    }
}

macro_rules! elements {
    ($($t:ty => $d:ident),*) => {$(
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            #[inline(always)]
            // Through i64 first, so that negative floats wrap as torch's casts do on x86.
            fn from_f64(value: f64) -> Self { if DType::$d.is_float() { value as Self } else { (value as i64) as Self } }
            #[inline(always)]
            fn from_i64(value: i64) -> Self { value as Self }
            #[inline(always)]
            fn to_f64(self) -> f64 { self as f64 }
            #[inline(always)]
            fn to_i64(self) -> i64 { self as i64 }
        }
    )*};
}

elements!(u8 => U8, i8 => I8, i16 => I16, i32 => I32, i64 => I64, f32 => F32, f64 => F64);

impl sealed::Sealed for Bool {}
impl Element for Bool {
    const DTYPE: DType = DType::Bool;
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        (value != 0.0).into()
    }
    #[inline(always)]
    fn from_i64(value: i64) -> Self {
        (value != 0).into()
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self.get()))
    }
    #[inline(always)]
    fn to_i64(self) -> i64 {
        i64::from(self.get())
    }
}

/// Runs an expression with `$T` bound to the element type of a dtype.
/// `dispatch!(dtype, T => f::<T>())` covers all dtypes, `dispatch!(float dtype, T => ..., else ...)`
/// and `dispatch!(number dtype, ...)` (all but bool) the named ones.
#[doc(hidden)]
#[macro_export]
macro_rules! dispatch {
    (float $d:expr, $T:ident => $e:expr, else $other:expr) => {
        match $d {
            $crate::dtype::DType::F32 => {
                type $T = f32;
                $e
            }
            $crate::dtype::DType::F64 => {
                type $T = f64;
                $e
            }
            _ => $other,
        }
    };
    (number $d:expr, $T:ident => $e:expr, else $other:expr) => {
        match $d {
            $crate::dtype::DType::Bool => $other,
            $crate::dtype::DType::U8 => {
                type $T = u8;
                $e
            }
            $crate::dtype::DType::I8 => {
                type $T = i8;
                $e
            }
            $crate::dtype::DType::I16 => {
                type $T = i16;
                $e
            }
            $crate::dtype::DType::I32 => {
                type $T = i32;
                $e
            }
            $crate::dtype::DType::I64 => {
                type $T = i64;
                $e
            }
            $crate::dtype::DType::F32 => {
                type $T = f32;
                $e
            }
            $crate::dtype::DType::F64 => {
                type $T = f64;
                $e
            }
        }
    };
    ($d:expr, $T:ident => $e:expr) => {
        match $d {
            $crate::dtype::DType::Bool => {
                type $T = $crate::dtype::Bool;
                $e
            }
            $crate::dtype::DType::U8 => {
                type $T = u8;
                $e
            }
            $crate::dtype::DType::I8 => {
                type $T = i8;
                $e
            }
            $crate::dtype::DType::I16 => {
                type $T = i16;
                $e
            }
            $crate::dtype::DType::I32 => {
                type $T = i32;
                $e
            }
            $crate::dtype::DType::I64 => {
                type $T = i64;
                $e
            }
            $crate::dtype::DType::F32 => {
                type $T = f32;
                $e
            }
            $crate::dtype::DType::F64 => {
                type $T = f64;
                $e
            }
        }
    };
}

pub use dispatch;
