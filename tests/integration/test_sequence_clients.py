"""fffctl and the Python client with networks of sequences, and both APIs while many
clients ask at once, die, and versions change: values, not only that answers come."""

import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
import threading
import types

import numpy as np
import pytest

import conftest
import fff_api
import safetensors_file
from fff_api import grpc, oip
from live_load import LiveLoad
from server_process import ServerProcess
from test_metrics import scrape, total
from test_networks import fffctl
from test_sequences import (CLASSIFIERS, FOLDER, LONGEST, MLM, VOCABULARY,
                            add_hugging_face, add_model, assert_answer, assert_routes,
                            batches, facts, predict)

BERT, TWO_TREES = MLM[:2]
CLASSIFIER = CLASSIFIERS[0]
MODELS = [BERT, TWO_TREES, CLASSIFIER]
RAGGED = [[1, 2, 3], [4], [5, 6, 7, 8, 9], list(range(20, 20 + LONGEST))]
RAGGED_MASK = [[1, 1, 0], [1], [1, 0, 1, 1, 1], [1] * 20 + [0] * 4]
REQUESTS = 50
# Sums of a batch may be in another order than those of a request alone.
SAME = 1e-4
SECONDS_MAX = 60


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    repository = tmp_path_factory.mktemp("clients")
    for model in MODELS:
        add_model(repository, model, model)
        add_hugging_face(repository, model, model + "-hf")
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)
        yield server, api
        api.close()


@pytest.fixture(scope="module")
def fff_client(tmp_path_factory):
    """The package, with stubs made for this run outside the source tree."""
    root = tmp_path_factory.mktemp("python")
    package = root / "client" / "python"
    shutil.copytree(conftest.SOURCE / "client" / "python", package,
                    ignore=shutil.ignore_patterns("_proto", "__pycache__"))
    (root / "proto").symlink_to(conftest.SOURCE / "proto")
    subprocess.run([sys.executable, "-B", package / "generate"], check=True, timeout=100)
    sys.path.insert(0, str(package))
    try:
        import fff_client
        yield fff_client
    finally:
        sys.path.remove(str(package))


@pytest.fixture
def client(networks, fff_client):
    server, _ = networks
    with fff_client.Client(server.target) as opened:
        yield opened


def batch_of(model, name="padded"):
    return next(batch for batch in batches(model) if batch.name == name)


def saved(folder, inputs):
    """--input of each, in .npy files."""
    words = []
    for name, x in inputs.items():
        np.save(folder / f"{name}.npy", x)
        words.append(f"--input={name}={folder / name}.npy")
    return words


