#include "server/checkpoint/foreign_content.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/log.h"
#include "server/base/utf8.h"

namespace fff::checkpoint {
namespace {

constexpr absl::string_view kUnpack = "; unpack it";
constexpr absl::string_view kExportPyTorch =
    "; serve the PyTorch weights that it was made from: python -m "
    "fff_client.export";
constexpr absl::string_view kToSafetensors =
    "; write its arrays with safetensors.numpy.save_file";
constexpr absl::string_view kStateDict =
    "; save the state_dict: torch.save(module.state_dict(), path)";

struct Magic {
  size_t at;
  absl::string_view bytes;
  absl::string_view what;
  absl::string_view way_out;
};

// Sources: RFC 1952 (gzip), the .xz specification 2.1.1, bzip2's manual, RFC
// 8878 (zstd), lz4_Frame_format.md, 7zFormat.txt; HDF5's specification III.A,
// numpy.lib.format, ggml's gguf.md, ONNX Runtime's and TensorFlow Lite's
// flatbuffer identifiers.
constexpr Magic kMagics[] = {
    {0, "\x1f\x8b", "gzip", kUnpack},
    {0,
     absl::string_view("\xfd"
                       "7zXZ\0",
                       6),
     "xz", kUnpack},
    {0, "BZh", "bzip2", kUnpack},
    {0, "\x28\xb5\x2f\xfd", "zstd", kUnpack},
    {0, "\x04\x22\x4d\x18", "lz4", kUnpack},
    {0, "7z\xbc\xaf\x27\x1c", "a 7z archive", kUnpack},
    {0, "Rar!\x1a\x07", "a RAR archive", kUnpack},
    {0, "GGUF", "GGUF, of llama.cpp", kExportPyTorch},
    {0, "lmgg", "GGML, of llama.cpp", kExportPyTorch},
    {0, "tjgg", "GGML, of llama.cpp", kExportPyTorch},
    {0, "\x89HDF\r\n\x1a\n", "HDF5 (Keras writes such files)", kToSafetensors},
    {0, "\x93NUMPY", "an array of numpy (.npy)", kToSafetensors},
    {4, "ORTM", "a model of ONNX Runtime", kExportPyTorch},
    {4, "TFL3", "a model of TensorFlow Lite", kToSafetensors},
    {0, "\x89PNG\r\n", "a PNG picture", ""},
    {0, "\xff\xd8\xff", "a JPEG picture", ""},
    {0, "%PDF-", "a PDF document", ""},
    {0,
     "\x7f"
     "ELF",
     "a program or library (ELF)", ""},
    {0, "SQLite format 3", "an SQLite database", ""},
};

bool IsOneOf(char c, absl::string_view choices) {
  return absl::StrContains(choices, c);
}

// A protobuf whose first field is ir_version and whose second is one of
// ModelProto (onnx.proto3), all of wire type 0 or 2.
bool IsOnnx(absl::string_view text) {
  return text.size() > 4 && text[0] == '\x08' && text[1] >= 1 &&
         text[1] <= 32 &&
         IsOneOf(text[2],
                 absl::string_view("\x12\x1a\x22\x28\x32\x3a\x42\x72", 8));
}

// SavedModel (saved_model.proto): the schema version 1, then a graph.
bool IsSavedModel(absl::string_view text) {
  return absl::StartsWith(text, "\x08\x01\x12");
}

// A TFRecord whose first event says its version (event.proto).
bool IsEvents(absl::string_view text) {
  return absl::StrContains(text.substr(0, 64), "brain.Event:");
}

// A msgpack map of a few strings, as flax.serialization writes it.
bool IsMsgpackMap(absl::string_view text) {
  return text.size() > 3 && (text[0] & 0xf0) == 0x80 &&
         (text[1] & 0xe0) == 0xa0 &&
         absl::ascii_isalpha(static_cast<unsigned char>(text[2])) &&
         absl::ascii_isalpha(static_cast<unsigned char>(text[3]));
}

bool IsZeros(absl::string_view text) {
  return text.size() > 8 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c == 0; });
}

// The last character may be cut off.
bool IsText(absl::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = base::Utf8CharacterBytes(text.substr(at));
    if (bytes == 0) return text.size() - at < 4 && at > 0;
    const auto c = static_cast<unsigned char>(text[at]);
    if (c < 0x20 && !absl::ascii_isspace(c)) return false;
    at += bytes;
  }
  return true;
}

