#include "server/rpc/access/tls_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <fstream>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace fff::rpc {
namespace {

constexpr size_t kPemBytesMax = 1 << 20;

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Bio = std::unique_ptr<BIO, Free>;
using Certificate = std::unique_ptr<X509, Free>;
using Key = std::unique_ptr<EVP_PKEY, Free>;

Bio Reader(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// A key with a passphrase must not make the server ask its terminal.
int NoPassphrase(char*, int, int, void*) { return 0; }

absl::StatusOr<std::string> ReadPem(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  }
  std::string text(kPemBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.empty() || text.size() > kPemBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, text.empty() ? ": is empty" : ": is larger than 1 MiB"));
  }
  return text;
}

// The first certificate of the text; every block after it must be one as well.
absl::StatusOr<Certificate> ParseChain(const std::string& text,
                                       const std::string& path) {
  constexpr int kCertificatesMax = 1000;
  const Bio reader = Reader(text);
  Certificate first(
      PEM_read_bio_X509(reader.get(), nullptr, NoPassphrase, nullptr));
  bool good = first != nullptr;
  for (int i = 1; good; ++i) {
    const Certificate next(
        PEM_read_bio_X509(reader.get(), nullptr, NoPassphrase, nullptr));
    if (next == nullptr) {
      good = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
      break;
    }
    good = i < kCertificatesMax;
  }
  ERR_clear_error();
  if (good) return first;
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": is not a text of PEM certificates"));
}

std::string Describe(X509& certificate) {
  char subject[256] = "";
  X509_NAME_oneline(X509_get_subject_name(&certificate), subject,
                    sizeof(subject));
  const Bio out(BIO_new(BIO_s_mem()));
  ASN1_TIME_print(out.get(), X509_get0_notAfter(&certificate));
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return absl::StrCat("subject=\"", base::Printable(subject), "\" not_after=\"",
                      absl::string_view(text, static_cast<size_t>(size)), "\"");
}

std::string FileIdentity(const std::string& path) {
  struct stat info;
  if (path.empty() || stat(path.c_str(), &info) != 0) return "none";
  return absl::StrCat(info.st_size, ":", info.st_mtim.tv_sec, ".",
                      info.st_mtim.tv_nsec, ":", info.st_dev, ".", info.st_ino);
}

}  // namespace

absl::StatusOr<TlsTexts> ReadTlsFiles(const TlsFiles& files) {
  TlsTexts texts;
  FFF_ASSIGN_OR_RETURN(texts.certificate, ReadPem(files.certificate));
  FFF_ASSIGN_OR_RETURN(const Certificate certificate,
                       ParseChain(texts.certificate, files.certificate));
  FFF_ASSIGN_OR_RETURN(texts.key, ReadPem(files.key));
  const Key key(PEM_read_bio_PrivateKey(Reader(texts.key).get(), nullptr,
                                        NoPassphrase, nullptr));
  const bool match =
      key != nullptr && X509_check_private_key(certificate.get(), key.get());
  ERR_clear_error();
  if (key == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        files.key, ": is not a PEM private key without a passphrase"));
  }
  if (!match) {
    return absl::InvalidArgumentError(absl::StrCat(
        files.key, ": is not the key of the certificate ", files.certificate));
  }
  if (!files.client_ca.empty()) {
    FFF_ASSIGN_OR_RETURN(texts.client_ca, ReadPem(files.client_ca));
    FFF_RETURN_IF_ERROR(ParseChain(texts.client_ca, files.client_ca).status());
  }
  texts.description = Describe(*certificate);
  return texts;
}

std::string TlsFilesIdentity(const TlsFiles& files) {
  return absl::StrCat(FileIdentity(files.certificate), " ",
                      FileIdentity(files.key), " ",
                      FileIdentity(files.client_ca));
}

}  // namespace fff::rpc
