"""Modules in float16, bfloat16 and float64: exported as they answer in float32."""

import copy
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from fff_client.export import ExportError, export_network, read_safetensors  # noqa: E402

DTYPES = [torch.float16, torch.bfloat16, torch.float64]
STORED = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F32"}
ROWS = torch.linspace(-2, 2, 24).reshape(6, 4).sin()


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3))


def exported(tmp_path, module, *arguments, **options):
    """The dtypes of the file's tensors by name, and the example."""
    folder = tmp_path / "m" / "1"
    export_network(module, str(folder), *arguments, **options)
    example = read_safetensors(str(folder / "example.safetensors"))
    written = (folder / "model.safetensors").read_bytes()
    header = json.loads(written[8:8 + int.from_bytes(written[:8], "little")])
    del header["__metadata__"]
    return {name: each["dtype"] for name, each in header.items()}, example


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_answers_as_in_float32_and_keeps_narrow_weights(tmp_path, dtype):
    module = network().to(dtype)
    dtypes, example = exported(tmp_path, module, ROWS)
    assert set(dtypes.values()) == {STORED[dtype]}
    with torch.no_grad():
        wanted = copy.deepcopy(module).float()(ROWS)
    np.testing.assert_array_equal(example["output.output"], wanted.numpy())
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config["input"][0]["datatype"] == "FP32"


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_example_may_be_in_the_modules_dtype(tmp_path, dtype):
    _, example = exported(tmp_path, network().to(dtype), ROWS.to(dtype))
    assert example["input.input"].dtype == np.float32
    np.testing.assert_array_equal(example["input.input"], ROWS.to(dtype).float().numpy())


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_module_keeps_its_dtype_and_its_numbers(tmp_path, dtype):
    module = network().to(dtype)
    with torch.no_grad():
        module[0].weight[0, 0] = 1 / 3  # of more digits in float64 than float32 has
    state = copy.deepcopy(module.state_dict())
    grads = [each.requires_grad for each in module.parameters()]
    with pytest.raises(ExportError):
        export_network(nn.Sequential(module, nn.GRU(3, 3)), str(tmp_path / "a" / "1"), ROWS)
    export_network(module, str(tmp_path / "b" / "1"), ROWS)
    assert [each.requires_grad for each in module.parameters()] == grads
    for name, value in module.state_dict().items():
        assert value.dtype == state[name].dtype and torch.equal(value, state[name])


def test_parts_may_have_several_dtypes(tmp_path):
    module = network().bfloat16()
    module[1].float()
    dtypes, _ = exported(tmp_path, module, ROWS)
    assert (dtypes["0.weight"], dtypes["1.weight"]) == ("BF16", "F32")


def test_what_is_made_of_narrow_weights_is_as_narrow(tmp_path):
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.gate = nn.Linear(4, 6), nn.Linear(4, 6)

        def forward(self, x):
            return self.up(x) * torch.tanh(self.gate(x))

    dtypes, _ = exported(tmp_path, Gated().bfloat16(), ROWS)
    assert sorted(dtypes.values()) == ["BF16", "BF16"]


def test_double_is_the_default_of_a_whole_script(tmp_path):
    torch.set_default_dtype(torch.float64)
    try:
        dtypes, example = exported(tmp_path, network())
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert dtypes["0.weight"] == "F32" and example["output.output"].dtype == np.float32


def test_statistics_and_computed_weights_are_taken_along(tmp_path):
    convolution = nn.utils.weight_norm(nn.Conv2d(1, 3, 3))
    module = nn.Sequential(convolution, nn.BatchNorm2d(3)).bfloat16()
    dtypes, example = exported(tmp_path, module, input_shape=(1, 5, 5))
    assert dtypes["1.running_mean"] == "BF16"
    assert example["output.output"].shape == (4, 3, 3, 3)
    assert module[0].weight_g.dtype == torch.bfloat16


class Casts(nn.Module):
    """Computes in a dtype that its forward names."""

    def __init__(self, change):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)
        self.change = change

    def forward(self, x):
        return self.last(self.change(self.first(x)))


def by_dtype(x):
    return x if x.dtype == torch.float32 else -x


REFUSED = {
    "cast": (Casts(lambda x: x.float().bfloat16()).bfloat16(), [
        "fails on its example in float32"]),
    "rounds": (Casts(lambda x: x.bfloat16().float()), [
        "no layer for", "x.bfloat16().float()"]),
    "another function": (Casts(by_dtype).bfloat16(), [
        "answers otherwise in float32, which FFF Serving computes in, than in "
        "torch.bfloat16", "module.float()"]),
    "another function of doubles": (Casts(by_dtype).double(), ["than in torch.float64"]),
    "beyond": (Casts(lambda x: x).double(), ["first.weight holds numbers beyond float32"]),
    "complex": (Casts(lambda x: torch.fft.fft(x).real), ["no layer for", "torch.fft.fft"]),
    "meta": (nn.Linear(4, 2, device="meta"), ["is meta, quantised or sparse"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_the_reason(tmp_path, case):
    module, said = REFUSED[case]
    if case == "beyond":
        module.first.weight.data[0, 0] = 1e300
    with pytest.raises(ExportError) as refused:
        export_network(module, str(tmp_path / "1"), ROWS)
    for words in said:
        assert words in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_complex_tensors_that_are_not_used_may_stay(tmp_path):
    module = network().bfloat16()
    module.register_buffer("turns", torch.ones(2, dtype=torch.complex64))
    dtypes, _ = exported(tmp_path, module, ROWS)
    assert "turns" not in dtypes and module.turns.dtype == torch.complex64


def test_the_command_line_takes_them(tmp_path, monkeypatch, capsys):
    from fff_client.export import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "from torch import nn\nmake = nn.Linear(3, 2).bfloat16()\n")
    torch.save(nn.Linear(3, 2).state_dict(), "trained.pt")
    assert main(["--module", "net.py:make", "--weights", "trained.pt", "-o", "m/1"]) == 0
    assert "m/1: 2 tensors" in capsys.readouterr().out
    assert json.loads((tmp_path / "m" / "config.json").read_text())["layers"]
