"""The exporter: torch modules and files to safetensors."""

import collections
import pathlib

import numpy as np
import pytest

from fff_client import export
from fff_client.export import ExportError, export_module, read_safetensors

torch = pytest.importorskip("torch")

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
REFERENCE = REPOSITORY / "tests" / "data" / "reference" / "checkpoints"


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
        ({"s": torch.eye(2).to_sparse()}, "s: sparse"),
        (
            {"q": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)},
            "quantised",
        ),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path, state, message):
    path = tmp_path / "t.safetensors"
    with pytest.raises(ExportError, match=message):
        export_module(state, str(path))
    assert not path.exists()


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


def test_an_unknown_key_lists_the_keys(tmp_path, capsys):
    source = str(tmp_path / "m.pt")
    torch.save({"epoch": 3, "net": small_module().state_dict()}, source)
    target = str(tmp_path / "o")
    assert export.main([source, "-o", target, "--key", "model"]) == 1
    assert "no state_dict under 'model'; keys are: epoch, net" in (
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
