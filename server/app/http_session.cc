#include "server/app/http_session.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <utility>

namespace fff::app {
namespace {

using Error = boost::system::error_code;

// What a client may send after its request, unread, until it is cut.
constexpr size_t kDiscardBytesMax = size_t{1} << 20;

}  // namespace

HttpSession::HttpSession(boost::asio::ip::tcp::socket socket,
                         const HttpService* service,
                         std::function<void()> on_closed)
    : socket_(std::move(socket)),
      service_(service),
      on_closed_(std::move(on_closed)),
      timer_(*service->connections) {}

void HttpSession::Start() {
  CloseAfter(service_->limits.head_time);
  Read();
}

void HttpSession::Close() {
  if (std::exchange(closed_, true)) return;
  Error ignored;
  timer_.cancel(ignored);
  // The system would keep on offering the rest to a client that does not read.
  if (writing_) {
    socket_.set_option(boost::asio::socket_base::linger(true, 0), ignored);
  }
  socket_.close(ignored);
  on_closed_();
}

void HttpSession::CloseAfter(std::chrono::milliseconds time) {
  timer_.expires_after(time);  // which ends the wait before
  timer_.async_wait([self = shared_from_this()](const Error& error) {
    if (!error) self->Close();
  });
}

void HttpSession::Read() {
  socket_.async_read_some(
      boost::asio::buffer(in_),
      [self = shared_from_this()](const Error& error, size_t bytes) {
        error ? self->Close() : self->Take(bytes);
      });
}

void HttpSession::Take(size_t bytes) {
  if (closed_) return;
  switch (reader_.Read({in_.data(), bytes})) {
    case HttpRequestReader::State::kMore:
      return Read();
    case HttpRequestReader::State::kDone:
      return Respond();
    case HttpRequestReader::State::kBad:
      return Write(ErrorAnswer(400, reader_.error()));
    case HttpRequestReader::State::kTooLarge:
      return Write(ErrorAnswer(431, reader_.error()));
  }
}

void HttpSession::Respond() {
  request_ = reader_.request();
  if (!TakesLong(request_)) return Write(Answer(service_->handlers, request_));
  // The client waits for the server now.
  Error ignored;
  timer_.cancel(ignored);
  const auto answer = [self = shared_from_this(), service = service_,
                       request = request_] {
    HttpAnswer text = Answer(service->handlers, request);
    boost::asio::post(*service->connections,
                      [self, text = std::move(text)] { self->Write(text); });
  };
  boost::asio::post(*service_->texts, answer);
}

void HttpSession::Write(const HttpAnswer& answer) {
  if (closed_) return;
  CloseAfter(service_->limits.answer_time);
  out_ = Encode(answer, request_.method);
  writing_ = true;
  boost::asio::async_write(
      socket_, boost::asio::buffer(out_),
      [self = shared_from_this()](const Error& error, size_t) {
        error ? self->Close() : self->AwaitClose();
      });
}

// Closing a socket with bytes unread resets the connection, and the client may
// lose the answer. So its end is awaited.
void HttpSession::AwaitClose() {
  if (closed_) return;
  writing_ = false;
  Error error;
  socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_send, error);
  if (error) return Close();
  CloseAfter(service_->limits.close_time);
  Discard();
}

void HttpSession::Discard() {
  socket_.async_read_some(
      boost::asio::buffer(in_),
      [self = shared_from_this()](const Error& error, size_t bytes) {
        self->discarded_bytes_ += bytes;
        const bool enough = self->discarded_bytes_ > kDiscardBytesMax;
        error || enough ? self->Close() : self->Discard();
      });
}

}  // namespace fff::app
