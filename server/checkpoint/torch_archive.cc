#include "server/checkpoint/torch_archive.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/foreign_content.h"
#include "server/checkpoint/pickle.h"
#include "server/checkpoint/state_dict.h"
#include "server/checkpoint/state_dict_choice.h"
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
  // `checked`: the pickle's CRC was right.
  Materializer(const Records& records, uint64_t archive_bytes, bool checked)
      : records_(records),
        checked_(checked),
        view_bytes_left_(archive_bytes * kViewRatioMax + kViewSlackBytes) {}

  absl::StatusOr<NamedTensor> Tensor(const PickleTensor& tensor);
  // A tensor of rank 0.
  template <typename T>
  NamedTensor Scalar(tensor::DataType type, T value);

  // Wants that all tensors were made. Errors: their data were skipped.
  absl::Status CheckData() const {
    if (checked_ || !zeros_ || data_) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "every tensor holds nothing but zero bytes, and the archive has no "
        "CRCs: it was saved without its data (torch.serialization.skip_data); "
        "save it again");
  }

 private:
  absl::StatusOr<OwnedBytes> Storage(const PickleStorage& storage);
  absl::Status CheckSkipped(const PickleStorage& storage,
                            const OwnedBytes& bytes);
  // Memory that the tensor, whose bytes it will be, keeps.
  absl::Span<std::byte> Allocate(size_t bytes, NamedTensor& tensor);

  const Records& records_;
  const bool checked_;
  bool zeros_ = false;  // a storage holds nothing but zero bytes
  bool data_ = false;   // a storage holds others
  uint64_t view_bytes_left_;
  std::map<std::string, OwnedBytes, std::less<>> storages_;
};

absl::Span<std::byte> Materializer::Allocate(size_t bytes,
                                             NamedTensor& tensor) {
  const std::shared_ptr<std::byte[]> data(new std::byte[bytes]);
  tensor.bytes = {data.get(), bytes};
  tensor.owner = data;
  return {data.get(), bytes};
}

template <typename T>
NamedTensor Materializer::Scalar(tensor::DataType type, T value) {
  NamedTensor scalar = {type, {}, {}};
  std::memcpy(Allocate(sizeof(value), scalar).data(), &value, sizeof(value));
  scalar.optional = true;
  return scalar;
}

// The rule of torch_archive.h.
absl::Status Materializer::CheckSkipped(const PickleStorage& storage,
                                        const OwnedBytes& bytes) {
  const bool zero = absl::c_all_of(
      bytes.span(), [](std::byte byte) { return byte == std::byte{0}; });
  (zero ? zeros_ : data_) = true;
  if (!checked_ || !bytes.unchecked || !zero) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "storage \"", base::Printable(storage.key),
      "\" holds nothing but zero bytes and has no CRC: its data were skipped "
      "when the file was saved (torch.serialization.skip_data); save it "
      "again"));
}

absl::StatusOr<OwnedBytes> Materializer::Storage(const PickleStorage& storage) {
  auto found = storages_.find(storage.key);
  if (found == storages_.end()) {
    FFF_ASSIGN_OR_RETURN(
        OwnedBytes bytes,
        records_.Read(absl::StrCat("data/", storage.key), kInflatedBytesMax));
    if (bytes.size > 0 && (!checked_ || bytes.unchecked)) {
      FFF_RETURN_IF_ERROR(CheckSkipped(storage, bytes));
    }
    found = storages_.emplace(std::string(storage.key), std::move(bytes)).first;
  }
  const uint64_t wanted = static_cast<uint64_t>(storage.numel) *
                          tensor::ByteWidth(storage.data_type);
  if (found->second.size == wanted) return found->second;
  return absl::InvalidArgumentError(absl::StrCat(
      "storage \"", base::Printable(storage.key), "\" has ", found->second.size,
      " bytes, but ", storage.numel, " elements of ",
      tensor::Name(storage.data_type), " take ", wanted));
}

