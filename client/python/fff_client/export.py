"""Exports PyTorch networks to the safetensors files that FFF Serving loads.

In a training script:

    from fff_client.export import export_module
    export_module(model, "models/my-model/1/model.safetensors")

From a file that torch.save wrote (also the old format that is not a zip
archive, and sparse, quantised and float8 tensors, which the server does not
read):

    python3 -m fff_client.export model.pt -o models/my-model/1/model.safetensors

torch is imported only when it is needed. The names of the tensors are those of
the state_dict: the conventions of the server go by them.
"""

import argparse
import inspect
import os
import sys
from collections.abc import Mapping as AbstractMapping
from typing import Dict, Mapping, Optional

import numpy as np

from .export_entry import EntryError, choose, flatten
from .safetensors import (
    RawTensor,
    SafetensorsError,
    Tensor,
    read_metadata,
    read_safetensors,
    write_safetensors,
)

__all__ = [
    "ExportError",
    "RawTensor",
    "SafetensorsError",
    "export_module",
    "load_state_dict",
    "read_metadata",
    "read_safetensors",
    "state_dict_tensors",
    "write_safetensors",
]


class ExportError(ValueError):
    """The file or object does not hold a state_dict that can be exported."""


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


def load_state_dict(
    path: str, entry: Optional[str] = None, allow_pickle: bool = False
) -> Mapping:
    """Loads the state_dict of a file that torch.save wrote.

    path: a torch zip archive or an old torch file; its tensors land on the CPU.
    entry: the dict that holds the state_dict, a path of keys with dots between,
        like "checkpoint_entry" of config.json ("." is the top level). Left out,
        there must be one that can be meant; export_entry has the rules.
    allow_pickle: also load files that hold more than tensors. That executes
        whatever code the file asks for, so only for files you made yourself.

    Returns its tensors and numbers by name; what else stands in it is left out.
    Raises ExportError when the file holds no state_dict, when several dicts
    could be it, when it needs allow_pickle, or when torch cannot read it.
    """
    content = _torch_load(path, allow_pickle)
    try:
        try:
            state = choose(_without_module(content), entry)
        except EntryError:
            # Whole modules and arrays stand for what the server reads only
            # where nothing else does.
            if not allow_pickle or not isinstance(content, dict):
                raise
            state = choose(
                {key: _as_tensors(value) for key, value in content.items()},
                entry,
            )
        return {
            name: _number_as_array(value)
            for name, value in flatten(state).items()
        }
    except EntryError as error:
        raise ExportError(f"{path}: {error}") from error


def _without_module(value):
    if callable(getattr(value, "named_parameters", None)):
        return value.state_dict()
    return value


def _as_tensors(value):
    import torch

    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, dict):
        return {key: _as_tensors(item) for key, item in value.items()}
    return _without_module(value)


def _number_as_array(value):
    if isinstance(value, int):
        return np.array(value, np.int64)
    return np.array(value, np.float64) if isinstance(value, float) else value


def _torch_load(path: str, allow_pickle: bool):
    import torch

    options = {"map_location": "cpu"}
    if "weights_only" in inspect.signature(torch.load).parameters:
        options["weights_only"] = not allow_pickle
    elif not allow_pickle:
        raise ExportError(
            f"torch {torch.__version__} cannot load tensors without executing "
            "what the file asks for; use torch 1.13 or newer, or allow pickle "
            "for a file you trust"
        )
    try:
        return torch.load(path, **options)
    except OSError:
        raise
    except Exception as error:  # torch raises whatever its pickle reader meets
        hint = "" if allow_pickle else (
            " (a file that holds more than tensors is loaded with --allow-pickle;"
            " that executes its code, so only for files you made yourself)"
        )
        raise ExportError(f"{path}: torch cannot read it: {error}{hint}") from error


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


def _describe(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


def main(arguments=None) -> int:
    """Runs the command line; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python3 -m fff_client.export",
        description="Turns a PyTorch checkpoint into the safetensors file that "
        "FFF Serving loads.",
        epilog="example: python3 -m fff_client.export model.pt "
        "-o models/my-model/1/model.safetensors",
    )
    parser.add_argument("checkpoint", help="file written by torch.save")
    parser.add_argument("-o", "--output", required=True, metavar="FILE")
    parser.add_argument(
        "--prefix", default="", help="export one layer: names starting with this"
    )
    parser.add_argument(
        "--entry",
        "--key",
        metavar="PATH",
        help="dict of the file that holds the state_dict, like ema.state_dict; "
        "the same as \"checkpoint_entry\" of config.json",
    )
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="load files that hold more than tensors; executes their code",
    )
    options = parser.parse_args(arguments)
    try:
        state = load_state_dict(
            options.checkpoint, options.entry, options.allow_pickle
        )
        tensors = export_module(state, options.output, prefix=options.prefix)
    except ImportError as error:
        print(f"torch is needed to read a checkpoint: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"export failed: {error}", file=sys.stderr)
        return 1
    for name in sorted(tensors):
        print(f"{name:32} {_describe(tensors[name])}")
    print(f"wrote {options.output}: {os.path.getsize(options.output)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
