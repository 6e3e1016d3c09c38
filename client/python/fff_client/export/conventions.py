"""What the conventions of FFF layers compute, for comparison with a module.

A convention names a public code base and settles what its tensors leave
unsaid; server/docs/conventions.md has the table. Here each is a function of
the tensors of a layer and of what config.json says of it that gives a Form, or
None where these tensors cannot be its.
"""

from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F

from . import distilled, experts
from .forms import (
    ACTIVATIONS,
    ANY,
    Form,
    Tensors,
    evaluate,
    leaves_form,
    level_path_form,
    levels_of,
    path_form,
    plus,
    walk,
)

__all__ = [
    "ACTIVATIONS", "ANY", "CONVENTIONS", "Convention", "Form", "evaluate", "walk",
]


class Convention(NamedTuple):
    """name: as config.json says it. ranks: the tensors that tell it.

    form: (tensors, said) -> Optional[Form]. activations: what it may have, the
    usual one first. tie: "right" where z = 0 goes right. unsaid: the fields of
    config.json beside these that it may have, which form gets as `said`; the
    usual ones first. without: tensors that it does not have. settle: (tensors,
    said, activation, rows, answer) -> `said` with numbers that are measured, None
    where there are none.
    """

    name: str
    ranks: Dict[str, int]
    form: Callable[[Tensors, dict], Optional[Form]]
    activations: Tuple[str, ...]
    tie: str
    unsaid: Callable[[Tensors], List[dict]] = lambda tensors: [{}]
    without: Tuple[str, ...] = ()
    settle: Optional[Callable] = None

    def fits(self, tensors: Tensors) -> bool:
        return all(
            name in tensors and tensors[name].dim() == rank
            for name, rank in self.ranks.items()
        ) and not any(name in tensors for name in self.without)


def _fastfeedforward(t: Tensors, output_bias=True) -> Optional[Form]:
    return leaves_form(t["node_weights"], t["node_biases"], t["w1s"], t["b1s"],
                   t["w2s"], t["b2s"] if output_bias else None)


def _master_leaf(t: Tensors, said) -> Optional[Form]:
    form = _fastfeedforward(t)
    if form is None:
        return None
    share = torch.sigmoid(t["k"].reshape(()))

    def answer(x, z, visited, bottom, act):
        h = act(x @ t["magic_w1"][0] + t["magic_b1"][0])
        dense = h @ t["magic_w2"][0] + t["magic_b2"][0]
        tree = form.answer(x, z, visited, bottom, act)
        return share * tree + (1 - share) * dense

    return form._replace(answer=answer)


def _bojan_flat(t: Tensors, said) -> Optional[Form]:
    first = level_path_form(t["net.0.PathSelector.weight"], t["net.0.Y"])
    second = level_path_form(t["net.3.PathSelector.weight"], t["net.3.Y"])
    if first is None or second is None:
        return None

    def hidden(x):
        return F.gelu(evaluate(first, x, "identity", "left")[0])

    return Form(
        lambda x: second.scores(hidden(x)),
        second.depth,
        lambda x, z, visited, bottom, act: second.answer(
            hidden(x), z, visited, bottom, act
        ),
    )


def _fastff(t: Tensors, said) -> Optional[Form]:
    leaves = t["nodes.weight"].shape[0] + 1
    if t["leaves.weight"].shape[0] % leaves:
        return None
    w1 = t["leaves.weight"].reshape(leaves, -1, t["leaves.weight"].shape[1])
    w2 = b2 = None
    if "leaves_out.0.weight" in t:
        parts = [t.get(f"leaves_out.{i}.weight") for i in range(leaves)]
        biases = [t.get(f"leaves_out.{i}.bias") for i in range(leaves)]
        if any(part is None for part in parts + biases):
            return None
        w2, b2 = torch.stack(parts).transpose(1, 2), torch.stack(biases)
    return leaves_form(t["nodes.weight"], t.get("nodes.bias"), w1.transpose(1, 2),
                   t["leaves.bias"].reshape(leaves, -1), w2, b2)


