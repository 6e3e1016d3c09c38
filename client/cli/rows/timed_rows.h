#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/rows/input_port.h"
#include "fff/v1/inference.pb.h"

// Which rows of somebody's files a benchmark is timed with. Pure.
namespace fff::cli {

// Sent in one message; a server takes 64 MiB by default.
inline constexpr int64_t kTimedBytesMax = int64_t{48} << 20;

// The batch sizes that are asked for; where none are, those of 1, 16 and 256
// that the rows allow. INVALID_ARGUMENT for a batch that is larger than the
// data or than kTimedBytesMax.
absl::StatusOr<std::vector<int64_t>> TimedBatches(
    const std::vector<int64_t>& asked, const std::vector<PortRows>& ports);

// Adds rows to the request: all that fit benchmark::kPoolBytes and kPoolRows,
// but as many as its largest batch has. Where these are not all they are spread
// evenly over the file, so that one sorted by class is not timed with one
// class. INVALID_ARGUMENT where rows differ in length.
absl::Status AddTimedRows(const std::vector<PortRows>& ports,
                          v1::BenchmarkRequest* request);

}  // namespace fff::cli
