"""When a server says that it is ready: --ready-when, --allow-empty, and a repository
that appears after the server has started."""

import json
import os
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest

import conftest
import fff_api
from fff_api import oip
from server_process import SECONDS_MAX, ServerProcess
from test_metrics import scrape, total

CHECKPOINT = conftest.REFERENCE / "vectors" / "sapient-128x64" / "model.safetensors"
LAYERS = {"layers": [{"type": "fff", "convention": "sap-fff"}]}
WIDTH = 128


def add_good(repository, name="good"):
    """Appears at once, as a rename makes it."""
    hidden = repository / f".{name}"
    (hidden / "1").mkdir(parents=True)
    (hidden / "config.json").write_text(json.dumps(LAYERS))
    (hidden / "1" / "model.safetensors").write_bytes(CHECKPOINT.read_bytes())
    os.rename(hidden, repository / name)


def add_broken(repository, name="broken"):
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "1" / "model.safetensors").write_bytes(b"garbage")


def readiness(server):
    """(ready, why not), which every way to ask agrees on."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/readyz"):
            ready = True
    except urllib.error.HTTPError as error:
        assert error.code == 503
        ready = False
    with urllib.request.urlopen(
            f"http://127.0.0.1:{server.http_port}/status.json") as reply:
        told = json.load(reply)["server"]
    api = fff_api.Api(server.target)
    assert api.oip.ServerReady(oip.ServerReadyRequest()).ready == ready
    api.close()
    assert told["ready"] == ready == (told["not_ready_because"] == "")
    assert total(scrape(server)[0], "fff_server_ready") == ready
    return ready, told["not_ready_because"]


def await_ready(server):
    pause = threading.Event()
    for _ in range(SECONDS_MAX * 20):
        with urllib.request.urlopen(
                f"http://127.0.0.1:{server.http_port}/metrics") as reply:
            if b"\nfff_server_ready 1" in reply.read():
                return
        pause.wait(0.05)
    raise AssertionError(server.text())


def test_an_empty_repository_is_not_ready_until_a_model_is_served(tmp_path):
    with ServerProcess(tmp_path) as server:
        assert readiness(server) == (False, "no model has been served yet")
        server.await_line("not ready: no model has been served yet")
        add_good(tmp_path)
        await_ready(server)
        assert readiness(server) == (True, "")


def test_a_repository_of_what_does_not_fit_is_empty_too(tmp_path):
    """Mounted one level too high."""
    (tmp_path / "models").mkdir()
    add_good(tmp_path / "models")
    with ServerProcess(tmp_path) as server:
        assert readiness(server) == (False, "no model has been served yet")


@pytest.mark.parametrize("flag", ["--allow-empty", "--model-control=explicit"])
def test_an_empty_repository_is_ready_where_that_is_meant(tmp_path, flag):
    with ServerProcess(tmp_path, flag) as server:
        assert readiness(server) == (True, "")


@pytest.mark.parametrize("when, answer", [
    ("all", (False, "model 'broken' is not loaded")),
    ("any", (True, "")),
    ("good", (True, "")),
    ("good,broken", (False, "model 'broken' is not loaded")),
    ("absent", (False, "model 'absent' is not loaded")),
])
def test_ready_when_says_what_a_broken_model_means(tmp_path, when, answer):
    add_good(tmp_path)
    add_broken(tmp_path)
    with ServerProcess(tmp_path, f"--ready-when={when}") as server:
        assert readiness(server) == answer


def test_a_repository_that_is_not_there_yet_is_waited_for(tmp_path):
    server = ServerProcess(tmp_path / "late", "--repository-poll-seconds=0.1",
                           wait=False)
    server.await_line(f"cannot read directory {tmp_path / 'late'}")
    server.await_line("waiting for it")
    (tmp_path / "early").mkdir()
    add_good(tmp_path / "early")
    os.rename(tmp_path / "early", tmp_path / "late")
    with server:
        server.await_listening()
        assert readiness(server) == (True, "")
        api = fff_api.Api(server.target)
        assert api.predict("good", np.zeros((1, WIDTH), np.float32)).version == 1
        api.close()


def test_a_server_that_waits_for_its_repository_stops_when_told(tmp_path):
    server = ServerProcess(tmp_path / "nowhere", wait=False)
    server.await_line("waiting for it")
    assert server.stop() == 0


def test_a_repository_that_cannot_be_read_ends_the_process(tmp_path):
    (tmp_path / "file").write_text("no directory")
    server = ServerProcess(tmp_path / "file", wait=False)
    assert server.exit_code() == 1
    assert f"cannot read directory {tmp_path / 'file'}" in server.text()
