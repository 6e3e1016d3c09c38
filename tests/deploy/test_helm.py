"""The Helm chart against the kustomize base: object by object the same. Rendered by
helm itself."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

import paths
import tools
from manifests import (KUBERNETES, VERSIONS, environment, kustomize, only, pod_of,
                       server_of, validate, with_components)

CHART = paths.DEPLOY / "helm" / "fff-serving"
README = CHART.parent / "README.md"


def helm(*arguments):
    return subprocess.run([tools.helm(), *map(str, arguments)], capture_output=True,
                          text=True, check=False)


def template(tmp_path, values=None, *, chart=CHART, namespace="fff-serving"):
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values or {}))
    return helm("template", "release", chart, "--namespace", namespace, "--values", file)


def rendered(tmp_path, values=None, **options):
    ended = template(tmp_path, values, **options)
    assert ended.returncode == 0, ended.stderr
    return list(yaml.safe_load_all(ended.stdout))


def by_name(objects):
    """(kind, name) -> object; variables by name, since their order means nothing."""
    for one in objects:
        if one["kind"] == "Deployment":
            for container in one["spec"]["template"]["spec"]["containers"]:
                container["env"].sort(key=lambda variable: variable["name"])
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


def check_same(found, wanted):
    found, wanted = by_name(found), by_name(wanted)
    assert set(found) == set(wanted)
    for name, one in wanted.items():
        assert found[name] == one, name


@pytest.fixture(scope="module")
def cpu():
    """The base with an image's name."""
    return kustomize(KUBERNETES / "overlays" / "cpu")


def without(objects, *kinds):
    return [one for one in objects if one["kind"] not in kinds]


def test_every_object_is_that_of_kustomize(tmp_path, cpu):
    check_same(rendered(tmp_path, {"namespace": {"create": True}}), cpu)


def test_the_namespace_is_left_to_helm_unless_asked_for(tmp_path, cpu):
    check_same(rendered(tmp_path), without(cpu, "Namespace"))


def test_another_namespace_changes_nothing_else(tmp_path, cpu):
    text = json.dumps(cpu).replace('"namespace": "fff-serving"', '"namespace": "mine"')
    wanted = json.loads(text)
    only(wanted, "Namespace")["metadata"]["name"] = "mine"
    check_same(rendered(tmp_path, {"namespace": {"create": True}}, namespace="mine"),
               wanted)


def test_a_claim_is_mounted_as_by_the_component(tmp_path):
    check_same(rendered(tmp_path, {"models": {"claim": "fff-models"}}),
               without(with_components("model-volume"), "Namespace",
                       "PersistentVolumeClaim"))


def test_an_image_is_mounted_as_by_the_component(tmp_path):
    check_same(rendered(tmp_path, {"models": {"image": "fff-models:1"}}),
               without(with_components("model-image"), "Namespace"))


def test_an_autoscaler_owns_the_replicas_as_in_the_component(tmp_path):
    check_same(rendered(tmp_path, {"autoscaled": True, "replicas": 5}),
               without(with_components("autoscaling"), "Namespace",
                       "HorizontalPodAutoscaler"))


def test_spans_are_sent_as_by_the_component(tmp_path):
    wanted = without(with_components("tracing"), "Namespace")
    endpoint = environment(server_of(wanted))["FFF_OTLP_ENDPOINT"]
    check_same(rendered(tmp_path, {"tracing": {"endpoint": endpoint}}), wanted)


@pytest.mark.parametrize("endpoint, port", [
    ("tempo.traces:4000", 4000), ("http://tempo.traces:4000/", 4000),
    ("https://tempo.traces", 4317), ("[fd00::2]:5000", 5000), ("[fd00::2]", 4317)])
