"""The dense twin: reachable three ways, labelled as what it is."""

import json
import os
import subprocess
import time
import urllib.request

import grpc
import numpy as np
import pytest

import conftest
import fff_api
import safetensors_file
import test_networks
from fff_api import v1
from server_process import SECONDS_MAX, ServerProcess

CASE = "ultrafastbert-bmm-d7"


def test_every_way_to_the_twin_answers_the_same(api):
    x = conftest.copied_vector(CASE)["x"]
    ways = [api.predict(CASE, x, dense=True), api.predict(CASE + ":dense", x),
            api.predict(CASE + ":dense", x, dense=True), api.infer(CASE + ":dense", x)]
    outputs = [fff_api.output_of(way) for way in ways]
    for y in outputs[1:]:
        np.testing.assert_array_equal(y, outputs[0])
    assert ways[0].implementation == v1.IMPLEMENTATION_DENSE
    assert np.abs(outputs[0] - fff_api.output_of(api.predict(CASE, x))).max() > 0


def test_fffctl_says_which_of_both_answered(server, tmp_path):
    np.save(tmp_path / "x.npy", conftest.copied_vector(CASE)["x"][:2])

    def implementation(*words):
        done = subprocess.run(
            [os.environ["FFF_CTL_BINARY"], f"--server={server.target}", "predict", "--json",
             f"--input={tmp_path / 'x.npy'}", *words], capture_output=True, check=True)
        return json.loads(done.stdout)["implementation"]

    assert implementation(f"--model={CASE}") == "fff"
    assert implementation(f"--model={CASE}", "--dense") == "dense"
    assert implementation(f"--model={CASE}:dense") == "dense"


def test_cost_baseline_evaluates_every_node_of_the_tree(api):
    t = safetensors_file.read(conftest.REFERENCE / "vectors" / CASE / "model.safetensors")
    x = conftest.copied_vector(CASE)["x"].astype(float)
    erf = np.vectorize(__import__("math").erf, otypes=[float])
    z = x @ t["w1s"].T.astype(float)
    hidden = 0.5 * z * (1 + erf(z / np.sqrt(2)))
    y = fff_api.output_of(api.predict(CASE, x.astype(np.float32), dense=True))
    # 128 and 255 terms a dot product, values below 10: far inside 1e-3.
    np.testing.assert_allclose(y, hidden @ t["w2s"].astype(float), atol=1e-3)


def test_metadata_says_that_the_twin_is_a_baseline_of_cost(api):
    model = api.own.GetModel(v1.GetModelRequest(model=CASE))
    assert model.dense_kind == v1.DENSE_KIND_COST_BASELINE
    assert "255" in model.dense_description
    assert model.flops_per_row > 0
    dense = api.own.GetModel(v1.GetModelRequest(model=CASE + ":dense"))
    assert dense.flops_per_row > 10 * model.flops_per_row
    assert dense.layers[0].kernels[0].kernel


@pytest.fixture
def trained_repository(tmp_path):
    rng = np.random.default_rng(5)
    conftest.add_model(tmp_path, "m",
                       conftest.REFERENCE / "vectors" / CASE / "model.safetensors")
    tensors = {"0.weight": rng.standard_normal((32, 128)).astype(np.float32),
               "0.bias": rng.standard_normal(32).astype(np.float32),
               "2.weight": rng.standard_normal((64, 32)).astype(np.float32),
               "2.bias": rng.standard_normal(64).astype(np.float32)}
    safetensors_file.write(tmp_path / "m" / "1" / "dense.safetensors", tensors)
    return tmp_path, tensors


def test_trained_network_takes_the_place_of_the_baseline(trained_repository):
    repository, t = trained_repository
    x = np.random.default_rng(6).standard_normal((8, 128)).astype(np.float32)
    hidden = np.maximum(x.astype(float) @ t["0.weight"].T + t["0.bias"], 0)
    wanted = hidden @ t["2.weight"].T + t["2.bias"]
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)
        np.testing.assert_allclose(fff_api.output_of(api.predict("m", x, dense=True)),
                                   wanted, atol=1e-3)
        model = api.own.GetModel(v1.GetModelRequest(model="m"))
        assert model.dense_kind == v1.DENSE_KIND_TRAINED
        assert "trained" in model.dense_description
        api.close()


def test_trained_network_of_another_width_fails_the_version(trained_repository):
    repository, t = trained_repository
    t = dict(t)
    t["2.weight"], t["2.bias"] = t["2.weight"][:10], t["2.bias"][:10]
    safetensors_file.write(repository / "m" / "1" / "dense.safetensors", t)
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)
        (fff, _) = api.own.ListModels(v1.ListModelsRequest()).models
        assert fff.state == v1.MODEL_STATE_FAILED
        assert "dense.safetensors" in fff.reason
        api.close()


