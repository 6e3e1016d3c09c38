"""Streams of requests over a real server: ids, errors, slow readers, stopping."""

import collections
import queue
import threading

import grpc
import numpy as np
import pytest

import conftest
import fff_api
from fff_api import oip, v1
from server_process import ServerProcess

CASE = "fastfeedforward-mnist-shape"
STREAMS = 8
REQUESTS = 200


@pytest.fixture
def repository(tmp_path):
    conftest.add_model(tmp_path, "m",
                       conftest.REFERENCE / "vectors" / CASE / "model.safetensors")
    return tmp_path


@pytest.fixture
def x():
    return np.random.default_rng(5).standard_normal((64, 784)).astype(np.float32)


def requests(x, count, model="m"):
    for i in range(count):
        yield fff_api.predict_request(model, x[i % len(x)][None], request_id=str(i))


def test_many_streams_get_every_answer_of_their_own(repository, x):
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)
        wanted = fff_api.output_of(api.predict("m", x))
        outcomes = queue.Queue()

        def client(model, call):
            answers = list(call(requests(x, REQUESTS, model), timeout=60))
            close = all(np.allclose(fff_api.output_of(a.response)[0],
                                    wanted[int(a.request_id) % len(x)], atol=1e-4)
                        for a in answers if a.HasField("response"))
            outcomes.put((len({a.request_id for a in answers}), close))

        threads = [threading.Thread(target=client, args=("m", api.own.PredictStream))
                   for _ in range(STREAMS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [outcomes.get() for _ in range(STREAMS)] == [(REQUESTS, True)] * STREAMS
        api.close()


def test_failed_requests_are_answered_between_good_ones(repository, x):
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)

        def mixed():
            for i, request in enumerate(requests(x, 90)):
                if i % 3 == 1:
                    request.model = "nobody"
                if i % 3 == 2:
                    request.input.shape[1] = 3
                yield request

        codes = collections.Counter()
        for answer in api.own.PredictStream(mixed(), timeout=60):
            kind = int(answer.request_id) % 3
            codes[kind, answer.error.code] += 1
        assert codes == {(0, 0): 30, (1, grpc.StatusCode.NOT_FOUND.value[0]): 30,
                         (2, grpc.StatusCode.INVALID_ARGUMENT.value[0]): 30}
        api.close()


def test_the_protocols_stream_names_ids_and_errors(repository, x):
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)

        def stream():
            for i in range(20):
                model = "m" if i % 2 == 0 else "nobody"
                yield fff_api.infer_request(model, x[:1], id=str(i))

        failed = {}
        for answer in api.oip.ModelStreamInfer(stream(), timeout=60):
            failed[answer.infer_response.id] = bool(answer.error_message)
        assert failed == {str(i): i % 2 == 1 for i in range(20)}
        api.close()


def test_a_client_that_does_not_read_does_not_grow_the_server(repository):
    rows = 4096  # 12.8 MB per request
    x = np.zeros((rows, 784), np.float32)
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)
        fff_api.output_of(api.predict("m", x))
        before = server.memory_bytes()
        sent = threading.Semaphore(0)

        def endless():
            while True:
                sent.release()
                yield fff_api.predict_request("m", x)

        call = api.own.PredictStream(endless(), timeout=600)
        try:
            # Some requests are taken, then no more: writing waits for reading.
            taken = 0
            while taken < 64 and sent.acquire(timeout=3):
                taken += 1
            assert taken < 64
            assert server.memory_bytes() - before < 200e6
            # Others are served meanwhile, and this one when it reads again.
            assert api.predict("m", x[:1]).version == 1
            for _ in range(taken):
                assert next(call).response.output.shape == [rows, 10]
        finally:
            call.cancel()  # else its sender outlives the test
            api.close()


@pytest.mark.parametrize("half_close", [True, False])
def test_sigterm_answers_what_was_read_and_ends_streams(repository, x, half_close):
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)
        outgoing = queue.Queue()
        call = api.own.PredictStream(iter(outgoing.get, None), timeout=60)
        for request in requests(x, 20):
            outgoing.put(request)
        first = next(call)
        if half_close:
            outgoing.put(None)
        assert first.HasField("response")
        server.process.terminate()
        answers, code = [first], grpc.StatusCode.OK
        try:
            answers.extend(call)
        except grpc.RpcError as error:
            code = error.code()
        assert all(answer.HasField("response") for answer in answers
                   if answer.error.code != grpc.StatusCode.UNAVAILABLE.value[0])
        assert len({answer.request_id for answer in answers}) == len(answers)
        # What had not been read when it stopped was not computed, and the end of
        # the stream says so.
        if code == grpc.StatusCode.OK:
            assert half_close and len(answers) == 20
        else:
            assert code == grpc.StatusCode.UNAVAILABLE
        outgoing.put(None)
        api.close()
