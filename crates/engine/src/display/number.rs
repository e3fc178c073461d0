//! Numbers of one tensor, all in one notation and width.

use crate::dtype::{DType, Scalar};

use super::PrintOptions;

/// How the elements of one tensor are written.
pub(super) struct Formatter {
    notation: Notation,
    width: usize,
}

#[derive(Clone, Copy)]
enum Notation {
    /// Integers and truth values.
    Exact,
    /// Floats that are all whole: digits and a bare point.
    Whole,
    /// Digits after the point.
    Fixed(usize),
    /// One digit before the point, and an exponent.
    Scientific(usize),
}

impl Formatter {
    /// Chooses notation and width from the elements that will be shown.
    pub(super) fn new(dtype: DType, shown: &[Scalar], options: &PrintOptions) -> Self {
        if !dtype.is_float() {
            let notation = Notation::Exact;
            return Self { notation, width: widest(notation, shown.iter().copied()) };
        }
        let values = || shown.iter().map(|x| x.to_f64()).filter(|x| x.is_finite() && *x != 0.0);
        let Some(first) = values().next() else {
            // Zeros, infinities and NaNs have no width to agree on.
            return Self { notation: Notation::Whole, width: 1 };
        };
        let (mut min, mut max) = (first.abs(), first.abs());
        for value in values() {
            min = min.min(value.abs());
            max = max.max(value.abs());
        }
        let scientific =
            options.sci_mode.unwrap_or(max / min > 1000.0 || max > 1.0e8 || min < 1.0e-4);
        let notation = if scientific {
            Notation::Scientific(options.precision)
        } else if values().all(|x| x == x.ceil()) {
            Notation::Whole
        } else {
            Notation::Fixed(options.precision)
        };
        Self { notation, width: widest(notation, values().map(Scalar::Float)).max(1) }
    }

    /// Characters that the widest of the numbers considered takes.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Appends an element, aligned right.
    pub(super) fn write(&self, item: Scalar, out: &mut String) {
        let text = text(self.notation, item);
        for _ in text.len()..self.width {
            out.push(' ');
        }
        out.push_str(&text);
    }
}

fn widest(notation: Notation, items: impl Iterator<Item = Scalar>) -> usize {
    items.map(|item| text(notation, item).len()).max().unwrap_or(1)
}

fn text(notation: Notation, item: Scalar) -> String {
    match (item, notation) {
        (Scalar::Bool(true), _) => "True".to_string(),
        (Scalar::Bool(false), _) => "False".to_string(),
        (Scalar::Int(value), _) => value.to_string(),
        (Scalar::Float(value), _) if value.is_nan() => "nan".to_string(),
        (Scalar::Float(value), _) if value.is_infinite() => {
            if value > 0.0 { "inf" } else { "-inf" }.to_string()
        }
        (Scalar::Float(value), Notation::Exact | Notation::Whole) => format!("{value:.0}."),
        (Scalar::Float(value), Notation::Fixed(precision)) => {
            format!("{value:.0$}", capped(precision))
        }
        (Scalar::Float(value), Notation::Scientific(precision)) => scientific(value, precision),
    }
}

/// Rust refuses precisions beyond 16 bits; no float has that many digits that are not zero.
fn capped(precision: usize) -> usize {
    precision.min(usize::from(u16::MAX))
}

/// `1.5000e-05`: a signed exponent of two digits or more, as C has it.
fn scientific(value: f64, precision: usize) -> String {
    let text = format!("{value:.0$e}", capped(precision));
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        None => text,
    }
}
