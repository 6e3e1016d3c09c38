"""Where the tests of label deploy read and write."""

import os
import pathlib
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