def test_spans_are_let_out_to_the_port_of_their_receiver(tmp_path, endpoint, port):
    objects = rendered(tmp_path, {"tracing": {"endpoint": endpoint, "sample": 0.25}})
    policy = only(objects, "NetworkPolicy", "fff-spans")
    rules = [{one["port"] for one in rule["ports"]} for rule in policy["spec"]["egress"]]
    assert rules == [{53}, {port}]
    variables = environment(server_of(objects))
    assert variables["FFF_OTLP_ENDPOINT"] == endpoint
    assert variables["FFF_TRACE_SAMPLE"] == "0.25"


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_are_strictly_valid(tmp_path, validator, version):
    values = {"replicas": 3, "env": {"FFF_THREADS": "2"}, "tolerations": [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "models": {"claim": "c"}, "imagePullSecrets": [{"name": "s"}],
        "tracing": {"endpoint": "collector:4000", "sample": 1}}
    assert validate(validator, rendered(tmp_path, values), version) == 7


def test_values_reach_the_deployment(tmp_path):
    resources = {"requests": {"cpu": "4"}, "limits": {"memory": "8Gi"}}
    objects = rendered(tmp_path, {
        "image": {"repository": "registry:5000/fff", "tag": "7"}, "replicas": 0,
        "imagePullSecrets": [{"name": "s"}], "resources": resources,
        "nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}],
        "env": {"FFF_THREADS": "2", "FFF_DRAIN_DELAY": "9"}})
    pod, server = pod_of(objects), server_of(objects)
    assert server["image"] == "registry:5000/fff:7"
    assert only(objects, "Deployment")["spec"]["replicas"] == 0
    assert pod["imagePullSecrets"] == [{"name": "s"}]
    assert server["resources"] == resources
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["nodeSelector"]["disk"] == "ssd"
    variables = environment(server)
    assert variables["FFF_THREADS"] == "2" and variables["FFF_DRAIN_DELAY"] == "9"
    assert variables["FFF_DRAIN_TIMEOUT"] == "30", "the base's"
    assert len(variables) == len(server["env"]), "each once"


@pytest.mark.parametrize("values, complaint", [
    ({"replica": 3}, "replica"),
    ({"replicas": "3"}, "/replicas"),
    ({"replicas": -1}, "/replicas"),
    ({"env": {"THREADS": "2"}}, "THREADS"),
    ({"env": {"FFF_THREADS": 2}}, "/env/FFF_THREADS"),
    ({"models": {"claim": "c", "image": "i"}}, "/models"),
    ({"image": {"repository": "fff:1"}}, "/image/repository"),
    ({"tracing": {"endpoint": "grpc://collector"}}, "/tracing/endpoint"),
    ({"tracing": {"endpoint": "collector:4317", "sample": 1.5}}, "/tracing/sample"),
    ({"tracing": {"collector": "collector:4317"}}, "collector"),
    ({"image": {"repository": ""}}, "/image/repository"),
])
def test_the_schema_refuses_values_that_mean_nothing(tmp_path, values, complaint):
    ended = template(tmp_path, values)
    assert ended.returncode != 0 and complaint in ended.stderr


def test_the_schema_knows_each_value_and_no_other():
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema) - {"global"} == set(values)


def test_the_document_knows_each_value_and_its_default():
    rows = dict(re.findall(r"^\| `([\w.]+)` \| `(.+?)` \|", README.read_text(), re.M))
    flat = {}
    for name, value in yaml.safe_load((CHART / "values.yaml").read_text()).items():
        if isinstance(value, dict) and value:
            flat.update({f"{name}.{inner}": one for inner, one in value.items()})
        else:
            flat[name] = value
    assert {name: yaml.safe_load(text) for name, text in rows.items()} == flat


@pytest.mark.parametrize("link, folder", [("base", "base"),
                                          ("tracing", "components/tracing")])
def test_the_manifests_are_those_of_kustomize(link, folder):
    assert (CHART / link).is_symlink()
    assert (CHART / link).resolve() == KUBERNETES / folder


def test_the_packed_chart_has_the_base_in_it(tmp_path, cpu):
    ended = helm("package", CHART, "--destination", tmp_path)
    assert ended.returncode == 0, ended.stderr
    archive, = tmp_path.glob("fff-serving-*.tgz")
    check_same(rendered(tmp_path, chart=archive), without(cpu, "Namespace"))


def changed_chart(tmp_path, add):
    """A copy without links; `add` is a resource of its base."""
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    (chart / "base" / "added.yaml").write_text(add)
    with open(chart / "base" / "kustomization.yaml", "a", encoding="utf-8") as file:
        file.write("  - added.yaml\n")
    return chart


@pytest.mark.parametrize("added, complaint", [
    ("apiVersion: v1\nkind: Widget\nmetadata: {name: x}\n", "kind Widget"),
    ("apiVersion: v1\n", "is no object"),
    ("{", "is no object"),
])
def test_what_the_chart_cannot_render_as_kustomize_ends_it(tmp_path, added, complaint):
    ended = template(tmp_path, chart=changed_chart(tmp_path, added))
    assert ended.returncode != 0 and complaint in ended.stderr


def test_a_new_object_of_the_base_is_in_the_chart(tmp_path):
    added = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: added}\n"
    objects = rendered(tmp_path, chart=changed_chart(tmp_path, added))
    assert only(objects, "ServiceAccount", "added")["metadata"]["labels"] == \
        only(objects, "ServiceAccount", "fff-server")["metadata"]["labels"]


def test_lint_finds_nothing():
    ended = helm("lint", "--strict", CHART)
    assert ended.returncode == 0, ended.stdout


def test_the_chart_is_of_this_version(cpu):
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = server_of(cpu)["image"].split(":")[1]
    assert chart["version"] == chart["appVersion"] == version
    assert chart["kubeVersion"] == f">={VERSIONS[0]}.0-0"
