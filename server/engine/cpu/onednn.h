#pragma once

#include <omp.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <utility>

#include "server/engine/cpu/onednn_api.h"
#include "server/engine/execution_context.h"
#include "server/engine/problem.h"
#include "server/tensor/float_array.h"

// What the kernels over oneDNN share. Building anything here may throw
// dnnl::error.
namespace fff::engine {

// OpenMP's team size belongs to the calling thread; oneDNN takes it both when
// it builds a primitive and when it runs one.
inline void UseThreads(int threads) {
  if (omp_get_max_threads() != threads) omp_set_num_threads(threads);
}

// Floats that hold what `desc` describes.
inline int64_t FloatsOf(const dnnl::memory::desc& desc) {
  return static_cast<int64_t>((desc.get_size() + 3) / sizeof(float));
}

// oneDNN takes what it only reads by the same type as what it writes.
inline dnnl::memory MemoryOf(const dnnl::memory::desc& desc,
                             const dnnl::engine& engine, const float* data) {
  return {desc, engine, const_cast<float*>(data)};
}

// oneDNN's form of an activation; nothing where it has none: a kernel that
// would end in it then does not support the problem.
struct Eltwise {
  dnnl::algorithm algorithm;
  float alpha = 0;
};
inline std::optional<Eltwise> EltwiseOf(Activation activation) {
  using dnnl::algorithm;
  switch (activation) {
    case Activation::kRelu:
      return Eltwise{algorithm::eltwise_relu};
    case Activation::kGelu:
      return Eltwise{algorithm::eltwise_gelu_erf};
    case Activation::kGeluTanh:
      return Eltwise{algorithm::eltwise_gelu_tanh};
    case Activation::kSilu:
      return Eltwise{algorithm::eltwise_swish, 1};
    case Activation::kTanh:
      return Eltwise{algorithm::eltwise_tanh};
    case Activation::kSigmoid:
      return Eltwise{algorithm::eltwise_logistic};
    default:
      return std::nullopt;
  }
}

// Whether a primitive may end in it.
inline bool Fuses(Activation activation) {
  return activation == Activation::kIdentity ||
         EltwiseOf(activation).has_value();
}

// A primitive whose scratch is the caller's, ended by an activation.
inline dnnl::primitive_attr Fused(Activation activation) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  dnnl::post_ops ops;
  if (const auto eltwise = EltwiseOf(activation); eltwise.has_value()) {
    AppendEltwise(ops, eltwise->algorithm, eltwise->alpha);
  }
  attributes.set_post_ops(ops);
  return attributes;
}

// `values` of layout `from`, copied into layout `to`.
inline tensor::FloatBuffer Reordered(const dnnl::memory::desc& from,
                                     const float* values,
                                     const dnnl::memory::desc& to,
                                     const dnnl::engine& engine) {
  tensor::FloatBuffer packed(FloatsOf(to));
  dnnl::memory source = MemoryOf(from, engine, values);
  dnnl::memory target = MemoryOf(to, engine, packed.data());
  dnnl::stream stream(engine);
  dnnl::reorder(source, target).execute(stream, source, target);
  stream.wait();
  return packed;
}

// What one run of a primitive reads and writes.
class PrimitiveArguments {
 public:
  void Add(int argument, dnnl::memory memory) {
    arguments_[count_] = {argument, memory.get()};
    memories_[count_++] = std::move(memory);
  }

  // `floats` of scratch, as the primitive asked for; may be 0.
  void AddScratch(int64_t floats, const dnnl::engine& engine,
                  ScratchScope& scope) {
    if (floats == 0) return;
    Add(DNNL_ARG_SCRATCHPAD,
        MemoryOf({{floats * static_cast<int64_t>(sizeof(float))},
                  dnnl::memory::data_type::u8,
                  dnnl::memory::format_tag::a},
                 engine, scope.Floats(floats)));
  }

  // The C call: an unordered_map of arguments would cost 0.3 us per call. It
  // fails only on missing arguments, that is on a bug of the kernel.
  void Execute(const dnnl::primitive& primitive,
               const dnnl::stream& stream) const {
    const dnnl_status_t status =
        dnnl_primitive_execute(primitive.get(), stream.get(),
                               static_cast<int>(count_), arguments_.data());
    if (status != dnnl_success) std::abort();
  }

 private:
  static constexpr size_t kMax = 5;  // x, weights, bias, y, scratch

  size_t count_ = 0;
  std::array<dnnl::memory, kMax> memories_;
  std::array<dnnl_exec_arg_t, kMax> arguments_;
};

}  // namespace fff::engine