std::string DescribeText(absl::string_view text) {
  absl::string_view body = text;
  absl::ConsumePrefix(&body, "\xef\xbb\xbf");
  body = absl::StripLeadingAsciiWhitespace(body);
  if (absl::StartsWith(body, "version https://git-lfs.github.com/spec/") ||
      absl::StartsWith(body, "version https://hawser.github.com/spec/")) {
    return "this is a Git LFS pointer, not the file itself; fetch that with "
           "git lfs pull, or download it again";
  }
  if (absl::StartsWith(body, "/annex/objects/") ||
      absl::StartsWith(body, "../.git/annex/objects/")) {
    return "this is a git-annex pointer, not the file itself; fetch that with "
           "git annex get";
  }
  if (absl::StartsWith(body, "outs:") && absl::StrContains(body, "md5:")) {
    return "this is a DVC pointer, not the file itself; fetch that with dvc "
           "pull";
  }
  const std::string lower = absl::AsciiStrToLower(body.substr(0, 64));
  if (absl::StartsWith(lower, "<?xml") || absl::StartsWith(lower, "<error")) {
    return "this is an XML document, as stores answer with errors; download "
           "the file again";
  }
  if (absl::StartsWith(body, "<")) {
    return "this is a web page (HTML), not the file itself: a download that "
           "wanted a log-in or a confirmation; download it again";
  }
  if (absl::StartsWith(body, "{") || absl::StartsWith(body, "[")) {
    return absl::StrContains(body, "\"weight_map\"")
               ? "this is JSON, an index of shards; name it "
                 "model.safetensors.index.json or "
                 "pytorch_model.bin.index.json"
               : "this is JSON, not a checkpoint";
  }
  return absl::StrCat("this is text, which begins with \"",
                      base::Printable(body, 40), "\", not a checkpoint");
}

bool AnyEndsWith(absl::Span<const absl::string_view> names,
                 absl::string_view ending) {
  return std::any_of(names.begin(), names.end(), [&](absl::string_view name) {
    return absl::EndsWith(name, ending);
  });
}

bool AnyContains(absl::Span<const absl::string_view> names,
                 absl::string_view part) {
  return std::any_of(names.begin(), names.end(), [&](absl::string_view name) {
    return absl::StrContains(name, part);
  });
}

// "constants.pkl" of the top level or of one folder.
bool HasFile(absl::Span<const absl::string_view> names,
             absl::string_view file) {
  return std::any_of(names.begin(), names.end(), [&](absl::string_view name) {
    return name == file || absl::EndsWith(name, absl::StrCat("/", file));
  });
}

// The entry that is a checkpoint by its name.
std::string CheckpointInside(absl::Span<const absl::string_view> names) {
  for (const absl::string_view ending :
       {".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".tar"}) {
    for (const absl::string_view name : names) {
      if (absl::EndsWith(name, ending)) return std::string(name);
    }
  }
  return "";
}

}  // namespace

std::string DescribeForeign(absl::string_view text) {
  text = text.substr(0, kForeignBytes);
  if (text.empty()) return "this file is empty; copy it again";
  for (const Magic& magic : kMagics) {
    if (text.size() >= magic.at &&
        absl::StartsWith(text.substr(magic.at), magic.bytes)) {
      return absl::StrCat("this is ", magic.what, ", not a checkpoint",
                          magic.way_out);
    }
  }
  if (IsSavedModel(text)) {
    return absl::StrCat("this is a SavedModel of TensorFlow", kToSafetensors);
  }
  if (IsOnnx(text)) {
    return absl::StrCat("this is an ONNX model", kExportPyTorch);
  }
  if (IsEvents(text)) return "this is a log of TensorBoard, not a checkpoint";
  if (IsMsgpackMap(text)) {
    return absl::StrCat("this is msgpack (Flax writes such files)",
                        kToSafetensors);
  }
  if (IsZeros(text)) {
    return "this begins with zero bytes only: it was never written in full; "
           "copy it again";
  }
  return IsText(text) ? DescribeText(text) : "";
}

std::string DescribeForeignZip(absl::Span<const absl::string_view> names) {
  if (names.empty()) return "";
  if (HasFile(names, "constants.pkl") ||
      AnyContains(names, "/code/__torch__")) {
    return "this is TorchScript (torch.jit.save), a program; save its weights: "
           "torch.save(torch.jit.load(path).state_dict(), path)";
  }
  if (HasFile(names, "archive_format") ||
      HasFile(names, "serialized_exported_program.json") ||
      AnyContains(names, "data/aotinductor/")) {
    return "this is a .pt2 of torch.export or AOTInductor, a program; save its "
           "weights: torch.save(torch.export.load(path).state_dict, path)";
  }
  if (AnyContains(names, ".data/extern_modules")) {
    return absl::StrCat("this is an archive of torch.package, a program",
                        kStateDict);
  }
  if (std::all_of(names.begin(), names.end(), [](absl::string_view name) {
        return absl::EndsWith(name, ".npy");
      })) {
    return absl::StrCat("this is .npz, arrays of numpy", kToSafetensors);
  }
  if (AnyEndsWith(names, "model.weights.h5")) {
    return absl::StrCat("this is a model of Keras (.keras)", kToSafetensors);
  }
  if (AnyEndsWith(names, "saved_model.pb")) {
    return absl::StrCat("this is a zip archive of a SavedModel of TensorFlow",
                        kToSafetensors);
  }
  if (HasFile(names, "data.pkl")) return "";
  const std::string inside = CheckpointInside(names);
  if (!inside.empty()) {
    return absl::StrCat("this is a zip archive of \"", base::Printable(inside),
                        "\"", kUnpack);
  }
  return absl::StrCat("this is a zip archive of ", names.size(),
                      " files, the first \"", base::Printable(names[0]),
                      "\", and not a torch archive: none is a data.pkl");
}

}  // namespace fff::checkpoint
