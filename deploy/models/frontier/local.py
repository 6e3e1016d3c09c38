#!/usr/bin/env python3
"""Networks with local features: filters over parts of the picture in front of a tree,
or of dense layers.

    python3 deploy/models/frontier/local.py --output FOLDER [--only NAME,NAME]
    python3 deploy/models/frontier/local.py --output FOLDER --search

A network's name is its front, a colon and what stands behind it. Steps of a front, with
`+` between them, each with `r` behind it where ReLU follows:

    l32      32 linear features of everything
    p        means of 2 x 2 pixels
    q4x4k8   8 filters of 4 x 4, side by side over the picture
    h4x4k8   the same, with filters of its own for each band of 4 rows
    b8       8 linear features for each of seven bands of what comes in
    s8x6     the picture between a matrix of 8 rows and one of 6 columns

Behind it: `256-64` are dense layers with ReLU, `d4-64` is a tree of depth 4 over leaves
of 64 neurons. Recipe and losses are those of training.py.

Without --search it trains three seeds of each network of SERVED, with the weight decay
that the search found best, reads the test set once, and writes what train.py writes. It
puts the two networks of the demo beside them, for measure.py.
With it, it trains two seeds of 231 networks with two decays each (a quarter of an hour
on an H200) and writes FOLDER/local_search.jsonl anew: multiply-adds and accuracy on
held-out rows alone.
"""

import argparse
import json
import pathlib
import re
import time

import torch

from networks import (
    PIXELS, SIDE, Dense, Fff, add_linear, product, uniform, served, shrunk)
from training import Data, Recipe, right, train
import train as frontier

BANDS = 7
SERVED = {"h4x4k8r+b8:d4-64": 0.1, "h4x4k12r+b8:128": 0.1, "h4x4k8r+b8:128-64": 0.01}
SEARCHED = {
    # (fronts, what stands behind each)
    "fff": [
        ("l32 p+l32 q4x4k1 q4x4k2 q4x4k2r q4x4k2+l32 q4x4k3+l32 q4x4k4+l32 q7x7k4 q7x7k8"
         " q7x7k8+l32 h4x28k4 h4x28k8 h2x28k4 h7x28k8 h4x28k8+l32 h2x28k4+l32 s6x6 s8x8"
         " q4x4k2r+l32 q4x4k4r+l32 q4x4k8r+l32 q7x7k4r q7x7k8r", "d4-64 d4-128 d5-128"),
        ("q4x4k8r+l16 q4x4k8r+l24 q4x4k8r+l48 q4x4k6r+l32 q4x4k12r+l32 q4x4k16r+l32"
         " q4x7k16r+l32 q7x7k16r+l32 q4x4k8r+b4 q4x4k8r+b8 h4x4k8r+l32 h4x4k8r+b4"
         " h4x4k8r+b8 h4x4k8r+b8r h4x4k8+b8 h4x4k4r+b4 h4x4k6r+b4 h4x4k12r+b4"
         " h4x4k12r+b8 h4x7k8r+b8 h4x7k16r+b4", "d4-64"),
        ("q4x4k8r+l32", "d4-32 d5-32 d5-64"), ("h4x4k8r+b4 h4x4k8r+b8", "d4-128"),
        ("h2x28k4", "d5-64"), ("q4x4k4", "d4-32"),
    ],
    "dense": [
        ("l32 p+l32 q4x4k1 q4x4k2 q4x4k2r q4x4k2+l32 q4x4k3+l32 q4x4k4+l32 q7x7k4 q7x7k8"
         " q7x7k8+l32 h4x28k4 h4x28k8 h2x28k4 h7x28k8 h4x28k8+l32 h2x28k4+l32 s6x6 s8x8"
         " q4x4k2r+l32 q4x4k4r+l32 q4x4k8r+l32 q7x7k4r q7x7k8r", "128-64 256-64"),
        ("q4x4k6r+l32 q4x4k8r+l16 q4x4k8r+l24 q4x4k8r+l48 q4x4k12r+l24 q4x4k12r+l32"
         " q4x4k16r+l16 q4x4k16r+l24 q4x4k16r+l32 q4x7k16r+l32 q7x7k16r+l32 h4x4k6r+b4"
         " h4x4k8r+b4 h4x4k8r+b8 h4x4k8r+l32 h4x4k12r+b4 h4x4k12r+b8 h4x4k16r+b4",
         "128 64-64 128-64 256-64"),
        ("q4x4k8r+l32", "128 64-64"), ("q4x4k8r", "32 64 32-64 32-128 64-64"),
        ("q4x4k16r", "32 64"), ("h4x4k8r h4x4k16r", "32-64"),
    ],
}
SEARCHED_DECAYS = {"fff": (0.1, 0.3), "dense": (0.01, 0.1)}
SEARCHED_SEEDS = 2
GROUP = 24  # networks that train together


class Means(torch.nn.Module):
    """`p`"""

    def __init__(self, inputs):
        super().__init__()
        self.outputs, self.multiply_adds = inputs // 4, 0

    def forward(self, x):
        return shrunk(x, self.outputs)

    def serve(self, layers, tensors, prefix, copy):
        layers.append({"type": "avg_pool2d", "size": 2, "stride": 2})


