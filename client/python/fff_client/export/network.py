"""Exports a whole network: weights, config.json and an example.

torch is imported when a network is exported, not before.
"""

import warnings
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence

from .errors import ExportError


class Exported(NamedTuple):
    """config: what config.json says. version_folder: where weights and example
    are. config_path: the config.json. tensors: how many were written."""

    config: Mapping[str, Any]
    version_folder: str
    config_path: str
    tensors: int


def export_network(
    module,
    folder: str,
    example_inputs=None,
    *,
    input_shape: Optional[Sequence[int]] = None,
    mask: Optional[str] = None,
    any_length: Optional[bool] = None,
    labels: Optional[List[str]] = None,
    outputs: Optional[Mapping[str, Any]] = None,
) -> Exported:
    """Writes a network as one version of a model that FFF Serving serves.

    module: a torch.nn.Module of any float dtype, in any mode, on any device. It
        runs in eval mode and in float32, and is left as it was. Tensors of
        float16 and bfloat16 are written as such, others as float32.
    folder: the version's, such as "models/my-network/1"; it must not hold
        anything. There come model.safetensors (the tensors that are used, under
        the names of the state_dict) and example.safetensors (`input.<port>`,
        `output.<port>`: the example, and what the module itself answered).
        config.json comes beside it, in "models/my-network"; one that is there
        must describe the same layers, and stays.
    example_inputs: a tensor or array [rows, ..], or several, by order or by name
        of the forward's parameters. Left out, it is random, the same each time:
        ids of the first embedding, or floats of `input_shape`. Of a large one,
        the first rows are stored: at most 4,096, or 4,096 tokens of sequences.
    input_shape: of one row, where no example is given.
    mask: the parameter that holds 1 for tokens that count; the one with "mask"
        in its name when left out.
    any_length: whether sequences of any length are served; when left out, those
        of ids are. False serves the example's length alone.
    labels: the names of the classes, of the main output.
    outputs: of a module that answers a tuple or a dict of tensors, {name: its key
        there}, the main output first. Left out, all: a dict's under their keys, a
        tuple's as "output", "output_1", ...

    The module is traced with torch.fx. What it answers is compared with what
    the layers of config.json compute: row by row, on tiny and huge numbers, on
    shorter and longer sequences, and with masks of all kinds. So nothing is
    written that answers otherwise. Only for a mask that is 0 for all tokens of a
    row may answers differ: FFF Serving then answers as without a mask, and a
    UserWarning says that the module does not. Raises ExportError, which
    names the operation and the line of its source, where FFF Serving has no
    such layer; OSError from the file system; ImportError without torch.
    """
    if not callable(getattr(module, "named_modules", None)) or isinstance(module, type):
        raise ExportError(f"wanted a torch module, got {type(module).__name__}")
    if isinstance(labels, str):
        raise ExportError("labels are a str, wanted a list of the names of classes")
    from . import translate, write

    write.check_folder(folder)
    made = translate.translate(
        module, example_inputs, input_shape, mask, any_length, labels, outputs
    )
    config_path = write.write(folder, made)
    for note in made.notes:
        warnings.warn(note, stacklevel=2)
    return Exported(made.config, folder, config_path, len(made.tensors))
