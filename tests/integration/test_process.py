"""The process: its log line, ports, readiness, and how it stops."""

import collections
import concurrent.futures
import json
import pathlib
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest

import conftest
import fff_api
import server_process
from server_process import ServerProcess
from test_metrics import scrape, total

CASE = "sapient-128x64"
DELAY_US = 10_000_000  # the longest that a config may ask for


@pytest.fixture
def repository(tmp_path):
    conftest.add_model(tmp_path, "m",
                       conftest.REFERENCE / "vectors" / CASE / "model.safetensors")
    return tmp_path


def get(server, path):
    """(status, body)"""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}{path}") as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def health(api, service):
    call = api.channel.unary_unary("/grpc.health.v1.Health/Check")
    request = b"\n" + bytes([len(service)]) + service.encode() if service else b""
    return call(request, timeout=60)


SERVING = b"\x08\x01"


def test_listening_line_names_the_real_ports(repository):
    with ServerProcess(repository) as server:
        assert server.grpc_port > 0 and server.http_port > 0
        assert get(server, "/healthz") == (200, "ok\n")
        assert get(server, "/readyz") == (200, "ready\n")
        api = fff_api.Api(server.target)
        for service in ("", "fff.v1.InferenceService", "inference.GRPCInferenceService"):
            assert health(api, service) == SERVING
        assert api.oip.ServerReady(fff_api.oip.ServerReadyRequest()).ready
        api.close()


@pytest.mark.parametrize("taken, kind", [("grpc", "gRPC"), ("http", "HTTP")])
def test_second_server_on_the_port_fails_with_a_clear_message(repository, taken, kind):
    with ServerProcess(repository) as server:
        port = server.grpc_port if taken == "grpc" else server.http_port
        second = ServerProcess(repository, f"--{taken}-port={port}", wait=False)
        assert second.exit_code() == 1
        assert f"cannot listen on 127.0.0.1:{port} for {kind}" in second.text()
        assert "listening grpc" not in second.text()
        assert get(server, "/readyz")[0] == 200


def thread_names(server):
    tasks = pathlib.Path(f"/proc/{server.process.pid}/task")
    return {(task / "comm").read_text().rstrip() for task in tasks.iterdir()}


def names_in_the_table():
    """Of server/README.md; N stands for a number."""
    readme = pathlib.Path(__file__).resolve().parents[2] / "server" / "README.md"
    table = readme.read_text(encoding="utf-8").partition("\n## Threads\n")[2]
    rows = table.partition("\n|")[2].partition("\n\n")[0].splitlines()
    names = {name for row in rows for name in re.findall(r"`(fff-[a-zN-]+)`",
                                                         row.split("|")[2])}
    return names - {"fff-benchmark"}  # while such a call runs


def test_threads_have_the_names_that_the_table_gives(repository, tmp_path_factory):
    access_log = tmp_path_factory.mktemp("log") / "access.log"
    with ServerProcess(repository, f"--access-log={access_log}", "--threads=2",
                       "--grpc-queues=2", "--otlp-endpoint=127.0.0.1:1") as server:
        # A thread names itself; what started last may not have begun.
        names = thread_names(server)
        for _ in range(600):
            if {re.sub(r"\d+$", "N", name) for name in names} >= names_in_the_table():
                break
            time.sleep(0.1)
            names = thread_names(server)
        ours = {name for name in names if name.startswith("fff-")}
        assert {re.sub(r"\d+$", "N", name) for name in ours} == names_in_the_table()
        assert {"fff-worker-0", "fff-worker-1", "fff-queue-0", "fff-queue-1"} <= ours


