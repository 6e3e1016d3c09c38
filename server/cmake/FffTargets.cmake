# fff_library(NAME SRCS ... DEPS ...): one static library a folder.
# fff_test(NAME SRCS ... DEPS ... LABEL unit|parity|...): one GoogleTest binary.
function(fff_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SRCS})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_DEPS} PRIVATE fff_warnings)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()

# What the sanitizers need to know when a test runs, by ctest or by tests/run.
# AddressSanitizer keeps 256 MB of freed memory by default; with 16 MB a test can
# still look at the resident memory of a server.
set(FFF_TEST_ENVIRONMENT)
if(FFF_ABSL_WITHOUT_ASAN)
  set(by_hand :allow_user_poisoning=0)  # see FffDependencies.cmake
endif()
if(FFF_SANITIZE)
  set(FFF_TEST_ENVIRONMENT
    "ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:quarantine_size_mb=16${by_hand}"
    "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/sanitizers/lsan.supp:print_suppressions=0"
    "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1"
    "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/sanitizers/tsan.supp:second_deadlock_stack=1")
endif()

# What need not be fast: tests (what they test is a library), the command line and
# what runs once at a start. Optimised, scheduler_test.cc took 14 s instead of
# 10.5 s (release) and 32 s instead of 14 s (dev), client/cli 190 s in dev.
function(fff_compile_quickly name)
  if(FFF_SANITIZE)
    target_compile_options(${name} PRIVATE -O0)
  else()
    target_compile_options(${name} PRIVATE -O1)
  endif()
endfunction()

set(FFF_TEST_SECONDS 300)
set(FFF_NOT_EMULATED
  ExporterTest.ExportsTheProcess MemoryInfoDeathTest.ThreadsShareAsManyHeapsAsAreAllowed
  ProcessMetrics.CountsAThreadThatRuns ProcessMetrics.CountsCpuTimeThatIsSpent
  ProcessMetrics.SizesArePlausible)
if(CMAKE_CROSSCOMPILING)
  set(FFF_TEST_SECONDS 6000)  # qemu takes 10 to 30 times as long
  # It tells a program nothing of its own memory, threads and time (/proc/self/stat),
  # and a program cannot start another one of its architecture.
  list(JOIN FFF_NOT_EMULATED : not_emulated)
  list(APPEND FFF_TEST_ENVIRONMENT "GTEST_FILTER=-${not_emulated}")
endif()

function(fff_test name)
  cmake_parse_arguments(ARG "" "LABEL" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gmock_main fff_warnings)
  fff_compile_quickly(${name})
  target_compile_definitions(${name} PRIVATE
    FFF_TEST_DATA_DIR="${CMAKE_SOURCE_DIR}/tests/data"
    FFF_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${FFF_TEST_SECONDS}
    ENVIRONMENT "${FFF_TEST_ENVIRONMENT}")
endfunction()
