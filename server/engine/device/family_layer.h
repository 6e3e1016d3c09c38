#pragma once

#include <algorithm>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/engine/device/layer.h"

namespace fff::engine {

// Copies the weights of a layer to its device, one array after the other. After
// an error nothing more is copied.
class Uploader {
 public:
  Uploader(Device& device, WeightType type) : device_(device), type_(type) {}

  const void* Matrix(const HostMatrix& rows) { return Add(type_, rows); }
  // `rows` rows of `width` numbers that lie one behind the other.
  const void* Matrix(const tensor::FloatArray& array, int64_t rows,
                     int64_t width) {
    return Add(type_, RowsOf(array, rows, width));
  }
  const float* Floats(const tensor::FloatArray& array, int64_t rows,
                      int64_t width) {
    return static_cast<const float*>(
        Add(WeightType::kFp32, RowsOf(array, rows, width)));
  }
  const float* Floats(const tensor::FloatArray& array, int64_t count) {
    return Floats(array, 1, count);
  }

  const absl::Status& status() const { return status_; }
  const std::vector<Buffer>& buffers() const { return buffers_; }

 private:
  static HostMatrix RowsOf(const tensor::FloatArray& array, int64_t rows,
                           int64_t width) {
    FFF_CHECK(array.size() == rows * width);
    return {rows, width, [&array, width](int64_t row) {
              return array.data() + row * width;
            }};
  }
  const void* Add(WeightType type, const HostMatrix& rows) {
    if (!status_.ok()) return nullptr;
    auto buffer = Upload(device_, type, rows);
    status_ = buffer.status();
    if (!buffer.ok()) return nullptr;
    buffers_.push_back(*std::move(buffer));
    return buffers_.back().data();
  }

  Device& device_;
  const WeightType type_;
  absl::Status status_;
  std::vector<Buffer> buffers_;
};

// A layer that one kernel of a family computes. The family says how the weights
// get to the device:
//   using Shape, Weights;
//   static absl::Span<const Kernel> Kernels(const KernelTable&);
//   static void Upload(const Weights&, Uploader&, Shape&);
template <class Family>
class FamilyLayer : public DeviceLayer {
 public:
  using Shape = typename Family::Shape;
  using Weights = typename Family::Weights;
  using Kernel = DeviceKernel<Shape, Weights>;

  FamilyLayer(Shape shape, std::shared_ptr<const Weights> weights,
              Device& device)
      : device_(device),
        shape_(std::move(shape)),
        weights_(std::move(weights)),
        kernels_(Family::Kernels(device.kernels())) {}

  absl::Status Upload(const LayerBuild& build) override {
    FFF_CHECK(weights_ != nullptr);
    shape_.type = build.type;
    shape_.device = device_.traits();
    if constexpr (std::is_same_v<Shape, DenseShape>) shape_.tf32 = build.tf32;
    // A layer that nothing computes is not copied.
    const auto supports = [&](const Kernel& k) { return k.supports(shape_); };
    if (absl::c_none_of(kernels_, supports)) return NoKernel();
    Uploader uploader(device_, shape_.type);
    Family::Upload(*weights_, uploader, shape_);
    FFF_RETURN_IF_ERROR(uploader.status());
    buffers_ = uploader.buffers();
    absl::Status left_out = NoKernel();
    for (size_t k = 0; k < kernels_.size(); ++k) {
      absl::Status prepared = Prepare(k, build);
      if (absl::IsResourceExhausted(prepared)) {
        left_out = prepared;
      } else if (!prepared.ok()) {
        return prepared;
      }
    }
    weights_ = nullptr;
    return usable_.empty() ? left_out : absl::OkStatus();
  }

  int64_t output_width() const override { return shape_.output_width; }
  int trees() const override { return shape_.trees; }
  int decisions() const override { return shape_.decisions; }
  int64_t weights_bytes() const override {
    int64_t bytes = 0;
    for (const Buffer& buffer : buffers_) bytes += buffer.size();
    for (const Usable& usable : usable_) {
      if (usable.state != nullptr) bytes += usable.state->bytes();
    }
    return bytes;
  }
  ScratchNeed Needs(int64_t rows_max) const override {
    ScratchNeed need;
    for (const Usable& usable : usable_) {
      need.Cover(kernels_[usable.kernel].scratch(shape_, rows_max));
    }
    return need;
  }

  // Where nothing can be the fastest, the first kernel has to serve.
  std::vector<Candidate> Candidates(int64_t rows, bool all) const override {
    std::vector<Candidate> found;
    for (const Usable& usable : usable_) Add(usable, rows, all, found);
    if (found.empty() && !usable_.empty()) Add(usable_[0], rows, true, found);
    return found;
  }
  absl::string_view KernelName(size_t kernel) const override {
    return kernels_[kernel].name;
  }
  const KernelTraits& Traits(size_t kernel) const override {
    return kernels_[kernel].traits;
  }

  absl::Status Run(const Candidate& candidate, const RowArgs& rows,
                   const Scratch& scratch, Stream& stream) const override {
    const auto usable = absl::c_find_if(usable_, [&](const Usable& each) {
      return each.kernel == candidate.kernel;
    });
    FFF_CHECK(usable != usable_.end());
    const Kernel& kernel = kernels_[candidate.kernel];
    FFF_CHECK(!kernel.traits.sorts_rows || scratch.sort.counts != nullptr);
    return base::Annotate(
        kernel.launch(shape_, {candidate.variant, rows, scratch,
                               stream.native(), usable->state.get()}),
        Name(candidate));
  }

 private:
  // A kernel that can compute this layer here, and what it keeps of it.
  struct Usable {
    size_t kernel;
    std::shared_ptr<const KernelState> state;
  };

  absl::Status NoKernel() const {
    return absl::UnimplementedError(absl::StrCat("no kernel on ",
                                                 device_.kind(), " computes ",
                                                 weights_->problem.ToString()));
  }

  // What a kernel keeps is made only where it can be chosen. Where the memory
  // does not suffice it is left out: the others compute the layer, too.
  absl::Status Prepare(size_t k, const LayerBuild& build) {
    const Kernel& kernel = kernels_[k];
    if (!kernel.supports(shape_)) return absl::OkStatus();
    if (kernel.prepare == nullptr) {
      usable_.push_back({k, nullptr});
      return absl::OkStatus();
    }
    const bool wanted =
        !build.kernel_name.empty() ||
        !kernel.variants(shape_, {build.rows_max, false, nullptr}).empty();
    if (!wanted) return absl::OkStatus();
    auto state = kernel.prepare(shape_, *weights_, device_);
    if (!state.ok()) return state.status();
    if (*state != nullptr) usable_.push_back({k, *std::move(state)});
    return absl::OkStatus();
  }

  void Add(const Usable& usable, int64_t rows, bool all,
           std::vector<Candidate>& to) const {
    for (const int variant : kernels_[usable.kernel].variants(
             shape_, {rows, all, usable.state.get()})) {
      to.push_back({usable.kernel, variant});
    }
  }

  Device& device_;
  Shape shape_;
  std::shared_ptr<const Weights> weights_;  // until they are uploaded
  absl::Span<const Kernel> kernels_;
  std::vector<Usable> usable_;
  std::vector<Buffer> buffers_;
};

}  // namespace fff::engine
