"""Conventions of FFF layers as the exporter compares modules with them: answers
of the public code, and which convention a module is found to have."""

import json
import pathlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fff_client.export import conventions, fff  # noqa: E402
from fff_client.safetensors import read_safetensors  # noqa: E402

VECTORS = pathlib.Path(__file__).resolve().parents[3] / "tests/data/reference/vectors"

# Case: convention, activation, and trees or arguments.
CASES = {
    "fastfeedforward-mnist-shape": ("fastfeedforward", "relu", 1),
    "fastfeedforward-gelu": ("fastfeedforward", "gelu", 1),
    "fff-memoryacc-13-5-7-d2": ("fff-memoryacc", "relu", 1),
    "ultrafastbert-1x6": ("ultrafastbert", "gelu", 1),
    "ultrafastbert-3x4": ("ultrafastbert", "gelu", 3),
    "ultrafastbert-bmm-d7": ("ultrafastbert-bmm", "gelu", 1),
    "ultrafastbert-cuda-13-d4": ("ultrafastbert-cuda", "gelu", 1),
    "sapient-128x64": ("sap-fff", "identity", 1),
    "sap-fff-recursive-11x9-d3": ("sap-fff-recursive", "identity", 1),
    "sap-fff-w1s-15x8-d3": ("sap-fff-w1s", "identity", 1),
    "sap-fff-v2-13x7-d3": ("sap-fff-v2", "identity", 1),
    "sap-pislice-relu-16x10-24": ("sap-pislice-relu", "relu", 1),
    "catid-fff-v2-18x10": ("catid-fff-v2", "identity", 1),
    "catid-bojan-flat-9-20": ("catid-bojan-flat", "identity", 1),
    "catid-fff-and-mlp-13-d2-p1-m5": ("catid-fff-and-mlp", "gelu", 1),
    "fast-ffn-13x9-d4": ("fast-ffn", "relu", 1),
    "fastff-13x7-h5-d2": ("fastff", "gelu", 1),
    "fastff-actleaf-18x11-d3": ("fastff", "relu", 1),
    "fastff-gate-13x8-h6-d2": ("fastff-gate", "relu", 1),
    "fastff-ultrafastbert-prelu-15-d3": ("fastff-ufbert-prelu", "identity", 2),
    "fff-linear-leaf-13-5-7-d2": ("linear-leaf", "identity", 1),
    "hyperzens-linear-13x21-d2": ("hyperzens-linear", "identity", 1),
    "hyperzens-linear-k2-15x15-d3": ("hyperzens-linear", "identity", 1),
    "mlp-utils-mlp-17-proj12-d2": ("mlp-utils", "relu", 1),
    "fffdistill-route1-16x10-d3": ("fffdistill", "silu", {"region_leak": 0.0}),
    "fffdistill-route2-13x9-d2": ("fffdistill", "gelu", {"region_leak": 0.0}),
    "fffdistill-contribute1-14x7-d3": ("fffdistill", "silu", {
        "region_leak": 0.0, "route_rows_output_count": 1}),
    "fffdistill-split-12x11-d2": ("fffdistill", "relu", {
        "region_leak": 0.2, "route_rows_output_count": 2}),
    "fffdistill-all-15x8-d3": ("fffdistill", "gelu", {
        "region_leak": 0.1, "route_rows_output_count": 1, "master_leaf": True,
        "fallback_leaf": True}),
}


def tensors_of(case):
    return {
        name: torch.tensor(value)
        for name, value in read_safetensors(
            str(VECTORS / case / "model.safetensors")).items()
    }


def said_of(trees_or_arguments):
    """As config.json says it."""
    said = trees_or_arguments
    return {"trees" if isinstance(said, int) else "arguments": said}


def convention_of(name, tensors):
    return next(each for each in conventions.CONVENTIONS
                if each.name == name and each.fits(tensors))


