//! Tensors as text, character for character as torch's `repr` writes them.
//!
//! A tensor of more than [`PrintOptions::threshold`] elements is summarised: of each dimension only
//! the items at both ends are fetched and shown, and they alone decide widths and notation.

mod number;

use std::ops::Range;

use parking_lot::RwLock;

use crate::dtype::{DType, Scalar};
use crate::shape::{Dims, tuple_text};

use number::Formatter;

/// How tensors are written; see `torch.set_printoptions`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrintOptions {
    /// Digits after the decimal point.
    pub precision: usize,
    /// The number of elements above which a tensor is summarised; may be infinite.
    pub threshold: f64,
    /// Items shown at either end of a summarised dimension.
    pub edgeitems: usize,
    /// Characters per line.
    pub linewidth: usize,
    /// Scientific notation: always, never, or (`None`) when the values ask for it.
    pub sci_mode: Option<bool>,
}

/// Named settings of [`PrintOptions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// What a fresh process uses.
    Default,
    /// Two digits, two items at each edge.
    Short,
    /// Never summarised.
    Full,
}

impl PrintOptions {
    const DEFAULT: Self =
        Self { precision: 4, threshold: 1000.0, edgeitems: 3, linewidth: 80, sci_mode: None };

    /// Sets everything but `sci_mode`, which profiles leave alone.
    ///
    /// ```
    /// use rustgrad_engine::display::{PrintOptions, Profile};
    /// let mut options = PrintOptions::default();
    /// options.apply(Profile::Short);
    /// assert_eq!((options.precision, options.edgeitems), (2, 2));
    /// ```
    pub fn apply(&mut self, profile: Profile) {
        let (precision, threshold, edgeitems) = match profile {
            Profile::Default => (4, 1000.0, 3),
            Profile::Short => (2, 1000.0, 2),
            Profile::Full => (4, f64::INFINITY, 3),
        };
        let sci_mode = self.sci_mode;
        *self = Self { precision, threshold, edgeitems, linewidth: 80, sci_mode };
    }
}

impl Default for PrintOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

static OPTIONS: RwLock<PrintOptions> = RwLock::new(PrintOptions::DEFAULT);

/// The settings of this process.
///
/// ```
/// assert_eq!(rustgrad_engine::display::print_options().precision, 4);
/// ```
pub fn print_options() -> PrintOptions {
    *OPTIONS.read()
}

/// Changes the settings of this process.
///
/// ```
/// use rustgrad_engine::display::{print_options, set_print_options};
/// set_print_options(print_options());
/// ```
pub fn set_print_options(options: PrintOptions) {
    *OPTIONS.write() = options;
}

/// The elements of a tensor, fetched one by one.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The element type.
    pub dtype: DType,
    /// The sizes of the dimensions.
    pub shape: &'a [usize],
    /// The element at an index with one entry per dimension.
    pub get: &'a dyn Fn(&[usize]) -> Scalar,
}

/// What is written around the elements.
#[derive(Clone, Copy, Debug)]
pub struct Info<'a> {
    /// The name before the opening parenthesis; `tensor` but for subclasses.
    pub name: &'a str,
    /// The module named in `dtype=torch.int32`.
    pub module: &'a str,
    /// The dtype that goes without saying, besides int64 and bool.
    pub default_dtype: DType,
    /// Whether to note `requires_grad=True`, unless there is a `grad_fn`.
    pub requires_grad: bool,
    /// The name of the operation that made the tensor.
    pub grad_fn: Option<&'a str>,
}

impl Default for Info<'_> {
    fn default() -> Self {
        Self {
            name: "tensor",
            module: "torch",
            default_dtype: DType::F32,
            requires_grad: false,
            grad_fn: None,
        }
    }
}

/// The text of a tensor.
///
/// ```
/// use rustgrad_engine::display::{Info, PrintOptions, View, tensor_text};
/// use rustgrad_engine::{DType, Scalar};
/// let get = |i: &[usize]| Scalar::Float([0.5, 1.25][i[0]]);
/// let view = View { dtype: DType::F32, shape: &[2], get: &get };
/// let text = tensor_text(&view, &Info::default(), &PrintOptions::default());
/// assert_eq!(text, "tensor([0.5000, 1.2500])");
/// ```
pub fn tensor_text(view: &View, info: &Info, options: &PrintOptions) -> String {
    let mut text = format!("{}(", info.name);
    let indent = text.chars().count();
    let mut suffixes = Vec::new();
    let dtype_suffix = format!("dtype={}.{}", info.module, view.dtype);
    if view.shape.contains(&0) {
        text.push_str("[]");
        // `[]` alone stands for one dimension of the default dtype.
        if view.shape.len() != 1 {
            suffixes.push(format!("size={}", tuple_text(view.shape)));
        }
        if view.dtype != info.default_dtype {
            suffixes.push(dtype_suffix);
        }
    } else {
        text.push_str(&contents(view, indent, options));
        if options.edgeitems == 0 {
            suffixes.push(format!("size={}", tuple_text(view.shape)));
        }
        if view.dtype != info.default_dtype && !matches!(view.dtype, DType::I64 | DType::Bool) {
            suffixes.push(dtype_suffix);
        }
    }
    if let Some(grad_fn) = info.grad_fn {
        suffixes.push(format!("grad_fn=<{grad_fn}>"));
    } else if info.requires_grad {
        suffixes.push("requires_grad=True".to_string());
    }
    append_suffixes(&mut text, &suffixes, indent, options.linewidth);
    text.push(')');
    text
}

