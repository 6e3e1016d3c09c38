// The input is the pickle of a torch archive, which is put around it with valid
// CRCs and a few storages, so that every change reaches the pickle machine and
// whatever tensors it builds are cut out of those storages. It is read as it is
// and with an entry of three keys, which a file may spell in four ways.
#include <cstdint>
#include <string>
#include <vector>

#include "tests/fuzz/read_everything.h"
#include "tests/unit/checkpoint/zip_writer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fff::checkpoint::MakeItem;
  const std::string pickle(reinterpret_cast<const char*>(data), size);
  const std::string archive = fff::checkpoint::WriteZip(
      {MakeItem("m/data.pkl", pickle),
       MakeItem("m/data/0", std::string(24, '\1')),
       MakeItem("m/data/1", std::string(8, '\2')),
       MakeItem("m/data/2", std::string(96, '\3')), MakeItem("m/data/3", "")});
  fff::fuzz::ReadEverything(archive);
  fff::fuzz::ReadEverything(archive, "a.b.c");
  return 0;
}
