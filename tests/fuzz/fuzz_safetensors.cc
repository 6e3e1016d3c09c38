// The input is a safetensors file without its length: the header is everything
// up to the last closing brace, so that a changed header keeps its length
// right. With a first byte of 0xff the rest is the file as it is.
#include <cstdint>
#include <string>

#include "tests/fuzz/read_everything.h"
#include "tests/unit/checkpoint/packed.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  if (!input.empty() && input[0] == '\xff') {
    fff::fuzz::ReadEverything(input.substr(1));
    return 0;
  }
  const size_t brace = input.rfind('}');
  const uint64_t header =
      brace == absl::string_view::npos ? input.size() : brace + 1;
  fff::fuzz::ReadEverything(fff::checkpoint::Packed(header) +
                            std::string(input));
  return 0;
}
