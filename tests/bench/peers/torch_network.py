"""A case's network as PyTorch modules, each as PyTorch does it best.

An FFF layer is the public form: gathers along the tree, all rows at once. It has two
ways to multiply what it gathered, and the peer takes the faster one: `products` are
batched matrix products, `sums` are elementwise products and sums, which a compiler
makes one loop of without a copy of the gathered weights.
"""

import math

import torch
from torch import nn

import case_file

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "identity": nn.Identity}


def tensor(network, name):
    return torch.from_numpy(network.draw(name))


def dots(rows, weights, form):
    """[n, k] and [n, k, m]: one product per row."""
    if form == "products":
        return torch.bmm(rows.unsqueeze(1), weights).squeeze(1)
    return (rows.unsqueeze(2) * weights).sum(1)


class Tree(nn.Module):
    """The ways of rows through a tree: z > 0 (or z >= 0) goes right."""

    def __init__(self, weights, biases, levels, tie_right, form):
        super().__init__()
        self.weights, self.biases = nn.Parameter(weights, False), biases
        if biases is not None:
            self.biases = nn.Parameter(biases, False)
        self.levels, self.tie_right, self.form = levels, tie_right, form

    def step(self, rows, node):
        weights = self.weights.index_select(0, node)
        if self.form == "products":
            z = torch.bmm(weights.unsqueeze(1), rows.unsqueeze(2)).view(-1)
        else:
            z = (weights * rows).sum(1)
        if self.biases is not None:
            z = z + self.biases.index_select(0, node)
        right = z >= 0 if self.tie_right else z > 0
        return z, 2 * node + 1 + right.long()


class Path(nn.Module):
    """Every visited node answers: y += act(x.X[n] + b[n]) * Y[n]."""

    def __init__(self, network, layer, form):
        super().__init__()
        prefix, convention = layer["prefix"], layer["convention"]
        biases = None
        if convention == "ultrafastbert":
            weights = tensor(network, prefix + "linear_in.weight")
            biases = tensor(network, prefix + "linear_in.bias")
            answers = tensor(network, prefix + "linear_out.weight").t().contiguous()
        else:
            x, y = case_file.path_names(layer)
            weights, answers = tensor(network, prefix + x), tensor(network, prefix + y)
        levels = (len(weights) + 1).bit_length() - 1
        self.tree = Tree(weights, biases, levels, convention == "ultrafastbert-bmm", form)
        self.answers = nn.Parameter(answers, False)
        self.activation = nn.Identity() if convention == "sap-fff" else nn.GELU()
        self.form = form

    def forward(self, x):
        rows = x.reshape(-1, x.shape[-1])
        node = torch.zeros(len(rows), dtype=torch.long)
        visited, z_of_visited = [], []
        for _ in range(self.tree.levels):
            visited.append(node)
            z, node = self.tree.step(rows, node)
            z_of_visited.append(z)
        z = self.activation(torch.stack(z_of_visited, 1))
        if self.form == "products":
            # The sum of gathered rows with a factor each, without their copy.
            y = nn.functional.embedding_bag(torch.stack(visited, 1), self.answers,
                                            per_sample_weights=z, mode="sum")
        else:
            y = sum(z[:, level, None] * self.answers.index_select(0, node)
                    for level, node in enumerate(visited))
        return y.reshape(*x.shape[:-1], -1)


class Leaf(nn.Module):
    """Inner nodes route; the small network of the leaf answers."""

    def __init__(self, network, layer, form):
        super().__init__()
        names = ("node_weights", "node_biases", "w1s", "b1s", "w2s", "b2s")
        nodes, biases, w1, b1, w2, b2 = (
            tensor(network, layer["prefix"] + name) for name in names)
        self.tree = Tree(nodes, biases.reshape(-1), (len(w1)).bit_length() - 1, True, form)
        self.w1, self.b1, self.w2, self.b2 = (
            nn.Parameter(value, False) for value in (w1, b1, w2, b2))
        self.form = form

    def forward(self, x):
        rows = x.reshape(-1, x.shape[-1])
        node = torch.zeros(len(rows), dtype=torch.long)
        for _ in range(self.tree.levels):
            _, node = self.tree.step(rows, node)
        leaf = node - (len(self.w1) - 1)
        hidden = dots(rows, self.w1.index_select(0, leaf), self.form)
        hidden = (hidden + self.b1.index_select(0, leaf)).relu()
        y = dots(hidden, self.w2.index_select(0, leaf), self.form)
        return (y + self.b2.index_select(0, leaf)).reshape(*x.shape[:-1], -1)


