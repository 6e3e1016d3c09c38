#include "server/app/application.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/app/demo_models.h"
#include "server/app/device_choice.h"
#include "server/app/history_json.h"
#include "server/app/host_flag.h"
#include "server/app/http_endpoint.h"
#include "server/app/signals.h"
#include "server/app/status_page.h"
#include "server/app/tracing_choice.h"
#include "server/base/cpu_info.h"
#include "server/base/listen.h"
#include "server/base/log.h"
#include "server/base/log_event.h"
#include "server/base/memory_info.h"
#include "server/base/memory_return.h"
#include "server/base/status_macros.h"
#include "server/base/ticker.h"
#include "server/metrics/exporter.h"
#include "server/metrics/history.h"
#include "server/rpc/messages/decode.h"
#include "server/rpc/messages/version.h"
#include "server/rpc/service/grpc_server.h"
#include "server/serving/repository/repository_watcher.h"

namespace fff::app {
namespace {

void ApplyLogLevel(const std::string& level) {
  if (level == "debug") base::SetLogLevel(base::LogLevel::kDebug);
  if (level == "warning") base::SetLogLevel(base::LogLevel::kWarning);
  if (level == "error") base::SetLogLevel(base::LogLevel::kError);
}

// A quarter of the memory for requests on their way in; the rest is for the
// weights and for the rows of requests that wait and are being computed. Two of
// the largest messages must fit, or none would get through.
int64_t RequestMemoryBytes(int64_t max_message_bytes) {
  return std::max(base::AvailableMemoryBytes() / 4, 2 * max_message_bytes);
}

int Threads(const Config& config) {
  return config.threads > 0 ? config.threads : base::AvailableCpus();
}

int QueueThreads(const Config& config, int threads) {
  constexpr int kMost = 32;
  return config.grpc_queues > 0 ? config.grpc_queues
                                : std::min((threads + 1) / 2, kMost);
}

rpc::GrpcServerOptions GrpcOptions(const Config& config, int threads) {
  rpc::GrpcServerOptions options;
  options.host = config.host;
  options.port = config.grpc_port;
  options.max_message_bytes = config.max_message_bytes;
  options.max_metadata_bytes = config.max_metadata_bytes;
  options.receive_memory_bytes =
      config.request_memory_bytes > 0
          ? config.request_memory_bytes
          : RequestMemoryBytes(config.max_message_bytes);
  options.answer_memory_bytes = options.receive_memory_bytes;
  options.unread_answer_seconds = config.unread_answer_timeout_seconds;
  options.overload_is_unavailable = config.overload_status == "unavailable";
  options.refuse_non_finite = config.non_finite == "refuse";
  options.access_log = config.access_log;
  options.access_log_share = config.access_log_sample;
  options.traces = ChooseTracing(config.traces);
  options.queues = QueueThreads(config, threads);
  options.benchmark_enabled = config.benchmark;
  options.connections = {config.max_connection_age_seconds,
                         config.max_connection_age_grace_seconds,
                         config.keepalive_time_seconds,
                         config.max_connection_streams};
  options.tls = {config.tls_cert, config.tls_key, config.tls_client_ca};
  options.admin.token_file = config.admin_token_file;
  options.admin.client_names = config.admin_client_names;
  // Whoever shows a certificate, or is on this machine, is trusted unless a
  // token or names say whom to trust.
  options.admin.everyone =
      !config.tls_client_ca.empty() || IsLoopback(config.host);
  return options;
}

// What a load may take to end once nobody wants it.
constexpr absl::Duration kLoaderEnds = absl::Seconds(1);

// The parts in the order in which they are built; destroyed in reverse.
class Server {
 public:
  explicit Server(const Config& config)
      : config_(config),
        threads_(Threads(config)),
        metrics_(rpc::kServerVersion),
        placement_(ChoosePlacement(config.device)),
        registry_(&metrics_),
        repository_(Repository(), &registry_, &metrics_),
        watcher_(Watch(), &repository_),
        scheduler_(threads_) {}

  // The loader calls back into what is destroyed before it.
  ~Server() { repository_.Stop(); }

