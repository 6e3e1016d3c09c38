"""FFF layers whose leaves are modules of their own: gdevos010/mlp-utils."""

from typing import List, Optional

import torch
import torch.nn.functional as F

from .forms import Form, Tensors, leaves_form

_NUMBERED_MAX = 1 << 20


def form(t: Tensors) -> Optional[Form]:
    """routers.N, a row each; experts.N.net.0 and .3, linear layers around the
    activation; project_in and project_out around all experts, or neither."""
    nodes, node_biases = _stacked(t, "routers.{}.")
    first, first_biases = _stacked(t, "experts.{}.net.0.")
    second, second_biases = _stacked(t, "experts.{}.net.3.")
    if nodes is None or first is None or second is None or nodes.shape[1] != 1:
        return None
    inside = leaves_form(nodes[:, 0], node_biases, first.transpose(1, 2), first_biases,
                         second.transpose(1, 2), second_biases)
    if inside is None or len(second) != len(first):
        return None

    def answer(x, z, visited, bottom, act):
        hidden = _projected(t, "project_in.", x)
        y = inside.answer(hidden, z, visited, bottom, act)
        return _projected(t, "project_out.", y)

    return inside._replace(answer=answer)


def _projected(t: Tensors, prefix: str, x):
    if prefix + "weight" not in t:
        return x
    return F.linear(x, t[prefix + "weight"], t.get(prefix + "bias"))


def _stacked(t: Tensors, pattern: str):
    """Weights [layers, ..] and biases, or None, of layers 0, 1, ..; (None, None)
    where these differ in shape."""
    weights: List[torch.Tensor] = []
    biases: List[Optional[torch.Tensor]] = []
    for i in range(_NUMBERED_MAX):
        prefix = pattern.format(i)
        if prefix + "weight" not in t:
            break
        weights.append(t[prefix + "weight"])
        biases.append(t.get(prefix + "bias"))
    shapes = {each.shape for each in weights}
    if len(shapes) != 1 or len({each is None for each in biases}) != 1:
        return None, None
    return torch.stack(weights), None if biases[0] is None else torch.stack(biases)
