"""Where the server listens: IPv6, Unix sockets, and what it says when it cannot."""

import os
import pathlib
import signal
import socket
import subprocess
import urllib.request

import numpy as np
import pytest

import conftest
import fff_api
from server_process import ServerProcess

CASE = "sapient-128x64"
X = np.ones((2, 128), np.float32)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


@pytest.fixture
def repository(tmp_path):
    path = tmp_path / "models"
    path.mkdir()
    conftest.add_model(path, "m",
                       conftest.REFERENCE / "vectors" / CASE / "model.safetensors")
    return path


def get(address, path="/readyz"):
    with urllib.request.urlopen(f"http://{address}{path}", timeout=60) as answer:
        return answer.read().decode()


def serves_at(target):
    """Both APIs, and fffctl."""
    api = fff_api.Api(target)
    assert fff_api.output_of(api.predict("m", X)).shape[0] == 2
    assert fff_api.output_of(api.infer("m", X)).shape[0] == 2
    api.close()
    done = subprocess.run([os.environ["FFF_CTL_BINARY"], "--server", target, "models"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "ready" in done.stdout, done.stderr
    return True


def refusal(repository, *flags, code=1):
    server = ServerProcess(repository, *flags, wait=False)
    assert server.exit_code() == code, server.text()
    assert "listening" not in server.text()
    return server.text()


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6_on_both_ports(repository, host):
    with ServerProcess(repository, f"--host={host}") as server:
        assert server.grpc_address == f"[::1]:{server.grpc_port}"
        assert server.http_address == f"[::1]:{server.http_port}"
        assert serves_at(server.grpc_address)
        assert get(server.http_address) == "ready\n"
        # The address that was asked for, and no other.
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", server.http_port))


@needs_ipv6
def test_the_ipv6_wildcard_takes_both_families(repository):
    assert "--host=:: is reached by other machines" in refusal(repository, "--host=::")
    with ServerProcess(repository, "--host=::", "--insecure") as server:
        assert server.grpc_address == f"[::]:{server.grpc_port}"
        for address in ("127.0.0.1", "[::1]"):
            assert serves_at(f"{address}:{server.grpc_port}")
            assert get(f"{address}:{server.http_port}") == "ready\n"


def test_a_name_with_several_addresses_is_one_port(repository):
    with ServerProcess(repository, "--host=localhost") as server:
        assert server.grpc_address.startswith("localhost:")
        assert serves_at(server.grpc_address)
        assert get(server.http_address) == "ready\n"


@pytest.mark.parametrize("form", ["unix:{}", "unix://{}"])
def test_grpc_on_a_unix_socket(repository, tmp_path, form):
    path = tmp_path / "fff.sock"
    with ServerProcess(repository, f"--host={form.format(path)}") as server:
        assert server.grpc_address == f"unix:{path}"
        assert server.http_address == f"127.0.0.1:{server.http_port}"
        assert serves_at(server.grpc_address)
        assert get(server.http_address) == "ready\n"
        text = refusal(repository, f"--host=unix:{path}")
        assert f"cannot listen on unix:{path} for gRPC: Address already in use" in text
        assert serves_at(server.grpc_address), "the first one keeps its socket"
    assert not path.exists()


def test_a_killed_servers_socket_is_taken_over(repository, tmp_path):
    path = tmp_path / "fff.sock"
    killed = ServerProcess(repository, f"--host=unix:{path}")
    killed.process.send_signal(signal.SIGKILL)
    killed.exit_code()
    assert path.is_socket()
    with ServerProcess(repository, f"--host=unix:{path}") as server:
        assert serves_at(server.grpc_address)


@pytest.mark.parametrize("host", ["127.0.0.1:8001", "[::1]:8001", "localhost:8001"])
def test_a_port_in_the_host_is_told_where_it_belongs(repository, host):
    text = refusal(repository, f"--host={host}", code=2)
    assert (f"--host: got '{host}', wanted an address without a port: --grpc-port and "
            "--http-port take the ports") in text


@pytest.mark.parametrize("flag, kind", [("--grpc-port", "gRPC"), ("--http-port", "HTTP")])
@pytest.mark.parametrize("host, shown", [
    ("127.0.0.1", "127.0.0.1"), pytest.param("::1", "[::1]", marks=needs_ipv6)])
def test_says_that_the_port_is_in_use(repository, flag, kind, host, shown):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as other:
        other.bind((host, 0))
        other.listen()
        port = other.getsockname()[1]
        text = refusal(repository, f"--host={host}", f"{flag}={port}")
    assert f"cannot listen on {shown}:{port} for {kind}: Address already in use" in text


def test_says_what_else_is_wrong_with_an_address(repository, tmp_path):
    text = refusal(repository, "--host=192.0.2.1", "--insecure")
    assert "for gRPC: Cannot assign requested address" in text
    text = refusal(repository, "--host=no-such-host.invalid", "--insecure")
    assert "cannot listen on no-such-host.invalid:0 for gRPC: " in text
    assert "in use" not in text
    text = refusal(repository, f"--host=unix:{tmp_path}/nowhere/x")
    assert "No such file or directory" in text
    path = pathlib.Path(tmp_path / "file")
    path.write_text("kept")
    text = refusal(repository, f"--host=unix:{path}")
    assert "Address already in use" in text and path.read_text() == "kept"
