"""The access log while it is rotated or cannot be written, signals, and CPU quotas."""

import json
import os
import pathlib
import re
import signal
import time
import urllib.request

import numpy as np
import pytest

import conftest
import fff_api
from cgroups import cpu_cgroup
from server_process import SECONDS_MAX, ServerProcess

MODEL = "sapient-128x64"


@pytest.fixture
def repository(tmp_path):
    repository = tmp_path / "models"
    conftest.add_model(repository, MODEL,
                       conftest.REFERENCE / "vectors" / MODEL / "model.safetensors")
    return repository


def ask(server, request_id):
    api = fff_api.Api(server.target)
    x = np.ones((1, 128), np.float32)
    fff_api.output_of(api.predict(MODEL, x, request_id=request_id))
    api.close()


def ids(path):
    return [json.loads(line)["request_id"] for line in path.read_text().splitlines()]


def await_true(condition):
    end = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def metric(server, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/metrics") as page:
        return float(re.search(rf"^{name} (\S+)$", page.read().decode(), re.M).group(1))


def test_sighup_makes_a_new_access_log(repository, tmp_path):
    log, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    with ServerProcess(repository, f"--access-log={log}") as server:
        ask(server, "before")
        await_true(lambda: ids(log) == ["before"])
        log.rename(moved)
        ask(server, "between")
        await_true(lambda: len(ids(moved)) == 2)
        server.process.send_signal(signal.SIGHUP)
        await_true(log.exists)
        ask(server, "after")
        await_true(lambda: ids(log) == ["after"])
        assert ids(moved) == ["before", "between"]
        assert metric(server, "fff_access_log_lines_lost_total") == 0


def test_copytruncate_loses_nothing_that_comes_later(repository, tmp_path):
    log = tmp_path / "access.log"
    with ServerProcess(repository, f"--access-log={log}") as server:
        ask(server, "before")
        await_true(lambda: ids(log) == ["before"])
        os.truncate(log, 0)
        ask(server, "after")
        await_true(lambda: ids(log) == ["after"])


def test_a_log_that_cannot_be_made_again_is_told_and_the_old_one_goes_on(
        repository, tmp_path):
    directory = tmp_path / "log"
    directory.mkdir()
    log, moved = directory / "access.log", tmp_path / "moved.log"
    with ServerProcess(repository, f"--access-log={log}") as server:
        log.rename(moved)
        directory.rmdir()
        server.process.send_signal(signal.SIGHUP)
        line = server.await_line("cannot open the access log")
        assert "No such file or directory" in line
        ask(server, "after")
        await_true(lambda: ids(moved) == ["after"])


@pytest.mark.parametrize("flags", [(), ("--access-log=-",)])
def test_signals_that_ask_for_nothing_do_no_harm(repository, flags):
    with ServerProcess(repository, *flags) as server:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE):
            server.process.send_signal(number)
            ask(server, "still there")
        assert server.process.poll() is None


def test_a_sighup_during_the_start_is_taken(repository, tmp_path):
    log = tmp_path / "access.log"
    server = ServerProcess(repository, f"--access-log={log}", wait=False)
    await_true(log.exists)  # before any model is loaded
    server.process.send_signal(signal.SIGHUP)
    server.await_listening()
    with server:
        ask(server, "served")
        await_true(lambda: ids(log) == ["served"])


def test_a_full_disk_is_told_once_counted_and_harms_no_request(repository):
    with ServerProcess(repository, "--access-log=/dev/full") as server:
        for i in range(20):
            ask(server, str(i))
        await_true(lambda: metric(server, "fff_access_log_lines_lost_total") == 20)
        told = [line for line in server.log if "cannot write the access log" in line]
        assert len(told) == 1 and "No space left on device" in told[0]


def workers(server):
    tasks = pathlib.Path(f"/proc/{server.process.pid}/task")
    names = [(task / "comm").read_text().rstrip() for task in tasks.iterdir()]
    return sum(name.startswith("fff-worker-") for name in names)


@pytest.mark.parametrize("cpus, wanted", [(1, 1), (0.5, 1), (1.5, 2)])
def test_a_cpu_quota_of_its_own_group_bounds_the_workers(repository, cpus, wanted):
    available = len(os.sched_getaffinity(0))
    if available < 2:
        pytest.skip("one CPU: a quota changes nothing")
    with cpu_cgroup(f"fff_quota_{os.getpid()}", cpus) as group:
        if group.path is None:
            pytest.skip(group.reason)
        with ServerProcess(repository, within=group.command) as server:
            await_true(lambda: workers(server) == wanted)
            ask(server, "served")
    with ServerProcess(repository) as free:
        await_true(lambda: workers(free) == available)


def test_json_logs_have_fields(repository):
    (repository / "bad" / "1").mkdir(parents=True)
    (repository / "bad" / "1" / "model.safetensors").write_bytes(b"not a checkpoint")
    with ServerProcess(repository, "--log-format=json") as server:
        lines = [json.loads(line) for line in server.text().splitlines()]
    events = {(line.get("event"), line.get("model")): line for line in lines}
    loaded = events["loaded", MODEL]
    assert loaded["version"] == 1 and loaded["level"] == "info"
    assert loaded["file"] == "model.safetensors" and loaded["device"] == "cpu"
    assert loaded["seconds"] > 0 and loaded["message"].startswith("loaded model=")
    failed = events["load_failed", "bad"]
    assert failed["level"] == "error" and "model.safetensors" in failed["reason"]
    assert events["listening", None]["grpc"] in server.text()
