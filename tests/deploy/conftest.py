"""Fixtures of the deployment tests."""

import os

import pytest

import paths  # noqa: F401
from network import Network
from server_process import ServerProcess


def pytest_configure(config):
    if os.geteuid() != 0:
        raise pytest.UsageError("the tests of label deploy need root")


@pytest.fixture(scope="session")
def network():
    with Network() as created:
        yield created


@pytest.fixture(scope="module")
def server():
    """The demo model behind a real server on free ports."""
    with ServerProcess(paths.DEMO_MODELS) as running:
        yield running
