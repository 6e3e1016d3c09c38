#!/usr/bin/env python3
"""Writes a model for benchmarks of serving: one small layer and its dense twin.

Usage: layer_model.py [--path] FOLDER

FOLDER, such as models/layer, becomes an FFF of 784 -> (32) -> 10, depth 4, with a dense
twin of its training width, 784 -> 512 -> 10; random weights, 3.3 MB. A row takes 1
to 2 us, so what is measured is the serving. With --path it becomes the layer of
server/benchmark/cases/path-768-l12.case instead, 768 -> 768, 12 levels, 25 MB, without a
twin, for batches of up to 16,384 rows.
"""

import json
import pathlib
import sys

import numpy as np

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "client" / "python"))
from fff_client.safetensors import write_safetensors  # noqa: E402

INPUTS, LEAF, OUTPUTS, DEPTH = 784, 32, 10, 4
CONFIG = {"layers": [{"type": "fff", "convention": "fastfeedforward",
                      "activation": "relu", "output_bias": True}]}


PATH_WIDTH, PATH_LEVELS = 768, 12
PATH_CONFIG = {"layers": [{"type": "fff", "convention": "ultrafastbert-bmm",
                           "activation": "gelu"}],
               "dense": "off", "batching": {"max_batch_rows": 16384}}


def write_model(folder: pathlib.Path, seed: int) -> None:
    random = np.random.default_rng(seed)

    def weights(*shape):
        return random.uniform(-0.05, 0.05, shape).astype(np.float32)

    leaves = 2**DEPTH
    width = LEAF * leaves
    (folder / "1").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    write_safetensors(str(folder / "1" / "model.safetensors"), {
        "depth": np.array(DEPTH), "node_weights": weights(leaves - 1, INPUTS),
        "node_biases": weights(leaves - 1, 1), "w1s": weights(leaves, INPUTS, LEAF),
        "b1s": weights(leaves, LEAF), "w2s": weights(leaves, LEAF, OUTPUTS),
        "b2s": weights(leaves, OUTPUTS)})
    write_safetensors(str(folder / "1" / "dense.safetensors"), {
        "0.weight": weights(width, INPUTS), "0.bias": weights(width),
        "2.weight": weights(OUTPUTS, width), "2.bias": weights(OUTPUTS)})


def write_path_model(folder: pathlib.Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = (2**PATH_LEVELS - 1, PATH_WIDTH)
    (folder / "1").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(PATH_CONFIG))
    write_safetensors(str(folder / "1" / "model.safetensors"), {
        name: random.uniform(-0.05, 0.05, shape).astype(np.float32)
        for name in ("w1s", "w2s")})


if __name__ == "__main__":
    path = "--path" in sys.argv[1:]
    folders = [word for word in sys.argv[1:] if not word.startswith("--")]
    if len(folders) != 1 or len(sys.argv) != 2 + path:
        sys.exit(__doc__)
    (write_path_model if path else write_model)(pathlib.Path(folders[0]), 1)
