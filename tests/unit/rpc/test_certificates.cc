#include "tests/unit/rpc/test_certificates.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <memory>

namespace fff::rpc {
namespace {

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Bio = std::unique_ptr<BIO, Free>;
using Certificate = std::unique_ptr<X509, Free>;
using Key = std::unique_ptr<EVP_PKEY, Free>;

std::string Text(BIO* bio) {
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio, &text);
  return {text, static_cast<size_t>(size)};
}

void Extend(X509* certificate, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension =
      X509V3_EXT_conf_nid(nullptr, &context, kind, value);
  ASSERT_NE(extension, nullptr) << value;
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

TestIdentity Make(const std::string& name, const TestIdentity* authority) {
  static std::atomic<long> serial{1};
  const Key key(EVP_EC_gen("P-256"));
  const Certificate made(X509_new());
  X509_set_version(made.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), 24 * 3600);
  X509_set_pubkey(made.get(), key.get());
  X509_NAME_add_entry_by_txt(
      X509_get_subject_name(made.get()), "CN", MBSTRING_UTF8,
      reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  Certificate issuer;
  Key issuer_key;
  if (authority != nullptr) {
    issuer.reset(PEM_read_bio_X509(
        Bio(BIO_new_mem_buf(authority->certificate.c_str(), -1)).get(), nullptr,
        nullptr, nullptr));
    issuer_key.reset(PEM_read_bio_PrivateKey(
        Bio(BIO_new_mem_buf(authority->key.c_str(), -1)).get(), nullptr,
        nullptr, nullptr));
  }
  X509* by = issuer == nullptr ? made.get() : issuer.get();
  X509_set_issuer_name(made.get(), X509_get_subject_name(by));
  Extend(made.get(), by, NID_basic_constraints,
         issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  if (issuer != nullptr) {
    Extend(made.get(), by, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
  }
  X509_sign(made.get(), issuer == nullptr ? key.get() : issuer_key.get(),
            EVP_sha256());
  const Bio certificate(BIO_new(BIO_s_mem()));
  const Bio private_key(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(certificate.get(), made.get());
  PEM_write_bio_PrivateKey(private_key.get(), key.get(), nullptr, nullptr, 0,
                           nullptr, nullptr);
  return {Text(certificate.get()), Text(private_key.get())};
}

}  // namespace

TestIdentity MakeAuthority(const std::string& name) {
  return Make(name, nullptr);
}

TestIdentity MakeIdentity(const std::string& name,
                          const TestIdentity& authority) {
  return Make(name, &authority);
}

}  // namespace fff::rpc
