"""Networks whose layers only seem to be others: nothing else than the module is
exported."""

import copy
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from fff_client.export import (  # noqa: E402
    ExportError,
    export_network,
    main,
    read_safetensors,
)


class Between(nn.Module):
    """A function between two linear layers."""

    def __init__(self, function):
        super().__init__()
        self.a, self.b, self.function = nn.Linear(16, 16), nn.Linear(16, 5), function

    def forward(self, x):
        return self.b(self.function(self.a(x)))


def rows():
    return torch.randn(4, 16, generator=torch.Generator().manual_seed(3))


def export(tmp_path, module, *given, **options):
    return export_network(module, str(tmp_path / "m" / "1"), *given, **options)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


LIMITS = {
    "clamp_": lambda h: h.clamp_(-5, 5),
    "clamp": lambda h: h.clamp(-100, 100),
    "hardtanh_": lambda h: F.hardtanh_(h, -5, 5),
    "hardtanh": lambda h: F.hardtanh(h, -5, 5),
    "relu6": lambda h: F.relu6(h, inplace=True),
    "ReLU6": nn.ReLU6(inplace=True),
    "leaky_relu": lambda h: F.leaky_relu(h, 0.01, inplace=True),
    "elu": lambda h: F.elu(h, inplace=True),
    "clamp(": lambda h: F.relu(h).clamp(max=64),
    "where": lambda h: torch.where(h.abs() > 60, torch.zeros_like(h), h),
    "half": lambda h: torch.nan_to_num(h.half().float()),
    "clip": lambda h: h.clip(-65504, 65504),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_are_no_activations(tmp_path, name):
    with pytest.raises(ExportError, match=f"no layer for {name.rstrip('(')}"):
        export(tmp_path, Between(LIMITS[name]), rows())
    assert not list(tmp_path.rglob("*.safetensors"))


def test_relu_in_place_is_relu(tmp_path):
    for function in (lambda h: F.relu(h, inplace=True), lambda h: h.clamp_(min=0)):
        made = export(tmp_path / str(id(function)), Between(function), rows())
        assert made.config["layers"][1] == {"type": "activation", "activation": "relu"}


class Shifts(nn.Module):
    """Changes its own input; `views` changes it through a view."""

    def __init__(self, views):
        super().__init__()
        self.b, self.views = nn.Linear(16, 5), views

    def forward(self, x):
        (x[:, :8] if self.views else x).sub_(0.5).div_(0.25)
        return self.b(x)


def test_a_forward_may_change_its_input(tmp_path):
    given, module = rows(), Shifts(views=False)
    kept = given.clone()
    made = export(tmp_path, module, given)
    assert [each["type"] for each in made.config["layers"]] == [
        "normalize", "normalize", "linear"]
    assert torch.equal(given, kept)
    stored = read_safetensors(str(tmp_path / "m" / "1" / "example.safetensors"))
    np.testing.assert_array_equal(stored["input.x"], kept.numpy())
    with torch.no_grad():
        wanted = module(kept.clone()).numpy()
    np.testing.assert_array_equal(stored["output.output"], wanted)


def test_a_change_through_a_view_is_refused(tmp_path):
    with pytest.raises(ExportError, match="differ"):
        export(tmp_path, Shifts(views=True), rows())


class Limited(nn.Module):
    """A known network behind a limit that only far inputs reach."""

    def __init__(self, limit):
        super().__init__()
        self.X, self.Y = nn.Parameter(torch.randn(7, 16)), nn.Parameter(torch.randn(7, 5))
        self.limit = limit

    def forward(self, rows):
        answers = []
        for row in rows.clamp(-self.limit, self.limit):
            node, total = 0, 0
            for _ in range(3):
                z = torch.dot(self.X[node], row)
                total = total + z * self.Y[node]
                node = 2 * node + (2 if z > 0 else 1)
            answers.append(total)
        return torch.stack(answers)


def test_an_fff_layer_with_a_limit_is_none(tmp_path):
    assert export(tmp_path, Limited(float("inf")), rows()).config["layers"]
    with pytest.raises(ExportError, match="its answers differ"):
        export(tmp_path / "limited", Limited(30.0), rows())


def hooked(change):
    module = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 5))
    change(module)
    return module


