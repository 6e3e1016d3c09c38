"""What the exporter of networks refuses, and that it leaves a module alone."""

import copy
import json
import pathlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from fff_client.export import (  # noqa: E402
    ExportError, export_network, main, read_safetensors,
)
from fff_client.export import leaves  # noqa: E402

HERE = pathlib.Path(__file__).name


class Does(nn.Module):
    """A linear layer, then any function."""

    def __init__(self, function):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.function = function

    def forward(self, x):
        return self.function(self.first(x))


def if_positive(x):
    if x.sum() > 0:  # the line that the error names
        return x
    return -x


def one_number(x):
    return x * x[0, 0].item()


class Masked(nn.Module):
    def forward(self, x, attention_mask):
        return x * attention_mask[..., None]


class TwoGates(nn.Module):
    """Each of two linear layers is changed before they meet."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.one(x).tanh() * self.two(x).sigmoid()


class Untraceable(nn.Module):
    """Tensors as those of an FFF layer, and another function."""

    def __init__(self):
        super().__init__()
        self.linear_in = nn.Linear(4, 7)
        self.linear_out = nn.Linear(7, 4, bias=False)

    def forward(self, x):
        hidden = self.linear_in(x)
        return self.linear_out(hidden if hidden.max() > 0 else -hidden)


def line_of(text):
    lines = pathlib.Path(__file__).read_text().splitlines()
    return f"{HERE}:{next(i for i, line in enumerate(lines, 1) if text in line)}"


ROWS = torch.linspace(-1, 1, 12).reshape(3, 4)
TOKENS = torch.linspace(-1, 1, 24).reshape(2, 3, 4)
REFUSED = {
    "operation": (Does(lambda x: torch.cumsum(x, 1)), ROWS, [
        "no layer for cumsum", line_of("torch.cumsum(x, 1)")]),
    "method": (Does(lambda x: x.sort(dim=1)[0]), ROWS, ["no layer for getitem"]),
    "if": (Does(if_positive), ROWS, [
        "cannot follow module itself (Does)", line_of("if x.sum() > 0:"),
        "control flow"]),
    "number": (Does(one_number), ROWS, ["item() takes numbers", line_of("x[0, 0].item()")]),
    "a second output": (Does(lambda x: (x, x.cumsum(0))), ROWS, [
        "output 'output_1': FFF Serving has no layer for cumsum"]),
    "no tensor": (Does(lambda x: 3), ROWS, ["answers a int, wanted tensors"]),
    "module": (nn.Sequential(nn.Linear(4, 4), nn.GRU(4, 4), nn.Identity()), TOKENS, [
        "output 'output': FFF Serving has no layer for getitem"]),
    "activation": (nn.Sequential(nn.Linear(4, 4), nn.ReLU6()), ROWS, [
        "no layer for ReLU6", "in module 1"]),
    "channels": (nn.Sequential(nn.Conv2d(1, 4, 3), nn.GLU(1)), torch.randn(2, 1, 4, 4), [
        "no layer for GLU (over dimension 1 of 4, wanted the last one"]),
    "rows of a picture": (nn.Sequential(nn.Conv2d(1, 4, 3), nn.GLU()),
                          torch.randn(2, 1, 4, 4), ["no layer for GLU (over dimension -1"]),
    "gate of other columns": (Does(lambda x: x[:, ::2] * x[:, 1::2].sigmoid()), ROWS, [
        "no layer for mul"]),
    "gates of others": (
        nn.Sequential(nn.Linear(4, 4), TwoGates()), ROWS, ["no layer for mul"]),
    "gate of two": (Does(lambda x: x[:, :2].tanh() * x[:, 2:].sigmoid()), ROWS, [
        "no layer for mul"]),
    "clamp": (Does(lambda x: x.clamp(0, 5)), ROWS, ["no layer for clamp"]),
    "dropout": (Does(lambda x: F.dropout(x, 0.5)), ROWS, [
        "random in eval", line_of("F.dropout(x, 0.5)")]),
    "rows": (Does(lambda x: x - x.mean(0)), ROWS, ["no layer for sub"]),
    "tokens": (Does(lambda x: x.transpose(1, 2)), TOKENS, ["no layer for transpose"]),
    "reshape": (Does(lambda x: x.reshape(-1, 2)), ROWS, ["no layer for reshape"]),
    "projection": (Does(lambda x: x.tanh() + x.sigmoid()), ROWS, ["no layer for add"]),
    "forgot batch_first": (
        Does(nn.TransformerEncoderLayer(4, 2, 4)), torch.randn(4, 4, 4),
        ["network and the layers found differ", "TransformerEncoderLayer"]),
    "batch statistics": (nn.Sequential(
        nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)),
        torch.randn(2, 1, 3, 3), ["rows of a batch change each other"]),
    "shape": (nn.Linear(5, 2), ROWS, ["fails on its example (input [3, 4])"]),
    "one row only": (Does(lambda x: x.reshape(3, 2, 2)), ROWS, ["fails on more rows"]),
    "one row": (nn.Linear(4, 2), torch.ones(4), ["[4], wanted [rows, ..]"]),
    "name": (nn.Linear(4, 2), {"pixels": ROWS}, ["takes input, got an example of pixels"]),
    "mask of floats": (Masked(), (TOKENS, torch.ones(2, 3)), ["a mask of floats"]),
    "no shape": (nn.Sequential(nn.Conv2d(3, 3, 3)), None, ["input_shape"]),
    "nothing": (nn.Identity(), ROWS, ["answers its input"]),
    "no weights": (nn.ReLU(), ROWS, ["no weights that are used"]),
    "looks like FFF": (nn.Sequential(Untraceable()), ROWS, [
        "(ultrafastbert), but its answers differ", "hidden.max() > 0"]),
    "no module": (ROWS, None, ["wanted a torch module, got Tensor"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_the_reason(case, tmp_path):
    module, example, said = REFUSED[case]
    with pytest.raises(ExportError) as refused:
        export_network(module, str(tmp_path / "m" / "1"), example)
    for words in said:
        assert words in str(refused.value)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("found, said", [
    ("silu", r"they part at ReLU, taken for activation: in module 1"),
    ("gelu_tanh", r"differ by up to 0\.\d+; they part at ReLU"),
])
def test_layers_that_answer_otherwise_are_not_written(tmp_path, monkeypatch, found, said):
    monkeypatch.setitem(leaves.ACTIVATION_OF, "ReLU", found)
    with pytest.raises(ExportError, match=said):
        export_network(
            nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)),
            str(tmp_path / "1"))
    assert not list(tmp_path.iterdir())


def test_two_inputs_of_data_are_refused(tmp_path):
    class Both(nn.Module):
        def forward(self, a, b):
            return a + b

    with pytest.raises(ExportError, match=r"2 inputs of data \(a, b\), wanted one"):
        export_network(Both(), str(tmp_path / "1"), (ROWS, ROWS))


@pytest.mark.parametrize("name", ["latest", "0", "v1"])
def test_a_version_is_a_number(tmp_path, name):
    with pytest.raises(ExportError, match="named by a number above 0"):
        export_network(nn.Linear(4, 2), str(tmp_path / name))


def test_a_version_that_is_there_stays(tmp_path):
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text("mine")
    with pytest.raises(ExportError, match="is there already"):
        export_network(nn.Linear(4, 2), str(folder))
    assert (folder / "model.safetensors").read_text() == "mine"


def test_another_version_keeps_what_config_json_says_beside(tmp_path):
    model = tmp_path / "m"
    export_network(nn.Linear(4, 2), str(model / "1"))
    config = json.loads((model / "config.json").read_text())
    config["batching"] = {"max_batch_rows": 7}
    (model / "config.json").write_text(json.dumps(config))
    export_network(nn.Linear(4, 2), str(model / "2"))
    assert json.loads((model / "config.json").read_text()) == config
    with pytest.raises(ExportError, match="'layers' are of another network"):
        export_network(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), str(model / "3"))
    assert sorted(path.name for path in model.iterdir()) == ["1", "2", "config.json"]


def test_labels_are_as_many_as_the_answers(tmp_path):
    made = export_network(nn.Linear(4, 2), str(tmp_path / "1"), labels=["no", "yes"])
    assert made.config["output"]["labels"] == ["no", "yes"]
    with pytest.raises(ExportError, match="3 labels, the network answers 2 columns"):
        export_network(nn.Linear(4, 2), str(tmp_path / "2"), labels=["a", "b", "c"])


@pytest.mark.parametrize("function", [torch.tanh, if_positive])
def test_a_module_is_left_as_it_was(tmp_path, function):
    module = nn.Sequential(Does(function), nn.BatchNorm1d(4), nn.Dropout(0.5))
    module.train()
    module[1].eval()
    modes = [each.training for each in module.modules()]
    attributes = [sorted(vars(each)) for each in module.modules()]
    state = copy.deepcopy(module.state_dict())
    grads = [each.requires_grad for each in module.parameters()]
    try:
        export_network(module, str(tmp_path / "1"), ROWS)
    except ExportError:
        assert function is if_positive
    assert [each.training for each in module.modules()] == modes
    assert [sorted(vars(each)) for each in module.modules()] == attributes
    assert [each.requires_grad for each in module.parameters()] == grads
    for name, value in module.state_dict().items():
        assert torch.equal(value, state[name])
    assert module(ROWS).requires_grad


@pytest.mark.parametrize("words, said", [
    ([], "give either a checkpoint or --module"),
    (["model.pt", "--module", "a.py:b"], "give either a checkpoint or --module"),
])
def test_the_command_line_wants_one_of_two(words, said, capsys):
    with pytest.raises(SystemExit):
        main([*words, "-o", "out"])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("word, said", [
    ("net.py", "wanted FILE.py:NAME"), ("net.py:other", "net.py has no other"),
    ("gone.py:make", "No such file"), ("no_such_package_here:make", "No module named"),
])
def test_the_command_line_says_what_it_did_not_find(tmp_path, word, said, capsys,
                                                    monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("from torch import nn\nmake = nn.Linear(3, 2)\n")
    assert main(["--module", word, "-o", "m/1"]) == 1
    assert said in capsys.readouterr().err
    assert main(["--module", "net.py:make", "-o", "m/1"]) == 0
    assert "m/1: 2 tensors" in capsys.readouterr().out


NET = """
from torch import nn

