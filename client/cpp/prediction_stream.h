#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "client/cpp/prediction.h"

namespace fff::client {

class PredictionStreamCall;

// Many predictions in flight on one stream (fff.v1 PredictStream): less work
// for both sides than a call each. Client::OpenStream makes one; it must not
// outlive its client. One thread may send while another receives; two threads
// may not do the same at once.
class PredictionStream {
 public:
  struct Answer {
    std::string request_id;
    // The request's own result: its error does not end the stream.
    absl::StatusOr<Prediction> prediction;
  };

  // Cancels what is unanswered. No thread may be in Send or Receive.
  ~PredictionStream();
  PredictionStream(const PredictionStream&) = delete;
  PredictionStream& operator=(const PredictionStream&) = delete;

  // Sends a request. options.request_id tells its answer from others. An empty
  // one, or that of a request without an answer yet, is INVALID_ARGUMENT, and
  // nothing is sent. options.timeout, when above zero, is the time the server
  // may let the request wait. Blocks while the server takes no more because
  // many answers are not received. So receive on another thread, or keep fewer
  // than 64 in flight. UNAVAILABLE when the stream has ended. Receive then says
  // why.
  absl::Status Send(const std::string& model, Rows input,
                    const PredictOptions& options);
  // The same of inputs by name; INVALID_ARGUMENT as Client::Predict.
  absl::Status Send(const std::string& model,
                    absl::Span<const NamedInput> inputs,
                    const PredictOptions& options);
  // No request follows. Needed before Receive can come to an end. Not while
  // Send runs on another thread.
  void CloseSend();

  // The next answer, in the order in which they are ready. Nothing when all is
  // answered and the stream is closed. The stream's own error otherwise:
  // requests without an answer were not computed, or it is not known. INTERNAL
  // for an answer to no request.
  absl::StatusOr<std::optional<Answer>> Receive();

 private:
  friend class Client;
  explicit PredictionStream(std::unique_ptr<PredictionStreamCall> call);

  absl::Status SendRows(v1::PredictRequest request, int64_t rows,
                        const PredictOptions& options);

  const std::unique_ptr<PredictionStreamCall> call_;
  absl::Mutex mutex_;
  // Rows of the requests without an answer, by id.
  absl::flat_hash_map<std::string, int64_t> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fff::client