class Attention(nn.Module):
    def __init__(self, network, layer):
        super().__init__()
        self.qkv = linear(network, layer["qkv"])
        self.out = linear(network, layer["out"])
        self.heads, self.layout = layer["heads"], layer["layout"]

    def forward(self, x):
        n, tokens, width = x.shape
        qkv = self.qkv(x)
        if self.layout == "heads":  # for each head, its query, key and value
            q, k, v = qkv.view(n, tokens, self.heads, -1).transpose(1, 2).chunk(3, -1)
        else:
            q, k, v = (part.view(n, tokens, self.heads, -1).transpose(1, 2)
                       for part in qkv.chunk(3, -1))
        return self.out(attend(q, k, v).transpose(1, 2).reshape(n, tokens, width))


def attend(q, k, v):
    if hasattr(nn.functional, "scaled_dot_product_attention"):
        return nn.functional.scaled_dot_product_attention(q, k, v)
    # PyTorch 1.
    return (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).softmax(-1) @ v


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


class Plus(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(value, False)

    def forward(self, x):
        return x + self.value


class ClassToken(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(value, False)

    def forward(self, x):
        return torch.cat([self.value.expand(len(x), -1, -1), x], 1)


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def load(module, network, prefix):
    """The module with the tensors of that prefix for its parameters."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(False).copy_(tensor(network, prefix + name))
    return module


def linear(network, prefix):
    out, width = network.draw(prefix + "weight").shape
    return load(nn.Linear(width, out, network.has(prefix + "bias")), network, prefix)


def convolution(network, layer):
    out, channels, *size = network.tensors[layer["prefix"] + "weight"][0]
    return load(nn.Conv2d(channels, out, size, layer.get("stride", 1)), network,
                layer["prefix"])


def layer_norm(network, layer):
    shape = network.tensors[layer["prefix"] + "weight"][0]
    return load(nn.LayerNorm(shape, layer.get("epsilon", 1e-5)), network, layer["prefix"])


def sinusoids(tokens, width):
    at = torch.arange(tokens)[:, None] * torch.exp(
        torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    return torch.stack([at.sin(), at.cos()], 2).reshape(tokens, width)


def positions(network, layer):
    if layer["kind"] == "learned":
        return Plus(tensor(network, layer["tensor"]))
    width = network.tensors[network.layers[0]["prefix"] + "weight"][0][1]
    return Plus(sinusoids(network.input_shape[0], width))


def one(network, layer, form):
    kind = layer["type"]
    if kind == "fff":
        leaf = layer["convention"] == "fastfeedforward"
        return (Leaf if leaf else Path)(network, layer, form)
    make = {
        "residual": lambda: Residual(sequence(network, layer["layers"], form)),
        "linear": lambda: nn.Sequential(
            linear(network, layer["prefix"]),
            ACTIVATIONS[layer.get("activation", "identity")]()),
        "activation": lambda: ACTIVATIONS[layer["activation"]](),
        "attention": lambda: Attention(network, layer),
        "class_token": lambda: ClassToken(tensor(network, layer["tensor"])),
        "conv2d": lambda: convolution(network, layer),
        "embedding": lambda: nn.Embedding.from_pretrained(
            tensor(network, layer["prefix"] + "weight")),
        "flatten": nn.Flatten,
        "layer_norm": lambda: layer_norm(network, layer),
        "max_pool2d": lambda: nn.MaxPool2d(layer["size"]),
        "pool": lambda: Calls((lambda x: x.mean(1)) if layer["over"] == "mean"
                              else (lambda x: x[:, 0])),
        "positions": lambda: positions(network, layer),
        "tokens": lambda: Calls(lambda x: x.flatten(2).transpose(1, 2)),
    }
    return make[kind]()


def sequence(network, layers, form):
    return nn.Sequential(*(one(network, layer, form) for layer in layers))


def build(network, form):
    with torch.no_grad():
        return sequence(network, network.layers, form).eval()