absl::StatusOr<NamedTensor> Materializer::Tensor(const PickleTensor& tensor) {
  const tensor::DataType type = tensor.storage.data_type;
  if (!tensor.unreadable.empty()) {
    return NamedTensor{type, tensor.view.shape, {}, tensor.unreadable};
  }
  const size_t width = tensor::ByteWidth(type);
  FFF_ASSIGN_OR_RETURN(const OwnedBytes storage, Storage(tensor.storage));
  FFF_ASSIGN_OR_RETURN(const int64_t elements,
                       tensor::NumElements(tensor.view.shape));
  const size_t bytes = static_cast<size_t>(elements) * width;
  if (bytes == 0) return NamedTensor{type, tensor.view.shape, {}};
  if (IsContiguous(tensor.view)) {
    const size_t begin = static_cast<size_t>(tensor.view.offset) * width;
    NamedTensor view = {type, tensor.view.shape,
                        storage.span().subspan(begin, bytes)};
    view.owner = storage.data;
    return view;
  }
  if (bytes > view_bytes_left_) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shape ", tensor::ToString(tensor.view.shape), " with strides ",
        tensor::ToString(tensor.view.strides), " takes ", bytes,
        " bytes; copies of views have ", view_bytes_left_, " left"));
  }
  view_bytes_left_ -= bytes;
  NamedTensor copy = {type, tensor.view.shape, {}};
  CopyStrided(tensor.view, width, storage.span(), Allocate(bytes, copy));
  return copy;
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

std::vector<absl::string_view> Names(const ZipArchive& archive) {
  std::vector<absl::string_view> names;
  for (const auto& [name, entry] : archive.entries()) names.push_back(name);
  return names;
}

// The archive and its pickle, whose values point into it.
struct Contents {
  ZipArchive archive;
  std::string prefix;
  OwnedBytes pickle;
  Unpickled unpickled;
};

absl::StatusOr<Contents> OpenContents(absl::Span<const std::byte> bytes) {
  FFF_ASSIGN_OR_RETURN(ZipArchive archive, ZipArchive::Open(bytes));
  const std::string foreign = DescribeForeignZip(Names(archive));
  if (!foreign.empty()) return absl::InvalidArgumentError(foreign);
  FFF_ASSIGN_OR_RETURN(std::string prefix, FindPrefix(archive));
  const Records records(archive, prefix);
  FFF_RETURN_IF_ERROR(CheckByteOrder(records));
  FFF_RETURN_IF_ERROR(CheckVersion(records));
  FFF_ASSIGN_OR_RETURN(OwnedBytes pickle,
                       records.Read(kPickleName, kPickleBytesMax));
  FFF_ASSIGN_OR_RETURN(Unpickled unpickled, Unpickle(pickle.span()));
  return Contents{std::move(archive), std::move(prefix), std::move(pickle),
                  std::move(unpickled)};
}

}  // namespace

absl::StatusOr<Checkpoint> ParseTorchArchive(const std::string& source,
                                             absl::Span<const std::byte> bytes,
                                             absl::string_view entry) {
  FFF_ASSIGN_OR_RETURN(const Contents contents, OpenContents(bytes));
  const Records records(contents.archive, contents.prefix);
  FFF_ASSIGN_OR_RETURN(StateDict state,
                       ReadStateDict(contents.unpickled, entry));
  Materializer materializer(records, bytes.size(), !contents.pickle.unchecked);
  Checkpoint::TensorMap tensors;
  for (const StateEntry& named : state.entries) {
    absl::StatusOr<NamedTensor> tensor =
        ToTensor(contents.unpickled.heap, named, materializer);
    if (!tensor.ok()) {
      return base::Annotate(
          tensor.status(),
          absl::StrCat("tensor \"", base::Printable(named.name), "\""));
    }
    tensors.emplace(named.name, *std::move(tensor));
  }
  FFF_RETURN_IF_ERROR(materializer.CheckData());
  return Checkpoint(source, "torch", std::move(tensors), nullptr,
                    std::move(state.others));
}

std::string DescribeZip(absl::Span<const std::byte> bytes) {
  const absl::StatusOr<ZipArchive> archive = ZipArchive::Open(bytes);
  return archive.ok() ? DescribeForeignZip(Names(*archive)) : "";
}

absl::Status CheckTorchWeights(absl::Span<const std::byte> bytes) {
  FFF_ASSIGN_OR_RETURN(const Contents contents, OpenContents(bytes));
  const PickleHeap& heap = contents.unpickled.heap;
  FFF_ASSIGN_OR_RETURN(const StateDict state,
                       ReadStateDict(contents.unpickled));
  for (const StateEntry& entry : state.entries) {
    const auto* ref = std::get_if<PickleTensorRef>(&entry.value);
    if (ref != nullptr && IsMatrix(heap.tensor(*ref))) return absl::OkStatus();
  }
  return absl::NotFoundError("no tensor has two dimensions");
}

}  // namespace fff::checkpoint
