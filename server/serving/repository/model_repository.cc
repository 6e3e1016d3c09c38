#include "server/serving/repository/model_repository.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/base/thread.h"
#include "server/model/model_files.h"

namespace fff::serving {
namespace {

model::BuildOptions Offered(const RepositoryOptions& options,
                            engine::TuningMemo* memo,
                            base::Progress* progress) {
  model::BuildOptions offered;
  offered.progress = progress;
  offered.memo = memo;
  offered.placement = options.placement;
  offered.tuning_seconds = options.tuning_seconds;
  return offered;
}

// Config.json is to be read before anything is decided.
bool ConfigIsDue(const ModelRecord& record, Clock::time_point now) {
  return !record.unloaded && record.NeedsConfig(now);
}

}  // namespace

ModelRepository::ModelRepository(RepositoryOptions options,
                                 ModelRegistry* registry,
                                 metrics::ServerMetrics* metrics)
    : options_(std::move(options)),
      registry_(registry),
      metrics_(metrics),
      models_({options_.settle_time, options_.retry_pause,
               options_.control == ModelControl::kExplicit},
              registry, metrics),
      loader_(base::StartThread("fff-loader", [this] { LoaderLoop(); })) {
  registry->OnTwinWanted([this](const std::string& model, int64_t version) {
    WantTwin(model, version);
  });
}

absl::Status ModelRepository::LoadAll() {
  const Clock::time_point now = Clock::now();
  {
    absl::MutexLock look(&look_mutex_);
    FFF_ASSIGN_OR_RETURN(const ScannedRepository scanned,
                         ScanRepository(options_.path));
    absl::MutexLock lock(&mutex_);
    models_.Observe(scanned.models, {}, now, [](const auto&) { return false; });
    models_.TellMisfits(scanned);
    if (models_.records().empty()) {
      base::LogWarning(absl::StrCat("model repository ", options_.path,
                                    " holds no model; nothing is served"));
    }
    for (const std::string& name : options_.startup_models) {
      ModelRecord& record = models_.RecordOf(name);
      record.unloaded = false;
      if (!record.name().empty()) continue;
      ScannedModel missing;
      missing.name = name;
      missing.status = absl::NotFoundError("it is not in the repository");
      record.Observe(missing, {}, now);
    }
    for (auto& [name, record] : models_.records()) {
      record.SettleNow(now);
      record.required = !record.unloaded && record.has_servable_name();
      models_.Publish(record, now);
    }
    for (auto& [name, record] : models_.records()) Schedule(record, now);
  }
  AwaitIdle();
  if (closed_.load()) return absl::OkStatus();
  registry_->SetComplete();
  options_.on_change();
  return absl::OkStatus();
}

Clock::time_point ModelRepository::Look(
    Clock::time_point now, const std::vector<std::string>& being_written) {
  Clock::time_point next = Clock::time_point::max();
  {
    absl::MutexLock look(&look_mutex_);
    const auto scanned = ScanRepository(options_.path);
    absl::MutexLock lock(&mutex_);
    if (!scanned.ok() && scanned.status() != observed_) {
      base::LogError(
          absl::StrCat("cannot look at the model repository: ",
                       base::Printable(scanned.status().message(), 2000),
                       "; what is served goes on"));
    }
    observed_ = scanned.status();
    if (!scanned.ok()) return next;
    const auto called = [this](const std::string& model)
                            ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
                              const Waiting* waiting = FindWaiting(model);
                              return waiting != nullptr && waiting->called;
                            };
    models_.Observe(scanned->models, being_written, now, called);
    models_.TellMisfits(*scanned);
    for (auto& [name, record] : models_.records()) {
      if (called(name)) continue;
      if (options_.control == ModelControl::kPoll) {
        Schedule(record, now);
      } else {
        models_.Publish(record, now);
      }
      next = std::min(next, record.NextChange(now));
    }
    models_.ForgetGone(now);
  }
  AfterChange();
  return next;
}

void ModelRepository::AwaitIdle() {
  const auto idle = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return waiting_.empty() || closed_.load();
  };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&idle));
}

