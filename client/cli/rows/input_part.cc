#include "client/cli/rows/input_part.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/formats/npz.h"
#include "server/base/status_macros.h"

namespace fff::cli {
namespace {

// An array of the archive, for the input of that name; "": the first.
struct Choice {
  NpzArchive::Array array;
  std::string port;
};

absl::Status KeyOfNoArchive(const InputArgument& argument) {
  return absl::InvalidArgumentError(
      absl::StrCat(argument.file, ": got the key '", argument.key,
                   "', wanted a .npz archive before it"));
}

std::string PortNamed(const v1::GetModelResponse& model,
                      const std::string& name) {
  for (const v1::TensorMetadata& port : PortsOf(model)) {
    if (port.name() == name) return name;
  }
  return "";
}

absl::StatusOr<std::vector<Choice>> ChooseArrays(
    const InputArgument& argument, const v1::GetModelResponse& model,
    const NpzArchive& archive) {
  if (!argument.key.empty() || archive.arrays().size() == 1) {
    FFF_ASSIGN_OR_RETURN(NpzArchive::Array array, archive.Choose(argument.key));
    const std::string port =
        argument.name.empty() ? PortNamed(model, array.name) : argument.name;
    return std::vector<Choice>{{std::move(array), port}};
  }
  std::vector<Choice> choices;
  std::vector<std::string> names;
  for (const v1::TensorMetadata& port : PortsOf(model)) {
    if (!argument.name.empty() && argument.name != port.name()) continue;
    names.push_back(port.name());
    const NpzArchive::Array* array = archive.Find(port.name());
    if (array != nullptr) choices.push_back({*array, port.name()});
  }
  if (!choices.empty()) return choices;
  return absl::InvalidArgumentError(
      absl::StrCat("got ", archive.arrays().size(),
                   " arrays, none of them named ", absl::StrJoin(names, " or "),
                   "; choose with [NAME=]FILE:KEY from ", archive.ListText()));
}

}  // namespace

absl::StatusOr<std::vector<InputPart>> SplitInput(
    const InputArgument& argument, const v1::GetModelResponse& model,
    std::string contents) {
  FFF_ASSIGN_OR_RETURN(v1::TensorMetadata named,
                       FindPort(model, argument.name));
  std::vector<InputPart> parts;
  if (!IsZip(contents)) {
    if (!argument.key.empty()) return KeyOfNoArchive(argument);
    parts.push_back({argument, std::move(named), std::move(contents)});
    return parts;
  }
  absl::StatusOr<NpzArchive> archive = NpzArchive::Open(contents);
  if (!archive.ok()) return base::Annotate(archive.status(), argument.file);
  const auto choices = ChooseArrays(argument, model, *archive);
  if (!choices.ok()) return base::Annotate(choices.status(), argument.file);
  for (const Choice& choice : *choices) {
    InputPart part;
    part.argument = {choice.port,
                     absl::StrCat(argument.file, ":", choice.array.name), ""};
    FFF_ASSIGN_OR_RETURN(part.port, FindPort(model, choice.port));
    absl::StatusOr<std::string> npy = archive->Read(choice.array);
    if (!npy.ok()) return base::Annotate(npy.status(), argument.file);
    part.contents = *std::move(npy);
    parts.push_back(std::move(part));
  }
  return parts;
}

absl::StatusOr<std::string> OnlyPart(const InputArgument& argument,
                                     std::string contents) {
  if (!IsZip(contents)) {
    if (!argument.key.empty()) return KeyOfNoArchive(argument);
    return contents;
  }
  absl::StatusOr<NpzArchive> archive = NpzArchive::Open(contents);
  if (!archive.ok()) return base::Annotate(archive.status(), argument.file);
  const auto array = archive->Choose(argument.key);
  if (!array.ok()) return base::Annotate(array.status(), argument.file);
  absl::StatusOr<std::string> npy = archive->Read(*array);
  if (!npy.ok()) return base::Annotate(npy.status(), argument.file);
  return npy;
}

}  // namespace fff::cli
