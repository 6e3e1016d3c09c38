#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/importer/layers/layer_type.h"
#include "server/importer/layers/picture.h"

namespace fff::importer {
namespace {

using graph::Pair;
using graph::Picture;

// Elements of a picture that one index table may name.
constexpr int64_t kIndexMax = int64_t{1} << 30;

absl::StatusOr<graph::Op> RearrangePicture(std::vector<int32_t> index,
                                           const Picture& from,
                                           tensor::Shape to, std::string what) {
  graph::RearrangeWeights weights;
  weights.problem = {from.size(),    static_cast<int64_t>(index.size()),
                     std::move(to),  /*moves=*/true,
                     /*adds=*/false, std::move(what)};
  weights.index = std::move(index);
  return graph::Rearrange{
      {std::make_shared<const graph::RearrangeWeights>(std::move(weights))}};
}

// Tokens of patches, row by row; in a token rows, columns, then channels. The
// copies of the picture are moved by `shifts` (rows, columns; what comes from
// outside is zero).
absl::StatusOr<graph::Op> MakePatches(
    const Picture& from, const Pair& size,
    const std::vector<std::pair<int64_t, int64_t>>& shifts) {
  if (from.height % size.height != 0 || from.width % size.width != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("got ", from.ToString(), ", which patches of ",
                     size.height, "x", size.width, " do not divide"));
  }
  const auto copies = static_cast<int64_t>(shifts.size());
  if (from.size() > kIndexMax / copies) {
    return absl::InvalidArgumentError(
        absl::StrCat("got ", from.ToString(), ", which is too large"));
  }
  std::vector<int32_t> index;
  index.reserve(static_cast<size_t>(from.size() * copies));
  const auto source = [&](int64_t copy, int64_t c, int64_t y, int64_t x) {
    y -= shifts[static_cast<size_t>(copy)].first;
    x -= shifts[static_cast<size_t>(copy)].second;
    const bool inside = y >= 0 && y < from.height && x >= 0 && x < from.width;
    return inside ? static_cast<int32_t>((c * from.height + y) * from.width + x)
                  : -1;
  };
  for (int64_t top = 0; top < from.height; top += size.height) {
    for (int64_t left = 0; left < from.width; left += size.width) {
      for (int64_t i = 0; i < size.height * size.width; ++i) {
        for (int64_t c = 0; c < copies * from.channels; ++c) {
          index.push_back(source(c / from.channels, c % from.channels,
                                 top + i / size.width, left + i % size.width));
        }
      }
    }
  }
  const int64_t width = copies * from.channels * size.height * size.width;
  const auto tokens = static_cast<int64_t>(index.size()) / width;
  return RearrangePicture(
      std::move(index), from, {tokens, width},
      absl::StrCat("patches of ", size.height, "x", size.width));
}

// A picture's places as tokens of all channels.
absl::StatusOr<LoadedLayer> LoadTokens(const LayerConfig& config,
                                       TensorReader& /*reader*/) {
  return FromPicture(config.type, [](const Picture& from) {
    std::vector<int32_t> index;
    index.reserve(static_cast<size_t>(from.size()));
    const int64_t places = from.height * from.width;
    for (int64_t token = 0; token < places; ++token) {
      for (int64_t c = 0; c < from.channels; ++c) {
        index.push_back(static_cast<int32_t>(c * places + token));
      }
    }
    return RearrangePicture(std::move(index), from, {places, from.channels},
                            "places");
  });
}

void ReadPatches(JsonFields& fields, LayerConfig& config) {
  config.size = ReadPair(fields, "size", kWindowSizes);
  if (config.size.has_value()) return;
  config.size = Pair();
  fields.errors().Add(fields.PathOf("size"),
                      "this key is missing: a patch's size");
}

absl::StatusOr<LoadedLayer> LoadPatches(const LayerConfig& config,
                                        TensorReader& /*reader*/) {
  return FromPicture(config.type, [size = *config.size](const Picture& from) {
    return MakePatches(from, size, {{0, 0}});
  });
}

// Patches of five pictures, itself and moved by a pixel right, left, down and
// up (arXiv 2112.13492), channels one behind the other.
absl::StatusOr<LoadedLayer> LoadShiftedPatches(const LayerConfig& config,
                                               TensorReader& /*reader*/) {
  return FromPicture(config.type, [size = *config.size](const Picture& from) {
    return MakePatches(from, size, {{0, 0}, {0, 1}, {0, -1}, {1, 0}, {-1, 0}});
  });
}

}  // namespace

absl::Span<const LayerType> PatchLayers() {
  static constexpr LayerType kTypes[] = {
      {"tokens", false, true, ReadNothing, LoadTokens},
      {"patches", false, true, ReadPatches, LoadPatches},
      {"shifted_patches", false, true, ReadPatches, LoadShiftedPatches},
  };
  return kTypes;
}

}  // namespace fff::importer
