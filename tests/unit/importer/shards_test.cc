#include "server/importer/shards.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fff::importer {
namespace {

using checkpoint::Checkpoint;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Index(const std::string& map) {
  return absl::StrCat(R"({"metadata": {"total_size": 8}, "weight_map": )", map,
                      "}");
}

// A file of tensors of one float.
Checkpoint Shard(const std::string& source,
                 const std::vector<std::string>& names) {
  auto value = std::make_shared<float>(2.0F);
  Checkpoint::TensorMap tensors;
  for (const std::string& name : names) {
    tensors[name] = {tensor::DataType::kF32,
                     {1},
                     {reinterpret_cast<const std::byte*>(value.get()), 4}};
  }
  return Checkpoint(source, "safetensors", std::move(tensors), value);
}

TEST(ShardsTest, NamesEachFileOnce) {
  const auto index =
      ParseShardIndex(Index(R"({"b": "2.safetensors", "a": "1.safetensors",
                "c": "1.safetensors"})"),
                      "index.json");
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_THAT(index->files, ElementsAre("1.safetensors", "2.safetensors"));
  EXPECT_EQ(index->weight_map.at("b"), "2.safetensors");
}

TEST(ShardsTest, ATensorGoesBeforeAnAliasOfAnotherShard) {
  Checkpoint first = Shard("1", {"x"});
  Checkpoint::TensorMap tensors = first.tensors();
  tensors["y"] = tensors["z"] = tensors["x"];
  tensors["y"].optional = tensors["z"].optional = true;
  first = first.WithTensors(tensors);
  const auto index =
      ParseShardIndex(Index(R"({"x": "1", "y": "2", "z": "1"})"), "index.json");
  ASSERT_TRUE(index.ok()) << index.status();
  const auto joined = Joined(*index, {first, Shard("2", {"y"})});
  ASSERT_TRUE(joined.ok()) << joined.status();
  EXPECT_FALSE(joined->Find("y")->optional);
  EXPECT_TRUE(joined->Find("z")->optional);
}

TEST(ShardsTest, RefusesFilesElsewhere) {
  for (const char* file : {R"("../a")", R"("/etc/passwd")", R"("a/b")",
                           R"("a\\b")", R"(".a")", R"("")", "3", "null"}) {
    const auto index = ParseShardIndex(
        Index(absl::StrCat(R"({"w": )", file, "}")), "index.json");
    ASSERT_FALSE(index.ok()) << file;
    EXPECT_EQ(index.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(index.status().message()),
                HasSubstr("index.json: weight_map.w: found "));
  }
}

TEST(ShardsTest, RefusesWhatIsNoIndex) {
  for (const char* json :
       {"{}", "[]", R"({"weight_map": {}})", R"({"weight_map": ["a"]})"}) {
    const auto index = ParseShardIndex(json, "index.json");
    ASSERT_FALSE(index.ok()) << json;
    EXPECT_THAT(std::string(index.status().message()),
                HasSubstr("index.json: weight_map: wanted an object"));
  }
  const auto twice =
      ParseShardIndex(Index(R"({"a": "1", "a": "2"})"), "index.json");
  EXPECT_THAT(std::string(twice.status().message()),
              HasSubstr("key \"a\" occurs twice"));
}

TEST(ShardsTest, JoinsTensorsAndKeepsTheirStorage) {
  const auto index =
      ParseShardIndex(Index(R"({"a": "1", "b": "2"})"), "index.json");
  ASSERT_TRUE(index.ok()) << index.status();
  absl::StatusOr<Checkpoint> joined;
  {
    const std::vector<Checkpoint> shards = {Shard("1", {"a"}),
                                            Shard("2", {"b"})};
    joined = Joined(*index, shards);
  }
  ASSERT_TRUE(joined.ok()) << joined.status();
  EXPECT_EQ(joined->source(), "index.json");
  EXPECT_EQ(joined->tensors().size(), 2U);
  const auto floats = joined->Floats("b");
  ASSERT_TRUE(floats.ok()) << floats.status();
  EXPECT_EQ((*floats)[0], 2.0F);
}

TEST(ShardsTest, RefusesTensorsThatAreTwiceOrNowhere) {
  const auto index =
      ParseShardIndex(Index(R"({"a": "1", "b": "2"})"), "index.json");
  ASSERT_TRUE(index.ok()) << index.status();
  const std::vector<Checkpoint> twice = {Shard("1", {"a"}),
                                         Shard("2", {"a", "b"})};
  EXPECT_THAT(std::string(Joined(*index, twice).status().message()),
              HasSubstr("index.json: tensor \"a\" is in both 1 and 2"));
  const std::vector<Checkpoint> missing = {Shard("1", {"a"}), Shard("2", {})};
  EXPECT_THAT(std::string(Joined(*index, missing).status().message()),
              HasSubstr("index.json: tensor \"b\" is missing, wanted it in 2"));
}

}  // namespace
}  // namespace fff::importer
