#pragma once

#include <atomic>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace fff::rpc {

using AsyncHealthBase = grpc::health::v1::Health::WithAsyncMethod_Check<
    grpc::health::v1::Health::WithAsyncMethod_Watch<
        grpc::health::v1::Health::Service>>;

// What grpc.health.v1 answers: one status for the server as a whole ("") and
// for each of its APIs, all of them alike. Its calls run on the completion
// queues of inference (health_calls.h). Starts NOT_SERVING. Thread-safe.
class HealthService final : public AsyncHealthBase {
 public:
  using Status = grpc::health::v1::HealthCheckResponse::ServingStatus;

  // Somebody who is told when the status changes.
  class Watcher {
   public:
    virtual ~Watcher() = default;
    virtual void OnChange() = 0;  // any thread; must not call the service
  };

  void SetServing(bool serving);
  // SERVICE_UNKNOWN for a service that is not one of ours.
  Status StatusOf(const std::string& service) const;
  void Add(Watcher* watcher);
  // When it returns, the watcher is not and will not be called.
  void Remove(Watcher* watcher);

 private:
  std::atomic<bool> serving_{false};
  absl::Mutex mutex_;
  absl::flat_hash_set<Watcher*> watchers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fff::rpc
