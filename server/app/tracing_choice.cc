#include "server/app/tracing_choice.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/app/percent_decoded.h"
#include "server/base/log.h"
#include "server/base/utf8.h"
#include "server/rpc/messages/version.h"

namespace fff::app {
namespace {

constexpr char kAttributesVariable[] = "OTEL_RESOURCE_ATTRIBUTES";

bool IsTrue(const std::string& text) {
  return absl::EqualsIgnoreCase(text, "true");
}

// A variable of the exporter of traces, or else that of all exporters.
struct Variable {
  std::string name;
  std::string value;
};
Variable OfExporter(const Environment& environment, absl::string_view what) {
  Variable found;
  for (const char* prefix :
       {"OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"}) {
    found.name = absl::StrCat(prefix, what);
    found.value = environment(found.name.c_str());
    if (!found.value.empty()) break;
  }
  return found;
}

// The endpoint that the variables name, if they want spans over gRPC at all.
void TakeEndpoint(const Environment& environment, TraceChoice& choice) {
  const Variable endpoint = OfExporter(environment, "ENDPOINT");
  if (endpoint.value.empty() || IsTrue(environment("OTEL_SDK_DISABLED"))) {
    return;
  }
  const Variable protocol = OfExporter(environment, "PROTOCOL");
  if (!protocol.value.empty() && protocol.value != "grpc") {
    choice.warnings.push_back(
        absl::StrCat(protocol.name, ": got '", base::Printable(protocol.value),
                     "', wanted grpc; no spans are exported"));
    return;
  }
  const auto parsed = rpc::ParseOtlpEndpoint(endpoint.value);
  if (!parsed.ok()) {
    choice.warnings.push_back(absl::StrCat(endpoint.name, ": ",
                                           parsed.status().message(),
                                           "; no spans are exported"));
    return;
  }
  rpc::TraceOptions& options = choice.options;
  options.endpoint = *parsed;
  // OpenTelemetry has it that TLS is meant where nothing is said.
  if (!absl::StrContains(endpoint.value, "://")) {
    options.endpoint.tls = !IsTrue(OfExporter(environment, "INSECURE").value);
  }
  if (options.ca_file.empty()) {
    options.ca_file = OfExporter(environment, "CERTIFICATE").value;
  }
}

// The attributes of "key=value,key=value", values percent-encoded; none where a
// part of it is wrong.
std::optional<rpc::ResourceAttributes> ParseAttributes(absl::string_view text) {
  rpc::ResourceAttributes attributes;
  for (const absl::string_view part :
       absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    const std::pair<absl::string_view, absl::string_view> halves =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    const absl::string_view key = absl::StripAsciiWhitespace(halves.first);
    const auto value =
        PercentDecoded(absl::StripAsciiWhitespace(halves.second));
    if (key.empty() || !absl::StrContains(part, '=') || !value.has_value() ||
        !base::IsUtf8(key) || !base::IsUtf8(*value)) {
      return std::nullopt;
    }
    attributes.emplace_back(key, *value);
  }
  return attributes;
}

void SetAttribute(const std::string& key, std::string value,
                  rpc::ResourceAttributes& attributes) {
  for (auto& [known, old] : attributes) {
    if (known != key) continue;
    old = std::move(value);
    return;
  }
  attributes.emplace_back(key, std::move(value));
}

void TakeResource(const Environment& environment, TraceChoice& choice) {
  rpc::ResourceAttributes& resource = choice.options.resource;
  const std::string text = environment(kAttributesVariable);
  const auto attributes = ParseAttributes(text);
  if (attributes.has_value()) {
    for (const auto& [key, value] : *attributes) {
      SetAttribute(key, value, resource);
    }
  } else {
    choice.warnings.push_back(
        absl::StrCat(kAttributesVariable, ": got '", base::Printable(text),
                     "', wanted key=value,key=value with values "
                     "percent-encoded; left aside"));
  }
  const std::string service = environment("OTEL_SERVICE_NAME");
  if (!service.empty()) {
    SetAttribute("service.name", base::Printable(service), resource);
  }
}

std::string FromProcess(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

TraceChoice ChooseTracing(const TraceFlags& flags,
                          const Environment& environment,
                          absl::string_view host, int pid) {
  TraceChoice choice;
  rpc::TraceOptions& options = choice.options;
  options.ca_file = flags.ca_file;
  options.sample = flags.sample;
  if (flags.endpoint.empty()) {
    TakeEndpoint(environment, choice);
  } else {
    // Checked when the flags were read.
    const auto parsed = rpc::ParseOtlpEndpoint(flags.endpoint);
    if (parsed.ok()) options.endpoint = *parsed;
  }
  if (!options.enabled()) return choice;
  options.resource = {
      {"service.name", rpc::kServerName},
      {"service.version", rpc::kServerVersion},
      {"service.instance.id", absl::StrCat(base::Printable(host), ":", pid)},
      {"host.name", base::Printable(host)}};
  TakeResource(environment, choice);
  return choice;
}

rpc::TraceOptions ChooseTracing(const TraceFlags& flags) {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  const TraceChoice choice =
      ChooseTracing(flags, FromProcess, host.data(), getpid());
  for (const std::string& warning : choice.warnings) base::LogWarning(warning);
  const rpc::TraceOptions& options = choice.options;
  if (options.enabled()) {
    base::LogInfo(absl::StrCat("spans otlp=", options.endpoint.target,
                               " tls=", options.endpoint.tls ? "on" : "off",
                               " sample=", options.sample));
  }
  return options;
}

}  // namespace fff::app
