"""Answers of some tokens, and of the strongest columns, through both APIs: the same
numbers as in the whole answer, beside requests that want all of it."""

import concurrent.futures
import struct

import numpy as np
import pytest

import fff_api
import test_networks
import test_sequences
from fff_api import grpc, oip, v1
from server_process import ServerProcess

MLM = test_sequences.MLM[0]
CODE = grpc.StatusCode
LABELS = [f"class {i}" for i in range(10)]


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    repository = tmp_path_factory.mktemp("networks")
    for model in test_sequences.MLM:
        test_sequences.add_model(repository, model, model)
        test_sequences.add_hugging_face(repository, model, model + "-hf")
    test_sequences.add_model(repository, MLM, "slow", batching={
        "max_queue_delay_us": test_sequences.QUEUE_DELAY_US})
    test_sequences.add_model(repository, test_sequences.CLASSIFIERS[0], "classes")
    test_networks.add_case(repository, "fff-vit-cls", "pictures", output={"labels": LABELS})
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)
        yield api
        api.close()


def batch_of(model, name="padded"):
    return next(b for b in test_sequences.batches(model) if b.name == name)


def ids_of(response):
    tensor = response.top_ids
    assert tensor.datatype == v1.DATA_TYPE_INT64
    return np.frombuffer(tensor.data, "<i8").reshape(tuple(tensor.shape))


def strongest(y, k):
    """Columns by value, the first of equal ones first, as the server says."""
    return np.argsort(-y, axis=-1, kind="stable")[..., :k]


def first_row_of(model):
    """The inputs of a row alone, which idle workers never share: where two calls must
    have the same bits, since a row's neighbours may move its rounding."""
    return {name: values[:1] for name, values in batch_of(model).inputs.items()}


def at(y, positions):
    return np.stack([row[places] for row, places in zip(y, positions)])


@pytest.mark.parametrize("end", ["", "-hf"])
@pytest.mark.parametrize("model", test_sequences.MLM)
def test_positions_answer_as_the_whole_does_there(networks, model, end):
    random = np.random.default_rng(1)
    tolerance = test_sequences.facts(model)["tolerance_abs"]
    for batch in test_sequences.batches(model):
        rows, tokens = batch.inputs["input_ids"].shape
        positions = random.integers(0, tokens, (rows, 5))
        answer = test_sequences.predict(networks, model + end,
                                        {**batch.inputs, "positions": positions})
        assert list(answer.output.shape) == [rows, 5, test_sequences.VOCABULARY]
        np.testing.assert_allclose(fff_api.output_of(answer), at(batch.output, positions),
                                   rtol=0, atol=tolerance)


@pytest.mark.parametrize("k", [1, 7, test_sequences.VOCABULARY])
def test_the_strongest_columns_are_those_of_the_whole_answer(networks, k):
    inputs = first_row_of(MLM)
    whole = fff_api.output_of(test_sequences.predict(networks, MLM, inputs))
    answer = test_sequences.predict(networks, MLM, inputs, top_k=k)
    values, ids = fff_api.output_of(answer), ids_of(answer)
    assert values.shape == ids.shape == whole.shape[:2] + (k,)
    np.testing.assert_array_equal(ids, strongest(whole, k))
    np.testing.assert_array_equal(values, np.take_along_axis(whole, ids, -1))


def test_positions_and_the_strongest_columns_together(networks):
    batch = batch_of(MLM)
    rows = len(batch.inputs["input_ids"])
    positions = np.arange(rows)[:, None] % 3
    tolerance = test_sequences.facts(MLM)["tolerance_abs"]
    answer = test_sequences.predict(
        networks, MLM, {**batch.inputs, "positions": positions}, top_k=3,
        include_routing=True)
    wanted = at(batch.output, positions)
    values, ids = fff_api.output_of(answer), ids_of(answer)
    assert ids.shape == (rows, 1, 3)
    np.testing.assert_allclose(values, np.take_along_axis(wanted, ids, -1), rtol=0,
                               atol=tolerance)
    np.testing.assert_allclose(values[..., 0], wanted.max(-1), rtol=0, atol=tolerance)
    # Ways are those of all tokens, as the network goes them.
    for layer, way in zip(answer.routing, batch.routes):
        np.testing.assert_array_equal(np.array(layer.leaf), way.reshape(-1))


