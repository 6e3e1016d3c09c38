#pragma once

#include "server/engine/cuda/fragments.cuh"

// Products of 64 rows with a block's columns of weights, by tensor cores: bf16
// factors, fp32 sums, rows from anywhere in memory. Rows and weights pass
// through shared memory, kStages parts in flight; each of eight warps
// multiplies 32 rows by a quarter of the columns.
namespace fff::engine::cuda {

inline constexpr int kProductThreads = 256;
inline constexpr int kProductRows = 64;

enum class WeightOrder {
  kRowIsColumn,  // a row of weights in memory is one column of the product
  kRowIsDepth,   // is what one number of each row meets
};

// How the vectors of eight numbers of a row of `kVectors` change places, so
// that the eight rows that one step of ldmatrix reads lie in different banks.
template <int kVectors>
__device__ inline int Swizzled(int row, int vector) {
  static_assert(kVectors == 4 || kVectors % 8 == 0);
  return vector ^ (kVectors == 4 ? row / 2 % 4 : row % 8);
}

// kTerms_: numbers of a row come as the sum of this many bf16, each term in a
// row of its own. kDeep_ numbers a part.
// kGroup: 0, or how many numbers of a row belong together, of which the weights
// have rows only for the first WeightPanel::used (kRowIsDepth).
template <WeightOrder kOrder_, int kTerms_, int kColumns_, int kDeep_,
          int kStages_, int kGroup_ = 0>
struct ProductShape {
  static_assert(kGroup_ % kDeep_ == 0);
  static constexpr int kGroup = kGroup_;
  static constexpr WeightOrder kOrder = kOrder_;
  static constexpr int kTerms = kTerms_;
  static constexpr int kColumns = kColumns_;
  static constexpr int kDeep = kDeep_;
  static constexpr int kStages = kStages_;
  static constexpr bool kByColumn = kOrder == WeightOrder::kRowIsColumn;
  static constexpr int kVectors = kDeep / kVector<Bf16>;  // of a row in a part
  static constexpr int kWeightRows = kByColumn ? kColumns : kDeep;
  static constexpr int kWeightVectors =
      (kByColumn ? kDeep : kColumns) / kVector<Bf16>;
  struct Part {
    uint4 rows[kTerms][kProductRows][kVectors];
    uint4 weights[kWeightRows][kWeightVectors];
  };
  // Results on their way out, as T; 16 bytes more a row keep eight rows in
  // different banks.
  template <class T>
  struct Tile {
    static constexpr int kPitch = kColumns + 16 / static_cast<int>(sizeof(T));
    alignas(16) T values[kProductRows][kPitch];
  };
  template <class T>
  static constexpr int kSharedBytes = [] {
    constexpr int parts = kStages * static_cast<int>(sizeof(Part));
    constexpr int tile = static_cast<int>(sizeof(Tile<T>));
    return parts > tile ? parts : tile;
  }();
};

// Of the weights, what one block multiplies: rows of `pitch` numbers. What lies
// beyond `rows` and `vectors` (of eight numbers) counts as zero.
struct WeightPanel {
  const Bf16* first;
  int pitch;
  int rows;
  int vectors;
  int used = 0;
};

struct WatchNothing {
  template <class Part>
  __device__ void operator()(const Part&) const {}
};

// Eight floats as three rows of bf16, `pitch` numbers apart.
__device__ inline void StoreTerms(float (&v)[kVector<Bf16>], Bf16* to,
                                  int64_t pitch) {
#pragma unroll
  for (int term = 0; term < kTermsOfFloat; ++term) {
    *reinterpret_cast<uint4*>(to + term * pitch) = {
        UpperHalves(v[0], v[1]), UpperHalves(v[2], v[3]),
        UpperHalves(v[4], v[5]), UpperHalves(v[6], v[7])};
#pragma unroll
    for (float& value : v) value = Remainder(value);
  }
}

template <class Shape>
class TensorProduct {
 public:
  using Part = typename Shape::Part;
  static constexpr int kRowTiles = 2;  // of 16 rows, a warp
  static constexpr int kWarpColumns = Shape::kColumns / 4;
  static constexpr int kColumnTiles = kWarpColumns / kTileColumns;
  float sum[kRowTiles][kColumnTiles][4] = {};

  // row_at(place): row `place` (0 to 63) of memory, always a valid one; its
  // terms stand `term_pitch` numbers apart; `vectors` vectors of it count.
  // watch(part) sees each part of the rows. All threads of the block; `parts`
  // is free again afterwards.
  template <class RowAt, class Watch = WatchNothing>
  __device__ void Multiply(const RowAt& row_at, int term_pitch, int vectors,
                           const WeightPanel& weights, Part* parts,
                           const Watch& watch = {}) {
    const uint4* rows[kRowCopies];
#pragma unroll
    for (int c = 0; c < kRowCopies; ++c) {
      rows[c] = reinterpret_cast<const uint4*>(row_at(RowOfCopy(c)));
    }
    const int term_vectors = term_pitch / kVector<Bf16>;
    const int count = (vectors + Shape::kVectors - 1) / Shape::kVectors;
    const auto load = [&](int part) {
      if (part < count) {
        Part& to = parts[part % Shape::kStages];
        CopyRows(rows, term_vectors, vectors, part, to);
        CopyWeights(weights, part, to);
      }
      CommitCopies();
    };
#pragma unroll
    for (int part = 0; part < Shape::kStages - 1; ++part) load(part);
    for (int part = 0; part < count; ++part) {
      AwaitCopies<Shape::kStages - 2>();
      __syncthreads();  // the part is there, and its predecessor done with
      load(part + Shape::kStages - 1);
      Add(parts[part % Shape::kStages]);
      watch(parts[part % Shape::kStages]);
    }
    AwaitCopies<0>();
    __syncthreads();
  }

