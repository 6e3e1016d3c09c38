"""Calls that are cancelled or run out of time at any moment: every answer that
comes is right, and nothing stays behind in the server."""

import collections
import random
import threading

import grpc
import numpy as np
import pytest

import conftest
import fff_api
from server_process import ServerProcess
from test_metrics import scrape, total

DEADLINE_EXCEEDED = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
CASE = "fastfeedforward-mnist-shape"
CLIENTS = 8
CALLS_PER_CLIENT = 150
STREAMS_PER_CLIENT = 40


def unary_client(target, x, wanted, seed, outcomes):
    rng = random.Random(seed)
    api = fff_api.Api(target)
    for _ in range(CALLS_PER_CLIENT):
        rows = rng.randint(1, len(x))
        timeout = rng.uniform(0, 0.005) if rng.random() < 0.5 else 30
        request = fff_api.predict_request("m", x[:rows],
                                          include_routing=rng.random() < 0.2)
        call = api.own.Predict.future(request, timeout=timeout)
        if rng.random() < 0.3:
            call.cancel()
        try:
            y = fff_api.output_of(call.result())
            outcome = "OK" if np.allclose(y, wanted[:rows], atol=1e-4) else "WRONG"
        except grpc.FutureCancelledError:
            outcome = "CANCELLED"
        except grpc.RpcError as error:
            outcome = error.code().name
        outcomes.append(outcome)
    api.close()


def requests_and_perhaps_no_end(x, count, ends, over):
    """Never ends by itself unless `ends`, so that a cancel meets an open stream."""
    for i in range(count):
        yield fff_api.predict_request("m", x[i % len(x)][None], request_id=str(i))
    if not ends:
        over.wait(60)


def stream_client(target, x, wanted, seed, outcomes):
    rng = random.Random(seed)
    api = fff_api.Api(target)
    for _ in range(STREAMS_PER_CLIENT):
        over = threading.Event()
        count, ends = rng.randint(1, 100), rng.random() < 0.3
        timeout = rng.uniform(0, 0.01) if rng.random() < 0.3 else 30
        call = api.own.PredictStream(
            requests_and_perhaps_no_end(x, count, ends, over), timeout=timeout)
        cancel_after = count if ends else rng.randint(0, count)
        outcome, seen = "OK", 0
        try:
            while seen < cancel_after or ends:
                answer = next(call)
                seen += 1
                row = int(answer.request_id) % len(x)
                if answer.HasField("error"):  # the stream's deadline is each request's
                    if answer.error.code != DEADLINE_EXCEEDED:
                        outcome = f"ERROR {answer.error.code}"
                elif not np.allclose(fff_api.output_of(answer.response)[0], wanted[row],
                                   atol=1e-4):
                    outcome = "WRONG"
            call.cancel()
            outcome = "CANCELLED" if outcome == "OK" else outcome
        except StopIteration:
            outcome = outcome if seen == count else "LOST"
        except grpc.RpcError as error:
            outcome = error.code().name
        over.set()
        outcomes.append(outcome)
    api.close()


@pytest.mark.parametrize("client, calls", [(unary_client, CALLS_PER_CLIENT),
                                           (stream_client, STREAMS_PER_CLIENT)])
def test_storm_of_cancels_and_short_deadlines_leaves_nothing_behind(
        tmp_path, client, calls):
    conftest.add_model(tmp_path, "m",
                       conftest.REFERENCE / "vectors" / CASE / "model.safetensors")
    x = np.random.default_rng(1).standard_normal((300, 784)).astype(np.float32)
    with ServerProcess(tmp_path) as server:
        api = fff_api.Api(server.target)
        wanted = fff_api.output_of(api.predict("m", x))
        outcomes = []
        threads = [threading.Thread(target=client,
                                    args=(server.target, x, wanted, seed, outcomes))
                   for seed in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counts = collections.Counter(outcomes)
        assert sum(counts.values()) == CLIENTS * calls
        assert set(counts) <= {"OK", "CANCELLED", "DEADLINE_EXCEEDED"}, counts
        assert counts["OK"] > 0 and len(counts) > 1, counts
        # A task that was taken before its cancel came is still finished: ask until
        # the gauges say that nothing is left, a minute at least.
        pause = threading.Event()
        for _ in range(1200):
            api.predict("m", x[:1])
            values, _ = scrape(server)
            if total(values, "fff_inflight_requests") == 0:
                break
            pause.wait(0.05)
        assert total(values, "fff_inflight_requests") == 0
        assert total(values, "fff_queue_rows") == 0
        api.close()
