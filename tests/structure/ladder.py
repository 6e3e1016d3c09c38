"""The folder ladder and the third-party table: who may include what.

    app -> rpc -> {serving, benchmark} -> model -> {engine, checkpoint}
        -> tensor -> base        metrics: seen by serving, rpc and app only

A folder that is not listed here is an error, so that a new folder gets its
place on the ladder before its first include.
"""

_CORE = ["base", "tensor", "checkpoint", "engine", "model"]

# Folder -> folders it may include besides itself. The longest prefix counts.
FOLDERS = {
    "server/base": [],
    "server/tensor": ["base"],
    "server/checkpoint": ["base", "tensor"],
    "server/engine": ["base", "tensor"],
    "server/model": ["base", "tensor", "checkpoint", "engine"],
    "server/metrics": ["base"],
    "server/benchmark": _CORE,
    "server/serving": _CORE + ["metrics"],
    "server/rpc": _CORE + ["metrics", "benchmark", "serving"],
    "server/app": _CORE + ["metrics", "benchmark", "serving", "rpc"],
    "server/main.cc": ["base", "app"],
    "client/cpp": ["base", "tensor"],
    # fffctl benchmark --in-process measures without a server.
    "client/cli": _CORE + ["benchmark"],
}

# Inside engine/ each platform folder sees the shared headers and the reference;
# no platform sees another, and the reference sees no platform. The host side of
# devices, device/, sees no platform either; cuda/ stands on it.
SIBLINGS_APART = [
    ("server/engine/cpu", "server/engine/cuda"),
    ("server/engine/cpu", "server/engine/device"),
    ("server/engine/cuda", "server/engine/cpu"),
    ("server/engine/device", "server/engine/cpu"),
    ("server/engine/device", "server/engine/cuda"),
    ("server/engine/reference", "server/engine/cpu"),
    ("server/engine/reference", "server/engine/cuda"),
    ("server/engine/reference", "server/engine/device"),
]

# Library -> (prefixes of its headers, folders that may include them).
THIRD_PARTY = {
    "gRPC and protobuf": (
        ["grpc/", "grpc++/", "grpcpp/", "google/protobuf/", "fff/v1/",
         "inference/"],
        ["server/rpc", "client"]),
    "OpenSSL": (["openssl/"], ["server/rpc"]),
    "oneDNN": (["dnnl", "oneapi/dnnl/"], ["server/engine/cpu"]),
    "Highway": (["hwy/"], ["server/engine/cpu"]),
    "OpenMP": (["omp.h"], ["server/engine/cpu"]),
    "CUDA": (
        ["cuda", "cublas", "cooperative_groups", "cub/", "thrust/", "mma.h",
         "nvml.h", "nvtx3/"],
        ["server/engine/cuda"]),
    "prometheus-cpp": (["prometheus/"], ["server/metrics"]),
    "nlohmann-json": (
        ["nlohmann/"],
        ["server/model", "server/checkpoint", "server/benchmark", "server/app",
         "client"]),
    "civetweb": (["CivetServer.h", "civetweb"], ["server/app"]),
    "CLI11": (["CLI/"], ["server/app", "client/cli"]),
    "spdlog": (["spdlog/"], ["server/base"]),
    "libzip": (["zip.h", "zipconf.h"], ["server/checkpoint"]),
    "zlib": (["zlib.h"], ["client", "server/checkpoint", "tests"]),
    "libpng": (["png.h"], ["client"]),
    "GoogleTest": (["gtest/", "gmock/"], ["tests"]),
    "Google Benchmark": (["benchmark/benchmark.h"], ["tests/bench"]),
    "Abseil": (["absl/"], ["server", "client", "tests"]),
}

# First part of a system header's path that is no third-party library.
SYSTEM_FOLDERS = ["sys", "linux", "net", "netinet", "arpa", "bits",
                  "sanitizer", "fuzzer"]

# Trees whose tests combine layers on purpose; they obey only the rule that
# includes start at the repository root. Unit tests mirror one folder and see
# what that folder sees.
FREE_TESTS = ["tests/parity", "tests/gpu", "tests/integration", "tests/bench",
              "tests/fuzz",
              "tests/structure", "tests/sanitizers"]
