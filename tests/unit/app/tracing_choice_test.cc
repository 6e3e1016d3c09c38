#include "server/app/tracing_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace fff::app {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

using Variables = std::map<std::string, std::string>;

TraceChoice Choose(const Variables& variables, const TraceFlags& flags = {}) {
  return ChooseTracing(
      flags,
      [&variables](const char* name) {
        const auto found = variables.find(name);
        return found == variables.end() ? std::string() : found->second;
      },
      "node", 42);
}

TEST(ChooseTracing, NothingIsExportedWithoutAnEndpoint) {
  const TraceChoice choice = Choose({{"OTEL_SERVICE_NAME", "a"}});
  EXPECT_FALSE(choice.options.enabled());
  EXPECT_THAT(choice.warnings, IsEmpty());
}

TEST(ChooseTracing, TheFlagsDecide) {
  TraceFlags flags;
  flags.endpoint = "https://collector:99";
  flags.ca_file = "own.pem";
  flags.sample = 0.5;
  const TraceChoice choice =
      Choose({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://other"},
              {"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"},
              {"OTEL_EXPORTER_OTLP_CERTIFICATE", "other.pem"},
              {"OTEL_SDK_DISABLED", "true"}},
             flags);
  EXPECT_EQ(choice.options.endpoint.target, "collector:99");
  EXPECT_TRUE(choice.options.endpoint.tls);
  EXPECT_EQ(choice.options.ca_file, "own.pem");
  EXPECT_EQ(choice.options.sample, 0.5);
  EXPECT_THAT(choice.warnings, IsEmpty());
}

TEST(ChooseTracing, TakesTheStandardVariables) {
  const TraceChoice choice =
      Choose({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4317"},
              {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces:4318/"},
              {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"},
              {"OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem"}});
  EXPECT_EQ(choice.options.endpoint.target, "traces:4318");
  EXPECT_TRUE(choice.options.endpoint.tls);
  EXPECT_EQ(choice.options.ca_file, "ca.pem");
  EXPECT_THAT(choice.warnings, IsEmpty());
}

TEST(ChooseTracing, AVariableWithoutASchemeMeansTlsUnlessInsecure) {
  Variables variables = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"}};
  EXPECT_TRUE(Choose(variables).options.endpoint.tls);
  variables["OTEL_EXPORTER_OTLP_INSECURE"] = "True";
  EXPECT_FALSE(Choose(variables).options.endpoint.tls);
}

TEST(ChooseTracing, CanBeSwitchedOffForEveryProgram) {
  const TraceChoice choice =
      Choose({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"},
              {"OTEL_SDK_DISABLED", "TRUE"}});
  EXPECT_FALSE(choice.options.enabled());
  EXPECT_THAT(choice.warnings, IsEmpty());
}

TEST(ChooseTracing, WhatOtherProgramsUnderstandDoesNotStopThisOne) {
  const TraceChoice protocol =
      Choose({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318"},
              {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"}});
  EXPECT_FALSE(protocol.options.enabled());
  EXPECT_THAT(protocol.warnings,
              ElementsAre("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: got "
                          "'http/protobuf', wanted grpc; no spans are "
                          "exported"));
  const TraceChoice path =
      Choose({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318/v1/traces"}});
  EXPECT_FALSE(path.options.enabled());
  EXPECT_THAT(path.warnings,
              ElementsAre(HasSubstr("OTEL_EXPORTER_OTLP_ENDPOINT: got "
                                    "'http://a:4318/v1/traces', wanted")));
}

TEST(ChooseTracing, NamesTheProcess) {
  Variables variables = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"}};
  EXPECT_THAT(Choose(variables).options.resource,
              ElementsAre(Pair("service.name", "fff-server"),
                          Pair("service.version", FFF_VERSION),
                          Pair("service.instance.id", "node:42"),
                          Pair("host.name", "node")));
  variables["OTEL_RESOURCE_ATTRIBUTES"] =
      "service.name=left, k8s.pod.name = p%201 ,,host.name=b=c,empty=";
  variables["OTEL_SERVICE_NAME"] = "scores";
  EXPECT_THAT(Choose(variables).options.resource,
              ElementsAre(Pair("service.name", "scores"),
                          Pair("service.version", FFF_VERSION),
                          Pair("service.instance.id", "node:42"),
                          Pair("host.name", "b=c"), Pair("k8s.pod.name", "p 1"),
                          Pair("empty", "")));
}

TEST(ChooseTracing, AttributesThatCannotBeReadAreLeftAsideAndTold) {
  for (const char* text : {"a", "a=1,b", "=1", "a=%2", "a=%zz", "a=%ff"}) {
    const TraceChoice choice =
        Choose({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"},
                {"OTEL_RESOURCE_ATTRIBUTES", text}});
    EXPECT_TRUE(choice.options.enabled());
    EXPECT_THAT(choice.options.resource, Not(Contains(Pair("a", "1"))));
    EXPECT_THAT(choice.warnings,
                ElementsAre(HasSubstr("OTEL_RESOURCE_ATTRIBUTES: got '")))
        << text;
  }
}

}  // namespace
}  // namespace fff::app
