"""Versions that come, go and break while a server answers from them."""

import json
import os
import pathlib
import shutil
import subprocess
import threading

import grpc
import numpy as np
import pytest

import conftest
import fff_api
import safetensors_file
from fff_api import oip
from live_load import LiveLoad
from server_process import ServerProcess
from test_metrics import scrape, total

CASE = "sapient-128x64"
CHECKPOINT = conftest.REFERENCE / "vectors" / CASE / "model.safetensors"
RELOADS = 200
SECONDS_MAX = 60


# No tensor tells which of sap-ient-ai's layers it is.
LAYERS = {"layers": [{"type": "fff", "convention": "sap-fff"}]}


def write_version(repository, version, factor, file_name="model.safetensors"):
    """A version of "m" whose outputs are `factor` times the reference's.

    Appears at once, as a rename makes it.
    """
    tensors = safetensors_file.read(CHECKPOINT)
    tensors["Y"] = (tensors["Y"] * np.float32(factor)).astype(np.float32)
    hidden = repository / f".upload-{version}"
    hidden.mkdir()
    safetensors_file.write(hidden / file_name, tensors)
    config = repository / "m" / "config.json"
    if not config.exists():
        config.parent.mkdir(exist_ok=True)
        config.write_text(json.dumps(LAYERS))
    os.rename(hidden, repository / "m" / str(version))


def replace_file(repository, version, factor):
    """The same for one that is there: its file is renamed into place."""
    write_version(repository, f"{version}-new", factor)
    staged = repository / "m" / f"{version}-new"
    os.rename(staged / "model.safetensors",
              repository / "m" / str(version) / "model.safetensors")
    staged.rmdir()


@pytest.fixture
def repository(tmp_path):
    write_version(tmp_path, 1, 1)
    return tmp_path


@pytest.fixture
def server(repository):
    with ServerProcess(repository) as running:
        yield running


@pytest.fixture
def api(server):
    opened = fff_api.Api(server.target)
    yield opened
    opened.close()


@pytest.fixture
def x():
    return np.random.default_rng(5).standard_normal((40, 128)).astype(np.float32)


def load(api, model="m"):
    api.oip.RepositoryModelLoad(oip.RepositoryModelLoadRequest(model_name=model),
                                timeout=SECONDS_MAX)


def unload(api, model="m"):
    api.oip.RepositoryModelUnload(oip.RepositoryModelUnloadRequest(model_name=model),
                                  timeout=SECONDS_MAX)


def index(api):
    """(name, version) -> (state, reason), twins left out."""
    reply = api.oip.RepositoryIndex(oip.RepositoryIndexRequest(), timeout=SECONDS_MAX)
    return {(m.name, m.version): (m.state, m.reason) for m in reply.models
            if not m.name.endswith(":dense")}


def await_index(api, wanted):
    """Asks until `wanted`, a function of the index, is true; returns the index."""
    pause = threading.Event()
    for _ in range(SECONDS_MAX * 20):
        found = index(api)
        if wanted(found):
            return found
        pause.wait(0.05)
    raise AssertionError(found)


def await_no_series(server, model):
    """They go right after the model itself."""
    pause = threading.Event()
    for _ in range(SECONDS_MAX * 20):
        values, _ = scrape(server)
        if not any(dict(labels).get("model") == model for _, labels in values):
            return
        pause.wait(0.05)
    raise AssertionError(f"/metrics still speaks of {model}")


def state_is(version, state):
    return lambda found: found.get(("m", str(version)), ("", ""))[0] == state


def live_load(server, api, x):
    reference = fff_api.output_of(api.predict("m", x))
    return LiveLoad(lambda: fff_api.Api(server.target), "m", x, {1: reference}), reference


def test_two_hundred_reloads_under_load(repository, server, api, x):
    live, reference = live_load(server, api, x)
    with live:
        for version in range(2, RELOADS + 2):
            live.answers[version] = reference * version
            write_version(repository, version, version)
            load(api)
            shutil.rmtree(repository / "m" / str(version - 1))
            if version % 8 == 0:
                live.await_answers(3, version)
    live.assert_all_right()
    assert len(live.counts) >= RELOADS // 8
    reply = api.predict("m", x)
    assert reply.version == RELOADS + 1
    np.testing.assert_allclose(fff_api.output_of(reply), reference * reply.version,
                               rtol=1e-4, atol=1e-4)
    values, _ = scrape(server)
    versions = {dict(labels).get("version") for name, labels in values
                if dict(labels).get("model") == "m" and name != "fff_model_ready"}
    assert versions - {None} == {str(RELOADS + 1)}  # gone versions left no series
    assert total(values, "fff_model_load_failures_total", model="m") == 0


def test_reloads_of_the_same_version_keep_answering(repository, server, api, x):
    reference = fff_api.output_of(api.predict("m", x))
    for factor in range(2, 12):
        replace_file(repository, 1, factor)
        load(api)
        reply = api.predict("m", x)
        assert reply.version == 1
        np.testing.assert_allclose(fff_api.output_of(reply), reference * factor,
                                   rtol=1e-4, atol=1e-4)


