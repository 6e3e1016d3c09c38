"""The command line of the exporter.

    python3 -m fff_client.export model.pt -o models/my-model/1/model.safetensors
    python3 -m fff_client.export --module train.py:make_model --weights model.pt \\
        -o models/my-network/1
"""

import argparse
import os
import sys
from typing import Mapping

import numpy as np

from ..safetensors import Tensor
from .errors import ExportError
from .network import export_network
from .script import made_module, told
from .state import export_module, named_as
from .torch_file import load_state_dict

_EPILOG = """examples:
  python3 -m fff_client.export model.pt -o models/my-model/1/model.safetensors
  python3 -m fff_client.export --module net.py:make_net --weights model.pt \\
      --input-shape 3,32,32 -o models/my-network/1
"""


def main(arguments=None) -> int:
    """Runs the command line; returns its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.checkpoint is None) == (options.module is None):
        parser.error("give either a checkpoint or --module")
    try:
        if options.module is None:
            _export_checkpoint(options)
        else:
            _export_network(options)
    except ImportError as error:
        what = "torch is needed" if error.name == "torch" else "export failed"
        print(f"{what}: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"export failed: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # of the user's code or files
        print(f"export failed: {told(error)}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m fff_client.export",
        description="Turns a PyTorch checkpoint into the safetensors file that "
        "FFF Serving loads, or a network into a version's folder.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("checkpoint", nargs="?", help="file written by torch.save")
    add("-o", "--output", required=True, metavar="PATH",
        help="the file, or with --module the version's folder")
    add("--prefix", default="",
        help="take the tensors whose names start with this, such as one layer's")
    add("--entry", "--key", metavar="PATH",
        help="dict of the file that holds the state_dict, like ema.state_dict; "
        'the same as "checkpoint_entry" of config.json')
    add("--allow-pickle", action="store_true",
        help="load files that hold more than tensors; executes their code")
    add("--script", metavar="FILE.py",
        help="with --allow-pickle: the script that has the classes of the file's "
        "objects; runs it. Left out, that of --module")
    network = parser.add_argument_group("whole networks")
    add = network.add_argument
    add("--module", metavar="FILE.py:NAME",
        help="a torch module, or a function without arguments that makes one; runs "
        "the file. A module's dotted name may stand for the file")
    add("--weights", metavar="FILE",
        help="load this file's state_dict into the module")
    add("--input-shape", metavar="N,N,..", type=_numbers,
        help="the shape of one row, for a random example")
    add("--example", metavar="[NAME=]FILE.npy", action="append", default=[],
        help="an example input [rows, ..]; once per input")
    add("--mask", metavar="NAME", help="the input that is a mask")
    add("--any-length", action="store_true", default=None,
        help="serve sequences of any length")
    add("--one-length", dest="any_length", action="store_false",
        help="serve sequences of the example's length alone")
    return parser


def _export_checkpoint(options) -> None:
    state = load_state_dict(
        options.checkpoint, options.entry, options.allow_pickle, options.script)
    tensors = export_module(state, options.output, prefix=options.prefix)
    _print_tensors(tensors)
    print(f"wrote {options.output}: {os.path.getsize(options.output)} bytes")


def _export_network(options) -> None:
    module = made_module(options.module)
    if options.weights:
        _load_weights(module, options)
    made = export_network(
        module, options.output, _examples(options.example),
        input_shape=options.input_shape, mask=options.mask,
        any_length=options.any_length,
    )
    print(f"wrote {made.version_folder}: {made.tensors} tensors, an example")
    print(f"wrote {made.config_path}: {len(made.config['layers'])} layers")
    if "input" in made.config:
        print(f"one row: {_ports(made.config['input'])}")
    if not options.weights:
        print("no --weights: the weights are those that the module was made with")


def _ports(ports) -> str:
    """One port of config.json or several: "x [3, 32, 32]"."""
    each = ports if isinstance(ports, list) else [ports]
    return ", ".join(f"{port['name']} {port.get('shape', 'of any shape')}" for port in each)


def _print_tensors(tensors: Mapping[str, Tensor]) -> None:
    for name in sorted(tensors):
        shape = list(tensors[name].shape)
        print(f"{name:32} {tensors[name].dtype} {shape}")


def _load_weights(module, options) -> None:
    import torch

    from .trace import unwrapped

    module = unwrapped(module)
    script = options.script or options.module.rpartition(":")[0]
    state = load_state_dict(
        options.weights, options.entry, options.allow_pickle,
        script if script.endswith(".py") else None)
    tensors = {
        name[len(options.prefix):]: torch.as_tensor(value)
        for name, value in state.items() if name.startswith(options.prefix)
    }
    if not tensors:
        raise ExportError(
            f"{options.weights}: no tensor's name starts with {options.prefix!r}; there "
            f"are: {', '.join(state) or 'none at all'}"
        )
    try:
        module.load_state_dict(named_as(module.state_dict(), tensors))
    except RuntimeError as error:  # names or shapes that do not fit
        raise ExportError(f"{options.weights}: {error}") from error


def _examples(words):
    """Arrays by name, or in the order given where none has a name."""
    if not words:
        return None
    named = {}
    for i, word in enumerate(words):
        name, equals, path = word.partition("=")
        named[name if equals else i] = np.load(path if equals else word)
    if all(isinstance(name, int) for name in named):
        return tuple(named.values())
    return named


def _numbers(text: str):
    try:
        return [int(each) for each in text.replace("x", ",").split(",") if each]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: wanted numbers like 3,32,32")
