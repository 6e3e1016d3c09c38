"""The client against a server in this process."""

import concurrent.futures
import pathlib
import re
import threading

import grpc
import numpy as np
import pytest

from fff_client import Client, InputError, ServingError, messages
from fff_client.client import pb, pb_grpc

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"


class FakeService(pb_grpc.InferenceServiceServicer):
    """Answers with twice the input; keeps the last request."""

    def __init__(self):
        self.request = None
        self.cancelled = threading.Event()

    def Predict(self, request, context):
        self.request = request
        if request.model == "nowhere":
            context.abort(grpc.StatusCode.NOT_FOUND, "no model nowhere; there is: m")
        if request.model == "slow":
            threading.Event().wait(context.time_remaining() + 1)
        return answer(request, pb.IMPLEMENTATION_FFF)

    def PredictDense(self, request, context):
        self.request = request
        return answer(request, pb.IMPLEMENTATION_DENSE)

    def PredictStream(self, requests, context):
        """In the opposite order, so that only ids can match them."""
        for request in reversed(list(requests)):
            if request.model == "ends":
                context.abort(grpc.StatusCode.UNAVAILABLE, "shutting down")
            message = pb.PredictStreamResponse(request_id=request.request_id)
            if request.input.shape[0] == 2:
                message.error.code = grpc.StatusCode.INVALID_ARGUMENT.value[0]
                message.error.message = "two rows"
            else:
                message.response.CopyFrom(answer(request, pb.IMPLEMENTATION_FFF))
            yield message

    def ListModels(self, request, context):
        return pb.ListModelsResponse(
            models=[pb.ModelSummary(name="m"), pb.ModelSummary(name="m:dense")]
        )

    def GetModel(self, request, context):
        self.request = request
        return pb.GetModelResponse(
            summary=pb.ModelSummary(name=request.model), max_batch_rows=7
        )

    def LoadModel(self, request, context):
        self.request = request
        self.metadata = dict(context.invocation_metadata())
        if request.model == "bad":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "header is cut")
        return pb.LoadModelResponse(models=[pb.ModelSummary(name=request.model)])

    def UnloadModel(self, request, context):
        self.request = request
        self.metadata = dict(context.invocation_metadata())
        return pb.UnloadModelResponse(
            models=[pb.ModelSummary(state=pb.MODEL_STATE_UNLOADED)]
        )

    def Benchmark(self, request, context):
        self.request = request
        self.metadata = dict(context.invocation_metadata())
        context.add_callback(self.cancelled.set)
        if request.model == "busy":
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "another one runs")
        for done in (0, 1):
            yield pb.BenchmarkResponse(
                progress=pb.BenchmarkProgress(done=done, total=2)
            )
        if request.model == "endless":
            self.cancelled.wait()
            return
        yield pb.BenchmarkResponse(report=pb.BenchmarkReport(model=request.model))


def answer(request, implementation):
    data = np.frombuffer(request.input.data, "<f4") * 2
    response = pb.PredictResponse(
        model=request.model,
        version=request.version or 3,
        implementation=implementation,
        output=pb.Tensor(
            shape=request.input.shape,
            datatype=pb.DATA_TYPE_FP32,
            data=data.astype("<f4").tobytes(),
        ),
        request_id=request.request_id,
        timing=pb.Timing(queue_ns=2000, compute_ns=5000, batch_rows=9),
    )
    if request.include_labels:
        response.labels.extend(["bag"] * request.input.shape[0])
    if request.include_routing:
        response.routing.add(
            layer=1, family=pb.FAMILY_LEAF, trees=1, depth=2, margins_per_tree=2,
            leaf=[0, 3], margin=[-1, -2, 1, 2],
        )
    return response


@pytest.fixture
def service():
    return FakeService()


@pytest.fixture
def address(service):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    pb_grpc.add_InferenceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture
def client(address):
    with Client(address) as client:
        yield client


def test_predict_sends_float32_rows_and_returns_the_answer(client, service):
    rows = np.arange(6, dtype=np.float64).reshape(2, 3)
    prediction = client.predict("m", rows, version=5, request_id="r1")
    assert list(service.request.input.shape) == [2, 3]
    assert service.request.input.datatype == pb.DATA_TYPE_FP32
    np.testing.assert_array_equal(prediction.output, rows * 2)
    assert prediction.output.dtype == np.float32
    assert (prediction.model, prediction.version) == ("m", 5)
    assert prediction.implementation == "fff"
    assert prediction.request_id == "r1"
    assert prediction.queue_seconds == pytest.approx(2e-6)
    assert prediction.compute_seconds == pytest.approx(5e-6)
    assert prediction.batch_rows == 9
    assert prediction.labels == () and prediction.routing == ()


def test_strided_rows_travel_row_major(client):
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(client.predict("m", rows.T).output, rows.T * 2)


def test_predict_dense_calls_the_dense_endpoint(client):
    prediction = client.predict_dense("m", [[1, 2]], labels=True)
    assert prediction.implementation == "dense"
    assert prediction.output.tolist() == [[2, 4]]
    assert prediction.labels == ("bag",)


def test_routing_comes_as_arrays_and_nodes_in_heap_order(client):
    prediction = client.predict("m", np.zeros((2, 3)), routing=True)
    (routing,) = prediction.routing
    assert (routing.layer, routing.family) == (1, "leaf")
    assert routing.leaf.tolist() == [[0], [3]]
    assert routing.margin.tolist() == [[[-1, -2]], [[1, 2]]]
    assert routing.nodes().tolist() == [[[0, 1, 3]], [[0, 2, 6]]]


