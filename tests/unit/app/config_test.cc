#include "server/app/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <iostream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "tests/unit/serving/temp_repository.h"

namespace fff::app {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kUsageError = 2;

// An environment variable that is set while this object lives.
class Variable {
 public:
  Variable(std::string name, const std::string& value)
      : name_(std::move(name)) {
    setenv(name_.c_str(), value.c_str(), /*overwrite=*/1);
  }
  ~Variable() { unsetenv(name_.c_str()); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const std::string name_;
};

// What a stream gets while this object lives.
class Captured {
 public:
  explicit Captured(std::ostream& stream)
      : stream_(stream), before_(stream.rdbuf(text_.rdbuf())) {}
  ~Captured() { stream_.rdbuf(before_); }
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;
  std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  std::ostream& stream_;
  std::streambuf* const before_;
};

class ConfigTest : public ::testing::Test {
 protected:
  // Parses a command line that names a repository already.
  EarlyExit Parse(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "--model-repository=models");
    return ParseBare(arguments);
  }

  EarlyExit ParseBare(const std::vector<std::string>& arguments) {
    std::vector<const char*> argv = {"fff-server"};
    for (const std::string& argument : arguments) {
      argv.push_back(argument.c_str());
    }
    config_ = Config();
    const Captured out(std::cout);
    const Captured error(std::cerr);
    const EarlyExit result =
        ParseConfig(static_cast<int>(argv.size()), argv.data(), config_);
    out_ = out.text();
    error_ = error.text();
    return result;
  }

  void ExpectTaken(const std::vector<std::string>& arguments) {
    EXPECT_FALSE(Parse(arguments).exit) << error_;
    EXPECT_EQ(out_ + error_, "");
  }

  // The error text when the command line is refused.
  std::string Refused(const std::vector<std::string>& arguments) {
    const EarlyExit result = Parse(arguments);
    EXPECT_TRUE(result.exit);
    EXPECT_EQ(result.exit_code, kUsageError);
    return out_ + error_;
  }

  // A config file with `text`; its path.
  std::string File(const std::string& text) {
    files_.AddFile("server.conf", text);
    return (files_ / "server.conf").string();
  }

