#include "server/rpc/observe/access_log.h"

#include <gmock/gmock.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace fff::rpc {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The object that `json` is, read by protobuf's own parser.
google::protobuf::Struct Parsed(const std::string& json) {
  google::protobuf::Struct parsed;
  const auto status =
      google::protobuf::util::JsonStringToMessage(json, &parsed);
  EXPECT_TRUE(status.ok()) << status.ToString() << " " << json;
  return parsed;
}

TEST(AccessEntryToJson, HoldsWhatIsKnown) {
  AccessEntry entry;
  entry.unix_ms = 1'700'000'000'123;
  entry.method = "Predict";
  entry.model = "m:dense";
  entry.version = 3;
  entry.request_id = "r1";
  entry.status = "OK";
  entry.rows = 2;
  entry.batch_rows = 7;
  entry.compute_ns = 12'340;
  const auto fields = Parsed(ToJson(entry)).fields();
  EXPECT_EQ(fields.at("time").string_value(), "2023-11-14T22:13:20.123Z");
  EXPECT_EQ(fields.at("method").string_value(), "Predict");
  EXPECT_EQ(fields.at("model").string_value(), "m:dense");
  EXPECT_EQ(fields.at("version").number_value(), 3);
  EXPECT_EQ(fields.at("request_id").string_value(), "r1");
  EXPECT_EQ(fields.at("status").string_value(), "OK");
  EXPECT_EQ(fields.at("rows").number_value(), 2);
  EXPECT_EQ(fields.at("batch_rows").number_value(), 7);
  EXPECT_NEAR(fields.at("compute_us").number_value(), 12.3, 1e-9);
  EXPECT_EQ(fields.count("message"), 0u);
  EXPECT_EQ(fields.count("trace_id"), 0u);
}

TEST(AccessEntryToJson, NamesTheTrace) {
  const TraceContext trace = {std::string(32, 'a'), std::string(16, 'b'), true};
  AccessEntry entry;
  entry.trace = &trace;
  const auto fields = Parsed(ToJson(entry)).fields();
  EXPECT_EQ(fields.at("trace_id").string_value(), trace.trace_id);
  EXPECT_EQ(fields.at("parent_span_id").string_value(), trace.span_id);
}

TEST(AccessEntryToJson, StaysOneValidLineWhateverAPeerSends) {
  AccessEntry entry;
  entry.model = "a\"b\\c\nd\xff";
  entry.request_id = absl::string_view("\0\x1b{}", 4);
  const std::string long_message(100'000, 'x');
  entry.message = long_message;
  const std::string json = ToJson(entry);
  EXPECT_THAT(json, Not(HasSubstr("\n")));
  EXPECT_LT(json.size(), 3000u);
  EXPECT_EQ(Parsed(json).fields().at("model").string_value(),
            "a\"b\\c\\x0ad\\xff");
}

class AccessLogTest : public ::testing::Test {
 protected:
  static AccessLog Sampling(double share) {
    return AccessLog(
        std::move(base::LineLog::Open({"/dev/null", "test", "test"}).value()),
        share);
  }
};

TEST_F(AccessLogTest, WritesTheShareOfThoseThatSucceedEvenly) {
  for (const auto& [share, wanted] : std::vector<std::pair<double, int>>{
           {0, 0}, {0.1, 10}, {0.5, 50}, {1, 100}}) {
    AccessLog log = Sampling(share);
    int written = 0;
    int longest_gap = 0;
    int gap = 0;
    for (int i = 0; i < 100; ++i) {
      if (log.Wants(true, false)) {
        ++written;
        gap = 0;
      }
      longest_gap = std::max(longest_gap, ++gap);
    }
    EXPECT_NEAR(written, wanted, 1) << share;
    if (share > 0) {
      EXPECT_LE(longest_gap, 1 / share + 2);
    }
  }
}

TEST_F(AccessLogTest, WritesFailuresAndTracesAlways) {
  AccessLog log = Sampling(0);
  EXPECT_TRUE(log.Wants(false, false));
  EXPECT_TRUE(log.Wants(true, true));
  EXPECT_FALSE(log.Wants(true, false));
}

}  // namespace
}  // namespace fff::rpc