@pytest.mark.parametrize("array", [["text"], [1j], [None]])
def test_what_is_not_real_numbers_is_refused_before_the_call(
    client, service, array
):
    with pytest.raises(TypeError, match="real numbers"):
        client.predict("m", array)
    assert service.request is None


def test_outputs_are_asked_for_and_come_by_name(client, service):
    assert client.predict("m", [[1.0]], outputs=["hidden"]).outputs == {}
    assert list(service.request.outputs) == ["hidden"]
    client.predict_dense("m", [[1.0]], outputs=["hidden", "kind"])
    assert list(service.request.outputs) == ["hidden", "kind"]
    with pytest.raises(InputError, match="outputs: got 'hidden', wanted a list of names"):
        client.predict("m", [[1.0]], outputs="hidden")
    hidden = pb.Tensor(shape=[2, 1], data=np.array([3, 4], "<f4").tobytes())
    response = pb.PredictResponse(outputs=[pb.NamedTensor(name="hidden", tensor=hidden)])
    alone = messages.prediction(response)
    assert alone.outputs["hidden"].tolist() == [[3], [4]]
    assert alone.output.shape == (2, 0)  # not asked for
    response.output.CopyFrom(hidden)
    assert messages.prediction(response).output.tolist() == [[3], [4]]


def test_a_status_becomes_an_error_with_code_and_message(client):
    with pytest.raises(ServingError, match="NOT_FOUND: no model nowhere") as error:
        client.predict("nowhere", [[1.0]])
    assert error.value.code == grpc.StatusCode.NOT_FOUND
    assert error.value.details == "no model nowhere; there is: m"


def test_a_deadline_ends_the_call(client):
    with pytest.raises(ServingError) as error:
        client.predict("slow", [[1.0]], timeout=0.05)
    assert error.value.code == grpc.StatusCode.DEADLINE_EXCEEDED


def test_an_unreachable_server_is_unavailable():
    with Client("127.0.0.1:1", timeout=60) as client:
        with pytest.raises(ServingError) as error:
            client.models()
    assert error.value.code == grpc.StatusCode.UNAVAILABLE


def test_models_are_listed_and_described(client, service):
    assert [model.name for model in client.models()] == ["m", "m:dense"]
    assert client.model("m", version=2).max_batch_rows == 7
    assert service.request.version == 2


def test_a_model_is_loaded_and_unloaded_with_the_admin_token(address, service):
    with Client(address, admin_token="s3cret") as client:
        (loaded,) = client.load_model("m", version=3)
        assert loaded.name == "m" and service.request.version == 3
        assert service.metadata["authorization"] == "Bearer s3cret"
        (unloaded,) = client.unload_model("m")
        assert unloaded.state == pb.MODEL_STATE_UNLOADED
        assert service.metadata["authorization"] == "Bearer s3cret"
        list(client.benchmark("m"))
        assert service.metadata["authorization"] == "Bearer s3cret"


def test_a_load_that_fails_raises_and_no_token_is_sent_unasked(client, service):
    with pytest.raises(ServingError, match="header is cut") as error:
        client.load_model("bad")
    assert error.value.code == grpc.StatusCode.FAILED_PRECONDITION
    assert "authorization" not in service.metadata


def test_benchmark_yields_progress_then_the_report(client, service):
    messages = list(
        client.benchmark("m", batch_rows=[1, 16], seconds_per_case=0.1, threads=2)
    )
    assert [m.done for m in messages[:-1]] == [0, 1]
    assert isinstance(messages[-1], pb.BenchmarkReport)
    assert list(service.request.batch_rows) == [1, 16]
    assert service.request.threads == 2


def test_a_refused_benchmark_raises(client):
    with pytest.raises(ServingError, match="another one runs") as error:
        list(client.benchmark("busy"))
    assert error.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_leaving_a_benchmark_cancels_it_in_the_server(client, service):
    progress = client.benchmark("endless")
    next(progress)
    progress.close()
    assert service.cancelled.wait(timeout=60)


def test_the_example_of_the_readme_runs(address, capsys):
    text = README.read_text()
    example = re.search(r"## Predict\n\n```python\n(.*?)```", text, re.DOTALL).group(1)
    assert "127.0.0.1:8001" in example
    exec(example.replace("127.0.0.1:8001", address), {})
    printed = capsys.readouterr().out
    assert "('bag', 'bag', 'bag')" in printed and "dense" in printed


def test_the_example_with_asyncio_runs(address, capsys):
    text = README.read_text()
    example = re.search(
        r"## Predict with asyncio\n.*?```python\n(.*?)```", text, re.DOTALL).group(1)
    exec(example.replace("127.0.0.1:8001", address), {})
    printed = capsys.readouterr().out
    assert "4 (3, 784)" in printed  # the service answers rows as wide as they came
    assert "\n3 (3, 784)\n" in printed


def test_a_stream_matches_answers_by_id_and_goes_on_after_an_error(client):
    arrays = [np.full((i, 3), i, np.float32) for i in (1, 2, 3)]
    answers = dict(client.predict_stream("m", arrays))
    assert sorted(answers) == [0, 1, 2]
    np.testing.assert_array_equal(answers[0].output, 2 * arrays[0])
    np.testing.assert_array_equal(answers[2].output, 2 * arrays[2])
    assert isinstance(answers[1], ServingError)
    assert answers[1].code == grpc.StatusCode.INVALID_ARGUMENT
    assert answers[1].details == "two rows"


def test_a_stream_that_ends_badly_raises(client):
    with pytest.raises(ServingError) as error:
        list(client.predict_stream("ends", [np.zeros((1, 3))]))
    assert error.value.code == grpc.StatusCode.UNAVAILABLE
