"""The networks of deploy/models/frontier: what is exported answers as the module
does, and training on few rows gets better than guessing."""

import json
import sys

import numpy as np
import pytest

import conftest
import fff_api
from fff_api import v1
from server_process import ServerProcess

torch = pytest.importorskip("torch")
sys.path.insert(0, str(conftest.SOURCE / "deploy" / "models" / "frontier"))
import local  # noqa: E402
import networks  # noqa: E402
import train as frontier  # noqa: E402
import training  # noqa: E402

# Each form of layer: ReLU or none behind the first, pixels or their means, leaves of
# one and of two hidden layers, with linear features in front and without.
NAMES = ("dense-64-64", "dense-p-l24-256", "fff-d4-16", "fff-d4-16-32", "fff-b24-d4-64",
         "fff-p-b32-d4-64-64")
# Steps of a front: filters, shared and per band, with ReLU and without, and what may
# stand behind them.
LOCAL_NAMES = ("q4x4k3+l32:d4-64", "q4x4k4r+b3:16", "h4x4k5r+b3r:d4-16", "p+l32:32",
               "h2x28k4:64-32", "q4x7k2r:d2-8")
ROWS = 200
TRAINED_ROWS = 1000


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(5)
    made = frontier.networks()
    plain = {name: made[name][1](2) for name in NAMES}
    fronted = {local.served_name(name): local.Local(2, name) for name in LOCAL_NAMES}
    return {**plain, **fronted}


@pytest.fixture(scope="module")
def api(models, tmp_path_factory):
    repository = tmp_path_factory.mktemp("models")
    for name, model in models.items():
        frontier.write_version(repository / name, model, 1)
    with ServerProcess(repository) as running:
        opened = fff_api.Api(running.target)
        yield opened
        opened.close()


@pytest.mark.parametrize("name", [*NAMES, *map(local.served_name, LOCAL_NAMES)])
def test_what_is_exported_answers_as_the_module(api, models, name):
    pixels = torch.rand(ROWS, networks.PIXELS) * 2 - 1
    model = models[name]
    with torch.no_grad():
        x = networks.shrunk(pixels, model.inputs).expand(2, -1, -1)
        wanted = model(x)[1].numpy()
    shape = (ROWS, 1, networks.SIDE, networks.SIDE)
    if isinstance(model, local.Local):
        shape = (ROWS, *model.input_shape())
    tensor = v1.Tensor(shape=shape, datatype=v1.DATA_TYPE_FP32,
                       data=pixels.numpy().tobytes())
    reply = api.own.Predict(v1.PredictRequest(model=name, input=tensor),
                            timeout=fff_api.DEADLINE_SECONDS)
    worst = np.abs(fff_api.output_of(reply) - wanted).max(axis=1)
    # A decision near zero may fall the other way.
    assert (worst <= 1e-4).sum() >= ROWS - 1
    copies = model(x).detach().numpy()
    assert np.abs(copies[0] - copies[1]).max() > 0.01, "the other copy is another one"


def test_rows_of_a_deep_tree_reach_many_leaves(models):
    model = models["fff-d4-16"]
    x = torch.randn(2, ROWS, networks.PIXELS)
    leaves = model.leaf_of(model.decisions(model.features(x)))
    assert len(leaves.unique()) >= 8


def test_shares_of_leaves_are_probabilities(models):
    model = models["fff-b24-d4-64"]
    z = model.decisions(model.features(torch.randn(2, ROWS, networks.PIXELS)))
    for share in (model.mixture(z), model.two_leaves(z, 0.3)):
        assert share.shape == (2, ROWS, 16)
        assert torch.allclose(share.sum(dim=2), torch.ones(2, ROWS), atol=1e-5)
    # The served leaf is the likelier of the two.
    two = model.two_leaves(z, 0.3)
    assert (two.argmax(dim=2, keepdim=True) == model.leaf_of(z)).float().mean() > 0.99
    assert ((two > 0).sum(dim=2) <= 2).all()


def test_training_learns(monkeypatch):
    few = training.HELD_OUT_ROWS + TRAINED_ROWS
    whole = training.read_part
    monkeypatch.setattr(training, "read_part", lambda folder, part: tuple(
        each[:few] for each in whole(folder, part)))
    recipe = training.Recipe(epochs=8, batch_rows=100, decays=(0.01, 0.1), seeds=1,
                             altered_copies=1)
    torch.manual_seed(0)
    data = training.Data("/usr/share/datasets/fashion-mnist", recipe,
                         torch.device("cpu"))
    made = frontier.networks()
    trained = training.train([made["fff-p-b24-d4-64"][1], made["dense-p-64-64"][1]],
                             data, recipe)
    for model in trained:
        right = training.right(model, data.held_out_x, data.held_out_y).float()
        assert right.shape == (recipe.copies, training.HELD_OUT_ROWS)
        assert right.mean() > 0.5, "guessing gets 0.1"


def test_the_search_is_of_networks_that_are_made_again():
    frontier_folder = conftest.SOURCE / "deploy" / "models" / "frontier"
    lines = [json.loads(text) for text in
             (frontier_folder / "local_search.jsonl").read_text().splitlines()]
    for family in ("fff", "dense"):
        searched = local.searched(family)
        names = [line["name"] for line in lines if line["family"] == family]
        assert sorted(names) == sorted(searched)
    for line in lines:
        model = local.Local(1, line["name"])
        assert model.multiply_adds() == line["multiply_adds"], line["name"]
        assert model(torch.zeros(1, 3, networks.PIXELS)).shape == (1, 3, networks.CLASSES)


def test_the_search_writes_a_line_per_network(monkeypatch, tmp_path):
    few = training.HELD_OUT_ROWS + TRAINED_ROWS
    whole = training.read_part
    monkeypatch.setattr(training, "read_part", lambda folder, part: tuple(
        each[:few] for each in whole(folder, part)))
    monkeypatch.setattr(local, "SEARCHED", {
        "fff": [("h4x4k2r+b2", "d2-8")], "dense": [("q4x4k1", "8 16")]})
    recipe = training.Recipe(epochs=1, batch_rows=500, altered_copies=1)
    monkeypatch.setattr(local, "Recipe", lambda **options: training.Recipe(
        **{**recipe.__dict__, **options}))
    data = training.Data("/usr/share/datasets/fashion-mnist", recipe,
                         torch.device("cpu"))
    local.search(data, tmp_path)
    lines = [json.loads(text) for text in
             (tmp_path / "local_search.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == ["h4x4k2r+b2:d2-8", "q4x4k1:8", "q4x4k1:16"]
    for line in lines:
        assert len(line["held_out"]) == local.SEARCHED_SEEDS
        assert line["weight_decay"] in local.SEARCHED_DECAYS[line["family"]]
        assert all(0 < accuracy < 100 for accuracy in line["held_out"])


def test_the_demo_is_measured_beside(tmp_path):
    local.write_demo(tmp_path)
    lines = [json.loads(text) for text in
             (tmp_path / "accuracy.jsonl").read_text().splitlines()]
    assert [line["multiply_adds"] for line in lines] == [30592, 50304]
    local.write_demo(tmp_path)
    assert len((tmp_path / "accuracy.jsonl").read_text().splitlines()) == 2, "once"
    for line in lines:
        config = json.loads((tmp_path / line["name"] / "config.json").read_text())
        tensors = networks.read_safetensors(
            str(tmp_path / line["name"] / "1" / "model.safetensors"))
        for layer in config["layers"]:
            prefix = layer.get("prefix")
            assert prefix is None or any(name.startswith(prefix) for name in tensors)
    assert [line["family"] for line in lines] == ["fff", "dense"]
