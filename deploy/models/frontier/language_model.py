#!/usr/bin/env python3
"""Trains small masked language models, with FFF and with dense feedforward.

    python3 deploy/models/frontier/language_model.py --output FOLDER [--only NAME,NAME]

The networks have the shape and the names of crammed BERT with an FFF (UltraFastBERT,
arXiv 2311.10770), so the server takes them as they are. They differ in the feedforward
alone:

- `none`: none (`--only` takes any name of these forms);
- `dense-128`: 128 neurons with GELU;
- `fff-4x5`: 4 trees of depth 5, which is 6 levels. Of each tree the neurons on the way
  of a token answer, so 24 of 252. The way turns right where a neuron's sum is above 0.
  Training takes the same hard way; gradients go through the neurons on it.

All have the recipe below, with the same rows, masks and number of steps. The test
chapters are read at the end alone. Writes FOLDER/NAME/ for the server, with an example
that the server proves at loading, and FOLDER/accuracy.jsonl, one line per network.
Needs torch and Debian's bible-kjv; downloads nothing.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import sys
import time

import torch
from torch.nn import functional

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "client" / "python"))
from fff_client.safetensors import write_safetensors  # noqa: E402
from language_text import LENGTH, Text, scored_batches, training_batches  # noqa: E402

NETWORKS = ("none", "dense-8", "dense-32", "dense-128", "fff-1x7", "fff-4x5")
EPSILON = 1e-12
MASK_VALUE = -10000
EXAMPLE_ROWS = 8
TIED = "decoder.weight"  # the embedding once more


@dataclasses.dataclass(frozen=True)
class Recipe:
    steps: int = 4000
    batch_rows: int = 16
    learning_rate: float = 4e-3
    weight_decay: float = 0.01
    warm: float = 0.2  # share of the steps in which the rate rises
    clip: float = 1.0  # of the gradients' norm
    width: int = 64
    heads: int = 4
    layers: int = 2


def linear(inputs, outputs, bias=False):
    made = torch.nn.Linear(inputs, outputs, bias=bias)
    torch.nn.init.normal_(made.weight, std=inputs**-0.5)
    if bias:
        torch.nn.init.zeros_(made.bias)
    return made


def norm(width):
    return torch.nn.LayerNorm(width, eps=EPSILON)


class Attention(torch.nn.Module):
    """Rows of the joint projection: per head query, key and value."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.self_attention = torch.nn.Module()
        self.self_attention.query_key_value = linear(width, 3 * width)
        self.dense = linear(width, width)
        # Keys start as queries, so a token attends to its neighbours from the start
        # (arXiv 2305.09828).
        weight = self.self_attention.query_key_value.weight.data
        weight = weight.reshape(heads, 3, width // heads, width)
        weight[:, 1] = weight[:, 0]

    def forward(self, x):
        rows, length, width = x.shape
        size = width // self.heads
        both = self.self_attention.query_key_value(x)
        both = both.reshape(rows, length, self.heads, 3 * size).transpose(1, 2)
        q, k, v = both.split(size, dim=3)
        scores = torch.matmul(q * size**-0.5, k.transpose(2, 3))
        found = torch.matmul(torch.softmax(scores, dim=3), v)
        return self.dense(found.transpose(1, 2).reshape(rows, length, width))


class Dense(torch.nn.Module):
    def __init__(self, width, neurons):
        super().__init__()
        self.dense_in = linear(width, neurons)
        self.dense_out = linear(neurons, width)

    def forward(self, x):
        return self.dense_out(functional.gelu(self.dense_in(x)))

    def multiply_adds(self):
        return self.dense_in.weight.numel() + self.dense_out.weight.numel()

    @staticmethod
    def served():
        return [{"type": "linear", "prefix": "ffn.dense_in.", "activation": "gelu"},
                {"type": "linear", "prefix": "ffn.dense_out."}]


class Fff(torch.nn.Module):
    def __init__(self, width, trees, depth):
        super().__init__()
        self.trees, self.levels = trees, depth + 1
        self.nodes = 2**self.levels - 1
        self.linear_in = linear(width, trees * self.nodes, bias=True)
        self.linear_out = linear(trees * self.nodes, width)

    @torch.no_grad()
    def visited(self, z):
        """1 for the neurons on the way, [tokens, trees, nodes]."""
        right = z > 0
        found = torch.zeros_like(z)
        node = torch.zeros_like(z[:, :, :1], dtype=torch.long)
        for level in range(self.levels):
            found.scatter_(2, node, 1.0)
            if level < self.levels - 1:
                node = 2 * node + 1 + right.gather(2, node).long()
        return found

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1])
        z = self.linear_in(flat)
        seen = self.visited(z.reshape(-1, self.trees, self.nodes)).reshape(z.shape)
        return self.linear_out(functional.gelu(z) * seen).reshape(x.shape)

    def multiply_adds(self):
        width = self.linear_in.weight.shape[1]
        return 2 * self.trees * self.levels * width

    def served(self):
        return [{"type": "fff", "convention": "ultrafastbert", "activation": "gelu",
                 "trees": self.trees, "prefix": "ffn."}]