/// The elements of a tensor in brackets, without name and suffixes; later lines are indented.
///
/// ```
/// use rustgrad_engine::display::{PrintOptions, View, contents};
/// use rustgrad_engine::{DType, Scalar};
/// let get = |i: &[usize]| Scalar::Int(i[0] as i64 * 10 + i[1] as i64);
/// let view = View { dtype: DType::I64, shape: &[2, 2], get: &get };
/// assert_eq!(contents(&view, 0, &PrintOptions::default()), "[[ 0,  1],\n [10, 11]]");
/// ```
pub fn contents(view: &View, indent: usize, options: &PrintOptions) -> String {
    if view.shape.contains(&0) {
        return "[]".to_string();
    }
    let numel = view.shape.iter().fold(1.0, |n, &size| n * size as f64);
    let edge = (numel > options.threshold).then_some(options.edgeitems);
    let mut index: Dims = view.shape.iter().map(|_| 0).collect();
    let mut shown = Vec::new();
    collect(view, edge, 0, &mut index, &mut shown);
    let formatter = Formatter::new(view.dtype, &shown, options);
    let mut writer = Writer {
        shape: view.shape,
        edge,
        formatter,
        options,
        items: shown.iter(),
        out: String::new(),
    };
    writer.level(0, indent);
    writer.out
}

/// Whether items of a dimension are left out.
fn has_gap(size: usize, edge: Option<usize>) -> bool {
    edge.is_some_and(|edge| size.saturating_sub(edge) > edge)
}

/// The indices shown of a dimension: those before the gap, then those behind it.
///
/// Without a gap, the second range is empty.
fn shown_indices(size: usize, edge: Option<usize>) -> [Range<usize>; 2] {
    match edge {
        Some(edge) if has_gap(size, Some(edge)) => [0..edge, size - edge..size],
        _ => [0..size, size..size],
    }
}

/// Fetches the elements shown, in row-major order.
fn collect(
    view: &View,
    edge: Option<usize>,
    dim: usize,
    index: &mut [usize],
    shown: &mut Vec<Scalar>,
) {
    if dim == view.shape.len() {
        shown.push((view.get)(index));
        return;
    }
    for i in shown_indices(view.shape[dim], edge).into_iter().flatten() {
        index[dim] = i;
        collect(view, edge, dim + 1, index, shown);
    }
}

struct Writer<'a> {
    shape: &'a [usize],
    edge: Option<usize>,
    formatter: Formatter,
    options: &'a PrintOptions,
    /// The elements still to write.
    items: std::slice::Iter<'a, Scalar>,
    out: String,
}

impl Writer<'_> {
    /// Writes dimension `dim` from where its opening bracket stands, `indent` characters in.
    fn level(&mut self, dim: usize, indent: usize) {
        let Some(&size) = self.shape.get(dim) else {
            self.item();
            return;
        };
        self.out.push('[');
        if dim + 1 == self.shape.len() {
            self.row(size, indent);
        } else {
            let separator =
                format!(",{}{}", "\n".repeat(self.shape.len() - dim - 1), " ".repeat(indent + 1));
            let [head, tail] = shown_indices(size, self.edge);
            let before = head.len();
            let slots = before + tail.len() + usize::from(has_gap(size, self.edge));
            for slot in 0..slots {
                if slot > 0 {
                    self.out.push_str(&separator);
                }
                if slot == before {
                    self.out.push_str("...");
                } else {
                    self.level(dim + 1, indent + 1);
                }
            }
        }
        self.out.push(']');
    }

    /// Writes the innermost dimension, wrapped at the line width.
    fn row(&mut self, size: usize, indent: usize) {
        let [head, tail] = shown_indices(size, self.edge);
        let before = head.len();
        let slots = before + tail.len() + usize::from(has_gap(size, self.edge));
        let per_line =
            (self.options.linewidth.saturating_sub(indent) / (self.formatter.width() + 2)).max(1);
        for slot in 0..slots {
            if slot > 0 {
                self.out.push(',');
                if slot % per_line == 0 {
                    self.out.push('\n');
                    self.out.push_str(&" ".repeat(indent + 1));
                } else {
                    self.out.push(' ');
                }
            }
            if slot == before {
                // Torch sets the gap off by a space only where items surround it.
                self.out.push_str(if before == 0 { "..." } else { " ..." });
            } else {
                self.item();
            }
        }
    }

    fn item(&mut self) {
        if let Some(&item) = self.items.next() {
            self.formatter.write(item, &mut self.out);
        }
    }
}

/// Appends `, suffix` each, on a new line where the last would grow too long.
fn append_suffixes(text: &mut String, suffixes: &[String], indent: usize, linewidth: usize) {
    // Torch counts two characters more than the line has, which decides close cases.
    let mut line = match text.rfind('\n') {
        Some(at) => text[at..].chars().count() + 1,
        None => text.chars().count() + 2,
    };
    for suffix in suffixes {
        let length = suffix.chars().count();
        if line + length + 2 > linewidth {
            text.push_str(",\n");
            text.push_str(&" ".repeat(indent));
            line = indent + length;
        } else {
            text.push_str(", ");
            line += length + 2;
        }
        text.push_str(suffix);
    }
}

#[cfg(test)]
#[path = "../../tests/unit/display.rs"]
mod tests;
