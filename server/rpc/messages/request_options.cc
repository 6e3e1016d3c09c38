#include "server/rpc/messages/request_options.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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

// "'scores', 'scores_ids', 'hidden'".
std::string NamesOf(const OutputSpec& spec, const std::string& ids) {
  std::vector<std::string> names;
  for (const graph::Port& port : spec.ports) {
    names.push_back(absl::StrCat("'", port.name, "'"));
  }
  if (!ids.empty()) {
    names.insert(names.begin() + 1, absl::StrCat("'", ids, "'"));
  }
  return absl::StrJoin(names, ", ");
}

// Takes the names of one request, one after the other.
class OutputNames {
 public:
  // `with_ids`: the main output's ids have a name, too.
  OutputNames(const OutputSpec& spec, bool with_ids) : spec_(spec) {
    if (with_ids) ids_ = absl::StrCat(spec.main().name, kTopIdsSuffix);
  }

  absl::Status Add(const std::string& name) {
    const absl::Span<const graph::Port> ports = spec_.ports;
    size_t found = 0;
    while (found < ports.size() && ports[found].name != name) ++found;
    if (!ids_.empty() && name == ids_) found = 0;
    if (found == ports.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("got requested output '", base::Printable(name),
                       "', wanted ", NamesOf(spec_, ids_), " or none (all)"));
    }
    if (!asked_.insert(name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("got output '", name, "' requested twice, wanted once"));
    }
    wanted_.resize(ports.size(), false);
    wanted_[found] = true;
    return absl::OkStatus();
  }

  WantedOutputs Wanted() && {
    if (wanted_.empty()) wanted_.resize(spec_.ports.size(), true);
    return std::move(wanted_);
  }

 private:
  const OutputSpec& spec_;
  std::string ids_;
  std::set<std::string> asked_;
  WantedOutputs wanted_;
};

}  // namespace

absl::StatusOr<WantedOutputs> DecodeOutputs(
    const inference::ModelInferRequest& request, const OutputSpec& spec) {
  OutputNames names(spec, request.parameters().contains(kTopK));
  for (const auto& output : request.outputs()) {
    FFF_RETURN_IF_ERROR(names.Add(output.name()));
    if (output.parameters().contains("shared_memory_region")) {
      return absl::InvalidArgumentError(
          absl::StrCat("output '", output.name(),
                       "': the shared memory extension is not supported"));
    }
  }
  return std::move(names).Wanted();
}

absl::StatusOr<WantedOutputs> DecodeOutputs(const v1::PredictRequest& request,
                                            const OutputSpec& spec) {
  OutputNames names(spec, /*with_ids=*/false);
  for (const std::string& name : request.outputs()) {
    FFF_RETURN_IF_ERROR(names.Add(name));
  }
  return std::move(names).Wanted();
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
                                const OutputSpec& spec) {
  FFF_RETURN_IF_ERROR(
      InField(kTopK, CheckTopK(kTopK, request.top_k(), spec.main())));
  return TopK{request.top_k(), false};
}

absl::StatusOr<TopK> DecodeTopK(const inference::ModelInferRequest& request,
                                const OutputSpec& spec) {
  TopK top;
  FFF_ASSIGN_OR_RETURN(top.k, IntegerParameter(request, kTopK, ""));
  FFF_RETURN_IF_ERROR(InField(absl::StrCat("parameters.", kTopK),
                              CheckTopK(kTopK, top.k, spec.main())));
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
    if (classes != 0 && request.outputs(i).name() != spec.main().name) {
      return InField(field, absl::InvalidArgumentError(absl::StrCat(
                                "got classification of output '",
                                base::Printable(request.outputs(i).name()),
                                "', wanted it of '", spec.main().name,
                                "' alone, the main output")));
    }
    FFF_RETURN_IF_ERROR(
        InField(field, CheckTopK(kClassification, classes, spec.main())));
    return TopK{classes, classes > 0};
  }
  return top;
}

absl::Status CheckTopKWanted(const TopK& top, const WantedOutputs& wanted,
                             const OutputSpec& spec) {
  if (top.k == 0 || wanted[0]) return absl::OkStatus();
  return InField("outputs",
                 absl::InvalidArgumentError(absl::StrCat(
                     "got top_k ", top.k, ", which is of '", spec.main().name,
                     "', but the requested outputs do not name that one")));
}

}  // namespace fff::rpc
