"""Fixtures: the reference models as one repository behind one server."""

import json
import os
import pathlib
import shutil

import pytest

import fff_api
import safetensors_file
from server_process import ServerProcess

SOURCE = pathlib.Path(__file__).resolve().parents[2]
REFERENCE = SOURCE / "tests" / "data" / "reference"
DEMO = SOURCE / "deploy" / "models"

# Reference vector: the config its checkpoint needs beyond what is detected.
VECTOR_LAYERS = {
    "fastfeedforward-mnist-shape": {},
    "fastfeedforward-gelu": {"convention": "fastfeedforward", "activation": "gelu"},
    "ultrafastbert-1x6": {},
    "ultrafastbert-3x4": {"convention": "ultrafastbert", "trees": 3},
    "ultrafastbert-bmm-d7": {"convention": "ultrafastbert-bmm"},
    "sapient-128x64": {"convention": "sap-fff"},
    "sapient-256x256-d9": {"convention": "sap-fff"},
}
CHECKPOINTS = ["FashionMNIST_l8_d4-0.8669", "FashionMNIST_l16_d3-0.8738",
               "FashionMNIST_l1_d4-0.803", "model_l8_d4_a1_h1_master3-95.1"]


def layers_of(checkpoint):
    """What config.json says of a reference vector's layer; None where it is detected."""
    layer = VECTOR_LAYERS.get(pathlib.Path(checkpoint).parent.name)
    return [{"type": "fff", **layer}] if layer else None


def add_model(repository, name, checkpoint, layers=None, version=1, file_name=None,
              **config):
    """Copies a checkpoint in as one version of a model. A reference vector without
    `layers` gets those that it needs."""
    directory = repository / name / str(version)
    directory.mkdir(parents=True)
    shutil.copy(checkpoint, directory / (file_name or pathlib.Path(checkpoint).name))
    layers = layers or layers_of(checkpoint)
    if layers is not None:
        config["layers"] = layers
    if config:
        (repository / name / "config.json").write_text(json.dumps(config))


def add_reduced_demo(repository, precision):
    """The demo model as fashion-mnist-bf16 or fashion-mnist-int8."""
    to = repository / f"fashion-mnist-{precision}"
    shutil.copytree(DEMO / "fashion-mnist", to)
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps({**config, "precision": precision}))


def copied_vector(case):
    """The case's io tensors."""
    return safetensors_file.read(REFERENCE / "vectors" / case / "io.safetensors")


@pytest.fixture(scope="session")
def reference_repository(tmp_path_factory):
    """Every reference vector and published checkpoint, and the demo model."""
    repository = tmp_path_factory.mktemp("models")
    for case in VECTOR_LAYERS:
        add_model(repository, case, REFERENCE / "vectors" / case / "model.safetensors")
    for case in ("fastfeedforward-mnist-shape",):
        add_model(repository, f"{case}-0.2.1",
                  REFERENCE / "vectors" / case / "model.safetensors",
                  [{"type": "fff", "convention": "fastfeedforward-0.2.1"}])
    add_model(repository, "fastfeedforward-gelu-0.2.1",
              REFERENCE / "vectors" / "fastfeedforward-gelu" / "model.safetensors",
              [{"type": "fff", "convention": "fastfeedforward-0.2.1",
                "activation": "gelu"}])
    for name in CHECKPOINTS:
        add_model(repository, name, REFERENCE / "checkpoints" / name)
    if (DEMO / "fashion-mnist").exists():
        shutil.copytree(DEMO / "fashion-mnist", repository / "fashion-mnist")
        for precision in ("bf16", "int8"):
            add_reduced_demo(repository, precision)
    return repository


@pytest.fixture(scope="session")
def server(reference_repository):
    with ServerProcess(reference_repository) as running:
        yield running


@pytest.fixture(scope="session")
def api(server):
    opened = fff_api.Api(server.target)
    yield opened
    opened.close()
