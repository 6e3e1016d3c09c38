"""The README's own commands and programs, from a PyTorch network to an answer."""

import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch

import conftest
from server_process import ServerProcess
from test_sequence_clients import fff_client  # noqa: F401, makes the stubs
from test_tritonclient import python_path  # noqa: F401, the fixture

README = (conftest.SOURCE / "README.md").read_text(encoding="utf-8")
STEPS_MAX = 6
# A stranger's script: Linear, FFF, LayerNorm, Linear.
SCRIPT = """
import torch
from torch import nn
from network_layers import LeafTree

def make_model():
    return nn.Sequential(nn.Linear(20, 64), LeafTree(64, 8, 64, 3), nn.LayerNorm(64),
                         nn.Linear(64, 5))
"""


def blocks(title, language):
    section = re.split(r"^## ", README.split(f"\n## {title}\n")[1], flags=re.M)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.M | re.S)


def run(words, folder, **environment):
    done = subprocess.run(words, cwd=folder, env={**os.environ, **environment},
                          capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A folder with a script, its weights and rows; the module itself."""
    (tmp_path / "train.py").write_text(SCRIPT)
    monkeypatch.syspath_prepend(str(tmp_path))
    import train
    torch.manual_seed(7)
    module = train.make_model().eval()
    torch.save(module.state_dict(), tmp_path / "model.pt")
    np.save(tmp_path / "rows.npy", torch.randn(9, 20).numpy())
    return tmp_path, module


def test_a_network_of_ones_own_is_served_in_the_steps_it_says(stranger):
    folder, module = stranger
    (block,) = blocks("Serve yours", "sh")
    steps = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert len(steps) <= STEPS_MAX
    environment, install, export, serve, ask = steps
    # Debian's packages and the source tree stand for what pip would install.
    assert environment[:3] == ["python3", "-m", "venv"]
    assert install[:3] == ["pip", "install", "./client/python"]
    assert (conftest.SOURCE / "client/python/pyproject.toml").exists()
    path = f"{conftest.SOURCE}/client/python:{conftest.SOURCE}/tests/integration"
    assert export[0] == "python3"
    run([sys.executable, *export[1:]], folder, PYTHONPATH=path)
    # The server's own ports and folder; the flag is the one it is given anyway.
    assert serve[:2] == ["fff-server", "--model-repository=models"]
    with ServerProcess(folder / "models") as server:
        assert "proven on cpu by 4 of 4 rows" in server.text()
        assert ask[:2] == ["fffctl", f"--server=127.0.0.1:{serve[2].partition('=')[2]}"]
        run([os.environ["FFF_CTL_BINARY"], f"--server={server.target}", *ask[2:],
             "--output=answers.npy"], folder)
    with torch.no_grad():
        wanted = module(torch.from_numpy(np.load(folder / "rows.npy"))).numpy()
    np.testing.assert_allclose(np.load(folder / "answers.npy"), wanted, rtol=1e-4,
                               atol=1e-4)


def test_the_programs_that_call_run(server, fff_client, python_path, tmp_path):  # noqa: F811
    ours, theirs = (code.replace("127.0.0.1:8001", server.target)
                    for code in blocks("Call it", "python"))
    folder = os.path.dirname(os.path.dirname(fff_client.__file__))
    labels = run([sys.executable, "-B", "-c", ours], tmp_path, PYTHONPATH=folder)
    classes = run([sys.executable, "-B", "-c", theirs], tmp_path,
                  PYTHONPATH=str(python_path))
    assert len(set(re.findall(r"[\w-][\w -]*", labels))) == 1
    assert re.fullmatch(r"\[(\d) \1 \1\]\n", classes)


def test_the_commands_that_call_run(server, tmp_path):
    (block,) = blocks("Call it", "sh")
    for line in block.splitlines():
        words = shlex.split(line.replace("deploy/", f"{conftest.SOURCE}/deploy/"))
        assert words[0] == "fffctl"
        short = ["--seconds=0.01"] if words[1] == "benchmark" else []
        run([os.environ["FFF_CTL_BINARY"], f"--server={server.target}", *words[1:],
             *short], tmp_path)
