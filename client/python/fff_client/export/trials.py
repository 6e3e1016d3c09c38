"""The inputs that a network and its layers are compared on."""

import warnings
from typing import Dict, Iterator, List, Tuple

import torch

from .inputs import Inputs

Trial = Tuple[str, Dict[str, torch.Tensor]]

# Of sequences of any length, beside those around the example's: windows, limits
# and turns of positions show beyond them.
LENGTHS = (1, 2, 3, 33, 65, 129, 257)
LENGTH_MAX = 2048
# Tokens times numbers of the network: of a large network only shorter sequences
# are compared, or an export would take many minutes.
LENGTH_COST_MAX = 5_000_000_000
_FEW_ROWS = 2
_MANY_ROWS = 33
_MANY_NUMBERS_MAX = 1 << 20
_ONE_ROW_FROM = 33


def of_the_example(inputs: Inputs) -> Iterator[Trial]:
    """The example, and rows of it alone."""
    yield "the example", inputs.probe
    for i in (0, 1):
        rows = {name: value[i:i + 1] for name, value in inputs.probe.items()}
        yield f"row {i} of the example alone", rows
    if inputs.probe[inputs.data].numel() <= _MANY_NUMBERS_MAX:
        yield f"{_MANY_ROWS} rows", {
            name: value[torch.arange(_MANY_ROWS) % len(value)]
            for name, value in inputs.probe.items()
        }


def of_masks(inputs: Inputs) -> Iterator[Trial]:
    """Masks that leave one token at least; none where there is no mask."""
    if inputs.mask is None:
        return
    few = {name: value[:_FEW_ROWS] for name, value in inputs.probe.items()}
    given = few[inputs.mask]
    place = torch.arange(given.shape[1], device=given.device)
    kept = {
        "a mask of ones": place >= 0,
        "a mask with holes": place % 3 != 1,
        "a mask of the left half": 2 * place >= len(place) - 1,
        "a mask of all but the first token": place > 0,
        "a mask of all but the last token": place == len(place) - 1,
        "a mask of all but one token": place == len(place) // 2,
    }
    for what, each in kept.items():
        if bool(each.any()):
            mask = each.to(given.dtype).expand_as(given).clone()
            yield what, {**few, inputs.mask: mask}


def without_tokens(inputs: Inputs) -> Tuple[Trial, Trial]:
    """A mask of zeros, and one of ones."""
    mask = inputs.probe[inputs.mask]
    return tuple(
        (f"a mask of {what}", {**inputs.probe, inputs.mask: torch.full_like(mask, fill)})
        for what, fill in (("zeros", 0), ("ones", 1))
    )


def of_lengths(inputs: Inputs, layers, tensors) -> Iterator[Trial]:
    """Sequences that are shorter and longer than the example, as long as tables of
    positions allow."""
    tokens = inputs.probe[inputs.data].shape[1]
    limits = tables(layers, tensors)
    longest = min(limits, default=LENGTH_MAX)
    lengths = {*LENGTHS, tokens - 1, tokens, tokens + 1, 2 * tokens + 1}
    if limits:
        lengths.add(min(longest, LENGTH_MAX))
    numbers = sum(tensor.numel() for tensor in tensors.values())
    affordable = max(2 * tokens + 1, LENGTH_COST_MAX // max(numbers, 1))
    lengths = {length for length in lengths if 1 <= length <= longest}
    for length in sorted(lengths):
        if length <= affordable:
            yield _of_length(inputs, length)
    if max(lengths) > affordable:
        warnings.warn(
            f"sequences of more than {affordable} tokens were not compared with the "
            f"module: the network has {numbers:,} numbers; give a longer example to "
            "have them compared", stacklevel=2)


def tables(layers, tensors) -> List[int]:
    """How many positions the learned tables of layers have."""
    found = []
    for layer in layers:
        if layer["type"] == "positions" and "tensor" in layer:
            table = tensors[layer["tensor"]]
            found.append(table.numel() // table.shape[-1])
        found += tables(layer.get("layers", []), tensors)
    return found


def _of_length(inputs: Inputs, length: int) -> Trial:
    """Tokens of the example in any order; masks leave the first ones."""
    generator = torch.Generator().manual_seed(length)
    data = inputs.probe[inputs.data]
    rows = min(len(data), 1 if length >= _ONE_ROW_FROM else _FEW_ROWS)
    order = torch.randint(data.shape[1], (rows, length), generator=generator)
    row = torch.arange(rows)[:, None]
    made = {}
    for name, value in inputs.probe.items():
        if name == inputs.mask:
            mask = torch.ones(rows, length, dtype=value.dtype, device=value.device)
            mask[rows - 1, max(1, length - length // 3):] = 0
            made[name] = mask
        else:
            made[name] = value[row.to(value.device), order.to(value.device)]
    return f"sequences of {length} tokens", made
