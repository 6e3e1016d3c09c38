"""Whole networks made by running public code, through both APIs: outputs within
the tolerance of the case, every token's way equal."""

import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import conftest
import fff_api
import safetensors_file
import test_tritonclient
from server_process import ServerProcess

python_path = test_tritonclient.python_path  # the fixture

FOLDER = conftest.REFERENCE / "networks"
CASES = ["sap-cifar10-cnn-fff", "sap-cifar10-cnn-ff", "fff-vit-cls", "catid-vit-fff-cls"]
ROUTED = [case for case in CASES if case != "sap-cifar10-cnn-ff"]
# Long enough for requests that were sent together to meet in one batch.
QUEUE_DELAY_US = 200_000


def facts(case):
    return json.loads((FOLDER / case / "case.json").read_text())


def batches(case):
    """Name, input, output and the bottom positions of every FFF layer in order."""
    io = safetensors_file.read(FOLDER / case / "io.safetensors")
    for name in sorted(n for n in io if n.endswith("input")):
        head = name[:-len("input")]
        output = io.get(head + "output", io.get(head + "logits"))
        routes = [positions(io[n]) if n.endswith(".node") else io[n] for n in sorted(io)
                  if n.startswith(head) and n.endswith((".leaf", ".node"))]
        yield name, io[name], output, routes


def positions(bottom):
    """Position on the bottom level of nodes in heap order."""
    top = 1
    while bottom.min() >= 2 * top - 1:
        top *= 2
    return bottom - (top - 1)


def add_case(repository, case, name, **changes):
    config = json.loads((FOLDER / case / "config.json").read_text())
    (repository / name / "1").mkdir(parents=True)
    shutil.copy(FOLDER / case / "model.safetensors", repository / name / "1")
    (repository / name / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    repository = tmp_path_factory.mktemp("networks")
    for case in CASES:
        add_case(repository, case, case)
        add_case(repository, case, case + "-slow",
                 batching={"max_queue_delay_us": QUEUE_DELAY_US})
        add_case(repository, case, case + "-bf16", precision="bf16")
    dense = json.loads((FOLDER / "sap-cifar10-cnn-ff" / "config.json").read_text())
    add_case(repository, "sap-cifar10-cnn-fff", "trained", dense_layers=dense["layers"])
    shutil.copy(FOLDER / "sap-cifar10-cnn-ff" / "model.safetensors",
                repository / "trained" / "1" / "dense.safetensors")
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)
        yield server, api
        api.close()


def assert_routes(response, routes):
    assert len(response.routing) == len(routes)
    for layer, wanted in zip(response.routing, routes):
        assert layer.tokens * layer.trees == wanted[0].size
        np.testing.assert_array_equal(np.array(layer.leaf), wanted.reshape(-1))
        assert len(set(layer.leaf)) > 1, "the case visits more than one leaf"


@pytest.mark.parametrize("case", CASES)
def test_answers_as_the_public_code(networks, case):
    _, api = networks
    tolerance = facts(case)["tolerance_abs"]
    for name, x, y, routes in batches(case):
        response = api.predict(case, x, include_routing=True)
        np.testing.assert_allclose(fff_api.output_of(response), y, rtol=0,
                                   atol=tolerance, err_msg=name)
        assert_routes(response, routes)
        answer = api.infer(case, x, name="pixels")
        np.testing.assert_allclose(fff_api.output_of(answer), y, rtol=0,
                                   atol=tolerance, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_every_picture_alone_answers_as_in_the_batch(networks, case):
    _, api = networks
    tolerance = facts(case)["tolerance_abs"]
    for _, x, y, routes in batches(case):
        for i, row in enumerate(x):
            response = api.predict(case, row[None], include_routing=True)
            np.testing.assert_allclose(fff_api.output_of(response)[0], y[i], rtol=0,
                                       atol=tolerance)
            for layer, wanted in zip(response.routing, routes):
                np.testing.assert_array_equal(np.array(layer.leaf),
                                              wanted[i].reshape(-1))


@pytest.mark.parametrize("case", CASES)
def test_batches_of_several_requests_answer_each(networks, case):
    _, api = networks
    tolerance = facts(case)["tolerance_abs"]
    requests = list(batches(case)) * 3
    with concurrent.futures.ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(
            lambda request: api.predict(case + "-slow", request[1], include_routing=True),
            requests))
    assert max(answer.timing.batch_rows for answer in answers) > len(requests[0][1])
    for answer, (_, _, y, routes) in zip(answers, requests):
        np.testing.assert_allclose(fff_api.output_of(answer), y, rtol=0, atol=tolerance)
        assert_routes(answer, routes)


