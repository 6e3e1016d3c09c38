"""The networks of the frontier, FFF and dense, and what the server loads of them.

Several copies of a network stand side by side, one per seed and weight decay: all
parameters and activations have a first dimension `copies`. On a GPU that keeps small
networks busy.
"""

import json
import math
import pathlib
import sys

import torch
from torch.nn import functional

HERE = pathlib.Path(__file__).resolve().parent
for folder in (HERE.parent, HERE.parents[2] / "client" / "python"):
    sys.path.insert(0, str(folder))
from fashion_mnist import CLASSES, PIXELS, SIDE  # noqa: E402
from fff_client.safetensors import read_safetensors  # noqa: E402

BLOCK_SCALE = 0.3  # of the first weights of all levels below the root


def shrunk(x, inputs: int):
    """x [.., 784] as the network takes it: whole, or means of 2 x 2 pixels [.., 196]."""
    if inputs == PIXELS:
        return x
    pairs = x.unflatten(-1, (SIDE // 2, 2, SIDE // 2, 2))
    return pairs.mean(dim=(-3, -1)).flatten(-2)


def uniform(*shape, fan_in: int, scale: float = 1.0):
    bound = scale / math.sqrt(fan_in)
    return torch.nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


def product(x, weight, bias):
    return torch.baddbmm(bias.expand(-1, x.shape[1], -1), x, weight)


class Dense(torch.nn.Module):
    """Linear layers with ReLU between them, x [copies, rows, inputs] -> scores.

    first_linear: no ReLU behind the first layer, as in front of an Fff.
    """

    def __init__(self, copies, hidden, inputs=PIXELS, first_linear=False):
        super().__init__()
        self.inputs, self.first_linear = inputs, first_linear
        widths = [inputs, *hidden, CLASSES]
        self.weights = torch.nn.ParameterList(
            uniform(copies, i, o, fan_in=i) for i, o in zip(widths, widths[1:])
        )
        self.biases = torch.nn.ParameterList(
            uniform(copies, 1, o, fan_in=i) for i, o in zip(widths, widths[1:])
        )

    def applied_weights(self):
        return self.weights

    def forward(self, x):
        last = len(self.weights) - 1
        layers = zip(self.applied_weights(), self.biases)
        for number, (weight, bias) in enumerate(layers):
            x = product(x, weight, bias)
            if number < last and not (self.first_linear and number == 0):
                x = torch.relu(x)
        return x

    def loss(self, x, losses_of, phase, temperature):
        del phase, temperature
        return losses_of(self(x)).mean(dim=1)


class Fff(torch.nn.Module):
    """A tree over leaves, x [copies, rows, inputs] -> scores.

    hidden: widths of a leaf's hidden layers. bottleneck: outputs of one linear
    layer in front, which all leaves share; 0 for none. blocks: False for leaves
    that share nothing. master: neurons of a leaf beside the tree that all rows take,
    weighed against the row's own by a learned scalar (arXiv 2405.16836); 0 for none.
    """

    def __init__(self, copies, depth, hidden, inputs=PIXELS, bottleneck=0,
                 blocks=True, balancing=None, master=0):
        super().__init__()
        self.inputs, self.depth, self.hidden = inputs, depth, list(hidden)
        self.balancing = balancing  # the recipe's, if None
        self.front = None
        if bottleneck:
            self.front = torch.nn.ParameterList([
                uniform(copies, inputs, bottleneck, fan_in=inputs),
                uniform(copies, 1, bottleneck, fan_in=inputs),
            ])
            inputs = bottleneck
        self.node_weights = uniform(copies, inputs, 2**depth - 1, fan_in=inputs)
        self.node_biases = uniform(copies, 1, 2**depth - 1, fan_in=inputs)
        widths = [inputs, *hidden, CLASSES]
        levels = range(depth + 1) if blocks else [depth]
        self.layers = torch.nn.ModuleList()
        for i, o in zip(widths, widths[1:]):
            scales = [1.0 if level == levels[0] else BLOCK_SCALE for level in levels]
            self.layers.append(torch.nn.ModuleList([
                torch.nn.ParameterList(
                    uniform(copies, 2**level, rows, o, fan_in=i, scale=scale)
                    for level, scale in zip(levels, scales)
                )
                for rows in (i, 1)
            ]))
        self.master = Dense(copies, [master], inputs) if master else None
        if master:
            self.weighing = torch.nn.Parameter(torch.zeros(copies, 1, 1))

    def features(self, x):
        return x if self.front is None else product(x, *self.front)

    def decisions(self, features):
        """z of every node, [copies, rows, nodes]; z >= 0 goes right."""
        return product(features, self.node_weights, self.node_biases)

    def leaf_weights(self):
        """Per layer the plain leaves: weights [copies, leaves, in, out], biases."""
        return [[self._sum(blocks) for blocks in layer] for layer in self.layers]

    def _sum(self, blocks):
        leaves = 2**self.depth
        return sum(b.repeat_interleave(leaves // b.shape[1], dim=1) for b in blocks)

    def leaf_outputs(self, features):
        """What every leaf answers, [copies, rows, leaves, classes]."""
        (weight, bias), *rest = self.leaf_weights()
        copies, leaves, inputs, _ = weight.shape
        flat = weight.permute(0, 2, 1, 3).reshape(copies, inputs, -1)
        x = product(features, flat, bias.reshape(copies, 1, -1))
        x = x.reshape(copies, features.shape[1], leaves, -1)
        for weight, bias in rest:
            x = torch.einsum("crli,clio->crlo", torch.relu(x), weight)
            x = x + bias.transpose(1, 2)
        if self.master is None:
            return x
        own = torch.sigmoid(self.weighing)
        shared = (1 - own) * self.master(features)
        return own.unsqueeze(3) * x + shared.unsqueeze(2)

    def mixture(self, z):
        """The probability of every leaf, [copies, rows, leaves]."""
        share = torch.ones_like(z[:, :, :1])
        for level in range(self.depth):
            right = torch.sigmoid(z[:, :, 2**level - 1 : 2 ** (level + 1) - 1])
            share = torch.stack([share * (1 - right), share * right], dim=3)
            share = share.flatten(2)
        return share

    def _walk(self, z, turned=None):
        """The leaf, and z and number of every node on the way; `turned`: the level
        whose decision is taken the other way."""
        node = torch.zeros_like(z[:, :, :1], dtype=torch.long)
        met = []
        for level in range(self.depth):
            value = z.gather(2, node)
            right = value >= 0
            if turned is not None:
                right = right ^ (turned == level)
            met.append(value)
            node = 2 * node + 1 + right.long()
        return node - (2**self.depth - 1), torch.cat(met, dim=2)

    def leaf_of(self, z):
        return self._walk(z)[0]

    def two_leaves(self, z, temperature):
        """Shares of the row's leaf and of the one behind its least certain
        decision."""
        leaf, met = self._walk(z)
        level = met.abs().argmin(dim=2, keepdim=True)
        other, _ = self._walk(z, level)
        sure = torch.sigmoid(met.gather(2, level).abs() / temperature)
        none = torch.zeros(*z.shape[:2], 2**self.depth, device=z.device)
        return none.scatter(2, leaf, sure).scatter(2, other, 1 - sure)

    def forward(self, x):
        features = self.features(x)
        leaf = self.leaf_of(self.decisions(features))
        return output_of(self.leaf_outputs(features), leaf)

    def loss(self, x, losses_of, phase, temperature):
        features = self.features(x)
        z = self.decisions(features)
        return self.loss_of(losses_of(self.leaf_outputs(features)), z, phase,
                            temperature)

    def loss_of(self, losses, z, phase, temperature):
        """losses: of every leaf, [copies, rows, leaves]; the mean of each copy."""
        if phase == "soft":
            share = self.mixture(z)
        elif phase == "hard":
            share = self.two_leaves(z, temperature)
        else:
            share = torch.zeros_like(losses).scatter(2, self.leaf_of(z), 1.0)
        loss = (losses * share).sum(dim=2).mean(dim=1)
        if phase != "frozen" and self.balancing:
            # 0 when all leaves get equal shares, leaves - 1 when one takes all.
            unequal = 2**self.depth * share.mean(dim=1).square().sum(dim=1) - 1
            loss = loss + self.balancing * unequal
        # Each parameter has a gradient in every phase.
        return loss + 0 * z.sum()


class Trees(torch.nn.Module):
    """The sum of `trees` Fff of the same linear features, x [copies, rows, 784] ->
    scores. A tree's leaf is judged together with the leaves that the others take."""

    def __init__(self, copies, trees, depth, hidden, bottleneck, balancing=None):
        super().__init__()
        self.inputs, self.balancing = PIXELS, balancing
        self.front = torch.nn.ParameterList([
            uniform(copies, PIXELS, bottleneck, fan_in=PIXELS),
            uniform(copies, 1, bottleneck, fan_in=PIXELS),
        ])
        self.trees = torch.nn.ModuleList(
            Fff(copies, depth, hidden, bottleneck) for _ in range(trees))

    def forward(self, x):
        features = product(x, *self.front)
        return sum(tree(features) for tree in self.trees)

    def loss(self, x, losses_of, phase, temperature):
        features = product(x, *self.front)
        z = [tree.decisions(features) for tree in self.trees]
        leaves = [tree.leaf_outputs(features) for tree in self.trees]
        taken = [output_of(outputs, tree.leaf_of(each))
                 for tree, outputs, each in zip(self.trees, leaves, z)]
        loss = 0
        for tree, outputs, own, each in zip(self.trees, leaves, taken, z):
            tree.balancing = self.balancing
            others = (sum(taken) - own).unsqueeze(2)
            loss = loss + tree.loss_of(losses_of(outputs + others), each, phase,
                                       temperature)
        return loss / len(self.trees)


def output_of(leaf_outputs, leaf):
    """leaf_outputs [copies, rows, leaves, classes], leaf [copies, rows, 1]."""
    index = leaf.unsqueeze(3).expand(-1, -1, 1, CLASSES)
    return leaf_outputs.gather(2, index)[:, :, 0]


def served(model, copy: int):
    """What the server loads of one copy: "layers" of config.json, tensors by name
    (torch, float32)."""
    layers, tensors = [], {}
    if model.inputs != PIXELS:
        layers.append({"type": "avg_pool2d", "size": 2, "stride": 2})
    layers.append({"type": "flatten"})
    if isinstance(model, Dense):
        last = len(model.weights) - 1
        for number in range(last + 1):
            add_linear(layers, tensors, f"{number}.", model.weights[number][copy],
                        model.biases[number][copy])
            if number < last and not (model.first_linear and number == 0):
                layers.append({"type": "activation", "activation": "relu"})
        return layers, tensors
    if model.front is not None:
        add_linear(layers, tensors, "front.", *(p[copy] for p in model.front))
    leaf = [[w[copy].detach() for w in layer] for layer in model.leaf_weights()]
    nodes = [model.node_weights[copy].T.detach(), model.node_biases[copy].T.detach()]
    if len(leaf) == 2:
        _add_fff(layers, tensors, "fff.", nodes, *leaf)
        return layers, tensors
    first, second, third = leaf
    width = second[0].shape[2]
    numbers = _leaf_numbers(model.depth).to(nodes[0].device)
    second = [functional.pad(second[0], (0, model.depth)),
              torch.cat([second[1], numbers[:, None]], dim=2)]
    _add_fff(layers, tensors, "fff.", nodes, first, second)
    layers.append({"type": "activation", "activation": "relu"})
    # Below: level k of `tail.` asks for bit k; a leaf passes on what is left of the
    # second layer after ReLU, by neurons of weight 1.
    nodes = [torch.zeros(2**model.depth - 1, width + model.depth), None]
    for level in range(model.depth):
        nodes[0][2**level - 1 : 2 ** (level + 1) - 1, width + level] = 1
    nodes[1] = torch.full((len(nodes[0]), 1), -0.5)
    passing = torch.eye(width + model.depth, width).expand(2**model.depth, -1, -1)
    passing = [passing, torch.zeros(2**model.depth, 1, width)]
    _add_fff(layers, tensors, "tail.", nodes, passing, third)
    return layers, tensors


@torch.no_grad()
def loaded(folder) -> Dense:
    """A Dense of one copy, from the folder of `served`; one that reads all pixels."""
    layers = json.loads((folder / "config.json").read_text())["layers"]
    tensors = read_safetensors(str(folder / "1" / "model.safetensors"))
    prefixes = [layer["prefix"] for layer in layers if layer["type"] == "linear"]
    biases = [torch.tensor(tensors[prefix + "bias"]) for prefix in prefixes]
    model = Dense(1, [len(bias) for bias in biases[:-1]],
                  first_linear=layers[2]["type"] == "linear")
    for number, prefix in enumerate(prefixes):
        model.weights[number][0] = torch.tensor(tensors[prefix + "weight"]).T
        model.biases[number][0, 0] = biases[number]
    return model


def _leaf_numbers(depth):
    """Per leaf its number in bits, 1 or -1, the root's decision first."""
    number = torch.arange(2**depth)
    bits = [(number >> (depth - 1 - level)) & 1 for level in range(depth)]
    return torch.stack(bits, dim=1).float() * 2 - 1


def add_linear(layers, tensors, prefix, weight, bias):
    layers.append({"type": "linear", "prefix": prefix})
    tensors[prefix + "weight"] = weight.detach().T.contiguous()
    tensors[prefix + "bias"] = bias.detach().reshape(-1)


def _add_fff(layers, tensors, prefix, nodes, first, second):
    layers.append({"type": "fff", "convention": "fastfeedforward",
                   "activation": "relu", "prefix": prefix})
    depth = int(math.log2(len(first[0])))
    tensors[prefix + "depth"] = torch.tensor(depth)
    tensors[prefix + "node_weights"], tensors[prefix + "node_biases"] = nodes
    tensors[prefix + "w1s"], tensors[prefix + "b1s"] = first[0], first[1][:, 0]
    tensors[prefix + "w2s"], tensors[prefix + "b2s"] = second[0], second[1][:, 0]
