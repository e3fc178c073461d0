"""Modules as torch has them: registration, names, hooks, state, printing, initial values."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from typing import Any

import pytest
from oracle import T

nn: Any = T.nn


class Model(T.nn.Module):
    """A model with parts of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(4, 2, bias=False))
        self.scale = nn.Parameter(T.ones(2))
        self.register_buffer("count", T.zeros(1))
        self.register_buffer("scratch", T.zeros(1), persistent=False)

    def forward(self, x: Any) -> Any:
        return self.rest(self.first(x)) * self.scale


def test_names_come_in_the_order_of_assignment() -> None:
    model = Model()
    names = ["scale", "first.weight", "first.bias", "rest.1.weight"]
    assert [name for name, _ in model.named_parameters()] == names
    assert [name for name, _ in model.named_buffers()] == ["count", "scratch"]
    assert [name for name, _ in model.named_modules()] == ["", "first", "rest", "rest.0", "rest.1"]
    assert [name for name, _ in model.named_children()] == ["first", "rest"]
    assert [name for name, _ in model.named_parameters(prefix="m", recurse=False)] == ["m.scale"]


def test_a_parameter_shared_by_two_modules_is_listed_once() -> None:
    model = Model()
    model.again = model.first
    assert len(list(model.parameters())) == 4
    assert len(list(model.named_parameters(remove_duplicate=False))) == 6


def test_attributes_are_registered_replaced_and_deleted() -> None:
    model = Model()
    with pytest.raises(TypeError, match=r"cannot assign 'torch\.FloatTensor' as parameter 'scale'"):
        model.scale = T.ones(2)
    model.scale = None
    assert model.scale is None
    assert "scale" not in dict(model.named_parameters())
    model.first = None
    assert [name for name, _ in model.named_children()] == ["rest"]
    with pytest.raises(TypeError, match="as child module 'first'"):
        model.first = 3
    model.count = T.ones(1)
    assert model._buffers["count"] is model.count
    with pytest.raises(TypeError, match="as buffer 'count'"):
        model.count = 1
    del model.count
    with pytest.raises(AttributeError, match="'Model' object has no attribute 'count'"):
        model.count
    model.plain = 3
    model.plain = nn.Parameter(T.ones(1))
    assert "plain" not in model.__dict__
    assert "plain" in model._parameters


def test_assignment_before_init_is_refused() -> None:
    class Early(T.nn.Module):
        def __init__(self) -> None:
            self.part = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"cannot assign module before Module.__init__\(\) call"):
        Early()


@pytest.mark.parametrize("name", ["a.b", "", "forward"])
def test_names_that_cannot_be(name: str) -> None:
    model = Model()
    attempts: list[Any] = [
        lambda: model.register_buffer(name, T.ones(1)),
        lambda: model.register_parameter(name, nn.Parameter(T.ones(1))),
        lambda: model.add_module(name, nn.ReLU()),
    ]
    for register in attempts:
        with pytest.raises(KeyError):
            register()


def test_a_parameter_with_a_history_is_refused() -> None:
    model = Model()
    history = nn.Parameter(T.ones(2)) * 2
    with pytest.raises(TypeError):
        model.register_parameter("new", history)


def test_parameters_are_leaves_that_share_memory() -> None:
    data = T.ones(2)
    parameter = nn.Parameter(data)
    assert isinstance(parameter, T.Tensor)
    assert isinstance(parameter, nn.Parameter)
    assert not isinstance(data, nn.Parameter)
    assert parameter.requires_grad
    assert parameter.is_leaf
    with T.no_grad():
        parameter.add_(1)
    assert data.tolist() == [2, 2]
    assert not nn.Parameter(T.ones(1, dtype=T.int64), requires_grad=False).requires_grad
    assert repr(nn.Parameter(T.ones(1))) == "Parameter containing:\ntensor([1.], requires_grad=True)"
    assert type(parameter * 2) is T.Tensor
    assert type(parameter.data) is T.Tensor


def test_parameters_are_copied_and_pickled_as_parameters() -> None:
    parameter = nn.Parameter(T.ones(2), requires_grad=False)
    for twin in (copy.deepcopy(parameter), pickle.loads(pickle.dumps(parameter))):
        assert type(twin) is nn.Parameter
        assert twin.tolist() == [1, 1]
        assert not twin.requires_grad
        assert twin.data_ptr() != parameter.data_ptr()


