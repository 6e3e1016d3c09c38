#!/usr/bin/env python3
"""Trains the frontier of a whole CNN: one trunk of convolutions, FFF and dense heads.

    OMP_NUM_THREADS=1 python3 deploy/models/frontier/cnn.py --output FOLDER \\
        [--only NAME,NAME]

Convolutions, losses and recipe are those of ../train_fashion_mnist_cnn.py, with fewer
epochs; both families take the same. Per network and seed it trains once. Held-out rows
choose the seed that is served, the one of median accuracy. The test set is read after
that, with the weights as they are stored (float16). Writes FOLDER/accuracy.jsonl, one
line per network, and FOLDER/NAME/, a version folder and config.json for the server.
measure.py takes the times.
"""

import argparse
import json
import pathlib
import sys
import time

import torch
from torch import nn

sys.dont_write_bytecode = True  # a model repository is above
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import fashion_mnist  # noqa: E402
from fashion_mnist import SIDE  # noqa: E402
from train_fashion_mnist_cnn import (  # noqa: E402
    EXAMPLE_ROWS, FEATURES, HEAD_OUTPUTS, Cnn, Fff, accuracy_of, as_stored, dense_loss,
    export_network, fff_loss, read_rows, train)

EPOCHS = 10
SEEDS = 2
WIDTHS = (16, 32, 64, 128, 256)
TREES = ((3, 8), (3, 16), (3, 32), (4, 16))  # depth, neurons of a leaf


def dense_head(width: int) -> nn.Module:
    if width == 0:
        return nn.Linear(FEATURES, HEAD_OUTPUTS)
    return nn.Sequential(nn.Linear(FEATURES, width), nn.ReLU(),
                         nn.Linear(width, HEAD_OUTPUTS))


def networks() -> dict:
    """name -> (family, function that makes the network, its loss)."""
    made = {}
    for width in (0, *WIDTHS):
        made[f"cnn-dense-{width}" if width else "cnn-dense"] = (
            "dense", lambda width=width: Cnn(dense_head(width)), dense_loss)
    for depth, leaf in TREES:
        made[f"cnn-fff-d{depth}-{leaf}"] = (
            "fff", lambda depth=depth, leaf=leaf: Cnn(
                Fff(FEATURES, leaf, HEAD_OUTPUTS, depth)), fff_loss)
    return made


# Per type of layer its multiply-adds of one row, of which `out` is the answer. An FFF
# evaluates one node per level and one leaf.
COUNTED = {
    nn.Conv2d: lambda layer, out: layer.weight.numel() * out[0, 0].numel(),
    nn.Linear: lambda layer, out: layer.weight.numel(),
    Fff: lambda layer, out: (int(layer.depth) * layer.node_weights.shape[1]
                             + layer.w1s[0].numel() + layer.w2s[0].numel()),
}


@torch.no_grad()
def multiply_adds(model: nn.Module, counted=COUNTED) -> int:
    """Of one picture."""
    counts = []
    hooks = [
        layer.register_forward_hook(
            lambda layer, _, out: counts.append(counted[type(layer)](layer, out)))
        for layer in model.modules() if type(layer) in counted
    ]
    model.eval()(torch.zeros(1, 1, SIDE, SIDE))
    for hook in hooks:
        hook.remove()
    return sum(counts)


def median_of(values) -> int:
    """Its place; the lower one of an even number."""
    return sorted(range(len(values)), key=values.__getitem__)[(len(values) - 1) // 2]


def percent(values) -> list:
    return [round(100 * value, 2) for value in values]


def result(name, made, rows, test, options) -> dict:
    """Trains all seeds of one network, writes the median one; its line."""
    family, make, loss = made
    models, held_out = [], []
    for seed in range(options.seeds):
        print(f"{name}, seed {seed}", flush=True)
        torch.manual_seed(seed)
        models.append(make())
        held_out.append(train(models[-1], loss, *rows, options.epochs, seed))
    tested = [accuracy_of(as_stored(model), *test) for model in models]
    chosen = median_of(held_out)
    folder = options.output / name
    line = {"name": name, "family": family, "multiply_adds": multiply_adds(models[chosen])}
    export_network(models[chosen].half(), folder / "1", test[0][:EXAMPLE_ROWS, None])
    return {**line, "bytes": (folder / "1" / "model.safetensors").stat().st_size,
            "held_out": percent(held_out), "test": percent(tested),
            "served_test": percent(tested)[chosen], "epochs": options.epochs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, default=fashion_mnist.FOLDER)
    parser.add_argument("--only", help="names of networks, with commas between")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    made = networks()
    names = options.only.split(",") if options.only else list(made)
    rows, test = read_rows(options.data, "train"), read_rows(options.data, "t10k")
    options.output.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    for name in names:
        line = result(name, made[name], rows, test, options)
        with open(options.output / "accuracy.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{time.monotonic() - start:.0f} s", json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
