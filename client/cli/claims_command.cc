#include "client/cli/claims_command.h"

#include <iostream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cli/claim_runs.h"
#include "client/cli/rows/read_file.h"
#include "server/base/cpu_info.h"
#include "server/base/status_macros.h"
#include "server/benchmark/claims/claim.h"
#include "server/benchmark/claims/claims_report.h"
#include "server/benchmark/format.h"
#include "server/benchmark/text_table.h"
#include "server/engine/isa.h"

namespace fff::cli {
namespace {

// Per implementation and run. A tenth of a second gives 5 samples at least,
// hundreds of the small layers.
constexpr double kSeconds = 0.5;
constexpr double kQuickSeconds = 0.1;

benchmark::ClaimResult ResultOf(const benchmark::Claim& claim,
                                const benchmark::ClaimRunOptions& options,
                                const MeasuredRuns& measured) {
  benchmark::ClaimResult result;
  result.claim = claim;
  for (const benchmark::ClaimRun& run : benchmark::RunsOf(claim, options)) {
    const std::string name = run.Name();
    if (const auto found = measured.records.find(name);
        found != measured.records.end()) {
      result.points.push_back({run, found->second});
    } else if (const auto why = measured.left_out.find(name);
               why != measured.left_out.end() &&
               !absl::StrContains(result.left_out, why->second)) {
      absl::StrAppend(&result.left_out, result.left_out.empty() ? "" : "; ",
                      why->second);
    }
  }
  result.verdict = benchmark::Judge(claim, result.points, result.left_out);
  return result;
}

std::string ListText(const std::vector<benchmark::Claim>& claims) {
  std::vector<std::vector<std::string>> rows;
  for (const benchmark::Claim& claim : claims) {
    rows.push_back({claim.id,
                    absl::StrCat(benchmark::FormatNumber(claim.published), "x"),
                    claim.text, std::string(claim.source->name)});
  }
  return benchmark::TextTable({"claim", "published", "says", "source"}, rows);
}

}  // namespace

CLI::App* ClaimsCommand::Register(CLI::App& app) {
  CLI::App* sub =
      app.add_subcommand("claims", "Run published claims again, here");
  sub->add_flag("--quick", quick,
                "One thread, warm weights, fewer shapes: under three minutes "
                "on two cores");
  sub->add_flag("--json", json, "Print JSON");
  sub->add_option("--html", html, "Write a page with charts to FILE");
  sub->add_option("--resume", resume,
                  "Keep each run as a line of JSON in FILE; measure what is in "
                  "it again only if other processes disturbed it");
  sub->add_option("--claim", ids, "Claims to run; all by default")
      ->delimiter(',');
  sub->add_flag("--list-claims", list, "List the claims, measure nothing");
  sub->add_option("--seed", seed, "Seed of the random rows and weights")
      ->capture_default_str();
  sub->footer(
      "Examples:\n  fffctl claims --quick\n  fffctl claims --resume runs.jsonl "
      "--html claims.html");
  return sub;
}

absl::Status ClaimsCommand::Run() const {
  FFF_ASSIGN_OR_RETURN(const std::vector<benchmark::Claim> claims,
                       benchmark::ChooseClaims(ids));
  if (list) {
    std::cout << ListText(claims);
    return absl::OkStatus();
  }
  benchmark::ClaimsReport report;
  report.version = FFF_VERSION;
  report.cpu_model = base::ReadCpuInfo().model;
  report.isa = engine::CpuIsa();
  report.threads_all = base::AvailableCpus();
  report.quick = quick;
  report.seconds = quick ? kQuickSeconds : kSeconds;
  const benchmark::ClaimRunOptions options = {quick, report.threads_all};
  FFF_ASSIGN_OR_RETURN(
      const MeasuredRuns measured,
      MeasureRuns(
          benchmark::AllRuns(claims, options),
          {{report.version, report.cpu_model, report.seconds, seed}, resume}));
  for (const benchmark::Claim& claim : claims) {
    report.results.push_back(ResultOf(claim, options, measured));
  }
  report.date =
      absl::FormatTime("%Y-%m-%d %H:%M UTC", absl::Now(), absl::UTCTimeZone());
  // Printed first: what was measured is not lost with a page that cannot be
  // written.
  std::cout << (json ? benchmark::ClaimsJson(report)
                     : benchmark::ClaimsText(report));
  if (html.empty()) return absl::OkStatus();
  return WriteFile(html, benchmark::ClaimsHtml(report));
}

}  // namespace fff::cli
