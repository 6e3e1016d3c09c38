#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

// Content that people put where a checkpoint is wanted, told by its first bytes
// or, of a zip archive, by the names in it.
namespace fff::checkpoint {

// As many bytes of the file's beginning as DescribeForeign looks at.
inline constexpr size_t kForeignBytes = 1024;

// A sentence for a message, "this is a Git LFS pointer, ...; run git lfs pull";
// empty when it is none that is known. `text` is the file or its beginning,
// which is neither a zip archive nor a safetensors header nor a pickle.
std::string DescribeForeign(absl::string_view text);

// The same for the entries of a zip archive; empty for what may be an archive
// of torch.save.
std::string DescribeForeignZip(absl::Span<const absl::string_view> names);

}  // namespace fff::checkpoint
