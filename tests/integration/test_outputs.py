"""Networks of several outputs through both APIs, the dense twin, fffctl, the Python
client and tritonclient: every output is the one that numpy computes in double."""

import asyncio
import concurrent.futures
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fff_api
import safetensors_file
import test_sequence_clients
import test_tritonclient
from fff_api import grpc, oip, v1
from server_process import ServerProcess
from test_networks import fffctl

fff_client = test_sequence_clients.fff_client  # the fixtures
python_path = test_tritonclient.python_path

CODE = grpc.StatusCode
IN, HIDDEN, CLASSES, DEPTH, LEAF = 6, 16, 3, 2, 4
SCORES = 5
LABELS = ["ant", "bee", "cat"]
# Sums of some twenty products of order one.
TOLERANCE = 1e-4
QUEUE_DELAY_US = 200_000
FORMS = {"rows": (IN,), "tokens": ("sequence", IN)}


def weights():
    random = np.random.default_rng(1)

    def normal(*shape):
        return random.standard_normal(shape).astype(np.float32) / 2

    leaves = 2**DEPTH
    return {
        "trunk.weight": normal(HIDDEN, IN), "trunk.bias": normal(HIDDEN),
        "kind.depth": np.array(DEPTH, np.int64),
        "kind.node_weights": normal(leaves - 1, HIDDEN),
        "kind.node_biases": normal(leaves - 1, 1),
        "kind.w1s": normal(leaves, HIDDEN, LEAF), "kind.b1s": normal(leaves, LEAF),
        "kind.w2s": normal(leaves, LEAF, CLASSES), "kind.b2s": normal(leaves, CLASSES),
        "main.weight": normal(SCORES, HIDDEN), "main.bias": normal(SCORES),
    }


def reference(x):
    """{output: array} of x [.., IN], in double; of the FFF head by rows or tokens."""
    w = {name: array.astype(np.float64) for name, array in weights().items()}
    hidden = np.maximum(x @ w["trunk.weight"].T + w["trunk.bias"], 0)
    flat = hidden.reshape(-1, HIDDEN)
    kind = []
    for row in flat:
        node = 0
        for _ in range(DEPTH):
            z = w["kind.node_weights"][node] @ row + w["kind.node_biases"][node, 0]
            node = 2 * node + (2 if z >= 0 else 1)
        leaf = node - (2**DEPTH - 1)
        inner = np.maximum(row @ w["kind.w1s"][leaf] + w["kind.b1s"][leaf], 0)
        kind.append(inner @ w["kind.w2s"][leaf] + w["kind.b2s"][leaf])
    scores = hidden @ w["main.weight"].T + w["main.bias"]
    kind = np.array(kind).reshape(hidden.shape[:-1] + (CLASSES,))
    return {"scores": scores, "hidden": hidden, "kind": kind}


def config_of(form, **more):
    head = [{"type": "fff", "prefix": "kind.", "convention": "fastfeedforward",
             "activation": "relu"}]
    return {
        "input": [{"name": "x", "shape": list(FORMS[form])}],
        "output": {"name": "scores"},
        "layers": [
            {"type": "linear", "prefix": "trunk.", "activation": "relu"},
            {"type": "output", "name": "hidden"},
            {"type": "output", "name": "kind", "labels": LABELS, "layers": head},
            {"type": "linear", "prefix": "main."}],
        **more}


def add_model(repository, name, form, example=None, **more):
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    safetensors_file.write(folder / "model.safetensors", weights())
    (repository / name / "config.json").write_text(json.dumps(config_of(form, **more)))
    if example is not None:
        safetensors_file.write(folder / "example.safetensors", example)


def rows_of(form, rows, seed=2, tokens=3):
    shape = (rows, IN) if form == "rows" else (rows, tokens, IN)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def example_of(outputs, moved=0.0):
    x = rows_of("rows", 4)
    wanted = reference(x)
    return {"input.x": x, **{
        f"output.{name}": (wanted[name] + moved).astype(np.float32) for name in outputs}}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    repository = tmp_path_factory.mktemp("outputs")
    add_model(repository, "rows", "rows", example_of(["hidden", "kind"]))
    add_model(repository, "tokens", "tokens")
    for form in FORMS:
        add_model(repository, f"slow-{form}", form,
                  batching={"max_queue_delay_us": QUEUE_DELAY_US})
    add_model(repository, "small", "rows", batching={"max_batch_rows": 8})
    add_model(repository, "wrong", "rows", example_of(["scores", "kind"], moved=0.25))
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)
        yield server, api
        api.close()