def test_models_are_copied_and_pickled() -> None:
    T.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.BatchNorm1d(4))
    x = T.randn(5, 3)
    expected = model(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert T.equal(twin(x), expected)
        assert twin[0].weight is not model[0].weight


def test_printing() -> None:
    assert repr(Model()) == (
        "Model(\n  (first): Linear(in_features=3, out_features=4, bias=True)\n  (rest): Sequential(\n    (0): ReLU()\n"
        "    (1): Linear(in_features=4, out_features=2, bias=False)\n  )\n)"
    )
    assert repr(nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Tanh()])) == (
        "ModuleList(\n  (0-1): 2 x ReLU()\n  (2): Tanh()\n)"
    )


PRINTED = {
    "nn.Conv2d(2, 4, 3, stride=2, padding=1, dilation=2, groups=2, bias=False)": "Conv2d(2, 4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), dilation=(2, 2), groups=2, bias=False)",
    "nn.Conv1d(2, 4, (3,), padding='same', padding_mode='circular')": "Conv1d(2, 4, kernel_size=(3,), stride=(1,), padding=same, padding_mode=circular)",
    "nn.ConvTranspose2d(2, 4, 3, output_padding=0)": "ConvTranspose2d(2, 4, kernel_size=(3, 3), stride=(1, 1))",
    "nn.AvgPool2d(2)": "AvgPool2d(kernel_size=2, stride=2, padding=0)",
    "nn.AvgPool1d(2, padding=1)": "AvgPool1d(kernel_size=(2,), stride=(2,), padding=(1,))",
    "nn.MaxPool2d(3, 2, ceil_mode=True)": "MaxPool2d(kernel_size=3, stride=2, padding=0, dilation=1, ceil_mode=True)",
    "nn.AdaptiveAvgPool2d((1, None))": "AdaptiveAvgPool2d(output_size=(1, None))",
    "nn.Flatten()": "Flatten(start_dim=1, end_dim=-1)",
    "nn.Unflatten(1, (2, 3))": "Unflatten(dim=1, unflattened_size=(2, 3))",
    "nn.Dropout(0.25)": "Dropout(p=0.25, inplace=False)",
    "nn.LayerNorm([2, 3], eps=1e-6)": "LayerNorm((2, 3), eps=1e-06, elementwise_affine=True, bias=True)",
    "nn.RMSNorm(4)": "RMSNorm((4,), eps=None, elementwise_affine=True)",
    "nn.GroupNorm(2, 4)": "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)",
    "nn.BatchNorm2d(3, momentum=None)": "BatchNorm2d(3, eps=1e-05, momentum=None, affine=True, bias=True, track_running_stats=True)",
    "nn.Embedding(10, 3, padding_idx=-1)": "Embedding(10, 3, padding_idx=9)",
    "nn.GELU('tanh')": "GELU(approximate='tanh')",
    "nn.LeakyReLU(0.2)": "LeakyReLU(negative_slope=0.2)",
    "nn.ELU(inplace=True)": "ELU(alpha=1.0, inplace=True)",
    "nn.Softplus(2)": "Softplus(beta=2, threshold=20.0)",
    "nn.Softmax(dim=1)": "Softmax(dim=1)",
    "nn.Hardtanh()": "Hardtanh(min_val=-1.0, max_val=1.0)",
    "nn.SiLU()": "SiLU()",
    "nn.Bilinear(2, 3, 4)": "Bilinear(in1_features=2, in2_features=3, out_features=4, bias=True)",
    "nn.Identity(3)": "Identity()",
    "nn.PReLU()": "PReLU(num_parameters=1)",
    "nn.CrossEntropyLoss()": "CrossEntropyLoss()",
    "nn.ZeroPad2d((1, 0, 2, 0))": "ZeroPad2d((1, 0, 2, 0))",
}


@pytest.mark.parametrize("text", list(PRINTED))
def test_layers_print_as_torch_prints_them(text: str) -> None:
    assert repr(eval(text)) == PRINTED[text]


def test_state_goes_out_and_in() -> None:
    model, other = Model(), Model()
    state = model.state_dict()
    assert list(state) == ["scale", "count", "first.weight", "first.bias", "rest.1.weight"]
    assert not state["scale"].requires_grad
    assert state["scale"].data_ptr() == model.scale.data_ptr()
    before = other.first.weight
    assert repr(other.load_state_dict(state)) == "<All keys matched successfully>"
    assert other.first.weight is before
    assert T.equal(other.first.weight, model.first.weight)
    assert other.first.weight.data_ptr() != model.first.weight.data_ptr()


def test_state_that_does_not_fit() -> None:
    model = Model()
    state = model.state_dict()
    del state["scale"]
    state["first.extra"] = T.ones(1)
    result = model.load_state_dict(state, strict=False)
    assert result.missing_keys == ["scale"]
    assert result.unexpected_keys == ["first.extra"]
    with pytest.raises(RuntimeError) as caught:
        model.load_state_dict(state)
    assert str(caught.value) == (
        'Error(s) in loading state_dict for Model:\n\tMissing key(s) in state_dict: "scale". \n\t'
        'Unexpected key(s) in state_dict: "first.extra". '
    )
    with pytest.raises(RuntimeError, match=r"size mismatch for scale: copying a param with shape torch.Size\(\[3\]\)"):
        model.load_state_dict({"scale": T.ones(3)}, strict=False)
    with pytest.raises(TypeError):
        model.load_state_dict([1])


