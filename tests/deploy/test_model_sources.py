"""Ways to bring models into the cluster: a volume that is filled, an image that is
mounted, an init container that fetches. Rendered, checked, and their commands run."""

import copy
import os
import re
import shutil
import subprocess
import urllib.request

import pytest
import yaml

import paths
import pod_security
from manifests import (KUBERNETES, VERSIONS, environment, kustomize, only, pod_of,
                       server_of, validate, with_components)
from server_process import ServerProcess

WAYS = ["model-volume", "model-image", "model-fetch"]
FILLERS = ["fill-volume", "fill-by-hand"]
# Sub-paths of image volumes came with it.
IMAGE_VOLUMES_SINCE = "1.33"
README = KUBERNETES / "README.md"


@pytest.fixture(scope="module")
def ways():
    """Name -> objects of the overlay cpu with that component, and of the fillers."""
    objects = {name: with_components(name) for name in WAYS}
    objects.update({name: kustomize(KUBERNETES / name) for name in FILLERS})
    return objects


def filler_pod(objects):
    pods = [one["spec"] for one in objects if one["kind"] == "Pod"]
    pods += [one["spec"]["template"]["spec"] for one in objects if one["kind"] == "Job"]
    assert len(pods) == 1
    return pods[0]


def pod(ways, name):
    return filler_pod(ways[name]) if name in FILLERS else pod_of(ways[name])


@pytest.mark.parametrize("name", [*WAYS, *FILLERS])
@pytest.mark.parametrize("version", VERSIONS)
def test_objects_are_strictly_valid(ways, validator, name, version):
    if name == "model-image":
        version = max(version, IMAGE_VOLUMES_SINCE)
    assert validate(validator, ways[name], version) >= 1


def test_image_volumes_are_unknown_to_older_clusters(ways, validator):
    with pytest.raises(validator.ValidationError, match="image"):
        validate(validator, ways["model-image"], VERSIONS[0])


@pytest.mark.parametrize("name", [*WAYS, *FILLERS])
def test_pods_pass_pod_security_restricted(ways, name):
    spec = pod(ways, name)
    assert pod_security.violations(spec) == []
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False


@pytest.mark.parametrize("name", WAYS)
def test_the_server_reads_what_is_mounted_and_cannot_write_it(ways, name):
    server = server_of(ways[name])
    repository = environment(server)["FFF_MODEL_REPOSITORY"]
    mounts = [one for one in server["volumeMounts"] if one["mountPath"] == repository]
    assert len(mounts) == 1 and mounts[0]["readOnly"] is True
    volumes = [one["name"] for one in pod_of(ways[name])["volumes"]]
    assert volumes == [mounts[0]["name"]]


def test_the_image_has_its_models_where_the_volume_looks(ways):
    """And where KServe looks: /models."""
    mount = server_of(ways["model-image"])["volumeMounts"][0]
    file = (paths.DEPLOY / "image" / "models.Dockerfile").read_text()
    steps = [line for line in file.splitlines() if line and not line.startswith("#")]
    assert steps == ["FROM scratch", f"COPY . /{mount['subPath']}/"]
    assert mount["subPath"] == "models"


@pytest.mark.parametrize("name", FILLERS)
def test_fillers_write_the_claim_that_the_server_reads(ways, name):
    claim = only(ways["model-volume"], "PersistentVolumeClaim")
    source = pod_of(ways["model-volume"])["volumes"][0]["persistentVolumeClaim"]
    assert source == {"claimName": claim["metadata"]["name"], "readOnly": True}
    spec = pod(ways, name)
    assert spec["volumes"][0]["persistentVolumeClaim"] == {
        "claimName": claim["metadata"]["name"]}
    assert "readOnly" not in spec["containers"][0]["volumeMounts"][0]
    # As the same user, while the server's pods have it mounted on other nodes.
    assert spec["securityContext"] == pod_of(ways["model-volume"])["securityContext"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


@pytest.mark.parametrize("name", ["model-fetch", "fill-volume"])
def test_what_fetches_gets_out_to_names_and_https_and_no_further(ways, name):
    policy = only(ways[name], "NetworkPolicy", "fff-models-fetch")["spec"]
    kind = "Deployment" if name == "model-fetch" else "Job"
    labels = only(ways[name], kind)["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Egress"]
    ports = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert ports == {53, 443}
    assert all(rule["to"] for rule in policy["egress"]), "an empty list is everywhere"
    blocks = [to["ipBlock"] for rule in policy["egress"] for to in rule["to"]
              if "ipBlock" in to]
    # Where clouds hand out credentials.
    assert {"169.254.0.0/16"} <= {one for block in blocks for one in block["except"]}


@pytest.mark.parametrize("name", ["model-volume", "model-image"])
def test_who_fetches_nothing_gets_nowhere(ways, name):
    policy = only(ways[name], "NetworkPolicy")["spec"]
    assert policy["egress"] == [] and "Egress" in policy["policyTypes"]
    labels = only(ways[name], "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert "fff-serving/fetches-models" not in labels


def fetcher(ways, name):
    spec = pod(ways, name)
    return (spec.get("initContainers") or spec["containers"])[0]


def test_both_ways_of_fetching_are_one(ways):
    assert fetcher(ways, "model-fetch") == fetcher(ways, "fill-volume")


def fetch(container, store, destination):
    """Runs the container's command here, with a folder for a store. The secret's
    variables come first, as in a pod; nothing else is in the environment."""
    if shutil.which("rclone") is None:
        pytest.skip("no rclone on this machine (deploy/setup deploy)")
    secret = {"RCLONE_CONFIG_STORE_TYPE": "alias", "RCLONE_CONFIG_STORE_REMOTE": str(store)}
    variables = {**secret, **environment(container)}
    mount = container["volumeMounts"][0]["mountPath"]
    arguments = [str(destination) if one == mount else
                 re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], one)
                 for one in container["args"]]
    return subprocess.run(["rclone", *arguments], env={"PATH": os.defpath, **variables},
                          capture_output=True, text=True, check=False)


