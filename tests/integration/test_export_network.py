"""Networks from PyTorch to a served model: module, exporter, server, and the
answers of the reference; small networks against what the module itself answers."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import fff_api
import reference_networks
import safetensors_file
import test_sequences
from network_experts import DistilledTree, ExpertTree
from network_layers import LeafTree, PathForest, RmsNorm, SapFff
from server_process import ServerProcess
from test_networks import assert_routes, batches, facts

CLIENT = pathlib.Path(__file__).resolve().parents[2] / "client" / "python"
sys.path.insert(0, str(CLIENT))

from fff_client.export import export_network  # noqa: E402

PICTURES = {
    "sap-cifar10-cnn-fff": lambda: reference_networks.Cnn(fff=True),
    "sap-cifar10-cnn-ff": lambda: reference_networks.Cnn(fff=False),
    "fff-vit-cls": reference_networks.Vit,
    "catid-vit-fff-cls": reference_networks.OthersVit,
}
SEQUENCES = test_sequences.MODELS


def reference_network(name):
    """The module of a case with its weights."""
    if name in PICTURES:
        return reference_networks.with_weights(PICTURES[name](), name)
    arch = test_sequences.facts(name)["arch"]
    if name in test_sequences.CLASSIFIERS:
        module = reference_networks.BertForClasses(arch, name.removeprefix("cls-"))
    else:
        module = reference_networks.BertForWords(arch)
    return reference_networks.with_weights(module, test_sequences.case_of(name))


def example_of(name):
    if name in PICTURES:
        return next(batches(name))[1]
    return next(batch for batch in test_sequences.batches(name)
                if batch.name == "padded").inputs


class TokenTagger(nn.Module):
    """Ids to tags, with causal attention, both kinds of positions and SiLU."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(50, 16)
        self.places = nn.Parameter(torch.randn(20, 16))
        self.query = nn.Linear(16, 16)
        self.key = nn.Linear(16, 16, bias=False)
        self.value = nn.Linear(16, 16)
        self.out = nn.Linear(16, 16)
        self.norm = nn.LayerNorm(16)
        self.forest = PathForest(16, 2, outputs=16)
        self.tags = nn.Linear(16, 5)

    def forward(self, words):
        x = self.words(words) * 4.0 + self.places[: words.shape[1]]
        rows, tokens, width = x.shape
        q, k, v = (part(x).view(rows, tokens, 2, 8).transpose(1, 2)
                   for part in (self.query, self.key, self.value))
        later = torch.ones(tokens, tokens).triu(1).bool()
        scores = (q @ k.transpose(2, 3) / 8**0.5).masked_fill(later, float("-inf"))
        mixed = (torch.softmax(scores, -1) @ v).transpose(1, 2).contiguous()
        x = self.norm(x + self.out(mixed.view(rows, tokens, width)))
        flat = x.view(rows * tokens, width)
        x = x + self.forest(flat).view(rows, tokens, width)
        return self.tags(x * torch.sigmoid(x))


