// The input is a file. Few changes survive the archive's own CRC;
// fuzz_torch_pickle goes deeper behind it.
#include <cstdint>

#include "tests/fuzz/read_everything.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fff::fuzz::ReadEverything({reinterpret_cast<const char*>(data), size});
  return 0;
}
