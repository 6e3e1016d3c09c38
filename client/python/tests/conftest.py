"""Makes the stubs before the tests when they are missing or out of date."""

import pathlib
import subprocess
import sys

PYTHON_CLIENT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PYTHON_CLIENT))


def stubs_are_current() -> bool:
    proto = PYTHON_CLIENT.parents[1] / "proto" / "fff" / "v1" / "inference.proto"
    stub = PYTHON_CLIENT / "fff_client" / "_proto" / "inference_pb2_grpc.py"
    sources = [proto, PYTHON_CLIENT / "generate"]
    return stub.exists() and all(
        stub.stat().st_mtime > source.stat().st_mtime for source in sources
    )


if not stubs_are_current():
    subprocess.run([sys.executable, str(PYTHON_CLIENT / "generate")], check=True)
