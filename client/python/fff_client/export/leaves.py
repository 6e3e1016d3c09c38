"""Which modules of a network stay whole: known ones, and FFF layers."""

from typing import Callable, Collection, Optional, Tuple

import torch

from . import fff

ACTIVATION_OF = {
    "ReLU": "relu",
    "SiLU": "silu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Identity": "identity",
}
KNOWN = {
    *ACTIVATION_OF, "GELU", "Linear", "Embedding", "LayerNorm", "RMSNorm", "Conv2d",
    "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d", "BatchNorm1d", "BatchNorm2d",
    "MultiheadAttention", "TransformerEncoderLayer", "TransformerEncoder", "Flatten",
    "Unflatten", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout",
    "FeatureAlphaDropout", "GLU", "Softmax", "ZeroPad2d", "Unfold",
}
_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
_EINOPS = "einops."


def type_of(module) -> str:
    """The name of the torch.nn class that a module is or derives from, else ""."""
    if type(module).forward is torch.nn.Module.forward:
        return ""
    for kind in type(module).__mro__:
        if kind.__module__.startswith("torch.nn.modules"):
            # A subclass with a forward of its own is another function.
            same = type(module).forward is kind.forward
            return kind.__name__ if same else ""
    return ""


def is_known(module) -> bool:
    return type_of(module) in KNOWN or is_rearrangement(module)


def is_rearrangement(module) -> bool:
    """einops.layers.torch.Rearrange."""
    kind = type(module)
    return kind.__module__.startswith(_EINOPS) and kind.__name__ == "Rearrange"


def is_leaf(module) -> bool:
    """Known, or a module of torch.nn that is not: an error names it later."""
    kind = type_of(module)
    return is_known(module) or (kind not in ("", "Module", *_CONTAINERS))


def find_fff(module, name: str, run: Callable) -> Tuple[Optional[fff.Found], str]:
    """The FFF layer that a module is, and what to add to an error where its
    tensors look like one and its answers do not."""
    fitting = fff.fitting(module)
    if not fitting:
        return None, _about_tensors(module, name or "the module")
    found = fff.find(module, run)
    if found is not None:
        return found, ""
    names = ", ".join(dict.fromkeys(each.name for each in fitting))
    return None, (
        f"; the tensors of {name or 'the module'} are those of an FFF layer "
        f"({names}), but its answers differ from what that computes"
    )


def _about_tensors(module, name: str) -> str:
    """What to add to an error in a module whose tensors are those of no convention."""
    other = fff.not_served(module)
    if other:
        return (f"; the tensors of {name} are those of {other}, which FFF Serving does "
                "not serve")
    own = {key: list(each.shape) for key, each in module.named_parameters(recurse=False)}
    if not _has_tree_and_leaves(own.values()):
        return ""
    found = ", ".join(f"{key} {shape}" for key, shape in own.items())
    return (
        f"; {name} may be an FFF layer with names of its own ({found}). The exporter "
        "knows one by the names and shapes of its parameters, not by its class: rename "
        "them, for example to node_weights [nodes, inputs], node_biases [nodes, 1], w1s "
        "[leaves, inputs, width], b1s [leaves, width], w2s [leaves, width, outputs], b2s "
        "[leaves, outputs] of the convention fastfeedforward"
    )


def _has_tree_and_leaves(shapes: Collection) -> bool:
    """Whether there is a matrix per leaf, 2^depth of them, and a row per node above."""
    return any(
        len(shape) == 3 and shape[0] >= 2 and shape[0] & (shape[0] - 1) == 0
        and any(other and other[0] == shape[0] - 1 for other in shapes)
        for shape in shapes
    )
