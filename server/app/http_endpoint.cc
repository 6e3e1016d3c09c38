#include "server/app/http_endpoint.h"

#include <boost/asio/error.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/error_code.hpp>
#include <chrono>
#include <list>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/synchronization/notification.h"
#include "server/app/http_session.h"
#include "server/base/listen.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/base/thread.h"

namespace fff::app {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Error = boost::system::error_code;

constexpr char kPurpose[] = "HTTP";
// Until the next connection is accepted after one that the system refused.
constexpr std::chrono::milliseconds kAcceptPause(100);
// Between two warnings about that.
constexpr std::chrono::minutes kWarningPause(1);

bool IsOutOfDescriptors(const Error& error) {
  return error == boost::system::errc::too_many_files_open ||
         error == boost::system::errc::too_many_files_open_in_system;
}

// What counts as one address: of IPv6, the network that one client is given.
std::string AddressOf(const tcp::socket& socket) {
  Error error;
  const auto endpoint = socket.remote_endpoint(error);
  if (error) return "";
  const asio::ip::address address = endpoint.address();
  if (address.is_v4()) return address.to_string(error);
  const asio::ip::address_v6 v6 = address.to_v6();
  if (v6.is_v4_mapped()) {
    return asio::ip::make_address_v4(asio::ip::v4_mapped, v6).to_string(error);
  }
  const auto bytes = v6.to_bytes();
  return {bytes.begin(), bytes.begin() + bytes.size() / 2};
}

}  // namespace

// All members but the threads and `texts_` belong to the thread of
// `connections_` once that runs.
class HttpEndpoint::Server {
 public:
  Server(HttpHandlers handlers, const HttpLimits& limits)
      : service_{std::move(handlers), limits, &connections_, &texts_} {}

  // Pending work of one context may hold what belongs to the other: both have
  // stopped before either is destroyed.
  ~Server() {
    connections_.stop();
    texts_.stop();
    for (std::thread& thread : threads_) thread.join();
    for (const auto& [id, session] : std::exchange(sessions_, {})) {
      session->Close();
    }
  }

  // 0, or the error of listen().
  Error Listen(base::BoundSockets bound) {
    for (base::BoundSocket& one : bound.sockets) {
      Listener& listener = listeners_.emplace_back(connections_);
      Error error;
      listener.acceptor.assign(one.ipv6 ? tcp::v6() : tcp::v4(),
                               one.socket.fd(), error);
      if (error) return error;
      one.socket.Release();
      listener.acceptor.listen(asio::socket_base::max_listen_connections,
                               error);
      if (error) return error;
    }
    return {};
  }

  void Start() {
    for (Listener& listener : listeners_) Accept(listener);
    threads_.push_back(
        base::StartThread("fff-http", [this] { connections_.run(); }));
    threads_.push_back(
        base::StartThread("fff-http-text", [this] { texts_.run(); }));
  }

  // Any thread, while those of Start run.
  void StopListening() {
    absl::Notification closed;
    asio::post(connections_, [this, &closed] {
      for (Listener& listener : listeners_) {
        Error ignored;
        listener.pause.cancel();
        listener.acceptor.close(ignored);
      }
      closed.Notify();
    });
    closed.WaitForNotification();
  }

 private:
  struct Listener {
    explicit Listener(asio::io_context& context)
        : acceptor(context), pause(context) {}
    tcp::acceptor acceptor;
    asio::steady_timer pause;
    std::chrono::steady_clock::time_point next_warning;
  };

  void Accept(Listener& listener) {
    if (!listener.acceptor.is_open()) return;  // StopListening came first
    listener.acceptor.async_accept(
        [this, &listener](const Error& error, tcp::socket socket) {
          if (error == asio::error::operation_aborted) return;
          if (error) return AcceptAgain(listener, error);
          Admit(std::move(socket));
          Accept(listener);
        });
  }

  // When descriptors have run out, the oldest connection gives back its own.
  // Else there is nothing to do but to try again later.
  void AcceptAgain(Listener& listener, const Error& error) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= listener.next_warning) {
      listener.next_warning = now + kWarningPause;
      base::LogWarning("HTTP port: cannot accept a connection: " +
                       error.message());
    }
    if (!sessions_.empty() && IsOutOfDescriptors(error)) {
      Close(sessions_.begin()->first);
      return Accept(listener);
    }
    listener.pause.expires_after(kAcceptPause);
    listener.pause.async_wait([this, &listener](const Error& stopped) {
      if (!stopped) Accept(listener);
    });
  }

  void Admit(tcp::socket socket) {
    const std::string address = AddressOf(socket);
    if (const auto old = ConnectionToClose(peers_, address, service_.limits)) {
      Close(*old);
    }
    const int64_t id = next_id_++;
    const auto session =
        std::make_shared<HttpSession>(std::move(socket), &service_, [this, id] {
          sessions_.erase(id);
          peers_.erase(id);
        });
    peers_.emplace(id, address);
    sessions_.emplace(id, session);
    session->Start();
  }

  void Close(int64_t id) {
    // Which takes it out of the map.
    const std::shared_ptr<HttpSession> session = sessions_.at(id);
    session->Close();
  }

  asio::io_context connections_{1};
  asio::io_context texts_{1};
  // Keeps the thread of `texts_` while it has nothing to do.
  const asio::executor_work_guard<asio::io_context::executor_type> texts_work_{
      texts_.get_executor()};
  const HttpService service_;
  std::list<Listener> listeners_;
  std::map<int64_t, std::shared_ptr<HttpSession>> sessions_;
  HttpPeers peers_;  // of the same keys
  int64_t next_id_ = 0;
  std::vector<std::thread> threads_;
};

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Start(
    const std::string& host, int port, HttpHandlers handlers,
    const HttpLimits& limits) {
  FFF_ASSIGN_OR_RETURN(base::BoundSockets bound,
                       base::BindTcp(host, port, kPurpose));
  const int bound_port = bound.port;
  auto server = std::make_unique<Server>(std::move(handlers), limits);
  const Error error = server->Listen(std::move(bound));
  if (error) return base::CannotListen(host, port, kPurpose, error.message());
  server->Start();
  return std::unique_ptr<HttpEndpoint>(
      new HttpEndpoint(std::move(server), bound_port));
}

HttpEndpoint::HttpEndpoint(std::unique_ptr<Server> server, int port)
    : server_(std::move(server)), port_(port) {}

HttpEndpoint::~HttpEndpoint() = default;

void HttpEndpoint::StopListening() { server_->StopListening(); }

}  // namespace fff::app
