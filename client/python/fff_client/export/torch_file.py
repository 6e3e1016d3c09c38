"""The state_dict of a file that torch.save wrote."""

import inspect
from typing import Mapping, Optional

import numpy as np

from ..export_entry import EntryError, choose, flatten
from .errors import ExportError
from .script import classes_of


def load_state_dict(
    path: str, entry: Optional[str] = None, allow_pickle: bool = False,
    script: Optional[str] = None,
) -> Mapping:
    """Loads the state_dict of a file that torch.save wrote.

    path: a torch zip archive or an old torch file; its tensors land on the CPU.
    entry: the dict that holds the state_dict, a path of keys with dots between,
        like "checkpoint_entry" of config.json ("." is the top level). Left out,
        there must be one that can be meant; export_entry has the rules.
    allow_pickle: also load files that hold more than tensors. That executes
        whatever code the file asks for, so only for files you made yourself.
    script: with allow_pickle, the training script (FILE.py) whose classes the
        file's objects are of. It is run, but not as __main__.

    Returns its tensors and numbers by name; what else stands in it is left out.
    Raises ExportError when the file holds no state_dict, when several dicts
    could be it, when it needs allow_pickle, or when torch cannot read it.
    """
    with classes_of(script if allow_pickle else None):
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
        if allow_pickle and isinstance(error, (AttributeError, ImportError)):
            hint = " (--script FILE.py names the script that has the class)"
        raise ExportError(f"{path}: torch cannot read it: {error}{hint}") from error
