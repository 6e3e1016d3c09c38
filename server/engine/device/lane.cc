#include "server/engine/device/lane.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <random>

#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace fff::engine {
namespace {

constexpr int64_t kFloat = sizeof(float);
// Parts of an output block start at multiples of this.
constexpr int64_t kAlignment = 16;
constexpr int kTimedRuns = 8;

int64_t Aligned(int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Where the parts of the sort scratch begin, in bytes. The last one is as long
// as there are buckets.
struct SortLayout {
  explicit SortLayout(int64_t rows)
      : rows_max(rows),
        ticket(kBucketsMax * kFloat),
        tiles(ticket + kAlignment),
        top_z(tiles + TilesFor(rows, kBucketsMax) *
                          static_cast<int64_t>(sizeof(SortTile))),
        order(top_z + rows_max * kSplitMax * kFloat) {}
  int64_t Bytes(int64_t buckets) const {
    return order + rows_max * buckets * kFloat;
  }
  int64_t rows_max;
  int64_t ticket;
  int64_t tiles;
  int64_t top_z;
  int64_t order;
};

}  // namespace

OutputLayout::OutputLayout(const Chain& chain, int64_t rows, bool margins) {
  bytes_ =
      Aligned(rows * PitchOf(chain.output_width()) * BytesOf(chain.type()));
  for (size_t i = 0; i < chain.size(); ++i) {
    leaves_.push_back(bytes_);
    bytes_ += Aligned(rows * chain.layer(i).trees() * kFloat);
  }
  for (size_t i = 0; i < chain.size(); ++i) {
    margins_.push_back(bytes_);
    if (!margins) continue;
    bytes_ += Aligned(rows * chain.layer(i).trees() *
                      chain.layer(i).decisions() * kFloat);
  }
}

Lane::Lane(const Chain* chain, HostCopies* copies)
    : chain_(chain),
      copies_(copies),
      x_pitch_(PitchOf(chain->input_width())),
      y_pitch_(PitchOf(chain->output_width())),
      element_(BytesOf(chain->type())) {}

absl::StatusOr<std::unique_ptr<Lane>> Lane::Make(const Chain* chain,
                                                 HostCopies* copies) {
  auto lane = std::unique_ptr<Lane>(new Lane(chain, copies));
  FFF_RETURN_IF_ERROR(lane->Allocate());
  return lane;
}

absl::Status Lane::Allocate() {
  Device& device = chain_->device();
  const int64_t rows = chain_->rows_max();
  const int64_t in = rows * x_pitch_ * element_;
  const int64_t out = OutputLayout(*chain_, rows, true).bytes();
  const ScratchNeed need = chain_->needs();
  const int64_t sort =
      need.buckets > 0 ? SortLayout(rows).Bytes(need.buckets) : 0;
  FFF_ASSIGN_OR_RETURN(stream_, device.MakeStream());
  FFF_ASSIGN_OR_RETURN(host_in_, Buffer::MakeHost(device, in));
  FFF_ASSIGN_OR_RETURN(host_out_, Buffer::MakeHost(device, out));
  FFF_ASSIGN_OR_RETURN(in_, Buffer::Make(device, in));
  FFF_ASSIGN_OR_RETURN(out_, Buffer::Make(device, out));
  for (const int64_t pitch : chain_->slot_pitches()) {
    FFF_ASSIGN_OR_RETURN(Buffer slot,
                         Buffer::Make(device, rows * pitch * element_));
    slots_.push_back(std::move(slot));
  }
  FFF_ASSIGN_OR_RETURN(scratch_, Buffer::Make(device, need.bytes));
  FFF_ASSIGN_OR_RETURN(sort_, Buffer::Make(device, sort));
  FFF_ASSIGN_OR_RETURN(workspace_, Buffer::Make(device, need.workspace_bytes));
  return absl::OkStatus();
}

int64_t Lane::device_bytes() const {
  int64_t bytes = in_.size() + out_.size() + scratch_.size() + sort_.size() +
                  workspace_.size();
  for (const Buffer& slot : slots_) bytes += slot.size();
  return bytes;
}

Scratch Lane::MakeScratch() const {
  Scratch scratch;
  scratch.bytes = scratch_.As<char>();
  scratch.size = scratch_.size();
  scratch.workspace = workspace_.data();
  if (sort_.size() > 0) {
    const SortLayout layout(chain_->rows_max());
    char* const base = sort_.As<char>();
    scratch.sort.counts = reinterpret_cast<int32_t*>(base);
    scratch.sort.ticket = reinterpret_cast<int32_t*>(base + layout.ticket);
    scratch.sort.tiles = reinterpret_cast<SortTile*>(base + layout.tiles);
    scratch.sort.top_z = reinterpret_cast<float*>(base + layout.top_z);
    scratch.sort.order = reinterpret_cast<int32_t*>(base + layout.order);
    scratch.sort.rows_max = static_cast<int>(chain_->rows_max());
  }
  return scratch;
}

RowArgs Lane::ArgsOf(size_t layer, const Ends& ends, const OutputLayout& layout,
                     bool margins) const {
  const graph::Node& node = chain_->node(layer);
  const auto at = [&](graph::ValueId value) -> void* {
    const Place& place = chain_->place(value);
    return place.where == Place::Where::kOutput ? ends.y
                                                : slots_[place.index].data();
  };
  RowArgs args;
  // Of two inputs the first lies where the output does.
  const graph::ValueId from = node.in.back();
  args.x =
      chain_->place(from).where == Place::Where::kInput ? ends.x : at(from);
  args.y = at(node.out);
  if (chain_->layer(layer).trees() == 0) return args;
  args.leaves = reinterpret_cast<int32_t*>(ends.routes + layout.leaves(layer));
  if (margins) {
    args.margins =
        reinterpret_cast<float*>(ends.routes + layout.margins(layer));
  }
  return args;
}

absl::Status Lane::QueueChain(const Ends& ends, int64_t rows,
                              const OutputLayout& layout, bool margins) {
  FFF_CHECK(rows > 0 && rows <= chain_->rows_max());
  const Scratch scratch = MakeScratch();
  for (size_t i = 0; i < chain_->size(); ++i) {
    RowArgs args = ArgsOf(i, ends, layout, margins);
    args.rows = static_cast<int>(rows);
    FFF_RETURN_IF_ERROR(chain_->layer(i).Run(chain_->ChosenFor(i, rows), args,
                                             scratch, *stream_));
  }
  return absl::OkStatus();
}

absl::Status Lane::QueueKernels(const void* x, void* y, int64_t rows) {
  return QueueChain({x, y, out_.As<char>()}, rows,
                    OutputLayout(*chain_, rows, false), false);
}

absl::StatusOr<double> Lane::TimeLayer(size_t layer, const Candidate& candidate,
                                       int64_t rows, int launches) {
  RowArgs args = ArgsOf(layer, {in_.data(), out_.data(), out_.As<char>()},
                        OutputLayout(*chain_, rows, false), /*margins=*/false);
  args.rows = static_cast<int>(rows);
  const Scratch scratch = MakeScratch();
  return stream_->Time([&]() -> absl::Status {
    for (int i = 0; i < launches; ++i) {
      FFF_RETURN_IF_ERROR(
          chain_->layer(layer).Run(candidate, args, scratch, *stream_));
    }
    return absl::OkStatus();
  });
}

absl::Status Lane::FillWithNoise() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  // A prime number of values, so that rows of any pitch differ.
  std::vector<float> floats(65521);
  for (float& value : floats) value = normal(random);
  std::vector<char> values(floats.size() * static_cast<size_t>(element_));
  NarrowRow(chain_->type(), floats.data(), static_cast<int64_t>(floats.size()),
            values.data());
  std::vector<const Buffer*> buffers = {&in_};
  for (const Buffer& slot : slots_) buffers.push_back(&slot);
  for (const Buffer* buffer : buffers) {
    const auto piece = static_cast<int64_t>(values.size());
    for (int64_t at = 0; at < buffer->size(); at += piece) {
      FFF_RETURN_IF_ERROR(
          stream_->CopyIn(buffer->As<char>() + at, values.data(),
                          std::min(piece, buffer->size() - at)));
    }
  }
  return stream_->Synchronize();
}

