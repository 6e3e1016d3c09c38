"""FFF layers of mlp-utils and fffdistill inside networks: what no tensor tells is
found by running them."""

import pathlib
import sys

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from fff_client.export import ExportError, export_network  # noqa: E402

sys.path.append(str(pathlib.Path(__file__).resolve().parents[3] / "tests/integration"))

from network_experts import DistilledTree, ExpertTree  # noqa: E402


def layer_of(tmp_path, make, *shape):
    """The layer that a tree becomes behind a linear one, after 8 columns."""
    torch.manual_seed(2)
    module = nn.Sequential(nn.Linear(8, 8), make())
    made = export_network(module, str(tmp_path / "m" / "1"), torch.randn(*shape, 8))
    layer = made.config["layers"][1]
    assert layer.pop("prefix") == "1." and layer.pop("type") == "fff"
    return layer


EXPERTS = {
    "gelu": (lambda: ExpertTree(8, 2, 5), "gelu"),
    "silu": (lambda: ExpertTree(8, 1, 5, activation=nn.SiLU()), "silu"),
    "projected": (lambda: ExpertTree(8, 3, 6, inner=5, activation=nn.ReLU()), "relu"),
    "projected out": (lambda: ExpertTree(8, 2, 6, inner=12, activation=nn.Tanh()), "tanh"),
}


@pytest.mark.parametrize("case", EXPERTS)
def test_experts_behind_routers_are_mlp_utils(tmp_path, case):
    make, activation = EXPERTS[case]
    assert layer_of(tmp_path, make, 2, 5) == {
        "convention": "mlp-utils", "activation": activation}


DISTILLED = {
    "plain": (dict(depth=2), "silu", {"region_leak": 0.0}),
    "two rows": (dict(depth=2, route_rows=2, activation=F.gelu), "gelu", {
        "region_leak": 0.0}),
    "rows that route answer": (dict(depth=2, rows_of_nodes=1, node_rows=1), "silu", {
        "region_leak": 0.0, "route_rows_output_count": 1}),
    "some of the rows": (dict(depth=2, rows_of_nodes=3, node_rows=2), "silu", {
        "region_leak": 0.0, "route_rows_output_count": 2}),
    "none of the rows": (dict(depth=1, rows_of_nodes=3), "silu", {
        "region_leak": 0.0, "route_rows_output_count": 0}),
    "master": (dict(depth=2, master=True, shared=3), "silu", {
        "region_leak": 0.0, "master_leaf": True}),
    "fallback": (dict(depth=2, fallback=True, leak=0.25), "silu", {
        "region_leak": 0.25, "fallback_leaf": True}),
    "fallback that answers nothing": (dict(depth=2, fallback=True), "silu", {
        "region_leak": 0.0, "fallback_leaf": True}),
    "all leaves": (dict(depth=3, leak=0.05, activation=F.relu), "relu", {
        "region_leak": 0.05}),
    "everything": (dict(depth=2, route_rows=2, rows_of_nodes=2, node_rows=1, shared=2,
                        leak=0.1, master=True, fallback=True), "silu", {
        "region_leak": 0.1, "route_rows_output_count": 1, "master_leaf": True,
        "fallback_leaf": True}),
}


@pytest.mark.parametrize("case", DISTILLED)
def test_arguments_of_fffdistill_are_found(tmp_path, case):
    said, activation, arguments = DISTILLED[case]
    assert layer_of(tmp_path, lambda: DistilledTree(8, 6, **said), 7) == {
        "convention": "fffdistill", "activation": activation, "arguments": arguments}


def test_a_leak_of_many_digits_is_measured(tmp_path):
    layer = layer_of(tmp_path, lambda: DistilledTree(8, 6, 2, leak=0.123456789), 2, 3)
    assert layer["arguments"]["region_leak"] == pytest.approx(0.123456789, abs=1e-6)


REFUSED = {
    "gates": (lambda: ExpertTree(8, 2, 5, gated=True), [
        "those of mlp-utils-glu, which FFF Serving does not serve"]),
    "activation": (lambda: ExpertTree(8, 2, 5, activation=nn.Softsign()), [
        "an FFF layer (mlp-utils), but its answers differ"]),
    "soft": (lambda: DistilledTree(8, 6, 1, hard=False), [
        "an FFF layer (fffdistill), but its answers differ"]),
    "more than the leak": (lambda: DistilledTree(8, 6, 2, leak=1.5), [
        "an FFF layer (fffdistill), but its answers differ"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_another_function_is_refused_by_its_name(tmp_path, case):
    make, said = REFUSED[case]
    with pytest.raises(ExportError) as refused:
        layer_of(tmp_path, make, 2, 5)
    for words in said:
        assert words in str(refused.value)
    assert not list(tmp_path.rglob("*.safetensors"))