def test_a_batch_of_all_kinds_of_requests_answers_each(networks):
    tolerance = test_sequences.facts(MLM)["tolerance_abs"]
    batches = test_sequences.batches(MLM)
    kinds = []
    for batch in batches:
        rows, tokens = batch.inputs["input_ids"].shape
        last = np.full((rows, 1), tokens - 1)
        kinds += [(batch, {}, None), (batch, {"top_k": 2}, None), (batch, {}, last),
                  (batch, {"top_k": 4}, last)]

    def ask(kind):
        batch, fields, positions = kind
        inputs = dict(batch.inputs)
        if positions is not None:
            inputs["positions"] = positions
        return test_sequences.predict(networks, "slow", inputs, **fields)

    with concurrent.futures.ThreadPoolExecutor(len(kinds)) as pool:
        answers = list(pool.map(ask, kinds))
    largest = max(len(batch.inputs["input_ids"]) for batch in batches)
    assert max(answer.timing.batch_rows for answer in answers) > largest
    for (batch, fields, positions), answer in zip(kinds, answers):
        wanted = batch.output if positions is None else at(batch.output, positions)
        values = fff_api.output_of(answer)
        if "top_k" in fields:
            wanted = np.take_along_axis(wanted, ids_of(answer), -1)
        assert values.shape == wanted.shape
        np.testing.assert_allclose(values, wanted, rtol=0, atol=tolerance)


def test_a_classifier_names_its_strongest_labels(networks):
    _, x, y, _ = next(test_networks.batches("fff-vit-cls"))
    answer = networks.predict("pictures", x, top_k=3, include_labels=True)
    ids = ids_of(answer)
    assert ids.shape == (len(x), 3)
    np.testing.assert_allclose(fff_api.output_of(answer), np.take_along_axis(y, ids, -1),
                               rtol=0, atol=test_networks.facts("fff-vit-cls")["tolerance_abs"])
    assert list(answer.labels) == [LABELS[i] for i in ids.reshape(-1)]
    dense = networks.predict("pictures", x, dense=True, top_k=1)
    assert ids_of(dense).shape == (len(x), 1)


def infer(api, model, inputs, top_k=None, classes=None):
    request = oip.ModelInferRequest(model_name=model)
    for name, array in inputs.items():
        datatype = "INT64" if array.dtype == np.int64 else "FP32"
        request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    if top_k is not None:
        request.parameters["top_k"].int64_param = top_k
    if classes is not None:
        output = request.outputs.add(name="output")
        output.parameters["classification"].int64_param = classes
    return api.oip.ModelInfer(request, timeout=fff_api.DEADLINE_SECONDS)


def test_the_open_protocol_asks_by_parameter_and_answers_ids_beside(networks):
    inputs = {**first_row_of(MLM), "positions": np.array([[0, 1]])}
    ours = test_sequences.predict(networks, MLM, inputs, top_k=4)
    answer = infer(networks, MLM, inputs, top_k=4)
    assert [(o.name, o.datatype, list(o.shape)) for o in answer.outputs] == [
        ("output", "FP32", [1, 2, 4]), ("output_ids", "INT64", [1, 2, 4])]
    assert answer.raw_output_contents[0] == ours.output.data
    assert answer.raw_output_contents[1] == ours.top_ids.data


def texts(raw):
    found, place = [], 0
    while place < len(raw):
        (length,) = struct.unpack_from("<I", raw, place)
        found.append(raw[place + 4:place + 4 + length].decode())
        place += 4 + length
    return found


def test_the_classification_extension_answers_value_index_label(networks):
    _, pictures, _, _ = next(test_networks.batches("fff-vit-cls"))
    x = pictures[:1]
    answer = infer(networks, "pictures", {"pixels": x}, classes=2)
    ours = networks.predict("pictures", x, top_k=2)
    assert [(o.name, o.datatype, list(o.shape)) for o in answer.outputs] == [
        ("output", "BYTES", [len(x), 2])]
    parsed = [text.split(":") for text in texts(answer.raw_output_contents[0])]
    values = np.array([float(value) for value, _, _ in parsed], np.float32)
    np.testing.assert_array_equal(values, fff_api.output_of(ours).reshape(-1))
    np.testing.assert_array_equal([int(i) for _, i, _ in parsed],
                                  ids_of(ours).reshape(-1))
    assert all(label == LABELS[int(i)] for _, i, label in parsed)