  serving::TempRepository files_;
  Config config_;
  std::string out_;
  std::string error_;
};

TEST_F(ConfigTest, HasDefaultsForAllButTheRepository) {
  ExpectTaken({});
  EXPECT_EQ(config_.model_repository, "models");
  EXPECT_EQ(config_.host, "127.0.0.1");
  EXPECT_EQ(config_.grpc_port, 8001);
  EXPECT_EQ(config_.http_port, 8002);
  EXPECT_EQ(config_.device, "auto");
  EXPECT_EQ(config_.threads, 0);
  EXPECT_EQ(config_.tune_budget_ms, 100);
  EXPECT_EQ(config_.drain_delay_seconds, 5);
  EXPECT_EQ(config_.drain_timeout_seconds, 30);
  EXPECT_EQ(config_.max_message_bytes, int64_t{64} << 20);
  EXPECT_EQ(config_.max_metadata_bytes, 65536);
  EXPECT_EQ(config_.non_finite, "compute");
  EXPECT_TRUE(config_.benchmark);
  EXPECT_EQ(config_.log_level, "info");
  EXPECT_EQ(config_.log_format, "text");
  EXPECT_EQ(config_.access_log, "");
  EXPECT_EQ(config_.access_log_sample, 1);
  EXPECT_EQ(config_.traces.endpoint, "");
  EXPECT_EQ(config_.traces.sample, 0.01);
  EXPECT_EQ(config_.request_memory_bytes, 0);
  EXPECT_EQ(config_.unread_answer_timeout_seconds, 10);
  EXPECT_EQ(config_.overload_status, "resource_exhausted");
  EXPECT_EQ(config_.model_control, serving::ModelControl::kPoll);
  EXPECT_EQ(config_.repository_poll_seconds, 5);
  EXPECT_FALSE(config_.insecure);
  EXPECT_TRUE(config_.admin_client_names.empty());
}

TEST_F(ConfigTest, WantsARepository) {
  const EarlyExit result = ParseBare({});
  EXPECT_TRUE(result.exit);
  EXPECT_EQ(result.exit_code, kUsageError);
  EXPECT_THAT(error_, HasSubstr("--model-repository is required"));
}

TEST_F(ConfigTest, DemoStandsForTheRepositoryBesideTheProgram) {
  EXPECT_FALSE(ParseBare({"--demo"}).exit) << error_;
  EXPECT_TRUE(config_.demo);
  EXPECT_THAT(config_.model_repository,
              ::testing::EndsWith("/share/fff-serving/models"));
  // The build leaves the same layout as an installation.
  std::ifstream model(config_.model_repository + "/fashion-mnist/config.json");
  EXPECT_TRUE(model.is_open()) << config_.model_repository;
}

TEST_F(ConfigTest, DemoAndARepositoryAreRefused) {
  const EarlyExit result = Parse({"--demo"});
  EXPECT_EQ(result.exit_code, kUsageError);
  EXPECT_THAT(error_, HasSubstr("--model-repository excludes --demo"));
  EXPECT_TRUE(ParseBare({"--demo=false"}).exit) << "a repository is wanted";
}

TEST_F(ConfigTest, TakesEveryFlag) {
  const std::string pem = File("pem");
  ExpectTaken({"--host=0.0.0.0",
               "--grpc-port",
               "0",
               "--http-port=65535",
               "--device=cpu",
               "--threads=3",
               "--tune-budget-ms=0",
               "--grpc-queues=2",
               "--max-message-bytes=1024",
               "--max-connection-age=90s",
               "--max-connection-age-grace=500ms",
               "--keepalive-time=0",
               "--max-connection-streams=9",
               "--non-finite=refuse",
               "--benchmark=off",
               "--log-level=warning",
               "--log-format=json",
               "--access-log=-",
               "--access-log-sample=0.25",
               "--request-memory-bytes=1000000",
               "--unread-answer-timeout=1500ms",
               "--overload-status=unavailable",
               "--drain-delay=0",
               "--drain-timeout=7",
               "--tls-cert=" + pem,
               "--tls-key=" + pem,
               "--tls-client-ca=" + pem,
               "--model-control=explicit",
               "--load-model=a,b",
               "--load-model=c",
               "--insecure",
               "--repository-poll-seconds=250ms",
               "--admin-token-file=" + pem,
               "--admin-client-name=operator"});
  EXPECT_EQ(config_.host, "0.0.0.0");
  EXPECT_EQ(config_.grpc_port, 0);
  EXPECT_EQ(config_.http_port, 65535);
  EXPECT_EQ(config_.device, "cpu");
  EXPECT_EQ(config_.threads, 3);
  EXPECT_EQ(config_.tune_budget_ms, 0);
  EXPECT_EQ(config_.grpc_queues, 2);
  EXPECT_EQ(config_.max_message_bytes, 1024);
  EXPECT_EQ(config_.max_connection_age_seconds, 90);
  EXPECT_EQ(config_.max_connection_age_grace_seconds, 0.5);
  EXPECT_EQ(config_.keepalive_time_seconds, 0);
  EXPECT_EQ(config_.max_connection_streams, 9);
  EXPECT_EQ(config_.non_finite, "refuse");
  EXPECT_FALSE(config_.benchmark);
  EXPECT_EQ(config_.log_level, "warning");
  EXPECT_EQ(config_.log_format, "json");
  EXPECT_EQ(config_.access_log, "-");
  EXPECT_EQ(config_.access_log_sample, 0.25);
  EXPECT_EQ(config_.request_memory_bytes, 1000000);
  EXPECT_EQ(config_.unread_answer_timeout_seconds, 1.5);
  EXPECT_EQ(config_.overload_status, "unavailable");
  EXPECT_EQ(config_.drain_delay_seconds, 0);
  EXPECT_EQ(config_.drain_timeout_seconds, 7);
  EXPECT_EQ(config_.tls_cert, pem);
  EXPECT_EQ(config_.tls_key, pem);
  EXPECT_EQ(config_.tls_client_ca, pem);
  EXPECT_EQ(config_.model_control, serving::ModelControl::kExplicit);
  EXPECT_EQ(config_.load_models, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(config_.repository_poll_seconds, 0.25);
  EXPECT_TRUE(config_.insecure);
  EXPECT_EQ(config_.admin_token_file, pem);
  EXPECT_EQ(config_.admin_client_names, std::vector<std::string>{"operator"});
}

TEST_F(ConfigTest, TakesWhereSpansGo) {
  ExpectTaken({"--otlp-endpoint=collector:4317", "--otlp-ca-file=/dev/null",
               "--trace-sample=1"});
  EXPECT_EQ(config_.traces.endpoint, "collector:4317");
  EXPECT_EQ(config_.traces.ca_file, "/dev/null");
  EXPECT_EQ(config_.traces.sample, 1);
}

TEST_F(ConfigTest, TakesEveryModelControlByName) {
  using serving::ModelControl;
  const auto control = [this](const std::string& name) {
    ExpectTaken({"--model-control=" + name});
    return config_.model_control;
  };
  EXPECT_EQ(control("none"), ModelControl::kNone);
  EXPECT_EQ(control("poll"), ModelControl::kPoll);
  EXPECT_EQ(control("explicit"), ModelControl::kExplicit);
  EXPECT_THAT(Refused({"--model-control=sometimes"}),
              AllOf(HasSubstr("--model-control"), HasSubstr("sometimes")));
}

TEST_F(ConfigTest, ReadsListsAndSwitchesFromTheEnvironment) {
  const Variable models("FFF_LOAD_MODEL", "a,b");
  const Variable insecure("FFF_INSECURE", "on");
  const Variable control("FFF_MODEL_CONTROL", "explicit");
  ExpectTaken({});
  EXPECT_EQ(config_.load_models, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(config_.insecure);
  EXPECT_EQ(config_.model_control, serving::ModelControl::kExplicit);
}

TEST_F(ConfigTest, TakesWhenItIsReady) {
  ExpectTaken({});
  EXPECT_EQ(config_.ready_when, std::vector<std::string>{"all"});
  EXPECT_FALSE(config_.allow_empty);
  ExpectTaken({"--ready-when=a,b", "--allow-empty"});
  EXPECT_EQ(config_.ready_when, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(config_.allow_empty);
  const Variable when("FFF_READY_WHEN", "any");
  const Variable empty("FFF_ALLOW_EMPTY", "off");
  config_ = {};
  ExpectTaken({});
  EXPECT_EQ(config_.ready_when, std::vector<std::string>{"any"});
  EXPECT_FALSE(config_.allow_empty);
}

TEST_F(ConfigTest, RefusesNamesBesideAllOrAny) {
  ExpectTaken({"--ready-when=any,a"});
  const absl::Status status = CheckConfig(config_);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("got any beside others"));
  ExpectTaken({"--ready-when=any"});
  EXPECT_TRUE(CheckConfig(config_).ok());
}

TEST_F(ConfigTest, RefusesToLookAllTheTime) {
  for (const char* time : {"0", "0.05", "-1", "nan", "3601"}) {
    EXPECT_THAT(Refused({absl::StrCat("--repository-poll-seconds=", time)}),
                HasSubstr("wanted 0.1 to 3600 seconds"))
        << time;
  }
}

TEST_F(ConfigTest, TheHostIsAnAddressAlone) {
  ExpectTaken({"--host=[::1]"});
  EXPECT_EQ(config_.host, "::1");
  EXPECT_THAT(Refused({"--host=127.0.0.1:8001"}),
              HasSubstr("--grpc-port and --http-port take the ports"));
}

TEST(CheckConfig, PlainTextIsForLoopbackUnlessItIsMeant) {
  Config config;
  EXPECT_TRUE(CheckConfig(config).ok());
  config.host = "0.0.0.0";
  const absl::Status refused = CheckConfig(config);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("--host=0.0.0.0"), HasSubstr("--insecure")));
  config.insecure = true;
  EXPECT_TRUE(CheckConfig(config).ok());
  config.insecure = false;
  config.tls_cert = "cert.pem";
  EXPECT_TRUE(CheckConfig(config).ok());
}

TEST(CheckConfig, RefusesFlagsThatMeanNothing) {
  Config config;
  config.load_models = {"m"};
  EXPECT_THAT(std::string(CheckConfig(config).message()),
              HasSubstr("--model-control=explicit"));
  config.model_control = serving::ModelControl::kExplicit;
  EXPECT_TRUE(CheckConfig(config).ok());
  config.admin_client_names = {"operator"};
  EXPECT_THAT(std::string(CheckConfig(config).message()),
              HasSubstr("--tls-client-ca"));
}

TEST_F(ConfigTest, TheLastOfAFlagGivenTwiceCounts) {
  ExpectTaken({"--grpc-port=1", "--grpc-port=2"});
  EXPECT_EQ(config_.grpc_port, 2);
}

TEST_F(ConfigTest, ReadsTheEnvironment) {
  const Variable repository("FFF_MODEL_REPOSITORY", "from-environment");
  const Variable port("FFF_GRPC_PORT", "123");
  const Variable benchmark("FFF_BENCHMARK", "off");
  const Variable delay("FFF_DRAIN_DELAY", "250ms");
  EXPECT_FALSE(ParseBare({}).exit) << error_;
  EXPECT_EQ(config_.model_repository, "from-environment");
  EXPECT_EQ(config_.grpc_port, 123);
  EXPECT_FALSE(config_.benchmark);
  EXPECT_EQ(config_.drain_delay_seconds, 0.25);
}

TEST_F(ConfigTest, AnEmptyVariableIsNone) {
  const Variable port("FFF_GRPC_PORT", "");
  ExpectTaken({});
  EXPECT_EQ(config_.grpc_port, 8001);
}

TEST_F(ConfigTest, AVariableWithABlankIsOneValue) {
  const Variable repository("FFF_MODEL_REPOSITORY", "my models --threads=3");
  EXPECT_FALSE(ParseBare({}).exit) << error_;
  EXPECT_EQ(config_.model_repository, "my models --threads=3");
  EXPECT_EQ(config_.threads, 0);
}

TEST_F(ConfigTest, ReadsAConfigFile) {
  const std::string file = File(
      "# where the models are\n"
      "model-repository = \"from file\"\n"
      "grpc-port=77\n"
      "benchmark=off\n"
      "drain-delay=500ms\n");
  EXPECT_FALSE(ParseBare({"--config", file}).exit) << error_;
  EXPECT_EQ(config_.model_repository, "from file");
  EXPECT_EQ(config_.grpc_port, 77);
  EXPECT_FALSE(config_.benchmark);
  EXPECT_EQ(config_.drain_delay_seconds, 0.5);
}

TEST_F(ConfigTest, AFlagWinsOverTheEnvironmentAndThatOverTheFile) {
  const std::string file =
      File("grpc-port=1\nhttp-port=1\nthreads=1\nmax-message-bytes=2000\n");
  const Variable port("FFF_GRPC_PORT", "2");
  const Variable http("FFF_HTTP_PORT", "2");
  ExpectTaken({"--config=" + file, "--grpc-port=3"});
  EXPECT_EQ(config_.grpc_port, 3);
  EXPECT_EQ(config_.http_port, 2);
  EXPECT_EQ(config_.threads, 1);
  EXPECT_EQ(config_.max_message_bytes, 2000);
}

TEST_F(ConfigTest, TheEnvironmentMayNameTheConfigFile) {
  const Variable config("FFF_CONFIG", File("grpc-port=77\n"));
  ExpectTaken({});
  EXPECT_EQ(config_.grpc_port, 77);
  files_.AddFile("other.conf", "grpc-port=78\n");
  ExpectTaken({"--config", (files_ / "other.conf").string()});
  EXPECT_EQ(config_.grpc_port, 78);
}

TEST_F(ConfigTest, RefusesAFileThatIsNotThere) {
  EXPECT_THAT(Refused({"--config=/nonexistent/server.conf"}),
              HasSubstr("/nonexistent/server.conf"));
}

TEST_F(ConfigTest, RefusesAnUnknownKeyInTheFile) {
  const std::string file =
      File("# ports\nhttp-port=1\n  grpc-prot = 1\nthreads=2\nnobody=3\n");
  EXPECT_THAT(
      Refused({"--config=" + file}),
      AllOf(HasSubstr(file + ": line 3: key grpc-prot is no option; did "
                             "you mean \"grpc-port\"?\n"),
            HasSubstr(file + ": line 5: key nobody is no option\n")));
}

TEST_F(ConfigTest, RefusesASectionInTheFile) {
  EXPECT_THAT(Refused({"--config=" + File("threads=1\n[server]\nthreads=2\n")}),
              HasSubstr("line 2: there are no sections, got [server]"));
}

TEST_F(ConfigTest, ANearMatchOfAKeyOfAFileNamedInTheEnvironment) {
  const Variable config("FFF_CONFIG", File("acess-log=x\n"));
  EXPECT_THAT(Refused({}), HasSubstr("did you mean \"access-log\"?"));
}

TEST_F(ConfigTest, RefusesABadValueInTheFileAndInTheEnvironment) {
  EXPECT_THAT(Refused({"--config=" + File("grpc-port=99999\n")}),
              AllOf(HasSubstr("--grpc-port"), HasSubstr("99999")));
  const Variable threads("FFF_THREADS", "many");
  EXPECT_THAT(Refused({}), AllOf(HasSubstr("--threads"), HasSubstr("many")));
}

TEST_F(ConfigTest, RefusesUnknownFlagsAndStrayArguments) {
  EXPECT_THAT(Refused({"--grpc-prot=1"}), HasSubstr("--grpc-prot"));
  EXPECT_THAT(Refused({"models"}), HasSubstr("models"));
}

TEST_F(ConfigTest, RefusesPortsOutOfRange) {
  for (const char* port : {"65536", "-1", "http", "", "80.5"}) {
    EXPECT_THAT(Refused({absl::StrCat("--grpc-port=", port)}),
                HasSubstr("--grpc-port"))
        << port;
  }
}

TEST_F(ConfigTest, TakesDevicesByName) {
  for (const std::string device :
       {"auto", "cpu", "cuda", "cuda:0", "cuda:12"}) {
    ExpectTaken({"--device=" + device});
    EXPECT_EQ(config_.device, device);
  }
}

TEST_F(ConfigTest, RefusesOtherDevicesAndNamesThoseThereAre) {
  for (const std::string device : {"gpu", "cuda:", "cuda:x", "CPU", "cuda0"}) {
    EXPECT_THAT(
        Refused({"--device=" + device}),
        HasSubstr("got '" + device + "', wanted auto, cpu, cuda or cuda:n"));
  }
}

TEST_F(ConfigTest, TlsWantsACertificateAndItsKey) {
  const std::string pem = File("pem");
  EXPECT_THAT(Refused({"--tls-cert=" + pem}), HasSubstr("--tls-key"));
  EXPECT_THAT(Refused({"--tls-key=" + pem}), HasSubstr("--tls-cert"));
  EXPECT_THAT(Refused({"--tls-client-ca=" + pem}), HasSubstr("--tls-cert"));
  EXPECT_THAT(Refused({"--tls-cert=/nonexistent.pem", "--tls-key=" + pem}),
              HasSubstr("/nonexistent.pem"));
}

TEST_F(ConfigTest, TakesDurationsWithAndWithoutAUnit) {
  const auto delay = [this](const std::string& text) {
    ExpectTaken({"--drain-delay=" + text});
    return config_.drain_delay_seconds;
  };
  EXPECT_EQ(delay("5"), 5);
  EXPECT_EQ(delay("1.5"), 1.5);
  EXPECT_EQ(delay("5s"), 5);
  EXPECT_EQ(delay("500ms"), 0.5);
  EXPECT_EQ(delay("0"), 0);
  EXPECT_EQ(delay("0s"), 0);
}

TEST_F(ConfigTest, RefusesOtherDurations) {
  for (const std::string text :
       {"5m", "1h", "-1", "-500ms", "s", "ms", "soon", "3601", "nan"}) {
    EXPECT_THAT(Refused({"--drain-timeout=" + text}),
                HasSubstr("--drain-timeout: got '" + text +
                          "', wanted 0 to 3600 seconds: 5, 5s or 500ms"))
        << text;
  }
}

// A script's empty variable.
TEST_F(ConfigTest, AnEmptyValueIsRefusedAndTakesNoOtherArgument) {
  EXPECT_THAT(Refused({"--host=", "--grpc-port=7"}),
              HasSubstr("--host: got an empty value"));
  EXPECT_THAT(Refused({"--access-log="}),
              HasSubstr("--access-log: got an empty value"));
}

TEST_F(ConfigTest, TakesSizesWithAndWithoutAUnit) {
  const auto size = [this](const std::string& text) {
    ExpectTaken({"--max-message-bytes=" + text});
    return config_.max_message_bytes;
  };
  EXPECT_EQ(size("65536"), 65536);
  EXPECT_EQ(size("64KiB"), 64 << 10);
  EXPECT_EQ(size("64MiB"), 64 << 20);
  EXPECT_EQ(size("64 mib"), 64 << 20);
  EXPECT_EQ(size("64MB"), 64'000'000);
  ExpectTaken({"--request-memory-bytes=2GiB"});
  EXPECT_EQ(config_.request_memory_bytes, int64_t{2} << 30);
}

TEST_F(ConfigTest, TakesSizesFromTheEnvironmentAndTheFile) {
  ExpectTaken({"--config=" + File("max-message-bytes=64MiB\n"
                                  "request-memory-bytes = \"1GiB\"\n")});
  EXPECT_EQ(config_.max_message_bytes, 64 << 20);
  EXPECT_EQ(config_.request_memory_bytes, 1 << 30);
  const Variable size("FFF_MAX_MESSAGE_BYTES", "32MiB");
  ExpectTaken({});
  EXPECT_EQ(config_.max_message_bytes, 32 << 20);
}

TEST_F(ConfigTest, RefusesOtherSizesAndSaysWhatItWants) {
  for (const std::string text : {"64XB", "MiB", "1.5MiB", "-1", "1000", "3GiB",
                                 "99999999999999TiB", "much", "nan"}) {
    EXPECT_THAT(
        Refused({"--max-message-bytes=" + text}),
        AllOf(HasSubstr("--max-message-bytes"),
              HasSubstr("got '" + text + "', wanted 1024 to 2147483647 bytes")))
        << text;
  }
  const Variable size("FFF_MAX_MESSAGE_BYTES", "64XB");
  EXPECT_THAT(Refused({}), HasSubstr("--max-message-bytes: got '64XB'"));
}

TEST_F(ConfigTest, RefusesOtherValuesOutOfBounds) {
  EXPECT_THAT(Refused({"--threads=-1"}), HasSubstr("--threads"));
  EXPECT_THAT(Refused({"--threads=1025"}), HasSubstr("--threads"));
  EXPECT_THAT(Refused({"--grpc-queues=65"}), HasSubstr("--grpc-queues"));
  EXPECT_THAT(Refused({"--max-message-bytes=1023"}),
              HasSubstr("--max-message-bytes"));
  EXPECT_THAT(Refused({"--max-message-bytes=2147483648"}),
              HasSubstr("--max-message-bytes"));
  EXPECT_THAT(Refused({"--max-connection-age=-1"}),
              HasSubstr("--max-connection-age"));
  EXPECT_THAT(Refused({"--keepalive-time=never"}),
              HasSubstr("--keepalive-time"));
  EXPECT_THAT(Refused({"--max-connection-streams=-1"}),
              HasSubstr("--max-connection-streams"));
  EXPECT_THAT(Refused({"--benchmark=maybe"}), HasSubstr("--benchmark"));
  EXPECT_THAT(Refused({"--log-level=loud"}), HasSubstr("--log-level"));
  EXPECT_THAT(Refused({"--log-format=xml"}), HasSubstr("--log-format"));
  EXPECT_THAT(Refused({"--access-log-sample=1.5"}),
              HasSubstr("--access-log-sample"));
  EXPECT_THAT(Refused({"--trace-sample=2"}), HasSubstr("--trace-sample"));
  EXPECT_THAT(Refused({"--otlp-endpoint=http://a/v1/traces"}),
              HasSubstr("--otlp-endpoint: got 'http://a/v1/traces', wanted "
                        "host:port, http://host:port or https://host:port"));
  EXPECT_THAT(Refused({"--request-memory-bytes=-1"}),
              HasSubstr("--request-memory-bytes"));
}

TEST_F(ConfigTest, HelpNamesEveryOptionAndShowsAnExample) {
  for (const char* flag : {"--help", "-h"}) {
    const EarlyExit result = ParseBare({flag});
    EXPECT_TRUE(result.exit);
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(error_, "");
    for (const char* option :
         {"--model-repository", "--grpc-port", "--http-port", "--device",
          "--threads", "--tls-cert", "--tls-key", "--tls-client-ca",
          "--drain-delay", "--drain-timeout", "--max-message-bytes",
          "--benchmark", "--config", "FFF_GRPC_PORT"}) {
      EXPECT_THAT(out_, HasSubstr(option));
    }
    EXPECT_THAT(out_, HasSubstr("Example:\n  fff-server --model-repository="
                                "models --grpc-port=8001 --http-port=8002"));
  }
}

TEST_F(ConfigTest, VersionIsPrintedAndEndsWell) {
  const EarlyExit result = ParseBare({"--version"});
  EXPECT_TRUE(result.exit);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(out_, ::testing::StartsWith("fff-server "));
}

}  // namespace
}  // namespace fff::app
