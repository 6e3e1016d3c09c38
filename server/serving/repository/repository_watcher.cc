#include "server/serving/repository/repository_watcher.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/log.h"
#include "server/base/memory_info.h"
#include "server/base/thread.h"

namespace fff::serving {
namespace {

// Between two looks whether memory that was let go has become free.
constexpr std::chrono::milliseconds kReleaseCheck(100);

}  // namespace

void RepositoryWatcher::Start() {
  thread_ = base::StartThread("fff-repository", [this] { Loop(); });
}

void RepositoryWatcher::Stop() {
  if (!stop_.HasBeenNotified()) stop_.Notify();
  watch_.Wake();
  if (thread_.joinable()) thread_.join();
}

bool RepositoryWatcher::ReturnMemory() {
  const Released more = repository_->TakeReleased();
  held_.insert(held_.end(), more.begin(), more.end());
  const auto free =
      std::remove_if(held_.begin(), held_.end(),
                     [](const auto& gone) { return gone->HasBeenNotified(); });
  if (free != held_.end()) {
    held_.erase(free, held_.end());
    base::ReturnFreeMemory();
  }
  return !held_.empty();
}

Clock::time_point RepositoryWatcher::Look() {
  const Clock::time_point now = Clock::now();
  Clock::time_point next = repository_->Look(now, watch_.FilesBeingWritten());
  // A new directory may hold what was written before it was watched.
  if (watch_.Follow(repository_->Directories())) next = now;
  next = std::min(next, now + options_.poll_interval);
  if (ReturnMemory()) {
    next = std::min(next, now + Clock::duration(kReleaseCheck));
  }
  return next;
}

void RepositoryWatcher::Loop() {
  watch_.Follow(repository_->Directories());
  if (!watch_.complete()) {
    base::LogWarning(absl::StrCat(
        "changes of the model repository are not told by the system; looking "
        "every ",
        options_.poll_interval.count(), " ms"));
  }
  while (!stop_.HasBeenNotified()) {
    const Clock::time_point next = Look();
    const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(
        next - Clock::now());
    if (!watch_.Await(wait + std::chrono::milliseconds(1))) continue;
    // A large upload tells of itself thousands of times.
    stop_.WaitForNotificationWithTimeout(
        absl::FromChrono(options_.gather_time));
  }
}

}  // namespace fff::serving
