#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/unit/checkpoint/packed.h"

namespace fff::checkpoint {

// One entry of a zip archive as its headers state it; a test changes what is to
// be a lie.
struct ZipItem {
  std::string name;
  std::string content;  // as it lies in the archive
  uint16_t method = 0;  // 0 stored, 8 deflate
  uint16_t flags = 0;   // 1 encrypted
  uint32_t size = 0;    // set by MakeItem: the content's size
  uint32_t compressed_size = 0;
  uint32_t crc = 0;
};

inline uint32_t Crc32(absl::string_view text) {
  uint32_t crc = 0xffffffffu;
  for (const char c : text) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
    }
  }
  return ~crc;
}

inline ZipItem MakeItem(const std::string& name, const std::string& content) {
  const auto size = static_cast<uint32_t>(content.size());
  return {name, content, 0, 0, size, size, Crc32(content)};
}

// Version, flags, method, time, date, CRC and the two sizes: common to both
// headers of an entry.
inline std::string CommonHeader(const ZipItem& item) {
  return Packed(uint16_t{20}, item.flags, item.method, uint16_t{0},
                uint16_t{33}, item.crc, item.compressed_size, item.size,
                static_cast<uint16_t>(item.name.size()), uint16_t{0});
}

// The three records that end an archive with 64-bit counts.
inline std::string ZipEnd64(uint64_t count, uint64_t directory_bytes,
                            uint64_t directory_start) {
  const uint64_t end = directory_start + directory_bytes;
  return "PK\6\6" +
         Packed(uint64_t{44}, uint16_t{45}, uint16_t{45}, uint32_t{0},
                uint32_t{0}, count, count, directory_bytes, directory_start) +
         "PK\6\7" + Packed(uint32_t{0}, end, uint32_t{1}) + "PK\5\6" +
         Packed(uint16_t{0}, uint16_t{0}, uint16_t{0xffff}, uint16_t{0xffff},
                ~uint32_t{0}, ~uint32_t{0}, uint16_t{0});
}

// A zip archive of those entries. Source: APPNOTE.TXT 4.3.
inline std::string WriteZip(const std::vector<ZipItem>& items) {
  std::string archive;
  std::string directory;
  for (const ZipItem& item : items) {
    const auto offset = static_cast<uint32_t>(archive.size());
    archive += "PK\3\4" + CommonHeader(item) + item.name + item.content;
    directory +=
        "PK\1\2" + Packed(uint16_t{20}) + CommonHeader(item) +
        Packed(uint16_t{0}, uint16_t{0}, uint16_t{0}, uint32_t{0}, offset) +
        item.name;
  }
  if (items.size() >= 0xffff) {
    return archive + directory +
           ZipEnd64(items.size(), directory.size(), archive.size());
  }
  const auto count = static_cast<uint16_t>(items.size());
  const auto start = static_cast<uint32_t>(archive.size());
  return archive + directory + "PK\5\6" +
         Packed(uint16_t{0}, uint16_t{0}, count, count,
                static_cast<uint32_t>(directory.size()), start, uint16_t{0});
}

}  // namespace fff::checkpoint
