#include "server/benchmark/claims/claim.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace fff::benchmark {
namespace {

struct Setting {
  int threads;
  bool cold;
};

std::vector<Setting> Settings(const Claim& claim,
                              const ClaimRunOptions& options) {
  std::vector<Setting> settings = {{1, false}};
  if (options.quick || claim.kind == ClaimKind::kArithmetic) return settings;
  settings.push_back({1, true});
  if (options.threads_all > 1) {
    settings.push_back({options.threads_all, false});
    settings.push_back({options.threads_all, true});
  }
  return settings;
}

std::string Ids(const std::vector<Claim>& claims) {
  return absl::StrJoin(claims, ", ", [](std::string* out, const Claim& claim) {
    absl::StrAppend(out, claim.id);
  });
}

}  // namespace

absl::StatusOr<std::vector<Claim>> ChooseClaims(
    const std::vector<std::string>& ids) {
  const std::vector<Claim> all = Claims();
  for (const std::string& id : ids) {
    const bool known = absl::c_any_of(
        all, [&id](const Claim& claim) { return claim.id == id; });
    if (known) continue;
    return absl::NotFoundError(
        absl::StrCat("no claim '", id, "', there are: ", Ids(all)));
  }
  std::vector<Claim> chosen;
  for (const Claim& claim : all) {
    if (ids.empty() || absl::c_linear_search(ids, claim.id)) {
      chosen.push_back(claim);
    }
  }
  return chosen;
}

std::string ClaimRun::Name() const {
  std::string name = case_name;
  if (depth >= 0) absl::StrAppend(&name, " of depth ", depth);
  absl::StrAppend(&name, ", ", rows, rows == 1 ? " row, " : " rows, ", threads,
                  threads == 1 ? " thread, " : " threads, ",
                  cold ? "cold" : "warm");
  return name;
}

std::vector<ClaimRun> RunsOf(const Claim& claim,
                             const ClaimRunOptions& options) {
  std::vector<ClaimRun> runs;
  for (const ClaimShape& shape : claim.shapes) {
    const int64_t rows = options.quick ? shape.quick_rows : shape.rows;
    if (rows == 0) continue;
    for (const Setting& setting : Settings(claim, options)) {
      runs.push_back(
          {shape.case_name, shape.depth, rows, setting.threads, setting.cold});
    }
  }
  return runs;
}

std::vector<ClaimRun> AllRuns(const std::vector<Claim>& claims,
                              const ClaimRunOptions& options) {
  std::vector<ClaimRun> all;
  std::set<std::string> seen;
  for (const Claim& claim : claims) {
    for (ClaimRun& run : RunsOf(claim, options)) {
      if (seen.insert(run.Name()).second) all.push_back(std::move(run));
    }
  }
  std::stable_sort(
      all.begin(), all.end(), [](const ClaimRun& a, const ClaimRun& b) {
        return std::tie(a.case_name, a.depth) < std::tie(b.case_name, b.depth);
      });
  return all;
}

}  // namespace fff::benchmark
