#!/usr/bin/env python3
"""Compares linear layers with FFF layers as the notebook of sap-ient-ai/FFF does.

    OMP_NUM_THREADS=1 python3 deploy/models/frontier/seed_comparison.py \\
        --output FOLDER [--only NAME,NAME]

A small CNN (two convolutions of 5 x 5 to 6 and 16 channels, each with ReLU and a pool
of 2) has three layers behind it, of 120, 84 and 10 outputs, with ReLU between them.
They are linear, or FFF layers. Two rivals have an FFF row's arithmetic and no tree. The
notebook's data is CIFAR-10 with three epochs; here it is Fashion-MNIST. All networks
have the notebook's optimiser, the same rows and the same order.

A run goes on until the accuracy on held-out rows has not risen for PATIENCE epochs, and
its best epoch counts. The state after EQUAL_EPOCHS epochs is kept too. Only then the
test set is read. Writes FOLDER/accuracy.jsonl, one line per network, and FOLDER/NAME/,
the seed of median held-out accuracy for the server. measure.py takes the times.
"""

import argparse
import copy
import json
import math
import pathlib
import sys
import time

import torch
from torch import nn
from torch.nn import functional

sys.dont_write_bytecode = True  # a model repository is above
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import fashion_mnist  # noqa: E402
from cnn import COUNTED, median_of, multiply_adds, percent  # noqa: E402
from fashion_mnist import CLASSES, SIDE  # noqa: E402
from train_fashion_mnist_cnn import (  # noqa: E402
    EXAMPLE_ROWS, HELD_OUT_ROWS, accuracy_of, export_network, read_rows)

