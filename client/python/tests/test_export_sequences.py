"""Sequences and masks that only some lengths and gaps tell apart."""

import math
import warnings

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from fff_client.export import ExportError, export_network, read_safetensors  # noqa: E402
from fff_client.export.inputs import Inputs  # noqa: E402
from fff_client.export import inputs as inputs_of, trials  # noqa: E402


class Words(nn.Module):
    """Words, attention with changed scores, and a function of the sequence."""

    def __init__(self, change=None, after=None, positions=None, attends=False):
        super().__init__()
        self.e, self.q, self.o, self.d = (
            nn.Embedding(50, 16), nn.Linear(16, 48), nn.Linear(16, 16), nn.Linear(16, 5))
        self.p, self.other = nn.Embedding(40, 16), nn.Embedding(40, 16)
        self.change, self.after, self.positions = change, after, positions
        self.attends = attends or change is not None

    def forward(self, ids, mask=None):
        x = self.e(ids)
        if self.positions:
            x = x + self.positions(self, ids.shape[1])
        if self.attends:
            x = x + self.o(self.mixed(x))
        if self.after:
            x = self.after(x) if mask is None else self.after(x, mask)
        return self.d(x)

    def mixed(self, x):
        rows, tokens, width = x.shape
        q, k, v = (each.view(rows, tokens, 2, 8).transpose(1, 2)
                   for each in self.q(x).chunk(3, -1))
        scores = q @ k.transpose(2, 3) / 8**0.5
        scores = self.change(scores, tokens) if self.change else scores
        return (scores.softmax(-1) @ v).transpose(1, 2).reshape(rows, tokens, width)


def window(width, causal=False):
    def change(scores, tokens):
        place = torch.arange(tokens)
        off = place[:, None] - place
        hidden = (off > width) | (off < 0 if causal else -off > width)
        return scores.masked_fill(hidden, float("-inf"))

    return change


IDS = torch.randint(0, 50, (4, 7), generator=torch.Generator().manual_seed(2))
LENGTHS = {
    "window": dict(change=window(8)),
    "causal window": dict(change=window(40, causal=True)),
    "scale by length": dict(change=lambda s, n: s * (math.log(max(n, 32)) / math.log(32))),
    "first 32": dict(after=lambda x: x[:, :32].mean(1)),
    "a divisor": dict(after=lambda x: x.sum(1) / max(x.shape[1], 5)),
    "one token": dict(after=lambda x: x[:, min(3, x.shape[1] - 1)]),
    "modulo": dict(positions=lambda m, n: m.p.weight[torch.arange(n) % 16]),
    "clamped": dict(positions=lambda m, n: m.p(torch.arange(n).clamp(max=30))),
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def export(tmp_path, *given, **options):
    return export_network(given[0], str(tmp_path / "m" / "1"), *given[1:], **options)


@pytest.mark.parametrize("name", LENGTHS)
def test_what_depends_on_the_length_is_refused(tmp_path, name):
    with pytest.raises(ExportError):
        export(tmp_path, Words(**LENGTHS[name]), IDS)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_lengths_that_cost_too_much_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "LENGTH_COST_MAX", 1)
    with pytest.warns(UserWarning, match="of more than 15 tokens were not compared"):
        export(tmp_path, Words(**LENGTHS["first 32"]), IDS)


def test_one_length_may_be_served_alone(tmp_path):
    with pytest.raises(ExportError, match="15 tokens, .*--one-length"):
        export(tmp_path, Words(**LENGTHS["window"]), IDS)
    made = export(tmp_path, Words(**LENGTHS["window"]), IDS, any_length=False)
    assert made.config["input"][0]["shape"] == [7]


def test_a_network_of_less_lengths_than_its_layers_is_refused(tmp_path):
    def at_most_50(x):
        assert x.shape[1] <= 50, "too long"
        return x.mean(1)

    with pytest.raises(ExportError, match="65 tokens .*too long; any_length=False"):
        export(tmp_path, Words(after=at_most_50), IDS)


