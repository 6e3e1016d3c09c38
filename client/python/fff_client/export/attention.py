"""Attention that is written out in operations, found by what it answers.

Code writes attention in many ways: matmul or einsum, chunks or reshapes, its own
masks. So the operations between the linear layers of queries, keys and values
and their result are run on random numbers, and held against the attention layer
of config.json in every form that it has.
"""

import itertools
import math
from typing import Iterator, List, Optional, Tuple

import torch

from . import evaluate, leaves
from .graph import Match, Region
from .trace import name_of

_SOFTMAX = ("softmax", "scaled_dot_product_attention", "Softmax")
# For masks of -infinity: far enough below any score to leave nothing.
MASK_FLOOR = -1e30
# Of the numbers to try; large ones tell limits of scores and values.
_SIZES = (1.0, 3.0, 30.0)
_LARGE = 30.0


def is_linear(node) -> bool:
    if node.op == "call_module":
        return leaves.type_of(node.meta["called"]) == "Linear" and not node.meta["fff"]
    return node.op == "call_function" and name_of(node) == "linear"


def find(lowering, node) -> Optional[Match]:
    """The attention whose result `node` is, [rows, tokens, width], else None."""
    trace = lowering.trace
    if node.meta["value"].dim() != 3 or is_linear(node):
        return None
    found = _core(trace, node)
    if found is None:
        return None
    region, softmax, linears, before = found
    heads = _heads(softmax, lowering.rows)
    found = _matching(lowering, region, linears, heads) if heads else None
    if found is None:
        return None
    order, fields = found
    scale = fields.pop("scale", None)
    if scale is not None:
        fields["log_scale"] = lowering.weights.tensor(
            torch.tensor(math.log(scale)), f"{node.name}.log_scale"
        )
    prefixes = [lowering.linear_prefix(each) for each in order]
    if len(prefixes) == 1:
        named = {"qkv": prefixes[0]}
    else:
        named = dict(zip(("query", "key", "value"), prefixes))
    layer = {"type": "attention", **fields, **named}
    lowering.use(layer)
    return Match([layer], before)


def mask_of_call(lowering, node, call: dict) -> dict:
    """Fields for the masks of a call of torch.nn.MultiheadAttention.

    call: its arguments attn_mask, key_padding_mask and is_causal.
    """
    fields = {}
    causal = _value(call.get("attn_mask"))
    if causal is not None:
        blocked = causal if causal.dtype == torch.bool else causal < MASK_FLOOR
        ones = torch.ones_like(blocked)
        if blocked.dim() != 2 or not (
            causal.dtype == torch.bool or bool((causal[~blocked] == 0).all())
        ):
            raise lowering.unsupported(node, "attn_mask is neither causal nor diagonal")
        if torch.equal(blocked, ones.triu(1)):
            fields["causal"] = True
        elif torch.equal(blocked, ones.triu() & ones.tril()):
            fields["exclude_self"] = True
        elif bool(blocked.any()):
            raise lowering.unsupported(node, "attn_mask is neither causal nor diagonal")
    padding = call.get("key_padding_mask")
    if padding is not None:
        if not isinstance(padding, torch.fx.Node) or lowering.mask is None:
            raise lowering.unsupported(
                node, "key_padding_mask does not come from an input that is a mask"
            )
        fields["mask_value"] = MASK_FLOOR
    return fields


def _value(argument):
    return argument.meta["value"] if isinstance(argument, torch.fx.Node) else argument


def _core(trace, node) -> Optional[tuple]:
    """The operations that end in `node`, their softmax, and what they start from:
    linear layers and the input of these."""
    for region in trace.regions(node):
        kinds = [each for each in region.nodes if name_of(each) in _SOFTMAX]
        if len(kinds) > 1:
            return None
        if kinds:
            linears, before = _projections(trace, region)
            if len(linears) in (1, 3):
                return region, kinds[0], linears, before
    return None


def _projections(trace, region: Region) -> Tuple[List, torch.fx.Node]:
    """The linear layers that make queries, keys and values, and their input."""
    if is_linear(region.before):
        return [region.before], trace.inputs(region.before)[0]
    linears = [
        each for each in region.nodes
        if is_linear(each) and trace.inputs(each) == [region.before]
    ]
    return linears, region.before


