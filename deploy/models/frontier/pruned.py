#!/usr/bin/env python3
"""Prunes dense networks of the frontier by magnitude and fine-tunes them.

    python3 deploy/models/frontier/pruned.py --networks FOLDER --output FOLDER2

FOLDER is that of train.py. Each network begins with its served weights. In three steps
half, three quarters and nine tenths of the weights of every layer but the last become
0, the least ones by magnitude. After each step the network trains on by the recipe of
training.py, with its own weight decay and a lower learning rate; zeros stay zeros. Every
step trains several copies, which differ in the order of their rows. The next step goes
on with these. Held-out rows choose the copy that is served, the median. The test set is
read after that. Writes FOLDER2/accuracy.jsonl and FOLDER2/NAME/ as train.py does; a name
ends in the percentage of zeros. sparse.py takes the times.
"""

import argparse
import json
import pathlib
import sys
import time

import torch

sys.dont_write_bytecode = True  # a model repository is above
from networks import Dense, loaded  # noqa: E402
from train import result  # noqa: E402
from training import Data, Recipe, train  # noqa: E402

NETWORKS = ("dense-l32-256-64", "dense-128-64", "dense-256")
ZEROS = (0.5, 0.75, 0.9)
EPOCHS = 8
LEARNING_RATE = 1e-3


class Pruned(Dense):
    """A Dense whose least weights are 0 and stay so.

    start: the network to prune, of one copy or of as many.
    """

    def __init__(self, start: Dense, copies: int, zeros: float):
        hidden = [bias.shape[2] for bias in start.biases][:-1]
        super().__init__(copies, hidden, start.inputs, start.first_linear)
        with torch.no_grad():
            for mine, other in zip(self.parameters(), start.parameters()):
                mine.copy_(other.expand_as(mine))
        last = len(self.weights) - 1  # whole: a few of its weights make each score
        for number, weight in enumerate(self.weights):
            kept = 1.0 if number == last else 1 - zeros
            self.register_buffer(f"mask{number}", greatest(weight.detach(), kept))

    def masks(self):
        return [getattr(self, f"mask{number}") for number in range(len(self.weights))]

    def applied_weights(self):
        return [weight * mask for weight, mask in zip(self.weights, self.masks())]

    @torch.no_grad()
    def write_zeros(self):
        for weight, mask in zip(self.weights, self.masks()):
            weight.mul_(mask)

    def nonzeros(self) -> int:
        """Of one copy."""
        return int(sum(mask.sum() for mask in self.masks())) // len(self.weights[0])


def greatest(weight, share: float):
    """1 for this share of each copy's weights [copies, in, out], else 0."""
    size = weight.abs().flatten(1)
    zeros = round((1 - share) * size.shape[1])
    if zeros == 0:
        return torch.ones_like(weight)
    bound = size.kthvalue(zeros, dim=1, keepdim=True).values
    return (size > bound).float().reshape(weight.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--only", help="names of networks, with commas between")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of every step")
    options = parser.parse_args()
    trained = {line["name"]: line for line in map(
        json.loads, (options.networks / "accuracy.jsonl").read_text().splitlines())}
    recipe = Recipe(epochs=options.epochs, learning_rate=LEARNING_RATE)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    start = time.monotonic()
    data = Data(options.data, recipe, device)
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.only.split(",") if options.only else NETWORKS:
        model = loaded(options.networks / name).to(device)
        own = recipe.with_decay(trained[name]["weight_decay"])
        for zeros in ZEROS:
            model, = train([lambda copies: Pruned(model, copies, zeros).to(device)],
                           data, own)
            model.write_zeros()
            line = {**result(f"{name}-zeros{100 * zeros:g}", "pruned", model, own, data,
                             options.data, options.output),
                    "start": name, "nonzeros": model.nonzeros(), "epochs": own.epochs}
            with open(options.output / "accuracy.jsonl", "a") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{time.monotonic() - start:.0f} s", json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
