#include "server/app/application.h"
#include "server/app/config.h"
#include "server/app/signal_wait.h"

int main(int argc, char** argv) {
  fff::app::BlockStopSignals();
  fff::app::Config config;
  const fff::app::EarlyExit early = fff::app::ParseConfig(argc, argv, config);
  if (early.exit) return early.exit_code;
  return fff::app::RunServer(config);
}