def csv_file(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def answer_of(told):
    assert told.returncode == 0, told.stderr
    return told.stdout


@pytest.mark.parametrize("folder", ["", "-hf"])
@pytest.mark.parametrize("model", MODELS)
def test_fffctl_writes_what_the_public_code_answers(networks, model, folder, tmp_path):
    server, _ = networks
    for batch in batches(model):
        out = tmp_path / "logits.npy"
        answer_of(fffctl(server, "predict", f"--model={model}{folder}",
                         *saved(tmp_path, batch.inputs), f"--output={out}"))
        np.testing.assert_allclose(np.load(out), batch.output, rtol=0,
                                   atol=facts(model)["tolerance_abs"], err_msg=batch.name)
        for path in tmp_path.iterdir():
            path.unlink()


def test_fffctl_sends_small_requests_and_prints_every_token(networks, tmp_path):
    server, _ = networks
    batch = batch_of(BERT)
    report = json.loads(answer_of(
        fffctl(server, "predict", f"--model={BERT}", "--batch=2", "--json", "--routing",
               *saved(tmp_path, batch.inputs))))
    rows, tokens = batch.inputs["input_ids"].shape
    told = report["predictions"]
    assert [(one["row"], one["token"]) for one in told] == [
        (row, token) for row in range(rows) for token in range(tokens)]
    np.testing.assert_allclose(
        np.array([one["scores"] for one in told]).reshape(batch.output.shape),
        batch.output, rtol=0, atol=facts(BERT)["tolerance_abs"])
    assert [one["index"] for one in told] == list(batch.output.argmax(-1).reshape(-1))
    # The ways of all tokens of a row stand with its first.
    routing = [one["routing"] for one in told if "routing" in one]
    assert len(routing) == rows
    for layer, wanted in enumerate(batch.routes):
        ways = np.array([row[layer]["leaf"] for row in routing])
        np.testing.assert_array_equal(ways.reshape(wanted.shape), wanted)


def test_fffctl_draws_the_way_of_each_token(networks, tmp_path):
    server, _ = networks
    batch = batch_of(BERT).row(1)
    drawn = answer_of(fffctl(server, "predict", f"--model={BERT}", "--routing",
                             *saved(tmp_path, batch.inputs)))
    first = drawn[drawn.index("\nrow 0, layer"):]
    for token in range(3):
        way = first[first.index(f"token {token}\n"):]
        bottom = batch.routes[0][0, token, 0]
        assert f"bottom node {bottom} of 8" in way.split("token", 2)[1]


def test_fffctl_answers_lines_of_any_length(networks, tmp_path):
    server, api = networks
    ids = csv_file(tmp_path / "ids.csv", RAGGED)
    mask = csv_file(tmp_path / "mask.csv", RAGGED_MASK)
    answer_of(fffctl(server, "predict", f"--model={BERT}", f"--input=input_ids={ids}",
                     f"--input=attention_mask={mask}", f"--output={tmp_path / 'y.npy'}"))
    alone = [fff_api.output_of(predict(api, BERT, {
        "input_ids": np.array([row]), "attention_mask": np.array([counts])}))[0]
        for row, counts in zip(RAGGED, RAGGED_MASK)]
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), np.concatenate(alone),
                               rtol=0, atol=SAME)


def test_fffctl_asks_the_dense_twin(networks, tmp_path):
    server, api = networks
    batch = batch_of(CLASSIFIER)
    wanted = fff_api.output_of(predict(api, CLASSIFIER + ":dense", batch.inputs))
    assert not np.allclose(wanted, batch.output, atol=1e-2)
    for words in ([f"--model={CLASSIFIER}", "--dense"], [f"--model={CLASSIFIER}:dense"]):
        out = tmp_path / "y.npy"
        answer_of(fffctl(server, "predict", *words, *saved(tmp_path, batch.inputs),
                         f"--output={out}"))
        np.testing.assert_allclose(np.load(out), wanted, rtol=0, atol=SAME)
        out.unlink()


def test_fffctl_names_labels_and_counts_those_that_are_right(networks, tmp_path):
    server, _ = networks
    batch = batch_of(CLASSIFIER)
    strongest = batch.output.argmax(axis=1)
    truth = csv_file(tmp_path / "truth.csv", [[one] for one in strongest])
    words = ["predict", f"--model={CLASSIFIER}-hf", *saved(tmp_path, batch.inputs)]
    report = json.loads(answer_of(fffctl(server, *words, "--json")))
    labels = ["no", "maybe", "yes"]
    assert [one["label"] for one in report["predictions"]] == [labels[i] for i in strongest]
    assert f"accuracy 100.00 % ({len(strongest)} of {len(strongest)})" in answer_of(
        fffctl(server, *words, f"--truth={truth}"))


ONES = np.ones((2, 4), np.int64)
FAR = np.array([[1, 1], [1, VOCABULARY]])


@pytest.mark.parametrize("inputs,said", [
    ({"ids": ONES}, "model '{}' has no input 'ids', there is: input_ids, attention_mask"),
    ({"attention_mask": ONES}, "got no input tensor, wanted 'input_ids' of shape"),
    ({"input_ids": ONES, "attention_mask": ONES[:, :3]},
     "input 'attention_mask': got 3 tokens per row, wanted 4 as input 'input_ids'"),
    ({"input_ids": ONES, "attention_mask": ONES[:1]}, "got 1 rows, wanted 2 as in "),
    ({"input_ids": ONES, "attention_mask": 2 * ONES}, "got 2 at row 0, element 0"),
    ({"input_ids": ONES.astype(np.float32)}, "wanted an integer type"),
    ({"input_ids": FAR}, "got 211 at row 1, element 1, wanted 0 to 210"),
    ({"input_ids": -FAR}, "got -1 at row 0, element 0, wanted 0 to 210"),
    ({"input_ids": np.ones((1, LONGEST + 1), np.int64)},
     f"got sequences of {LONGEST + 1} tokens, wanted 1 to {LONGEST}")])