def _hyperzens(t: Tensors, said) -> Optional[Form]:
    depth = levels_of(t["router_weights"].shape[-2])
    routers, leaves = t["router_weights"], t["leaf_weights"]
    if routers.dim() == 2:
        routers, leaves = routers[None], leaves[None]
    biases = t["leaf_biases"].reshape(*leaves.shape[:2], -1)
    if depth is None or leaves.shape[1] != 2**depth:
        return None

    def answer(x, z, visited, bottom, act):
        tree = torch.arange(len(leaves), device=x.device)
        chosen = leaves[tree, bottom]
        return (torch.einsum("bi,btio->bto", x, chosen) + biases[tree, bottom]).sum(1)

    def scores(x):
        z = torch.einsum("bi,tni->btn", x, routers)
        return z + t["router_biases"].reshape(routers.shape[:2])

    return Form(scores, depth, answer)


def _tree_counts(t: Tensors) -> List[dict]:
    """Trees of one node decide nothing, they are a dense layer."""
    rows = t["linear_in.weight"].shape[0]
    sizes = [2**k - 1 for k in range(2, rows.bit_length() + 1)]
    return [{"trees": rows // size} for size in reversed(sizes) if rows % size == 0]


def _pair(t: Tensors, said, bias=True) -> Optional[Form]:
    return path_form(t["linear_in.weight"], t["linear_in.bias"] if bias else None,
                 t["linear_out.weight"].t(), said.get("trees", 1))


def _prelu_pair(t: Tensors, said) -> Optional[Form]:
    form, slope = _pair(t, said), t["activation.weight"]
    return form and form._replace(
        answer=lambda x, z, visited, bottom, act: form.answer(
            x, z, visited, bottom, lambda h: F.prelu(h, slope)
        )
    )


def _dense(t: Tensors, x_name: str, y_name: str) -> Optional[Form]:
    return Form(
        lambda x: x.new_zeros(len(x), 1, 1),
        0,
        lambda x, z, visited, bottom, act: act(x @ t[x_name].t()) @ t[y_name],
    )


_LEAF = {"node_weights": 2, "node_biases": 2, "w1s": 3, "b1s": 2, "w2s": 3, "b2s": 2}
_PAIR = {"linear_in.weight": 2, "linear_in.bias": 1, "linear_out.weight": 2}
_MAGIC = ("magic_w1", "magic_w2", "k")

CONVENTIONS: List[Convention] = [
    Convention("fastfeedforward", _LEAF, lambda t, _: _fastfeedforward(t), ANY,
               "right", without=_MAGIC),
    Convention("fastfeedforward-0.2.1", {**_LEAF, "depth": 0},
               lambda t, _: _fastfeedforward(t, False), ANY, "right", without=_MAGIC),
    Convention("fff-memoryacc", _LEAF, lambda t, _: _fastfeedforward(t, False), ANY,
               "right", without=("depth", *_MAGIC)),
    Convention("master-leaf", {**_LEAF, "magic_w1": 3, "magic_w2": 3}, _master_leaf,
               ANY, "right"),
    Convention("ultrafastbert", _PAIR, _pair, ("gelu", *ANY), "left", unsaid=_tree_counts,
               without=("dense_in.weight", "activation.weight")),
    Convention("ultrafastbert-bmm", {"w1s": 2, "w2s": 2},
               lambda t, _: path_form(t["w1s"], None, t["w2s"]), ("gelu", *ANY), "right"),
    Convention("sap-fff-w1s", {"w1s": 2, "w2s": 2},
               lambda t, _: path_form(t["w1s"], None, t["w2s"]), ("identity",), "left"),
    Convention("ultrafastbert-cuda",
               {"linear_in_weight": 2, "linear_in_bias": 1, "linear_out_weight": 2},
               lambda t, _: path_form(t["linear_in_weight"], t["linear_in_bias"],
                                  t["linear_out_weight"]), ("gelu", *ANY), "left"),
    Convention("sap-fff", {"X": 2, "Y": 2}, lambda t, _: path_form(t["X"], None, t["Y"]),
               ("identity",), "left"),
    Convention("sap-fff-recursive", {"X": 2, "Y": 2},
               lambda t, _: path_form(t["X"], None, t["Y"]), ("identity",), "right"),
    Convention("sap-pislice-relu", {"X": 2, "Y": 2}, lambda t, _: _dense(t, "X", "Y"),
               ("relu",), "left"),
    Convention("sap-pislice-relu", {"basisX": 2, "basisY": 2},
               lambda t, _: _dense(t, "basisX", "basisY"), ("relu",), "left"),
    Convention("sap-fff-v2", {"X.weight": 2, "Y": 2},
               lambda t, _: level_path_form(t["X.weight"], t["Y"]), ("identity",), "left"),
    Convention("catid-fff-v2", {"PathSelector.weight": 2, "Y": 2},
               lambda t, _: level_path_form(t["PathSelector.weight"], t["Y"]),
               ("identity",), "left"),
    Convention("catid-bojan-flat",
               {"net.0.PathSelector.weight": 2, "net.0.Y": 2,
                "net.3.PathSelector.weight": 2, "net.3.Y": 2},
               _bojan_flat, ("identity",), "left"),
    Convention("catid-fff-and-mlp", {**_PAIR, "dense_in.weight": 2, "dense_out.weight": 2},
               lambda t, said: plus(_pair(t, said), lambda x, act: F.linear(
                   act(F.linear(x, t["dense_in.weight"])), t["dense_out.weight"])),
               ("gelu",), "left", unsaid=_tree_counts),
    Convention("fast-ffn", {"linear_in.weight": 2, "linear_out.weight": 2},
               lambda t, _: _pair(t, {}, bias=False), ANY, "right",
               without=("linear_in.bias",)),
    Convention("fastff-ufbert-prelu", {**_PAIR, "activation.weight": 1}, _prelu_pair,
               ("identity",), "left", unsaid=_tree_counts),
    Convention("fastff", {"nodes.weight": 2, "leaves.weight": 2, "leaves.bias": 1},
               _fastff, ANY, "left"),
    Convention("fastff-gate", {"gate.nodes": 2, "experts.w1": 3, "experts.w2": 3},
               lambda t, _: leaves_form(-t["gate.nodes"], None,
                                    t["experts.w1"].transpose(1, 2), None,
                                    t["experts.w2"].transpose(1, 2), None),
               ("relu",), "left"),
    Convention("linear-leaf", {"node_weights": 2, "leaf_weights1": 3, "leaf_weights2": 3},
               lambda t, _: leaves_form(t["node_weights"], t["node_biases"],
                                    t["leaf_weights1"], t["leaf_biases1"],
                                    t["leaf_weights2"], t["leaf_biases2"]),
               ("identity",), "left"),
    Convention("hyperzens-linear", {"router_weights": 2, "leaf_weights": 3}, _hyperzens,
               ("identity",), "left"),
    Convention("hyperzens-linear", {"router_weights": 3, "leaf_weights": 4}, _hyperzens,
               ("identity",), "left"),
    Convention("mlp-utils", {"routers.0.weight": 2, "experts.0.net.0.weight": 2,
                             "experts.0.net.3.weight": 2},
               lambda t, _: experts.form(t), ("gelu", *ANY), "left",
               without=("experts.0.pre_norm.weight",)),
    Convention("fffdistill", {"route_weight": 3, "leaf_weight": 3, "leaf_output": 3},
               distilled.form, ("silu", *ANY), "left", unsaid=distilled.unsaid,
               settle=distilled.settle),
]
# Layers of public code by tensors that tell them, which FFF Serving refuses.
NOT_SERVED = {
    "mlp-utils-glu": ("routers.0.weight", "experts.0.net.0.proj.weight"),
    "mlp-utils-pre-norm": ("routers.0.weight", "experts.0.pre_norm.weight"),
    "hyperzens-swiglu or hyperzens-geglu": ("router_weights", "w_gate_leaf"),
    "jgcb00": ("in_weight", "out_weight", "load_balancing_bias"),
}
