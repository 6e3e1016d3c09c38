#include "server/benchmark/claims/claim_log.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/base/status_macros.h"
#include "server/benchmark/report_json.h"
#include "server/benchmark/report_parse.h"

namespace fff::benchmark {
namespace {

using Json = nlohmann::ordered_json;

Json KeyToJson(const ClaimLogKey& key) {
  return {{"version", key.version},
          {"cpu_model", key.cpu_model},
          {"seconds", key.seconds},
          {"seed", key.seed}};
}

absl::Status CheckKey(const Json& line, const ClaimLogKey& key) {
  const Json wanted_of = KeyToJson(key);
  for (const auto& [name, wanted] : wanted_of.items()) {
    const Json got = line.value(name, Json());
    if (got == wanted) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("measured with ", name, " ", got.dump(), ", wanted ",
                     wanted.dump(), "; a new file starts anew"));
  }
  return absl::OkStatus();
}

absl::Status AddLine(absl::string_view text, const ClaimLogKey& key,
                     ClaimLog& log) {
  const Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!line.is_object() || !line.contains("run") || !line["run"].is_string() ||
      !line.contains("waited_share") || !line["waited_share"].is_number() ||
      !line.contains("report")) {
    return absl::InvalidArgumentError(
        "got no run, wanted {\"run\": .., \"waited_share\": .., \"report\": "
        "..}");
  }
  FFF_RETURN_IF_ERROR(CheckKey(line, key));
  RunRecord record;
  record.waited_share = line["waited_share"].get<double>();
  FFF_ASSIGN_OR_RETURN(record.report, ParseReport(line["report"].dump()));
  if (record.report.cases.size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got a report of ", record.report.cases.size(), " cases, wanted one"));
  }
  AddRecord(line["run"].get<std::string>(), std::move(record), log.records);
  return absl::OkStatus();
}

}  // namespace

void AddRecord(const std::string& name, RunRecord record,
               std::map<std::string, RunRecord>& records) {
  const auto [found, added] = records.try_emplace(name, record);
  if (!added && record.waited_share < found->second.waited_share) {
    found->second = std::move(record);
  }
}

std::string ClaimLogLine(const ClaimRun& run, const ClaimLogKey& key,
                         const RunRecord& record) {
  Json line = {{"run", run.Name()}};
  line.update(KeyToJson(key));
  line["waited_share"] = record.waited_share;
  line["report"] = Json::parse(ReportJson(record.report));
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<ClaimLog> ParseClaimLog(absl::string_view text,
                                       const ClaimLogKey& key) {
  ClaimLog log;
  for (int number = 1;; ++number) {
    const size_t end = text.find('\n', log.bytes);
    if (end == absl::string_view::npos) return log;
    FFF_RETURN_IF_ERROR(base::Annotate(
        AddLine(text.substr(log.bytes, end - log.bytes), key, log),
        absl::StrCat("line ", number)));
    log.bytes = end + 1;
  }
}

}  // namespace fff::benchmark
