"""Networks of token sequences of any length, made by running public code, through
both APIs: outputs within the tolerance of the case, every token's way equal."""

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
from fff_api import grpc, oip, v1
from server_process import ServerProcess
from test_networks import positions

python_path = test_tritonclient.python_path  # the fixture

FOLDER = conftest.REFERENCE / "networks"
MLM = ["crammed-bert-mlm-1x3", "crammed-bert-mlm-head-2x3", "crammed-bert-ff-mlm"]
CLS = "crammed-bert-cls-1x3"
POOLERS = {"avg": "mean", "zero_index": "first", "max": "max", "lse": "logsumexp"}
CLASSIFIERS = [f"cls-{pooler}" for pooler in POOLERS]
MODELS = MLM + CLASSIFIERS
ROUTED = [model for model in MODELS if model != "crammed-bert-ff-mlm"]
LONGEST = 24
VOCABULARY = 211
# Long enough for requests that were sent together to meet in one batch.
QUEUE_DELAY_US = 300_000


def case_of(model):
    return CLS if model in CLASSIFIERS else model


def facts(model):
    return json.loads((FOLDER / case_of(model) / "case.json").read_text())


def config_of(model):
    config = json.loads((FOLDER / case_of(model) / "config.json").read_text())
    for layer in config["layers"]:
        if layer["type"] == "pool":
            layer["over"] = POOLERS[model.removeprefix("cls-")]
    return config


class Batch:
    """Inputs by name, the output, and of every FFF layer the bottom positions
    [rows, tokens, trees]."""

    def __init__(self, model, io, name):
        head = name + "."
        self.name = name
        self.inputs = {port: io[head + port] for port in ("input_ids", "attention_mask")
                       if head + port in io}
        rows, tokens = self.inputs["input_ids"].shape
        if model in CLASSIFIERS:
            self.output = io[head + "logits." + model.removeprefix("cls-")]
        else:
            self.output = io[head + "outputs"].reshape(rows, tokens, VOCABULARY)
        self.routes = [positions(io[key]) for key in sorted(io)
                       if key.startswith(head) and key.endswith(".node")]

    def row(self, i):
        alone = object.__new__(Batch)
        alone.name = f"{self.name}, row {i}"
        alone.inputs = {port: x[i:i + 1] for port, x in self.inputs.items()}
        alone.output = self.output[i:i + 1]
        alone.routes = [routes[i:i + 1] for routes in self.routes]
        return alone


def batches(model):
    io = safetensors_file.read(FOLDER / case_of(model) / "io.safetensors")
    names = sorted({key.split(".")[0] for key in io})
    return [Batch(model, io, name) for name in names]


def add_model(repository, model, name, weights="model.safetensors", **changes):
    (repository / name / "1").mkdir(parents=True)
    shutil.copy(FOLDER / case_of(model) / "model.safetensors",
                repository / name / "1" / weights)
    (repository / name / "config.json").write_text(
        json.dumps({**config_of(model), **changes}))


def add_hugging_face(repository, model, name, weights="model.safetensors"):
    """The folder as it is published: the network's own config.json."""
    case = facts(model)
    arch = dict(case["arch"])
    config = {"model_type": "crammedBERT", "arch": arch,
              "architectures": arch["architectures"], "vocab_size": case["vocab_size"]}
    if model in CLASSIFIERS:
        arch["classification_head"] = {**arch["classification_head"],
                                       "pooler": model.removeprefix("cls-")}
        config["id2label"] = {"0": "no", "1": "maybe", "2": "yes"}
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    shutil.copy(FOLDER / case_of(model) / "model.safetensors", folder / weights)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "README.md").write_text("# a model\n")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    repository = tmp_path_factory.mktemp("sequences")
    for model in MODELS:
        add_model(repository, model, model)
        add_model(repository, model, model + "-slow",
                  batching={"max_queue_delay_us": QUEUE_DELAY_US})
        add_model(repository, model, model + "-bf16", precision="bf16")
        add_hugging_face(repository, model, model + "-hf")
    add_model(repository, MLM[0], "small-batches", batching={"max_batch_tokens": 30})
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)
        yield server, api
        api.close()


def predict(api, model, inputs, **fields):
    named = [v1.NamedTensor(name=port, tensor=v1.Tensor(
        shape=x.shape, datatype=v1.DATA_TYPE_INT64, data=x.astype("<i8").tobytes()))
        for port, x in inputs.items()]
    return api.own.Predict(v1.PredictRequest(model=model, inputs=named, **fields),
                           timeout=fff_api.DEADLINE_SECONDS)