def plain():
    return nn.Sequential(nn.Linear(3, 2))

class WithModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = plain()

    def forward(self, x):
        return self.model(x)

def parallel():
    return nn.DataParallel(plain())
"""


@pytest.mark.parametrize("front", [
    "", "module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module._orig_mod."])
@pytest.mark.parametrize("made", ["plain", "parallel", "WithModel"])
def test_weights_fit_whatever_stands_in_front_of_all_names(tmp_path, monkeypatch, front,
                                                           made):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    own = "model." if made == "WithModel" else ""
    trained = nn.Linear(3, 2)
    torch.save({f"{front}{own}0.{name}": value
                for name, value in trained.state_dict().items()}, "trained.pt")
    assert main(["--module", f"net.py:{made}", "--weights", "trained.pt",
                 "--input-shape", "3", "-o", "m/1"]) == 0
    tensors = read_safetensors("m/1/model.safetensors")
    np.testing.assert_array_equal(tensors[own + "0.weight"], trained.weight.detach())


@pytest.mark.parametrize("words, names", [
    (["--prefix", "ema.net."], ["ema.net.0.weight", "ema.net.0.bias", "ema.steps"]),
    (["--prefix", "module."], ["module.0.weight", "module.0.bias", "n_averaged"]),
    ([], ["0._orig_mod.weight", "0._orig_mod.bias"]),
])
def test_weights_may_be_some_of_a_file_or_of_compiled_parts(tmp_path, monkeypatch, words,
                                                            names):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    trained = nn.Linear(3, 2)
    values = [*(each.detach() for each in trained.parameters()), torch.tensor(3)]
    torch.save(dict(zip(names, values)), "trained.pt")
    told = ["--module", "net.py:plain", "--weights", "trained.pt", *words, "-o", "m/1"]
    assert main(told) == 0
    tensors = read_safetensors("m/1/model.safetensors")
    np.testing.assert_array_equal(tensors["0.weight"], trained.weight.detach())


def test_weights_of_no_such_prefix_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    torch.save({"0.weight": torch.zeros(2, 3)}, "trained.pt")
    told = ["--module", "net.py:plain", "--weights", "trained.pt"]
    assert main([*told, "--prefix", "ema.", "-o", "m/1"]) == 1
    assert "no tensor's name starts with 'ema.'; there are: 0.weight" in \
        capsys.readouterr().err
    assert main([*told, "-o", "m/1"]) == 1
    assert 'Missing key(s) in state_dict: "0.bias"' in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_weights_of_another_network_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("from torch import nn\nmake = nn.Linear(3, 2)\n")
    torch.save(nn.Linear(3, 5).state_dict(), "other.pt")
    assert main(["--module", "net.py:make", "--weights", "other.pt", "-o", "m/1"]) == 1
    assert "size mismatch for weight" in capsys.readouterr().err
    np.save("rows.npy", np.zeros((2, 4), np.float32))
    assert main(["--module", "net.py:make", "--example", "rows.npy", "-o", "m/1"]) == 1
    assert "fails on its example (input [2, 4])" in capsys.readouterr().err
