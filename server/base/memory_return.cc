#include "server/base/memory_return.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/log.h"
#include "server/base/memory_info.h"

namespace fff::base {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(2);

}  // namespace

bool MemoryReturnPolicy::Look(int64_t resident_bytes) {
  floor_bytes_ = std::min(floor_bytes_, resident_bytes);
  looks_above_ =
      resident_bytes - floor_bytes_ >= kSlackBytes ? looks_above_ + 1 : 0;
  return looks_above_ >= kLooks;
}

void MemoryReturnPolicy::Returned(int64_t resident_bytes) {
  floor_bytes_ = resident_bytes;
  looks_above_ = 0;
}

void MemoryReturner::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void MemoryReturner::Stop() {
  if (!stop_.HasBeenNotified()) stop_.Notify();
  if (thread_.joinable()) thread_.join();
}

void MemoryReturner::Loop() {
  MemoryReturnPolicy policy;
  while (!stop_.WaitForNotificationWithTimeout(kInterval)) {
    const int64_t before = ResidentBytes();
    if (!policy.Look(before)) continue;
    ReturnFreeMemory();
    const int64_t after = ResidentBytes();
    policy.Returned(after);
    Log(LogLevel::kDebug, absl::StrCat("gave freed memory back: ", before,
                                       " bytes -> ", after, " bytes resident"));
  }
}

}  // namespace fff::base
