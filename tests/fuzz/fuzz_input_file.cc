// The input is a file for `fffctl predict --input`: .npy, .npz, IDX, PNG or
// text.
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "client/cli/formats/npz.h"
#include "client/cli/rows/input_file.h"
#include "server/base/log.h"

namespace {

using fff::cli::Elements;

// Every message can be printed as it is.
void CheckMessage(const absl::Status& status) {
  const std::string message(status.message());
  if (message.empty() ||
      fff::base::Printable(message, message.size()) != message) {
    std::abort();
  }
}

// Rows and elements agree, and nothing is larger than the bytes can say.
void Parse(const std::string& bytes) {
  for (const Elements elements : {Elements::kFloats, Elements::kIntegers}) {
    for (const bool rows_may_differ : {false, true}) {
      const auto input =
          fff::cli::ParseInput(bytes, {elements, rows_may_differ});
      if (!input.ok()) {
        CheckMessage(input.status());
        continue;
      }
      const int64_t cells = std::accumulate(input->widths.begin(),
                                            input->widths.end(), int64_t{0});
      const size_t elements_count = elements == Elements::kFloats
                                        ? input->values.size()
                                        : input->integers.size();
      if (cells < 1 || static_cast<size_t>(cells) != elements_count) {
        std::abort();
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  Parse(bytes);
  if (!fff::cli::IsZip(bytes)) return 0;
  auto archive = fff::cli::NpzArchive::Open(bytes);
  if (!archive.ok()) {
    CheckMessage(archive.status());
    return 0;
  }
  archive->ListText();
  const auto arrays = archive->arrays();
  for (const auto& array : arrays) {
    const auto npy = archive->Read(array);
    if (npy.ok()) {
      Parse(*npy);
    } else {
      CheckMessage(npy.status());
    }
  }
  return 0;
}
