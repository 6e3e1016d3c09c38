#pragma once

#include <string>

// Certificates for the tests of TLS, made fresh in every process.
namespace fff::rpc {

struct TestIdentity {
  std::string certificate;  // PEM
  std::string key;          // PEM
};

// A certificate authority.
TestIdentity MakeAuthority(const std::string& name);

// A certificate of that authority for `name`, which is its common name and, for
// servers, "localhost" and 127.0.0.1 its alternative names.
TestIdentity MakeIdentity(const std::string& name,
                          const TestIdentity& authority);

}  // namespace fff::rpc
