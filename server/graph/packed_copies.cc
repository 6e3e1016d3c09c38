#include "server/graph/packed_copies.h"

namespace fff::graph {

PackedCopies::Copy PackedCopies::FindOrMake(
    absl::string_view layout, absl::FunctionRef<Copy()> make) const {
  absl::MutexLock lock(&known_->mutex);
  std::weak_ptr<const PackedRows>& known =
      known_->by_layout[std::string(layout)];
  Copy copy = known.lock();
  if (copy == nullptr) {
    copy = make();
    known = copy;
  }
  return copy;
}

PackedCopies::Copy PackedCopies::Any() const {
  absl::MutexLock lock(&known_->mutex);
  for (const auto& [layout, known] : known_->by_layout) {
    if (Copy copy = known.lock(); copy != nullptr) return copy;
  }
  return nullptr;
}

}  // namespace fff::graph
