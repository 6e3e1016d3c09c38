"""Spans of real requests at a real receiver, which may be away, slow or unwilling."""

import re
import threading
import time
import urllib.request

import grpc
import numpy as np
import pytest

import certificates
import conftest
import fff_api
from server_process import SECONDS_MAX, ServerProcess
from span_receiver import SpanReceiver, attributes, otlp

MODEL = "sapient-128x64"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = ("traceparent", f"00-{TRACE}-{PARENT}-01")
UNSAMPLED = ("traceparent", f"00-{TRACE}-{PARENT}-00")
EACH = 3  # spans of a request that is answered well


@pytest.fixture
def repository(tmp_path):
    repository = tmp_path / "models"
    conftest.add_model(repository, MODEL,
                       conftest.REFERENCE / "vectors" / MODEL / "model.safetensors")
    return repository


@pytest.fixture
def receiver():
    with SpanReceiver() as started:
        yield started


def traced(repository, receiver, *flags):
    return ServerProcess(repository, f"--otlp-endpoint={receiver.target}", *flags)


def ask(server, *metadata, model=MODEL, rows=1, requests=1):
    api = fff_api.Api(server.target)
    request = fff_api.predict_request(model, np.ones((rows, 128), np.float32),
                                      request_id="r")
    try:
        for _ in range(requests):
            api.own.Predict(request, metadata=metadata, timeout=SECONDS_MAX)
    finally:
        api.close()


