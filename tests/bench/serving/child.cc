#include "tests/bench/serving/child.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace fff::bench {
namespace {

double Milliseconds() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Child::Child(const std::vector<std::string>& command, const std::string& line) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    perror("pipe2");
    exit(1);
  }
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  const double start = Milliseconds();
  pid_ = fork();
  if (pid_ == 0) {
    dup2(ends[1], STDERR_FILENO);
    execv(arguments[0], arguments.data());
    perror(arguments[0]);
    _exit(127);
  }
  close(ends[1]);
  stderr_ = ends[0];
  AwaitTarget(stderr_, line);
  startup_ms_ = Milliseconds() - start;
}

void Child::AwaitTarget(int fd, const std::string& line) {
  std::string text;
  char c = 0;
  while (read(fd, &c, 1) == 1) {
    text.push_back(c);
    const size_t at = text.find(line);
    if (c != '\n' || at == std::string::npos) continue;
    const size_t begin = at + line.size();
    target_ = text.substr(begin, text.find_first_of(" \n", begin) - begin);
    return;
  }
  fprintf(stderr, "a server did not start:\n%s\n", text.c_str());
  exit(1);
}

Child::~Child() {
  kill(pid_, SIGTERM);
  // Its last lines must not block it.
  char buffer[4096];
  while (read(stderr_, buffer, sizeof(buffer)) > 0) {
  }
  close(stderr_);
  waitpid(pid_, nullptr, 0);
}

int64_t Child::resident_bytes() const {
  std::ifstream status(absl::StrCat("/proc/", pid_, "/status"));
  for (std::string line; std::getline(status, line);) {
    if (absl::StartsWith(line, "VmRSS:")) {
      return std::stoll(line.substr(6)) * 1024;
    }
  }
  return 0;
}

double Child::cpu_seconds() const {
  // In nanoseconds; /proc/PID/stat counts in hundredths of a second, which is
  // 2 % of a round.
  clockid_t clock = 0;
  timespec time = {};
  if (clock_getcpuclockid(pid_, &clock) != 0 ||
      clock_gettime(clock, &time) != 0) {
    perror("the CPU time of a server");
    exit(1);
  }
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace fff::bench