def test_fffctl_says_what_is_wrong(networks, inputs, said, tmp_path):
    server, _ = networks
    model = BERT + "-hf"
    told = fffctl(server, "predict", f"--model={model}", *saved(tmp_path, inputs))
    assert told.returncode == 1 and told.stdout == ""
    assert said.format(model) in told.stderr
    assert len(told.stderr.splitlines()) == 1


@pytest.mark.parametrize("line,said", [
    ("1.5,2", "got 1.5, wanted whole numbers"),
    ("1,cat", "CSV line 1, column 2: got 'cat', wanted a finite number"),
    ("99999999999999999999", "wanted whole numbers"),
    ("", "got no row of numbers")])
def test_fffctl_reads_only_whole_numbers_as_ids(networks, line, said, tmp_path):
    server, _ = networks
    (tmp_path / "ids.csv").write_text(line)
    told = fffctl(server, "predict", f"--model={BERT}", f"--input={tmp_path / 'ids.csv'}")
    assert told.returncode == 1
    assert said in told.stderr


def test_fffctl_lists_ports_and_kernels(networks):
    server, _ = networks
    ports = "input_ids INT64 [sequence]; attention_mask INT64 [sequence], optional"
    models = answer_of(fffctl(server, "models")).splitlines()
    for model in MODELS:
        for name in (model, model + ":dense", model + "-hf"):
            (line,) = [line for line in models if line.split()[:1] == [name]]
            assert ports in line
    status = answer_of(fffctl(server, "status"))
    for kernel in ("embedding_rows", "positions_rows", "pool_tokens"):
        assert kernel in status


@pytest.mark.parametrize("folder", ["", "-hf"])
@pytest.mark.parametrize("model", MODELS)
def test_the_python_client_answers_as_the_public_code(client, model, folder):
    for batch in batches(model):
        told = client.predict(model + folder, batch.inputs, routing=True)
        np.testing.assert_allclose(told.output, batch.output, rtol=0,
                                   atol=facts(model)["tolerance_abs"], err_msg=batch.name)
        assert len(told.routing) == len(batch.routes)
        for layer, wanted in zip(told.routing, batch.routes):
            np.testing.assert_array_equal(layer.leaf.reshape(wanted.shape), wanted)
            np.testing.assert_array_equal(layer.nodes()[..., -1], 7 + layer.leaf)


def test_the_python_client_asks_the_dense_twin(client):
    batch = batch_of(BERT)
    dense = client.predict_dense(BERT, batch.inputs)
    assert dense.implementation == "dense"
    np.testing.assert_allclose(client.predict(BERT + ":dense", batch.inputs).output,
                               dense.output, rtol=0, atol=SAME)
    assert np.abs(dense.output - batch.output).max() > 0.01


def test_ragged_sequences_and_streams_answer_as_each_alone(client, fff_client):
    ragged = client.predict_ragged(BERT, RAGGED)
    for row, told in zip(RAGGED, ragged):
        alone = client.predict(BERT, {"input_ids": np.array([row])})
        np.testing.assert_allclose(told.output, alone.output, rtol=0, atol=SAME)
    inputs = [batch.inputs for batch in batches(BERT)] + [{"input_ids": FAR}]
    answers = dict(client.predict_stream(BERT, inputs))
    for i, batch in enumerate(batches(BERT)):
        np.testing.assert_allclose(answers[i].output, batch.output, rtol=0,
                                   atol=facts(BERT)["tolerance_abs"])
    refusal = answers[len(inputs) - 1]
    assert isinstance(refusal, fff_client.ServingError)
    assert "got 211 at row 1, element 1" in refusal.details
    with pytest.raises(fff_client.ServingError, match="sequence 1: .* got 500 at row 0"):
        client.predict_ragged(BERT, [[1], [500], [2]])
    with pytest.raises(ValueError, match="sequence 1 is empty"):
        client.predict_ragged(BERT, [[1], []])


