#include "client/cli/rows/timed_rows.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/benchmark/input_rows.h"

namespace fff::cli {
namespace {

constexpr int64_t kBatches[] = {1, 16, 256};

// Of the first row; all have as many.
int64_t RowBytes(const std::vector<PortRows>& ports) {
  int64_t bytes = 0;
  for (const PortRows& port : ports) {
    bytes += port.widths[0] * port.element_bytes;
  }
  return std::max<int64_t>(1, bytes);
}

absl::Status CheckAlike(const std::vector<PortRows>& ports) {
  const int64_t rows = ports[0].rows();
  const int64_t alike = RowsAlike(ports, 0, rows);
  if (alike == rows) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      ports[0].argument.file, ": row ", alike,
      " differs in length from row 0, wanted rows of one length to measure "
      "with"));
}

absl::Status CheckBatch(int64_t batch, const std::vector<PortRows>& ports) {
  if (batch > ports[0].rows()) {
    return absl::InvalidArgumentError(
        absl::StrCat(ports[0].argument.file, ": got ", ports[0].rows(),
                     " rows, wanted at least the ", batch, " of --rows"));
  }
  if (batch * RowBytes(ports) > kTimedBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a batch of ", batch, " rows has ", batch * RowBytes(ports),
        " bytes, wanted at most ", kTimedBytesMax));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> TimedBatches(
    const std::vector<int64_t>& asked, const std::vector<PortRows>& ports) {
  std::vector<int64_t> batches = asked;
  for (const int64_t batch : batches) {
    FFF_RETURN_IF_ERROR(CheckBatch(batch, ports));
  }
  if (!batches.empty()) return batches;
  for (const int64_t batch : kBatches) {
    if (CheckBatch(batch, ports).ok()) batches.push_back(batch);
  }
  if (batches.empty()) return CheckBatch(1, ports);
  return batches;
}

absl::Status AddTimedRows(const std::vector<PortRows>& ports,
                          v1::BenchmarkRequest* request) {
  FFF_RETURN_IF_ERROR(CheckAlike(ports));
  const int64_t all = ports[0].rows();
  const int64_t largest = *std::max_element(request->batch_rows().begin(),
                                            request->batch_rows().end());
  const int64_t pool =
      std::min(benchmark::kPoolRows, benchmark::kPoolBytes / RowBytes(ports));
  const int64_t count = std::min(all, std::max(largest, pool));
  for (const PortRows& port : ports) {
    v1::NamedTensor& named = *request->add_inputs();
    named.set_name(port.port.name());
    const client::NamedInput first = port.Slice(0, 1);
    named.mutable_tensor()->set_datatype(first.type);
    named.mutable_tensor()->mutable_shape()->Assign(first.shape.begin(),
                                                    first.shape.end());
    named.mutable_tensor()->set_shape(0, count);
    std::string& data = *named.mutable_tensor()->mutable_data();
    data.reserve(static_cast<size_t>(count) * first.bytes.size());
    for (int64_t i = 0; i < count; ++i) {
      const client::NamedInput row = port.Slice(i * all / count, 1);
      data.append(row.bytes.data(), row.bytes.size());
    }
  }
  return absl::OkStatus();
}

}  // namespace fff::cli
