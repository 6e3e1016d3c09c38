#pragma once

#include "absl/strings/string_view.h"

namespace fff::importer {

// The line, from 1, at which a key or an element of an array begins in a valid
// JSON text. `path` is as JsonFields::PathOf writes it:
// "layers[1].activation". 0 when there is no such place.
int LineOf(absl::string_view json, absl::string_view path);

}  // namespace fff::importer
