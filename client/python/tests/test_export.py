"""The exporter: torch modules and files to safetensors."""

import collections
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from fff_client import export
from fff_client.export import ExportError, export_module, read_safetensors

torch = pytest.importorskip("torch")

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
REFERENCE = REPOSITORY / "tests" / "data" / "reference" / "checkpoints"
WILD = REPOSITORY / "tests" / "data" / "checkpoint" / "wild"


def small_module():
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)
    )


def assert_same(tensors, state):
    assert sorted(tensors) == sorted(state)
    for name, value in state.items():
        np.testing.assert_array_equal(tensors[name], value.detach().numpy())


def test_a_module_is_exported_under_the_names_of_its_state_dict(tmp_path):
    module = small_module()
    path = str(tmp_path / "models" / "new" / "1" / "model.safetensors")
    export_module(module, path, {"title": "small"})
    assert_same(read_safetensors(path), module.state_dict())
    assert export.read_metadata(path) == {"format": "pt", "title": "small"}


def test_strides_scalars_and_parameters_survive(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    state = collections.OrderedDict(
        t=base.t(), tail=base[1:, 1:], depth=torch.tensor(4),
        p=torch.nn.Parameter(base), empty=torch.zeros(0, 3),
    )
    path = str(tmp_path / "t.safetensors")
    export_module(state, path)
    got = read_safetensors(path)
    assert_same(got, state)
    assert got["depth"].dtype == np.int64 and got["depth"].shape == ()
    assert got["empty"].shape == (0, 3)


def test_bfloat16_keeps_its_bits(tmp_path):
    value = torch.tensor([1.5, -2.25, 3e38]).to(torch.bfloat16)
    path = str(tmp_path / "t.safetensors")
    written = export_module({"b": value}, path)
    assert written["b"].dtype == "BF16"
    np.testing.assert_array_equal(
        read_safetensors(path)["b"], value.float().numpy()
    )


def test_a_prefix_takes_one_layer_out(tmp_path):
    module = small_module()
    path = str(tmp_path / "t.safetensors")
    export_module(module, path, prefix="2.")
    assert_same(read_safetensors(path), module[2].state_dict())


@pytest.mark.parametrize(
    "state, message",
    [
        (7, "got int"),
        ({}, "none at all"),
        ({"epoch": 3}, "epoch: wanted a tensor, got int"),
        ({"c": torch.zeros(2, dtype=torch.complex64)}, "complex64 cannot be stored"),
        ({"m": torch.empty(2, device="meta")}, "m: .* has no data"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path, state, message):
    path = tmp_path / "t.safetensors"
    with pytest.raises(ExportError, match=message):
        export_module(state, str(path))
    assert not path.exists()


def test_other_layouts_and_dtypes_keep_their_values(tmp_path):
    base = torch.arange(6.0).reshape(2, 3)
    state = {
        "sparse": base.to_sparse(),
        "csr": base.to_sparse_csr(),
        "quantised": torch.quantize_per_tensor(base, 1.0, 0, torch.qint8),
    }
    for name in ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"):
        if hasattr(torch, name):
            state[name] = base.to(getattr(torch, name))
    path = str(tmp_path / "t.safetensors")
    export_module(state, path)
    for name, value in read_safetensors(path).items():
        np.testing.assert_array_equal(value, base.numpy(), err_msg=name)


def test_an_unknown_prefix_lists_the_names(tmp_path):
    with pytest.raises(ExportError, match="'3.'.*0.weight"):
        export_module(small_module(), str(tmp_path / "t"), prefix="3.")


@pytest.mark.parametrize("zip_archive", [True, False], ids=["zip", "legacy"])
def test_the_command_converts_both_torch_formats(tmp_path, capsys, zip_archive):
    module = small_module()
    source, target = str(tmp_path / "m.pt"), str(tmp_path / "m.safetensors")
    torch.save(
        module.state_dict(), source, _use_new_zipfile_serialization=zip_archive
    )
    assert export.main([source, "-o", target]) == 0
    assert_same(read_safetensors(target), module.state_dict())
    assert "float32 [3, 4]" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrapper, arguments",
    [
        ("state_dict", []),
        ("model_state_dict", []),
        ("module", []),
        ("weights", []),
        ("weights", ["--entry", "weights"]),
        ("weights", ["--key", "weights"]),
    ],
)
def test_a_wrapped_state_dict_is_found(tmp_path, wrapper, arguments):
    module = small_module()
    source, target = str(tmp_path / "m.pt"), str(tmp_path / "m.safetensors")
    torch.save({"epoch": 3, wrapper: module.state_dict()}, source)
    assert export.main([source, "-o", target, *arguments]) == 0
    assert_same(read_safetensors(target), module.state_dict())


def test_code_in_a_file_runs_only_when_allowed(tmp_path, capsys):
    module = small_module()
    source, target = str(tmp_path / "m.pt"), tmp_path / "m.safetensors"
    torch.save(module, source)  # the whole module: needs its classes
    assert export.main([source, "-o", str(target)]) == 1
    assert "--allow-pickle" in capsys.readouterr().err
    assert not target.exists()
    assert export.main([source, "-o", str(target), "--allow-pickle"]) == 0
    assert_same(read_safetensors(str(target)), module.state_dict())


SCRIPT = """
import sys
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(0.5))

    def forward(self, x):
        return self.head(x)

if __name__ == "__main__":
    torch.save(Net(), sys.argv[1])
"""


def test_objects_of_the_users_script_are_found(tmp_path, capsys):
    script, source = tmp_path / "train.py", str(tmp_path / "m.pt")
    script.write_text(SCRIPT)
    subprocess.run([sys.executable, str(script), source], check=True)
    target = str(tmp_path / "o.safetensors")
    assert export.main([source, "-o", target, "--allow-pickle"]) == 1
    assert "--script FILE.py names the script" in capsys.readouterr().err
    assert export.main(
        [source, "-o", target, "--allow-pickle", "--script", str(script)]) == 0
    assert sorted(read_safetensors(target)) == ["head.0.bias", "head.0.weight"]
    assert "Net" not in vars(sys.modules["__main__"])
    # The network's own script has them, and dropout is nothing.
    assert export.main(
        ["--module", f"{script}:Net", "--weights", source, "--allow-pickle",
         "--input-shape", "4", "-o", str(tmp_path / "models" / "net" / "1")]) == 0
    config = json.loads((tmp_path / "models" / "net" / "config.json").read_text())
    assert [layer["type"] for layer in config["layers"]] == ["linear"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "No such file"),
        (["--key", "nowhere"], "No such file"),
    ],
)
def test_a_missing_file_is_an_error_not_a_trace(
    tmp_path, capsys, arguments, message
):
    source = str(tmp_path / "none.pt")
    assert export.main([source, "-o", str(tmp_path / "o"), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_two_dicts_that_could_be_meant_are_listed(tmp_path, capsys):
    module, other = small_module(), torch.nn.Linear(4, 3)
    source, target = str(tmp_path / "m.pt"), str(tmp_path / "o")
    torch.save(
        {"model": module.state_dict(), "ema": {"state_dict": other.state_dict()}},
        source,
    )
    assert export.main([source, "-o", target]) == 1
    assert (
        "2 dicts could be the weights: 'model', 'ema.state_dict'; say which, "
        "for example --entry model"
    ) in capsys.readouterr().err
    for entry in ("ema.state_dict", "ema"):
        assert export.main([source, "-o", target, "--entry", entry]) == 0
        assert_same(read_safetensors(target), other.state_dict())
    assert export.main([source, "-o", target, "--entry", "."]) == 0
    assert "ema.state_dict.weight" in read_safetensors(target)


def test_an_optimizer_and_scores_are_no_state_dicts(tmp_path):
    module = small_module()
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    path = str(tmp_path / "m.pt")
    torch.save({
        "optimizer": optimizer.state_dict(), "rng": {"cpu": torch.get_rng_state()},
        "best": {"loss": torch.tensor(0.5)}, "net": module.state_dict(),
        "model": {"name": "fff"},
    }, path)
    # torch 1.13 takes numbers for code.
    state = export.load_state_dict(path, allow_pickle=True)
    assert sorted(state) == sorted(module.state_dict())


def test_a_state_dict_keeps_its_numbers_and_drops_the_rest(tmp_path):
    path = str(tmp_path / "m.pt")
    torch.save({
        "w": torch.ones(2, 3), "depth": 4, "k": 0.5, "name": "x", "on": True,
        "big": 2**70, 3: torch.ones(2, 2), "norm": {"weight": torch.ones(3)},
    }, path)
    state = export.load_state_dict(path, allow_pickle=True)
    assert sorted(state) == ["depth", "k", "norm.weight", "w"]
    assert state["depth"].dtype == np.int64 and state["k"].dtype == np.float64


def test_modules_and_arrays_are_taken_where_nothing_else_is(tmp_path):
    module, path = small_module(), str(tmp_path / "m.pt")
    torch.save({"model": module, "epoch": 3}, path)
    state = export.load_state_dict(path, allow_pickle=True)
    assert sorted(state) == sorted(module.state_dict())
    torch.save({"X": np.ones((2, 3)), "Y": np.zeros((2, 3))}, path)
    assert sorted(export.load_state_dict(path, allow_pickle=True)) == ["X", "Y"]
    torch.save({"X": np.ones((2, 3)), "Y": torch.zeros(2, 3)}, path)
    assert sorted(export.load_state_dict(path, allow_pickle=True)) == ["X", "Y"]


def test_keys_that_hold_dots_are_read_whole_first(tmp_path):
    def one(name):
        return {name: torch.ones(2, 2)}

    path = str(tmp_path / "m.pt")
    torch.save({"a": {"b": one("x")}, "a.b": one("y")}, path)
    assert list(export.load_state_dict(path, "a.b")) == ["y"]
    torch.save({"a": {"b.c": one("x")}, "a.b": {"c": one("y")}}, path)
    with pytest.raises(ExportError, match="'a.b.c' can be read in 2 ways"):
        export.load_state_dict(path, "a.b.c")
    with pytest.raises(ExportError, match="'a.b.c.x' names a Tensor|2 ways"):
        export.load_state_dict(path, "a.b.c.x")


@pytest.mark.skipif(not WILD.is_dir(), reason="no checkpoints")
def test_checkpoints_of_training_are_converted(tmp_path):
    base = export.load_state_dict(str(WILD / "base.pt"))
    for name in ("nocrc.pt", "model_is_cfg.pt", "model_is_cfg_empty.pt"):
        state = export.load_state_dict(str(WILD / name))
        assert sorted(state) == sorted(base)
        for key, value in state.items():
            np.testing.assert_array_equal(value, base[key])


def test_an_unknown_entry_lists_the_dicts(tmp_path, capsys):
    source = str(tmp_path / "m.pt")
    torch.save({"epoch": 3, "net": small_module().state_dict()}, source)
    target = str(tmp_path / "o")
    assert export.main([source, "-o", target, "--entry", "model"]) == 1
    assert "no state_dict under 'model'; dicts of tensors are: 'net'" in (
        capsys.readouterr().err
    )


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="no reference checkpoints")
def test_published_checkpoints_are_converted(tmp_path):
    for source in sorted(REFERENCE.iterdir()):
        if source.name == "LICENSE":
            continue
        target = str(tmp_path / source.name)
        assert export.main([str(source), "-o", target]) == 0
        tensors = read_safetensors(target)
        assert tensors["w1s"].shape[0] == 2 ** int(tensors["depth"])
