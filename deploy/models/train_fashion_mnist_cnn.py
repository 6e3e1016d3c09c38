#!/usr/bin/env python3
"""Trains the second demo model: a small CNN with an FFF head, and its dense twin.

    OMP_NUM_THREADS=1 /usr/bin/python3 deploy/models/train_fashion_mnist_cnn.py

Needs what train_fashion_mnist.py needs. Writes, under --output
(deploy/models/fashion-mnist-cnn): config.json, 1/model.safetensors,
1/example.safetensors, 1/dense.safetensors and report.json.

Both networks have the same convolutions and the same training: images, order,
epochs, learning rate. They differ in the head. The FFF head has one leaf per
row, the dense head all neurons of the training width.

The tree is soft at first: every leaf answers for itself, and its loss counts by
the probability that the row goes there. Then the tree stands still and a row
trains only the leaf that hard routing gives it. So the served network, which
routes hard, is the trained one. Settings were chosen on rows held out from the
training set. The test set is read once, at the end, with the stored weights.
"""

import argparse
import json
import math
import pathlib
import shutil
import sys
import tempfile
import time

import torch
from torch import nn
from torch.nn import functional

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # this folder is a model repository
for folder in (HERE, HERE.parent.parent / "client" / "python"):
    sys.path.insert(0, str(folder))
import fashion_mnist  # noqa: E402
from fashion_mnist import CLASSES, LABELS  # noqa: E402
from fff_client.export import export_network  # noqa: E402

CHANNELS = (16, 24)
FEATURES = CHANNELS[1] * 7 * 7  # a stride and a pool of 2 make 7 x 7 of 28 x 28
DEPTH = 3
LEAF_WIDTH = 32
WIDTH = LEAF_WIDTH * 2**DEPTH  # training width, also of the dense head: 256
HEAD_OUTPUTS = 32
DROPOUT = 0.3

HELD_OUT_ROWS = 5000
BATCH_ROWS = 250
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 0.02
SOFT_SHARE = 0.5  # of the epochs; then the tree is frozen
HARDENING = 0.2  # weight of the decisions' entropy, reached at the end of soft
BALANCING = 0.1
TEST_BATCH_ROWS = 1000
EXAMPLE_ROWS = 16


class Fff(torch.nn.Module):
    """A leaf-family FFF; its state_dict is the convention `fastfeedforward`."""

    def __init__(self, inputs: int, leaf_width: int, outputs: int, depth: int):
        super().__init__()
        nodes, leaves = 2**depth - 1, 2**depth
        self.depth = torch.nn.Parameter(
            torch.tensor(depth, dtype=torch.long), requires_grad=False
        )
        self.node_weights = _uniform(nodes, inputs, fan_in=inputs)
        self.node_biases = _uniform(nodes, 1, fan_in=inputs)
        self.w1s = _uniform(leaves, inputs, leaf_width, fan_in=inputs)
        self.b1s = _uniform(leaves, leaf_width, fan_in=inputs)
        self.w2s = _uniform(leaves, leaf_width, outputs, fan_in=leaf_width)
        self.b2s = _uniform(leaves, outputs, fan_in=leaf_width)

    def decisions(self, x):
        """z of every node, [rows, nodes]."""
        return x @ self.node_weights.T + self.node_biases.T

    def mixture(self, z):
        """Share of every leaf in every row, [rows, leaves]; rows sum to 1."""
        share = torch.ones(len(z), 1)
        for level in range(int(self.depth)):
            first = 2**level - 1
            right = torch.sigmoid(z[:, first : first + 2**level])
            pairs = torch.stack([share * (1 - right), share * right], dim=2)
            share = pairs.reshape(len(z), -1)
        return share

    def leaf_of(self, z):
        """The leaf hard routing reaches, [rows]; z = 0 goes right."""
        node = torch.zeros(len(z), dtype=torch.long)
        for _ in range(int(self.depth)):
            right = z.gather(1, node[:, None])[:, 0] >= 0
            node = 2 * node + 1 + right.long()
        return node - (2 ** int(self.depth) - 1)

    def leaf_outputs(self, x):
        """What every leaf answers, [leaves, rows, outputs]."""
        leaves, inputs, width = self.w1s.shape
        flat = self.w1s.permute(1, 0, 2).reshape(inputs, leaves * width)
        hidden = torch.relu(x @ flat + self.b1s.reshape(-1))
        hidden = hidden.reshape(-1, leaves, width).transpose(0, 1)
        return torch.bmm(hidden, self.w2s) + self.b2s[:, None]

    def forward(self, x):
        """Hard decisions, [rows, outputs]."""
        leaf = self.leaf_of(self.decisions(x).detach())
        return self.leaf_outputs(x)[leaf, torch.arange(len(x))]