def replaced(module):
    usual = module[0].forward
    module[0].forward = lambda x: usual(x).clamp(max=4)


HOOKS = {
    r"module 0 \(Linear\) has a forward hook": lambda m: m[0].register_forward_hook(
        lambda *call: call[2].clamp(max=4)),
    r"module 0 \(Linear\) has a forward pre-hook": lambda m: m[0].register_forward_pre_hook(
        lambda *call: (call[1][0].clamp(-5, 5),)),
    r"module itself \(Sequential\) has a forward hook": lambda m: m.register_forward_hook(
        lambda *call: call[2] * 2),
    r"module 0 \(Linear\) has a forward of its own": replaced,
}


@pytest.mark.parametrize("said", HOOKS)
def test_hooks_and_other_forwards_are_refused(tmp_path, said):
    with pytest.raises(ExportError, match=said):
        export(tmp_path, hooked(HOOKS[said]), rows())


@pytest.mark.parametrize("change", [
    nn.utils.weight_norm, nn.utils.spectral_norm, nn.utils.parametrizations.orthogonal])
def test_hooks_that_compute_weights_are_not(tmp_path, change):
    made = export(tmp_path, hooked(lambda m: change(m[0])), rows())
    assert [each["type"] for each in made.config["layers"]] == [
        "linear", "activation", "linear"]


class Keeps(nn.Module):
    """Holds what it saw, and counts."""

    def __init__(self, fails):
        super().__init__()
        self.a, self.fails = nn.Linear(16, 5), fails
        self.last, self.seen = None, []
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        self.last = self.a(x)
        self.seen.append(self.last)
        return self.last.sort(-1)[0] if self.fails else self.last


@pytest.mark.parametrize("fails", [False, True])
def test_a_module_holds_what_it_held(tmp_path, fails):
    module = Keeps(fails)
    before = copy.deepcopy(module.state_dict())
    if fails:
        with pytest.raises(ExportError, match="no layer for"):
            export(tmp_path, module, rows())
    else:
        export(tmp_path, module, rows())
    assert module.last is None and module.seen == [] and module.training
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    copy.deepcopy(module)


class Draws(nn.Module):
    """Draws numbers once and keeps them."""

    def __init__(self):
        super().__init__()
        self.a, self.drawn = nn.Linear(16, 5), None

    def forward(self, x):
        if self.drawn is None:
            self.drawn = torch.randn(5)
        return self.a(x) * float(self.drawn[0])


def test_what_a_module_draws_is_refused(tmp_path):
    with pytest.raises(ExportError, match="answers otherwise each time that it is new"):
        export(tmp_path, Draws(), rows())


def test_a_turn_on_the_number_of_rows_is_refused(tmp_path):
    module = Between(lambda h: h if len(h) < 20 else h.relu())
    with pytest.raises(ExportError, match="on 33 rows, "):
        export(tmp_path, module, rows())


ARGUMENTS = {
    "no array of floats": dict(example_inputs="abc"),
    "input input is no array": dict(example_inputs=[[1.0, 2.0], [3.0]]),
    "input input is no array of floats or integers": dict(
        example_inputs=np.array([["a"] * 16])),
    "holds NaN": dict(example_inputs=torch.full((4, 16), float("nan"))),
    r"input_shape is \(-1, 16\)": dict(input_shape=(-1, 16)),
    r"input_shape is \(\), wanted": dict(input_shape=()),
    r"input_shape is '16'": dict(input_shape="16"),
    r"input_shape is 16": dict(input_shape=16),
    r"input_shape is \(1000000000, 16\)": dict(input_shape=(10**9, 16)),
    "labels are a str": dict(labels="abcde"),
}


@pytest.mark.parametrize("said", ARGUMENTS)
def test_bad_arguments_are_named(tmp_path, said):
    with pytest.raises(ExportError, match=said):
        export(tmp_path, nn.Sequential(nn.Linear(16, 5)), **ARGUMENTS[said])


def test_folders_and_classes_are_named(tmp_path):
    with pytest.raises(ExportError, match="wanted a torch module, got type"):
        export(tmp_path, nn.Linear)
    with pytest.raises(ExportError, match="the folder is a NoneType, wanted a path"):
        export_network(nn.Linear(2, 2), None)


