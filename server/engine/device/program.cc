#include "server/engine/device/program.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/engine/device/lane_tuning.h"

namespace fff::engine {
namespace {

// Pieces of a batch overlap: one on its way in, one on its way out, one in the
// hands of the processor. A smaller piece costs more to queue than it saves.
constexpr int64_t kPieces = 4;
constexpr int64_t kPieceBytesMin = int64_t{1} << 20;

bool AnyWantsMargins(absl::Span<const RouteSink> routes) {
  return std::any_of(routes.begin(), routes.end(), [](const RouteSink& sink) {
    return sink.margins != nullptr;
  });
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceProgram>> Program::Make(
    const graph::Graph& graph, const DeviceOptions& options,
    absl::Span<Device* const> devices, HostCopies& copies) {
  FFF_CHECK(!options.devices.empty() && options.lanes > 0);
  for (const int device : options.devices) {
    if (device >= 0 && static_cast<size_t>(device) < devices.size()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("no device ", devices[0]->kind(), ":", device,
                     "; there are ", devices.size(), ", numbered from 0"));
  }
  auto program = std::unique_ptr<Program>(new Program());
  program->lanes_per_batch_ = options.lanes_per_batch;
  for (const int number : options.devices) {
    Device& device = *devices[static_cast<size_t>(number)];
    const UseDevice use(device);
    FFF_RETURN_IF_ERROR(
        base::Annotate(program->AddReplica(graph, options, device, copies),
                       absl::StrCat(device.kind(), ":", number)));
  }
  return std::unique_ptr<DeviceProgram>(std::move(program));
}

absl::Status Program::AddReplica(const graph::Graph& graph,
                                 const DeviceOptions& options, Device& device,
                                 HostCopies& copies) {
  replicas_.emplace_back();
  Replica& replica = replicas_.back();
  replica.device = &device;
  FFF_ASSIGN_OR_RETURN(replica.chain, Chain::Make(graph, options, device));
  int64_t bytes = replica.chain->weights_bytes();
  std::deque<Lane*> free;
  for (int i = 0; i < options.lanes; ++i) {
    FFF_ASSIGN_OR_RETURN(auto lane, Lane::Make(replica.chain.get(), &copies));
    bytes += lane->device_bytes();
    free.push_back(lane.get());
    replica.lanes.push_back(std::move(lane));
  }
  FFF_ASSIGN_OR_RETURN(
      auto steps,
      TuneOnLane(options.tuning_seconds, *replica.chain, *replica.lanes[0]));
  report_.clear();
  for (auto& of_node : steps) report_.push_back({std::move(of_node), {}});
  std::vector<Way> ways;
  if (options.tuning_seconds > 0) {
    FFF_ASSIGN_OR_RETURN(ways, ChooseWays(*replica.chain, *replica.lanes[0]));
  }
  for (const auto& lane : replica.lanes) {
    FFF_RETURN_IF_ERROR(lane->PrepareBatches(ways));
  }
  device_bytes_ = bytes;
  absl::MutexLock lock(&mutex_);
  free_.push_back(std::move(free));
  return absl::OkStatus();
}

Program::~Program() {
  for (Replica& replica : replicas_) {
    const UseDevice use(*replica.device);
    replica.lanes.clear();
    replica.chain.reset();
  }
}

absl::Status Program::health() const {
  absl::MutexLock lock(&mutex_);
  return failed_;
}

absl::Status Program::Remember(const absl::Status& status) const {
  if (status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  if (failed_.ok()) failed_ = status;
  return failed_;
}

Program::Held Program::Acquire() const {
  const auto any_free = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return std::any_of(free_.begin(), free_.end(),
                       [](const auto& lanes) { return !lanes.empty(); });
  };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&any_free));
  Held held;
  held.replica = ++taken_ % free_.size();
  for (size_t i = 1; i < free_.size(); ++i) {
    const size_t other = (taken_ + i) % free_.size();
    if (free_[other].size() > free_[held.replica].size()) held.replica = other;
  }
  held.lane = free_[held.replica].front();
  free_[held.replica].pop_front();
  return held;
}

void Program::TryAcquireBeside(std::vector<Held>& held, int64_t most) const {
  absl::MutexLock lock(&mutex_);
  std::deque<Lane*>& free = free_[held[0].replica];
  while (!free.empty() && static_cast<int64_t>(held.size()) < most) {
    held.push_back({held[0].replica, free.front()});
    free.pop_front();
  }
}

void Program::Release(const Held& held) const {
  absl::MutexLock lock(&mutex_);
  free_[held.replica].push_back(held.lane);
}

int64_t Program::PieceRows(int64_t rows) const {
  const Chain& chain = *replicas_[0].chain;
  const int64_t width = std::max(chain.input_width(), chain.output_width());
  const int64_t row_bytes = PitchOf(width) * BytesOf(chain.type());
  const int64_t least = std::max<int64_t>(1, kPieceBytesMin / row_bytes);
  const int64_t even = (rows + kPieces - 1) / kPieces;
  return std::min(chain.rows_max(), std::max(even, least));
}

// Pieces take turns on the lanes: while the device copies and computes one, the
// processor fills or empties the memory of another.
absl::Status Program::RunOn(const std::vector<Held>& held, tensor::ConstRows x,
                            tensor::MutableRows y,
                            absl::Span<const RouteSink> routes,
                            int64_t piece) const {
  const bool margins = AnyWantsMargins(routes);
  const int64_t pieces = (x.rows + piece - 1) / piece;
  const auto lanes = static_cast<int64_t>(held.size());
  const auto rows_of = [&](int64_t i) {
    return std::min(piece, x.rows - i * piece);
  };
  for (int64_t i = 0; i < pieces + lanes; ++i) {
    Lane& lane = *held[static_cast<size_t>(i % lanes)].lane;
    const int64_t done = i - lanes;
    if (done >= 0) {
      FFF_RETURN_IF_ERROR(lane.Finish(
          {y.row(done * piece), rows_of(done), y.width}, routes, done * piece));
    }
    if (i >= pieces) continue;
    FFF_RETURN_IF_ERROR(
        lane.Begin({x.row(i * piece), rows_of(i), x.width}, margins));
  }
  return absl::OkStatus();
}

absl::Status Program::RunPieces(tensor::ConstRows x, tensor::MutableRows y,
                                absl::Span<const RouteSink> routes,
                                const Held& first) const {
  const UseDevice use(*replicas_[first.replica].device);
  std::vector<Held> held = {first};
  const int64_t piece = PieceRows(x.rows);
  const int64_t pieces = (x.rows + piece - 1) / piece;
  if (pieces > 1) TryAcquireBeside(held, std::min(pieces, lanes_per_batch_));
  absl::Status status = RunOn(held, x, y, routes, piece);
  for (const Held& lane : held) Release(lane);
  return status;
}

absl::Status Program::Run(const Batch& batch,
                          ExecutionContext& /*context*/) const {
  const tensor::ConstRows x = batch.inputs[0].floats();
  const tensor::MutableRows y = batch.outputs[0];
  const absl::Span<const RouteSink> routes = batch.routes;
  const Chain& chain = *replicas_[0].chain;
  FFF_CHECK(x.width == chain.input_width() && y.width == chain.output_width());
  FFF_CHECK(x.rows == y.rows);
  FFF_CHECK(routes.empty() || routes.size() == chain.sinks());
  FFF_RETURN_IF_ERROR(health());
  if (x.rows == 0) return absl::OkStatus();
  return Remember(RunPieces(x, y, routes, Acquire()));
}

}  // namespace fff::engine
