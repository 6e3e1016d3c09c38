#!/usr/bin/env python3
"""Trains the networks of the frontier: FFF and dense ones, several seeds of each.

    python3 deploy/models/frontier/train.py --output FOLDER [--only NAME,NAME]

Needs torch (with a GPU: minutes; without: an hour) and Debian's
dataset-fashion-mnist; downloads nothing. Per network it trains every weight decay of
the recipe with every seed, takes the decay whose mean on held-out rows is best, and
only then reads the test set. Writes FOLDER/accuracy.jsonl, one line per network, and
FOLDER/NAME/, the version folder and config.json of one seed for the server: the seed
whose held-out accuracy is the median.
"""

import argparse
import json
import pathlib
import time

import torch

from networks import CLASSES, PIXELS, SIDE, Dense, Fff, served
from training import Data, Recipe, right, test_rows, train
from fff_client.safetensors import write_safetensors

SHRUNK = PIXELS // 4
GROUP = 10  # networks that train together


def networks():
    """name -> (family, function from copies to network). `p`: means of 2 x 2 pixels
    first; `l`: no ReLU behind the first layer; `b24`: FFF behind 24 such outputs."""
    made = {}

    def dense(*hidden, inputs=PIXELS, linear=False):
        name = "dense-" + ("p-" if inputs != PIXELS else "") + ("l" if linear else "")
        made[name + "-".join(map(str, hidden))] = (
            "dense", lambda copies: Dense(copies, hidden, inputs, linear))

    def fff(depth, *hidden, inputs=PIXELS, bottleneck=0, **options):
        name = "fff-" + ("p-" if inputs != PIXELS else "")
        name += (f"b{bottleneck}-" if bottleneck else "") + f"d{depth}-"
        name += "-".join(map(str, hidden))
        name += "".join(f"-{key}{value:g}" for key, value in options.items())
        made[name] = ("fff", lambda copies: Fff(
            copies, depth, hidden, inputs, bottleneck, **options))

    for width in (32, 64, 128, 256):
        dense(width)
    for hidden in ((32, 64), (48, 64), (64, 64), (96, 64), (128, 64), (32, 256),
                   (48, 128), (64, 256), (32, 64, 64), (64, 128, 64)):
        dense(*hidden)
    for hidden in ((16, 256), (24, 256), (32, 256), (16, 128, 64), (20, 128, 64),
                   (24, 128, 32), (24, 128, 64), (24, 256, 64), (32, 128, 64),
                   (32, 256, 64)):
        dense(*hidden, linear=True)
    for hidden in ((64, 64), (128, 64), (64, 256), (64, 128, 64), (128, 256, 64)):
        dense(*hidden, inputs=SHRUNK)
    for hidden in ((24, 256), (24, 128, 64), (32, 256, 64)):
        dense(*hidden, inputs=SHRUNK, linear=True)
    for leaf in (8, 16, 32):
        fff(4, leaf)
    fff(6, 16)
    fff(4, 16, 32)
    for bottleneck, leaf in ((16, 64), (20, 64), (24, 64), (32, 64), (32, 128)):
        fff(4, leaf, bottleneck=bottleneck)
    for bottleneck, hidden in ((24, (64,)), (32, (64,)), (32, (128,)), (32, (64, 64))):
        fff(4, *hidden, inputs=SHRUNK, bottleneck=bottleneck)
    fff(6, 64, bottleneck=24)
    # What the parts of the recipe are worth.
    fff(4, 16, blocks=False)
    fff(4, 16, balancing=0.0)
    fff(4, 64, bottleneck=24, balancing=0.0)
    return made


def multiply_adds(model) -> int:
    """Of one row; without additions alone, as in means of pixels."""
    if not isinstance(model, (Dense, Fff)):
        return model.multiply_adds()
    if isinstance(model, Dense):
        return sum(w[0].numel() for w in model.weights)
    front = 0 if model.front is None else model.front[0][0].numel()
    nodes = model.depth * model.node_weights.shape[1]
    return front + nodes + sum(w[0, 0].numel() for w, _ in model.leaf_weights())


def bytes_of(tensors) -> int:
    return sum(4 * t.numel() for name, t in tensors.items() if "depth" not in name)


def write_version(folder, model, copy):
    plain = isinstance(model, (Dense, Fff))
    layers, tensors = served(model, copy) if plain else model.served(copy)
    shape = [1, SIDE, SIDE] if plain else model.input_shape()
    (folder / "1").mkdir(parents=True, exist_ok=True)
    write_safetensors(str(folder / "1" / "model.safetensors"),
                      {name: t.cpu().contiguous().numpy() for name, t in tensors.items()})
    config = {"input": {"name": "input", "shape": shape}, "layers": layers,
              "output": {"name": "output", "shape": [CLASSES]}}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    return bytes_of(tensors)


def result(name, family, model, recipe, data, folder, output):
    held_out = right(model, data.held_out_x, data.held_out_y).float().mean(dim=1)
    by_decay = held_out.reshape(recipe.seeds, len(recipe.decays))
    best = int(by_decay.mean(dim=0).argmax())
    chosen = torch.arange(recipe.seeds) * len(recipe.decays) + best
    median = int(chosen[by_decay[:, best].argsort()[(recipe.seeds - 1) // 2]])
    tested = right(model, *test_rows(folder, data.held_out_x.device)).float().mean(dim=1)
    percent = lambda values: [round(100 * float(v), 2) for v in values]  # noqa: E731
    return {
        "name": name, "family": family, "multiply_adds": multiply_adds(model),
        "bytes": write_version(output / name, model, median),
        "weight_decay": recipe.decays[best], "held_out": percent(held_out[chosen]),
        "test": percent(tested[chosen]), "served_test": percent(tested[[median]])[0],
        "held_out_by_decay": percent(by_decay.mean(dim=0)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--only", help="names of networks, with commas between")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    options = parser.parse_args()
    made = networks()
    names = options.only.split(",") if options.only else list(made)
    recipe = Recipe(epochs=options.epochs)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.manual_seed(0)
    start = time.monotonic()
    data = Data(options.data, recipe, device)
    options.output.mkdir(parents=True, exist_ok=True)
    for at in range(0, len(names), GROUP):
        group = names[at : at + GROUP]
        models = train([made[name][1] for name in group], data, recipe)
        for name, model in zip(group, models):
            line = result(name, made[name][0], model, recipe, data, options.data,
                          options.output)
            with open(options.output / "accuracy.jsonl", "a") as file:
                file.write(json.dumps({**line, "epochs": recipe.epochs}) + "\n")
            print(f"{time.monotonic() - start:.0f} s", json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
