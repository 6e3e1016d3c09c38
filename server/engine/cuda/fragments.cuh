#pragma once

#include "server/engine/cuda/row_math.cuh"

// Tensor-core products of 16 rows, bf16 factors and fp32 sums. A lane is
// (group, quad) = (lane / 4, lane % 4); a sum fragment holds
//   [0] (row group, column 2 quad)      [1] (row group, column 2 quad + 1)
//   [2] (row group + 8, column 2 quad)  [3] (row group + 8, column 2 quad + 1)
// (PTX ISA, "Matrix Fragments for mma.m16n8k16").
namespace fff::engine::cuda {

using Bf16 = __nv_bfloat16;

inline constexpr int kTileRows = 16;
inline constexpr int kTileColumns = 8;

// 16 rows of 16 k: words (row group, k 2 quad), (row group + 8, the same k),
// and both again 8 k further.
using RowFragment = uint4;

// b0, b1: of column `group`, k = 2 quad and 8 k further.
__device__ inline void MultiplyAdd16(const RowFragment& a, unsigned b0,
                                     unsigned b1, float (&sum)[4]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}
// Of 8 k: the first two words of a fragment.
__device__ inline void MultiplyAdd8(unsigned low, unsigned high, unsigned b,
                                    float (&sum)[4]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(low), "r"(high), "r"(b));
}

// Four matrices of 8 x 8 numbers in shared memory. Lane l gives the address of
// row l % 8 of matrix l / 8. It gets a word of each: of row `group`, numbers 2
// quad and the next. Transposed: of column `group`, rows 2 quad and the next.
__device__ inline uint4 LoadMatrices(const void* row) {
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(row));
  uint4 words;
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
      : "r"(at)
      : "memory");
  return words;
}
__device__ inline uint4 LoadMatricesTransposed(const void* row) {
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(row));
  uint4 words;
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
      : "r"(at)
      : "memory");
  return words;
}

// A float as the sum of three bf16, exactly: its upper 8 significant bits, the
// next 8, the rest.
inline constexpr int kTermsOfFloat = 3;
// The upper halves of two floats: two bf16, rounded toward zero.
__device__ inline unsigned UpperHalves(float first, float second) {
  return __byte_perm(__float_as_uint(first), __float_as_uint(second), 0x7632);
}
// What UpperHalves leaves of a float, exactly. An infinity leaves nothing.
__device__ inline float Remainder(float value) {
  const unsigned upper = __float_as_uint(value) & 0xffff0000u;
  return isinf(value) ? 0.0f : value - __uint_as_float(upper);
}

// 64 numbers of each of kRows rows of x in shared memory. Vectors change places
// within their row so that the eight that a step of LoadFragment reads, or a
// copied row writes, lie in different banks.
inline constexpr int kPartVectors = 8;
inline constexpr int kPartFragments = 4;  // of 16 k
inline constexpr int kPartSteps = 2;      // of 32 k
template <int kRows>
struct RowPart {
  uint4 vectors[kRows][kPartVectors];

  __device__ uint4* At(int row, int vector) {
    return &vectors[row][vector ^ (row % kPartVectors)];
  }
  // Rows first to first + 15, the 16 k from 16 * fragment on.
  __device__ RowFragment Load(int first, int fragment, int lane) {
    const int row = first + lane % 16;
    return LoadMatrices(At(row, 2 * fragment + lane / 16));
  }
};

// What the second-level cache does with a line once it has it.
__device__ inline uint64_t KeepLongPolicy() {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_last.b64 %0;" : "=l"(policy));
  return policy;
}
__device__ inline uint64_t DropSoonPolicy() {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0;" : "=l"(policy));
  return policy;
}

// Copies 16 bytes to shared memory behind the back of the thread; zeros where
// `inside` is false.
__device__ inline void CopyAsync(void* to, const void* from, bool inside) {
  const auto shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int bytes = inside ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared),
               "l"(from), "r"(bytes)
               : "memory");
}
__device__ inline void CopyAsync(void* to, const void* from, bool inside,
                                 uint64_t policy) {
  const auto shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int bytes = inside ? 16 : 0;
  asm volatile(
      "cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2, %3;" ::"r"(
          shared),
      "l"(from), "r"(bytes), "l"(policy)
      : "memory");
}
__device__ inline void CommitCopies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Until no more than the kLeft groups committed last are under way.
template <int kLeft>
__device__ inline void AwaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

}  // namespace fff::engine::cuda
