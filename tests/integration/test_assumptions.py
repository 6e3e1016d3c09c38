"""What changes answers and no file says is named when a version is loaded."""

import json
import os
import shutil
import subprocess
import urllib.request

import numpy as np
import pytest

import conftest
import fff_api
import safetensors_file
from fff_api import v1
from server_process import ServerProcess

BARE = conftest.REFERENCE / "vectors" / "fastfeedforward-mnist-shape"
SAID = {"type": "fff", "convention": "fastfeedforward", "activation": "relu"}


def add(repository, name, layer=None):
    conftest.add_model(repository, name, BARE / "model.safetensors")
    if layer is not None:
        (repository / name / "config.json").write_text(json.dumps({"layers": [layer]}))
    return repository / name / "1"


def gelu_twin(rng):
    return {"0.weight": rng.standard_normal((32, 784)).astype(np.float32),
            "2.weight": rng.standard_normal((10, 32)).astype(np.float32)}


@pytest.fixture(scope="module")
def assuming(tmp_path_factory):
    repository = tmp_path_factory.mktemp("assumptions")
    add(repository, "bare")
    add(repository, "said", SAID | {"output_bias": True})
    proven = add(repository, "proven")
    io = safetensors_file.read(BARE / "io.safetensors")
    safetensors_file.write(proven / "example.safetensors",
                           {"input.input": io["x"][:4], "output.output": io["y"][:4]})
    twin = add(repository, "twin", SAID | {"output_bias": True})
    safetensors_file.write(twin / "dense.bin", gelu_twin(np.random.default_rng(3)))
    left = add(repository, "left", SAID | {"output_bias": True})
    safetensors_file.write(left / "dense.safetensors", gelu_twin(np.random.default_rng(4)))
    shutil.copytree(left, left.parent / "2")
    (left.parent / "2" / "dense.safetensors").unlink()
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)
        yield api, server
        api.close()


def assumed_of(api, model):
    return list(api.own.GetModel(v1.GetModelRequest(model=model)).assumed)


def test_a_bare_layer_says_its_convention_and_how_the_release_differs(assuming):
    api, server = assuming
    (said,) = assumed_of(api, "bare")
    largest = np.abs(safetensors_file.read(BARE / "model.safetensors")["b2s"]).max()
    for text in ('taken for convention "fastfeedforward"', "the activation, taken as relu",
                 "0.2.1, the release on PyPI", f"by up to {largest:.3g}"):
        assert text in said
    assert said in server.await_line("assumed model=bare version=1 implementation=fff ")


def test_what_config_or_an_example_settles_is_not_assumed(assuming):
    api, server = assuming
    assert assumed_of(api, "said") == []
    server.await_line("proof model=proven version=1 proven on cpu")
    assert assumed_of(api, "proven") == []


def test_a_dense_network_of_another_format_is_the_twin_and_its_activation_is_named(assuming):
    api, server = assuming
    assert api.own.GetModel(v1.GetModelRequest(model="twin")).dense_kind == \
        v1.DENSE_KIND_TRAINED
    (said,) = assumed_of(api, "twin:dense")
    assert "dense.bin: no tensor tells the activation" in said
    assert said in server.await_line("assumed model=twin version=1 implementation=dense ")


def test_a_twin_left_in_version_1_is_named(assuming):
    api, _ = assuming
    (said,) = assumed_of(api, "left:dense")
    assert "version 2, but 1/dense.safetensors does" in said


def test_fffctl_and_the_status_page_repeat_it(assuming):
    api, server = assuming
    for command in ("models", "status"):
        done = subprocess.run(
            [os.environ["FFF_CTL_BINARY"], f"--server={server.target}", command],
            capture_output=True, check=True, text=True)
        assert f"assumed of bare 1: {assumed_of(api, 'bare')[0]}\n" in done.stdout
    with urllib.request.urlopen(f"http://{server.http_address}/status.json") as answer:
        models = json.load(answer)["models"]
    (bare,) = [one for one in models if one["name"] == "bare"]
    assert bare["implementations"][0]["assumed"] == assumed_of(api, "bare")
