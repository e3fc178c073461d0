//! The one error type of the engine.

use std::any::Any;
use std::fmt;

/// The result of every fallible engine function.
pub type Result<T> = std::result::Result<T, Error>;

/// What the caller did wrong, or what failed; bindings map each kind to the exception torch raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Shapes, dtypes or autograd state do not fit the operation (torch: `RuntimeError`).
    Runtime,
    /// A dimension or index is out of range (torch: `IndexError`).
    Index,
    /// An argument has the wrong type (torch: `TypeError`).
    Type,
    /// An argument has an impossible value (torch: `ValueError`).
    Value,
    /// The case exists in torch but not here (`NotImplementedError`).
    NotImplemented,
    /// An allocation failed (`MemoryError`).
    Memory,
    /// An error of the embedding language, carried through unchanged.
    Foreign,
    /// The embedder asked for a stop (Ctrl-C).
    Interrupted,
}

/// An error: its kind, a message for the user and, for foreign errors, the original.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    payload: Option<Box<dyn Any + Send + Sync>>,
}

impl Error {
    /// A new error of `kind`.
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), payload: None }))
    }

    /// An error of the embedding language that passes through the engine unchanged.
    #[cold]
    pub fn foreign(message: impl Into<String>, payload: Box<dyn Any + Send + Sync>) -> Self {
        Self(Box::new(Inner {
            kind: ErrorKind::Foreign,
            message: message.into(),
            payload: Some(payload),
        }))
    }

    /// What went wrong, in kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The text shown to the user.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The same error with `note` on a line of its own behind the message.
    #[must_use]
    #[cold]
    pub fn with_note(mut self, note: impl AsRef<str>) -> Self {
        self.0.message.push('\n');
        self.0.message.push_str(note.as_ref());
        self
    }

    /// The foreign error this one carries, if any.
    pub fn into_payload(self) -> Option<Box<dyn Any + Send + Sync>> {
        self.0.payload
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.message)
    }
}

impl std::error::Error for Error {}

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {
        impl Error {
            $(
                #[doc = concat!("An error of kind [`ErrorKind::", stringify!($kind), "`].")]
                #[cold]
                pub fn $name(message: impl Into<String>) -> Self {
                    Self::new(ErrorKind::$kind, message)
                }
            )*
        }
    };
}

constructors! {
    runtime => Runtime,
    index => Index,
    type_error => Type,
    value => Value,
    not_implemented => NotImplemented,
    memory => Memory,
}

/// Returns early with an error of the named constructor: `bail!(runtime, "text {}", x)`.
#[doc(hidden)]
#[macro_export]
macro_rules! bail {
    ($kind:ident, $($arg:tt)*) => {
        return Err($crate::error::Error::$kind(format!($($arg)*)))
    };
}

/// Returns early unless the condition holds: `ensure!(cond, index, "text {}", x)`.
#[doc(hidden)]
#[macro_export]
macro_rules! ensure {
    ($cond:expr, $kind:ident, $($arg:tt)*) => {
        // Named, so that conditions on floats (false for NaN) are not negated in place.
        let holds: bool = $cond;
        if !holds {
            $crate::error::bail!($kind, $($arg)*);
        }
    };
}

pub use {bail, ensure};
