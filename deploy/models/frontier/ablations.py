#!/usr/bin/env python3
"""What the parts of the recipe and of the networks are worth, on held-out pictures.

    python3 deploy/models/frontier/ablations.py --output FILE [--only NAME,NAME]

Needs what train.py needs. Each case is one of the frontier's networks with one thing
changed, trained with the seeds of the recipe and one weight decay, that of the network
itself. Appends one JSON line per case to FILE; never reads the test set.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import time

import torch

from networks import PIXELS, Dense, Fff, Trees
from training import Data, Recipe, right, train

# Weight decays that results.jsonl chose.
FFF_DECAY, DENSE_DECAY = 0.3, 0.1
NEVER_HARD = {"soft": 1 - Recipe.frozen}  # the tree is soft until it is frozen


def tree_behind(bottleneck, *hidden, depth=4, **options):
    return lambda copies: Fff(copies, depth, hidden, PIXELS, bottleneck, **options)


def cases():
    """name -> (what was changed, function from copies to network, decay, recipe)."""
    plain = tree_behind(24, 64)

    def dense(copies):
        return Dense(copies, (24, 256), PIXELS, first_linear=True)

    return {
        "fff": ("the recipe", plain, FFF_DECAY, {}),
        "fff-labels": ("no teacher", plain, FFF_DECAY, {"distillation": 0.0}),
        "fff-soft": ("soft until frozen", plain, FFF_DECAY, NEVER_HARD),
        "fff-blocks": ("leaves that share nothing", tree_behind(24, 64, blocks=False),
                       FFF_DECAY, {}),
        "fff-master": ("leaves of 32 and a master leaf of 32",
                       tree_behind(24, 32, master=32), FFF_DECAY, {}),
        "fff-trees": ("two trees with leaves of 32",
                      lambda copies: Trees(copies, 2, 4, [32], 24), FFF_DECAY, {}),
        "dense": ("the recipe", dense, DENSE_DECAY, {}),
        "dense-labels": ("no teacher", dense, DENSE_DECAY, {"distillation": 0.0}),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--only", help="names of cases, with commas between")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    options = parser.parse_args()
    made = cases()
    names = options.only.split(",") if options.only else list(made)
    recipe = Recipe(epochs=options.epochs)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    data = Data(options.data, recipe, device)
    for name in names:
        start = time.monotonic()
        changed, make, decay, changes = made[name]
        own = dataclasses.replace(recipe.with_decay(decay), **changes)
        model, = train([make], data, own)
        held_out = right(model, data.held_out_x, data.held_out_y).float().mean(dim=1)
        line = {"name": name, "changed": changed, "epochs": own.epochs,
                "weight_decay": decay,
                "held_out": [round(100 * float(v), 2) for v in held_out]}
        line["mean"] = round(statistics.mean(line["held_out"]), 2)
        with open(options.output, "a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{time.monotonic() - start:.0f} s", json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
