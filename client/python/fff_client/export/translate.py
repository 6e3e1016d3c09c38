"""From a module to what is written: config, tensors and example."""

from typing import Dict, List, NamedTuple

import numpy as np
import torch

from . import check, hooks, inputs as inputs_of, leaves, precision
from .errors import ExportError
from .graph import Trace
from .keep import as_it_was
from .lower import Lowering
from .state import state_dict_tensors
from .trace import ValueTracer, unwrapped
from .weights import Weights

OUTPUT = "output"
# Layers that want sequences of one length.
_ONE_LENGTH = ("class_token", "flatten", "tokens", "patches", "shifted_patches",
               "conv2d", "max_pool2d", "avg_pool2d", "batch_norm")


class Translation(NamedTuple):
    """config: of config.json. tensors and example: by name, as arrays. notes: for
    the user."""

    config: dict
    tensors: Dict[str, np.ndarray]
    example: Dict[str, np.ndarray]
    notes: List[str]


def translate(module, given, shape, mask, any_length, labels) -> Translation:
    """Arguments and errors are those of export_network."""
    module = unwrapped(module)
    if isinstance(module, torch.jit.ScriptModule):
        raise ExportError("a TorchScript module: export the module it was made of")
    hooks.check(module)
    precision.check_tensors(module)
    given = inputs_of.prepare(module, given, shape, mask)
    with as_it_was(module):
        _plain_encoders(module)
        own = precision.own_answer(module, given.example)
    with precision.in_float32(module) as dtypes:
        made = _translated(module, given, any_length, labels, dtypes)
    answer = torch.from_numpy(made.example[f"output.{OUTPUT}"])
    precision.check_answer(own, answer, dtypes)
    return made


def _translated(module, given, any_length, labels, dtypes) -> Translation:
    """given: inputs.Inputs. dtypes: of precision.in_float32."""
    with as_it_was(module) as is_changed:
        _plain_encoders(module)
        network = _found(module, given, " in float32" if precision.others(dtypes) else "")
        data = given.example[given.data]
        ids = not data.is_floating_point() and data.dtype != torch.uint8
        free = ids if any_length is None else any_length
        if free and data.dim() < (2 if ids else 3):
            raise ExportError(f"any_length: rows of {given.data} are no sequences")
        free = free and _of_any_length(network.layers)
        if free and data.shape[1] > inputs_of.EXAMPLE_TOKENS_MAX:
            raise ExportError(
                f"one row of the example has {data.shape[1]} tokens; a server takes "
                f"at most {inputs_of.EXAMPLE_TOKENS_MAX}"
            )
        check.check(network, free)
        notes = check.notes(network)
        optional = check.does_without_mask(network)
        given, answer = _cut(module, given)
        *_, served = check.evaluate(network, given.example, torch.float32)
        for name, value in network.tensors.items():
            if is_changed(value):
                raise ExportError(f"the forward changes {name}, which it uses")
    _answers_again(module, given, answer)
    config = {"input": _ports(given, free, optional), "layers": network.layers}
    if labels is not None:
        if len(labels) != served.shape[-1]:
            raise ExportError(
                f"{len(labels)} labels, the network answers {served.shape[-1]} columns"
            )
        config["output"] = {"name": OUTPUT, "labels": [str(each) for each in labels]}
    example = {
        f"input.{name}": inputs_of.stored(value, name == given.mask)
        for name, value in given.example.items()
    }
    example[f"output.{OUTPUT}"] = inputs_of.stored(
        answer.reshape(served.shape), False
    )
    tensors = state_dict_tensors(precision.stored(network.tensors, dtypes))
    return Translation(config, tensors, example, notes)


def _answers_again(module, given, answer) -> None:
    """Raises ExportError where the module, as it was, answers otherwise: where what
    it held changed, which is not written."""
    with as_it_was(module):
        _plain_encoders(module)
        again = check.answer_of(module, given.example)
    if not torch.allclose(again, answer, rtol=1e-3, atol=1e-3 * float(answer.abs().max())):
        raise ExportError("the network answers otherwise each time that it is new")


def _cut(module, given):
    """The inputs with as many rows as a server takes, and their answer."""
    answer = check.answer_of(module, given.example)
    rows = len(given.example[given.data])
    kept = inputs_of.rows_for(answer, rows)
    if kept == rows:
        return given, answer
    example = {name: value[:kept] for name, value in given.example.items()}
    return given._replace(example=example), check.answer_of(module, example)


def _plain_encoders(module) -> None:
    """Encoders answer for padded tokens, too: nested tensors drop these."""
    for each in module.modules():
        if leaves.type_of(each) == "TransformerEncoder":
            for name in ("enable_nested_tensor", "use_nested_tensor"):
                if getattr(each, name, False):
                    setattr(each, name, False)


def _found(module, given, how: str) -> check.Network:
    """Traces the module and finds its layers. how: it computes, for messages."""
    check.run(module, "its example" + how, given.example)
    check.run(module, "more rows than its example's", given.probe)
    tracer = ValueTracer(module, given.probe)
    graph = tracer.run()
    weights = Weights(module)
    weights.looked_up = tracer.looked_up
    lowering = Lowering(
        Trace(graph, tracer.root, given.data), weights, given.probe.get(given.mask)
    )
    layers = lowering.network()
    if not layers:
        raise ExportError("the network answers its input: there is no layer")
    if not weights.used:
        raise ExportError("the network has no weights that are used")
    return check.Network(module, layers, weights.used, lowering, given)


def _of_any_length(layers) -> bool:
    return not any(
        layer["type"] in _ONE_LENGTH or not _of_any_length(layer.get("layers", []))
        for layer in layers
    )


def _ports(given, free: bool, optional: bool) -> list:
    ports = []
    for name, value in given.example.items():
        port = inputs_of.port(name, value, free)
        if name == given.mask:
            port.update(datatype="INT64", role="mask", optional=optional)
        ports.append(port)
    return ports
