#pragma once

#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Which field of a request an INVALID_ARGUMENT is about. It travels with the
// Status and reaches the client as a google.rpc.BadRequest (status_mapping.h).
namespace fff::rpc {

// Path of the field in the request's message, such as "inputs[0].shape".
// Nothing when the status says none.
std::optional<std::string> BadField(const absl::Status& status);

// `status` with the field, unless it is OK or names a field already.
absl::Status InField(absl::string_view field, absl::Status status);
template <class T>
absl::StatusOr<T> InField(absl::string_view field, absl::StatusOr<T> result) {
  if (result.ok()) return result;
  return InField(field, std::move(result).status());
}

}  // namespace fff::rpc
