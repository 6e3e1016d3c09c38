#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "client/cli/formats/npy.h"
#include "client/cli/rows/read_file.h"
#include "nlohmann/json.hpp"
#include "tests/unit/client/fake_server.h"

namespace fff::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

struct Outcome {
  int code = -1;
  std::string out;
  std::string err;
};

std::string TempPath(const std::string& name) {
  return ::testing::TempDir() + "/fffctl_test_" +
         ::testing::UnitTest::GetInstance()->current_test_info()->name() + "_" +
         name;
}

std::string TempFile(const std::string& name, const std::string& contents) {
  std::string path = TempPath(name);
  EXPECT_TRUE(WriteFile(path, contents).ok());
  return path;
}

// The program itself, as a user's shell would start it.
Outcome Fffctl(const std::string& arguments) {
  const std::string out = TempPath("out");
  const std::string err = TempPath("err");
  const int status = std::system(
      (std::string(FFFCTL) + " " + arguments + " >" + out + " 2>" + err)
          .c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, *ReadFile(out),
          *ReadFile(err)};
}

// The same on a terminal of that width, standard error with it.
Outcome OnTerminal(int columns, const std::string& arguments) {
  const std::string out = TempPath("out");
  const int status = std::system(
      absl::StrCat("COLUMNS=", columns, " script --quiet --return --command '",
                   FFFCTL, " ", arguments, "' /dev/null >", out, " </dev/null")
          .c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1,
          absl::StrReplaceAll(*ReadFile(out), {{"\r", ""}}), ""};
}

class FffctlTest : public ::testing::Test {
 protected:
  Outcome OnServer(const std::string& arguments) {
    return Fffctl("--server " + server_.target() + " " + arguments);
  }
  client::FakeServer server_;
};

TEST_F(FffctlTest, PredictPrintsLabelsScoresAndAccuracy) {
  const std::string input = TempFile("in.csv", "1,1,1,1\n-1,-1,-1,-1\n");
  const std::string truth = TempFile("truth.csv", "0\n0\n");
  const Outcome outcome =
      OnServer("predict --model sum --input " + input + " --truth " + truth);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("up"), HasSubstr("down"), HasSubstr("WRONG"),
                    HasSubstr("accuracy 50.00 % (1 of 2)")));
}

TEST_F(FffctlTest, LoadAndUnloadShowTheTokenAndPrintTheModel) {
  const std::string token = TempFile("token", "s3cret\n");
  const Outcome loaded = OnServer("load sum --version 7 --token-file " + token);
  EXPECT_EQ(loaded.code, 0) << loaded.err;
  EXPECT_THAT(loaded.out,
              AllOf(HasSubstr("sum"), HasSubstr("7"), HasSubstr("ready")));
  const Outcome unloaded = OnServer("unload sum --token-file " + token);
  EXPECT_EQ(unloaded.code, 0) << unloaded.err;
  EXPECT_THAT(unloaded.out,
              AllOf(HasSubstr("unloaded"), HasSubstr("not loaded")));
}

TEST_F(FffctlTest, LoadAndUnloadSayWhyTheyWereRefused) {
  for (const std::string command : {"load", "unload"}) {
    const Outcome refused = OnServer(command + " sum");
    EXPECT_EQ(refused.code, 1);
    EXPECT_THAT(refused.err, HasSubstr("UNAUTHENTICATED"));
    const std::string token = TempFile("token", "s3cret");
    const Outcome unknown =
        OnServer(absl::StrCat(command, " nope --token-file ", token));
    EXPECT_EQ(unknown.code, 1);
    EXPECT_THAT(unknown.err, HasSubstr("NOT_FOUND"));
    EXPECT_EQ(OnServer(command).code, 2) << "no model named";
    EXPECT_EQ(OnServer(command + " sum --version -1").code, 2);
    EXPECT_EQ(OnServer(command + " sum --token-file /nonexistent").code, 2);
  }
}

