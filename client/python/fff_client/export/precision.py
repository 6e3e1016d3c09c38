"""Modules in float16, bfloat16 or float64: FFF Serving computes in float32.

So they are exported as they answer in float32. float32 holds every number of
float16 and bfloat16; those of float64 are rounded to it.
"""

import contextlib
from typing import Dict, Iterator, Optional

import torch

from .check import SHARE_MAX, answer_of
from .errors import ExportError

# Of the dtype's own rounding, what a network may be off by: the sums of some
# dozen layers.
_ROUNDINGS = 32
# What checkpoints of a server may hold; others are written as float32.
_STORED = (torch.float16, torch.bfloat16)

Dtypes = Dict[str, torch.dtype]


def check_tensors(module) -> None:
    """Raises ExportError unless parameters and buffers are dense."""
    for name, value in _tensors(module):
        if value.is_meta or value.is_quantized or value.layout != torch.strided:
            raise ExportError(f"{name} is meta, quantised or sparse, wanted dense")


@contextlib.contextmanager
def in_float32(module) -> Iterator[Dtypes]:
    """Parameters and buffers in float32, afterwards as they were.

    Yields the dtypes that floats had, by name. Tensors made without a dtype are
    float32 as well. Raises ExportError for numbers beyond float32.
    """
    floats = {
        name: value for name, value in _tensors(module) if value.is_floating_point()
    }
    for name, value in floats.items():
        if value.dtype == torch.float64 and bool(
            (value.float().isinf() & ~value.isinf()).any()
        ):
            raise ExportError(f"{name} holds numbers beyond float32 (3.4e38)")
    held = [(value, value.data) for value in floats.values()
            if value.dtype != torch.float32]
    dtypes = {name: value.dtype for name, value in floats.items()}
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        for value, data in held:
            value.data = data.float()
        yield dtypes
    finally:
        torch.set_default_dtype(usual)
        for value, data in held:
            value.data = data


def own_answer(answering, inputs: Dict[str, torch.Tensor]) -> Optional[torch.Tensor]:
    """What a module in eval mode answers in its own dtype; None of float32, and where torch
    cannot compute it, as float16 on a CPU.

    answering: an outputs.Answering.
    """
    dtype = next(
        (value.dtype for _, value in _tensors(answering.module)
         if value.is_floating_point() and value.dtype != torch.float32), None)
    if dtype is None:
        return None
    inputs = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in inputs.items()
    }
    try:
        return answer_of(answering, inputs)
    except Exception:  # torch's or the module's own
        return None


def check_answer(own: Optional[torch.Tensor], answer: torch.Tensor,
                 dtypes: Dtypes) -> None:
    """Raises ExportError where a module answers otherwise in float32.

    own: of own_answer. answer: of its first rows, perhaps with rows and tokens
    apart. Most vectors must agree, as rounding may turn single decisions of FFF
    layers.
    """
    if own is None or not bool(own.isfinite().all()):
        return  # narrow dtypes overflow
    answer = answer.reshape(-1, answer.shape[-1])
    own = own.cpu().reshape(-1, answer.shape[-1])[: len(answer)]
    roundings = _ROUNDINGS * max(torch.finfo(each).eps for each in others(dtypes))
    off = (own.double() - answer.double()).abs()
    usual = float(off.amax(-1).median())
    if usual > max(SHARE_MAX, roundings) * float(answer.abs().max()):
        names = ", ".join(sorted(map(str, others(dtypes))))
        raise ExportError(
            f"the network answers otherwise in float32, which FFF Serving computes "
            f"in, than in {names}, by {usual:.3g}: export what module.float() should "
            "answer"
        )


def others(dtypes: Dtypes) -> set:
    """Those that are not float32."""
    return {*dtypes.values()} - {torch.float32}


def stored(tensors: Dict[str, torch.Tensor], dtypes: Dtypes) -> Dict[str, torch.Tensor]:
    """The tensors in the narrower dtypes that they had, where these hold them."""
    return {name: _narrow(value, dtypes.get(name), dtypes)
            for name, value in tensors.items()}


def _narrow(value: torch.Tensor, dtype: Optional[torch.dtype],
            dtypes: Dtypes) -> torch.Tensor:
    """dtype: of the module's own tensors; others may be made of such ones."""
    for each in [dtype] if dtype else sorted(others(dtypes), key=str):
        if each in _STORED and value.dtype == torch.float32 and torch.equal(
            value.to(each).float(), value
        ):
            return value.to(each)
    return value


def _tensors(module):
    return [*module.named_parameters(), *module.named_buffers()]
