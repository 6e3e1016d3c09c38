"""What importing the package promises."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import fff_client

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


def test_stubs_ask_for_no_version_and_are_the_same_of_any_protoc(tmp_path):
    made = {}
    for tool in ("grpc_tools", "protoc"):
        if tool == "protoc" and shutil.which("protoc") is None:
            pytest.skip("there is no protoc")
        root = tmp_path / tool / "client" / "python"
        (root / "fff_client").mkdir(parents=True)
        shutil.copy(PYTHON_CLIENT / "generate", root)
        (tmp_path / tool / "proto").symlink_to(PYTHON_CLIENT.parents[1] / "proto")
        hidden = "grpc_tools" if tool == "protoc" else "none"
        done = run_python(
            f"import sys; sys.modules[{hidden!r}] = None; sys.argv = ['generate']\n"
            "import runpy; runpy.run_path('generate', run_name='__main__')", root)
        assert done.returncode == 0, done.stderr
        made[tool] = [file.read_text() for file in sorted(
            (root / "fff_client" / "_proto").glob("*.py"))]
    assert made["grpc_tools"] == made["protoc"]
    assert len(made["protoc"]) == 3
    for words in ("runtime_version", "GRPC_GENERATED_VERSION", "_registered_method"):
        assert not any(words in text for text in made["protoc"])


def test_stubs_register_what_those_of_other_tools_do():
    """One process may have both, as fff.v1 is a public protocol."""
    from google.protobuf import descriptor_pool
    from fff_client.client import pb

    again = descriptor_pool.Default().AddSerializedFile(pb.DESCRIPTOR.serialized_pb)
    assert again is None or again.package == "fff.v1"
    assert b"includeRouting" not in pb.DESCRIPTOR.serialized_pb  # no JSON names


def test_what_is_installed_has_stubs_and_says_that_it_is_typed(tmp_path):
    pytest.importorskip("setuptools", minversion="61")
    source = tmp_path / "client" / "python"
    shutil.copytree(PYTHON_CLIENT, source, ignore=shutil.ignore_patterns(
        "_proto", "__pycache__", "build", "*.egg-info"))
    (tmp_path / "proto").symlink_to(PYTHON_CLIENT.parents[1] / "proto")
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "--build-lib", str(tmp_path / "lib")],
        cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = tmp_path / "lib" / "fff_client"
    assert (made / "py.typed").exists()
    assert (made / "_proto" / "inference_pb2_grpc.py").exists()
    assert (made / "_proto" / "inference_pb2.pyi").exists()
    assert (made / "export" / "__main__.py").exists()
    result = run_python("import fff_client; print(fff_client.Client)", tmp_path / "lib")
    assert result.returncode == 0, result.stderr


def test_the_version_is_that_of_the_distribution():
    text = (PYTHON_CLIENT / "pyproject.toml").read_text()
    assert f'\nversion = "{fff_client.__version__}"\n' in text


def test_parts_come_when_they_are_asked_for():
    result = run_python(
        "import sys, fff_client\n"
        "assert {'aio', 'Client', '__version__'} <= set(dir(fff_client))\n"
        "assert 'grpc' not in sys.modules\n"
        "assert fff_client.aio.AsyncClient is fff_client.AsyncClient\n"
        "assert fff_client.export.main\n"
        "try: fff_client.other\n"
        "except AttributeError as error: assert 'other' in str(error)\n"
        "else: raise SystemExit('it has `other`')",
        PYTHON_CLIENT,
    )
    assert result.returncode == 0, result.stderr
