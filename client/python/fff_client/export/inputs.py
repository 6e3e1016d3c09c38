"""The inputs of a network: their names, an example, and numbers to try."""

import inspect
import math
import operator
from typing import Any, Dict, List, NamedTuple, Optional

import numpy as np
import torch

from .errors import ExportError
from .trace import unwrapped

ROWS = 4
PROBE_ROWS_MAX = 8
TOKENS = 8
# Of an example that a server takes: rows, or their tokens where rows are
# sequences, and numbers of its answer.
EXAMPLE_TOKENS_MAX = 4096
EXAMPLE_FLOATS_MAX = 1 << 24
ROW_NUMBERS_MAX = 1 << 26


class Inputs(NamedTuple):
    """example: by name of the forward's parameter, what is stored. probe: the
    same with ROWS rows or more, and with gaps in masks: what is traced. data and
    mask: names. mask_optional: the forward does without."""

    example: Dict[str, torch.Tensor]
    probe: Dict[str, torch.Tensor]
    data: str
    mask: Optional[str]
    mask_optional: bool = False


def prepare(module, given, shape, mask: Optional[str]) -> Inputs:
    """Returns the inputs of `module`.

    given: as export_network's example_inputs. shape: of one row, for a random
    example where nothing is given. mask: the parameter that is a mask, None to
    go by names. Raises ExportError.
    """
    names = _parameters(module)
    shape = None if shape is None else _checked(shape)
    example = _named(given, names) if given is not None else _random(
        module, names, shape)
    device = next(
        (each.device for each in [*module.parameters(), *module.buffers()]),
        torch.device("cpu"),
    )
    example = {name: _tensor(name, value).to(device) for name, value in example.items()}
    data, mask = _roles(example, mask)
    _check_shapes(example, data)
    rows = _rows_max(example[data])
    example = {name: value[:rows] for name, value in example.items()}
    probe = {name: _more_rows(value) for name, value in example.items()}
    if mask is not None:
        probe[mask] = _with_gaps(probe[mask])
    optional = mask is not None and names[mask].default is None
    return Inputs(example, probe, data, mask, optional)


def port(name: str, value: torch.Tensor, any_length: bool) -> dict:
    """An entry of "input" in config.json, of data."""
    shape: List[Any] = list(value.shape[1:])
    if any_length:
        shape[0] = "sequence"
    kind = "FP32" if value.is_floating_point() else "INT64"
    if value.dtype == torch.uint8:
        kind = "UINT8"
    return {"name": name, "datatype": kind, "shape": shape}


def stored(value: torch.Tensor, is_mask: bool) -> np.ndarray:
    """A tensor as example.safetensors holds it."""
    if is_mask or value.dtype in (torch.int32, torch.int16, torch.int8):
        value = value.long()
    return value.detach().cpu().contiguous().numpy()


