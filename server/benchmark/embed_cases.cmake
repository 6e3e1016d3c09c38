# fff_embed_cases(OUTPUT): writes a .cc that holds every file of cases/.
function(fff_embed_cases output)
  set(dir ${CMAKE_CURRENT_SOURCE_DIR}/cases)
  file(GLOB files CONFIGURE_DEPENDS ${dir}/*.case)
  list(SORT files)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${files})
  set(entries)
  foreach(file ${files})
    get_filename_component(name ${file} NAME_WLE)
    file(READ ${file} text)
    string(APPEND entries "    {\"${name}\", R\"case(${text})case\"},\n")
  endforeach()
  file(CONFIGURE OUTPUT ${output} @ONLY CONTENT
"// Generated from server/benchmark/cases.
#include \"server/benchmark/case.h\"

namespace fff::benchmark {
namespace {
constexpr EmbeddedCase kCases[] = {
@entries@};
}  // namespace

absl::Span<const EmbeddedCase> EmbeddedCases() { return kCases; }
}  // namespace fff::benchmark
")
endfunction()
