#include "server/metrics/openmetrics.h"

#include <cmath>
#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace fff::metrics {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricType;

constexpr char kTotal[] = "_total";

std::string Escaped(absl::string_view text) {
  return absl::StrReplaceAll(text,
                             {{"\\", "\\\\"}, {"\n", "\\n"}, {"\"", "\\\""}});
}

// As prometheus-cpp writes it, which a test holds against its text.
std::string Number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return absl::StrFormat("%.*g", std::numeric_limits<double>::max_digits10 - 1,
                         value);
}

absl::string_view TypeName(MetricType type) {
  switch (type) {
    case MetricType::Counter:
      return "counter";
    case MetricType::Gauge:
      return "gauge";
    case MetricType::Histogram:
      return "histogram";
    default:
      return "unknown";
  }
}

// Writes one family.
class FamilyWriter {
 public:
  FamilyWriter(const ExportedFamily& exported, std::string& out)
      : exported_(exported), out_(out) {}

  void Write() {
    const prometheus::MetricFamily& family = exported_.family;
    absl::string_view name = family.name;
    // A counter's samples have the ending, the counter itself has not.
    if (family.type == MetricType::Counter) absl::ConsumeSuffix(&name, kTotal);
    absl::StrAppend(&out_, "# TYPE ", name, " ", TypeName(family.type), "\n");
    // Only a unit that the name ends with may be told.
    const std::string& unit = exported_.unit;
    if (!unit.empty() && absl::EndsWith(name, "_" + unit)) {
      absl::StrAppend(&out_, "# UNIT ", name, " ", unit, "\n");
    }
    absl::StrAppend(&out_, "# HELP ", name, " ", Escaped(family.help), "\n");
    for (size_t i = 0; i < family.metric.size(); ++i) {
      const ClientMetric& metric = family.metric[i];
      switch (family.type) {
        case MetricType::Histogram:
          WriteHistogram(metric, i);
          break;
        case MetricType::Counter:
          WriteSample(absl::StrCat(name, kTotal), metric, "",
                      metric.counter.value);
          break;
        default:
          WriteSample(name, metric, "", metric.gauge.value);
      }
    }
  }

 private:
  void WriteSample(absl::string_view name, const ClientMetric& metric,
                   absl::string_view bound, double value) {
    absl::StrAppend(&out_, name);
    const char* before = "{";
    for (const ClientMetric::Label& label : metric.label) {
      absl::StrAppend(&out_, before, label.name, "=\"", Escaped(label.value),
                      "\"");
      before = ",";
    }
    if (!bound.empty()) absl::StrAppend(&out_, before, "le=\"", bound, "\"");
    const bool labelled = !metric.label.empty() || !bound.empty();
    absl::StrAppend(&out_, labelled ? "} " : " ", Number(value), "\n");
  }

  void WriteHistogram(const ClientMetric& metric, size_t index) {
    const std::string& name = exported_.family.name;
    const auto& buckets = metric.histogram.bucket;
    for (size_t b = 0; b < buckets.size(); ++b) {
      WriteSample(absl::StrCat(name, "_bucket"), metric,
                  Number(buckets[b].upper_bound),
                  static_cast<double>(buckets[b].cumulative_count));
      WriteExemplar(index, b);
    }
    WriteSample(absl::StrCat(name, "_count"), metric, "",
                static_cast<double>(metric.histogram.sample_count));
    WriteSample(absl::StrCat(name, "_sum"), metric, "",
                metric.histogram.sample_sum);
  }

  // At the end of the line that was written last.
  void WriteExemplar(size_t index, size_t bucket) {
    if (index >= exported_.exemplars.size()) return;
    const std::vector<Exemplar>& exemplars = exported_.exemplars[index];
    if (bucket >= exemplars.size() || exemplars[bucket].unix_ms == 0) return;
    const Exemplar& exemplar = exemplars[bucket];
    const auto hex = [](const auto& id) {
      return absl::BytesToHexString(
          {reinterpret_cast<const char*>(id.data()), id.size()});
    };
    out_.pop_back();
    absl::StrAppend(
        &out_, " # {trace_id=\"", hex(exemplar.trace.trace_id), "\",span_id=\"",
        hex(exemplar.trace.span_id), "\"} ",
        Number(static_cast<double>(exemplar.value) * exported_.unit_scale),
        absl::StrFormat(" %d.%03d\n", exemplar.unix_ms / 1000,
                        exemplar.unix_ms % 1000));
  }

  const ExportedFamily& exported_;
  std::string& out_;
};

}  // namespace

std::string OpenMetricsText(const std::vector<ExportedFamily>& families) {
  std::string out;
  for (const ExportedFamily& family : families) {
    FamilyWriter(family, out).Write();
  }
  out += "# EOF\n";
  return out;
}

}  // namespace fff::metrics
