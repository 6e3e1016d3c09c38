"""Inputs by name, of other types than float32, and of differing lengths."""

import grpc
import numpy as np
import pytest

from fff_client import Client, ServingError
from fff_client.client import pb
from fff_client.messages import predict_request
from words_service import VOCABULARY, WordsService, serving


@pytest.fixture
def service():
    return WordsService()


@pytest.fixture
def client(service):
    with serving(service) as address, Client(address) as client:
        yield client


IDS = np.array([[1, 2, 3], [4, 5, 6]])
MASK = np.ones((2, 3), np.int64)


def test_named_inputs_travel_as_they_are_and_answer_per_token(client, service):
    prediction = client.predict(
        "words", {"input_ids": IDS, "attention_mask": MASK}, routing=True)
    (request,) = service.requests
    assert not request.HasField("input")
    assert [named.name for named in request.inputs] == [
        "input_ids", "attention_mask"]
    assert prediction.output.shape == (2, 3, VOCABULARY)
    np.testing.assert_array_equal(prediction.output.argmax(-1), IDS + 1)
    (routing,) = prediction.routing
    assert routing.tokens == 3
    assert routing.leaf.shape == (2, 3, 2)
    assert routing.margin.shape == (2, 3, 2, 2)
    assert routing.nodes().shape == (2, 3, 2, 2)


@pytest.mark.parametrize("dtype, datatype", [
    ("uint8", "UINT8"), ("int32", "INT32"), ("int64", "INT64"),
    ("float16", "FP16"), ("float32", "FP32"), ("float64", "FP64"),
    (">i4", "INT32"), (">f8", "FP64")])
def test_every_dtype_has_its_datatype_in_little_endian_bytes(dtype, datatype):
    array = np.array([[1, 2], [3, 4]], dtype)
    (named,) = predict_request("m", {"x": array.T}).inputs
    assert pb.DataType.Name(named.tensor.datatype) == f"DATA_TYPE_{datatype}"
    assert list(named.tensor.shape) == [2, 2]
    little = np.dtype(dtype).newbyteorder("<")
    np.testing.assert_array_equal(
        np.frombuffer(named.tensor.data, little), [1, 3, 2, 4])


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "complex64", "O", "U3"])
def test_a_dtype_that_the_protocol_has_not_is_refused(client, service, dtype):
    with pytest.raises(TypeError, match="input 'input_ids': got dtype"):
        client.predict("words", {"input_ids": IDS.astype(dtype)})
    assert service.requests == []


def test_rows_that_differ_between_inputs_are_refused(client, service):
    with pytest.raises(ValueError, match="got 1 rows, wanted 2 as in 'input_ids'"):
        client.predict("words", {"input_ids": IDS, "attention_mask": MASK[:1]})
    with pytest.raises(ValueError, match="scalar"):
        client.predict("words", {"input_ids": np.int64(3)})
    with pytest.raises(ValueError, match="at least one input"):
        client.predict("words", {})
    assert service.requests == []


def test_names_and_datatypes_are_the_servers_to_check(client):
    with pytest.raises(ServingError, match="no input 'ids', there is") as error:
        client.predict("words", {"ids": IDS})
    assert error.value.code == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(ServingError, match="input_ids: DATA_TYPE_FP64"):
        client.predict("words", {"input_ids": IDS * 1.0})
    with pytest.raises(ServingError, match="missing: input_ids"):
        client.predict("words", {"attention_mask": MASK})


def test_named_inputs_travel_on_a_stream(client):
    requests = [{"input_ids": IDS}, {"ids": IDS}, {"input_ids": IDS[:, :1]}]
    answers = dict(client.predict_stream("words", requests))
    assert answers[0].output.shape == (2, 3, VOCABULARY)
    assert answers[1].details == "no input 'ids', there is: input_ids"
    assert answers[2].output.shape == (2, 1, VOCABULARY)


def test_what_predict_refuses_ends_a_stream_with_the_same_error(client):
    with pytest.raises(TypeError, match="got dtype complex"):
        list(client.predict_stream("words", [{"input_ids": IDS * 1j}]))


def test_sequences_of_differing_lengths_are_answered_in_order(client, service):
    sequences = [[1, 2, 3], [4], np.array([5, 6])]
    predictions = client.predict_ragged("words", sequences)
    assert [p.output.shape[1] for p in predictions] == [3, 1, 2]
    assert predictions[2].output.argmax(-1).tolist() == [[6, 7]]
    assert len(service.requests) == 3
    assert client.predict_ragged("words", []) == []


def test_one_sequence_that_fails_fails_them_all(client):
    with pytest.raises(ServingError, match="^INVALID_ARGUMENT: sequence 1: input_ids:"):
        client.predict_ragged("words", [[1, 2], [0.5]])
    with pytest.raises(ValueError, match="sequence 2 is empty"):
        client.predict_ragged("words", [[1, 2], [3], []])
