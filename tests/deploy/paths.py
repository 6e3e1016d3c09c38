"""Where the tests of label deploy read and write, and what they serve."""

import json
import os
import pathlib
import shutil
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = SOURCE / "deploy"
DEMO_MODELS = DEPLOY / "models"
# Kept between runs: image storage, screenshots.
WORK = pathlib.Path(os.environ["FFF_DEPLOY_DIR"])
WORK.mkdir(parents=True, exist_ok=True)
SERVER = pathlib.Path(os.environ["FFF_SERVER_BINARY"])
CTL = pathlib.Path(os.environ["FFF_CTL_BINARY"])

# The integration tests' stubs and server process serve here too.
sys.path.insert(0, str(SOURCE / "tests" / "integration"))


def add_network(repository, name):
    """The demo model's FFF with a softmax behind it: a network of three layers, and a
    dense twin that differs in the second alone."""
    demo = DEMO_MODELS / "fashion-mnist"
    config = json.loads((demo / "config.json").read_text())
    (repository / name / "1").mkdir(parents=True)
    shutil.copy(demo / "1" / "model.safetensors", repository / name / "1")
    (repository / name / "config.json").write_text(json.dumps(
        {"layers": [*config["layers"], {"type": "softmax"}], "input": config["input"]}))


def add_layer(repository, name):
    """One FFF layer alone."""
    (repository / name / "1").mkdir(parents=True)
    shutil.copy(SOURCE / "tests" / "data" / "reference" / "vectors" / "sapient-128x64"
                / "model.safetensors", repository / name / "1")
    (repository / name / "config.json").write_text(json.dumps(
        {"layers": [{"type": "fff", "convention": "sap-fff"}]}))
