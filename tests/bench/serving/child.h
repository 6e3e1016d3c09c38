#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

// A server process under measurement.
namespace fff::bench {

// Starts a program and waits for the line of its standard error that names its
// port. Ends the process when destroyed. Exits this program with a message when
// the other does not start.
class Child {
 public:
  // `line` is what stands before HOST:PORT, such as "listening grpc=".
  Child(const std::vector<std::string>& command, const std::string& line);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  const std::string& target() const { return target_; }
  // From before the fork to the line being read.
  double startup_ms() const { return startup_ms_; }
  int64_t resident_bytes() const;
  // User and system time of the process so far.
  double cpu_seconds() const;

 private:
  void AwaitTarget(int fd, const std::string& line);

  pid_t pid_ = -1;
  int stderr_ = -1;
  std::string target_;
  double startup_ms_ = 0;
};

}  // namespace fff::bench
