"""From a trace to the layers of config.json.

All networks that FFF Serving knows are a sequence with residual blocks. So this
walks from the output back to the input: each node, or the nodes that belong
together, become layers, and there is one node that they start from.
"""

from typing import Dict, List, Optional

import torch

from . import attention, functions, gates, modules, regions
from .errors import ExportError
from .evaluate import sines
from .graph import Match, Trace
from .trace import name_of, place
from .weights import Weights

_SUMS = ("add", "iadd", "add_")


class Lowering:
    """One network on its way to layers.

    node_of: id of a layer -> the node whose value it makes, for messages.
    """

    def __init__(self, trace: Trace, weights: Weights, mask: Optional[torch.Tensor]):
        """mask: [rows, tokens] of the example, None where there is none."""
        self.trace = trace
        self.weights = weights
        self.mask = mask
        self.rows = len(trace.start.meta["value"])
        self.node_of: Dict[int, torch.fx.Node] = {}

    def network(self) -> List[dict]:
        """The layers from the input to the output; raises ExportError."""
        results = [
            each for each in self.trace.output.all_input_nodes
            if self.trace.on_data(each)
        ]
        if not results:
            raise ExportError(
                "the output does not depend on the input, or comes by a way that "
                "torch.fx does not see, such as writing into a new tensor"
                + "".join(self.trace.hints[:1])
            )
        return self.layers(results[0], self.trace.start)

    def layers(self, end, start) -> List[dict]:
        """The layers between the values of two nodes."""
        found: List[dict] = []
        node = end
        while node is not start:
            if self.trace.order[node] < self.trace.order[start]:
                raise self.unsupported(end, "it goes around a residual block")
            layers, before = self._match(node)
            if layers:
                self.node_of[id(layers[-1])] = node
            found += reversed(layers)
            node = before
        return found[::-1]

    def unsupported(self, node, why: str = "") -> ExportError:
        """The error for an operation that no layer computes."""
        return ExportError(
            f"FFF Serving has no layer for {name_of(node)}"
            + (f" ({why})" if why else "")
            + f": {place(node)}{node.meta.get('hint', '')}"
        )

    def use(self, layer: dict) -> None:
        """Notes the tensors that a layer found by its answers refers to."""
        if "log_scale" in layer:
            name = layer["log_scale"]
            self.weights.used.setdefault(name, self.weights.state.get(name))
        if layer["type"] == "rms_norm":
            name = layer["prefix"] + "weight"
            self.weights.used[name] = self.weights.state[name]

    def prefix_of(self, weight, node) -> str:
        """The prefix of the layer that a weight is of, a new one where the
        network has no such name."""
        name = None if weight is None else self.weights.name_of(weight)
        if name and name.endswith("weight"):
            return name[: -len("weight")]
        return f"{node.name}."

    def linear_prefix(self, node) -> str:
        """Uses the tensors of a linear layer and returns their prefix."""
        prefix, weight, bias = self.linear_tensors(node)
        return self.weights.layer(prefix, {"weight": weight, "bias": bias})

    def linear_tensors(self, node) -> tuple:
        """The prefix of a linear layer, its weight, and its bias or None."""
        if node.op == "call_module":
            module, name = node.meta["called"], node.meta["module"]
            prefix, weight, bias = name + "." if name else "", module.weight, module.bias
        else:
            weight, bias = (
                each.meta["value"] if isinstance(each, torch.fx.Node) else each
                for each in (
                    functions.argument(node, 1, "weight"),
                    functions.argument(node, 2, "bias"),
                )
            )
            prefix = self.prefix_of(weight, node)
        return prefix, weight, bias

    def positions(self, node, table: torch.Tensor, shape) -> Optional[list]:
        """A table added to a sequence of `shape`, else None."""
        tokens, width = shape[1:]
        if shape[1] == self.rows and tuple(table.shape) == (shape[0], 1, width):
            table, tokens = table[:, 0], shape[0]  # tokens first
        if tuple(table.shape[-2:]) != (tokens, width):
            return None
        tables = table.reshape(-1, tokens, width)
        if not torch.equal(tables, tables[:1].expand_as(tables)):
            return None
        rows = tables[0].detach()
        name, scale = self.weights.table(rows)
        layer = {"type": "positions", "kind": "learned"}
        if name is not None:
            layer["tensor"] = name
            self.weights.used[name] = self.weights.state[name]
        else:
            waves = sines(tokens, width).to(rows)
            scale = float((waves * rows).sum() / (waves * waves).sum())
            if torch.allclose(waves * scale, rows, rtol=1e-4, atol=2e-5 * abs(scale)):
                layer["kind"] = "sinusoidal"
            else:
                layer["tensor"], scale = self.weights.tensor(
                    rows, f"{node.name}.positions"), 1.0
        if abs(scale - 1) > 1e-6:
            layer["scale"] = self._scale(node, scale)
        return [layer]

    def _scale(self, node, scale: float) -> str:
        name = self.weights.scalar(scale)
        if name is None:
            return self.weights.tensor(torch.tensor([scale]), f"{node.name}.scale")
        self.weights.used[name] = self.weights.state[name]
        return name

    def _match(self, node) -> Match:
        """The layers that end in `node`, and the node they start from."""
        inputs = self.trace.inputs(node)
        if not inputs:
            raise self.unsupported(node, "it does not depend on the input")
        if name_of(node) in _SUMS and len(inputs) == 2:
            block = self._residual(node, inputs)
            if block is not None:
                return block
        if node.op == "call_module" and not regions.is_movement(node):
            return Match(modules.layers_of(self, node), inputs[0])
        found = (
            self._first_of_attention(node)
            or functions.layers_of(self, node)
            or attention.find(self, node)
            or regions.moved(self, node)
            or regions.pooled(self, node)
            or regions.hand_written(self, node)
            or gates.gated(self, node)
        )
        if found is None:
            raise self.unsupported(node)
        return found

    def _residual(self, node, inputs) -> Optional[Match]:
        """x + f(x); None where the sum is something else."""
        for region in self.trace.regions(node, len(self.trace.order)):
            if region.before in inputs:
                other = next(each for each in inputs if each is not region.before)
                layers = self.layers(other, region.before)
                return Match([{"type": "residual", "layers": layers}], region.before)
            if len(region.nodes) > 1:
                break
        return None

    def _first_of_attention(self, node) -> Optional[Match]:
        """attention(..)[0], a call of torch.nn.MultiheadAttention."""
        if name_of(node) != "getitem" or node.args[1] != 0:
            return None
        call = node.args[0]
        if call.op != "call_module" or name_of(call) != "MultiheadAttention":
            return None
        names = ("query", "key", "value", "key_padding_mask", "need_weights",
                 "attn_mask")
        given = {**dict(zip(names, call.args)), **call.kwargs}
        if not given["query"] is given["key"] is given["value"]:
            raise self.unsupported(call, "query, key and value differ")
        name = call.meta["module"]
        layer = modules.self_attention(
            self, call, call.meta["called"], name + "." if name else "", given
        )
        return Match([layer], given["query"])
