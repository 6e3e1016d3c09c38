"""Known modules as layers of config.json.

Each rule takes (lowering, node, module, prefix) and returns the layers.
"""

import torch

from . import leaves
from .attention import mask_of_call
from .conventions import ACTIVATIONS
from .errors import ExportError


def layers_of(lowering, node) -> list:
    """The layers of a call of a module; ExportError where there are none."""
    module, name = node.meta["called"], node.meta["module"]
    prefix = name + "." if name else ""
    if node.meta["fff"] is not None:
        found = node.meta["fff"]
        return [{**found.fields, "prefix": lowering.weights.named(prefix, found.names)}]
    kind = leaves.type_of(module)
    if kind in leaves.ACTIVATION_OF:
        return activation(leaves.ACTIVATION_OF[kind])
    rule = _RULES.get(kind)
    if rule is None:
        raise lowering.unsupported(node)
    return rule(lowering, node, module, prefix)


def activation(name: str) -> list:
    return [] if name == "identity" else [{"type": "activation", "activation": name}]


def activation_of(function) -> str:
    """The name of an activation by what it answers; "" where it has none."""
    x = torch.linspace(-30, 30, 601, dtype=torch.float64)
    x = torch.cat([x * size for size in (1e-3, 1, 30, 1e3, 1e5)])  # tell limits
    try:
        with torch.no_grad():
            y = function(x.clone())
    except Exception:  # not a function of one tensor
        return ""
    if not isinstance(y, torch.Tensor) or y.shape != x.shape:
        return ""
    for name, known in ACTIVATIONS.items():
        if torch.allclose(y, known(x), rtol=1e-9, atol=1e-12):
            return name
    return ""


def linear(lowering, prefix, weight, bias) -> list:
    prefix = lowering.weights.layer(prefix, {"weight": weight, "bias": bias})
    return [{"type": "linear", "prefix": prefix}]


def norm(lowering, kind, prefix, module_or_weights, epsilon, width) -> list:
    """layer_norm or rms_norm; weights that are not there are ones."""
    weight, bias = module_or_weights
    if len(width) != 1:
        raise ExportError(f"a norm over {len(width)} dimensions, wanted the last one")
    if weight is None:
        weight = torch.ones(width[0])
    tensors = {"weight": weight}
    if kind == "layer_norm":
        tensors["bias"] = bias
    prefix = lowering.weights.layer(prefix, tensors)
    return [{"type": kind, "prefix": prefix, "epsilon": epsilon}]


def pair(value):
    """A number where rows and columns have the same."""
    if isinstance(value, int):
        return value
    value = [int(each) for each in value]
    return value[0] if len(set(value)) == 1 else value


