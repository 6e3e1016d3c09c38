#include "server/base/memory_return.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/log.h"
#include "server/base/memory_info.h"
#include "server/base/thread.h"

namespace fff::base {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(2);

int64_t IdleBytes() { return ResidentBytes() - AllocatedBytes(); }

}  // namespace

bool MemoryReturnPolicy::Look(int64_t idle_bytes) {
  floor_bytes_ = std::min(floor_bytes_, idle_bytes);
  looks_above_ =
      idle_bytes - floor_bytes_ >= kSlackBytes ? looks_above_ + 1 : 0;
  return looks_above_ >= kLooks;
}

void MemoryReturnPolicy::Returned(int64_t idle_bytes) {
  floor_bytes_ = idle_bytes;
  looks_above_ = 0;
}

void MemoryReturner::Start() {
  thread_ = StartThread("fff-memory", [this] { Loop(); });
}

void MemoryReturner::Stop() {
  if (!stop_.HasBeenNotified()) stop_.Notify();
  if (thread_.joinable()) thread_.join();
}

void MemoryReturner::Loop() {
  MemoryReturnPolicy policy;
  policy.Look(IdleBytes());  // before the first requests
  while (!stop_.WaitForNotificationWithTimeout(kInterval)) {
    if (!policy.Look(IdleBytes())) continue;
    const int64_t before = ResidentBytes();
    ReturnFreeMemory();
    policy.Returned(IdleBytes());
    Log(LogLevel::kDebug,
        absl::StrCat("gave freed memory back: ", before, " bytes -> ",
                     ResidentBytes(), " bytes resident"));
  }
}

}  // namespace fff::base
