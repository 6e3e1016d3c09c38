"""Who may administer, and TLS whose files change while the server answers."""

import concurrent.futures
import json
import os
import subprocess
import threading

import grpc
import numpy as np
import pytest

import conftest
import fff_api
from certificates import Authority, put
from fff_api import oip, v1
from live_load import LiveLoad
from server_process import ServerProcess

CASE = "sapient-128x64"
TOKEN = "correct-horse-battery-staple"
X = np.random.default_rng(3).standard_normal((8, 128)).astype(np.float32)
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED


@pytest.fixture
def repository(tmp_path):
    models = tmp_path / "models"
    conftest.add_model(models, "m",
                       conftest.REFERENCE / "vectors" / CASE / "model.safetensors")
    return models


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


def admin_calls(api):
    """Name -> a function that makes the call with some metadata."""
    benchmark = v1.BenchmarkRequest(model="m", batch_rows=[1], seconds_per_case=0.001)
    unary = {
        "LoadModel": (api.own.LoadModel, v1.LoadModelRequest(model="m")),
        "UnloadModel": (api.own.UnloadModel, v1.UnloadModelRequest(model="m")),
        "RepositoryModelLoad": (api.oip.RepositoryModelLoad,
                                oip.RepositoryModelLoadRequest(model_name="m")),
        "RepositoryModelUnload": (api.oip.RepositoryModelUnload,
                                  oip.RepositoryModelUnloadRequest(model_name="m")),
    }
    calls = {name: lambda metadata, call=call, request=request:
             call(request, metadata=metadata, timeout=60)
             for name, (call, request) in unary.items()}
    calls["Benchmark"] = lambda metadata: list(
        api.own.Benchmark(benchmark, metadata=metadata, timeout=60))
    return calls


def code_of(call, metadata=()):
    try:
        call(metadata)
    except grpc.RpcError as error:
        assert TOKEN not in error.details()
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("metadata", [
    [], [("authorization", "Bearer wrong")], [("authorization", TOKEN)],
    [("authorization", "Bearer " + TOKEN + "x")], [("authorization", "Basic " + TOKEN)],
    [("authorization", "Bearer ")], [("token", TOKEN)],
    [("authorization", "Bearer " + TOKEN[:-1])],
    [("authorization", "Bearer " + TOKEN), ("authorization", "Bearer " + TOKEN)]])
def test_every_admin_call_is_refused_without_the_token(repository, token_file, metadata):
    with ServerProcess(repository, f"--admin-token-file={token_file}") as server:
        api = fff_api.Api(server.target)
        for name, call in admin_calls(api).items():
            assert code_of(call, metadata) == UNAUTHENTICATED, name
        assert api.predict("m", X).version == 1  # predictions need none
        api.close()
    assert TOKEN not in server.text()


def test_admin_calls_pass_with_the_token_and_a_new_one_counts_at_once(repository,
                                                                      token_file):
    with ServerProcess(repository, f"--admin-token-file={token_file}") as server:
        api = fff_api.Api(server.target)
        calls = admin_calls(api)
        right = [("authorization", f"Bearer {TOKEN}")]
        for name in ("UnloadModel", "LoadModel", "RepositoryModelUnload",
                     "RepositoryModelLoad", "Benchmark"):
            assert code_of(calls[name], right) == grpc.StatusCode.OK, name
        token_file.write_text("another")
        assert code_of(calls["LoadModel"], right) == UNAUTHENTICATED
        assert code_of(calls["LoadModel"],
                       [("authorization", "Bearer another")]) == grpc.StatusCode.OK
        api.close()


def test_fffctl_shows_the_token(repository, token_file):
    with ServerProcess(repository, f"--admin-token-file={token_file}") as server:
        def fffctl(*words):
            return subprocess.run([os.environ["FFF_CTL_BINARY"], "--server",
                                   server.target, *words], capture_output=True, text=True)

        refused = fffctl("unload", "m")
        assert refused.returncode == 1 and "UNAUTHENTICATED" in refused.stderr
        assert fffctl("unload", "m", "--token-file", token_file).returncode == 0
        models = json.loads(fffctl("models", "--json").stdout)["models"]
        assert {model["state"] for model in models} == {"unloaded"}
        loaded = fffctl("load", "m", "--token-file", token_file)
        assert loaded.returncode == 0 and "ready" in loaded.stdout


def test_an_address_that_others_reach_wants_tls_or_insecure(repository):
    server = ServerProcess(repository, "--host=0.0.0.0", wait=False)
    assert server.exit_code() == 1
    assert "--insecure" in server.text()
    with ServerProcess(repository, "--host=0.0.0.0", "--insecure") as server:
        api = fff_api.Api(server.target)
        assert api.predict("m", X).version == 1
        for name, call in admin_calls(api).items():
            assert code_of(call) == PERMISSION_DENIED, name
        api.close()


def test_an_unusable_token_file_stops_the_start(repository, token_file):
    token_file.write_text("\n")
    server = ServerProcess(repository, f"--admin-token-file={token_file}", wait=False)
    assert server.exit_code() == 1
    assert "holds nothing" in server.text()


