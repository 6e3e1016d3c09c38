"""The Benchmark call: progress, then a report; bounded; one at a time."""

import threading

import grpc
import pytest

import conftest
import fff_api
from fff_api import v1
from server_process import ServerProcess

CASE = "ultrafastbert-1x6"


def test_progress_comes_before_exactly_one_report(api):
    request = v1.BenchmarkRequest(model=CASE, batch_rows=[1, 8, 64],
                                  seconds_per_case=0.02, seed=3)
    messages = list(api.own.Benchmark(request))
    kinds = [message.WhichOneof("kind") for message in messages]
    assert kinds.count("report") == 1 and kinds[-1] == "report"
    assert kinds.count("progress") >= 1
    for message in messages[:-1]:
        assert 0 <= message.progress.done <= message.progress.total
        assert message.progress.step
    report = messages[-1].report
    assert [case.rows for case in report.cases] == [1, 8, 64]
    assert report.model == CASE and report.version == 1 and report.threads == 1
    assert report.dense_kind == v1.DENSE_KIND_COST_BASELINE
    assert report.cpu_model and report.isa and report.memory_gbps > 0
    assert report.dense_flops_per_row > report.fff_flops_per_row > 0
    for case in report.cases:
        for side in (case.fff, case.dense):
            assert side.samples >= 5 and side.kernel
            assert 0 < side.min_s <= side.p10_s <= side.median_s <= side.p90_s
            assert side.p90_s <= side.p99_s
        assert case.speedup == pytest.approx(case.dense.median_s / case.fff.median_s)
        assert 0 < case.top_leaf_share <= 1
    # Random rows touch many of the 64 leaves: no single cached path.
    assert report.cases[-1].distinct_leaves > 8


QUICK = v1.BenchmarkRequest(model=CASE, batch_rows=[1], seconds_per_case=0.01)


def run_when_free(api, request=QUICK):
    """The messages of a benchmark, once no other runs: a bounded wait for the
    server to notice a cancel."""
    pause = threading.Event()
    for _ in range(600):
        try:
            return list(api.own.Benchmark(request))
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            pause.wait(0.05)
    pytest.fail("the cancelled benchmark went on")


@pytest.fixture
def running(api):
    """A long benchmark that has begun; cancelled, and gone, afterwards."""
    call = api.own.Benchmark(
        v1.BenchmarkRequest(model=CASE, batch_rows=[1] * 8, seconds_per_case=20))
    next(call)
    yield call
    call.cancel()
    run_when_free(api)


def test_second_benchmark_is_refused_while_one_runs(api, running):
    with pytest.raises(grpc.RpcError) as error:
        list(api.own.Benchmark(QUICK))
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "another benchmark is running" in error.value.details()


def test_cancelled_benchmark_makes_room_for_the_next(api, running):
    running.cancel()
    assert run_when_free(api)[-1].HasField("report")


def test_the_twin_itself_is_no_subject(api):
    with pytest.raises(grpc.RpcError) as error:
        list(api.own.Benchmark(v1.BenchmarkRequest(model=CASE + ":dense")))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_benchmark_off_is_permission_denied(tmp_path):
    conftest.add_model(tmp_path, "m",
                       conftest.REFERENCE / "vectors" / CASE / "model.safetensors")
    with ServerProcess(tmp_path, "--benchmark=off") as server:
        api = fff_api.Api(server.target)
        with pytest.raises(grpc.RpcError) as error:
            list(api.own.Benchmark(v1.BenchmarkRequest(model="m")))
        assert error.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert "--benchmark=off" in error.value.details()
        api.close()


def test_sigterm_ends_a_running_benchmark(tmp_path):
    conftest.add_model(tmp_path, "m",
                       conftest.REFERENCE / "vectors" / CASE / "model.safetensors")
    with ServerProcess(tmp_path) as server:
        api = fff_api.Api(server.target)
        running = api.own.Benchmark(v1.BenchmarkRequest(
            model="m", batch_rows=[1] * 8, seconds_per_case=20))
        next(running)
        assert server.stop() == 0
        with pytest.raises(grpc.RpcError):
            list(running)
        api.close()