def test_lengths_end_where_the_table_of_positions_does(tmp_path):
    module = Words(positions=lambda m, n: m.p.weight[:n], attends=True)
    made = export(tmp_path, module, IDS)
    assert made.config["layers"][1]["tensor"] == "p.weight"
    layers, data = made.config["layers"], {"ids": IDS}
    found = trials.of_lengths(
        Inputs(data, data, "ids", None), layers, module.state_dict())
    assert [inputs["ids"].shape[1] for _, inputs in found] == [1, 2, 3, 6, 7, 8, 15, 33, 40]


@pytest.mark.parametrize("positions", [
    lambda m, n: m.other.weight[:n], lambda m, n: m.other(torch.arange(n)[None])])
def test_of_tables_that_start_alike_the_one_used_is_written(tmp_path, positions):
    module = Words(positions=positions)
    with torch.no_grad():
        module.p.weight[:20] = module.other.weight[:20]
    made = export(tmp_path, module, IDS)
    assert made.config["layers"][1]["tensor"] == "other.weight"


def mean_of_kept(x, mask):
    kept = mask[..., None].float()
    return (x * kept).sum(1) / kept.sum(1).clamp(min=1)


def mean_of_as_many(x, mask):
    first = torch.arange(x.shape[1])[None] < mask.sum(1, keepdim=True)
    return mean_of_kept(x, first.long())


def test_masks_with_holes_are_tried(tmp_path):
    example = {"ids": IDS, "mask": torch.ones_like(IDS)}
    with pytest.raises(ExportError, match="a mask with holes"):
        export(tmp_path, Words(after=mean_of_as_many), example)
    with pytest.warns(UserWarning, match="where mask is 0 for all tokens of a row"):
        made = export(tmp_path, Words(after=mean_of_kept), example)
    assert made.config["layers"][-2] == {"type": "pool", "over": "mean", "masked": True}


def test_masks_of_finite_numbers_need_no_warning(tmp_path):
    class Bert(Words):
        def forward(self, ids, mask):
            hidden = (1.0 - mask[:, None, None].float()) * -10000.0
            self.change = lambda scores, tokens: scores + hidden
            return super().forward(ids)

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        export(tmp_path, Bert(attends=True), {"ids": IDS, "mask": torch.ones_like(IDS)})


@pytest.mark.parametrize("nested", [False, True])
def test_encoders_with_masks(tmp_path, nested):
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Embedding(50, 16)
            layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.t = nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested)

        def forward(self, ids, mask):
            return self.t(self.e(ids), src_key_padding_mask=mask == 0)

    module = Padded()
    with pytest.warns(UserWarning, match="where mask is 0"):
        export(tmp_path, module, {"ids": IDS, "mask": torch.ones_like(IDS)})
    assert module.t.enable_nested_tensor is nested


def stored(tmp_path, name):
    return read_safetensors(str(tmp_path / "m" / "1" / "example.safetensors"))[name]


def test_examples_are_as_large_as_a_server_takes(tmp_path, monkeypatch):
    export(tmp_path / "rows", nn.Linear(4, 2), torch.randn(4100, 4))
    assert stored(tmp_path / "rows", "input.input").shape == (4096, 4)
    words = nn.Sequential(nn.Embedding(50, 4), nn.Linear(4, 2))
    export(tmp_path / "words", words, torch.zeros(3, 1500, dtype=torch.long))
    assert stored(tmp_path / "words", "input.input").shape == (2, 1500)
    with pytest.raises(ExportError, match="4097 tokens; a server takes at most 4096"):
        export(tmp_path, words, torch.zeros(1, 4097, dtype=torch.long))
    monkeypatch.setattr(inputs_of, "EXAMPLE_FLOATS_MAX", 50)
    export(tmp_path / "answers", words, IDS)
    assert stored(tmp_path / "answers", "output.output").shape == (3, 7, 2)
    with pytest.raises(ExportError, match="answers 60 numbers"):
        export(tmp_path, words, torch.zeros(1, 30, dtype=torch.long))


def test_an_example_left_out_has_eight_tokens(tmp_path):
    export(tmp_path, Words())
    assert stored(tmp_path, "input.ids").shape == (4, 8)