TEST_F(FffctlTest, PredictSplitsRowsIntoRequestsAndWritesOutputs) {
  const std::string input =
      TempFile("in.csv", "1,1,1,1\n2,2,2,2\n3,3,3,3\n4,4,4,4\n5,5,5,5\n");
  const std::string output = TempPath("y.npy");
  const Outcome outcome =
      OnServer("predict --model sum --batch 2 --limit 4 --json --input " +
               input + " --output " + output);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(server_.predict_calls(), 2);
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["rows"], 4);
  EXPECT_EQ(json["predictions"][3]["scores"][0], 16);
  const std::string file = *ReadFile(output);
  const auto array = ParseNpy(file);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(array->shape, ::testing::ElementsAre(4, 3));
}

TEST_F(FffctlTest, PredictNormalizesImagesAndDrawsTheRouting) {
  const std::string idx(
      "\0\0\x08\x03\0\0\0\x01\0\0\0\x02\0\0\0\x02"
      "\xFF\xFF\xFF\xFF",
      20);
  const std::string input = TempFile("in.idx", idx);
  const Outcome plain =
      OnServer("predict --model sum --routing --input " + input);
  EXPECT_EQ(plain.code, 0) << plain.err;
  // Four white pixels: (1 - 0.5) / 0.5 each.
  EXPECT_THAT(plain.out, HasSubstr("0  up              4  flat 0"));
  EXPECT_THAT(plain.out, HasSubstr("root -> R -> L, leaf 2 of 4"));
  const Outcome dense = OnServer(
      "predict --model sum --dense --normalize 0,0.5 --input " + input);
  EXPECT_THAT(dense.out, HasSubstr("0  down            8  flat 0"));
}

TEST_F(FffctlTest, PredictAnswersEveryTokenOfEveryRow) {
  const std::string ids = TempFile("ids.csv", "5,-6\n7,0\n");
  const std::string mask = TempFile("mask.csv", "1,1\n1,1\n");
  const std::string truth = TempFile("truth.csv", "0,1\n0,1\n");
  const std::string output = TempPath("y.npy");
  const Outcome outcome =
      OnServer("predict --model words --input input_ids=" + ids +
               " --input attention_mask=" + mask + " --truth " + truth +
               " --routing --output " + output);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("row  token  prediction"),
                    HasSubstr("  0      1  down            6"),
                    HasSubstr("2 rows, 4 tokens in 1 request"),
                    HasSubstr("accuracy 75.00 % (3 of 4)"),
                    HasSubstr("row 1, layer 0"), HasSubstr("token 1")));
  const std::string file = *ReadFile(output);
  EXPECT_THAT(ParseNpy(file)->shape, ::testing::ElementsAre(2, 2, 3));
  EXPECT_EQ(server_.predict_calls(), 1);
}

TEST_F(FffctlTest, PredictGroupsRowsOfOneLengthAndKeepsTheirOrder) {
  // Five rows of 2 tokens fill more than a batch of 8 tokens.
  const std::string ids =
      TempFile("ids.csv", "1,1\n2,2\n3,3\n4,4\n5,5\n6\n7,7,7\n");
  const std::string output = TempPath("y.npy");
  const Outcome outcome = OnServer("predict --model words --json --input " +
                                   ids + " --output " + output);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(server_.predict_calls(), 4);
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["rows"], 7);
  ASSERT_EQ(json["predictions"].size(), 14U);
  EXPECT_EQ(json["predictions"][10]["row"], 5);
  EXPECT_EQ(json["predictions"][10]["scores"][0], 6);
  EXPECT_EQ(json["predictions"][13]["token"], 2);
  // Rows of three lengths have no shape in common.
  const std::string file = *ReadFile(output);
  EXPECT_THAT(ParseNpy(file)->shape, ::testing::ElementsAre(14, 3));
}

