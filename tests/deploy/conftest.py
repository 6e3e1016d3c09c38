"""Fixtures of the deployment tests."""

import os
import sys

import numpy as np
import pytest

import paths  # noqa: F401
import fff_api
import tools
from clients import KINDS
from cluster import Cluster
from network import Network
from server_process import ServerProcess

# Of the requests; different numbers, so that no answer fits another request.
ROWS = (1, 16, 1, 3)


@pytest.fixture(scope="session")
def network():
    assert os.geteuid() == 0, "network namespaces need root"
    with Network() as created:
        yield created


@pytest.fixture(scope="module")
def server():
    """The demo model behind a real server on free ports."""
    with ServerProcess(paths.DEMO_MODELS) as running:
        yield running


@pytest.fixture(scope="session")
def validator():
    """The schemas of Kubernetes."""
    sys.path.append(str(tools.folder_of("kubernetes-validate")))
    import kubernetes_validate  # pylint: disable=import-outside-toplevel
    return kubernetes_validate


@pytest.fixture(scope="module")
def answers(server, tmp_path_factory):
    """Method -> file of requests and answers, those of a server that stays."""
    api, random = fff_api.Api(server.target), np.random.default_rng(3)
    directory = tmp_path_factory.mktemp("answers")
    files = {}
    for _, method in KINDS.values():
        arrays = {}
        for i, rows in enumerate(ROWS):
            x = random.uniform(-1, 1, (rows, 784)).astype(np.float32)
            reply = (api.infer("fashion-mnist", x) if method == "ModelInfer" else
                     api.predict("fashion-mnist", x, dense=method == "PredictDense"))
            arrays[f"x{i}"], arrays[f"y{i}"] = x, fff_api.output_of(reply)
        files[method] = directory / f"{method}.npz"
        np.savez(files[method], **arrays)
    api.close()
    return files


@pytest.fixture(scope="module")
def cluster(network, tmp_path_factory):
    running = Cluster(network, tmp_path_factory.mktemp("cluster"))
    yield running
    running.stop()
    assert set(running.exit_codes) == {0}, "a pod had to be killed"
