#include "server/rpc/observe/access_log.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "server/base/log.h"

namespace fff::rpc {
namespace {

void AppendText(absl::string_view key, absl::string_view value,
                std::string& out) {
  absl::StrAppend(&out, ",\"", key, "\":");
  constexpr size_t kLoggedBytesMax = 1000;
  base::AppendJsonString(base::Printable(value, kLoggedBytesMax), out);
}

void AppendMicroseconds(absl::string_view key, int64_t ns, std::string& out) {
  absl::StrAppendFormat(&out, ",\"%s\":%.1f", key,
                        static_cast<double>(ns) / 1000);
}

}  // namespace

std::string ToJson(const AccessEntry& entry) {
  std::string out =
      absl::StrCat("{\"time\":\"",
                   absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ",
                                    absl::FromUnixMillis(entry.unix_ms),
                                    absl::UTCTimeZone()),
                   "\"");
  AppendText("method", entry.method, out);
  AppendText("model", entry.model, out);
  absl::StrAppend(&out, ",\"version\":", entry.version);
  AppendText("request_id", entry.request_id, out);
  AppendText("status", entry.status, out);
  if (!entry.message.empty()) AppendText("message", entry.message, out);
  absl::StrAppend(&out, ",\"rows\":", entry.rows,
                  ",\"batch_rows\":", entry.batch_rows,
                  ",\"request_bytes\":", entry.request_bytes,
                  ",\"answer_bytes\":", entry.answer_bytes);
  AppendMicroseconds("decode_us", entry.decode_ns, out);
  AppendMicroseconds("queue_us", entry.queue_ns, out);
  AppendMicroseconds("compute_us", entry.compute_ns, out);
  AppendMicroseconds("encode_us", entry.encode_ns, out);
  AppendMicroseconds("total_us", entry.total_ns, out);
  if (entry.trace != nullptr) {
    AppendText("trace_id", entry.trace->trace_id, out);
    AppendText("parent_span_id", entry.trace->span_id, out);
  }
  out.push_back('}');
  return out;
}

bool AccessLog::Wants(bool ok, bool traced) {
  if (!ok || traced) return true;
  const auto before =
      static_cast<double>(seen_.fetch_add(1, std::memory_order_relaxed));
  return std::floor((before + 1) * share_) > std::floor(before * share_);
}

}  // namespace fff::rpc
