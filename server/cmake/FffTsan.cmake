# ThreadSanitizer and Abseil's locks: links tests/sanitizers/tsan_absl.cc, and how
# this Abseil waits, into every target made after this, and routes our calls there.
set(waits 2024)
if(absl_VERSION VERSION_LESS 20240116)
  set(waits 2022)
endif()
set(folder ${CMAKE_SOURCE_DIR}/tests/sanitizers)
set(sources ${folder}/tsan_absl.cc ${folder}/tsan_waits_${waits}.cc)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${sources})

# The inline namespace of Abseil, with its length as mangled names have it.
find_path(absl_include absl/base/options.h REQUIRED NO_CACHE)
file(STRINGS ${absl_include}/absl/base/options.h name
  REGEX "^#define ABSL_OPTION_INLINE_NAMESPACE_NAME ")
string(REGEX REPLACE ".* " "" name "${name}")
string(LENGTH "${name}" length)
set(name ${length}${name})

add_library(fff_tsan_absl STATIC ${sources})
target_include_directories(fff_tsan_absl PRIVATE ${CMAKE_SOURCE_DIR})
target_compile_definitions(fff_tsan_absl PRIVATE FFF_ABSL="${name}")
target_link_libraries(fff_tsan_absl PUBLIC absl::synchronization absl::time)

foreach(source ${sources})
  file(READ ${source} text)
  string(REGEX REPLACE "\"[ \n]+\"" "" text "${text}")  # as the compiler joins them
  string(REGEX MATCHALL "\"_ZNK?4absl\" FFF_ABSL[ \n]+\"[^\"]+\"" symbols "${text}")
  foreach(symbol ${symbols})
    string(REGEX REPLACE "\" FFF_ABSL[ \n]+\"" "${name}" symbol "${symbol}")
    string(REPLACE "\"" "" symbol "${symbol}")
    # A program that takes a lock only through Abseil's own libraries needs it too.
    add_link_options(LINKER:--wrap=${symbol} LINKER:--undefined=__wrap_${symbol})
  endforeach()
endforeach()
link_libraries(fff_tsan_absl)
