# FFF_CUDA: AUTO takes the CUDA toolkit when there is one that works, ON demands
# it, OFF ignores it. Sets FFF_HAVE_CUDA. No CUDA source exists yet, so the
# answer changes no target: every build serves on the CPU.
set(FFF_HAVE_CUDA OFF)
if(NOT FFF_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "FFF_CUDA is '${FFF_CUDA}'; it must be AUTO, ON or OFF")
endif()

if(FFF_CUDA STREQUAL "OFF")
  message(STATUS "CUDA engine: not built (FFF_CUDA=OFF)")
elseif(FFF_CUDA STREQUAL "AUTO" AND FFF_SANITIZE)
  message(STATUS "CUDA engine: not built (sanitizers instrument host code only)")
else()
  include(CheckLanguage)
  check_language(CUDA)  # compiles a file, so a broken toolkit counts as absent
  if(CMAKE_CUDA_COMPILER)
    set(FFF_HAVE_CUDA ON)
    message(STATUS "CUDA engine: toolkit found (${CMAKE_CUDA_COMPILER}), "
                   "but there is no CUDA source yet; models run on the CPU")
  elseif(FFF_CUDA STREQUAL "ON")
    message(FATAL_ERROR "FFF_CUDA=ON, but no working CUDA compiler was found; "
                        "put nvcc on PATH, set CUDACXX, or use FFF_CUDA=AUTO")
  else()
    message(STATUS "CUDA engine: not built (no CUDA toolkit found)")
  endif()
endif()