SCRIPTS = {
    "def make(:\n": "net.py:1",
    "import no_such_package\n": "No module named 'no_such_package'",
    "def make(width): pass\n": "make wants arguments (missing a required argument: 'width')",
    "make = {'a': 1}\n": "make is a dict, wanted a torch module",
    "def make(): return 3\n": "make gives a int, wanted a torch module",
    "def make(): raise RuntimeError('no\\nmore')\n": "RuntimeError: no (",
    "raise SystemExit(3)\n": "SystemExit: 3; the script ended: what it runs belongs under "
    'if __name__ == "__main__" (',
    "make = 1\nimport torch\nclass Net(torch.nn.Module):\n"
    "    def forward(self, x): raise KeyError('w')\n"
    "make = Net()\nmake.a = torch.nn.Linear(3, 2)\n": "the network fails on its example",
}


@pytest.mark.parametrize("code", SCRIPTS)
def test_errors_of_scripts_take_one_line(tmp_path, monkeypatch, capsys, code):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "net", raising=False)
    (tmp_path / "net.py").write_text(code)
    assert main(["--module", "net.py:make", "-o", "m/1"]) == 1
    told = capsys.readouterr().err
    assert SCRIPTS[code] in told and "torch is needed" not in told
    assert told.count("\n") == 1 and told.endswith("\n")
    monkeypatch.delitem(sys.modules, "net", raising=False)


def test_a_config_that_is_no_object_is_named(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("[1]")
    with pytest.raises(ExportError, match="config.json: is no object of JSON"):
        export(tmp_path, nn.Linear(4, 2))


class OwnNames(nn.Module):
    """An FFF layer whose parameters have names of nobody else's."""

    def __init__(self, forward):
        super().__init__()
        self.planes, self.offsets = nn.Parameter(torch.randn(7, 4)), nn.Parameter(
            torch.randn(7))
        self.up, self.down = (nn.Parameter(torch.randn(8, 4, 3)),
                              nn.Parameter(torch.randn(8, 3, 4)))
        self.does = forward

    def forward(self, x):
        return self.does(self, x)


def into_a_new_tensor(layer, x):
    out = torch.empty(len(x), 4)
    for i in range(len(x)):
        out[i] = torch.relu(x[i] @ layer.up[0]) @ layer.down[0]
    return out


def by_gather(layer, x):
    node = (x @ layer.planes.T + layer.offsets).argmax(1) % 8
    return torch.bmm(torch.bmm(x[:, None], layer.up[node]), layer.down[node])[:, 0]


def by_number(layer, x):
    return x @ layer.up[int(x.sum().item()) % 8] @ layer.down[0]


@pytest.mark.parametrize("forward", [into_a_new_tensor, by_gather, by_number])
def test_an_fff_layer_with_names_of_its_own_is_told_of_them(tmp_path, forward):
    network = nn.Sequential(nn.Linear(5, 4), OwnNames(forward))
    with pytest.raises(ExportError) as error:
        export_network(network, tmp_path / "m" / "1", input_shape=[5])
    assert ("; 1 may be an FFF layer with names of its own (planes [7, 4], offsets [7], up "
            "[8, 4, 3], down [8, 3, 4])") in str(error.value)
    assert "node_weights [nodes, inputs]" in str(error.value)


def test_other_matrices_of_three_dimensions_are_no_such_layer(tmp_path):
    module = OwnNames(by_number)
    module.planes = module.offsets = None
    with pytest.raises(ExportError) as error:
        export_network(nn.Sequential(nn.Linear(5, 4), module), tmp_path / "m" / "1",
                       input_shape=[5])
    assert "may be an FFF" not in str(error.value)


def test_the_command_line_says_what_a_row_is_and_whose_weights(tmp_path, monkeypatch,
                                                               capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "net", raising=False)
    (tmp_path / "net.py").write_text("from torch import nn\nmake = nn.Linear(20, 2)\n")
    assert main(["--module", "net.py:make", "--input-shape", "100,20", "-o", "m/1"]) == 0
    told = capsys.readouterr().out
    assert "one row: input [100, 20]\n" in told and "no --weights: " in told
    monkeypatch.delitem(sys.modules, "net", raising=False)
