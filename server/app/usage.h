#pragma once

#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/types/span.h"

// Words that the server does not know, on its command line and in its
// environment.
namespace fff::app {

// A warning for each variable of the environment ("NAME=value") whose name
// begins with FFF_ and is none of `known`. Those of the clients, and those that
// Kubernetes sets for a Service named fff-..., are no mistakes.
std::vector<std::string> UnknownVariables(
    absl::Span<const std::string> environment,
    absl::Span<const std::string> known);

// The process's environment.
std::vector<std::string> ProcessEnvironment();

// "--grpc-port" and "FFF_GRPC_PORT" of every option.
std::vector<std::string> OptionNames(const CLI::App& app);
std::vector<std::string> VariableNames(const CLI::App& app);

// Throws CLI::ValidationError at --host=, what a script's empty variable
// leaves: CLI11 would take the next argument for the value.
void RefuseEmptyValues(int argc, const char* const* argv);

}  // namespace fff::app