def array_of(tensor):
    return np.frombuffer(tensor.data, "<f4").reshape(tuple(tensor.shape))


def outputs_of(answer):
    """{name: array} of an answer of either API; "" is fff.v1's main output."""
    if isinstance(answer, v1.PredictResponse):
        found = {each.name: array_of(each.tensor) for each in answer.outputs}
        return {"": array_of(answer.output), **found} if answer.output.shape else found
    return {each.name: np.frombuffer(raw, "<f4").reshape(tuple(each.shape))
            for each, raw in zip(answer.outputs, answer.raw_output_contents)}


def assert_outputs(found, x, names=("scores", "hidden", "kind")):
    found = {name or "scores": array for name, array in found.items()}
    assert list(found) == list(names)
    wanted = reference(x)
    for name in names:
        assert found[name].shape == wanted[name].shape
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=TOLERANCE,
                                   err_msg=name)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [1, 7])
def test_both_apis_answer_all_outputs_in_order(served, form, rows):
    _, api = served
    x = rows_of(form, rows)
    answer = api.predict(form, x, include_routing=True)
    assert_outputs(outputs_of(answer), x)
    assert [each.layer for each in answer.routing] == [2]
    answer = api.infer(form, x, name="x")
    assert [each.datatype for each in answer.outputs] == ["FP32"] * 3
    assert_outputs(outputs_of(answer), x)


def infer_request(model, x, names, **fields):
    request = fff_api.infer_request(model, x, "x", **fields)
    for name in names:
        request.outputs.add(name=name)
    return request


@pytest.mark.parametrize("names", [["kind"], ["hidden", "scores"], ["scores"]])
def test_a_request_chooses_its_outputs(served, names):
    _, api = served
    x = rows_of("rows", 3)
    wanted = [name for name in ("scores", "hidden", "kind") if name in names]
    assert_outputs(outputs_of(api.predict("rows", x, outputs=names)), x, wanted)
    answer = api.oip.ModelInfer(infer_request("rows", x, names))
    assert_outputs(outputs_of(answer), x, wanted)


def test_unknown_outputs_and_wrong_mixtures_are_refused(served):
    _, api = served
    x = rows_of("rows", 2)

    def refusal(call, request):
        with pytest.raises(grpc.RpcError) as refused:
            call(request)
        assert refused.value.code() == CODE.INVALID_ARGUMENT
        return refused.value.details()

    names = "'scores', 'hidden', 'kind' or none (all)"
    for said in (refusal(api.own.Predict,
                         fff_api.predict_request("rows", x, outputs=["logits"])),
                 refusal(api.oip.ModelInfer, infer_request("rows", x, ["logits"]))):
        assert f"got requested output 'logits', wanted {names}" in said
    said = refusal(api.own.Predict,
                   fff_api.predict_request("rows", x, outputs=["kind"], top_k=2))
    assert "got top_k 2, which is of 'scores'" in said
    request = infer_request("rows", x, ["kind"])
    request.outputs[0].parameters["classification"].int64_param = 1
    assert "wanted it of 'scores' alone" in refusal(api.oip.ModelInfer, request)
    request = fff_api.predict_request("tokens", rows_of("tokens", 1))
    request.inputs.add(name="positions", tensor=v1.Tensor(
        shape=[1, 1], datatype=v1.DATA_TYPE_INT64, data=bytes(8)))
    assert "got input 'positions', wanted 'x'" in refusal(api.own.Predict, request)