def test_streams_carry_both_kinds_one_after_the_other(networks):
    batch = batch_of(MLM)
    tensors = [v1.NamedTensor(name=name, tensor=v1.Tensor(
        shape=x.shape, datatype=v1.DATA_TYPE_INT64, data=x.astype("<i8").tobytes()))
        for name, x in batch.inputs.items()]
    requests = [v1.PredictRequest(model=MLM, inputs=tensors, request_id=str(i),
                                  top_k=3 if i % 2 else 0) for i in range(40)]
    answers = {answer.request_id: answer.response
               for answer in networks.own.PredictStream(iter(requests), timeout=60)}
    assert len(answers) == 40
    for name, answer in answers.items():
        top = int(name) % 2 == 1
        assert (len(answer.top_ids.data) > 0) == top
        assert answer.output.shape[-1] == (3 if top else test_sequences.VOCABULARY)


def refused(call, *words):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == CODE.INVALID_ARGUMENT
    for word in words:
        assert word in caught.value.details()


def test_what_cannot_be_asked_is_refused_with_the_reason(networks):
    batch = batch_of(MLM, "single")
    rows = len(batch.output)

    def ask(positions=None, model=MLM, inputs=None, **fields):
        inputs = dict(inputs or batch.inputs)
        if positions is not None:
            inputs["positions"] = np.array(positions)
        return test_sequences.predict(networks, model, inputs, **fields)

    refused(lambda: ask(top_k=212), "got top_k 212, wanted 0 (all columns) to 211")
    refused(lambda: ask(top_k=-1), "got top_k -1")
    refused(lambda: ask([[1]] * rows), "input 'positions': got 1 at row 0, element 0, "
            "wanted 0 to 0")
    refused(lambda: ask([[-1]] * rows), "got -1 at row 0")
    refused(lambda: ask([[0]]), "got 1 rows, wanted 3 as input 'input_ids'")
    refused(lambda: ask(np.zeros((rows, 0), int)), "got sequences of 0 tokens")
    classes = next(iter(test_sequences.batches(test_sequences.CLASSIFIERS[0])))
    refused(lambda: ask([[0]] * len(classes.output), "classes", classes.inputs),
            "got input 'positions', wanted 'input_ids', 'attention_mask'")
    refused(lambda: infer(networks, MLM, batch.inputs, top_k=2, classes=2),
            "got both top_k and classification")
    assert ask(top_k=1).output.shape[-1] == 1  # and goes on


def test_metadata_say_what_may_be_asked(networks):
    told = networks.oip.ModelMetadata(oip.ModelMetadataRequest(name=MLM))
    assert [(port.name, port.datatype, list(port.shape)) for port in told.inputs][-1] == (
        "positions", "INT64", [-1, -1])
    ours = networks.own.GetModel(v1.GetModelRequest(model=MLM))
    assert [port.name for port in ours.inputs if port.optional] == [
        "attention_mask", "positions"]
    config = networks.oip.ModelConfig(oip.ModelConfigRequest(name=MLM)).config
    assert config.input[-1].optional
    told = networks.oip.ModelMetadata(oip.ModelMetadataRequest(name="classes"))
    assert "positions" not in [port.name for port in told.inputs]


def config_with(model, **port):
    config = test_sequences.config_of(model)
    return {**config, "input": config["input"] + [
        {"name": "where", "datatype": "INT64", "role": "positions", **port}]}


def test_the_config_may_name_the_port(tmp_path):
    batch = batch_of(MLM)
    positions = np.ones((len(batch.output), 1), np.int64)
    good = {"own": {}, "with-shape": {"shape": ["sequence"]}, "optional": {"optional": True}}
    for name, port in good.items():
        test_sequences.add_model(tmp_path, MLM, name, **config_with(MLM, **port))
    bad = {
        "shaped": (MLM, {"shape": [3]}, 'wanted ["sequence"]'),
        "required": (MLM, {"optional": False}, "positions may always be left out"),
        "floats": (MLM, {"datatype": "FP32"}, 'positions are "INT32" or "INT64"'),
        "pooled": (test_sequences.CLASSIFIERS[0], {}, "has no output per token"),
    }
    for name, (model, port, _) in bad.items():
        test_sequences.add_model(tmp_path, model, name, **config_with(model, **port))
    with ServerProcess(tmp_path, wait=False) as server:
        for name, (_, _, why) in bad.items():
            assert why in server.await_line(f"cannot load model={name}")
        for name in good:
            server.await_line(f"loaded model={name} ")
        server.await_listening()
        api = fff_api.Api(server.target)
        for name in good:
            answer = test_sequences.predict(api, name, {**batch.inputs, "where": positions})
            assert answer.output.shape[1] == 1
        api.close()
