#!/usr/bin/env python3
"""Trains the demo model: an FFF, and the dense network of equal accuracy that is fastest.

    python3 deploy/models/train_fashion_mnist.py

Needs Debian's python3-torch and dataset-fashion-mnist (`deploy/setup train`);
downloads nothing. Writes, under --output (deploy/models/fashion-mnist): config.json,
1/model.safetensors (convention `fastfeedforward`), 1/dense.safetensors and
report.json, and the sample pictures under --samples.

Networks and recipe are those of frontier/: of its fifty networks, three seeds each,
these are the most accurate FFF and the fastest dense network that is as accurate. They
and their weight decays were chosen there, on rows held out from the training set. Here
three seeds of each are trained, and the one whose accuracy on those rows is the median
is exported. The test set is read once, at the end; what the report says of the exported
network was computed by code that knows only its files.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np
import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # this folder is a model repository
for folder in (HERE, HERE / "frontier", HERE.parent.parent / "client" / "python"):
    sys.path.insert(0, str(folder))
import fashion_mnist  # noqa: E402
from fashion_mnist import CLASSES, LABELS, PIXELS  # noqa: E402
from fff_client.safetensors import read_safetensors, write_safetensors  # noqa: E402
from networks import Dense, Fff, served  # noqa: E402
from training import Data, Recipe, right, train  # noqa: E402

FEATURES = 32  # linear ones of the picture, in front of tree and leaves
DEPTH = 4
LEAF_WIDTH = 128
DENSE_HIDDEN = (32, 256, 64)  # no ReLU behind the first, as in front of the FFF
SEEDS = 3
DECAYS = {"fff": 0.3, "dense": 0.1}


def fff(copies: int) -> Fff:
    return Fff(copies, DEPTH, (LEAF_WIDTH,), bottleneck=FEATURES)


def dense(copies: int) -> Dense:
    return Dense(copies, DENSE_HIDDEN, first_linear=True)


def trained(make, decay: float, data: Data, recipe: Recipe, seed: int):
    """The network, one copy per seed, and their accuracies on the rows held out."""
    start = time.monotonic()

    def tell(share: float) -> None:
        print(f"  {share:.0%} after {time.monotonic() - start:.0f} s", flush=True)

    [model] = train([make], data, recipe.with_decay(decay), seed, tell)
    return model, accuracies(model, data.held_out_x, data.held_out_y)


def accuracies(model, x, y) -> list:
    return [round(float(a), 4) for a in right(model, x, y).float().mean(dim=1)]


def exported(model, copy: int, path) -> list:
    """Writes the tensors; returns "layers" of config.json for rows of 784 pixels."""
    layers, tensors = served(model, copy)
    write_safetensors(str(path), {name: t.contiguous().numpy()
                                  for name, t in tensors.items()})
    rows = [layer for layer in layers if layer["type"] != "flatten"]
    return [{**layer, "output_bias": True} if layer["type"] == "fff" else layer
            for layer in rows]


def answers(layers: list, path, x: np.ndarray):
    """The exported network in numpy: scores [rows, 10], and each row's leaf in its
    last FFF layer (None without one)."""
    tensors, leaf = read_safetensors(str(path)), None
    for layer in layers:
        t = {name[len(layer.get("prefix", "")):]: tensor for name, tensor
             in tensors.items() if name.startswith(layer.get("prefix", ""))}
        if layer["type"] == "linear":
            x = x @ t["weight"].T + t["bias"]
        elif layer["type"] == "activation":
            x = np.maximum(x, 0)
        else:
            leaf = leaf_of(t, x)
            x = leaf_answers(t, leaf, x)
    return x, leaf


def leaf_of(t: dict, x: np.ndarray) -> np.ndarray:
    depth, node = int(t["depth"]), np.zeros(len(x), np.int64)
    for _ in range(depth):
        z = (t["node_weights"][node] * x).sum(axis=1) + t["node_biases"][node, 0]
        node = 2 * node + 1 + (z >= 0)
    return node - (2**depth - 1)


def leaf_answers(t: dict, leaf: np.ndarray, x: np.ndarray) -> np.ndarray:
    output = np.empty((len(x), t["b2s"].shape[1]), np.float32)
    for number in np.unique(leaf):
        rows = leaf == number
        hidden = np.maximum(x[rows] @ t["w1s"][number] + t["b1s"][number], 0)
        output[rows] = hidden @ t["w2s"][number] + t["b2s"][number]
    return output


def write_config(path: pathlib.Path, layers: list, twin: list, accuracy: dict) -> None:
    """With one line per layer."""
    lines = ",\n    ".join
    fields = {
        "input": json.dumps({"name": "input", "shape": [PIXELS]}),
        "layers": f"[\n    {lines(map(json.dumps, layers))}\n  ]",
        "dense_layers": f"[\n    {lines(map(json.dumps, twin))}\n  ]",
        "output": json.dumps({"name": "output", "shape": [CLASSES],
                              "labels": list(LABELS)}),
        "batching": json.dumps({"max_batch_rows": 4096, "max_queue_delay_us": 0,
                                "max_queue_rows": 65536}),
        "precision": '"fp32"',
        "device": '"auto"',
        "versions": '{"latest": 1}',
        "warmup_batch_rows": "[1, 64, 2048]",
        "accuracy": json.dumps({**accuracy,
                                "data": "Fashion-MNIST's 10,000 test images"}),
    }
    body = ",\n  ".join(f'"{key}": {value}' for key, value in fields.items())
    path.write_text("{\n  " + body + "\n}\n")


def publish(models: dict, report: dict, options) -> None:
    """Writes the model, and measures both networks as they are stored."""
    version = options.output / "1"
    version.mkdir(parents=True, exist_ok=True)
    files = {"fff": version / "model.safetensors", "dense": version / "dense.safetensors"}
    layers = {}
    for name, path in files.items():
        held_out = report[f"{name}_held_out"]
        median = sorted(range(SEEDS), key=held_out.__getitem__)[SEEDS // 2]
        layers[name] = exported(models[name], median, path)
    pictures, labels = fashion_mnist.read_part(options.data, "t10k")
    x = fashion_mnist.scaled(pictures)
    for name, path in files.items():
        scores, leaf = answers(layers[name], path, x)
        report[f"{name}_test"] = round(float((scores.argmax(1) == labels).mean()), 4)
        report[f"{name}_test_by_seed"] = accuracies(
            models[name], torch.tensor(x), torch.tensor(labels).long())
        if leaf is not None:
            report["rows_by_leaf"] = np.bincount(leaf, minlength=2**DEPTH).tolist()
    write_config(options.output / "config.json", layers["fff"], layers["dense"],
                 {name: report[f"{name}_test"] for name in files})
    fashion_mnist.write_samples(options.samples, pictures, labels, options.seed)
    text = json.dumps(report, indent=2)
    (options.output / "report.json").write_text(text + "\n")
    print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=pathlib.Path, default=fashion_mnist.FOLDER)
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "fashion-mnist")
    parser.add_argument("--samples", type=pathlib.Path,
                        default=HERE.parent / "samples" / "fashion-mnist")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    recipe = Recipe(epochs=options.epochs, seeds=SEEDS)
    print("altered copies of the pictures, and the teacher's scores", flush=True)
    data = Data(options.data, recipe, torch.device("cpu"))
    report, models = {"epochs": options.epochs, "seed": options.seed}, {}
    for name, make in (("fff", fff), ("dense", dense)):
        print(name)
        models[name], report[f"{name}_held_out"] = trained(
            make, DECAYS[name], data, recipe, options.seed)
    publish(models, report, options)


if __name__ == "__main__":
    main()