TEST_F(FffctlTest, PredictRefusesInputsThatDoNotFitTheModel) {
  const auto refusal = [&](const std::string& arguments) {
    const Outcome outcome = OnServer("predict --model words " + arguments);
    EXPECT_EQ(outcome.code, 1) << outcome.out;
    return outcome.err;
  };
  const std::string ids = TempFile("ids.csv", "5,6\n7,8\n");
  const std::string one = TempFile("one.csv", "1,1\n");
  const std::string halves = TempFile("halves.csv", "1,0.5\n");
  EXPECT_THAT(refusal("--input tokens=" + ids),
              HasSubstr("NOT_FOUND: model 'words' has no input 'tokens', there "
                        "is: input_ids, attention_mask"));
  EXPECT_THAT(refusal("--input " + ids + " --input attention_mask=" + one),
              HasSubstr(one + ": got 1 rows, wanted 2 as in " + ids));
  EXPECT_THAT(refusal("--input " + ids + " --input input_ids=" + one),
              HasSubstr("input 'input_ids' is given twice"));
  EXPECT_THAT(
      refusal("--input " + halves),
      HasSubstr(halves + ": CSV line 1, column 2: got 0.5, wanted whole"));
  EXPECT_THAT(refusal("--normalize 0,1 --input " + ids),
              HasSubstr("--normalize is for inputs of floats"));
  EXPECT_EQ(server_.predict_calls(), 0);
  // What the client cannot know is the server's to say.
  EXPECT_THAT(refusal("--input attention_mask=" + one),
              HasSubstr("INVALID_ARGUMENT: input_ids is missing"));
}

TEST_F(FffctlTest, PredictRefusesRowsOfTheWrongWidthByTheFilesName) {
  const std::string input = TempFile("in.csv", "1,2,3\n");
  const Outcome outcome = OnServer("predict --model sum --input " + input);
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err,
              AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr(input),
                    HasSubstr("rows of 3 values"), HasSubstr("wants 4")));
  EXPECT_EQ(server_.predict_calls(), 0);
}

TEST_F(FffctlTest, FailedCallPrintsCodeAndMessageAndExitsWithOne) {
  const std::string input = TempFile("in.csv", "1,2,3,4\n");
  const Outcome outcome = OnServer("predict --model other --input " + input);
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err,
            "fffctl: NOT_FOUND: no model 'other', there is: sum\n");
  EXPECT_EQ(outcome.out, "");
}

TEST_F(FffctlTest, ModelsListsStatesKindsAndReasons) {
  const Outcome outcome = OnServer("models");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("sum:dense"), HasSubstr("ready"),
                    HasSubstr("trained"), HasSubstr("default"),
                    HasSubstr("FAILED"), HasSubstr("header is cut")));
  const auto json = nlohmann::json::parse(OnServer("models --json").out);
  EXPECT_EQ(json["models"][3]["state"], "FAILED");
  EXPECT_THAT(outcome.out, HasSubstr("pixels FP32 [4]"));
  EXPECT_EQ(json["models"][2]["inputs"][0], "input_ids INT64 [sequence]");
}

size_t LongestLine(const std::string& text) {
  size_t longest = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    longest = std::max(longest, line.size());
  }
  return longest;
}

TEST_F(FffctlTest, ModelsAndStatusFitTheTerminal) {
  const std::string server = "--server " + server_.target();
  const Outcome models = OnTerminal(40, server + " models");
  EXPECT_EQ(models.code, 0) << models.out;
  EXPECT_LE(LongestLine(models.out), 42u) << models.out;  // "…" has 3 bytes
  EXPECT_THAT(models.out, AllOf(HasSubstr("sum:dense"), HasSubstr("…"),
                                Not(HasSubstr("pixels FP32"))));
  const Outcome status = OnTerminal(40, server + " status");
  EXPECT_LE(LongestLine(status.out), 60u) << status.out;  // but its first line
  EXPECT_THAT(OnTerminal(40, server + " models --wide").out,
              HasSubstr("pixels FP32 [4]"));
  EXPECT_THAT(OnTerminal(40, server + " status --wide").out,
              HasSubstr("least predicted cost"));
}