def test_the_strongest_columns_are_of_the_main_output(served):
    _, api = served
    x = rows_of("rows", 4)
    wanted = reference(x)
    answer = api.predict("rows", x, top_k=2)
    order = np.argsort(-wanted["scores"], axis=-1)[:, :2]
    ids = np.frombuffer(answer.top_ids.data, "<i8").reshape(4, 2)
    np.testing.assert_array_equal(ids, order)
    found = outputs_of(answer)
    np.testing.assert_allclose(found[""], np.take_along_axis(wanted["scores"], order, -1),
                               rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(found["kind"], wanted["kind"], rtol=0, atol=TOLERANCE)
    request = infer_request("rows", x, [])
    request.parameters["top_k"].int64_param = 2
    answer = api.oip.ModelInfer(request)
    assert [each.name for each in answer.outputs] == [
        "scores", "scores_ids", "hidden", "kind"]
    request = infer_request("rows", x, ["kind", "scores"])
    request.outputs[1].parameters["classification"].int64_param = 1
    answer = api.oip.ModelInfer(request)
    assert [(each.name, each.datatype) for each in answer.outputs] == [
        ("scores", "BYTES"), ("kind", "FP32")]
    np.testing.assert_allclose(np.frombuffer(answer.raw_output_contents[1], "<f4"),
                               wanted["kind"].reshape(-1), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("form", FORMS)
def test_requests_that_share_a_batch_get_their_own_rows(served, form):
    _, api = served
    wishes = [[], ["kind"], ["scores", "hidden"], [], ["hidden"]]

    def ask(i):
        x = rows_of(form, i + 1, seed=10 + i, tokens=i + 1)
        return x, api.predict(f"slow-{form}", x, outputs=wishes[i])

    with concurrent.futures.ThreadPoolExecutor(len(wishes)) as pool:
        answers = list(pool.map(ask, range(len(wishes))))
    for wish, (x, answer) in zip(wishes, answers):
        assert_outputs(outputs_of(answer), x, wish or ("scores", "hidden", "kind"))
    assert max(answer.timing.batch_rows for _, answer in answers) > 5


def test_a_request_beyond_a_batch_is_answered_whole(served):
    _, api = served
    x = rows_of("rows", 100)
    answer = api.predict("small", x)
    assert_outputs(outputs_of(answer), x)
    assert answer.timing.batch_rows <= 8


def test_streams_answer_all_outputs(served):
    _, api = served
    arrays = [rows_of("rows", i + 1, seed=i) for i in range(10)]
    answers = api.own.PredictStream(iter([
        fff_api.predict_request("rows", x, request_id=str(i))
        for i, x in enumerate(arrays)]))
    found = {answer.request_id: answer.response for answer in answers}
    for i, x in enumerate(arrays):
        assert_outputs(outputs_of(found[str(i)]), x)


def test_metadata_config_and_statistics_name_all(served):
    _, api = served
    model = api.own.GetModel(v1.GetModelRequest(model="tokens"))
    assert model.output.name == "scores"
    assert [(each.name, list(each.shape)) for each in model.outputs] == [
        ("scores", [-1, SCORES]), ("hidden", [-1, HIDDEN]), ("kind", [-1, CLASSES])]
    assert list(model.outputs[2].labels) == LABELS
    metadata = api.oip.ModelMetadata(oip.ModelMetadataRequest(name="rows:dense"))
    assert [(each.name, list(each.shape)) for each in metadata.outputs] == [
        ("scores", [-1, SCORES]), ("hidden", [-1, HIDDEN]), ("kind", [-1, CLASSES])]
    config = api.oip.ModelConfig(oip.ModelConfigRequest(name="rows")).config
    assert [each.name for each in config.output] == ["scores", "hidden", "kind"]


def test_the_twin_has_the_same_outputs(served):
    _, api = served
    x = rows_of("rows", 3)
    answer = outputs_of(api.predict("rows", x, dense=True))
    wanted = reference(x)
    for name in ("", "hidden"):  # before any FFF layer
        np.testing.assert_allclose(answer[name], wanted[name or "scores"], rtol=0,
                                   atol=TOLERANCE)
    assert answer["kind"].shape == wanted["kind"].shape


def test_an_example_proves_the_outputs_that_it_has(served):
    server, api = served
    description = {model.name: model for model in api.own.ListModels(
        v1.ListModelsRequest()).models}
    assert "proven on cpu by 4 of 4 rows" in description["rows"].description
    assert description["wrong"].state == v1.MODEL_STATE_FAILED
    assert 'output "' in description["wrong"].reason
    assert "got" in description["wrong"].reason
    server.await_line("wrong")


def test_fffctl_names_and_saves_all(served, tmp_path):
    server, _ = served
    x = rows_of("rows", 5)
    wanted = reference(x)
    np.save(tmp_path / "x.npy", x)
    asked = ("predict", "--model=rows", f"--input={tmp_path / 'x.npy'}")
    told = fffctl(server, *asked, "--batch=2", f"--output={tmp_path / 'y.npz'}")
    assert told.returncode == 0, told.stderr
    assert "outputs: scores [5, 5], hidden [5, 16], kind [5, 3]\n" in told.stdout
    with np.load(tmp_path / "y.npz") as saved:
        assert sorted(saved) == ["hidden", "kind", "scores"]
        for name in saved:
            np.testing.assert_allclose(saved[name], wanted[name], rtol=0, atol=TOLERANCE)
    told = fffctl(server, *asked, "--json", f"--output={tmp_path / 'y.npy'}")
    rows = json.loads(told.stdout)["predictions"]
    np.testing.assert_allclose([row["outputs"]["kind"] for row in rows], wanted["kind"],
                               rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), wanted["scores"], rtol=0,
                               atol=TOLERANCE)
    listed = fffctl(server, "models", "--json")
    (model,) = [each for each in json.loads(listed.stdout)["models"]
                if each["name"] == "tokens"]
    assert model["outputs"] == ["scores FP32 [sequence, 5]", "hidden FP32 [sequence, 16]",
                                "kind FP32 [sequence, 3]"]


def test_a_benchmark_measures_them(served):
    server, _ = served
    told = fffctl(server, "benchmark", "--model=rows", "--rows=1", "--seconds=0.05")
    assert told.returncode == 0, told.stderr


def test_the_python_clients_give_them_by_name(served, fff_client):
    server, _ = served
    x = rows_of("rows", 3)

    def check(answer, names=("scores", "hidden", "kind")):
        assert_outputs({"scores": answer.output, **answer.outputs}, x, names)

    with fff_client.Client(server.target) as client:
        answer = client.predict("rows", x)
        check(answer)
        assert "outputs={'hidden': float32 [3, 16]" in repr(answer)
        only = client.predict("rows", x, outputs=["kind"])
        assert only.output.shape == (3, 0) and list(only.outputs) == ["kind"]
        ((_, streamed),) = client.predict_stream("rows", [x])
        check(streamed)
        assert [each.name for each in client.model("rows").outputs] == [
            "scores", "hidden", "kind"]

    async def ask():
        async with fff_client.AsyncClient(server.target) as client:
            return await client.predict("rows", x)

    check(asyncio.run(ask()))


def test_an_unmodified_tritonclient_gets_them(served, python_path):
    server, _ = served
    program = textwrap.dedent("""
        import json, sys
        import numpy as np
        import tritonclient.grpc as oip
        x = np.array(json.loads(sys.argv[2]), np.float32)
        tensor = oip.InferInput("x", list(x.shape), "FP32")
        tensor.set_data_from_numpy(x)
        with oip.InferenceServerClient(sys.argv[1]) as client:
            all = client.infer("rows", [tensor])
            some = client.infer("rows", [tensor], outputs=[
                oip.InferRequestedOutput("kind"), oip.InferRequestedOutput("hidden")])
            try:
                client.infer("rows", [tensor], outputs=[oip.InferRequestedOutput("no")])
                refusal = ""
            except oip.InferenceServerException as error:
                refusal = error.message()
        def told(result):
            return {each.name: result.as_numpy(each.name).tolist()
                    for each in result.get_response().outputs}
        print(json.dumps([told(all), told(some), refusal]))
    """)
    x = rows_of("rows", 2)
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, server.target, json.dumps(x.tolist())],
        env={**os.environ, "PYTHONPATH": str(python_path)}, capture_output=True,
        text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    every, some, refusal = json.loads(done.stdout)
    assert_outputs({name: np.array(y) for name, y in every.items()}, x)
    assert_outputs({name: np.array(y) for name, y in some.items()}, x,
                   ("hidden", "kind"))
    assert "got requested output 'no', wanted 'scores', 'hidden', 'kind'" in refusal


def test_an_exported_network_of_two_heads_is_served(tmp_path, fff_client):
    torch = pytest.importorskip("torch")
    from network_layers import LeafTree

    class Heads(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = torch.nn.Linear(IN, HIDDEN)
            self.scores = torch.nn.Linear(HIDDEN, SCORES)
            self.kind = LeafTree(HIDDEN, LEAF, CLASSES, DEPTH)

        def forward(self, x):
            hidden = torch.relu(self.trunk(x))
            return {"scores": self.scores(hidden), "kind": self.kind(hidden),
                    "hidden": hidden}

    torch.manual_seed(1)
    module = Heads()
    x = torch.from_numpy(rows_of("rows", 9))
    fff_client.export.export_network(module, str(tmp_path / "heads" / "1"), x)
    with ServerProcess(tmp_path) as server, fff_client.Client(server.target) as client:
        assert "proven on cpu" in client.model("heads").summary.description
        answer = client.predict("heads", x)
    found = {"scores": answer.output, **answer.outputs}
    for name, wanted in module.eval()(x).items():
        np.testing.assert_allclose(found[name], wanted.detach(), rtol=0, atol=TOLERANCE)