def test_several_layers_are_served_in_sequence(tmp_path):
    """linear, relu, fff, layer_norm, linear: a classifier of several layers."""
    rng = np.random.default_rng(8)
    f = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    t = {"stem.weight": f(24, 12), "stem.bias": f(24), "ff.X": f(7, 24), "ff.Y": f(7, 16),
         "norm.weight": f(16), "norm.bias": f(16), "head.weight": f(5, 16)}
    (tmp_path / "net" / "3").mkdir(parents=True)
    safetensors_file.write(tmp_path / "net" / "3" / "model.safetensors", t)
    (tmp_path / "net" / "config.json").write_text(json.dumps({
        "layers": [{"type": "flatten"}, {"type": "linear", "prefix": "stem."},
                   {"type": "activation", "activation": "relu"},
                   {"type": "fff", "convention": "sap-fff", "prefix": "ff."},
                   {"type": "layer_norm", "prefix": "norm."},
                   {"type": "linear", "prefix": "head."}],
        "input": {"name": "pixels", "shape": [3, 4]},
        "output": {"name": "scores", "shape": [5], "labels": list("abcde")}}))
    x = f(9, 3, 4)
    h = np.maximum(x.reshape(9, 12) @ t["stem.weight"].T + t["stem.bias"], 0).astype(float)
    y = np.zeros((9, 16))
    for r in range(9):
        n = 0
        for _ in range(3):
            z = t["ff.X"][n].astype(float) @ h[r]
            y[r] += z * t["ff.Y"][n]
            n = 2 * n + 1 + bool(z > 0)
    normal = (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + 1e-5)
    wanted = (normal * t["norm.weight"] + t["norm.bias"]) @ t["head.weight"].T
    with ServerProcess(tmp_path) as server:
        api = fff_api.Api(server.target)
        response = api.predict("net", x, include_routing=True, include_labels=True)
        assert response.version == 3
        np.testing.assert_allclose(fff_api.output_of(response), wanted, atol=1e-3)
        assert list(response.labels) == [list("abcde")[i] for i in wanted.argmax(1)]
        assert [routing.layer for routing in response.routing] == [3]
        inferred = api.oip.ModelInfer(fff_api.infer_request("net", x, name="pixels"))
        assert inferred.outputs[0].name == "scores"
        api.close()


def served_twice(tmp_path, dense):
    """A repository of one model with its twin, and of the same one with `dense`."""
    source = conftest.REFERENCE / "vectors" / CASE / "model.safetensors"
    conftest.add_model(tmp_path, "eager", source)
    conftest.add_model(tmp_path, "m", source, dense=dense)
    return tmp_path


def names(api):
    found = api.oip.RepositoryIndex(fff_api.oip.RepositoryIndexRequest()).models
    return {model.name: (model.state, model.reason) for model in found}


def test_a_model_without_a_twin(tmp_path):
    x = conftest.copied_vector(CASE)["x"]
    with ServerProcess(served_twice(tmp_path, "off")) as server:
        api = fff_api.Api(server.target)
        np.testing.assert_array_equal(fff_api.output_of(api.predict("m", x)),
                                      fff_api.output_of(api.predict("eager", x)))
        for ask in (lambda: api.predict("m", x, dense=True),
                    lambda: api.infer("m:dense", x),
                    lambda: list(api.own.Benchmark(v1.BenchmarkRequest(model="m")))):
            with pytest.raises(grpc.RpcError) as error:
                ask()
            assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
            assert 'its config.json says "dense": "off"' in error.value.details()
        assert sorted(names(api)) == ["eager", "eager:dense", "m"]
        assert [model.name for model in
                api.own.ListModels(v1.ListModelsRequest()).models] == [
                    "eager", "eager:dense", "m"]
        model = api.own.GetModel(v1.GetModelRequest(model="m"))
        assert model.dense_kind == v1.DENSE_KIND_UNSPECIFIED
        metadata = api.oip.ModelMetadata(fff_api.oip.ModelMetadataRequest(name="m"))
        assert metadata.properties["dense_kind"] == "none"
        statistics = api.oip.ModelStatistics(fff_api.oip.ModelStatisticsRequest())
        assert [model.name for model in statistics.model_stats] == [
            "eager", "eager:dense", "m"]
        with urllib.request.urlopen(
                f"http://127.0.0.1:{server.http_port}/status.json") as page:
            models = {model["name"]: model for model in json.load(page)["models"]}
        assert [one["name"] for one in models["m"]["implementations"]] == ["fff"]
        api.close()


def predict_when_built(api, x):
    """Comes back as the answers say, like a client with a retry policy."""
    end = time.monotonic() + SECONDS_MAX
    while True:
        try:
            return fff_api.output_of(api.predict("m", x, dense=True))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error.details()
            assert "built when it is asked for" in error.details()
            pushback = dict(error.trailing_metadata())["grpc-retry-pushback-ms"]
            assert time.monotonic() < end
            time.sleep(int(pushback) / 1000)


def test_a_twin_that_is_built_when_it_is_asked_for(tmp_path):
    x = conftest.copied_vector(CASE)["x"]
    with ServerProcess(served_twice(tmp_path, "lazy"), "--tune-budget-ms=0") as server:
        api = fff_api.Api(server.target)
        assert names(api)["m"] == ("READY", "")
        assert names(api)["m:dense"] == ("UNAVAILABLE", "built when it is asked for")
        np.testing.assert_array_equal(
            predict_when_built(api, x),
            fff_api.output_of(api.predict("eager", x, dense=True)))
        assert names(api)["m:dense"] == ("READY", "")
        assert sum("built the dense twin of model=m" in line for line in server.log) == 1
        api.close()


def test_a_benchmark_waits_for_a_twin(tmp_path):
    with ServerProcess(served_twice(tmp_path, "lazy")) as server:
        done = subprocess.run(
            [os.environ["FFF_CTL_BINARY"], f"--server={server.target}", "benchmark",
             "--model=m", "--rows=1", "--seconds=0.05", "--json"],
            capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["cases"]


@pytest.mark.parametrize("case", test_networks.ROUTED)
def test_a_networks_twin_is_the_same_whenever_it_is_built(tmp_path, case):
    test_networks.add_case(tmp_path, case, "eager")
    test_networks.add_case(tmp_path, case, "m", dense="lazy")
    x = next(test_networks.batches(case))[1][:1]  # idle workers share no row
    with ServerProcess(tmp_path, "--tune-budget-ms=0") as server:
        api = fff_api.Api(server.target)
        np.testing.assert_array_equal(
            predict_when_built(api, x),
            fff_api.output_of(api.predict("eager", x, dense=True)))
        api.close()