TEST_F(FffctlTest, WhatIsNoTerminalGetsWholeLinesWhateverColumnsSays) {
  setenv("COLUMNS", "40", 1);
  const Outcome models = OnServer("models");
  unsetenv("COLUMNS");
  EXPECT_THAT(models.out, HasSubstr("pixels FP32 [4]"));
}

TEST_F(FffctlTest, StatusShowsHealthAndKernels) {
  const Outcome outcome = OnServer("status");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("fake 9.9"), HasSubstr("health SERVING"),
                    HasSubstr("live, not ready"), HasSubstr("leaf_walk"),
                    HasSubstr("least predicted cost")));
  EXPECT_THAT(outcome.out,
              HasSubstr("attention_mask  INT64 [sequence], optional"));
  const auto json = nlohmann::json::parse(OnServer("status --json").out);
  const auto& mask = json["loaded"][2]["inputs"][1];
  EXPECT_EQ(mask["datatype"], "INT64");
  EXPECT_EQ(mask["shape"][0], -1);
  EXPECT_EQ(mask["optional"], true);
  EXPECT_EQ(json["ready"], false);
  EXPECT_EQ(json["loaded"][0]["layers"][0]["kernels"][0]["kernel"],
            "leaf_walk");
}

TEST_F(FffctlTest, AFileThatCannotBeWrittenLosesNoResult) {
  const std::string nowhere = TempPath("no-folder/file");
  const Outcome measured =
      OnServer("benchmark --model sum --rows 16 --json --svg " + nowhere);
  EXPECT_EQ(measured.code, 1);
  EXPECT_THAT(measured.err, HasSubstr(nowhere + ": cannot be written"));
  EXPECT_EQ(nlohmann::json::parse(measured.out)["speedup"], 4);
  const std::string input = TempFile("in.csv", "1,1,1,1\n");
  const Outcome predicted =
      OnServer("predict --model sum --input " + input + " --output " + nowhere);
  EXPECT_EQ(predicted.code, 1);
  EXPECT_THAT(predicted.err, HasSubstr(nowhere + ": cannot be written"));
  EXPECT_THAT(predicted.out, HasSubstr("up"));
}

TEST_F(FffctlTest, BenchmarkPrintsTheTableAndWritesTheChart) {
  const std::string chart = TempPath("chart.svg");
  const Outcome outcome =
      OnServer("benchmark --model sum --rows 1,16 --svg " + chart);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("4.00x"), HasSubstr("leaf_walk"),
                                 HasSubstr("1.00 µs")));
  // Standard error is no terminal here, so no bar is drawn.
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(*ReadFile(chart), HasSubstr("</svg>"));
  const auto json = nlohmann::json::parse(
      OnServer("benchmark --model sum --rows 16 --json").out);
  EXPECT_EQ(json["rows"], 16);
  EXPECT_EQ(json["speedup"], 4);
}

// The FFF answers all rows right, the dense twin none.
TEST_F(FffctlTest, BenchmarkOnOwnRowsSaysWhatToDeploy) {
  std::string rows;
  std::string labels;
  for (int i = 0; i < 300; ++i) {
    rows += i % 2 == 0 ? "1,1,1,1\n" : "-1,-1,-1,-1\n";
    labels += i % 2 == 0 ? "0\n" : "1\n";
  }
  const std::string data = "benchmark --model sum --data " +
                           TempFile("in.csv", rows) + " --truth " +
                           TempFile("truth.csv", labels);
  const std::string chart = TempPath("chart.svg");
  const Outcome outcome = OnServer(data + " --recommend --svg " + chart);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("on 300 rows"), HasSubstr("100.00%"),
                                 HasSubstr("0.00%"),
                                 HasSubstr("rows 1 to 256: the FFF; "
                                           "4.00x faster than dense")));
  EXPECT_THAT(*ReadFile(chart), HasSubstr("</svg>"));
  const auto json = nlohmann::json::parse(OnServer(data + " --json").out);
  EXPECT_EQ(json["candidates"][0]["accuracy"]["value"], 1);
  EXPECT_EQ(json["candidates"][1]["accuracy"]["value"], 0);
  EXPECT_EQ(json["classes"].size(), 2U);
  EXPECT_EQ(json["classes"][0]["label"], "up");
  EXPECT_EQ(json["advice"][0]["choice"], "FFF");
}

