"""The folder ladder and the third-party table: who may include what.

    app -> rpc -> {serving, benchmark} -> model -> {importer, engine} -> graph
        -> tensor -> base        importer -> checkpoint -> tensor
    metrics: seen by serving, rpc and app only

A folder that is not listed here is an error, so that a new folder gets its
place on the ladder before its first include. A large folder has rooms, folders
below it; its own entry holds for its unit tests, which see all of them.
"""

_CORE = ["base", "tensor", "checkpoint", "graph", "importer", "engine", "model"]

# Folder -> folders it may include besides itself. The longest prefix counts.
FOLDERS = {
    "server/base": [],
    "server/tensor": ["base"],
    "server/checkpoint": ["base", "tensor"],
    "server/graph": ["base", "tensor"],
    "server/engine": ["base", "tensor", "graph"],
    "server/importer": ["base", "tensor", "checkpoint", "graph"],
    "server/model": [
        "base", "tensor", "checkpoint", "graph", "importer", "engine"],
    "server/metrics": ["base"],
    "server/benchmark": _CORE,
    "server/benchmark/claims": _CORE + ["benchmark"],
    "server/benchmark/own_data": _CORE + ["benchmark"],
    "server/serving": _CORE + ["metrics"],
    "server/serving/batching": _CORE + ["metrics"],
    "server/serving/repository": _CORE + ["metrics", "serving/batching"],
    "server/rpc": _CORE + ["metrics", "benchmark", "serving"],
    "server/rpc/access": ["base"],
    "server/rpc/observe": ["base", "serving/batching"],
    "server/rpc/tracing": ["base", "rpc/observe"],
    "server/rpc/messages": _CORE + ["benchmark", "serving"],
    "server/rpc/transport": _CORE + [
        "metrics", "serving", "rpc/messages", "rpc/observe", "rpc/tracing"],
    "server/rpc/service": _CORE + [
        "metrics", "serving", "rpc/access", "rpc/messages", "rpc/tracing",
        "rpc/transport"],
    "server/app": _CORE + ["metrics", "benchmark", "serving", "rpc"],
    "server/main.cc": ["base", "app"],
    "client/cpp": ["base", "tensor"],
    # fffctl benchmark --in-process measures without a server.
    "client/cli": _CORE + ["benchmark", "benchmark/claims", "benchmark/own_data"],
    "client/cli/formats": ["base", "tensor"],
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
        ["grpc/", "grpc++/", "grpcpp/", "google/protobuf/", "google/rpc/", "fff/v1/",
         "inference/", "opentelemetry/"],
        ["server/rpc", "client"]),
    "OpenSSL": (["openssl/"], ["server/rpc/access"]),
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
        ["server/importer", "server/checkpoint", "server/benchmark", "server/app",
         "client"]),
    "Boost": (["boost/"], ["server/app"]),
    "CLI11": (["CLI/"], ["server/app", "client/cli"]),
    "spdlog": (["spdlog/"], ["server/base"]),
    "libzip": (
        ["zip.h", "zipconf.h"],
        ["server/checkpoint", "client/cli/formats", "tests/unit/client"]),
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
