"""What the conventions of FFF layers compute, for comparison with a module.

A convention names a public code base and settles what its tensors leave
unsaid; README.md of the repository has the table. Here each is a function of
the tensors of a layer and of the number of trees that gives a Form, or None
where these tensors cannot be its. Nodes are in heap order; x is [rows, width].
Everything is computed in the dtype of x.
"""

from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F

Tensors = Dict[str, torch.Tensor]

ACTIVATIONS = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "identity": lambda z: z,
}
ANY = tuple(ACTIVATIONS)


class Form(NamedTuple):
    """A layer in terms of one walk per tree.

    scores: (x) -> z [rows, trees, nodes].
    depth: how many nodes the walk visits.
    answer: (x, z, visited [rows, trees, depth], bottom [rows, trees],
        activation) -> y [rows, outputs]; bottom is where the walk ends,
        0 to 2^depth - 1.
    """

    scores: Callable
    depth: int
    answer: Callable


class Convention(NamedTuple):
    """name: as config.json says it. ranks: the tensors that tell it.

    form: (tensors, trees) -> Optional[Form]. activations: what it may have, the
    usual one first. tie: "right" where z = 0 goes right. trees: whether their
    number is to be said. without: tensors that it does not have.
    """

    name: str
    ranks: Dict[str, int]
    form: Callable[[Tensors, int], Optional[Form]]
    activations: Tuple[str, ...]
    tie: str
    trees: bool = False
    without: Tuple[str, ...] = ()

    def fits(self, tensors: Tensors) -> bool:
        return all(
            name in tensors and tensors[name].dim() == rank
            for name, rank in self.ranks.items()
        ) and not any(name in tensors for name in self.without)


def evaluate(
    form: Form, x: torch.Tensor, activation: str, tie: str
) -> Tuple[torch.Tensor, torch.Tensor]:
    """Returns y [rows, outputs] and the smallest |z| of each row's decisions."""
    way = walk(form, x, tie)
    return form.answer(x, *way[:3], ACTIVATIONS[activation]), way.margin


class Way(NamedTuple):
    """z, visited and bottom as Form.answer takes them; margin [rows]."""

    z: torch.Tensor
    visited: torch.Tensor
    bottom: torch.Tensor
    margin: torch.Tensor


def walk(form: Form, x: torch.Tensor, tie: str) -> Way:
    """The way of every row through every tree."""
    z = form.scores(x)
    rows, trees, _ = z.shape
    node = torch.zeros(rows, trees, dtype=torch.long, device=x.device)
    margin = torch.full((rows,), torch.inf, dtype=x.dtype, device=x.device)
    visited = []
    for _ in range(form.depth):
        visited.append(node)
        here = z.gather(2, node[..., None])[..., 0]
        right = here >= 0 if tie == "right" else here > 0
        if here.numel():
            margin = torch.minimum(margin, here.abs().min(dim=1).values)
        node = 2 * node + 1 + right.long()
    bottom = node - (2**form.depth - 1)
    stacked = torch.stack(visited, 2) if visited else node[..., None][..., :0]
    return Way(z, stacked, bottom, margin)


def levels_of(rows: int) -> Optional[int]:
    """k where rows = 2^k - 1, else None."""
    levels = (rows + 1).bit_length() - 1
    return levels if rows + 1 == 2**levels else None


def _path(weight, bias, out, trees) -> Optional[Form]:
    """weight [trees * nodes, inputs], bias the same or None, out
    [trees * nodes, outputs]: each visited node adds act(z) * out."""
    if weight.shape[0] % trees or weight.shape[0] != out.shape[0]:
        return None
    nodes = weight.shape[0] // trees
    levels = levels_of(nodes)
    if not levels:
        return None

    def scores(x):
        return F.linear(x, weight, bias).reshape(len(x), trees, nodes)

    def answer(x, z, visited, bottom, act):
        on_path = torch.zeros_like(z).scatter_(2, visited, 1.0)
        return (act(z) * on_path).reshape(len(x), -1) @ out

    return Form(scores, levels, answer)


def _level_path(weight, out) -> Optional[Form]:
    """A row per level, [levels, inputs]: nodes of one level share it."""
    levels = weight.shape[0]
    if out.shape[0] != 2**levels - 1:
        return None
    of_node = torch.tensor([(i + 1).bit_length() - 1 for i in range(len(out))])
    return _path(weight[of_node.to(weight.device)], None, out, 1)


def _leaves(nodes, bias, w1, b1, w2, b2) -> Optional[Form]:
    """nodes [2^d - 1, inputs], w1 [2^d, inputs, h], w2 [2^d, h, outputs] or
    None, b1 and b2 the same without inputs and h, or None."""
    depth = levels_of(nodes.shape[0])
    if depth is None or w1.shape[0] != 2**depth:
        return None

    def answer(x, z, visited, bottom, act):
        leaf = bottom[:, 0]
        h = torch.bmm(x[:, None], w1[leaf])[:, 0]
        h = act(h if b1 is None else h + b1[leaf])
        y = h if w2 is None else torch.bmm(h[:, None], w2[leaf])[:, 0]
        return y if b2 is None else y + b2[leaf]

    return Form(
        lambda x: F.linear(x, nodes, None if bias is None else bias.reshape(-1))[:, None],
        depth,
        answer,
    )


