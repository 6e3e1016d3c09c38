"""Fashion-MNIST as Debian's dataset-fashion-mnist installs it: what the programs that
train the demo models read and write of it."""

import gzip
import pathlib

import numpy as np

FOLDER = pathlib.Path("/usr/share/datasets/fashion-mnist")
SIDE = 28
PIXELS = SIDE * SIDE
LABELS = ("t-shirt", "trouser", "pullover", "dress", "coat",
          "sandal", "shirt", "sneaker", "bag", "ankle boot")
CLASSES = len(LABELS)
SAMPLES_PER_CLASS = 5


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


def read_part(folder, part: str):
    """Pictures [rows, 28, 28] and labels [rows] of "train" or "t10k", both bytes."""
    folder = pathlib.Path(folder)
    return (read_idx(folder / f"{part}-images-idx3-ubyte.gz"),
            read_idx(folder / f"{part}-labels-idx1-ubyte.gz"))


def scaled(pictures: np.ndarray) -> np.ndarray:
    """Bytes [rows, 28, 28] -> float32 [rows, 784] in -1 .. 1."""
    flat = pictures.reshape(len(pictures), PIXELS).astype(np.float32)
    return (flat / 255 - np.float32(0.5)) / np.float32(0.5)


def write_samples(folder, pictures, labels, seed: int) -> None:
    """Pictures chosen by chance alone, the same number of each class."""
    random = np.random.default_rng(seed)
    chosen = np.concatenate([
        random.choice(np.flatnonzero(labels == c), SAMPLES_PER_CLASS, False)
        for c in range(CLASSES)
    ])
    random.shuffle(chosen)
    folder.mkdir(parents=True, exist_ok=True)
    write_idx(folder / "images.idx3-ubyte", pictures[chosen])
    write_idx(folder / "labels.idx1-ubyte", labels[chosen])
