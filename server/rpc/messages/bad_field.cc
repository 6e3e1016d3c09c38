#include "server/rpc/messages/bad_field.h"

#include <utility>

namespace fff::rpc {
namespace {

constexpr char kPayload[] = "fff/bad-field";

}  // namespace

std::optional<std::string> BadField(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayload);
  if (!payload.has_value()) return std::nullopt;
  return std::string(*payload);
}

absl::Status InField(absl::string_view field, absl::Status status) {
  if (!status.ok() && !status.GetPayload(kPayload).has_value()) {
    status.SetPayload(kPayload, absl::Cord(field));
  }
  return status;
}

}  // namespace fff::rpc
