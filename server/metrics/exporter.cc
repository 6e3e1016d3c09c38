#include "server/metrics/exporter.h"

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <initializer_list>
#include <limits>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/metrics/metric_table.h"
#include "server/metrics/openmetrics.h"
#include "server/metrics/process_metrics.h"

namespace fff::metrics {
namespace {

using prometheus::ClientMetric;

prometheus::MetricType ToPrometheus(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return prometheus::MetricType::Counter;
    case MetricType::kGauge:
      return prometheus::MetricType::Gauge;
    case MetricType::kHistogram:
      return prometheus::MetricType::Histogram;
  }
  return prometheus::MetricType::Untyped;
}

// One family under construction; label values come in the table's order.
class FamilyBuilder {
 public:
  explicit FamilyBuilder(absl::string_view name)
      : description_(DescriptionOf(name)),
        label_names_(
            absl::StrSplit(description_.labels, ',', absl::SkipEmpty())) {
    exported_.family.name = std::string(description_.name);
    exported_.family.help = std::string(description_.help);
    exported_.family.type = ToPrometheus(description_.type);
    exported_.unit = std::string(description_.unit);
  }

  void Add(const std::vector<std::string>& label_values, double value) {
    ClientMetric& metric = NewMetric(label_values);
    if (description_.type == MetricType::kCounter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
  }

  // Of the histogram that is added next.
  void AddExemplars(const Exemplars& exemplars) {
    exported_.exemplars.push_back(exemplars.Snapshot());
  }

  // `unit_scale` turns observed units into exported ones (1e-9: ns to s). One
  // that observed nothing is left out: hundreds of idle models would have
  // thousands of such series.
  void Add(const std::vector<std::string>& label_values,
           const Histogram& histogram, double unit_scale) {
    const HistogramSnapshot snapshot = histogram.Snapshot();
    if (snapshot.count == 0) return;
    ClientMetric& metric = NewMetric(label_values);
    exported_.unit_scale = unit_scale;
    metric.histogram.sample_count = snapshot.count;
    metric.histogram.sample_sum =
        static_cast<double>(snapshot.sum) * unit_scale;
    uint64_t cumulative = 0;
    for (size_t b = 0; b < snapshot.counts.size(); ++b) {
      cumulative += snapshot.counts[b];
      const double bound =
          b < histogram.bounds().size()
              ? static_cast<double>(histogram.bounds()[b]) * unit_scale
              : std::numeric_limits<double>::infinity();
      metric.histogram.bucket.push_back({cumulative, bound});
    }
  }

  ExportedFamily Take() { return std::move(exported_); }

 private:
  ClientMetric& NewMetric(const std::vector<std::string>& label_values) {
    ClientMetric& metric = exported_.family.metric.emplace_back();
    for (size_t i = 0; i < label_names_.size(); ++i) {
      metric.label.push_back({label_names_[i], label_values[i]});
    }
    return metric;
  }

  const MetricDescription& description_;
  std::vector<std::string> label_names_;
  ExportedFamily exported_;
};

constexpr double kSecondsPerNs = 1e-9;

std::vector<std::string> Labels3(const ModelLabels& labels) {
  return {labels.model, labels.version, labels.implementation};
}

ExportedFamily Requests(const ServerMetrics::Snapshot& snapshot) {
  FamilyBuilder family("fff_requests_total");
  for (const auto& served : snapshot.served) {
    for (size_t m = 0; m < kMethods; ++m) {
      for (size_t c = 0; c < kStatusCodes; ++c) {
        const uint64_t count = served.metrics->requests[m][c].Value();
        if (count == 0) continue;
        std::vector<std::string> labels = Labels3(served.metrics->labels);
        labels.emplace_back(Name(static_cast<Method>(m)));
        labels.emplace_back(StatusCodeName(static_cast<int>(c)));
        family.Add(labels, static_cast<double>(count));
      }
    }
  }
  return family.Take();
}

ExportedFamily RequestDurations(const ServerMetrics::Snapshot& snapshot) {
  FamilyBuilder family("fff_request_duration_seconds");
  for (const auto& served : snapshot.served) {
    for (size_t m = 0; m < kMethods; ++m) {
      const Histogram& histogram = served.metrics->request_duration[m];
      if (histogram.Snapshot().count == 0) continue;
      std::vector<std::string> labels = Labels3(served.metrics->labels);
      labels.emplace_back(Name(static_cast<Method>(m)));
      family.AddExemplars(served.metrics->request_exemplars[m]);
      family.Add(labels, histogram, kSecondsPerNs);
    }
  }
  return family.Take();
}

// A family with one series a served implementation; `add` fills in one.
template <class Add>
ExportedFamily PerModel(const ServerMetrics::Snapshot& snapshot,
                        absl::string_view name, Add add) {
  FamilyBuilder family(name);
  for (const auto& served : snapshot.served) {
    if (served.loaded) add(family, served);
  }
  return family.Take();
}

// A series for each batch size that came.
void AddCosts(FamilyBuilder& family, const ModelMetrics& metrics,
              double (*value_of)(const SizeCost&)) {
  const std::vector<SizeCost> costs = metrics.batch_costs.Snapshot();
  for (size_t b = 0; b < costs.size(); ++b) {
    if (costs[b].rows == 0) continue;
    std::vector<std::string> labels = Labels3(metrics.labels);
    labels.push_back(b < RowBounds().size() ? absl::StrCat(RowBounds()[b])
                                            : "+Inf");
    family.Add(labels, value_of(costs[b]));
  }
}

// Of batches by their size, to compare sizes that both implementations have.
void AppendCostFamilies(const ServerMetrics::Snapshot& snapshot,
                        std::vector<ExportedFamily>& families) {
  using Served = ServerMetrics::Served;
  const auto add = [&](absl::string_view name, auto value_of) {
    families.push_back(PerModel(
        snapshot, name, [&](FamilyBuilder& family, const Served& served) {
          AddCosts(family, *served.metrics, value_of);
        }));
  };
  add("fff_compute_seconds_total", [](const SizeCost& cost) {
    return static_cast<double>(cost.compute_ns) * kSecondsPerNs;
  });
  add("fff_compute_rows_total",
      [](const SizeCost& cost) { return static_cast<double>(cost.rows); });
}

void AddLeafVisits(FamilyBuilder& family, const ServerMetrics::Served& served) {
  const ModelLabels& labels = served.metrics->labels;
  for (const LeafVisits& visits : *served.leaf_visits) {
    if (visits.empty()) continue;
    for (size_t b = 0; b < visits.buckets(); ++b) {
      family.Add({labels.model, labels.version,
                  absl::StrCat(visits.layer().index), absl::StrCat(b)},
                 static_cast<double>(visits.Value(b)));
    }
  }
}

void AppendModelFamilies(const ServerMetrics::Snapshot& snapshot,
                         std::vector<ExportedFamily>& families) {
  using Served = ServerMetrics::Served;
  const auto add = [&](absl::string_view name, auto add_series) {
    families.push_back(PerModel(snapshot, name, add_series));
  };
  const auto add_value = [&](absl::string_view name, auto value_of) {
    add(name, [&](FamilyBuilder& family, const Served& served) {
      family.Add(Labels3(served.metrics->labels),
                 static_cast<double>(value_of(served)));
    });
  };
  add("fff_queue_duration_seconds", [](auto& family, const Served& served) {
    family.Add(Labels3(served.metrics->labels), served.metrics->queue_duration,
               kSecondsPerNs);
  });
  add("fff_compute_duration_seconds", [](auto& family, const Served& served) {
    std::vector<std::string> labels = Labels3(served.metrics->labels);
    labels.push_back(served.metrics->labels.device);
    family.Add(labels, served.metrics->compute_duration, kSecondsPerNs);
  });
  add("fff_batch_rows", [](auto& family, const Served& served) {
    family.Add(Labels3(served.metrics->labels), served.metrics->batch_rows, 1);
  });
  add_value("fff_rows_total",
            [](const Served& served) { return served.metrics->rows.Value(); });
  add_value("fff_tokens_total", [](const Served& served) {
    return served.metrics->tokens.Value();
  });
  add_value("fff_nonfinite_rows_total", [](const Served& served) {
    return served.metrics->non_finite_rows.Value();
  });
  add_value("fff_queue_rows", [](const Served& served) {
    return served.metrics->queue_rows.Value();
  });
  add_value("fff_inflight_requests", [](const Served& served) {
    return served.metrics->inflight.Value();
  });
  add_value("fff_model_weights_bytes",
            [](const Served& served) { return served.info.weights_bytes; });
  add("fff_model_accuracy_ratio", [](auto& family, const Served& served) {
    if (!served.info.accuracy.has_value()) return;
    family.Add(Labels3(served.metrics->labels), *served.info.accuracy);
  });
  add("fff_leaf_visits_total", AddLeafVisits);
  add("fff_layer_sampled_seconds_total",
      [](auto& family, const Served& served) {
        if (served.layer_times == nullptr) return;
        for (const LayerTimes::Series& one : served.layer_times->series()) {
          std::vector<std::string> labels = Labels3(served.metrics->labels);
          labels.push_back(one.layer);
          family.Add(labels, static_cast<double>(one.ns) * kSecondsPerNs);
        }
      });
  add("fff_model_info", [](auto& family, const Served& served) {
    const auto& [model, version, implementation, device] =
        served.metrics->labels;
    const ModelInfo& info = served.info;
    family.Add({model, version, implementation, device, info.file,
                info.dense_kind, info.description},
               1);
  });
}

void AppendLifecycleFamilies(const ServerMetrics::Snapshot& snapshot,
                             std::vector<ExportedFamily>& families) {
  FamilyBuilder ready("fff_model_ready");
  for (const auto& [model, is_ready] : snapshot.model_ready) {
    ready.Add({model}, is_ready ? 1 : 0);
  }
  families.push_back(ready.Take());
  FamilyBuilder durations("fff_model_load_duration_seconds");
  for (const auto& [key, seconds] : snapshot.load_seconds) {
    durations.Add({key.first, key.second}, seconds);
  }
  families.push_back(durations.Take());
  FamilyBuilder done("fff_model_load_done_bytes");
  FamilyBuilder total("fff_model_load_total_bytes");
  for (const auto& [key, view] : snapshot.loads) {
    const std::vector<std::string> labels = {key.first, key.second, view.stage};
    done.Add(labels, static_cast<double>(view.done));
    total.Add(labels, static_cast<double>(view.total));
  }
  families.push_back(done.Take());
  families.push_back(total.Take());
  FamilyBuilder failures("fff_model_load_failures_total");
  for (const auto& [model, count] : snapshot.load_failures) {
    failures.Add({model}, static_cast<double>(count));
  }
  families.push_back(failures.Take());
  FamilyBuilder speedups("fff_benchmark_speedup_ratio");
  for (const auto& [key, ratio] : snapshot.speedups) {
    const auto& [model, version, rows, threads] = key;
    speedups.Add({model, version, absl::StrCat(rows), absl::StrCat(threads)},
                 ratio);
  }
  families.push_back(speedups.Take());
}

void AppendProcessFamilies(const ServerMetrics::Snapshot& snapshot,
                           std::vector<ExportedFamily>& families) {
  FamilyBuilder lost("fff_access_log_lines_lost_total");
  lost.Add({}, static_cast<double>(snapshot.access_log_lines_lost));
  families.push_back(lost.Take());
  FamilyBuilder refused("fff_metadata_refused_total");
  refused.Add({}, static_cast<double>(snapshot.metadata_refused));
  families.push_back(refused.Take());
  FamilyBuilder exported("fff_spans_exported_total");
  exported.Add({}, static_cast<double>(snapshot.spans_exported));
  families.push_back(exported.Take());
  FamilyBuilder dropped("fff_spans_dropped_total");
  dropped.Add({}, static_cast<double>(snapshot.spans_dropped));
  families.push_back(dropped.Take());
  FamilyBuilder build("fff_build_info");
  build.Add({snapshot.server_version}, 1);
  families.push_back(build.Take());
  const ProcessMetrics process = ReadProcessMetrics();
  const std::initializer_list<std::pair<absl::string_view, double>> values = {
      {"process_cpu_seconds_total", process.cpu_seconds},
      {"process_resident_memory_bytes", process.resident_bytes},
      {"process_virtual_memory_bytes", process.virtual_bytes},
      {"process_start_time_seconds", process.start_time_seconds},
      {"process_open_fds", process.open_fds},
      {"process_max_fds", process.max_fds},
      {"process_threads", process.threads}};
  for (const auto& [name, value] : values) {
    FamilyBuilder family(name);
    family.Add({}, value);
    families.push_back(family.Take());
  }
}

std::vector<ExportedFamily> Collect(const ServerMetrics& metrics,
                                    bool server_ready) {
  const ServerMetrics::Snapshot snapshot = metrics.TakeSnapshot();
  std::vector<ExportedFamily> families;
  families.push_back(Requests(snapshot));
  families.push_back(RequestDurations(snapshot));
  AppendModelFamilies(snapshot, families);
  AppendCostFamilies(snapshot, families);
  AppendLifecycleFamilies(snapshot, families);
  FamilyBuilder ready("fff_server_ready");
  ready.Add({}, server_ready ? 1 : 0);
  families.push_back(ready.Take());
  AppendProcessFamilies(snapshot, families);
  return families;
}

}  // namespace

std::string ExportText(const ServerMetrics& metrics, bool server_ready,
                       TextFormat format) {
  const std::vector<ExportedFamily> families = Collect(metrics, server_ready);
  if (format == TextFormat::kOpenMetrics) return OpenMetricsText(families);
  std::vector<prometheus::MetricFamily> plain;
  plain.reserve(families.size());
  for (const ExportedFamily& exported : families) {
    plain.push_back(exported.family);
  }
  return prometheus::TextSerializer().Serialize(plain);
}

}  // namespace fff::metrics
