"""How soon a pod that is new is called, at the worst moment: just after its client, or
the DNS cache before it, has looked its name up. The figures stand in
deploy/README.md."""

import time

import pytest

import paths  # noqa: F401
from clients import HEADLESS, KINDS, Client, known_within, tell
from cluster import PROXY_LAG, TIME_SCALE

GOAL_SECONDS = 15
# Of a busy machine that starts a connection and a call; not of the cluster.
SPARE_SECONDS = 2
# So many choose one of three pods at random and all miss the new one: 1 of 11 million.
PLAIN_CHANNELS = 40


def await_first_call(pod, kind, seconds):
    """Seconds from its readiness to the first call of that kind, or None."""
    deadline = pod.ready_at + seconds * TIME_SCALE + SPARE_SECONDS
    while time.monotonic() < deadline:
        if pod.calls(KINDS[kind][1]) > 0:
            return (time.monotonic() - pod.ready_at) / TIME_SCALE
        time.sleep(0.02)  # between two looks
    return None


def check(client, kind, names, taken, bound):
    told = client.report()
    client.stop()
    tell("scale up", {kind: told})
    assert taken is not None, f"{kind}, {names}: not in {bound:.0f} s"
    print(f"first call, {kind}, {names}: after {taken:.1f} s, {bound:.0f} at most")
    assert told["calls"] > 20 and told["wrong"] == 0 and not told["lost"]


@pytest.mark.parametrize("kind", HEADLESS)
@pytest.mark.parametrize("names", ["uncached", "cached"])
def test_a_new_pod_is_called_when_the_document_says(network, cluster, answers, kind,
                                                     names):
    cached = names == "cached"
    host = network.add_host()
    target = cluster.headless_target if cached else cluster.uncached_target
    client = Client(kind, host, target, answers, channels=1)
    pod = cluster.scale_up_after_a_look(None if cached else host.address)
    bound = PROXY_LAG + known_within(cluster.manifest, kind, cached=cached)
    check(client, kind, names, await_first_call(pod, kind, bound), bound)
    cluster.scale(cluster.manifest.replicas)


def test_plain_clients_together_find_a_new_pod(network, cluster, answers):
    """Each connection that ends of age begins anew on a pod at random."""
    client = Client("plain", cluster.add_client_host(), cluster.service_target, answers,
                    channels=PLAIN_CHANNELS)
    while client.report()["calls"] < PLAIN_CHANNELS:
        time.sleep(1)  # in which each channel calls five times, once it is connected
    cluster.scale(cluster.manifest.replicas + 1)
    bound = PROXY_LAG + 1.1 * cluster.manifest.connection_age
    taken = await_first_call(cluster.pods[-1], "plain", bound)
    check(client, "plain", f"{PLAIN_CHANNELS} connections", taken, bound)
    cluster.scale(cluster.manifest.replicas)


def test_the_goal_is_met_where_dns_answers_are_not_cached(cluster):
    """By clients with the document's settings; others wait for gRPC's own pause."""
    manifest = cluster.manifest
    assert PROXY_LAG + known_within(manifest, "README's config", cached=False) <= GOAL_SECONDS
    assert PROXY_LAG + 1.1 * manifest.connection_age <= GOAL_SECONDS
