#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/dense_weights.h"
#include "server/importer/layers/layer_type.h"
#include "server/importer/layers/picture.h"

namespace fff::importer {
namespace {

using graph::GraphBuilder;
using graph::Pair;
using graph::Picture;
using graph::ValueId;

constexpr IntegerRange kPaddings = {0, 1 << 16};
constexpr int64_t kChannelsMax = 65536;

// Where a window stands: `to` is known but for its channels.
absl::Status PlaceWindows(const Picture& from, const Pair& size,
                          const Pair& stride, const Pair& padding,
                          const Pair& dilation, Picture& to) {
  to.height = graph::WindowPositions(from.height, size.height, stride.height,
                                     padding.height, dilation.height);
  to.width = graph::WindowPositions(from.width, size.width, stride.width,
                                    padding.width, dilation.width);
  if (to.height > 0 && to.width > 0 && to.size() <= graph::kWidthMax) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "got ", from.ToString(), ", in which a window of ", size.height, "x",
      size.width, " has ", to.height, "x", to.width, " places"));
}

absl::StatusOr<graph::Op> MakeConv2d(graph::Conv2dWeights weights,
                                     const Picture& from) {
  graph::Conv2dProblem& p = weights.problem;
  if (from.channels != p.from.channels) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got ", from.channels, " channels, wanted ", p.from.channels));
  }
  p.from = from;
  FFF_RETURN_IF_ERROR(
      PlaceWindows(from, p.kernel, p.stride, p.padding, p.dilation, p.to));
  p.input_width = p.from.size();
  p.output_width = p.to.size();
  return graph::Conv2d{
      {std::make_shared<const graph::Conv2dWeights>(std::move(weights))}};
}

absl::StatusOr<LoadedLayer> LoadPool2d(const LayerConfig& config,
                                       graph::Pool2dProblem::Kind kind) {
  const Pair size = *config.size;
  const Pair stride = config.stride.value_or(size);
  const Pair padding = config.padding;
  return FromPicture(
      config.type, [=](const Picture& from) -> absl::StatusOr<graph::Op> {
        Picture to = {from.channels, 0, 0};
        FFF_RETURN_IF_ERROR(
            PlaceWindows(from, size, stride, padding, {1, 1}, to));
        return graph::Pool2d{{std::make_shared<const graph::Pool2dWeights>(
            graph::Pool2dWeights{{from.size(), to.size(), kind, from, to, size,
                                  stride, padding}})}};
      });
}

// y = x * scale[c] + shift[c] over the first dimension of what arrives; one
// number stands for every channel.
LoadedLayer PerChannel(std::string type, std::vector<double> scale,
                       std::vector<double> shift) {
  LoadedLayer loaded;
  loaded.layer.type = std::move(type);
  loaded.add = [scale = std::move(scale), shift = std::move(shift)](
                   GraphBuilder& builder, ValueId in,
                   const LayerContext& /*context*/) -> absl::StatusOr<ValueId> {
    const graph::ValueType& input = builder.TypeOf(in);
    const int64_t channels = input.shape()[0];
    const auto given = static_cast<int64_t>(scale.size());
    if (given != 1 && given != channels) {
      return absl::InvalidArgumentError(
          absl::StrCat("got ", channels, " channels, wanted ", given));
    }
    graph::ScaleWeights weights;
    weights.problem = {input.width(), input.width(), channels,
                       input.width() / channels};
    tensor::FloatBuffer scales(channels);
    tensor::FloatBuffer shifts(channels);
    for (int64_t c = 0; c < channels; ++c) {
      const auto from = static_cast<size_t>(given == 1 ? 0 : c);
      scales.data()[c] = static_cast<float>(scale[from]);
      shifts.data()[c] = static_cast<float>(shift[from]);
    }
    weights.scale = std::move(scales).Freeze();
    weights.shift = std::move(shifts).Freeze();
    return builder.Add(
        graph::Scale{
            {std::make_shared<const graph::ScaleWeights>(std::move(weights))}},
        in);
  };
  return loaded;
}

}  // namespace

