#include "server/checkpoint/torch_archive.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/pickle.h"
#include "server/checkpoint/state_dict.h"
#include "server/checkpoint/zip_archive.h"

namespace fff::checkpoint {
namespace {

constexpr absl::string_view kPickleName = "data.pkl";
constexpr uint64_t kSmallEntryBytesMax = 64;  // byteorder, version

absl::string_view AsText(const OwnedBytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data.get()), bytes.size};
}

// What stands before "data.pkl" in the name of the one entry called so.
absl::StatusOr<std::string> FindPrefix(const ZipArchive& archive) {
  const std::string* found = nullptr;
  for (const auto& [name, entry] : archive.entries()) {
    if (name != kPickleName &&
        !absl::EndsWith(name, absl::StrCat("/", kPickleName))) {
      continue;
    }
    if (found != nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the zip archive has two pickles, \"", base::Printable(*found),
          "\" and \"", base::Printable(name), "\"; want one ", kPickleName));
    }
    found = &name;
  }
  if (found == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a torch archive: none of the ",
                     archive.entries().size(), " entries is a ", kPickleName));
  }
  return found->substr(0, found->size() - kPickleName.size());
}

// Reads entries below one prefix; errors name the entry.
class Records {
 public:
  Records(const ZipArchive& archive, std::string prefix)
      : archive_(archive), prefix_(std::move(prefix)) {}

  bool Has(absl::string_view record) const {
    return archive_.Find(absl::StrCat(prefix_, record)) != nullptr;
  }

  absl::StatusOr<OwnedBytes> Read(absl::string_view record,
                                  uint64_t bytes_max) const {
    const std::string name = absl::StrCat(prefix_, record);
    const std::string context =
        absl::StrCat("zip entry \"", base::Printable(name), "\"");
    const ZipArchive::Entry* entry = archive_.Find(name);
    if (entry == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(context, " is missing"));
    }
    if (entry->size > bytes_max) {
      return absl::InvalidArgumentError(
          absl::StrCat(context, " has ", entry->size, " bytes, at most ",
                       bytes_max, " are allowed"));
    }
    absl::StatusOr<OwnedBytes> bytes = archive_.Read(*entry);
    if (bytes.ok()) return bytes;
    return base::Annotate(bytes.status(), context);
  }

 private:
  const ZipArchive& archive_;
  std::string prefix_;
};

absl::Status CheckByteOrder(const Records& records) {
  if (!records.Has("byteorder")) return absl::OkStatus();
  FFF_ASSIGN_OR_RETURN(const OwnedBytes bytes,
                       records.Read("byteorder", kSmallEntryBytesMax));
  if (absl::StripAsciiWhitespace(AsText(bytes)) == "little") {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("byteorder is \"",
                                                 base::Printable(AsText(bytes)),
                                                 "\", want \"little\""));
}

absl::Status CheckVersion(const Records& records) {
  if (!records.Has("version")) return absl::OkStatus();
  FFF_ASSIGN_OR_RETURN(const OwnedBytes bytes,
                       records.Read("version", kSmallEntryBytesMax));
  int64_t version = 0;
  if (absl::SimpleAtoi(AsText(bytes), &version) && version >= 1 &&
      version <= kTorchVersionMax) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("version is \"", base::Printable(AsText(bytes)),
                   "\", want 1 to ", kTorchVersionMax));
}

// Turns the values of a state_dict into tensors and keeps their memory.
class Materializer {
 public:
  Materializer(const Records& records, uint64_t archive_bytes)
      : records_(records),
        view_bytes_left_(archive_bytes * kViewRatioMax + kViewSlackBytes),
        memory_(std::make_shared<Memory>()) {}

  absl::StatusOr<NamedTensor> Tensor(const PickleTensor& tensor);
  // A tensor of rank 0.
  template <typename T>
  NamedTensor Scalar(tensor::DataType type, T value);

  std::shared_ptr<const void> memory() const { return memory_; }

 private:
  using Memory = std::vector<OwnedBytes>;

  absl::StatusOr<absl::Span<const std::byte>> Storage(
      const PickleStorage& storage);
  absl::Span<std::byte> Allocate(size_t bytes);

  const Records& records_;
  uint64_t view_bytes_left_;
  std::shared_ptr<Memory> memory_;
  std::map<std::string, absl::Span<const std::byte>, std::less<>> storages_;
};

absl::Span<std::byte> Materializer::Allocate(size_t bytes) {
  const std::shared_ptr<std::byte[]> data(new std::byte[bytes]);
  memory_->push_back({data, bytes});
  return {data.get(), bytes};
}

