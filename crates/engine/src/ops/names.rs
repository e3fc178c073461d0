//! torch's names of what a node saved (`_saved_self`, `_saved_result`, ...).

use super::Op;
use super::binary::Binary;
use crate::dtype::Scalar;
use crate::error::Result;
use crate::graph::{Node, SavedRole};
use crate::shape::Dims;
use crate::tensor::Tensor;

/// The names of inputs and of the output, where they are not `self`, `other` and `result`.
const NAMES: &[(&str, &[&str], &str)] = &[
    ("PowBackward1", &["self", "exponent"], "result"),
    ("MmBackward0", &["self", "mat2"], "result"),
    ("BmmBackward0", &["self", "mat2"], "result"),
    ("MvBackward0", &["self", "vec"], "result"),
    ("DotBackward0", &["self", "tensor"], "result"),
    ("AddmmBackward0", &["self", "mat1", "mat2"], "result"),
    ("BaddbmmBackward0", &["self", "batch1", "batch2"], "result"),
    ("AddcmulBackward0", &["self", "tensor1", "tensor2"], "result"),
    ("AddcdivBackward0", &["self", "tensor1", "tensor2"], "result"),
    ("LerpBackward0", &["self", "end", "weight"], "result"),
    ("LerpBackward1", &["self", "end", "weight"], "result"),
    ("NativeLayerNormBackward0", &["input", "weight", "bias"], "result"),
    ("ConvolutionBackward0", &["input", "weight", "bias"], "result"),
];

/// The names of what an operation saved for its own use.
const PRIVATE: &[(&str, &[&str])] = &[
    ("WhereBackward0", &["condition"]),
    ("GatherBackward0", &["index"]),
    ("ScatterBackward0", &["index"]),
    ("ScatterAddBackward0", &["index"]),
    ("IndexSelectBackward0", &["index"]),
    ("IndexAddBackward0", &["index"]),
    ("MaxBackward0", &["indices"]),
    ("MinBackward0", &["indices"]),
    ("SortBackward0", &["indices"]),
    ("TopkBackward0", &["indices"]),
    ("MaskedFillBackward0", &["mask"]),
    ("EmbeddingBackward0", &["indices"]),
    ("NllLossBackward0", &["target", "weight"]),
    ("NativeLayerNormBackward0", &["result1", "result2"]),
];

/// A value that a node saved, by name.
pub enum SavedValue {
    /// The saved tensor at this place.
    Place(usize),
    /// The operation could have saved it, but no gradient needs it.
    Absent,
    /// A number.
    Number(Scalar),
    /// A dimension, or another whole number that is no factor.
    Int(i64),
    /// Sizes or dimensions.
    Sizes(Dims),
    /// A list of saved tensors, some absent.
    Places(Vec<Option<usize>>),
}

/// Nodes that keep the sizes of their input.
const SIZED: &[&str] = &[
    "SelectBackward0",
    "SliceBackward0",
    "ViewBackward0",
    "ReshapeAliasBackward0",
    "UnsafeViewBackward0",
    "ExpandBackward0",
    "SqueezeBackward0",
    "SqueezeBackward1",
    "SqueezeBackward2",
    "DiagonalBackward0",
    "RepeatBackward0",
    "IndexSelectBackward0",
    "SplitBackward0",
    "SplitWithSizesBackward0",
    "SortBackward0",
    "TopkBackward0",
    "MaxBackward0",
    "MinBackward0",
];

impl Node {
    /// What the node saved under torch's name (without `_saved_`); `None` if there is no such name.
    pub fn saved_value(&self, name: &str) -> Option<SavedValue> {
        let class = self.name();
        if let Op::Rule(rule) = &self.op {
            if let Some(found) = rule.attribute(name) {
                return Some(found);
            }
        }
        if name == "self_sym_sizes" && SIZED.contains(&class) {
            let edge = self.edges().first()?;
            return Some(SavedValue::Sizes(edge.node.as_ref()?.output(edge.out).0));
        }
        let inputs = NAMES.iter().find(|row| row.0 == class);
        let input_name = |i: usize| match inputs {
            Some(row) => row.1.get(i).copied().unwrap_or("other"),
            None => ["self", "other", "third"].get(i).copied().unwrap_or("other"),
        };
        let mut private = 0;
        for (place, role) in self.saved_roles().into_iter().enumerate() {
            let Some(role) = role else { continue };
            let found = match role {
                SavedRole::Input(i) => input_name(i),
                SavedRole::Output(_) => inputs.map_or("result", |row| row.2),
                SavedRole::Private => {
                    private += 1;
                    let row = PRIVATE.iter().find(|row| row.0 == class);
                    row.and_then(|row| row.1.get(private - 1)).copied().unwrap_or("self")
                }
            };
            if found == name {
                return Some(SavedValue::Place(place));
            }
        }
        match &self.op {
            Op::Scalar(Binary::Mul | Binary::Div, false, s) if name == "other" => {
                Some(SavedValue::Number(Scalar::Float(*s)))
            }
            Op::Scalar(Binary::Pow, false, s)
            | Op::Unary(super::unary::Unary::PowScalar, [s, _])
                if name == "exponent" =>
            {
                Some(SavedValue::Number(Scalar::Float(*s)))
            }
            Op::Scalar(Binary::Mul | Binary::Div, ..) if name == "self" || name == "other" => {
                Some(SavedValue::Absent)
            }
            Op::Scalar(Binary::Add | Binary::Sub, false, _) if name == "alpha" => {
                Some(SavedValue::Number(Scalar::Int(1)))
            }
            Op::Binary(Binary::Add | Binary::Sub, alpha) if name == "alpha" => {
                Some(SavedValue::Number(Scalar::Float(*alpha)))
            }
            Op::Binary(kind, _) if !matches!(kind, Binary::Add | Binary::Sub) => {
                let known = (0..kind.inputs()).any(|i| input_name(i) == name);
                known.then_some(SavedValue::Absent)
            }
            Op::Rule(_) => {
                let known = inputs.is_some_and(|row| row.1.contains(&name));
                known.then_some(SavedValue::Absent)
            }
            _ => None,
        }
    }

    /// The names under which something is saved, for listing.
    pub fn saved_names(&self) -> Vec<&'static str> {
        const ALL: &[&str] = &[
            "alpha",
            "bias",
            "condition",
            "dim",
            "end",
            "exponent",
            "index",
            "indices",
            "input",
            "mask",
            "mat1",
            "mat2",
            "other",
            "result",
            "result1",
            "result2",
            "self",
            "self_sym_numel",
            "self_sym_sizes",
            "target",
            "tensor",
            "tensor1",
            "tensor2",
            "vec",
            "weight",
        ];
        ALL.iter().copied().filter(|name| self.saved_value(name).is_some()).collect()
    }

    /// A saved number as a tensor, as torch shows factors that were numbers.
    ///
    /// # Errors
    /// If memory is short.
    pub fn number_tensor(&self, number: Scalar) -> Result<Tensor> {
        Ok(Tensor::from_scalar(number, self.output(0).1)?.into_number())
    }
}
