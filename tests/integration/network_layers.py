"""Parts of networks as PyTorch modules, for tests of the exporter.

Written for these tests, under the tensor names of the public code whose weights
stand in tests/data/reference; the cases there say what they must answer.
"""

import torch
import torch.nn.functional as F
from torch import nn


class SapFff(nn.Module):
    """X, Y [2^depth - 1, width]: each node on the way adds z * Y."""

    def __init__(self, inputs, outputs, depth):
        super().__init__()
        self.depth = depth
        self.X = nn.Parameter(torch.randn(2**depth - 1, inputs) / inputs**0.5)
        self.Y = nn.Parameter(torch.randn(2**depth - 1, outputs))

    def forward(self, rows):
        answers = []
        for row in rows:
            node, total = 0, 0
            for _ in range(self.depth):
                z = torch.dot(self.X[node], row)
                total = total + z * self.Y[node]
                node = 2 * node + (2 if z > 0 else 1)
            answers.append(total)
        return torch.stack(answers)


class PathForest(nn.Module):
    """Trees whose visited nodes each add GELU(z) times a column of linear_out."""

    def __init__(self, width, depth, trees=1, outputs=None):
        super().__init__()
        self.depth, self.trees, self.nodes = depth, trees, 2 ** (depth + 1) - 1
        self.linear_in = nn.Linear(width, trees * self.nodes)
        self.linear_out = nn.Linear(trees * self.nodes, outputs or width, bias=False)

    def forward(self, x):
        rows = x.reshape(-1, x.shape[-1])
        z = self.linear_in(rows).view(len(rows), self.trees, self.nodes)
        on_path = torch.zeros_like(z)
        node = torch.zeros(len(rows), self.trees, 1, dtype=torch.long)
        for _ in range(self.depth + 1):
            on_path.scatter_(2, node, 1.0)
            node = 2 * node + 1 + (z.gather(2, node) > 0).long()
            node = node.clamp(max=self.nodes - 1)
        hidden = (F.gelu(z) * on_path).flatten(1)
        return self.linear_out(hidden).reshape(*x.shape[:-1], -1)


class LeafTree(nn.Module):
    """Nodes that decide and leaves that are small networks, one per row.

    activation and output_bias: what no tensor tells. counted: has `depth`.
    """

    def __init__(self, inputs, leaf, outputs, depth, activation=F.relu,
                 output_bias=True, counted=True):
        super().__init__()
        self.activation, self.output_bias = activation, output_bias
        self.levels = depth
        if counted:
            self.depth = nn.Parameter(torch.tensor(depth), requires_grad=False)
        nodes, leaves = 2**depth - 1, 2**depth
        self.node_weights = nn.Parameter(torch.randn(nodes, inputs) / inputs**0.5)
        self.node_biases = nn.Parameter(torch.randn(nodes, 1) / 4)
        self.w1s = nn.Parameter(torch.randn(leaves, inputs, leaf) / inputs**0.5)
        self.b1s = nn.Parameter(torch.randn(leaves, leaf) / 4)
        self.w2s = nn.Parameter(torch.randn(leaves, leaf, outputs) / leaf**0.5)
        self.b2s = nn.Parameter(torch.randn(leaves, outputs) / 4)

    def forward(self, x):
        answers = []
        for row in x.reshape(-1, x.shape[-1]):
            node = 0
            for _ in range(self.levels):
                z = self.node_weights[node] @ row + self.node_biases[node]
                node = 2 * node + (2 if z.item() >= 0 else 1)
            leaf = node - (2**self.levels - 1)
            y = self.activation(row @ self.w1s[leaf] + self.b1s[leaf]) @ self.w2s[leaf]
            answers.append(y + self.b2s[leaf] if self.output_bias else y)
        return torch.stack(answers).reshape(*x.shape[:-1], -1)


class HeadwiseAttention(nn.Module):
    """Rows of query_key_value are query, key and value of one head after the
    other; the mask is added to the scores."""

    def __init__(self, width, heads, bias):
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width, bias=bias)
        self.register_buffer("norm_factor", torch.tensor((width // heads) ** -0.5))

    def forward(self, x, mask):
        rows, tokens, width = x.shape
        qkv = self.query_key_value(x).view(rows, tokens, self.heads, -1)
        q, k, v = (part.transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        scores = torch.matmul(q, k.transpose(-1, -2)) * self.norm_factor
        if mask is not None:
            scores = scores + mask
        mixed = torch.matmul(scores.softmax(dim=-1), v)
        return mixed.transpose(1, 2).reshape(rows, tokens, width)


class OthersAttention(nn.Module):
    """No token sees itself; the scale is learned as a logarithm."""

    def __init__(self, width, heads, head_width):
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.tensor(0.0))
        self.to_qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * head_width, width), nn.Dropout(0.1))

    def forward(self, x):
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).permute(0, 2, 1, 3)
            for part in self.to_qkv(x).chunk(3, dim=-1)
        )
        scores = torch.einsum("bhid,bhjd->bhij", q, k) * self.temperature.exp()
        own = torch.eye(x.shape[1], dtype=torch.bool)
        scores = scores.masked_fill(own, -torch.finfo(scores.dtype).max)
        mixed = torch.einsum("bhij,bhjd->bhid", scores.softmax(-1), v)
        return self.to_out(mixed.permute(0, 2, 1, 3).flatten(2))


class RmsNorm(nn.Module):
    """Divided by the root of the mean square."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class Before(nn.Module):
    """A norm in front of something else."""

    def __init__(self, width, fn):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = fn

    def forward(self, x):
        return self.fn(self.norm(x))