def feedforward(name, width):
    family, _, size = name.partition("-")
    if family == "none":
        return None
    if family == "dense":
        return Dense(width, int(size))
    return Fff(width, *map(int, size.split("x")))


class Layer(torch.nn.Module):
    def __init__(self, name, recipe):
        super().__init__()
        self.norm1, self.attn = norm(recipe.width), Attention(recipe.width, recipe.heads)
        self.ffn = feedforward(name, recipe.width)
        if self.ffn is not None:
            self.norm2 = norm(recipe.width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x if self.ffn is None else x + self.ffn(self.norm2(x))


class Embedding(torch.nn.Module):
    def __init__(self, vocabulary, width):
        super().__init__()
        self.word_embedding = torch.nn.Embedding(vocabulary, width)
        torch.nn.init.normal_(self.word_embedding.weight, std=0.5 * width**-0.5)
        self.pos_embedding = torch.nn.Module()
        self.pos_embedding.scale_factor = torch.nn.Parameter(torch.tensor([width**-0.5]))
        self.norm = norm(width)
        rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        angle = torch.arange(LENGTH)[:, None] * rate
        table = torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)
        self.register_buffer("table", table, persistent=False)

    def forward(self, ids):
        x = self.word_embedding(ids)
        return self.norm(x + self.pos_embedding.scale_factor * self.table[: ids.shape[1]])


class LanguageModel(torch.nn.Module):
    def __init__(self, name, vocabulary, recipe):
        super().__init__()
        self.recipe = recipe
        self.encoder = torch.nn.Module()
        self.encoder.embedding = Embedding(vocabulary, recipe.width)
        self.encoder.layers = torch.nn.ModuleList(
            Layer(name, recipe) for _ in range(recipe.layers))
        self.encoder.final_norm = norm(recipe.width)
        self.decoder = linear(recipe.width, vocabulary)
        self.decoder.weight = self.encoder.embedding.word_embedding.weight

    def forward(self, ids, scored=None):
        """Scores of all tokens, or of those where `scored`."""
        x = self.encoder.embedding(ids)
        for layer in self.encoder.layers:
            x = layer(x)
        return self.decoder(self.encoder.final_norm(x if scored is None else x[scored]))

    def multiply_adds(self):
        """Per token of a sequence of LENGTH: feedforward, and all but the decoder."""
        width, ffn = self.recipe.width, self.encoder.layers[0].ffn
        own = ffn.multiply_adds() if ffn is not None else 0
        attention = 4 * width * width + 2 * LENGTH * width
        layers = self.recipe.layers
        return layers * own, layers * (own + attention)


def rate_at(recipe, step):
    share = step / recipe.steps
    if share < recipe.warm:
        return recipe.learning_rate * (0.02 + 0.98 * share / recipe.warm)
    return recipe.learning_rate * (1 - share) / (1 - recipe.warm)


