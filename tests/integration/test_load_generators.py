"""What load generators send and compare: random bytes as floats, and statistics
that must add up while requests are batched, split, streamed and refused."""

import threading

import grpc
import numpy as np
import pytest

import conftest
import fff_api
from fff_api import oip, v1
from server_process import ServerProcess
from test_metrics import scrape, total

CASE = "fastfeedforward-mnist-shape"
WIDTH, OUT, DEPTH = 784, 10, 6
CHECKPOINT = conftest.REFERENCE / "vectors" / CASE / "model.safetensors"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    repository = tmp_path_factory.mktemp("models")
    conftest.add_model(repository, "m", CHECKPOINT, batching={"max_batch_rows": 32})
    conftest.add_model(repository, "strict", CHECKPOINT, non_finite="refuse")
    conftest.add_model(repository, "loose", CHECKPOINT, non_finite="compute")
    with ServerProcess(repository, "--threads=2") as running:
        yield running


@pytest.fixture
def api(server):
    connected = fff_api.Api(server.target)
    yield connected
    connected.close()
    assert server.alive(), server.text()


@pytest.fixture
def x():
    return np.random.default_rng(5).standard_normal((40, WIDTH)).astype(np.float32)


def counted(server, model="m"):
    return total(scrape(server)[0], "fff_nonfinite_rows_total", model=model)


POISON = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}