def conv2d(lowering, node, prefix, weight, bias, options) -> list:
    """options: stride, padding, dilation, groups of torch.nn.Conv2d."""
    padding = options["padding"]
    if padding == "valid":
        padding = 0
    if padding == "same":
        dilation = options["dilation"]
        dilation = (dilation, dilation) if isinstance(dilation, int) else dilation
        reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:])]
        if any(each % 2 for each in reach):
            raise lowering.unsupported(node, "padding \"same\" of an even kernel")
        padding = [each // 2 for each in reach]
    layer = {"type": "conv2d", "prefix": lowering.weights.layer(
        prefix, {"weight": weight, "bias": bias})}
    usual = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    for key, other in usual.items():
        value = pair(padding if key == "padding" else options[key])
        if value != other:
            layer[key] = value
    return [layer]


def pool2d(lowering, node, kind, size, stride, padding, wrong: dict) -> list:
    """wrong: what must be false, by name."""
    for key, value in wrong.items():
        if value:
            raise lowering.unsupported(node, key)
    layer = {"type": kind, "size": pair(size)}
    layer["stride"] = pair(stride if stride not in (None, []) else size)
    if pair(padding) != 0:
        layer["padding"] = pair(padding)
    return [layer]


def adaptive_pool(lowering, node, source, sizes) -> list:
    """Windows of one size, where the picture divides into so many."""
    picture = source.meta["value"].shape[-2:]
    sizes = (sizes, sizes) if isinstance(sizes, int) else tuple(sizes)
    sizes = [full if want is None else want for want, full in zip(sizes, picture)]
    if any(full % want for want, full in zip(sizes, picture)):
        raise lowering.unsupported(
            node, f"{list(picture)} does not divide by {list(sizes)}"
        )
    size = pair([full // want for want, full in zip(sizes, picture)])
    return [{"type": "avg_pool2d", "size": size, "stride": size}]


def _gelu(lowering, node, module, prefix):
    tanh = getattr(module, "approximate", "none") == "tanh"
    return activation("gelu_tanh" if tanh else "gelu")


def _linear(lowering, node, module, prefix):
    return linear(lowering, prefix, module.weight, module.bias)


def _embedding(lowering, node, module, prefix):
    if module.max_norm is not None:
        raise lowering.unsupported(node, "max_norm")
    prefix = lowering.weights.layer(prefix, {"weight": module.weight})
    return [{"type": "embedding", "prefix": prefix}]


def _layer_norm(lowering, node, module, prefix):
    return norm(lowering, "layer_norm", prefix,
                (module.weight, module.bias), module.eps, module.normalized_shape)


def _rms_norm(lowering, node, module, prefix):
    epsilon = module.eps
    if epsilon is None:
        epsilon = float(torch.finfo(torch.float32).eps)
    return norm(lowering, "rms_norm", prefix, (module.weight, None), epsilon,
                module.normalized_shape)


def _conv2d(lowering, node, module, prefix):
    if module.padding_mode != "zeros":
        raise lowering.unsupported(node, f"padding_mode {module.padding_mode!r}")
    options = {key: getattr(module, key)
               for key in ("stride", "padding", "dilation", "groups")}
    return conv2d(lowering, node, prefix, module.weight, module.bias, options)


def _max_pool2d(lowering, node, module, prefix):
    wrong = {"ceil_mode": module.ceil_mode, "dilation": pair(module.dilation) != 1,
             "return_indices": module.return_indices}
    return pool2d(lowering, node, "max_pool2d", module.kernel_size, module.stride,
                  module.padding, wrong)


def _avg_pool2d(lowering, node, module, prefix):
    wrong = {
        "ceil_mode": module.ceil_mode,
        "divisor_override": module.divisor_override,
        "count_include_pad=False": pair(module.padding) != 0
        and not module.count_include_pad,
    }
    return pool2d(lowering, node, "avg_pool2d", module.kernel_size, module.stride,
                  module.padding, wrong)


def _adaptive(lowering, node, module, prefix):
    return adaptive_pool(lowering, node, node.args[0], module.output_size)


def _batch_norm(lowering, node, module, prefix):
    if module.running_mean is None:
        raise lowering.unsupported(
            node, "without running statistics, rows of a batch change each other"
        )
    prefix = lowering.weights.layer(prefix, {
        "running_mean": module.running_mean, "running_var": module.running_var,
        "weight": module.weight, "bias": module.bias,
    })
    return [{"type": "batch_norm", "prefix": prefix, "epsilon": module.eps}]


def _softmax(lowering, node, module, prefix):
    last = node.meta["value"].dim() - 1
    if module.dim not in (-1, last):
        raise lowering.unsupported(node, f"over dimension {module.dim}, wanted -1")
    return [{"type": "softmax"}]


def glu(lowering, node, dim: int) -> list:
    """torch.nn.GLU over the last dimension of rows or sequences."""
    value = node.meta["value"]
    if value.dim() > 3 or dim % value.dim() != value.dim() - 1:
        raise lowering.unsupported(
            node, f"over dimension {dim} of {value.dim()}, wanted the last one of rows "
            "or sequences"
        )
    return [{"type": "glu"}]


def _glu(lowering, node, module, prefix):
    return glu(lowering, node, module.dim)


def self_attention(lowering, node, module, prefix, call) -> dict:
    """torch.nn.MultiheadAttention; call: its arguments by name."""
    if not module._qkv_same_embed_dim or module.bias_k is not None:
        raise lowering.unsupported(node, "kdim, vdim or add_bias_kv")
    value = node.args[0].meta["value"] if node.args else None
    if value is not None and value.shape[0 if module.batch_first else 1] != lowering.rows:
        raise lowering.unsupported(
            node, f"batch_first={module.batch_first} of tokens {list(value.shape)}"
        )
    if module.add_zero_attn:
        raise lowering.unsupported(node, "add_zero_attn")
    weights = lowering.weights
    qkv = weights.layer(prefix, {"in_proj_weight": module.in_proj_weight,
                                 "in_proj_bias": module.in_proj_bias})
    out = weights.layer(prefix + "out_proj.", {
        "weight": module.out_proj.weight, "bias": module.out_proj.bias})
    return {
        "type": "attention", "heads": module.num_heads, "qkv": qkv,
        "weight": "in_proj_weight", "bias": "in_proj_bias", "layout": "blocks",
        "out": out, **mask_of_call(lowering, node, call),
    }


def _encoder_layer(lowering, node, module, prefix, call=None):
    if call is None:
        names = ("src", "src_mask", "src_key_padding_mask", "is_causal")
        call = {**dict(zip(names, node.args)), **node.kwargs}
    kinds = [leaves.type_of(each) for each in (module.linear1, module.linear2)]
    if kinds != ["Linear", "Linear"]:
        raise lowering.unsupported(node, "a part of it was replaced")
    name = activation_of(module.activation)
    if not name:
        raise lowering.unsupported(node, f"activation {module.activation}")
    attention = [self_attention(lowering, node, module.self_attn, prefix + "self_attn.",
                                {"attn_mask": call.get("src_mask"),
                                 "key_padding_mask": call.get("src_key_padding_mask"),
                                 "is_causal": call.get("is_causal")})]
    forward = (
        _linear(lowering, node, module.linear1, prefix + "linear1.")
        + activation(name)
        + _linear(lowering, node, module.linear2, prefix + "linear2.")
    )
    layers = []
    for i, block in enumerate((attention, forward), start=1):
        part = getattr(module, f"norm{i}")
        normed = _layer_norm(lowering, node, part, f"{prefix}norm{i}.")
        if module.norm_first:
            layers.append({"type": "residual", "layers": normed + block})
        else:
            layers += [{"type": "residual", "layers": block}] + normed
    return layers


def _encoder(lowering, node, module, prefix):
    names = ("src", "mask", "src_key_padding_mask", "is_causal")
    call = {**dict(zip(names, node.args)), **node.kwargs}
    call["src_mask"] = call.get("mask")
    layers = []
    for i, layer in enumerate(module.layers):
        layers += _encoder_layer(lowering, node, layer, f"{prefix}layers.{i}.", call)
    if module.norm is not None:
        layers += _layer_norm(lowering, node, module.norm, prefix + "norm.")
    return layers


_RULES = {
    "GELU": _gelu,
    "Linear": _linear,
    "Embedding": _embedding,
    "LayerNorm": _layer_norm,
    "RMSNorm": _rms_norm,
    "Conv2d": _conv2d,
    "MaxPool2d": _max_pool2d,
    "AvgPool2d": _avg_pool2d,
    "AdaptiveAvgPool2d": _adaptive,
    "BatchNorm1d": _batch_norm,
    "BatchNorm2d": _batch_norm,
    "Softmax": _softmax,
    "GLU": _glu,
    "TransformerEncoderLayer": _encoder_layer,
    "TransformerEncoder": _encoder,
    **{
        f"{kind}Dropout{dims}": lambda *_: []
        for kind, dims in (("", ""), ("", "1d"), ("", "2d"), ("", "3d"), ("Alpha", ""),
                           ("FeatureAlpha", ""))
    },
}
