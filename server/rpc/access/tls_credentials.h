#pragma once

#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "server/rpc/access/tls_files.h"

namespace fff::rpc {

// Server credentials that follow their files: every new connection is made with
// what the files hold at that moment; connections that stand go on with what
// they began with. Files that cannot be used, such as a new certificate whose
// key has not been written yet, are logged and passed over: the last good ones
// stay. No thread and no timer: the files are looked at (stat) at every
// handshake and read when they have changed.
//
// Mutual TLS when `files` name client authorities. The result must outlive the
// server that uses it: gRPC asks it at every handshake.
std::shared_ptr<grpc::ServerCredentials> ReloadingTlsCredentials(
    const TlsFiles& files);

}  // namespace fff::rpc
