#include "tests/unit/engine/fake_device.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"

namespace fff::engine {
namespace {

thread_local const FakeDevice* current = nullptr;

struct FakeRecording : Recording {
  std::vector<FakeStream::Work> work;
};

std::vector<float> Floats(WeightType type, const void* from, int64_t row,
                          int64_t pitch) {
  std::vector<float> values(static_cast<size_t>(pitch));
  WidenRow(type, static_cast<const char*>(from) + row * pitch * BytesOf(type),
           pitch, values.data());
  return values;
}

void Store(const LayerShape& shape, std::vector<float> y, void* to,
           int64_t row) {
  for (size_t i = static_cast<size_t>(shape.output_width); i < y.size(); ++i) {
    y[i] = 0;
  }
  NarrowRow(shape.type, y.data(), shape.y_pitch,
            static_cast<char*>(to) + row * shape.y_bytes());
}

float Dot(const std::vector<float>& a, const std::vector<float>& b) {
  float sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

float Activated(Activation activation, float z) {
  FFF_CHECK(activation == Activation::kIdentity ||
            activation == Activation::kRelu);
  return activation == Activation::kRelu ? std::max(z, 0.0F) : z;
}

bool GoesRight(bool tie_left, float z) { return tie_left ? z > 0 : z >= 0; }

void RunPath(const PathShape& shape, const RowArgs& rows) {
  const PathArgs& p = shape.args;
  for (int64_t r = 0; r < rows.rows; ++r) {
    const auto x = Floats(shape.type, rows.x, r, p.x_pitch);
    std::vector<float> y(static_cast<size_t>(p.y_pitch));
    for (int64_t tree = 0; tree < p.trees; ++tree) {
      const int64_t root = tree * ((int64_t{1} << p.levels) - 1);
      const int64_t path = r * p.trees + tree;
      int64_t node = 0;
      for (int level = 0; level < p.levels; ++level) {
        const int64_t at = root + node;
        float z = Dot(x, Floats(shape.type, p.x_weights, at, p.x_pitch));
        if (p.bias != nullptr) z += p.bias[at];
        if (rows.margins != nullptr) rows.margins[path * p.levels + level] = z;
        const auto add = Floats(shape.type, p.y_weights, at, p.y_pitch);
        for (size_t i = 0; i < y.size(); ++i) {
          y[i] += Activated(p.activation, z) * add[i];
        }
        if (level + 1 < p.levels) {
          node = 2 * node + 1 + (GoesRight(p.tie_left, z) ? 1 : 0);
        }
      }
      rows.leaves[path] =
          static_cast<int32_t>(node - ((int64_t{1} << (p.levels - 1)) - 1));
    }
    Store(shape, std::move(y), rows.y, r);
  }
}

void RunLeaf(const LeafShape& shape, const RowArgs& rows) {
  const LeafArgs& p = shape.args;
  for (int64_t r = 0; r < rows.rows; ++r) {
    const auto x = Floats(shape.type, rows.x, r, p.x_pitch);
    int64_t node = 0;
    for (int level = 0; level < p.depth; ++level) {
      const float z =
          Dot(x, Floats(shape.type, p.node_weights, node, p.x_pitch)) +
          p.node_biases[node];
      if (rows.margins != nullptr) rows.margins[r * p.depth + level] = z;
      node = 2 * node + 1 + (GoesRight(p.tie_left, z) ? 1 : 0);
    }
    const int64_t leaf = node - ((int64_t{1} << p.depth) - 1);
    rows.leaves[r] = static_cast<int32_t>(leaf);
    std::vector<float> y(static_cast<size_t>(p.y_pitch));
    if (p.b2 != nullptr) y = Floats(WeightType::kFp32, p.b2, leaf, p.y_pitch);
    for (int64_t j = leaf * p.leaf_width; j < (leaf + 1) * p.leaf_width; ++j) {
      const float hidden =
          Activated(p.activation,
                    Dot(x, Floats(shape.type, p.w1, j, p.x_pitch)) + p.b1[j]);
      const auto add = Floats(shape.type, p.w2, j, p.y_pitch);
      for (size_t i = 0; i < y.size(); ++i) y[i] += hidden * add[i];
    }
    Store(shape, std::move(y), rows.y, r);
  }
}

void RunDense(const DenseShape& shape, const RowArgs& rows) {
  for (int64_t r = 0; r < rows.rows; ++r) {
    const auto x = Floats(shape.type, rows.x, r, shape.x_pitch);
    std::vector<float> y(static_cast<size_t>(shape.y_pitch));
    if (shape.bias != nullptr) {
      y = Floats(shape.type, shape.bias, 0, shape.y_pitch);
    }
    for (size_t i = 0; i < y.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      y[i] = Activated(
          shape.problem.activation,
          y[i] + Dot(x, Floats(shape.type, shape.w, row, shape.x_pitch)));
    }
    Store(shape, std::move(y), rows.y, r);
  }
}

std::vector<float> Normalised(const RowsShape& shape, std::vector<float> x) {
  const auto width = static_cast<size_t>(shape.output_width);
  float mean = 0;
  float variance = 0;
  for (size_t i = 0; shape.norm.centred && i < width; ++i) {
    mean += x[i] / float(width);
  }
  for (size_t i = 0; i < width; ++i) {
    variance += (x[i] - mean) * (x[i] - mean) / float(width);
  }
  for (size_t i = 0; i < width; ++i) {
    x[i] = (x[i] - mean) / std::sqrt(variance + shape.norm.epsilon) *
           shape.norm.weight[i];
    if (shape.norm.bias != nullptr) x[i] += shape.norm.bias[i];
  }
  return x;
}

void RunRows(const RowsShape& shape, const RowArgs& rows) {
  for (int64_t r = 0; r < rows.rows; ++r) {
    auto x = Floats(shape.type, rows.x, r, shape.x_pitch);
    const auto y = Floats(shape.type, rows.y, r, shape.y_pitch);
    if (shape.op == RowOp::kLayerNorm) x = Normalised(shape, std::move(x));
    for (size_t i = 0; i < x.size(); ++i) {
      if (shape.op == RowOp::kActivate) {
        x[i] = Activated(shape.activation, x[i]);
      } else if (shape.op == RowOp::kBlend) {
        x[i] = shape.share * y[i] + (1 - shape.share) * x[i];
      }
    }
    Store(shape, std::move(x), rows.y, r);
  }
}

// A launch of the kernel whose name stands in a template argument, as entries
// are plain functions.
template <const char* kName, class Shape,
          void (*kRun)(const Shape&, const RowArgs&)>
absl::Status LaunchFake(const Shape& shape, const LaunchArgs& launch) {
  std::string name = kName;
  if (launch.variant != 0) absl::StrAppend(&name, "/", launch.variant);
  auto& stream = *static_cast<FakeStream*>(launch.stream);
  return stream.Launch(name, launch.rows.rows,
                       [shape, rows = launch.rows] { kRun(shape, rows); });
}

template <class Shape>
bool Always(const Shape&) {
  return true;
}

constexpr char kPathWalk[] = "path_walk";
constexpr char kPathSplit[] = "path_split";
constexpr char kPathSorted[] = "path_sorted";
constexpr char kLeafWalk[] = "leaf_walk";
constexpr char kLeafOther[] = "leaf_other";
constexpr char kLeafLast[] = "leaf_last";
constexpr char kDense[] = "dense";
constexpr char kRows[] = "rows";

bool HasSeveralTrees(const PathShape& shape) { return shape.trees > 1; }
std::vector<int> Parts(const PathShape&, const Ask&) { return {1, 2}; }
ScratchNeed PartsNeed(const PathShape& shape, int64_t rows_max) {
  return {rows_max * shape.y_pitch * 4, 0, 0};
}

// Keeps a block of memory, and sorts; for 16 rows and more.
struct Block : KernelState {
  int64_t bytes() const override { return buffer.size(); }
  Buffer buffer;
};
bool SortsTrees(const PathShape& shape) {
  return shape.trees == 1 && shape.args.levels > 1;
}
std::vector<int> IfMany(const PathShape&, const Ask& ask) {
  return ask.all || ask.rows >= 16 ? std::vector<int>{0} : std::vector<int>();
}
ScratchNeed SortNeed(const PathShape& shape, int64_t) {
  return {0, 1 << (shape.args.levels - 1), 0};
}
absl::StatusOr<std::shared_ptr<const KernelState>> KeepBlock(const PathShape&,
                                                             const PathWeights&,
                                                             Device& device) {
  auto block = std::make_shared<Block>();
  auto buffer = Buffer::Make(device, 4096);
  if (!buffer.ok()) return buffer.status();
  block->buffer = *std::move(buffer);
  return block;
}

bool IsNarrow(const LeafShape& shape) { return shape.args.leaf_width <= 8; }
bool IsNotHuge(const LeafShape& shape) { return shape.args.leaf_width <= 64; }
std::vector<int> OnlyIfAsked(const LeafShape&, const Ask& ask) {
  return ask.all ? std::vector<int>{0} : std::vector<int>();
}

std::vector<int> ThreeAlgorithms(const DenseShape&, const Ask&) {
  return {0, 1, 2};
}
ScratchNeed WorkspaceNeed(const DenseShape&, int64_t) { return {0, 0, 1024}; }

}  // namespace

const KernelTable& FakeDevice::kernels() const {
  static const DevicePathKernel path[] = {
      {kPathWalk,
       {},
       Always<PathShape>,
       OneVariant,
       NoScratch,
       LaunchFake<kPathWalk, PathShape, RunPath>},
      {kPathSplit,
       {true},
       HasSeveralTrees,
       Parts,
       PartsNeed,
       LaunchFake<kPathSplit, PathShape, RunPath>},
      {kPathSorted,
       {true, true, true},
       SortsTrees,
       IfMany,
       SortNeed,
       LaunchFake<kPathSorted, PathShape, RunPath>,
       KeepBlock}};
  static const DeviceLeafKernel leaf[] = {
      {kLeafWalk,
       {},
       IsNarrow,
       OneVariant,
       NoScratch,
       LaunchFake<kLeafWalk, LeafShape, RunLeaf>},
      {kLeafOther,
       {true},
       IsNotHuge,
       OneVariant,
       NoScratch,
       LaunchFake<kLeafOther, LeafShape, RunLeaf>},
      {kLeafLast,
       {true},
       IsNotHuge,
       OnlyIfAsked,
       NoScratch,
       LaunchFake<kLeafLast, LeafShape, RunLeaf>}};
  static const DeviceDenseKernel dense[] = {
      {kDense,
       {},
       Always<DenseShape>,
       ThreeAlgorithms,
       WorkspaceNeed,
       LaunchFake<kDense, DenseShape, RunDense>}};
  static const DeviceRowsKernel rows[] = {
      {kRows,
       {},
       Always<RowsShape>,
       OneVariant,
       NoScratch,
       LaunchFake<kRows, RowsShape, RunRows>}};
  static const KernelTable table = {path, leaf, dense, rows};
  return table;
}

FakeDevice::~FakeDevice() { FFF_CHECK(live_bytes == 0 && streams == 0); }

absl::StatusOr<std::shared_ptr<void>> FakeDevice::Allocate(int64_t bytes) {
  FFF_CHECK(current == this && bytes > 0);
  ++allocations;
  const bool fails = allocation_that_fails > 0 && --allocation_that_fails == 0;
  if (fails || live_bytes + bytes > memory_bytes_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "allocating ", bytes, " bytes, ", memory_bytes_ - live_bytes, " free"));
  }
  live_bytes += bytes;
  return std::shared_ptr<void>(std::calloc(1, static_cast<size_t>(bytes)),
                               [this, bytes](void* data) {
                                 FFF_CHECK(current == this);
                                 live_bytes -= bytes;
                                 std::free(data);
                               });
}

