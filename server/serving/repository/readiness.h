#pragma once

#include <string>
#include <vector>

namespace fff::serving {

// When the server as a whole wants traffic, as its operator says.
struct ReadyWhen {
  enum class Models {
    kAll,    // every required model is ready
    kAny,    // one model is ready
    kNamed,  // the models of `names` are ready
  };
  Models models = Models::kAll;
  std::vector<std::string> names;
  // Under kAll, whether a server that has served no model yet may be ready.
  bool allow_empty = true;
};

// {"all"} and {"any"} are what they say, anything else is names.
ReadyWhen ReadyWhenOf(const std::vector<std::string>& words, bool allow_empty);

struct ModelReadiness {
  std::string name;
  bool required = false;  // there at the start, or served since
  bool ready = false;     // its default version is loaded
};

// "" when the server is ready, else why it is not. `has_served`: some model was
// ready at some time. A pure function.
std::string WhyNotReady(const ReadyWhen& when,
                        const std::vector<ModelReadiness>& models,
                        bool has_served);

}  // namespace fff::serving
