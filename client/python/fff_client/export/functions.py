"""Functions and methods of tensors as layers of config.json."""

from typing import Optional

import torch

from . import modules
from .graph import Match
from .trace import name_of

_NOTHING = {"contiguous", "clone", "detach", "alias"}
_CASTS = {"float", "to", "type", "type_as"}
_PLAIN = {"relu": "relu", "silu": "silu", "tanh": "tanh", "sigmoid": "sigmoid"}
_DROPOUTS = {"dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout",
             "alpha_dropout", "feature_alpha_dropout"}


def layers_of(lowering, node) -> Optional[Match]:
    """The layers of one operation with one input of data, else None."""
    inputs = lowering.trace.inputs(node)
    if len(inputs) != 1:
        return None
    name = name_of(node).rstrip("_") if node.op == "call_method" else name_of(node)
    layers = _simple(lowering, node, name)
    if layers is None and inputs[0] is argument(node, 0, "input"):
        rule = _RULES.get(name)
        layers = rule(lowering, node) if rule else None
    if layers is None and name in _ARITHMETIC:
        layers = _arithmetic(lowering, node, name, inputs[0])
    if layers is None and name in ("cat", "concat"):
        layers = _class_token(lowering, node, inputs[0])
    return None if layers is None else Match(layers, inputs[0])


def argument(node, position: int, name: str, default=None):
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(name, default)


def _value(argument):
    return argument.meta["value"] if isinstance(argument, torch.fx.Node) else argument


def _simple(lowering, node, name) -> Optional[list]:
    if name in _NOTHING:
        return []
    if name in _CASTS:
        before, after = node.args[0].meta["value"].dtype, node.meta["value"].dtype
        pixels = before == torch.uint8 and node.args[0] is lowering.trace.start
        kept = before == after or (pixels and after == torch.float32)
        return [] if kept else None
    if name in _PLAIN:
        return modules.activation(_PLAIN[name])
    if name == "gelu":
        tanh = node.kwargs.get("approximate", "none") == "tanh"
        return modules.activation("gelu_tanh" if tanh else "gelu")
    if name in _DROPOUTS:
        if argument(node, 2, "training", True):
            raise lowering.unsupported(
                node, "it is random in eval, too: pass training=self.training"
            )
        return []
    return None


def _softmax(lowering, node):
    dim = argument(node, 1, "dim")
    last = node.meta["value"].dim() - 1
    return [{"type": "softmax"}] if dim in (-1, last) else None


def _glu(lowering, node):
    return modules.glu(lowering, node, argument(node, 1, "dim", -1))


def _linear(lowering, node):
    weight, bias = _value(argument(node, 1, "weight")), _value(argument(node, 2, "bias"))
    return modules.linear(lowering, lowering.linear_prefix(node), weight, bias)


def _layer_norm(lowering, node):
    weight, bias = _value(argument(node, 2, "weight")), _value(argument(node, 3, "bias"))
    prefix = lowering.prefix_of(weight, node)
    return modules.norm(lowering, "layer_norm", prefix, (weight, bias),
                        argument(node, 4, "eps", 1e-5),
                        argument(node, 1, "normalized_shape"))


def _embedding(lowering, node):
    weight = _value(argument(node, 1, "weight"))
    prefix = lowering.weights.layer(
        lowering.prefix_of(weight, node), {"weight": weight})
    return [{"type": "embedding", "prefix": prefix}]


def _conv2d(lowering, node):
    weight, bias = _value(argument(node, 1, "weight")), _value(argument(node, 2, "bias"))
    options = {"stride": argument(node, 3, "stride", 1),
               "padding": argument(node, 4, "padding", 0),
               "dilation": argument(node, 5, "dilation", 1),
               "groups": argument(node, 6, "groups", 1)}
    return modules.conv2d(lowering, node, lowering.prefix_of(weight, node), weight, bias,
                          options)


def _max_pool2d(lowering, node):
    wrong = {"dilation": modules.pair(argument(node, 4, "dilation", 1)) != 1,
             "ceil_mode": argument(node, 5, "ceil_mode", False)}
    return modules.pool2d(lowering, node, "max_pool2d", argument(node, 1, "kernel_size"),
                          argument(node, 2, "stride"), argument(node, 3, "padding", 0),
                          wrong)