def _parameters(module) -> Dict[str, inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    signature = inspect.signature(unwrapped(module).forward)
    return {
        name: each for name, each in signature.parameters.items() if each.kind in kinds
    }


def _named(given, names) -> dict:
    if isinstance(given, dict):
        unknown = [name for name in given if name not in names]
        if unknown:
            raise ExportError(
                f"the network's forward takes {', '.join(names)}, got an example of "
                + ", ".join(map(str, unknown))
            )
        return dict(given)
    if not isinstance(given, (tuple, list)) or not all(
        hasattr(each, "shape") for each in given
    ):
        given = (given,)
    if len(given) > len(names):
        raise ExportError(f"{len(given)} example inputs, the forward takes {len(names)}")
    return dict(zip(names, given))


def _random(module, names, shape) -> dict:
    """The same each time: normal floats, or ids of the first embedding."""
    name = next(iter(names), None)
    if name is None:
        raise ExportError("the network's forward takes no input")
    others = [
        other for other, each in list(names.items())[1:]
        if each.default is inspect.Parameter.empty
    ]
    if others:
        raise ExportError(
            f"the forward wants {', '.join(others)}, too: give example_inputs"
        )
    generator = torch.Generator().manual_seed(1)
    first = _first_layer(module)
    if isinstance(first, torch.nn.Embedding):
        size = (ROWS, *(shape or (TOKENS,)))
        ids = torch.randint(0, first.num_embeddings, size, generator=generator)
        return {name: ids}
    if shape is None and isinstance(first, torch.nn.Linear):
        shape = (first.in_features,)
    if shape is None:
        raise ExportError(
            "nothing says what the network's input is: give example_inputs, or "
            "input_shape, the shape of one row"
        )
    return {name: torch.randn(ROWS, *shape, generator=generator)}


def _checked(shape) -> tuple:
    """The shape of one row, numbers above 0."""
    try:
        sizes = tuple(operator.index(each) for each in shape)
    except TypeError:
        sizes = ()
    if not sizes or min(sizes) < 1 or math.prod(sizes) > ROW_NUMBERS_MAX:
        raise ExportError(
            f"input_shape is {shape!r}, wanted numbers above 0, like (3, 32, 32), of "
            f"{ROW_NUMBERS_MAX} elements at most"
        )
    return sizes


def _first_layer(module):
    """The first embedding; else the first module with weights of its own."""
    own = [each for each in module.modules() if list(each.parameters(recurse=False))]
    return next((each for each in own if isinstance(each, torch.nn.Embedding)),
                own[0] if own else None)


def _tensor(name: str, value) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        try:
            value = torch.from_numpy(np.array(value))
        except (TypeError, ValueError) as error:  # strings, rows of several lengths
            raise ExportError(
                f"input {name} is no array of floats or integers: {error}"
            ) from error
    if value.is_floating_point():
        value = value.float()
    kinds = (torch.float32, torch.uint8, torch.int8, torch.int16, torch.int32,
             torch.int64, torch.bool)
    if value.dtype not in kinds:
        raise ExportError(f"input {name} is {value.dtype}, wanted floats or integers")
    return value.detach().clone()


def _roles(example, mask: Optional[str]):
    if mask is None and len(example) > 1:
        mask = next((name for name in example if "mask" in name), None)
    if mask is not None and mask not in example:
        raise ExportError(f"no example input is called {mask}")
    data = [name for name in example if name != mask]
    if len(data) != 1:
        raise ExportError(
            f"{len(data)} inputs of data ({', '.join(data)}), wanted one, and at most "
            "one mask; `mask` says which it is"
        )
    if mask is not None and example[mask].is_floating_point():
        raise ExportError(f"input {mask} is a mask of floats, wanted integers or bool")
    return data[0], mask


def _check_shapes(example, data: str) -> None:
    rows = len(example[data]) if example[data].dim() else 0
    if example[data].dim() < 2 or not rows:
        raise ExportError(
            f"the example of {data} is {list(example[data].shape)}, wanted "
            "[rows, ..], one row at least"
        )
    if example[data].is_floating_point() and not bool(example[data].isfinite().all()):
        raise ExportError(f"the example of {data} holds NaN or infinity")
    if example[data].numel() == 0:
        raise ExportError(f"the example of {data} is empty: {list(example[data].shape)}")
    for name, value in example.items():
        if name != data and value.shape[:2] != example[data].shape[:2]:
            raise ExportError(
                f"the example of {name} is {list(value.shape)}, wanted one number per "
                f"token of {data}, {list(example[data].shape[:2])}"
            )


def _rows_max(data: torch.Tensor) -> int:
    ids = not data.is_floating_point() and data.dtype != torch.uint8
    sequence = data.dim() == (2 if ids else 3)
    return max(1, EXAMPLE_TOKENS_MAX // (data.shape[1] if sequence else 1))


def rows_for(answer: torch.Tensor, rows: int) -> int:
    """How many of the example's rows a server takes, by what they answer."""
    per_row = answer.numel() // rows
    if per_row > EXAMPLE_FLOATS_MAX:
        raise ExportError(
            f"one row of the example answers {per_row} numbers; a server takes at "
            f"most {EXAMPLE_FLOATS_MAX}: give an example with fewer tokens"
        )
    return min(rows, EXAMPLE_FLOATS_MAX // max(1, per_row))


def _more_rows(value: torch.Tensor) -> torch.Tensor:
    """ROWS to PROBE_ROWS_MAX: the given ones, and they with columns turned."""
    parts = [value[:PROBE_ROWS_MAX]]
    while sum(map(len, parts)) < ROWS:
        parts.append(value.roll(len(parts), -1))
    return torch.cat(parts)


def _with_gaps(mask: torch.Tensor) -> torch.Tensor:
    """Leaves at least the first token, and not all of the others."""
    mask = torch.ones_like(mask)
    for row in range(len(mask)):
        kept = max(1, mask.shape[1] - row)
        mask[row, kept:] = 0
    return mask
