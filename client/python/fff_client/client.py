"""The client of fff.v1.InferenceService."""

from typing import Iterable, Iterator, List, Optional, Sequence, Tuple, Union

import grpc

from . import text as _text
from .connection import ANY_SERVICE, health_check, is_not_ready, target_of
from .errors import InputError, ServingError, serving_error
from .exchange import Deadline, exchange
from .messages import (
    Inputs,
    LayerRouting,
    Prediction,
    benchmark_request,
    pb,
    pb_grpc,
    predict_request,
    sequence_inputs,
    sequence_predictions,
    stream_answer,
)

__all__ = [
    "Client", "InputError", "LayerRouting", "Prediction", "ServingError", "pb",
    "pb_grpc",
]

MESSAGE_BYTES_MAX = 256 * 1024 * 1024
CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
]


def admin_metadata(token: Optional[str]):
    """What shows the admin token with a call."""
    return (("authorization", f"Bearer {token}"),) if token else ()


class Client:
    """A connection to one server; safe to use from several threads.

    target: "host:port" of the server's gRPC port; left out, the environment
        variable FFF_SERVER, or else 127.0.0.1:8001.
    credentials: grpc.ChannelCredentials for TLS; None for plain text.
    timeout: seconds a call may take when the call names no other; None waits
        without end.
    admin_token: shown with load_model, unload_model and benchmark, for servers
        that ask for one. Without TLS whoever sees the connection sees it.

    The connection is made by the first call. Close it with close() or use the
    client as a context manager. Every method raises ServingError when the
    server refuses or cannot be reached. A target that is none raises ValueError.
    """

    def __init__(
        self,
        target: Optional[str] = None,
        credentials: Optional[grpc.ChannelCredentials] = None,
        timeout: Optional[float] = 30.0,
        admin_token: Optional[str] = None,
    ):
        self._target = target_of(target)
        if credentials is None:
            self._channel = grpc.insecure_channel(self._target, CHANNEL_OPTIONS)
        else:
            self._channel = grpc.secure_channel(
                self._target, credentials, CHANNEL_OPTIONS
            )
        self._stub = pb_grpc.InferenceServiceStub(self._channel)
        self._timeout = timeout
        self._admin = admin_metadata(admin_token)

    def __repr__(self) -> str:
        return f"Client({self._target!r})"

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
        array: Inputs,
        version: int = 0,
        routing: bool = False,
        labels: bool = False,
        timeout: Optional[float] = None,
        request_id: str = "",
        top_k: int = 0,
        outputs: Sequence[str] = (),
    ) -> Prediction:
        """Evaluates a model.

        model: its name; "NAME:dense" is the dense twin.
        array: real numbers [rows, *model input shape], or [*model input shape]
            for one row. Rounded to float32, not scaled; uint8, as of pictures, is
            sent as such to a model that takes bytes. Or a dict of arrays
            [rows, ..] by the names of the model's inputs: uint8, int32, int64,
            float16, bfloat16, float32 or float64, sent as they are. Lists,
            numpy arrays of any order, torch tensors (with gradients, on a GPU,
            bfloat16), pandas tables, and what has __array__ or __dlpack__.
        version: 0 is the one served by default.
        routing: also report the way of every row through every FFF layer.
        labels: also report the label of each row's strongest output.
        timeout: seconds; left out, the client's.
        request_id: comes back in the answer and stands in the server's log.
        top_k: above 0, so many of the main output's columns, the strongest first,
            and their numbers as ids, instead of all columns.
        outputs: names of the model's outputs that are wanted; none: all. Those
            beside the main one are the prediction's outputs.

        Of a model that answers a row per token, an input "positions", integers
        [rows, any number], asks for the outputs of these tokens alone. A batch
        whose inputs or answer are too large for one message goes in several, one
        after the other, all to the version that answers the first.

        Raises InputError when an array holds something else (masked elements,
        text, complex numbers, numbers beyond float32, rows of differing
        lengths), arrays by name differ in rows, or uint8 is given to a model of
        floats, and ServingError.
        """
        return self._predict(
            self._stub.Predict, timeout, model, array, version=version,
            routing=routing, labels=labels, request_id=request_id, top_k=top_k,
            outputs=outputs,
        )

    def predict_dense(
        self,
        model: str,
        array: Inputs,
        version: int = 0,
        labels: bool = False,
        timeout: Optional[float] = None,
        request_id: str = "",
        top_k: int = 0,
        outputs: Sequence[str] = (),
    ) -> Prediction:
        """Evaluates the model's dense twin on the same input; see predict.

        What the twin is (trained, or a baseline of cost whose outputs mean
        nothing) says model(name).dense_kind.
        """
        return self._predict(
            self._stub.PredictDense, timeout, model, array, version=version,
            labels=labels, request_id=request_id, top_k=top_k, outputs=outputs,
        )

    def predict_stream(
        self,
        model: str,
        arrays: Iterable[Inputs],
        version: int = 0,
        labels: bool = False,
        timeout: Optional[float] = None,
    ) -> Iterator[Tuple[int, Union[Prediction, ServingError]]]:
        """Evaluates many arrays over one stream, many of them in flight.

        arrays: as in predict, one request each, in one message; read as the
            server takes them. What predict would refuse ends the stream with that
            exception, but for uint8, which is a ServingError of that request.
        timeout: seconds for the whole stream; left out, none.

        Yields (position, answer) as the answers come, not in order: a
        Prediction, or the ServingError of that request alone. Raises
        ServingError when the stream itself ends badly; requests without an
        answer were then not computed. Leaving the iterator early cancels the
        rest.
        """
        refused = []

        def requests():
            try:
                for i, array in enumerate(arrays):
                    yield predict_request(
                        model, array, version, False, labels, str(i)
                    )
            except Exception as error:  # gRPC ends the call, not saying why
                refused.append(error)
                raise

        call = self._stub.PredictStream(requests(), timeout=timeout)
        try:
            for answer in call:
                yield stream_answer(answer)
        except grpc.RpcError as error:
            if refused:
                raise refused[0]
            raise serving_error(error) from error
        finally:
            call.cancel()

    def predict_ragged(
        self,
        model: str,
        sequences: Iterable,
        name: str = "input_ids",
        version: int = 0,
        timeout: Optional[float] = None,
    ) -> List[Prediction]:
        """Evaluates sequences of differing lengths over one stream.

        sequences: one array [sequence] per row, for the input `name`.

        Returns their predictions, of one row each, in order. Raises the first
        ServingError, which says whose it is; InputError for a sequence without
        tokens, and as predict.
        """
        rows = sequence_inputs(sequences, name)
        answers = dict(self.predict_stream(model, rows, version, timeout=timeout))
        return sequence_predictions(answers)

    def fill_mask(
        self, model: str, text: str, tokenizer, top_k: int = 5
    ) -> List[List[_text.Choice]]:
        """Fills every <mask> or [MASK] of a text.

        model: one that answers a score per token of the vocabulary.
        tokenizer: the path of a tokenizer.json (needs fff_client[text]) or a
            tokenizers.Tokenizer, see fff_client.text.

        Returns per mask, in the text's order, the top_k strongest tokens, best
        first: text.Choice with text, index and probability. Raises ValueError
        when the text or the vocabulary has no mask or the model answers
        something else, ImportError, and ServingError.
        """
        return _text.fill_mask(self, model, text, tokenizer, top_k)

    def classify_text(self, model: str, text: str, tokenizer) -> List[_text.Choice]:
        """Classifies a text.

        model: one that answers a score per class. tokenizer: as in fill_mask.

        Returns every class, best first: text.Choice with the label (the column
        where there is none), index and probability. Raises as fill_mask.
        """
        return _text.classify_text(self, model, text, tokenizer)

    def is_ready(
        self, model: str = "", version: int = 0, timeout: Optional[float] = None
    ) -> bool:
        """Whether the server answers predictions, of `model` where one is named.

        False where the server is not reached in time, starts or stops, or has no
        such model, or has not loaded it. Raises ServingError for other errors.
        """
        try:
            if model:
                state = self.model(model, version, timeout).summary.state
                return state == pb.MODEL_STATE_READY
            return self._call(health_check(self._channel), ANY_SERVICE, timeout)
        except ServingError as error:
            if is_not_ready(error):
                return False
            raise

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
        seconds_per_case: time budget per batch size and implementation; 0 lets
            the server choose, as with threads and seed.
        timeout: seconds for the whole run; left out, none: the server bounds it.

        Yields BenchmarkProgress messages, then one BenchmarkReport, always the
        last. Leaving the iterator early (close()) stops the run.
        """
        request = benchmark_request(
            model, batch_rows, seconds_per_case, threads, seed, version
        )
        call = self._stub.Benchmark(request, timeout=timeout, metadata=self._admin)
        try:
            for response in call:
                kind = response.WhichOneof("kind")
                if kind is not None:
                    yield getattr(response, kind)
        except grpc.RpcError as error:
            raise serving_error(error) from error
        finally:
            call.cancel()

    def _predict(self, method, timeout, model, array, **said) -> Prediction:
        """Runs an exchange; the timeout is that of all its messages together."""
        deadline = Deadline(self._timeout if timeout is None else timeout)
        talk = exchange(model, array, **said)
        try:
            request = next(talk)
            while True:
                is_question = isinstance(request, pb.GetModelRequest)
                asked = self._stub.GetModel if is_question else method
                try:
                    response = self._call(asked, request, deadline.left())
                except ServingError as error:
                    request = talk.throw(error)
                else:
                    request = talk.send(response)
        except StopIteration as end:
            return end.value

    def _call(self, method, request, timeout, metadata=()):
        timeout = self._timeout if timeout is None else timeout
        try:
            return method(request, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise serving_error(error) from error
