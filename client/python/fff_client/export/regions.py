"""Layers that are written out in operations, found by what these answer.

Movement (reshapes, permutations, patches) is told by where it puts each element;
pools, activations and norms by what they make of random numbers.
"""

from typing import Iterator, List, Optional

import torch

from . import leaves
from .attention import numbers_of
from .conventions import ACTIVATIONS
from .evaluate import Evaluation
from .graph import Match, Region
from .trace import name_of

_MOVES = {
    "view", "reshape", "flatten", "unflatten", "transpose", "permute", "swapaxes",
    "swapdims", "movedim", "moveaxis", "contiguous", "squeeze", "unsqueeze", "select",
    "narrow", "chunk", "split", "unbind", "getitem", "getattr", "pad", "cat", "concat",
    "stack", "roll", "unfold", "expand", "clone", "detach", "Flatten", "Unflatten",
    "ZeroPad2d", "Unfold", "Rearrange", "rearrange", "constant_pad_nd", "t", "T", "mT",
    "view_as", "reshape_as", "alias",
}
_POOLS = ("mean", "max", "logsumexp", "first")
_HAND_WRITTEN_MAX = 14
# Of the numbers to try. Large ones tell limits, as of clamp; masks of pools may
# be finite numbers, which larger ones would reach.
_SIZES = (1e-3, 1.0, 12.0, 30.0, 1e3, 1e5, 1e8)
_POOL_SIZE_MAX = 1e3
_OVERFLOW_FROM = 30.0
_EPSILONS = (1e-5, 1e-6, 1e-8, 1e-12, float(torch.finfo(torch.float32).eps))


def moved(lowering, node) -> Optional[Match]:
    """A movement that ends in `node`, else None."""
    if not is_movement(node):
        return None
    regions: List[Region] = []
    for region in lowering.trace.regions(node):
        if not all(is_movement(each) for each in region.nodes):
            break
        regions.append(region)
    for region in reversed(regions):
        layers = _movement(lowering, region)
        if layers is not None:
            return Match(layers, region.before)
    return None


def pooled(lowering, node) -> Optional[Match]:
    """One vector from all tokens, else None."""
    value = node.meta["value"]
    for region in short(lowering, node):
        before = region.before.meta["value"]
        if not isinstance(before, torch.Tensor) or before.dim() != 3:
            continue
        if value.numel() != lowering.rows * before.shape[2]:
            continue
        masks = [False, True] if lowering.trace.sees_mask(region) else [False]
        for over in _POOLS:
            for masked in masks:
                layer = {"type": "pool", "over": over}
                if masked:
                    layer["masked"] = True
                if same(lowering, region, layer):
                    return Match([layer], region.before)
    return None


def hand_written(lowering, node) -> Optional[Match]:
    """An activation, softmax or norm of the last dimension, else None."""
    for region in short(lowering, node):
        before = region.before.meta["value"]
        if not isinstance(before, torch.Tensor) or not before.is_floating_point():
            continue
        if before.shape != node.meta["value"].shape:
            continue
        for layer in _elementwise(lowering, region):
            if same(lowering, region, layer):
                name = layer.get("activation")
                return Match([] if name == "identity" else [layer], region.before)
    return None


def is_movement(node) -> bool:
    if node.op == "call_module" and leaves.is_rearrangement(node.meta["called"]):
        return True
    if node.op == "call_module" and node.meta["fff"] is not None:
        return False
    return name_of(node) in _MOVES


def _movement(lowering, region) -> Optional[list]:
    """Its layers, none where only the dimensions of rows and tokens change.

    A sequence may stand with its tokens first, [tokens, rows, width]; its layers
    are those of [rows, tokens, width], which `check` makes sure of.
    """
    before = region.before.meta["value"]
    if not isinstance(before, torch.Tensor):
        return None
    index = torch.arange(1, before.numel() + 1, dtype=torch.float64)
    index = index.reshape(before.shape).to(before.device)
    try:
        after = lowering.trace.run(region, {region.before: index})
    except Exception:  # the operations are no movement after all
        return None
    if not isinstance(after, torch.Tensor):
        return None
    evaluation = Evaluation({}, torch.float64)
    for turned in (False, True):
        start = index.transpose(0, 1) if turned else index
        if start.dim() != 3 and turned:
            return None
        for layer in _movements(start, after):
            wanted = start if layer is None else evaluation.layer(layer, start)
            if _ordered_alike(wanted, after):
                return [] if layer is None else [layer]
    return None


