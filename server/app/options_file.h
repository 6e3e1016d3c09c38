#pragma once

#include <CLI/App.hpp>
#include <istream>
#include <vector>

namespace fff::app {

// How CLI11 reads the file of --config. A key that is no option is an error
// that names file, line and the nearest key; all of them are named at once.
// CLI11 alone would say that it "was not able to parse" the first.
class OptionsFile : public CLI::ConfigTOML {
 public:
  // The options that `app` has when the file is read; it outlives this.
  explicit OptionsFile(CLI::App* app) : app_(app) {}

  // Throws CLI::ConfigError.
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;

 private:
  CLI::App* const app_;
};

}  // namespace fff::app
