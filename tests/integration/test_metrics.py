"""/metrics of a server under traffic: FFF and dense side by side."""

import json
import re
import urllib.request

import grpc
import numpy as np
import pytest

import conftest
import fff_api
from server_process import ServerProcess

CASE = "fastfeedforward-mnist-shape"


def scrape(server):
    """A dict of (name, frozenset of label pairs) to value, and the types."""
    url = f"http://127.0.0.1:{server.http_port}/metrics"
    with urllib.request.urlopen(url) as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = response.read().decode()
    values, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split()
            types[name] = kind
        elif not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")
            values[name, frozenset(pairs)] = float(value)
    return values, types


def total(values, name, **labels):
    return sum(value for (metric, pairs), value in values.items()
               if metric == name and set(labels.items()) <= pairs)


@pytest.fixture
def server(tmp_path):
    conftest.add_model(tmp_path, "m",
                       conftest.REFERENCE / "vectors" / CASE / "model.safetensors")
    with ServerProcess(tmp_path) as running:
        yield running


def test_traffic_is_counted_by_model_implementation_method_and_code(server):
    api = fff_api.Api(server.target)
    x = conftest.copied_vector(CASE)["x"]
    for _ in range(4):
        api.predict("m", x)
    api.predict("m", x, dense=True)
    api.infer("m:dense", x[:3])
    with pytest.raises(grpc.RpcError):
        api.predict("m", x[:, :5])
    for name in ("nobody", "nothing"):
        with pytest.raises(grpc.RpcError):
            api.predict(name, x)
    values, types = scrape(server)
    served = dict(model="m", version="1")
    count = lambda **labels: total(values, "fff_requests_total", **labels)  # noqa: E731
    assert count(**served, implementation="fff", method="Predict", code="OK") == 4
    assert count(**served, implementation="fff", code="INVALID_ARGUMENT") == 1
    assert count(**served, implementation="dense", method="PredictDense", code="OK") == 1
    assert count(**served, implementation="dense", method="ModelInfer", code="OK") == 1
    # A client cannot make series: both unknown names are one.
    assert count(model="unknown", code="NOT_FOUND") == 2
    assert not any("nobody" in str(key) for key in values)
    rows = len(x)
    assert total(values, "fff_rows_total", **served, implementation="fff") == 4 * rows
    assert total(values, "fff_rows_total", **served, implementation="dense") == rows + 3
    for name in ("fff_request_duration_seconds", "fff_queue_duration_seconds",
                 "fff_compute_duration_seconds", "fff_batch_rows"):
        assert types[name] == "histogram"
        for implementation in ("fff", "dense"):
            assert total(values, name + "_count", **served,
                         implementation=implementation) > 0
            assert total(values, name + "_sum", **served,
                         implementation=implementation) > 0
    assert total(values, "fff_leaf_visits_total", **served, layer="0") == 4 * rows
    assert total(values, "fff_queue_rows") == 0
    assert total(values, "fff_inflight_requests") == 0
    assert total(values, "fff_model_ready", model="m") == 1
    assert total(values, "process_resident_memory_bytes") > 1e6
    api.close()


def test_leaf_visits_equal_the_routes_of_the_answers(server):
    api = fff_api.Api(server.target)
    x = np.random.default_rng(2).standard_normal((500, 784)).astype(np.float32)
    leaves = api.predict("m", x, include_routing=True).routing[0].leaf
    values, _ = scrape(server)
    for subtree in range(16):
        assert total(values, "fff_leaf_visits_total", subtree=str(subtree)) == list(
            leaves).count(subtree)
    assert len(set(leaves)) > 1
    api.close()


LAYERS = "fff_layer_sampled_seconds_total"


@pytest.fixture
def network(tmp_path):
    """One FFF layer behind which a softmax stands, and the same layer alone."""
    weights = conftest.REFERENCE / "vectors" / CASE / "model.safetensors"
    conftest.add_model(tmp_path, "network", weights)
    (tmp_path / "network" / "config.json").write_text(json.dumps({"layers": [
        {"type": "fff", "convention": "fastfeedforward"}, {"type": "softmax"}]}))
    conftest.add_model(tmp_path, "alone", weights)
    with ServerProcess(tmp_path) as running:
        yield running


def test_time_of_a_networks_layers_is_a_part_of_its_compute_time(network):
    api = fff_api.Api(network.target)
    x = conftest.copied_vector(CASE)["x"]
    sampled = 2
    for _ in range(17 * (sampled - 1) + 1):
        for dense in (False, True):
            api.predict("network", x, dense=dense)
            api.predict("alone", x, dense=dense)
    values, types = scrape(network)
    assert types[LAYERS] == "counter"
    for implementation in ("fff", "dense"):
        labels = dict(model="network", version="1", implementation=implementation)
        feedforward = total(values, LAYERS, **labels, layer="0")
        rest = total(values, LAYERS, **labels, layer="other")
        assert feedforward > 0 and rest > 0
        assert feedforward + rest <= total(values, "fff_compute_duration_seconds_sum", **labels)
    assert sum(name == LAYERS for name, _ in values) == 4, "none of the layer alone"
    status = json.load(urllib.request.urlopen(
        f"http://127.0.0.1:{network.http_port}/status.json"))
    times = {(model["name"], one["name"]): one["layer_times"]
             for model in status["models"] for one in model["implementations"]}
    assert times["alone", "fff"] is None and times["alone", "dense"] is None
    for implementation in ("fff", "dense"):
        found = times["network", implementation]
        assert found["batches"] == sampled and found["rows"] == sampled * len(x)
        assert [group["feedforward"] for group in found["groups"]] == [True, False]
    api.close()


def test_histogram_buckets_resolve_ten_microseconds_to_ten_seconds(server):
    api = fff_api.Api(server.target)
    api.predict("m", np.zeros((1, 784), np.float32))
    values, _ = scrape(server)
    bounds = sorted(float(dict(pairs)["le"]) for (name, pairs) in values
                    if name == "fff_compute_duration_seconds_bucket"
                    and ("implementation", "fff") in pairs)
    assert bounds[0] == pytest.approx(1e-5) and bounds[-2] == pytest.approx(10)
    assert bounds[-1] == float("inf")
    assert all(b / a < 1.7 for a, b in zip(bounds, bounds[1:-1]))
    api.close()


def test_benchmark_leaves_its_speedup_in_the_metrics(server):
    api = fff_api.Api(server.target)
    request = fff_api.v1.BenchmarkRequest(model="m", batch_rows=[1, 64],
                                          seconds_per_case=0.02)
    report = list(api.own.Benchmark(request))[-1].report
    values, _ = scrape(server)
    for case in report.cases:
        exported = total(values, "fff_benchmark_speedup_ratio", model="m",
                         rows=str(case.rows), threads="1")
        assert exported == pytest.approx(case.speedup, rel=1e-4)
    api.close()


def test_other_paths_are_not_found(server):
    for path in ("/metrics/x", "/nothing", "/etc/passwd", "/../../etc/passwd"):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}{path}")
        assert error.value.code in (400, 404)