def test_a_new_folder_is_served_without_being_asked_for(repository, server, api, x):
    live, reference = live_load(server, api, x)
    with live:
        live.answers[2] = reference * 2
        write_version(repository, 2, 2)
        live.await_answers(3, 2)
        shutil.rmtree(repository / "m" / "2")  # vanished: back to the one before
        live.await_answers(1)
        await_index(api, state_is(1, "READY"))
        live.await_answers(3, 1)
    live.assert_all_right()


def bad_versions():
    whole = CHECKPOINT.read_bytes()
    tensors = safetensors_file.read(CHECKPOINT)
    other = {"X": tensors["X"][:, :100].copy(), "Y": tensors["Y"][:50].copy()}
    nan = {"X": tensors["X"].copy(), "Y": tensors["Y"].copy()}
    nan["X"][3, 5] = np.nan
    return {
        "garbage": lambda path: path.write_bytes(b"\x00garbage" * 50),
        "empty": lambda path: path.write_bytes(b""),
        "half": lambda path: path.write_bytes(whole[:len(whole) // 2]),
        "wrong shapes": lambda path: safetensors_file.write(path, other),
        "wrong tensors": lambda path: safetensors_file.write(
            path, {"weights": tensors["X"]}),
        "not finite": lambda path: safetensors_file.write(path, nan),
        "directory": lambda path: path.mkdir(),
        "fifo": lambda path: os.mkfifo(path),
    }


@pytest.mark.parametrize("kind", bad_versions())
def test_a_bad_version_is_listed_and_the_old_one_answers(repository, server, api, x,
                                                         kind):
    live, _ = live_load(server, api, x)
    with live:
        directory = repository / ".bad"
        directory.mkdir()
        bad_versions()[kind](directory / "model.safetensors")
        directory.rename(repository / "m" / "2")  # whole at once: one failure, not two
        found = await_index(api, state_is(2, "UNAVAILABLE"))
        live.await_answers(5)
    live.assert_all_right()
    assert set(live.counts) == {1}
    assert found["m", "1"] == ("READY", "")
    assert "m/2" in found["m", "2"][1]
    assert api.oip.ServerReady(oip.ServerReadyRequest()).ready
    values, _ = scrape(server)
    assert total(values, "fff_model_load_failures_total", model="m") == 1
    assert total(values, "fff_model_ready", model="m") == 1
    server.await_line("error cannot load model=m version=2")
    listed = subprocess.run(
        [os.environ["FFF_CTL_BINARY"], "--server", server.target, "models", "--json"],
        capture_output=True, text=True, check=True)
    models = {(m["name"], m["version"]): m for m in json.loads(listed.stdout)["models"]}
    assert models["m", 2]["state"] == "FAILED"
    assert models["m", 2]["reason"] == found["m", "2"][1]


def test_a_version_that_is_written_slowly_heals(repository, server, api, x):
    live, reference = live_load(server, api, x)
    write_version(repository, ".two", 2)
    staged = repository / "m" / ".two" / "model.safetensors"
    whole = staged.read_bytes()
    with live:
        live.answers[2] = reference * 2
        path = repository / "m" / "2" / "model.safetensors"
        path.parent.mkdir()
        # A new directory is watched from the first look at it on; a reason that
        # changes tells that there was another look since.
        reason = ""
        for size in (900, 1000):
            path.write_bytes(whole[:size])
            found = await_index(api, lambda found, last=reason: state_is(
                2, "UNAVAILABLE")(found) and found["m", "2"][1] != last)
            reason = found["m", "2"][1]
        with open(path, "wb") as out:
            # While it is open nobody reads it, however long the writer rests.
            out.write(whole[:1000])
            out.flush()
            found = await_index(api, state_is(2, "LOADING"))
            live.await_answers(200)
            assert state_is(2, "LOADING")(index(api)), found
            out.write(whole[1000:len(whole) // 2])
        # Closed half-way: a writer that died.
        found = await_index(api, state_is(2, "UNAVAILABLE"))
        assert "model.safetensors" in found["m", "2"][1]
        live.await_answers(5)
        assert set(live.counts) == {1}
        with open(path, "ab") as out:
            out.write(whole[len(whole) // 2:])
        live.await_answers(3, 2)
    live.assert_all_right()


def test_a_served_file_that_is_rewritten_in_place_disturbs_nobody(repository, server,
                                                                  api, x):
    live, reference = live_load(server, api, x)
    path = repository / "m" / "1" / "model.safetensors"
    with live:
        with open(path, "r+b") as file:
            file.truncate(100)  # a mapping would fault here
        live.await_answers(100)
        found = await_index(api, lambda found: found["m", "1"][1] != "")
        assert found["m", "1"][0] == "READY"
        assert "still served from older files" in found["m", "1"][1]
        live.await_answers(5)
    live.assert_all_right()
    replace_file(repository, 1, 3)
    await_index(api, lambda _: np.allclose(fff_api.output_of(api.predict("m", x)),
                                           reference * 3, rtol=1e-4, atol=1e-4))
    await_index(api, lambda found: found["m", "1"] == ("READY", ""))


def test_a_model_that_vanishes_is_unloaded_and_may_come_back(repository, server, api, x):
    conftest.add_model(repository, "other", CHECKPOINT)
    await_index(api, lambda found: ("other", "1") in found)
    api.predict("m", x)
    os.rename(repository / "m", repository / ".away")
    await_index(api, lambda found: all(name != "m" for name, _ in found))
    with pytest.raises(grpc.RpcError) as error:
        api.predict("m", x)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert api.oip.ServerReady(oip.ServerReadyRequest()).ready
    await_no_series(server, "m")
    os.rename(repository / ".away", repository / "m")
    await_index(api, state_is(1, "READY"))
    api.predict("m", x)


def test_version_policies_follow_the_disk(repository, server, api):
    config = repository / "m" / "config.json"
    ready = lambda found: sorted(  # noqa: E731
        int(v) for (name, v), (state, _) in found.items() if state == "READY")
    for version in (2, 3):
        write_version(repository, version, version)
    await_index(api, lambda found: ready(found) == [3])
    for policy, wanted in (({"all": True}, [1, 2, 3]), ({"latest": 2}, [2, 3]),
                           ({"specific": [1, 3]}, [1, 3]), ({"latest": 1}, [3])):
        config.write_text(json.dumps({**LAYERS, "versions": policy}))
        await_index(api, lambda found: ready(found) == wanted)


def test_unload_answers_what_is_in_flight_and_refuses_what_comes(repository, server, api,
                                                                 x):
    live, _ = live_load(server, api, x)
    with live:
        live.await_answers(20)
        unload(api)
        live.await_answers(0)
        with pytest.raises(grpc.RpcError) as error:
            api.predict("m", x)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        load(api)
        live.await_answers(20)
    assert not live.wrong
    assert {error.split(":")[0] for error in live.errors} <= {"UNAVAILABLE"}
    assert all(error.endswith(("is not loaded", "is loading; retry later"))
               for error in live.errors), set(live.errors)


def test_explicit_control_loads_nothing_unasked(repository, x):
    with ServerProcess(repository, "--model-control=explicit") as server:
        api = fff_api.Api(server.target)
        assert index(api)["m", "1"][0] == "UNAVAILABLE"
        assert api.oip.ServerReady(oip.ServerReadyRequest()).ready
        load(api)
        assert api.predict("m", x).version == 1
        write_version(repository, 2, 2)
        assert api.predict("m", x).version == 1
        load(api)
        assert api.predict("m", x).version == 2
        api.close()


def test_no_control_refuses_load_and_unload(repository, x):
    with ServerProcess(repository, "--model-control=none") as server:
        api = fff_api.Api(server.target)
        for call in (load, unload):
            with pytest.raises(grpc.RpcError) as error:
                call(api)
            assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert api.predict("m", x).version == 1
        api.close()


def test_a_name_with_a_colon_is_that_models_failure(repository):
    conftest.add_model(repository, "a:b", CHECKPOINT)
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)
        found = index(api)
        assert found["m", "1"] == ("READY", "")
        assert found["a:b", "0"][0] == "UNAVAILABLE"
        assert "cannot be a model name" in found["a:b", "0"][1]
        api.close()


def big_model(repository, name, levels=13, width=512):
    """A path network of some 34 MB, and a dense twin of as much again."""
    rng = np.random.default_rng(1)
    nodes = 2 ** levels - 1
    directory = repository / name / "1"
    directory.mkdir(parents=True)
    (repository / name / "config.json").write_text(json.dumps(LAYERS))
    safetensors_file.write(directory / "model.safetensors", {
        "X": rng.standard_normal((nodes, width)).astype(np.float32),
        "Y": rng.standard_normal((nodes, width)).astype(np.float32)})


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ,
                    reason="AddressSanitizer keeps freed memory to itself")
def test_unload_gives_the_memory_back(tmp_path):
    big_model(tmp_path, "big")
    x = np.random.default_rng(2).standard_normal((300, 512)).astype(np.float32)
    # One worker: each keeps the row buffers of its largest batch.
    with ServerProcess(tmp_path, "--threads=1") as server:
        api = fff_api.Api(server.target)

        def use():
            for dense in (False, True):
                api.predict("big", x, dense=dense)

        use()
        loaded = server.memory_bytes()
        unload(api, "big")
        idle = server.memory_bytes()
        sizes = []
        for _ in range(5):
            load(api, "big")
            use()
            sizes.append(server.memory_bytes())
            unload(api, "big")
            sizes.append(server.memory_bytes())
        checkpoint = (tmp_path / "big" / "1" / "model.safetensors").stat().st_size
        print(f"RSS MB: loaded {loaded >> 20}, unloaded {idle >> 20}, then "
              f"{[size >> 20 for size in sizes]}")
        # Weights of both networks are gone; what remains does not grow but for
        # pieces: 3 to 16 MB more over 160 reloads, up and down. One network kept
        # would be a whole checkpoint a reload.
        assert loaded - idle > 1.8 * checkpoint
        assert max(sizes[1::2]) - idle < 0.6 * checkpoint
        maps = pathlib.Path(f"/proc/{server.process.pid}/maps").read_text()
        assert "model.safetensors" not in maps
        api.close()
