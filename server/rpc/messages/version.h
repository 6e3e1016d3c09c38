#pragma once

namespace fff::rpc {

inline constexpr char kServerName[] = "fff-server";
inline constexpr char kServerVersion[] = FFF_VERSION;  // of the CMake project

}  // namespace fff::rpc