def test_the_fetched_repository_is_the_stored_one(ways, tmp_path):
    store, repository = tmp_path / "store", tmp_path / "repository"
    repository.mkdir()
    shutil.copytree(paths.DEMO_MODELS, store / "models")
    ended = fetch(fetcher(ways, "model-fetch"), store, repository)
    assert ended.returncode == 0, ended.stderr
    assert subprocess.run(["diff", "-r", store / "models", repository],
                          check=False).returncode == 0
    again = fetch(fetcher(ways, "model-fetch"), store, repository)
    assert again.returncode == 0, "a pod's containers may start twice"
    with ServerProcess(repository) as server:
        urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/readyz").close()


def test_a_store_without_the_folder_keeps_the_pod_from_starting(ways, tmp_path):
    (tmp_path / "store").mkdir()
    ended = fetch(fetcher(ways, "model-fetch"), tmp_path / "store", tmp_path / "to")
    assert ended.returncode != 0 and "not found" in ended.stderr


def test_fetching_removes_nothing(ways, tmp_path):
    """A store that lost a version must not take it from the servers."""
    store, repository = tmp_path / "store", tmp_path / "repository"
    (store / "models" / "new" / "1").mkdir(parents=True)
    (store / "models" / "new" / "1" / "model.safetensors").write_bytes(b"x")
    shutil.copytree(paths.DEMO_MODELS, repository)
    assert fetch(fetcher(ways, "fill-volume"), store, repository).returncode == 0
    assert (repository / "new" / "1" / "model.safetensors").is_file()
    assert (repository / "fashion-mnist" / "1" / "model.safetensors").is_file()


def test_the_command_that_copies_by_hand_copies(ways, tmp_path):
    """The document's line, with the pod's part run here."""
    line = re.search(r"^tar -C (\S+) .*$", README.read_text(), re.M)
    repository = tmp_path / "repository"
    repository.mkdir()
    command = line[0].replace(line[1], str(paths.DEMO_MODELS)).replace(
        "kubectl -n fff-serving exec -i fff-models-shell -- ", "").replace(
        "NAME", "fashion-mnist")
    mount = filler_pod(ways["fill-by-hand"])["containers"][0]["volumeMounts"][0]
    assert f" {mount['mountPath']} " in command
    command = command.replace(f" {mount['mountPath']} ", f" {repository} ")
    subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], check=True)
    assert subprocess.run(["diff", "-r", paths.DEMO_MODELS / "fashion-mnist",
                           repository / "fashion-mnist"], check=False).returncode == 0


def test_the_secret_of_the_document_has_the_stores_variables(ways):
    """Each configures the remote that the command names."""
    remote = fetcher(ways, "model-fetch")["args"][1].split(":")[0].upper()
    text = README.read_text()
    name = fetcher(ways, "model-fetch")["envFrom"][0]["secretRef"]["name"]
    block = text[text.index(f"create secret generic {name}"):].split("```")[0]
    variables = re.findall(r"--from-literal=(\w+)=", block)
    assert f"RCLONE_CONFIG_{remote}_TYPE" in variables
    assert all(one.startswith(f"RCLONE_CONFIG_{remote}_") for one in variables)


def test_the_documents_patch_names_another_image(ways):
    """What a user writes to mount an image of theirs."""
    block = re.search(r"```yaml\n(components:.*?)```", README.read_text(), re.S)[1]
    written = yaml.safe_load(block)
    assert written["components"] == ["../../components/model-image"]
    patch = yaml.safe_load(written["patches"][0]["patch"])[0]
    changed = copy.deepcopy(only(ways["model-image"], "Deployment"))
    place = changed
    *steps, last = patch["path"].strip("/").split("/")
    for step in steps:
        place = place[int(step) if step.isdigit() else step]
    assert patch["op"] == "replace" and last in place