ModelRepository::Waiting* ModelRepository::FindWaiting(
    const std::string& model) {
  const auto found =
      std::find_if(waiting_.begin(), waiting_.end(),
                   [&](const Waiting& w) { return w.model == model; });
  return found == waiting_.end() ? nullptr : &*found;
}

void ModelRepository::Schedule(ModelRecord& record, Clock::time_point now) {
  bool for_loader = ConfigIsDue(record, now);
  if (for_loader) {
    models_.Publish(record, now);
  } else {
    for_loader = models_.Advance(record, now).kind == Transition::Kind::kLoad ||
                 record.TwinToBuild().has_value();
  }
  EndUnwanted(record, now);
  Waiting* const waiting = FindWaiting(record.name());
  if (waiting == nullptr) {
    if (for_loader) waiting_.push_back({record.name(), now});
  } else if (for_loader) {
    waiting->now = std::max(waiting->now, now);
    waiting->config_read = false;
  } else if (waiting != &waiting_.front() || !working_) {
    waiting_.erase(waiting_.begin() + (waiting - &waiting_.front()));
  }
}

void ModelRepository::EndUnwanted(ModelRecord& record, Clock::time_point now) {
  for (const auto& [number, entry] : record.versions()) {
    if (entry.progress != nullptr && !record.IsWanted(number, now)) {
      entry.progress->Cancel();
    }
  }
}

void ModelRepository::LoaderLoop() {
  const auto called = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return !waiting_.empty() || closed_.load();
  };
  while (true) {
    std::optional<Job> job;
    bool call_ends = false;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&called));
      loader_ended_ = closed_.load();
      if (loader_ended_) return;
      job = NextJob();
      working_ = job.has_value();
      if (!working_ && !models_.has_retired()) {
        call_ends = waiting_.front().called;
        waiting_.erase(waiting_.begin());
      }
    }
    if (job.has_value()) Do(*job);
    if (call_ends) options_.on_loaded();
    AfterChange();
  }
}

std::optional<ModelRepository::Job> ModelRepository::NextJob() {
  Waiting& waiting = waiting_.front();
  ModelRecord* const found = models_.Find(waiting.model);
  if (found == nullptr) return std::nullopt;
  ModelRecord& record = *found;
  Job job;
  job.now = waiting.now;
  job.directory = record.directory();
  job.version.model_name = record.name();
  job.input.config_found = record.config_found();
  if (ConfigIsDue(record, job.now) && !waiting.config_read) {
    waiting.config_read = job.reads_config = true;
    return job;
  }
  const Transition next = models_.Advance(record, job.now);
  if (next.kind != Transition::Kind::kLoad) {
    std::optional<Job> twin = TwinJob(record, job);
    if (twin.has_value()) BeginLoad(*twin, record);
    return twin;
  }
  job.version.version = job.input.version = next.version;
  job.version.directory = record.DirectoryOf(next.version);
  job.config = record.config();
  job.input.found = record.version(next.version).found;
  BeginLoad(job, record);
  return job;
}

void ModelRepository::BeginLoad(Job& job, ModelRecord& record) {
  job.progress = std::make_shared<base::Progress>(
      [name = base::Printable(job.version.model_name),
       version = job.version.version](const base::Progress::View& view) {
        base::LogInfo(absl::StrCat("loading model=", name, " version=", version,
                                   " seconds=", view.seconds, " ",
                                   view.ToString()));
      });
  loading_ = job.progress;
  record.SetProgress(job.version.version, job.progress);
  models_.Publish(record, job.now);
  metrics_->SetLoad(job.version.model_name, absl::StrCat(job.version.version),
                    job.progress);
}

void ModelRepository::EndLoad(const Job& job, ModelRecord* record) {
  working_ = false;
  loading_.reset();
  metrics_->SetLoad(job.version.model_name, absl::StrCat(job.version.version),
                    nullptr);
  if (record != nullptr) record->SetProgress(job.version.version, nullptr);
}