TEST_F(FffctlTest, BenchmarkOnOwnRowsWithoutTruthMeasuresTimeAlone) {
  const Outcome outcome = OnServer("benchmark --model sum --data " +
                                   TempFile("in.csv", "1,1,1,1\n2,2,2,2\n"));
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("4.00x"), Not(HasSubstr("accuracy"))));
  EXPECT_EQ(server_.predict_calls(), 0);
}

TEST_F(FffctlTest, BenchmarkOnOwnRowsRefusesWhatItCannotMeasure) {
  const std::string input = TempFile("in.csv", "1,1,1,1\n2,2,2,2\n");
  const std::string base = "benchmark --model sum --data " + input;
  const auto says = [&](const std::string& arguments, const char* what) {
    const Outcome outcome = OnServer(arguments);
    EXPECT_EQ(outcome.code, 1) << arguments;
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, HasSubstr(what));
  };
  says(base + " --rows 3", "got 2 rows, wanted at least the 3");
  says(base + " --truth " + TempFile("short.csv", "1\n"),
       "got 1 labels, wanted one for each of 2 rows");
  says(base + " --truth " + TempFile("beyond.csv", "1\n3\n"),
       "got label 3 for row 1, wanted 0 to 2");
  says("benchmark --model sum --data " + TempFile("wide.csv", "1,1,1\n"),
       "rows of 3 values");
  says("benchmark --model nope --data " + input, "no model 'nope'");
  says("benchmark --model sum:dense --data " + input, "wanted 'sum'");
  says(base + " --threads 9", "measures with random rows only");
}

TEST(FffctlUsageTest, OwnRowsNeedTheirModelAndTruthItsRows) {
  const std::string input = TempFile("in.csv", "1\n");
  EXPECT_EQ(Fffctl("benchmark --in-process --case tiny --data " + input).code,
            2);
  const Outcome outcome = Fffctl("benchmark --model a --truth " + input);
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--data"));
  EXPECT_EQ(Fffctl("benchmark --model a --recommend --data " + input).code, 2);
  EXPECT_EQ(Fffctl("benchmark --model a --data /nonexistent").code, 2);
}

TEST(FffctlUsageTest, ServerThatIsNotThereIsUnavailable) {
  const Outcome outcome = Fffctl(
      "--server unix-abstract:fff-nobody-listens --timeout 5000ms models");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("fffctl: UNAVAILABLE: "));
}

TEST(FffctlUsageTest, TheEnvironmentNamesTheServer) {
  const client::FakeServer server;
  setenv("FFF_SERVER", server.target().c_str(), 1);
  const Outcome outcome = Fffctl("models");
  unsetenv("FFF_SERVER");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
}

