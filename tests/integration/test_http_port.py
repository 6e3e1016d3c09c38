"""The HTTP port: silent and slow clients, methods, paths that probes ask for."""

import json
import os
import resource
import socket
import subprocess

import pytest

import conftest
from server_process import ServerProcess

CASE = "sapient-128x64"
SECONDS_MAX = 120
HEAD = b" HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    for name in ("m", "unloaded"):
        conftest.add_model(path, name,
                           conftest.REFERENCE / "vectors" / CASE / "model.safetensors")
    return path


@pytest.fixture(scope="module")
def server(repository):
    with ServerProcess(repository, "--benchmark=off") as running:
        yield running


def connect(server):
    return socket.create_connection(("127.0.0.1", server.http_port), SECONDS_MAX)


def exchange(server, request):
    """(status, {header: value}, body) of a request's bytes."""
    with connect(server) as client:
        client.sendall(request)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    return (int(line.split()[1]),
            {name.lower(): value for name, value in
             (field.split(": ", 1) for field in fields)}, body)


def ask(server, path, method="GET"):
    return exchange(server, f"{method} {path}".encode() + HEAD)


def status_and_json(server, path):
    status, headers, body = ask(server, path)
    assert headers["content-type"] == "application/json"
    return status, json.loads(body)


def open_ones(clients):
    """How many the server has not closed."""
    still_open = 0
    for client in clients:
        client.setblocking(False)
        try:
            client.recv(1)
        except BlockingIOError:
            still_open += 1
        except ConnectionResetError:
            pass
    return still_open


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHos"],
                         ids=["silent", "half a head"])
@pytest.mark.parametrize("count", [16, 80])
def test_answers_come_while_others_send_nothing(server, count, sent):
    clients = [connect(server) for _ in range(count)]
    try:
        for client in clients[-16:]:  # older ones may have been closed
            client.sendall(sent)
        rounds = 5
        for _ in range(rounds):
            for path, body in (("/healthz", b"ok\n"), ("/readyz", b"ready\n")):
                assert ask(server, path)[::2] == (200, body)
            assert ask(server, "/metrics")[0] == 200
        # So nothing waited until their time was over. An address has 64 connections;
        # one more costs the oldest.
        assert open_ones(clients) >= min(count, 64 - 3 * rounds)
    finally:
        for client in clients:
            client.close()


def test_a_server_without_descriptors_goes_on_answering(repository):
    with ServerProcess(repository) as server:
        assert ask(server, "/healthz")[0] == 200
        pid = server.process.pid
        highest = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 8, before[1]))
        clients = []
        try:
            # The limits of the port alone would leave room for all of them.
            for _ in range(40):
                clients.append(connect(server))
                assert ask(server, "/readyz")[::2] == (200, b"ready\n")
            assert open_ones(clients) < 10
        finally:
            for client in clients:
                client.close()
        server.await_line("HTTP port: cannot accept a connection: Too many open files")
        assert server.text().count("cannot accept") == 1
        assert ask(server, "/healthz")[::2] == (200, b"ok\n")


def test_stops_at_once_with_silent_connections(repository):
    with ServerProcess(repository) as server:
        clients = [connect(server) for _ in range(60)]
        assert ask(server, "/healthz")[0] == 200
        assert open_ones(clients) == 60
        assert server.stop() == 0
        for client in clients:
            client.close()


@pytest.mark.parametrize("path", ["/", "/metrics", "/metrics/", "/status.json", "/history.json", "/healthz",
                                  "/readyz", "/v2", "/v2/health/live", "/v2/models/m/ready"])
def test_head_has_the_length_and_no_body(server, path):
    status, headers, body = ask(server, path)
    assert status == 200 and len(body) == int(headers["content-length"]) > 0
    head_status, head_headers, head_body = ask(server, path, "HEAD")
    assert (head_status, head_body) == (200, b"")
    assert set(head_headers) == set(headers)
    if not path.startswith(("/metrics", "/history")):  # whose numbers move
        assert head_headers == headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["connection"] == "close"


def test_other_methods_and_paths(server):
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"):
        for path in ("/", "/metrics", "/healthz/", "/v2/models/m/ready"):
            status, headers, _ = ask(server, path, method)
            assert (status, headers["allow"]) == (405, "GET, HEAD"), (method, path)
    for path in ("/nope", "/metricsx", "/v2/models/m", "/../etc/passwd"):
        status, _, body = ask(server, path)
        assert status == 404 and b"/v2/models/NAME/ready" in body, path
    upload = (b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" +
              b"x" * 300000)
    assert exchange(server, upload)[0] == 405


def test_bad_and_large_requests(server):
    for request in (b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01",
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        assert exchange(server, request)[0] == 400, request
    large = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + b"x" * 100000 + b"\r\n\r\n"
    assert exchange(server, large)[0] == 431
    assert exchange(server, b"GET /healthz HTTP/1.0\r\n\r\n")[0] == 200


def test_open_inference_health(server):
    assert status_and_json(server, "/v2/health/live") == (200, {"live": True})
    assert status_and_json(server, "/v2/health/ready") == (200, {"ready": True})
    status, metadata = status_and_json(server, "/v2")
    assert status == 200 and metadata["name"] == "fff-server"
    assert set(metadata) == {"name", "version", "extensions"}
    ready = {"name": "m", "ready": True}
    for path in ("m", "%6d", "m/versions/1"):
        assert status_and_json(server, f"/v2/models/{path}/ready") == (200, ready)
    for path, text in (("x", "not in the repository"), ("%22", "not in the repository"),
                       ("m/versions/2", "has no version 2")):
        status, body = status_and_json(server, f"/v2/models/{path}/ready")
        assert status == 404 and text in body["error"]
    for path in ("m/versions/x", "m/versions/-1", "m%2"):
        assert status_and_json(server, f"/v2/models/{path}/ready")[0] == 400


def test_a_model_that_is_not_loaded_is_not_ready(server):
    subprocess.run([os.environ["FFF_CTL_BINARY"], "--server", server.target, "unload",
                    "unloaded"], check=True, capture_output=True)
    status, body = status_and_json(server, "/v2/models/unloaded/ready")
    assert status == 503 and body["ready"] is False and "not loaded" in body["error"]
    assert status_and_json(server, "/v2/models/m/ready")[0] == 200


def test_server_health_turns_when_a_model_cannot_be_loaded(repository, tmp_path):
    conftest.add_model(tmp_path, "bad",
                       conftest.REFERENCE / "vectors" / CASE / "model.safetensors")
    (tmp_path / "bad" / "1" / "model.safetensors").write_bytes(b"{}")
    with ServerProcess(tmp_path) as server:
        assert status_and_json(server, "/v2/health/live") == (200, {"live": True})
        assert status_and_json(server, "/v2/health/ready") == (503, {"ready": False})
        assert ask(server, "/readyz")[0] == 503
        status, body = status_and_json(server, "/v2/models/bad/ready")
        assert status == 503 and "could not be loaded" in body["error"]
