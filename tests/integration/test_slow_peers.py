"""Hundreds of clients that write or read slowly, and a server that the kernel would
kill if it took more memory than a small container has."""

import os
import resource
import threading

import grpc
import numpy as np
import pytest

import conftest
import fff_api
from http2_peer import Announced, Peer, message_bytes
from cgroups import memory_cgroup
from server_process import ServerProcess
from test_metrics import scrape, total

CASE = "sapient-128x64"
# AddressSanitizer keeps freed memory to itself, and is slow.
SANITIZED = "ASAN_OPTIONS" in os.environ
PEERS = 60 if SANITIZED else 500
LIMIT = 512 << 20
MESSAGE_MAX = 64 << 20  # the server's default
PREDICT = "/fff.v1.InferenceService/Predict"
PREDICT_STREAM = "/fff.v1.InferenceService/PredictStream"
# As deploy/README.md tells clients to be.
RETRIES = """{"methodConfig": [{"name": [{"service": "fff.v1.InferenceService"}],
  "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "1s",
                  "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"""


@pytest.fixture(scope="module", autouse=True)
def open_files():
    """A socket a peer, on both sides: the server inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * PEERS + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"{hard} open files are allowed, {wanted} wanted")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def cgroup():
    with memory_cgroup(f"fff_slow_peers_{os.getpid()}", LIMIT) as group:
        if SANITIZED:
            group.command = lambda words: words
        yield group


@pytest.fixture
def server(tmp_path, cgroup):
    conftest.add_model(tmp_path, "m",
                       conftest.REFERENCE / "vectors" / CASE / "model.safetensors")
    flags = ["--unread-answer-timeout=1", "--drain-timeout=1"]
    if cgroup.path is None or SANITIZED:  # what it would choose in the cgroup
        flags.append(f"--request-memory-bytes={LIMIT // 4}")
    with ServerProcess(tmp_path, *flags, within=cgroup.command) as running:
        yield running


def rows(count):
    return np.random.default_rng(count).standard_normal((count, 128)).astype(np.float32)


class WellBehaved:
    """Asks on one channel, now and then, and checks every answer."""

    def __init__(self, server):
        self.channel = grpc.insecure_channel(
            server.target, options=[("grpc.service_config", RETRIES)])
        self._call = fff_api.v1_grpc.InferenceServiceStub(self.channel).Predict
        self._wanted = {count: self._ask(count) for count in (1, 300)}

    def _ask(self, count):
        return fff_api.output_of(
            self._call(fff_api.predict_request("m", rows(count)), timeout=60))

    def check(self, count=1):
        np.testing.assert_allclose(self._ask(count), self._wanted[count], atol=1e-4)

    def check_patiently(self, count):
        """For a minute at least the memory may be full: a busy machine takes its time
        to drop what hundreds of clients do not read. While it is full of requests that
        arrive, gRPC ends idle connections, on a busy machine all four of RETRIES."""
        for _ in range(600):
            try:
                return self.check(count)
            except grpc.RpcError as error:
                assert error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED,
                                        grpc.StatusCode.UNAVAILABLE), error
                threading.Event().wait(0.1)  # as the answer's retry hint says
        return self.check(count)


@pytest.fixture
def client(server):
    opened = WellBehaved(server)
    yield opened
    opened.channel.close()


def step_all(peers, rounds, bytes_a_round, each_round):
    """Peers that the server has hung up on are left out; it may, when its memory is
    short. Returns the others."""
    alive = list(peers)
    for _ in range(rounds):
        for peer in list(alive):
            try:
                peer.step(bytes_a_round)
            except OSError:
                alive.remove(peer)
        each_round()
    return alive


def forget_peak(server):
    """VmHWM starts anew: what starting took is not the peers' doing."""
    with open(f"/proc/{server.process.pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def assert_stayed_below_the_limit(server):
    assert server.alive(), server.text()[-2000:]
    if not SANITIZED:
        assert server.memory_bytes("VmHWM") < LIMIT * 0.8


def assert_memory_comes_back(server, client, idle_bytes):
    """Once the peers are gone: the gauges, then what is resident."""
    for _ in range(400):
        client.check_patiently(1)
        values, _ = scrape(server)
        threading.Event().wait(0.1)
        if (total(values, "fff_inflight_requests") == 0 and (
                SANITIZED or server.memory_bytes() < idle_bytes + (64 << 20))):
            break
    assert total(values, "fff_inflight_requests") == 0
    if not SANITIZED:
        assert server.memory_bytes() < idle_bytes + (64 << 20)
    client.check(300)


def test_the_kernel_holds_the_server_to_the_limit(cgroup, server):
    if cgroup.path is None or SANITIZED:
        pytest.skip(cgroup.reason or "AddressSanitizer wants memory without bound")
    text = (cgroup.path / "cgroup.procs").read_text(encoding="ascii")
    assert str(server.process.pid) in text.split()


def test_clients_that_write_a_few_bytes_at_a_time_cost_a_few_bytes(server, client):
    forget_peak(server)
    idle = server.memory_bytes()
    peers = [Peer(server.grpc_port, PREDICT, Announced(MESSAGE_MAX)) for _ in range(PEERS)]
    alive = step_all(peers, 100, 7, client.check)
    # What is announced is not what is kept: all are still there, and room for others.
    assert len(alive) == PEERS
    assert all(peer.sent == 700 for peer in peers)
    assert_stayed_below_the_limit(server)
    if not SANITIZED:
        assert server.memory_bytes("VmHWM") - idle < PEERS * 100_000
    for _ in range(20):
        client.check(300)
    for peer in peers:
        peer.close()
    assert_memory_comes_back(server, client, idle)


def test_clients_that_never_finish_writing_hold_a_bounded_memory(server, client):
    idle = server.memory_bytes()
    peers = [Peer(server.grpc_port, PREDICT, Announced(MESSAGE_MAX)) for _ in range(PEERS)]
    # More than the server may take in all, or they would prove nothing.
    for _ in range(1 if SANITIZED else 10):
        step_all(peers, 100, 16384, lambda: client.check_patiently(1))
        if sum(peer.sent for peer in peers) > LIMIT / 2:
            break
    assert SANITIZED or sum(peer.sent for peer in peers) > LIMIT / 2
    assert not any(peer.done for peer in peers)
    assert_stayed_below_the_limit(server)
    for peer in peers:
        peer.close()
    assert_memory_comes_back(server, client, idle)


def ask_and_never_read(server, client, path, body):
    """A few at a time: hundreds of halves would be dropped before one is whole."""
    peers = []
    while len(peers) < PEERS:
        asking = [Peer(server.grpc_port, path, body, window=0) for _ in range(20)]
        peers += asking
        for _ in range(20 * len(body) // 16384):  # 20 times what it takes
            asking = [peer for peer in step_all(
                asking, 1, 16384, lambda: client.check_patiently(1)) if not peer.done]
            if not asking:
                break
    assert sum(peer.done for peer in peers) > PEERS / 2
    return peers


@pytest.mark.parametrize("path, requests", [(PREDICT, 1), (PREDICT_STREAM, 2)])
def test_clients_that_never_read_hold_a_bounded_memory_for_a_bounded_time(
        server, client, path, requests):
    idle = server.memory_bytes()
    request = fff_api.predict_request("m", rows(1000 // requests))
    body = message_bytes(request.SerializeToString()) * requests
    peers = ask_and_never_read(server, client, path, body)
    assert_stayed_below_the_limit(server)
    # They are all still connected, and others are served: what nobody reads is dropped.
    for _ in range(600):
        step_all(peers, 1, 16384, lambda: client.check_patiently(300))
        dropped = any("their clients do not read" in line for line in server.log)
        if dropped or SANITIZED:  # too few of them to fill the memory
            break
        threading.Event().wait(0.1)
    assert dropped or SANITIZED
    for peer in peers:
        peer.close()
    assert_memory_comes_back(server, client, idle)