def infer(api, model, inputs, datatype="INT64", dtype="<i8"):
    request = oip.ModelInferRequest(model_name=model)
    for port, x in inputs.items():
        request.inputs.add(name=port, datatype=datatype, shape=x.shape)
        request.raw_input_contents.append(x.astype(dtype).tobytes())
    return api.oip.ModelInfer(request, timeout=fff_api.DEADLINE_SECONDS)


def assert_answer(model, response, batch):
    np.testing.assert_allclose(fff_api.output_of(response), batch.output, rtol=0,
                               atol=facts(model)["tolerance_abs"], err_msg=batch.name)


def assert_routes(response, batch):
    rows, tokens = batch.inputs["input_ids"].shape
    assert len(response.routing) == len(batch.routes)
    for layer, wanted in zip(response.routing, batch.routes):
        assert layer.tokens == tokens
        assert len(layer.leaf) == rows * tokens * layer.trees
        np.testing.assert_array_equal(np.array(layer.leaf), wanted.reshape(-1))


@pytest.mark.parametrize("model", MODELS)
def test_answers_as_the_public_code(networks, model):
    _, api = networks
    for batch in batches(model):
        response = predict(api, model, batch.inputs, include_routing=True)
        assert_answer(model, response, batch)
        assert_routes(response, batch)
        answer = infer(api, model, batch.inputs)
        assert_answer(model, answer, batch)
        assert list(answer.outputs[0].shape) == list(batch.output.shape)


@pytest.mark.parametrize("model", ROUTED)
def test_the_cases_touch_many_leaves(model):
    for layer in range(len(batches(model)[0].routes)):
        seen = {leaf for batch in batches(model)
                for leaf in batch.routes[layer].reshape(-1)}
        assert len(seen) > 3


@pytest.mark.parametrize("model", MODELS)
def test_every_row_alone_answers_as_in_the_batch(networks, model):
    _, api = networks
    for batch in batches(model):
        for i in range(len(batch.output)):
            alone = batch.row(i)
            response = predict(api, model, alone.inputs, include_routing=True)
            assert_answer(model, response, alone)
            assert_routes(response, alone)


@pytest.mark.parametrize("model", MODELS)
def test_requests_of_all_lengths_share_a_batch(networks, model):
    _, api = networks
    requests = batches(model) * 2
    with concurrent.futures.ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(
            lambda batch: predict(api, model + "-slow", batch.inputs, include_routing=True),
            requests))
    largest = max(len(batch.output) for batch in requests)
    assert max(answer.timing.batch_rows for answer in answers) > largest
    for answer, batch in zip(answers, requests):
        assert_answer(model, answer, batch)
        assert_routes(answer, batch)


@pytest.mark.parametrize("model", MODELS)
def test_a_published_folder_needs_no_config(networks, model):
    server, api = networks
    server.await_line(f"loaded model={model}-hf version=1")
    for batch in batches(model):
        response = predict(api, model + "-hf", batch.inputs, include_routing=True)
        assert_answer(model, response, batch)
        assert_routes(response, batch)


def test_a_published_classifier_names_its_labels(networks):
    _, api = networks
    batch = batches("cls-avg")[0]
    response = predict(api, "cls-avg-hf", batch.inputs, include_labels=True)
    labels = ["no", "maybe", "yes"]
    assert list(response.labels) == [labels[i] for i in batch.output.argmax(axis=1)]


@pytest.mark.parametrize("model", ROUTED)
def test_bf16_weights_say_how_many_ways_changed(networks, model):
    server, api = networks
    server.await_line(f"loaded model={model}-bf16 version=1")
    told = api.own.GetModel(v1.GetModelRequest(model=model + "-bf16"))
    assert "routes changed against fp32 on" in told.summary.description
    for batch in batches(model):
        answer = predict(api, model + "-bf16", batch.inputs, include_routing=True)
        changed = sum(int((np.array(layer.leaf) != wanted.reshape(-1)).sum())
                      for layer, wanted in zip(answer.routing, batch.routes))
        ways = sum(wanted.size for wanted in batch.routes)
        assert changed <= ways // 4
        # bf16 keeps 8 bits: where no way changed, one part in a hundred or so.
        if changed == 0:
            np.testing.assert_allclose(fff_api.output_of(answer), batch.output, rtol=0,
                                       atol=0.05 * np.abs(batch.output).max())