def test_state_can_be_assigned() -> None:
    model = Model()
    state = {"scale": T.full((2,), 3.0)}
    model.load_state_dict(state, strict=False, assign=True)
    assert isinstance(model.scale, nn.Parameter)
    assert model.scale.data_ptr() == state["scale"].data_ptr()
    assert model.scale.requires_grad


def test_extra_state() -> None:
    class Extra(T.nn.Module):
        value = 1

        def get_extra_state(self) -> Any:
            return self.value

        def set_extra_state(self, state: Any) -> None:
            self.value = state

    state = nn.Sequential(Extra()).state_dict()
    assert dict(state) == {"0._extra_state": 1}
    state["0._extra_state"] = 5
    fresh = nn.Sequential(Extra())
    fresh.load_state_dict(state)
    assert fresh[0].value == 5


def test_forward_hooks_see_and_replace() -> None:
    layer = nn.Linear(1, 1, bias=False)
    with T.no_grad():
        layer.weight.fill_(2.0)
    seen: list[Any] = []
    x = T.ones(1)
    handles = [
        layer.register_forward_pre_hook(lambda module, args: (args[0] + 1,)),
        layer.register_forward_hook(lambda module, args, output: seen.append((args[0].item(), output.item()))),
        layer.register_forward_hook(lambda module, args, output: output * 10),
        layer.register_forward_hook(lambda module, args, kwargs, output: seen.append(kwargs), with_kwargs=True),
    ]
    assert layer(x).item() == 40
    assert seen == [(2.0, 4.0), {}]
    for handle in handles:
        handle.remove()
    assert layer(x).item() == 2


def test_full_backward_hooks_see_and_replace_gradients() -> None:
    layer = nn.Linear(2, 1, bias=False)
    seen: list[Any] = []

    def hook(module: Any, grad_input: Any, grad_output: Any) -> Any:
        seen.append((grad_input[0].clone(), grad_output[0].clone()))
        return (grad_input[0] * 10,)

    layer.register_full_backward_pre_hook(lambda module, grad_output: (grad_output[0] * 2,))
    handle = layer.register_full_backward_hook(hook)
    x = T.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    (grad_input, grad_output), *others = seen
    assert not others
    assert grad_output.tolist() == [[2.0]]
    assert T.equal(grad_input, 2 * layer.weight.detach())
    assert T.equal(x.grad, 20 * layer.weight.detach())
    handle.remove()
    layer(x).sum().backward()
    assert len(seen) == 1


def test_modes_and_flags_go_down() -> None:
    model = Model()
    assert model.eval() is model
    assert not model.rest[1].training
    model.train()
    assert model.first.training
    with pytest.raises(ValueError, match="training mode is expected to be boolean"):
        model.train(1)
    model.requires_grad_(False)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_casting_keeps_parameters_and_leaves_integers() -> None:
    model = Model()
    model.register_buffer("index", T.arange(3))
    scale = model.scale
    model.scale.grad = T.ones(2)
    assert model.double() is model
    assert model.scale is scale
    assert model.scale.dtype == T.float64
    assert model.scale.grad.dtype == T.float64
    assert model.index.dtype == T.int64
    assert model(T.ones(1, 3, dtype=T.float64)).dtype == T.float64
    assert model.to(T.float32).count.dtype == T.float32
    with pytest.raises(TypeError, match="only accepts floating point or complex dtypes"):
        model.to(T.int64)


def test_gradients_are_dropped_or_zeroed() -> None:
    model = Model()
    model(T.ones(2, 3)).sum().backward()
    grad = model.scale.grad
    model.zero_grad(set_to_none=False)
    assert model.scale.grad is grad
    assert grad.tolist() == [0, 0]
    model.zero_grad()
    assert model.scale.grad is None


def test_looking_up_by_path() -> None:
    model = Model()
    assert model.get_submodule("rest.1") is model.rest[1]
    assert model.get_submodule("") is model
    assert model.get_parameter("first.bias") is model.first.bias
    assert model.get_buffer("count") is model.count
    attempts: list[Any] = [
        lambda: model.get_submodule("rest.7"),
        lambda: model.get_parameter("count"),
        lambda: model.get_buffer("scale"),
        lambda: model.get_submodule("scale"),
    ]
    for wrong in attempts:
        with pytest.raises(AttributeError):
            wrong()


