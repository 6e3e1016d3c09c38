"""A network of sequences under load: requests of all lengths and kinds while its
versions come and go, calls are cancelled, the queue is full, and the server stops.
Every answer that comes is right."""

import collections
import json
import random
import shutil
import threading

import grpc
import numpy as np
import pytest

import fff_api
import safetensors_file
import test_sequences
from fff_api import v1
from server_process import ServerProcess
from test_metrics import scrape, total

MODEL = "net"
CASE = test_sequences.MLM[0]
RELOADS = 200
SHIFT = 0.01  # of every output, per version
TOLERANCE = 1e-3
CODE = grpc.StatusCode


def add_version(repository, version):
    """The case with a decoder bias: another answer of every version."""
    weights = dict(safetensors_file.read(
        test_sequences.FOLDER / CASE / "model.safetensors"))
    weights["decoder.bias"] = np.full(test_sequences.VOCABULARY, SHIFT * version,
                                      np.float32)
    folder = repository / MODEL / f".{version}"
    folder.mkdir(parents=True)
    safetensors_file.write(folder / "model.safetensors", weights)
    folder.rename(repository / MODEL / str(version))


def add_model(repository, **changes):
    (repository / MODEL).mkdir()
    config = {**test_sequences.config_of(CASE), **changes}
    (repository / MODEL / "config.json").write_text(json.dumps(config))
    add_version(repository, 1)


class Question:
    """A random part of a random batch, and what is wanted of it."""

    BATCHES = test_sequences.batches(CASE)

    def __init__(self, rng):
        batch = rng.choice(self.BATCHES)
        row = rng.randrange(len(batch.output))
        self.inputs = {name: x[row:] for name, x in batch.inputs.items()}
        self.wanted = batch.output[row:]
        rows, tokens = self.wanted.shape[:2]
        if rng.random() < 0.5:
            places = np.array([[rng.randrange(tokens) for _ in range(3)]
                               for _ in range(rows)])
            self.inputs["positions"] = places
            self.wanted = np.take_along_axis(self.wanted, places[..., None], 1)
        self.top_k = rng.randint(1, 5) if rng.random() < 0.5 else 0

    def request(self, **fields):
        named = [v1.NamedTensor(name=port, tensor=v1.Tensor(
            shape=x.shape, datatype=v1.DATA_TYPE_INT64, data=x.astype("<i8").tobytes()))
            for port, x in self.inputs.items()]
        return v1.PredictRequest(model=MODEL, inputs=named, top_k=self.top_k, **fields)

    def is_answered(self, reply):
        wanted = self.wanted
        if self.top_k:
            ids = np.frombuffer(reply.top_ids.data, "<i8").reshape(reply.top_ids.shape)
            best = -np.sort(-wanted, -1)[..., :self.top_k]
            wanted = np.take_along_axis(wanted, ids, -1)
            if not np.allclose(best, wanted, rtol=0, atol=2 * TOLERANCE):
                return False
        got = fff_api.output_of(reply)
        return got.shape == wanted.shape and np.allclose(
            got, wanted + SHIFT * reply.version, rtol=0, atol=TOLERANCE)


class Askers:
    """Threads that ask until they are left; `outcomes` counts what came."""

    def __init__(self, target, threads=3, timeout=lambda rng: 30, cancels=0.0):
        self.outcomes = collections.Counter()
        self.versions = set()
        self._target, self._timeout, self._cancels = target, timeout, cancels
        self._stop, self._came = threading.Event(), threading.Condition()
        run = [self._unary] * threads + [self._stream]
        self._threads = [threading.Thread(target=r, args=(i,), daemon=True)
                         for i, r in enumerate(run)]

    def _note(self, outcome, version=None):
        with self._came:
            self.outcomes[outcome] += 1
            self.versions.add(version)
            self._came.notify_all()

    def _judge(self, question, reply):
        self._note("OK" if question.is_answered(reply) else "WRONG", reply.version)

    def _unary(self, seed):
        rng = random.Random(seed)
        api = fff_api.Api(self._target)
        while not self._stop.is_set():
            question = Question(rng)
            call = api.own.Predict.future(question.request(), timeout=self._timeout(rng))
            if rng.random() < self._cancels:
                call.cancel()
            try:
                self._judge(question, call.result())
            except grpc.FutureCancelledError:
                self._note("CANCELLED")
            except grpc.RpcError as error:
                self._note(error.code().name)
        api.close()

    def _stream(self, seed):
        rng = random.Random(seed)
        api = fff_api.Api(self._target)
        while not self._stop.is_set():
            asked = {str(i): Question(rng) for i in range(rng.randint(1, 30))}
            requests = [q.request(request_id=i) for i, q in asked.items()]
            call = api.own.PredictStream(iter(requests), timeout=60)
            try:
                for answer in call:
                    if answer.HasField("error"):
                        self._note(f"ERROR {answer.error.code}")
                    else:
                        self._judge(asked.pop(answer.request_id), answer.response)
                    if rng.random() < self._cancels / 10:
                        call.cancel()
            except grpc.RpcError as error:
                self._note(error.code().name)
            else:
                if asked and self._cancels == 0 and not self.outcomes["ERROR 8"]:
                    self._note("LOST")
        api.close()

    def await_outcomes(self, count, outcome="OK"):
        with self._came:
            goal = self.outcomes[outcome] + count
            assert self._came.wait_for(lambda: self.outcomes[outcome] >= goal, 120), (
                self.outcomes)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, value, traceback):
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)


