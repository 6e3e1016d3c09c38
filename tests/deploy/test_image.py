"""The image of the Dockerfile, run the way a hardened cluster runs it."""

import json
import pathlib
import re
import subprocess
import threading
import time
import urllib.request

import grpc
import numpy as np
import pytest

import container
import fff_api
import paths
from load import Load

IMAGE_BYTES_MAX = 150 * 1000 * 1000
CUDA_IMAGE = "localhost/fff-server:test-cuda"
SAMPLES = paths.DEPLOY / "samples" / "fashion-mnist"


@pytest.fixture(scope="module")
def image():
    container.build_image()
    return container.inspect()


@pytest.fixture(scope="module")
def host(network):
    return network.add_host()


@pytest.fixture(scope="module")
def running(image, host):
    with container.Container("fff-image-test", host, "--drain-delay=0") as started:
        yield started


@pytest.fixture
def api(running, host):
    opened = fff_api.Api(f"{host.address}:8001")
    yield opened
    opened.close()


def sample_rows(count):
    """The first sample images, scaled as the model's README says."""
    pixels = np.frombuffer((SAMPLES / "images.idx3-ubyte").read_bytes()[16:], np.uint8)
    return (pixels.reshape(-1, 784)[:count] / 255 - 0.5) / 0.5


def test_image_is_small(image):
    print(f"image size: {image['Size'] / 1e6:.1f} MB")
    assert image["Size"] < IMAGE_BYTES_MAX


