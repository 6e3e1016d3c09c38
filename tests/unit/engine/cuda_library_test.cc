#include "server/engine/cuda_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fff::engine {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

TEST(OpenCudaEngine, SaysWhichLibraryIsMissing) {
  const auto engine = OpenCudaEngine("/nonexistent/engine.so");
  EXPECT_EQ(engine.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(engine.status()),
              HasSubstr("no CUDA engine: /nonexistent/engine.so"));
}

TEST(OpenCudaEngine, RefusesALibraryThatIsNoEngine) {
  const auto engine = OpenCudaEngine("libm.so.6");
  EXPECT_EQ(engine.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(engine.status()), HasSubstr("has no FffOpenCudaEngine"));
}

TEST(CudaDriverPresent, SaysWhatTheLoaderFinds) {
  void* const driver = dlopen("libcuda.so.1", RTLD_LAZY);
  EXPECT_EQ(CudaDriverPresent(), driver != nullptr);
}

// The object that this build made: with a device it opens, without one it says
// so in one line.
TEST(OpenCudaEngine, OpensOrSaysThatThereIsNoDevice) {
  const char* const built = getenv("FFF_CUDA_ENGINE");
  if (built == nullptr) GTEST_SKIP() << "built without the CUDA engine";
  const auto engine = OpenCudaEngine();
  if (engine.ok()) {
    EXPECT_FALSE((*engine)->devices().empty());
    EXPECT_THAT((*engine)->Describe(), HasSubstr("CUDA "));
    return;
  }
  EXPECT_EQ(engine.status().code(), absl::StatusCode::kUnavailable)
      << engine.status();
  EXPECT_THAT(Message(engine.status()), HasSubstr("no CUDA engine: CUDA: "));
  EXPECT_THAT(Message(engine.status()), Not(HasSubstr("\n")));
  std::ifstream maps("/proc/self/maps");
  const std::string mapped(std::istreambuf_iterator<char>(maps), {});
  if (mapped.find("libcuda.so") == std::string::npos) {
    EXPECT_THAT(mapped, Not(HasSubstr("libcublasLt"))) << "memory for nothing";
  }
}

}  // namespace
}  // namespace fff::engine
