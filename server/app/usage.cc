#include "server/app/usage.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/base/log.h"
#include "server/base/near_match.h"

namespace fff::app {
namespace {

constexpr absl::string_view kPrefix = "FFF_";
constexpr absl::string_view kOfClients[] = {"FFF_SERVER", "FFF_TOKEN_FILE"};

// FFF_SERVING_SERVICE_HOST, FFF_SERVING_SERVICE_PORT_GRPC and
// FFF_SERVING_PORT=tcp://10.0.0.1:8001.
bool IsOfKubernetes(absl::string_view name, absl::string_view value) {
  return absl::StrContains(name, "_SERVICE_HOST") ||
         absl::StrContains(name, "_SERVICE_PORT") ||
         absl::StrContains(name, "_TCP") || absl::StrContains(name, "_UDP") ||
         absl::StartsWith(value, "tcp://") || absl::StartsWith(value, "udp://");
}

}  // namespace

std::vector<std::string> UnknownVariables(
    absl::Span<const std::string> environment,
    absl::Span<const std::string> known) {
  std::vector<std::string> warnings;
  for (const absl::string_view entry : environment) {
    const size_t equals = entry.find('=');
    const absl::string_view name = entry.substr(0, equals);
    if (!absl::StartsWith(name, kPrefix) || equals == absl::string_view::npos ||
        std::find(known.begin(), known.end(), name) != known.end() ||
        std::find(std::begin(kOfClients), std::end(kOfClients), name) !=
            std::end(kOfClients) ||
        IsOfKubernetes(name, entry.substr(equals + 1))) {
      continue;
    }
    warnings.push_back(absl::StrCat("variable ", base::Printable(name),
                                    " is no option and changes nothing",
                                    base::DidYouMean(name, known)));
  }
  return warnings;
}

std::vector<std::string> ProcessEnvironment() {
  std::vector<std::string> entries;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    entries.emplace_back(*entry);
  }
  return entries;
}

std::vector<std::string> OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* one : app.get_options()) {
    names.push_back(one->get_name());
  }
  return names;
}

std::vector<std::string> VariableNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* one : app.get_options()) {
    names.push_back(one->get_envname());
  }
  return names;
}

void RefuseEmptyValues(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const absl::string_view argument = argv[i];
    if (!absl::StartsWith(argument, "--") ||
        argument.find('=') != argument.size() - 1) {
      continue;
    }
    const std::string flag(argument.substr(0, argument.size() - 1));
    throw CLI::ValidationError(
        flag, "got an empty value; leave the flag out for its default");
  }
}

}  // namespace fff::app