  // Both ports are bound before any model is loaded, so that a port conflict is
  // told at once; health says NOT_SERVING until the models are there. CANCELLED
  // when a signal comes before the repository, or before all its models.
  absl::Status Start(SignalThread& signals) {
    FFF_RETURN_IF_ERROR(CheckConfig(config_));
    FFF_RETURN_IF_ERROR(placement_.status());
    FFF_RETURN_IF_ERROR(StartGrpc());
    FFF_ASSIGN_OR_RETURN(
        http_, HttpEndpoint::Start(HttpHost(config_.host), config_.http_port,
                                   Handlers()));
    FFF_RETURN_IF_ERROR(LoadRepository(signals));
    SetServing(true);
    const std::string why_not = registry_.WhyNotReady();
    if (!why_not.empty()) {
      base::LogEvent(base::LogLevel::kWarning, "not_ready",
                     {{"reason", why_not}},
                     absl::StrCat("not ready: ", why_not));
    }
    if (config_.model_control != serving::ModelControl::kNone) {
      watcher_.Start();
    }
    memory_returner_.Start();
    history_ticker_.Start();
    const std::string grpc = base::HostPort(config_.host, grpc_->port());
    const std::string http =
        base::HostPort(HttpHost(config_.host), http_->port());
    base::LogEvent(base::LogLevel::kInfo, "listening",
                   {{"grpc", grpc}, {"http", http}},
                   absl::StrCat("listening grpc=", grpc, " http=", http));
    if (config_.demo) {
      base::LogInfo(absl::StrCat(
          "demo: ", DemoCommand(base::HostPort(config_.host, grpc_->port()))));
    }
    return absl::OkStatus();
  }

  // Health turns at once; calls are still served for the drain delay, so that
  // load balancers can look away; then no new calls, and those in flight have
  // the drain timeout. A second signal ends the delay.
  void Drain(SignalThread& signals) {
    SetServing(false);
    base::LogInfo(absl::StrCat("stopping: NOT_SERVING, still answering for ",
                               config_.drain_delay_seconds, " s"));
    signals.AwaitStop(absl::Seconds(config_.drain_delay_seconds));
    Stop();
  }

  // The end of Drain, for a server that health never told of.
  void Stop() {
    watcher_.Stop();
    memory_returner_.Stop();
    history_ticker_.Stop();
    repository_.Close();
    const auto timeout = std::chrono::milliseconds(
        static_cast<int64_t>(config_.drain_timeout_seconds * 1000));
    // Both ports are free at the same time: whoever finds one free and starts
    // there gets the other, while this process still answers what it has.
    if (http_ != nullptr) http_->StopListening();
    grpc_->Stop(std::chrono::system_clock::now() + timeout);
    http_.reset();
    base::LogEvent(base::LogLevel::kInfo, "stopped", {}, "stopped");
    EndLoader();
  }

  // Any thread. No load begins any more, and the one that is under way ends.
  void EndLoads() { repository_.Close(); }

  // Any thread.
  void ReopenLogs() {
    absl::MutexLock lock(&health_mutex_);
    if (grpc_ != nullptr) grpc_->ReopenAccessLog();
  }

 private:
  // A load only reads: in the middle of a step that takes long, packing the
  // weights of a very large layer, the process ends without it.
  void EndLoader() {
    if (repository_.StopWithin(kLoaderEnds)) return;
    base::LogInfo("a load is in the middle of a long step; ending without it");
    {
      absl::MutexLock lock(&health_mutex_);
      grpc_.reset();  // and what the access log still holds
    }
    std::_Exit(EXIT_SUCCESS);
  }

  // Mounts may appear after the process has started: what is not there is
  // waited for.
  absl::Status LoadRepository(SignalThread& signals) {
    registry_.SetReadyWhen(serving::ReadyWhenOf(
        config_.ready_when,
        config_.allow_empty ||
            config_.model_control == serving::ModelControl::kExplicit));
    absl::Status loaded = repository_.LoadAll();
    if (absl::IsNotFound(loaded)) {
      base::LogWarning(absl::StrCat(loaded.message(), "; waiting for it"));
    }
    while (absl::IsNotFound(loaded)) {
      if (signals.AwaitStop(absl::Seconds(config_.repository_poll_seconds))) {
        return absl::CancelledError("stopped while waiting for the repository");
      }
      loaded = repository_.LoadAll();
    }
    if (repository_.closed()) {
      return absl::CancelledError("stopped while models were being loaded");
    }
    return loaded;
  }

  serving::RepositoryOptions Repository() {
    serving::RepositoryOptions options;
    options.path = config_.model_repository;
    options.control = config_.model_control;
    options.startup_models = config_.load_models;
    options.tuning_seconds = static_cast<double>(config_.tune_budget_ms) / 1e3;
    options.on_change = [this] { UpdateHealth(); };
    options.on_loaded = [this] { watcher_.LookSoon(); };
    if (!placement_.ok()) return options;
    options.placement = *placement_;
    options.placement.on_failure = [this](const absl::Status&) {
      device_failed_.store(true);
      UpdateHealth();
    };
    return options;
  }

