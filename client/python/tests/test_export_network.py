"""Networks as people write them, and the layers that the exporter makes of them.

That the layers answer as the network is the exporter's own last check; that the
server does is for tests/integration/test_export_network.py.
"""

import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from fff_client.export import export_network, read_safetensors  # noqa: E402


class Do(nn.Module):
    """Named parts, and a function of them and of the inputs."""

    def __init__(self, function, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.function = function

    def forward(self, x, mask=None):
        return self.function(self, x) if mask is None else self.function(self, x, mask)


def export(tmp_path, module, *arguments, **options):
    torch.manual_seed(1)
    return export_network(module, str(tmp_path / "m" / "1"), *arguments, **options)


def heads(x, count):
    rows, tokens, width = x.shape
    return x.view(rows, tokens, count, width // count).transpose(1, 2)


def joined(x):
    rows, count, tokens, width = x.shape
    return x.transpose(1, 2).reshape(rows, tokens, count * width)


def mixed(q, k, v, scale, change=lambda scores: scores):
    return torch.softmax(change(q @ k.transpose(-1, -2) * scale), -1) @ v


def three_blocks(m, x):
    rows, tokens, _ = x.shape
    q, k, v = m.qkv(x).reshape(rows, tokens, 3, 2, 4).permute(2, 0, 3, 1, 4)
    return joined(mixed(q, k, v, 4**-0.5))


def per_head(m, x):
    rows, tokens, _ = x.shape
    q, k, v = m.qkv(x).view(rows, tokens, 2, 12).transpose(1, 2).split(4, dim=-1)
    return joined(mixed(q, k, v, 0.5))


def by_width(m, x):
    q, k, v = (heads(part, 2) for part in m.qkv(x).chunk(3, -1))
    return joined(mixed(q, k, v, 8**-0.5))


def three_layers(m, x):
    q, k, v = (heads(part(x), 2) for part in (m.q, m.k, m.v))
    return joined(mixed(q, k, v, 0.5, lambda s: s + torch.full(
        s.shape[-2:], -math.inf).triu(1)))


def in_one_dimension(m, x, mask):
    rows, tokens, width = x.shape
    q, k, v = (heads(part(x), 2).reshape(rows * 2, tokens, 4) for part in (m.q, m.k, m.v))
    scores = torch.bmm(q, k.transpose(1, 2)).div(2.0).view(rows, 2, tokens, tokens)
    scores = scores.masked_fill(mask[:, None, None] == 0, -1e9)
    out = torch.bmm(scores.view(-1, tokens, tokens).softmax(2), v)
    return joined(out.view(rows, 2, tokens, 4))


def first_of_tokens_first(m, x):
    return m.layer(x.permute(1, 0, 2))[0]


def hidden_padding(m, x, mask):
    return x + m.attention(x, x, x, key_padding_mask=mask == 0)[0]


def mean_of_kept(m, x, mask):
    kept = mask.unsqueeze(-1).to(x.dtype)
    return (x * kept).sum(1) / kept.sum(1).clamp(min=1e-9)


def qkv():
    return {"qkv": nn.Linear(8, 24)}


def apart():
    return {"q": nn.Linear(8, 8), "k": nn.Linear(8, 8), "v": nn.Linear(8, 8, bias=False)}


TOKENS = torch.linspace(-2, 2, 2 * 5 * 8).reshape(2, 5, 8).sin()
MASK = torch.ones(2, 5, dtype=torch.long)
ATTENTION = {
    "three blocks": (three_blocks, qkv, None, {"qkv": "qkv.", "layout": "blocks"}),
    "per head": (per_head, qkv, None, {"qkv": "qkv.", "layout": "heads"}),
    "scaled by the width": (by_width, qkv, None, {"layout": "blocks", "heads": 2}),
    "three layers": (three_layers, apart, None, {
        "query": "q.", "key": "k.", "value": "v.", "causal": True}),
    "one dimension": (in_one_dimension, apart, MASK, {
        "query": "q.", "key": "k.", "value": "v.", "mask_value": -1e9}),
    "hidden padding": (
        hidden_padding, lambda: {"attention": nn.MultiheadAttention(
            8, 2, batch_first=True)}, MASK,
        {"qkv": "attention.", "weight": "in_proj_weight", "layout": "blocks",
         "out": "attention.out_proj.", "mask_value": -1e30}),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_is_found_however_it_is_written(tmp_path, name):
    function, parts, mask, fields = ATTENTION[name]
    example = TOKENS if mask is None else (TOKENS, mask)
    layer = export(tmp_path, Do(function, **parts()), example).config["layers"][-1]
    layer = layer.get("layers", [layer])[0]
    assert layer["type"] == "attention" and layer["heads"] == 2
    assert fields.items() <= layer.items()
    assert ("log_scale" in layer) == (name == "scaled by the width")


def gelu_by_hand(m, x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def rms_by_hand(m, x):
    return m.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


PARTS = {
    "gelu": (lambda m, x: F.gelu(x), [{"type": "activation", "activation": "gelu"}]),
    "gelu by hand": (gelu_by_hand, [{"type": "activation", "activation": "gelu_tanh"}]),
    "swish": (lambda m, x: x * x.sigmoid(), [
        {"type": "activation", "activation": "silu"}]),
    "in place": (lambda m, x: torch.relu_(x), [
        {"type": "activation", "activation": "relu"}]),
    "softmax": (lambda m, x: x.softmax(dim=-1), [{"type": "softmax"}]),
    "rms": (rms_by_hand, [{"type": "rms_norm", "prefix": "", "epsilon": 1e-6}]),
    "scale": (lambda m, x: x * math.sqrt(8), [{"type": "normalize", "scale": 8**0.5}]),
    "shift": (lambda m, x: (x - 1) / 4, [{"type": "normalize", "mean": 1.0},
                                         {"type": "normalize", "std": 4.0}]),
    "positions": (lambda m, x: x + m.places[: x.shape[1]], [
        {"type": "positions", "kind": "learned", "tensor": "places"}]),
    "class token": (lambda m, x: torch.cat([m.first.expand(len(x), 1, 8), x], 1), [
        {"type": "class_token", "tensor": "first"}]),
    "mean": (lambda m, x: x.mean(dim=1), [{"type": "pool", "over": "mean"}]),
    "first": (lambda m, x: x[:, 0, :], [{"type": "pool", "over": "first"}]),
    "max": (lambda m, x: x.max(1).values, [{"type": "pool", "over": "max"}]),
    "amax": (lambda m, x: torch.amax(x, 1), [{"type": "pool", "over": "max"}]),
    "logsumexp": (lambda m, x: x.logsumexp(1), [{"type": "pool", "over": "logsumexp"}]),
    "kept": (mean_of_kept, [{"type": "pool", "over": "mean", "masked": True}]),
    "flatten": (lambda m, x: x.reshape(x.size(0), -1), [{"type": "flatten"}]),
    "nothing": (lambda m, x: F.dropout(x.contiguous().float(), 0.5, training=m.training), []),
    "tokens as rows": (lambda m, x: x.view(-1, 8).tanh().view(x.shape), [
        {"type": "activation", "activation": "tanh"}]),
}


@pytest.mark.parametrize("name", PARTS)
def test_operations_become_layers(tmp_path, name):
    function, layers = PARTS[name]
    module = Do(lambda m, x, *mask: function(m, m.linear(x), *mask),
                linear=nn.Linear(8, 8), weight=nn.Parameter(torch.rand(8) + 0.5),
                places=nn.Parameter(torch.randn(9, 8)),
                first=nn.Parameter(torch.randn(1, 1, 8)))
    example = (TOKENS, MASK) if name == "kept" else TOKENS
    made = export(tmp_path, module, example)
    assert made.config["layers"] == [{"type": "linear", "prefix": "linear."}, *layers]


def places_and_patches(m, x):
    rows, channels, height, width = x.shape
    x = x.unfold(2, 4, 4).unfold(3, 4, 4)
    return m.linear(x.permute(0, 2, 3, 4, 5, 1).reshape(rows, -1, 48))


def test_patches_are_found_however_they_are_cut(tmp_path):
    made = export(tmp_path, Do(places_and_patches, linear=nn.Linear(48, 5)),
                  input_shape=(3, 8, 12))
    assert made.config["layers"][0] == {"type": "patches", "size": 4}
    assert made.config["input"][0]["shape"] == [3, 8, 12]


def test_a_picture_network_of_functions(tmp_path):
    def forward(m, x):
        x = F.max_pool2d(F.relu(m.conv(x)), 2, stride=1)
        return F.adaptive_avg_pool2d(x, 1).flatten(1)

    made = export(tmp_path, Do(forward, conv=nn.Conv2d(1, 3, 3, stride=(1, 2))),
                  input_shape=(1, 9, 9))
    assert made.config["layers"] == [
        {"type": "conv2d", "prefix": "conv.", "stride": [1, 2]},
        {"type": "activation", "activation": "relu"},
        {"type": "max_pool2d", "size": 2, "stride": 1},
        {"type": "avg_pool2d", "size": [6, 3], "stride": [6, 3]}, {"type": "flatten"}]


def test_tokens_may_come_first(tmp_path):
    layer = nn.TransformerEncoderLayer(8, 2, 16, norm_first=True)
    made = export(tmp_path, Do(first_of_tokens_first, layer=layer), TOKENS)
    types = [each["type"] for each in made.config["layers"]]
    assert types == ["residual", "residual", "pool"]
    assert made.config["layers"][-1]["over"] == "first"


def test_ids_are_of_the_vocabulary_and_of_any_length(tmp_path):
    module = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 2))
    made = export(tmp_path, module)
    assert made.config["input"] == [
        {"name": "input", "datatype": "INT64", "shape": ["sequence"]}]
    example = read_safetensors(str(tmp_path / "m" / "1" / "example.safetensors"))
    ids = example["input.input"]
    assert ids.dtype == np.int64 and ids.min() >= 0 and ids.max() < 6
    assert example["output.output"].shape == (*ids.shape, 2)


def test_bytes_are_pixels(tmp_path):
    module = Do(lambda m, x: m.conv(x.float() / 255), conv=nn.Conv2d(1, 2, 3))
    made = export(tmp_path, module, torch.arange(50, dtype=torch.uint8).view(2, 1, 5, 5))
    assert made.config["input"][0]["datatype"] == "UINT8"
    assert made.config["layers"][0] == {"type": "normalize", "std": 255.0}


def test_sines_need_no_table(tmp_path):
    def add_sines(m, x):
        angle = torch.arange(x.shape[1])[:, None] / 10000.0 ** (torch.arange(0, 8, 2) / 8)
        return m.linear(x + torch.stack([angle.sin(), angle.cos()], 2).flatten(1))

    module = Do(add_sines, linear=nn.Linear(8, 2))
    made = export(tmp_path, module, TOKENS, any_length=True)
    assert made.config["layers"][0] == {"type": "positions", "kind": "sinusoidal"}
    assert made.config["input"][0]["shape"] == ["sequence", 8]


def test_wrappers_leave_the_names(tmp_path):
    module = nn.DataParallel(nn.Sequential(nn.Linear(4, 3)))
    made = export(tmp_path, module)
    assert made.config["layers"] == [{"type": "linear", "prefix": "0."}]


class Compiled(nn.Module):
    """As torch.compile wraps a module."""

    def __init__(self, module):
        super().__init__()
        self._orig_mod = module

    def forward(self, x):
        return self._orig_mod(x)


@pytest.mark.parametrize("wrap, prefix", [
    (lambda net: Do(lambda m, x: m.model(x), model=net), "model."),
    (lambda net: Do(lambda m, x: m.module(x), module=net), "module."),
    (Compiled, "_orig_mod."),
    (lambda net: nn.Sequential(Compiled(net)), "0._orig_mod."),
])
def test_names_in_front_of_all_others_are_written_with_them(tmp_path, wrap, prefix):
    made = export(tmp_path, wrap(nn.Sequential(nn.Linear(4, 3))), TOKENS[0, :, :4])
    assert made.config["layers"] == [{"type": "linear", "prefix": prefix + "0."}]
    tensors = read_safetensors(str(tmp_path / "m" / "1" / "model.safetensors"))
    assert sorted(tensors) == [prefix + "0.bias", prefix + "0.weight"]


DROPOUTS = ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout",
            "FeatureAlphaDropout"]


@pytest.mark.parametrize("name", DROPOUTS)
def test_every_dropout_is_nothing(tmp_path, name):
    module = nn.Sequential(nn.Linear(8, 8), getattr(nn, name)(0.5), nn.Linear(8, 2)).train()
    made = export(tmp_path, module, TOKENS)
    assert [each["type"] for each in made.config["layers"]] == ["linear", "linear"]
    assert module[1].training


@pytest.mark.parametrize("name", ["dropout", "dropout2d", "alpha_dropout",
                                  "feature_alpha_dropout"])
def test_every_function_of_dropout_is_nothing_in_eval(tmp_path, name):
    module = Do(lambda m, x: getattr(F, name)(m.linear(x), 0.5, m.training),
                linear=nn.Linear(8, 8)).train()
    made = export(tmp_path, module, TOKENS)
    assert [each["type"] for each in made.config["layers"]] == ["linear"]


def test_computed_and_tied_weights_are_written_as_they_are_used(tmp_path):
    normed = nn.utils.weight_norm(nn.Linear(4, 4))
    with torch.no_grad():
        normed.weight_g.mul_(3)

    def forward(m, ids):
        return F.linear(m.normed(m.words(ids)), m.words.weight)

    module = Do(forward, words=nn.Embedding(7, 4), normed=normed).eval()
    made = export(tmp_path, module)
    assert [each["prefix"] for each in made.config["layers"]] == [
        "words.", "normed.", "words."]
    tensors = read_safetensors(str(tmp_path / "m" / "1" / "model.safetensors"))
    assert sorted(tensors) == ["normed.bias", "normed.weight", "words.weight"]
    weight = normed.weight_g * normed.weight_v / normed.weight_v.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(
        tensors["normed.weight"], weight.detach().numpy(), rtol=1e-5)


def test_the_same_module_is_the_same_files(tmp_path):
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    for model in ("a", "b"):
        export_network(module, str(tmp_path / model / "1"))
    for name in ("config.json", "1/model.safetensors", "1/example.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert json.loads((tmp_path / "a" / "config.json").read_text())["layers"]


def test_the_example_of_the_readme_runs(tmp_path, monkeypatch):
    from test_readme import example

    monkeypatch.chdir(tmp_path)
    exec(example("Export a network"), {
        "model": nn.Linear(4, 2), "example": torch.ones(2, 4)})
    assert sorted(path.name for path in (tmp_path / "models/my-network/1").iterdir()) == [
        "example.safetensors", "model.safetensors"]


@pytest.mark.skipif(not hasattr(nn, "RMSNorm"), reason="torch of before RMSNorm")
def test_rms_norm_of_torch(tmp_path):
    made = export(tmp_path, nn.Sequential(nn.Linear(4, 8), nn.RMSNorm(8, eps=1e-4)))
    assert made.config["layers"][1] == {"type": "rms_norm", "prefix": "1.", "epsilon": 1e-4}
