"""A server in this process with made-up models of text.

"words": input_ids and, optional, attention_mask, int64 [rows, sequence]. The
    strongest of VOCABULARY columns of each token is that of the next id.
"picked": the same, and answers only the tokens that positions name, if any are.
"classes": input_ids, int32, and attention_mask, int64. The label "good" has
    three quarters of the probability.
"""

import concurrent.futures
import contextlib
import threading

import grpc
import numpy as np

from fff_client.client import pb, pb_grpc

VOCABULARY = 8
PORTS = {
    "words": [("input_ids", pb.DATA_TYPE_INT64, False),
              ("attention_mask", pb.DATA_TYPE_INT64, True)],
    "picked": [("input_ids", pb.DATA_TYPE_INT64, False),
               ("attention_mask", pb.DATA_TYPE_INT64, True),
               ("positions", pb.DATA_TYPE_INT64, True)],
    "classes": [("input_ids", pb.DATA_TYPE_INT32, False),
                ("attention_mask", pb.DATA_TYPE_INT64, False)],
}
NUMPY = {pb.DATA_TYPE_INT64: "<i8", pb.DATA_TYPE_INT32: "<i4"}


class Refusal(Exception):
    """Why a request is INVALID_ARGUMENT."""


class WordsService(pb_grpc.InferenceServiceServicer):
    """Keeps all requests that it was sent."""

    def __init__(self):
        self.requests = []
        self.lock = threading.Lock()

    def Predict(self, request, context):
        try:
            return self.answer(request)
        except Refusal as refusal:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refusal))

    def PredictStream(self, requests, context):
        for request in reversed(list(requests)):
            message = pb.PredictStreamResponse(request_id=request.request_id)
            try:
                message.response.CopyFrom(self.answer(request))
            except Refusal as refusal:
                message.error.code = grpc.StatusCode.INVALID_ARGUMENT.value[0]
                message.error.message = str(refusal)
            yield message

    def GetModel(self, request, context):
        response = pb.GetModelResponse()
        for name, datatype, optional in PORTS[request.model]:
            response.inputs.add(
                name=name, datatype=datatype, shape=[-1], optional=optional)
        response.input.CopyFrom(response.inputs[0])
        if request.model == "classes":
            response.output.labels.extend(["bad", "good"])
        return response

    def answer(self, request):
        with self.lock:
            self.requests.append(request)
        arrays = tensors(request)
        ids = arrays["input_ids"]
        if "positions" in arrays:
            ids = np.take_along_axis(ids, arrays["positions"], 1)
        if request.model == "classes":
            output = np.tile(np.log([1.0, 3.0]), (ids.shape[0], 1))
        else:
            output = 5 * np.eye(VOCABULARY)[(ids + 1) % VOCABULARY]
        response = pb.PredictResponse(output=pb.Tensor(
            shape=output.shape, datatype=pb.DATA_TYPE_FP32,
            data=output.astype("<f4").tobytes()))
        if request.top_k:
            best = np.argsort(-output, -1, "stable")[..., :request.top_k]
            top = np.take_along_axis(output, best, -1).astype("<f4")
            for tensor, array in ((response.output, top),
                                  (response.top_ids, best.astype("<i8"))):
                tensor.shape[:] = array.shape
                tensor.data = array.tobytes()
        if request.include_routing:
            response.routing.add(
                family=pb.FAMILY_PATH, trees=2, depth=1, margins_per_tree=2,
                tokens=ids.shape[1], leaf=[0, 1] * ids.size,
                margin=[1, -1, 2, -2] * ids.size)
        return response


def tensors(request):
    """The request's arrays by name, checked as the server checks them."""
    wanted = {name: datatype for name, datatype, _ in PORTS[request.model]}
    arrays = {}
    for named in request.inputs:
        if named.name not in wanted:
            raise Refusal(f"no input {named.name!r}, there is: input_ids")
        tensor = named.tensor
        if tensor.datatype != wanted[named.name]:
            raise Refusal(f"{named.name}: {pb.DataType.Name(tensor.datatype)}")
        array = np.frombuffer(tensor.data, NUMPY[tensor.datatype])
        arrays[named.name] = array.reshape(tuple(tensor.shape))
    missing = {n for n, _, optional in PORTS[request.model] if not optional}
    if missing - set(arrays):
        raise Refusal(f"missing: {', '.join(sorted(missing - set(arrays)))}")
    return arrays


@contextlib.contextmanager
def serving(service):
    """Yields the address of a server with that service."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    pb_grpc.add_InferenceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)
