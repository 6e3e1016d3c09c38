# cmake -DPAGE_DIR=... -DPARTS=... -DCHART_JS=... -DHEADER=... -DNAMESPACE=...
#       -DNAME=... -DOUTPUT=... -P embed_page.cmake
# Puts style, scripts and the chart library into page.html and writes the result
# as a C++ array: bytes, because a string literal may not be this long.
file(READ ${PAGE_DIR}/page.html page)
separate_arguments(PARTS UNIX_COMMAND "${PARTS}")
foreach(part ${PARTS})
  file(READ ${PAGE_DIR}/${part} text)
  string(REPLACE "@${part}@" "${text}" page "${page}")
endforeach()
file(READ ${CHART_JS} text)
string(REPLACE "@chart.js@" "${text}" page "${page}")

string(HEX "${page}" hex)
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUTPUT} "// Generated from ${PAGE_DIR}.
#include \"${HEADER}\"

namespace ${NAMESPACE} {
namespace {
constexpr unsigned char kPage[] = {
${bytes}};
}  // namespace

absl::string_view ${NAME}() {
  return absl::string_view(reinterpret_cast<const char*>(kPage), sizeof(kPage));
}
}  // namespace ${NAMESPACE}
")
