"""KServe's files, against KServe's own models and each other."""

import copy

import pytest
import yaml

import kserve_models
import paths
import pod_security
from manifests import VERSIONS, environment

MODELS = {"ServingRuntime": "V1alpha1ServingRuntime",
          "InferenceService": "V1beta1InferenceService"}
FILES = ["serving-runtime", "inference-service"]
# As the storage initializer, the claim and the image volume of KServe 0.21 take them.
STORAGE = ("gs://", "s3://", "hdfs://", "webhdfs://", "hf://", "modelscope://",
           "https://", "http://", "pvc://", "oci://", "oci+native://", "oci+modelcar://",
           "oci+fetch://")


def kserve(name):
    return yaml.safe_load((paths.DEPLOY / "kserve" / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", FILES)
def test_it_is_strictly_valid(name):
    one = kserve(name)
    assert kserve_models.complaints(one, MODELS[one["kind"]]) == []


@pytest.mark.parametrize("change, complaint", [
    (lambda one: one["spec"]["predictor"]["model"].update(storageURI="s3://a/b"),
     "InferenceService.spec.predictor.model.storageURI: unknown field"),
    (lambda one: one["spec"]["predictor"].update(minReplicas="2"),
     "InferenceService.spec.predictor.minReplicas: got '2', wanted int"),
])
def test_the_models_refuse_what_the_api_server_would(change, complaint):
    wrong = copy.deepcopy(kserve("inference-service"))
    change(wrong)
    assert kserve_models.complaints(wrong, MODELS["InferenceService"]) == [complaint]


def test_runtime_and_service_fit_together():
    runtime, service = kserve("serving-runtime"), kserve("inference-service")
    model = service["spec"]["predictor"]["model"]
    formats = {one["name"] for one in runtime["spec"]["supportedModelFormats"]}
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"]["name"] in formats
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    pod = {**service["spec"]["predictor"], "containers": runtime["spec"]["containers"]}
    assert pod_security.violations(pod) == []


def test_deployments_are_plain_ones():
    """"RawDeployment" is the old name of the same."""
    annotations = kserve("inference-service")["metadata"]["annotations"]
    assert annotations["serving.kserve.io/deploymentMode"] == "Standard"


def test_pods_come_and_go_as_without_kserve():
    deployment = yaml.safe_load(
        (paths.DEPLOY / "kubernetes" / "base" / "deployment.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    (mine,), (base,) = kserve("serving-runtime")["spec"]["containers"], pod["containers"]
    assert mine["lifecycle"] == base["lifecycle"]
    variables = [environment(one)["FFF_MAX_CONNECTION_AGE"] for one in (mine, base)]
    assert variables[0] == variables[1]
    assert kserve("inference-service")["spec"]["predictor"][
        "terminationGracePeriodSeconds"] == pod["terminationGracePeriodSeconds"]


def test_storage_uri_has_a_scheme_of_kserve():
    model = kserve("inference-service")["spec"]["predictor"]["model"]
    assert model["storageUri"].startswith(STORAGE)


def test_every_scheme_that_the_document_names_is_one_of_kserve():
    text = (paths.DEPLOY / "kubernetes" / "README.md").read_text()
    section = text[text.index("## KServe"):]
    named = {word.split("://")[0] + "://" for word in section.replace("`", " ").split()
             if "://" in word}
    assert len(named) >= 5 and named <= set(STORAGE)


def test_no_pod_is_told_of_services_in_variables():
    assert kserve("inference-service")["spec"]["predictor"]["enableServiceLinks"] is False


def test_pod_is_strictly_valid(validator):
    """The parts that end in a pod, against the schema of a pod."""
    predictor = dict(kserve("inference-service")["spec"]["predictor"])
    for field in ("minReplicas", "maxReplicas", "model"):
        predictor.pop(field)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
           "spec": {**predictor, "containers": kserve("serving-runtime")["spec"][
               "containers"]}}
    validator.validate(pod, VERSIONS[0], strict=True)
