// The packed weights of path_tensor, multiplied lane by lane as a tensor core
// does it (PTX ISA, "Matrix Fragments for mma.m16n8k16"), give the products of
// the layer. Needs no device.
#include "server/engine/cuda/path/tensor_packing.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace fff::engine::cuda {
namespace {

PathWeights WeightsOf(int levels, int64_t in, int64_t out) {
  PathWeights weights;
  weights.problem = {in, out, levels, 1, Tie::kRight, Activation::kRelu, false};
  const int64_t nodes = weights.problem.nodes();
  tensor::FloatBuffer x(nodes * in);
  tensor::FloatBuffer y(nodes * out);
  // Small integers: every sum is exact.
  for (int64_t i = 0; i < x.size(); ++i) x.data()[i] = float(i * 7 % 23 - 11);
  for (int64_t i = 0; i < y.size(); ++i) y.data()[i] = float(i * 5 % 19 - 9);
  weights.x = std::move(x).Freeze();
  weights.y = std::move(y).Freeze();
  return weights;
}

int64_t LeftmostOnLevel(int level) { return (int64_t{1} << level) - 1; }

// Column `column` of a product of 16 k as lanes hold its second factor: words
// first and first + 1 of [lane, stride] pairs. factor(k) is the first one's.
template <class Factor>
float Product16(const float* pairs, int stride, int first, int column,
                const Factor& factor) {
  float sum = 0;
  for (int quad = 0; quad < 4; ++quad) {
    const float* const lane = pairs + (column * 4 + quad) * stride;
    for (int i = 0; i < 2; ++i) {
      sum += factor(2 * quad + i) * lane[first * 2 + i];
      sum += factor(8 + 2 * quad + i) * lane[first * 2 + 2 + i];
    }
  }
  return sum;
}

float XProduct(const PathWeights& weights, int64_t node, float scale) {
  const int64_t width = weights.problem.input_width;
  float sum = 0;
  for (int64_t i = 0; i < width; ++i) {
    sum += scale * float(i % 5 - 2) * weights.x[node * width + i];
  }
  return sum;
}

// x . X[node of the tile's column], from the blocks `block(step)`.
template <class BlockOf>
float TileProduct(const TensorPacking& packing, int64_t width, int column,
                  const BlockOf& block_of) {
  float sum = 0;
  std::vector<float> block(kTensorXBlock);
  for (int64_t step = 0; step < packing.steps(); ++step) {
    packing.FillX(block_of(step), block.data());
    for (int half = 0; half < 2; ++half) {
      sum += Product16(block.data(), 8, 2 * half, column, [&](int k) {
        const int64_t i = step * 32 + half * 16 + k;
        return i < width ? float(i % 5 - 2) : 1e30F;  // zero weights there
      });
    }
  }
  return sum;
}

TEST(TensorPackingTest, TilesOfXGiveTheProductsOfTheTop) {
  for (const int levels : {2, 6, 7, 10}) {
    const PathWeights weights = WeightsOf(levels, 70, 40);
    const TensorPacking packing(weights);
    for (int64_t node = 0; node < packing.subtrees() - 1; ++node) {
      const float got = TileProduct(
          packing, 70, int(node % 8),
          [&](int64_t step) { return step * packing.top_tiles() + node / 8; });
      ASSERT_EQ(got, XProduct(weights, node, 1)) << levels << ", " << node;
    }
  }
}

TEST(TensorPackingTest, TilesOfXGiveTheProductsOfEverySubtree) {
  for (const int levels : {3, 6, 8}) {
    const PathWeights weights = WeightsOf(levels, 33, 40);
    const TensorPacking packing(weights);
    const int64_t top = packing.steps() * packing.top_tiles();
    for (int64_t subtree = 0; subtree < packing.subtrees(); ++subtree) {
      for (int level = packing.split(); level < levels; ++level) {
        const int below = level - packing.split();
        for (int64_t i = 0; i < int64_t{1} << below; ++i) {
          const int64_t local = LeftmostOnLevel(below) + i;
          const int64_t node = LeftmostOnLevel(level) + (subtree << below) + i;
          const float got =
              TileProduct(packing, 33, int(local % 8), [&](int64_t step) {
                return top + (subtree * packing.steps() + step) * kTensorTiles +
                       local / 8;
              });
          ASSERT_EQ(got, XProduct(weights, node, 1)) << levels << ", " << node;
        }
      }
    }
  }
}

// Column `column` of a subtree's group times activation(slot).
template <class ActivationOf>
float YProduct(const float* block, int column, const ActivationOf& activation) {
  // A lane's 20 words lie 4 by 4, the lanes of four words together.
  std::vector<float> pairs(32 * 40);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 40; ++i) {
      pairs.data()[lane * 40 + i] = block[(i / 8 * 32 + lane) * 8 + i % 8];
    }
  }
  // Tile j of the group: sums 2 * quad + i of a lane are columns 8 * quad +
  // 2 * j + i.
  const int tile = column % 8 / 2;
  const int in_tile = column / 8 * 2 + column % 2;
  float sum = 0;
  for (int step = 0; step < 4; step += 2) {
    sum += Product16(pairs.data(), 40, tile * 5 + step, in_tile,
                     [&](int k) { return activation(8 * step + k); });
  }
  for (int quad = 0; quad < 4; ++quad) {  // the last eight slots
    for (int i = 0; i < 2; ++i) {
      sum += activation(32 + 2 * quad + i) *
             pairs.data()[(in_tile * 4 + quad) * 40 + (tile * 5 + 4) * 2 + i];
    }
  }
  return sum;
}

