#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "server/app/http_connections.h"
#include "server/app/http_request.h"
#include "server/app/http_routes.h"

namespace fff::app {

// What the sessions of a port share; outlives them.
struct HttpService {
  HttpHandlers handlers;
  HttpLimits limits;
  boost::asio::io_context* connections;  // run by the sessions' one thread
  boost::asio::io_context* texts;  // where the answers of TakesLong are made
};

// One connection: one request, its answer, the end. Everything happens on the
// thread of `connections`. Lives while something is outstanding.
class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  // `on_closed` is called once, when the connection is closed.
  HttpSession(boost::asio::ip::tcp::socket socket, const HttpService* service,
              std::function<void()> on_closed);

  void Start();
  void Close();

 private:
  void Read();
  void Take(size_t bytes);
  void Respond();
  void Write(const HttpAnswer& answer);
  void AwaitClose();
  void Discard();
  void CloseAfter(std::chrono::milliseconds time);

  boost::asio::ip::tcp::socket socket_;
  const HttpService* const service_;
  std::function<void()> on_closed_;
  boost::asio::steady_timer timer_;
  HttpRequestReader reader_;
  HttpRequest request_;
  std::array<char, 4096> in_;
  std::string out_;
  size_t discarded_bytes_ = 0;
  bool writing_ = false;
  bool closed_ = false;
};

}  // namespace fff::app
