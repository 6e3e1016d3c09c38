# Tool chain: Debian's cross compiler for arm64 and a root file system of that
# architecture, which deploy/image/sysroot makes. What is built runs under qemu.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

set(FFF_SYSROOT "" CACHE PATH "Root file system of arm64")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES FFF_SYSROOT)
if(NOT EXISTS ${FFF_SYSROOT}/usr/include)
  message(FATAL_ERROR "FFF_SYSROOT is '${FFF_SYSROOT}', which has no usr/include: "
                      "make it with deploy/image/sysroot arm64 DIR")
endif()
set(CMAKE_SYSROOT ${FFF_SYSROOT})
# Programs are this machine's, all else the target's.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${FFF_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR}
  ${FFF_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${FFF_SYSROOT}/usr/share/pkgconfig)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -L ${FFF_SYSROOT})
