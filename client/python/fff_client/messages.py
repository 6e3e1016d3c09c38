"""Between numpy arrays and the messages of fff.v1; no connection."""

from typing import List, Mapping, Tuple, Union

import grpc
import numpy as np

from .arrays import as_array, as_float32, refusal
from .errors import InputError, ServingError
from .predictions import LayerRouting, Prediction

try:
    from ._proto import inference_pb2 as pb
    from ._proto import inference_pb2_grpc as pb_grpc
except ImportError as error:
    raise ImportError(
        "the gRPC stubs of fff_client could not be loaded "
        f"({error}); make them with: client/python/generate"
    ) from error

__all__ = [
    "Inputs", "LayerRouting", "Prediction", "benchmark_request", "pb", "pb_grpc",
    "predict_request", "prediction", "prepared", "sequence_inputs",
    "sequence_predictions", "stream_answer",
]

# What predict takes: one array, or arrays by the names of the model's inputs.
Inputs = Union["np.typing.ArrayLike", Mapping[str, "np.typing.ArrayLike"]]

_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}

# Of bytes for an input of floats.
SCALE_ADVICE = (
    "scale the bytes as the training did, for example array.astype('float32') / 255, "
    "or send array.astype('float32') where it took them unscaled"
)
_GOT_BYTES = "got datatype DATA_TYPE_UINT8, wanted DATA_TYPE_FP"

# By dtype.name; ml_dtypes brings bfloat16 to numpy.
_DATATYPES = {
    "uint8": pb.DATA_TYPE_UINT8,
    "int32": pb.DATA_TYPE_INT32,
    "int64": pb.DATA_TYPE_INT64,
    "float16": pb.DATA_TYPE_FP16,
    "bfloat16": pb.DATA_TYPE_BF16,
    "float32": pb.DATA_TYPE_FP32,
    "float64": pb.DATA_TYPE_FP64,
}


def predict_request(
    model, inputs, version=0, routing=False, labels=False, request_id="", top_k=0,
    outputs=(),
) -> "pb.PredictRequest":
    """Encodes a request; inputs as Client.predict takes them.

    Raises InputError for what is no array of numbers, a dtype that the protocol
    does not have, and inputs by name that are none or differ in rows.
    """
    request = pb.PredictRequest(
        model=model,
        version=version,
        include_routing=routing,
        include_labels=labels,
        request_id=request_id,
        top_k=top_k,
        outputs=_names(outputs),
    )
    arrays = prepared(inputs)
    if isinstance(arrays, Mapping):
        for name, array in arrays.items():
            request.inputs.add(name=name, tensor=_tensor(array))
    else:
        request.input.CopyFrom(_tensor(arrays))
    return request


def prepared(inputs):
    """The arrays that are sent: one, float32 or uint8, or several by name.

    Raises as predict_request.
    """
    if not isinstance(inputs, Mapping):
        array = as_array(inputs)
        return array if array.dtype == np.uint8 else as_float32(array)
    arrays = {
        name: as_array(array, f"input {name!r}") for name, array in inputs.items()
    }
    if not arrays:
        raise InputError("wanted at least one input, got none")
    rows = None
    for name, array in arrays.items():
        what = f"input {name!r}"
        if array.dtype.name not in _DATATYPES:
            raise refusal(array.dtype, f"one of {', '.join(_DATATYPES)}", what)
        if array.ndim == 0:
            raise InputError(f"{what}: got a scalar, wanted rows")
        rows = rows or (array.shape[0], name)
        if array.shape[0] != rows[0]:
            raise InputError(
                f"{what}: got {array.shape[0]} rows, "
                f"wanted {rows[0]} as in {rows[1]!r}"
            )
    return arrays


def sequence_inputs(sequences, name):
    """The inputs of Client.predict_ragged, one row each.

    Raises InputError for a sequence without elements, and as as_array.
    """
    for i, sequence in enumerate(sequences):
        array = as_array(sequence, f"sequence {i} of input {name!r}")
        if array.shape[:1] == (0,):
            raise InputError(f"sequence {i} is empty, wanted a token or more")
        yield {name: array[None]}


def sequence_predictions(answers) -> List["Prediction"]:
    """The predictions of predict_ragged, in order, from {position: answer}.

    Raises the first ServingError, which then says whose it is.
    """
    for i, answer in sorted(answers.items()):
        if isinstance(answer, ServingError):
            raise ServingError(answer.code, f"sequence {i}: {answer.details}")
    return [answers[i] for i in range(len(answers))]


def stream_answer(message) -> Tuple[int, Union["Prediction", ServingError]]:
    """(position, answer) of a message that came on a stream."""
    if message.HasField("error"):
        code, details = _STATUS_CODES[message.error.code], message.error.message
        if _GOT_BYTES in details:
            details = f"{details}: {SCALE_ADVICE}"
        return int(message.request_id), ServingError(code, details)
    return int(message.request_id), prediction(message.response)


def _names(outputs):
    if isinstance(outputs, str):
        raise InputError(f"outputs: got {outputs!r}, wanted a list of names")
    return outputs


def _tensor(array) -> "pb.Tensor":
    # Little-endian on the wire, whatever the array's order in memory.
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return pb.Tensor(
        shape=array.shape,
        datatype=_DATATYPES[array.dtype.name],
        data=little.tobytes(order="C"),
    )


def prediction(response) -> Prediction:
    """Decodes an answer."""
    outputs = {each.name: _floats(each.tensor) for each in response.outputs}
    if response.output.shape or not outputs:
        output = _floats(response.output)
    else:  # not asked for
        output = np.empty((len(next(iter(outputs.values()))), 0), np.float32)
    ids = None
    if response.top_ids.data:
        ids = np.frombuffer(response.top_ids.data, "<i8")
        ids = ids.reshape(tuple(response.top_ids.shape))
    return Prediction(
        model=response.model,
        version=response.version,
        implementation=_word(pb.Implementation, response.implementation),
        output=output,
        outputs=outputs,
        labels=tuple(response.labels),
        routing=tuple(map(_routing, response.routing)),
        queue_seconds=response.timing.queue_ns * 1e-9,
        compute_seconds=response.timing.compute_ns * 1e-9,
        batch_rows=response.timing.batch_rows,
        request_id=response.request_id,
        ids=ids,
    )


def _floats(tensor) -> np.ndarray:
    return np.frombuffer(tensor.data, "<f4").reshape(tuple(tensor.shape))


def _routing(message) -> LayerRouting:
    ways = (message.trees,) if message.tokens <= 1 else (message.tokens, message.trees)
    leaf = np.array(message.leaf, np.int32).reshape(-1, *ways)
    margin = np.array(message.margin, np.float32)
    return LayerRouting(
        layer=message.layer,
        family=_word(pb.Family, message.family),
        trees=message.trees,
        depth=message.depth,
        leaf=leaf,
        margin=margin.reshape(*leaf.shape, message.margins_per_tree),
        tokens=max(message.tokens, 1),
    )


def benchmark_request(
    model, batch_rows, seconds_per_case, threads, seed, version
) -> "pb.BenchmarkRequest":
    """The request of Client.benchmark."""
    return pb.BenchmarkRequest(
        model=model,
        version=version,
        batch_rows=batch_rows,
        seconds_per_case=seconds_per_case,
        threads=threads,
        seed=seed,
    )


def _word(enum, value: int) -> str:
    """IMPLEMENTATION_FFF -> "fff"."""
    return enum.Name(value).rsplit("_", 1)[-1].lower()