def test_sequential_is_a_list() -> None:
    layers = [nn.Linear(1, 1), nn.ReLU(), nn.Tanh()]
    model = nn.Sequential(*layers)
    assert len(model) == 3
    assert model[-1] is layers[2]
    assert list(model[1:]) == layers[1:]
    assert [name for name, _ in model[1:].named_children()] == ["1", "2"]
    model.append(nn.Sigmoid()).insert(0, nn.Identity())
    assert [type(part).__name__ for part in model] == ["Identity", "Linear", "ReLU", "Tanh", "Sigmoid"]
    del model[1]
    assert list(model._modules) == ["0", "1", "2", "3"]
    model[0] = nn.ReLU()
    assert isinstance(model[0], nn.ReLU)
    assert len(model + nn.Sequential(nn.ReLU())) == 5
    assert isinstance(model.pop(0), nn.ReLU)
    with pytest.raises(IndexError):
        model[10]
    named = nn.Sequential(OrderedDict([("a", nn.ReLU()), ("b", nn.Tanh())]))
    assert isinstance(named.b, nn.Tanh)


def test_lists_and_dictionaries_of_modules_and_parameters() -> None:
    modules = nn.ModuleList([nn.ReLU()])
    modules.extend([nn.Tanh()]).append(nn.Linear(1, 2))
    assert len(list(modules.parameters())) == 2
    assert isinstance(modules[1:], nn.ModuleList)
    with pytest.raises(NotImplementedError):
        modules(1)
    choices = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.ReLU()})
    assert list(choices) == ["a", "b"]
    assert "a" in choices
    del choices["a"]
    assert list(choices.keys()) == ["b"]
    parameters = nn.ParameterList([T.ones(1), T.zeros(2)])
    parameters += [nn.Parameter(T.ones(3))]
    assert [parameter.numel() for parameter in parameters] == [1, 2, 3]
    assert all(isinstance(parameter, nn.Parameter) for parameter in parameters)
    assert [name for name, _ in parameters.named_parameters()] == ["0", "1", "2"]
    table = nn.ParameterDict({"w": T.ones(2)})
    assert table["w"].requires_grad
    assert list(table.keys()) == ["w"]


def test_forward_must_be_defined() -> None:
    with pytest.raises(NotImplementedError, match=r'Module \[Module\] is missing the required "forward" function'):
        nn.Module()(1)


INITIAL = {
    "nn.Linear(2, 2)": [
        [-0.005293981172144413, 0.37932288646698, -0.5819807648658752, -0.5203874707221985],
        [-0.27234524488449097, 0.1896158903837204],
    ],
    "nn.Conv2d(1, 1, 2)": [
        [-0.009906589984893799, 0.39644473791122437, -0.04437202215194702, 0.1323062777519226],
        [-0.15110653638839722],
    ],
    "nn.Conv1d(1, 2, 1)": [[-0.1965653896331787, -0.9553484916687012], [-0.6622821092605591, -0.41222310066223145]],
    "nn.ConvTranspose2d(1, 1, 2)": [
        [0.018521785736083984, 0.19766759872436523, 0.30001139640808105, -0.3389705419540405],
        [-0.21773141622543335],
    ],
    "nn.Embedding(3, 1, padding_idx=1)": [[-0.5966353416442871, 0.0, -0.8566746115684509]],
    "nn.Bilinear(1, 2, 1)": [[-0.6295379400253296, -0.25316524505615234], [-0.38979995250701904]],
}


def test_initial_values_are_torchs_to_the_bit() -> None:
    T.manual_seed(0)
    for text, expected in INITIAL.items():
        assert [parameter.flatten().tolist() for parameter in eval(text).parameters()] == expected


def test_vectors_of_parameters() -> None:
    model = Model()
    vector = nn.utils.parameters_to_vector(model.parameters())
    assert vector.shape == (2 + 12 + 4 + 8,)
    nn.utils.vector_to_parameters(T.zeros(26), model.parameters())
    assert all(not parameter.any() for parameter in model.parameters())


def test_clipping() -> None:
    parameter = nn.Parameter(T.zeros(2))
    parameter.grad = T.tensor([3.0, 4.0])
    assert nn.utils.clip_grad_norm_([parameter], 1.0).item() == 5.0
    assert T.allclose(parameter.grad, T.tensor([0.6, 0.8]))
    nn.utils.clip_grad_value_(parameter, 0.7)
    assert T.allclose(parameter.grad, T.tensor([0.6, 0.7]))
    parameter.grad = T.tensor([float("inf"), 0.0])
    with pytest.raises(RuntimeError, match="non-finite"):
        nn.utils.clip_grad_norm_([parameter], 1.0, error_if_nonfinite=True)
