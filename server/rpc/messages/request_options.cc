#include "server/rpc/messages/request_options.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/rpc/messages/bad_field.h"

namespace fff::rpc {
namespace {

// A day: keeps deadline arithmetic far from overflow.
constexpr int64_t kTimeoutUsMax = int64_t{86'400} * 1'000'000;

constexpr char kTopK[] = "top_k";
constexpr char kClassification[] = "classification";

// The number that a parameter of the protocol holds; -1 when it is no number
// from 0 on.
int64_t NumberOf(const inference::InferParameter& value) {
  if (value.has_int64_param()) return value.int64_param();
  if (value.has_uint64_param() &&
      value.uint64_param() <= std::numeric_limits<int64_t>::max()) {
    return static_cast<int64_t>(value.uint64_param());
  }
  return -1;
}

// A request parameter of the protocol; 0 when absent.
absl::StatusOr<int64_t> IntegerParameter(
    const inference::ModelInferRequest& request, const char* name,
    absl::string_view unit) {
  const auto found = request.parameters().find(name);
  if (found == request.parameters().end()) return 0;
  const inference::InferParameter& value = found->second;
  const int64_t number = NumberOf(value);
  if (number < 0) {
    return InField(
        absl::StrCat("parameters.", name),
        absl::InvalidArgumentError(absl::StrCat(
            "parameter '", name, "': wanted a non-negative integer", unit)));
  }
  return number;
}

// `k` of the output's columns.
absl::Status CheckTopK(absl::string_view name, int64_t k,
                       const graph::Port& output) {
  if (k >= 0 && k <= output.width()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("got ", name, " ", k, ", wanted 0 (all columns) to ",
                   output.width(), ", the columns of '", output.name, "'"));
}

}  // namespace

absl::Status CheckOutputs(const inference::ModelInferRequest& request,
                          const graph::Port& spec) {
  const std::string ids = absl::StrCat(spec.name, kTopIdsSuffix);
  const bool has_ids = request.parameters().contains(kTopK);
  std::set<absl::string_view> asked;
  for (const auto& output : request.outputs()) {
    if (output.name() != spec.name && !(has_ids && output.name() == ids)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "got requested output '", base::Printable(output.name()),
          "', wanted '", spec.name, has_ids ? absl::StrCat("', '", ids) : "",
          "' or none (all)"));
    }
    if (output.parameters().contains("shared_memory_region")) {
      return absl::InvalidArgumentError(
          absl::StrCat("output '", output.name(),
                       "': the shared memory extension is not supported"));
    }
    if (!asked.insert(output.name()).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "got output '", output.name(), "' requested twice, wanted once"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::chrono::microseconds> DecodeTimeout(
    const v1::PredictRequest& request) {
  if (request.timeout_us() < 0) {
    return InField("timeout_us", absl::InvalidArgumentError(absl::StrCat(
                                     "got timeout_us ", request.timeout_us(),
                                     ", wanted 0 (none) or above")));
  }
  return std::chrono::microseconds(
      std::min(request.timeout_us(), kTimeoutUsMax));
}

absl::StatusOr<std::chrono::microseconds> DecodeTimeout(
    const inference::ModelInferRequest& request) {
  FFF_ASSIGN_OR_RETURN(
      const int64_t timeout_us,
      IntegerParameter(request, "timeout", " of microseconds"));
  return std::chrono::microseconds(std::min(timeout_us, kTimeoutUsMax));
}

serving::Priority PriorityOf(uint64_t number) {
  if (number == 1) return serving::Priority::kHigh;
  return number <= 2 ? serving::Priority::kNormal : serving::Priority::kLow;
}

absl::StatusOr<serving::Priority> DecodePriority(
    const inference::ModelInferRequest& request) {
  FFF_ASSIGN_OR_RETURN(const int64_t number,
                       IntegerParameter(request, "priority", ""));
  return PriorityOf(static_cast<uint64_t>(number));
}

absl::StatusOr<TopK> DecodeTopK(const v1::PredictRequest& request,
                                const graph::Port& output) {
  FFF_RETURN_IF_ERROR(
      InField(kTopK, CheckTopK(kTopK, request.top_k(), output)));
  return TopK{request.top_k(), false};
}

absl::StatusOr<TopK> DecodeTopK(const inference::ModelInferRequest& request,
                                const graph::Port& output) {
  TopK top;
  FFF_ASSIGN_OR_RETURN(top.k, IntegerParameter(request, kTopK, ""));
  FFF_RETURN_IF_ERROR(InField(absl::StrCat("parameters.", kTopK),
                              CheckTopK(kTopK, top.k, output)));
  for (int i = 0; i < request.outputs_size(); ++i) {
    const auto& parameters = request.outputs(i).parameters();
    const auto found = parameters.find(kClassification);
    if (found == parameters.end()) continue;
    const std::string field =
        absl::StrCat("outputs[", i, "].parameters.", kClassification);
    if (top.k > 0) {
      return InField(field, absl::InvalidArgumentError(
                                "got both top_k and classification, wanted one "
                                "of them"));
    }
    const int64_t classes = NumberOf(found->second);
    FFF_RETURN_IF_ERROR(
        InField(field, CheckTopK(kClassification, classes, output)));
    return TopK{classes, classes > 0};
  }
  return top;
}

}  // namespace fff::rpc
