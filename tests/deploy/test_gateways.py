"""The examples of deploy/gateways: against schemas, the server's protocols and the
services that they lead to. test_scale_out.py runs Envoy and haproxy."""

import copy
import json
import re
import subprocess

import pytest
import yaml

import crd_models
import paths
import tools
from manifests import KUBERNETES, kustomize, only

GATEWAYS = paths.DEPLOY / "gateways"
# Who reaches a gateway has no business with these.
ADMINISTER = {"/fff.v1.InferenceService/Benchmark", "/fff.v1.InferenceService/LoadModel",
              "/fff.v1.InferenceService/UnloadModel",
              "/inference.GRPCInferenceService/RepositoryModelLoad",
              "/inference.GRPCInferenceService/RepositoryModelUnload"}
PROTOCOLS = ["fff/v1/inference.proto", "inference/grpc_service.proto",
             "grpc/health/v1/health.proto"]


def objects_of(name):
    return list(yaml.safe_load_all((GATEWAYS / f"{name}.yaml").read_text()))


def calls_for_everybody():
    """Paths of the server's calls, from its protocols, without those that administer."""
    calls = set()
    for name in PROTOCOLS:
        text = (paths.SOURCE / "proto" / name).read_text()
        package = re.search(r"^package ([\w.]+);", text, re.M)[1]
        for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", text, re.M | re.S):
            calls |= {f"/{package}.{service}/{call}"
                      for call in re.findall(r"^\s+rpc (\w+)\(", body, re.M)}
    assert ADMINISTER <= calls
    return calls - ADMINISTER


@pytest.fixture(scope="module")
def gateway_api_problems(validator):
    """A function of an object: what gateway_api.schema.json says against it."""
    import jsonschema  # pylint: disable=import-outside-toplevel
    assert validator, "brings jsonschema"
    schema = json.loads((paths.SOURCE / "tests" / "deploy" / "gateway_api.schema.json")
                        .read_text())
    checker = jsonschema.Draft7Validator(schema)
    return lambda one: [error.message for error in checker.iter_errors(one)]


@pytest.mark.parametrize("name", ["gateway-api", "backend-tls"])
def test_gateway_api_objects_are_strictly_valid(gateway_api_problems, name):
    for one in objects_of(name):
        assert gateway_api_problems(one) == [], one["kind"]


@pytest.mark.parametrize("change", [
    lambda spec: spec.update(hostname="x"),
    lambda spec: spec["rules"][0]["backendRefs"][0].update(port="8001"),
    lambda spec: spec["rules"][0]["matches"][0]["method"].update(service="/fff"),
])
def test_the_schema_refuses_what_the_api_server_would(gateway_api_problems, change):
    wrong = copy.deepcopy(only(objects_of("gateway-api"), "GRPCRoute"))
    change(wrong["spec"])
    assert gateway_api_problems(wrong)


@pytest.mark.parametrize("kind", ["Gateway", "VirtualService", "DestinationRule"])
def test_istio_objects_are_strictly_valid(kind):
    one = only(objects_of("istio"), kind)
    assert crd_models.complaints(one) == ""
    wrong = copy.deepcopy(one)
    wrong["spec"]["wrong"] = 1
    assert crd_models.complaints(wrong) == "unknown field .spec.wrong\n"


def validated_by_envoy(path):
    return subprocess.run([tools.envoy(), "--mode", "validate", "-c", str(path)],
                          capture_output=True, text=True, check=False)


def test_envoy_takes_its_configuration():
    ended = validated_by_envoy(GATEWAYS / "envoy.yaml")
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_envoy_refuses_a_field_that_it_does_not_know(tmp_path):
    config = objects_of("envoy")[0]
    config["static_resources"]["clusters"][0]["lb_polici"] = "RANDOM"
    (tmp_path / "envoy.json").write_text(json.dumps(config))
    ended = validated_by_envoy(tmp_path / "envoy.json")
    assert ended.returncode != 0 and "lb_polici" in ended.stderr


