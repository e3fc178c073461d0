//! torch's names of what a node saved (`_saved_self`, `_saved_result`, ...).

use super::Op;
use super::binary::Binary;
use super::unary::Unary;
use crate::dtype::{DType, Scalar};
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
    ("AddmmBackward0", &["", "mat1", "mat2"], "result"),
    ("AddmvBackward0", &["", "mat", "vec"], "result"),
    ("AddrBackward0", &["", "vec1", "vec2"], "result"),
    ("AddbmmBackward0", &["", "batch1", "batch2"], "result"),
    ("BaddbmmBackward0", &["", "batch1", "batch2"], "result"),
    ("AddcmulBackward0", &["", "tensor1", "tensor2"], "result"),
    ("AddcdivBackward0", &["", "tensor1", "tensor2"], "result"),
    ("LerpBackward1", &["self", "end", "weight"], "result"),
    ("NativeLayerNormBackward0", &["input", "weight", "bias"], "result"),
    ("NativeBatchNormBackward0", &["input", "weight", "bias"], "result"),
    ("NativeGroupNormBackward0", &["input", "weight", "bias"], "result"),
    ("ConvolutionBackward0", &["input", "weight"], "result"),
    ("PreluKernelBackward0", &["self", "weight"], "result"),
    ("IndexAddBackward0", &["self", "source"], ""),
    ("IndexCopyBackward0", &["self", "source"], ""),
    ("MseLossBackward0", &["self", "target"], ""),
    ("SmoothL1LossBackward0", &["self", "target"], ""),
    ("HuberLossBackward0", &["self", "target"], ""),
    ("SoftMarginLossBackward0", &["self", "target"], ""),
    ("BinaryCrossEntropyBackward0", &["self", "target"], ""),
    ("BinaryCrossEntropyWithLogitsBackward0", &["self", "target"], ""),
    ("CtcLossBackward0", &["log_probs"], "result0"),
    ("ScaledDotProductFlashAttentionForCpuBackward0", &["query", "key", "value"], "output"),
    ("VarBackward0", &["self"], ""),
    ("VarMeanBackward0", &["self"], ""),
    ("StdMeanBackward0", &["self"], "result0"),
];

