"""The client for asyncio against a server in this process."""

import asyncio
import concurrent.futures
import threading

import grpc
import numpy as np
import pytest

from fff_client import AsyncClient, InputError, ServingError
from fff_client.client import Client, pb, pb_grpc
from test_client import FakeService, answer
from test_text import StandIn
from words_service import WordsService, serving

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)
SECONDS_MAX = 60  # only what hangs takes as long


class Service(FakeService):
    """Also holds calls until it lets them go, and knows which were cancelled."""

    def __init__(self):
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.everybody_is_in = threading.Barrier(4)

    def Predict(self, request, context):
        if request.model == "held":
            context.add_callback(self.cancelled.set)
            self.entered.release()
            self.cancelled.wait(SECONDS_MAX)
        if request.model == "together":
            self.everybody_is_in.wait(SECONDS_MAX)
        return super().Predict(request, context)

    def PredictStream(self, requests, context):
        context.add_callback(self.cancelled.set)
        self.entered.release()
        for i, request in enumerate(requests):
            if request.model == "one":
                yield pb.PredictStreamResponse(
                    request_id=request.request_id,
                    response=answer(request, pb.IMPLEMENTATION_FFF))
                continue
            if i == 0 and request.model != "m":
                context.abort(grpc.StatusCode.UNAVAILABLE, "shutting down")
            yield from super().PredictStream([request], context)


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def address(service):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    pb_grpc.add_InferenceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture
def run(address):
    """Runs an async function of a client, in an event loop of its own."""
    def runs(function, **options):
        async def main():
            async with AsyncClient(address, **options) as client:
                return await asyncio.wait_for(function(client), SECONDS_MAX)

        return asyncio.run(main())

    return runs


def test_it_has_every_method_of_the_client():
    public = {name for name in vars(Client) if not name.startswith("_")}
    assert public == {n for n in vars(AsyncClient) if not n.startswith("_")}


def test_predict_and_its_twin_answer_as_the_client_does(run, service):
    async def ask(client):
        return (await client.predict("m", ROWS.astype(">f8"), version=5, routing=True,
                                     request_id="r1"),
                await client.predict_dense("m", ROWS, labels=True))

    fff, dense = run(ask)
    np.testing.assert_array_equal(fff.output, 2 * ROWS)
    assert (fff.model, fff.version, fff.request_id) == ("m", 5, "r1")
    assert fff.routing[0].leaf.tolist() == [[0], [3]]
    assert dense.implementation == "dense" and dense.labels == ("bag", "bag")


def test_calls_of_many_tasks_are_under_way_at_once(run):
    async def ask(client):
        return await asyncio.gather(*(
            client.predict("together", ROWS + i) for i in range(4)))

    for i, prediction in enumerate(run(ask)):
        np.testing.assert_array_equal(prediction.output, 2 * (ROWS + i))


def test_cancelling_the_task_cancels_the_call_in_the_server(run, service):
    async def ask(client):
        task = asyncio.create_task(client.predict("held", ROWS, timeout=None))
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, service.entered.acquire)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await loop.run_in_executor(None, service.cancelled.wait, SECONDS_MAX)

    assert run(ask)


def test_errors_have_the_servers_code_and_words(run, address):
    async def nowhere(client):
        await client.predict("nowhere", ROWS)

    with pytest.raises(ServingError, match="NOT_FOUND: no model nowhere") as error:
        run(nowhere)
    assert error.value.code == grpc.StatusCode.NOT_FOUND
    assert error.value.details == "no model nowhere; there is: m"


def test_a_deadline_ends_the_call(run):
    async def named(client):
        await client.predict("slow", ROWS, timeout=0.05)

    async def of_the_client(client):
        await client.predict("slow", ROWS)

    for function, options in [(named, {}), (of_the_client, {"timeout": 0.05})]:
        with pytest.raises(ServingError) as error:
            run(function, **options)
        assert error.value.code == grpc.StatusCode.DEADLINE_EXCEEDED


def test_an_unreachable_server_is_unavailable():
    async def ask():
        async with AsyncClient("127.0.0.1:1", timeout=SECONDS_MAX) as client:
            await client.models()

    with pytest.raises(ServingError) as error:
        asyncio.run(ask())
    assert error.value.code == grpc.StatusCode.UNAVAILABLE


def test_what_cannot_be_sent_is_refused_before_the_call(run, service):
    async def ask(client):
        await client.predict("m", [[1.0, None]])

    with pytest.raises(InputError, match="input: got"):
        run(ask)
    assert service.request is None


def test_a_stream_takes_both_kinds_of_iterables(run):
    arrays = [np.full((i, 3), i, np.float32) for i in (1, 2, 3)]

    async def slowly():
        for array in arrays:
            yield array

    async def ask(client):
        return [{i: got async for i, got in client.predict_stream("m", source)}
                for source in (arrays, iter(arrays), slowly())]

    for answers in run(ask):
        np.testing.assert_array_equal(answers[0].output, 2 * arrays[0])
        np.testing.assert_array_equal(answers[2].output, 2 * arrays[2])
        assert answers[1].code == grpc.StatusCode.INVALID_ARGUMENT


