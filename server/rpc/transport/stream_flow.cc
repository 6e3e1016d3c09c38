#include "server/rpc/transport/stream_flow.h"

#include "server/base/check.h"

namespace fff::rpc {

StreamFlow::Step StreamFlow::ReadRequest(int64_t bytes) {
  FFF_CHECK(reading_);
  reading_ = false;
  ++requests_;
  bytes_ += bytes;
  return Next();
}

StreamFlow::Step StreamFlow::ReadEnded() {
  FFF_CHECK(reading_);
  reading_ = false;
  read_ended_ = true;
  return Next();
}

StreamFlow::Step StreamFlow::Answered(int64_t bytes) {
  ++answers_;
  FFF_CHECK(answers_ + (writing_ ? 1 : 0) <= requests_);
  bytes_ += bytes;
  return Next();
}

StreamFlow::Step StreamFlow::Written(int64_t bytes) {
  FFF_CHECK(writing_ && requests_ > 0 && bytes <= bytes_);
  writing_ = false;
  --requests_;
  bytes_ -= bytes;
  return Next();
}

StreamFlow::Step StreamFlow::Drain() {
  draining_ = true;
  return Next();
}

StreamFlow::Step StreamFlow::Next() {
  Step step;
  if (finishing_) return step;
  step.write = !writing_ && answers_ > 0;
  if (step.write) {
    writing_ = true;
    --answers_;
  }
  const bool more = !read_ended_ && !draining_;
  step.read = more && !reading_ && requests_ < kRequestsMax &&
              (requests_ == 0 || bytes_ < kBytesMax);
  if (step.read) reading_ = true;
  step.finish = !more && requests_ == 0;
  if (step.finish) finishing_ = true;
  return step;
}

}  // namespace fff::rpc
