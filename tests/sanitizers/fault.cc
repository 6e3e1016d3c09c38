// Commits one fault on purpose, so that a test can see that the sanitizer of
// the preset is awake. Usage: sanitizer_fault race|leak|use-after-free|overflow
#include <cstdlib>
#include <cstring>
#include <limits>
#include <thread>

namespace {

void Race() {
  int value = 0;
  std::thread other([&value] { ++value; });
  ++value;
  other.join();
}

void Leak() {
  char* volatile memory = static_cast<char*>(std::malloc(77));
  memory[0] = 1;
  memory = nullptr;
}

int UseAfterFree() {
  volatile char* memory = static_cast<char*>(std::malloc(77));
  memory[0] = 1;
  std::free(const_cast<char*>(memory));
  return memory[0];
}

int Overflow() {
  volatile int value = std::numeric_limits<int>::max();
  value = value + 1;
  return value;
}

}  // namespace

int main(int argc, char** argv) {
  const char* fault = argc == 2 ? argv[1] : "";
  if (std::strcmp(fault, "race") == 0) Race();
  if (std::strcmp(fault, "leak") == 0) Leak();
  if (std::strcmp(fault, "use-after-free") == 0) UseAfterFree();
  if (std::strcmp(fault, "overflow") == 0) Overflow();
  return 0;
}
