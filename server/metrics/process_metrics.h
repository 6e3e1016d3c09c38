#pragma once

namespace fff::metrics {

// The process as the kernel sees it; a field that cannot be read is 0.
struct ProcessMetrics {
  double cpu_seconds = 0;
  double resident_bytes = 0;
  double virtual_bytes = 0;
  double start_time_seconds = 0;  // since the Unix epoch
  double open_fds = 0;
  double max_fds = 0;
  double threads = 0;
};

// Reads /proc/self. Touches the (virtual) disk; for scrapes, not requests.
ProcessMetrics ReadProcessMetrics();

}  // namespace fff::metrics
