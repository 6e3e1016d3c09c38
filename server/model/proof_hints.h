#pragma once

#include <string>

#include "server/model/example.h"
#include "server/model/model.h"
#include "server/model/proof.h"
#include "server/model/version_files.h"

namespace fff::model {

// Follows the message of a proof that failed: other values for config.json with
// which the network reproduces its example. Tries every key that no tensor
// tells (activations, ties, conventions, epsilons, the layout of attention,
// pooling) with its other values, in all layers of a type and in each alone.
// Builds a network per try, bounded by their number and by the size of the
// weights. Never empty: says also that nothing was found, or why nothing was
// tried.
std::string ProofHints(const VersionFiles& files, const Model& model,
                       const Example& example, const Rounding& rounding);

// Logs what each layer makes of the example's first row, so that a person can
// hold that against the code that trained it.
void LogLayers(const std::string& version_dir, const Model& model,
               const Example& example);

}  // namespace fff::model
