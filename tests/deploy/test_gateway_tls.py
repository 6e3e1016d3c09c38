"""Envoy with TLS on both sides, before a server of overlays/tls: what the document
adds to envoy.yaml is enough, and nothing of it is idle."""

import re
import subprocess
import time

import pytest
import yaml

import paths
from certificates import Authority
from manifests import KUBERNETES, environment, kustomize, server_of
from scale import PORT, Envoy, Replica

# The name that the authority's certificates have.
NAME = "localhost"
SERVICE = "fff-server.fff-serving.svc"
SECONDS_MAX = 30


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder for each mount of the document and the overlay; `other` has a
    certificate of an authority that the server does not know."""
    root = tmp_path_factory.mktemp("tls")
    ours, others = Authority(root / "ours", "ours"), Authority(root / "others", "others")
    for name, authority in (("gateway", ours), ("client", ours), ("tls", ours),
                            ("other", others)):
        (root / name).mkdir()
        certificate, key = authority.issue(name)
        certificate.rename(root / name / "tls.crt")
        key.rename(root / name / "tls.key")
        (root / name / "ca.crt").write_bytes(ours.certificate.read_bytes())
    return root


@pytest.fixture(scope="module")
def replica(network, files):
    """With the overlay's variables as flags."""
    variables = environment(server_of(kustomize(KUBERNETES / "overlays" / "tls")))
    flags = ["--" + name.removeprefix("FFF_").lower().replace("_", "-") + "="
             + re.sub("^/tls/", f"{files}/tls/", value)
             for name, value in variables.items() if name.startswith("FFF_TLS_")]
    assert len(flags) == 3
    started = Replica(network.add_host(), "--drain-delay=0", *flags)
    yield started
    assert started.stop() == 0


def sockets():
    """The document's two: for callers, to servers."""
    text = (paths.DEPLOY / "gateways" / "README.md").read_text()
    section = text[text.index("## TLS with Envoy"):]
    return re.findall(r"```yaml\n(transport_socket:.*?)```", section, re.S)


class TlsEnvoy(Envoy):
    """With the document's sockets. `replaced` are (text, instead) in them."""

    def __init__(self, host, replica, files, directory, *replaced):
        self.CTL_FLAGS = (f"--server={NAME}:{PORT}", "--tls",
                          f"--tls-ca={files / 'gateway' / 'ca.crt'}")
        self._files, self._replaced, self._host = files, replaced, host
        super().__init__(host, [replica], directory)

    def change(self, listener, cluster):
        for text, place in zip(sockets(), (listener["filter_chains"][0], cluster)):
            for old, new in (*self._replaced, (SERVICE, NAME)):
                text = text.replace(old, new)
            text = re.sub(r"filename: /", f"filename: {self._files}/", text)
            place.update(yaml.safe_load(text))

    def ctl(self, *words, flags=None):
        """The finished fffctl."""
        return subprocess.run(
            self._host.command(paths.CTL, *(flags or self.CTL_FLAGS), *words),
            capture_output=True, text=True, check=False)


class RefusedEnvoy(TlsEnvoy):
    """One that servers, or that itself, does not let through."""

    def _await_answer(self, host):
        deadline = time.monotonic() + SECONDS_MAX
        while "no healthy upstream" not in self.ctl("models").stderr:
            assert time.monotonic() < deadline, self.ctl("models")
            time.sleep(0.1)  # between two tries; the deadline decides


def test_calls_get_through_tls_on_both_sides(network, replica, files, tmp_path):
    proxy = TlsEnvoy(network.add_host(), replica, files, tmp_path)
    told = proxy.ctl("models")
    assert told.returncode == 0 and "fashion-mnist" in told.stdout, told.stderr
    plain = proxy.ctl("models", flags=Envoy.CTL_FLAGS)
    assert plain.returncode != 0, "callers must speak TLS"
    proxy.stop()


@pytest.mark.parametrize("replaced", [
    ("/client/tls.", "/other/tls."),  # the server does not know who comes
    (f"exact: {SERVICE}", "exact: another.name"),  # nor Envoy who is there
])
def test_whoever_cannot_prove_who_it_is_gets_no_calls(network, replica, files, tmp_path,
                                                      replaced):
    proxy = RefusedEnvoy(network.add_host(), replica, files, tmp_path, replaced)
    assert proxy.ctl("models").returncode == 1
    proxy.stop()
