"""Fixtures of the deployment tests."""

import os
import sys

import pytest

import paths  # noqa: F401
import tools
from network import Network
from server_process import ServerProcess


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