TEST(TensorPackingTest, GroupsOfYGiveTheOutputsOfEveryLeaf) {
  for (const int levels : {2, 6, 9}) {
    const PathWeights weights = WeightsOf(levels, 8, 45);
    const TensorPacking packing(weights);
    const int below = levels - packing.split();
    std::vector<float> block(kTensorYBlock);
    for (int64_t leaf = 0; leaf < int64_t{1} << (levels - 1); leaf += 3) {
      const int64_t subtree = leaf >> (below - 1);
      const auto node_on = [&](int level) {
        return LeftmostOnLevel(level) + (leaf >> (levels - 1 - level));
      };
      // The activation of level l is l + 1, in the slot of its node.
      const auto activation = [&](int slot) {
        for (int level = 0; level < levels; ++level) {
          const int down = level - packing.split();
          const int64_t own =
              down < 0
                  ? level
                  : kTensorPathSlots + node_on(level) - LeftmostOnLevel(level) -
                        (subtree << down) + LeftmostOnLevel(down);
          if (own == slot) return float(level + 1);
        }
        return 0.0F;
      };
      for (int64_t column = 0; column < 45; ++column) {
        packing.FillY(subtree * packing.groups() + column / 32, block.data());
        float want = 0;
        for (int level = 0; level < levels; ++level) {
          want += float(level + 1) * weights.y[node_on(level) * 45 + column];
        }
        ASSERT_EQ(YProduct(block.data(), int(column % 32), activation), want)
            << levels << ", leaf " << leaf << ", column " << column;
      }
    }
  }
}

TEST(TensorPackingTest, SlackGrowsWithTheLengthOfANode) {
  PathWeights weights = WeightsOf(2, 64, 8);
  tensor::FloatBuffer x(3 * 64);
  for (int64_t i = 0; i < 64; ++i) {
    x.data()[i] = 0.5F;         // length 4
    x.data()[64 + i] = 0;       // a dead node: every decision is a tie
    x.data()[128 + i] = 1e20F;  // its square is no float
  }
  weights.x = std::move(x).Freeze();
  const std::vector<float> slack = DecisionSlack(weights);
  EXPECT_NEAR(slack[0], 4 * 64 * 0x1p-22, 0.02 * 4 * 64 * 0x1p-22);
  EXPECT_GT(slack[0], 4 * 64 * 0x1p-22);
  EXPECT_EQ(slack[1], std::numeric_limits<float>::infinity());
  EXPECT_EQ(slack[2], std::numeric_limits<float>::infinity());
}

TEST(TensorPackingTest, WhatBf16WouldMakeInfiniteDoesNotFit) {
  for (const float value : {3.4e38F, -3.4e38F, NAN, INFINITY}) {
    tensor::FloatBuffer numbers(3);
    numbers.data()[0] = 1;
    numbers.data()[1] = value;
    EXPECT_FALSE(FitsBf16(std::move(numbers).Freeze())) << value;
  }
  EXPECT_TRUE(FitsBf16(WeightsOf(2, 4, 4).x));
}

}  // namespace
}  // namespace fff::engine::cuda