class StandIn(torch.nn.Module):
    """Any tensors, whose answer is a convention's with another tie or bias."""

    def __init__(self, tensors, convention, activation, trees, tie=None):
        super().__init__()
        self.facts = convention, activation, trees, tie or convention.tie
        for name, value in tensors.items():
            *path, last = name.split(".")
            inside = self
            for part in path:
                if not hasattr(inside, part):
                    inside.add_module(part, torch.nn.Module())
                inside = getattr(inside, part)
            inside.register_buffer(last, value)
        self.own = torch.nn.Parameter(torch.zeros(0))

    def forward(self, x):
        tensors = {name: value.double() if value.is_floating_point() else value
                   for name, value in self.state_dict().items()}
        convention, activation, trees, tie = self.facts
        form = convention.form(tensors, said_of(trees))
        return conventions.evaluate(form, x.double(), activation, tie)[0].float()


@pytest.mark.parametrize("case", CASES)
def test_a_convention_answers_as_the_public_code(case):
    name, activation, trees = CASES[case]
    tensors = {key: value.double() if value.is_floating_point() else value
               for key, value in tensors_of(case).items()}
    io = read_safetensors(str(VECTORS / case / "io.safetensors"))
    convention = convention_of(name, tensors)
    x = torch.tensor(io["x"]).double()
    y, _ = conventions.evaluate(
        convention.form(tensors, said_of(trees)), x, activation, convention.tie)
    facts = json.loads((VECTORS / case / "case.json").read_text())
    tolerance = facts.get("tolerance_abs", 1e-4)
    np.testing.assert_allclose(y, io["y"].reshape(len(x), -1), rtol=0, atol=tolerance)


@pytest.mark.parametrize("case", CASES)
def test_a_module_is_found_by_its_answers(case):
    name, activation, trees = CASES[case]
    tensors = tensors_of(case)
    convention = convention_of(name, tensors)
    module = StandIn(tensors, convention, activation, trees)
    found = fff.find(module, module)
    assert found.fields["convention"] == name
    assert found.fields.get("activation", activation) == activation
    said = found.fields.get("arguments", found.fields.get("trees", trees))
    assert said == trees
    assert "tie" not in found.fields


@pytest.mark.parametrize("activation", ["gelu_tanh", "silu", "tanh", "sigmoid"])
def test_an_activation_is_told_from_all_others(activation):
    tensors = tensors_of("fastfeedforward-gelu")
    convention = convention_of("fastfeedforward", tensors)
    module = StandIn(tensors, convention, activation, 1)
    assert fff.find(module, module).fields["activation"] == activation


@pytest.mark.parametrize("case, tie, fields", [
    ("ultrafastbert-3x4", "right", {"convention": "ultrafastbert", "tie": "right"}),
    ("fastfeedforward-gelu", "left", {"convention": "fastfeedforward", "tie": "left"}),
    ("sapient-128x64", "right", {"convention": "sap-fff-recursive"}),
    ("mlp-utils-mlp-17-proj12-d2", "right", {"convention": "mlp-utils", "tie": "right"}),
    ("fffdistill-all-15x8-d3", "right", {"convention": "fffdistill", "tie": "right"}),
    ("fffdistill-split-12x11-d2", "right", {"convention": "fffdistill", "tie": "right"}),
    ("sap-fff-w1s-15x8-d3", "right", {"convention": "ultrafastbert-bmm",
                                      "activation": "identity"}),
])
def test_what_a_score_of_zero_does_is_found(case, tie, fields):
    name, activation, trees = CASES[case]
    tensors = tensors_of(case)
    module = StandIn(tensors, convention_of(name, tensors), activation, trees, tie)
    found = fff.find(module, module).fields
    assert fields.items() <= found.items()
    assert ("tie" in found) == ("tie" in fields)


def test_the_output_bias_is_found():
    tensors = tensors_of("fastfeedforward-gelu")
    convention = convention_of("fastfeedforward-0.2.1", tensors)
    module = StandIn(tensors, convention, "gelu", 1)
    assert fff.find(module, module).fields == {
        "type": "fff", "convention": "fastfeedforward-0.2.1", "activation": "gelu"}


def test_answers_of_no_convention_are_none():
    tensors = tensors_of("ultrafastbert-1x6")
    convention = convention_of("ultrafastbert", tensors)
    module = StandIn(tensors, convention, "gelu", 1)
    assert fff.find(module, module) is not None
    assert fff.find(module, lambda rows: 1.01 * module(rows)) is None
    assert fff.find(module, lambda rows: module(rows)[:, :-1]) is None
    assert fff.find(module, lambda rows: module(rows.flip(0))) is None
