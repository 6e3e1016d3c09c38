#!/usr/bin/env python3
"""Plants each kind of fault in a temporary tree and expects its message."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import check_prose

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
        self.accepts("server/app/server.cc", '"server/rpc/service/a.h"',
                     '"server/metrics/exporter.h"', '<boost/asio.hpp>',
                     '"absl/status/status.h"', '<sys/mman.h>', '<string>')
        self.accepts("server/rpc/messages/decode.cc", '"server/serving/batching/task.h"',
                     '"fff/v1/inference.pb.h"', '<grpcpp/grpcpp.h>')
        self.accepts("server/engine/cpu/dense.cc", '"server/engine/kernel.h"',
                     '"hwy/highway.h"', '"oneapi/dnnl/dnnl.hpp"')

    def test_every_step_up_is_refused(self):
        order = ["base", "tensor", "graph", "engine", "model", "serving", "rpc",
                 "app"]
        for low, folder in enumerate(order):
            for above in order[low + 1:]:
                self.refuses(f"server/{folder}/a.h", f'"server/{above}/b.h"',
                             f"server/{folder} sees only itself and")

    def test_rooms_of_a_folder_include_one_way(self):
        self.accepts("server/serving/repository/a.h",
                     '"server/serving/batching/b.h"')
        self.accepts("tests/unit/serving/a_test.cc",
                     '"server/serving/repository/b.h"')
        self.refuses("server/serving/batching/a.h",
                     '"server/serving/repository/b.h"',
                     "server/serving/batching sees only itself and")
        rooms = ["messages", "transport", "service"]
        for low, room in enumerate(rooms):
            self.accepts("server/rpc/service/a.h",
                         f'"server/rpc/{room}/b.h"')
            for above in rooms[low + 1:]:
                self.refuses(f"server/rpc/{room}/a.h",
                             f'"server/rpc/{above}/b.h"',
                             f"server/rpc/{room} sees only itself and")

    def test_siblings_do_not_see_each_other(self):
        self.refuses("server/checkpoint/a.h", '"server/engine/b.h"',
                     "server/checkpoint sees only itself and {base, tensor}")
        self.refuses("server/engine/a.h", '"server/checkpoint/b.h"',
                     "server/engine sees only itself and {base, tensor, graph}")
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
            ("server/rpc/a.h", "<boost/asio.hpp>", "Boost only in"),
            ("server/model/a.h", "<zip.h>", "libzip only in"),
            ("server/tensor/a.h", "<spdlog/spdlog.h>", "spdlog only in"),
            ("server/base/a.h", '"gtest/gtest.h"', "GoogleTest only in tests"),
            ("client/cpp/a.h", '"CLI/CLI.hpp"', "CLI11 only in"),
        ]:
            with self.subTest(file=file, include=include):
                self.refuses(file, include, rule)

    def test_an_unlisted_library_is_refused(self):
        self.refuses("server/base/a.h", "<folly/String.h>",
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
        self.refuses("client/cli/a.h", '"server/rpc/messages/decode.h"',
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
                     '"server/rpc/messages/decode.h"', '"fff/v1/inference.pb.h"')
        self.accepts("tests/unit/engine/a_test.cc", '"hwy/targets.h"')
        self.refuses("tests/unit/model/a.h", '"hwy/targets.h"',
                     "Highway only in server/engine/cpu")
        self.refuses("tests/unit/engine/a.h", '"server/model/model.h"',
                     "server/engine sees only itself and {base, tensor, graph}")
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


class FoldersTest(unittest.TestCase):

    def accepts(self, files):
        code, output = run("check_folders.py", files)
        self.assertEqual(code, 0, output)

    def refuses(self, files, finding):
        code, output = run("check_folders.py", files)
        self.assertEqual(code, 1, output)
        self.assertIn(finding, output)

    def test_a_circle_is_found_whichever_files_of_a_unit_make_it(self):
        self.refuses(
            {"server/a/x.h": "", "server/a/x.cc": '#include "server/a/x.h"\n'
                                                  '#include "server/a/y.h"\n',
             "server/a/y.h": '#include "server/b/z-inl.h"\n',
             "server/b/z.cu": '#include "server/a/x.h"\n'},
            "server/a/x.cc:2: circle of includes: server/a/x -> server/a/y -> "
            "server/b/z -> server/a/x\n")

    def test_a_unit_and_one_way_are_no_circle(self):
        self.accepts({"server/a/x.cc": '#include "server/a/x.h"\n'
                                       '#include "server/a/x-inl.h"\n'
                                       '#include "server/a/y.h"\n',
                      "server/a/w.h": '#include "server/a/x.h"\n'
                                      '#include "server/a/y.h"\n'})

    def test_forty_files_pass_and_one_more_fails(self):
        files = {f"server/a/{i}.h": "" for i in range(40)}
        self.accepts({**files, "server/a/b/room.h": "",
                      "server/a/CMakeLists.txt": ""})
        self.refuses({**files, "server/a/more-inl.h": ""},
                     "server/a: 41 source files, at most 40")


class FunctionsTest(unittest.TestCase):

    def refuses(self, files, finding):
        code, output = run("check_functions.py", files)
        self.assertEqual(code, 1, output)
        self.assertIn(finding, output)

    def accepts(self, files, lengths):
        code, output = run("check_functions.py", files)
        self.assertEqual(code, 0, output)
        self.assertIn(lengths, output)

    # Twenty short functions, so that one long one is not 5 in 100.
    SHORT = "void F() {}\n" * 20

    def test_a_function_at_the_limit_passes_and_one_line_more_fails(self):
        for path, most in (("server/a/b.cc", 70), ("server/a/b.cu", 120)):
            fine = "int F(\n    int a) {\n" + "\n" * (most - 3) + "}\n"
            self.accepts({path: self.SHORT + fine}, f"the longest {most}")
            self.refuses(
                {path: self.SHORT + fine.replace("{", "{\n")},
                f"{path}:21: a function of {most + 1} lines, at most {most}")

    def test_what_looks_like_a_brace_is_passed_over(self):
        text = ("namespace a {\nclass C : public D<int> {\n public:\n"
                "  C() : b_{1}, c_(2) {\n    Use(\"}\", '{');  // }\n  }\n"
                "#define X {\n"
                "  std::vector<int> d_ = {1, 2};\n"
                "  template <class T>\n  auto F(T t = {}) const -> int {\n"
                "    return [&] { return 1; }();\n  }\n};\n}  // namespace a\n")
        self.accepts({"server/a/b.h": text}, "2 functions of server/: half "
                     "have at most 4 lines, 95 in 100 at most 4, the longest 4")

    def test_a_function_of_values_that_go_ends_where_it_ends(self):
        two = "G B::Build() && {\n  return G();\n}\nint F() & {\n}\n"
        self.accepts({"server/a/b.cc": two}, "2 functions of server/: half "
                     "have at most 3 lines, 95 in 100 at most 3, the longest 3")

    def test_many_long_functions_are_refused(self):
        long = "void F() {" + "\n" * 30 + "}\n"
        self.refuses({"server/a/b.cc": long * 3},
                     "95 in 100 functions have at most 31 lines, wanted 30")


class ProseTest(unittest.TestCase):

    def accepts(self, file, text):
        code, output = run("check_prose.py", {file: text})
        self.assertEqual(code, 0, output)

    def refuses(self, file, text, finding):
        code, output = run("check_prose.py", {file: text})
        self.assertEqual(code, 1, output)
        self.assertIn(f"{file}:{finding}", output)

    def test_long_sentences_of_documents_are_refused(self):
        sentence = "One " + "word " * 23 + "ends.\n"  # 25 words
        self.accepts("README.md", "# T\n\n" + sentence + sentence)
        for mark in ("", "- ", "1. ", "| "):
            self.refuses("server/docs/a.md", f"# T\n\n{mark}And {sentence}",
                         "3: a sentence of 26 words, at most 25: And One word")

    def test_code_and_drawings_are_no_prose(self):
        words = "word " * 60
        self.accepts("README.md", f"```sh\n{words}\n```\n\n`{words}` is code.\n")
        self.accepts("server/a/b.h", f"//   {words}\nint {words};\n")

    def test_a_sentence_goes_on_over_lines_of_a_comment(self):
        lines = "// " + "word " * 14 + "\n"
        self.accepts("server/a/b.h", lines * 2 + "// end. Next.\n" + lines * 2)
        self.refuses("server/a/b.h", "int a;\n" + lines * 3,
                     "2: a sentence of 42 words, at most 40: word word")

    def test_files_left_for_later_are_there(self):
        for file in check_prose.LEFT:
            self.assertTrue((HERE.parents[1] / file).exists(), file)

    def test_rates_say_per(self):
        for amount, unit in [("2.5 us", "row"), ("once", "batch"), ("one sink", "layer")]:
            for gap in (" ", "\n// "):
                self.accepts("server/a/b.h", f"// It takes {amount} per{gap}{unit}.\n")
                self.refuses("server/a/b.h", f"// It takes {amount} a{gap}{unit}.\n",
                             '1: "per" is the word of a rate')
        self.accepts("server/a/b.h", "// The 20 words a lane has. It sends a row on.\n")


if __name__ == "__main__":
    unittest.main()