std::optional<Pair> ReadPair(JsonFields& fields, const char* key,
                             IntegerRange range) {
  const auto sizes = fields.Sizes(key, range);
  if (!sizes.has_value()) return std::nullopt;
  return Pair{sizes->first, sizes->second};
}

absl::StatusOr<Picture> PictureOf(const graph::ValueType& type) {
  const tensor::Shape shape = type.shape();
  if (type.per_token()) {
    return absl::InvalidArgumentError(
        "got sequences of any length, wanted a picture [channels, height, "
        "width]");
  }
  if (shape.size() == 3) return Picture{shape[0], shape[1], shape[2]};
  return absl::InvalidArgumentError(
      absl::StrCat("got ", tensor::ToString(shape),
                   ", wanted a picture [channels, height, width]; set "
                   "\"input\": {\"shape\": [..]} in config.json"));
}

namespace {

void ReadConv2d(JsonFields& fields, LayerConfig& config) {
  config.prefix =
      fields.String("prefix", checkpoint::kTensorNameBytesMax).value_or("");
  config.stride = ReadPair(fields, "stride", kWindowSizes);
  config.padding = ReadPair(fields, "padding", kPaddings).value_or(Pair{0, 0});
  config.dilation = ReadPair(fields, "dilation", kWindowSizes).value_or(Pair());
  config.groups = fields.Integer("groups", {1, kChannelsMax}).value_or(1);
}

absl::StatusOr<LoadedLayer> LoadConv2d(const LayerConfig& config,
                                       TensorReader& reader) {
  const std::string weight = absl::StrCat(config.prefix, "weight");
  const std::string bias = absl::StrCat(config.prefix, "bias");
  FFF_ASSIGN_OR_RETURN(
      const tensor::Shape shape,
      WidthsOf(weight, 4, "[channels, channels / groups, height, width]",
               reader));
  if (shape[0] % config.groups != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"groups\": found ", config.groups,
                     ", which does not "
                     "divide the ",
                     shape[0], " channels of \"", weight, "\""));
  }
  graph::Conv2dWeights weights;
  graph::Conv2dProblem& p = weights.problem;
  p.from.channels = shape[1] * config.groups;
  p.to.channels = shape[0];
  p.kernel = {shape[2], shape[3]};
  p.stride = config.stride.value_or(Pair());
  p.padding = config.padding;
  p.dilation = config.dilation;
  p.groups = config.groups;
  p.has_bias = reader.Has(bias);
  FFF_ASSIGN_OR_RETURN(weights.w, reader.Floats(weight, shape));
  if (p.has_bias) {
    FFF_ASSIGN_OR_RETURN(weights.bias, reader.Floats(bias, {shape[0]}));
  }
  return FromPicture(config.type,
                     [weights = std::move(weights)](const Picture& from) {
                       return MakeConv2d(weights, from);
                     });
}

void ReadPool2d(JsonFields& fields, LayerConfig& config) {
  config.size = ReadPair(fields, "size", kWindowSizes);
  config.stride = ReadPair(fields, "stride", kWindowSizes);
  config.padding = ReadPair(fields, "padding", kPaddings).value_or(Pair{0, 0});
  if (!config.size.has_value()) {
    config.size = Pair();
    fields.errors().Add(fields.PathOf("size"),
                        "this key is missing: the window's size");
  }
  if (2 * config.padding.height > config.size->height ||
      2 * config.padding.width > config.size->width) {
    fields.errors().Add(fields.PathOf("padding"),
                        "wanted at most half of \"size\"");
  }
}

absl::StatusOr<LoadedLayer> LoadMaxPool2d(const LayerConfig& config,
                                          TensorReader& /*reader*/) {
  return LoadPool2d(config, graph::Pool2dProblem::Kind::kMax);
}

absl::StatusOr<LoadedLayer> LoadAvgPool2d(const LayerConfig& config,
                                          TensorReader& /*reader*/) {
  return LoadPool2d(config, graph::Pool2dProblem::Kind::kMean);
}

// Also over flat rows, an element being a channel.
void ReadBatchNorm(JsonFields& fields, LayerConfig& config) {
  config.prefix =
      fields.String("prefix", checkpoint::kTensorNameBytesMax).value_or("");
  config.epsilon =
      fields.PositiveNumber("epsilon", kEpsilonMax).value_or(config.epsilon);
}