absl::Status Lane::QueueAll(int64_t rows, bool margins, Way way) {
  const OutputLayout layout(*chain_, rows, margins);
  const Buffer& from = way.zero_copy_in ? host_in_ : in_;
  const Buffer& to = way.zero_copy_out ? host_out_ : out_;
  if (!way.zero_copy_in) {
    FFF_RETURN_IF_ERROR(stream_->CopyIn(in_.data(), host_in_.data(),
                                        rows * x_pitch_ * element_));
  }
  FFF_RETURN_IF_ERROR(QueueChain({from.data(), to.data(), to.As<char>()}, rows,
                                 layout, margins));
  if (way.zero_copy_out) return absl::OkStatus();
  return stream_->CopyOut(host_out_.data(), out_.data(), layout.bytes());
}

absl::StatusOr<std::unique_ptr<Recording>> Lane::Record(int64_t rows,
                                                        bool margins, Way way) {
  const auto queue = [&] { return QueueAll(rows, margins, way); };
  // A first run loads the kernels, which a recording must not.
  FFF_RETURN_IF_ERROR(queue());
  FFF_RETURN_IF_ERROR(stream_->Synchronize());
  return stream_->Record(queue);
}

absl::Status Lane::PrepareBatches(absl::Span<const Way> ways) {
  const int64_t most = std::min(kRecordedRowsMax, chain_->rows_max());
  for (int64_t rows = 1; rows <= most; rows *= 2) {
    ways_.push_back(ways_.size() < ways.size() ? ways[ways_.size()] : Way());
    if (!ways_.back().recorded) continue;
    for (const bool margins : {false, true}) {
      FFF_ASSIGN_OR_RETURN((recorded_[{rows, margins}]),
                           Record(rows, margins, ways_.back()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<double> Lane::TimeWay(int64_t rows, Way way) {
  FFF_CHECK(rows <= std::min(kRecordedRowsMax, chain_->rows_max()));
  std::unique_ptr<Recording> recording;
  if (way.recorded) {
    FFF_ASSIGN_OR_RETURN(recording, Record(rows, /*margins=*/false, way));
  }
  const Device& device = chain_->device();
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kTimedRuns; ++i) {
    const double start = device.NowSeconds();
    FFF_RETURN_IF_ERROR(recording != nullptr
                            ? stream_->Replay(*recording)
                            : QueueAll(rows, /*margins=*/false, way));
    FFF_RETURN_IF_ERROR(stream_->Synchronize());
    least = std::min(least, device.NowSeconds() - start);
  }
  return least;
}

Way Lane::WayOf(int64_t rows) const {
  size_t size = 0;
  for (int64_t most = 1; most < rows; most *= 2) ++size;
  return size < ways_.size() ? ways_[size] : Way{false, false, false};
}

absl::Status Lane::Begin(tensor::ConstRows x, bool margins) {
  FFF_CHECK(x.rows > 0 && x.rows <= chain_->rows_max());
  copies_->In(x, chain_->type(), x_pitch_, host_in_.data());
  const Way way = WayOf(x.rows);
  queued_rows_ = x.rows;
  queued_margins_ = margins;
  if (!way.recorded) return QueueAll(x.rows, margins, way);
  // The rows added are whatever the buffer holds; nobody reads their results.
  queued_rows_ = 1;
  while (queued_rows_ < x.rows) queued_rows_ *= 2;
  return stream_->Replay(*recorded_.at({queued_rows_, margins}));
}

absl::Status Lane::Finish(tensor::MutableRows y,
                          absl::Span<const RouteSink> routes,
                          int64_t first_row) {
  FFF_CHECK(routes.empty() || routes.size() == chain_->sinks());
  FFF_CHECK(y.rows <= queued_rows_);
  FFF_RETURN_IF_ERROR(
      base::Annotate(stream_->Synchronize(), "evaluating a batch"));
  const OutputLayout layout(*chain_, queued_rows_, queued_margins_);
  const char* const out = host_out_.As<char>();
  copies_->Out(out, chain_->type(), y_pitch_, y);
  for (size_t i = 0; !routes.empty() && i < chain_->size(); ++i) {
    const RouteSink& sink = routes[chain_->node(i).layer];
    const int64_t trees = chain_->layer(i).trees();
    const int64_t margins = trees * chain_->layer(i).decisions();
    if (trees > 0 && sink.leaves != nullptr) {
      std::memcpy(sink.leaves + first_row * trees, out + layout.leaves(i),
                  static_cast<size_t>(y.rows * trees * kFloat));
    }
    if (margins > 0 && sink.margins != nullptr) {
      std::memcpy(sink.margins + first_row * margins, out + layout.margins(i),
                  static_cast<size_t>(y.rows * margins * kFloat));
    }
  }
  return absl::OkStatus();
}

}  // namespace fff::engine
