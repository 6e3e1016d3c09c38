"""The image, built by buildah from the Dockerfile on a base made by debootstrap,
and containers of it, run by podman and runc. No registry, no Docker engine."""

import hashlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import threading
import time

import bootstrap
import paths

STORE = paths.WORK / "containers"
# By Debian's name of the release.
BASES = {suite: f"localhost/debian:{suite}-slim" for suite in bootstrap.SUITES}
BASE = BASES["bookworm"]
IMAGE = "localhost/fff-server:test"
# podman takes no runroot of more than 50 characters, and remembers which it was:
# one short path for each store, wherever the checkout lies.
RUN_ROOT = "/run/fff-deploy-" + hashlib.sha256(str(STORE).encode()).hexdigest()[:12]
STORAGE = ["--root", str(STORE / "root"), "--runroot", RUN_ROOT,
           "--storage-driver", "overlay"]
START_SECONDS_MAX = 120
# Below this machine's own, which a container without privileges may not raise.
LIMITS = ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=32768:32768"]


def buildah(*arguments, **options):
    return subprocess.run(["buildah", *STORAGE, *map(str, arguments)], check=True,
                          text=True, **options)


def podman_command(*arguments):
    return ["podman", *STORAGE, "--cgroup-manager=cgroupfs", "--runtime", "runc",
            *map(str, arguments)]


def podman(*arguments, check=True):
    done = subprocess.run(podman_command(*arguments), check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0 or not check, done.stderr
    return done


def exists(image):
    command = ["buildah", *STORAGE, "inspect", "--type", "image", image]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def make_base(suite="bookworm"):
    """debian:SUITE-slim as it stands in a registry, made here; kept. Its name."""
    base = BASES[suite]
    if exists(base):
        return base
    rootfs = STORE / "rootfs"
    bootstrap.make_root(suite, rootfs)
    container = buildah("from", "scratch", stdout=subprocess.PIPE).stdout.strip()
    buildah("add", "--quiet", container, rootfs, "/", stdout=subprocess.DEVNULL)
    buildah("commit", "--quiet", "--rm", container, base, stdout=subprocess.DEVNULL)
    subprocess.run(["rm", "-rf", str(rootfs)], check=True)
    return base


def compiler_cache():
    """The folder of the compiler cache that built the server under test: the image
    compiles the same sources with the same compiler a second time."""
    told = subprocess.run(["ccache", "--get-config", "cache_dir"], check=True,
                          capture_output=True, text=True).stdout.strip()
    pathlib.Path(told).mkdir(parents=True, exist_ok=True)
    return told


def limits():
    """Of open files and processes: buildah's own are more than a sandbox may allow."""
    for name, number, wanted in (("nofile", resource.RLIMIT_NOFILE, 16384),
                                 ("nproc", resource.RLIMIT_NPROC, 32768)):
        _, most = resource.getrlimit(number)
        value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        yield from ("--ulimit", f"{name}={value}:{value}")


def build_image(target="cpu", image=IMAGE, options=()):
    """Builds a target of the Dockerfile; unchanged layers come from the last run."""
    make_base()
    log = paths.WORK / f"image-build-{target}.log"
    cache = compiler_cache()
    with open(log, "w", encoding="utf-8") as output:
        command = ["buildah", *STORAGE, "bud", "--isolation", "chroot", "--pull-never",
                   *limits(),
                   "--layers", "--format", "docker", "--target", target,
                   "--build-arg", f"JOBS={os.cpu_count()}",
                   "--build-arg", "CCACHE_DIR=/ccache", "--volume", f"{cache}:/ccache",
                   *options, "-t", image, str(paths.SOURCE)]
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT,
                              check=False).returncode
    assert code == 0, log.read_text()[-4000:]


def inspect(image=IMAGE):
    return json.loads(podman("image", "inspect", image).stdout)[0]


class Container:
    """A container of the image under the restrictions of a hardened cluster:
    a user that is not root, a read-only root, no capabilities, limits."""

    def __init__(self, name, network, *flags, memory="512m", environment=(),
                 image=IMAGE):
        self.name = name
        self.log = []
        self._listening = threading.Event()
        self._ended = threading.Event()
        variables = [part for pair in environment for part in ("--env", pair)]
        command = podman_command(
            "run", "--rm", "--name", name, "--network", f"ns:{network.path}",
            "--pull=never", *LIMITS, "--read-only", "--read-only-tmpfs=false",
            "--cap-drop=ALL", "--security-opt", "no-new-privileges", "--memory", memory,
            "--memory-swap", memory, "--pids-limit", "200", *variables, image, *flags)
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE,
                                        stdout=subprocess.DEVNULL, text=True)
        threading.Thread(target=self._read, daemon=True).start()
        assert self._listening.wait(START_SECONDS_MAX), self.text()
        assert not self._ended.is_set(), f"did not start:\n{self.text()}"
        self.start_seconds = time.monotonic() - self.started

    def _read(self):
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))
            if "listening grpc=" in line:
                self._listening.set()
        self._ended.set()
        self._listening.set()

    def text(self):
        return "\n".join(self.log)

    def state(self):
        return json.loads(podman("inspect", self.name).stdout)[0]

    def pid(self):
        return self.state()["State"]["Pid"]

    def terminate(self, name=signal.SIGTERM):
        podman("kill", "--signal", name.name, self.name)

    def wait(self, seconds=60):
        code = self.process.wait(timeout=seconds)
        self._ended.wait(60)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            podman("kill", "--signal", "KILL", self.name, check=False)
            self.wait()
