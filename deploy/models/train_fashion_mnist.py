#!/usr/bin/env python3
"""Trains the demo model: an FFF and a dense FF on FashionMNIST.

    OMP_NUM_THREADS=1 /usr/bin/python3 deploy/models/train_fashion_mnist.py

Needs Debian's python3-torch and dataset-fashion-mnist (`deploy/setup train`);
downloads nothing. Writes, under --output (deploy/models/fashion-mnist):
1/model.safetensors (convention `fastfeedforward`), 1/dense.safetensors and
report.json, and the sample images under --samples.

Method (arXiv 2308.14711, section 2): the tree is trained soft, every leaf
weighted by the product of the sigmoids on its path; a hardening loss, the
entropy of the node decisions, grows meanwhile; a balancing loss keeps all
leaves in use. Then the tree is frozen and each leaf learns from the rows that
hard routing sends it. All choices (the settings below, the epoch that is kept)
were made on rows held out from the training set; the test set is read once, at
the end, by code that knows only the exported files.
"""

import argparse
import gzip
import json
import math
import pathlib
import sys
import time

import numpy as np
import torch
from torch.nn import functional

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "client" / "python"))
from fff_client.export import export_module, read_safetensors  # noqa: E402

PIXELS = 28 * 28
CLASSES = 10
DEPTH = 4
LEAF_WIDTH = 32
WIDTH = LEAF_WIDTH * 2**DEPTH  # training width, also of the dense FF: 512

HELD_OUT_ROWS = 6000
BATCH_ROWS = 256
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.01
SOFT_SHARE = 0.3  # of the epochs; then the tree is frozen
HARDENING = 0.5  # weight of the decisions' entropy, reached at the end of soft
BALANCING = 0.05
SAMPLES_PER_CLASS = 5


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


def fff_loss(model, x, y, progress: float):
    """Soft loss with hardening and balancing, then the loss of the hard tree.

    progress: 0 at the start of training, 1 at its end.
    """
    if progress >= SOFT_SHARE:
        return functional.cross_entropy(model(x), y)
    hardness = progress / SOFT_SHARE
    z = model.decisions(x)
    share = model.mixture(z)
    output = (model.leaf_outputs(x) * share.T[:, :, None]).sum(dim=0)
    # Entropy of a decision with logit z: softplus(z) - z sigmoid(z).
    entropy = (functional.softplus(z) - z * torch.sigmoid(z)).mean()
    # 0 when all leaves get equal shares, leaves - 1 when one takes all.
    imbalance = share.shape[1] * share.mean(dim=0).square().sum() - 1
    return (
        functional.cross_entropy(output, y)
        + HARDENING * hardness * entropy
        + BALANCING * (1 - hardness / 2) * imbalance
    )


def dense_loss(model, x, y, progress: float):
    del progress
    return functional.cross_entropy(model(x), y)