  // take(place, column, first, second) gets all sums, two columns at a time.
  template <class Take>
  __device__ void ForEachPair(const Take& take) const {
    const int lane = Lane();
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int j = 0; j < kColumnTiles; ++j) {
        const int place = FirstRow() + m * kTileRows + lane / 4;
        const int column = FirstColumn() + j * kTileColumns + 2 * (lane % 4);
        take(place, column, sum[m][j][0], sum[m][j][1]);
        take(place + 8, column, sum[m][j][2], sum[m][j][3]);
      }
    }
  }

 private:
  static constexpr int kRowCopies =
      kProductRows * Shape::kVectors / kProductThreads;
  static_assert(kProductRows * Shape::kVectors % kProductThreads == 0);

  __device__ static int Lane() { return static_cast<int>(threadIdx.x) % kWarp; }
  __device__ static int FirstRow() {
    return static_cast<int>(threadIdx.x) / kWarp % 2 * kRowTiles * kTileRows;
  }
  __device__ static int FirstColumn() {
    return static_cast<int>(threadIdx.x) / kWarp / 2 * kWarpColumns;
  }
  __device__ static int RowOfCopy(int copy) {
    return (static_cast<int>(threadIdx.x) + copy * kProductThreads) /
           Shape::kVectors;
  }

  __device__ static void CopyRows(const uint4* const (&rows)[kRowCopies],
                                  int term_vectors, int vectors, int part,
                                  Part& to) {
    const int at = static_cast<int>(threadIdx.x) % Shape::kVectors;
    const int vector = part * Shape::kVectors + at;
    const bool inside = vector < vectors;
#pragma unroll
    for (int term = 0; term < Shape::kTerms; ++term) {
#pragma unroll
      for (int c = 0; c < kRowCopies; ++c) {
        const int row = RowOfCopy(c);
        CopyAsync(&to.rows[term][row][Swizzled<Shape::kVectors>(row, at)],
                  rows[c] + (inside ? term * term_vectors + vector : 0),
                  inside);
      }
    }
  }
  __device__ static void CopyWeights(const WeightPanel& weights, int part,
                                     Part& to) {
    constexpr int kWide = Shape::kWeightVectors;
    constexpr int kAll = Shape::kWeightRows * kWide;
    int rows_before = Shape::kByColumn ? 0 : part * Shape::kDeep;
    int rows_end = weights.rows;
    if constexpr (Shape::kGroup > 0) {
      const int group = rows_before / Shape::kGroup;
      rows_end = min(rows_end, (group + 1) * weights.used);
      rows_before += group * (weights.used - Shape::kGroup);
    }
    const int vectors_before = Shape::kByColumn ? part * kWide : 0;
#pragma unroll
    for (int i = 0; i < kAll; i += kProductThreads) {
      const int index = i + static_cast<int>(threadIdx.x);
      if (kAll % kProductThreads != 0 && index >= kAll) break;
      const int row = index / kWide;
      const int vector = index % kWide;
      const bool inside = rows_before + row < rows_end &&
                          vectors_before + vector < weights.vectors;
      const int64_t from = inside
                               ? int64_t{rows_before + row} * weights.pitch +
                                     (vectors_before + vector) * kVector<Bf16>
                               : 0;
      CopyAsync(&to.weights[row][Swizzled<kWide>(row, vector)],
                weights.first + from, inside);
    }
  }

  // Columns `first` to first + 15 and 16 k: both words of two column tiles.
  __device__ static uint4 LoadWeights(Part& part, int first, int step) {
    const int lane = Lane();
    if constexpr (Shape::kByColumn) {
      const int row = first + lane / 16 * 8 + lane % 8;
      const int vector = 2 * step + lane / 8 % 2;
      return LoadMatrices(
          &part.weights[row][Swizzled<Shape::kWeightVectors>(row, vector)]);
    } else {
      const int row = 16 * step + lane / 8 % 2 * 8 + lane % 8;
      const int vector = first / kVector<Bf16> + lane / 16;
      return LoadMatricesTransposed(
          &part.weights[row][Swizzled<Shape::kWeightVectors>(row, vector)]);
    }
  }

  __device__ void Add(Part& part) {
    const int lane = Lane();
#pragma unroll
    for (int step = 0; step < Shape::kDeep / 16; ++step) {
      uint4 w[kColumnTiles / 2];
#pragma unroll
      for (int j = 0; j < kColumnTiles / 2; ++j) {
        w[j] = LoadWeights(part, FirstColumn() + 16 * j, step);
      }
#pragma unroll
      for (int term = 0; term < Shape::kTerms; ++term) {
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          const int row = FirstRow() + m * kTileRows + lane % 16;
          const RowFragment x =
              LoadMatrices(&part.rows[term][row][Swizzled<Shape::kVectors>(
                  row, 2 * step + lane / 16)]);
#pragma unroll
          for (int j = 0; j < kColumnTiles; ++j) {
            const uint4& pair = w[j / 2];
            MultiplyAdd16(x, j % 2 == 0 ? pair.x : pair.z,
                          j % 2 == 0 ? pair.y : pair.w, sum[m][j]);
          }
        }
      }
    }
  }
};

}  // namespace fff::engine::cuda
