#include "server/metrics/metric_table.h"

#include <cstdlib>

namespace fff::metrics {
namespace {

constexpr MetricDescription kTable[] = {
    {"fff_requests_total", MetricType::kCounter, "",
     "model,version,implementation,method,code",
     "Inference requests answered, by gRPC status code."},
    {"fff_request_duration_seconds", MetricType::kHistogram, "seconds",
     "model,version,implementation,method",
     "From a request fully received to its answer handed to gRPC."},
    {"fff_queue_duration_seconds", MetricType::kHistogram, "seconds",
     "model,version,implementation",
     "Time a request waited for a free worker."},
    {"fff_compute_duration_seconds", MetricType::kHistogram, "seconds",
     "model,version,implementation,device",
     "Time the model took to evaluate a batch."},
    {"fff_batch_rows", MetricType::kHistogram, "rows",
     "model,version,implementation", "Rows per evaluated batch."},
    {"fff_compute_seconds_total", MetricType::kCounter, "seconds",
     "model,version,implementation,batch_rows",
     "Time of evaluating batches of up to so many rows, more than half of "
     "that. Absent for sizes that never came."},
    {"fff_compute_rows_total", MetricType::kCounter, "rows",
     "model,version,implementation,batch_rows",
     "Rows of these batches: costs per row compare at one batch size."},
    {"fff_rows_total", MetricType::kCounter, "rows",
     "model,version,implementation", "Rows evaluated."},
    {"fff_tokens_total", MetricType::kCounter, "tokens",
     "model,version,implementation",
     "Tokens of the rows evaluated. Models without sequences count one token "
     "per row."},
    {"fff_nonfinite_rows_total", MetricType::kCounter, "rows",
     "model,version,implementation",
     "Rows that held NaN or infinity and were evaluated."},
    {"fff_queue_rows", MetricType::kGauge, "rows",
     "model,version,implementation", "Rows waiting for a free worker."},
    {"fff_inflight_requests", MetricType::kGauge, "",
     "model,version,implementation",
     "Inference requests received and not yet answered."},
    {"fff_leaf_visits_total", MetricType::kCounter, "rows",
     "model,version,layer,subtree",
     "Rows routed into each subtree of an FFF layer, all its trees together. "
     "Subtrees are counted left to right below the first levels, at most 16."},
    {"fff_layer_sampled_seconds_total", MetricType::kCounter, "seconds",
     "model,version,implementation,layer",
     "Compute time of a network's layers on the CPU, in sampled batches. Layer "
     "is the first of the FFF layers that are described alike, of their "
     "stand-ins in the dense network likewise. All others are 'other'."},
    {"fff_model_info", MetricType::kGauge, "",
     "model,version,implementation,device,file,dense_kind,description",
     "1 for every model version that is being served."},
    {"fff_model_ready", MetricType::kGauge, "", "model",
     "1 when the model's default version is loaded, else 0. Absent while the "
     "model is unloaded on request."},
    {"fff_model_weights_bytes", MetricType::kGauge, "bytes",
     "model,version,implementation",
     "Memory of a version's weights, packed copies included."},
    {"fff_model_accuracy_ratio", MetricType::kGauge, "ratio",
     "model,version,implementation",
     "Share of right answers, 0 to 1, as the model's config.json states it. "
     "Absent where it states none."},
    {"fff_model_load_duration_seconds", MetricType::kGauge, "seconds",
     "model,version", "Time the last load of this version took."},
    {"fff_model_load_done_bytes", MetricType::kGauge, "bytes",
     "model,version,stage",
     "Bytes that the current stage of a load has done. Absent without a "
     "load."},
    {"fff_model_load_total_bytes", MetricType::kGauge, "bytes",
     "model,version,stage",
     "Bytes that this stage has to do in all; 0 where that is unknown."},
    {"fff_model_load_failures_total", MetricType::kCounter, "", "model",
     "Versions of this model that could not be loaded."},
    {"fff_benchmark_speedup_ratio", MetricType::kGauge, "ratio",
     "model,version,rows,threads",
     "Dense median over FFF median in the last Benchmark call."},
    {"fff_server_ready", MetricType::kGauge, "", "",
     "1 while the server is ready in the sense of --ready-when, else 0."},
    {"fff_access_log_lines_lost_total", MetricType::kCounter, "", "",
     "Access log lines that could not be written: a full disk, or a pipe "
     "that is read too slowly."},
    {"fff_metadata_refused_total", MetricType::kCounter, "", "",
     "Inference, health and reflection calls refused because their metadata "
     "were larger than --max-metadata-bytes."},
    {"fff_spans_exported_total", MetricType::kCounter, "", "",
     "Spans that the receiver of --otlp-endpoint has taken."},
    {"fff_spans_dropped_total", MetricType::kCounter, "", "",
     "Spans that it has not: it was away or too slow, or refused them."},
    {"fff_build_info", MetricType::kGauge, "", "version",
     "Always 1; the label holds the server's version."},
    {"process_cpu_seconds_total", MetricType::kCounter, "seconds", "",
     "CPU time of the process, user and system."},
    {"process_resident_memory_bytes", MetricType::kGauge, "bytes", "",
     "Resident memory of the process."},
    {"process_virtual_memory_bytes", MetricType::kGauge, "bytes", "",
     "Virtual memory of the process."},
    {"process_start_time_seconds", MetricType::kGauge, "seconds", "",
     "Start of the process since the Unix epoch."},
    {"process_open_fds", MetricType::kGauge, "", "",
     "Open file descriptors of the process."},
    {"process_max_fds", MetricType::kGauge, "", "",
     "Limit of open file descriptors."},
    {"process_threads", MetricType::kGauge, "", "", "Threads of the process."},
};

}  // namespace

absl::string_view Name(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
  }
  return "?";
}

absl::Span<const MetricDescription> MetricTable() { return kTable; }

const MetricDescription& DescriptionOf(absl::string_view name) {
  for (const MetricDescription& row : kTable) {
    if (row.name == name) return row;
  }
  std::abort();  // our own spelling mistake; the exporter's test runs every
                 // name
}

}  // namespace fff::metrics
