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


def layers(kind="layers"):
    return json.loads((MODEL / "config.json").read_text())[kind]


def test_the_files_hold_what_the_config_names():
    tensors = read_safetensors(str(FFF))
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    assert shapes == {
        "front.weight": (32, 784),
        "front.bias": (32,),
        "fff.depth": (),
        "fff.node_weights": (15, 32),
        "fff.node_biases": (15, 1),
        "fff.w1s": (16, 32, 128),
        "fff.b1s": (16, 128),
        "fff.w2s": (16, 128, 10),
        "fff.b2s": (16, 10),
    }
    assert tensors["fff.depth"] == 4
    dense = read_safetensors(str(DENSE))
    assert [dense[f"{i}.weight"].shape for i in range(4)] == [
        (32, 784), (256, 32), (64, 256), (10, 64)]
    # Both begin with 32 linear features.
    assert layers()[0]["type"] == layers("dense_layers")[0]["type"] == "linear"
    assert layers()[1]["type"] == "fff" and layers("dense_layers")[1]["type"] == "linear"


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
    fff, _ = training.answers(layers(), FFF, x)
    dense, _ = training.answers(layers("dense_layers"), DENSE, x)
    right = [int((scores.argmax(axis=1) == labels).sum()) for scores in (fff, dense)]
    readme = " ".join((DEPLOY / "models" / "README.md").read_text().split())
    assert f"FFF gets {right[0]} right and the dense network {right[1]}" in readme


@pytest.mark.skipif(not DATA_SET.is_dir(), reason="dataset-fashion-mnist is missing")
def test_the_test_set_scores_what_report_and_readme_say(training):
    report = json.loads((MODEL / "report.json").read_text())
    x = scaled(read_idx(DATA_SET / "t10k-images-idx3-ubyte.gz"))
    labels = read_idx(DATA_SET / "t10k-labels-idx1-ubyte.gz")
    readme = (DEPLOY / "models" / "README.md").read_text()
    fff, leaf = training.answers(layers(), FFF, x)
    dense, _ = training.answers(layers("dense_layers"), DENSE, x)
    scores = {"fff_test": fff, "dense_test": dense}
    for key, output in scores.items():
        right = int((output.argmax(axis=1) == labels).sum())
        assert abs(right - 10_000 * report[key]) <= 1  # rounding may move one
        assert f"**{report[key]:.2%}**".replace("%", " %") in readme
    assert report["fff_test"] >= 0.9
    # Equal accuracy is that of the means over the seeds; README states both.
    means = [np.mean(report[f"{twin}_test_by_seed"]) for twin in ("fff", "dense")]
    assert abs(means[0] - means[1]) < 0.003
    for mean in means:
        assert f"{100 * mean:.2f} %" in readme
    for twin in ("fff", "dense"):
        median = sorted(report[f"{twin}_held_out"])[1]
        assert report[f"{twin}_test"] == report[f"{twin}_test_by_seed"][
            report[f"{twin}_held_out"].index(median)]
        assert f"{100 * median:.2f} %" in readme
    moved = np.bincount(leaf, minlength=16) - report["rows_by_leaf"]
    assert np.abs(moved).sum() <= 2


def test_exported_and_trained_network_answer_the_same(training, tmp_path):
    torch = training.torch
    torch.manual_seed(2)
    for make in (training.fff, training.dense):
        model, path = make(1), tmp_path / "m.safetensors"
        x = torch.rand(40, 784) * 2 - 1
        scores, leaf = training.answers(training.exported(model, 0, path), path, x.numpy())
        with torch.no_grad():
            wanted = model(x[None])[0].numpy()
            np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-4)
            if leaf is not None:
                z = model.decisions(model.features(x[None]))
                assert leaf.tolist() == model.leaf_of(z)[0, :, 0].tolist()
