#pragma once

#include <memory>
#include <string>

#include "absl/synchronization/notification.h"
#include "fff/v1/inference.grpc.pb.h"
#include "grpcpp/server.h"
#include "inference/grpc_service.grpc.pb.h"

namespace fff::client {

// A server in this process with made-up models, on a port of its own:
//   "sum"     4 columns in; out: [sum, -sum, 0] with labels up, down, flat
//   "sum:dense", PredictDense: the same with -sum first
//   "words"   input_ids and, optional, attention_mask, int64 [rows, sequence];
//             out: [id, -id, 0] of every token, zeros where the mask is 0
//   "liar"    answers a tensor that contradicts its shape
//   "stuck"   answers when Release is called
//   "silent"  its benchmark ends without a report
//   "endless" its benchmark reports progress until it is cancelled
// Any other model is NOT_FOUND. On a stream every request is answered in turn,
// but for those of the model "stray", which are answered under another id,
// "unsaid", which are not, and "broken", which ends the stream with DATA_LOSS.
class FakeServer {
 public:
  FakeServer();
  ~FakeServer();

  std::string target() const;
  void Release() { stuck_.Notify(); }
  int predict_calls() const;

 private:
  class Inference;
  class OpenInference;

  absl::Notification stuck_;
  std::unique_ptr<Inference> inference_;
  std::unique_ptr<OpenInference> open_inference_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace fff::client
