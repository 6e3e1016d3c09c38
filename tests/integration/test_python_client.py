"""The Python client with a real server: readiness, batches too large for one
message, and bytes."""

import json

import numpy as np
import pytest

import conftest
import safetensors_file
from server_process import ServerProcess
from test_sequence_clients import fff_client  # noqa: F401, the fixture

CASE = "sapient-128x64"
LINEAR = [{"type": "linear", "prefix": ""}]


def add_linear(repository, name, datatype):
    """One that answers the sum of its four inputs and how many they are."""
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    weight = np.array([[1, 1, 1, 1], [0, 0, 0, 0]], np.float32)
    safetensors_file.write(folder / "model.safetensors", {
        "weight": weight, "bias": np.array([0, 4], np.float32)})
    (repository / name / "config.json").write_text(json.dumps({
        "input": [{"name": "pixels", "datatype": datatype, "shape": [4]}],
        "layers": LINEAR}))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    repository = tmp_path_factory.mktemp("models")
    conftest.add_model(
        repository, "m", conftest.REFERENCE / "vectors" / CASE / "model.safetensors")
    add_linear(repository, "floats", "FP32")
    add_linear(repository, "bytes", "UINT8")
    with ServerProcess(repository, "--max-message-bytes=1000000") as process:
        yield process


@pytest.fixture
def client(server, fff_client):  # noqa: F811
    with fff_client.Client(server.target) as opened:
        yield opened


def test_a_server_and_its_models_are_ready(client, fff_client):  # noqa: F811
    assert client.is_ready() and client.is_ready("m") and client.is_ready("m:dense")
    assert not client.is_ready("nowhere")
    client.unload_model("m")
    assert client.is_ready() and not client.is_ready("m")
    client.load_model("m")
    assert client.is_ready("m")
    with fff_client.Client("127.0.0.1:1") as other:
        assert not other.is_ready()


def test_a_batch_beyond_a_message_is_answered_as_its_rows(client):
    rows = np.random.default_rng(1).uniform(-1, 1, (5_000, 128)).astype(np.float32)
    whole = client.predict("m", rows, routing=True)  # 2.6 MB, messages of 1 MB
    some = client.predict("m", rows[4_000:4_100], routing=True)
    assert whole.output.shape == (5_000, 64)
    np.testing.assert_allclose(whole[4_000:4_100], some, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(
        whole.routing[0].leaf[4_000:4_100], some.routing[0].leaf)
    assert client.predict_dense("m", rows).output.shape == (5_000, 64)


def test_bytes_go_by_what_the_model_takes(client, fff_client):  # noqa: F811
    pixels = np.array([[0, 128, 255, 1], [2, 3, 4, 5]], np.uint8)
    for inputs in (pixels, {"pixels": pixels}):
        assert client.predict("bytes", inputs).output.tolist() == [[384, 4], [14, 4]]
        with pytest.raises(fff_client.InputError) as error:
            client.predict("floats", inputs)
        assert "input 'pixels': got dtype uint8, the model takes FP32 [4]" in str(error.value)
    assert client.predict("floats", pixels / 1.0).output.tolist() == [[384, 4], [14, 4]]
    (_, refused), = client.predict_stream("floats", [pixels])
    assert "array.astype('float32') / 255" in refused.details
