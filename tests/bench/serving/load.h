#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

// The client of the measurements: one thread, a completion queue, requests as
// bytes made ahead, so that it costs little beside the servers.
namespace fff::bench {

struct Load {
  int64_t answers = 0;
  int64_t errors = 0;
  double seconds = 0;
  std::vector<float> latencies_us;  // ascending; of unary calls alone

  double rate() const { return static_cast<double>(answers) / seconds; }
  // 0 when nothing was measured.
  double percentile_us(double share) const;
  void Add(const Load& other);
};

class LoadClient {
 public:
  // `channels` connections, used in turn.
  LoadClient(const std::string& target, int channels);

  // Keeps `outstanding` unary calls under way for `seconds`.
  Load RunUnary(const std::string& method, const std::string& request,
                int outstanding, double seconds);
  // Keeps `outstanding` messages of one stream under way.
  Load RunStream(const std::string& method, const std::string& request,
                 int outstanding, double seconds);
  // One unary call; exits the program when it fails.
  std::string Call(const std::string& method, const std::string& request);

 private:
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
};

}  // namespace fff::bench
