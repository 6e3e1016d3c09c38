#include "client/cpp/prediction_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/prediction_stream_call.h"
#include "client/cpp/status_from_grpc.h"
#include "client/cpp/tensors.h"
#include "server/base/status_macros.h"

namespace fff::client {
namespace {

absl::Status ErrorOf(const v1::StreamError& error) {
  const auto code = static_cast<absl::StatusCode>(error.code());
  if (code == absl::StatusCode::kOk) {
    return absl::InternalError("the server answered an error without a code");
  }
  return absl::Status(code, error.message());
}

}  // namespace

PredictionStream::PredictionStream(std::unique_ptr<PredictionStreamCall> call)
    : call_(std::move(call)) {}

PredictionStream::~PredictionStream() {
  if (call_->finished) return;
  call_->context.TryCancel();
  v1::PredictStreamResponse rest;
  while (call_->stream->Read(&rest)) {
  }
  (void)call_->stream->Finish();
}

absl::Status PredictionStream::Send(const std::string& model, Rows input,
                                    const PredictOptions& options) {
  return SendRows(EncodeRequest(model, input, options), input.rows, options);
}

absl::Status PredictionStream::Send(const std::string& model,
                                    absl::Span<const NamedInput> inputs,
                                    const PredictOptions& options) {
  FFF_ASSIGN_OR_RETURN(v1::PredictRequest request,
                       EncodeRequest(model, inputs, options));
  return SendRows(std::move(request), inputs[0].shape[0], options);
}

absl::Status PredictionStream::SendRows(v1::PredictRequest request,
                                        int64_t rows,
                                        const PredictOptions& options) {
  if (call_->send_closed) {
    return absl::FailedPreconditionError("Send after CloseSend");
  }
  if (options.request_id.empty()) {
    return absl::InvalidArgumentError(
        "a request of a stream needs a request_id, got none");
  }
  if (options.dense) request.set_model(absl::StrCat(request.model(), ":dense"));
  request.set_timeout_us(
      std::max<int64_t>(0, absl::ToInt64Microseconds(options.timeout)));
  {
    absl::MutexLock lock(&mutex_);
    if (!waiting_.emplace(options.request_id, rows).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("request_id '", options.request_id,
                       "' is that of a request without an answer yet"));
    }
  }
  if (call_->stream->Write(request)) return absl::OkStatus();
  return absl::UnavailableError("the stream has ended; Receive says why");
}

void PredictionStream::CloseSend() {
  if (std::exchange(call_->send_closed, true)) return;
  call_->stream->WritesDone();
}

absl::StatusOr<std::optional<PredictionStream::Answer>>
PredictionStream::Receive() {
  if (call_->finished) {
    return absl::FailedPreconditionError("Receive after the stream's end");
  }
  v1::PredictStreamResponse response;
  if (!call_->stream->Read(&response)) {
    call_->finished = true;
    FFF_RETURN_IF_ERROR(FromGrpc(call_->stream->Finish()));
    absl::MutexLock lock(&mutex_);
    if (waiting_.empty()) return std::optional<Answer>();
    return absl::InternalError(absl::StrCat("the stream ended well, but ",
                                            waiting_.size(),
                                            " requests have no answer"));
  }
  int64_t rows = 0;
  {
    absl::MutexLock lock(&mutex_);
    const auto sent = waiting_.find(response.request_id());
    if (sent == waiting_.end()) {
      return absl::InternalError(absl::StrCat("got an answer to '",
                                              response.request_id(),
                                              "', which was not asked"));
    }
    rows = sent->second;
    waiting_.erase(sent);
  }
  if (response.has_response()) {
    return Answer{
        response.request_id(),
        DecodePrediction(std::move(*response.mutable_response()), rows)};
  }
  return Answer{response.request_id(), ErrorOf(response.error())};
}

}  // namespace fff::client
