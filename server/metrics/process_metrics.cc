#include "server/metrics/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace fff::metrics {
namespace {

double Number(const std::vector<std::string>& fields, size_t index) {
  double value = 0;
  if (index < fields.size() && !absl::SimpleAtod(fields[index], &value)) {
    return 0;
  }
  return value;
}

// Fields of /proc/self/stat from the third (state) on: the second, the command
// in parentheses, may hold blanks.
std::vector<std::string> StatFields() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  const size_t close = line.rfind(')');
  if (close == std::string::npos || close + 2 > line.size()) return {};
  return absl::StrSplit(line.substr(close + 2), ' ');
}

double BootTimeSeconds() {
  std::ifstream file("/proc/stat");
  for (std::string key; file >> key;) {
    double value = 0;
    if (key == "btime" && file >> value) return value;
  }
  return 0;
}

double OpenFds() {
  std::error_code error;
  const std::filesystem::directory_iterator entries("/proc/self/fd", error);
  if (error) return 0;
  return static_cast<double>(std::distance(begin(entries), end(entries)));
}

}  // namespace

ProcessMetrics ReadProcessMetrics() {
  // proc(5) numbers fields from 1; index 0 here is field 3.
  const std::vector<std::string> fields = StatFields();
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  ProcessMetrics process;
  process.cpu_seconds = (Number(fields, 11) + Number(fields, 12)) / ticks;
  process.threads = Number(fields, 17);
  process.start_time_seconds = BootTimeSeconds() + Number(fields, 19) / ticks;
  process.virtual_bytes = Number(fields, 20);
  process.resident_bytes =
      Number(fields, 21) * static_cast<double>(sysconf(_SC_PAGESIZE));
  process.open_fds = OpenFds();
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    process.max_fds = static_cast<double>(limit.rlim_cur);
  }
  return process;
}

}  // namespace fff::metrics
