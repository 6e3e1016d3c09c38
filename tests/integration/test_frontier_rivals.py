"""The other networks of deploy/models/frontier: whole CNNs, the notebook's layers and
pruned networks. What is exported answers as the module does, and zeros stay zeros."""

import sys

import numpy as np
import pytest

import conftest
import fff_api
from fff_api import v1
from server_process import ServerProcess

torch = pytest.importorskip("torch")
sys.path.insert(0, str(conftest.SOURCE / "deploy" / "models" / "frontier"))
import cnn  # noqa: E402
import measure  # noqa: E402
import networks  # noqa: E402
import pruned  # noqa: E402
import seed_comparison  # noqa: E402
import tables  # noqa: E402
import train as frontier  # noqa: E402

CNNS = ("cnn-dense", "cnn-dense-16", "cnn-fff-d3-8", "cnn-fff-d4-16")
NAMES = CNNS + tuple(seed_comparison.NETWORKS)
ROWS = 100


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(5)
    made = {name: cnn.networks()[name][1]().eval() for name in CNNS}
    for name, (_, make) in seed_comparison.NETWORKS.items():
        made[name] = seed_comparison.SmallCnn(make()).eval()
    return made


@pytest.fixture(scope="module")
def pictures():
    random = torch.Generator().manual_seed(7)
    shape = (ROWS, 1, networks.SIDE, networks.SIDE)
    return torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)


@pytest.fixture(scope="module")
def repository(models, pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, model in models.items():
        cnn.export_network(model, folder / name / "1", pictures[:cnn.EXAMPLE_ROWS])
    return folder


@pytest.fixture(scope="module")
def api(repository):
    with ServerProcess(repository) as running:
        opened = fff_api.Api(running.target)
        yield opened
        opened.close()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_exported_answers_as_the_module(api, models, pictures, name):
    with torch.no_grad():
        wanted = models[name](pictures).numpy()
    tensor = v1.Tensor(shape=pictures.shape, datatype=v1.DATA_TYPE_UINT8,
                       data=pictures.numpy().tobytes())
    reply = api.own.Predict(v1.PredictRequest(model=name, input=tensor),
                            timeout=fff_api.DEADLINE_SECONDS)
    worst = np.abs(fff_api.output_of(reply) - wanted).max(axis=1)
    # A decision near zero may fall the other way.
    assert (worst <= 1e-4 * max(1, np.abs(wanted).max())).sum() >= ROWS - 1


def test_pictures_are_scaled_only_for_networks_of_floats(repository, tmp_path):
    assert measure.takes_bytes(repository / "cnn-dense-16")
    made = frontier.networks()["dense-32"][1](1)
    frontier.write_version(tmp_path / "dense-32", made, 0)
    assert not measure.takes_bytes(tmp_path / "dense-32")


def test_multiply_adds_count_what_one_row_needs(models):
    convolutions = 14 * 14 * 16 * 25 + 7 * 7 * 24 * 16 * 9
    counted = cnn.multiply_adds(models["cnn-fff-d4-16"])
    assert counted == convolutions + 4 * 1176 + 1176 * 16 + 16 * 32 + 32 * 10
    counted = cnn.multiply_adds(models["seed-fff"], seed_comparison.PATH_COUNTED)
    narrow = cnn.multiply_adds(models["seed-narrow"], seed_comparison.PATH_COUNTED)
    assert counted == narrow, "the same arithmetic without a tree"
    plain = cnn.multiply_adds(models["seed-18"], seed_comparison.PATH_COUNTED)
    assert 0 <= counted - plain < 256 + 10, "a nineteenth neuron would be more"


def test_an_fff_row_adds_the_nodes_of_its_way_alone():
    torch.manual_seed(3)
    layer = seed_comparison.PathFff(8, 5)
    x = torch.randn(8)
    node, wanted = 0, torch.zeros(5)
    for _ in range(3):
        score = x @ layer.X[node]
        wanted += score * layer.Y[node]
        node = 2 * node + 1 + int(score > 0)
    assert torch.allclose(layer(x[None])[0], wanted, atol=1e-5)


def test_a_run_ends_when_held_out_accuracy_no_longer_rises(monkeypatch):
    rises = iter([0.5, 0.6, 0.7, 0.9, 0.8, 0.9, 0.8, 0.7, 0.95])
    monkeypatch.setattr(seed_comparison, "accuracy_of", lambda *_: next(rises))
    monkeypatch.setattr(seed_comparison, "one_epoch", lambda *_: None)
    rows = seed_comparison.HELD_OUT_ROWS + 1
    model = seed_comparison.SmallCnn(seed_comparison.one_hidden(2))
    early, best = seed_comparison.train(
        model, torch.zeros(rows, 28, 28), torch.zeros(rows), 0, 30)
    assert (early[:2], best[:2]) == ((0.7, 3), (0.9, 4))
    assert next(rises) == 0.95, "four epochs after the best"


def test_the_least_weights_are_pruned_but_for_the_last_layer():
    torch.manual_seed(4)
    start = networks.Dense(1, [20, 10])
    model = pruned.Pruned(start, 2, 0.75)
    model.write_zeros()
    whole = [w.numel() // 2 for w in model.weights]
    left = [int((w[0] != 0).sum()) for w in model.weights]
    assert left == [whole[0] // 4, whole[1] // 4, whole[2]]
    assert model.nonzeros() == sum(left)
    dropped = start.weights[0][0][model.weights[0][0] == 0].abs().max()
    assert dropped <= model.weights[0][0][model.weights[0][0] != 0].abs().min()


def test_zeros_stay_zeros_and_the_next_step_keeps_them():
    torch.manual_seed(4)
    model = pruned.Pruned(networks.Dense(1, [20], first_linear=True), 3, 0.5)
    model.write_zeros()
    zeros = [w == 0 for w in model.weights]
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(3, 50, networks.PIXELS)).square().sum().backward()
        optimizer.step()
    next_one = pruned.Pruned(model, 3, 0.9)
    next_one.write_zeros()
    for before, weight, further in zip(zeros, model.weights, next_one.weights):
        assert (weight[before] == 0).all() and (further[before] == 0).all()
    assert (next_one.weights[0] == 0).sum() > 1.7 * zeros[0].sum()


def test_a_written_network_is_loaded_as_it_was(tmp_path):
    torch.manual_seed(6)
    for linear in (False, True):
        model = networks.Dense(2, [12, 7], first_linear=linear)
        frontier.write_version(tmp_path / f"{linear}", model, 1)
        again = networks.loaded(tmp_path / f"{linear}")
        x = torch.randn(1, 9, networks.PIXELS)
        assert torch.equal(again(x)[0], model(x.expand(2, -1, -1))[1])


def test_a_rival_may_have_less_by_the_spread_of_the_seeds():
    def line(name, family, test, seconds):
        return {"name": name, "family": family, "test": test,
                "times": {"1": {"seconds": seconds}}}

    lines = [line("fff", "fff", [90.0, 90.2], 2e-6),
             line("near", "dense", [89.9, 90.1], 1e-6),
             line("far", "dense", [89.0, 89.2], 5e-7)]
    assert tables.tie(lines) == pytest.approx(0.2 / 2**0.5)
    (found, rival), = tables.equal_accuracy(lines, "1")
    assert (found["name"], rival["name"]) == ("fff", "near")
    better = [line("fff", "fff", [95.0, 95.2], 2e-6), *lines[1:]]
    assert [rival for _, rival in tables.equal_accuracy(better, "1")] == [None]
