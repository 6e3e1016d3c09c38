#include "tests/bench/serving/load.h"

#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <optional>

namespace fff::bench {
namespace {

using Clock = std::chrono::steady_clock;

grpc::ByteBuffer Buffer(const grpc::Slice& slice) {
  return grpc::ByteBuffer(&slice, 1);
}

std::chrono::duration<double> Seconds(double seconds) {
  return std::chrono::duration<double>(seconds);
}

// One unary call after the other.
struct Slot {
  std::optional<grpc::ClientContext> context;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> call;
  grpc::ByteBuffer response;
  grpc::Status status;
  Clock::time_point start;
};

class Stream {
 public:
  Stream(grpc::GenericStub& stub, const std::string& method,
         const std::string& request)
      : slice_(request), call_(stub.PrepareCall(&context_, method, &queue_)) {
    call_->StartCall(nullptr);
    Await();
  }

  Load Run(int outstanding, double seconds) {
    Load load;
    const Clock::time_point start = Clock::now();
    const Clock::time_point end =
        start + std::chrono::duration_cast<Clock::duration>(Seconds(seconds));
    call_->Read(&response_, &read_);
    Write();
    bool open = true;  // may write
    while (in_flight_ > 0 || writing_) {
      void* tag = nullptr;
      bool ok = false;
      queue_.Next(&tag, &ok);
      if (tag == &read_) {
        if (!ok) {
          ++load.errors;
          break;
        }
        --in_flight_;
        ++load.answers;
        if (open && Clock::now() > end) open = false;
        if (open || in_flight_ > 0) call_->Read(&response_, &read_);
      } else {
        writing_ = false;
      }
      if (open && !writing_ && in_flight_ < outstanding) Write();
    }
    load.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    call_->WritesDone(nullptr);
    Await();
    grpc::Status status;
    call_->Finish(&status, nullptr);
    Await();
    if (!status.ok()) ++load.errors;
    return load;
  }

 private:
  void Await() {
    void* tag = nullptr;
    bool ok = false;
    queue_.Next(&tag, &ok);
  }
  void Write() {
    writing_ = true;
    ++in_flight_;
    call_->Write(Buffer(slice_), &write_);
  }

  const grpc::Slice slice_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  grpc::ByteBuffer response_;
  char read_ = 0;  // tags
  char write_ = 0;
  int in_flight_ = 0;
  bool writing_ = false;
};

}  // namespace

double Load::percentile_us(double share) const {
  if (latencies_us.empty()) return 0;
  const auto last = static_cast<double>(latencies_us.size() - 1);
  return latencies_us[static_cast<size_t>(share * last)];
}

void Load::Add(const Load& other) {
  answers += other.answers;
  errors += other.errors;
  seconds += other.seconds;
  latencies_us.insert(latencies_us.end(), other.latencies_us.begin(),
                      other.latencies_us.end());
  std::sort(latencies_us.begin(), latencies_us.end());
}

LoadClient::LoadClient(const std::string& target, int channels) {
  for (int i = 0; i < channels; ++i) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    // A connection of its own for each channel.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto channel = grpc::CreateCustomChannel(
        target, grpc::InsecureChannelCredentials(), arguments);
    channel->WaitForConnected(std::chrono::system_clock::now() +
                              std::chrono::seconds(10));
    stubs_.push_back(std::make_unique<grpc::GenericStub>(channel));
  }
}

Load LoadClient::RunUnary(const std::string& method, const std::string& request,
                          int outstanding, double seconds) {
  const grpc::Slice slice(request);
  grpc::CompletionQueue queue;
  std::vector<Slot> slots(static_cast<size_t>(outstanding));
  Load load;
  size_t next_stub = 0;
  const auto begin = [&](Slot& slot) {
    slot.context.emplace();
    slot.start = Clock::now();
    slot.call = stubs_[next_stub++ % stubs_.size()]->PrepareUnaryCall(
        &*slot.context, method, Buffer(slice), &queue);
    slot.call->StartCall();
    slot.call->Finish(&slot.response, &slot.status, &slot);
  };
  const Clock::time_point start = Clock::now();
  const Clock::time_point end =
      start + std::chrono::duration_cast<Clock::duration>(Seconds(seconds));
  for (Slot& slot : slots) begin(slot);
  size_t active = slots.size();
  while (active > 0) {
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    Slot& slot = *static_cast<Slot*>(tag);
    const Clock::time_point now = Clock::now();
    if (slot.status.ok()) {
      ++load.answers;
      load.latencies_us.push_back(
          std::chrono::duration<float, std::micro>(now - slot.start).count());
    } else {
      ++load.errors;
    }
    if (now < end) {
      begin(slot);
    } else {
      --active;
    }
  }
  load.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::sort(load.latencies_us.begin(), load.latencies_us.end());
  return load;
}

Load LoadClient::RunStream(const std::string& method,
                           const std::string& request, int outstanding,
                           double seconds) {
  Stream stream(*stubs_.front(), method, request);
  return stream.Run(outstanding, seconds);
}

std::string LoadClient::Call(const std::string& method,
                             const std::string& request) {
  const grpc::Slice slice(request);
  grpc::CompletionQueue queue;
  Slot slot;
  slot.context.emplace();
  slot.call = stubs_.front()->PrepareUnaryCall(&*slot.context, method,
                                               Buffer(slice), &queue);
  slot.call->StartCall();
  slot.call->Finish(&slot.response, &slot.status, &slot);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  grpc::Slice bytes;
  if (!slot.status.ok() || !slot.response.DumpToSingleSlice(&bytes).ok()) {
    fprintf(stderr, "%s: %s\n", method.c_str(),
            slot.status.error_message().c_str());
    exit(1);
  }
  return std::string(bytes.begin(), bytes.end());
}

}  // namespace fff::bench