def test_sigterm_answers_the_calls_in_flight(repository, tmp_path_factory):
    x = np.random.default_rng(1).standard_normal((2000, 128)).astype(np.float32)
    served = [threading.Event() for _ in range(8)]  # one a client
    access_log = tmp_path_factory.mktemp("log") / "access.log"
    flags = [f"--access-log={access_log}", "--drain-timeout=100"]
    # The server ends first, and with it the clients, also where an assert fails.
    with concurrent.futures.ThreadPoolExecutor(len(served)) as pool, (
            ServerProcess(repository, *flags)) as server:
        api = fff_api.Api(server.target)
        wanted = fff_api.output_of(api.predict("m", x))

        def ask_until_refused(answered):
            """How many answers came, all of them right, and what ended them."""
            answers = 0
            while True:
                try:
                    y = fff_api.output_of(api.predict("m", x))
                except grpc.RpcError as error:
                    return answers, error.code()
                np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-4)
                answers += 1
                answered.set()

        clients = [pool.submit(ask_until_refused, answered) for answered in served]
        assert all(answered.wait(120) for answered in served)
        # Each has asked again, or is about to.
        assert server.stop() == 0
        results = [client.result(timeout=120) for client in clients]
        api.close()
    # What the server took it answered or refused, and every answer arrived.
    logged = collections.Counter(json.loads(line)["status"]
                                 for line in access_log.read_text().splitlines())
    assert set(logged) <= {"OK", "UNAVAILABLE"}
    assert logged["OK"] == 1 + sum(answers for answers, _ in results)
    # A request of which a part was still under way when the server ended was never
    # taken; gRPC itself cancels it.
    assert {code for _, code in results} <= {grpc.StatusCode.UNAVAILABLE,
                                             grpc.StatusCode.CANCELLED}
    assert "stopped" in server.text()


def test_both_ports_are_free_while_the_last_calls_are_answered(repository):
    conftest.add_model(repository, "slow", conftest.REFERENCE / "vectors" / CASE
                       / "model.safetensors", batching={"max_queue_delay_us": DELAY_US})
    with ServerProcess(repository, "--drain-timeout=100") as old:
        api = fff_api.Api(old.target)
        call = api.own.Predict.future(
            fff_api.predict_request("slow", np.zeros((1, 128), np.float32)))
        while total(scrape(old)[0], "fff_queue_rows", model="slow") == 0:
            assert not call.done()
        old.process.send_signal(signal.SIGTERM)
        # Whether the gRPC port is free yet is seen by trying; then HTTP's must be.
        while True:
            new = ServerProcess(repository, f"--grpc-port={old.grpc_port}",
                                f"--http-port={old.http_port}", wait=False)
            if new.starts():
                break
            assert new.exit_code() == 1
            assert "for gRPC" in new.text()
        with new:
            assert old.alive() and not call.done()
            call.cancel()
            assert old.exit_code() == 0
            assert get(new, "/readyz")[0] == 200
        api.close()


def test_health_turns_before_the_drain_delay_ends(repository):
    with ServerProcess(repository, "--drain-delay=30") as server:
        api = fff_api.Api(server.target)
        watch = api.channel.unary_stream("/grpc.health.v1.Health/Watch")(
            b"", timeout=60)
        assert next(watch) == SERVING
        server.process.terminate()
        assert next(watch) != SERVING
        # Still answering, and alive, while load balancers look away.
        assert get(server, "/healthz")[0] == 200
        assert get(server, "/readyz")[0] == 503
        x = np.zeros((1, 128), np.float32)
        assert api.predict("m", x).version == 1
        assert not api.oip.ServerReady(fff_api.oip.ServerReadyRequest()).ready
        watch.cancel()
        api.close()
        server.process.terminate()  # a second signal ends the delay


def test_unknown_flag_is_refused(tmp_path):
    result = subprocess.run([server_process.BINARY, "--no-such-flag",
                             f"--model-repository={tmp_path}"],
                            capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "--no-such-flag" in result.stderr + result.stdout


def test_failed_model_stands_beside_served_ones(repository):
    bad = repository / "bad" / "1"
    bad.mkdir(parents=True)
    (bad / "model.safetensors").write_bytes(b"\x00" * 4)
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)
        x = np.zeros((1, 128), np.float32)
        assert api.predict("m", x).version == 1
        with pytest.raises(grpc.RpcError) as error:
            api.predict("bad", x)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "could not be loaded" in error.value.details()
        assert "model.safetensors" in error.value.details()
        index = api.oip.RepositoryIndex(fff_api.oip.RepositoryIndexRequest()).models
        states = {model.name: (model.state, bool(model.reason)) for model in index}
        assert states["bad"] == ("UNAVAILABLE", True)
        assert states["m"] == ("READY", False)
        # Not ready as a whole: the default version of "bad" is not loaded.
        assert get(server, "/readyz")[0] == 503
        assert 'fff_model_load_failures_total{model="bad"} 1' in get(server, "/metrics")[1]
        api.close()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_lists_both_apis(repository, version):
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)
        call = api.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
        list_services = b"\x3a\x01*"  # field 7: list_services
        reply = next(call(iter([list_services]), timeout=60))
        for service in (b"fff.v1.InferenceService", b"inference.GRPCInferenceService",
                        b"grpc.health.v1.Health"):
            assert service in reply
        api.close()
