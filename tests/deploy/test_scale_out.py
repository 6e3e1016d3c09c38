"""Three servers on hosts of their own behind one name: spread evenly, restarted
one after the other under load, and no call fails."""

import time

import grpc
import pytest

import paths  # noqa: F401
import fff_api
from load import Load
from scale import CLIENT_OPTIONS, Envoy, Haproxy, NameServer, Replica

REPLICAS = 3
# Longer than it takes a balancer to look away: 1 s for two checks of a proxy, on a
# busy machine too.
DRAIN = ("--drain-delay=5", "--drain-timeout=30")


@pytest.fixture(scope="module")
def replicas(network):
    started = [Replica(network.add_host(), *DRAIN) for _ in range(REPLICAS)]
    yield started
    for replica in started:
        replica.process.terminate()
    codes = [replica.stop() for replica in started]
    assert codes == [0] * REPLICAS


@pytest.fixture
def name_server(network, replicas, tmp_path):
    server = NameServer(network.add_host(), tmp_path, replicas)
    yield server
    server.stop()


@pytest.fixture(params=[Haproxy, Envoy], ids=["haproxy", "envoy"])
def proxy(request, network, replicas, tmp_path):
    server = request.param(network.add_host(), replicas, tmp_path)
    yield server
    server.stop()


def load_on(target, options=()):
    return Load(target, threads=4, rows=(1, 16), pause=0.005, options=options)


def shares(replicas, load, calls):
    """Share of the next calls that each replica answers."""
    before = [replica.calls() for replica in replicas]
    load.await_calls(calls)
    more = [replica.calls() - old for replica, old in zip(replicas, before)]
    return [count / sum(more) for count in more]


def await_calls_of(replica):
    """Returns when the replica is being used: its balancer has seen it."""
    goal = replica.calls() + 5
    deadline = time.monotonic() + 60
    while replica.calls() < goal:
        assert time.monotonic() < deadline, "a server that is back gets no calls"
        time.sleep(0.1)  # between two looks; the deadline decides


def restart_one_by_one(replicas, load):
    """As a rolling update does: the next goes when its forerunner serves again."""
    for replica in replicas:
        assert replica.stop() == 0
        load.await_calls(50)
        replica.start()
        await_calls_of(replica)
        load.await_calls(100)


def check_no_call_failed(load):
    print(f"{load.calls} calls, {load.failed} failed")
    assert load.failed == 0, load.failures[:5]
    assert load.codes[grpc.StatusCode.OK] == load.calls


def test_dns_round_robin_spreads_calls_over_all_servers(name_server, replicas):
    with load_on(name_server.target, CLIENT_OPTIONS) as load:
        for replica in replicas:
            await_calls_of(replica)  # its connection may come last
        found = shares(replicas, load, 300)
    print("shares:", [f"{share:.0%}" for share in found])
    assert min(found) > 0.2, found
    check_no_call_failed(load)


def test_dns_rolling_restart_fails_no_call(name_server, replicas):
    with load_on(name_server.target, CLIENT_OPTIONS) as load:
        load.await_calls(50)
        restart_one_by_one(replicas, load)
        load.await_calls(100)
    check_no_call_failed(load)


def test_dns_client_leaves_a_killed_server_out(network, name_server, replicas, tmp_path):
    """kill -9 breaks the calls under way on it; every one after that succeeds."""
    extra = Replica(network.add_host(), *DRAIN)
    name_server.publish([*replicas, extra])
    with load_on(name_server.target, CLIENT_OPTIONS) as load:
        await_calls_of(extra)
        extra.process.kill()
        extra.process.wait()
        load.await_calls(200)
        assert load.failed <= 4, "at most one a caller"
        before = load.failed
        load.await_calls(200)
        assert load.failed == before


def test_proxy_spreads_the_calls_of_one_channel(proxy, replicas):
    with load_on(proxy.target) as load:
        for replica in replicas:
            await_calls_of(replica)  # its connection may come last
        found = shares(replicas, load, 300)
    print("shares:", [f"{share:.0%}" for share in found])
    assert min(found) > 0.15, found
    check_no_call_failed(load)


def test_proxy_rolling_restart_fails_no_call(proxy, replicas):
    with load_on(proxy.target) as load:
        load.await_calls(50)
        restart_one_by_one(replicas, load)
        load.await_calls(100)
    check_no_call_failed(load)


def test_proxy_needs_but_one_of_its_servers(proxy, replicas):
    with load_on(proxy.target) as load:
        load.await_calls(50)
        for replica in replicas[1:]:
            assert replica.stop() == 0
        load.await_calls(300)
        for replica in replicas[1:]:
            replica.start()
            await_calls_of(replica)
    check_no_call_failed(load)


def test_proxy_hides_a_killed_server_from_clients_that_retry(proxy, replicas):
    """What was under way on it is sent again, by the proxy or by the client's policy."""
    with load_on(proxy.target, CLIENT_OPTIONS) as load:
        for _ in range(3):
            load.await_calls(100)
            killed = replicas[1]
            killed.process.kill()
            killed.process.wait()
            load.await_calls(200)
            killed.start()
            await_calls_of(killed)
    check_no_call_failed(load)


@pytest.mark.parametrize("kind", [Haproxy, Envoy])
def test_proxy_loses_no_call_when_its_connections_end_of_age(network, tmp_path, kind):
    """The manifests end them every 10 s; here it is 30 times in this test."""
    aging = [Replica(network.add_host(), *DRAIN, "--max-connection-age=200ms")
             for _ in range(2)]
    proxy = kind(network.add_host(), aging, tmp_path)
    with load_on(proxy.target) as load:
        load.await_calls(50)
        began = time.monotonic()
        while time.monotonic() < began + 6:
            load.await_calls(50)
    proxy.stop()
    assert [replica.stop() for replica in aging] == [0, 0]
    check_no_call_failed(load)


def test_envoy_passes_no_call_on_that_administers(network, replicas, tmp_path):
    proxy = Envoy(network.add_host(), replicas, tmp_path)
    api = fff_api.Api(proxy.target)
    request = fff_api.oip.RepositoryModelUnloadRequest(model_name="fashion-mnist")
    with pytest.raises(grpc.RpcError) as refused:
        api.oip.RepositoryModelUnload(request, timeout=60)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert api.oip.ModelReady(fff_api.oip.ModelReadyRequest(name="fashion-mnist"),
                              timeout=60).ready
    api.close()
    proxy.stop()


def test_plain_channel_stays_on_one_server(name_server, replicas):
    """Why a client has to ask for round_robin: pick_first is gRPC's default."""
    with load_on(name_server.target) as load:
        load.await_calls(50)
        found = shares(replicas, load, 100)
    assert max(found) == 1