def trained(name, text, recipe, seed):
    torch.manual_seed(seed)
    model = LanguageModel(name, len(text.vocabulary), recipe)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=recipe.weight_decay,
                                  betas=(0.9, 0.98))
    batches = training_batches(text.train, recipe.batch_rows, recipe.steps, seed)
    for step, batch in enumerate(batches):
        rows, shown, hidden = map(torch.from_numpy, batch)
        loss = functional.cross_entropy(model(shown, hidden), rows[hidden])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.param_groups[0]["lr"] = rate_at(recipe, step)
        optimizer.step()
    return model.eval()


@torch.no_grad()
def scores(model, ids):
    """Share of the hidden words that are found, in %, and cross entropy."""
    right = loss = words = 0
    for batch in scored_batches(ids, 128):
        rows, shown, hidden = map(torch.from_numpy, batch)
        output, wanted = model(shown, hidden), rows[hidden]
        right += int((output.argmax(dim=1) == wanted).sum())
        loss += float(functional.cross_entropy(output, wanted, reduction="sum"))
        words += len(wanted)
    return round(100 * right / words, 3), round(loss / words, 4)


def served_layers(model):
    """"layers" of config.json."""
    recipe, ffn = model.recipe, model.encoder.layers[0].ffn
    layers = [{"type": "residual", "layers": [
        {"type": "layer_norm", "prefix": "norm1.", "epsilon": EPSILON},
        {"type": "attention", "heads": recipe.heads, "layout": "heads",
         "qkv": "attn.self_attention.query_key_value.", "out": "attn.dense.",
         "mask_value": MASK_VALUE}]}]
    if ffn is not None:
        layers.append({"type": "residual", "layers": [
            {"type": "layer_norm", "prefix": "norm2.", "epsilon": EPSILON},
            *ffn.served()]})
    return [
        {"type": "embedding", "prefix": "encoder.embedding.word_embedding."},
        {"type": "positions", "kind": "sinusoidal", "length": LENGTH,
         "scale": "encoder.embedding.pos_embedding.scale_factor"},
        {"type": "layer_norm", "prefix": "encoder.embedding.norm.", "epsilon": EPSILON},
        {"type": "repeat", "count": recipe.layers, "prefix": "encoder.layers.{i}.",
         "layers": layers},
        {"type": "layer_norm", "prefix": "encoder.final_norm.", "epsilon": EPSILON},
        {"type": "linear", "prefix": "decoder."},
    ]


@torch.no_grad()
def write_version(folder, model, text):
    """The version folder for the server, with an example; returns the tensors' bytes."""
    (folder / "1").mkdir(parents=True, exist_ok=True)
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    write_safetensors(str(folder / "1" / "model.safetensors"), tensors)
    _, shown, _ = next(scored_batches(text.test, EXAMPLE_ROWS))
    write_safetensors(str(folder / "1" / "example.safetensors"), {
        "input.input_ids": shown,
        "output.output": model(torch.from_numpy(shown)).numpy()})
    config = {
        "input": [
            {"name": "input_ids", "datatype": "INT64", "shape": ["sequence"]},
            {"name": "attention_mask", "datatype": "INT64", "shape": ["sequence"],
             "role": "mask", "optional": True}],
        "layers": served_layers(model),
        "output": {"name": "output"},
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    return sum(value.nbytes for name, value in tensors.items() if name != TIED)


def add_line(path, line):
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--only", help="names of networks, with commas between")
    parser.add_argument("--seeds", help="numbers, with commas between", default="1")
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe, text, start = Recipe(steps=options.steps), Text(), time.monotonic()
    options.output.mkdir(parents=True, exist_ok=True)
    for seed in map(int, options.seeds.split(",")):
        for name in options.only.split(",") if options.only else NETWORKS:
            model = trained(name, text, recipe, seed)
            ffn, rest = model.multiply_adds()
            part = "held_out" if options.held_out else "test"
            accuracy, loss = scores(model, getattr(text, part))
            line = {"name": name, "seed": seed, part: accuracy, "cross_entropy": loss,
                    "feedforward_multiply_adds": ffn, "multiply_adds": rest,
                    "bytes": write_version(options.output / name, model, text),
                    "steps": recipe.steps, "tokens_per_step": recipe.batch_rows * LENGTH}
            add_line(options.output / "accuracy.jsonl", line)
            print(f"{time.monotonic() - start:.0f} s", json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
