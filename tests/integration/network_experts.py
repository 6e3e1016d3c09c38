"""FFF layers with many kinds of neurons as PyTorch modules, for tests of the
exporter. Written for these tests, under the tensor names of the public code."""

import torch
import torch.nn.functional as F
from torch import nn


class Expert(nn.Module):
    """Two linear layers; `gate` is what GLU experts have in place of the first."""

    def __init__(self, width, hidden, activation, gate=None):
        super().__init__()
        first = gate or nn.Linear(width, hidden)
        self.net = nn.Sequential(
            first, activation, nn.Dropout(0.2), nn.Linear(hidden, width))

    def forward(self, x):
        return self.net(x)


class Gate(nn.Module):
    """One half of a projection gates the other."""

    def __init__(self, width, hidden):
        super().__init__()
        self.proj = nn.Linear(width, 2 * hidden)

    def forward(self, x):
        return F.glu(self.proj(x))


class ExpertTree(nn.Module):
    """Routers that decide for each token of [rows, tokens, width] which expert
    answers; the experts may be of another width than the tokens."""

    def __init__(self, width, depth, hidden, inner=None, activation=None, gated=False):
        super().__init__()
        self.depth = depth
        inner = inner or width
        is_inner = inner != width
        self.project_in = nn.Linear(width, inner) if is_inner else nn.Identity()
        self.project_out = nn.Linear(inner, width) if is_inner else nn.Identity()
        self.routers = nn.ModuleList(nn.Linear(width, 1) for _ in range(2**depth - 1))
        self.experts = nn.ModuleList(
            Expert(inner, hidden, activation or nn.GELU(),
                   Gate(inner, hidden) if gated else None)
            for _ in range(2**depth))

    def forward(self, x):
        rows, tokens, width = x.shape
        x = x.reshape(rows * tokens, width)
        node = torch.zeros(len(x), dtype=torch.long)
        scores = torch.cat([router(x) for router in self.routers], 1)
        for _ in range(self.depth):
            node = 2 * node + 1 + (scores.gather(1, node[:, None])[:, 0] > 0).long()
        hidden = self.project_in(x)
        answer = torch.zeros_like(hidden)
        for i, expert in enumerate(self.experts):
            mine = node == i + 2**self.depth - 1
            if mine.any():
                answer[mine] = expert(hidden[mine])
        return self.project_out(answer).reshape(rows, tokens, width)


class DistilledTree(nn.Module):
    """Banks of neurons: one leaf's, and more that no tensor tells.

    route_rows: 1, or 2 of which the larger wins. node_rows: of the rows of a
    visited node that answer, the first so many, of `rows_of_nodes` that are
    stored; these route as well where they are as many as route. leak: the share
    of all leaves, or of the fallback bank.
    """

    def __init__(self, inputs, outputs, depth, leaf_rows=2, route_rows=1, shared=0,
                 rows_of_nodes=0, node_rows=0, leak=0.0, master=False, fallback=False,
                 activation=F.silu, hard=True):
        super().__init__()
        nodes, leaves = 2**depth - 1, 2**depth
        self.facts = depth, node_rows, leak, master, fallback, activation, hard

        def bank(name, *shape):
            self.register_parameter(name + "_weight", random(*shape, inputs))
            self.register_parameter(name + "_bias", random(*shape))
            if name != "route":
                self.register_parameter(name + "_output", random(*shape, outputs))

        bank("leaf", leaves + master + fallback, leaf_rows)
        bank("route", nodes, route_rows)
        self.own_rows = rows_of_nodes == route_rows
        if rows_of_nodes and self.own_rows:
            self.route_output = random(nodes, route_rows, outputs)
        elif rows_of_nodes:
            bank("route_result", nodes, rows_of_nodes)
        if shared:
            bank("shared", shared)
        self.bias = random(outputs)

    def neurons(self, x, name, choose=lambda each: each):
        """What a bank adds, of the rows that `choose` leaves of it."""
        head = "route" if name == "route_result" and self.own_rows else name
        weight, bias = (choose(getattr(self, f"{head}_{part}"))
                        for part in ("weight", "bias"))
        out = choose(getattr(self, f"{head}_output"))
        return self.facts[5](weight @ x + bias) @ out

    def of_row(self, x):
        depth, node_rows, leak, master, fallback, _, _ = self.facts
        node, answer = 0, self.bias
        for _ in range(depth):
            if node_rows:
                answer = answer + self.neurons(
                    x, "route_result", lambda each, at=node: each[at][:node_rows])
            z = self.route_weight[node] @ x + self.route_bias[node]
            z = z[1] - z[0] if len(z) == 2 else z[0]
            node = 2 * node + (2 if z.item() > 0 else 1)
        leaves = [self.neurons(x, "leaf", lambda each, at=at: each[at])
                  for at in range(len(self.leaf_bias))]
        others = leaves[2**depth + master] if fallback else sum(leaves[:2**depth]) / 2**depth
        answer = answer + (1 - leak) * leaves[node - 2**depth + 1] + leak * others
        answer = answer + (leaves[2**depth] if master else 0)
        return answer + (self.neurons(x, "shared") if hasattr(self, "shared_bias") else 0)

    def soft(self, x):
        """Of two leaves, each with its probability."""
        right = torch.sigmoid(x @ self.route_weight[0, 0] + self.route_bias[0, 0])
        left, other = (self.facts[5](x @ self.leaf_weight[i].t() + self.leaf_bias[i])
                       @ self.leaf_output[i] for i in (0, 1))
        return (1 - right)[:, None] * left + right[:, None] * other + self.bias

    def forward(self, x):
        rows = x.reshape(-1, x.shape[-1])
        answers = torch.stack([self.of_row(row) for row in rows]) \
            if self.facts[-1] else self.soft(rows)
        return answers.reshape(*x.shape[:-1], -1)


def random(*shape):
    return nn.Parameter(torch.randn(shape) / shape[-1]**0.5)