def test_image_states_user_signal_health_and_origin(image):
    config = image["Config"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"]), "numeric, not root"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["/usr/bin/fff-server"]
    assert set(config["ExposedPorts"]) == {"8001/tcp", "8002/tcp"}
    assert image["Healthcheck"]["Test"][0] == "CMD", "no shell in the probe"
    for label in ("title", "description", "licenses", "vendor", "source", "version",
                  "revision", "created"):
        assert config["Labels"][f"org.opencontainers.image.{label}"]


def test_image_holds_no_shell_and_names_its_packages(image):
    mounted = container.podman("image", "mount", container.IMAGE).stdout.strip()
    try:
        listing = subprocess.run(
            ["find", mounted, "-type", "f", "-o", "-type", "l"], check=True,
            capture_output=True, text=True).stdout.splitlines()
        document = json.loads((pathlib.Path(mounted) / "usr/share/doc/fff-serving"
                               / "sbom.spdx.json").read_text())
    finally:
        container.podman("image", "umount", container.IMAGE)
    files = {path[len(mounted):] for path in listing}
    programs = {path for path in files if "/bin/" in path or "/sbin/" in path}
    assert programs == {"/usr/bin/fff-server", "/usr/bin/fffctl"}
    for package in ("libc6", "libgrpc29", "libdnnl2"):
        assert f"/var/lib/dpkg/status.d/{package}" in files
        assert f"/usr/share/doc/{package}/copyright" in files
    contained = {one["relatedSpdxElement"] for one in document["relationships"]
                 if one["relationshipType"] == "CONTAINS"}
    assert {one["name"] for one in document["packages"] if one["SPDXID"] in contained} == {
        path.rsplit("/", 1)[1] for path in files if "/dpkg/status.d/" in path}


def test_container_starts_restricted(running):
    print(f"start-up time, podman included: {running.start_seconds:.2f} s")
    status = dict(re.findall(r"^(\w+):\s+(.*)$",
                             open(f"/proc/{running.pid()}/status").read(), re.M))
    assert status["Uid"].split() == ["65532"] * 4
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapEff"], 16) == 0 and int(status["CapBnd"], 16) == 0
    assert status["NSpid"].split()[-1] == "1", "the server is process 1"
    mounts = open(f"/proc/{running.pid()}/mountinfo").read()
    root = re.search(r"^\d+ \d+ \S+ \S+ / (\S+)", mounts, re.M)
    assert "ro" in root.group(1).split(",")


def test_container_predicts(api):
    rows = sample_rows(50)
    response = api.predict("fashion-mnist", rows, include_labels=True)
    truth = np.frombuffer((SAMPLES / "labels.idx1-ubyte").read_bytes()[8:], np.uint8)
    found = fff_api.output_of(response).argmax(axis=1)
    assert (found == truth).sum() >= 40, f"{found} for {truth}"
    assert len(response.labels) == 50
    dense = api.predict("fashion-mnist", rows, dense=True)
    assert fff_api.output_of(dense).shape == (50, 10)


def test_container_exports_metrics(api, host):
    api.predict("fashion-mnist", sample_rows(1))
    with urllib.request.urlopen(f"http://{host.address}:8002/metrics") as reply:
        text = reply.read().decode()
    found = re.search(r'^fff_requests_total\{.*code="OK".*\} (\d+)', text, re.M)
    assert found and int(found.group(1)) > 0
    assert 'fff_model_ready{model="fashion-mnist"} 1' in text


def test_health_check_of_the_image_passes(running):
    done = container.podman("healthcheck", "run", running.name, check=False)
    assert done.returncode == 0, running.state()["State"]["Health"]


def test_overload_beyond_memory_is_survived(running, host):
    """48 callers at once with requests of 32 MB would need three times the limit."""
    rows = np.random.default_rng(3).uniform(-1, 1, (10000, 784))
    request = fff_api.predict_request("fashion-mnist", rows)
    codes = []

    def call():
        channel = grpc.insecure_channel(f"{host.address}:8001",
                                        options=fff_api.UNBOUNDED)
        stub = fff_api.v1_grpc.InferenceServiceStub(channel)
        for _ in range(2):
            try:
                stub.Predict(request, timeout=60)
                codes.append(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                codes.append(error.code())
        channel.close()

    callers = [threading.Thread(target=call) for _ in range(48)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    counts = {code.name: codes.count(code) for code in set(codes)}
    peak = memory_peak(running) / 2**20 if running.process.poll() is None else None
    print(f"overload: {counts}, memory peak {peak} MiB")
    allowed = {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED,
               grpc.StatusCode.DEADLINE_EXCEEDED}
    assert running.process.poll() is None, "the server was killed"
    assert set(codes) <= allowed, counts
    after = fff_api.Api(f"{host.address}:8001")
    assert fff_api.output_of(after.predict("fashion-mnist", rows[:1])).shape == (1, 10)
    after.close()


def memory_peak(running):
    """Bytes, from the memory cgroup of process 1 (version 1 or 2)."""
    for line in open(f"/proc/{running.pid()}/cgroup").read().splitlines():
        _, controllers, path = line.split(":", 2)
        for name in (f"/sys/fs/cgroup/memory{path}/memory.max_usage_in_bytes",
                     f"/sys/fs/cgroup{path}/memory.peak"):
            if controllers in ("", "memory"):
                try:
                    return int(open(name).read())
                except OSError:
                    continue
    return float("nan")


def await_not_ready(url):
    """Returns once the server says so itself."""
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url).close()
        except urllib.error.HTTPError as error:
            assert error.code == 503
            return
        assert time.monotonic() < deadline, "SIGTERM turns health to not ready"
        time.sleep(0.1)  # between two looks; the deadline decides


def test_sigterm_drains_and_ends_with_code_0(image, network):
    host = network.add_host()
    # A delay that nothing here outlasts; a second signal ends it.
    with container.Container("fff-image-drain", host, "--drain-delay=300") as started:
        target = f"{host.address}:8001"
        with Load(target, threads=2) as load:
            load.await_calls(20)
            started.terminate()
            await_not_ready(f"http://{host.address}:8002/readyz")
            # Health has turned, calls go on.
            load.await_calls(20)
            assert load.failed == 0, load.failures[:3]
        before = time.monotonic()
        started.terminate()
        assert started.wait() == 0
        print(f"ended {time.monotonic() - before:.1f} s after the last call")
    assert "stopped" in started.text()


def test_log_of_a_wrong_flag_names_it(image, host):
    ended = container.podman("run", "--rm", "--network", f"ns:{host.path}",
                             *container.LIMITS, container.IMAGE, "--grpc-port=x",
                             check=False)
    assert ended.returncode != 0
    assert "--grpc-port" in ended.stderr, json.dumps(ended.stderr)


def test_cuda_image_serves_on_the_cpu_where_there_is_no_gpu(network):
    """The toolkit of this machine stands in for a base image that has one."""
    toolkit = pathlib.Path("/usr/local/cuda")
    if not (toolkit / "bin" / "nvcc").exists():
        pytest.skip("no CUDA toolkit on this machine")
    if pathlib.Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a GPU")
    container.make_base()
    container.build_image("cuda", CUDA_IMAGE, [
        "--build-arg", f"CUDA_BASE={container.BASE}",
        "--volume", f"{toolkit.resolve()}:{toolkit}:ro"])
    print(f"cuda image size: {container.inspect(CUDA_IMAGE)['Size'] / 1e6:.1f} MB")
    host = network.add_host()
    with container.Container("fff-cuda-image-test", host, "--drain-delay=0",
                             image=CUDA_IMAGE) as started:
        api = fff_api.Api(f"{host.address}:8001")
        response = api.predict("fashion-mnist", sample_rows(2))
        assert fff_api.output_of(response).shape == (2, 10)
        api.close()
        assert "no CUDA engine: no driver on this machine" in started.text()
        assert "models run on the CPU" in started.text()
        started.terminate()
        assert started.wait() == 0
    # When asked for, the engine's object is there, loads, and says so itself.
    ended = container.podman("run", "--rm", "--network", f"ns:{host.path}",
                             *container.LIMITS, CUDA_IMAGE, "--device=cuda",
                             check=False)
    assert ended.returncode != 0
    assert "--device=cuda: no CUDA engine: CUDA: " in ended.stderr, ended.stderr
