"""The Python client for asyncio with a real server: values, deadlines, cancelled calls."""

import asyncio

import numpy as np
import pytest

import conftest
from fff_api import grpc
from server_process import ServerProcess
from test_metrics import scrape, total
from test_sequence_clients import fff_client  # noqa: F401, the fixture

CASE = "sapient-128x64"
SECONDS_MAX = 60
# Alone in its batch a request waits as long, unless it is cancelled.
QUEUE_DELAY_US = 5_000_000


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """One that answers at once, and one that waits for more rows."""
    checkpoint = conftest.REFERENCE / "vectors" / CASE / "model.safetensors"
    prompt, patient = (tmp_path_factory.mktemp(name) for name in ("prompt", "patient"))
    conftest.add_model(prompt, "m", checkpoint)
    conftest.add_model(patient, "m", checkpoint,
                       batching={"max_queue_delay_us": QUEUE_DELAY_US})
    with ServerProcess(prompt) as first, ServerProcess(patient) as second:
        yield first, second


@pytest.fixture
def rows():
    return conftest.copied_vector(CASE)["x"]


def run(fff_client, server, function):
    async def main():
        async with fff_client.AsyncClient(server.target) as client:
            return await asyncio.wait_for(function(client), SECONDS_MAX)

    return asyncio.run(main())


def test_gathered_and_streamed_answers_are_those_of_the_client(servers, fff_client, rows):
    async def ask(client):
        gathered = await asyncio.gather(*(
            client.predict("m", row, routing=True) for row in rows))
        streamed = {i: answer async for i, answer in client.predict_stream("m", rows)}
        return gathered, [streamed[i] for i in range(len(rows))], await client.model("m")

    gathered, streamed, described = run(fff_client, servers[0], ask)
    with fff_client.Client(servers[0].target) as client:
        wanted = client.predict("m", rows, routing=True)
    for answers in (gathered, streamed):
        np.testing.assert_allclose(np.concatenate([a.output for a in answers]),
                                   wanted.output, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(
        np.concatenate([a.routing[0].leaf for a in gathered]), wanted.routing[0].leaf)
    assert list(described.input.shape) == [rows.shape[1]]


def test_one_request_of_many_may_fail(servers, fff_client, rows):
    async def ask(client):
        return await asyncio.gather(
            client.predict("m", rows), client.predict("nobody", rows),
            client.predict("m", rows[:, :5]), client.predict("m", [["text"]]),
            return_exceptions=True)

    good, unknown, narrow, text = run(fff_client, servers[0], ask)
    assert good.output.shape[0] == len(rows)
    assert unknown.code == grpc.StatusCode.NOT_FOUND
    assert narrow.code == grpc.StatusCode.INVALID_ARGUMENT
    assert isinstance(text, fff_client.InputError)


def test_a_deadline_that_is_over_ends_the_call(servers, fff_client, rows):
    async def ask(client):
        await client.predict("m", rows[:1], timeout=0)

    with pytest.raises(fff_client.ServingError) as error:
        run(fff_client, servers[0], ask)
    assert error.value.code == grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_cancelled_task_cancels_its_call_in_the_server(servers, fff_client, rows):
    def now(metric, **labels):
        return total(scrape(servers[1])[0], metric, **labels)

    async def ask(client):
        task = asyncio.create_task(client.predict("m", rows[:1]))
        while not now("fff_queue_rows"):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while not now("fff_requests_total"):
            await asyncio.sleep(0)
        assert now("fff_requests_total", code="CANCELLED") == 1

    run(fff_client, servers[1], ask)


def test_other_libraries_tensors_are_answered(servers, fff_client, rows):
    torch = pytest.importorskip("torch", reason="no torch")
    tensor = torch.tensor(rows, dtype=torch.bfloat16, requires_grad=True)

    async def ask(client):
        return (await client.predict("m", tensor),
                await client.predict("m", tensor.detach().float().numpy()))

    ours, wanted = run(fff_client, servers[0], ask)
    np.testing.assert_array_equal(ours.output, wanted.output)
