#include "server/graph/picture_ops.h"

#include "absl/strings/str_cat.h"

namespace fff::graph {
namespace {

std::string Text(const Pair& pair) {
  return absl::StrCat(pair.height, "x", pair.width);
}

bool IsOne(const Pair& pair) { return pair.height == 1 && pair.width == 1; }

}  // namespace

std::string Picture::ToString() const {
  return absl::StrCat(channels, "x", height, "x", width);
}

int64_t WindowPositions(int64_t length, int64_t size, int64_t stride,
                        int64_t padding, int64_t dilation) {
  const int64_t span = dilation * (size - 1) + 1;
  const int64_t room = length + 2 * padding - span;
  return room < 0 ? 0 : room / stride + 1;
}

std::string Conv2dProblem::ToString() const {
  std::string text =
      absl::StrCat(from.ToString(), " -> ", to.ToString(), ", ", Text(kernel));
  if (!IsOne(stride)) absl::StrAppend(&text, ", stride ", Text(stride));
  if (padding.height != 0 || padding.width != 0) {
    absl::StrAppend(&text, ", padding ", Text(padding));
  }
  if (!IsOne(dilation)) absl::StrAppend(&text, ", dilation ", Text(dilation));
  if (groups != 1) absl::StrAppend(&text, ", ", groups, " groups");
  if (!has_bias) absl::StrAppend(&text, " without bias");
  if (activation != Activation::kIdentity) {
    absl::StrAppend(&text, ", ", Name(activation));
  }
  return text;
}

Cost Conv2d::cost() const {
  const Conv2dProblem& p = problem();
  const int64_t channels = p.from.channels / p.groups;
  const double products =
      static_cast<double>(p.kernel.height * p.kernel.width * channels) *
      static_cast<double>(p.output_width);
  return {2 * products, static_cast<double>(weights_bytes())};
}

int64_t Conv2d::weights_bytes() const {
  return FloatBytes(weights->w.size() + weights->bias.size());
}

ValueType Conv2d::Output(const ValueType& in) const {
  return in.Shaped(problem().to.shape());
}

std::string Pool2dProblem::ToString() const {
  return absl::StrCat(kind == Kind::kMax ? "max of " : "mean of ", Text(size),
                      ", ", from.ToString(), " -> ", to.ToString());
}

Cost Pool2d::cost() const {
  const Pool2dProblem& p = problem();
  return {static_cast<double>(p.size.height * p.size.width * p.output_width),
          0};
}

ValueType Pool2d::Output(const ValueType& in) const {
  return in.Shaped(problem().to.shape());
}

}  // namespace fff::graph
