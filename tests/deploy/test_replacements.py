"""Pods that are replaced while clients call, with the manifests as they are: no call
of any client is lost, every answer is right, and new pods are found."""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

import paths  # noqa: F401
import fff_api
from cluster import DNS_TTL, RESOLVER_PAUSE, TIME_SCALE, Cluster, emulated_sleep
from scale import CLIENT_OPTIONS

ROUND_ROBIN = {"loadBalancingConfig": [{"round_robin": {}}]}
# Kind of client -> its options, and the method it calls: servers count calls by
# method, so that their counters tell the kinds apart.
KINDS = {
    "README's config": (CLIENT_OPTIONS, "Predict"),
    "round_robin": ([("grpc.service_config", json.dumps(ROUND_ROBIN))], "PredictDense"),
    "plain": ([], "ModelInfer"),
}
# What deploy/README.md tells clients to set against machines that die.
KEEPALIVE = [("grpc.keepalive_time_ms", 10000), ("grpc.keepalive_timeout_ms", 5000)]
KEEPALIVE_SECONDS = 15
HEADLESS = ["README's config", "round_robin"]
# Of the requests; different numbers, so that no answer fits another request.
ROWS = (1, 16, 1, 3)


class Client:
    """caller.py on a host."""

    def __init__(self, kind, host, target, answers, *, more_options=(), deadline=10):
        options, method = KINDS[kind]
        pause = RESOLVER_PAUSE * TIME_SCALE * 1000
        settings = {"target": target, "method": method, "answers": str(answers[method]),
                    "options": [*options, *more_options,
                                ("grpc.dns_min_time_between_resolutions_ms",
                                 round(pause))],
                    "channels": 2, "pause": 0.01, "deadline": deadline}
        self._process = subprocess.Popen(
            host.command(sys.executable, "-B", paths.SOURCE / "tests/deploy/caller.py",
                         json.dumps(settings)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def report(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def stop(self):
        self._process.stdin.close()
        assert self._process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def answers(server, tmp_path_factory):
    """Method -> file of requests and answers, those of a server that stays."""
    api, random = fff_api.Api(server.target), np.random.default_rng(3)
    directory = tmp_path_factory.mktemp("answers")
    files = {}
    for _, method in KINDS.values():
        arrays = {}
        for i, rows in enumerate(ROWS):
            x = random.uniform(-1, 1, (rows, 784)).astype(np.float32)
            reply = (api.infer("fashion-mnist", x) if method == "ModelInfer" else
                     api.predict("fashion-mnist", x, dense=method == "PredictDense"))
            arrays[f"x{i}"], arrays[f"y{i}"] = x, fff_api.output_of(reply)
        files[method] = directory / f"{method}.npz"
        np.savez(files[method], **arrays)
    api.close()
    return files


@pytest.fixture(scope="module")
def cluster(network, tmp_path_factory):
    running = Cluster(network, tmp_path_factory.mktemp("cluster"))
    yield running
    running.stop()
    assert set(running.exit_codes) == {0}, "a pod had to be killed"


@pytest.fixture(scope="module")
def clients(network, cluster, answers):
    started = {kind: Client(kind, network.add_host(), cluster.headless_target, answers)
               for kind in HEADLESS}
    started["plain"] = Client("plain", cluster.add_client_host(),
                              cluster.service_target, answers)
    await_known(cluster)
    yield started
    for client in started.values():
        client.stop()


def known_within(cluster):
    """Seconds in which a client of the headless service learns of a change: what the
    cache may still hold, and its oldest connection's end, which makes it ask."""
    return (DNS_TTL + max(RESOLVER_PAUSE, cluster.manifest.connection_age * 1.1)
            ) * TIME_SCALE + 2


def await_known(cluster, kinds=tuple(HEADLESS)):
    """Waits until every pod answers clients of these kinds, or that is overdue.
    Returns the time that it took for each kind's first call on the last pod."""
    newest, taken = cluster.pods[-1], {}
    waiting = {(pod, kind) for pod in cluster.pods for kind in kinds}
    while waiting and time.monotonic() < newest.ready_at + known_within(cluster):
        for pod, kind in list(waiting):
            if pod.calls(KINDS[kind][1]) > 0:
                waiting.remove((pod, kind))
                if pod is newest:
                    taken[kind] = time.monotonic() - newest.ready_at
        time.sleep(0.05)  # between two looks
    return taken


def check_nothing_lost(cluster, clients, action):
    """Tells of an action that has just been carried out."""
    await_known(cluster)
    cluster.settle()
    emulated_sleep(5)  # what comes after the last pod has gone
    reports = tell(action, clients)
    assert all(told["calls"] > 100 and told["wrong"] == 0 for told in reports.values())
    assert not any(told["lost"] for told in reports.values())


def tell(action, clients):
    """Kind -> report of what happened since the last one; printed, too."""
    reports = {kind: client.report() for kind, client in clients.items()}
    for kind, told in reports.items():
        print(f"{action}, {kind}: {told['calls']} calls, "
              f"{sum(told['lost'].values())} lost {told['lost']}, {told['wrong']} wrong, "
              f"no answer for {told['gap']:.2f} s {set(told['messages'])}")
    return reports


def test_rolling_update_loses_no_call(cluster, clients):
    cluster.rolling_update()
    check_nothing_lost(cluster, clients, "rolling update")


def empty(_):
    """The volume was never filled."""


def one_level_too_high(volume):
    shutil.copytree(paths.DEMO_MODELS, volume / "models")


def broken(volume):
    """A checkpoint of which half has arrived."""
    shutil.copytree(paths.DEMO_MODELS, volume, dirs_exist_ok=True)
    checkpoint = volume / "fashion-mnist" / "1" / "model.safetensors"
    os.truncate(checkpoint, checkpoint.stat().st_size // 2)


@pytest.mark.parametrize("fill", [empty, one_level_too_high, broken])
def test_an_update_to_pods_without_their_models_stops_and_loses_no_call(
        cluster, clients, tmp_path, fill):
    fill(tmp_path)
    assert not cluster.try_update(tmp_path, seconds=3)
    check_nothing_lost(cluster, clients, f"update with a volume that is {fill.__name__}")


def test_an_update_to_pods_with_their_models_goes_on(cluster, tmp_path):
    """So that the one above stops for the reason it names."""
    shutil.copytree(paths.DEMO_MODELS, tmp_path, dirs_exist_ok=True)
    assert cluster.try_update(tmp_path, seconds=60)


def test_deleting_all_pods_at_once_loses_no_call(cluster, clients):
    cluster.delete_all()
    check_nothing_lost(cluster, clients, "delete")


def test_draining_one_node_after_the_other_loses_no_call(cluster, clients):
    cluster.drain("node-1")
    emulated_sleep(15)
    cluster.drain("node-2")
    check_nothing_lost(cluster, clients, "drain")


def test_scaling_up_and_down_loses_no_call_and_new_pods_are_found(cluster, clients):
    cluster.scale(cluster.manifest.replicas + 1)
    taken = await_known(cluster)
    for kind, seconds in taken.items():
        print(f"scale, {kind}: first call on the new pod after "
              f"{seconds / TIME_SCALE:.1f} s")
    cluster.scale(cluster.manifest.replicas)
    check_nothing_lost(cluster, clients, "scale")
    assert set(taken) == set(HEADLESS), f"{taken}, else not in {known_within(cluster)} s"


def test_a_dead_machine_costs_clients_with_keepalive_time_but_no_call(
        network, cluster, clients, answers):
    """Its connections just fall silent. Calls on them wait until keepalive ends the
    connection; the retry policy sends them again."""
    careful = Client("README's config", network.add_host(), cluster.headless_target,
                     answers, more_options=KEEPALIVE, deadline=2 * KEEPALIVE_SECONDS)
    while careful.report()["calls"] < 20:
        time.sleep(0.2)  # between two looks
    cut_at = time.monotonic()
    cluster.lose(cluster.pods[0])
    await_known(cluster)
    time.sleep(max(0.0, cut_at + KEEPALIVE_SECONDS + 5 - time.monotonic()))
    reports = tell("node loss", {**clients, "with keepalive": careful})
    careful.stop()
    told = reports.pop("with keepalive")
    assert told["calls"] > 100 and told["wrong"] == 0 and not told["lost"]
    assert 1 < told["gap"] < KEEPALIVE_SECONDS + 5
    # Those without it wait as long as they have said they would.
    assert {code for told in reports.values() for code in told["lost"]} == {
        "DEADLINE_EXCEEDED"}
