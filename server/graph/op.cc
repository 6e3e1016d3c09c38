#include "server/graph/op.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace fff::graph {
namespace {

// One int32 for each token of `x`, `width` per row.
absl::Status CheckMask(const ValueType& mask, const ValueType& x,
                       int64_t width) {
  if (mask.data_type == tensor::DataType::kI32 &&
      mask.per_token() == x.per_token() && mask.width() == width) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("got a mask ", mask.ToString(),
                                                 " for ", x.ToString(),
                                                 ", wanted an I32 per token"));
}

}  // namespace

absl::string_view NameOf(const Op& op) {
  return Visit(op, [](const auto& o) { return o.kName; });
}

size_t InputsOf(const Op& op) {
  return Visit(op, [](const auto& o) {
    return o.kInputs + static_cast<size_t>(o.masked());
  });
}

int64_t TokensMaxOf(const Op& op) {
  return Visit(op, [](const auto& o) { return o.tokens_max(); });
}

int64_t InputWidthOf(const Op& op) {
  return Visit(op, [](const auto& o) { return o.problem().input_width; });
}

bool MayOverwrite(const Op& op) {
  return Visit(op, [](const auto& o) { return o.kMayOverwrite; });
}

bool OnDevices(const Op& op) {
  return Visit(op, [](const auto& o) { return o.kOnDevices; });
}

RoutingShape RoutingOf(const Op& op) {
  return Visit(op, [](const auto& o) { return o.routing(); });
}

absl::StatusOr<ValueType> Infer(const Op& op, absl::Span<const ValueType> in) {
  if (in.size() != InputsOf(op)) {
    return absl::InvalidArgumentError(absl::StrCat(
        NameOf(op), ": got ", in.size(), " inputs, wanted ", InputsOf(op)));
  }
  return Visit(op, [&](const auto& o) -> absl::StatusOr<ValueType> {
    if (o.spans_sequences() && !in[0].per_token()) {
      return absl::InvalidArgumentError(absl::StrCat(
          NameOf(op), ": got rows of one length, wanted ", "sequences of any"));
    }
    const int64_t width = o.problem().input_width;
    int64_t tokens = TokensOf(in[0], width);
    // What knows where a row's tokens lie is not applied to parts of it.
    if (tokens != 1 && (o.spans_sequences() || o.masked())) tokens = 0;
    for (const ValueType& type : in.subspan(0, o.kInputs)) {
      if (type.data_type != o.kInputType) {
        return absl::InvalidArgumentError(
            absl::StrCat("got elements of type ", tensor::Name(type.data_type),
                         ", wanted ", tensor::Name(o.kInputType)));
      }
      if (type.per_token() != in[0].per_token()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "got ", type.ToString(), " beside ", in[0].ToString()));
      }
      if (tokens > 0 && TokensOf(type, width) == tokens) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("got rows of width ", type.width(), ", wanted ", width));
    }
    if (o.masked()) {
      FFF_RETURN_IF_ERROR(CheckMask(in.back(), in[0], o.mask_width()));
    }
    return o.Output(in[0]);
  });
}

}  // namespace fff::graph
