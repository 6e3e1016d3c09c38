#include "server/rpc/transport/health_service.h"

#include <algorithm>
#include <array>

#include "absl/strings/string_view.h"

namespace fff::rpc {
namespace {

using grpc::health::v1::HealthCheckResponse;

// "" is the server as a whole.
constexpr std::array<absl::string_view, 3> kServices = {
    "", "fff.v1.InferenceService", "inference.GRPCInferenceService"};

}  // namespace

void HealthService::SetServing(bool serving) {
  serving_.store(serving);
  absl::MutexLock lock(&mutex_);
  for (Watcher* watcher : watchers_) watcher->OnChange();
}

HealthService::Status HealthService::StatusOf(
    const std::string& service) const {
  if (std::find(kServices.begin(), kServices.end(), service) ==
      kServices.end()) {
    return HealthCheckResponse::SERVICE_UNKNOWN;
  }
  return serving_.load() ? HealthCheckResponse::SERVING
                         : HealthCheckResponse::NOT_SERVING;
}

void HealthService::Add(Watcher* watcher) {
  absl::MutexLock lock(&mutex_);
  watchers_.insert(watcher);
}

void HealthService::Remove(Watcher* watcher) {
  absl::MutexLock lock(&mutex_);
  watchers_.erase(watcher);
}

}  // namespace fff::rpc
