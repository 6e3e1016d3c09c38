#include "server/serving/repository/readiness.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace fff::serving {
namespace {

std::string NotLoaded(absl::string_view name) {
  return absl::StrCat("model '", name, "' is not loaded");
}

std::string WhyNotAll(const std::vector<ModelReadiness>& models) {
  for (const ModelReadiness& model : models) {
    if (model.required && !model.ready) return NotLoaded(model.name);
  }
  return "";
}

std::string WhyNotNamed(const std::vector<std::string>& names,
                        const std::vector<ModelReadiness>& models) {
  for (const std::string& name : names) {
    const bool ready = std::any_of(models.begin(), models.end(),
                                   [&](const ModelReadiness& model) {
                                     return model.name == name && model.ready;
                                   });
    if (!ready) return NotLoaded(name);
  }
  return "";
}

}  // namespace

ReadyWhen ReadyWhenOf(const std::vector<std::string>& words, bool allow_empty) {
  using Models = ReadyWhen::Models;
  if (words == std::vector<std::string>{"all"}) {
    return {Models::kAll, {}, allow_empty};
  }
  if (words == std::vector<std::string>{"any"}) {
    return {Models::kAny, {}, allow_empty};
  }
  return {Models::kNamed, words, allow_empty};
}

std::string WhyNotReady(const ReadyWhen& when,
                        const std::vector<ModelReadiness>& models,
                        bool has_served) {
  switch (when.models) {
    case ReadyWhen::Models::kNamed:
      return WhyNotNamed(when.names, models);
    case ReadyWhen::Models::kAny: {
      const bool any =
          std::any_of(models.begin(), models.end(),
                      [](const ModelReadiness& model) { return model.ready; });
      return any ? "" : "no model is loaded";
    }
    case ReadyWhen::Models::kAll:
      break;
  }
  std::string why = WhyNotAll(models);
  if (!why.empty() || has_served || when.allow_empty) return why;
  return "no model has been served yet";
}

}  // namespace fff::serving
