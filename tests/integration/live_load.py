"""Threads that predict all the time while something happens to the server."""

import collections
import threading

import grpc
import numpy as np

import fff_api


class LiveLoad:
    """Asks one model from several threads until it is left.

    answers: version -> its right outputs for the rows of `x`, to which the caller
        may add while the load goes on, before the version can answer.
    Afterwards `counts` holds answers a version, `wrong` what was not right,
    `errors` the codes and messages of failed calls.
    """

    def __init__(self, connect, model, x, answers, threads=3):
        self._connect, self._model, self._x = connect, model, x
        self.answers = answers
        self.counts, self.wrong, self.errors = collections.Counter(), [], []
        self._stop = threading.Event()
        self._progress = threading.Condition()
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True)
                         for i in range(threads)]

    def _run(self, seed):
        rng = np.random.default_rng(seed)
        api = self._connect()
        while not self._stop.is_set():
            rows = int(rng.integers(1, len(self._x) + 1))
            try:
                reply = api.predict(self._model, self._x[:rows])
            except grpc.RpcError as error:
                self._note(error=f"{error.code().name}: {error.details()}")
                continue
            self._check(reply, rows)
        api.close()

    def _check(self, reply, rows):
        wanted = self.answers.get(reply.version)
        right = wanted is not None and np.allclose(
            fff_api.output_of(reply), wanted[:rows], rtol=1e-4, atol=1e-4)
        self._note(version=reply.version, wrong=None if right else reply.version)

    def _note(self, version=None, wrong=None, error=None):
        with self._progress:
            if version is not None:
                self.counts[version] += 1
            if wrong is not None:
                self.wrong.append(wrong)
            if error is not None:
                self.errors.append(error)
            self._progress.notify_all()

    def await_answers(self, more, version=None):
        """Blocks until `more` answers have come (of `version`, if given)."""
        count = (lambda: sum(self.counts.values())) if version is None else (
            lambda: self.counts[version])
        with self._progress:
            goal = count() + more
            assert self._progress.wait_for(
                lambda: count() >= goal or len(self.errors) > 100, timeout=60), (
                    self.counts, self.errors[:3])

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, value, traceback):
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)

    def assert_all_right(self):
        assert not self.wrong, collections.Counter(self.wrong)
        assert not self.errors, collections.Counter(self.errors)
        assert sum(self.counts.values()) > 0
