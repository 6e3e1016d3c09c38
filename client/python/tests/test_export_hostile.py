"""Networks whose layers only seem to be others: nothing else than the module is
exported."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from fff_client.export import ExportError, export_network, read_safetensors  # noqa: E402


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
