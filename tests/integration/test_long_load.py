"""A load that takes long: watched, unloaded half-way, and ended by a stop."""

import json
import os
import pathlib
import re
import signal
import subprocess
import threading

import grpc
import numpy as np
import pytest

import conftest
import fff_api
from server_process import ServerProcess
from test_lifecycle import LAYERS, await_index, big_model, load, unload
from test_metrics import scrape

CTL = os.environ["FFF_CTL_BINARY"]
SMALL = conftest.REFERENCE / "vectors" / "sapient-128x64" / "model.safetensors"
STAGE = re.compile(r"(waiting|reading|taking in the weights|choosing kernels|"
                   r"proving the example|building the dense twin|warming up)"
                   r"(, [0-9.]+ of [0-9.]+ MB)?$")


@pytest.fixture(name="repository", scope="module")
def repository_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    big_model(folder, "large", levels=15, width=768)  # 201 MB, and a twin of as much
    conftest.add_model(folder, "small", SMALL, layers=LAYERS["layers"])
    return folder


def await_memory(server, size):
    """Until the process has taken `size` bytes since it blocked SIGTERM, which it does
    first of all: it is in the middle of a load."""
    pause = threading.Event()
    status = pathlib.Path(f"/proc/{server.process.pid}/status")
    before = None
    while before is None or server.memory_bytes() < before + size:
        assert server.alive(), server.text()
        blocked = int(re.search(r"^SigBlk:\s*(\w+)", status.read_text(), re.M)[1], 16)
        if before is None and blocked >> (signal.SIGTERM - 1) & 1:
            before = server.memory_bytes()
        pause.wait(0.002)


@pytest.mark.parametrize("share", [0.4, 1.2])
def test_a_stop_ends_the_load_under_way(repository, share):
    """Once while the file is read, once behind that."""
    size = (repository / "large" / "1" / "model.safetensors").stat().st_size
    with ServerProcess(repository, wait=False) as server:
        await_memory(server, share * size)
        assert server.stop() == 0
        server.await_line("stopped while models were being loaded")
        assert "loaded model=large" not in server.text()
        assert "cannot load" not in server.text(), "no failure of the model's"


@pytest.fixture(name="server")
def server_fixture(repository):
    with ServerProcess(repository, "--model-control=explicit",
                       "--load-model=small") as running:
        yield running


@pytest.fixture(name="api")
def api_fixture(server):
    opened = fff_api.Api(server.target)
    yield opened
    opened.close()


def under_way(found):
    """The index of a server that loads "large"."""
    return STAGE.match(found.get(("large", "1"), ("", ""))[1])


def test_an_unload_ends_the_load_and_the_next_one_is_whole(server, api):
    x = np.random.default_rng(2).standard_normal((4, 128)).astype(np.float32)
    before = fff_api.output_of(api.predict("small", x))
    outcome = []

    def ask():
        try:
            load(api, "large")
        except grpc.RpcError as error:
            outcome.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    await_index(api, under_way)
    np.testing.assert_array_equal(fff_api.output_of(api.predict("small", x)), before)
    unload(api, "large")
    asking.join()
    assert outcome[0].code() == grpc.StatusCode.ABORTED
    assert "was unloaded by another call" in outcome[0].details()
    assert "loaded model=large" not in server.text()
    load(api, "large")
    wide = np.zeros((1, 768), np.float32)
    assert fff_api.output_of(api.predict("large", wide)).shape == (1, 768)


def stages(server):
    """Stage -> its bytes, of the load under way."""
    values, _ = scrape(server)
    return {dict(labels)["stage"]: value for (name, labels), value in values.items()
            if name == "fff_model_load_total_bytes"}


def test_everybody_sees_how_far_the_load_is(server, api):
    asking = threading.Thread(target=load, args=(api, "large"))
    asking.start()
    loads = {}
    while asking.is_alive() and not loads:
        loads = stages(server)
    listed = subprocess.run([CTL, f"--server={server.target}", "models", "--json"],
                            stdout=subprocess.PIPE, text=True, check=True).stdout
    asking.join()
    assert len(loads) == 1 and STAGE.match(*loads)
    reason = next(m["reason"] for m in json.loads(listed)["models"]
                  if m["name"] == "large")
    assert reason == "" or STAGE.match(reason)  # it has gone on meanwhile
    assert not stages(server)
