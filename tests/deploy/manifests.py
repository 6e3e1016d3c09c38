"""Rendering deploy/kubernetes, and finding one's way in what comes out."""

import json
import subprocess
import tempfile

import yaml

import paths
import tools

KUBERNETES = paths.DEPLOY / "kubernetes"
OVERLAYS = ["cpu", "gpu", "tls"]
# The ends of the range of Kubernetes that the manifests are for.
VERSIONS = ["1.30", "1.37"]
# Kinds of operators, whose schemas Kubernetes does not ship; crd_models.py has them.
CUSTOM = {"ServiceMonitor", "ScaledObject"}


def kustomize(directory):
    """Rendered objects."""
    rendered = subprocess.run([tools.kubectl(), "kustomize", str(directory)],
                              capture_output=True, text=True, check=False)
    assert rendered.returncode == 0, rendered.stderr
    return list(yaml.safe_load_all(rendered.stdout))


def with_components(*components, resources=("overlays/cpu",)):
    """Objects of an overlay as a user writes it: those folders and components."""
    with tempfile.TemporaryDirectory() as tree:
        subprocess.run(["cp", "-r", str(KUBERNETES), tree], check=True)
        overlay = f"{tree}/kubernetes/overlays/mine"
        subprocess.run(["mkdir", overlay], check=True)
        with open(f"{overlay}/kustomization.yaml", "w", encoding="utf-8") as file:
            json.dump({
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [f"../../{one}" for one in resources],
                "components": [f"../../components/{one}" for one in components]}, file)
        return kustomize(overlay)


def only(objects, kind, name=None):
    found = [one for one in objects if one["kind"] == kind
             and name in (None, one["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} {kind}"
    return found[0]


def pod_of(objects):
    return only(objects, "Deployment")["spec"]["template"]["spec"]


def server_of(objects):
    containers = pod_of(objects)["containers"]
    return next(one for one in containers if one["name"] == "fff-server")


def environment(container):
    return {one["name"]: one.get("value") for one in container.get("env", [])}


def validate(validator, objects, version):
    """Strictly, all but those of operators; returns how many."""
    known = [one for one in objects if one["kind"] not in CUSTOM]
    for one in known:
        validator.validate(one, version, strict=True)
    return len(known)
