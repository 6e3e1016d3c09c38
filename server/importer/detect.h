#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/importer/conventions.h"
#include "server/importer/fff_shape.h"

// Which convention a checkpoint follows, told by names and ranks alone. Pure
// functions.
//
// What each convention is recognised by:
//   master-leaf        magic_w1
//   fastfeedforward    node_weights, or w1s of rank 3, and no magic_w1
//   ultrafastbert      linear_in.weight or linear_out.weight
//   ultrafastbert-bmm  w1s and w2s of rank 2, and no node_weights
//   sap-fff            X and Y of rank 2
// fastfeedforward-0.2.1 has fastfeedforward's tensors and other arithmetic, so
// it is never detected.
namespace fff::importer {

// Every detectable convention that the names and ranks fit, in table order.
std::vector<const Convention*> ConventionsThatFit(const TensorShapes& tensors);

// What config.json says that narrows the choice.
struct DetectionHints {
  const Convention* convention = nullptr;  // named explicitly
  std::optional<Family> family;
  std::optional<int64_t> trees;
};

// The one convention that fits. INVALID_ARGUMENT when none does (the message
// shows tensors and what is recognised) or several do (the message lists which
// `convention` values fit, shapes included, and which do not and why).
absl::StatusOr<const Convention*> DetectConvention(const TensorShapes& tensors,
                                                   const DetectionHints& hints);

// The prefix of the one FFF layer in `tensors`: "" when its tensors stand
// there bare, otherwise the only prefix (ending in ".") under which a
// convention, or the one that was named, fits. INVALID_ARGUMENT when several
// prefixes fit; the message lists them. "" when none does: DetectConvention
// then tells what was found.
absl::StatusOr<std::string> DetectPrefix(const TensorShapes& tensors,
                                         const DetectionHints& hints);

}  // namespace fff::importer
