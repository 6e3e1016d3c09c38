#include "server/rpc/access/admin_access.h"

#include <grpc/grpc_security_constants.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/log.h"

namespace fff::rpc {
namespace {

constexpr absl::string_view kScheme = "Bearer ";

std::vector<std::string> CertificateNames(const grpc::ServerContext& context) {
  std::vector<std::string> names;
  const auto auth = context.auth_context();
  if (auth == nullptr || !auth->IsPeerAuthenticated()) return names;
  for (const char* property :
       {GRPC_X509_CN_PROPERTY_NAME, GRPC_X509_SAN_PROPERTY_NAME}) {
    for (const grpc::string_ref& value : auth->FindPropertyValues(property)) {
      names.emplace_back(value.data(), value.size());
    }
  }
  return names;
}

}  // namespace

bool SameToken(absl::string_view presented, absl::string_view token) {
  if (token.empty()) return false;
  // As long as what is presented, so that no time tells the token's length.
  std::string wanted(token);
  wanted.resize(presented.size());
  const bool same =
      CRYPTO_memcmp(presented.data(), wanted.data(), presented.size()) == 0;
  return same && presented.size() == token.size();
}

absl::Status CheckAdmin(const AdminOptions& options, absl::string_view token,
                        const AdminCaller& caller, absl::string_view call) {
  for (const std::string& name : caller.certificate_names) {
    const auto& allowed = options.client_names;
    if (std::find(allowed.begin(), allowed.end(), name) != allowed.end()) {
      return absl::OkStatus();
    }
  }
  if (!token.empty()) {
    if (absl::StartsWithIgnoreCase(caller.authorization, kScheme) &&
        SameToken(
            absl::StripAsciiWhitespace(
                absl::string_view(caller.authorization).substr(kScheme.size())),
            token)) {
      return absl::OkStatus();
    }
    return absl::UnauthenticatedError(
        absl::StrCat(call, " needs the admin token: ",
                     caller.authorization.empty()
                         ? "got no authorization metadata"
                         : "what the authorization metadata holds is not it",
                     ", wanted \"authorization: Bearer TOKEN\""));
  }
  if (!options.client_names.empty()) {
    return absl::PermissionDeniedError(absl::StrCat(
        call, " needs a client certificate of a name that may administer (",
        caller.certificate_names.empty() ? "this one names nobody"
                                         : caller.certificate_names.front(),
        " may not)"));
  }
  if (options.everyone) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat(call,
                   " is not open to the network: start the server with "
                   "--admin-token-file, or with --tls-client-ca"));
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return absl::NotFoundError(
        absl::StrCat("admin token file ", path, " cannot be read"));
  }
  std::string text(kTokenBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  const bool large = text.size() > kTokenBytesMax;
  std::string token(absl::StripAsciiWhitespace(text));
  if (token.empty() || large) {
    return absl::InvalidArgumentError(absl::StrCat(
        "admin token file ", path, " holds ", large ? "too much" : "nothing",
        ", wanted 1 to ", kTokenBytesMax, " bytes"));
  }
  return token;
}

absl::Status AdminAccess::CheckFile() const {
  if (options_.token_file.empty()) return absl::OkStatus();
  return ReadToken(options_.token_file).status();
}

absl::Status AdminAccess::Check(const grpc::ServerContext& context,
                                absl::string_view call) const {
  std::string token;
  if (!options_.token_file.empty()) {
    absl::StatusOr<std::string> read = ReadToken(options_.token_file);
    if (!read.ok()) {
      base::LogError(base::Printable(read.status().message(), 2000));
      return absl::UnavailableError(absl::StrCat(
          call, " is closed: the server cannot read its admin token"));
    }
    token = *std::move(read);
  }
  AdminCaller caller;
  caller.certificate_names = CertificateNames(context);
  const auto& metadata = context.client_metadata();
  // Two of them are none: which one counts must not be a question.
  if (metadata.count("authorization") == 1) {
    const grpc::string_ref value = metadata.find("authorization")->second;
    caller.authorization.assign(value.data(), value.size());
  }
  absl::Status status = CheckAdmin(options_, token, caller, call);
  if (!status.ok()) {
    base::LogWarning(absl::StrCat("refused ", call, " from ",
                                  base::Printable(context.peer())));
  }
  return status;
}

absl::Duration UnloadTimeout(const grpc::ServerContext& context) {
  constexpr absl::Duration kTimeoutMax = absl::Seconds(30);
  constexpr absl::Duration kForTheAnswer = absl::Milliseconds(200);
  const absl::Duration left =
      absl::FromChrono(context.deadline()) - absl::Now() - kForTheAnswer;
  return std::clamp(left, absl::ZeroDuration(), kTimeoutMax);
}

}  // namespace fff::rpc
