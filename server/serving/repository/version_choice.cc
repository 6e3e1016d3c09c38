#include "server/serving/repository/version_choice.h"

#include <algorithm>

namespace fff::serving {

std::vector<int64_t> ChooseVersions(const importer::VersionPolicy& policy,
                                    absl::Span<const int64_t> on_disk) {
  std::vector<int64_t> chosen(on_disk.begin(), on_disk.end());
  switch (policy.kind) {
    case importer::VersionPolicy::Kind::kAll:
      break;
    case importer::VersionPolicy::Kind::kLatest: {
      const auto keep =
          static_cast<size_t>(std::max<int64_t>(policy.latest, 1));
      if (chosen.size() > keep) {
        chosen.erase(chosen.begin(),
                     chosen.end() - static_cast<std::ptrdiff_t>(keep));
      }
      break;
    }
    case importer::VersionPolicy::Kind::kSpecific:
      chosen = policy.specific;
      std::sort(chosen.begin(), chosen.end());
      chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
      break;
  }
  return chosen;
}

}  // namespace fff::serving
