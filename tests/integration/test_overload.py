"""Ten times as many calls as the server can hold: those that fit are answered as
fast as before, in full batches; the others are refused at once with a hint."""

import collections
import heapq
import json
import queue
import time

import grpc
import numpy as np
import pytest

import conftest
import fff_api
import safetensors_file
from server_process import ServerProcess
from test_metrics import scrape, total

WIDTH, LEVELS = 64, 16  # some 3 ms per call: callers on a busy machine are quicker
ROWS = 16  # a request
BATCH_ROWS, QUEUE_ROWS = 64, 256
# Calls that one worker and a full queue hold.
CAPACITY = (BATCH_ROWS + QUEUE_ROWS) // ROWS
ANSWERS = 200


@pytest.fixture
def server(tmp_path):
    """One thread, and a layer whose dense twin takes long for a short message."""
    rng = np.random.default_rng(5)
    nodes = 2**LEVELS - 1
    folder = tmp_path / "heavy" / "1"
    folder.mkdir(parents=True)
    safetensors_file.write(folder / "model.safetensors", {
        name: (rng.standard_normal((nodes, WIDTH)) / 8).astype(np.float32)
        for name in ("w1s", "w2s")})
    (tmp_path / "heavy" / "config.json").write_text(json.dumps({
        "layers": [{"type": "fff", "convention": "ultrafastbert-bmm"}],
        "batching": {"max_batch_rows": BATCH_ROWS, "max_queue_rows": QUEUE_ROWS}}))
    with ServerProcess(tmp_path, "--threads=1") as running:
        yield running


class Callers:
    """So many callers, each with one call under way, until `answers` calls succeeded
    and none is under way. A refused one waits as long as the server's hint says, as
    a gRPC client with a retry policy does."""

    def __init__(self, api, request, callers, answers):
        self._call, self._request = api.own.PredictDense, request
        self._ended = queue.SimpleQueue()
        self.codes, self.without_hint, self.outputs = collections.Counter(), 0, []
        start = time.monotonic()
        due = [start] * callers  # a heap
        under_way = 0
        while under_way or self.codes["OK"] < answers:
            while due and due[0] <= time.monotonic() and self.codes["OK"] < answers:
                heapq.heappop(due)
                self._begin()
                under_way += 1
            pause = due[0] - time.monotonic() if due else 60
            try:
                call = self._ended.get(timeout=max(0.0001, pause))
            except queue.Empty:
                continue
            under_way -= 1
            heapq.heappush(due, time.monotonic() + self._note(call))
        self.rate = self.codes["OK"] / (time.monotonic() - start)

    def _begin(self):
        call = self._call.future(self._request, timeout=60)
        call.add_done_callback(self._ended.put)

    def _note(self, call):
        """Counts an ended call; seconds to wait before the next one."""
        self.codes[call.code().name] += 1
        if call.code() == grpc.StatusCode.OK:
            self.outputs.append(fff_api.output_of(call.result()))
        hint = dict(call.trailing_metadata()).get("grpc-retry-pushback-ms", "0")
        if call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
            self.without_hint += int(hint) < 1
        return int(hint) / 1000


def batches(server):
    """Number of dense batches, and rows in them, so far."""
    values, _ = scrape(server)
    return [total(values, f"fff_batch_rows_{key}", implementation="dense")
            for key in ("count", "sum")]


def test_beyond_capacity_goodput_stays_and_refusals_say_when_to_retry(server):
    api = fff_api.Api(server.target)
    x = np.random.default_rng(1).standard_normal((ROWS, WIDTH)).astype(np.float32)
    request = fff_api.predict_request("heavy", x)
    wanted = fff_api.output_of(api.predict("heavy", x, dense=True))
    peak = Callers(api, request, CAPACITY // 2, ANSWERS)
    assert set(peak.codes) == {"OK"}, "half of what fits is never refused"
    count, rows = batches(server)
    over = Callers(api, request, 10 * CAPACITY, ANSWERS)
    print(f"goodput: {over.rate:.0f} calls/s at {10 * CAPACITY} callers, "
          f"{peak.rate:.0f} at {CAPACITY // 2}: {over.rate / peak.rate:.2f}; "
          f"{over.codes}")
    assert set(over.codes) == {"OK", "RESOURCE_EXHAUSTED"}, over.codes
    # All of them begin at once, and retry as told.
    assert over.codes["RESOURCE_EXHAUSTED"] > 5 * CAPACITY
    assert over.without_hint == 0
    for output in peak.outputs + over.outputs:
        np.testing.assert_allclose(output, wanted, rtol=1e-4, atol=1e-4)
    more_count, more_rows = batches(server)
    assert (more_rows - rows) / (more_count - count) >= 0.5 * BATCH_ROWS
    assert more_rows - rows == over.codes["OK"] * ROWS, "refused work is not computed"
    assert fff_api.output_of(api.predict("heavy", x)).shape == (ROWS, WIDTH)
    api.close()