TEST(FffctlUsageTest, WrongUsageExitsWithTwo) {
  EXPECT_EQ(Fffctl("").code, 2);
  EXPECT_EQ(Fffctl("guess").code, 2);
  EXPECT_THAT(Fffctl("predit --model sum").err,
              HasSubstr("predit is not known; did you mean predict?"));
  EXPECT_THAT(Fffctl("models --jsno").err,
              HasSubstr("--jsno is not known; did you mean --json?"));
  EXPECT_EQ(Fffctl("predict --model sum").code, 2);
  EXPECT_EQ(Fffctl("predict --model sum --input /nonexistent").code, 2);
  EXPECT_EQ(Fffctl("predict --model sum --input ids=/nonexistent").code, 2);
  EXPECT_EQ(Fffctl("benchmark").code, 2);
  EXPECT_EQ(Fffctl("benchmark --in-process").code, 2);
  EXPECT_EQ(Fffctl("benchmark --case tiny").code, 2);
  EXPECT_EQ(Fffctl("benchmark --model a --in-process --case tiny").code, 2);
  EXPECT_EQ(Fffctl("benchmark --model a --rows 0").code, 2);
  EXPECT_EQ(Fffctl("benchmark --model a --engine auto").code, 2);
  EXPECT_EQ(Fffctl("benchmark --in-process --case tiny --engine dense").code,
            2);
  EXPECT_EQ(Fffctl("benchmark --model a --precision bf16").code, 2);
  EXPECT_EQ(Fffctl("benchmark --in-process --case tiny --precision fp8").code,
            2);
  EXPECT_EQ(Fffctl("benchmark --model a --rows 1,many").code, 2);
  EXPECT_EQ(Fffctl("models --timeout -1").code, 2);
  EXPECT_EQ(Fffctl("models --timeout nan").code, 2);
  const std::string input = TempFile("in.csv", "1\n");
  EXPECT_EQ(Fffctl("predict --model a --normalize x --input " + input).code, 2);
}

TEST(FffctlUsageTest, EveryHelpEndsWithAnExample) {
  for (const char* command : {"", "predict", "benchmark", "claims", "models",
                              "status", "inspect", "verify"}) {
    const Outcome outcome = Fffctl(std::string(command) + " --help");
    EXPECT_EQ(outcome.code, 0) << command;
    EXPECT_THAT(outcome.out, HasSubstr("Example")) << command;
    EXPECT_THAT(outcome.out, HasSubstr("fffctl")) << command;
  }
}

TEST(FffctlInProcessTest, RunsABuiltInCaseWithoutAServer) {
  const Outcome outcome = Fffctl(
      "benchmark --in-process --case=tiny --rows=8 --threads=1 "
      "--seconds 0.001 --json");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["case"], "tiny");
  EXPECT_EQ(json["rows"], 8);
  EXPECT_EQ(json["threads"], 1);
  EXPECT_GT(json["fff"]["median_s"], 0);
  EXPECT_GT(json["dense"]["median_s"], 0);
  EXPECT_GT(json["speedup"], 0);
  EXPECT_EQ(json["distinct_leaves"], 8);
  EXPECT_FALSE(json["kernel"].get<std::string>().empty());
}

TEST(FffctlInProcessTest, FewerBitsReadFewerBytes) {
  const auto bytes = [](const std::string& precision) {
    const Outcome outcome = Fffctl(
        "benchmark --in-process --case=tiny --rows=8 --threads=1 "
        "--seconds=0.001 --twin-only --json --precision=" +
        precision);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out)["fff_bytes_per_row"]
        .get<double>();
  };
  const double fp32 = bytes("fp32");
  EXPECT_LT(bytes("bf16"), fp32);
  EXPECT_LT(bytes("int8"), bytes("bf16"));
}

TEST(FffctlInProcessTest, EngineAutoMayEvaluateTheFffDensely) {
  const auto kernel = [](const std::string& engine) {
    const Outcome outcome = Fffctl(
        "benchmark --in-process --case=path-768-t128-l5 --depths=1 --rows=64 "
        "--threads=1 --seconds=0.001 --twin-only --tune-budget-ms=0 --json "
        "--engine=" +
        engine);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out)["kernel"].get<std::string>();
  };
  EXPECT_EQ(kernel("fff"), "path_tiled");
  EXPECT_EQ(kernel("auto"), "path_masked");
}

TEST(FffctlInProcessTest, UnknownCaseListsTheKnownOnes) {
  const Outcome outcome = Fffctl("benchmark --in-process --case=none");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err,
              AllOf(HasSubstr("NOT_FOUND"), HasSubstr("path-768-l12")));
}

TEST(FffctlInProcessTest, ListsItsCases) {
  const Outcome outcome = Fffctl("benchmark --list-cases");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("sap-16384-d14"),
                    HasSubstr("leaf-768-32-768-d12"), Not(HasSubstr("#"))));
}

}  // namespace
}  // namespace fff::cli