template <typename T>
NamedTensor Materializer::Scalar(tensor::DataType type, T value) {
  const absl::Span<std::byte> bytes = Allocate(sizeof(value));
  std::memcpy(bytes.data(), &value, sizeof(value));
  return {type, {}, bytes};
}

absl::StatusOr<absl::Span<const std::byte>> Materializer::Storage(
    const PickleStorage& storage) {
  auto found = storages_.find(storage.key);
  if (found == storages_.end()) {
    FFF_ASSIGN_OR_RETURN(
        OwnedBytes bytes,
        records_.Read(absl::StrCat("data/", storage.key), kInflatedBytesMax));
    found = storages_.emplace(std::string(storage.key), bytes.span()).first;
    memory_->push_back(std::move(bytes));
  }
  const uint64_t wanted = static_cast<uint64_t>(storage.numel) *
                          tensor::ByteWidth(storage.data_type);
  if (found->second.size() == wanted) return found->second;
  return absl::InvalidArgumentError(absl::StrCat(
      "storage \"", base::Printable(storage.key), "\" has ",
      found->second.size(), " bytes, but ", storage.numel, " elements of ",
      tensor::Name(storage.data_type), " take ", wanted));
}

absl::StatusOr<NamedTensor> Materializer::Tensor(const PickleTensor& tensor) {
  const tensor::DataType type = tensor.storage.data_type;
  const size_t width = tensor::ByteWidth(type);
  FFF_ASSIGN_OR_RETURN(const absl::Span<const std::byte> storage,
                       Storage(tensor.storage));
  FFF_ASSIGN_OR_RETURN(const int64_t elements,
                       tensor::NumElements(tensor.view.shape));
  const size_t bytes = static_cast<size_t>(elements) * width;
  if (bytes == 0) return NamedTensor{type, tensor.view.shape, {}};
  if (IsContiguous(tensor.view)) {
    const size_t begin = static_cast<size_t>(tensor.view.offset) * width;
    return NamedTensor{type, tensor.view.shape, storage.subspan(begin, bytes)};
  }
  if (bytes > view_bytes_left_) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shape ", tensor::ToString(tensor.view.shape), " with strides ",
        tensor::ToString(tensor.view.strides), " takes ", bytes,
        " bytes; copies of views have ", view_bytes_left_, " left"));
  }
  view_bytes_left_ -= bytes;
  const absl::Span<std::byte> copy = Allocate(bytes);
  CopyStrided(tensor.view, width, storage, copy);
  return NamedTensor{type, tensor.view.shape, copy};
}

absl::StatusOr<NamedTensor> ToTensor(const PickleHeap& heap,
                                     const StateEntry& entry,
                                     Materializer& materializer) {
  if (const auto* integer = std::get_if<int64_t>(&entry.value)) {
    return materializer.Scalar(tensor::DataType::kI64, *integer);
  }
  if (const auto* number = std::get_if<double>(&entry.value)) {
    return materializer.Scalar(tensor::DataType::kF64, *number);
  }
  const auto ref = std::get<PickleTensorRef>(entry.value);
  return materializer.Tensor(heap.tensor(ref));
}

}  // namespace

absl::StatusOr<Checkpoint> ParseTorchArchive(
    const std::string& source, absl::Span<const std::byte> bytes) {
  FFF_ASSIGN_OR_RETURN(const ZipArchive archive, ZipArchive::Open(bytes));
  FFF_ASSIGN_OR_RETURN(std::string prefix, FindPrefix(archive));
  const Records records(archive, std::move(prefix));
  FFF_RETURN_IF_ERROR(CheckByteOrder(records));
  FFF_RETURN_IF_ERROR(CheckVersion(records));
  FFF_ASSIGN_OR_RETURN(const OwnedBytes pickle,
                       records.Read(kPickleName, kPickleBytesMax));
  FFF_ASSIGN_OR_RETURN(const Unpickled unpickled, Unpickle(pickle.span()));
  FFF_ASSIGN_OR_RETURN(const std::vector<StateEntry> entries,
                       ReadStateDict(unpickled));
  Materializer materializer(records, bytes.size());
  Checkpoint::TensorMap tensors;
  for (const StateEntry& entry : entries) {
    absl::StatusOr<NamedTensor> tensor =
        ToTensor(unpickled.heap, entry, materializer);
    if (!tensor.ok()) {
      return base::Annotate(
          tensor.status(),
          absl::StrCat("tensor \"", base::Printable(entry.name), "\""));
    }
    tensors.emplace(std::string(entry.name), *std::move(tensor));
  }
  return Checkpoint(source, "torch", std::move(tensors), materializer.memory());
}

}  // namespace fff::checkpoint