class PictureNetwork(nn.Module):
    """Pixels, a grouped convolution, BatchNorm with statistics, two pools."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding="same", bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.Conv2d(8, 8, 3, stride=(2, 1), groups=4, dilation=(1, 2)),
            nn.BatchNorm2d(8), nn.SiLU(inplace=True), nn.AvgPool2d(2),
        )
        self.head = LeafTree(8, 3, 4, 2, activation=torch.tanh)
        for norm in (self.stem[1], self.stem[5]):
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)

    def forward(self, image):
        x = self.stem((image / 255.0 - 0.5) / 0.25)
        return self.head(x.mean(dim=(2, 3)))


class SwiGlu(nn.Module):
    """A gate that is written out, of tokens."""

    def __init__(self):
        super().__init__()
        self.both = nn.Linear(16, 24)
        self.down = nn.Linear(12, 16)

    def forward(self, x):
        gate, value = self.both(x).chunk(2, dim=-1)
        return x + self.down(nn.functional.silu(gate) * value)


class Wrapped(nn.Module):
    """All names have the same front."""

    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(9, 12), SapFff(12, 6, 3), nn.Dropout(0.5))

    def forward(self, x):
        return self.model(x)


class LlamaFeedForward(nn.Module):
    """A gate of two linear layers, behind a norm."""

    def __init__(self):
        super().__init__()
        self.norm = RmsNorm(16)
        self.gate_proj, self.up_proj = nn.Linear(16, 24), nn.Linear(16, 24, bias=False)
        self.down_proj = nn.Linear(24, 16, bias=False)

    def forward(self, x):
        y = self.norm(x)
        y = nn.functional.silu(self.gate_proj(y)) * self.up_proj(y)
        return x + self.down_proj(y)


def encoder(norm_first):
    layer = nn.TransformerEncoderLayer(
        16, 4, 24, dropout=0.2, activation="gelu", batch_first=True, norm_first=norm_first)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(6 * 16, 3))


# Name: the network, the example inputs or None, and what else is said.
SMALL = {
    "rows": (lambda: nn.Sequential(
        nn.Linear(9, 12), SapFff(12, 12, 3), nn.LayerNorm(12), nn.Tanh(),
        nn.Dropout(0.5), nn.Linear(12, 4)), None, {}),
    "leaf-gelu": (lambda: nn.Sequential(
        nn.LayerNorm(10), LeafTree(10, 4, 6, 3, activation=nn.GELU())),
        lambda: torch.randn(5, 10), {}),
    "leaf-without-b2s": (lambda: nn.Sequential(
        nn.Linear(7, 10), LeafTree(10, 4, 6, 3, output_bias=False)), None, {}),
    "tagger": (TokenTagger, None, {}),
    "rms": (lambda: nn.Sequential(
        nn.Linear(9, 12), RmsNorm(12), SapFff(12, 6, 3), nn.Softmax(dim=-1)), None, {}),
    "glu": (lambda: nn.Sequential(
        nn.Linear(9, 12), nn.GLU(), nn.AlphaDropout(0.1), nn.Linear(6, 3)), None, {}),
    "llama": (LlamaFeedForward, lambda: torch.randn(2, 6, 16), {"any_length": True}),
    "swiglu": (SwiGlu, lambda: torch.randn(2, 6, 16), {"any_length": True}),
    "experts": (lambda: nn.Sequential(
        nn.Linear(16, 8), ExpertTree(8, 2, 5, inner=6, activation=nn.ReLU())),
        lambda: torch.randn(2, 6, 16), {"any_length": True}),
    "distilled": (lambda: nn.Sequential(nn.Linear(9, 8), DistilledTree(8, 6, 3)),
                  None, {}),
    "distilled-all": (lambda: nn.Sequential(
        nn.Linear(9, 8), DistilledTree(
            8, 6, 2, leaf_rows=4, route_rows=2, shared=3, rows_of_nodes=3, node_rows=2,
            leak=0.1, master=True, fallback=True)), lambda: torch.randn(6, 9), {}),
    "wrapped": (Wrapped, None, {}),
    "parallel": (lambda: nn.DataParallel(Wrapped()), None, {}),
    "half": (lambda: nn.Sequential(
        nn.Linear(9, 12), SapFff(12, 6, 3), nn.LayerNorm(6)).half(), None, {}),
    "bfloat16": (lambda: PictureNetwork().bfloat16(),
                 lambda: 255 * torch.rand(3, 3, 20, 20), {}),
    "double": (lambda: encoder(True).double(), lambda: torch.randn(2, 6, 16), {}),
    "pictures": (PictureNetwork, lambda: 255 * torch.rand(3, 3, 20, 20), {}),
    "norm-first": (lambda: encoder(True), lambda: torch.randn(2, 6, 16), {}),
    "norm-last": (lambda: encoder(False), lambda: torch.randn(2, 6, 16), {}),
    "encoder": (lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(16, 2, 24, batch_first=True), 2, nn.LayerNorm(16)),
        lambda: torch.randn(2, 6, 16), {}),
    "any-length": (lambda: nn.TransformerEncoderLayer(16, 2, 24, batch_first=True),
                   lambda: torch.randn(2, 6, 16), {"any_length": True}),
}


def small_network(name):
    torch.manual_seed(len(name))
    module, example, said = SMALL[name]
    return module().eval(), example and example(), said


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    repository = tmp_path_factory.mktemp("exported")
    for name in [*PICTURES, *SEQUENCES]:
        export_network(reference_network(name), str(repository / name / "1"),
                       example_of(name))
    for name in SMALL:
        module, example, said = small_network(name)
        export_network(module, str(repository / name / "1"), example, **said)
    return repository


@pytest.fixture(scope="module")
def networks(exported):
    with ServerProcess(exported) as server:
        api = fff_api.Api(server.target)
        yield server, api
        api.close()


@pytest.mark.parametrize("name", [*PICTURES, *SEQUENCES, *SMALL])
def test_the_example_proves_the_version(networks, name):
    server, api = networks
    server.await_line(f"loaded model={name} version=1")
    told = api.own.GetModel(fff_api.v1.GetModelRequest(model=name))
    assert "proven on cpu by" in told.summary.description


def answer(module, *inputs):
    with torch.no_grad():
        result = module(*inputs)
    return (result["outputs"] if isinstance(result, dict) else result).numpy()


@pytest.mark.parametrize("case", PICTURES)
def test_a_rebuilt_network_answers_as_the_public_code(case):
    module = reference_network(case)
    for name, x, y, _ in batches(case):
        np.testing.assert_allclose(answer(module, torch.tensor(x)), y, rtol=0,
                                   atol=facts(case)["tolerance_abs"], err_msg=name)


@pytest.mark.parametrize("model", SEQUENCES)
def test_a_rebuilt_bert_answers_as_the_public_code(model):
    module = reference_network(model)
    for batch in test_sequences.batches(model):
        inputs = [torch.tensor(x) for x in batch.inputs.values()]
        if "attention_mask" in batch.inputs:
            inputs = [torch.tensor(batch.inputs[port])
                      for port in ("input_ids", "attention_mask")]
        np.testing.assert_allclose(
            answer(module, *inputs).reshape(batch.output.shape), batch.output, rtol=0,
            atol=test_sequences.facts(model)["tolerance_abs"], err_msg=batch.name)


@pytest.mark.parametrize("case", PICTURES)
def test_an_exported_network_is_served_with_the_reference_answers(networks, case):
    _, api = networks
    for name, x, y, routes in batches(case):
        response = api.predict(case, x, include_routing=True)
        np.testing.assert_allclose(fff_api.output_of(response), y, rtol=0,
                                   atol=facts(case)["tolerance_abs"], err_msg=name)
        assert_routes(response, routes)


@pytest.mark.parametrize("model", SEQUENCES)
def test_an_exported_bert_is_served_with_the_reference_answers(networks, model):
    _, api = networks
    for batch in test_sequences.batches(model):
        response = test_sequences.predict(api, model, batch.inputs, include_routing=True)
        test_sequences.assert_answer(model, response, batch)
        test_sequences.assert_routes(response, batch)


def served(api, name, inputs):
    if inputs.is_floating_point():
        return fff_api.output_of(api.predict(name, inputs.numpy()))
    return fff_api.output_of(test_sequences.predict(
        api, name, {"words": inputs.numpy()}))


@pytest.mark.parametrize("name", SMALL)
def test_the_server_answers_as_the_module(exported, networks, name):
    _, api = networks
    module, _, _ = small_network(name)
    example = safetensors_file.read(exported / name / "1" / "example.safetensors")
    module.float()  # what is served of any dtype
    (port,) = [key for key in example if key.startswith("input.")]
    stored = torch.tensor(example[port])
    again = stored.roll(1, -1)  # other rows than those of the example
    for inputs in (stored, again, again[:1]):
        wanted = answer(module, inputs)
        np.testing.assert_allclose(served(api, name, inputs), wanted, rtol=0,
                                   atol=2e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("name", SMALL)
def test_the_example_is_what_the_module_answered(exported, name):
    module, given, _ = small_network(name)
    example = safetensors_file.read(exported / name / "1" / "example.safetensors")
    config = json.loads((exported / name / "config.json").read_text())
    ports = [entry["name"] for entry in config["input"]]
    assert sorted(example) == sorted(
        [f"input.{port}" for port in ports] + ["output.output"])
    inputs = torch.tensor(example[f"input.{ports[0]}"])
    if given is not None:
        np.testing.assert_array_equal(inputs.numpy(), given.numpy())
    np.testing.assert_array_equal(
        answer(module.float(), inputs), example["output.output"])


@pytest.mark.parametrize("name, tokens", [("tagger", 1), ("tagger", 3), ("tagger", 20),
                                          ("any-length", 2), ("any-length", 9)])
def test_sequences_of_other_lengths_are_answered(networks, name, tokens):
    _, api = networks
    module, _, _ = small_network(name)
    generator = torch.Generator().manual_seed(tokens)
    inputs = torch.randint(0, 50, (2, tokens), generator=generator)
    if name == "any-length":
        inputs = torch.randn(2, tokens, 16, generator=generator)
    wanted = answer(module, inputs)
    np.testing.assert_allclose(served(api, name, inputs), wanted, rtol=0,
                               atol=2e-5 * np.abs(wanted).max())


def test_the_conventions_are_those_of_the_modules(exported):
    def layer_of(name):
        config = json.loads((exported / name / "config.json").read_text())
        return next(layer for layer in config["layers"] if layer["type"] == "fff")

    assert layer_of("rows") == {"type": "fff", "convention": "sap-fff", "prefix": "1."}
    assert layer_of("leaf-gelu")["activation"] == "gelu"
    assert layer_of("leaf-without-b2s")["convention"] == "fastfeedforward-0.2.1"


SCRIPT = """
import torch
from torch import nn

def make_model():
    return nn.Sequential(nn.Linear(5, 7), nn.Sigmoid(), nn.Linear(7, 2))
"""


def test_the_command_line_exports_a_module_of_a_script(tmp_path):
    (tmp_path / "net.py").write_text(SCRIPT)
    torch.manual_seed(4)
    trained = nn.Sequential(nn.Linear(5, 7), nn.Sigmoid(), nn.Linear(7, 2))
    torch.save({f"module.{name}": value for name, value in trained.state_dict().items()},
               tmp_path / "trained.pt")
    rows = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    told = subprocess.run(
        [sys.executable, "-B", "-m", "fff_client.export", "--module", "net.py:make_model",
         "--weights", "trained.pt", "--example", "rows.npy", "-o", "models/small/1"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(CLIENT)},
        capture_output=True, text=True, timeout=100)
    assert told.returncode == 0, told.stderr
    with ServerProcess(tmp_path / "models") as server:
        api = fff_api.Api(server.target)
        np.testing.assert_allclose(
            fff_api.output_of(api.predict("small", rows)),
            answer(trained, torch.tensor(rows)), rtol=0, atol=1e-6)
        api.close()
