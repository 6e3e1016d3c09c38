"""Makes the gRPC stubs, then leaves everything to pyproject.toml."""

import pathlib
import subprocess
import sys

import setuptools

HERE = pathlib.Path(__file__).resolve().parent
# A source archive carries the stubs but not the proto they come from.
if (HERE.parent.parent / "proto").is_dir():
    subprocess.run([sys.executable, str(HERE / "generate")], check=True)

setuptools.setup()
