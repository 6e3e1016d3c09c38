"""Predictions that take several messages: batches too large for one, and bytes."""

import asyncio
import concurrent.futures

import grpc
import numpy as np
import pytest

from fff_client import AsyncClient, Client, InputError, ServingError, exchange
from fff_client.client import pb, pb_grpc

SERVER_BYTES_MAX = 100_000
PORTS = {
    "floats": ("pixels", pb.DATA_TYPE_FP32, [3]),
    "bytes": ("pixels", pb.DATA_TYPE_UINT8, [3]),
    "ids": ("ids", pb.DATA_TYPE_INT64, [-1]),
    "pictures": ("pixels", pb.DATA_TYPE_FP32, [100, 100]),
}
DTYPES = {pb.DATA_TYPE_FP32: "<f4", pb.DATA_TYPE_UINT8: "u1", pb.DATA_TYPE_INT64: "<i8"}


class Service(pb_grpc.InferenceServiceServicer):
    """Answers with the input; newer versions every time that none is named."""

    def __init__(self):
        self.requests = []
        self.described = 0
        self.rows_max = None
        self.newest = 0

    def GetModel(self, request, context):
        self.described += 1
        name, datatype, shape = PORTS[request.model]
        port = pb.TensorMetadata(name=name, datatype=datatype, shape=shape)
        return pb.GetModelResponse(input=port, inputs=[port])

    def Predict(self, request, context):
        name, datatype, _ = PORTS[request.model]
        tensor = request.inputs[0].tensor if request.inputs else request.input
        if tensor.datatype != datatype:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"input '{name}': got datatype {pb.DataType.Name(tensor.datatype)}, "
                f"wanted {pb.DataType.Name(datatype)}")
        self.requests.append(request)
        if self.rows_max and tensor.shape[0] > self.rows_max:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"got {tensor.shape[0]} rows, wanted at most {self.rows_max}: the answer "
                "would be larger than a message may be; split the request")
        self.newest += 1
        array = np.frombuffer(tensor.data, DTYPES[datatype]).astype("<f4")
        response = pb.PredictResponse(
            version=request.version or self.newest, request_id=request.request_id,
            output=pb.Tensor(shape=tensor.shape, data=array.tobytes()),
            timing=pb.Timing(queue_ns=1000, compute_ns=2000, batch_rows=tensor.shape[0]))
        rows = tensor.shape[0]
        if request.include_labels:
            response.labels.extend(f"row {value:g}" for value in array[::array.size // rows])
        if request.include_routing:
            response.routing.add(layer=1, family=pb.FAMILY_LEAF, trees=1, depth=1,
                                 margins_per_tree=1, leaf=[0] * rows, margin=[1] * rows)
        if request.top_k:
            response.top_ids.CopyFrom(pb.Tensor(
                shape=tensor.shape, data=array.astype("<i8").tobytes()))
        return response

    def PredictStream(self, requests, context):
        for request in requests:
            yield pb.PredictStreamResponse(
                request_id=request.request_id, error=pb.StreamError(
                    code=3, message="input 'pixels': got datatype DATA_TYPE_UINT8, "
                    "wanted DATA_TYPE_FP32"))


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def address(service):
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(2),
        options=[("grpc.max_receive_message_length", SERVER_BYTES_MAX)])
    pb_grpc.add_InferenceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(params=["Client", "AsyncClient"])
def predict(request, address):
    """predict of either client."""
    def of_the_client(*arguments, **options):
        with Client(address) as client:
            return client.predict(*arguments, **options)

    def of_the_async_client(*arguments, **options):
        async def ask():
            async with AsyncClient(address) as client:
                return await client.predict(*arguments, **options)

        return asyncio.run(ask())

    return of_the_client if request.param == "Client" else of_the_async_client


def rows_of(count, width=3):
    return np.arange(count * width, dtype=np.float32).reshape(count, width)


def test_a_batch_that_the_server_finds_too_large_goes_in_parts(predict, service):
    rows = rows_of(20_000)  # 240 kB
    prediction = predict("floats", rows, labels=True, routing=True, request_id="r")
    np.testing.assert_array_equal(prediction.output, rows)
    assert prediction.labels[12_345] == f"row {rows[12_345, 0]:g}"
    assert prediction.routing[0].leaf.shape == (20_000, 1)
    assert prediction.routing[0].margin.shape == (20_000, 1, 1)
    assert [len(each.input.data) for each in service.requests] == [60_000] * 4
    assert {each.request_id for each in service.requests} == {"r"}
    assert prediction.request_id == "r"
    assert prediction.compute_seconds == pytest.approx(4 * 2e-6)
    assert prediction.queue_seconds == pytest.approx(4 * 1e-6)
    assert prediction.batch_rows == 5000


def test_a_batch_beyond_the_clients_own_bound_is_not_even_tried(
    predict, service, monkeypatch
):
    monkeypatch.setattr(exchange, "PART_BYTES_MAX", 30_000)
    rows = rows_of(6_001)
    prediction = predict("floats", rows, top_k=3)
    np.testing.assert_array_equal(prediction.output, rows)
    np.testing.assert_array_equal(prediction.ids, rows)
    assert [each.input.shape[0] for each in service.requests] == [2500, 2500, 1001]


def test_all_parts_are_answered_by_one_version(predict, service):
    prediction = predict("floats", rows_of(20_000))
    assert [each.version for each in service.requests] == [0, 1, 1, 1]
    assert prediction.version == 1
    assert predict("floats", rows_of(20_000), version=9).version == 9


def test_an_answer_that_is_too_large_splits_a_batch_too(predict, service):
    service.rows_max = 3
    prediction = predict("floats", rows_of(7))
    np.testing.assert_array_equal(prediction.output, rows_of(7))
    assert [each.input.shape[0] for each in service.requests] == [7, 3, 3, 1]


def test_inputs_by_name_are_cut_alike(predict, service):
    ids = np.arange(40_000).reshape(5_000, 8)
    prediction = predict("ids", {"ids": ids})
    np.testing.assert_array_equal(prediction.output, ids)
    assert service.described == 0  # they have rows in any case
    assert {each.inputs[0].name for each in service.requests} == {"ids"}


def test_one_row_is_not_cut(predict, service):
    service.rows_max = 10
    picture = np.zeros((100, 100), np.float32)
    with pytest.raises(ServingError, match="larger than a message may be"):
        predict("pictures", picture)
    assert [list(each.input.shape) for each in service.requests] == [[100, 100]]
    with pytest.raises(ServingError, match="larger than max") as error:
        predict("floats", rows_of(1, 40_000))
    assert error.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_one_row_beyond_the_bound_is_sent_whole(predict, service, monkeypatch):
    monkeypatch.setattr(exchange, "PART_BYTES_MAX", 1_000)
    assert predict("pictures", np.zeros((100, 100))).output.shape == (100, 100)
    assert len(service.requests) == 1


def test_other_errors_are_raised_as_they_are(predict, service):
    service.rows_max = 3
    with pytest.raises(ServingError, match="DATA_TYPE_FP32, wanted DATA_TYPE_INT64"):
        predict("ids", rows_of(7))
    assert service.described == 0


def test_all_messages_share_one_timeout(predict):
    with pytest.raises(ServingError) as error:
        predict("floats", rows_of(20_000), timeout=1e-9)
    assert error.value.code == grpc.StatusCode.DEADLINE_EXCEEDED


PIXELS = np.array([[0, 128, 255], [1, 2, 3]], np.uint8)


def test_bytes_stay_bytes_where_the_model_takes_them(predict, service):
    np.testing.assert_array_equal(predict("bytes", PIXELS).output, PIXELS)
    np.testing.assert_array_equal(predict("bytes", {"pixels": PIXELS}).output, PIXELS)
    assert service.described == 0  # no message more than any other prediction


def test_bytes_for_an_input_of_floats_are_refused_with_how_to_scale(predict):
    for inputs in (PIXELS, {"pixels": PIXELS}):
        with pytest.raises(InputError) as error:
            predict("floats", inputs)
        for words in ("input 'pixels': got dtype uint8, the model takes FP32 [3]",
                      "array.astype('float32') / 255"):
            assert words in str(error.value)


def test_bytes_become_the_ids_that_a_model_takes(predict):
    np.testing.assert_array_equal(predict("ids", PIXELS).output, PIXELS)
    np.testing.assert_array_equal(predict("ids", {"ids": PIXELS}).output, PIXELS)


def test_bytes_that_are_refused_for_another_reason_say_that(predict, service):
    service.rows_max = 1
    np.testing.assert_array_equal(predict("bytes", PIXELS).output, PIXELS)
    with pytest.raises(ServingError, match="wanted at most 1"):
        predict("bytes", PIXELS[0].reshape(3, 1)[:, 0])


def test_bytes_on_a_stream_are_an_error_of_that_request(address):
    with Client(address) as client:
        (_, answer), = client.predict_stream("floats", [PIXELS])
    assert answer.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "input 'pixels': got datatype DATA_TYPE_UINT8" in answer.details
    assert "array.astype('float32') / 255" in answer.details


def test_a_timeout_that_is_over_ends_the_call_before_it_is_sent():
    assert exchange.Deadline(None).left() is None
    assert 0 < exchange.Deadline(60).left() <= 60
    with pytest.raises(ServingError, match="the timeout of 0 s is over") as error:
        exchange.Deadline(0).left()
    assert error.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
