#include "server/model/model.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/graph/passes.h"
#include "server/model/sample_rows.h"

namespace fff::model {
namespace {

void Add(const graph::Graph& graph, const graph::Node& node,
         const engine::NodeReport& report, LayerFacts& facts) {
  const graph::Cost cost = graph.CostOf(node);
  facts.cost.flops += cost.flops;
  facts.cost.weight_bytes += cost.weight_bytes;
  graph::Visit(node.op, [&](const auto& op) {
    facts.weights_bytes += op.weights_bytes() + report.packed_bytes();
    if (op.routing().trees > 0) {
      facts.routing = graph::RoutingOf(node);
      facts.tokens_per_row =
          node.tokens * (node.per_token ? SampleTokens(graph) : 1);
      facts.neurons.activation = op.neurons().activation;
    }
    facts.neurons.all += op.neurons().all;
    facts.neurons.used += op.neurons().used;
  });
}

}  // namespace

Model::Model(graph::Graph graph, std::unique_ptr<const engine::Executable> cpu,
             std::unique_ptr<const DeviceCopy> device_copy)
    : graph_(std::move(graph)),
      cpu_(std::move(cpu)),
      device_copy_(std::move(device_copy)),
      cost_(graph_.cost()) {
  FFF_CHECK(cpu_->report().size() == graph_.nodes().size());
  for (size_t i = 0; i < graph_.layers().size(); ++i) {
    const graph::Layer& layer = graph_.layers()[i];
    LayerFacts facts;
    facts.type = layer.type;
    facts.description = graph_.DescribeLayer(i);
    facts.input_width = layer.input_width;
    facts.output_width = layer.output_width;
    layers_.push_back(std::move(facts));
  }
  main_nodes_.assign(layers_.size(), -1);
  for (size_t i = 0; i < graph_.nodes().size(); ++i) {
    const graph::Node& node = graph_.nodes()[i];
    Add(graph_, node, cpu_->report()[i], layers_[node.layer]);
    int& main = main_nodes_[node.layer];
    if (main < 0 || graph::Routes(node.op)) main = static_cast<int>(i);
  }
  for (LayerFacts& layer : layers_) {
    if (layer.routing.trees == 0) layer.neurons = {};
  }
}

absl::StatusOr<graph::Graph> Model::WholeGraph() const {
  return graph::WithRows(graph_);
}

int64_t Model::weights_bytes() const {
  WeightsMemory memory;
  return CountWeights(memory).host();
}

WeightsBytes Model::CountWeights(WeightsMemory& memory) const {
  WeightsBytes bytes = memory.Add(graph_, cpu_->report());
  if (device_copy_ != nullptr) bytes.device = device_copy_->device_bytes();
  return bytes;
}

std::string Model::device() const {
  if (device_copy_ == nullptr) return "cpu";
  return device_copy_->rows_min() <= 1
             ? device_copy_->device()
             : absl::StrCat("cpu+", device_copy_->device());
}

std::string Model::KernelFor(size_t i, int64_t rows) const {
  std::string name;
  if (MainNode(i) < 0) return name;
  const graph::Node& node = graph_.nodes()[static_cast<size_t>(MainNode(i))];
  const int64_t tokens =
      rows * node.tokens * (node.per_token ? SampleTokens(graph_) : 1);
  for (const engine::KernelPlan::Step& step : KernelSteps(i)) {
    if (step.rows_min <= tokens) name = step.kernel;
  }
  return name;
}

std::vector<engine::KernelPlan::Step> Model::KernelSteps(size_t i) const {
  std::vector<engine::KernelPlan::Step> steps;
  if (MainNode(i) < 0) return steps;
  const auto node = static_cast<size_t>(MainNode(i));
  const std::vector<engine::KernelPlan::Step>& cpu = cpu_->report()[node].steps;
  if (device_copy_ == nullptr) return cpu;
  const int64_t rows_min = device_copy_->rows_min();
  for (const engine::KernelPlan::Step& step : cpu) {
    if (step.rows_min < rows_min) steps.push_back(step);
  }
  for (engine::KernelPlan::Step& step : device_copy_->steps(node)) {
    // The last step at or below rows_min starts there.
    if (step.rows_min <= rows_min) {
      if (!steps.empty() && steps.back().rows_min == rows_min) steps.pop_back();
      step.rows_min = rows_min;
    }
    steps.push_back(std::move(step));
  }
  return steps;
}

void Model::Run(const engine::Batch& batch,
                engine::ExecutionContext& context) const {
  if (device_copy_ != nullptr && batch.rows() >= device_copy_->rows_min() &&
      RunOnDevice(batch, context)) {
    return;
  }
  RunOnCpu(batch, context);
}

bool Model::RunOnDevice(const engine::Batch& batch,
                        engine::ExecutionContext& context) const {
  if (!batch.in_parts()) return device_copy_->Run(batch, context).ok();
  if (!batch.selected.empty()) return false;
  const int64_t rows = batch.extent().Of(output().sequence);
  tensor::FloatBuffer whole(rows * output().width());
  const tensor::MutableRows y = {whole.data(), rows, output().width()};
  engine::Batch plain = batch;
  plain.sink = nullptr;
  plain.outputs = {&y, 1};
  if (!device_copy_->Run(plain, context).ok()) return false;
  (*batch.sink)(0, {y.data, y.rows, y.width});
  return true;
}

void Model::RunOnCpu(const engine::Batch& batch,
                     engine::ExecutionContext& context) const {
  const absl::Status status = cpu_->Run(batch, context);
  FFF_CHECK(status.ok());
}

void Routes::Prepare(const Model& model, const engine::Extent& extent,
                     bool margins) {
  const size_t layers = model.layers().size();
  leaves_.resize(layers);
  margins_.resize(layers);
  counts_.assign(layers, Counts());
  sinks_.assign(layers, engine::RouteSink());
  for (size_t i = 0; i < layers; ++i) {
    const graph::RoutingShape& shape = model.layers()[i].routing;
    if (shape.trees == 0) continue;
    Counts& counts = counts_[i];
    counts.leaves =
        static_cast<size_t>(extent.Of(shape.per_token) * shape.ways());
    if (leaves_[i].size() < counts.leaves) leaves_[i].resize(counts.leaves);
    sinks_[i].leaves = leaves_[i].data();
    if (!margins) continue;
    counts.margins = counts.leaves * static_cast<size_t>(shape.decisions);
    if (margins_[i].size() < counts.margins) margins_[i].resize(counts.margins);
    sinks_[i].margins = margins_[i].data();
  }
}

}  // namespace fff::model
