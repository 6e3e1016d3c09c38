#pragma once

// How many of a server's completion queues take calls. gRPC 1.51 polls all
// sockets of a process in one epoll set, and a queue's thread that waits there
// beside others takes events of their connections: they have to be woken for
// each. On 16 cores a call of one row cost 20 to 29 us of CPU time with one
// queue, 53 with four and 65 with eight, one client sending. Under many clients
// every thread is busy, none waits, and the rate grows with the queues: 50,000
// calls/s with one, 155,000 with four, 200,000 with eight.
namespace fff::rpc {

// Climbs towards the least number of queues that carries the load: tries twice
// as many, or half of them, for a window and keeps what pays. Pure.
class QueueCount {
 public:
  // What the queues in use did since the last window.
  struct Window {
    double seconds = 0;
    double events = 0;
    double busy_seconds = 0;  // CPU time of their threads
    double busiest = 0;       // the largest share of one of them, 0 to 1
  };

  // 1, 2, 4 .. `most` are tried.
  explicit QueueCount(int most) : most_(most) {}

  int wanted() const { return wanted_; }
  // After each window; whether wanted() is another than before.
  bool Decide(const Window& window);

 private:
  enum class Trial { kNone, kMore, kFewer };

  // Keeps trials apart that fail, twice as long each time.
  struct Rest {
    double seconds = 0;   // left
    double patience = 0;  // the last one's whole
    void Begin(double longest);
  };

  void Try(Trial trial, int queues, const Window& window);
  bool Worth(const Window& window) const;
  void Revert();

  int most_;
  int wanted_ = 1;
  Trial trial_ = Trial::kNone;
  bool settling_ = false;  // the count changed within the next window
  // Before the trial.
  int queues_before_ = 1;
  double rate_before_ = 0;
  double cost_before_ = 0;  // CPU seconds per event
  int factor_ = 2;          // of the next trial of more
  bool doubtful_ = false;   // whether fewer would not do as well
  bool spare_ = false;      // in the last window the threads had time left
  Rest more_;
  Rest fewer_;
};

}  // namespace fff::rpc
