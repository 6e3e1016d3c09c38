#include "server/rpc/service/grpc_server.h"

#include <algorithm>
#include <limits>
#include <thread>

#include "absl/strings/str_cat.h"
#include "server/base/listen.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/rpc/access/tls_credentials.h"
#include "server/rpc/transport/farewell.h"

namespace fff::rpc {
namespace {

// How long clients may take to leave, at most. A round trip of theirs is
// enough; connections with longer calls on them stay until the server's
// deadline.
constexpr std::chrono::seconds kFarewellTimeMax(2);
// How long new calls are refused before the server ends, at most, and the time
// without one that is taken for quiet.
constexpr std::chrono::seconds kRefusalTimeMax(2);
constexpr std::chrono::milliseconds kQuietTime(20);

// How long spans may take to leave once everything is answered.
constexpr std::chrono::milliseconds kFlushTimeMin(500);
constexpr std::chrono::seconds kFlushTimeMax(5);

absl::Time FlushUntil(std::chrono::system_clock::time_point deadline) {
  const auto now = std::chrono::system_clock::now();
  return absl::FromChrono(
      std::clamp(deadline, now + kFlushTimeMin, now + kFlushTimeMax));
}

std::shared_ptr<grpc::ServerCredentials> Credentials(
    const GrpcServerOptions& options) {
  return options.tls.enabled() ? ReloadingTlsCredentials(options.tls)
                               : grpc::InsecureServerCredentials();
}

int Milliseconds(double seconds) {
  return std::max(1, static_cast<int>(seconds * 1000));
}

serving::Clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<serving::Clock::duration>(
      std::chrono::duration<double>(seconds));
}

void ConfigureConnections(const ConnectionOptions& options,
                          grpc::ServerBuilder& builder) {
  if (options.age_seconds_max > 0) {
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                               Milliseconds(options.age_seconds_max));
  }
  if (options.age_grace_seconds > 0) {
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                               Milliseconds(options.age_grace_seconds));
  }
  if (options.keepalive_seconds > 0) {
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS,
                               Milliseconds(options.keepalive_seconds));
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20000);
  }
  if (options.streams_max > 0) {
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                               options.streams_max);
  }
  // Clients that ping an idle connection every 10 s are no attack. gRPC allows
  // one ping in five minutes and ends the connection (ENHANCE_YOUR_CALM).
  builder.AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
}

void Configure(const GrpcServerOptions& options, grpc::ServerBuilder& builder) {
  const auto bytes_max = static_cast<int>(std::min<int64_t>(
      options.max_message_bytes, std::numeric_limits<int>::max()));
  builder.SetMaxReceiveMessageSize(bytes_max);
  if (options.receive_memory_bytes > 0) {
    // Without a bound, requests that no worker has seen yet fill the memory.
    grpc::ResourceQuota quota("fff-server");
    quota.Resize(static_cast<size_t>(options.receive_memory_bytes));
    builder.SetResourceQuota(quota);
  }
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE,
                             static_cast<int>(kMetadataBytesRead));
  builder.SetMaxSendMessageSize(-1);  // an answer is as large as it must be
  // With SO_REUSEPORT, gRPC's default, a second server on the port would start
  // without a word and take half of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // The default slice of 8 KiB makes 128 reads of a 1 MiB tensor.
  builder.AddChannelArgument("grpc.experimental.tcp_read_chunk_size",
                             256 << 10);
  // The synchronous methods are rare: one queue and two threads serve them.
  // Only the inference queues' threads look at the sockets; nothing here may
  // use gRPC's callback API, whose threads do so too and get in their way.
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
}

}  // namespace

GrpcServer::GrpcServer(const GrpcServerOptions& options,
                       serving::ModelRepository* repository,
                       serving::Scheduler* scheduler,
                       metrics::ServerMetrics* metrics)
    : options_(options),
      registry_(repository->registry()),
      scheduler_(scheduler),
      admin_(options.admin),
      inference_(repository, metrics, &admin_, options.benchmark_enabled),
      open_inference_(repository, &admin_, options.max_message_bytes,
                      [this] { return serving_.load() && registry_->Ready(); }),
      reflection_(
          {v1::InferenceService::service_full_name(),
           inference::GRPCInferenceService::service_full_name(),
           grpc::health::v1::Health::service_full_name(),
           grpc::reflection::v1::ServerReflection::service_full_name(),
           grpc::reflection::v1alpha::ServerReflection::service_full_name()}),
      memory_(options.answer_memory_bytes),
      environment_{registry_,
                   scheduler,
                   metrics,
                   &inference_,
                   &open_inference_,
                   &health_,
                   &memory_,
                   nullptr,
                   nullptr,
                   Seconds(options.unread_answer_seconds),
                   options.overload_is_unavailable,
                   options.refuse_non_finite,
                   options.max_metadata_bytes,
                   {false}} {}

GrpcServer::~GrpcServer() {
  if (server_ != nullptr) Stop(std::chrono::system_clock::now());
}