@pytest.mark.parametrize("inputs,said", [
    ({"ids": ONES}, "got input 'ids', wanted 'input_ids', 'attention_mask'"),
    ({"attention_mask": ONES}, "got no input tensor, wanted 'input_ids'"),
    ({"input_ids": ONES, "attention_mask": ONES[:, :3]}, "got 3 tokens per row, wanted 4"),
    ({"input_ids": ONES * 1.0}, "got datatype DATA_TYPE_FP64, wanted DATA_TYPE_INT64"),
    ({"input_ids": FAR}, "got 211 at row 1, element 1, wanted 0 to 210"),
    ({"input_ids": ONES[:, :0]}, f"got sequences of 0 tokens, wanted 1 to {LONGEST}")])
def test_the_python_client_raises_what_the_server_says(client, fff_client, inputs, said):
    with pytest.raises(fff_client.ServingError) as error:
        client.predict(BERT + "-hf", inputs)
    assert error.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert said in error.value.details


class Words:
    """The tokenizer of a language whose words are numbers; 1 is the mask."""

    def encode(self, text):
        ids = [1 if word == "<mask>" else int(word) for word in text.split()]
        mask = [1] * len(ids) + [0, 0]
        return types.SimpleNamespace(ids=ids + [0, 0], attention_mask=mask)

    def token_to_id(self, token):
        return 1 if token == "<mask>" else None

    def id_to_token(self, token_id):
        return f"<{token_id}>"


