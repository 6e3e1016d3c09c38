// The input is an index of shards and, after a zero byte, a safetensors file
// without its length as in fuzz_safetensors. Every shard that the index names
// holds that file's tensors whose names begin with the last letter of its own.
// The last shard holds all.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "server/base/log.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/shards.h"
#include "tests/unit/checkpoint/packed.h"

namespace fff {
namespace {

constexpr char kSource[] = "fuzz.json";
constexpr size_t kShardsRead = 64;  // more only slow the search down

void Require(bool promise) {
  if (!promise) std::abort();
}

void CheckError(const absl::Status& status) {
  const std::string message(status.message());
  Require(status.code() == absl::StatusCode::kInvalidArgument);
  Require(absl::StartsWith(message, kSource));
  Require(base::Printable(message, message.size()) == message);
}

absl::StatusOr<checkpoint::Checkpoint> Parse(absl::string_view bytes) {
  const size_t brace = bytes.rfind('}');
  const uint64_t header =
      brace == absl::string_view::npos ? bytes.size() : brace + 1;
  const std::string file = checkpoint::Packed(header) + std::string(bytes);
  auto copy = std::make_shared<std::vector<std::byte>>(file.size());
  for (size_t i = 0; i < file.size(); ++i) {
    (*copy)[i] = static_cast<std::byte>(file[i]);
  }
  return checkpoint::ParseCheckpoint("shard", *copy, copy);
}

std::vector<checkpoint::Checkpoint> Shards(
    const importer::ShardIndex& index, const checkpoint::Checkpoint& whole) {
  std::vector<checkpoint::Checkpoint> shards;
  for (const std::string& file : index.files) {
    checkpoint::Checkpoint::TensorMap tensors;
    for (const auto& [name, tensor] : whole.tensors()) {
      const bool here = !name.empty() && name.front() == file.back();
      if (here || file == index.files.back()) tensors.emplace(name, tensor);
    }
    shards.push_back(whole.WithTensors(std::move(tensors)));
  }
  return shards;
}

}  // namespace
}  // namespace fff

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fff;  // NOLINT(google-build-using-namespace)
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  const auto index = importer::ParseShardIndex(input.substr(0, zero), kSource);
  if (!index.ok()) {
    CheckError(index.status());
    return 0;
  }
  Require(!index->files.empty() && index->files.size() <= importer::kShardsMax);
  for (const std::string& file : index->files) {
    Require(file.find('/') == std::string::npos && file.front() != '.');
  }
  if (zero == absl::string_view::npos || index->files.size() > kShardsRead) {
    return 0;
  }
  const auto whole = Parse(input.substr(zero + 1));
  if (!whole.ok()) return 0;
  const auto joined = importer::Joined(*index, Shards(*index, *whole));
  if (!joined.ok()) {
    CheckError(joined.status());
    return 0;
  }
  for (const auto& [name, file] : index->weight_map) {
    Require(joined->Find(name) != nullptr);
  }
  for (const auto& [name, tensor] : joined->tensors()) {
    static_cast<void>(joined->Floats(name));  // the bytes are still there
  }
  return 0;
}
