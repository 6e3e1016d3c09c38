"""Gates that are written out: one half times an activation of the other.

The halves are those of a row, or what two linear layers make of the same row, as
of LLaMA's feedforward. These become one layer with the rows of both.
"""

from typing import Iterator, Optional

import torch

from . import leaves
from .attention import is_linear
from .conventions import ACTIVATIONS
from .evaluate import Evaluation
from .graph import Match, Region
from .regions import same, short

_ACTIVATIONS = {*leaves.ACTIVATION_OF, "GELU"}
_SIZES = (1e-3, 1.0, 12.0, 1e3)
_GATES = ("second", "first")


def gated(lowering, node) -> Optional[Match]:
    """A gate that ends in `node`, [rows, width] or [rows, tokens, width], else
    None."""
    shape = node.meta["value"].shape
    if len(shape) not in (2, 3):
        return None
    for region in short(lowering, node, {*_ACTIVATIONS, "Linear"}):
        before = region.before.meta["value"]
        if not isinstance(before, torch.Tensor) or not before.is_floating_point():
            continue
        linears = [each for each in region.nodes if is_linear(each)]
        if not linears and before.shape == (*shape[:-1], 2 * shape[-1]):
            for layer in _layers():
                if same(lowering, region, layer):
                    return Match([layer], region.before)
        if len(linears) == 2 and all(_fits(lowering, each, region, shape)
                                     for each in linears):
            for layer in _layers():
                if _of_two(lowering, region, linears, layer):
                    prefix = _merged(lowering, node, linears)
                    return Match([{**layer, "prefix": prefix}], region.before)
    return None


def _layers() -> Iterator[dict]:
    for name in ACTIVATIONS:
        for gate in _GATES:
            yield {"type": "glu", "activation": name, "gate": gate}


def _fits(lowering, linear, region: Region, shape) -> bool:
    return lowering.trace.inputs(linear) == [region.before] \
        and linear.meta["value"].shape == shape


def _of_two(lowering, region: Region, linears, layer: dict) -> bool:
    """Whether region and layer answer alike for what the linear layers make."""
    generator = torch.Generator().manual_seed(13)
    evaluation = Evaluation({}, torch.float64)
    for size in _SIZES:
        halves = {
            each: (size * torch.randn(each.meta["value"].shape, generator=generator)).to(
                each.meta["value"].device)
            for each in linears
        }
        try:
            y = lowering.trace.run(region, halves)
        except Exception:  # the operations do not fit such numbers
            return False
        wanted = evaluation.layer(
            layer, torch.cat([halves[each].double() for each in linears], -1))
        if not isinstance(y, torch.Tensor) or y.shape != wanted.shape or not \
                torch.allclose(wanted, y.double(), rtol=1e-4, atol=1e-6 * max(size, 1)):
            return False
    return True


def _merged(lowering, node, linears) -> str:
    """Uses the rows of both as one linear layer and returns its prefix."""
    parts = [lowering.linear_tensors(each)[1:] for each in linears]
    weight = torch.cat([weight for weight, _ in parts])
    bias = None
    if any(bias is not None for _, bias in parts):
        bias = torch.cat([weight.new_zeros(len(weight)) if bias is None else bias
                          for weight, bias in parts])
    return lowering.weights.layer(f"{node.name}.both.", {"weight": weight, "bias": bias})
