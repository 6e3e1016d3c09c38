# ThreadSanitizer and Abseil's locks: links tests/sanitizers/tsan_absl.cc into
# every target made after this and routes our calls through it.
set(source ${CMAKE_SOURCE_DIR}/tests/sanitizers/tsan_absl.cc)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
add_library(fff_tsan_absl STATIC ${source})
target_link_libraries(fff_tsan_absl PUBLIC absl::synchronization absl::time)

file(STRINGS ${source} lines REGEX "\"_ZN.*\"")
foreach(line ${lines})
  string(REGEX REPLACE ".*\"(_ZN[^\"]+)\".*" "\\1" symbol "${line}")
  # A program that takes a lock only through Abseil's own libraries needs it too.
  add_link_options(LINKER:--wrap=${symbol} LINKER:--undefined=__wrap_${symbol})
endforeach()
link_libraries(fff_tsan_absl)