  serving::WatchOptions Watch() const {
    serving::WatchOptions options;
    options.poll_interval = std::chrono::milliseconds(
        static_cast<int64_t>(config_.repository_poll_seconds * 1000));
    return options;
  }

  absl::Status StartGrpc() {
    auto grpc = std::make_unique<rpc::GrpcServer>(
        GrpcOptions(config_, threads_), &repository_, &scheduler_, &metrics_);
    FFF_RETURN_IF_ERROR(grpc->Start());
    absl::MutexLock lock(&health_mutex_);
    grpc_ = std::move(grpc);
    return absl::OkStatus();
  }

  HttpHandlers Handlers() {
    HttpHandlers handlers;
    handlers.metrics = [this](metrics::TextFormat format) {
      return metrics::ExportText(metrics_, Ready(), format);
    };
    handlers.status = [this] { return StatusJson(Facts(), registry_.List()); };
    handlers.history = [this] {
      const absl::Time now = absl::Now();
      return HistoryJson(history_.Last(now), now);
    };
    handlers.ready = [this] { return Ready(); };
    handlers.model_ready = [this](const std::string& name,
                                  const std::string& version) -> absl::Status {
      FFF_ASSIGN_OR_RETURN(const int64_t number, rpc::DecodeVersion(version));
      return registry_.Find(name, number).status();
    };
    handlers.page = StatusPage();
    handlers.name = rpc::kServerName;
    handlers.version = rpc::kServerVersion;
    return handlers;
  }

  bool Ready() const {
    return serving_.load() && !device_failed_.load() && registry_.Ready();
  }

  StatusFacts Facts() const {
    std::string why_not = registry_.WhyNotReady();
    if (why_not.empty() && device_failed_) why_not = "the device has failed";
    if (why_not.empty() && !serving_) why_not = "the server is stopping";
    return {rpc::kServerVersion,
            cpu_name_,
            threads_,
            Ready(),
            absl::StrJoin(config_.ready_when, ","),
            why_not};
  }

  void SetServing(bool serving) {
    serving_.store(serving);
    UpdateHealth();
  }

  // Called when models come and go, by whoever made them. The lock keeps an
  // answer from before a stop from being told after it.
  void UpdateHealth() {
    absl::MutexLock lock(&health_mutex_);
    if (grpc_ != nullptr) grpc_->SetServing(Ready());
  }

  const Config& config_;
  const int threads_;
  const std::string cpu_name_ = base::ReadCpuInfo().model;
  metrics::ServerMetrics metrics_;
  metrics::History history_{&metrics_};
  const absl::StatusOr<model::Placement> placement_;
  serving::ModelRegistry registry_;
  serving::ModelRepository repository_;
  serving::RepositoryWatcher watcher_;
  serving::Scheduler scheduler_;
  base::MemoryReturner memory_returner_;
  base::Ticker history_ticker_{"fff-history", absl::Seconds(1),
                               [this] { history_.Sample(absl::Now()); }};
  std::atomic<bool> serving_{false};
  std::atomic<bool> device_failed_{false};
  // Held while health or a signal is told; grpc_ is set once.
  absl::Mutex health_mutex_;
  std::unique_ptr<rpc::GrpcServer> grpc_;
  std::unique_ptr<HttpEndpoint> http_;
};

}  // namespace

int RunServer(const Config& config) {
  // The queues' threads allocate for requests, workers hardly ever: a heap for
  // each queue. Ten minutes of mixed load (tests/integration/soak.py): 67 MB
  // resident after one minute and 74 after seven with one heap per thread, 60
  // and 63 with one on two cores.
  base::LimitHeaps(QueueThreads(config, Threads(config)));
  // Debian builds Abseil with its search for lock cycles switched on, which
  // costs every lock of ours and of gRPC's. Sanitizer builds keep it.
#ifdef NDEBUG
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
#endif
  ApplyLogLevel(config.log_level);
  if (config.log_format == "json") base::UseJsonLog();
  for (const std::string& warning : config.warnings) base::LogWarning(warning);
  Server server(config);
  SignalThread signals([&server] { server.ReopenLogs(); },
                       [&server] { server.EndLoads(); });
  const absl::Status started = server.Start(signals);
  if (absl::IsCancelled(started)) {
    base::LogInfo(started.message());
    server.Stop();
    return 0;
  }
  if (!started.ok()) {
    base::LogError(absl::StrCat("cannot start: ", started.message()));
    return 1;
  }
  signals.AwaitStop();
  server.Drain(signals);
  return 0;
}

}  // namespace fff::app