@pytest.mark.parametrize("case", ROUTED)
def test_bf16_weights_say_how_many_ways_changed(networks, case):
    server, api = networks
    server.await_line(f"loaded model={case}-bf16 version=1")
    for _, x, y, routes in batches(case):
        answer = api.predict(case + "-bf16", x, include_routing=True)
        changed = sum(int((np.array(layer.leaf) != wanted.reshape(-1)).sum())
                      for layer, wanted in zip(answer.routing, routes))
        ways = sum(wanted.size for wanted in routes)
        assert changed <= ways // 4
        # bf16 keeps 8 bits: where no way changed, one part in a hundred or so.
        if changed == 0:
            np.testing.assert_allclose(fff_api.output_of(answer), y, rtol=0,
                                       atol=0.05 * np.abs(y).max())


def test_metadata_names_the_port_and_its_shape(networks):
    _, api = networks
    told = api.oip.ModelMetadata(fff_api.oip.ModelMetadataRequest(name="fff-vit-cls"))
    assert [(port.name, port.datatype, list(port.shape)) for port in told.inputs] == [
        ("pixels", "FP32", [-1, 3, 16, 16])]
    assert list(told.outputs[0].shape) == [-1, 10]


@pytest.mark.parametrize("case", ROUTED)
def test_the_dense_twin_is_the_network_without_trees(networks, case):
    _, api = networks
    _, x, y, _ = next(batches(case))
    twin = fff_api.output_of(api.predict(case, x, dense=True))
    assert twin.shape == y.shape
    assert np.isfinite(twin).all()
    assert not np.allclose(twin, y, atol=1e-3), "all neurons are no FFF layer"


def test_a_trained_twin_is_a_network_too(networks):
    _, api = networks
    for _, x, y, _ in batches("sap-cifar10-cnn-ff"):
        twin = fff_api.output_of(api.predict("trained", x, dense=True))
        np.testing.assert_allclose(twin, y, rtol=0,
                                   atol=facts("sap-cifar10-cnn-ff")["tolerance_abs"])


def test_a_picture_of_another_size_is_refused(networks):
    _, api = networks
    with pytest.raises(fff_api.grpc.RpcError) as refused:
        api.predict("fff-vit-cls", np.zeros((2, 3, 16, 15)))
    assert refused.value.code() == fff_api.grpc.StatusCode.INVALID_ARGUMENT
    assert "got shape [2, 3, 16, 15], wanted [rows, 3, 16, 16]" in refused.value.details()


def fffctl(server, *words):
    return subprocess.run([os.environ["FFF_CTL_BINARY"], f"--server={server.target}", *words],
                          capture_output=True, text=True, timeout=200)


def test_fffctl_asks_about_pictures_and_shows_every_token(networks, tmp_path):
    server, _ = networks
    name, x, y, routes = next(batches("fff-vit-cls"))
    np.save(tmp_path / "x.npy", x)
    asked = ("predict", "--model=fff-vit-cls", f"--input={tmp_path / 'x.npy'}", "--routing")
    told = fffctl(server, *asked, "--json", f"--output={tmp_path / 'y.npy'}")
    assert told.returncode == 0, told.stderr
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), y, rtol=0,
                               atol=facts("fff-vit-cls")["tolerance_abs"], err_msg=name)
    first = json.loads(told.stdout)["predictions"][0]["routing"][0]
    assert first["tokens"] == 17
    assert first["leaf"] == routes[0][0].tolist()
    drawn = fffctl(server, *asked).stdout
    assert "token 0\n" in drawn and "token 1\n" in drawn and "more ways" in drawn


def test_a_network_is_benchmarked_against_networks(networks):
    server, _ = networks
    told = fffctl(server, "benchmark", "--model=fff-vit-cls", "--rows=1,8",
                  "--seconds=0.1", "--json")
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert report["cases"][0]["rows"], told.stdout
    assert "8 leaves of 4 neurons" in report["dense_description"]


def test_an_unmodified_client_reads_the_ports_and_asks(networks, python_path, tmp_path):
    server, _ = networks
    _, x, y, _ = next(batches("catid-vit-fff-cls"))
    np.save(tmp_path / "x.npy", x)
    program = textwrap.dedent("""
        import sys
        import numpy as np
        import tritonclient.grpc as oip
        client = oip.InferenceServerClient(sys.argv[1])
        port = client.get_model_metadata("catid-vit-fff-cls").inputs[0]
        x = np.load(sys.argv[2])
        tensor = oip.InferInput(port.name, list(x.shape), port.datatype)
        tensor.set_data_from_numpy(x)
        y = client.infer("catid-vit-fff-cls", [tensor]).as_numpy("output")
        np.save(sys.argv[3], y)
    """)
    subprocess.run([sys.executable, "-B", "-c", program, server.target,
                    tmp_path / "x.npy", tmp_path / "y.npy"], check=True, timeout=100,
                   env={**os.environ, "PYTHONPATH": str(python_path)})
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), y, rtol=0,
                               atol=facts("catid-vit-fff-cls")["tolerance_abs"])
