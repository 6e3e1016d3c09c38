#pragma once

#include <memory>

#include "fff/v1/inference.grpc.pb.h"
#include "grpcpp/client_context.h"

namespace fff::client {

// gRPC's side of a stream, kept out of the public header. Client opens it.
class PredictionStreamCall {
 public:
  using Stream =
      grpc::ClientReaderWriter<v1::PredictRequest, v1::PredictStreamResponse>;

  grpc::ClientContext context;
  std::unique_ptr<Stream> stream;
  bool send_closed = false;  // of the sending thread
  bool finished = false;     // of the receiving thread
};

}  // namespace fff::client
