"""Kubernetes and compose files: rendered, checked offline."""

import copy
import json
import re
import subprocess

import pytest
import yaml

import cluster
import crd_models
import paths
import pod_security
import tools
from manifests import (KUBERNETES, OVERLAYS, VERSIONS, environment, kustomize, only,
                       pod_of, server_of, validate, with_components)

COMPONENTS = ["monitoring", "autoscaling", "model-volume"]
# Instead of "autoscaling".
KEDA_COMPONENTS = ["monitoring", "keda", "model-volume"]


@pytest.fixture(scope="module")
def everything():
    """Name -> objects: every overlay, `all`: cpu with every component, and `keda`."""
    objects = {name: kustomize(KUBERNETES / "overlays" / name) for name in OVERLAYS}
    objects["all"] = with_components(*COMPONENTS)
    objects["keda"] = with_components(*KEDA_COMPONENTS)
    return objects


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [*OVERLAYS, "all"])
def test_manifests_are_strictly_valid(everything, validator, name, version):
    assert validate(validator, everything[name], version) >= 6


def test_the_validator_refuses_what_the_api_server_would(everything, validator):
    wrong = copy.deepcopy(only(everything["cpu"], "Deployment"))
    wrong["spec"]["template"]["spec"]["containers"][0]["comand"] = ["x"]
    with pytest.raises(validator.ValidationError):
        validator.validate(wrong, VERSIONS[0], strict=True)


@pytest.mark.parametrize("name, kind", [("all", "ServiceMonitor"),
                                        ("keda", "ScaledObject")])
def test_objects_of_operators_are_strictly_valid(everything, name, kind):
    one = only(everything[name], kind)
    assert crd_models.complaints(one) == ""
    wrong = copy.deepcopy(one)
    wrong["spec"]["wrong"] = 1
    assert crd_models.complaints(wrong) == "unknown field .spec.wrong\n"


@pytest.mark.parametrize("name", [*OVERLAYS, "all"])
def test_pods_pass_pod_security_restricted(everything, name):
    assert pod_security.violations(pod_of(everything[name])) == []
    for one in everything[name]:
        if one["kind"] == "Namespace":
            assert one["metadata"]["labels"][
                "pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("change, complaint", [
    (lambda pod, _: pod.update(hostNetwork=True), "hostNetwork"),
    (lambda pod, _: pod["securityContext"].pop("runAsNonRoot"), "runAsNonRoot"),
    (lambda pod, _: pod["securityContext"].pop("seccompProfile"), "seccomp"),
    (lambda pod, _: pod.setdefault("volumes", []).append(
        {"name": "v", "hostPath": {"path": "/"}}), "volume v"),
    (lambda _, c: c["securityContext"].pop("allowPrivilegeEscalation"), "Escalation"),
    (lambda _, c: c["securityContext"].update(privileged=True), "privileged"),
    (lambda _, c: c["securityContext"].update(runAsUser=0), "runAsUser"),
    (lambda _, c: c["securityContext"]["capabilities"].update(drop=["NET_RAW"]),
     "drop ALL"),
    (lambda _, c: c["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
     "SYS_ADMIN"),
    (lambda _, c: c["ports"][0].update(hostPort=8001), "hostPort"),
])
def test_pod_security_check_sees_each_violation(everything, change, complaint):
    pod = copy.deepcopy(pod_of(everything["cpu"]))
    change(pod, pod["containers"][0])
    assert any(complaint in text for text in pod_security.violations(pod))


def pre_stop_seconds(objects):
    return server_of(objects)["lifecycle"]["preStop"]["sleep"]["seconds"]


@pytest.mark.parametrize("name", [*OVERLAYS, "all"])
def test_grace_period_covers_the_hook_and_the_drain(everything, name):
    pod, variables = pod_of(everything[name]), environment(server_of(everything[name]))
    drain = float(variables["FFF_DRAIN_DELAY"]) + float(variables["FFF_DRAIN_TIMEOUT"])
    assert pod["terminationGracePeriodSeconds"] >= \
        pre_stop_seconds(everything[name]) + drain + 5


