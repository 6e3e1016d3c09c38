"""Pods that are replaced while clients call, with the manifests as they are: no call
of any client is lost, every answer is right, and new pods are found."""

import os
import shutil
import time

import pytest

import paths
from clients import HEADLESS, KINDS, Client, known_within, tell
from cluster import TIME_SCALE, emulated_sleep
from scale import KEEPALIVE

KEEPALIVE_SECONDS = 15  # what KEEPALIVE amounts to


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


def await_known(cluster, kinds=tuple(HEADLESS)):
    """Waits until every pod answers clients of these kinds, or that is overdue.
    Returns the time that it took for each kind's first call on the last pod."""
    newest, taken = cluster.pods[-1], {}
    waiting = {(pod, kind) for pod in cluster.pods for kind in kinds}
    overdue = newest.ready_at + 2 + TIME_SCALE * max(
        known_within(cluster.manifest, kind) for kind in kinds)
    while waiting and time.monotonic() < overdue:
        for pod, kind in list(waiting):
            if pod.calls(KINDS[kind][1]) > 0:
                waiting.remove((pod, kind))
                if pod is newest:
                    taken[kind] = time.monotonic() - newest.ready_at
        time.sleep(0.05)  # between two looks
    return taken


def reports_of(clients):
    return {kind: client.report() for kind, client in clients.items()}


def check_nothing_lost(cluster, clients, action):
    """Tells of an action that has just been carried out."""
    await_known(cluster)
    cluster.settle()
    emulated_sleep(5)  # what comes after the last pod has gone
    reports = reports_of(clients)
    tell(action, reports)
    assert all(told["calls"] > 100 and told["wrong"] == 0 for told in reports.values())
    assert not any(told["lost"] for told in reports.values())


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
    assert set(taken) == set(HEADLESS), taken


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
    reports = reports_of({**clients, "with keepalive": careful})
    tell("node loss", reports)
    careful.stop()
    told = reports.pop("with keepalive")
    assert told["calls"] > 100 and told["wrong"] == 0 and not told["lost"]
    assert 1 < told["gap"] < KEEPALIVE_SECONDS + 5
    # Those without it wait as long as they have said they would.
    assert {code for told in reports.values() for code in told["lost"]} == {
        "DEADLINE_EXCEEDED"}
