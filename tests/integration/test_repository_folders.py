"""Folders that do not fit into a repository, and file systems that say strange things
of their files."""

import os
import pathlib
import shutil
import subprocess
import time
import urllib.request

import numpy as np
import pytest

import conftest
import fff_api
from server_process import SECONDS_MAX, ServerProcess

CHECKPOINT = conftest.REFERENCE / "vectors" / "fastfeedforward-mnist-shape" / (
    "model.safetensors")
X = np.ones((1, 784), np.float32)
SANITIZED = "ASAN_OPTIONS" in os.environ


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(CHECKPOINT, path)


def index(api):
    """(name, version): (state, reason), without the twins."""
    found = api.oip.RepositoryIndex(fff_api.oip.RepositoryIndexRequest()).models
    return {(model.name, model.version): (model.state, model.reason) for model in found
            if not model.name.endswith(":dense")}


def listed(server):
    done = subprocess.run([os.environ["FFF_CTL_BINARY"], "--server", server.target,
                           "models"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def await_true(condition):
    end = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# What stands in the repository, and what is said of it under which name.
MISFITS = {
    "m/v1/model.pt": ("m", "got the folder 'v1', wanted versions named 1, 2, ..."),
    "m/v01/model.pt": ("m", "got the folder 'v01'"),
    "m/0/model.pt": ("m", "got the folder '0'"),
    "m/1.0/model.pt": ("m", "got the folder '1.0'"),
    "m/latest/model.pt": ("m", "got the folder 'latest'"),
    "m/best/checkpoint.ckpt": ("m", "got the folder 'best'"),
    "m/-1/model.pt": ("m", "got the folder '-1'"),
    "m/1": ("m", "got '1', wanted folders of these names"),
    "m/model.pt": ("m", "got 'model.pt' outside of a version folder, wanted m/1/model.pt"),
    "model.pt": ("model.pt", "got a file, wanted a folder per model"),
    "1/model.pt": ("1", "a folder named by a number with a checkpoint in it is a version"),
    "models/m/1/model.pt": ("models", "got a folder of models ('m')"),
}


@pytest.mark.parametrize("path", MISFITS)
def test_a_folder_that_does_not_fit_is_named_once_and_listed(tmp_path, path):
    name, reason = MISFITS[path]
    put(tmp_path / path)
    put(tmp_path / "served" / "1" / "model.safetensors")
    with ServerProcess(tmp_path, "--repository-poll-seconds=0.1") as server:
        server.await_line(f"passed over in the model repository: '{name}': {reason}")
        api = fff_api.Api(server.target)
        state, told = index(api)[name, "0"]
        assert state == "UNAVAILABLE" and reason in told
        assert name in listed(server) and reason.partition(",")[0] in listed(server)
        # It takes nothing down, and who asks for it is told why.
        fff_api.output_of(api.predict("served", X))
        with urllib.request.urlopen(
                f"http://127.0.0.1:{server.http_port}/readyz") as page:
            assert page.status == 200
        with pytest.raises(fff_api.grpc.RpcError) as error:
            api.predict(name, X)
        assert reason in error.value.details()
        # Looks that find the same say nothing.
        put(tmp_path / "later" / "1" / "model.safetensors")
        await_true(lambda: ("later", "1") in index(api))
        assert sum("passed over" in line for line in server.log) == 1
        api.close()


def test_it_is_served_once_it_is_renamed(tmp_path):
    put(tmp_path / "m" / "v2" / "model.safetensors")
    with ServerProcess(tmp_path) as server:
        api = fff_api.Api(server.target)
        assert ("m", "0") in index(api)
        (tmp_path / "m" / "v2").rename(tmp_path / "m" / "2")
        await_true(lambda: index(api).get(("m", "2"), ("",))[0] == "READY")
        assert list(index(api)) == [("m", "2")]
        fff_api.output_of(api.predict("m", X))
        api.close()


def test_zeros_in_front_of_a_version_do_not_matter(tmp_path):
    put(tmp_path / "m" / "0001" / "model.safetensors")
    with ServerProcess(tmp_path) as server:
        api = fff_api.Api(server.target)
        assert index(api) == {("m", "1"): ("READY", "")}
        put(tmp_path / "m" / "0002" / "model.safetensors")
        await_true(lambda: ("m", "2") in index(api))
        (tmp_path / "m" / "1").mkdir()  # which of the two is meant?
        server.await_line("'m': got the folder '0001'")
        shutil.rmtree(tmp_path / "m" / "0002")
        server.await_line("cannot load model=m version=1")  # the plain one counts
        api.close()


# Mounts of object stores make up inode numbers whenever they are asked.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/stat.h>
static unsigned long made_up;
int stat(const char* path, struct stat* info) {
  int (*next)(const char*, struct stat*) =
      (int (*)(const char*, struct stat*))dlsym(RTLD_NEXT, "stat");
  const int result = next(path, info);
  info->st_ino = __atomic_add_fetch(&made_up, 1, __ATOMIC_RELAXED);
  info->st_dev = made_up % 7;
  return result;
}
"""


@pytest.mark.skipif(SANITIZED, reason="the sanitizer must be loaded first")
def test_inode_numbers_that_change_neither_keep_a_model_out_nor_load_it_again(
        tmp_path, monkeypatch):
    source, shim = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    repository = tmp_path / "models"
    put(repository / "m" / "1" / "model.safetensors")
    monkeypatch.setenv("LD_PRELOAD", str(shim))
    with ServerProcess(repository, "--repository-poll-seconds=0.1") as server:
        assert str(shim) in pathlib.Path(f"/proc/{server.process.pid}/maps").read_text()
        api = fff_api.Api(server.target)
        fff_api.output_of(api.predict("m", X))
        for name in "abc":  # a few looks later
            put(repository / name / "1" / "model.safetensors")
            await_true(lambda: index(api).get((name, "1"), ("",))[0] == "READY")
        assert sum("loaded model=m " in line for line in server.log) == 1
        api.close()


def test_a_file_written_in_place_with_its_times_put_back_is_loaded_again(tmp_path):
    file = tmp_path / "m" / "1" / "model.safetensors"
    put(file)
    with ServerProcess(tmp_path) as server:
        api = fff_api.Api(server.target)
        before = fff_api.output_of(api.predict("m", X))
        times = file.stat()
        content = bytearray(file.read_bytes())
        content[-4096:] = bytes(4096)  # the last weights
        with file.open("r+b") as out:
            out.write(content)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        await_true(lambda: sum("loaded model=m " in line for line in server.log) == 2)
        await_true(lambda: not np.array_equal(
            fff_api.output_of(api.predict("m", X)), before))
        api.close()