absl::Status GrpcServer::Start() {
  FFF_RETURN_IF_ERROR(admin_.CheckFile());
  if (options_.tls.enabled()) {
    FFF_RETURN_IF_ERROR(ReadTlsFiles(options_.tls).status());
  }
  if (!options_.access_log.empty()) {
    FFF_ASSIGN_OR_RETURN(
        auto lines, base::LineLog::Open(
                        {options_.access_log, "access log", "fff-access-log",
                         [metrics = environment_.metrics](uint64_t lost) {
                           metrics->AddAccessLogLinesLost(lost);
                         }}));
    access_log_ = std::make_unique<AccessLog>(std::move(lines),
                                              options_.access_log_share);
    environment_.access_log = access_log_.get();
  }
  if (options_.traces.enabled()) {
    FFF_ASSIGN_OR_RETURN(tracing_,
                         Tracing::Start(
                             options_.traces,
                             [metrics = environment_.metrics](uint64_t spans) {
                               metrics->AddSpansExported(spans);
                             },
                             [metrics = environment_.metrics](uint64_t spans) {
                               metrics->AddSpansDropped(spans);
                             }));
    environment_.tracing = tracing_.get();
  }
  // gRPC does not say why it cannot listen; the system does.
  FFF_RETURN_IF_ERROR(base::CheckListen(options_.host, options_.port, "gRPC"));
  grpc::ServerBuilder builder;
  Configure(options_, builder);
  ConfigureConnections(options_.connections, builder);
  credentials_ = Credentials(options_);
  builder.AddListeningPort(base::HostPort(options_.host, options_.port),
                           credentials_, &port_);
  builder.RegisterService(&inference_);
  builder.RegisterService(&open_inference_);
  builder.RegisterService(&health_);
  builder.RegisterService(&reflection_service_);
  builder.RegisterService(&reflection_alpha_service_);
  const int most = std::max(1, options_.queues);
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> completion_queues;
  for (int i = 0; i < most; ++i) {
    completion_queues.push_back(builder.AddCompletionQueue());
  }
  active_queues_ = std::make_unique<ActiveQueues>();
  for (const int at : QueueOrder(most)) {
    queues_.push_back(std::make_unique<InferQueue>(
        &environment_, std::move(completion_queues[static_cast<size_t>(at)]),
        active_queues_.get(), static_cast<int>(queues_.size())));
    active_queues_->Add(queues_.back().get());
  }
  active_queues_->Start();
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || port_ == 0) {
    server_.reset();
    queues_.clear();
    FFF_RETURN_IF_ERROR(
        base::CheckListen(options_.host, options_.port, "gRPC"));
    return base::CannotListen(options_.host, options_.port, "gRPC",
                              "gRPC refused the address");
  }
  SetServing(false);
  for (size_t i = 0; i < queues_.size(); ++i) {
    queues_[i]->Start(absl::StrCat("fff-queue-", i));
  }
  if (!QueuesMayRest()) active_queues_->Fix(most);
  return absl::OkStatus();
}

void GrpcServer::SetServing(bool serving) {
  serving_.store(serving);
  health_.SetServing(serving);
}

void GrpcServer::ReopenAccessLog() {
  if (access_log_ != nullptr) access_log_->Reopen();
}

void GrpcServer::SendClientsAway(std::chrono::system_clock::time_point until) {
  Farewell farewell(server_.get());
  if (!farewell.supported()) return;
  farewell.StopListening();
  while (farewell.HasConnections() &&
         std::chrono::system_clock::now() < until) {
    farewell.SendGoaways();
    for (const auto& queue : queues_) queue->DrainStreams();
    std::this_thread::sleep_for(kQuietTime);
  }
}

void GrpcServer::RefuseUntilQuiet(std::chrono::system_clock::time_point until) {
  environment_.refusing.store(true);
  for (const auto& queue : queues_) queue->DrainStreams();
  int64_t received_before = -1;
  while (std::chrono::system_clock::now() < until) {
    int64_t received = 0;
    bool idle = true;
    for (const auto& queue : queues_) {
      const InferQueue::Activity activity = queue->activity();
      received += activity.received;
      idle = idle && activity.idle;
    }
    if (idle && received == received_before) return;
    received_before = received;
    std::this_thread::sleep_for(kQuietTime);
  }
}

void GrpcServer::Stop(std::chrono::system_clock::time_point deadline) {
  if (server_ == nullptr) return;
  SetServing(false);
  inference_.StopBenchmark();
  SendClientsAway(
      std::min(deadline, std::chrono::system_clock::now() + kFarewellTimeMax));
  RefuseUntilQuiet(
      std::min(deadline, std::chrono::system_clock::now() + kRefusalTimeMax));
  server_->Shutdown(deadline);
  // Tasks of cancelled calls may still wait; each is answered before its queue
  // ends, because handing an answer to an ended queue is an error in gRPC.
  scheduler_->Stop();
  active_queues_->Stop();
  for (const auto& queue : queues_) queue->Stop();
  queues_.clear();
  server_.reset();
  if (tracing_ != nullptr) tracing_->Stop(FlushUntil(deadline));
}

}  // namespace fff::rpc
