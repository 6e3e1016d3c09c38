#include "client/cli/predictions.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/routing_tree.h"
#include "nlohmann/json.hpp"
#include "server/base/log.h"
#include "server/benchmark/format.h"
#include "server/benchmark/statistics.h"
#include "server/benchmark/text_table.h"

namespace fff::cli {
namespace {

using Json = nlohmann::ordered_json;
constexpr int kScoresShown = 3;

double Accuracy(const Predictions& predictions) {
  return static_cast<double>(predictions.Correct()) /
         static_cast<double>(std::max<int64_t>(1, predictions.answers()));
}

double Sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

// The strongest columns, best first: "sneaker 8.13, sandal 2.4".
std::string RunnersUp(const Predictions& predictions, int64_t a) {
  const absl::Span<const float> row = predictions.answer(a);
  std::vector<int64_t> columns(row.size());
  std::iota(columns.begin(), columns.end(), 0);
  const auto shown = static_cast<std::ptrdiff_t>(
      std::min<size_t>(kScoresShown, columns.size()));
  std::partial_sort(columns.begin(), columns.begin() + shown, columns.end(),
                    [&](int64_t left, int64_t right) {
                      return row[static_cast<size_t>(left)] >
                             row[static_cast<size_t>(right)];
                    });
  std::string text;
  for (std::ptrdiff_t i = 1; i < shown; ++i) {
    const int64_t at = columns[static_cast<size_t>(i)];
    absl::StrAppendFormat(&text, "%s%s %.4g", i > 1 ? ", " : "",
                          predictions.LabelOf(predictions.ColumnAt(a, at)),
                          static_cast<double>(row[static_cast<size_t>(at)]));
  }
  return text;
}

std::string Table(const Predictions& predictions, int64_t show) {
  const bool has_truth = !predictions.truth.empty();
  const bool has_tokens = !predictions.tokens.empty();
  std::vector<std::string> header = {"row", "prediction", "score", "then"};
  if (has_tokens) header.insert(header.begin() + 1, "token");
  if (has_truth) header.insert(header.end(), {"truth", ""});
  std::vector<std::vector<std::string>> rows;
  const std::vector<Predictions::Place> places = predictions.Places();
  for (int64_t a = 0; a < std::min(show, predictions.answers()); ++a) {
    const auto [row, token] = places[static_cast<size_t>(a)];
    const int64_t best = predictions.ArgMax(a);
    std::vector<std::string> cells = {
        absl::StrCat(row), predictions.LabelOf(best),
        absl::StrFormat("%.4g", static_cast<double>(predictions.Strongest(a))),
        RunnersUp(predictions, a)};
    if (has_tokens) cells.insert(cells.begin() + 1, absl::StrCat(token));
    if (has_truth) {
      const int64_t truth = predictions.truth[static_cast<size_t>(a)];
      cells.push_back(predictions.LabelOf(truth));
      cells.push_back(truth == best ? "right" : "WRONG");
    }
    rows.push_back(std::move(cells));
  }
  return benchmark::TextTable(header, rows);
}

// "outputs: scores [5, 10], hidden [5, 64]"; "" of one output.
std::string OutputsText(const Predictions& predictions) {
  if (predictions.others.empty()) return "";
  const auto text = [](const std::string& name,
                       const std::vector<int64_t>& shape) {
    return absl::StrCat(base::Printable(name), " [", absl::StrJoin(shape, ", "),
                        "]");
  };
  std::vector<std::string> outputs = {
      text(predictions.name, predictions.Shape())};
  for (const OutputRows& other : predictions.others) {
    outputs.push_back(text(other.name, other.Shape()));
  }
  return absl::StrCat("outputs: ", absl::StrJoin(outputs, ", "), "\n");
}

std::string Summary(const Predictions& predictions) {
  const double total_s = Sum(predictions.request_s);
  const benchmark::Latency latency =
      benchmark::Summarize(predictions.request_s);
  const size_t requests = predictions.request_s.size();
  const std::string tokens =
      predictions.tokens.empty()
          ? ""
          : absl::StrCat(", ", predictions.answers(),
                         predictions.answers() == 1 ? " token" : " tokens");
  std::string text = absl::StrCat(
      base::Printable(predictions.model), " version ", predictions.version,
      predictions.dense ? " (dense)" : "", ": ", predictions.rows,
      predictions.rows == 1 ? " row" : " rows", tokens, " in ", requests,
      requests == 1 ? " request, " : " requests, ",
      benchmark::FormatSeconds(total_s), " (median request ",
      benchmark::FormatSeconds(latency.median_s), ")\n",
      OutputsText(predictions));
  if (!predictions.truth.empty()) {
    absl::StrAppendFormat(&text, "accuracy %.2f %% (%d of %d)\n",
                          100 * Accuracy(predictions), predictions.Correct(),
                          predictions.answers());
  }
  return text;
}

// The leaf and margins of every token and tree of row `r`, in one layer.
Json RoutingJson(const v1::LayerRouting& routing, int64_t r) {
  Json json = {
      {"layer", routing.layer()},
      {"family", routing.family() == v1::FAMILY_PATH ? "path" : "leaf"},
      {"depth", routing.depth()}};
  Json leaves = Json::array();
  Json margins = Json::array();
  if (routing.tokens() > 1) json["tokens"] = routing.tokens();
  const int64_t ways = HoldsRow(routing, r) ? WaysOf(routing) : 0;
  const int64_t per_tree = routing.margins_per_tree();
  for (int64_t i = r * ways; i < (r + 1) * ways; ++i) {
    leaves.push_back(routing.leaf(static_cast<int>(i)));
    for (int64_t m = i * per_tree; m < (i + 1) * per_tree; ++m) {
      margins.push_back(routing.margin(static_cast<int>(m)));
    }
  }
  json["leaf"] = std::move(leaves);
  json["margin"] = std::move(margins);
  return json;
}

Json AnswerJson(const Predictions& predictions, int64_t a,
                Predictions::Place place) {
  const int64_t best = predictions.ArgMax(a);
  const absl::Span<const float> scores = predictions.answer(a);
  const int64_t r = place.row;
  Json json = {{"row", r}};
  if (!predictions.tokens.empty()) json["token"] = place.token;
  json["index"] = best;
  json["label"] = predictions.LabelOf(best);
  json["scores"] = std::vector<float>(scores.begin(), scores.end());
  if (!predictions.ids.empty()) {
    Json ids = Json::array();
    for (int64_t i = 0; i < predictions.width; ++i) {
      ids.push_back(predictions.ColumnAt(a, i));
    }
    json["ids"] = std::move(ids);
  }
  if (!predictions.truth.empty()) {
    json["truth"] = predictions.truth[static_cast<size_t>(a)];
  }
  if (place.token > 0) return json;
  for (const OutputRows& other : predictions.others) {
    const absl::Span<const float> row = other.row(r);
    json["outputs"][base::Printable(other.name)] =
        std::vector<float>(row.begin(), row.end());
  }
  for (const Predictions::RoutedRows& request : predictions.routing) {
    if (r < request.first_row || r >= request.first_row + request.rows) {
      continue;
    }
    Json layers = Json::array();
    for (const v1::LayerRouting& layer : request.layers) {
      layers.push_back(RoutingJson(layer, r - request.first_row));
    }
    json["routing"] = std::move(layers);
  }
  return json;
}

}  // namespace

int64_t Predictions::answers() const {
  return width < 1 ? 0 : static_cast<int64_t>(output.size()) / width;
}

absl::Span<const float> Predictions::answer(int64_t a) const {
  return absl::MakeConstSpan(output).subspan(static_cast<size_t>(a * width),
                                             static_cast<size_t>(width));
}

std::vector<Predictions::Place> Predictions::Places() const {
  std::vector<Place> places;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t count = tokens.empty() ? 1 : tokens[static_cast<size_t>(r)];
    for (int64_t token = 0; token < count; ++token) {
      places.push_back({r, token});
    }
  }
  return places;
}

