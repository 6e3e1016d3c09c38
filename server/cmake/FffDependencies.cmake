# Every third-party package, found once. CONTRIBUTING.md names each with its reason.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
# Debian's dnnl-config.cmake asks for OpenCL headers that a CPU build never uses.
find_library(FFF_DNNL_LIBRARY dnnl REQUIRED)
add_library(fff_dnnl INTERFACE)
target_link_libraries(fff_dnnl INTERFACE ${FFF_DNNL_LIBRARY})
find_package(OpenMP REQUIRED COMPONENTS CXX)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(ZIP REQUIRED IMPORTED_TARGET libzip)

find_package(prometheus-cpp CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)

if(FFF_BUILD_RPC)
  find_package(Protobuf REQUIRED)
  find_package(gRPC CONFIG REQUIRED)
  find_package(OpenSSL REQUIRED)
  find_package(PNG REQUIRED)
  find_package(Boost 1.74 REQUIRED)  # headers alone: Asio and Beast
endif()

if(FFF_BUILD_TESTS)
  include(FffTestPackages)
endif()

include(FffCuda)
if(FFF_SANITIZE MATCHES thread)
  include(FffTsan)
endif()
