"""An unmodified client of the Open Inference Protocol: tritonclient from PyPI."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import conftest
import fff_api

# Installed once beside the build; the version whose behaviour is known.
PACKAGE = "tritonclient[grpc]==2.73.0"
PROGRAM = pathlib.Path(__file__).with_name("open_inference_client.py")
MODEL = "fastfeedforward-mnist-shape"
STREAMED = 40  # of the program


@pytest.fixture(scope="module")
def python_path():
    target = pathlib.Path(os.environ["FFF_PYTHON_STUBS"]).parent / "tritonclient"
    if not (target / "tritonclient").exists():
        installed = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target),
             PACKAGE], capture_output=True, text=True)
        if installed.returncode != 0:
            pytest.skip(f"pip cannot install {PACKAGE}: {installed.stderr[-300:]}")
    return target


@pytest.fixture(scope="module")
def x():
    return conftest.copied_vector(MODEL)["x"]


@pytest.fixture(scope="module")
def told(server, python_path, x, tmp_path_factory):
    """What the client was told, and what our own API answers."""
    rows = tmp_path_factory.mktemp("rows") / "x.npy"
    np.save(rows, x)
    done = subprocess.run(
        [sys.executable, "-B", PROGRAM, server.target, MODEL, rows],
        env={**os.environ, "PYTHONPATH": str(python_path)}, capture_output=True,
        text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_server_is_live_ready_and_named(told):
    assert told["live"] and told["ready"]
    assert told["server"]["name"] == "fff-server"
    assert "statistics" in told["server"]["extensions"]


def test_the_repository_index_lists_model_and_twin(told):
    states = {model["name"]: model["state"] for model in told["index"]["models"]}
    assert states[MODEL] == states[MODEL + ":dense"] == "READY"


@pytest.mark.parametrize("suffix", ["", ":dense"])
def test_metadata_and_config_agree(told, suffix):
    model = told[MODEL + suffix]
    assert model["ready"]
    (tensor,) = model["metadata"]["inputs"]
    assert (tensor["name"], tensor["datatype"], tensor["shape"]) == (
        "input", "FP32", ["-1", "784"])
    (tensor,) = model["config"]["config"]["input"]
    assert (tensor["name"], tensor["dims"]) == ("input", ["784"])
    assert int(model["config"]["config"]["max_batch_size"]) > 0


@pytest.mark.parametrize("suffix", ["", ":dense"])
def test_infer_async_and_stream_give_what_our_api_gives(told, api, x, suffix):
    model = told[MODEL + suffix]
    wanted = fff_api.output_of(api.predict(MODEL + suffix, x))
    close = {"rtol": 1e-4, "atol": 1e-4}  # a row alone may run on another kernel
    assert model["infer"]["id"] == "one"
    assert model["infer"]["version"] == "1"
    np.testing.assert_allclose(model["infer"]["y"], wanted, **close)
    np.testing.assert_allclose(model["async"], wanted, **close)
    rows = model["stream"]["rows"]
    streamed = np.array([wanted[i % len(x)] for i in range(len(rows))])
    np.testing.assert_allclose(rows, streamed, **close)


@pytest.mark.parametrize("suffix", ["", ":dense"])
def test_errors_name_code_and_reason(told, suffix):
    model = told[MODEL + suffix]
    (error,) = model["stream"]["errors"]
    assert "model 'nobody' is not in the repository" in error
    code, message = model["refusal"]
    assert code == "StatusCode.INVALID_ARGUMENT"
    assert "wanted [rows, 784]" in message


@pytest.mark.parametrize("suffix", ["", ":dense"])
def test_statistics_count_what_the_client_asked(told, suffix, x):
    (stats,) = told[MODEL + suffix]["statistics"]["model_stats"]
    assert int(stats["inference_stats"]["success"]["count"]) == (
        1 + len(x) + STREAMED)
    assert int(stats["inference_count"]) == 2 * len(x) + STREAMED
    assert int(stats["inference_stats"]["fail"]["count"]) == 1


def test_models_are_unloaded_and_loaded(told):
    assert "model_repository" in told["server"]["extensions"]
    control = told["control"]
    assert control["after_unload"] == [False, True]
    assert control["index"][MODEL] == control["index"][MODEL + ":dense"] == "UNAVAILABLE"
    assert control["after_load"] == [True, True]
    (unknown, unknown_text), (override, override_text) = control["refusals"]
    assert unknown == "StatusCode.NOT_FOUND" and "nobody" in unknown_text
    assert override == "StatusCode.INVALID_ARGUMENT" and "'config'" in override_text