@pytest.fixture
def repository(tmp_path):
    add_model(tmp_path)
    return tmp_path


def assert_nothing_is_left(server):
    values, _ = scrape(server)
    assert total(values, "fff_inflight_requests", model=MODEL) == 0
    assert total(values, "fff_queue_rows", model=MODEL) == 0


def test_two_hundred_reloads_under_requests_of_all_lengths(repository):
    with ServerProcess(repository, "--repository-poll-seconds=1") as server:
        api = fff_api.Api(server.target)
        with Askers(server.target) as askers:
            for version in range(2, RELOADS + 2):
                add_version(repository, version)
                api.own.LoadModel(v1.LoadModelRequest(model=MODEL), timeout=60)
                shutil.rmtree(repository / MODEL / str(version - 1))
                askers.await_outcomes(3)
            askers.await_outcomes(50)
        api.close()
        assert set(askers.outcomes) == {"OK"}, askers.outcomes
        assert len(askers.versions) >= RELOADS // 8
        assert RELOADS + 1 in askers.versions
        assert_nothing_is_left(server)


def test_cancelled_and_late_calls_leave_nothing_behind(repository):
    def timeout(rng):
        return rng.uniform(0, 0.01) if rng.random() < 0.5 else 30

    with ServerProcess(repository) as server:
        with Askers(server.target, threads=6, timeout=timeout, cancels=0.3) as askers:
            askers.await_outcomes(600)
            askers.await_outcomes(100, "CANCELLED")
        assert set(askers.outcomes) <= {
            "OK", "CANCELLED", "DEADLINE_EXCEEDED"}, askers.outcomes
        assert_nothing_is_left(server)


def test_beyond_the_queue_answers_are_right_or_refused(tmp_path):
    add_model(tmp_path, batching={
        "max_batch_rows": 8, "max_queue_rows": 8, "max_batch_tokens": 64})
    with ServerProcess(tmp_path, "--threads=1") as server:
        with Askers(server.target, threads=12) as askers:
            askers.await_outcomes(600)
            refused = f"ERROR {CODE.RESOURCE_EXHAUSTED.value[0]}"
            assert askers.outcomes[CODE.RESOURCE_EXHAUSTED.name] + askers.outcomes[refused]
        assert set(askers.outcomes) <= {
            "OK", CODE.RESOURCE_EXHAUSTED.name, refused}, askers.outcomes
        assert_nothing_is_left(server)


def test_a_stop_answers_what_it_has_taken(repository):
    server = ServerProcess(repository, "--drain-timeout=30")
    with Askers(server.target, threads=4) as askers:
        askers.await_outcomes(100)
        server.process.terminate()
        askers.await_outcomes(1, "UNAVAILABLE")
    assert server.exit_code() == 0
    # A connection may go while a call is on its way to it.
    assert set(askers.outcomes) <= {
        "OK", "UNAVAILABLE", "ERROR 14", "CANCELLED"}, askers.outcomes
    assert askers.outcomes["WRONG"] == 0
    server.stop()


def test_who_does_not_read_keeps_nobody_from_being_answered(repository):
    with ServerProcess(repository, "--unread-answer-timeout=2",
                       "--request-memory-bytes=8388608") as server:
        rng = random.Random(7)
        silent = fff_api.Api(server.target)
        over = threading.Event()

        def endless():
            while not over.is_set():
                question = Question(rng)
                question.top_k = 0
                yield question.request(request_id="x")

        streams = [silent.own.PredictStream(endless()) for _ in range(4)]
        with Askers(server.target) as askers:
            askers.await_outcomes(400)
        over.set()
        for stream in streams:
            stream.cancel()
        silent.close()
        assert set(askers.outcomes) <= {
            "OK", CODE.RESOURCE_EXHAUSTED.name, "ERROR 8"}, askers.outcomes
        assert server.alive()