def test_answers_come_while_requests_are_still_made(run):
    async def ask(client):
        answered = asyncio.Event()

        async def second_after_the_first_answer():
            yield ROWS
            await answered.wait()
            yield ROWS

        seen = []
        async for i, _ in client.predict_stream("one", second_after_the_first_answer()):
            seen.append(i)
            answered.set()
        return seen

    assert run(ask) == [0, 1]


def test_a_stream_that_ends_badly_raises(run):
    async def ask(client):
        async for _ in client.predict_stream("ends", [ROWS]):
            pass

    with pytest.raises(ServingError) as error:
        run(ask)
    assert error.value.code == grpc.StatusCode.UNAVAILABLE


def test_what_predict_refuses_ends_a_stream_with_the_same_error(run):
    async def ask(client):
        async for _ in client.predict_stream("one", [ROWS, [["text"]]]):
            pass

    with pytest.raises(InputError, match="text"):
        run(ask)


def test_leaving_a_stream_early_cancels_it_in_the_server(run, service):
    async def ask(client):
        async def endless():
            while True:
                yield ROWS

        stream = client.predict_stream("one", endless())
        await stream.__anext__()
        await stream.aclose()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, service.cancelled.wait, SECONDS_MAX)

    assert run(ask)


def test_cancelling_the_task_of_a_stream_cancels_it(run, service):
    async def ask(client):
        async def never():
            await asyncio.Event().wait()
            yield ROWS

        async def read():
            async for _ in client.predict_stream("one", never()):
                pass

        task = asyncio.create_task(read())
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, service.entered.acquire)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await loop.run_in_executor(None, service.cancelled.wait, SECONDS_MAX)

    assert run(ask)


def test_models_are_listed_described_loaded_and_unloaded(run, service):
    async def ask(client):
        names = [model.name for model in await client.models()]
        described = await client.model("m", version=2)
        assert service.request.version == 2
        (loaded,) = await client.load_model("m", version=3)
        assert service.metadata["authorization"] == "Bearer s3cret"
        (unloaded,) = await client.unload_model("m")
        return names, described, loaded, unloaded

    names, described, loaded, unloaded = run(ask, admin_token="s3cret")
    assert names == ["m", "m:dense"] and described.max_batch_rows == 7
    assert loaded.name == "m" and unloaded.state == pb.MODEL_STATE_UNLOADED


def test_a_load_that_fails_raises_and_no_token_is_sent_unasked(run, service):
    async def ask(client):
        await client.load_model("bad")

    with pytest.raises(ServingError, match="header is cut"):
        run(ask)
    assert "authorization" not in service.metadata


def test_a_benchmark_yields_progress_then_the_report(run, service):
    async def ask(client):
        return [m async for m in client.benchmark("m", batch_rows=[1, 16], threads=2)]

    messages = run(ask)
    assert [m.done for m in messages[:-1]] == [0, 1]
    assert isinstance(messages[-1], pb.BenchmarkReport)
    assert list(service.request.batch_rows) == [1, 16]


def test_a_refused_benchmark_raises_and_leaving_one_cancels_it(run, service):
    async def busy(client):
        return [m async for m in client.benchmark("busy")]

    with pytest.raises(ServingError, match="another one runs"):
        run(busy)
    service.cancelled.clear()

    async def leave(client):
        progress = client.benchmark("endless")
        await progress.__anext__()
        await progress.aclose()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, service.cancelled.wait, SECONDS_MAX)

    assert run(leave)


def test_a_closed_client_says_so(address):
    async def ask():
        client = AsyncClient(address)
        await client.models()
        await client.close()
        with pytest.raises(ValueError, match="closed"):
            await client.models()

    asyncio.run(ask())


def test_a_client_may_be_made_before_its_loop_runs(address):
    client = AsyncClient(address)

    async def ask():
        async with client:
            return await client.predict("m", ROWS)

    np.testing.assert_array_equal(asyncio.run(ask()).output, 2 * ROWS)


def test_text_and_sequences_answer_as_the_client_does():
    async def ask(address):
        async with AsyncClient(address) as client:
            ragged = await client.predict_ragged("words", [[1, 2, 3], [4]])
            masks = await client.fill_mask("words", "the <mask> sat", StandIn())
            assert await client.fill_mask("picked", "the <mask> sat", StandIn()) == masks
            classes = await client.classify_text("classes", "the cat", StandIn())
            with pytest.raises(ServingError, match="sequence 1: input_ids:"):
                await client.predict_ragged("words", [[1, 2], [0.5]])
            with pytest.raises(ValueError, match="sequence 1 is empty"):
                await client.predict_ragged("words", [[1, 2], []])
            with pytest.raises(ValueError, match="at least one"):
                await client.fill_mask("words", "the sat", StandIn())
            return ragged, masks, classes

    with serving(WordsService()) as address:
        ragged, masks, classes = asyncio.run(ask(address))
        with Client(address) as client:
            assert masks == client.fill_mask("words", "the <mask> sat", StandIn())
    assert [p.output.shape[1] for p in ragged] == [3, 1]
    assert classes[0].text == "good"