class TlsApi(fff_api.Api):
    """Over TLS to localhost, trusting one authority, maybe with a certificate."""

    def __init__(self, server, authority, identity=(None, None)):
        certificate, key = (path and path.read_bytes() for path in identity)
        credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes(),
                                                   key, certificate)
        self.channel = grpc.secure_channel(
            f"localhost:{server.grpc_port}", credentials,
            # A connection of its own, so that each makes a handshake.
            options=[*fff_api.UNBOUNDED, ("grpc.use_local_subchannel_pool", 1)])
        self.own = fff_api.v1_grpc.InferenceServiceStub(self.channel)
        self.oip = fff_api.oip_grpc.GRPCInferenceServiceStub(self.channel)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority", "test authority")


@pytest.fixture
def tls(tmp_path, authority):
    """Flags of a server whose certificate and key are replaced by `rotate`."""
    class Files:
        certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
        client_ca = tmp_path / "clients.pem"

        def rotate(self, issuer=authority):
            certificate, key = issuer.issue("server")
            put(certificate, self.certificate)
            put(key, self.key)

        def flags(self, mutual=False):
            more = [f"--tls-client-ca={self.client_ca}"] if mutual else []
            return [f"--tls-cert={self.certificate}", f"--tls-key={self.key}", *more]

    files = Files()
    files.rotate()
    put(authority.certificate, files.client_ca)
    return files


def test_plain_text_is_not_answered_by_a_tls_server(repository, tls):
    with ServerProcess(repository, *tls.flags()) as server:
        api = fff_api.Api(server.target)
        with pytest.raises(grpc.RpcError) as error:
            api.predict("m", X)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        api.close()


def test_certificates_rotate_under_load(repository, tls, authority):
    """New connections all the time, and one that stands, while files change."""
    rotations = 8
    done = threading.Event()
    connected = threading.Semaphore(0)

    def fresh_connections(server):
        """Connects and asks until all is over; no handshake may fail."""
        while not done.is_set():
            api = TlsApi(server, authority)
            assert api.predict("m", X).version == 1
            api.close()
            connected.release()

    with ServerProcess(repository, *tls.flags()) as server:
        standing = TlsApi(server, authority)
        reference = fff_api.output_of(standing.predict("m", X))
        with concurrent.futures.ThreadPoolExecutor(2) as pool, LiveLoad(
                lambda: TlsApi(server, authority), "m", X, {1: reference}) as live:
            try:
                clients = [pool.submit(fresh_connections, server) for _ in range(2)]
                for _ in range(rotations):
                    tls.rotate()
                    while connected.acquire(blocking=False):
                        pass  # those of before, or during it
                    for _ in range(10):
                        assert connected.acquire(timeout=120)
                live.await_answers(5)
            finally:
                done.set()
            for client in clients:
                client.result(timeout=120)
        live.assert_all_right()
        assert fff_api.output_of(standing.predict("m", X)).shape == (8, 64)
        standing.close()
        server.await_line("TLS certificate replaced")


def test_the_old_certificate_is_gone_after_a_rotation(repository, tls, authority,
                                                      tmp_path):
    other = Authority(tmp_path / "other", "other authority")
    with ServerProcess(repository, *tls.flags()) as server:
        TlsApi(server, authority).predict("m", X)
        tls.rotate(other)
        assert TlsApi(server, other).predict("m", X).version == 1
        with pytest.raises(grpc.RpcError) as error:
            TlsApi(server, authority).predict("m", X)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE


def test_files_that_do_not_fit_leave_the_good_ones_in_use(repository, tls, authority):
    with ServerProcess(repository, *tls.flags()) as server:
        certificate, _ = authority.issue("server")
        put(certificate, tls.certificate)  # its key never comes
        assert TlsApi(server, authority).predict("m", X).version == 1
        server.await_line("TLS files cannot be used")
        tls.key.write_text("garbage")
        assert TlsApi(server, authority).predict("m", X).version == 1
        tls.rotate()
        assert TlsApi(server, authority).predict("m", X).version == 1


def test_mutual_tls_and_certificates_that_may_administer(repository, tls, authority,
                                                         tmp_path):
    operator, somebody = authority.issue("operator"), authority.issue("somebody")
    flags = [*tls.flags(mutual=True), "--admin-client-name=operator"]
    with ServerProcess(repository, *flags) as server:
        with pytest.raises(grpc.RpcError):
            TlsApi(server, authority).predict("m", X)  # no certificate
        stranger = Authority(tmp_path / "stranger", "stranger").issue("operator")
        with pytest.raises(grpc.RpcError):
            TlsApi(server, authority, stranger).predict("m", X)
        api = TlsApi(server, authority, somebody)
        assert api.predict("m", X).version == 1
        for name, call in admin_calls(api).items():
            assert code_of(call) == PERMISSION_DENIED, name
        calls = admin_calls(TlsApi(server, authority, operator))
        for name in ("UnloadModel", "LoadModel", "Benchmark"):
            assert code_of(calls[name]) == grpc.StatusCode.OK, name


def test_a_key_of_another_certificate_stops_the_start(repository, tls, authority):
    _, key = authority.issue("server")
    put(key, tls.key)
    server = ServerProcess(repository, *tls.flags(), wait=False)
    assert server.exit_code() == 1
    assert "is not the key of the certificate" in server.text()
