#include "server/checkpoint/pickle_value.h"

#include "absl/strings/str_cat.h"
#include "server/base/log.h"

namespace fff::checkpoint {
namespace {

struct KindNamer {
  absl::string_view operator()(PickleNone) const { return "None"; }
  absl::string_view operator()(bool) const { return "bool"; }
  absl::string_view operator()(int64_t) const { return "int"; }
  absl::string_view operator()(double) const { return "float"; }
  absl::string_view operator()(absl::string_view) const { return "str"; }
  absl::string_view operator()(PickleOpaque value) const { return value.name; }
  absl::string_view operator()(const PickleTuple&) const { return "tuple"; }
  absl::string_view operator()(const PickleList&) const { return "list"; }
  absl::string_view operator()(const PickleDict&) const { return "dict"; }
  absl::string_view operator()(PickleGlobal) const { return "global"; }
  absl::string_view operator()(const PickleStorage&) const { return "storage"; }
  absl::string_view operator()(PickleTensorRef) const { return "tensor"; }
};

}  // namespace

std::string KindName(const PickleValue& value) {
  const auto* opaque = std::get_if<PickleOpaque>(&value);
  if (opaque != nullptr && !opaque->module.empty()) {
    return absl::StrCat(base::Printable(opaque->module), ".",
                        base::Printable(opaque->name));
  }
  return base::Printable(std::visit(KindNamer(), value));
}

}  // namespace fff::checkpoint
