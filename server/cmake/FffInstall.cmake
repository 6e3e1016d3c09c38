# What `cmake --install` copies, in three components:
#   serving  programs, demo model, man pages, completion, documents
#   system   for a whole machine: systemd unit, configuration, logrotate
#   cuda     the CUDA engine, when this build has made it
# deploy/package makes its archives from the same rules.
set(CMAKE_INSTALL_DOCDIR share/doc/fff-serving)  # the project's name has a _
include(GNUInstallDirs)
set(fff_share ${CMAKE_INSTALL_DATADIR}/fff-serving)
set(fff_packaging ${CMAKE_SOURCE_DIR}/deploy/packaging)

install(TARGETS fff-server fffctl RUNTIME COMPONENT serving)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/deploy/models/fashion-mnist
                  ${CMAKE_SOURCE_DIR}/deploy/models/fashion-mnist-cnn
        DESTINATION ${fff_share}/models COMPONENT serving
        PATTERN report.json EXCLUDE)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/deploy/samples/fashion-mnist
        DESTINATION ${fff_share}/samples COMPONENT serving)
install(FILES ${fff_packaging}/man/fff-server.1 ${fff_packaging}/man/fffctl.1
        DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT serving)
install(FILES ${fff_packaging}/completion/fff-server
              ${fff_packaging}/completion/fffctl
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
        COMPONENT serving)
install(FILES ${CMAKE_SOURCE_DIR}/README.md ${CMAKE_SOURCE_DIR}/CHANGELOG.md
              ${CMAKE_SOURCE_DIR}/SECURITY.md ${CMAKE_SOURCE_DIR}/LICENSE
        DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT serving)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/server/docs  # README.md links to these
        DESTINATION ${CMAKE_INSTALL_DOCDIR}/server COMPONENT serving)

# --demo in a build tree finds what it finds in an installation.
foreach(folder models samples)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/share/fff-serving)
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/deploy/${folder}
       ${CMAKE_BINARY_DIR}/share/fff-serving/${folder} SYMBOLIC)
endforeach()

# They hold absolute paths, which are known when --prefix is.
install(CODE "
  set(source ${fff_packaging}/system)
  set(made ${CMAKE_BINARY_DIR}/system)
  set(bindir \${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR})
  set(sharedir \${CMAKE_INSTALL_PREFIX}/${fff_share})
  set(sysconfdir \${CMAKE_INSTALL_PREFIX}/etc)
  if(CMAKE_INSTALL_PREFIX STREQUAL /usr)
    set(sysconfdir /etc)
  endif()
  configure_file(\${source}/fff-server.service.in \${made}/fff-server.service @ONLY)
  configure_file(\${source}/fff-server.toml.in \${made}/fff-server.toml @ONLY)
  file(INSTALL \${made}/fff-server.service
       DESTINATION \${CMAKE_INSTALL_PREFIX}/lib/systemd/system)
  file(INSTALL \${made}/fff-server.toml DESTINATION \${sysconfdir}/fff-serving)
  file(INSTALL \${source}/logrotate/fff-serving
       DESTINATION \${sysconfdir}/logrotate.d)
" COMPONENT system)

if(TARGET fff_engine_cuda)
  install(TARGETS fff_engine_cuda
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/fff COMPONENT cuda OPTIONAL)
endif()
