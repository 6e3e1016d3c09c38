#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace fff::base {

// Returns `status` with "context: " put before its message; OK stays OK. The
// code and the payloads are kept. Each layer that knows more (a file, a model)
// adds one context.
inline absl::Status Annotate(const absl::Status& status,
                             absl::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(),
                         absl::StrCat(context, ": ", status.message()));
  status.ForEachPayload(
      [&annotated](absl::string_view type, const absl::Cord& payload) {
        annotated.SetPayload(type, payload);
      });
  return annotated;
}

}  // namespace fff::base

#define FFF_CONCAT_INNER(a, b) a##b
#define FFF_CONCAT(a, b) FFF_CONCAT_INNER(a, b)

// Returns from the enclosing function when `expr` is not OK.
#define FFF_RETURN_IF_ERROR(expr)            \
  do {                                       \
    absl::Status fff_status = (expr);        \
    if (!fff_status.ok()) return fff_status; \
  } while (false)

// FFF_ASSIGN_OR_RETURN(auto value, MakeValue());
#define FFF_ASSIGN_OR_RETURN(lhs, expr) \
  FFF_ASSIGN_OR_RETURN_INNER(FFF_CONCAT(fff_or_, __LINE__), lhs, expr)
#define FFF_ASSIGN_OR_RETURN_INNER(var, lhs, expr) \
  auto var = (expr);                               \
  if (!var.ok()) return std::move(var).status();   \
  lhs = *std::move(var)
