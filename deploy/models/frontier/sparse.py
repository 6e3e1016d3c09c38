#!/usr/bin/env python3
"""Holds the pruned networks of pruned.py against the frontier's.

    OMP_NUM_THREADS=1 python3 deploy/models/frontier/sparse.py --bin build/release/bin \\
        --networks FOLDER --pruned FOLDER2 --output deploy/models/frontier/pruned.jsonl

FOLDER is that of train.py, FOLDER2 that of pruned.py. Each pruned network runs in
runtimes that skip zeros or could: SciPy's CSR, torch's CSR (MKL), OpenVINO with its
decompression of sparse weights, and the loops of spmm.c, compiled for this processor.
The frontier's networks run in our server. All take turns, as in int8.py. For those that
hold CSR, rows stand beside each other in memory already, and their answer stays so: that
is their best case. Accuracy is the mean of copies or seeds on the test set.
"""

import ctypes
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np
import scipy
import scipy.sparse
import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # a model repository is above
from int8 import (  # noqa: E402
    ROWS, OpenVino, Peer, fashion_mnist, in_turns, lines_of, network, options_of, right,
    write_lines, write_onnx)

FFF = ("fff-b24-d4-64", "fff-b32-d4-64", "fff-b32-d4-128")
OPENVINO_RATE = 0.5  # weights with this share of zeros or more are held compressed


class Csr:
    """Layers, each (weight as `held`, bias [out, 1]) or None for ReLU."""

    def __init__(self, folder, rows):
        layers, tensors = network(folder)
        self.layers = [
            None if layer["type"] == "activation" else (
                self.held(scipy.sparse.csr_matrix(tensors[layer["prefix"] + "weight"])),
                self.vector(tensors[layer["prefix"] + "bias"][:, None]))
            for layer in layers]

    def prepare(self, batch):
        return self.vector(np.ascontiguousarray(batch.T))

    def run(self, x):
        for layer in self.layers:
            if layer is None:
                self.relu(x)
            else:
                x = layer[0] @ x
                x += layer[1]
        self.found = x

    def answer(self):
        return np.asarray(self.found).T


class ScipyCsr(Csr):
    name = f"SciPy {scipy.__version__}, CSR"

    def held(self, weight):
        return weight

    def vector(self, x):
        return x

    def relu(self, x):
        np.maximum(x, 0, out=x)


class TorchCsr(Csr):
    name = f"PyTorch {torch.__version__.split('+')[0]}, CSR with MKL"

    def held(self, weight):
        return torch.sparse_csr_tensor(
            torch.tensor(weight.indptr), torch.tensor(weight.indices),
            torch.tensor(weight.data), weight.shape, check_invariants=False)

    def vector(self, x):
        return torch.tensor(x)

    def relu(self, x):
        x.relu_()


class Layer(ctypes.Structure):
    """As spmm.c has it."""

    _fields_ = [("outputs", ctypes.c_int32), ("relu", ctypes.c_int32),
                *((part, ctypes.c_void_p)
                  for part in ("first", "column", "weight", "bias"))]


class Compiled:
    name = "spmm.c"
    code = None  # its function, once compiled

    @classmethod
    def compile(cls, folder):
        library = folder / "spmm.so"
        subprocess.run(["cc", "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC",
                        HERE / "spmm.c", "-o", library], check=True)
        cls.code = ctypes.CDLL(str(library)).Run
        cls.code.restype = None

    def __init__(self, folder, rows):
        layers, tensors = network(folder)
        self.rows, self.panel, self.kept = rows, min(rows, 64), []
        made = []
        for layer, then in zip(layers, [*layers[1:], {"type": "end"}]):
            if layer["type"] == "activation":
                continue
            weight = scipy.sparse.csr_matrix(tensors[layer["prefix"] + "weight"])
            parts = (weight.indptr, weight.indices, weight.data,
                     tensors[layer["prefix"] + "bias"])
            self.kept.append(parts)
            made.append(Layer(weight.shape[0], then["type"] == "activation",
                              *(part.ctypes.data for part in parts)))
        half = max(layer.outputs for layer in made) * self.panel
        room = np.empty(2 * half, np.float32)
        self.scores = np.empty((rows // self.panel, made[-1].outputs, self.panel),
                               np.float32)
        self.kept.append(room)
        self.before = (Layer * len(made))(*made), len(made), 784, rows
        self.after = (ctypes.c_void_p(room.ctypes.data), ctypes.c_int64(half),
                      ctypes.c_void_p(self.scores.ctypes.data))

    def prepare(self, batch):
        panels = batch.reshape(self.rows // self.panel, self.panel, -1)
        x = np.ascontiguousarray(panels.transpose(0, 2, 1))
        self.kept.append(x)
        return ctypes.c_void_p(x.ctypes.data)

    def run(self, prepared):
        self.code(*self.before, prepared, *self.after)

    def answer(self):
        return self.scores.transpose(0, 2, 1).reshape(self.rows, -1)


class SparseOpenVino(OpenVino):
    name = f"{OpenVino.name}, sparse weights"
    settings = {**OpenVino.settings,
                "CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE": OPENVINO_RATE}


def peers_of(options, folder, x, labels):
    """Lines without times yet, and per line its Peer at every batch size."""
    for name, trained in lines_of(options.pruned).items():
        plain = str(folder / f"{name}.onnx")
        write_onnx(options.pruned / name, plain)
        for make in (ScipyCsr, TorchCsr, SparseOpenVino, Compiled):
            path = plain if make is SparseOpenVino else options.pruned / name
            served = 100 * right(make, path, x, labels, 16)
            if abs(served - trained["served_test"]) > 0.05:
                sys.exit(f"{name} in {make.name}: {served:.2f} % of the test pictures "
                         f"right, {trained['served_test']} % in training")
            line = {"name": name, "start": trained["start"],
                    "nonzeros": trained["nonzeros"], "runtime": make.name,
                    "weights": trained["multiply_adds"], "precision": "float32",
                    "accuracy": round(statistics.mean(trained["test"]), 2)}
            yield line, [Peer(make, path, rows, x) for rows in ROWS]


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    parser = options_of(__doc__)
    parser.add_argument("--pruned", type=pathlib.Path, required=True)
    options = parser.parse_args()
    trained = lines_of(options.networks)
    pictures, labels = fashion_mnist.read_part(options.data, "t10k")
    x = fashion_mnist.scaled(pictures)
    starts = dict.fromkeys(line["start"] for line in lines_of(options.pruned).values())
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        Compiled.compile(folder)
        sides = list(peers_of(options, folder, x, labels))
        ours, theirs = in_turns(options, folder, (*starts, *FFF),
                                [peers for _, peers in sides])
    lines = [({"name": name, "runtime": "this project", "precision": "float32",
               "accuracy": round(statistics.mean(trained[name]["test"]), 2)}, times)
             for name, times in ours.items()]
    write_lines(options, lines + [(line, taken)
                                  for (line, _), taken in zip(sides, theirs)])


if __name__ == "__main__":
    main()