@pytest.mark.parametrize("name", [*OVERLAYS, "all"])
def test_pods_stay_until_clients_know_their_successors(everything, name):
    """The cache may be as old as it gets; then the oldest connection must end."""
    variables = environment(server_of(everything[name]))
    age = 1.1 * float(variables["FFF_MAX_CONNECTION_AGE"])  # gRPC adds up to 10 %
    learnt = cluster.PROXY_LAG + cluster.DNS_TTL + max(cluster.RESOLVER_PAUSE, age)
    assert pre_stop_seconds(everything[name]) > learnt


@pytest.mark.parametrize("name", [*OVERLAYS, "all"])
def test_drain_outlasts_the_readiness_probe_and_liveness_ignores_it(everything, name):
    server = server_of(everything[name])
    readiness, liveness = server["readinessProbe"], server["livenessProbe"]
    assert liveness["httpGet"]["path"] == "/healthz"
    assert server["startupProbe"]["periodSeconds"] * \
        server["startupProbe"]["failureThreshold"] >= 300
    if name == "tls":
        assert readiness["httpGet"]["path"] == "/readyz" and "grpc" not in readiness
    else:
        assert readiness["grpc"]["port"] == 8001


@pytest.mark.parametrize("name", [*OVERLAYS, "all"])
def test_selectors_meet_their_pods(everything, name):
    objects = everything[name]
    labels = only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [one["spec"]["selector"] for one in objects if one["kind"] == "Service"]
    for kind in ("Deployment", "PodDisruptionBudget"):
        selectors.append(only(objects, kind)["spec"]["selector"]["matchLabels"])
    selectors.append(only(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"])
    selectors += [one["labelSelector"]["matchLabels"]
                  for one in pod_of(objects)["topologySpreadConstraints"]]
    for selector in selectors:
        assert selector and selector.items() <= labels.items()


def test_every_variable_is_one_of_the_server(everything):
    known = known_variables()
    containers = [server_of(objects) for objects in everything.values()]
    containers.append(yaml.safe_load((paths.DEPLOY / "kserve" / "serving-runtime.yaml")
                                     .read_text())["spec"]["containers"][0])
    for container in containers:
        assert set(environment(container)) <= known


def known_variables():
    text = subprocess.run([str(paths.SERVER), "--help"], capture_output=True,
                          text=True, check=True).stdout
    return set(re.findall(r"FFF_[A-Z_]+", text)) - {"FFF_"}


def test_pods_go_to_nodes_of_the_images_architecture(everything):
    runtime = yaml.safe_load((paths.DEPLOY / "kserve" / "serving-runtime.yaml").read_text())
    for spec in [*map(pod_of, everything.values()), runtime["spec"]]:
        assert spec["nodeSelector"] == {"kubernetes.io/arch": "amd64"}


def test_headless_service_gives_pod_addresses(everything):
    service = only(everything["cpu"], "Service", "fff-server-headless")
    assert service["spec"]["clusterIP"] == "None"


def test_pods_hold_no_token_and_a_read_only_root(everything):
    for name in (*OVERLAYS, "all"):
        assert pod_of(everything[name])["automountServiceAccountToken"] is False
        security = server_of(everything[name])["securityContext"]
        assert security["readOnlyRootFilesystem"] is True


def test_autoscaler_owns_the_replicas_and_names_the_adapters_metric(everything):
    assert "replicas" not in only(everything["all"], "Deployment")["spec"]
    autoscaler = only(everything["all"], "HorizontalPodAutoscaler")
    metric = autoscaler["spec"]["metrics"][0]["pods"]["metric"]["name"]
    values = yaml.safe_load(
        (KUBERNETES / "components" / "autoscaling" / "adapter-values.yaml").read_text())
    rule = values["rules"]["custom"][0]
    assert rule["name"]["as"] == metric
    recorded = re.match(r"[\w:]+", rule["seriesQuery"]).group(0)
    assert f"1e6 * {recorded}{{" in rule["metricsQuery"] and is_recorded(recorded)


def is_recorded(name):
    rules = (paths.DEPLOY / "prometheus" / "fff-rules.yml").read_text()
    return f"record: {name}\n" in rules


def test_the_adapter_leaves_the_target_a_thousand_steps(everything):
    """It cuts what it passes on to thousandths of the metric's unit."""
    metrics = only(everything["all"], "HorizontalPodAutoscaler")["spec"]["metrics"]
    target = metrics[0]["pods"]["target"]["averageValue"]
    assert float(target) / 0.001 >= 1000


def test_keda_scales_as_the_autoscaler_does(everything):
    scaled = only(everything["keda"], "ScaledObject")["spec"]
    autoscaler = only(everything["all"], "HorizontalPodAutoscaler")["spec"]
    assert "replicas" not in only(everything["keda"], "Deployment")["spec"]
    assert scaled["scaleTargetRef"]["name"] == autoscaler["scaleTargetRef"]["name"]
    assert scaled["minReplicaCount"] == autoscaler["minReplicas"]
    assert scaled["maxReplicaCount"] == autoscaler["maxReplicas"]
    assert scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == \
        autoscaler["behavior"]
    trigger = scaled["triggers"][0]
    target = autoscaler["metrics"][0]["pods"]["target"]
    assert trigger["metricType"] == target["type"]
    assert trigger["metadata"]["threshold"] == target["averageValue"]
    recorded = re.search(r"1e6 \* ([\w:]+)\{", trigger["metadata"]["query"])[1]
    assert is_recorded(recorded)


def test_service_monitor_meets_the_service(everything):
    monitor = only(everything["all"], "ServiceMonitor")
    service = only(everything["all"], "Service", "fff-server")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= service["metadata"]["labels"].items()
    ports = {port["name"] for port in service["spec"]["ports"]}
    assert monitor["spec"]["endpoints"][0]["port"] in ports


def test_no_pod_is_told_of_services_in_variables(everything):
    """A Service fff-grpc would set FFF_GRPC_PORT to a URL, and the server not start."""
    for name in (*OVERLAYS, "all"):
        assert pod_of(everything[name])["enableServiceLinks"] is False


def test_compose_is_strictly_valid(validator):  # which brings jsonschema
    assert validator
    import jsonschema  # pylint: disable=import-outside-toplevel
    schema = json.loads((tools.folder_of("docker-compose") / "compose" / "config"
                         / "compose_spec.json").read_text())
    schema["$schema"] = schema["$schema"].replace("http:", "https:")  # its full name
    compose = yaml.safe_load((paths.DEPLOY / "compose" / "compose.yaml").read_text())
    assert compose.pop("name")  # newer than the schema, of 2021
    jsonschema.validate(compose, schema)
    compose["services"]["fff-server"]["port"] = "8001"
    with pytest.raises(jsonschema.ValidationError, match="port"):
        jsonschema.validate(compose, schema)


def test_compose_mounts_what_exists_and_drains():
    file = paths.DEPLOY / "compose" / "compose.yaml"
    services = yaml.safe_load(file.read_text())["services"]
    assert set(services) == {"fff-server", "prometheus", "grafana", "collector", "jaeger"}
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (file.parent / source).is_dir(), source
    server = services["fff-server"]
    assert server["read_only"] and server["cap_drop"] == ["ALL"]
    assert int(server["stop_grace_period"].rstrip("s")) >= 40
    assert (file.parent / server["build"]["context"] / "Dockerfile").is_file()
    provisioning = file.parent / "grafana" / "provisioning"
    source = yaml.safe_load(
        (provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    provider = yaml.safe_load(
        (provisioning / "dashboards" / "fff.yaml").read_text())["providers"][0]
    mounted = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounted
