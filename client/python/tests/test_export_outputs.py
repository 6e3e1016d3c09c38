"""Networks that answer several tensors, and the layers that the exporter makes of them."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from fff_client.export import ExportError, export_network, read_safetensors  # noqa: E402

ROWS = torch.randn(5, 6, generator=torch.Generator().manual_seed(2))


class Heads(nn.Module):
    """A trunk and two heads; `answer` makes the result of hidden, scores, kind."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer
        self.trunk = nn.Linear(6, 8)
        self.act = nn.ReLU()
        self.scores = nn.Linear(8, 4)
        self.kind = nn.Sequential(nn.Linear(8, 3), nn.Tanh())

    def forward(self, x):
        hidden = self.act(self.trunk(x))
        return self.answer(hidden, self.scores(hidden), self.kind(hidden))


def export(tmp_path, module, *arguments, **options):
    torch.manual_seed(1)
    return export_network(module, str(tmp_path / "m" / "1"), *arguments, **options)


def example_of(tmp_path):
    return read_safetensors(str(tmp_path / "m" / "1" / "example.safetensors"))


TRUNK = [{"type": "linear", "prefix": "trunk."}, {"type": "activation", "activation": "relu"}]
SCORES = [{"type": "linear", "prefix": "scores."}]
KIND = [{"type": "linear", "prefix": "kind.0."}, {"type": "activation", "activation": "tanh"}]


def test_a_dict_gives_its_outputs_their_names(tmp_path):
    module = Heads(lambda hidden, scores, kind: {
        "scores": scores, "hidden": hidden, "kind": kind})
    made = export(tmp_path, module, ROWS, labels=["a", "b", "c", "d"])
    assert made.config["layers"] == [
        *TRUNK, {"type": "output", "name": "hidden"},
        {"type": "output", "name": "kind", "layers": KIND}, *SCORES]
    assert made.config["output"] == {"name": "scores", "labels": ["a", "b", "c", "d"]}
    example = example_of(tmp_path)
    answer = module(torch.from_numpy(example["input.x"].copy()))
    for name, value in answer.items():
        np.testing.assert_allclose(example[f"output.{name}"], value.detach(), rtol=0,
                                   atol=1e-6)
    assert json.loads((tmp_path / "m" / "config.json").read_text()) == made.config


def test_a_tuple_is_numbered_and_the_first_is_the_main_one(tmp_path):
    module = Heads(lambda hidden, scores, kind: (hidden, kind, None))
    made = export(tmp_path, module, ROWS)
    assert made.config["layers"] == [
        *TRUNK, {"type": "output", "name": "output_1", "layers": KIND}]
    assert "output" not in made.config
    assert made.tensors == 4  # none of the scores
    assert sorted(example_of(tmp_path)) == ["input.x", "output.output", "output.output_1"]


def test_some_are_chosen_and_named(tmp_path):
    module = Heads(lambda hidden, scores, kind: (hidden, scores, kind))
    made = export(tmp_path, module, ROWS, outputs={"kind": 2, "hidden": 0})
    assert made.config["layers"] == [
        *TRUNK, {"type": "output", "name": "hidden"}, *KIND]
    assert made.config["output"] == {"name": "kind"}


def test_one_that_is_chosen_makes_a_network_of_one_output(tmp_path):
    module = Heads(lambda hidden, scores, kind: (hidden, scores, kind.sort()))
    made = export(tmp_path, module, ROWS, outputs={"output": 1})
    assert made.config["layers"] == [*TRUNK, *SCORES]


def test_tokens_and_one_vector_of_a_sequence(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(20, 6)
            self.tokens = nn.Linear(6, 5)
            self.classes = nn.Linear(6, 2)

        def forward(self, ids):
            x = self.words(ids)
            return {"tokens": self.tokens(x), "classes": self.classes(x.mean(1))}

    made = export(tmp_path, Net(), torch.arange(12).reshape(3, 4))
    assert made.config["input"][0]["shape"] == ["sequence"]
    assert made.config["layers"] == [
        {"type": "embedding", "prefix": "words."},
        {"type": "output", "name": "classes", "layers": [
            {"type": "pool", "over": "mean"}, {"type": "linear", "prefix": "classes."}]},
        {"type": "linear", "prefix": "tokens."}]
    assert example_of(tmp_path)["output.classes"].shape == (3, 2)


@pytest.mark.parametrize("outputs, said", [
    ({"a": 7}, "no tensor 7 for 'a'; there is: 0, 1"),
    (["a"], "wanted a dict of names"),
    ({}, "wanted a dict of names"),
    ({"a": 0, "a_ids": 1}, "'a_ids' is what top_k calls its columns"),
    ({"": 0}, "the name '' is no text"),
])
def test_names_and_keys_that_cannot_be_are_refused(tmp_path, outputs, said):
    with pytest.raises(ExportError) as refused:
        export(tmp_path, Heads(lambda hidden, scores, kind: (scores, kind)), ROWS,
               outputs=outputs)
    assert said in str(refused.value)
    assert not (tmp_path / "m" / "1").exists()


def test_an_output_that_no_layer_computes_is_named(tmp_path):
    module = Heads(lambda hidden, scores, kind: {"scores": scores, "sorted": kind.cumsum(0)})
    with pytest.raises(ExportError, match="output 'sorted': FFF Serving has no layer for cumsum"):
        export(tmp_path, module, ROWS)