def _movements(before, after) -> Iterator[Optional[dict]]:
    """What it may be; None is no layer at all."""
    yield None
    if after.dim() == 2 and before.dim() > 2:
        yield {"type": "flatten"}
    if before.dim() == 3:
        yield {"type": "pool", "over": "first"}
    if before.dim() == 4:
        yield {"type": "tokens"}
        _, channels, height, width = before.shape
        for kind, copies in (("patches", 1), ("shifted_patches", 5)):
            size = round((after.shape[-1] / (channels * copies)) ** 0.5)
            if size and height % size == 0 and width % size == 0:
                yield {"type": kind, "size": size}


def _ordered_alike(wanted, after) -> bool:
    """The same elements in the same order, in rows of the same width."""
    return wanted.numel() == after.numel() and wanted.shape[-1:] == after.shape[-1:] \
        and torch.equal(wanted.reshape(-1), after.reshape(-1))


def short(lowering, node, modules=()) -> Iterator[Region]:
    """Regions without modules of other types than `modules`."""
    for region in lowering.trace.regions(node, _HAND_WRITTEN_MAX):
        for each in region.nodes:
            if each.op == "call_module" and name_of(each) not in modules:
                return
        yield region


def _elementwise(lowering, region) -> Iterator[dict]:
    for name in ACTIVATIONS:
        yield {"type": "activation", "activation": name}
    yield {"type": "softmax"}
    width = region.before.meta["value"].shape[-1]
    weights = {
        each: each.meta["value"] for node in region.nodes
        for each in node.all_input_nodes
        if not lowering.trace.on_data(each)
        and isinstance(each.meta["value"], torch.Tensor)
        and each.meta["value"].numel() == width
    }
    epsilons = [each for each in numbers_of(region.nodes) if 0 < each < 1e-2]
    for value in weights.values():
        name = lowering.weights.name_of(value)
        if name is None or not name.endswith("weight"):
            continue
        for epsilon in dict.fromkeys([*epsilons, *_EPSILONS]):
            yield {"type": "rms_norm", "prefix": name[: -len("weight")],
                   "epsilon": epsilon}


def same(lowering, region, layer) -> bool:
    """Whether region and layer answer alike on rows of several sizes."""
    like = region.before.meta["value"]
    is_pool = layer["type"] == "pool"
    generator = torch.Generator().manual_seed(11)
    probes = []
    for size in _SIZES:
        if is_pool and size > _POOL_SIZE_MAX:
            break
        x = (size * torch.randn(like.shape, generator=generator)).to(like.device)
        try:
            probes.append((size, x, lowering.trace.run(region, {region.before: x})))
        except Exception:  # the operations do not fit such numbers
            return False
    evaluation = Evaluation(lowering.weights.state, torch.float64, lowering.mask)
    for turned in [False, True] if is_pool else [False]:
        if all(_answers_alike(evaluation, layer, turned, *each) for each in probes):
            lowering.use(layer)
            return True
    return False


def _answers_alike(evaluation, layer, turned, size, x, y) -> bool:
    """Where float32 overflows in the region, nothing is said."""
    x = x.transpose(0, 1) if turned else x
    if evaluation.masks_other_tokens(layer, x):
        return False
    wanted = evaluation.layer(layer, x.double())
    if not isinstance(y, torch.Tensor) or wanted.numel() != y.numel() \
            or wanted.shape[-1] != y.shape[-1]:
        return False
    wanted, y = wanted.reshape(-1), y.double().reshape(-1)
    if size >= _OVERFLOW_FROM:
        wanted, y = wanted[y.isfinite()], y[y.isfinite()]
    least = 1e-6 * max(size, 1.0) if layer["type"] in ("pool", "glu") else 1e-6
    return torch.allclose(wanted, y, rtol=1e-4, atol=least)
