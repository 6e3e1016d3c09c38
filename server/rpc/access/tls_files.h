#pragma once

#include <string>

#include "absl/status/statusor.h"

// The certificate, key and authorities that a TLS port is run with.
namespace fff::rpc {

// Paths of PEM files. No certificate means plain text; client authorities mean
// that clients must show a certificate of theirs.
struct TlsFiles {
  std::string certificate;  // the chain, the server's own first
  std::string key;
  std::string client_ca;

  bool enabled() const { return !certificate.empty(); }
};

struct TlsTexts {
  std::string certificate;
  std::string key;
  std::string client_ca;  // "" = clients are not asked
  // Of the server's certificate, for the log: "subject=... not_after=...".
  std::string description;
};

// Reads the files and checks that they can be used together: every PEM block is
// one, and the key is the certificate's. A certificate that has expired is let
// through; clients refuse it, and say so. Touches the disk. INVALID_ARGUMENT or
// NOT_FOUND, naming the file.
absl::StatusOr<TlsTexts> ReadTlsFiles(const TlsFiles& files);

// Sizes, times and inodes of the files: another text means that they are to be
// read again. Costs three stat calls.
std::string TlsFilesIdentity(const TlsFiles& files);

}  // namespace fff::rpc
