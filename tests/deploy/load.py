"""Steady load on a server, or on several behind one name."""

import collections
import threading
import time

import grpc
import numpy as np

import paths  # noqa: F401  (finds fff_api)
import fff_api
from fff.v1 import inference_pb2_grpc as v1_grpc

INPUT_WIDTH = 784


class Load:
    """Threads that call Predict and PredictDense in turn until stopped.

    `rows` are the batch sizes, taken in turn; `pause` seconds lie between two
    calls of a thread. `codes` counts the calls by gRPC status code; `failures`
    holds the messages of those that failed.
    """

    def __init__(self, target, *, model="fashion-mnist", threads=2, rows=(1, 16),
                 pause=0.0, options=(), timeout=30, dense=True):
        self.codes = collections.Counter()
        self.failures = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._channel = grpc.insecure_channel(
            target, options=[*fff_api.UNBOUNDED, *options])
        stub = v1_grpc.InferenceServiceStub(self._channel)
        self._methods = [stub.Predict, stub.PredictDense] if dense else [stub.Predict]
        random = np.random.default_rng(1)
        self._requests = [
            fff_api.predict_request(
                model, random.uniform(-1, 1, (count, INPUT_WIDTH)))
            for count in rows]
        self._pause = pause
        self._timeout = timeout
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True)
                         for i in range(threads)]

    def _run(self, number):
        for call in range(number, 1 << 62):
            if self._stop.wait(self._pause) if self._pause else self._stop.is_set():
                return
            method = self._methods[call % len(self._methods)]
            request = self._requests[call // len(self._methods) % len(self._requests)]
            try:
                method(request, timeout=self._timeout)
                code, message = grpc.StatusCode.OK, None
            except grpc.RpcError as error:
                code, message = error.code(), error.details()
            with self._lock:
                self.codes[code] += 1
                if message is not None:
                    self.failures.append(f"{code.name}: {message}")

    @property
    def calls(self):
        return sum(self.codes.values())

    @property
    def failed(self):
        return self.calls - self.codes[grpc.StatusCode.OK]

    def await_calls(self, more, seconds=60):
        """Returns when `more` calls have ended from now on."""
        goal = self.calls + more
        deadline = time.monotonic() + seconds
        while self.calls < goal:
            assert time.monotonic() < deadline, f"{self.codes} in {seconds} s"
            self._stop.wait(0.01)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._channel.close()