std::vector<int64_t> Predictions::Shape() const {
  if (row_shape.empty()) return {answers(), width};
  std::vector<int64_t> shape = {rows};
  shape.insert(shape.end(), row_shape.begin(), row_shape.end());
  return shape;
}

int64_t Predictions::ColumnAt(int64_t a, int64_t i) const {
  return ids.empty() ? i : ids[static_cast<size_t>(a * width + i)];
}

int64_t Predictions::ArgMax(int64_t a) const {
  const absl::Span<const float> values = answer(a);
  const auto best = std::max_element(values.begin(), values.end());
  return ColumnAt(a, best - values.begin());
}

float Predictions::Strongest(int64_t a) const {
  const absl::Span<const float> values = answer(a);
  return *std::max_element(values.begin(), values.end());
}

std::string Predictions::LabelOf(int64_t column) const {
  if (column >= 0 && column < static_cast<int64_t>(labels.size())) {
    return labels[static_cast<size_t>(column)];
  }
  return absl::StrCat(column);
}

int64_t Predictions::Correct() const {
  int64_t correct = 0;
  for (size_t a = 0; a < truth.size(); ++a) {
    if (ArgMax(static_cast<int64_t>(a)) == truth[a]) ++correct;
  }
  return correct;
}

std::string Predictions::Drawing(int64_t r) const {
  std::string drawing;
  for (const RoutedRows& request : routing) {
    if (r < request.first_row || r >= request.first_row + request.rows) {
      continue;
    }
    for (const v1::LayerRouting& layer : request.layers) {
      absl::StrAppend(&drawing, DrawRouting(layer, r - request.first_row));
    }
  }
  return drawing;
}

std::string PredictionsText(const Predictions& predictions, int64_t show) {
  std::string text;
  if (show > 0) text = Table(predictions, show);
  const int64_t answers = predictions.answers();
  if (show > 0 && answers > show) {
    absl::StrAppend(
        &text, "and ", answers - show,
        predictions.tokens.empty() ? " more rows\n" : " more tokens\n");
  }
  const std::vector<Predictions::Place> places = predictions.Places();
  for (int64_t a = 0; a < std::min(show, answers); ++a) {
    const auto [row, token] = places[static_cast<size_t>(a)];
    const std::string drawing = token == 0 ? predictions.Drawing(row) : "";
    if (!drawing.empty()) absl::StrAppend(&text, "\nrow ", row, ", ", drawing);
  }
  return absl::StrCat(text, "\n", Summary(predictions));
}

std::string PredictionsJson(const Predictions& predictions) {
  Json json = {{"model", predictions.model},
               {"version", predictions.version},
               {"implementation", predictions.dense ? "dense" : "fff"},
               {"rows", predictions.rows},
               {"seconds", Sum(predictions.request_s)},
               {"median_request_s",
                benchmark::Summarize(predictions.request_s).median_s}};
  if (!predictions.truth.empty()) {
    json["correct"] = predictions.Correct();
    json["accuracy"] = Accuracy(predictions);
  }
  Json rows = Json::array();
  const std::vector<Predictions::Place> places = predictions.Places();
  for (int64_t a = 0; a < predictions.answers(); ++a) {
    rows.push_back(AnswerJson(predictions, a, places[static_cast<size_t>(a)]));
  }
  json["predictions"] = std::move(rows);
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace fff::cli
