# FFF_CUDA: AUTO takes the CUDA toolkit when there is one that works, ON demands
# it, OFF ignores it. Sets FFF_HAVE_CUDA: whether server/engine/cuda is built, the
# object that the server opens at run time. No other target changes.
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
    if(FFF_CCACHE)
      set(CMAKE_CUDA_COMPILER_LAUNCHER ${FFF_CCACHE})
    endif()
    # The compiler check wants one; each target says what it is built for.
    set(CMAKE_CUDA_ARCHITECTURES 90)
    enable_language(CUDA)
    message(STATUS "CUDA engine: built with ${CMAKE_CUDA_COMPILER}")
  elseif(FFF_CUDA STREQUAL "ON")
    message(FATAL_ERROR "FFF_CUDA=ON, but no working CUDA compiler was found; "
                        "put nvcc on PATH, set CUDACXX, or use FFF_CUDA=AUTO")
  else()
    message(STATUS "CUDA engine: not built (no CUDA toolkit found)")
  endif()
endif()