def test_batches_hold_no_more_tokens_than_the_model_says(networks):
    _, api = networks
    padded = next(batch for batch in batches(MLM[0]) if batch.name == "padded")
    assert padded.inputs["input_ids"].size > 30
    response = predict(api, "small-batches", padded.inputs, include_routing=True)
    assert response.timing.batch_rows == 1  # of 24 tokens, two are more than 30
    assert_answer(MLM[0], response, padded)
    assert_routes(response, padded)


def test_ids_of_either_size_and_masks_of_any_type_are_taken(networks):
    _, api = networks
    batch = next(batch for batch in batches(MLM[0]) if batch.name == "padded")
    for datatype, dtype in (("INT32", "<i4"), ("INT64", "<i8")):
        answer = infer(api, MLM[0], batch.inputs, datatype, dtype)
        assert_answer(MLM[0], answer, batch)
    request = oip.ModelInferRequest(model_name=MLM[0])
    ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
    request.inputs.add(name="attention_mask", datatype="BOOL", shape=mask.shape)
    request.inputs[0].contents.bool_contents.extend(
        bool(one) for one in mask.reshape(-1))
    request.inputs.add(name="input_ids", datatype="INT64", shape=ids.shape)
    request.inputs[1].contents.int64_contents.extend(ids.reshape(-1))
    assert_answer(MLM[0], api.oip.ModelInfer(request), batch)


def refused(call, *args):
    with pytest.raises(grpc.RpcError) as error:
        call(*args)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    return error.value.details()


@pytest.mark.parametrize("bad,said", [
    (VOCABULARY, "got 211 at row 1, element 2, wanted 0 to 210"),
    (-1, "got -1 at row 1, element 2, wanted 0 to 210"),
    (1 << 40, "got 1099511627776 at row 1, element 2, wanted 0 to 210")])
@pytest.mark.parametrize("call", [predict, infer])
def test_ids_outside_the_vocabulary_are_refused(networks, call, bad, said):
    _, api = networks
    ids = np.ones((2, 4), np.int64)
    ids[1, 2] = bad
    assert f"input 'input_ids': {said}" in refused(call, api, MLM[0], {"input_ids": ids})


@pytest.mark.parametrize("call", [predict, infer])
def test_wrong_shapes_and_names_are_refused(networks, call):
    _, api = networks
    ids = np.ones((2, 4), np.int64)
    said = refused(call, api, MLM[0], {"input_ids": ids, "attention_mask": ids[:, :3]})
    assert ("input 'attention_mask': got 3 tokens per row, wanted 4 as input 'input_ids'"
            in said)
    said = refused(call, api, MLM[0], {"input_ids": ids, "attention_mask": ids[:1]})
    assert "input 'attention_mask': got 1 rows, wanted 2 as input 'input_ids'" in said
    said = refused(call, api, MLM[0], {"input_ids": ids, "attention_mask": 2 * ids})
    assert "input 'attention_mask': got 2 at row 0, element 0, wanted 0 to 1" in said
    said = refused(call, api, MLM[0], {"attention_mask": ids})
    assert "got no input tensor, wanted 'input_ids' of shape [rows, sequence]" in said
    said = refused(call, api, MLM[0], {"input_ids": ids, "token_type_ids": ids})
    assert "got input 'token_type_ids', wanted 'input_ids', 'attention_mask'" in said
    said = refused(call, api, MLM[0], {"input_ids": ids[..., None]})
    assert "got shape [2, 4, 1], wanted [rows, sequence]" in said
    said = refused(call, api, MLM[0], {"input_ids": np.ones((2, 0), np.int64)})
    assert "got sequences of 0 tokens, wanted 1 to" in said


@pytest.mark.parametrize("model", ["crammed-bert-mlm-1x3-hf", "crammed-bert-mlm-head-2x3"])
def test_sequences_beyond_the_positions_are_refused(networks, model):
    _, api = networks
    longest = np.ones((1, LONGEST), np.int64)
    assert fff_api.output_of(predict(api, model, {"input_ids": longest})).shape == (
        1, LONGEST, VOCABULARY)
    said = refused(predict, api, model, {"input_ids": np.ones((1, LONGEST + 1), np.int64)})
    assert f"got sequences of {LONGEST + 1} tokens, wanted 1 to {LONGEST}" in said