std::optional<ModelRepository::Job> ModelRepository::TwinJob(
    ModelRecord& record, Job job) {
  const std::optional<int64_t> version = record.TwinToBuild();
  if (!version.has_value()) return std::nullopt;
  job.version.version = *version;
  job.version.directory = record.DirectoryOf(*version);
  job.config = record.config();
  const LoadedServables& served = record.version(*version).servables;
  job.twin_of = served.fff;
  job.twin_identity = served.identity;
  return job;
}

void ModelRepository::DoTwin(const Job& job) {
  auto built = options_.build_twin(
      job.version, job.config, Offered(options_, &memo_, job.progress.get()),
      *job.twin_of, job.twin_identity);
  absl::MutexLock lock(&mutex_);
  ModelRecord* const record = models_.Find(job.version.model_name);
  EndLoad(job, record);
  if (record == nullptr) return;
  if (job.progress->cancelled() && !built.ok()) return;
  models_.TwinBuilt(*record, job.version.version, job.twin_of,
                    std::move(built));
  models_.Publish(*record, job.now);
}

void ModelRepository::Do(const Job& job) {
  if (job.twin_of != nullptr) return DoTwin(job);
  if (!job.reads_config) {
    Finish(job, options_.build(job.version, job.config,
                               Offered(options_, &memo_, job.progress.get())));
    options_.on_loaded();
    return;
  }
  absl::StatusOr<importer::ModelConfig> config =
      model::ReadModelConfig(job.directory);
  absl::MutexLock lock(&mutex_);
  working_ = false;
  ModelRecord* const record = models_.Find(job.version.model_name);
  if (record != nullptr) {
    record->SetConfig(job.input.config_found, std::move(config));
  }
}

void ModelRepository::Finish(const Job& job,
                             absl::StatusOr<BuiltVersion> built) {
  absl::MutexLock lock(&mutex_);
  ModelRecord* const record = models_.Find(job.version.model_name);
  EndLoad(job, record);
  if (record == nullptr || !record->IsWanted(job.version.version, job.now)) {
    base::LogInfo(absl::StrCat(
        "nobody wants model=", base::Printable(job.version.model_name),
        " version=", job.version.version,
        " any more; its load is thrown away"));
    if (record != nullptr) models_.Publish(*record, job.now);
    return;
  }
  if (job.progress->cancelled() && !built.ok()) {
    // Wanted again by now: the loader comes back to it, unless the server
    // stops.
    base::LogInfo(absl::StrCat(
        "ended the load of model=", base::Printable(job.version.model_name),
        " version=", job.version.version, " after ",
        job.progress->view().seconds, " s, ", job.progress->view().ToString()));
  } else if (built.ok()) {
    models_.Loaded(*record, job.input, *std::move(built));
  } else {
    models_.Failed(*record, job.input, built.status(), job.now);
  }
  models_.Publish(*record, job.now);
}

void ModelRepository::AfterChange() {
  std::vector<LoadedServables> retired;
  {
    absl::MutexLock lock(&mutex_);
    retired = models_.TakeRetired();
  }
  retired.clear();
  options_.on_change();
}

void ModelRepository::Close() {
  absl::MutexLock lock(&mutex_);
  closed_.store(true);
  if (loading_ != nullptr) loading_->Cancel();
}

void ModelRepository::Stop() { StopWithin(absl::InfiniteDuration()); }

bool ModelRepository::StopWithin(absl::Duration timeout) {
  Close();
  {
    absl::MutexLock lock(&mutex_);
    if (!mutex_.AwaitWithTimeout(absl::Condition(&loader_ended_), timeout)) {
      return false;
    }
  }
  if (loader_.joinable()) loader_.join();
  return true;
}

std::vector<std::string> ModelRepository::Directories() {
  std::vector<std::string> directories = {options_.path};
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, record] : models_.records()) {
    directories.push_back(record.directory());
    for (const auto& [version, entry] : record.versions()) {
      directories.push_back(record.DirectoryOf(version));
    }
  }
  for (const Misfit& misfit : models_.misfits()) {
    if (!misfit.directory.empty()) directories.push_back(misfit.directory);
  }
  return directories;
}

Released ModelRepository::TakeReleased() {
  absl::MutexLock lock(&mutex_);
  return models_.TakeReleased();
}

}  // namespace fff::serving