def metric(server, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/metrics") as page:
        return float(re.search(rf"^{name} (\S+)$", page.read().decode(), re.M).group(1))


def await_metric(server, name, value):
    end = time.monotonic() + SECONDS_MAX
    while metric(server, name) != value:
        assert time.monotonic() < end
        time.sleep(0.01)  # between two looks; the deadline decides


def lines(server, text):
    return [line for line in server.log if text in line]


def test_a_request_joins_its_callers_trace(repository, receiver):
    with traced(repository, receiver, "--trace-sample=0") as server:
        ask(server, UNSAMPLED)
        ask(server)
        ask(server, SAMPLED, ("tracestate", "vendor=1"), rows=5)
        spans = receiver.await_spans(EACH)
    assert len(receiver.spans) == EACH  # of the one that is recorded
    request, queue, compute = spans
    assert request.name == "fff.v1.InferenceService/Predict"
    assert request.trace_id.hex() == TRACE and request.parent_span_id.hex() == PARENT
    assert request.trace_state == "vendor=1"
    said = attributes(request)
    assert said["rpc.system"] == "grpc" and said["rpc.grpc.status_code"] == 0
    assert said["fff.model"] == MODEL and said["fff.rows"] == said["fff.batch_rows"] == 5
    assert said["fff.implementation"] == "fff" and said["fff.request_id"] == "r"
    assert (queue.name, compute.name) == ("queue", "compute")
    assert queue.parent_span_id == compute.parent_span_id == request.span_id
    assert request.start_time_unix_nano <= queue.start_time_unix_nano \
        <= queue.end_time_unix_nano <= compute.start_time_unix_nano \
        < compute.end_time_unix_nano <= request.end_time_unix_nano


def test_each_request_of_a_stream_and_each_failure_is_a_span(repository, receiver):
    with traced(repository, receiver, "--trace-sample=1") as server:
        api = fff_api.Api(server.target)
        x = np.ones((1, 128), np.float32)
        requests = [fff_api.predict_request(name, x) for name in (MODEL, "nobody", MODEL)]
        assert len(list(api.own.PredictStream(iter(requests)))) == 3
        api.close()
    servers = receiver.servers()
    assert [span.name for span in servers] == ["fff.v1.InferenceService/PredictStream"] * 3
    assert len({span.trace_id for span in servers}) == 3  # none came with a trace
    failed, = [span for span in servers
               if span.status.code == otlp.Status.STATUS_CODE_ERROR]
    assert attributes(failed)["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]
    assert "nobody" in failed.status.message


def test_what_waits_is_sent_before_the_server_ends(repository, receiver):
    with traced(repository, receiver, "--trace-sample=1") as server:
        ask(server, requests=700)  # more than a batch
    assert len(receiver.spans) == 700 * EACH


def test_the_standard_variables_name_receiver_and_process(repository, receiver, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{receiver.target}")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "scores")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=scores-0,a=b%20c")
    with ServerProcess(repository) as server:
        ask(server, SAMPLED)
    resource, = receiver.resources
    assert resource["service.name"] == "scores"
    assert resource["k8s.pod.name"] == "scores-0" and resource["a"] == "b c"
    assert resource["service.version"] and resource["host.name"]


def test_another_protocol_is_told_and_nothing_is_exported(repository, receiver, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{receiver.target}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    with ServerProcess(repository) as server:
        server.await_line("OTEL_EXPORTER_OTLP_PROTOCOL: got 'http/protobuf', wanted grpc")
        ask(server, SAMPLED)
    assert receiver.spans == []


def test_a_receiver_that_is_away_harms_nothing_and_is_found_when_it_comes(repository):
    with SpanReceiver() as gone:
        port = gone.port
    with ServerProcess(repository, f"--otlp-endpoint=127.0.0.1:{port}",
                       "--trace-sample=1") as server:
        ask(server, requests=20)
        server.await_line(f"cannot export spans to 127.0.0.1:{port}: UNAVAILABLE")
        ask(server, requests=20)
        with SpanReceiver(port=port) as receiver:
            server.await_line(f"spans are exported to 127.0.0.1:{port} again; 0 were dropped")
            receiver.await_spans(40 * EACH)
        assert metric(server, "fff_spans_dropped_total") == 0
    assert len(lines(server, "cannot export spans")) == 1


def test_a_receiver_that_goes_half_way_gets_the_rest_later(repository):
    with SpanReceiver() as first:
        with traced(repository, first, "--trace-sample=1") as server:
            ask(server, requests=10)
            await_metric(server, "fff_spans_exported_total", 10 * EACH)
            first.stop()
            ask(server, requests=10)
            server.await_line("cannot export spans")
            with SpanReceiver(port=first.port) as second:
                await_metric(server, "fff_spans_exported_total", 20 * EACH)
                assert len(second.spans) == 10 * EACH
                assert metric(server, "fff_spans_dropped_total") == 0


def test_a_slow_receiver_holds_up_no_request(repository):
    release = threading.Event()
    with SpanReceiver(answer=lambda _: release.wait(SECONDS_MAX)) as receiver, \
            traced(repository, receiver, "--trace-sample=1") as server:
        ask(server, requests=50)  # all answered, none exported
        assert receiver.spans == []
        release.set()
        receiver.await_spans(50 * EACH)


def test_a_receiver_that_refuses_costs_its_spans_and_says_so_once(repository):
    def refuse(context):
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")

    with SpanReceiver(answer=refuse) as receiver, \
            traced(repository, receiver, "--trace-sample=1") as server:
        for batch in (1, 2):
            ask(server)
            await_metric(server, "fff_spans_dropped_total", EACH * batch)
        assert metric(server, "fff_spans_exported_total") == 0
    told, = lines(server, "cannot export spans")
    assert "PERMISSION_DENIED: not you" in told


def test_the_server_ends_in_time_though_its_receiver_hangs(repository):
    release, asked = threading.Event(), threading.Event()

    def hang(_):
        asked.set()
        release.wait(SECONDS_MAX)

    with SpanReceiver(answer=hang) as receiver:
        with traced(repository, receiver, "--trace-sample=1",
                    "--drain-timeout=0.1") as server:
            ask(server, requests=10)
            assert asked.wait(SECONDS_MAX)
        # Its exit code is 0, which it reached while the receiver still hangs.
        assert receiver.spans == []
        release.set()


def test_over_tls(repository, tmp_path):
    authority = certificates.Authority(tmp_path, "ca")
    certificate, key = authority.issue("localhost")
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())])
    with SpanReceiver(credentials=credentials) as receiver:
        with ServerProcess(repository, f"--otlp-endpoint=https://localhost:{receiver.port}",
                           f"--otlp-ca-file={authority.certificate}") as server:
            ask(server, SAMPLED)
            receiver.await_spans(EACH)


def test_the_access_log_is_as_ever_beside_it(repository, receiver, tmp_path):
    log = tmp_path / "access.log"
    with traced(repository, receiver, f"--access-log={log}") as server:
        ask(server, SAMPLED)
        ask(server)
    first, second = log.read_text().splitlines()
    assert f'"trace_id":"{TRACE}","parent_span_id":"{PARENT}"' in first
    assert "trace_id" not in second
