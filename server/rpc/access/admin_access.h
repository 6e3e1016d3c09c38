#pragma once

#include <grpcpp/server_context.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

// Who may load and unload models and run benchmarks.
namespace fff::rpc {

struct AdminOptions {
  // A file that holds the token, blanks at its ends left out. Read anew at
  // every call, so that it can be replaced while the server runs. "" = none.
  std::string token_file;
  // Common or alternative names of client certificates that may. Their
  // signature is TLS's business (--tls-client-ca).
  std::vector<std::string> client_names;
  // When neither of both is set: whether whoever reaches the port may, because
  // only this machine does or because all callers show a certificate.
  bool everyone = true;
};

// What one call says of its caller.
struct AdminCaller {
  std::string authorization;  // the metadata of that name; "" = none
  std::vector<std::string> certificate_names;
};

inline constexpr size_t kTokenBytesMax = 4096;

// Compares in a time that depends on the length of `presented` alone.
bool SameToken(absl::string_view presented, absl::string_view token);

// Pure. OK when the caller shows the token ("Bearer TOKEN") or a certificate of
// an allowed name, or when neither is asked for. UNAUTHENTICATED when the token
// is missing or wrong, PERMISSION_DENIED when no credential would help; `call`
// is named in the message, the token never. `token` is "" when none is set.
absl::Status CheckAdmin(const AdminOptions& options, absl::string_view token,
                        const AdminCaller& caller, absl::string_view call);

// The token of a file: NOT_FOUND or PERMISSION_DENIED when it cannot be read,
// INVALID_ARGUMENT when it is empty or larger than kTokenBytesMax.
absl::StatusOr<std::string> ReadToken(const std::string& path);

// The check that the services ask. Thread-safe.
class AdminAccess {
 public:
  explicit AdminAccess(AdminOptions options) : options_(std::move(options)) {}

  // Whether the token file can be used, for the start.
  absl::Status CheckFile() const;
  // CheckAdmin for this call. UNAVAILABLE when the token file has become
  // unusable: then nobody may.
  absl::Status Check(const grpc::ServerContext& context,
                     absl::string_view call) const;

 private:
  const AdminOptions options_;
};

// How long an unload may wait for requests in flight: what the caller allows,
// less the time for the answer, and 30 s at most.
absl::Duration UnloadTimeout(const grpc::ServerContext& context);

}  // namespace fff::rpc
