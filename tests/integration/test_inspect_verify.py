"""fffctl inspect and fffctl verify: from a file to a config, from an example to a proof."""

import json
import os
import subprocess

import numpy as np

import conftest
import safetensors_file
from server_process import ServerProcess

VECTORS = conftest.REFERENCE / "vectors"
LEAF = "fastfeedforward-mnist-shape"


def fffctl(*words, code=0):
    done = subprocess.run([os.environ["FFF_CTL_BINARY"], *map(str, words)],
                          capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_the_draft_of_a_layer_serves_it_without_an_assumption(tmp_path):
    model = VECTORS / LEAF / "model.safetensors"
    conftest.add_model(tmp_path, "m", model)
    text = fffctl("inspect", model, "--output", tmp_path / "m" / "config.json")
    assert "the file loads with this draft" in text
    io = safetensors_file.read(VECTORS / LEAF / "io.safetensors")
    example = tmp_path / "example.safetensors"
    safetensors_file.write(example, {"input.input": io["x"], "output.output": io["y"]})
    with ServerProcess(tmp_path) as server:
        assert "assumed" not in server.text()
        said = fffctl("--server", server.target, "verify", "m", "--example", example)
        assert f"m version 1 answers {len(io['x'])} rows as the example does" in said
        io["y"] = io["y"].copy()
        io["y"][1, 2] += 1
        safetensors_file.write(example, {"input.input": io["x"], "output.output": io["y"]})
        said = fffctl("--server", server.target, "verify", "m", "--example", example, code=1)
        assert f"output output, number {io['y'].shape[1] + 2}: got " in said
        safetensors_file.write(example, {"output.output": io["y"]})
        said = fffctl("--server", server.target, "verify", "m", "--example", example, code=1)
        assert 'wanted tensor "input.input"' in said


def test_a_network_of_several_layers_is_drafted_and_what_is_missing_said(tmp_path):
    rng = np.random.default_rng(8)
    f = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    path = tmp_path / "net.safetensors"
    safetensors_file.write(path, {
        "stem.weight": f(24, 12), "stem.bias": f(24), "zff.X": f(7, 24), "zff.Y": f(7, 16)})
    text = fffctl("inspect", path)
    draft = json.loads(text[text.index("{\n"):text.index("\n}\n") + 2])
    assert draft["layers"] == [
        {"type": "linear", "prefix": "stem."},
        {"type": "fff", "convention": "sap-fff", "prefix": "zff."}]
    assert "no file tells the order of layers" in text
    assert "sap-fff-recursive" in text


def test_demo_network_of_pictures_is_verified_with_its_own_example():
    demo = conftest.DEMO / "fashion-mnist-cnn"
    with ServerProcess(demo.parent) as demos:
        said = fffctl("--server", demos.target, "verify", demo.name, "--example",
                      demo / "1" / "example.safetensors")
        assert "answers 16 rows as the example does" in said