def test_floats_are_no_ids(networks):
    _, api = networks
    assert "wanted INT64" in refused(infer, api, MLM[0],
                                     {"input_ids": np.ones((1, 4))}, "FP32", "<f4")


def test_metadata_and_config_name_every_port(networks):
    _, api = networks
    told = api.oip.ModelMetadata(oip.ModelMetadataRequest(name=MLM[0]))
    assert [(port.name, port.datatype, list(port.shape)) for port in told.inputs] == [
        ("input_ids", "INT64", [-1, -1]), ("attention_mask", "INT64", [-1, -1]),
        ("positions", "INT64", [-1, -1])]
    assert list(told.outputs[0].shape) == [-1, -1, VOCABULARY]
    config = api.oip.ModelConfig(oip.ModelConfigRequest(name=MLM[0])).config
    assert [(port.name, list(port.dims), port.optional) for port in config.input] == [
        ("input_ids", [-1], False), ("attention_mask", [-1], True),
        ("positions", [-1], True)]
    own = api.own.GetModel(v1.GetModelRequest(model="crammed-bert-mlm-1x3-hf"))
    assert own.max_sequence == LONGEST
    assert own.max_batch_tokens == 4096
    assert [(port.name, list(port.shape)) for port in own.inputs] == [
        ("input_ids", [-1]), ("attention_mask", [-1]), ("positions", [-1])]


@pytest.mark.parametrize("model", ROUTED)
def test_the_dense_twin_is_the_network_without_trees(networks, model):
    _, api = networks
    batch = batches(model)[0]
    twin = fff_api.output_of(predict(api, model + ":dense", batch.inputs))
    assert twin.shape == batch.output.shape
    assert np.isfinite(twin).all()
    assert not np.allclose(twin, batch.output, atol=1e-3), "all neurons are no FFF layer"


def test_streams_answer_each_length(networks):
    _, api = networks
    by_id = {}
    requests = []
    for model in MLM:
        for batch in batches(model):
            request_id = f"{model} {batch.name}"
            by_id[request_id] = model, batch
            request = v1.PredictRequest(model=model, request_id=request_id)
            for port, x in batch.inputs.items():
                request.inputs.add(name=port, tensor=v1.Tensor(
                    shape=x.shape, datatype=v1.DATA_TYPE_INT64, data=x.tobytes()))
            requests.append(request)
    for answer in api.own.PredictStream(iter(requests)):
        model, batch = by_id.pop(answer.request_id)
        assert_answer(model, answer.response, batch)
    assert not by_id


def test_an_unmodified_client_reads_the_ports_and_asks(networks, python_path, tmp_path):
    server, _ = networks
    wanted = {}
    for model in (MLM[0], "cls-lse"):
        for batch in batches(model):
            for port, x in batch.inputs.items():
                np.save(tmp_path / f"{model}.{batch.name}.{port}.npy", x)
            wanted[f"{model}.{batch.name}"] = model, batch
    program = textwrap.dedent("""
        import pathlib, sys
        import numpy as np
        import tritonclient.grpc as oip
        client = oip.InferenceServerClient(sys.argv[1])
        folder = pathlib.Path(sys.argv[2])
        for name in sys.argv[3:]:
            model = name.split(".")[0]
            tensors = []
            for port in client.get_model_metadata(model).inputs:
                path = folder / f"{name}.{port.name}.npy"
                if not path.exists():
                    continue
                x = np.load(path)
                tensor = oip.InferInput(port.name, list(x.shape), port.datatype)
                tensor.set_data_from_numpy(x)
                tensors.append(tensor)
            y = client.infer(model, tensors).as_numpy("output")
            np.save(folder / f"{name}.output.npy", y)
    """)
    subprocess.run([sys.executable, "-B", "-c", program, server.target, tmp_path, *wanted],
                   check=True, timeout=200,
                   env={**os.environ, "PYTHONPATH": str(python_path)})
    for name, (model, batch) in wanted.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.output.npy"), batch.output,
                                   rtol=0, atol=facts(model)["tolerance_abs"])


def test_a_network_of_sequences_is_benchmarked(networks):
    server, _ = networks
    told = subprocess.run(
        [os.environ["FFF_CTL_BINARY"], f"--server={server.target}", "benchmark",
         "--model=crammed-bert-mlm-1x3-hf", "--rows=1,3", "--seconds=0.1", "--json"],
        capture_output=True, text=True, timeout=200)
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert [case["rows"] for case in report["cases"]] == [1, 3]
    assert "15 nodes" in report["dense_description"]
