#include "server/engine/cuda_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fff::engine {
namespace {

constexpr char kLibrary[] = "libfff_engine_cuda.so";
// The same in cuda/engine_object.h, which only the library's own side includes;
// tests/unit/engine/cuda_library_test.cc opens the library with them.
constexpr char kTag[] = "fff-device-engine-4";
constexpr char kFunction[] = "FffOpenCudaEngine";
using OpenFunction = DeviceEngine* (*)(const char* tag, char* error,
                                       int error_size);

// Beside the executable, as a build leaves it, or in ../lib/fff, as an image
// has it; the bare name when neither is there.
std::string FindLibrary() {
  char path[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof(path));
  if (size <= 0 || size == ssize_t{sizeof(path)}) return kLibrary;
  const std::string executable(path, static_cast<size_t>(size));
  const std::string folder = executable.substr(0, executable.rfind('/') + 1);
  for (const char* where : {"", "../lib/fff/"}) {
    std::string found = absl::StrCat(folder, where, kLibrary);
    if (access(found.c_str(), F_OK) == 0) return found;
  }
  return kLibrary;
}

void* TryOpen(const std::string& path) {
  return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
}

void* OpenLibrary(const std::string& path, std::string& error) {
  const char* const told = getenv("FFF_CUDA_ENGINE");
  std::string named = path;
  if (named.empty() && told != nullptr) named = told;
  if (named.empty()) named = FindLibrary();
  void* const library = TryOpen(named);
  if (library == nullptr) error = dlerror();
  return library;
}

// A library that found no device: cuBLASLt's tables, which the loader
// relocates, take 130 MB of a server that will never use them. With a driver in
// the process it stays: what that has registered must not go away under it.
void Close(void* library) {
  void* const driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
  if (driver == nullptr) {
    dlclose(library);
  } else {
    dlclose(driver);  // the count that asking has raised
  }
}

}  // namespace

// Stays open: the engine opens it next, and a driver is not made to be closed.
bool CudaDriverPresent() {
  return dlopen("libcuda.so.1", RTLD_LAZY) != nullptr;
}

absl::StatusOr<std::shared_ptr<const DeviceEngine>> OpenCudaEngine(
    const std::string& path) {
  std::string error;
  void* const library = OpenLibrary(path, error);
  if (library == nullptr) {
    return absl::NotFoundError(absl::StrCat("no CUDA engine: ", error));
  }
  const auto open = reinterpret_cast<OpenFunction>(dlsym(library, kFunction));
  if (open == nullptr) {
    Close(library);
    return absl::NotFoundError(
        absl::StrCat("no CUDA engine: ", path, " has no ", kFunction));
  }
  char reason[512] = "";
  std::shared_ptr<const DeviceEngine> engine(
      open(kTag, reason, int{sizeof(reason)}));
  if (engine == nullptr) {
    Close(library);
    return absl::UnavailableError(absl::StrCat("no CUDA engine: ", reason));
  }
  return engine;
}

}  // namespace fff::engine
