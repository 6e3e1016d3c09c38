#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "server/importer/model_config.h"
#include "server/metrics/server_metrics.h"
#include "server/model/placement.h"
#include "server/serving/batching/servable.h"

namespace fff::serving {

// Both implementations of one version, warmed up and ready to be asked.
struct LoadedServables {
  std::shared_ptr<const Servable> fff;
  std::shared_ptr<const Servable> dense;  // null while there is no twin
  // Notified when nobody holds either of them any more and their weights are
  // freed.
  std::shared_ptr<absl::Notification> released;
  std::string identity;  // of the files that were read (repository_scan.h)
};

// A version that was read, built and warmed up, and that nobody can ask yet.
struct BuiltVersion {
  Servable::Parts fff;  // without metrics
  std::optional<Servable::Parts> dense;
  std::shared_ptr<absl::Notification> released;  // as LoadedServables'
  std::string identity;                          // as LoadedServables'
};

struct VersionToLoad {
  std::string model_name;
  int64_t version = 0;
  std::string directory;  // of the version
};

// Reads the version, builds its implementations and runs each over zeros at
// every warm-up size. Blocks; touches the disk. The errors of
// model::LoadVersion; FAILED_PRECONDITION when the config asks for a device
// that this server lacks, ABORTED when the directory changed meanwhile,
// CANCELLED by `offered.progress`.
// `offered` is the server's; the config narrows its placement, and each of both
// implementations gets half of its tuning time.
absl::StatusOr<BuiltVersion> BuildVersion(const VersionToLoad& version,
                                          const importer::ModelConfig& config,
                                          const model::BuildOptions& offered);

// Builds the dense twin that a version was loaded without; `identity` is that
// of the files it was loaded from. Errors as BuildVersion, and ABORTED when the
// files are others now.
absl::StatusOr<Servable::Parts> BuildTwin(const VersionToLoad& version,
                                          const importer::ModelConfig& config,
                                          const model::BuildOptions& offered,
                                          const Servable& fff,
                                          const std::string& identity);

// One more implementation, registered with `metrics`, which outlives it. Quick.
std::shared_ptr<const Servable> MakeServable(Servable::Parts parts,
                                             metrics::ServerMetrics* metrics);

// Registers the version with `metrics`, which outlives it. Quick.
LoadedServables MakeServables(BuiltVersion version,
                              metrics::ServerMetrics* metrics);

}  // namespace fff::serving
