"""fffctl benchmark --data: a model, its dense network and its other versions on rows of
the user's own."""

import json
import shutil

import numpy as np
import pytest

import conftest
from server_process import ServerProcess
from test_accuracy import read_idx
from test_networks import fffctl

MODEL = "fashion-mnist"
SAMPLES = conftest.SOURCE / "deploy" / "samples" / "fashion-mnist"
IMAGES = SAMPLES / "images.idx3-ubyte"
LABELS = SAMPLES / "labels.idx1-ubyte"
ROWS = 2000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Both demo models, the first in two versions, and a layer without a trained twin
    or any."""
    folder = tmp_path_factory.mktemp("models")
    for name in (MODEL, "fashion-mnist-cnn"):
        shutil.copytree(conftest.DEMO / name, folder / name)
    shutil.copytree(folder / MODEL / "1", folder / MODEL / "3")
    config = json.loads((folder / MODEL / "config.json").read_text())
    (folder / MODEL / "config.json").write_text(
        json.dumps({**config, "versions": {"latest": 2}}))
    layer = conftest.REFERENCE / "vectors" / "sapient-128x64" / "model.safetensors"
    conftest.add_model(folder, "layer", layer)
    conftest.add_model(folder, "alone", layer, dense="off")
    with ServerProcess(folder) as running:
        yield running


@pytest.fixture(scope="module")
def test_set(tmp_path_factory):
    """Images as the model takes them and labels, as .npy."""
    folder = tmp_path_factory.mktemp("data")
    images = read_idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 784)[:ROWS]
    np.save(folder / "images.npy", (images / 255 - 0.5) / 0.5)
    np.save(folder / "labels.npy",
            read_idx("t10k-labels-idx1-ubyte.gz", 8)[:ROWS].astype(np.int64))
    return folder


def measured(server, *words):
    done = fffctl(server, "benchmark", "--seconds=0.02", "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_all_candidates_are_scored_and_timed_on_the_same_rows(server, test_set):
    report = measured(server, f"--model={MODEL}", f"--data={test_set / 'images.npy'}",
                      f"--truth={test_set / 'labels.npy'}")
    names = [candidate["name"] for candidate in report["candidates"]]
    assert names == ["FFF", "dense", "version 1"]
    fff, dense, older = report["candidates"]
    assert fff["version"] == 3 and fff["answers"] == ROWS
    stated = json.loads((conftest.DEMO / MODEL / "config.json").read_text())["accuracy"]
    for candidate, share in ((fff, stated["fff"]), (dense, stated["dense"])):
        accuracy = candidate["accuracy"]
        assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
        assert accuracy["value"] == pytest.approx(share, abs=0.02)
    # The same weights: the same answers.
    assert older["accuracy"] == fff["accuracy"]
    assert sum(row["answers"] for row in report["classes"]) == ROWS
    right = sum(row["right"]["FFF"] for row in report["classes"])
    assert right == round(fff["accuracy"]["value"] * ROWS)
    latency = report["latency"]
    assert latency["own_rows"] and latency["version"] == 3
    assert [case["rows"] for case in latency["cases"]] == [1, 16, 256]
    for case in latency["cases"]:
        # Pictures of ten classes, not noise: they reach most leaves.
        assert case["input_rows"] >= 1792
        assert 2 < case["distinct_leaves"] <= case["leaves"]
        [other] = case["other_baselines"]
        assert other["kind"] == "other_version" and other["median_s"] > 0
    assert report["advice"][0]["rows_min"] == 1
    assert report["advice"][-1]["rows_max"] == 256


def test_real_rows_reach_leaves_that_noise_does_not(server):
    noise = measured(server, "--model=fashion-mnist-cnn", "--rows=1")
    real = measured(server, "--model=fashion-mnist-cnn", "--rows=1", f"--data={IMAGES}",
                    f"--truth={LABELS}")
    [case] = real["latency"]["cases"]
    assert case["leaves"] == noise["leaves"] == 8
    assert case["distinct_leaves"] > noise["distinct_leaves"]
    assert real["candidates"][0]["answers"] == 50
    assert real["candidates"][0]["accuracy"]["value"] >= 0.8


def test_few_rows_are_no_ground_for_advice(server):
    report = measured(server, f"--model={MODEL}", f"--data={IMAGES}", f"--truth={LABELS}")
    assert [case["rows"] for case in report["latency"]["cases"]] == [1, 16]
    for advice in report["advice"]:
        assert advice["choice"] is None and "no recommendation" in advice["sentence"]


def test_text_has_the_advice_only_where_it_is_asked_for(server, tmp_path):
    words = ["benchmark", "--seconds=0.01", f"--model={MODEL}", f"--data={IMAGES}",
             f"--truth={LABELS}", f"--svg={tmp_path / 'chart.svg'}", "--rows=1"]
    plain = fffctl(server, *words).stdout
    assert "accuracy" in plain and "leaves" in plain and "rows 1: " not in plain
    assert "rows 1: " in fffctl(server, *words, "--recommend").stdout
    assert (tmp_path / "chart.svg").read_text().startswith("<svg")


def test_numbers_give_the_error(server, tmp_path):
    io = conftest.copied_vector("sapient-128x64")
    wanted = next(value for name, value in io.items() if name.startswith("y"))
    rows = next(value for name, value in io.items() if name.startswith("x"))
    np.save(tmp_path / "x.npy", rows)
    np.save(tmp_path / "y.npy", np.float32(wanted).reshape(len(rows), -1))
    report = measured(server, "--model=layer", f"--data={tmp_path / 'x.npy'}",
                      f"--truth={tmp_path / 'y.npy'}", "--rows=1")
    assert report["truth"] == "numbers" and report["classes"] == []
    fff, dense = report["candidates"]
    assert fff["rms_error"]["value"] < 1e-5
    assert dense["answers"] == 0, "an untrained twin's answers mean nothing"
    assert report["advice"][0]["choice"] is None


@pytest.mark.parametrize("words, says", [
    (["--model=nope", f"--data={IMAGES}"], "'nope' is not in the repository"),
    (["--model=layer", f"--data={IMAGES}"], "rows of 784 values"),
    (["--model=alone", "--rows=1"], "dense"),
    ([f"--model={MODEL}", f"--data={IMAGES}", "--rows=51"], "got 50 rows"),
])
def test_what_cannot_be_measured_is_an_error(server, words, says):
    done = fffctl(server, "benchmark", "--seconds=0.01", *words)
    assert done.returncode == 1 and done.stdout == ""
    assert says in done.stderr


def test_a_model_without_a_twin_says_so(server, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 128), np.float32))
    done = fffctl(server, "benchmark", "--model=alone", f"--data={tmp_path / 'x.npy'}")
    assert done.returncode == 1 and done.stdout == ""
    assert "FAILED_PRECONDITION" in done.stderr and "dense" in done.stderr