def _uniform(*shape, fan_in: int):
    bound = 1 / math.sqrt(fan_in)
    return torch.nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


class Cnn(nn.Module):
    """Raw pixels, uint8 [rows, 1, 28, 28], to ten scores."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, CHANNELS[0], 5, stride=2, padding=2),
            nn.BatchNorm2d(CHANNELS[0]),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(*CHANNELS, 3, padding=1),
            nn.BatchNorm2d(CHANNELS[1]),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(DROPOUT),
        )
        self.head = head
        self.output = nn.Linear(HEAD_OUTPUTS, CLASSES)

    def forward(self, pixels):
        return self.output(torch.relu(self.head(self.features_of(pixels))))

    def features_of(self, pixels):
        return self.features((pixels - 127.5) / 127.5)


def fff_cnn() -> Cnn:
    return Cnn(Fff(FEATURES, LEAF_WIDTH, HEAD_OUTPUTS, DEPTH))


def dense_cnn() -> Cnn:
    return Cnn(
        nn.Sequential(
            nn.Linear(FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, HEAD_OUTPUTS)
        )
    )


def dense_loss(model, pixels, y, progress: float):
    del progress
    return functional.cross_entropy(model(pixels), y)


def fff_loss(model, pixels, y, progress: float):
    """progress: 0 at the start of training, 1 at its end."""
    if progress >= SOFT_SHARE:
        return functional.cross_entropy(model(pixels), y)
    hardness = progress / SOFT_SHARE
    x = model.features_of(pixels)
    z = model.head.decisions(x)
    share = model.head.mixture(z)  # [rows, leaves]
    scores = model.output(torch.relu(model.head.leaf_outputs(x)))
    loss = functional.cross_entropy(
        scores.flatten(0, 1), y.repeat(len(scores)), reduction="none"
    )
    expected = (loss.reshape(share.T.shape) * share.T).sum(dim=0).mean()
    # Entropy of a decision with logit z: softplus(z) - z sigmoid(z).
    entropy = (functional.softplus(z) - z * torch.sigmoid(z)).mean()
    # 0 when all leaves get equal shares, leaves - 1 when one takes all.
    imbalance = share.shape[1] * share.mean(dim=0).square().sum() - 1
    return expected + HARDENING * hardness * entropy + BALANCING * imbalance


def train(model, loss_of, images, labels, epochs: int, seed: int) -> float:
    """Trains in place; returns the accuracy on the rows held out."""
    torch.manual_seed(seed)  # the same rows in the same order for every network
    model.to(memory_format=torch.channels_last)  # a third faster on a CPU
    held_out, rest = torch.randperm(len(images)).split(
        [HELD_OUT_ROWS, len(images) - HELD_OUT_ROWS]
    )
    batches = len(rest) // BATCH_ROWS
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        weight_decay=WEIGHT_DECAY,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, epochs * batches, pct_start=0.2
    )
    start = time.monotonic()
    for epoch in range(epochs):
        model.train()
        shuffled = rest[torch.randperm(len(rest))]
        for batch in shuffled[: batches * BATCH_ROWS].split(BATCH_ROWS):
            pixels = mirrored(images[batch])[:, None]
            loss = loss_of(model, pixels, labels[batch], epoch / epochs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        accuracy = accuracy_of(model, images[held_out], labels[held_out])
        seconds = time.monotonic() - start
        print(
            f"  epoch {epoch + 1}: held-out {accuracy:.4f}, {seconds:.0f} s", flush=True
        )
    return accuracy


def mirrored(images):
    """Half of them, by chance."""
    chosen = torch.rand(len(images)) < 0.5
    return torch.where(chosen[:, None, None], images.flip(2), images)


@torch.no_grad()
def accuracy_of(model, images, labels) -> float:
    model.eval()
    right = sum(
        int((model(x[:, None]).argmax(dim=1) == y).sum())
        for x, y in zip(images.split(TEST_BATCH_ROWS), labels.split(TEST_BATCH_ROWS))
    )
    return right / len(images)


@torch.no_grad()
def rows_by_leaf(model, images) -> list:
    model.eval()
    rows = torch.zeros(2**DEPTH, dtype=torch.long)
    for x in images.split(TEST_BATCH_ROWS):
        z = model.head.decisions(model.features_of(x[:, None]))
        rows += torch.bincount(model.head.leaf_of(z), minlength=len(rows))
    return rows.tolist()


def as_stored(model):
    """The same network with the weights that float16 keeps, in float32."""
    return model.half().float().to(memory_format=torch.contiguous_format)


def write_version(output: pathlib.Path, fff, dense, example) -> list:
    """Writes 1/ below `output`; returns "input", "layers" and "dense_layers"."""
    shutil.rmtree(output / "1", ignore_errors=True)
    (output / "config.json").unlink(missing_ok=True)
    made = export_network(fff.half(), output / "1", example).config
    with tempfile.TemporaryDirectory() as folder:
        twin = export_network(dense.half(), f"{folder}/twin/1", example).config
        shutil.move(f"{folder}/twin/1/model.safetensors", output / "1/dense.safetensors")
    return [made["input"], made["layers"], twin["layers"]]


def write_config(path: pathlib.Path, ports: list, layers: list, dense: list,
                 accuracy: dict) -> None:
    """config.json with one line per layer."""
    lines = ",\n    ".join
    fields = {
        "input": json.dumps(ports),
        "layers": f"[\n    {lines(map(json.dumps, layers))}\n  ]",
        "dense_layers": f"[\n    {lines(map(json.dumps, dense))}\n  ]",
        "output": json.dumps({"name": "output", "shape": [CLASSES],
                              "labels": list(LABELS)}),
        "warmup_batch_rows": "[1, 64]",
        "accuracy": json.dumps({**accuracy, "data": "Fashion-MNIST's 10,000 test images"}),
    }
    body = ",\n  ".join(f'"{key}": {value}' for key, value in fields.items())
    path.write_text("{\n  " + body + "\n}\n")


def publish(output: pathlib.Path, fff, dense, test_images, test_labels,
            report: dict) -> None:
    """Measures both networks as they are stored, and writes the model."""
    fff, dense = as_stored(fff), as_stored(dense)
    accuracy = {
        "fff": accuracy_of(fff, test_images, test_labels),
        "dense": accuracy_of(dense, test_images, test_labels),
    }
    report["fff_test"], report["dense_test"] = accuracy["fff"], accuracy["dense"]
    report["rows_by_leaf"] = rows_by_leaf(fff, test_images)
    example = test_images[:EXAMPLE_ROWS, None]
    ports, layers, dense_layers = write_version(output, fff, dense, example)
    write_config(output / "config.json", ports, layers, dense_layers, accuracy)
    (output / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"test: FFF {accuracy['fff']:.4f}, dense {accuracy['dense']:.4f}")


def read_rows(folder: pathlib.Path, part: str):
    pictures, labels = fashion_mnist.read_part(folder, part)
    return torch.tensor(pictures), torch.tensor(labels).long()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--data", type=pathlib.Path, default=fashion_mnist.FOLDER
    )
    parser.add_argument(
        "--output", type=pathlib.Path, default=HERE / "fashion-mnist-cnn"
    )
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    images, labels = read_rows(options.data, "train")
    report = {"epochs": options.epochs, "seed": options.seed}
    trained = {}
    for name, make, loss in (
        ("fff", fff_cnn, fff_loss), ("dense", dense_cnn, dense_loss)
    ):
        print(f"CNN with {name} head")
        torch.manual_seed(options.seed)
        trained[name] = make()
        report[f"{name}_held_out"] = train(
            trained[name], loss, images, labels, options.epochs, options.seed
        )
    test_images, test_labels = read_rows(options.data, "t10k")
    publish(options.output, trained["fff"], trained["dense"], test_images,
            test_labels, report)


if __name__ == "__main__":
    main()
