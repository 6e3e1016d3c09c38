"""From a module to what is written: config, tensors and example."""

from typing import Dict, List, NamedTuple

import numpy as np
import torch

from . import check, hooks, inputs as inputs_of, leaves, outputs as outputs_of, precision
from .errors import ExportError
from .graph import Trace
from .keep import as_it_was
from .lower import Lowering
from .state import state_dict_tensors
from .outputs import MAIN, Answering
from .trace import ValueTracer, unwrapped
from .weights import Weights

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


class _Part(NamedTuple):
    """One output of a network, by itself. tensors: as torch has them."""

    ports: List[dict]
    layers: List[dict]
    tensors: Dict[str, torch.Tensor]
    given: inputs_of.Inputs
    answer: torch.Tensor  # for the example, shaped as the server answers
    notes: List[str]


def translate(module, given, shape, mask, any_length, labels, outputs=None) -> Translation:
    """Arguments and errors are those of export_network."""
    module = unwrapped(module)
    if isinstance(module, torch.jit.ScriptModule):
        raise ExportError("a TorchScript module: export the module it was made of")
    hooks.check(module)
    precision.check_tensors(module)
    given = inputs_of.prepare(module, given, shape, mask)
    keys = _keys(module, given, outputs)
    outputs_of.check_names(keys)
    parts: Dict[str, _Part] = {}
    for name, key in keys.items():
        try:
            parts[name] = _part(Answering(module, key), given, any_length)
        except ExportError as error:
            if len(keys) == 1:
                raise
            raise ExportError(f"output {name!r}: {error}") from error
    return _joined(parts, labels)


def _keys(module, given, outputs) -> dict:
    """The outputs' names and keys, as outputs.keys_of."""
    with as_it_was(module):
        _plain_encoders(module)
        with precision.in_float32(module):
            with torch.no_grad():
                try:
                    result = outputs_of.answers(module, given.example)
                except Exception:  # told where the first output is looked at
                    return {MAIN: None}
    return outputs_of.keys_of(result, outputs)


def _part(answering, given, any_length) -> _Part:
    module = answering.module
    with as_it_was(module):
        _plain_encoders(module)
        own = precision.own_answer(answering, given.example)
    with precision.in_float32(module) as dtypes:
        part = _translated(answering, given, any_length, dtypes)
    precision.check_answer(own, part.answer, dtypes)
    return part


def _joined(parts: Dict[str, _Part], labels) -> Translation:
    """What is written, of all outputs together."""
    (main, first), *others = parts.items()
    ports = first.ports
    for name, part in others:
        for mine, its in zip(ports, part.ports):
            if mine["shape"] != its["shape"]:
                raise ExportError(
                    f"output {main!r} takes {mine['name']} of {mine['shape']}, output "
                    f"{name!r} {its['shape']}: any_length=False (--one-length) serves "
                    "all in one length"
                )
            if "optional" in mine:
                mine["optional"] = mine["optional"] and its["optional"]
    layers = outputs_of.joined({name: part.layers for name, part in parts.items()})
    config = {"input": ports, "layers": layers}
    if labels is not None:
        columns = first.answer.shape[-1]
        if len(labels) != columns:
            raise ExportError(
                f"{len(labels)} labels, the network answers {columns} columns"
            )
        config["output"] = {"name": main, "labels": [str(each) for each in labels]}
    elif main != MAIN:
        config["output"] = {"name": main}
    given = min((part.given for part in parts.values()),
                key=lambda each: len(each.example[each.data]))
    rows = len(given.example[given.data])
    example = {
        f"input.{name}": inputs_of.stored(value, name == given.mask)
        for name, value in given.example.items()
    }
    for name, part in parts.items():
        example[f"output.{name}"] = inputs_of.stored(part.answer[:rows], False)
    tensors: Dict[str, np.ndarray] = {}
    for part in parts.values():
        for name, value in state_dict_tensors(part.tensors).items():
            if name in tensors and not np.array_equal(tensors[name], value):
                raise ExportError(f"two outputs have a tensor {name}, each its own")
            tensors[name] = value
    notes = [note for part in parts.values() for note in part.notes]
    return Translation(config, tensors, example, list(dict.fromkeys(notes)))


def _translated(answering, given, any_length, dtypes) -> _Part:
    """given: inputs.Inputs. dtypes: of precision.in_float32."""
    module = answering.module
    with as_it_was(module) as is_changed:
        _plain_encoders(module)
        network = _found(
            answering, given, " in float32" if precision.others(dtypes) else "")
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
        given, answer = _cut(answering, given)
        *_, served = check.evaluate(network, given.example, torch.float32)
        for name, value in network.tensors.items():
            if is_changed(value):
                raise ExportError(f"the forward changes {name}, which it uses")
    _answers_again(answering, given, answer)
    return _Part(
        _ports(given, free, optional), network.layers,
        precision.stored(network.tensors, dtypes), given,
        answer.reshape(served.shape), notes)


def _answers_again(answering, given, answer) -> None:
    """Raises ExportError where the module, as it was, answers otherwise: where what
    it held changed, which is not written."""
    with as_it_was(answering.module):
        _plain_encoders(answering.module)
        again = check.answer_of(answering, given.example)
    if not torch.allclose(again, answer, rtol=1e-3, atol=1e-3 * float(answer.abs().max())):
        raise ExportError("the network answers otherwise each time that it is new")


def _cut(answering, given):
    """The inputs with as many rows as a server takes, and their answer."""
    answer = check.answer_of(answering, given.example)
    rows = len(given.example[given.data])
    kept = inputs_of.rows_for(answer, rows)
    if kept == rows:
        return given, answer
    example = {name: value[:kept] for name, value in given.example.items()}
    return given._replace(example=example), check.answer_of(answering, example)


def _plain_encoders(module) -> None:
    """Encoders answer for padded tokens, too: nested tensors drop these."""
    for each in module.modules():
        if leaves.type_of(each) == "TransformerEncoder":
            for name in ("enable_nested_tensor", "use_nested_tensor"):
                if getattr(each, name, False):
                    setattr(each, name, False)


def _found(answering, given, how: str) -> check.Network:
    """Traces the module and finds its layers. how: it computes, for messages."""
    check.run(answering, "its example" + how, given.example)
    check.run(answering, "more rows than its example's", given.probe)
    tracer = ValueTracer(answering.module, given.probe, answering.key)
    graph = tracer.run()
    weights = Weights(answering.module)
    weights.looked_up = tracer.looked_up
    lowering = Lowering(
        Trace(graph, tracer.root, given.data, tracer.hints), weights,
        given.probe.get(given.mask),
    )
    layers = lowering.network()
    if not layers:
        raise ExportError("the network answers its input: there is no layer")
    if not weights.used:
        raise ExportError("the network has no weights that are used")
    return check.Network(answering, layers, weights.used, lowering, given)


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
