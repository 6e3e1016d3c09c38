"""FFF layers in terms of one walk per tree.

Nodes are in heap order; x is [rows, width]. Everything is computed in the dtype
of x.
"""

from typing import Callable, Dict, NamedTuple, Optional, Tuple

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


def path_form(weight, bias, out, trees=1) -> Optional[Form]:
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


def level_path_form(weight, out) -> Optional[Form]:
    """A row per level, [levels, inputs]: nodes of one level share it."""
    levels = weight.shape[0]
    if out.shape[0] != 2**levels - 1:
        return None
    of_node = torch.tensor([(i + 1).bit_length() - 1 for i in range(len(out))])
    return path_form(weight[of_node.to(weight.device)], None, out, 1)


def leaves_form(nodes, bias, w1, b1, w2, b2) -> Optional[Form]:
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


def plus(form: Optional[Form], more: Callable) -> Optional[Form]:
    """`more` (x, activation) is added to what the tree answers."""
    if form is None:
        return None
    return form._replace(
        answer=lambda x, z, visited, bottom, act: form.answer(
            x, z, visited, bottom, act
        ) + more(x, act)
    )


