#pragma once

#include <cstdint>
#include <thread>

#include "absl/synchronization/notification.h"

// The allocator keeps what was freed: after 500 connections that had half-sent
// messages of 60 MB were gone, 160 MB stayed resident, of which 30 MB were in
// use. What nobody needs for a while is given back.
namespace fff::base {

// Decides when. A value; no clock in it. It is told of idle memory: resident
// memory less what is allocated. That is free memory, but also code and stacks,
// so only how it grows is looked at.
class MemoryReturnPolicy {
 public:
  // Less than this above what was left the last time is not worth a call.
  static constexpr int64_t kSlackBytes = int64_t{16} << 20;
  // Looks in a row that find more: memory that goes up and down with the load
  // is returned once in so many looks at most.
  static constexpr int kLooks = 5;

  // Told in even steps of time; true = return memory now.
  bool Look(int64_t idle_bytes);
  // What is left after it was.
  void Returned(int64_t idle_bytes);

 private:
  int64_t floor_bytes_ = INT64_MAX;  // the lowest since the last return
  int looks_above_ = 0;
};

// A thread that looks every two seconds. Start and Stop once each, from one
// thread; the destructor stops.
class MemoryReturner {
 public:
  ~MemoryReturner() { Stop(); }
  void Start();
  void Stop();

 private:
  void Loop();

  absl::Notification stop_;
  std::thread thread_;
};

}  // namespace fff::base