// (x - mean) / sqrt(variance + epsilon) * weight + bias (torch.nn.BatchNorm2d).
absl::StatusOr<LoadedLayer> LoadBatchNorm(const LayerConfig& config,
                                          TensorReader& reader) {
  const auto name = [&](absl::string_view tensor) {
    return absl::StrCat(config.prefix, tensor);
  };
  FFF_ASSIGN_OR_RETURN(const tensor::Shape shape,
                       WidthsOf(name("running_mean"), 1, "[channels]", reader));
  FFF_ASSIGN_OR_RETURN(const tensor::FloatArray mean,
                       reader.Floats(name("running_mean"), shape));
  FFF_ASSIGN_OR_RETURN(const tensor::FloatArray variance,
                       reader.Floats(name("running_var"), shape));
  tensor::FloatArray weight;
  tensor::FloatArray bias;
  if (reader.Has(name("weight"))) {
    FFF_ASSIGN_OR_RETURN(weight, reader.Floats(name("weight"), shape));
  }
  if (reader.Has(name("bias"))) {
    FFF_ASSIGN_OR_RETURN(bias, reader.Floats(name("bias"), shape));
  }
  reader.Ignore(name("num_batches_tracked"));
  std::vector<double> scale;
  std::vector<double> shift;
  for (int64_t c = 0; c < shape[0]; ++c) {
    if (variance[c] < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor \"", name("running_var"), "\": found ",
                       variance[c], " at ", c, ", wanted 0 or more"));
    }
    scale.push_back((weight.empty() ? 1.0 : double{weight[c]}) /
                    std::sqrt(double{variance[c]} + config.epsilon));
    shift.push_back((bias.empty() ? 0.0 : double{bias[c]}) -
                    double{mean[c]} * scale.back());
  }
  return PerChannel(config.type, std::move(scale), std::move(shift));
}

void ReadNormalize(JsonFields& fields, LayerConfig& config) {
  const std::vector<double> scale = fields.Numbers("scale", 1);
  if (!scale.empty()) config.scale = scale[0];
  config.mean = fields.Numbers("mean", kChannelsMax);
  config.deviation = fields.Numbers("std", kChannelsMax);
  if (config.mean.empty()) config.mean = {0};
  if (config.deviation.empty()) config.deviation = {1};
  const size_t channels = std::max(config.mean.size(), config.deviation.size());
  for (std::vector<double>* each : {&config.mean, &config.deviation}) {
    if (each->size() == 1) each->assign(channels, (*each)[0]);
  }
  if (config.mean.size() != config.deviation.size()) {
    fields.errors().Add(
        fields.PathOf("std"),
        absl::StrCat("found ", config.deviation.size(), " numbers, wanted ",
                     config.mean.size(), ", as \"mean\" has"));
  }
  for (const double deviation : config.deviation) {
    if (deviation > 0) continue;
    fields.errors().Add(
        fields.PathOf("std"),
        absl::StrCat("found ", deviation, ", wanted numbers above 0"));
  }
}

// (x * scale - mean) / std (torchvision.transforms.Normalize).
absl::StatusOr<LoadedLayer> LoadNormalize(const LayerConfig& config,
                                          TensorReader& /*reader*/) {
  std::vector<double> scale;
  std::vector<double> shift;
  for (size_t c = 0; c < config.mean.size(); ++c) {
    scale.push_back(config.scale / config.deviation[c]);
    shift.push_back(-config.mean[c] / config.deviation[c]);
  }
  return PerChannel(config.type, std::move(scale), std::move(shift));
}

}  // namespace

absl::Span<const LayerType> PictureLayers() {
  static constexpr LayerType kTypes[] = {
      {"conv2d", true, true, ReadConv2d, LoadConv2d},
      {"max_pool2d", false, true, ReadPool2d, LoadMaxPool2d},
      {"avg_pool2d", false, true, ReadPool2d, LoadAvgPool2d},
      {"batch_norm", true, true, ReadBatchNorm, LoadBatchNorm},
      {"normalize", false, true, ReadNormalize, LoadNormalize},
  };
  return kTypes;
}

}  // namespace fff::importer
