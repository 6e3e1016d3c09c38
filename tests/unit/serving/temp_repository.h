#pragma once

#include <filesystem>
#include <string>

#include "absl/strings/string_view.h"

namespace fff::serving {

// A fresh directory, removed with all it holds when this object goes.
class TempRepository {
 public:
  TempRepository();
  ~TempRepository();
  TempRepository(const TempRepository&) = delete;
  TempRepository& operator=(const TempRepository&) = delete;

  std::string path() const { return root_.string(); }
  std::filesystem::path operator/(const std::string& name) const {
    return root_ / name;
  }

  // All make the directories above what they make; paths are relative.
  void AddDirectory(const std::string& directory);
  void AddFile(const std::string& file, absl::string_view content);
  // `vector` is a folder of tests/data/reference/vectors, whose checkpoint
  // becomes <model>/<version>/model.safetensors.
  void AddModel(const std::string& model, int version,
                const std::string& vector = "ultrafastbert-1x6");

 private:
  std::filesystem::path root_;
};

}  // namespace fff::serving
