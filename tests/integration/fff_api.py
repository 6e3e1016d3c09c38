"""Stubs of both APIs, and short ways to call them with numpy arrays."""

import os
import sys

import grpc
import numpy as np

sys.path.insert(0, os.environ["FFF_PYTHON_STUBS"])

from fff.v1 import inference_pb2 as v1  # noqa: E402
from fff.v1 import inference_pb2_grpc as v1_grpc  # noqa: E402
from inference import grpc_service_pb2 as oip  # noqa: E402
from inference import grpc_service_pb2_grpc as oip_grpc  # noqa: E402

UNBOUNDED = [("grpc.max_receive_message_length", -1),
             ("grpc.max_send_message_length", -1)]
DEADLINE_SECONDS = 60


class Api:
    """One channel to one server, with a stub a service."""

    def __init__(self, target):
        self.channel = grpc.insecure_channel(target, options=UNBOUNDED)
        self.own = v1_grpc.InferenceServiceStub(self.channel)
        self.oip = oip_grpc.GRPCInferenceServiceStub(self.channel)

    def close(self):
        self.channel.close()

    def predict(self, model, x, *, dense=False, **fields):
        """PredictResponse; `x` is [rows, ...] float32."""
        call = self.own.PredictDense if dense else self.own.Predict
        return call(predict_request(model, x, **fields), timeout=DEADLINE_SECONDS)

    def infer(self, model, x, **fields):
        """ModelInferResponse; `x` is [rows, ...] float32."""
        return self.oip.ModelInfer(infer_request(model, x, **fields),
                                   timeout=DEADLINE_SECONDS)


def predict_request(model, x, **fields):
    x = np.ascontiguousarray(x, dtype="<f4")
    tensor = v1.Tensor(shape=x.shape, datatype=v1.DATA_TYPE_FP32, data=x.tobytes())
    return v1.PredictRequest(model=model, input=tensor, **fields)


def infer_request(model, x, name="input", **fields):
    x = np.ascontiguousarray(x, dtype="<f4")
    request = oip.ModelInferRequest(model_name=model, **fields)
    request.inputs.add(name=name, datatype="FP32", shape=x.shape)
    request.raw_input_contents.append(x.tobytes())
    return request


def output_of(response):
    """The output array of a PredictResponse or ModelInferResponse."""
    if isinstance(response, v1.PredictResponse):
        return np.frombuffer(response.output.data, "<f4").reshape(response.output.shape)
    return np.frombuffer(response.raw_output_contents[0], "<f4").reshape(
        response.outputs[0].shape)