def _plus(form: Optional[Form], more: Callable) -> Optional[Form]:
    """`more` (x, activation) is added to what the tree answers."""
    if form is None:
        return None
    return form._replace(
        answer=lambda x, z, visited, bottom, act: form.answer(
            x, z, visited, bottom, act
        ) + more(x, act)
    )


def _fastfeedforward(t: Tensors, output_bias=True) -> Optional[Form]:
    return _leaves(t["node_weights"], t["node_biases"], t["w1s"], t["b1s"],
                   t["w2s"], t["b2s"] if output_bias else None)


def _master_leaf(t: Tensors, trees) -> Optional[Form]:
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


def _bojan_flat(t: Tensors, trees) -> Optional[Form]:
    first = _level_path(t["net.0.PathSelector.weight"], t["net.0.Y"])
    second = _level_path(t["net.3.PathSelector.weight"], t["net.3.Y"])
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


def _fastff(t: Tensors, trees) -> Optional[Form]:
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
    return _leaves(t["nodes.weight"], t.get("nodes.bias"), w1.transpose(1, 2),
                   t["leaves.bias"].reshape(leaves, -1), w2, b2)


def _hyperzens(t: Tensors, trees) -> Optional[Form]:
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


def _pair(t: Tensors, trees, bias=True) -> Optional[Form]:
    return _path(t["linear_in.weight"], t["linear_in.bias"] if bias else None,
                 t["linear_out.weight"].t(), trees)


def _prelu_pair(t: Tensors, trees) -> Optional[Form]:
    form, slope = _pair(t, trees), t["activation.weight"]
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
    Convention("ultrafastbert", _PAIR, _pair, ("gelu", *ANY), "left", trees=True,
               without=("dense_in.weight", "activation.weight")),
    Convention("ultrafastbert-bmm", {"w1s": 2, "w2s": 2},
               lambda t, _: _path(t["w1s"], None, t["w2s"], 1), ("gelu", *ANY), "right"),
    Convention("sap-fff-w1s", {"w1s": 2, "w2s": 2},
               lambda t, _: _path(t["w1s"], None, t["w2s"], 1), ("identity",), "left"),
    Convention("ultrafastbert-cuda",
               {"linear_in_weight": 2, "linear_in_bias": 1, "linear_out_weight": 2},
               lambda t, _: _path(t["linear_in_weight"], t["linear_in_bias"],
                                  t["linear_out_weight"], 1), ("gelu", *ANY), "left"),
    Convention("sap-fff", {"X": 2, "Y": 2}, lambda t, _: _path(t["X"], None, t["Y"], 1),
               ("identity",), "left"),
    Convention("sap-fff-recursive", {"X": 2, "Y": 2},
               lambda t, _: _path(t["X"], None, t["Y"], 1), ("identity",), "right"),
    Convention("sap-pislice-relu", {"X": 2, "Y": 2}, lambda t, _: _dense(t, "X", "Y"),
               ("relu",), "left"),
    Convention("sap-pislice-relu", {"basisX": 2, "basisY": 2},
               lambda t, _: _dense(t, "basisX", "basisY"), ("relu",), "left"),
    Convention("sap-fff-v2", {"X.weight": 2, "Y": 2},
               lambda t, _: _level_path(t["X.weight"], t["Y"]), ("identity",), "left"),
    Convention("catid-fff-v2", {"PathSelector.weight": 2, "Y": 2},
               lambda t, _: _level_path(t["PathSelector.weight"], t["Y"]),
               ("identity",), "left"),
    Convention("catid-bojan-flat",
               {"net.0.PathSelector.weight": 2, "net.0.Y": 2,
                "net.3.PathSelector.weight": 2, "net.3.Y": 2},
               _bojan_flat, ("identity",), "left"),
    Convention("catid-fff-and-mlp", {**_PAIR, "dense_in.weight": 2, "dense_out.weight": 2},
               lambda t, trees: _plus(_pair(t, trees), lambda x, act: F.linear(
                   act(F.linear(x, t["dense_in.weight"])), t["dense_out.weight"])),
               ("gelu",), "left", trees=True),
    Convention("fast-ffn", {"linear_in.weight": 2, "linear_out.weight": 2},
               lambda t, trees: _pair(t, 1, bias=False), ANY, "right",
               without=("linear_in.bias",)),
    Convention("fastff-ufbert-prelu", {**_PAIR, "activation.weight": 1}, _prelu_pair,
               ("identity",), "left", trees=True),
    Convention("fastff", {"nodes.weight": 2, "leaves.weight": 2, "leaves.bias": 1},
               _fastff, ANY, "left"),
    Convention("fastff-gate", {"gate.nodes": 2, "experts.w1": 3, "experts.w2": 3},
               lambda t, _: _leaves(-t["gate.nodes"], None,
                                    t["experts.w1"].transpose(1, 2), None,
                                    t["experts.w2"].transpose(1, 2), None),
               ("relu",), "left"),
    Convention("linear-leaf", {"node_weights": 2, "leaf_weights1": 3, "leaf_weights2": 3},
               lambda t, _: _leaves(t["node_weights"], t["node_biases"],
                                    t["leaf_weights1"], t["leaf_biases1"],
                                    t["leaf_weights2"], t["leaf_biases2"]),
               ("identity",), "left"),
    Convention("hyperzens-linear", {"router_weights": 2, "leaf_weights": 3}, _hyperzens,
               ("identity",), "left"),
    Convention("hyperzens-linear", {"router_weights": 3, "leaf_weights": 4}, _hyperzens,
               ("identity",), "left"),
]
