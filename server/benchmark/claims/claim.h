#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/benchmark/report.h"

// What was published about the speed of fast feedforward networks, and which
// benchmark cases run it again.
namespace fff::benchmark {

// Where figures were published, and how they came about.
struct ClaimSource {
  absl::string_view name;
  absl::string_view url;
  absl::string_view conditions;  // machine, software, batch, repetitions
  // Known flaws of the code or text behind the figures; empty = none known.
  absl::string_view flaws;
};

enum class ClaimKind {
  kEvery,       // measured: the figure is of every shape and batch listed
  kUpTo,        // measured: "up to", the best of the shapes counts
  kArithmetic,  // operations of dense per operation of the FFF
  kElsewhere,   // this program cannot run it; `reason` says why
};

// A built-in case at one depth and batch size.
struct ClaimShape {
  std::string case_name;
  int depth = -1;  // -1: the case's own
  int64_t rows = 0;
  // Instead of `rows` with --quick, where those take minutes. 0: left out.
  int64_t quick_rows = 0;
};

struct Claim {
  std::string id;
  std::string text;
  const ClaimSource* source = nullptr;  // never null, lives for ever
  // How many times as fast as dense the FFF is; below 1 it is slower.
  double published = 0;
  ClaimKind kind = ClaimKind::kEvery;
  std::vector<ClaimShape> shapes;  // empty exactly for kElsewhere
  std::string reason;              // of kElsewhere alone
};

// Every claim, those of one source next to each other.
std::vector<Claim> Claims();

// Those with the ids, in the order of Claims(); all when there are no ids.
// NOT_FOUND lists the ids that there are.
absl::StatusOr<std::vector<Claim>> ChooseClaims(
    const std::vector<std::string>& ids);

// One measurement: what is kept, resumed and shared between claims.
struct ClaimRun {
  std::string case_name;
  int depth = -1;
  int64_t rows = 0;
  int threads = 1;
  bool cold = false;

  // "path-768-l12, 16384 rows, 2 threads, cold": the identity of the run.
  std::string Name() const;
};

struct ClaimRunOptions {
  bool quick = false;   // one thread, warm weights, quick_rows
  int threads_all = 1;  // of the machine
};

// The claim's shapes with one thread and all, warm and cold. Claims of
// arithmetic need one thread and warm weights alone. Empty for kElsewhere.
std::vector<ClaimRun> RunsOf(const Claim& claim,
                             const ClaimRunOptions& options);

// The runs of all claims, each once; those of one case and depth stand next to
// each other, so that its models are built once.
std::vector<ClaimRun> AllRuns(const std::vector<Claim>& claims,
                              const ClaimRunOptions& options);

}  // namespace fff::benchmark