CHANNELS = (6, 16)
KERNEL = 5
FEATURES = CHANNELS[1] * (((SIDE - 4) // 2 - 4) // 2) ** 2  # 256: 4 x 4 places
WIDTHS = (FEATURES, 120, 84, CLASSES)
BATCH_ROWS = 128
LEARNING_RATE = 1e-3
EQUAL_EPOCHS = 3
EPOCHS_MAX = 30
PATIENCE = 4
SEEDS = 3


class PathFff(nn.Module):
    """The seed's FFF layer: every node on the way adds lambda * Y[node], where lambda =
    x . X[node]; right if lambda > 0. Its state_dict is the convention `sap-fff`."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.depth = int(math.log2(inputs))
        nodes = 2**self.depth - 1
        self.X = nn.Parameter(functional.normalize(torch.randn(nodes, inputs)))
        self.Y = nn.Parameter(functional.normalize(torch.randn(nodes, outputs)))

    def forward(self, x):
        """All nodes are multiplied, those off the way by 0: faster than gathering rows
        of X and Y where it trains."""
        scores = x @ self.X.T
        node = torch.zeros(len(x), 1, dtype=torch.long)
        way = []
        for _ in range(self.depth):
            way.append(node)
            node = 2 * node + 1 + (scores.gather(1, node) > 0).long()
        way = torch.cat(way, dim=1)
        taken = torch.zeros_like(scores).scatter(1, way, scores.gather(1, way))
        return taken @ self.Y


class Narrow(nn.Sequential):
    """What one row of a PathFff computes, without the choice of nodes: as many neurons
    as its levels."""

    def __init__(self, inputs: int, outputs: int):
        levels = int(math.log2(inputs))
        super().__init__(nn.Linear(inputs, levels, bias=False), nn.Linear(levels, outputs))


def three(layer) -> nn.Module:
    return nn.Sequential(layer(WIDTHS[0], WIDTHS[1]), nn.ReLU(),
                         layer(WIDTHS[1], WIDTHS[2]), nn.ReLU(),
                         layer(WIDTHS[2], WIDTHS[3]))


def one_hidden(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, width), nn.ReLU(),
                         nn.Linear(width, CLASSES))


class SmallCnn(nn.Module):
    """Raw pixels, uint8 [rows, 1, 28, 28], to ten scores."""

    def __init__(self, layers: nn.Module):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, CHANNELS[0], KERNEL), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(*CHANNELS, KERNEL), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.layers = layers

    def forward(self, pixels):
        return self.layers(self.features((pixels - 127.5) / 127.5))


# name -> (family, function that makes what stands behind the convolutions). The last
# has the multiply-adds of `seed-fff` in the plainest form.
NETWORKS = {
    "seed-linear": ("dense", lambda: three(nn.Linear)),
    "seed-fff": ("fff", lambda: three(PathFff)),
    "seed-narrow": ("dense", lambda: three(Narrow)),
    "seed-18": ("dense", lambda: one_hidden(18)),
}
PATH_COUNTED = {**COUNTED, PathFff: lambda layer, out: layer.depth * (
    layer.X.shape[1] + layer.Y.shape[1])}


def one_epoch(model, optimizer, images, labels, rows) -> None:
    model.train()
    for batch in rows.split(BATCH_ROWS):
        loss = functional.cross_entropy(model(images[batch][:, None]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def train(model, images, labels, seed: int, epochs_max: int):
    """The states after EQUAL_EPOCHS epochs and after the best, with the accuracy on
    held-out rows and the epoch of each."""
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=random)
    held_out, rest = order[:HELD_OUT_ROWS], order[HELD_OUT_ROWS:]
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
    early = best = None
    for epoch in range(1, epochs_max + 1):
        shuffled = rest[torch.randperm(len(rest), generator=random)]
        one_epoch(model, optimizer, images, labels, shuffled)
        accuracy = accuracy_of(model, images[held_out], labels[held_out])
        print(f"  epoch {epoch}: held-out {accuracy:.4f}", flush=True)
        state = accuracy, epoch, copy.deepcopy(model.state_dict())
        if epoch <= EQUAL_EPOCHS:
            early = state
        if best is None or accuracy > best[0]:
            best = state
        if epoch >= max(EQUAL_EPOCHS, best[1] + PATIENCE):
            break
    return early, best


def tested(model, states, test) -> list:
    """Accuracy on the test set of every state."""
    found = []
    for _, _, state in states:
        model.load_state_dict(state)
        found.append(accuracy_of(model, *test))
    return percent(found)


def result(name, rows, test, options) -> dict:
    family, make = NETWORKS[name]
    early, best = [], []
    for seed in range(options.seeds):
        print(f"{name}, seed {seed}", flush=True)
        torch.manual_seed(seed)
        model = SmallCnn(make())
        model.to(memory_format=torch.channels_last)  # a fifth faster on a CPU
        for kept, state in zip((early, best), train(model, *rows, seed, options.epochs)):
            kept.append(state)
    chosen = median_of([accuracy for accuracy, _, _ in best])
    early_test, test_of = tested(model, early, test), tested(model, best, test)
    model.load_state_dict(best[chosen][2])
    model.to(memory_format=torch.contiguous_format)
    folder = options.output / name
    export_network(model, folder / "1", test[0][:EXAMPLE_ROWS, None])
    return {
        "name": name, "family": family,
        "multiply_adds": multiply_adds(model, PATH_COUNTED),
        "bytes": (folder / "1" / "model.safetensors").stat().st_size,
        "equal_epochs": EQUAL_EPOCHS, "equal_epochs_test": early_test,
        "epochs": [epoch for _, epoch, _ in best], "epochs_max": options.epochs,
        "held_out": percent([accuracy for accuracy, _, _ in best]),
        "test": test_of, "served_test": test_of[chosen]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, default=fashion_mnist.FOLDER)
    parser.add_argument("--only", help="names of networks, with commas between")
    parser.add_argument("--epochs", type=int, default=EPOCHS_MAX, help="at most")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(NETWORKS)
    rows, test = read_rows(options.data, "train"), read_rows(options.data, "t10k")
    options.output.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    for name in names:
        line = result(name, rows, test, options)
        with open(options.output / "accuracy.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{time.monotonic() - start:.0f} s", json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
