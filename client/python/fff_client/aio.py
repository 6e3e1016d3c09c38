"""The client of fff.v1.InferenceService for asyncio.

    from fff_client import AsyncClient
    async with AsyncClient("127.0.0.1:8001") as client:
        prediction = await client.predict("fashion-mnist", images)
"""

import asyncio
from typing import AsyncIterable, AsyncIterator, Iterable, List, Optional
from typing import Sequence, Tuple, Union

import grpc
import grpc.aio

from . import text as _text
from .client import CHANNEL_OPTIONS, admin_metadata
from .connection import ANY_SERVICE, health_check, is_not_ready, target_of
from .errors import InputError, ServingError, serving_error
from .exchange import Deadline, exchange
from .messages import (
    Inputs,
    Prediction,
    benchmark_request,
    pb,
    pb_grpc,
    predict_request,
    sequence_inputs,
    sequence_predictions,
    stream_answer,
)

__all__ = ["AsyncClient", "InputError", "ServingError"]


class AsyncClient:
    """A connection to one server, for any number of tasks of one event loop.

    The arguments and methods are those of fff_client.Client, and so are arrays,
    answers, deadlines and errors; the methods are awaited. Cancelling the task
    that awaits a call cancels the call in the server.

    target: "host:port" of the server's gRPC port; left out, the environment
        variable FFF_SERVER, or else 127.0.0.1:8001.
    credentials: grpc.ChannelCredentials for TLS; None for plain text.
    timeout: seconds a call may take when the call names no other; None waits
        without end.
    admin_token: shown with load_model, unload_model and benchmark.

    The connection is made by the first call and belongs to the event loop that
    runs then. Close it with `await client.close()` or use `async with`. Every
    method raises ServingError when the server refuses or cannot be reached.
    """

    def __init__(
        self,
        target: Optional[str] = None,
        credentials: Optional[grpc.ChannelCredentials] = None,
        timeout: Optional[float] = 30.0,
        admin_token: Optional[str] = None,
    ):
        self._target = target_of(target)
        self._credentials = credentials
        self._timeout = timeout
        self._admin = admin_metadata(admin_token)
        self._channel = None
        self._stub = None
        self._closed = False

    def __repr__(self) -> str:
        return f"AsyncClient({self._target!r})"

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; calls that are under way are cancelled.

        Calls from then on raise ValueError.
        """
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def predict(
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

        array: real numbers [rows, *model input shape] or one row, rounded to
            float32; or a dict of arrays [rows, ..] by input name, sent as they
            are. All arguments are those of Client.predict.
        timeout: seconds; left out, the client's.

        Returns a Prediction with output float32 [rows, *model output shape].
        Raises InputError for an array that cannot be sent, and ServingError.
        """
        return await self._predict(
            "Predict", timeout, model, array, version=version, routing=routing,
            labels=labels, request_id=request_id, top_k=top_k, outputs=outputs,
        )

    async def predict_dense(
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
        """Evaluates the model's dense twin on the same input; see predict."""
        return await self._predict(
            "PredictDense", timeout, model, array, version=version, labels=labels,
            request_id=request_id, top_k=top_k, outputs=outputs,
        )

    async def predict_stream(
        self,
        model: str,
        arrays: Union[Iterable[Inputs], AsyncIterable[Inputs]],
        version: int = 0,
        labels: bool = False,
        timeout: Optional[float] = None,
    ) -> AsyncIterator[Tuple[int, Union[Prediction, ServingError]]]:
        """Evaluates many arrays over one stream, many of them in flight.

        arrays: as in predict, one request each, in one message, from an iterable
            or an asynchronous one; read as the server takes them. What predict
            would refuse ends the stream with that exception, but for uint8, which
            is a ServingError of that request.
        timeout: seconds for the whole stream; left out, none.

        Yields (position, answer) as the answers come, not in order: a
        Prediction, or the ServingError of that request alone. Raises
        ServingError when the stream itself ends badly; requests without an
        answer were then not computed. Close the generator (aclose(), or
        contextlib.aclosing) to cancel the rest.
        """
        refused = []

        async def requests():
            try:
                i = 0
                async for array in _each(arrays):
                    yield predict_request(model, array, version, False, labels, str(i))
                    i += 1
            except Exception as error:  # gRPC ends the call, not saying why
                refused.append(error)
                raise

        call = self._open().PredictStream(requests(), timeout=timeout)
        try:
            async for answer in call:
                yield stream_answer(answer)
        except grpc.RpcError as error:
            if refused:
                raise refused[0]
            raise serving_error(error) from error
        except asyncio.CancelledError:
            if refused:  # gRPC has cancelled the call, not somebody this task
                raise refused[0]
            raise
        finally:
            call.cancel()

    async def predict_ragged(
        self,
        model: str,
        sequences: Iterable,
        name: str = "input_ids",
        version: int = 0,
        timeout: Optional[float] = None,
    ) -> List[Prediction]:
        """Evaluates sequences of differing lengths over one stream.

        sequences: one array [sequence] per row, for the input `name`.

        Returns their predictions, of one row each, in order. Raises as
        Client.predict_ragged.
        """
        rows = sequence_inputs(sequences, name)
        stream = self.predict_stream(model, rows, version, timeout=timeout)
        return sequence_predictions({i: answer async for i, answer in stream})

    async def fill_mask(
        self, model: str, text: str, tokenizer, top_k: int = 5
    ) -> List[List[_text.Choice]]:
        """Fills every <mask> or [MASK] of a text; see Client.fill_mask."""
        question = _text.MaskQuestion(model, text, tokenizer)
        inputs = question.inputs(await self.model(model))
        answer = await self.predict(model, inputs)
        return question.choices(answer.output, top_k)

    async def classify_text(
        self, model: str, text: str, tokenizer
    ) -> List[_text.Choice]:
        """Classifies a text; see Client.classify_text."""
        question = _text.ClassQuestion(model, text, tokenizer)
        inputs = question.inputs(await self.model(model))
        answer = await self.predict(model, inputs)
        return question.choices(answer.output)

    async def is_ready(
        self, model: str = "", version: int = 0, timeout: Optional[float] = None
    ) -> bool:
        """Whether the server answers predictions, of `model` where one is named;
        see Client.is_ready."""
        try:
            if model:
                described = await self.model(model, version, timeout)
                return described.summary.state == pb.MODEL_STATE_READY
            return await self._call("is_ready", ANY_SERVICE, timeout)
        except ServingError as error:
            if is_not_ready(error):
                return False
            raise

    async def models(
        self, timeout: Optional[float] = None
    ) -> List["pb.ModelSummary"]:
        """Lists every model of the repository, loaded or not, twins included."""
        answer = await self._call("ListModels", pb.ListModelsRequest(), timeout)
        return list(answer.models)

    async def model(
        self, name: str, version: int = 0, timeout: Optional[float] = None
    ) -> "pb.GetModelResponse":
        """Describes one model: shapes, labels, layers, kernels, dense twin."""
        request = pb.GetModelRequest(model=name, version=version)
        return await self._call("GetModel", request, timeout)

    async def load_model(
        self, name: str, version: int = 0, timeout: Optional[float] = None
    ) -> List["pb.ModelSummary"]:
        """Loads a model from the server's repository; see Client.load_model."""
        request = pb.LoadModelRequest(model=name, version=version)
        answer = await self._call("LoadModel", request, timeout, self._admin)
        return list(answer.models)

    async def unload_model(
        self, name: str, version: int = 0, timeout: Optional[float] = None
    ) -> List["pb.ModelSummary"]:
        """Takes a model, or one version, out of service; see
        Client.unload_model."""
        request = pb.UnloadModelRequest(model=name, version=version)
        answer = await self._call("UnloadModel", request, timeout, self._admin)
        return list(answer.models)

    async def benchmark(
        self,
        model: str,
        batch_rows: Sequence[int] = (),
        seconds_per_case: float = 0.0,
        threads: int = 0,
        seed: int = 0,
        version: int = 0,
        timeout: Optional[float] = None,
    ) -> AsyncIterator[Union["pb.BenchmarkProgress", "pb.BenchmarkReport"]]:
        """Measures FFF against dense on the serving machine.

        The arguments are those of Client.benchmark. Yields BenchmarkProgress
        messages, then one BenchmarkReport. Closing the generator early
        (aclose()) stops the run.
        """
        request = benchmark_request(
            model, batch_rows, seconds_per_case, threads, seed, version
        )
        stub = self._open()
        call = stub.Benchmark(request, timeout=timeout, metadata=self._admin)
        try:
            async for response in call:
                kind = response.WhichOneof("kind")
                if kind is not None:
                    yield getattr(response, kind)
        except grpc.RpcError as error:
            raise serving_error(error) from error
        finally:
            call.cancel()

    def _open(self):
        """The stub; the channel is made in the loop that is to run its calls."""
        if self._closed:
            raise ValueError("the client is closed")
        if self._stub is None:
            self._channel = (
                grpc.aio.insecure_channel(self._target, CHANNEL_OPTIONS)
                if self._credentials is None
                else grpc.aio.secure_channel(
                    self._target, self._credentials, CHANNEL_OPTIONS
                )
            )
            self._stub = pb_grpc.InferenceServiceStub(self._channel)
            self._stub.is_ready = health_check(self._channel)
        return self._stub

    async def _predict(self, method, timeout, model, array, **said) -> Prediction:
        """Runs an exchange; the timeout is that of all its messages together."""
        deadline = Deadline(self._timeout if timeout is None else timeout)
        talk = exchange(model, array, **said)
        try:
            request = next(talk)
            while True:
                is_question = isinstance(request, pb.GetModelRequest)
                asked = "GetModel" if is_question else method
                try:
                    response = await self._call(asked, request, deadline.left())
                except ServingError as error:
                    request = talk.throw(error)
                else:
                    request = talk.send(response)
        except StopIteration as end:
            return end.value

    async def _call(self, method, request, timeout, metadata=()):
        timeout = self._timeout if timeout is None else timeout
        call = getattr(self._open(), method)
        try:
            return await call(request, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise serving_error(error) from error


async def _each(items):
    if hasattr(items, "__aiter__"):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
