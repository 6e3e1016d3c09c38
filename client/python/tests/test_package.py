"""What importing the package promises."""

import os
import pathlib
import shutil
import subprocess
import sys

PYTHON_CLIENT = pathlib.Path(__file__).resolve().parents[1]


def run_python(code, path):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(path)},
        cwd=path,  # python -c puts the working directory first
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_exporter_needs_neither_grpc_nor_stubs_nor_torch():
    result = run_python(
        "import sys; sys.modules.update(grpc=None, torch=None)\n"
        "import fff_client.export\n"
        "assert not any('_proto' in name for name in sys.modules)",
        PYTHON_CLIENT,
    )
    assert result.returncode == 0, result.stderr


def test_missing_stubs_say_how_to_make_them(tmp_path):
    shutil.copytree(
        PYTHON_CLIENT / "fff_client",
        tmp_path / "fff_client",
        ignore=shutil.ignore_patterns("_proto"),
    )
    result = run_python("from fff_client import Client", tmp_path)
    assert result.returncode != 0
    assert "make them with: client/python/generate" in result.stderr


def test_only_the_own_protocol_is_registered():
    result = run_python(
        "import fff_client.client\n"
        "from google.protobuf import descriptor_pool\n"
        "pool = descriptor_pool.Default()\n"
        "pool.FindFileByName('fff/v1/inference.proto')\n"
        "try:\n"
        "  pool.FindMessageTypeByName('inference.ModelInferRequest')\n"
        "except KeyError: pass\n"
        "else: raise SystemExit('inference is registered')",
        PYTHON_CLIENT,
    )
    assert result.returncode == 0, result.stderr
