"""Rules and dashboards against a real Prometheus that scrapes a real server."""

import http.server
import json
import re
import shutil
import subprocess
import threading

import pytest
import yaml

import fff_api
import paths
from fff_api import v1
from load import Load
from prometheus import Prometheus
from server_process import ServerProcess

RULES = paths.DEPLOY / "prometheus" / "fff-rules.yml"
RULES_TEST = paths.DEPLOY / "prometheus" / "fff-rules-test.yml"
DASHBOARDS = sorted((paths.DEPLOY / "grafana").glob("*.json"))
MODEL = "fashion-mnist"
NETWORK = "network"
JOB = "fff-server"
# What NVIDIA's exporter says; its names and labels, two values of an idle H100.
DCGM = "".join(
    f'{name}{{gpu="0",UUID="GPU-0",device="nvidia0",modelName="NVIDIA H100",'
    f'Hostname="node-a"}} {value}\n'
    for name, value in (("DCGM_FI_DEV_GPU_UTIL", 3), ("DCGM_FI_DEV_FB_USED", 512),
                        ("DCGM_FI_DEV_POWER_USAGE", 71.5)))


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_and_config_are_accepted_by_promtool():
    promtool("check", "rules", RULES)
    promtool("check", "config", RULES.parent / "prometheus.yml")


def test_rules_pass_their_unit_tests():
    promtool("test", "rules", RULES_TEST)


def test_every_alert_has_a_unit_test_and_says_what_to_do():
    alerts = [rule for group in yaml.safe_load(RULES.read_text())["groups"]
              for rule in group["rules"] if "alert" in rule]
    tested = set(re.findall(r"alertname: (\w+)", RULES_TEST.read_text()))
    assert {rule["alert"] for rule in alerts} == tested
    for rule in alerts:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]


def test_every_recording_rule_has_a_unit_test():
    text = RULES_TEST.read_text()
    assert [name for name in recorded() if not re.search(rf"{name}\b", text)] == []


class GpuExporter(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # pylint: disable=invalid-name
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(DCGM.encode())

    def log_message(self, *_):  # quiet
        pass


@pytest.fixture(scope="module")
def gpu_exporter():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), GpuExporter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The demo model, and a broken one so that failures are there to be seen."""
    repository = tmp_path_factory.mktemp("models")
    shutil.copytree(paths.DEMO_MODELS / MODEL, repository / MODEL)
    (repository / "broken" / "1").mkdir(parents=True)
    (repository / "broken" / "1" / "model.safetensors").write_bytes(b"not a checkpoint")
    paths.add_network(repository, NETWORK)
    with ServerProcess(repository) as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(server, gpu_exporter, tmp_path_factory):
    """Prometheus with a server under load behind it, one Benchmark call included."""
    targets = {JOB: [f"127.0.0.1:{server.http_port}"], "gpu": [gpu_exporter]}
    with Prometheus(tmp_path_factory.mktemp("prometheus"), targets, [RULES]) as started:
        rows = {"rows": (1, 64, 7, 300), "pause": 0.02}
        with Load(server.target, threads=2, **rows) as load, \
                Load(server.target, model=NETWORK, **rows) as network:
            api = fff_api.Api(server.target)
            report = list(api.own.Benchmark(v1.BenchmarkRequest(
                model=MODEL, batch_rows=[1, 64], seconds_per_case=0.1), timeout=60))
            assert report[-1].HasField("report")
            api.close()
            load.await_calls(100)
            assert started.await_data("fff:speedup:ratio_rate5m")
            yield started
            for one in (load, network):
                assert one.failed == 0, one.failures[:3]


def test_every_rule_evaluates_without_error(prometheus):
    rules = prometheus.rules()
    assert len(rules) == 29
    for rule in rules:
        assert rule["health"] == "ok", f"{rule['name']}: {rule.get('lastError')}"


def recorded():
    return [rule["record"] for group in yaml.safe_load(RULES.read_text())["groups"]
            for rule in group["rules"] if "record" in rule]


@pytest.mark.parametrize("name", recorded())
def test_every_recording_rule_returns_data(prometheus, name):
    assert prometheus.await_data(name), name


def test_everything_that_alerts_look_at_is_there(prometheus):
    """An alert is silent when all is well; what it compares must exist even so."""
    looked_at = set()
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                looked_at |= set(re.findall(r"\b(?:fff[:_][\w:]+|up\b)", rule["expr"]))
    assert len(looked_at) >= 8
    for name in looked_at:
        assert prometheus.await_data(name), name


def test_the_broken_model_alerts_and_the_good_one_does_not(prometheus):
    alerts = prometheus.await_data('ALERTS{alertname="FffModelLoadFailed"}')
    assert {labels["model"] for labels, _ in alerts} == {"broken"}


def test_speedup_is_the_ratio_of_the_two_latencies(prometheus):
    (_, speedup), = prometheus.query(f'fff:speedup:ratio_rate5m{{model="{MODEL}"}}')
    print(f"speed-up in Prometheus: {speedup:.1f}")
    assert speedup > 0
    (_, skew), = prometheus.query(f'fff:routing_skew:ratio_rate5m{{model="{MODEL}"}}')
    assert 0 <= skew <= 1


def test_a_network_has_the_share_and_the_speedup_of_its_layers(prometheus):
    shares = prometheus.await_data("fff:feedforward:share_rate5m")
    assert {(labels["model"], labels["implementation"]) for labels, _ in shares} == {
        (model, twin) for model in (MODEL, NETWORK) for twin in ("fff", "dense")}
    assert all(0 < share < 1 for _, share in shares)
    speedups = prometheus.await_data("fff:layers_speedup:ratio_rate5m")
    assert {labels["model"] for labels, _ in speedups} == {MODEL, NETWORK}
    assert all(speedup > 0 for _, speedup in speedups)


def panels(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries():
    for path in DASHBOARDS:
        for panel in panels(json.loads(path.read_text())):
            for target in panel["targets"]:
                yield pytest.param(target["expr"], id=f"{path.stem}: {panel['title']} "
                                                      f"{target['refId']}")


@pytest.mark.parametrize("expression", queries())
def test_every_panel_query_returns_data(prometheus, expression):
    for variable, value in (("$__rate_interval", "1m"), ("$job", ".*"),
                            ("$model", ".*"), ("$host", ".*")):
        expression = expression.replace(variable, value)
    assert "$" not in expression
    assert prometheus.await_data(expression), expression


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard_is_well_formed(prometheus, path):
    board = json.loads(path.read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) and board["uid"] and board["title"]
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"])
            assert prometheus.await_data(f"count by ({found[2]}) ({found[1]})")


def test_dashboards_show_what_they_must():
    text = " ".join(path.read_text() for path in DASHBOARDS)
    for metric in ("fff_requests_total", "fff_request_duration_seconds_bucket",
                   "fff:speedup:ratio_rate5m", "fff_queue_rows", "fff_batch_rows",
                   "fff:routing_skew", "fff_model_info", "process_resident_memory_bytes",
                   "fff_benchmark_speedup_ratio", "fff_model_accuracy_ratio",
                   "fff_layer_sampled_seconds_total",
                   "fff:feedforward:share_rate5m", "fff:layers_speedup", "DCGM_FI_DEV_GPU_UTIL"):
        assert metric in text
    for implementation in ("fff", "dense"):
        assert f'implementation=\\"{implementation}\\"' in text