def routed_by_gateway_api():
    rule, = only(objects_of("gateway-api"), "GRPCRoute")["spec"]["rules"]
    return [f"/{one['method']['service']}/{one['method']['method']}"
            for one in rule["matches"]]


def routed_by_istio():
    route, = only(objects_of("istio"), "VirtualService")["spec"]["http"]
    return [one["uri"]["exact"] for one in route["match"]]


def routed_by_envoy():
    listener, = objects_of("envoy")[0]["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    host, = manager["route_config"]["virtual_hosts"]
    assert len({json.dumps(one["route"]) for one in host["routes"]}) == 1
    return [one["match"]["path"] for one in host["routes"]]


@pytest.mark.parametrize("routed", [routed_by_gateway_api, routed_by_istio,
                                    routed_by_envoy])
def test_each_call_is_passed_on_but_those_that_administer(routed):
    calls = routed()
    assert len(calls) == len(set(calls)) and set(calls) == calls_for_everybody()


@pytest.fixture(scope="module")
def cpu():
    return kustomize(KUBERNETES / "overlays" / "cpu")


@pytest.fixture(scope="module")
def tls():
    return kustomize(KUBERNETES / "overlays" / "tls")


def test_they_lead_to_ports_of_our_services(cpu):
    service = only(cpu, "Service", "fff-server")
    host = "{name}.{namespace}.svc".format(**service["metadata"])
    ports = {one["port"] for one in service["spec"]["ports"] if one["name"] == "grpc"}
    rule, = only(objects_of("gateway-api"), "GRPCRoute")["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "fff-server", "port": ports.copy().pop()}]
    istio = objects_of("istio")
    to = only(istio, "VirtualService")["spec"]["http"][0]["route"][0]["destination"]
    assert to["host"] == f"{host}.cluster.local" and {to["port"]["number"]} == ports
    assert only(istio, "DestinationRule")["spec"]["host"] == to["host"]
    headless = only(cpu, "Service", "fff-server-headless")["metadata"]
    cluster, = objects_of("envoy")[0]["static_resources"]["clusters"]
    endpoint, = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"] == {
        "address": "{name}.{namespace}.svc".format(**headless),
        "port_value": ports.copy().pop()}


def test_the_routes_hang_on_their_gateways():
    gateway_api, istio = objects_of("gateway-api"), objects_of("istio")
    gateway = only(gateway_api, "Gateway")
    parent, = only(gateway_api, "GRPCRoute")["spec"]["parentRefs"]
    listener, = gateway["spec"]["listeners"]
    assert parent == {"name": gateway["metadata"]["name"],
                      "sectionName": listener["name"]}
    assert only(gateway_api, "GRPCRoute")["spec"]["hostnames"] == [listener["hostname"]]
    virtual = only(istio, "VirtualService")["spec"]
    assert virtual["gateways"] == [only(istio, "Gateway")["metadata"]["name"]]
    assert virtual["hosts"] == only(istio, "Gateway")["spec"]["servers"][0]["hosts"]


def protocols(objects):
    return {(one["metadata"]["name"], port["name"]): port["appProtocol"]
            for one in objects if one["kind"] == "Service"
            for port in one["spec"]["ports"]}


def test_services_say_what_their_ports_speak(cpu, tls):
    """h2c is HTTP/2 without TLS, and nothing else."""
    wanted = {("fff-server", "grpc"): "kubernetes.io/h2c", ("fff-server", "http"): "http",
              ("fff-server-headless", "grpc"): "kubernetes.io/h2c"}
    assert protocols(cpu) == wanted
    assert protocols(tls) == {where: "https" if where[1] == "grpc" else told
                              for where, told in wanted.items()}


def test_the_gateway_checks_the_service_that_speaks_tls(tls):
    policy, = objects_of("backend-tls")
    target, = policy["spec"]["targetRefs"]
    service = only(tls, target["kind"], target["name"])
    assert service["metadata"]["namespace"] == policy["metadata"]["namespace"]
    assert target["sectionName"] in {one["name"] for one in service["spec"]["ports"]}
    assert policy["spec"]["validation"]["hostname"] == \
        "{name}.{namespace}.svc".format(**service["metadata"])