/// The names of what an operation saved for its own use.
const PRIVATE: &[(&str, &[&str])] = &[
    ("WhereBackward0", &["condition"]),
    ("GatherBackward0", &["index"]),
    ("ScatterBackward0", &["index"]),
    ("ScatterAddBackward0", &["index"]),
    ("IndexSelectBackward0", &["index"]),
    ("IndexAddBackward0", &["index"]),
    ("IndexCopyBackward0", &["index"]),
    ("IndexFillBackward0", &["index"]),
    ("ScatterReduceBackward0", &["index", "self", "src", "result"]),
    ("MedianBackward1", &["indices"]),
    ("NanmedianBackward1", &["indices"]),
    ("KthvalueBackward0", &["indices"]),
    ("ModeBackward0", &["indices"]),
    ("CummaxBackward0", &["indices"]),
    ("CumminBackward0", &["indices"]),
    ("MaxPool2DWithIndicesBackward0", &["result1"]),
    ("IndexBackward0", &[]),
    ("IndexPutBackward0", &[]),
    ("MaxBackward0", &["indices"]),
    ("MinBackward0", &["indices"]),
    ("SortBackward0", &["indices"]),
    ("TopkBackward0", &["indices"]),
    ("MaskedFillBackward0", &["mask"]),
    ("MaskedFillBackward1", &["mask"]),
    ("EmbeddingBackward0", &["indices"]),
    ("NllLossBackward0", &["target", "", "weight"]),
    ("CtcLossBackward0", &["targets", "result1"]),
    ("NativeLayerNormBackward0", &["result1", "result2"]),
    ("NativeBatchNormBackward0", &["result1", "result2"]),
    ("NativeGroupNormBackward0", &["result1", "result2"]),
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
    /// A set of dimensions, by bits.
    Dims(u64),
    /// A switch.
    Bool(bool),
    /// The name of a way to do it.
    Text(&'static str),
    /// Nothing, for what is no tensor.
    Nothing,
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
    "MedianBackward1",
    "NanmedianBackward1",
    "KthvalueBackward0",
    "ModeBackward0",
    "UnfoldBackward0",
];

/// Nodes of reductions over everything as over some dimensions.
const WHOLE: &[&str] = &[
    "AmaxBackward0",
    "AminBackward0",
    "VarBackward0",
    "StdBackward0",
    "VarMeanBackward0",
    "StdMeanBackward0",
    "LinalgVectorNormBackward0",
];

/// Nodes of reductions that may keep the dimension.
const KEEPS: &[&str] = &[
    "SumBackward1",
    "MeanBackward1",
    "ProdBackward1",
    "AmaxBackward0",
    "AminBackward0",
    "VarBackward0",
    "StdBackward0",
    "VarMeanBackward0",
    "StdMeanBackward0",
    "LogsumexpBackward0",
    "LinalgVectorNormBackward0",
    "MaxBackward0",
    "MinBackward0",
    "MedianBackward1",
    "NanmedianBackward1",
    "KthvalueBackward0",
    "ModeBackward0",
];

impl Node {
    /// What the node saved under torch's name (without `_saved_`); `None` if there is no such name.
    pub fn saved_value(&self, name: &str) -> Option<SavedValue> {
        let class = self.name();
        if let Some(found) = self.parameter(class, name) {
            return Some(found);
        }
        if name == "self_sym_sizes" && SIZED.contains(&class) {
            return Some(SavedValue::Sizes(self.input_shape()?));
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
                    row.map_or("self", |row| row.1.get(private - 1).copied().unwrap_or(""))
                }
            };
            if found == name {
                return Some(SavedValue::Place(place));
            }
        }
        match &self.op {
            Op::Scalar(Binary::Mul, _, s) | Op::Scalar(Binary::Div, false, s)
                if name == "other" =>
            {
                Some(SavedValue::Number(Scalar::Float(*s)))
            }
            Op::Scalar(Binary::Pow, false, s) | Op::Unary(Unary::PowScalar, [s, _])
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

    /// The shape of the first input, as far as it has a node.
    fn input_shape(&self) -> Option<Dims> {
        let edge = self.edges().first()?;
        Some(edge.node.as_ref()?.output(edge.out).0)
    }

    /// What the operation was asked for, under torch's name.
    fn parameter(&self, class: &str, name: &str) -> Option<SavedValue> {
        if name == "keepdim" && KEEPS.contains(&class) {
            return Some(SavedValue::Bool(self.output(0).0.len() == self.input_shape()?.len()));
        }
        if name == "alpha" && class == "RsubBackward1" {
            return Some(SavedValue::Int(1));
        }
        let number = |x: f64| SavedValue::Number(Scalar::Float(x));
        match &self.op {
            Op::Rule(rule) => match rule.attribute(name)? {
                // All dimensions: none was named.
                SavedValue::Dims(_)
                    if !self.input_shape().is_some_and(|shape| shape.is_empty())
                        && self.output(0).0.is_empty()
                        && WHOLE.contains(&class) =>
                {
                    let none = SavedValue::Sizes(Dims::new());
                    Some(if class.starts_with('A') { none } else { SavedValue::Nothing })
                }
                found => Some(found),
            },
            Op::Unary(Unary::Gelu, _) if name == "approximate" => Some(SavedValue::Text("none")),
            Op::Unary(Unary::GeluTanh, _) if name == "approximate" => {
                Some(SavedValue::Text("tanh"))
            }
            Op::Unary(Unary::Relu6, _) => match name {
                "min_val" => Some(number(0.0)),
                "max_val" => Some(number(6.0)),
                _ => None,
            },
            Op::Unary(Unary::Threshold, _) if name == "value" => None,
            Op::Unary(Unary::Selu, _) => match name {
                "alpha" => Some(number(1.673_263_242_354_377_2)),
                "scale" => Some(number(1.050_700_987_355_480_5)),
                "input_scale" => Some(number(1.0)),
                _ => None,
            },
            Op::Unary(Unary::Elu, _) if name == "scale" || name == "input_scale" => {
                Some(number(1.0))
            }
            Op::Unary(kind, p) => {
                let at = kind.params().iter().position(|row| row.0 == name)?;
                // An absent limit is infinite, an absent `eps` negative.
                let absent = p[at].is_infinite() || *kind == Unary::Logit && p[at] < 0.0;
                Some(if absent { SavedValue::Nothing } else { number(p[at]) })
            }
            Op::Scalar(kind, ..) | Op::Binary(kind, _) if name == "rounding_mode" => match kind {
                Binary::FloorDivide => Some(SavedValue::Text("floor")),
                Binary::DivTrunc => Some(SavedValue::Text("trunc")),
                _ => None,
            },
            Op::Scalar(Binary::Pow, true, base) if name == "self" => Some(number(*base)),
            Op::Binary(Binary::AddCMul | Binary::AddCDiv, value) if name == "value" => {
                Some(number(*value))
            }
            _ => None,
        }
    }

    /// The names under which something is saved, for listing.
    pub fn saved_names(&self) -> Vec<&'static str> {
        const ALL: &[&str] = &[
            "accumulate",
            "alpha",
            "approximate",
            "batch1",
            "batch2",
            "beta",
            "bias",
            "condition",
            "correction",
            "diagonal",
            "dim",
            "dim0",
            "dim1",
            "dim2",
            "dimension",
            "dims",
            "end",
            "eps",
            "exponent",
            "ignore_index",
            "include_self",
            "index",
            "indices",
            "input",
            "input_scale",
            "keepdim",
            "lambd",
            "mask",
            "mat",
            "mat1",
            "mat2",
            "max",
            "max_val",
            "min",
            "min_val",
            "n",
            "negative_slope",
            "normalized_shape",
            "offset",
            "ord",
            "other",
            "pad",
            "padding_idx",
            "reduce",
            "result",
            "result0",
            "result1",
            "result2",
            "rounding_mode",
            "scale",
            "scale_grad_by_freq",
            "self",
            "self_sym_numel",
            "self_sym_sizes",
            "size",
            "sparse",
            "sparse_grad",
            "split_size",
            "split_sizes",
            "src",
            "start",
            "step",
            "storage_offset",
            "stride",
            "target",
            "tensor",
            "tensor1",
            "tensor2",
            "threshold",
            "value",
            "vec",
            "vec1",
            "vec2",
            "weight",
            "weight_sym_argsize_0",
        ];
        ALL.iter().copied().filter(|name| self.saved_value(name).is_some()).collect()
    }

    /// A saved number as a tensor, as torch shows factors that were numbers.
    ///
    /// # Errors
    /// If memory is short.
    pub fn number_tensor(&self, number: Scalar) -> Result<Tensor> {
        let whole = number.to_f64().fract() == 0.0 && number.to_f64().abs() < 9e15;
        let dtype = if whole { DType::I64 } else { DType::F64 };
        Ok(Tensor::from_scalar(number, dtype)?.into_number())
    }
}