@pytest.mark.parametrize("rows", [1, 2, 7, 40])
@pytest.mark.parametrize("call", ["predict", "infer"])
@pytest.mark.parametrize("suffix", ["", ":dense"])
def test_rows_beside_one_that_is_not_finite_are_answered_as_alone(
        api, server, x, rows, call, suffix):
    x = x[:rows].copy()
    clean = fff_api.output_of(getattr(api, call)("m" + suffix, x))
    before = counted(server)
    x[rows // 2, 17] = np.nan
    y = fff_api.output_of(getattr(api, call)("m" + suffix, x))
    assert y.shape == (rows, OUT)
    others = np.arange(rows) != rows // 2
    np.testing.assert_allclose(y[others], clean[others], rtol=1e-5, atol=1e-5)
    assert np.isnan(y[rows // 2]).all()
    assert counted(server) - before == 1


def test_nan_goes_left_at_every_node(api, x):
    x = x[:5].copy()
    x[1] = np.nan
    x[3, ::2] = np.inf
    x[3, 1::2] = -np.inf  # every z is infinity minus infinity
    answer = api.predict("m", x, include_routing=True)
    (layer,) = answer.routing
    leaves = np.array(layer.leaf).reshape(5, -1)
    assert (leaves[[1, 3]] == 0).all()
    assert (leaves[[0, 2, 4]] < 2 ** DEPTH).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("model", ["m", "m:dense"])
def test_random_bytes_are_computed(api, server, seed, model):
    raw = np.random.default_rng(seed).bytes(64 * WIDTH * 4)
    x = np.frombuffer(raw, np.float32).reshape(64, WIDTH)
    bad = int((~np.isfinite(x)).any(axis=1).sum())
    assert bad > 32
    before = counted(server)
    assert fff_api.output_of(api.infer(model, x)).shape == (64, OUT)
    assert counted(server) - before == bad


@pytest.mark.parametrize("value", POISON)
@pytest.mark.parametrize("call", ["predict", "infer"])
@pytest.mark.parametrize("suffix", ["", ":dense"])
def test_a_model_may_refuse_them(api, server, x, value, call, suffix):
    x = x[:3].copy()
    x[2, 17] = POISON[value]
    with pytest.raises(grpc.RpcError) as error:
        getattr(api, call)("strict" + suffix, x)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert (f"input 'input': got {value} at row 2, element 17, wanted finite values"
            in error.value.details())
    assert counted(server, "strict") == 0


def test_doubles_that_no_float_holds_are_not_taken_for_infinity(api):
    def sent(value):
        data = np.full((1, WIDTH), 1.0)
        data[0, 3] = value
        return api.own.Predict(v1.PredictRequest(model="m", input=v1.Tensor(
            shape=[1, WIDTH], datatype=v1.DATA_TYPE_FP64, data=data.tobytes())))

    with pytest.raises(grpc.RpcError) as error:
        sent(1e300)
    assert "got 1e+300 at row 0, element 3, wanted values within the range of FP32" in (
        error.value.details())
    assert fff_api.output_of(sent(np.inf)).shape == (1, OUT)


def test_the_flag_holds_where_the_config_says_nothing(tmp_path, x):
    conftest.add_model(tmp_path, "m", CHECKPOINT)
    conftest.add_model(tmp_path, "loose", CHECKPOINT, non_finite="compute")
    x = x[:1] * np.nan
    with ServerProcess(tmp_path, "--non-finite=refuse") as running:
        api = fff_api.Api(running.target)
        with pytest.raises(grpc.RpcError, match="wanted finite values"):
            api.predict("m", x)
        assert np.isnan(fff_api.output_of(api.predict("loose", x))).all()
        api.close()


def test_another_word_in_the_config_is_an_error(tmp_path):
    conftest.add_model(tmp_path, "m", CHECKPOINT, non_finite="ignore")
    with ServerProcess(tmp_path) as running:
        running.await_line('non_finite: found the string "ignore", wanted one of "compute", "refuse"')


class Poller:
    """Asks for the statistics over and over while a test runs."""

    def __init__(self, target, name):
        self.api = fff_api.Api(target)
        self.name = name
        self.seen = []
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.done.is_set():
            self.seen.append(self.now())

    def now(self):
        (stats,) = self.api.oip.ModelStatistics(
            oip.ModelStatisticsRequest(name=self.name)).model_stats
        return stats

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        self.seen.append(self.now())
        self.api.close()


def load(api, x, name):
    """Requests of one row, that share batches, of more rows than a batch holds, on a
    stream, and wrong ones; all at once. The number of good requests and rows."""
    calls = []
    for i in range(60):
        rows = 40 if i % 4 == 0 else 1 + i % 3
        calls.append((rows, api.oip.ModelInfer.future(
            fff_api.infer_request(name, x[:rows]), timeout=60)))
    wrong = [api.oip.ModelInfer.future(fff_api.infer_request(name, x[:, :5]), timeout=60)
             for _ in range(5)]
    streamed = list(api.oip.ModelStreamInfer(
        (fff_api.infer_request(name, x[:2]) for _ in range(30)), timeout=60))
    for _, call in calls:
        call.result()
    for call in wrong:
        with pytest.raises(grpc.RpcError):
            call.result()
    assert not any(answer.error_message for answer in streamed)
    return len(calls) + 30, sum(rows for rows, _ in calls) + 60


@pytest.mark.parametrize("name", ["m", "m:dense"])
def test_every_request_counts_once_in_every_part_and_window(api, server, x, name):
    poller = Poller(server.target, name)
    before = poller.now()
    with poller:
        requests, rows = load(api, x, name)
    for stats in poller.seen:
        parts = stats.inference_stats
        assert (parts.success.count == parts.queue.count == parts.compute_input.count
                == parts.compute_infer.count == parts.compute_output.count)
    last = poller.seen[-1]
    assert last.inference_stats.success.count - before.inference_stats.success.count == requests
    assert last.inference_stats.fail.count - before.inference_stats.fail.count == 5
    assert last.inference_count - before.inference_count == rows
    executions = last.execution_count - before.execution_count
    assert 15 <= executions <= rows
    # A load generator takes each for the mean of a request: together they are no
    # more than what the whole request took.
    parts, old = last.inference_stats, before.inference_stats
    inside = sum(getattr(parts, part).ns - getattr(old, part).ns for part in
                 ("queue", "compute_input", "compute_output"))
    assert 0 < inside <= parts.success.ns - old.success.ns
    assert parts.compute_infer.ns > old.compute_infer.ns
