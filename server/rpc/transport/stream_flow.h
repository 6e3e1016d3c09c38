#pragma once

#include <cstdint>

namespace fff::rpc {

// Decides what a stream of requests does next. No gRPC in here, no threads. The
// stream tells what happened and does what the returned step says. Reading
// stops while too much is unanswered, so a client that does not read its
// answers holds a bounded part of the memory. The stream is finished when all
// that was read is answered and nothing more is to be read.
class StreamFlow {
 public:
  // Requests of one stream that were read and whose answers are not written,
  // and the bytes of both. One request is let in whatever its size.
  static constexpr int kRequestsMax = 64;
  static constexpr int64_t kBytesMax = int64_t{4} << 20;

  // What to start now. Reads, writes and the finish each run one at a time.
  struct Step {
    bool read = false;
    bool write = false;  // the answer that has waited longest
    bool finish = false;

    bool any() const { return read || write || finish; }
  };

  Step Opened() { return Next(); }
  // A request of `bytes` was read.
  Step ReadRequest(int64_t bytes);
  // The client has closed its side, or the call is broken.
  Step ReadEnded();
  // One of the requests read has its answer, of `bytes`.
  Step Answered(int64_t bytes);
  // The write that ran is over, well or not; `bytes` of the request and answer.
  Step Written(int64_t bytes);
  // Read nothing more. May be called at any time, more than once.
  Step Drain();

  int requests() const { return requests_; }
  bool reading() const { return reading_; }
  bool finishing() const { return finishing_; }
  // The client had no more to say when the stream was finished.
  bool read_ended() const { return read_ended_; }

 private:
  Step Next();

  int requests_ = 0;  // read and not yet written
  int64_t bytes_ = 0;
  int answers_ = 0;  // not yet being written
  bool reading_ = false;
  bool writing_ = false;
  bool read_ended_ = false;
  bool draining_ = false;
  bool finishing_ = false;
};

}  // namespace fff::rpc