def _avg_pool2d(lowering, node):
    padding = argument(node, 3, "padding", 0)
    counted = argument(node, 5, "count_include_pad", True)
    wrong = {"ceil_mode": argument(node, 4, "ceil_mode", False),
             "count_include_pad=False": modules.pair(padding) != 0 and not counted,
             "divisor_override": argument(node, 6, "divisor_override")}
    return modules.pool2d(lowering, node, "avg_pool2d", argument(node, 1, "kernel_size"),
                          argument(node, 2, "stride"), padding, wrong)


def _adaptive(lowering, node):
    return modules.adaptive_pool(lowering, node, node.args[0],
                                 argument(node, 1, "output_size"))


def _mean(lowering, node):
    """Over rows and columns of a picture: a window of all of it, and flattened."""
    picture = node.args[0].meta["value"]
    dims = argument(node, 1, "dim")
    if picture.dim() != 4 or not isinstance(dims, (tuple, list)):
        return None
    if sorted(dim % 4 for dim in dims) != [2, 3]:
        return None
    layers = modules.adaptive_pool(lowering, node, node.args[0], 1)
    return layers + ([] if node.meta["value"].dim() == 4 else [{"type": "flatten"}])


_RULES = {
    "softmax": _softmax,
    "glu": _glu,
    "linear": _linear,
    "layer_norm": _layer_norm,
    "embedding": _embedding,
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "adaptive_avg_pool2d": _adaptive,
    "mean": _mean,
}
_ARITHMETIC = {"add": 1, "iadd": 1, "sub": -1, "isub": -1, "mul": 1, "imul": 1,
               "truediv": 1, "itruediv": 1, "div": 1, "true_divide": 1,
               "radd": 1, "rmul": 1, "multiply": 1, "subtract": -1, "divide": 1}


def _arithmetic(lowering, node, name, data) -> Optional[list]:
    """With a number, numbers per channel, or a table of positions."""
    if len(node.args) != 2 or node.kwargs.get("alpha", 1) != 1:
        return None
    first, second = node.args
    if second is data and name.lstrip("ir") not in ("add", "mul", "multiply"):
        return None  # a number minus or over the data
    other = _value(first if second is data else second)
    shape = data.meta["value"].shape
    adds = name.lstrip("ir") in ("add", "sub", "subtract")
    numbers = _per_channel(other, shape)
    if numbers is not None:
        if adds:
            sign = 1 if "sub" in name else -1
            return _normalize("mean", [sign * each for each in numbers], numbers, 0)
        if "div" in name:
            return _normalize("std", numbers, numbers, 1)
        if len(numbers) == 1:
            return _normalize("scale", numbers, numbers, 1)
        return _normalize("std", [1 / each if each else 0 for each in numbers], numbers, 1)
    if adds and "sub" not in name and len(shape) == 3 and isinstance(other, torch.Tensor):
        return lowering.positions(node, other, shape)
    return None


def _per_channel(other, shape) -> Optional[list]:
    """The numbers, one where they are all the same; None where they are no
    number or one per channel of a picture."""
    if isinstance(other, (int, float)):
        return [float(other)]
    if not isinstance(other, torch.Tensor):
        return None
    if other.numel() == 1:
        return [float(other)]
    if len(shape) == 4 and tuple(other.shape[-3:]) == (shape[1], 1, 1) \
            and other.numel() == shape[1]:
        return [float(each) for each in other.reshape(-1)]
    return None


def _normalize(key, values, numbers, nothing) -> Optional[list]:
    if all(each == nothing for each in numbers):
        return []
    if key == "std" and any(each <= 0 for each in values):
        return None
    if key == "scale":
        return [{"type": "normalize", "scale": values[0]}]
    return [{"type": "normalize", key: values if len(values) > 1 else values[0]}]


def _class_token(lowering, node, data) -> Optional[list]:
    parts = argument(node, 0, "tensors")
    if len(parts) != 2 or parts[1] is not data or argument(node, 1, "dim", 0) not in (1, -2):
        return None
    token = _value(parts[0])
    if token.dim() != 3 or token.shape[1] != 1 or not torch.equal(
        token, token[:1].expand_as(token)
    ):
        return None
    name = lowering.weights.tensor(token[:1], f"{node.name}.class_token")
    return [{"type": "class_token", "tensor": name}]
