#pragma once

#include <string>

#include "server/model/example.h"
#include "server/model/model.h"
#include "server/model/proof.h"
#include "server/model/version_files.h"

namespace fff::model {

// What could be said in config.json instead so that the network reproduces its
// example, to follow the message of a proof that failed: every key that no
// tensor tells (activations, ties, conventions, epsilons, the layout of
// attention, pooling) is tried with its other values, in all layers of a type
// and in each alone. Builds a network per try: bounded by their number and by
// the size of the weights. Never empty: says also that nothing was found, or
// why nothing was tried.
std::string ProofHints(const VersionFiles& files, const Model& model,
                       const Example& example, const Rounding& rounding);

// Logs what each layer makes of the example's first row, so that a person can
// hold that against the code that trained it.
void LogLayers(const std::string& version_dir, const Model& model,
               const Example& example);

}  // namespace fff::model
