#include "server/serving/repository/kernel_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace fff::serving {
namespace {

using Steps = std::vector<engine::KernelPlan::Step>;

bool ChooseAlike(const Steps& a, const Steps& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& one, const auto& other) {
                      return one.rows_min == other.rows_min &&
                             one.kernel == other.kernel;
                    });
}

// "layer 3", "layers 0-2, 5".
std::string LayersText(const std::vector<size_t>& layers) {
  std::string text = layers.size() == 1 ? "layer " : "layers ";
  for (size_t i = 0; i < layers.size();) {
    size_t end = i + 1;
    while (end < layers.size() && layers[end] == layers[end - 1] + 1) ++end;
    absl::StrAppend(&text, i == 0 ? "" : ", ", layers[i]);
    if (end - i > 1) {
      absl::StrAppend(&text, end - i > 2 ? "-" : ", ", layers[end - 1]);
    }
    i = end;
  }
  return text;
}

}  // namespace

std::string KernelText(absl::Span<const Steps> layers) {
  std::vector<std::vector<size_t>> alike;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].empty()) continue;
    const auto group =
        std::find_if(alike.begin(), alike.end(), [&](const auto& others) {
          return ChooseAlike(layers[others[0]], layers[i]);
        });
    if (group != alike.end()) {
      group->push_back(i);
    } else {
      alike.push_back({i});
    }
  }
  std::string text;
  for (const std::vector<size_t>& group : alike) {
    for (const engine::KernelPlan::Step& step : layers[group[0]]) {
      absl::StrAppend(&text, text.empty() ? "" : "; ", LayersText(group),
                      " from ", step.rows_min, " rows ", step.kernel, " (",
                      step.reason, ")");
    }
  }
  return text;
}

}  // namespace fff::serving
