"""Tensors of a module or state_dict, as arrays that safetensors holds."""

import os
from collections.abc import Mapping as AbstractMapping
from typing import Any, Dict, Mapping, Optional

import numpy as np

from ..safetensors import RawTensor, Tensor, write_safetensors
from .errors import ExportError

_WRAPPERS = ("module.", "_orig_mod.", "model.")
_WRAPPERS_MAX = 4


def export_module(
    module_or_state_dict,
    path: str,
    metadata: Optional[Mapping[str, str]] = None,
    prefix: str = "",
) -> Dict[str, Tensor]:
    """Writes a torch module or its state_dict to a safetensors file.

    module_or_state_dict: a torch.nn.Module, or a mapping of names to tensors on
        any device, of any stride. Shapes and dtypes are kept (float64, float32,
        float16, bfloat16, int64, int32, int16, int8, uint8, bool). Other
        tensors keep their values: sparse ones become dense, quantised and
        float8 ones float32, unsigned ones the next wider signed integer.
    path: the file; its folder is created when it is missing.
    metadata: strings by name, stored beside "format": "pt".
    prefix: only names that start with it are exported, and without it: use it
        to take one layer out of a larger network.

    Returns what was written, by name. Raises ExportError when an entry is no
    tensor, is complex or has no data, or when nothing is left to write, OSError
    from the file system.
    """
    tensors = state_dict_tensors(module_or_state_dict, prefix)
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    try:
        write_safetensors(path, tensors, {"format": "pt", **(metadata or {})})
    except TypeError as error:
        raise ExportError(str(error)) from error
    return tensors


def named_as(names, tensors: Mapping) -> Dict[str, Any]:
    """The tensors without what wrappers put in front of all of their names.

    names: of the module that the tensors are for. Those of torch.compile and of
    parallel training go, and that of Lightning, where the module has no such names;
    the former also where they stand inside. What fits as it is, stays.
    """
    tensors = dict(tensors)
    for _ in range(_WRAPPERS_MAX):
        if any(name in names for name in tensors):
            break
        wrapper = next((each for each in _WRAPPERS if all(
            name.startswith(each) for name in tensors)), None)
        if wrapper is None:
            break
        tensors = {name[len(wrapper):]: each for name, each in tensors.items()}
    inside = {name.replace("._orig_mod.", "."): name for name in tensors}
    if len(inside) == len(tensors) and not any("._orig_mod." in name for name in names):
        tensors = {name: tensors[told] for name, told in inside.items()}
    return tensors


def state_dict_tensors(
    module_or_state_dict, prefix: str = ""
) -> Dict[str, Tensor]:
    """Returns the tensors of a module or state_dict as arrays, copied to the CPU.

    Arguments and errors are those of export_module; bfloat16, which numpy
    lacks, becomes a RawTensor.
    """
    state = module_or_state_dict
    if callable(getattr(state, "state_dict", None)):
        state = state.state_dict()
    if not isinstance(state, AbstractMapping):
        raise ExportError(
            "wanted a torch module or a state_dict, got "
            f"{type(module_or_state_dict).__name__}"
        )
    tensors = {
        name[len(prefix) :]: _to_tensor(name, value)
        for name, value in state.items()
        if name.startswith(prefix)
    }
    if not tensors:
        raise ExportError(
            f"no tensor's name starts with {prefix!r}; there are: "
            + (", ".join(state) or "none at all")
        )
    return tensors


def _to_tensor(name: str, value) -> Tensor:
    if isinstance(value, (np.ndarray, RawTensor)):
        return value
    if not callable(getattr(value, "detach", None)):
        raise ExportError(f"{name}: wanted a tensor, got {type(value).__name__}")
    import torch

    if value.is_meta:
        raise ExportError(f"{name}: it is on the meta device and has no data")
    value = _in_stored_dtype(name, value.detach().cpu()).contiguous()
    if value.dtype == torch.bfloat16:
        bits = value.view(torch.int16).numpy().astype("<i2", copy=False)
        return RawTensor("BF16", tuple(value.shape), bits.tobytes())
    try:
        return value.numpy()
    except (TypeError, RuntimeError) as error:
        raise ExportError(f"{name}: {value.dtype} cannot be stored") from error


def _in_stored_dtype(name: str, value):
    """The same values as a dense tensor of a dtype that safetensors has."""
    import torch

    if value.is_quantized:
        value = value.dequantize()
    if value.layout != torch.strided:
        value = value.to_dense()
    if callable(getattr(value, "resolve_neg", None)):
        value = value.resolve_neg()
    dtype = str(value.dtype)
    if dtype.startswith("torch.float8"):
        return value.to(torch.float32)
    wider = {
        "torch.uint16": torch.int32,
        "torch.uint32": torch.int64,
        "torch.uint64": torch.int64,
    }.get(dtype)
    if wider is None:
        return value
    signed = value.to(wider)
    if dtype == "torch.uint64" and bool((signed < 0).any()):
        raise ExportError(f"{name}: holds integers of 2^63 and more")
    return signed
