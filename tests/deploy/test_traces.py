"""Exemplars in a real Prometheus, and what the documents say of collectors."""

import re
import shutil

import numpy as np
import pytest
import yaml

import fff_api
import paths
import pod_security
from manifests import VERSIONS, pod_of, server_of, validate, with_components
from prometheus import Prometheus
from server_process import ServerProcess

MODEL = "fashion-mnist"
COMPOSE = paths.DEPLOY / "compose" / "compose.yaml"
COLLECTOR = COMPOSE.parent / "collector" / "collector.yaml"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def ask(server):
    api = fff_api.Api(server.target)
    request = fff_api.predict_request(MODEL, np.zeros((1, 784), np.float32))
    api.own.Predict(request, metadata=[("traceparent", f"00-{TRACE}-{PARENT}-01")],
                    timeout=60)
    api.close()


def test_prometheus_scrapes_openmetrics_and_keeps_its_exemplars(tmp_path):
    repository = tmp_path / "models"
    shutil.copytree(paths.DEMO_MODELS / MODEL, repository / MODEL)
    with ServerProcess(repository) as server:
        ask(server)
        targets = {"fff-server": [f"127.0.0.1:{server.http_port}"]}
        with Prometheus(tmp_path, targets, [],
                        "--enable-feature=exemplar-storage") as prometheus:
            (labels, count), = prometheus.await_data(
                f'fff_request_duration_seconds_count{{model="{MODEL}"}}')
            assert count == 1 and labels["method"] == "Predict"
            # Only OpenMetrics has units; it was asked for, and read without a fault.
            kinds = prometheus.get("metadata", metric="fff_request_duration_seconds")
            assert kinds["fff_request_duration_seconds"][0]["unit"] == "seconds"
            assert prometheus.await_data('up == 1')
            found, = prometheus.get(
                "query_exemplars", query="fff_request_duration_seconds_bucket",
                start=0, end=4e9)
    assert found["seriesLabels"]["model"] == MODEL
    exemplar, = found["exemplars"]
    assert exemplar["labels"] == {"trace_id": TRACE, "span_id": PARENT}
    assert 0 < float(exemplar["value"]) <= float(found["seriesLabels"]["le"])


def test_the_collector_of_the_documents_is_whole():
    blocks = re.findall(r"```yaml\n(receivers:.*?)```",
                        (paths.DEPLOY / "README.md").read_text(), re.S)
    config, = [yaml.safe_load(block) for block in blocks]
    assert config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].endswith(":4317")
    assert config == yaml.safe_load(COLLECTOR.read_text())
    for pipeline in config["service"]["pipelines"].values():
        for part, names in pipeline.items():
            assert set(names) <= set(config[part]), part


@pytest.mark.parametrize("version", VERSIONS)
def test_the_component_is_strictly_valid(validator, version):
    objects = with_components("tracing")
    assert validate(validator, objects, version) >= 6
    assert pod_security.violations(pod_of(objects)) == []


def test_the_component_lets_spans_out_to_where_it_sends_them():
    objects = with_components("tracing")
    server = server_of(objects)
    endpoint, = [one["value"] for one in server["env"]
                 if one["name"] == "FFF_OTLP_ENDPOINT"]
    pod, = [one["spec"]["template"] for one in objects if one["kind"] == "Deployment"]
    policy, = [one["spec"] for one in objects if one["kind"] == "NetworkPolicy"
               and one["metadata"]["name"] == "fff-spans"]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    ports = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert int(endpoint.rpartition(":")[2]) in ports


def test_compose_sends_spans_to_whom_its_own_lines_name():
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    config = yaml.safe_load(COLLECTOR.read_text())
    endpoint = re.search(r"FFF_OTLP_ENDPOINT=(\S+)", COMPOSE.read_text())[1]
    name, port = endpoint.split(":")
    assert config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].endswith(f":{port}")
    assert config["exporters"]["otlp"]["endpoint"].split(":")[0] in services
    volume, = services[name]["volumes"]
    assert services[name]["command"] == [f"--config={volume.split(':')[1]}/{COLLECTOR.name}"]
    # Both only where they are asked for; the server then has somewhere to send to.
    assert {one for one, service in services.items() if "profiles" in service} == {
        name, config["exporters"]["otlp"]["endpoint"].split(":")[0]}
    assert services["fff-server"]["environment"]["FFF_OTLP_ENDPOINT"] == \
        "${FFF_OTLP_ENDPOINT:-}"


def test_empty_variables_are_as_none(tmp_path, monkeypatch):
    """As compose passes on what nobody has set."""
    for name in ("FFF_OTLP_ENDPOINT", "FFF_TRACE_SAMPLE"):
        monkeypatch.setenv(name, "")
    with ServerProcess(paths.DEMO_MODELS) as server:
        ask(server)
        assert not any("otlp" in line.lower() for line in server.log)