def softmax(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


@pytest.mark.parametrize("model", [BERT + "-hf", TWO_TREES])
def test_masks_are_filled_with_the_strongest_tokens(networks, client, model):
    _, api = networks
    logits = fff_api.output_of(predict(api, model, {"input_ids": np.array([[7, 1, 9, 1]])}))
    masks = client.fill_mask(model, "7 <mask> 9 [MASK]", Words(), top_k=4)
    assert len(masks) == 2
    for choices, position in zip(masks, (1, 3)):
        wanted = softmax(logits[0, position].astype(np.float64))
        best = np.argsort(-wanted)[:4]
        assert [one.index for one in choices] == list(best)
        assert [one.text for one in choices] == [f"<{i}>" for i in best]
        np.testing.assert_allclose([one.probability for one in choices], wanted[best],
                                   rtol=0, atol=SAME)


def test_texts_are_classified_and_other_networks_refused(networks, client):
    _, api = networks
    model = CLASSIFIER + "-hf"
    logits = fff_api.output_of(predict(api, model, {"input_ids": np.array([[7, 9, 200]])}))
    wanted = softmax(logits[0].astype(np.float64))
    told = client.classify_text(model, "7 9 200", Words())
    best = np.argsort(-wanted)
    assert [one.text for one in told] == [("no", "maybe", "yes")[i] for i in best]
    np.testing.assert_allclose([one.probability for one in told], wanted[best], rtol=0,
                               atol=SAME)
    with pytest.raises(ValueError, match=r"answers shape \[1, 3\] to 2 tokens"):
        client.fill_mask(model, "7 <mask>", Words())
    with pytest.raises(ValueError, match=r"answers shape \[1, 2, 211\] to 2 tokens"):
        client.classify_text(BERT, "7 9", Words())


def mixed_requests(count, seed=7):
    """Of 1 to 5 rows of 1 to LONGEST tokens; two thirds with a mask."""
    rng = np.random.default_rng(seed)
    requests = []
    for i in range(count):
        shape = int(rng.integers(1, 6)), int(rng.integers(1, LONGEST + 1))
        inputs = {"input_ids": rng.integers(0, VOCABULARY, shape)}
        if i % 3:
            inputs["attention_mask"] = (rng.random(shape) < 0.7).astype(np.int64)
        requests.append(inputs)
    return requests


def write_version(repository, version):
    """Of "net": outputs are `version` times those of the case; ways are the same."""
    tensors = safetensors_file.read(FOLDER / BERT / "model.safetensors")
    tensors["decoder.weight"] = tensors["decoder.weight"] * np.float32(version)
    hidden = repository / f".upload-{version}"
    hidden.mkdir()
    safetensors_file.write(hidden / "model.safetensors", tensors)
    os.rename(hidden, repository / "net" / str(version))


def ways_of(answer):
    return [list(layer.leaf) for layer in answer.routing]


class MixedLengths(LiveLoad):
    """A thread each sends one of `requests` over and over, and compares with what it
    was answered `alone` by version 1."""

    def __init__(self, connect, requests, alone):
        super().__init__(connect, "net", requests, {}, threads=len(requests))
        self.alone = alone
        self.batch_rows = 0

    def _run(self, seed):
        api = self._connect()
        while not self._stop.is_set():
            try:
                answer = predict(api, self._model, self._x[seed], include_routing=True)
            except grpc.RpcError as error:
                self._note(error=f"{error.code().name}: {error.details()}")
                continue
            self._compare(answer, self.alone[seed])
        api.close()

    def _compare(self, answer, alone):
        self.batch_rows = max(self.batch_rows, answer.timing.batch_rows)
        output, wanted = fff_api.output_of(answer), fff_api.output_of(alone)
        factor = answer.version
        right = (output.shape == wanted.shape and ways_of(answer) == ways_of(alone)
                 and np.allclose(output, factor * wanted, rtol=0, atol=factor * SAME))
        self._note(version=answer.version, wrong=None if right else answer.version)


@contextlib.contextmanager
def one_network(repository):
    add_model(repository, BERT, "net")
    with ServerProcess(repository) as server:
        api = fff_api.Api(server.target)
        yield server, api
        api.close()


def test_many_lengths_at_once_answer_as_alone_while_versions_change(tmp_path):
    requests = mixed_requests(REQUESTS)
    with one_network(tmp_path) as (server, api):
        alone = [predict(api, "net", inputs, include_routing=True) for inputs in requests]
        with MixedLengths(lambda: fff_api.Api(server.target), requests, alone) as load:
            load.await_answers(2 * REQUESTS, version=1)
            for version in (2, 3, 4):
                write_version(tmp_path, version)
                api.oip.RepositoryModelLoad(
                    oip.RepositoryModelLoadRequest(model_name="net"), timeout=SECONDS_MAX)
                load.await_answers(2 * REQUESTS, version=version)
        load.assert_all_right()
        assert sorted(load.counts) == [1, 2, 3, 4]
        assert load.batch_rows > 5, "no two requests met in a batch"


DYING = """
import sys, threading
import numpy as np
import fff_api
from test_sequences import predict
api = fff_api.Api(sys.argv[1])
inputs = {"input_ids": np.ones((64, 24), np.int64)}
def ask():
    while True:
        predict(api, "net", inputs)
for _ in range(8):
    threading.Thread(target=ask, daemon=True).start()
predict(api, "net", inputs)
print("answered", flush=True)
ask()
"""


@contextlib.contextmanager
def dying_client(server):
    """A process that asks all the time, killed at the latest when this is left."""
    here = os.path.dirname(os.path.abspath(__file__))
    process = subprocess.Popen(
        [sys.executable, "-B", "-c", DYING, server.target], stdout=subprocess.PIPE,
        text=True, env={**os.environ, "PYTHONPATH": here})
    try:
        yield process
    finally:
        process.kill()
        process.wait(SECONDS_MAX)
        process.stdout.close()


def await_idle(server):
    """Until nothing is queued or in flight any more."""
    pause = threading.Event()
    for _ in range(SECONDS_MAX * 100):
        values, _ = scrape(server)
        left = (total(values, "fff_inflight_requests", model="net"),
                total(values, "fff_queue_rows", model="net"))
        if left == (0, 0):
            return
        pause.wait(0.01)
    raise AssertionError(f"requests in flight, rows queued: {left}")


def test_clients_that_are_killed_leave_nothing_behind(tmp_path):
    batch = batch_of(BERT)
    with one_network(tmp_path) as (server, api), contextlib.ExitStack() as clients:
        for dying in [clients.enter_context(dying_client(server)) for _ in range(2)]:
            assert dying.stdout.readline() == "answered\n"
            dying.kill()
            answer = predict(api, "net", batch.inputs, include_routing=True)
            assert_answer(BERT, answer, batch)
            assert_routes(answer, batch)
        await_idle(server)
