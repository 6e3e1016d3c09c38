#pragma once

#include <string>
#include <vector>

#include "tests/bench/serving/child.h"
#include "tests/bench/serving/load.h"

// Clients that are processes of their own, all at the same time: one process
// polls all of its sockets together, so its threads would wake each other.
namespace fff::bench {

// What a client process is told on its command line.
struct ClientTask {
  std::string target;
  std::string method;
  std::string request_file;
  int outstanding = 1;
  double start = 0;  // Unix time, in seconds
  double seconds = 1;

  std::vector<std::string> Flags() const;
};

// Of all clients together.
struct ClientsResult {
  double rate = 0;
  double p50_us = 0;  // the median of the clients'
  double p99_us = 0;  // the largest
  double cpu_us = 0;  // of the server, per request
  double busy = 0;    // CPU seconds of the server per second
  int64_t errors = 0;
};

// In the client's process: one thread, `outstanding` unary calls over
// connections of its own. Prints its result on standard output.
int RunClient(const ClientTask& task);

// Starts `clients` processes of the program `self` and measures `server` while
// they call it. Exits the program when one of them fails.
ClientsResult RunClients(const std::string& self, const Child& server,
                         ClientTask task, int clients);

}  // namespace fff::bench
