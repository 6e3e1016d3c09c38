# fff_embed_page(OUT NAME function NAMESPACE space HEADER header DIR folder PARTS
# file ...): a .cc, its path in OUT, whose function returns DIR/page.html as one
# document. In it stand the PARTS and Debian's libjs-chart.js.
find_file(FFF_CHART_JS chart.min.js PATHS /usr/share/javascript/chart.js
  NO_DEFAULT_PATH REQUIRED)

function(fff_embed_page out)
  cmake_parse_arguments(ARG "" "NAME;NAMESPACE;HEADER;DIR" "PARTS" ${ARGN})
  set(script ${CMAKE_SOURCE_DIR}/server/cmake/embed_page.cmake)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/embedded_${ARG_NAME}.cc)
  string(JOIN " " parts ${ARG_PARTS})
  list(TRANSFORM ARG_PARTS PREPEND ${ARG_DIR}/)
  add_custom_command(
    OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -DPAGE_DIR=${ARG_DIR} -DPARTS=${parts}
            -DCHART_JS=${FFF_CHART_JS} -DHEADER=${ARG_HEADER}
            -DNAMESPACE=${ARG_NAMESPACE} -DNAME=${ARG_NAME} -DOUTPUT=${source}
            -P ${script}
    DEPENDS ${FFF_CHART_JS} ${script} ${ARG_DIR}/page.html ${ARG_PARTS}
    VERBATIM)
  set(${out} ${source} PARENT_SCOPE)
endfunction()
