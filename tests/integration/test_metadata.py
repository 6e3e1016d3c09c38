"""Large metadata of one call, and the calls beside it on its connection."""

import collections
import re
import threading
import urllib.request

import grpc
import numpy as np
import pytest

import conftest
import fff_api
from server_process import ServerProcess

MODEL = "sapient-128x64"
X = np.ones((1, 128), np.float32)
BESIDE = 20  # calls before, and as many after
LIMIT = 65536


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    repository = tmp_path_factory.mktemp("models")
    conftest.add_model(repository, MODEL,
                       conftest.REFERENCE / "vectors" / MODEL / "model.safetensors")
    with ServerProcess(repository) as running:
        yield running


@pytest.fixture
def api(server):
    api = fff_api.Api(server.target)
    yield api
    api.close()


def outcome(call):
    try:
        fff_api.output_of(call.result(timeout=fff_api.DEADLINE_SECONDS))
        return grpc.StatusCode.OK
    except grpc.RpcError as error:
        return error.code()


def starters(api):
    """Starts a call of either API, given its metadata."""
    return {"Predict": lambda **given: api.own.Predict.future(
                fff_api.predict_request(MODEL, X), **given),
            "ModelInfer": lambda **given: api.oip.ModelInfer.future(
                fff_api.infer_request(MODEL, X), **given)}


def refused_metadata(server):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/metrics") as page:
        text = page.read().decode()
    return int(re.search(r"^fff_metadata_refused_total (\d+)$", text, re.M).group(1))


# Each shape has entries of its own: one large token, many small headers, binary values
# (longer on the wire than in memory).
SHAPES = {
    "token": lambda n: [("authorization", "x" * n)],
    "headers": lambda n: [(f"x-mesh-{i}", "y" * 100) for i in range(n // 140)],
    "binary": lambda n: [("trace-bin", bytes(n))]}


@pytest.mark.parametrize("method", ["Predict", "ModelInfer"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size, wanted", [
    (7000, "OK"), (7700, "OK"), (8300, "OK"), (60000, "OK"),
    (70000, "RESOURCE_EXHAUSTED"), (1000000, "RESOURCE_EXHAUSTED"),
    (1900000, "RESOURCE_EXHAUSTED")])
def test_a_call_with_large_metadata_leaves_those_beside_it_alone(
        server, api, method, shape, size, wanted):
    start = starters(api)[method]
    start().result(timeout=fff_api.DEADLINE_SECONDS)  # connected
    refused_before = refused_metadata(server)
    beside = [start() for _ in range(BESIDE)]
    large = start(metadata=SHAPES[shape](size))
    beside += [start() for _ in range(BESIDE)]
    assert outcome(large).name == wanted
    if wanted != "OK":
        assert f"wanted at most {LIMIT} (--max-metadata-bytes)" in large.details()
    assert collections.Counter(map(outcome, beside)) == {grpc.StatusCode.OK: 2 * BESIDE}
    assert refused_metadata(server) - refused_before == (wanted != "OK")


@pytest.mark.parametrize("size", [8300, 70000, 1000000])
def test_a_stream_on_the_connection_goes_on(api, size):
    answered = threading.Event()  # answers come as they are ready, in any order

    def requests():
        yield fff_api.infer_request(MODEL, X, id="before")
        assert answered.wait(fff_api.DEADLINE_SECONDS)
        large = api.oip.ModelInfer.future(fff_api.infer_request(MODEL, X),
                                          metadata=SHAPES["token"](size))
        outcome(large)
        yield fff_api.infer_request(MODEL, X, id="after")

    answers = []
    for answer in api.oip.ModelStreamInfer(requests(), timeout=fff_api.DEADLINE_SECONDS):
        answers.append(answer)
        answered.set()
    assert [answer.infer_response.id for answer in answers] == ["before", "after"]
    assert not any(answer.error_message for answer in answers)


@pytest.mark.parametrize("stream, request_of", [
    (lambda api: api.own.PredictStream, fff_api.predict_request),
    (lambda api: api.oip.ModelStreamInfer, fff_api.infer_request)])
def test_a_stream_with_large_metadata_is_refused(server, api, stream, request_of):
    refused_before = refused_metadata(server)
    call = stream(api)(iter([request_of(MODEL, X)]), metadata=SHAPES["token"](70000),
                       timeout=fff_api.DEADLINE_SECONDS)
    with pytest.raises(grpc.RpcError) as error:
        list(call)
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "--max-metadata-bytes" in error.value.details()
    assert refused_metadata(server) == refused_before + 1


def raw(api, method, streams):
    """A call of bytes whose answers are read, or the error it ends with."""
    kind = {"unary": api.channel.unary_unary, "server": api.channel.unary_stream,
            "both": api.channel.stream_stream}[streams]
    call = kind(method)

    def start(request, **given):
        request = iter([request]) if streams == "both" else request
        answer = call(request, timeout=fff_api.DEADLINE_SECONDS, **given)
        return answer if streams == "unary" else next(answer)

    return start


@pytest.mark.parametrize("method, streams, request_bytes", [
    ("/grpc.health.v1.Health/Check", "unary", b""),
    ("/grpc.health.v1.Health/Watch", "server", b""),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "both", b"\x3a\x01*"),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "both",
     b"\x3a\x01*")])
def test_what_may_stay_open_holds_no_large_metadata(server, api, method, streams,
                                                    request_bytes):
    start = raw(api, method, streams)
    assert start(request_bytes, metadata=SHAPES["token"](60000))
    refused_before = refused_metadata(server)
    with pytest.raises(grpc.RpcError) as error:
        start(request_bytes, metadata=SHAPES["token"](70000))
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "--max-metadata-bytes" in error.value.details()
    assert refused_metadata(server) == refused_before + 1


def test_calls_that_are_answered_at_once_are_answered(api):
    metadata = SHAPES["token"](200000)
    assert api.oip.ServerLive(fff_api.oip.ServerLiveRequest(), metadata=metadata).live
    assert api.oip.ModelReady(fff_api.oip.ModelReadyRequest(name=MODEL),
                              metadata=metadata).ready


def test_the_limit_is_a_flag(server, tmp_path):
    conftest.add_model(tmp_path, MODEL,
                       conftest.REFERENCE / "vectors" / MODEL / "model.safetensors")
    with ServerProcess(tmp_path, "--max-metadata-bytes=4KiB") as strict:
        api = fff_api.Api(strict.target)
        start = starters(api)["Predict"]
        assert outcome(start(metadata=SHAPES["token"](3000))) == grpc.StatusCode.OK
        assert outcome(start(metadata=SHAPES["token"](5000))) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED)
        api.close()
