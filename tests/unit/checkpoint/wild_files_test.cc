// Files of tests/data/checkpoint/wild, as training scripts leave them.
#include <string>

#include "absl/strings/str_cat.h"
#include "server/checkpoint/checkpoint.h"
#include "tests/unit/checkpoint/test_bytes.h"

namespace fff::checkpoint {
namespace {

absl::StatusOr<Checkpoint> OpenWild(const std::string& name,
                                    const std::string& entry = "") {
  return OpenCheckpoint(
      absl::StrCat(FFF_TEST_DATA_DIR, "/checkpoint/wild/", name), entry);
}

// `file` holds the tensors of `base` under `prefix`.
void ExpectHolds(const absl::StatusOr<Checkpoint>& file, const Checkpoint& base,
                 const std::string& prefix, const std::string& context) {
  ASSERT_TRUE(file.ok()) << context << ": " << file.status();
  for (const auto& [name, wanted] : base.tensors()) {
    const NamedTensor* found = file->Find(prefix + name);
    ASSERT_NE(found, nullptr) << context << ": " << name;
    EXPECT_EQ(found->shape, wanted.shape) << context << ": " << name;
    EXPECT_EQ(found->bytes, wanted.bytes) << context << ": " << name;
  }
}

TEST(WildFilesTest, HoldTheWeightsWhateverStandsBesideThem) {
  const auto base = OpenWild("base.pt");
  ASSERT_TRUE(base.ok()) << base.status();
  ASSERT_EQ(base->tensors().size(), 6u);
  for (const char* name :
       {"counter.pt", "np_scalar.pt", "sparse_beside.pt", "tensor_attr.pt",
        "model_is_cfg.pt", "model_is_cfg_empty.pt", "nocrc.pt",
        "null_metadata.safetensors", "leading_blank.safetensors"}) {
    ExpectHolds(OpenWild(name), *base, "", name);
    EXPECT_EQ(OpenWild(name)->tensors().size(), 6u) << name;
  }
  ExpectHolds(OpenWild("lightning_multistep.ckpt"), *base, "net.", "lightning");
  for (const char* name : {"uint32.safetensors", "float8_e4m3fn.safetensors"}) {
    ExpectHolds(OpenWild(name), *base, "fff.", name);
    ExpectInvalid(OpenWild(name)->Floats("scale.s"), "which is not read");
  }
}

TEST(WildFilesTest, HoldTiedTensorsUnderBothNames) {
  const auto tied = OpenWild("pt_tied.pt");
  ASSERT_TRUE(tied.ok()) << tied.status();
  ASSERT_EQ(tied->tensors().size(), 2u);
  ExpectHolds(OpenWild("tied.safetensors"), *tied, "", "tied");
}

TEST(WildFilesTest, AreRefusedWithoutTheirData) {
  ExpectInvalid(OpenWild("skip_data.pt"), "its data were skipped");
}

TEST(WildFilesTest, AreNamedWhenTheyAreNoCheckpoints) {
  ExpectInvalid(OpenWild("lfs.bin"), "lfs.bin: this is a Git LFS pointer");
  ExpectInvalid(OpenWild("html.bin"), "this is a web page");
  ExpectInvalid(OpenWild("gz.bin"), "this is gzip");
}

}  // namespace
}  // namespace fff::checkpoint
