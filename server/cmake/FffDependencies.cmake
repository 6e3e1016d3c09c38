# Every third-party package, found once. CONTRIBUTING.md names each with its reason.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(absl CONFIG REQUIRED)
if(FFF_SANITIZE MATCHES address AND NOT absl_VERSION VERSION_LESS 20230125)
  # Later headers give hash tables another layout under AddressSanitizer and mark
  # memory by hand, which a library that was built without it does not know.
  set(FFF_ABSL_WITHOUT_ASAN ON)
  add_compile_definitions(NDEBUG_SANITIZER)
endif()
if(FFF_SANITIZE MATCHES undefined AND CMAKE_CXX_COMPILER_ID STREQUAL GNU
   AND NOT absl_VERSION VERSION_LESS 20240116)
  # Later headers compare functions with null in constant expressions. GCC takes
  # none as constant while it keeps null pointers for these checks.
  add_compile_options(-fno-sanitize=nonnull-attribute,returns-nonnull-attribute)
endif()
find_package(nlohmann_json CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
# Debian's dnnl-config.cmake asks for OpenCL headers that a CPU build never uses.
find_library(FFF_DNNL_LIBRARY dnnl REQUIRED)
find_path(FFF_DNNL_INCLUDE oneapi/dnnl/dnnl_version.h REQUIRED)
file(STRINGS ${FFF_DNNL_INCLUDE}/oneapi/dnnl/dnnl_version.h FFF_DNNL_MAJOR
  REGEX "define DNNL_VERSION_MAJOR ")
string(REGEX REPLACE ".* " "" FFF_DNNL_MAJOR "${FFF_DNNL_MAJOR}")
if(NOT FFF_DNNL_MAJOR MATCHES "^[23]$")
  message(FATAL_ERROR "oneDNN: found version ${FFF_DNNL_MAJOR} in "
                      "${FFF_DNNL_INCLUDE}, wanted 2 or 3")
endif()
add_library(fff_dnnl INTERFACE)
target_link_libraries(fff_dnnl INTERFACE ${FFF_DNNL_LIBRARY})
find_package(OpenMP REQUIRED COMPONENTS CXX)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(ZIP REQUIRED IMPORTED_TARGET libzip)
# Kernels keep vectors in arrays. SVE's, whose length only the running machine knows,
# can be in none, so Arm has Highway's NEON alone.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  target_compile_definitions(PkgConfig::HWY INTERFACE
    "HWY_DISABLED_TARGETS=(HWY_SVE|HWY_SVE_256|HWY_SVE2|HWY_SVE2_128)")
endif()

find_package(prometheus-cpp CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)

if(FFF_BUILD_RPC)
  find_package(Protobuf REQUIRED)
  find_package(gRPC CONFIG REQUIRED)
  if(CMAKE_CROSSCOMPILING)  # the target's own would run under emulation
    find_program(FFF_PROTOC protoc REQUIRED)
    find_program(FFF_GRPC_PLUGIN grpc_cpp_plugin REQUIRED)
  else()
    set(FFF_PROTOC protobuf::protoc)
    set(FFF_GRPC_PLUGIN $<TARGET_FILE:gRPC::grpc_cpp_plugin>)
  endif()
  find_package(OpenSSL REQUIRED)
  find_package(PNG REQUIRED)
  find_package(Boost 1.74 CONFIG REQUIRED)  # headers alone: Asio and Beast
endif()

if(FFF_BUILD_TESTS)
  include(FffTestPackages)
endif()

include(FffCuda)
if(FFF_SANITIZE MATCHES thread)
  include(FffTsan)
endif()
