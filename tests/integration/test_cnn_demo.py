"""The second demo model, a CNN with an FFF head, as a server answers it: from the
bytes of all 10,000 FashionMNIST test images, beside its trained dense twin."""

import json
import os
import re
import subprocess

import numpy as np
import pytest

import conftest
import fff_api
from fff_api import v1
from server_process import ServerProcess
from test_accuracy import BATCH_ROWS, read_idx

MODEL = "fashion-mnist-cnn"
SAMPLES = conftest.SOURCE / "deploy" / "samples" / "fashion-mnist"
LEAVES = 8
# Rounding may turn a decision or swap two classes that are nearly equal.
ROWS_ROUNDED = 3
VERSION_BYTES_MAX = 1_500_000


@pytest.fixture(scope="module")
def server():
    with ServerProcess(conftest.DEMO) as running:
        yield running


@pytest.fixture(scope="module")
def api(server):
    opened = fff_api.Api(server.target)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def config():
    return json.loads((conftest.DEMO / MODEL / "config.json").read_text())


def predict(api, images, *, dense=False, **fields):
    tensor = v1.Tensor(shape=images.shape, datatype=v1.DATA_TYPE_UINT8,
                       data=images.tobytes())
    call = api.own.PredictDense if dense else api.own.Predict
    return call(v1.PredictRequest(model=MODEL, input=tensor, **fields),
                timeout=fff_api.DEADLINE_SECONDS)


def answers(api, **fields):
    """Of all test images: classes, and leaves where routing is asked for."""
    images = read_idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
    replies = [predict(api, images[begin:begin + BATCH_ROWS], **fields)
               for begin in range(0, len(images), BATCH_ROWS)]
    classes = [fff_api.output_of(reply).argmax(axis=1) for reply in replies]
    leaves = [reply.routing[0].leaf for reply in replies if reply.routing]
    return np.concatenate(classes), np.concatenate(leaves) if leaves else None


@pytest.mark.parametrize("twin", ["fff", "dense"])
def test_scores_what_its_config_says(api, config, twin):
    labels = read_idx("t10k-labels-idx1-ubyte.gz", 8)
    classes, _ = answers(api, dense=twin == "dense")
    right = int((classes == labels).sum())
    print(f"{MODEL}: {twin} {right} of 10,000 right")
    assert abs(right - 10_000 * config["accuracy"][twin]) <= ROWS_ROUNDED
    assert right >= 9100


def test_rows_spread_over_many_leaves(api):
    report = json.loads((conftest.DEMO / MODEL / "report.json").read_text())
    _, leaves = answers(api, include_routing=True)
    rows = np.bincount(leaves, minlength=LEAVES)
    print(f"{MODEL}: rows by leaf {rows.tolist()}")
    assert np.abs(rows - report["rows_by_leaf"]).sum() <= 2 * ROWS_ROUNDED
    assert rows.min() >= 100, "every leaf gets 1 % of the rows or more"
    assert rows.max() < 2500, "no leaf gets a quarter of them"


def test_the_log_says_that_its_example_proves_it(server):
    line = server.await_line(f"proof model={MODEL} version=1")
    decided, rows = re.search(r"proven on cpu by (\d+) of (\d+) rows", line).groups()
    assert decided == rows == "16"


def test_command_line_sends_the_images_as_they_are(server, config):
    done = subprocess.run(
        [os.environ["FFF_CTL_BINARY"], f"--server={server.target}", "predict",
         f"--model={MODEL}", f"--input={SAMPLES / 'images.idx3-ubyte'}",
         f"--truth={SAMPLES / 'labels.idx1-ubyte'}"],
        capture_output=True, text=True, check=True).stdout
    found = re.search(r"^accuracy .* \((\d+) of 50\)$", done, re.M)
    assert found and int(found[1]) >= 40, done
    assert any(label in done for label in config["output"]["labels"])


def test_the_version_is_small_enough_for_a_repository():
    files = list((conftest.DEMO / MODEL / "1").iterdir())
    assert {file.name for file in files} == {
        "model.safetensors", "dense.safetensors", "example.safetensors"}
    assert sum(file.stat().st_size for file in files) < VERSION_BYTES_MAX