absl::StatusOr<std::shared_ptr<void>> FakeDevice::AllocateHost(int64_t bytes) {
  return Allocate(bytes);
}

absl::Status FakeDevice::CopyIn(void* device, const void* host, int64_t bytes) {
  FFF_CHECK(current == this);
  std::memcpy(device, host, static_cast<size_t>(bytes));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Stream>> FakeDevice::MakeStream() {
  return std::make_unique<FakeStream>(this);
}

int FakeDevice::Enter() {
  FFF_CHECK(current == nullptr);
  current = this;
  return 7;
}

void FakeDevice::Leave(int before) {
  FFF_CHECK(current == this && before == 7);
  current = nullptr;
}

double FakeDevice::TimeOf(const std::string& kernel, int rows) const {
  const auto time = times_.find(kernel);
  if (time == times_.end()) return 1;
  return time->second.first + time->second.second * rows;
}

int FakeDevice::CountRuns(const std::string& kernel) const {
  return static_cast<int>(
      std::count_if(runs.begin(), runs.end(),
                    [&](const FakeRun& run) { return run.kernel == kernel; }));
}

std::vector<int> FakeDevice::RowsOfRuns() const {
  std::vector<int> rows;
  for (const FakeRun& run : runs) rows.push_back(run.rows);
  return rows;
}

FakeStream::FakeStream(FakeDevice* device) : device_(device) {
  ++device_->streams;
}

FakeStream::~FakeStream() { --device_->streams; }

absl::Status FakeStream::CopyIn(void* device, const void* host, int64_t bytes) {
  queued_.push_back([this, device, host, bytes] {
    std::memcpy(device, host, static_cast<size_t>(bytes));
    device_->copied_in_bytes += bytes;
    device_->now_s += device_->copy_s;
  });
  return absl::OkStatus();
}

absl::Status FakeStream::CopyOut(void* host, const void* device,
                                 int64_t bytes) {
  queued_.push_back([this, device, host, bytes] {
    std::memcpy(host, device, static_cast<size_t>(bytes));
    device_->copied_out_bytes += bytes;
    device_->now_s += device_->copy_s;
  });
  return absl::OkStatus();
}

absl::Status FakeStream::Synchronize() {
  FFF_CHECK(current == device_);
  const std::vector<Work> all = std::move(queued_);
  queued_.clear();
  if (!device_->lasting.ok()) return device_->lasting;
  for (const Work& work : all) work();
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Recording>> FakeStream::Record(Queue queue) {
  FFF_CHECK(queued_.empty());
  const absl::Status status = queue();
  auto recording = std::make_unique<FakeRecording>();
  recording->work = std::move(queued_);
  queued_.clear();
  if (!status.ok()) return status;
  return recording;
}

absl::Status FakeStream::Replay(const Recording& recording) {
  ++device_->replays;
  const auto& work = static_cast<const FakeRecording&>(recording).work;
  queued_.insert(queued_.end(), work.begin(), work.end());
  return absl::OkStatus();
}

absl::StatusOr<double> FakeStream::Time(Queue queue) {
  const double began_s = device_->now_s;
  const absl::Status status = queue();
  if (!status.ok()) return status;
  const absl::Status done = Synchronize();
  if (!done.ok()) return done;
  return device_->now_s - began_s;
}

absl::Status FakeStream::Launch(const std::string& kernel, int rows,
                                Work work) {
  FFF_CHECK(current == device_);
  if (kernel == device_->refused_kernel) {
    return absl::InternalError("this algorithm does not fit");
  }
  queued_.push_back([this, kernel, rows, work = std::move(work)] {
    work();
    device_->runs.push_back({kernel, rows});
    device_->now_s += device_->TimeOf(kernel, rows);
  });
  return absl::OkStatus();
}

}  // namespace fff::engine
