"""A client of the servers under test, in a process of its own so that it can live on
a host of its own. Takes its settings as JSON in the first argument:

    target    where its channels lead
    options   channel options
    method    Predict, PredictDense or ModelInfer
    answers   .npz of what to ask and what is right: x0, y0, x1, y1 ...
    channels  how many; each has a thread that calls without end
    pause     seconds between two calls of a thread
    deadline  seconds that a call may take

For each line on standard input it prints what happened since the last one, as JSON:

    calls     how many ended
    lost      status code -> how many ended with it instead of an answer
    wrong     how many answers were not the right one
    gap       the longest time without an answer that a channel saw, in seconds
    messages  of some that were lost
"""

import collections
import json
import sys
import threading
import time

import grpc
import numpy as np

import paths  # noqa: F401  (finds fff_api)
import fff_api
from fff.v1 import inference_pb2_grpc as v1_grpc
from inference import grpc_service_pb2_grpc as oip_grpc

MODEL = "fashion-mnist"
MESSAGES_MAX = 5


class Tally:
    """What all threads have seen since the last report."""

    def __init__(self):
        self._lock = threading.Lock()
        self._restart()

    def _restart(self):
        self._calls, self._wrong, self._gap = 0, 0, 0.0
        self._lost, self._messages = collections.Counter(), []

    def add(self, gap, error=None, right=True):
        with self._lock:
            self._calls += 1
            self._gap = max(self._gap, gap)
            if error is not None:
                self._lost[error.code().name] += 1
                if len(self._messages) < MESSAGES_MAX:
                    self._messages.append(error.details())
            elif not right:
                self._wrong += 1

    def report(self):
        with self._lock:
            told = {"calls": self._calls, "lost": dict(self._lost),
                    "wrong": self._wrong, "gap": self._gap,
                    "messages": self._messages}
            self._restart()
        return told


def requests_of(path, method):
    """(request, right answer), of all that stand in the file."""
    arrays = np.load(path)
    make = fff_api.infer_request if method == "ModelInfer" else fff_api.predict_request
    return [(make(MODEL, arrays[f"x{i}"]), arrays[f"y{i}"])
            for i in range(len(arrays.files) // 2)]


def call_without_end(settings, tally, ended):
    # Channels of a process share connections unless told not to.
    options = [*map(tuple, settings["options"]), ("grpc.use_local_subchannel_pool", 1)]
    channel = grpc.insecure_channel(settings["target"], options=options)
    service = (oip_grpc.GRPCInferenceServiceStub if settings["method"] == "ModelInfer"
               else v1_grpc.InferenceServiceStub)
    call = getattr(service(channel), settings["method"])
    asked = requests_of(settings["answers"], settings["method"])
    answered, number = time.monotonic(), 0
    while not ended.wait(settings["pause"]):
        request, wanted = asked[number % len(asked)]
        number += 1
        try:
            reply = call(request, timeout=settings["deadline"])
        except grpc.RpcError as error:
            tally.add(time.monotonic() - answered, error=error)
            continue
        right = np.allclose(fff_api.output_of(reply), wanted, rtol=1e-4, atol=1e-4)
        tally.add(time.monotonic() - answered, right=right)
        answered = time.monotonic()
    channel.close()


def main():
    settings = json.loads(sys.argv[1])
    tally, ended = Tally(), threading.Event()
    threads = [threading.Thread(target=call_without_end, args=(settings, tally, ended))
               for _ in range(settings["channels"])]
    for thread in threads:
        thread.start()
    for _ in sys.stdin:
        print(json.dumps(tally.report()), flush=True)
    ended.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
