#include "server/app/status_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/serving/test_layer.h"
#include "tests/unit/serving/test_servable.h"

namespace fff::app {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

nlohmann::json Parse(const StatusFacts& facts,
                     const std::vector<serving::VersionStatus>& versions) {
  const std::string text = StatusJson(facts, versions);
  EXPECT_TRUE(nlohmann::json::accept(text)) << text;
  return nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
}

TEST(StatusPage, IsOneDocumentThatLoadsNothingFromElsewhere) {
  const std::string page(StatusPage());
  EXPECT_THAT(page, HasSubstr("<html"));
  EXPECT_THAT(page, HasSubstr("</html>"));
  EXPECT_THAT(page, Not(HasSubstr("src=\"http")));
  EXPECT_THAT(page, Not(HasSubstr("href=\"http")));
  EXPECT_THAT(std::string(kStatusPagePolicy), HasSubstr("connect-src 'self'"));
}

TEST(StatusJson, OfAServerWithoutModels) {
  const nlohmann::json status = Parse(
      {"1.2.3", "a processor", 4, false, "any", "no model is loaded"}, {});
  EXPECT_EQ(status["server"]["version"], "1.2.3");
  EXPECT_EQ(status["server"]["cpu"], "a processor");
  EXPECT_EQ(status["server"]["threads"], 4);
  EXPECT_EQ(status["server"]["ready"], false);
  EXPECT_EQ(status["server"]["ready_when"], "any");
  EXPECT_EQ(status["server"]["not_ready_because"], "no model is loaded");
  EXPECT_TRUE(status["models"].empty());
  EXPECT_TRUE(status["models"].is_array());
}

TEST(StatusJson, OfAVersionThatIsServed) {
  serving::VersionStatus version;
  version.model_name = "m";
  version.version = 3;
  version.state = serving::VersionState::kReady;
  version.is_default = true;
  serving::DoublingLayer::Options layer;
  layer.routing = {graph::RoutingShape::Family::kLeaf, 1, 5, 5};
  version.fff = serving::MakeServable(serving::MakeModel(layer));
  version.dense = serving::MakeServable(
      serving::MakeModel(serving::DoublingLayer::Options()),
      {"m", 3, serving::Implementation::kDense, {}});
  const nlohmann::json status = Parse({}, {version});
  ASSERT_EQ(status["models"].size(), 1u);
  const nlohmann::json& model = status["models"][0];
  EXPECT_EQ(model["name"], "m");
  EXPECT_EQ(model["version"], 3);
  EXPECT_EQ(model["state"], "ready");
  EXPECT_EQ(model["default"], true);
  ASSERT_EQ(model["implementations"].size(), 2u);
  EXPECT_EQ(model["implementations"][0]["name"], "fff");
  EXPECT_EQ(model["implementations"][1]["name"], "dense");
  EXPECT_EQ(model["implementations"][0]["outputs"],
            nlohmann::json::array({"output"}));
  EXPECT_EQ(model["implementations"][0]["layers"][0]["depth"], 5);
  EXPECT_EQ(model["implementations"][0]["layers"][0]["description"],
            "doubling");
}

TEST(StatusJson, SaysWhereTheTimeOfSampledBatchesWent) {
  serving::DoublingLayer::Options routed;
  routed.name = "routed";
  routed.routing = {graph::RoutingShape::Family::kLeaf, 1, 5, 5};
  serving::VersionStatus version;
  version.model_name = "m";
  version.fff = serving::MakeServable(
      serving::MakeModel({serving::DoublingLayer::Options(), routed}));
  const auto times = [&version] {
    return Parse({},
                 {version})["models"][0]["implementations"][0]["layer_times"];
  };
  EXPECT_TRUE(times().is_null());
  version.fff->parts().layer_times->Record({{3'000'000, 1'000'000}, 8, 16});
  const nlohmann::json found = times();
  EXPECT_EQ(found["batches"], 1);
  EXPECT_EQ(found["rows"], 8);
  EXPECT_EQ(found["tokens"], 16);
  ASSERT_EQ(found["groups"].size(), 2u);
  EXPECT_EQ(found["groups"][0]["layer"], "fff: doubling");
  EXPECT_EQ(found["groups"][0]["feedforward"], false);
  EXPECT_EQ(found["groups"][1]["feedforward"], true);
  EXPECT_EQ(found["groups"][1]["count"], 1);
  EXPECT_DOUBLE_EQ(found["groups"][1]["seconds"], 1e-3);
}

TEST(StatusJson, OfAVersionThatFailedIsJsonWhateverTheReasonHolds) {
  serving::VersionStatus version;
  version.model_name = "a \"quoted\" name";
  version.state = serving::VersionState::kFailed;
  version.reason = "not UTF-8: \xff\xfe, a\nnewline and </script>";
  const nlohmann::json status = Parse({}, {version});
  const nlohmann::json& model = status["models"][0];
  EXPECT_EQ(model["name"], "a \"quoted\" name");
  EXPECT_EQ(model["state"], "failed");
  EXPECT_THAT(model["reason"].get<std::string>(), HasSubstr("a\nnewline"));
  EXPECT_TRUE(model["implementations"].empty());
}

}  // namespace
}  // namespace fff::app
