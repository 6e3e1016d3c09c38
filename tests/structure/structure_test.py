#!/usr/bin/env python3
"""Plants each kind of fault in a temporary tree and expects its message."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent


def run(script, files):
    """Exit code and output of `script` over a tree holding `files`."""
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            file = pathlib.Path(root, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        done = subprocess.run(
            [sys.executable, str(HERE / script), root],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False)
        return done.returncode, done.stdout


class IncludesTest(unittest.TestCase):

    def accepts(self, file, *includes):
        text = "".join(f"#include {include}\n" for include in includes)
        code, output = run("check_includes.py", {file: text})
        self.assertEqual(code, 0, output)

    def refuses(self, file, include, rule):
        text = f"#pragma once\n\n#include {include}\n"
        code, output = run("check_includes.py", {file: text})
        self.assertEqual(code, 1, output)
        self.assertIn(f'{file}:3: {include[1:-1]}: {rule}', output)

    def test_includes_down_the_ladder_pass(self):
        self.accepts("server/app/server.cc", '"server/rpc/service.h"',
                     '"server/metrics/exporter.h"', '"CivetServer.h"',
                     '"absl/status/status.h"', '<sys/mman.h>', '<string>')
        self.accepts("server/rpc/decode.cc", '"server/serving/task.h"',
                     '"fff/v1/inference.pb.h"', '<grpcpp/grpcpp.h>')
        self.accepts("server/engine/cpu/dense.cc", '"server/engine/kernel.h"',
                     '"hwy/highway.h"', '"oneapi/dnnl/dnnl.hpp"')

    def test_every_step_up_is_refused(self):
        order = ["base", "tensor", "engine", "model", "serving", "rpc", "app"]
        for low, folder in enumerate(order):
            for above in order[low + 1:]:
                self.refuses(f"server/{folder}/a.h", f'"server/{above}/b.h"',
                             f"server/{folder} sees only itself and")

    def test_siblings_do_not_see_each_other(self):
        self.refuses("server/checkpoint/a.h", '"server/engine/b.h"',
                     "server/checkpoint sees only itself and {base, tensor}")
        self.refuses("server/engine/a.h", '"server/checkpoint/b.h"',
                     "server/engine sees only itself and {base, tensor}")
        self.refuses("server/benchmark/a.h", '"server/serving/b.h"',
                     "server/benchmark sees only itself and")
        self.refuses("server/serving/a.h", '"server/benchmark/b.h"',
                     "server/serving sees only itself and")

    def test_metrics_are_seen_only_from_serving_up(self):
        for folder in ("serving", "rpc", "app"):
            self.accepts(f"server/{folder}/a.cc", '"server/metrics/b.h"')
        for folder in ("base", "tensor", "checkpoint", "engine", "model",
                       "benchmark"):
            self.refuses(f"server/{folder}/a.h", '"server/metrics/b.h"',
                         f"server/{folder} sees only itself and")
        self.refuses("server/metrics/a.h", '"server/model/model.h"',
                     "server/metrics sees only itself and {base}")

    def test_engine_platforms_stay_apart(self):
        self.accepts("server/engine/cpu/a.cc", '"server/engine/reference/b.h"')
        self.accepts("server/engine/kernel_list.cc", '"server/engine/cpu/b.h"')
        self.refuses("server/engine/cpu/a.h", '"server/engine/cuda/b.h"',
                     "server/engine/cpu does not see server/engine/cuda")
        self.refuses("server/engine/device/a.h", '"server/engine/cuda/b.h"',
                     "server/engine/device does not see server/engine/cuda")
        self.refuses("server/engine/reference/a.h", '"server/engine/cpu/b.h"',
                     "server/engine/reference does not see server/engine/cpu")

    def test_each_library_has_its_folders(self):
        for file, include, rule in [
            ("server/serving/a.h", "<grpcpp/server.h>", "gRPC and protobuf"),
            ("server/app/a.h", '"fff/v1/inference.pb.h"', "gRPC and protobuf"),
            ("server/model/a.h", "<google/protobuf/message.h>", "gRPC and"),
            ("server/engine/a.h", '"hwy/highway.h"', "Highway only in"),
            ("server/model/a.h", '"oneapi/dnnl/dnnl.hpp"', "oneDNN only in"),
            ("server/engine/cpu/a.h", "<cuda_runtime.h>", "CUDA only in"),
            ("server/engine/device/a.h", "<cuda_runtime.h>", "CUDA only in"),
            ("server/engine/cpu/a.h", "<cublas_v2.h>", "CUDA only in"),
            ("server/app/a.h", "<prometheus/registry.h>", "prometheus-cpp"),
            ("server/rpc/a.h", "<nlohmann/json.hpp>", "nlohmann-json only in"),
            ("server/rpc/a.h", '"CivetServer.h"', "civetweb only in"),
            ("server/model/a.h", "<zip.h>", "libzip only in"),
            ("server/tensor/a.h", "<spdlog/spdlog.h>", "spdlog only in"),
            ("server/base/a.h", '"gtest/gtest.h"', "GoogleTest only in tests"),
            ("client/cpp/a.h", '"CLI/CLI.hpp"', "CLI11 only in"),
        ]:
            with self.subTest(file=file, include=include):
                self.refuses(file, include, rule)

    def test_an_unlisted_library_is_refused(self):
        self.refuses("server/base/a.h", "<boost/any.hpp>",
                     "no library of tests/structure/ladder.py has this header")

    def test_an_unlisted_folder_is_refused(self):
        self.refuses("server/extras/a.h", '"server/base/log.h"',
                     "this folder has no place in tests/structure/ladder.py")

    def test_relative_includes_are_refused(self):
        for include in ('"log.h"', '"../base/log.h"', '"./log.h"'):
            self.refuses("server/base/a.h", include,
                         "includes start at the repository root")

    def test_highway_reinclusion_counts_as_an_include(self):
        code, output = run("check_includes.py", {
            "server/engine/cpu/a.cc":
                '#define HWY_TARGET_INCLUDE "server/model/a.cc"\n'})
        self.assertEqual(code, 1)
        self.assertIn("server/engine/cpu/a.cc:1: server/model/a.cc: ", output)

    def test_the_client_sees_only_its_doors(self):
        self.accepts("client/cli/a.cc", '"server/benchmark/runner.h"',
                     '"client/cpp/client.h"', "<png.h>")
        self.refuses("client/cli/a.h", '"server/rpc/decode.h"',
                     "client/cli sees only itself and")
        self.refuses("client/cpp/a.h", '"server/model/model.h"',
                     "client/cpp sees only itself and")
        self.refuses("client/cpp/a.h", '"client/cli/table.h"',
                     "client/cpp sees only itself and")

    def test_product_code_does_not_see_tests(self):
        self.refuses("server/rpc/a.h", '"tests/integration/client.h"',
                     "product code does not see tests/")

    def test_unit_tests_see_what_their_folder_sees(self):
        self.accepts("tests/unit/rpc/a_test.cc", "<gtest/gtest.h>",
                     '"server/rpc/decode.h"', '"fff/v1/inference.pb.h"')
        self.accepts("tests/unit/engine/a_test.cc", '"hwy/targets.h"')
        self.refuses("tests/unit/model/a.h", '"hwy/targets.h"',
                     "Highway only in server/engine/cpu")
        self.refuses("tests/unit/engine/a.h", '"server/model/model.h"',
                     "server/engine sees only itself and {base, tensor}")
        self.refuses("tests/unit/engine/a.h", "<grpcpp/grpcpp.h>",
                     "gRPC and protobuf only in server/rpc, client")

    def test_an_empty_tree_is_an_error(self):
        code, output = run("check_includes.py", {})
        self.assertNotEqual(code, 0)
        self.assertIn("no source file", output)


class SourcesTest(unittest.TestCase):

    def refuses(self, files, finding):
        code, output = run("check_sources.py", files)
        self.assertEqual(code, 1, output)
        self.assertIn(finding, output)

    def accepts(self, files):
        code, output = run("check_sources.py", files)
        self.assertEqual(code, 0, output)

    def test_a_file_at_the_limit_passes_and_one_line_more_fails(self):
        self.accepts({"server/a/b.cc": "\n" * 400})
        self.refuses({"server/a/b.cc": "\n" * 401},
                     "server/a/b.cc:401: 401 lines, at most 400")
        self.accepts({"tests/unit/a/b_test.cc": "\n" * 600})
        self.refuses({"tests/unit/a/b_test.cc": "\n" * 601},
                     "tests/unit/a/b_test.cc:601: 601 lines, at most 600")

    def test_work_left_over_is_found(self):
        for word in ("TO" "DO", "FIX" "ME"):
            self.refuses({"server/a/b.cc": f"// fine\n// {word}: later\n"},
                         f"server/a/b.cc:2: work left over: {word}")

    def test_scripts_without_an_ending_are_read(self):
        self.refuses({"deploy/setup": "#!/bin/sh\n# TO" "DO\n"},
                     "deploy/setup:2: work left over")

    def test_blanks_tabs_and_a_missing_newline_are_found(self):
        self.refuses({"server/a/b.cc": "int a; \n"}, "b.cc:1: blank at the end")
        self.refuses({"server/a/b.cc": "\tint a;\n"}, "b.cc:1: tab")
        self.refuses({"server/a/b.cc": "int a;"}, "b.cc:1: no newline")

    def test_a_header_starts_with_pragma_once(self):
        self.accepts({"server/a/b.h": "// Words.\n\n#pragma once\n"})
        self.refuses({"server/a/b.h": "#include <string>\n"},
                     "server/a/b.h:1: a header starts with #pragma once")

    def test_a_highway_header_is_guarded_by_its_toggle(self):
        self.accepts({"server/a/b-inl.h":
                      "#if defined(B) == defined(HWY_TARGET_TOGGLE)\n#endif\n"})
        self.refuses({"server/a/b-inl.h": "#pragma once\n"},
                     "b-inl.h:1: a -inl.h header is guarded by")

    def test_a_source_includes_its_own_header_first(self):
        header = {"server/a/b.h": "#pragma once\n"}
        self.accepts({**header, "server/a/b.cc": '#include "server/a/b.h"\n'})
        self.refuses(
            {**header,
             "server/a/b.cc": '#include <string>\n#include "server/a/b.h"\n'},
            "server/a/b.cc:1: server/a/b.h is the first include")


if __name__ == "__main__":
    unittest.main()