def train(model, loss_of, images, labels, epochs: int):
    """Trains in place; keeps the epoch with the best held-out accuracy.

    Epochs in which the FFF is still soft are not candidates: their leaves have
    not learned from hard routing. Returns the held-out accuracy.
    """
    order = torch.randperm(len(images))
    held_out, rest = order[:HELD_OUT_ROWS], order[HELD_OUT_ROWS:]
    held_out_x = normalise(images[held_out])
    batches = len(rest) // BATCH_ROWS
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, epochs * batches
    )
    best, kept, start = 0.0, None, time.monotonic()
    for epoch in range(epochs):
        shuffled = rest[torch.randperm(len(rest))]
        for batch in shuffled[: batches * BATCH_ROWS].split(BATCH_ROWS):
            x = normalise(shift_and_flip(images[batch]))
            loss = loss_of(model, x, labels[batch], epoch / epochs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            right = model(held_out_x).argmax(dim=1) == labels[held_out]
        accuracy = right.float().mean().item()
        if epoch >= SOFT_SHARE * epochs and accuracy > best:
            best = accuracy
            kept = {k: v.clone() for k, v in model.state_dict().items()}
        if (epoch + 1) % 10 == 0:
            print(
                f"  epoch {epoch + 1}: held-out {accuracy:.4f}, best "
                f"{best:.4f}, {time.monotonic() - start:.0f} s",
                flush=True,
            )
    model.load_state_dict(kept)
    return best


def shift_and_flip(images):
    """Moves each image by up to one pixel each way, mirrors half of them."""
    rows = len(images)
    mirrored = torch.rand(rows) < 0.5
    images = torch.where(mirrored[:, None, None], images.flip(2), images)
    padded = functional.pad(images, (1, 1, 1, 1))
    window = torch.arange(28)
    down = (torch.randint(0, 3, (rows, 1)) + window)[:, :, None]
    across = (torch.randint(0, 3, (rows, 1)) + window)[:, None, :]
    return padded[torch.arange(rows)[:, None, None], down, across]


def normalise(images):
    """Bytes [rows, 28, 28] -> floats [rows, 784] in -1 .. 1."""
    return ((images.float() / 255 - 0.5) / 0.5).reshape(-1, PIXELS)


def read_idx(path) -> np.ndarray:
    """An IDX file of unsigned bytes, gzipped."""
    content = gzip.open(path).read()
    rank = content[3]
    shape = np.frombuffer(content, ">u4", count=rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def write_idx(path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim])
    header += np.asarray(array.shape, ">u4").tobytes()
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def fff_by_file(path, x: np.ndarray):
    """The exported FFF in numpy: outputs [rows, 10] and leaves [rows]."""
    t = read_safetensors(path)
    depth, node = int(t["depth"]), np.zeros(len(x), np.int64)
    for _ in range(depth):
        z = (t["node_weights"][node] * x).sum(axis=1) + t["node_biases"][node, 0]
        node = 2 * node + 1 + (z >= 0)
    leaf = node - (2**depth - 1)
    output = np.empty((len(x), t["b2s"].shape[1]), np.float32)
    for number in np.unique(leaf):
        rows = leaf == number
        hidden = np.maximum(x[rows] @ t["w1s"][number] + t["b1s"][number], 0)
        output[rows] = hidden @ t["w2s"][number] + t["b2s"][number]
    return output, leaf


def dense_by_file(path, x: np.ndarray) -> np.ndarray:
    t = read_safetensors(path)
    hidden = np.maximum(x @ t["0.weight"].T + t["0.bias"], 0)
    return hidden @ t["2.weight"].T + t["2.bias"]


def write_samples(folder, images, labels, seed: int) -> None:
    """Test images chosen by chance alone, the same number of each class."""
    random = np.random.default_rng(seed)
    chosen = np.concatenate(
        [
            random.choice(np.flatnonzero(labels == c), SAMPLES_PER_CLASS, False)
            for c in range(CLASSES)
        ]
    )
    random.shuffle(chosen)
    folder.mkdir(parents=True, exist_ok=True)
    write_idx(folder / "images.idx3-ubyte", images[chosen])
    write_idx(folder / "labels.idx1-ubyte", labels[chosen])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--data", type=pathlib.Path, default="/usr/share/datasets/fashion-mnist"
    )
    parser.add_argument(
        "--output", type=pathlib.Path, default=HERE / "fashion-mnist"
    )
    parser.add_argument(
        "--samples",
        type=pathlib.Path,
        default=HERE.parent / "samples" / "fashion-mnist",
    )
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    images = torch.tensor(read_idx(options.data / "train-images-idx3-ubyte.gz"))
    labels = torch.tensor(read_idx(options.data / "train-labels-idx1-ubyte.gz"))
    labels = labels.long()
    report = {"epochs": options.epochs, "seed": options.seed}

    torch.manual_seed(options.seed)
    print(f"FFF, depth {DEPTH}, leaf width {LEAF_WIDTH}")
    fff = Fff(PIXELS, LEAF_WIDTH, CLASSES, DEPTH)
    report["fff_held_out"] = train(fff, fff_loss, images, labels, options.epochs)
    export_module(fff, str(options.output / "1" / "model.safetensors"))

    torch.manual_seed(options.seed)
    print(f"dense FF, width {WIDTH}")
    dense = torch.nn.Sequential(
        torch.nn.Linear(PIXELS, WIDTH),
        torch.nn.ReLU(),
        torch.nn.Linear(WIDTH, CLASSES),
    )
    report["dense_held_out"] = train(
        dense, dense_loss, images, labels, options.epochs
    )
    export_module(dense, str(options.output / "1" / "dense.safetensors"))

    test_images = read_idx(options.data / "t10k-images-idx3-ubyte.gz")
    test_labels = read_idx(options.data / "t10k-labels-idx1-ubyte.gz")
    x = normalise(torch.tensor(test_images)).numpy()
    output, leaf = fff_by_file(options.output / "1" / "model.safetensors", x)
    report["fff_test"] = float((output.argmax(1) == test_labels).mean())
    output = dense_by_file(options.output / "1" / "dense.safetensors", x)
    report["dense_test"] = float((output.argmax(1) == test_labels).mean())
    report["rows_by_leaf"] = np.bincount(leaf, minlength=2**DEPTH).tolist()
    write_samples(options.samples, test_images, test_labels, options.seed)
    text = json.dumps(report, indent=2)
    (options.output / "report.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
