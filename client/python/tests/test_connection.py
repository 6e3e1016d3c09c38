"""Targets, readiness, and what a client looks like."""

import asyncio
import concurrent.futures

import grpc
import pytest

from fff_client import AsyncClient, Client, ServingError
from fff_client.client import pb, pb_grpc
from fff_client.connection import target_of


@pytest.mark.parametrize("target", [
    "127.0.0.1:8001", "localhost:1", "[::1]:8001", "host.example:65535", "unix:/run/fff",
    "unix:///run/fff", "dns:///host:8001", "ipv4:10.0.0.1:8001,10.0.0.2:8001",
    "xds:///fff", "dns:8001"])
def test_targets_of_grpc_are_taken_as_they_are(target):
    assert target_of(target) == target


@pytest.mark.parametrize("target, said", [
    ("http://host:8000", ["without http://, as 'host:8000'", "speaks gRPC", "--grpc-port"]),
    ("grpc://host:8001", ["got 'grpc://host:8001', wanted 'host:port' without grpc://, as "
                          "'host:8001'"]),
    ("https://host:8001/v2", ["as 'host:8001' and credentials=grpc.ssl_channel_cred"]),
    ("grpcs://host:8001", ["credentials=grpc.ssl_channel_credentials() for TLS"]),
    ("localhost", ["got 'localhost', wanted 'host:port', as '127.0.0.1:8001'"]),
    ("host:http", ["wanted 'host:port'"]), ("host:0", ["wanted 'host:port'"]),
    ("host:65536", ["wanted 'host:port'"]), (":8001", ["wanted 'host:port'"]),
    ("", ["wanted 'host:port'"]), (8001, ["got a int, wanted 'host:port'"]),
])
def test_a_target_that_is_none_is_refused_with_the_reason(target, said):
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError) as error:
            kind(target)
        for words in ["target", *said]:
            assert words in str(error.value)


def test_without_a_target_the_environment_says_where(monkeypatch):
    monkeypatch.delenv("FFF_SERVER", raising=False)
    assert repr(Client()) == "Client('127.0.0.1:8001')"
    monkeypatch.setenv("FFF_SERVER", "")
    assert repr(AsyncClient()) == "AsyncClient('127.0.0.1:8001')"
    monkeypatch.setenv("FFF_SERVER", "models.example:9")
    assert repr(Client()) == "Client('models.example:9')"
    assert repr(Client("other:8")) == "Client('other:8')"
    monkeypatch.setenv("FFF_SERVER", "http://models.example")
    with pytest.raises(ValueError, match="the environment variable FFF_SERVER: got 'http:"):
        AsyncClient()


class Service(pb_grpc.InferenceServiceServicer):
    STATES = {"m": pb.MODEL_STATE_READY, "new": pb.MODEL_STATE_LOADING}

    def GetModel(self, request, context):
        if request.model == "mine":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not yours")
        if request.model not in self.STATES:
            context.abort(grpc.StatusCode.NOT_FOUND, "no model")
        return pb.GetModelResponse(
            summary=pb.ModelSummary(state=self.STATES[request.model]))


def health(state):
    """Answers as grpc.health.v1 does: 1 is SERVING, 2 NOT_SERVING."""
    check = grpc.unary_unary_rpc_method_handler(
        lambda request, context: bytes([8, state]), bytes, bytes)
    return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})


def is_ready(address, *arguments, **options):
    """What both clients say, which must be the same."""
    async def ask():
        async with AsyncClient(address) as client:
            return await client.is_ready(*arguments, **options)

    with Client(address) as client:
        ready = client.is_ready(*arguments, **options)
    assert asyncio.run(ask()) is ready
    return ready


@pytest.mark.parametrize("state, ready", [(1, True), (2, False)])
def test_a_server_and_its_models_are_ready_or_not(state, ready):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    pb_grpc.add_InferenceServiceServicer_to_server(Service(), server)
    server.add_generic_rpc_handlers((health(state),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        assert is_ready(address) is ready
        assert is_ready(address, "m") is True
        assert is_ready(address, "new") is False
        assert is_ready(address, "nowhere") is False
        with pytest.raises(ServingError, match="PERMISSION_DENIED: not yours"):
            is_ready(address, "mine")
    finally:
        server.stop(None)


def test_a_server_that_is_not_there_is_not_ready():
    assert is_ready("127.0.0.1:1") is False
    assert is_ready("127.0.0.1:1", "m") is False


def test_a_server_that_hangs_is_not_ready_in_time():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    assert is_ready(address, timeout=0.2) is False  # it was never started
    server.stop(None)
