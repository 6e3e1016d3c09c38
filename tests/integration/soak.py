#!/usr/bin/env python3
"""Mixed load on a real server for a while; fails when its memory grows.

Usage: soak.py [--warm-up-minutes 5] [--minutes 10] [--slack-megabytes 8]

Needs the environment of the integration tests (FFF_SERVER_BINARY,
FFF_PYTHON_STUBS). Clients send unary calls of both APIs, streams, bad requests,
short deadlines and cancellations. After the warm-up the median of resident memory in
the last fifth of the time may be above that of the first fifth by the slack at most.
Every answer that comes is checked. Not part of the default run.

The warm-up is the allocator's: a heap grows until it has met its own busiest moment,
which is why the server lets it keep few of them. On two cores that other work kept busy:
573,795 calls in 15 minutes, 62.3 MB resident in the first fifth of the last ten, 63.8 MB
in the last; what is allocated stays level from the first minute on.
"""

import argparse
import collections
import pathlib
import random
import statistics
import sys
import tempfile
import threading
import time

import grpc
import numpy as np

import conftest
import fff_api
from server_process import ServerProcess
from test_streams import requests

CASE = "fastfeedforward-mnist-shape"
ALLOWED = {"OK", "CANCELLED", "DEADLINE_EXCEEDED", "INVALID_ARGUMENT", "NOT_FOUND",
           "RESOURCE_EXHAUSTED"}


class Client(threading.Thread):
    """One kind of call after the other, at random, until stopped."""

    def __init__(self, target, x, wanted, seed, stop):
        super().__init__(daemon=True)
        self.outcomes = collections.Counter()
        self._random = random.Random(seed)
        self._api = fff_api.Api(target)
        self._x, self._wanted, self._stop_event = x, wanted, stop

    def run(self):
        kinds = [self.unary, self.dense, self.protocol, self.stream, self.bad,
                 self.short, self.cancelled]
        while not self._stop_event.is_set():
            kind = self._random.choice(kinds)
            try:
                self.outcomes["OK" if kind() else "WRONG"] += 1
            except grpc.FutureCancelledError:
                self.outcomes["CANCELLED"] += 1
            except grpc.RpcError as error:
                self.outcomes[error.code().name] += 1
        self._api.close()

    def rows(self):
        return self._random.choice([1, 1, 1, 3, 17, len(self._x)])

    def right(self, response, n):
        return np.allclose(fff_api.output_of(response), self._wanted[:n], atol=1e-4)

    def unary(self):
        n = self.rows()
        return self.right(self._api.predict("m", self._x[:n]), n)

    def dense(self):
        n = self.rows()
        y = fff_api.output_of(self._api.predict("m", self._x[:n], dense=True))
        return y.shape == (n, 10)

    def protocol(self):
        n = self.rows()
        return self.right(self._api.infer("m", self._x[:n]), n)

    def stream(self):
        answers = self._api.own.PredictStream(requests(self._x, 50), timeout=60)
        return all(np.allclose(fff_api.output_of(a.response)[0],
                               self._wanted[int(a.request_id) % len(self._x)],
                               atol=1e-4)
                   for a in answers if a.HasField("response"))

    def bad(self):
        self._api.predict("nobody" if self._random.random() < 0.5 else "m",
                          self._x[:1, :5])
        return False

    def short(self):
        request = fff_api.predict_request("m", self._x)
        n = len(self._x)
        return self.right(self._api.own.Predict(
            request, timeout=self._random.uniform(0, 0.005)), n)

    def cancelled(self):
        call = self._api.own.Predict.future(fff_api.predict_request("m", self._x),
                                            timeout=30)
        call.cancel()
        return self.right(call.result(), len(self._x))


def soak(warm_up_minutes, minutes, slack_bytes):
    x = np.random.default_rng(1).standard_normal((300, 784)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        conftest.add_model(pathlib.Path(folder), "m", conftest.REFERENCE / "vectors"
                           / CASE / "model.safetensors")
        with ServerProcess(folder) as server:
            api = fff_api.Api(server.target)
            wanted = fff_api.output_of(api.predict("m", x))
            stop = threading.Event()
            clients = [Client(server.target, x, wanted, seed, stop) for seed in range(6)]
            for client in clients:
                client.start()
            samples = []
            warm = time.monotonic() + 60 * warm_up_minutes
            end = warm + 60 * minutes
            while time.monotonic() < end and server.alive():
                time.sleep(min(1, 0.6 * minutes))
                if time.monotonic() >= warm:
                    samples.append(server.memory_bytes())
            stop.set()
            outcomes = collections.Counter()
            for client in clients:
                client.join(60)
                outcomes.update(client.outcomes)
            api.close()
    fifth = max(1, len(samples) // 5)
    first = statistics.median(samples[:fifth])
    last = statistics.median(samples[-fifth:])
    print(f"{minutes} minutes, {sum(outcomes.values())} calls: {dict(outcomes)}")
    print(f"resident: first {first / 1e6:.1f} MB, last {last / 1e6:.1f} MB, "
          f"peak {max(samples) / 1e6:.1f} MB")
    assert set(outcomes) <= ALLOWED, outcomes
    assert outcomes["OK"] > 0
    assert last - first <= slack_bytes, "memory grows"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--warm-up-minutes", type=float, default=5)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--slack-megabytes", type=float, default=8)
    arguments = parser.parse_args()
    soak(arguments.warm_up_minutes, arguments.minutes,
         arguments.slack_megabytes * 1e6)


if __name__ == "__main__":
    sys.exit(main())