def _heads(node, rows: int) -> Optional[int]:
    """From the shape of what is scored or mixed, [rows, heads, ..] or
    [rows * heads, ..]."""
    shape = node.meta["value"].shape
    if len(shape) == 4:
        return shape[1]
    return shape[0] // rows if len(shape) == 3 and shape[0] % rows == 0 else None


def _matching(lowering, region, linears, heads):
    """The linear layers in the order query, key, value, and the fields."""
    probes = list(_probes(lowering, region, linears))
    if not probes:
        return None
    orders = [(linears, layout) for layout in ("blocks", "heads")]
    if len(linears) == 3:
        orders = [(list(each), None) for each in itertools.permutations(linears)]
    for order, layout in orders:
        for scale_fields, scale in _scales(lowering, region, linears):
            for fields in _switches(lowering, region):
                layer = {"heads": heads, **fields}
                if layout:
                    layer["layout"] = layout
                if all(_agrees(lowering, order, layer, scale, each) for each in probes):
                    return order, {**layer, **scale_fields}
    return None


def _probes(lowering, region, linears) -> Iterator[Tuple[dict, torch.Tensor, float]]:
    """Values of the linear layers, what the operations make of them, and a size."""
    generator = torch.Generator().manual_seed(7)
    for size in _SIZES:
        values = {}
        for each in linears:
            like = each.meta["value"]
            random = size * torch.randn(like.shape, generator=generator)
            values[each] = random.to(like.device)
        try:
            yield values, lowering.trace.run(region, values), size
        except Exception:  # operations that fit other numbers only
            return


def _scales(lowering, region, linears) -> Iterator[Tuple[dict, Optional[float]]]:
    yield {}, None
    prefix = linears[0].meta["module"].rpartition(".")[0]
    for name, value in lowering.weights.state.items():
        if value.numel() == 1 and value.is_floating_point() and name.startswith(prefix):
            if float(value) < 50:
                yield {"log_scale": name}, math.exp(float(value))
    for number in numbers_of(region.nodes):
        for scale in (number, 1 / number if number else 0):
            if 0 < scale <= 1:
                yield {"scale": scale}, scale


def numbers_of(nodes) -> List[float]:
    """The numbers that operations take, in order."""
    return [
        float(each)
        for node in nodes for each in [*node.args, *node.kwargs.values()]
        if isinstance(each, (int, float)) and not isinstance(each, bool)
    ]


def _switches(lowering, region) -> Iterator[dict]:
    masks = [{}]
    if lowering.trace.sees_mask(region):
        masks = [{"mask_value": value} for value in _mask_values(lowering, region)]
    for mask in masks:
        yield mask
        yield {**mask, "exclude_self": True}
        yield {**mask, "causal": True}


def _mask_values(lowering, region) -> List[float]:
    """Large numbers that the code makes masks of, else MASK_FLOOR."""
    nodes = [*lowering.trace.mask_nodes(), *region.nodes]
    numbers = [-abs(each) for each in numbers_of(nodes)]
    large = [each for each in numbers if MASK_FLOOR <= each <= -1000]
    return [*dict.fromkeys(large), MASK_FLOOR]


def _agrees(lowering, order, layer, scale, probe) -> bool:
    values, answer, size = probe
    # Rounding of large scores moves shares between tokens.
    allowed = 1e-4 if size < _LARGE else 5e-3 * size
    qkv = torch.cat([values[each] for each in order], -1)
    if qkv.dim() != 3 or qkv.shape[-1] % (3 * layer["heads"]):
        return False
    for turned in (False, True):  # tokens first, as older code has them
        if turned:
            qkv, answer = qkv.transpose(0, 1), answer.transpose(0, 1)
        if len(qkv) == lowering.rows:
            mixed = evaluate.attention(qkv.double(), layer, lowering.mask, scale)
            if mixed.shape == answer.shape and torch.allclose(
                mixed, answer.double(), rtol=1e-4, atol=allowed
            ):
                return True
    return False
