"""The client of fff.v1.InferenceService."""

import dataclasses
from typing import Iterable, Iterator, List, Optional, Sequence, Tuple, Union

import grpc
import numpy as np

try:
    from ._proto import inference_pb2 as pb
    from ._proto import inference_pb2_grpc as pb_grpc
except ImportError as error:
    raise ImportError(
        "the gRPC stubs of fff_client could not be loaded "
        f"({error}); make them with: client/python/generate"
    ) from error

MESSAGE_BYTES_MAX = 256 * 1024 * 1024
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


class ServingError(RuntimeError):
    """The server refused or could not answer a call, or was not reached.

    code: grpc.StatusCode, e.g. INVALID_ARGUMENT (shape, NaN), NOT_FOUND (model
        or version), RESOURCE_EXHAUSTED (queue full, another benchmark runs),
        DEADLINE_EXCEEDED, UNAVAILABLE (draining, not loaded, not reachable).
    details: the server's message: what was wrong, got, wanted, and the model.
    """

    def __init__(self, code: grpc.StatusCode, details: str):
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


@dataclasses.dataclass(frozen=True)
class LayerRouting:
    """The way of all rows through one FFF layer.

    layer: index of the layer in the model, from 0.
    family: "leaf" (one leaf network answers) or "path" (all visited nodes do).
    trees, depth: depth counts the decisions from the root to the bottom level.
    leaf: int32 [rows, trees], position on the bottom level, 0 = leftmost.
    margin: float32 [rows, trees, depth] (leaf family) or [.., depth + 1] (path
        family): what each visited node computed, root first. Its sign decides,
        its size says how close the decision was.
    tokens: of one row. Where it is more than 1, each token takes a way of its
        own, and leaf and margin are [rows, tokens, trees, ..].
    """

    layer: int
    family: str
    trees: int
    depth: int
    leaf: np.ndarray
    margin: np.ndarray
    tokens: int = 1

    def nodes(self) -> np.ndarray:
        """Visited nodes, int64 [*leaf.shape, depth + 1], root first.

        In heap order: root 0, children 2n+1 and 2n+2. Of the leaf family the
        last one is the leaf, at index 2^depth - 1 + leaf.
        """
        level = np.arange(self.depth + 1, dtype=np.int64)
        position = self.leaf.astype(np.int64)[..., None] >> (self.depth - level)
        return (1 << level) - 1 + position


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The answer to predict or predict_dense.

    output: float32 [rows, *model output shape].
    labels: one a row when asked for and the model has labels, else empty.
    routing: one entry an FFF layer when asked for, else empty.
    implementation: "fff" or "dense", what computed the output.
    queue_seconds, compute_seconds, batch_rows: time in the server, waiting and
        computing, and the rows of the batch this request was evaluated in.
    """

    model: str
    version: int
    implementation: str
    output: np.ndarray
    labels: Tuple[str, ...]
    routing: Tuple[LayerRouting, ...]
    queue_seconds: float
    compute_seconds: float
    batch_rows: int
    request_id: str


class Client:
    """A connection to one server; safe to use from several threads.

    target: "host:port" of the server's gRPC port.
    credentials: grpc.ChannelCredentials for TLS; None for plain text.
    timeout: seconds a call may take when the call names no other; None waits
        without end.
    admin_token: shown with load_model, unload_model and benchmark, for servers
        that ask for one. Without TLS whoever sees the connection sees it.

    The connection is made by the first call. Close it with close() or use the
    client as a context manager. Every method raises ServingError when the
    server refuses or cannot be reached.
    """

    def __init__(
        self,
        target: str,
        credentials: Optional[grpc.ChannelCredentials] = None,
        timeout: Optional[float] = 30.0,
        admin_token: Optional[str] = None,
    ):
        options = [
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ]
        if credentials is None:
            self._channel = grpc.insecure_channel(target, options)
        else:
            self._channel = grpc.secure_channel(target, credentials, options)
        self._stub = pb_grpc.InferenceServiceStub(self._channel)
        self._timeout = timeout
        self._admin = (
            (("authorization", f"Bearer {admin_token}"),) if admin_token else ()
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; calls that are under way are cancelled."""
        self._channel.close()

    def predict(
        self,
        model: str,
        array,
        version: int = 0,
        routing: bool = False,
        labels: bool = False,
        timeout: Optional[float] = None,
        request_id: str = "",
    ) -> Prediction:
        """Evaluates a model.

        model: its name; "NAME:dense" is the dense twin.
        array: real numbers [rows, *model input shape], or [*model input shape]
            for one row. Converted to float32, not scaled.
        version: 0 is the one served by default.
        routing: also report the way of every row through every FFF layer.
        labels: also report the label of each row's strongest output.
        timeout: seconds; left out, the client's.
        request_id: comes back in the answer and stands in the server's log.

        Raises TypeError when the array does not hold real numbers, and
        ServingError.
        """
        request = _predict_request(
            model, array, version, routing, labels, request_id
        )
        return self._predict(self._stub.Predict, request, timeout)

    def predict_dense(
        self,
        model: str,
        array,
        version: int = 0,
        labels: bool = False,
        timeout: Optional[float] = None,
        request_id: str = "",
    ) -> Prediction:
        """Evaluates the model's dense twin on the same input; see predict.

        What the twin is (trained, or a baseline of cost whose outputs mean
        nothing) says model(name).dense_kind.
        """
        request = _predict_request(
            model, array, version, False, labels, request_id
        )
        return self._predict(self._stub.PredictDense, request, timeout)

    def predict_stream(
        self,
        model: str,
        arrays: Iterable,
        version: int = 0,
        labels: bool = False,
        timeout: Optional[float] = None,
    ) -> Iterator[Tuple[int, Union[Prediction, ServingError]]]:
        """Evaluates many arrays over one stream, many of them in flight.

        arrays: as in predict, one request each; read as the server takes them.
        timeout: seconds for the whole stream; left out, none.

        Yields (position, answer) as the answers come, not in order: a
        Prediction, or the ServingError of that request alone. Raises
        ServingError when the stream itself ends badly; requests without an
        answer were then not computed. Leaving the iterator early cancels the
        rest.
        """
        requests = (
            _predict_request(model, array, version, False, labels, str(i))
            for i, array in enumerate(arrays)
        )
        call = self._stub.PredictStream(requests, timeout=timeout)
        try:
            for answer in call:
                if answer.HasField("error"):
                    code = _STATUS_CODES[answer.error.code]
                    result = ServingError(code, answer.error.message)
                else:
                    result = _prediction(answer.response)
                yield int(answer.request_id), result
        except grpc.RpcError as error:
            raise ServingError(error.code(), error.details()) from error
        finally:
            call.cancel()

    def models(self, timeout: Optional[float] = None) -> List["pb.ModelSummary"]:
        """Lists every model of the repository, loaded or not, twins included.

        Returns messages fff.v1.ModelSummary; MODEL_STATE_READY are served.
        """
        request = pb.ListModelsRequest()
        return list(self._call(self._stub.ListModels, request, timeout).models)

    def model(
        self, name: str, version: int = 0, timeout: Optional[float] = None
    ) -> "pb.GetModelResponse":
        """Describes one model: shapes, labels, layers, kernels, dense twin.

        Returns the message fff.v1.GetModelResponse.
        """
        request = pb.GetModelRequest(model=name, version=version)
        return self._call(self._stub.GetModel, request, timeout)

    def load_model(
        self, name: str, version: int = 0, timeout: Optional[float] = None
    ) -> List["pb.ModelSummary"]:
        """Loads a model from the server's repository as it is now.

        version: 0 are those of the model's policy; another one is loaded
            beside them.

        Returns all its versions (fff.v1.ModelSummary). Raises ServingError with
        FAILED_PRECONDITION when it cannot be loaded; what was served still is.
        """
        request = pb.LoadModelRequest(model=name, version=version)
        answer = self._call(
            self._stub.LoadModel, request, timeout, metadata=self._admin
        )
        return list(answer.models)

    def unload_model(
        self, name: str, version: int = 0, timeout: Optional[float] = None
    ) -> List["pb.ModelSummary"]:
        """Takes a model, or one version, out of service until it is loaded again.

        Returns all its versions once requests in flight are answered.
        """
        request = pb.UnloadModelRequest(model=name, version=version)
        answer = self._call(
            self._stub.UnloadModel, request, timeout, metadata=self._admin
        )
        return list(answer.models)

    def benchmark(
        self,
        model: str,
        batch_rows: Sequence[int] = (),
        seconds_per_case: float = 0.0,
        threads: int = 0,
        seed: int = 0,
        version: int = 0,
        timeout: Optional[float] = None,
    ) -> Iterator[Union["pb.BenchmarkProgress", "pb.BenchmarkReport"]]:
        """Measures FFF against dense on the serving machine.

        batch_rows: batch sizes; empty lets the server choose.
        seconds_per_case: time budget a batch size and implementation; 0 lets
            the server choose, as with threads and seed.
        timeout: seconds for the whole run; left out, none: the server bounds it.

        Yields BenchmarkProgress messages, then one BenchmarkReport, always the
        last. Leaving the iterator early (close()) stops the run.
        """
        request = pb.BenchmarkRequest(
            model=model,
            version=version,
            batch_rows=batch_rows,
            seconds_per_case=seconds_per_case,
            threads=threads,
            seed=seed,
        )
        call = self._stub.Benchmark(request, timeout=timeout, metadata=self._admin)
        try:
            for response in call:
                kind = response.WhichOneof("kind")
                if kind is not None:
                    yield getattr(response, kind)
        except grpc.RpcError as error:
            raise ServingError(error.code(), error.details()) from error
        finally:
            call.cancel()

    def _predict(self, method, request, timeout) -> Prediction:
        return _prediction(self._call(method, request, timeout))

    def _call(self, method, request, timeout, metadata=()):
        timeout = self._timeout if timeout is None else timeout
        try:
            return method(request, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise ServingError(error.code(), error.details()) from error


def _predict_request(model, array, version, routing, labels, request_id):
    array = np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"wanted an array of real numbers, got {array.dtype}")
    return pb.PredictRequest(
        model=model,
        version=version,
        input=pb.Tensor(
            shape=array.shape,
            datatype=pb.DATA_TYPE_FP32,
            data=array.astype("<f4", copy=False).tobytes(order="C"),
        ),
        include_routing=routing,
        include_labels=labels,
        request_id=request_id,
    )


def _prediction(response) -> Prediction:
    output = np.frombuffer(response.output.data, "<f4")
    return Prediction(
        model=response.model,
        version=response.version,
        implementation=_word(pb.Implementation, response.implementation),
        output=output.reshape(tuple(response.output.shape)),
        labels=tuple(response.labels),
        routing=tuple(map(_routing, response.routing)),
        queue_seconds=response.timing.queue_ns * 1e-9,
        compute_seconds=response.timing.compute_ns * 1e-9,
        batch_rows=response.timing.batch_rows,
        request_id=response.request_id,
    )


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


def _word(enum, value: int) -> str:
    """IMPLEMENTATION_FFF -> "fff"."""
    return enum.Name(value).rsplit("_", 1)[-1].lower()
