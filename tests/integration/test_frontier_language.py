"""The language models of deploy/models/frontier: what is exported answers as the module
does, an FFF is a dense layer of the neurons on the way, and training learns."""

import sys

import numpy as np
import pytest

import conftest
import fff_api
from fff_api import v1
from server_process import ServerProcess

torch = pytest.importorskip("torch")
sys.path.insert(0, str(conftest.SOURCE / "deploy" / "models" / "frontier"))
import language_model  # noqa: E402
import language_text  # noqa: E402
import language_times  # noqa: E402

NAMES = ("none", "dense-8", "fff-1x3", "fff-4x2")
RECIPE = language_model.Recipe(steps=300, learning_rate=1e-2, width=32, heads=2)
PHRASE = "in the beginning god created the heaven and the earth".split()


@pytest.fixture(scope="module")
def text():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language_text, "chapters",
                      lambda: [PHRASE * 40 + ["rare"] for _ in range(20)])
        patch.setattr(language_text, "WORDS", len(set(PHRASE)))
        return language_text.Text()


@pytest.fixture(scope="module")
def models(text):
    torch.manual_seed(5)
    return {name: language_model.LanguageModel(name, len(text.vocabulary), RECIPE).eval()
            for name in NAMES}


@pytest.fixture(scope="module")
def api(models, text, tmp_path_factory):
    repository = tmp_path_factory.mktemp("models")
    for name, model in models.items():
        language_model.write_version(repository / name, model, text)
    with ServerProcess(repository) as running:
        opened = fff_api.Api(running.target)
        yield opened
        opened.close()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_exported_answers_as_the_module(api, models, text, name):
    _, ids, _ = next(language_text.scored_batches(text.test, 4))
    with torch.no_grad():
        wanted = models[name](torch.from_numpy(ids)).numpy()
    tensor = v1.Tensor(shape=ids.shape, datatype=v1.DATA_TYPE_INT64, data=ids.tobytes())
    reply = api.own.Predict(v1.PredictRequest(model=name, input=tensor),
                            timeout=fff_api.DEADLINE_SECONDS)
    got = fff_api.output_of(reply).reshape(wanted.shape)
    assert np.abs(got - wanted).max() <= 1e-4
    assert np.abs(wanted).max() > 0.1, "scores that differ"


def test_an_fff_sums_the_neurons_on_the_way():
    torch.manual_seed(1)
    layer = language_model.Fff(6, trees=2, depth=2)
    x = torch.randn(1, 1, 6)
    z = layer.linear_in(x)[0, 0]
    wanted = torch.zeros(6)
    for first in (0, 7):
        node = 0
        for _ in range(3):
            column = layer.linear_out.weight[:, first + node]
            wanted += torch.nn.functional.gelu(z[first + node]) * column
            node = 2 * node + (2 if z[first + node] > 0 else 1)
    assert torch.allclose(layer(x)[0, 0], wanted, atol=1e-6)
    assert layer.multiply_adds() == 2 * 2 * 3 * 6


def test_each_known_word_is_scored_once(text):
    seen = np.zeros_like(language_text.sequences(text.test), np.int64)
    rows = len(seen)
    for part, shown, hidden in language_text.scored_batches(text.test, rows):
        seen += hidden
        assert (shown[hidden] == language_text.MASK).all()
        assert (shown[~hidden] == part[~hidden]).all()
    known = language_text.sequences(text.test) != language_text.UNKNOWN
    assert not known.all()
    assert (seen == known).all()


def test_training_learns(text):
    model = language_model.trained("fff-1x3", text, RECIPE, seed=1)
    accuracy, _ = language_model.scores(model, text.test)
    assert accuracy > 50, "always the commonest word gets 30"


def test_without_the_text_the_error_names_the_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="install Debian's bible-kjv"):
        language_text.chapters()


def line(name, test, seconds):
    times = {"seconds": seconds + 1, "without_decoder": seconds, "feedforward": seconds / 2}
    return {"name": name, "test": test, "cross_entropy": [3.5],
            "feedforward_multiply_adds": 1000, "times": {"1": times, "16": times}}


def test_pairs_are_of_equal_accuracy(capsys):
    lines = [line("none", [30.0, 30.0], 1.0), line("dense-8", [30.0, 30.0], 2.0),
             line("dense-32", [31.0, 31.2], 6.0), line("fff-1x3", [31.2], 3.0),
             line("fff-4x2", [32.0], 4.0)]
    language_times.print_networks(lines)
    language_times.print_pairs(lines)
    printed = capsys.readouterr().out
    assert "| `dense-32` | 1,000 | 31.10 ± 0.10 | 3.500 | 3e+06 |" in printed
    assert "| `fff-1x3` | `dense-32` | 1 | 2.00x | 2.00x | 6.00x | 1.75x |" in printed
    assert "| `fff-4x2` | 1,000 | 32.00 | 3.500 |" in printed
    assert "| `fff-4x2` |" not in printed.split("Equal:")[1], "no dense network has that"


def test_longer_training_stands_beside_the_shorter(capsys):
    before, after = line("none", [30.0], 1.0), line("none", [34.0], 1.0)
    before["steps"], after["steps"] = 4000, 8000
    language_times.print_longer([before], [])
    assert capsys.readouterr().out == ""
    language_times.print_longer([before], [after])
    printed = capsys.readouterr().out
    assert "| network | 4,000 steps | 8,000 steps |" in printed
    assert "| `none` | 30.00 | 34.00 |" in printed
