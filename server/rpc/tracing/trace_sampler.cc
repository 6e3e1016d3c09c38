#include "server/rpc/tracing/trace_sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>

#include "absl/strings/numbers.h"

namespace fff::rpc {
namespace {

// Ids need to differ, not to be secret: 64 bits from a generator per thread,
// seeded by the system.
uint64_t RandomBits() {
  thread_local std::mt19937_64 generator([] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device(),
                       device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }());
  return generator();
}

// No id is all zero.
uint64_t RandomId() { return std::max<uint64_t>(RandomBits(), 1); }

void PutBigEndian(uint64_t bits, uint8_t* bytes) {
  for (int i = 7; i >= 0; --i) {
    bytes[i] = static_cast<uint8_t>(bits);
    bits >>= 8;
  }
}

// `hex` has two digits per byte.
template <size_t kBytes>
std::array<uint8_t, kBytes> FromHex(absl::string_view hex) {
  std::array<uint8_t, kBytes> bytes{};
  for (size_t at = 0; at + 8 <= kBytes && 2 * at + 16 <= hex.size(); at += 8) {
    uint64_t bits = 0;
    if (absl::SimpleHexAtoi(hex.substr(2 * at, 16), &bits)) {
      PutBigEndian(bits, bytes.data() + at);
    }
  }
  return bytes;
}

}  // namespace

base::TraceIds IdsOf(const TraceContext& caller) {
  return {FromHex<16>(caller.trace_id), FromHex<8>(caller.span_id)};
}

TraceSampler::TraceSampler(double ratio)
    // 2^63 times a number that is not above 1 fits.
    : bound_(
          static_cast<uint64_t>(std::ldexp(std::clamp(ratio, 0.0, 1.0), 63))) {}

std::optional<SpanIds> TraceSampler::Sample(const TraceContext* caller) const {
  SpanIds ids;
  if (caller != nullptr) {
    if (!caller->sampled) return std::nullopt;
    ids.own = IdsOf(*caller);
    ids.parent = ids.own.span_id;
  } else {
    if (bound_ == 0) return std::nullopt;
    const uint64_t end = RandomBits();
    if (!Takes(end)) return std::nullopt;
    PutBigEndian(RandomId(), ids.own.trace_id.data());
    PutBigEndian(end, ids.own.trace_id.data() + 8);
  }
  PutBigEndian(RandomId(), ids.own.span_id.data());
  return ids;
}

}  // namespace fff::rpc