class Linear(torch.nn.Module):
    """`l`: x [copies, rows, inputs] -> [copies, rows, outputs]."""

    def __init__(self, copies, inputs, outputs):
        super().__init__()
        self.weight = uniform(copies, inputs, outputs, fan_in=inputs)
        self.bias = uniform(copies, 1, outputs, fan_in=inputs)
        self.outputs, self.multiply_adds = outputs, inputs * outputs

    def forward(self, x):
        return product(x.expand(len(self.weight), -1, -1), self.weight, self.bias)

    def serve(self, layers, tensors, prefix, copy):
        layers.append({"type": "flatten"})
        add_linear(layers, tensors, prefix, self.weight[copy], self.bias[copy])


class Filters(torch.nn.Module):
    """`q`, `h` and `b`: filters side by side over the bands of a picture.

    x [copies, rows, bands * channels * height * width] -> [copies, rows, bands * filters
    * windows], a band's elements one behind the other. A window has all of a band's
    channels and rows, and `window` of its columns. own: each band has filters of its
    own; else all share theirs.
    """

    def __init__(self, copies, bands, channels, height, width, window, filters, own):
        super().__init__()
        self.shape = (bands, channels, height, width // window, window)
        terms = channels * height * window
        sets = bands if own else 1
        self.weight = uniform(copies, sets, terms, filters, fan_in=terms)
        self.bias = uniform(copies, 1, sets, filters, 1, fan_in=terms)
        windows = bands * (width // window)
        self.outputs, self.multiply_adds = windows * filters, windows * filters * terms

    def forward(self, x):
        # [copies, rows, bands, windows, terms]
        x = x.unflatten(2, self.shape).permute(0, 1, 2, 5, 3, 4, 6).flatten(4)
        x = x.expand(len(self.weight), -1, -1, -1, -1)
        weight = self.weight.expand(-1, self.shape[0], -1, -1)
        return (torch.einsum("crbwt,cbtf->crbfw", x, weight) + self.bias).flatten(2)

    def serve(self, layers, tensors, prefix, copy):
        """Bands are channels, and groups."""
        bands, channels, height, _, window = self.shape
        weight = self.weight[copy].detach().transpose(1, 2).expand(bands, -1, -1)
        bias = self.bias[copy, 0].detach().expand(bands, -1, -1)
        layers.append({"type": "conv2d", "prefix": prefix, "groups": bands,
                       "stride": [height, window]})
        tensors[prefix + "weight"] = weight.flatten(0, 1).unflatten(
            1, (channels, height, window))
        tensors[prefix + "bias"] = bias.flatten()


class Separable(torch.nn.Module):
    """`s`: left [rows of y, 28], the picture, right [28, columns of y]; not served."""

    def __init__(self, copies, rows, columns):
        super().__init__()
        self.left = uniform(copies, rows, SIDE, fan_in=SIDE)
        self.right = uniform(copies, SIDE, columns, fan_in=SIDE)
        self.bias = uniform(copies, 1, rows * columns, fan_in=PIXELS)
        self.outputs = rows * columns
        self.multiply_adds = rows * PIXELS + rows * SIDE * columns

    def forward(self, x):
        x = x.unflatten(2, (SIDE, SIDE)).expand(len(self.left), -1, -1, -1)
        x = torch.einsum("cai,crij->craj", self.left, x)
        return torch.einsum("craj,cjb->crab", x, self.right).flatten(2) + self.bias


def step_of(spec: str, copies: int, inputs: int, windows: int):
    """spec: without its `r`. windows: of a filter of the step before in one band."""
    kind, numbers = spec[0], [int(each) for each in re.findall(r"\d+", spec)]
    if kind == "p":
        return Means(inputs)
    if kind == "l":
        return Linear(copies, inputs, *numbers)
    if kind == "s":
        return Separable(copies, *numbers)
    if kind == "b":
        return Filters(copies, BANDS, inputs // BANDS // windows, 1, windows, windows,
                       numbers[0], own=True)
    height, width, filters = numbers
    return Filters(copies, SIDE // height, 1, height, SIDE, width, filters,
                   own=kind == "h")


class Local(torch.nn.Module):
    """A front and what stands behind it, x [copies, rows, 784] -> scores."""

    def __init__(self, copies: int, name: str):
        super().__init__()
        front, behind = name.split(":")
        self.inputs, self.family = PIXELS, "fff" if behind[0] == "d" else "dense"
        self.rectified = [spec.endswith("r") for spec in front.split("+")]
        self.steps, width = torch.nn.ModuleList(), PIXELS
        windows = 1
        for spec in front.split("+"):
            step = step_of(spec.rstrip("r"), copies, width, windows)
            self.steps.append(step)
            width = step.outputs
            windows = step.shape[3] if isinstance(step, Filters) else 1
        first = self.steps[0]
        self.bands = first.shape[0] if isinstance(first, Filters) else 1
        hidden = [int(each) for each in re.findall(r"\d+", behind)]
        if self.family == "fff":
            self.behind = Fff(copies, hidden[0], hidden[1:], width)
        else:
            self.behind = Dense(copies, hidden, width)

    @property
    def balancing(self):
        return self.behind.balancing if self.family == "fff" else 0

    @balancing.setter
    def balancing(self, value):
        self.behind.balancing = value

    def features(self, x):
        for step, rectified in zip(self.steps, self.rectified):
            x = step(x)
            x = torch.relu(x) if rectified else x
        return x

    def forward(self, x):
        return self.behind(self.features(x))

    def loss(self, x, losses_of, phase, temperature):
        return self.behind.loss(self.features(x), losses_of, phase, temperature)

    def multiply_adds(self) -> int:
        front = sum(step.multiply_adds for step in self.steps)
        return front + frontier.multiply_adds(self.behind)

    def input_shape(self) -> list:
        """A picture, or its bands as channels."""
        return [self.bands, SIDE // self.bands, SIDE]

    def served(self, copy: int):
        """As networks.served."""
        layers, tensors = [], {}
        for number, step in enumerate(self.steps):
            step.serve(layers, tensors, f"front.{number}.", copy)
            if self.rectified[number]:
                layers.append({"type": "activation", "activation": "relu"})
        if not isinstance(self.steps[-1], Linear):
            layers.append({"type": "flatten"})
        behind, more = served(self.behind, copy)
        # Without the steps that take a picture.
        layers += [layer for layer in behind
                   if layer["type"] not in ("avg_pool2d", "flatten")]
        return layers, {**tensors, **more}


def served_name(name: str) -> str:
    """As a folder of a model repository."""
    return name.replace(":", ".").replace("+", "-")


def write_demo(output) -> None:
    """The demo's two networks, to be measured beside; `output` as that of train.py.
    Nothing where they are there already."""
    demo = pathlib.Path(__file__).resolve().parents[1] / "fashion-mnist"
    config = json.loads((demo / "config.json").read_text())
    report = json.loads((demo / "report.json").read_text())
    sides = (("fff", "fff-b32-d4-128", "model", "layers"),
             ("dense", "dense-l32-256-64", "dense", "dense_layers"))
    for family, name, file, layers in sides:
        if (output / name).exists():
            continue
        (output / name / "1").mkdir(parents=True)
        tensors = (demo / "1" / f"{file}.safetensors").read_bytes()
        (output / name / "1" / "model.safetensors").write_bytes(tensors)
        (output / name / "config.json").write_text(json.dumps({
            "input": config["input"], "layers": config[layers],
            "output": config["output"]}))
        percent = {part: [round(100 * value, 2) for value in report[f"{family}_{part}"]]
                   for part in ("held_out", "test_by_seed")}
        write_line(output / "accuracy.jsonl", {
            "name": name, "family": family,
            "multiply_adds": frontier.multiply_adds(frontier.networks()[name][1](1)),
            "held_out": percent["held_out"], "test": percent["test_by_seed"],
            "served_test": round(100 * report[f"{family}_test"], 2),
            "epochs": report["epochs"]})


def searched(family) -> list:
    names = [f"{front}:{behind}" for fronts, behinds in SEARCHED[family]
             for behind in behinds.split() for front in fronts.split()]
    return sorted(set(names), key=names.index)


def trained(names, data, recipe):
    makers = [lambda copies, name=name: Local(copies, name) for name in names]
    return train(makers, data, recipe)


def search(data, output) -> None:
    (output / "local_search.jsonl").unlink(missing_ok=True)
    for family, decays in SEARCHED_DECAYS.items():
        recipe = Recipe(seeds=SEARCHED_SEEDS, decays=decays)
        names = searched(family)
        for at in range(0, len(names), GROUP):
            group = names[at : at + GROUP]
            for name, model in zip(group, trained(group, data, recipe)):
                held_out = right(model, data.held_out_x, data.held_out_y)
                by_decay = 100 * held_out.float().mean(dim=1).reshape(
                    SEARCHED_SEEDS, len(decays))
                best = int(by_decay.mean(dim=0).argmax())
                line = {"name": name, "family": family,
                        "multiply_adds": model.multiply_adds(),
                        "weight_decay": decays[best],
                        "held_out": [round(float(v), 2) for v in by_decay[:, best]],
                        "epochs": recipe.epochs}
                write_line(output / "local_search.jsonl", line)


def write_line(path, line) -> None:
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--only", help="names of networks, with commas between")
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(SERVED)
    unknown = sorted(set(names) - set(SERVED))
    if unknown:
        parser.error(f"--only: {', '.join(unknown)}; there are: {', '.join(SERVED)}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.manual_seed(0)
    options.output.mkdir(parents=True, exist_ok=True)
    data = Data(options.data, Recipe(), device)
    if options.search:
        return search(data, options.output)
    write_demo(options.output)
    start = time.monotonic()
    for name in names:
        recipe = Recipe(epochs=options.epochs).with_decay(SERVED[name])
        [model] = trained([name], data, recipe)
        line = frontier.result(served_name(name), model.family, model, recipe, data,
                               options.data, options.output)
        write_line(options.output / "accuracy.jsonl", {**line, "epochs": recipe.epochs})
        print(f"{time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
