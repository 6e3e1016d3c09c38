#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

// What somebody who wrote a name wrong may have meant. Pure functions.
namespace fff::base {

// The `names` that are nearest to `text`, in their order: those of the fewest
// edits (a character more, less or another, or two swapped), where that is at
// most a third of `text`. Else those of which `text` is a part between dashes,
// underscores or dots, like "port" of "grpc-port". Case does not count. Empty
// where none is near.
std::vector<std::string> NearMatches(absl::string_view text,
                                     absl::Span<const std::string> names);

// "; did you mean "a" or "b"?", "" without near matches. For the end of a
// message.
std::string DidYouMean(absl::string_view text,
                       absl::Span<const std::string> names);

// A line for each of the arguments that a command line did not expect. Of
// arguments that begin with "-", only those count: the others may be their
// values. `known` are the options ("--port") or commands there are.
std::string ExplainUnexpected(absl::Span<const std::string> unexpected,
                              absl::Span<const std::string> known);

}  // namespace fff::base
