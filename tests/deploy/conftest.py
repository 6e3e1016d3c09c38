"""Fixtures of the deployment tests."""

import os

import pytest

import paths  # noqa: F401
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
