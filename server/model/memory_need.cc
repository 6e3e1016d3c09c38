#include "server/model/memory_need.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/memory_info.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/safetensors.h"
#include "server/checkpoint/safetensors_header.h"
#include "server/importer/shards.h"
#include "server/model/checkpoint_file.h"
#include "server/model/small_files.h"

namespace fff::model {
namespace {

namespace fs = std::filesystem;

int64_t FileSize(const std::string& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? 0 : static_cast<int64_t>(size);
}

// The files of a checkpoint: those that an index names, or the one.
std::vector<std::string> FilesOf(const std::string& version_dir,
                                 const std::string& file) {
  const std::string path = (fs::path(version_dir) / file).string();
  if (!IsShardIndex(file)) return {path};
  const auto text = ReadBounded(path, importer::kIndexBytesMax);
  if (!text.ok()) return {};
  const auto index = importer::ParseShardIndex(*text, path);
  if (!index.ok()) return {};
  std::vector<std::string> files;
  for (const std::string& shard : index->files) {
    files.push_back((fs::path(version_dir) / shard).string());
  }
  return files;
}

// Floats that are made of one tensor, in bytes; 0 where it is read in place.
int64_t CopyBytes(const checkpoint::SafetensorsEntry& entry,
                  uint64_t data_begin) {
  if (!entry.data_type.has_value()) return 0;
  const auto elements = static_cast<int64_t>(
      (entry.end - entry.begin) / tensor::ByteWidth(*entry.data_type));
  const bool in_place = *entry.data_type == tensor::DataType::kF32 &&
                        (data_begin + entry.begin) % sizeof(float) == 0;
  return in_place ? 0 : graph::FloatBytes(elements);
}

// What is made of a file's tensors while it is held. Of a file that is no
// safetensors file: a copy of it.
int64_t CopiesOf(const std::string& path) {
  // Opening a FIFO would wait for a writer.
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return 0;
  std::ifstream file(path, std::ios::binary);
  char first[8];
  if (!file.read(first, sizeof(first))) return 0;
  if (std::memcmp(first, "PK", 2) == 0) return FileSize(path);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, first, sizeof(header_bytes));
  if (header_bytes > checkpoint::kSafetensorsHeaderBytesMax) return 0;
  std::string text(header_bytes, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(text.size()))) {
    return 0;
  }
  const auto header = checkpoint::ParseSafetensorsHeader(text);
  if (!header.ok()) return 0;
  int64_t bytes = 0;
  for (const checkpoint::SafetensorsEntry& entry : header->tensors) {
    if (entry.begin > entry.end) continue;
    bytes += CopyBytes(entry, sizeof(header_bytes) + header_bytes);
  }
  return bytes;
}

}  // namespace

absl::Status CheckFits(absl::Span<const MemoryPart> parts, int64_t free_bytes) {
  int64_t sum = 0;
  std::string words;
  for (const MemoryPart& part : parts) {
    if (part.bytes == 0) continue;
    sum += part.bytes;
    absl::StrAppend(&words, words.empty() ? "" : " + ", part.bytes, " (",
                    part.what, ")");
  }
  if (free_bytes <= 0 || sum <= free_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("needs at least ", sum, " bytes of memory: ", words,
                   "; found ", free_bytes, " bytes free"));
}

absl::Status CheckCheckpointFits(const std::string& version_dir,
                                 const std::string& file) {
  int64_t copies = 0;
  for (const std::string& path : FilesOf(version_dir, file)) {
    copies += CopiesOf(path);
  }
  return base::Annotate(
      CheckFits({{"checkpoint", CheckpointBytes(version_dir, file)},
                 {"its tensors as float32", copies}},
                base::FreeMemoryBytes()),
      (fs::path(version_dir) / file).string());
}

absl::Status CheckKernelsFit(const graph::Graph& graph, bool twin) {
  int64_t packed = 0;
  int64_t dense = 0;
  for (const graph::Node& node : graph.nodes()) {
    const int64_t bytes = graph::Visit(
        node.op, [](const auto& op) { return op.weights_bytes(); });
    if (std::holds_alternative<graph::Linear>(node.op)) packed += bytes;
    if (graph::Routes(node.op)) dense += bytes;
  }
  return CheckFits({{"packed for kernels", packed},
                    {"dense twin; \"dense\": \"off\" in config.json leaves it "
                     "out",
                     twin ? dense : 0}},
                   base::FreeMemoryBytes());
}

int64_t CheckpointBytes(const std::string& version_dir,
                        const std::string& file) {
  int64_t bytes = 0;
  for (const std::string& path : FilesOf(version_dir, file)) {
    bytes += FileSize(path);
  }
  return bytes;
}

}  // namespace fff::model
