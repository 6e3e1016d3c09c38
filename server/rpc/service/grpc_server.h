#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/metrics/server_metrics.h"
#include "server/rpc/access/admin_access.h"
#include "server/rpc/access/tls_files.h"
#include "server/rpc/service/inference_service.h"
#include "server/rpc/service/open_inference_service.h"
#include "server/rpc/service/reflection_service.h"
#include "server/rpc/tracing/tracing.h"
#include "server/rpc/transport/infer_queue.h"
#include "server/serving/batching/scheduler.h"
#include "server/serving/repository/model_repository.h"

namespace fff::rpc {

// How long connections live. A client of a headless Service balances over the
// servers that its name had when it connected; only a new connection sees those
// that came later.
struct ConnectionOptions {
  // After this time, 10 % more or less so that clients do not return together,
  // a connection is told to go: calls and streams in flight end on it, new ones
  // make the client connect again. 0 = never.
  double age_seconds_max = 300;
  // What is still in flight so long after that is cut. 0 = never.
  double age_grace_seconds = 0;
  // A connection without traffic is asked for a sign of life so often, and
  // closed when none comes in 20 s. 0 = never.
  double keepalive_seconds = 60;
  // Calls and streams at once on one connection; more wait at the client.
  // 0 = no bound but that of memory.
  int streams_max = 0;
};

// What gRPC reads of a call's metadata. Above it gRPC 1.51 loses its place in
// the connection and ends it, with all calls on it; by default that is 8 KiB.
// It is held until the call's message is there, which nobody accounts for:
// large enough for every token, small enough for many who never send one.
inline constexpr int64_t kMetadataBytesRead = int64_t{2} << 20;

struct GrpcServerOptions {
  std::string host = "127.0.0.1";                 // as in server/base/listen.h
  int port = 8001;                                // 0 = a free one
  int64_t max_message_bytes = int64_t{64} << 20;  // received
  // Of the metadata of an inference, health or reflection call; one with more
  // is refused, so that what stays open holds little. The other calls are
  // answered at once. More than kMetadataBytesRead cost the client its
  // connection: gRPC reads no further.
  int64_t max_metadata_bytes = int64_t{64} << 10;
  // Bound of what gRPC holds of requests that are still arriving, all together;
  // above it, it slows reading down and refuses streams. 0 = none.
  int64_t receive_memory_bytes = 0;
  // Bound of the requests that are being answered, with their answers, all
  // together; above it, new ones are refused. 0 = none.
  int64_t answer_memory_bytes = 0;
  // While more than half of that is in use, answers that a client has not read
  // for so long are dropped, oldest first, with their calls. 0 = never.
  double unread_answer_seconds = 10;
  // Requests refused for want of room get UNAVAILABLE, not RESOURCE_EXHAUSTED.
  bool overload_is_unavailable = false;
  // Rows with NaN or infinity are refused by models whose config does not say
  // "non_finite".
  bool refuse_non_finite = false;
  // Where requests are logged, one JSON object per line: a file, "-" for
  // standard output, "" for nowhere. And which part of those that succeed, 0
  // to 1.
  std::string access_log;
  double access_log_share = 1;
  TraceOptions traces;
  // Completion queues, a thread each, for inference calls: at most so many, as
  // the load needs them (active_queues.h).
  int queues = 1;
  bool benchmark_enabled = true;
  ConnectionOptions connections;
  TlsFiles tls;  // followed while the server runs (tls_credentials.h)
  AdminOptions admin;
};

// The gRPC side of the server: both APIs, health and reflection. Starts
// NOT_SERVING, so that nothing is routed here before models are loaded.
class GrpcServer {
 public:
  // The pointers outlive the server.
  GrpcServer(const GrpcServerOptions& options,
             serving::ModelRepository* repository,
             serving::Scheduler* scheduler, metrics::ServerMetrics* metrics);
  ~GrpcServer();

  // Binds the port and starts the threads. Returns the errors of CheckListen
  // where it cannot listen, those of ReadTlsFiles and of ReadToken for files
  // that cannot be used.
  absl::Status Start();

  // The port that was bound; none for a Unix socket.
  int port() const { return port_; }

  // What health checks and ServerReady answer; any thread.
  void SetServing(bool serving);

  // Which completion queues take calls; after Start.
  ActiveQueues& active_queues() { return *active_queues_; }

  // Writes the access log to its path anew, after somebody moved the file; any
  // thread. Nothing when there is none.
  void ReopenAccessLog();

  // Sends clients away, then refuses new calls, and gives those in flight until
  // `deadline`, after which they are cancelled. Stops the scheduler. Exports
  // the spans that wait, until the deadline too, but for 5 s at most and half a
  // second at least. Blocks; call once after Start.
  void Stop(std::chrono::system_clock::time_point deadline);

 private:
  // Accepts no new connections and sends GOAWAY on those that stand. Calls that
  // arrive all the same are answered, so clients without a retry policy lose
  // none. Ends when all connections have; streams end theirs (DrainStreams).
  void SendClientsAway(std::chrono::system_clock::time_point until);

  // Answers new inference calls UNAVAILABLE until none comes any more. A call
  // that gRPC has read but not handed over when its server ends is answered
  // CANCELLED, which clients do not retry; UNAVAILABLE they do.
  void RefuseUntilQuiet(std::chrono::system_clock::time_point until);

  const GrpcServerOptions options_;
  serving::ModelRegistry* const registry_;
  serving::Scheduler* const scheduler_;
  std::atomic<bool> serving_{false};
  const AdminAccess admin_;
  InferenceService inference_;
  OpenInferenceService open_inference_;
  HealthService health_;
  const Reflection reflection_;
  serving::MemoryBudget memory_;
  std::unique_ptr<AccessLog> access_log_;
  std::unique_ptr<Tracing> tracing_;
  CallEnvironment environment_;
  ReflectionService reflection_service_{&reflection_, &environment_};
  ReflectionAlphaService reflection_alpha_service_{&reflection_, &environment_};
  std::shared_ptr<grpc::ServerCredentials> credentials_;  // outlive server_
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<ActiveQueues> active_queues_;
  std::vector<std::unique_ptr<InferQueue>> queues_;  // in the order of use
  int port_ = 0;
};

}  // namespace fff::rpc
