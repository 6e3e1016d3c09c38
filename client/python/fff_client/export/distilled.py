"""The FFF layer of catid/fffdistill, which says more than its tensors tell.

A node's row, or the difference of its two, routes; a leaf is a bank of neurons.
Rows that every input meets (shared), a master bank, a fallback bank and rows of
the visited nodes may answer, too. `region_leak` is the share of the answer that
the fallback bank has, or all leaves where there is none.
"""

from typing import List, Optional

import torch

from .forms import ACTIVATIONS, Form, Tensors, levels_of, walk

_COUNT = "route_rows_output_count"
_LEAK = "region_leak"
# Of a region_leak that was measured: where it is a number of few digits but for
# rounding, it is that number.
_LEAK_DIGITS = (1, 2, 3, 4)
_LEAK_ROUNDING = 1e-5
_ROWS = 12


def form(t: Tensors, said: dict) -> Optional[Form]:
    """said: {"arguments": {..}} of config.json."""
    arguments = said["arguments"]
    depth = levels_of(t["route_weight"].shape[0])
    if depth is None or t["route_weight"].shape[1] > 2:
        return None
    leaves = 2**depth
    leaf = _bank(t, "leaf")
    head = _node_head(t)
    nodes = _bank(t, head) if head else None
    count = arguments.get(_COUNT, nodes[0].shape[1] if nodes else 0)
    shared = _bank(t, "shared") if "shared_weight" in t else None
    bias, leak = t.get("bias"), arguments.get(_LEAK, 0.0)
    master = leaves if arguments.get("master_leaf") else None
    fallback = None
    if arguments.get("fallback_leaf"):
        fallback = leaves + (master is not None)

    def always(x, act):
        y = x.new_zeros(len(x), leaf[2].shape[-1]) + (0 if bias is None else bias)
        if shared is not None:
            y = y + _neurons(x, *(each[None] for each in shared), act)[:, 0]
        if master is not None:
            y = y + _neurons(x, *(each[master:master + 1] for each in leaf), act)[:, 0]
        if fallback is not None:
            others = _neurons(x, *(each[fallback:fallback + 1] for each in leaf), act)
            return y + leak * others[:, 0]
        if leak:
            y = y + leak * _neurons(x, *(each[:leaves] for each in leaf), act).mean(1)
        return y

    def answer(x, z, visited, bottom, act):
        y = always(x, act) + (1 - leak) * _of_each_row(x, leaf, bottom[:, 0], act)
        for level in range(depth if count else 0):
            some = [each[:, :count] for each in nodes]
            y = y + _of_each_row(x, some, visited[:, 0, level], act)
        return y

    return Form(lambda x: _scores(t, x), depth, answer)


def unsaid(t: Tensors) -> List[dict]:
    """The arguments that these tensors may have, without region_leak."""
    leaves = t["route_weight"].shape[0] + 1
    banks: List[dict] = {
        0: [{}],
        1: [{"master_leaf": True}, {"fallback_leaf": True}],
        2: [{"master_leaf": True, "fallback_leaf": True}],
    }.get(t["leaf_weight"].shape[0] - leaves, [])
    counts: List[dict] = [{}]
    head = _node_head(t)
    if head:
        rows = t[head + "_output"].shape[1]
        counts = [{_COUNT: count} for count in range(rows, -1, -1)]
    return [
        {"arguments": {**count, **bank}} for bank in banks for count in counts
    ]


def settle(t: Tensors, said: dict, activation: str, rows, answer) -> Optional[dict]:
    """Measures region_leak: an answer is linear in it.

    rows: [n, inputs] of float64. answer: what the module answered.
    """
    few, wanted = rows[:_ROWS], answer[:_ROWS].double()
    made = []
    for leak in (0.0, 1.0):
        found = form(t, _with_leak(said, leak))
        if found is None:
            return None
        way = walk(found, few, "left")
        made.append(found.answer(few, *way[:3], ACTIVATIONS[activation]))
    if wanted.shape != made[0].shape:
        return None
    change = made[1] - made[0]
    square = (change * change).sum(1)
    share = ((wanted - made[0]) * change).sum(1) / square.clamp(min=1e-30)
    leak = float(share.median())  # rounding may turn decisions of a few rows
    if not -_LEAK_ROUNDING <= leak <= 1 + _LEAK_ROUNDING:
        return None
    for digits in _LEAK_DIGITS:
        if abs(leak - round(leak, digits)) < _LEAK_ROUNDING:
            return _with_leak(said, abs(round(leak, digits)))
    return _with_leak(said, leak)


def _with_leak(said: dict, leak: float) -> dict:
    return {"arguments": {_LEAK: leak, **said["arguments"]}}


def _node_head(t: Tensors) -> Optional[str]:
    """How the names of the rows of nodes that may answer start."""
    if "route_result_weight" in t:
        return "route_result"
    return "route" if "route_output" in t else None


def _bank(t: Tensors, head: str):
    """Weights [.., rows, inputs], biases [.., rows], outputs [.., rows, outputs]."""
    weight = t[head + "_weight"]
    bias = t.get(head + "_bias")
    if bias is None:
        bias = weight.new_zeros(weight.shape[:-1])
    return weight, bias, t[head + "_output"]


def _scores(t: Tensors, x):
    weight, bias = t["route_weight"], t.get("route_bias")
    z = torch.einsum("bi,nri->bnr", x, weight)
    z = z if bias is None else z + bias
    return (z[..., 1] - z[..., 0] if z.shape[-1] == 2 else z[..., 0])[:, None]


def _neurons(x, weight, bias, out, act):
    """Of every bank: [rows, banks, outputs]."""
    h = act(torch.einsum("bi,nri->bnr", x, weight) + bias)
    return torch.einsum("bnr,nro->bno", h, out)


def _of_each_row(x, bank, index, act):
    """Of the bank that each row has: [rows, outputs]."""
    weight, bias, out = (each[index] for each in bank)
    h = act(torch.einsum("bi,bri->br", x, weight) + bias)
    return torch.einsum("br,bro->bo", h, out)
