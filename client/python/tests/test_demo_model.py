"""The demo model in deploy/models holds what its README and report say."""

import gzip
import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest

from fff_client.export import read_safetensors

pytest.importorskip("torch")

DEPLOY = pathlib.Path(__file__).resolve().parents[3] / "deploy"
MODEL = DEPLOY / "models" / "fashion-mnist"
SAMPLES = DEPLOY / "samples" / "fashion-mnist"
DATA_SET = pathlib.Path("/usr/share/datasets/fashion-mnist")
FFF = MODEL / "1" / "model.safetensors"
DENSE = MODEL / "1" / "dense.safetensors"


@pytest.fixture(scope="module")
def training():
    spec = importlib.util.spec_from_file_location(
        "train_fashion_mnist", DEPLOY / "models" / "train_fashion_mnist.py"
    )
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    spec.loader.exec_module(module)  # leaves no cache in the model repository
    sys.dont_write_bytecode = before
    return module


def read_idx(path):
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    shape = np.frombuffer(content, ">u4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def scaled(images):
    return ((images.reshape(-1, 784) / 255 - 0.5) / 0.5).astype(np.float32)


def test_the_files_follow_the_convention_at_a_training_width_of_512():
    tensors = read_safetensors(str(FFF))
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    assert shapes == {
        "depth": (),
        "node_weights": (15, 784),
        "node_biases": (15, 1),
        "w1s": (16, 784, 32),
        "b1s": (16, 32),
        "w2s": (16, 32, 10),
        "b2s": (16, 10),
    }
    assert tensors["depth"] == 4
    assert read_safetensors(str(DENSE))["0.weight"].shape == (512, 784)


def test_the_demo_stays_under_four_megabytes():
    files = [*MODEL.rglob("*"), *SAMPLES.rglob("*")]
    assert sum(file.stat().st_size for file in files if file.is_file()) < 4_000_000


def test_every_class_has_a_label_and_five_samples():
    config = json.loads((MODEL / "config.json").read_text())
    assert len(set(config["output"]["labels"])) == 10
    assert read_idx(SAMPLES / "images.idx3-ubyte").shape == (50, 28, 28)
    labels = read_idx(SAMPLES / "labels.idx1-ubyte")
    assert np.bincount(labels).tolist() == [5] * 10


def test_the_samples_score_what_the_readme_says(training):
    x = scaled(read_idx(SAMPLES / "images.idx3-ubyte"))
    labels = read_idx(SAMPLES / "labels.idx1-ubyte")
    fff, _ = training.fff_by_file(FFF, x)
    dense = training.dense_by_file(DENSE, x)
    assert (fff.argmax(axis=1) == labels).sum() == 43
    assert (dense.argmax(axis=1) == labels).sum() == 40
    readme = " ".join((DEPLOY / "models" / "README.md").read_text().split())
    assert "FFF gets 43 right and the dense network 40" in readme


@pytest.mark.skipif(not DATA_SET.is_dir(), reason="dataset-fashion-mnist is missing")
def test_the_test_set_scores_what_report_and_readme_say(training):
    report = json.loads((MODEL / "report.json").read_text())
    x = scaled(read_idx(DATA_SET / "t10k-images-idx3-ubyte.gz"))
    labels = read_idx(DATA_SET / "t10k-labels-idx1-ubyte.gz")
    readme = (DEPLOY / "models" / "README.md").read_text()
    fff, leaf = training.fff_by_file(FFF, x)
    scores = {"fff_test": fff, "dense_test": training.dense_by_file(DENSE, x)}
    for key, output in scores.items():
        right = int((output.argmax(axis=1) == labels).sum())
        assert abs(right - 10_000 * report[key]) <= 1  # rounding may move one
        assert f"**{report[key]:.2%}**".replace("%", " %") in readme
    assert report["fff_test"] >= 0.875
    moved = np.bincount(leaf, minlength=16) - report["rows_by_leaf"]
    assert np.abs(moved).sum() <= 2


def test_the_soft_tree_hardens_into_the_walk(training):
    torch = training.torch
    torch.manual_seed(1)
    model = training.Fff(6, 3, 2, depth=3)
    x = torch.randn(50, 6)
    with torch.no_grad():
        z = model.decisions(x)
        share = model.mixture(z)
        torch.testing.assert_close(share.sum(dim=1), torch.ones(50))
        steep = model.mixture(z * 1e4)
        leaf = model.leaf_of(z)
    assert (steep.argmax(dim=1) == leaf).all()
    assert len(leaf.unique()) > 1


def test_exported_and_trained_network_answer_the_same(training, tmp_path):
    torch = training.torch
    torch.manual_seed(2)
    model = training.Fff(6, 3, 2, depth=2)
    x = torch.randn(40, 6)
    training.export_module(model, str(tmp_path / "m.safetensors"))
    output, leaf = training.fff_by_file(tmp_path / "m.safetensors", x.numpy())
    with torch.no_grad():
        np.testing.assert_allclose(output, model(x).numpy(), rtol=1e-5, atol=1e-5)
        assert leaf.tolist() == model.leaf_of(model.decisions(x)).tolist()
