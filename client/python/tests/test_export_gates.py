"""Gates of networks, and the layer that the exporter makes of them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from fff_client.export import read_safetensors  # noqa: E402
from test_export_network import TOKENS, Do, export  # noqa: E402


def halves(x):
    return x.chunk(2, -1)


GATES = {
    "module": (lambda m, x: m.gate(x), {}),
    "function": (lambda m, x: F.glu(x), {}),
    "sigmoid": (lambda m, x: halves(x)[0] * halves(x)[1].sigmoid(), {
        "activation": "sigmoid", "gate": "second"}),
    "swiglu": (lambda m, x: F.silu(halves(x)[0]) * halves(x)[1], {
        "activation": "silu", "gate": "first"}),
    "geglu": (lambda m, x: x[..., :6] * m.gelu(x[..., 6:]), {
        "activation": "gelu", "gate": "second"}),
    "bilinear": (lambda m, x: x.narrow(-1, 0, 6) * x.narrow(-1, 6, 6), {
        "activation": "identity", "gate": "second"}),
}


@pytest.mark.parametrize("example", [TOKENS, TOKENS[:, 0]], ids=["tokens", "rows"])
@pytest.mark.parametrize("name", GATES)
def test_gates_become_a_layer(tmp_path, name, example):
    function, fields = GATES[name]
    module = Do(lambda m, x: m.out(function(m, m.linear(x))), gate=nn.GLU(),
                gelu=nn.GELU(), linear=nn.Linear(8, 12), out=nn.Linear(6, 2))
    made = export(tmp_path, module, example)
    assert made.config["layers"] == [
        {"type": "linear", "prefix": "linear."}, {"type": "glu", **fields},
        {"type": "linear", "prefix": "out."}]


def llama(m, x):
    return m.down(F.silu(m.gate(x)) * m.up(x))


def geglu_of_two(m, x):
    return m.down(m.up(x) * m.gelu(m.gate(x)))


@pytest.mark.parametrize("example", [TOKENS, TOKENS[:, 0]], ids=["tokens", "rows"])
@pytest.mark.parametrize("function, fields, biases", [
    (llama, {"activation": "silu", "gate": "first"}, (False, False)),
    (llama, {"activation": "silu", "gate": "first"}, (True, False)),
    (geglu_of_two, {"activation": "gelu", "gate": "second"}, (True, True)),
])
def test_a_gate_of_two_linear_layers_becomes_one(tmp_path, function, fields, biases,
                                                 example):
    module = Do(function, gelu=nn.GELU(), up=nn.Linear(8, 6, bias=biases[0]),
                gate=nn.Linear(8, 6, bias=biases[1]), down=nn.Linear(6, 8, bias=False))
    made = export(tmp_path, module, example)
    gate, down = made.config["layers"]
    assert fields.items() <= gate.items() and gate["type"] == "glu"
    assert down == {"type": "linear", "prefix": "down."}
    tensors = read_safetensors(str(tmp_path / "m" / "1" / "model.safetensors"))
    order = ["gate", "up"] if function is llama else ["up", "gate"]
    np.testing.assert_array_equal(
        tensors[gate["prefix"] + "weight"],
        torch.cat([getattr(module, name).weight for name in order]).detach().numpy())
    assert (gate["prefix"] + "bias" in tensors) == any(biases)
    assert len(tensors) == 2 + any(biases)
