// What calls ask of the repository: load, unload, a dense twin.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/log.h"
#include "server/base/memory_info.h"
#include "server/base/status_macros.h"
#include "server/serving/repository/model_repository.h"

namespace fff::serving {
namespace {

absl::Status ClosedError() {
  return absl::UnavailableError(
      "the server is shutting down; retry on another one");
}

}  // namespace

absl::Status ModelRepository::AwaitLoader(const std::string& model,
                                          absl::Time deadline) {
  const auto done = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return closed_.load() || FindWaiting(model) == nullptr;
  };
  absl::MutexLock lock(&mutex_);
  if (!mutex_.AwaitWithTimeout(absl::Condition(&done),
                               deadline - absl::Now())) {
    return absl::DeadlineExceededError(absl::StrCat(
        "model '", model,
        "' is being loaded; what is to be unloaded goes after that"));
  }
  return FindWaiting(model) != nullptr ? ClosedError() : absl::OkStatus();
}

absl::Status ModelRepository::CheckCall(const std::string& model_name,
                                        int64_t version) const {
  if (options_.control == ModelControl::kNone) {
    return absl::FailedPreconditionError(
        "the server was started with --model-control=none: what it loaded at "
        "its start stays");
  }
  if (closed_.load()) return ClosedError();
  if (version < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got version ", version, ", wanted 0 (those of its policy) or above"));
  }
  if (absl::EndsWith(model_name, kDenseSuffix)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got '", base::Printable(model_name), "', wanted the name without '",
        kDenseSuffix,
        "': a model and its dense twin are loaded and unloaded together"));
  }
  return absl::OkStatus();
}

absl::Status ModelRepository::Load(const std::string& model_name,
                                   int64_t version) {
  FFF_RETURN_IF_ERROR(CheckCall(model_name, version));
  Clock::time_point now;
  {
    absl::MutexLock look(&look_mutex_);
    now = Clock::now();
    FFF_ASSIGN_OR_RETURN(const ScannedModel scanned,
                         ScanModel(options_.path, model_name));
    const bool there = std::any_of(
        scanned.versions.begin(), scanned.versions.end(),
        [&](const ScannedVersion& v) { return v.version == version; });
    if (version != 0 && !there) {
      return absl::NotFoundError(
          absl::StrCat(scanned.directory, " holds no version ", version));
    }
    absl::MutexLock lock(&mutex_);
    ModelRecord& record = models_.RecordOf(scanned.name);
    record.unloaded = false;
    if (version == 0) {
      record.added.clear();
      record.dismissed.clear();
    } else {
      record.added.insert(version);
      record.dismissed.erase(version);
    }
    record.Observe(scanned, {}, now);
    record.SettleNow(now);
    Schedule(record, now);
    Waiting* const waiting = FindWaiting(model_name);
    if (waiting != nullptr) waiting->called = true;
  }
  AfterChange();
  FFF_RETURN_IF_ERROR(AwaitLoader(model_name, absl::InfiniteFuture()));
  absl::MutexLock lock(&mutex_);
  const ModelRecord* const record = models_.Find(model_name);
  return record != nullptr ? record->LoadOutcome(version, now)
                           : absl::FailedPreconditionError(absl::StrCat(
                                 "model '", model_name,
                                 "' vanished while it was being loaded"));
}

absl::Status ModelRepository::Unload(const std::string& model_name,
                                     int64_t version, absl::Duration timeout) {
  FFF_RETURN_IF_ERROR(CheckCall(model_name, version));
  const absl::Time deadline = absl::Now() + timeout;
  Released released;
  {
    absl::MutexLock lock(&mutex_);
    ModelRecord* const found = models_.Find(model_name);
    if (found == nullptr) {
      return absl::NotFoundError(absl::StrCat("model '",
                                              base::Printable(model_name),
                                              "' is not in the repository"));
    }
    ModelRecord& record = *found;
    if (version != 0 && record.versions().count(version) == 0) {
      return absl::NotFoundError(
          absl::StrCat("model '", model_name, "' has no version ", version));
    }
    if (version == 0) {
      record.unloaded = true;
      record.required = false;
      record.added.clear();
      record.dismissed.clear();
    } else {
      record.added.erase(version);
      record.dismissed.insert(version);
    }
    for (const auto& [number, entry] : record.versions()) {
      if (entry.servables.released == nullptr) continue;
      if (version == 0 || number == version) {
        released.push_back(entry.servables.released);
      }
    }
    Schedule(record, Clock::now());
  }
  AfterChange();
  FFF_RETURN_IF_ERROR(AwaitLoader(model_name, deadline));
  for (const auto& gone : released) {
    if (gone->WaitForNotificationWithTimeout(deadline - absl::Now())) continue;
    return absl::DeadlineExceededError(absl::StrCat(
        "model '", model_name,
        "' is unloaded, but requests in flight still hold its memory"));
  }
  base::ReturnFreeMemory();
  return absl::OkStatus();
}

void ModelRepository::WantTwin(const std::string& model_name, int64_t version) {
  absl::MutexLock lock(&mutex_);
  ModelRecord* const record = models_.Find(model_name);
  if (closed_.load() || record == nullptr || !record->WantTwin(version)) return;
  if (FindWaiting(model_name) == nullptr) {
    waiting_.push_back({model_name, Clock::now()});
  }
}

absl::Status ModelRepository::AwaitTwin(const std::string& model_name,
                                        int64_t version, absl::Time deadline) {
  WantTwin(model_name, version);
  return AwaitLoader(model_name, deadline);
}

}  // namespace fff::serving
