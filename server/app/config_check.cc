#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/app/config.h"
#include "server/app/host_flag.h"

namespace fff::app {

absl::Status CheckConfig(const Config& config) {
  if (config.tls_cert.empty() && !config.insecure && !IsLoopback(config.host)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "--host=", config.host,
        " is reached by other machines: give --tls-cert and --tls-key, or say "
        "--insecure when plain text is meant"));
  }
  if (!config.load_models.empty() &&
      config.model_control != serving::ModelControl::kExplicit) {
    return absl::InvalidArgumentError(
        "--load-model needs --model-control=explicit: otherwise every model of "
        "the repository is loaded");
  }
  for (const std::string& word : config.ready_when) {
    if (config.ready_when.size() > 1 && (word == "all" || word == "any")) {
      return absl::InvalidArgumentError(
          absl::StrCat("--ready-when: got ", word,
                       " beside others; wanted all, any, or "
                       "names of models"));
    }
  }
  if (!config.admin_client_names.empty() && config.tls_client_ca.empty()) {
    return absl::InvalidArgumentError(
        "--admin-client-name needs --tls-client-ca: clients show a certificate "
        "only when asked for one");
  }
  return absl::OkStatus();
}

}  // namespace fff::app
