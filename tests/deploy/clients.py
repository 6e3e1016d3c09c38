"""The kinds of clients that call pods while these come and go."""

import json
import subprocess
import sys

import paths
from cluster import DNS_TTL, RESOLVER_PAUSE, TIME_SCALE
from scale import CLIENT_OPTIONS, LOOK_UP_PAUSE

ROUND_ROBIN = {"loadBalancingConfig": [{"round_robin": {}}]}
# Kind of client -> its options, and the method it calls: servers count calls by
# method, so that their counters tell the kinds apart.
KINDS = {
    "README's config": (CLIENT_OPTIONS, "Predict"),
    "round_robin": ([("grpc.service_config", json.dumps(ROUND_ROBIN))], "PredictDense"),
    "plain": ([], "ModelInfer"),
}
HEADLESS = ["README's config", "round_robin"]


def pause_of(kind):
    """Seconds between two look-ups of a name, at least."""
    return dict(KINDS[kind][0]).get(LOOK_UP_PAUSE, RESOLVER_PAUSE * 1000) / 1000


def known_within(manifest, kind, *, cached=True):
    """Seconds in which a client of the headless service learns of a change: what the
    cache may still hold; then its oldest connection's end makes it ask, if it may."""
    age = 1.1 * manifest.connection_age  # gRPC adds up to 10 %
    return (DNS_TTL if cached else 0) + max(pause_of(kind), age)


class Client:
    """caller.py on a host."""

    def __init__(self, kind, host, target, answers, *, more_options=(), channels=2,
                 deadline=10):
        options, method = KINDS[kind]
        pause = round(pause_of(kind) * TIME_SCALE * 1000)
        options = {**dict(options), **dict(more_options), LOOK_UP_PAUSE: pause}
        settings = {"target": target, "method": method, "answers": str(answers[method]),
                    "options": list(options.items()),
                    "channels": channels, "pause": 0.01 * max(1, channels / 2),
                    "deadline": deadline}
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


def tell(action, reports):
    for kind, told in reports.items():
        print(f"{action}, {kind}: {told['calls']} calls, "
              f"{sum(told['lost'].values())} lost {told['lost']}, {told['wrong']} wrong, "
              f"no answer for {told['gap']:.2f} s {set(told['messages'])}")
