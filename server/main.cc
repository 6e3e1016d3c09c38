#include "server/app/application.h"
#include "server/app/config.h"
#include "server/app/signals.h"

int main(int argc, char** argv) {
  fff::app::BlockSignals();
  fff::app::Config config;
  const fff::app::EarlyExit early = fff::app::ParseConfig(argc, argv, config);
  if (early.exit) return early.exit_code;
  return fff::app::RunServer(config);
}
