"""The demo CNN in deploy/models is what its script exports and its README says."""

import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest

from fff_client.export import read_safetensors

pytest.importorskip("torch")

MODELS = pathlib.Path(__file__).resolve().parents[3] / "deploy" / "models"
MODEL = MODELS / "fashion-mnist-cnn"


@pytest.fixture(scope="module")
def training():
    spec = importlib.util.spec_from_file_location(
        "train_fashion_mnist_cnn", MODELS / "train_fashion_mnist_cnn.py"
    )
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    spec.loader.exec_module(module)  # leaves no cache in the model repository
    sys.dont_write_bytecode = before
    return module


def load(name):
    return json.loads((MODEL / name).read_text())


def test_the_script_writes_these_layers(training, tmp_path):
    images = training.torch.randint(0, 256, (32, 28, 28), dtype=training.torch.uint8)
    labels = training.torch.zeros(32, dtype=training.torch.long)
    fff, dense = training.fff_cnn(), training.dense_cnn()
    training.publish(tmp_path, fff, dense, images, labels, {})
    made = json.loads((tmp_path / "config.json").read_text())
    assert {**made, "accuracy": None} == {**load("config.json"), "accuracy": None}
    for name in ("model", "dense"):
        written = read_safetensors(str(tmp_path / "1" / f"{name}.safetensors"))
        kept = read_safetensors(str(MODEL / "1" / f"{name}.safetensors"))
        assert {key: (value.shape, value.dtype) for key, value in written.items()} == {
            key: (value.shape, value.dtype) for key, value in kept.items()}


def test_config_report_and_readme_say_the_same():
    report, accuracy = load("report.json"), load("config.json")["accuracy"]
    readme = (MODELS / "README.md").read_text()
    for twin in ("fff", "dense"):
        assert accuracy[twin] == report[f"{twin}_test"]
        assert f"**{report[f'{twin}_test']:.2%}**".replace("%", " %") in readme
        assert f"{report[f'{twin}_held_out']:.2%} {twin}".replace("%", " %").lower() in (
            readme.lower())
    shares = "  ".join(f"{rows / 100:.1f}" for rows in report["rows_by_leaf"])
    assert shares in readme


def test_soft_losses_are_those_of_the_leaf_once_decisions_are_sharp(training):
    """Else the soft tree would be trained for another answer than it serves."""
    torch = training.torch
    torch.manual_seed(1)
    model = training.fff_cnn().eval()
    pixels = torch.randint(0, 256, (40, 1, 28, 28), dtype=torch.uint8)
    y = torch.randint(0, 10, (40,))
    with torch.no_grad():
        model.head.node_weights.mul_(1e4)
        model.head.node_biases.mul_(1e4)
        share = model.head.mixture(model.head.decisions(model.features_of(pixels)))
        soft = training.fff_loss(model, pixels, y, 0.0)
        hard = training.fff_loss(model, pixels, y, 1.0)
    imbalance = share.shape[1] * share.mean(dim=0).square().sum() - 1
    np.testing.assert_allclose(soft - training.BALANCING * imbalance, hard, rtol=1e-3)


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
