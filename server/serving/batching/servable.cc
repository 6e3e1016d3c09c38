#include "server/serving/batching/servable.h"

#include "absl/strings/str_cat.h"

namespace fff::serving {
namespace {

BatchPolicy PolicyOf(const model::BatchingConfig& batching) {
  return {batching.max_batch_rows,
          std::chrono::microseconds(batching.max_queue_delay_us)};
}

}  // namespace

absl::string_view Name(Implementation implementation) {
  return implementation == Implementation::kFff ? "fff" : "dense";
}

Servable::Servable(Parts parts)
    : parts_(std::move(parts)),
      name_(parts_.implementation == Implementation::kFff
                ? parts_.model_name
                : absl::StrCat(parts_.model_name, kDenseSuffix)),
      queue_(PolicyOf(parts_.batching), parts_.batching.max_queue_rows) {}

std::string Servable::Describe() const {
  return absl::StrCat("model '", name_, "' version ", parts_.version);
}

}  // namespace fff::serving
